"""Every activation, forward and backward, on flat arrays; the row kernels on rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from bench import numpy_forms
from bench.conftest import Array, Case, by, normal

import lamina as lm

ROW_FUNCTIONS = [name for name in lm.activations.names if "softmax" in name]
ELEMENTWISE = [name for name in lm.activations.names if name not in ROW_FUNCTIONS]
SIZES = [1, 16, 1_000, 16_384, 1_048_576, 16_777_216]
ROWS, COLUMNS = 256, [10, 100, 1_000]


def forward(name: str, *shape: int) -> Case:
    x = normal(*shape, scale=2.0)  # one in eight beyond the kinks at 3
    y, y_numpy = np.empty_like(x), np.empty_like(x)
    sides = {"lamina": partial(lm.activations.get(name), x, out=y)}
    if form := getattr(numpy_forms, name, None):
        sides["numpy"] = partial(form, x, y_numpy, *scratch(name, *shape))
    kind = "rows, forward" if name in ROW_FUNCTIONS else "forward"
    return Case(kind, name, by(shape), sides)


def backward(name: str, *shape: int) -> Case:
    activation = lm.activations.get(name)
    saved = normal(*shape, scale=2.0)
    if activation.saves == "output":
        activation(saved, out=saved)
    dy = normal(*shape[::-1]).reshape(shape)
    dx, dx_numpy = np.empty_like(dy), np.empty_like(dy)
    sides = {"lamina": partial(activation.backward, dy, saved, out=dx)}
    if form := getattr(numpy_forms, f"{name}_backward", None):
        sides["numpy"] = partial(form, dy, saved, dx_numpy, *scratch(name, *shape))
    kind = "rows, backward" if name in ROW_FUNCTIONS else "backward"
    return Case(kind, name, by(shape), sides)


def scratch(name: str, *shape: int) -> list[Array]:
    """What a NumPy form takes besides its arguments and its result."""
    s = np.empty(shape, np.float32)
    if name in ROW_FUNCTIONS:
        rows, columns = shape
        return [np.empty((rows, 1), np.float32), np.ones((columns, 1), np.float32), s]
    return [np.zeros_like(s), s, np.empty_like(s)]


def cases(build: Callable[..., Case]) -> list[Any]:
    flat = [(name, size) for name in ELEMENTWISE for size in SIZES]
    rows = [(name, ROWS, columns) for name in ROW_FUNCTIONS for columns in COLUMNS]
    return [
        pytest.param(partial(build, name, *shape), id=f"{name}-{by(shape)}")
        for name, *shape in [*flat, *rows]
    ]


@pytest.mark.parametrize("case", cases(forward), indirect=True)
def test_forward(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)


@pytest.mark.parametrize("case", cases(backward), indirect=True)
def test_backward(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)
