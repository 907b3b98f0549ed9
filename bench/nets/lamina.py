"""Lamina: a `Sequential` and its optimizer."""

from functools import partial

import numpy as np

import lamina as lm
from peers import Array, Call

Weights = tuple[tuple[Array, Array], ...]


def net(weights: Weights, rate: float = 0.0) -> lm.Sequential:
    *hidden, (_, last) = weights
    layers: list[lm.Layer] = []
    for _, bias in hidden:
        layers.append(lm.Dense(len(bias), "relu"))
        layers += [lm.Dropout(rate)] if rate else []
    layers.append(lm.Dense(len(last), "softmax"))
    made = lm.Sequential(layers, seed=0, dtype=last.dtype)
    made.build(len(weights[0][0]))
    dense = (layer for layer in layers if isinstance(layer, lm.Dense))
    for layer, (kernel, bias) in zip(dense, weights, strict=True):
        layer.parameters["kernel"][...] = kernel
        layer.parameters["bias"][...] = bias
    return made


def training_step(weights: Weights, x: Array, labels: Array, rate: float) -> Call:
    made = net(weights, rate)
    step = partial(made.train_on_batch, x, labels)
    return lambda: step()["loss"]


def narrow_training_step(
    weights: Weights, x: Array, labels: Array, rate: float
) -> Call:
    made = net(weights, rate)
    step = partial(made.train_on_batch, x, labels, precision="auto")
    return lambda: step()["loss"]


def epoch(weights: Weights, x: Array, labels: Array, rate: float, batch: int) -> Call:
    made = net(weights, rate)
    fit = partial(made.fit, x, labels, batch_size=batch, verbose=0)
    return lambda: fit()["loss"][-1]


def predict(weights: Weights, x: Array) -> Call:
    out = np.empty((len(x), len(weights[-1][1])), x.dtype)
    return partial(net(weights).predict, x, out=out)
