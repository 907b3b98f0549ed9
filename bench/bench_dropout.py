"""Dropout, inverted: forward with its random bits, backward from a stored mask."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import lamina as lm
import numpy_forms
from cases import Array, Case, empty, normal, parameter

SIZES = [1, 16, 1_000, 16_384, 1_048_576, 16_777_216]
RATES = [0.1, 0.5]


def forward(rate: float, size: int) -> Case:
    x = normal((size,))
    threshold = cut(rate)
    sides = {
        "lamina": partial(lm.dropout, x, rate, seed=0, out=empty(size)),
        "numpy": partial(
            numpy_forms.dropout,
            x,
            empty(size),
            empty(size),
            np.random.SFC64(0),
            np.array(threshold, np.uint16),
            scale(threshold),
        ),
    }
    agree = partial(same_distribution, x, threshold)
    return Case("dropout", f"dropout {rate}", str(size), sides, agree)


def backward(rate: float, size: int) -> Case:
    """From a mask: bits here, 0 or the scale in float32 there, which is one product."""
    dy = normal((size,))
    bits = lm.dropout_mask(size, rate, seed=0)
    kept = np.unpackbits(bits, count=size, bitorder="little")
    mask = kept * scale(cut(rate))
    sides = {
        "lamina": partial(lm.dropout_backward, dy, rate, mask=bits, out=empty(size)),
        "numpy": partial(numpy_forms.dropout_backward, dy, mask, empty(size)),
    }
    return Case("dropout", f"dropout {rate} backward", str(size), sides)


def cut(rate: float) -> int:
    """How many of the 65 536 values of sixteen bits drop an element."""
    return round(rate * 65536)


def scale(threshold: int) -> Array:
    return np.array(65536 / (65536 - threshold), np.float32)


def same_distribution(x: Array, threshold: int, y: Array, other: Array) -> None:
    """Each element is 0 or scaled; how many are 0 lies within 6 standard deviations."""
    rate = threshold / 65536
    for side in (y, other):
        kept = side != 0
        np.testing.assert_allclose(
            side[kept],
            x[kept] * scale(threshold),
            rtol=1e-6,  # two roundings
        )
        spread = 6 * (rate * (1 - rate) * x.size) ** 0.5
        assert abs(x.size - kept.sum() - rate * x.size) <= max(spread, 1)


@pytest.mark.parametrize(
    "case",
    [parameter(forward, rate, size) for rate in RATES for size in SIZES],
    indirect=True,
)
def test_dropout(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)


@pytest.mark.parametrize(
    "case", [parameter(backward, 0.5, size) for size in SIZES], indirect=True
)
def test_dropout_backward(case: Case, measure: Callable[[Case], None]) -> None:
    measure(case)
