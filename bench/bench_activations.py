"""Every activation, forward and backward: on flat arrays, softmax on 256 rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import lamina as lm
import numpy_forms
from cases import Array, Case, empty, normal, parameter, times

ROW_FUNCTIONS = [name for name in lm.activations.names if name.endswith("softmax")]
ELEMENTWISE = [name for name in lm.activations.names if name not in ROW_FUNCTIONS]
SIZES = [(1,), (16,), (1_000,), (16_384,), (1_048_576,), (16_777_216,)]
ROWS = [(256, 10), (256, 100), (256, 1_000)]


def forward(name: str, *shape: int) -> Case:
    x = normal(shape, scale=2.0)  # one in eight lies beyond the kinks at -3 and 3
    sides = {"lamina": partial(lm.activations.get(name), x, out=empty(*shape))}
    if form := getattr(numpy_forms, name, None):
        sides["numpy"] = partial(form, x, empty(*shape), *scratch(*shape))
    table = "forward" if len(shape) == 1 else "forward, rows"
    return Case(table, name, times(*shape), sides)


def backward(name: str, *shape: int) -> Case:
    activation = lm.activations.get(name)
    saved, dy = normal(shape, scale=2.0), normal(shape, seed=1)
    if activation.saves == "output":
        activation(saved, out=saved)
    sides = {"lamina": partial(activation.backward, dy, saved, out=empty(*shape))}
    if form := getattr(numpy_forms, f"{name}_backward", None):
        sides["numpy"] = partial(form, dy, saved, empty(*shape), *scratch(*shape))
    table = "backward" if len(shape) == 1 else "backward, rows"
    return Case(table, f"{name} backward", times(*shape), sides)


def scratch(*shape: int) -> list[Array]:
    """What a NumPy form takes besides arguments and result."""
    if len(shape) == 1:
        return [np.zeros(shape, np.float32), empty(*shape), empty(*shape)]
    rows, columns = shape
    return [empty(rows, 1), np.ones((columns, 1), np.float32), empty(*shape)]


def cases(build: Callable[..., Case]) -> list[Any]:
    flat = [(name, shape) for name in ELEMENTWISE for shape in SIZES]
    rows = [(name, shape) for name in ROW_FUNCTIONS for shape in ROWS]
    return [parameter(build, name, *shape) for name, shape in flat + rows]


@pytest.mark.parametrize("case", cases(forward), indirect=True)
def test_forward(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)


@pytest.mark.parametrize("case", cases(backward), indirect=True)
def test_backward(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)
