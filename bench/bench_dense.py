"""Dense layers with relu, each way and both, with dropout, and the products in them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import lamina as lm
from cases import Case, close, normal, parameter, times
from conftest import Group
from peers import Array

# (batch, in, out)
SHAPES = [
    (1, 64, 64),
    (8, 64, 64),
    (32, 64, 64),
    (32, 128, 128),
    (64, 256, 256),
    (128, 784, 256),
    (32, 784, 512),
    (32, 256, 256),
    (256, 512, 512),
    (512, 1024, 1024),
    (2048, 1024, 1024),
    (4096, 64, 64),
    (1, 1024, 1024),
    (33, 65, 17),
    (128, 512, 10),
]
RATE = 0.5  # of dropout
PACKED = [(1, 1024, 1024), (32, 256, 256), (256, 512, 512), (512, 1024, 1024)]
BRIEF = [(1, 64, 64), (32, 64, 64), (64, 256, 256), (256, 512, 512), (33, 65, 17)]


def forward(dtype: str, *shape: int) -> Case:
    operands = arguments(dtype, *shape)
    return Case("dense", "dense relu", times(*shape), "dense", operands, sums_close)


def packed(dtype: str, *shape: int) -> Case:
    """In bf16 where the machine has it; "dense relu" has our float32 of the size."""
    if dtype != "float32":
        pytest.skip("what is packed computes in float32")
    operands = arguments(dtype, *shape)
    operation = "dense relu, packed"
    return Case("dense", operation, times(*shape), "dense_packed", operands, bf16_close)


def backward(dtype: str, *shape: int) -> Case:
    x, kernel, bias = arguments(dtype, *shape)
    y = lm.dense(x, kernel, bias, "relu")
    operands = normal(dtype, y.shape, seed=3), x, kernel, y
    operation, function = "dense relu backward", "dense_backward"
    return Case("dense", operation, times(*shape), function, operands, gradients_close)


def both(dtype: str, *shape: int) -> Case:
    x, kernel, bias = arguments(dtype, *shape)
    dy = normal(dtype, (len(x), len(bias)), seed=3)
    dy[abs(x @ kernel + bias) < 1e-4] = 0  # where rounding decides on a unit
    operation, operands = "dense relu, both ways", (dy, x, kernel, bias)
    size, function = times(*shape), "dense_both"
    return Case("dense", operation, size, function, operands, gradients_close)


def dropout(dtype: str, *shape: int) -> Case:
    x, kernel, bias = arguments(dtype, *shape)
    agree = partial(thinned, lm.dense(x, kernel, bias, "relu"))
    operation, operands = f"dense relu dropout {RATE}", (RATE, x, kernel, bias)
    return Case("dense", operation, times(*shape), "dense_dropout", operands, agree)


def product(dtype: str, kind: str, *shape: int) -> Case:
    """x kernel (NN), dy kernel^T (NT) or x^T dy (TN), as forward and backward need."""
    x, kernel, _ = arguments(dtype, *shape)
    dy = normal(dtype, (len(x), kernel.shape[1]), seed=3)
    operands = {"NN": (x, kernel), "NT": (dy, kernel.T), "TN": (x.T, dy)}[kind]
    operation = f"matmul {kind}"
    return Case("dense", operation, times(*shape), "matmul", operands, sums_close)


def arguments(
    dtype: str, batch: int, features: int, units: int
) -> tuple[Array, Array, Array]:
    kernel = normal(dtype, (features, units), scale=features**-0.5, seed=1)
    return normal(dtype, (batch, features)), kernel, normal(dtype, (units,), seed=2)


def sums_close(actual: Array, expected: Array) -> None:
    """Sums in another order differ by roundings as large as the largest sum has."""
    close(actual, expected, scale=max(1.0, float(abs(expected).max())))


def bf16_close(actual: Array, expected: Array) -> None:
    """Sums of terms with a relative error of 2**-7: far below that of the largest."""
    assert abs(actual - expected).max() <= 2**-7 * max(1.0, float(abs(expected).max()))


def gradients_close(actual: tuple[Array, ...], expected: tuple[Array, ...]) -> None:
    for theirs, ours in zip(actual, expected, strict=True):
        sums_close(theirs, ours)


def thinned(y: Array, *sides: Array) -> None:
    """What is kept of y is scaled, and how many are lies within 6 deviations."""
    positive = max(1, int((y > 0).sum()))
    spread = (RATE * (1 - RATE) / positive) ** 0.5
    for side in sides:
        found = side.reshape(y.shape)
        sums_close(found, np.where(found == 0, found, y / (1 - RATE)))
        share = int((found != 0).sum()) / positive
        assert abs(share - (1 - RATE)) <= 6 * spread


def cases(build: Callable[..., Case], *arguments: str) -> list[Any]:
    return [parameter(build, *arguments, *s, brief=s in BRIEF) for s in SHAPES]


@pytest.mark.parametrize("group", cases(forward), indirect=True)
def test_dense(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize(
    "group", [parameter(packed, *s, brief=s in BRIEF) for s in PACKED], indirect=True
)
def test_dense_packed(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize("group", cases(backward), indirect=True)
def test_dense_backward(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize("group", cases(both), indirect=True)
def test_dense_both_ways(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize("group", cases(dropout), indirect=True)
def test_dense_dropout(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize(
    "group",
    [*cases(product, "NN"), *cases(product, "NT"), *cases(product, "TN")],
    indirect=True,
)
def test_matmul(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
