"""numexpr: expressions compiled beforehand, called without evaluate's look-ups."""

import re
from functools import partial
from itertools import count
from typing import Any

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
    return into(np.empty_like(next(iter(used.values()))), formula, **used)


def into(out: Array | None, formula: str, **arrays: Array) -> Call:
    """Into one of the arrays themselves too; without `out`, of a reduction."""
    dtype = next(iter(arrays.values())).dtype
    kind = {"float32": "float", "float64": "double"}[dtype.name]
    scope = functions | {name: VariableNode(name, kind) for name in arrays}
    scope["c"] = lambda value: ConstantNode(dtype.type(value))
    signature = [(name, kind_to_type[kind]) for name in arrays]
    call = ne.NumExpr(eval(formula, scope), signature)
    options = {"order": "K", "casting": "safe", "ex_uses_vml": False}
    return partial(call, *arrays.values(), out=out, **options)


def forward(name: str, x: Array) -> Call | None:
    return compiled(FORWARD.get(name), x=x)


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    return compiled(BACKWARD.get(name), dy=dy, x=x, y=y)


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call | None:
    mask = kept / dy.dtype.type(1 - rate)
    return compiled("dy * x", dy=dy, x=mask)


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    loss = f"sum({FORWARD['softplus']} - x * t)"
    share = f"c({1 / logits.size})"
    gradient = f"({FORWARD['sigmoid']} - t) * {share}"
    return value_and_gradient(loss, gradient, x=logits, t=targets)


def squared_error(outputs: Array, targets: Array) -> Call:
    gradient = f"(x - t) * c({2 / outputs.size})"
    return value_and_gradient("sum((x - t) * (x - t))", gradient, x=outputs, t=targets)


def value_and_gradient(loss: str, gradient: str, x: Array, t: Array) -> Call:
    """The sum over flat arrays, which numexpr reduces faster than two axes."""
    dx = np.empty_like(x)
    total = into(None, loss, x=x.reshape(-1), t=t.reshape(-1))
    differentiate = into(dx, gradient, x=x, t=t)
    return lambda: (total() / x.size, differentiate())


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    if not momentum:
        return into(w, "w - c(0.01) * dw", w=w, dw=dw)
    v = np.zeros_like(w)
    accelerate = into(v, f"c({momentum}) * v + dw", v=v, dw=dw)
    step = into(w, "w - c(0.01) * v", w=w, v=v)
    return lambda: (accelerate(), step())[1]


def adam(w: Array, dw: Array) -> Call:
    """One expression for each array that changes."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    rate, epsilon = np.empty((), w.dtype), np.empty((), w.dtype)
    mean = into(m, "c(0.9) * m + c(0.1) * dw", m=m, dw=dw)
    square = into(v, "c(0.999) * v + c(0.001) * dw * dw", v=v, dw=dw)
    formula = "w - rate * m / (sqrt(v) + epsilon)"
    step = into(w, formula, w=w, m=m, v=v, rate=rate, epsilon=epsilon)
    steps = count(1)

    def call() -> Any:
        done = next(steps)
        root = (1 - 0.999**done) ** 0.5
        rate[()] = 1e-3 * root / (1 - 0.9**done)
        epsilon[()] = 1e-8 * root
        mean()
        square()
        return step()

    return call
