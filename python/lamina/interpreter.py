"""Nets in Python, layer by layer: what the core's `Network` does, for those that have a
layer, a loss or an optimizer that only Python knows. Both give the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from lamina import _checks, _core
from lamina._checks import Array
from lamina.layers import Activation, Dense, Layer
from lamina.losses import Loss
from lamina.optimizers import Optimizer

__all__ = ["Interpreter", "gives_logits"]


class Interpreter:
    """The methods of the core's `Network`, with a `Loss` and an `Optimizer` in place of
    what the core calls them."""

    def __init__(
        self, layers: Sequence[Layer], parameters: Array, gradient: Array
    ) -> None:
        self.layers, self.parameters, self.gradient = layers, parameters, gradient

    def train(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array | None,
        batch_size: int,
        loss: Loss,
        logits: bool,
        optimizer: Optimizer,
        rates: Array,
        state: Array,
        step: int,
        update: int,
        loss_before: float,
        correct_before: float,
    ) -> tuple[float, float, int, int, bool, BaseException | None]:
        rows = np.arange(len(x)) if rows is None else rows
        sums, done, steps = np.array([loss_before, correct_before]), 0, 0
        finite, error = True, None
        try:
            for rate in rates:
                batch = rows[done : done + batch_size]
                own = None if weights is None else weights[batch]
                of_batch = self.gradients(
                    x[batch], y[batch], own, loss, logits, 1.0, step + steps, 0, False
                )
                finite = self.apply(optimizer, float(rate), state, update + steps)
                if not finite:
                    break
                sums += of_batch
                steps, done = steps + 1, done + len(batch)
        except BaseException as raised:  # the caller counts the steps before, too
            error = raised
        return *sums.tolist(), done, steps, finite, error

    def gradients(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        loss: Loss,
        logits: bool,
        weight: float,
        step: int,
        first_row: int,
        accumulate: bool,
    ) -> tuple[float, float]:
        before = self.gradient.copy() if accumulate else None
        for layer in self.layers:
            if hasattr(layer, "step"):
                layer.step, layer.first_row = step, first_row
        outputs = self.forward(x, training=True, logits=logits)
        slopes = np.empty_like(outputs)
        total, correct = loss(outputs, y, weights, slopes, weight / len(x))
        self.backward(slopes)
        total += sum(layer.penalty(weight) for layer in self.layers) * len(x)
        if before is not None:
            self.gradient += before
        return total, correct

    def apply(
        self, optimizer: Optimizer, rate: float, state: Array, update: int
    ) -> bool:
        sizes = [a.size for layer in self.layers for a in layer.parameters.values()]
        if optimizer.core is None:
            optimizer.update(self.parameters, self.gradient, state, update)
        else:
            if not np.isfinite(_core.clip(optimizer.core, self.gradient, sizes)):
                return False
            _core.update(
                optimizer.core, self.parameters, self.gradient, state, rate, update
            )
        for layer in self.layers:
            if isinstance(layer, Dense) and layer.max_norm is not None:
                _core.limit_norms(layer.parameters["kernel"], layer.max_norm)
        return True

    def predict(
        self, x: Array, out: Array | None, chunk: int, precision: None = None
    ) -> Array:
        shape = len(x), outputs(self.layers, x.shape[1])
        y = np.empty(shape, x.dtype) if out is None else out
        _checks.output(y, shape, x.dtype)
        if np.may_share_memory(x, y):
            x = x.copy()
        for start in range(0, len(x), chunk):
            y[start : start + chunk] = self.forward(x[start : start + chunk])
        return y

    def evaluate(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        loss: Loss,
        logits: bool,
        chunk: int,
    ) -> tuple[float, float]:
        sums = np.zeros(2)
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            own = None if weights is None else weights[rows]
            sums += loss(self.forward(x[rows], logits=logits), y[rows], own)
        penalty = sum(layer.penalty() for layer in self.layers)
        return float(sums[0]) + penalty * len(x), float(sums[1])

    def sample(
        self, x: Array, samples: int, seed: int, chunk: int
    ) -> tuple[Array, Array]:
        random = [layer for layer in self.layers if hasattr(layer, "step")]
        before = [(layer.seed, layer.step) for layer in random]
        values = []
        try:
            for step in range(samples):
                for layer in random:
                    layer.seed, layer.step, layer.first_row = seed, step, 0
                values.append(self.forward(x, training=True).astype(np.float64))
        finally:
            for layer, state in zip(random, before, strict=True):
                layer.seed, layer.step = state
        mean, deviation = np.mean(values, axis=0), np.std(values, axis=0)
        return mean.astype(x.dtype), deviation.astype(x.dtype)

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        last = self.layers[-1]
        for layer in self.layers:
            if layer is last and logits and gives_logits(last):
                y = last.forward(x, training, logits=True)
            else:
                y = layer.forward(x, training)
            shape = len(x), layer.outputs(layer.features)
            if np.shape(y) != shape:
                raise ValueError(
                    f"{type(layer).__name__}.forward must return shape {shape}, as "
                    f"outputs(features) says, got {np.shape(y)}"
                )
            x = y
        return np.ascontiguousarray(x)

    def backward(self, gradient: Array) -> None:
        """Fill the layers' gradients from the gradient by the outputs."""
        trained = [layer for layer in self.layers if layer.parameters]
        for layer in reversed(self.layers):
            if trained and layer is trained[0]:
                layer.backward(gradient, input_gradient=False)
                return
            dx = layer.backward(gradient)
            if dx is None:
                raise TypeError(f"{layer!r}.backward must return a gradient, got None")
            gradient = dx


def outputs(layers: Sequence[Layer], features: int) -> int:
    """The width of their outputs for that width of the inputs."""
    for layer in layers:
        features = layer.outputs(features)
    return features


def gives_logits(layer: Layer) -> TypeGuard[Dense | Activation]:
    """Whether a loss can take in its activation: not if a subclass has its own way."""
    return type(layer).forward in (Dense.forward, Activation.forward)
