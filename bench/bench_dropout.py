"""Dropout, inverted: forward with its random bits, backward from a stored mask."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from cases import Case, normal, parameter
from conftest import Group
from peers import Array

SIZES = [1, 16, 1_000, 16_384, 1_048_576, 16_777_216]
BRIEF = SIZES[2:5]
RATES = [0.1, 0.5]


def forward(dtype: str, rate: float, size: int) -> Case:
    x = normal(dtype, (size,))
    agree = partial(same_distribution, x, rate)
    return Case("dropout", f"dropout {rate}", str(size), "dropout", (rate, x), agree)


def backward(dtype: str, rate: float, size: int) -> Case:
    """From a stored mask, in the form that each library's forward leaves."""
    kept = np.random.default_rng(1).random(size) >= rate
    operands = rate, normal(dtype, (size,)), kept
    operation = f"dropout {rate} backward"
    return Case("dropout", operation, str(size), "dropout_backward", operands)


def same_distribution(x: Array, rate: float, y: Array, other: Array) -> None:
    """Each element is 0 or scaled; how many are 0 lies within 6 standard deviations."""
    for side in (y, other):
        kept = side != 0
        np.testing.assert_allclose(
            side[kept],
            x[kept] / (1 - rate),
            rtol=2e-5,  # a rate may be rounded to sixteen bits
        )
        spread = 6 * (rate * (1 - rate) * x.size) ** 0.5
        assert abs(x.size - kept.sum() - rate * x.size) <= max(spread, 1)


@pytest.mark.parametrize(
    "group",
    [
        parameter(forward, rate, size, brief=size in BRIEF)
        for rate in RATES
        for size in SIZES
    ],
    indirect=True,
)
def test_dropout(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize(
    "group",
    [parameter(backward, 0.5, size, brief=size in BRIEF) for size in SIZES],
    indirect=True,
)
def test_dropout_backward(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
