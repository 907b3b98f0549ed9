"""Python threads that call one library at once, each on arrays of its own.

A library that holds the interpreter's lock while it computes takes n times as long for
n threads: exponent 1. One that does not takes as long as for one, up to the cores.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench_activations import forward
from bench_dense import forward as dense
from bench_training import step
from cases import Case, parameter
from conftest import Group

THREADS = [1, 2, 4, 8]


def sigmoid(dtype: str, threads: int) -> Case:
    return by_threads(forward(dtype, "sigmoid", 1 << 22), threads)


def dense_relu(dtype: str, threads: int) -> Case:
    return by_threads(dense(dtype, 256, 512, 512), threads)


def training(dtype: str, threads: int) -> Case:
    """A net in each thread."""
    return by_threads(step(dtype, 0.5, 32, 784, 256, 128, 10), threads)


def by_threads(case: Case, threads: int) -> Case:
    operation = f"{case.operation} {case.size}"
    table, size = "growth by threads", str(threads)
    return replace(case, table=table, operation=operation, size=size, threads=threads)


def cases(build: Callable[..., Case]) -> list[Any]:
    return [parameter(build, threads, brief=threads < 4) for threads in THREADS]


@pytest.mark.parametrize(
    "group", [*cases(sigmoid), *cases(dense_relu), *cases(training)], indirect=True
)
def test_threads(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
