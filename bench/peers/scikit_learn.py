"""scikit-learn: the functions of its multilayer perceptron, in place on a copy.

Its losses are values; the gradients are the subtraction of its backward pass, and what
makes both a mean over all elements. It has no public names for them.
"""

from functools import partial

import numpy as np
from sklearn.neural_network._base import (
    ACTIVATIONS,
    DERIVATIVES,
    binary_log_loss,
    log_loss,
    squared_loss,
)
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils.extmath import safe_sparse_dot

from peers import Array, Call

NAMES = {"sigmoid": "logistic"}


def forward(name: str, x: Array) -> Call | None:
    activate, y = ACTIVATIONS.get(NAMES.get(name, name)), np.empty_like(x)

    def call() -> Array:
        np.copyto(y, x)
        activate(y)
        return y

    return activate and call


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    derive, dx = DERIVATIVES.get(NAMES.get(name, name)), np.empty_like(dy)

    def call() -> Array:
        np.copyto(dx, dy)
        derive(y, dx)
        return dx

    return derive and call


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    def call() -> Array:
        y: Array = safe_sparse_dot(x, kernel)
        y += bias
        ACTIVATIONS["relu"](y)
        return y

    return call


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    """Labels are one-hot, as fitting makes them once for all epochs."""
    targets = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    gradient = np.empty_like(logits)

    def call() -> tuple[float, Array]:
        np.copyto(gradient, logits)
        ACTIVATIONS["softmax"](gradient)
        loss = log_loss(targets, gradient)
        np.subtract(gradient, targets, out=gradient)
        np.divide(gradient, len(logits), out=gradient)
        return loss, gradient

    return call


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    gradient, columns = np.empty_like(logits), logits.shape[1]

    def call() -> tuple[float, Array]:
        np.copyto(gradient, logits)
        ACTIVATIONS["logistic"](gradient)
        loss = binary_log_loss(targets, gradient) / columns
        np.subtract(gradient, targets, out=gradient)
        np.divide(gradient, gradient.size, out=gradient)
        return loss, gradient

    return call


def squared_error(outputs: Array, targets: Array) -> Call:
    gradient = np.empty_like(outputs)

    def call() -> tuple[float, Array]:
        loss = 2 * squared_loss(targets, outputs)
        np.subtract(outputs, targets, out=gradient)
        np.multiply(gradient, 2 / gradient.size, out=gradient)
        return loss, gradient

    return call


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    optimizer = SGDOptimizer([w], 0.01, momentum=momentum, nesterov=False)
    return updated(w, partial(optimizer.update_params, [w], [dw]))


def adam(w: Array, dw: Array) -> Call:
    return updated(w, partial(AdamOptimizer([w]).update_params, [w], [dw]))


def updated(w: Array, update: Call) -> Call:
    def call() -> Array:
        update()
        return w

    return call
