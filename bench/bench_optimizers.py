"""Updates of all parameters of a net, held in one flat array, by SGD and Adam.

Parameters start at zero, so that what is compared is the sum of the steps. The gradient
stays the same, and the timed calls go on from there: the velocity tends to ten times
the gradient, the moments to the gradient and its square, and a million steps of at most
a tenth of the gradient stay far from overflow.
"""

from collections.abc import Callable

import numpy as np
import pytest

from cases import Case, normal, parameter
from conftest import Group
from peers import Array

SIZES = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
BRIEF = [10_000, 1_000_000]
MOMENTA = [0.0, 0.9]
STEPS = 3


def sgd(dtype: str, momentum: float, size: int) -> Case:
    operation = f"sgd momentum {momentum}" if momentum else "sgd"
    arguments = (momentum, *parameters(dtype, size))
    agree = steps_close
    return Case(
        "optimizers", operation, str(size), "sgd", arguments, agree, calls=STEPS
    )


def adam(dtype: str, size: int) -> Case:
    arguments = parameters(dtype, size)
    agree = steps_close
    return Case("optimizers", "adam", str(size), "adam", arguments, agree, calls=STEPS)


def parameters(dtype: str, size: int) -> tuple[Array, Array]:
    """With gradients from 1/2 on: Adam divides by them."""
    dw = normal(dtype, (size,))
    dw += np.copysign(dw.dtype.type(0.5), dw)
    return np.zeros_like(dw), dw


def steps_close(actual: Array, expected: Array) -> None:
    """Roundings, and two things in which Adam's forms differ.

    Held in the type of the arrays, beta_2 = 0.999 makes 1 - beta_2 wrong by up to 250
    epsilons. Added before the correction of the bias instead of after, the 1e-8 of the
    first step counts 1 / sqrt(0.001) times, next to gradients of at least 1/2.
    """
    tolerance = 300 * np.finfo(expected.dtype).eps + 1e-8 / 0.001**0.5 / 0.5
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize(
    "group",
    [parameter(sgd, m, size, brief=size in BRIEF) for m in MOMENTA for size in SIZES],
    indirect=True,
)
def test_sgd(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize(
    "group",
    [parameter(adam, size, brief=size in BRIEF) for size in SIZES],
    indirect=True,
)
def test_adam(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
