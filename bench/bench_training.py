"""Training of whole nets by Adam: a step, an epoch, and how their times grow.

All libraries start from the same weights and take the same batch. With dropout each
draws bits of its own: what they agree on is the loss without.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import bench_optimizers
from cases import Case, normal, parameter
from conftest import Group
from peers import Array

Weights = tuple[tuple[Array, Array], ...]

# (batch, features, hidden units ..., classes)
NETS = [
    (1, 64, 64, 10),
    (32, 64, 128, 64, 10),
    (32, 784, 256, 128, 10),
    (256, 20, 64, 64, 2),
    (128, 784, 512, 512, 10),
    (512, 784, 1024, 1024, 10),
]
BRIEF = NETS[:4]
NARROW = (256, 10, 256, 256, 256, 2)
# (rows, batch, features, hidden units ..., classes): all batches are full
EPOCHS = [(1_792, 32, 64, 128, 64, 10), (8_192, 256, 20, 64, 64, 2)]
RATES = [0.5, 0.0]
STEPS_COMPARED, EPOCHS_COMPARED = 10, 3

GROWTH = {
    "batch": [1, 4, 16, 64, 256, 1024, 4096],
    "width": [16, 32, 64, 128, 256, 512, 1024],
    "depth": [1, 2, 4, 8, 16, 32],
}
BRIEF_GROWTH = {"batch": [1, 16, 256, 4096], "width": [16, 64, 256, 1024], "depth": []}
PARAMETERS = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]


def step(dtype: str, rate: float, batch: int, *widths: int) -> Case:
    operation = f"step, dropout {rate}" if rate else "step, no dropout"
    operands = weights(dtype, *widths), *examples(dtype, batch, *widths)
    return Case(
        "training step",
        operation,
        f"{batch}: {net(*widths)}",
        "nets.training_step",
        (*operands, rate),
        losses_close,
        rehearsal=(*operands, 0.0),
        calls=STEPS_COMPARED,
    )


def narrow_step(dtype: str, batch: int, *widths: int) -> Case:
    """In bfloat16 where that gains; "step, no dropout" has our float32 of the size."""
    case = step(dtype, 0.0, batch, *widths)
    return replace(
        case,
        operation="step in bf16",
        function="nets.narrow_training_step",
        agree=narrow_losses_close,
    )


def epoch(dtype: str, rate: float, rows: int, batch: int, *widths: int) -> Case:
    operation = "fit of an epoch" if rate else "fit of an epoch, no dropout"
    operands = weights(dtype, *widths), *examples(dtype, rows, *widths)
    return Case(
        "epoch",
        operation,
        f"{rows} by {batch}: {net(*widths)}",
        "nets.epoch",
        (*operands, rate, batch),
        losses_alike,
        rehearsal=(*operands, 0.0, batch),
        calls=EPOCHS_COMPARED,
    )


def growth(dtype: str, by: str, size: int) -> Case:
    """Steps with dropout; the size is a number, for the exponents.

    A few steps are compared: roundings grow thousandfold in ten steps of a deep net.
    """
    shapes = {
        "batch": (size, 64, 128, 64, 10),
        "width": (64, 64, size, size, 10),
        "depth": (64, 64, *[128] * size, 10),
    }
    case = step(dtype, 0.5, *shapes[by])
    table, operation = f"growth by {by}", "training step"
    return replace(case, table=table, operation=operation, size=str(size), calls=3)


def adam(dtype: str, parameters: int) -> Case:
    case = bench_optimizers.adam(dtype, parameters)
    return replace(case, table="growth by parameters")


def net(*widths: int) -> str:
    return "-".join(map(str, widths))


def weights(dtype: str, *widths: int) -> Weights:
    """At the scale of He et al.; biases are zero."""
    return tuple(
        (normal(dtype, shape, (2 / shape[0]) ** 0.5, seed), np.zeros(shape[1], dtype))
        for seed, shape in enumerate(pairwise(widths))
    )


def examples(dtype: str, rows: int, *widths: int) -> tuple[Array, Array]:
    """Normal rows, and labels that can be learnt: the largest of linear functions."""
    x = normal(dtype, (rows, widths[0]), seed=100)
    functions = normal(dtype, (widths[0], widths[-1]), seed=101)
    return x, (x @ functions).argmax(axis=1)


def losses_close(actual: Array, expected: Array) -> None:
    """Losses fall by 0.4 to 3 in the steps compared, and differ by 4e-4 at most.

    Sums in another order tell by 3e-5. The rest is that scikit-learn and thinc add
    epsilon before Adam corrects the second moment: it then counts up to
    1 / sqrt(0.001) times, next to gradients that may be as small.
    """
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-3)


def narrow_losses_close(actual: Array, expected: Array) -> None:
    """What is rounded, and where, differs: PyTorch rounds outputs, too."""
    np.testing.assert_allclose(actual, expected, rtol=0.02, atol=0.02)


def losses_alike(actual: Array, expected: Array) -> None:
    """After three epochs, in orders that differ: losses do by up to 3 percent.

    An epoch more or less would be ten percent at least.
    """
    np.testing.assert_allclose(actual, expected, rtol=0.06)


@pytest.mark.parametrize(
    "group",
    [
        parameter(step, rate, *n, brief=n in BRIEF and rate > 0)
        for rate in RATES
        for n in NETS
    ],
    indirect=True,
)
def test_step(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


@pytest.mark.parametrize(
    "group",
    [parameter(narrow_step, *n, brief=False) for n in [*NETS, NARROW]],
    indirect=True,
)
def test_narrow_step(group: Group, measure: Callable[[Group], None]) -> None:
    if group.case.arguments[0][0][0].dtype != np.float32:
        pytest.skip("bf16 takes the place of float32")
    measure(group)


@pytest.mark.parametrize(
    "group",
    [parameter(epoch, rate, *e, brief=rate > 0) for rate in RATES for e in EPOCHS],
    indirect=True,
)
def test_epoch(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)


def growth_cases() -> list[Any]:
    steps = [
        parameter(growth, by, size, brief=size in BRIEF_GROWTH[by])
        for by, sizes in GROWTH.items()
        for size in sizes
    ]
    return steps + [parameter(adam, size, brief=False) for size in PARAMETERS]


@pytest.mark.parametrize("group", growth_cases(), indirect=True)
def test_growth(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
