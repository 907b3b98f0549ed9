"""Losses with their gradients, as the last step of forward and the first of backward.

Each gives the mean and the gradient of that mean by logits or outputs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cases import Case, close, normal, parameter, times
from conftest import Group
from peers import Array

SOFTMAX = [(32, 10), (256, 10), (2048, 10), (256, 1000)]
SIGMOID = [(256, 1), (2048, 1), (256, 100)]
SQUARED = [(256, 1), (256, 100)]


def softmax(dtype: str, *shape: int) -> Case:
    labels = np.random.default_rng(1).integers(shape[1], size=shape[0])
    return case("softmax", "cross_entropy", logits(dtype, shape), labels)


def sigmoid(dtype: str, *shape: int) -> Case:
    targets = (normal(dtype, shape, seed=1) > 0).astype(dtype)
    return case("sigmoid", "cross_entropy", logits(dtype, shape), targets)


def squared(dtype: str, *shape: int) -> Case:
    return case("squared", "error", logits(dtype, shape), normal(dtype, shape, seed=1))


def logits(dtype: str, shape: tuple[int, ...]) -> Array:
    return normal(dtype, shape, scale=2.0)


def case(kind: str, loss: str, outputs: Array, targets: Array) -> Case:
    operation, function = f"{kind} {loss.replace('_', '-')}", f"{kind}_{loss}"
    size, arguments = times(*outputs.shape), (outputs, targets)
    return Case("losses", operation, size, function, arguments, losses_close)


def losses_close(actual: tuple[Array, Array], expected: tuple[Array, Array]) -> None:
    """Gradients as close as activations are, but for the 1 / n of the mean.

    A loss is a mean of terms of one sign, summed in float64 or in the type of the
    gradient: roundings of thousands of partial sums, as many up as down.
    """
    (loss, gradient), (our_loss, ours) = actual, expected
    terms = ours.dtype.type(len(ours))
    close(gradient * terms, ours * terms)
    close(loss.astype(ours.dtype), our_loss.astype(ours.dtype))


def cases(build: Callable[..., Case], shapes: list[tuple[int, int]]) -> list[Any]:
    return [parameter(build, *shape) for shape in shapes]


@pytest.mark.parametrize("group", cases(softmax, SOFTMAX), indirect=True)
def test_softmax_cross_entropy(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize("group", cases(sigmoid, SIGMOID), indirect=True)
def test_sigmoid_cross_entropy(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize("group", cases(squared, SQUARED), indirect=True)
def test_squared_error(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
