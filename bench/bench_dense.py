"""Dense layers with relu, forward and backward, and the three products in them."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import lamina as lm
import numpy_forms
from cases import Array, Case, close, empty, normal, parameter, times

# (batch, in, out)
SHAPES = [
    (1, 64, 64),
    (8, 64, 64),
    (32, 64, 64),
    (32, 128, 128),
    (64, 256, 256),
    (128, 784, 256),
    (32, 784, 512),
    (256, 512, 512),
    (512, 1024, 1024),
    (2048, 1024, 1024),
    (4096, 64, 64),
    (1, 1024, 1024),
    (33, 65, 17),
    (128, 512, 10),
]


def forward(batch: int, features: int, units: int) -> Case:
    x, kernel, bias = arguments(batch, features, units)
    y, zeros = empty(batch, units), np.zeros((batch, units), np.float32)
    sides = {
        "lamina": partial(lm.dense, x, kernel, bias, "relu", out=empty(batch, units)),
        "numpy": partial(numpy_forms.dense, x, kernel, bias, y, zeros),
    }
    size = times(batch, features, units)
    return Case("dense", "dense relu", size, sides, sums_close)


def backward(batch: int, features: int, units: int) -> Case:
    x, kernel, bias = arguments(batch, features, units)
    dy = normal((batch, units), seed=3)
    y = lm.dense(x, kernel, bias, "relu")
    ours, theirs = (
        (empty(batch, features), empty(features, units), empty(units)) for _ in range(2)
    )
    scratch = empty(batch, units), np.ones(batch, np.float32)
    sides = {
        "lamina": partial(lm.dense_backward, dy, x, kernel, y, "relu", out=ours),
        "numpy": partial(
            numpy_forms.dense_backward, dy, x, kernel, y, theirs, *scratch
        ),
    }
    size = times(batch, features, units)
    return Case("dense", "dense relu backward", size, sides, gradients_close)


def product(kind: str, batch: int, features: int, units: int) -> Case:
    """x kernel (NN), dy kernel^T (NT) or x^T dy (TN), as forward and backward need."""
    x, kernel, _ = arguments(batch, features, units)
    dy = normal((batch, units), seed=3)
    a, b = {"NN": (x, kernel), "NT": (dy, kernel.T), "TN": (x.T, dy)}[kind]
    shape = len(a), b.shape[1]
    sides = {
        "lamina": partial(lm.matmul, a, b, out=empty(*shape)),
        "numpy": partial(numpy_forms.matmul, a, b, empty(*shape)),
    }
    size = times(batch, features, units)
    return Case("dense", f"matmul {kind}", size, sides, sums_close)


def arguments(batch: int, features: int, units: int) -> tuple[Array, Array, Array]:
    kernel = normal((features, units), scale=features**-0.5, seed=1)
    return normal((batch, features)), kernel, normal((units,), seed=2)


def sums_close(actual: Array, expected: Array) -> None:
    """Sums in another order differ by roundings as large as the largest sum has."""
    close(actual, expected, tolerance=1e-5 * max(1.0, float(abs(expected).max())))


def gradients_close(actual: tuple[Array, ...], expected: tuple[Array, ...]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        sums_close(ours, theirs)


@pytest.mark.parametrize(
    "case", [parameter(forward, *shape) for shape in SHAPES], indirect=True
)
def test_dense(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)


@pytest.mark.parametrize(
    "case", [parameter(backward, *shape) for shape in SHAPES], indirect=True
)
def test_dense_backward(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)


@pytest.mark.parametrize(
    "case",
    [
        parameter(product, kind, *shape)
        for kind in ("NN", "NT", "TN")
        for shape in SHAPES
    ],
    indirect=True,
)
def test_matmul(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)
