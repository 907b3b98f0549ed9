"""numba: one compiled loop over the elements, with fastmath, without prange."""

import math
import re
from functools import partial

import numba
import numpy as np

from peers import Array, Call
from peers.formulas import BACKWARD, FORWARD


@numba.njit
def where(condition, true, false):  # type: ignore[no-untyped-def]
    return true if condition else false


FUNCTIONS = {name: getattr(math, name) for name in ("exp", "expm1", "log1p", "tanh")}
FUNCTIONS |= {"erf": math.erf, "sqrt": math.sqrt, "abs": abs, "where": where}

LOOP = """
def loop(dy, x, y, out):
    for i in range(out.size):
        out[i] = {}
    return out
"""


def compiled(formula: str | None, *arrays: Array) -> Call | None:
    """The formula, element by element, into an array made beforehand."""
    if formula is None:
        return None
    elements = re.sub(r"\b(dy|x|y)\b", r"\1[i]", formula)
    out = np.empty_like(arrays[0])
    scope = FUNCTIONS | {"c": out.dtype.type}
    exec(LOOP.format(elements), scope)
    return partial(numba.njit(fastmath=True)(scope["loop"]), *arrays, out)


def forward(name: str, x: Array) -> Call | None:
    return compiled(FORWARD.get(name), x, x, x)


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    return compiled(BACKWARD.get(name), dy, x, y)


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call | None:
    formula = f"where(x, dy * c({1 / (1 - rate)}), c(0))"
    return compiled(formula, dy, kept, dy)
