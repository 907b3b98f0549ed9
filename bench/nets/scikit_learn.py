"""scikit-learn: an MLPClassifier, which has no dropout.

Its nets end in one logistic unit if there are two classes: not the net of the others.
"""

from functools import partial

import numpy as np
from sklearn.neural_network import MLPClassifier

from peers import Array, Call

Weights = tuple[tuple[Array, Array], ...]


def training_step(
    weights: Weights, x: Array, labels: Array, rate: float
) -> Call | None:
    return epoch(weights, x, labels, rate, len(x))


def epoch(
    weights: Weights, x: Array, labels: Array, rate: float, batch: int
) -> Call | None:
    """partial_fit goes over all batches once, in a new order."""
    if rate or len(weights[-1][1]) == 2:
        return None
    made = net(weights, x, labels, batch)
    return lambda: made.partial_fit(x, labels).loss_


def predict(weights: Weights, x: Array) -> Call | None:
    if len(weights[-1][1]) == 2:
        return None
    labels = np.zeros(len(x), np.int64)
    return partial(net(weights, x, labels, len(x)).predict_proba, x)


def net(weights: Weights, x: Array, labels: Array, batch: int) -> MLPClassifier:
    """Made by a first step, then given the weights and no state of an optimizer."""
    made = MLPClassifier(
        [len(bias) for _, bias in weights[:-1]], alpha=0.0, batch_size=batch
    )
    made.partial_fit(x, labels, classes=np.arange(len(weights[-1][1])))
    made.coefs_ = [kernel.copy() for kernel, _ in weights]
    made.intercepts_ = [bias.copy() for _, bias in weights]
    del made._optimizer  # the next step starts a new one
    return made
