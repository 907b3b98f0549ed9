"""Python threads that call one library at once, each on arrays of its own.

A library that holds the interpreter's lock while it computes takes n times as long for
n threads: exponent 1. One that does not takes as long as for one, up to the cores.
"""

from collections.abc import Callable
from typing import Any

import pytest

from bench_activations import forward
from bench_dense import forward as dense
from cases import Case, parameter
from conftest import Group

THREADS = [1, 2, 4, 8]


def sigmoid(dtype: str, threads: int) -> Case:
    return by_threads(forward(dtype, "sigmoid", 1 << 22), threads)


def dense_relu(dtype: str, threads: int) -> Case:
    return by_threads(dense(dtype, 256, 512, 512), threads)


def by_threads(case: Case, threads: int) -> Case:
    return Case(
        "growth by threads",
        f"{case.operation} {case.size}",
        str(threads),
        case.function,
        case.arguments,
        case.agree,
        threads=threads,
    )


def cases(build: Callable[..., Case]) -> list[Any]:
    return [parameter(build, threads, brief=threads < 4) for threads in THREADS]


@pytest.mark.parametrize("group", cases(sigmoid) + cases(dense_relu), indirect=True)
def test_threads(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
