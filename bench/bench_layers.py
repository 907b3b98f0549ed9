"""Layers with numbers of their own for each feature, both ways."""

from collections.abc import Callable
from typing import Any

import pytest

from cases import Case, close, normal, parameter, times
from conftest import Group
from peers import Array

LAYERS = {"scale": 1, "prelu": 1, "mixed": 1, "layer_norm": 2, "batch_norm": 2}
BRIEF = [(256, 64), (256, 512)]
SHAPES = [(32, 128), (256, 10), *BRIEF, (4096, 64), (1024, 512)]


def both(dtype: str, name: str, *shape: int) -> Case:
    """Parameters of size 1, those that are factors not near 0."""
    parameters = [
        normal(dtype, shape[1:], scale=0.1, seed=2 + i) + (i == 0)
        for i in range(LAYERS[name])
    ]
    arguments = name, normal(dtype, shape), normal(dtype, shape, seed=1), *parameters
    return Case("layers", name, times(*shape), "layer", arguments, layers_close)


def layers_close(actual: tuple[Array, ...], expected: tuple[Array, ...]) -> None:
    """Rows and columns are summed in other orders: by thousands of roundings, as many
    up as down."""
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        scale = other.dtype.type(len(expected[0]) ** 0.5 if other.ndim == 1 else 1)
        close(one / scale, other / scale, 4)


def cases() -> list[Any]:
    return [
        parameter(both, name, *shape, brief=shape in BRIEF)
        for name in LAYERS
        for shape in SHAPES
    ]


@pytest.mark.parametrize("group", cases(), indirect=True)
def test_both_ways(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
