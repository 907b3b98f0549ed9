"""Nets in Python, layer by layer: what the core's `Network` does, for those that have a
layer, a loss or an optimizer that only Python knows. Both give the same bits."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core, data
from lamina._checks import Array
from lamina.layers import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
)
from lamina.layers.base import described, factors
from lamina.losses import Loss
from lamina.optimizers import Optimizer, core_at, decaying
from lamina.schedules import Schedule

__all__ = ["Interpreter", "gives_logits"]


class Interpreter:
    """The methods of the core's `Network`, with a `Loss` and an `Optimizer` in place of
    what the core calls them. What changes with the steps layers and optimizers know."""

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
        decays: Array | None,
        shares: Array | None,
        state: Array,
        average: Array | None,
        ema: float,
        step: int,
        update: int,
        loss_before: float,
        correct_before: float,
        penalty_before: float,
        precision: None = None,
    ) -> tuple[float, float, float, int, int, bool, BaseException | None]:
        rows = np.arange(len(x)) if rows is None else rows
        sums = np.array([loss_before, correct_before, penalty_before])
        done, steps, finite, error = 0, 0, True, None
        try:
            for rate in rates:
                batch = rows[done : done + batch_size]
                own = None if weights is None else weights[batch]
                of_batch = self.gradients(
                    *(x[batch], y[batch], own, loss, logits),
                    *(1.0, step + steps, 0, False, None),
                )
                finite = self.apply(optimizer, float(rate), state, update + steps)
                if not finite:
                    break
                if average is not None:
                    _core.follow(self.parameters, average, 1 - ema)
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
        shares: Array | None,
    ) -> tuple[float, float, float]:
        before = self.gradient.copy() if accumulate else None
        outputs = self._train(x, step, first_row, logits)
        slopes = np.empty_like(outputs)
        factor, rows, share = loss._mean(weights, len(x))
        total, correct = loss(outputs, y, weights, slopes, weight * factor / rows)
        self._descend(slopes, down=False)
        of_layer = weight / share
        penalty = (len(x) / share) * sum(
            layer.penalty(of_layer if layer.trainable else 0.0) for layer in self.layers
        )
        if before is not None:
            self.gradient += before
        return total * factor * (len(x) / rows) + penalty, correct, penalty

    def backward(
        self,
        x: Array,
        output_gradient: Array,
        training: bool,
        step: int,
        first_row: int,
        fill: bool,
        accumulate: bool,
        down: bool,
        shares: Array | None,
    ) -> Array | None:
        net = self if training else self._predicting(BatchNorm, Dropout, GaussianNoise)
        before = self.gradient.copy() if accumulate else None
        with contextlib.nullcontext() if fill else self._untouched():
            net._train(x, step, first_row, logits=False)
            dx = net._descend(output_gradient, down)
        if before is not None:
            self.gradient += before
        return dx

    def input_gradient(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        loss: Loss,
        logits: bool,
        training: bool,
        step: int,
        shares: Array | None,
    ) -> Array:
        net = self if training else self._predicting(BatchNorm, Dropout, GaussianNoise)
        with self._untouched():
            outputs = net._train(x, step, 0, logits)
            slopes = np.empty_like(outputs)
            factor, rows, _ = loss._mean(weights, len(x))
            loss(outputs, y, weights, slopes, factor / rows)
            dx = net._descend(slopes, down=True)
        assert dx is not None
        return dx

    def apply(
        self, optimizer: Optimizer, rate: float, state: Array, update: int
    ) -> bool:
        arrays = [
            (own if each.trainable else None, array.size)
            for each in self.layers
            for array, own in zip(each.parameters.values(), factors(each), strict=True)
        ]
        sizes = [size for _, size in arrays]
        core = core_at(optimizer, update)
        if core is None:
            if any(own not in (None, (1, 1)) for own, _ in arrays):
                raise ValueError(
                    "factors of rates and decays must come with an optimizer of "
                    f"Lamina's, got {optimizer!r}"
                )
            held = np.repeat([own is None for own, _ in arrays], sizes)
            before = self.parameters[held], state[:, held]
            optimizer.update(self.parameters, self.gradient, state, update)
            self.parameters[held], state[:, held] = before
        elif not np.isfinite(_core.clip(core, self.gradient, sizes)):
            return False
        else:
            stop = 0
            for own, group in itertools.groupby(arrays, operator.itemgetter(0)):
                part = slice(stop, stop := stop + sum(size for _, size in group))
                if own is None:
                    continue
                of_rate, of_decay = own
                rule = decaying(core, core[5] * of_decay)
                kept = np.ascontiguousarray(state[:, part])
                buffers = self.parameters[part], self.gradient[part], kept
                _core.update(rule, *buffers, rate * of_rate, update)
                state[:, part] = kept
        for layer in self.layers:
            if not isinstance(layer, Dense) or layer.max_norm is None:
                continue
            if layer.trainable:
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
    ) -> tuple[float, float, float]:
        sums = np.zeros(2)
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            own = None if weights is None else weights[rows]
            sums += loss(self.forward(x[rows], logits=logits), y[rows], own)
        factor, total, share = loss._mean(weights, len(x))
        penalty = sum(layer.penalty() for layer in self.layers) * (len(x) / share)
        mean = float(sums[0]) * factor * (len(x) / total)
        return mean + penalty, float(sums[1]), penalty

    def sample(
        self, x: Array, samples: int, seed: int, chunk: int, shares: Array | None
    ) -> tuple[Array, Array]:
        net = self._predicting(BatchNorm)
        random = [layer for layer in self.layers if hasattr(layer, "step")]
        before = [vars(layer).copy() for layer in random]
        values = []
        try:
            for i, layer in enumerate(self.layers):
                if isinstance(getattr(layer, "rate", None), Schedule):
                    assert shares is not None
                    vars(layer)["rate"] = shares[0, i]
            for step in range(samples):
                for layer in random:
                    layer.seed, layer.step, layer.first_row = seed, step, 0
                values.append(net.forward(x, training=True).astype(np.float64))
        finally:
            for layer, state in zip(random, before, strict=True):
                vars(layer).update(state)
        mean, deviation = np.mean(values, axis=0), np.std(values, axis=0)
        return mean.astype(x.dtype), deviation.astype(x.dtype)

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        last, x = self.layers[-1], data.dense(x)
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

    def _train(self, x: Array, step: int, first_row: int, logits: bool) -> Array:
        """The outputs of the pass of that step, which `_descend` follows."""
        for layer in self.layers:
            if hasattr(layer, "step"):
                layer.step, layer.first_row = step, first_row
        return self.forward(x, training=True, logits=logits)

    def _descend(self, gradient: Array, down: bool) -> Array | None:
        """Fill the layers' gradients from the gradient by the outputs, and return that
        by the inputs if `down` asks for it."""
        learns = [bool(each.parameters) and each.trainable for each in self.layers]
        last = 0 if down else learns.index(True) if any(learns) else len(learns)
        for i in reversed(range(last, len(self.layers))):
            layer, wanted = self.layers[i], down or i > last
            dx = layer.backward(gradient, input_gradient=wanted)
            if wanted and dx is None:
                raise TypeError(f"{layer!r}.backward must return a gradient, got None")
            gradient = gradient if dx is None else dx
        for layer in self.layers:
            if not layer.trainable:
                for array in layer.gradients.values():
                    array[...] = 0
        return gradient if down else None

    def _predicting(self, *kinds: type[Layer]) -> Interpreter:
        """The net with the core's layers of these kinds as they are in prediction."""
        layers = [
            _Quiet(each) if isinstance(each, kinds) and described(each) else each
            for each in self.layers
        ]
        return Interpreter(layers, self.parameters, self.gradient)

    @contextlib.contextmanager
    def _untouched(self) -> Iterator[None]:
        """Leaves the gradient, and what layers keep, as they are."""
        kept = [getattr(layer, name) for layer in self.layers for name in layer.kept]
        arrays = [self.gradient, *(a for a in kept if isinstance(a, np.ndarray))]
        before = [array.copy() for array in arrays]
        try:
            yield
        finally:
            for array, values in zip(arrays, before, strict=True):
                array[...] = values


class _Quiet(Layer):
    """A layer of the core's as it is in prediction, with the backward of that."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer, self.features = layer, layer.features
        self._parameters, self._gradients = layer._parameters, layer._gradients
        self.trainable = layer.trainable

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        self.x = np.asarray(x)
        return self.layer._alone()[0].forward(self.x, False, 0, 0, None)

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        place, alone = (False, 0, 0), self.layer._alone()
        dy = np.asarray(dy)
        return self.layer._descend(*alone, self.x, dy, place, input_gradient)


def outputs(layers: Sequence[Layer], features: int) -> int:
    """The width of their outputs for that width of the inputs."""
    for layer in layers:
        features = layer.outputs(features)
    return features


def gives_logits(layer: Layer) -> TypeGuard[Dense | Activation]:
    """Whether a loss can take in its activation: not if a subclass has its own way."""
    return type(layer).forward in (Dense.forward, Activation.forward)
