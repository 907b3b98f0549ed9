"""Lamina: results into arrays made beforehand."""

from functools import partial
from typing import Any

import numpy as np

import lamina as lm
from peers import Array, Call


def facts() -> dict[str, Any]:
    return lm.show_config()


def forward(name: str, x: Array) -> Call:
    return partial(lm.activations.get(name), x, out=np.empty_like(x))


def backward(name: str, dy: Array, x: Array, y: Array) -> Call:
    activation = lm.activations.get(name)
    saved = y if activation.saves == "output" else x
    return partial(activation.backward, dy, saved, out=np.empty_like(dy))


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    y = np.empty((len(x), len(bias)), x.dtype)
    return partial(lm.dense, x, kernel, bias, "relu", out=y)


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    out = np.empty_like(x), np.empty_like(kernel), np.empty(dy.shape[1], dy.dtype)
    return partial(lm.dense_backward, dy, x, kernel, y, "relu", out=out)


def matmul(a: Array, b: Array) -> Call:
    return partial(lm.matmul, a, b, out=np.empty((len(a), b.shape[1]), a.dtype))


def dropout(rate: float, x: Array) -> Call:
    return partial(lm.dropout, x, rate, seed=0, out=np.empty_like(x))


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    bits = np.packbits(kept, bitorder="little")
    return partial(lm.dropout_backward, dy, rate, mask=bits, out=np.empty_like(dy))
