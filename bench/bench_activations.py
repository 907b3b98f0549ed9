"""Every activation, forward and backward: on flat arrays, softmax on 256 rows."""

from collections.abc import Callable
from typing import Any

import pytest

import lamina as lm
from cases import Case, normal, parameter, times
from conftest import Group
from peers import Array

ROW_FUNCTIONS = [name for name in lm.activations.names if name.endswith("softmax")]
ELEMENTWISE = [name for name in lm.activations.names if name not in ROW_FUNCTIONS]
SIZES = [(1,), (16,), (1_000,), (16_384,), (1_048_576,), (16_777_216,)]
BRIEF = SIZES[2:5]
ROWS = [(256, 10), (256, 100), (256, 1_000)]


def forward(dtype: str, name: str, *shape: int) -> Case:
    table = "forward" if len(shape) == 1 else "forward, rows"
    return Case(table, name, times(*shape), "forward", (name, inputs(dtype, shape)))


def backward(dtype: str, name: str, *shape: int) -> Case:
    """Each library takes x or y, whichever its form needs."""
    x = inputs(dtype, shape)
    y, dy = lm.activations.get(name)(x), normal(dtype, shape, seed=1)
    table = "backward" if len(shape) == 1 else "backward, rows"
    operation, arguments = f"{name} backward", (name, dy, x, y)
    return Case(table, operation, times(*shape), "backward", arguments)


def inputs(dtype: str, shape: tuple[int, ...]) -> Array:
    return normal(dtype, shape, scale=2.0)  # one in eight lies beyond the kinks at 3


def cases(build: Callable[..., Case]) -> list[Any]:
    flat = [(name, shape) for name in ELEMENTWISE for shape in SIZES]
    rows = [(name, shape) for name in ROW_FUNCTIONS for shape in ROWS]
    return [
        parameter(build, name, *shape, brief=shape in BRIEF + ROWS)
        for name, shape in flat + rows
    ]


@pytest.mark.parametrize("group", cases(forward), indirect=True)
def test_forward(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize("group", cases(backward), indirect=True)
def test_backward(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
