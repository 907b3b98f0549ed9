"""Inference: the probabilities that whole nets give a batch."""

from collections.abc import Callable

import pytest

from bench_training import BRIEF, NETS, examples, net, weights
from cases import Case, parameter
from conftest import Group

ONE_ROW = (1, 784, 256, 128, 10)


def predict(dtype: str, batch: int, *widths: int) -> Case:
    """Probabilities near 0 have the roundings of what is near 1, absolutely."""
    arguments = weights(dtype, *widths), examples(dtype, batch, *widths)[0]
    size = f"{batch}: {net(*widths)}"
    return Case("inference", "predict", size, "nets.predict", arguments)


@pytest.mark.parametrize(
    "group",
    [parameter(predict, *n, brief=n in [*BRIEF, ONE_ROW]) for n in [ONE_ROW, *NETS]],
    indirect=True,
)
def test_predict(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
