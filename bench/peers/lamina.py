"""Lamina: results into arrays made beforehand."""

from functools import partial
from itertools import count
from typing import Any

import numpy as np

import lamina as lm
from peers import Array, Call, both_ways


def facts() -> dict[str, Any]:
    return lm.show_config()


def forward(name: str, x: Array) -> Call:
    return partial(lm.activations.get(name), x, out=np.empty_like(x))


def backward(name: str, dy: Array, x: Array, y: Array) -> Call:
    activation = lm.activations.get(name)
    saved = y if activation.saves == "output" else x
    return partial(activation.backward, dy, saved, out=np.empty_like(dy))


def dense(x: Array, kernel: Array, bias: Array) -> partial[Any]:
    y = np.empty((len(x), len(bias)), x.dtype)
    return partial(lm.dense, x, kernel, bias, "relu", out=y)


def dense_packed(x: Array, kernel: Array, bias: Array) -> Call:
    y = np.empty((len(x), len(bias)), x.dtype)
    return partial(lm.dense, x, lm.pack(kernel, "auto"), bias, "relu", out=y)


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    out = np.empty_like(x), np.empty_like(kernel), np.empty(dy.shape[1], dy.dtype)
    return partial(lm.dense_backward, dy, x, kernel, y, "relu", out=out)


def dense_both(dy: Array, x: Array, kernel: Array, bias: Array) -> Call:
    layer = dense(x, kernel, bias)
    return both_ways(layer, dense_backward(dy, x, kernel, layer()))


def dense_dropout(rate: float, x: Array, kernel: Array, bias: Array) -> Call:
    return partial(dense(x, kernel, bias), dropout=rate, seed=0)


def matmul(a: Array, b: Array) -> Call:
    return partial(lm.matmul, a, b, out=np.empty((len(a), b.shape[1]), a.dtype))


def dropout(rate: float, x: Array) -> Call:
    return partial(lm.dropout, x, rate, seed=0, out=np.empty_like(x))


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    bits = np.packbits(kept, bitorder="little")
    return partial(lm.dropout_backward, dy, rate, mask=bits, out=np.empty_like(dy))


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    return loss(lm.losses.categorical_crossentropy, logits, labels)


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    return loss(lm.losses.binary_crossentropy, logits, targets)


def squared_error(outputs: Array, targets: Array) -> Call:
    return loss(lm.losses.mean_squared_error, outputs, targets)


def loss(function: lm.losses.Loss, outputs: Array, targets: Array) -> Call:
    gradient, n = np.empty_like(outputs), len(outputs)
    return lambda: (function(outputs, targets, None, gradient)[0] / n, gradient)


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    return updated(lm.SGD(0.01, momentum), w, dw)


def adam(w: Array, dw: Array) -> Call:
    return updated(lm.Adam(), w, dw)


def updated(optimizer: lm.optimizers.Optimizer, w: Array, dw: Array) -> Call:
    state, steps = np.zeros((optimizer.slots, w.size), w.dtype), count(1)

    def call() -> Array:
        optimizer.update(w, dw, state, next(steps))
        return w

    return call


def call(name: str, x: Array) -> Call:
    """Functions of a row of sixteen, as a policy of reinforcement learning would."""
    y, kernel = np.empty_like(x), np.eye(16, dtype=x.dtype)
    calls = {
        "sigmoid": partial(lm.sigmoid, x, out=y),
        "elu": partial(lm.elu, x, out=y),
        "sigmoid backward": partial(lm.sigmoid.backward, x, y, out=np.empty_like(x)),
        "softmax": partial(lm.softmax, x, out=y),
        "dropout": partial(lm.dropout, x, 0.5, seed=1, out=y),
        "dense": partial(lm.dense, x, kernel, kernel[0], "relu", out=y),
    }
    return calls[name]


def layer(name: str, dy: Array, x: Array, *parameters: Array) -> Call:
    """A net of the layer alone: beside its passes, a copy of dy and one of dx."""
    kinds: dict[str, lm.Layer] = {
        "scale": lm.Scale(),
        "prelu": lm.PReLU(),
        "mixed": lm.Mixed("gelu"),
        "layer_norm": lm.LayerNorm(),
        "batch_norm": lm.BatchNorm(),
    }
    net = lm.Sequential([kinds[name]], dtype=x.dtype)
    net.build(x.shape[1])
    net.parameters = np.concatenate(parameters)
    gradient = net.gradient.reshape(len(parameters), -1)
    y = net.layers[0].forward(x, training=True)
    core = net._net("backward", x)
    both = partial(core.backward, x, dy, True, 0, 0, True, False, True, None)
    return lambda: (y, both(), *gradient)
