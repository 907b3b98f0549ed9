"""Cold starts: a process of its own, from nothing to the library imported, and to a net
trained by one step, with the most memory that it held on the way.

Each starts Python and imports NumPy: NumPy's own row is little else.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench_training import step
from cases import Case, parameter
from conftest import Group


def load(dtype: str) -> Case:
    return Case("cold start", "import", "1", "", (), cold=True)


def first_step(dtype: str, batch: int, *widths: int) -> Case:
    case = step(dtype, 0.5, batch, *widths)
    return replace(case, table="cold start", operation="first step", cold=True)


@pytest.mark.parametrize(
    "group",
    [
        parameter(load),
        parameter(first_step, 32, 64, 128, 64, 10),
        parameter(first_step, 512, 784, 1024, 1024, 10, brief=False),
    ],
    indirect=True,
)
def test_start(group: Group, measure: Callable[[Group], None]) -> None:
    measure(group)
