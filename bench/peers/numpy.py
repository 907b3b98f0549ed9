"""NumPy: the forms of `numpy_forms`, with results and scratch made beforehand."""

from functools import partial
from itertools import count
from typing import Any

import numpy as np

import numpy_forms
from peers import Array, Call, both_ways


def facts() -> dict[str, Any]:
    """The instruction sets it uses beyond those that it always does."""
    return {"simd": np.show_config(mode="dicts")["SIMD Extensions"]["found"]}


def forward(name: str, x: Array) -> Call | None:
    form = getattr(numpy_forms, name, None)
    return form and partial(form, x, np.empty_like(x), *scratch(x))


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    form = getattr(numpy_forms, f"{name}_backward", None)
    saved = x if name in numpy_forms.BACKWARD_FROM_INPUT else y
    return form and partial(form, dy, saved, np.empty_like(dy), *scratch(dy))


def scratch(x: Array) -> list[Array]:
    """What a form takes besides arguments and result."""
    if x.ndim == 1:
        return [np.zeros_like(x), np.empty_like(x), np.empty_like(x)]
    rows, columns = x.shape
    return [
        np.empty((rows, 1), x.dtype),
        np.ones((columns, 1), x.dtype),
        np.empty_like(x),
    ]


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    y, zeros = (make((len(x), len(bias)), x.dtype) for make in (np.empty, np.zeros))
    return partial(numpy_forms.dense, x, kernel, bias, y, zeros)


dense_packed = dense  # in float32: what a user has without us


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    out = np.empty_like(x), np.empty_like(kernel), np.empty(dy.shape[1], dy.dtype)
    ones = np.ones(len(dy), dy.dtype)
    return partial(
        numpy_forms.dense_backward, dy, x, kernel, y, out, np.empty_like(dy), ones
    )


def dense_both(dy: Array, x: Array, kernel: Array, bias: Array) -> Call:
    layer = dense(x, kernel, bias)
    return both_ways(layer, dense_backward(dy, x, kernel, layer()))


def dense_dropout(rate: float, x: Array, kernel: Array, bias: Array) -> Call:
    layer = dense(x, kernel, bias)
    drop = dropout(rate, layer().reshape(-1))

    def call() -> Any:
        layer()
        return drop()

    return call


def matmul(a: Array, b: Array) -> Call:
    return partial(numpy_forms.matmul, a, b, np.empty((len(a), b.shape[1]), a.dtype))


def dropout(rate: float, x: Array) -> Call:
    cut = round(rate * 65536)
    return partial(
        numpy_forms.dropout,
        x,
        np.empty_like(x),
        np.empty_like(x),
        np.random.SFC64(0),
        np.array(cut, np.uint16),
        np.array(65536 / (65536 - cut), x.dtype),
    )


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    mask = kept / np.array(1 - rate, dy.dtype)
    return partial(numpy_forms.dropout_backward, dy, mask, np.empty_like(dy))


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    starts = np.arange(0, logits.size, logits.shape[1])
    row, ones, like_logits = scratch(logits)
    return partial(
        numpy_forms.softmax_cross_entropy,
        logits,
        labels,
        np.empty_like(logits),
        row,
        ones,
        like_logits,
        starts,
        np.empty_like(starts),
        np.empty(len(logits), logits.dtype),
    )


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    gradient, x = np.empty_like(logits), logits.reshape(-1)
    form = partial(
        numpy_forms.sigmoid_cross_entropy,
        x,
        targets.reshape(-1),
        gradient.reshape(-1),
        np.empty_like(x),
        np.ones_like(x),
        np.array(1 / x.size, x.dtype),
    )
    return lambda: (form()[0], gradient)


def squared_error(outputs: Array, targets: Array) -> Call:
    gradient, y = np.empty_like(outputs), outputs.reshape(-1)
    share = np.array(2 / y.size, y.dtype)
    flat = targets.reshape(-1), gradient.reshape(-1)
    form = partial(numpy_forms.squared_error, y, *flat, share)
    return lambda: (form()[0], gradient)


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    arguments = w, dw, np.empty_like(w), np.array(0.01, w.dtype)
    if not momentum:
        return partial(numpy_forms.sgd, *arguments)
    velocity, factor = np.zeros_like(w), np.array(momentum, w.dtype)
    return partial(numpy_forms.sgd_momentum, *arguments, velocity, factor)


def adam(w: Array, dw: Array) -> Call:
    betas = np.array(0.9, w.dtype), np.array(0.999, w.dtype)
    scratch, m, v = np.empty_like(w), np.zeros_like(w), np.zeros_like(w)
    steps = count(1)
    return lambda: numpy_forms.adam(w, dw, scratch, m, v, next(steps), *betas)


def call(name: str, x: Array) -> Call:
    """The yardstick of calls, whatever their name."""
    return partial(np.tanh, x, out=np.empty_like(x))


def layer(name: str, dy: Array, x: Array, *parameters: Array) -> Call:
    form = getattr(numpy_forms, name)
    return partial(form, dy, x, *parameters, *(np.empty_like(x) for _ in range(3)))
