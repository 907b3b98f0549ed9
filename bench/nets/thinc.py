"""thinc: chain of its layers, with its Adam; float32 only.

It leaves losses to the caller: the gradient by the logits is softmax - one-hot.
"""

from collections.abc import Callable

import numpy as np
from thinc.api import Adam, Model, Relu, Softmax, chain

from peers import Array, Call

Weights = tuple[tuple[Array, Array], ...]


def net(weights: Weights, rate: float = 0.0) -> Model:
    sizes = [(len(bias), len(kernel)) for kernel, bias in weights]
    layers = [Relu(*size, dropout=rate or None) for size in sizes[:-1]]
    made = chain(*layers, Softmax(*sizes[-1])).initialize()
    dense = [node for node in made.walk(order="dfs_pre") if node.has_param("W")]
    for node, (kernel, bias) in zip(dense, weights, strict=True):
        node.set_param("W", np.ascontiguousarray(kernel.T))
        node.set_param("b", bias.copy())
    return made


def training(weights: Weights, rate: float) -> Callable[[Array, Array], float]:
    made, rule = net(weights, rate), Adam(grad_clip=0.0, use_averages=False)

    def step(x: Array, labels: Array) -> float:
        y, backward = made.begin_update(x)
        at = np.arange(len(x)), labels
        loss = -np.log(y[at]).mean()
        y[at] -= 1
        y /= len(x)
        backward(y)
        made.finish_update(rule)
        return float(loss)

    return step


def training_step(
    weights: Weights, x: Array, labels: Array, rate: float
) -> Call | None:
    if x.dtype != np.float32:
        return None
    step = training(weights, rate)
    return lambda: step(x, labels)


def epoch(
    weights: Weights, x: Array, labels: Array, rate: float, batch: int
) -> Call | None:
    if x.dtype != np.float32:
        return None
    step, generator = training(weights, rate), np.random.default_rng(0)

    def call() -> float:
        loss = 0.0
        for rows in generator.permutation(len(x)).reshape(-1, batch):
            loss += step(x[rows], labels[rows])
        return loss * batch / len(x)

    return call


def predict(weights: Weights, x: Array) -> Call | None:
    if x.dtype != np.float32:
        return None
    made = net(weights)
    return lambda: made.predict(x)
