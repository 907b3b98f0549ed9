"""numexpr: expressions compiled beforehand, called without evaluate's look-ups."""

import re
from functools import partial

import numexpr as ne
import numpy as np
from numexpr.expressions import ConstantNode, VariableNode, functions
from numexpr.necompiler import kind_to_type

from peers import Array, Call
from peers.formulas import BACKWARD, FORWARD


def compiled(formula: str | None, **arrays: Array) -> Call | None:
    """The formula of those arrays that it names, into an array made beforehand."""
    if formula is None or "erf" in formula:
        return None
    used = {name: a for name, a in arrays.items() if re.search(rf"\b{name}\b", formula)}
    out = np.empty_like(next(iter(used.values())))
    kind = {"float32": "float", "float64": "double"}[out.dtype.name]
    scope = functions | {name: VariableNode(name, kind) for name in used}
    scope["c"] = lambda value: ConstantNode(out.dtype.type(value))
    signature = [(name, kind_to_type[kind]) for name in used]
    call = ne.NumExpr(eval(formula, scope), signature)
    options = {"order": "K", "casting": "safe", "ex_uses_vml": False}
    return partial(call, *used.values(), out=out, **options)


def forward(name: str, x: Array) -> Call | None:
    return compiled(FORWARD.get(name), x=x)


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    return compiled(BACKWARD.get(name), dy=dy, x=x, y=y)


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call | None:
    mask = kept / dy.dtype.type(1 - rate)
    return compiled("dy * x", dy=dy, x=mask)
