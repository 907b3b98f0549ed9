"""NumPy: everything made beforehand and written in place.

Parameters and their gradients are flat buffers that the layers view: one update of all.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import numpy_forms
from peers import Array, Call
from peers.numpy import adam, scratch

Weights = tuple[tuple[Array, Array], ...]


def training_step(weights: Weights, x: Array, labels: Array, rate: float) -> Call:
    targets = shares(labels, weights, len(x))
    step = training(weights, len(x), rate)
    return lambda: step(x, targets)


def epoch(weights: Weights, x: Array, labels: Array, rate: float, batch: int) -> Call:
    """All batches are full; targets are made beforehand and gathered like the rows."""
    targets = shares(labels, weights, batch)
    step = training(weights, batch, rate)
    generator, order = np.random.Generator(np.random.SFC64(0)), np.arange(len(x))
    some_x, some_targets = x[:batch].copy(), targets[:batch].copy()

    def call() -> float:
        generator.shuffle(order)
        loss = 0.0
        for rows in order.reshape(-1, batch):
            x.take(rows, 0, some_x, "clip")  # "raise" makes a copy
            targets.take(rows, 0, some_targets, "clip")
            loss += step(some_x, some_targets)
        return loss * batch / len(x)

    return call


def predict(weights: Weights, x: Array) -> Call:
    outputs = outputs_of(weights, len(x))
    zeros, logits = [np.zeros_like(y) for y in outputs], outputs[-1]
    y, extra = np.empty_like(logits), scratch(logits)

    def call() -> Any:
        forward(x, weights, outputs, zeros)
        return numpy_forms.softmax(logits, y, *extra)

    return call


def outputs_of(weights: Weights, rows: int) -> list[Array]:
    return [np.empty((rows, len(bias)), bias.dtype) for _, bias in weights]


def shares(labels: Array, weights: Weights, rows: int) -> Array:
    """What each label has in the mean over so many rows; other classes nothing."""
    bias = weights[-1][1]
    hot = np.equal(labels[:, np.newaxis], np.arange(len(bias)))
    return np.divide(hot, rows, dtype=bias.dtype)


def forward(
    x: Array,
    weights: Weights,
    outputs: Sequence[Array],
    zeros: Sequence[Array],
    masks: Sequence[Array] = (),
) -> None:
    """Fill the outputs: those of hidden layers, then the logits."""
    *hidden, (kernel, bias) = weights
    for i, (layer, y) in enumerate(zip(hidden, outputs, strict=False)):
        numpy_forms.dense(x, *layer, y, zeros[i])
        if masks:
            np.multiply(y, masks[i], out=y)
        x = y
    x.dot(kernel, out=outputs[-1])
    np.add(outputs[-1], bias, out=outputs[-1])


def training(
    weights: Weights, rows: int, rate: float
) -> Callable[[Array, Array], float]:
    """A step of Adam on `x` and the `shares` of its labels."""
    parameters, layers = flat(weights)
    gradients, slopes = flat(weights)
    update = adam(parameters, gradients)
    outputs = outputs_of(weights, rows)
    zeros = [np.zeros_like(y) for y in outputs]
    dzs, dys = ([np.empty_like(y) for y in outputs] for _ in range(2))
    draw, masks = masking(outputs[:-1], rate)
    loss = loss_of(outputs[-1], dzs[-1])
    ones = np.ones(rows, parameters.dtype)

    def step(x: Array, targets: Array) -> float:
        draw()
        forward(x, layers, outputs, zeros, masks)
        value = loss(targets)
        for i in reversed(range(len(layers))):
            (kernel, _), (dkernel, dbias), dz = layers[i], slopes[i], dzs[i]
            ones.dot(dz, out=dbias)
            if not i:
                x.T.dot(dz, out=dkernel)
                break
            y, dy, below = outputs[i - 1], dys[i - 1], dzs[i - 1]
            y.T.dot(dz, out=dkernel)
            dz.dot(kernel.T, out=dy)
            numpy_forms.relu_backward(dy, y, below)
            if rate:
                np.multiply(below, masks[i - 1], out=below)
        update()
        return value

    return step


def loss_of(logits: Array, dz: Array) -> Callable[[Array], float]:
    """The mean of log(sum(exp(z))) - z at the label, and its gradient into dz."""
    row, columns, s = scratch(logits)
    count, logs = np.array(len(row), row.dtype), np.empty(len(row), row.dtype)
    sums, mean = row.ravel(), np.full_like(logs, 1 / len(row))

    def loss(targets: Array) -> float:
        numpy_forms._row_maximum(logits, row, s)
        np.subtract(logits, row, out=logits)
        at_labels = targets.ravel().dot(logits.ravel())
        np.exp(logits, out=dz)
        dz.dot(columns, out=row)
        np.log(sums, out=logs)
        np.multiply(row, count, out=row)
        np.divide(dz, row, out=dz)
        np.subtract(dz, targets, out=dz)
        return float(mean.dot(logs) - at_labels)

    return loss


def masking(outputs: Sequence[Array], rate: float) -> tuple[Call, list[Array]]:
    """Masks of 0 and the scale, as in `numpy_forms.dropout`, drawn all at once."""
    if not rate:
        return lambda: None, []
    generator, cut = np.random.SFC64(0), round(rate * 65536)
    ends = np.cumsum([y.size for y in outputs])
    mask = np.empty(ends[-1], outputs[0].dtype)
    threshold = np.array(cut, np.uint16)
    scale = np.array(65536 / (65536 - cut), mask.dtype)
    words = -(-mask.size // 4)

    def draw() -> None:
        bits = generator.random_raw(words).view(np.uint16)[: mask.size]
        np.greater_equal(bits, threshold, out=mask)
        np.multiply(mask, scale, out=mask)

    parts = np.split(mask, ends[:-1])
    return draw, [p.reshape(y.shape) for p, y in zip(parts, outputs, strict=True)]


def flat(weights: Weights) -> tuple[Array, Weights]:
    """A copy of all in one array, and the weights as views of it."""
    arrays = [array for pair in weights for array in pair]
    whole = np.concatenate([array.ravel() for array in arrays])
    parts = np.split(whole, np.cumsum([array.size for array in arrays])[:-1])
    views = [p.reshape(a.shape) for p, a in zip(parts, arrays, strict=True)]
    return whole, tuple(zip(views[::2], views[1::2], strict=True))
