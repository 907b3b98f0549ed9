"""What a call costs where the work is nothing: functions of 16 elements."""

from collections.abc import Callable

import numpy as np
import pytest

from cases import Case, normal, parameter
from conftest import Group
from peers import Array

CALLS = ["sigmoid", "elu", "sigmoid backward", "softmax", "dropout", "dense"]


def call(dtype: str, name: str) -> Case:
    """NumPy's row is np.tanh(x, out=y) whatever the name: a ufunc as a yardstick."""
    x = normal(dtype, (1, 16))
    return Case("calls", f"{name} call", "16", "call", (name, x), same_shape)


def same_shape(actual: Array, expected: Array) -> None:
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()


@pytest.mark.parametrize("group", [parameter(call, n) for n in CALLS], indirect=True)
def test_call(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
