"""numba: one compiled loop over the elements, with fastmath, without prange."""

import math
import re
from functools import partial
from typing import Any

import numba
import numpy as np

from peers import Array, Call
from peers.formulas import BACKWARD, FORWARD

# Without Python's check of every division, loops with one become vectors too.
compile_loop = numba.njit(fastmath=True, error_model="numpy")


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
    return partial(compile_loop(scope["loop"]), *arrays, out)


def forward(name: str, x: Array) -> Call | None:
    return compiled(FORWARD.get(name), x, x, x)


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    return compiled(BACKWARD.get(name), dy, x, y)


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call | None:
    formula = f"where(x, dy * c({1 / (1 - rate)}), c(0))"
    return compiled(formula, dy, kept, dy)


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    c, exp, log = logits.dtype.type, math.exp, math.log

    def loop(x, labels, gradient):  # type: ignore[no-untyped-def]
        rows, columns = x.shape
        loss = 0.0
        for i in range(rows):
            top = x[i, 0]
            for j in range(1, columns):
                top = max(top, x[i, j])
            total = c(0)
            for j in range(columns):
                gradient[i, j] = exp(x[i, j] - top)
                total += gradient[i, j]
            loss += log(total) + top - x[i, labels[i]]
            scale = c(1) / (total * c(rows))
            for j in range(columns):
                gradient[i, j] *= scale
            gradient[i, labels[i]] -= c(1) / c(rows)
        return loss / rows, gradient

    return looped(loop, logits, labels, np.empty_like(logits))


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    c, exp, log1p = logits.dtype.type, math.exp, math.log1p

    def loop(x, t, gradient):  # type: ignore[no-untyped-def]
        loss, share = 0.0, c(1) / c(x.size)
        for i in range(x.size):
            decay = exp(-abs(x[i]))
            loss += max(x[i], c(0)) - x[i] * t[i] + log1p(decay)
            right = (c(1) if x[i] > c(0) else decay) / (c(1) + decay)
            gradient[i] = (right - t[i]) * share
        return loss * share

    return flat(loop, logits, targets)


def squared_error(outputs: Array, targets: Array) -> Call:
    c = outputs.dtype.type

    def loop(y, t, gradient):  # type: ignore[no-untyped-def]
        loss, share = c(0), c(1) / c(y.size)
        for i in range(y.size):
            difference = y[i] - t[i]
            loss += difference * difference
            gradient[i] = difference * c(2) * share
        return loss * share

    return flat(loop, outputs, targets)


def flat(loop: Any, outputs: Array, targets: Array) -> Call:
    gradient = np.empty_like(outputs)
    run = looped(loop, outputs.reshape(-1), targets.reshape(-1), gradient.reshape(-1))
    return lambda: (run(), gradient)


def looped(loop: Any, *arguments: Any) -> Call:
    return partial(compile_loop(loop), *arguments)


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    rate, factor = w.dtype.type(0.01), w.dtype.type(momentum)

    def plain(w, dw):  # type: ignore[no-untyped-def]
        for i in range(w.size):
            w[i] -= rate * dw[i]
        return w

    def step(w, dw, v):  # type: ignore[no-untyped-def]
        for i in range(w.size):
            v[i] = factor * v[i] + dw[i]
            w[i] -= rate * v[i]
        return w

    return looped(step, w, dw, np.zeros_like(w)) if momentum else looped(plain, w, dw)


def adam(w: Array, dw: Array) -> Call:
    c, sqrt = w.dtype.type, math.sqrt

    def loop(w, dw, m, v, steps):  # type: ignore[no-untyped-def]
        steps[0] += 1
        second = math.sqrt(1 - 0.999 ** steps[0])
        rate, epsilon = c(1e-3 * second / (1 - 0.9 ** steps[0])), c(1e-8 * second)
        for i in range(w.size):
            m[i] = c(0.9) * m[i] + c(0.1) * dw[i]
            v[i] = c(0.999) * v[i] + c(0.001) * dw[i] * dw[i]
            w[i] -= rate * m[i] / (sqrt(v[i]) + epsilon)
        return w

    return looped(loop, w, dw, np.zeros_like(w), np.zeros_like(w), np.zeros(1))
