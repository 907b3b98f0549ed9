"""Steps of training, and what they are made of.

In one call of the core, or layer by layer where a net has a layer, a loss or an
optimizer that only Python knows: both give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core, data, losses, optimizers, sources, training
from lamina._checks import Array
from lamina.layers import Activation, Dense, Layer, Standardize
from lamina.noise import Dropout, GaussianNoise

__all__ = ["CHUNK", "Phases"]

_SPARSE = losses.categorical_crossentropy  # which takes labels
CHUNK = 1024  # rows at a time where nothing is learnt: activations stay in the cache
_BUILT_IN = Standardize, Dense, Activation, Dropout, GaussianNoise
_NOT_FINITE = (
    "the norm of the gradient is not finite: the step was not taken; look for data or "
    "weights that are too large, or a learning rate that is too high"
)


class Phases:
    """What `Sequential` does with a batch."""

    layers: tuple[Layer, ...]
    seed: int
    dtype: np.dtype[Any]
    features: int
    steps: int
    rate_factor: float
    loss: losses.Loss | None
    optimizer: optimizers.Optimizer | None
    parameters: Array
    gradient: Array
    _state: Array  # the optimizer's
    _updates: int  # steps that this state has seen
    # An optimizer whose rate is always the same, and that rate.
    _one_rate: tuple[optimizers.Optimizer | None, Any] = None, None
    _compiled: list[Any]  # the core's form of the net, or empty; layers share the list

    def build(self, features: int) -> None:
        raise NotImplementedError

    def gradients(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        loss: str | losses.Loss | None = None,
        weight: float = 1.0,
        first_row: int = 0,
        accumulate: bool = False,
    ) -> dict[str, float]:
        """First phase of a step: fill `gradient` from a batch; parameters stay.

        Batches that are parts of a larger one, each with its share of the rows as
        `weight`, add up to the gradient of the whole, wherever they were computed.

        Parameters
        ----------
        x, y, sample_weight, loss
            As in `fit`. The first call builds the net. A `Standardize` layer must have
            learnt before.
        weight : float
            The gradient is that of `weight` times the loss with its penalties.
        first_row : int
            Number of the first row in the larger batch, below 2**32: dropout and noise
            depend on it.
        accumulate : bool
            Add to what `gradient` holds.

        Returns
        -------
        dict
            "loss" and, for classifiers, "accuracy", of these rows, without `weight`.

        Raises
        ------
        TypeError, ValueError
            Arguments or data that cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> x, y = np.eye(4), np.array([0, 1, 1, 0])
        >>> net = lm.Sequential([lm.Dense(8, "relu"), lm.Dense(2, "softmax")], seed=1)
        >>> scores = net.gradients(x[:1], y[:1], weight=1 / 4)
        >>> scores = net.gradients(
        ...     x[1:], y[1:], weight=3 / 4, first_row=1, accumulate=True
        ... )
        >>> net.apply_gradients(lm.Adam(0.01))
        """
        goal = self._goal(loss)
        x, y, weights = self._rows(goal, x, y, sample_weight).take(slice(None))
        if not np.isfinite(weight):
            raise ValueError(f"weight must be finite, got {weight!r}")
        first_row = _checks.unsigned("first_row", first_row)
        if first_row >= 2**32:
            raise ValueError(f"first_row must be below 2**32, got {first_row}")
        sources.require_moments(self, x.shape[1])
        self.build(x.shape[1])
        self.loss = goal
        sums = self._fill(goal, x, y, weights, weight, first_row, accumulate)
        return training.scores(goal, *sums, len(x))

    def apply_gradients(
        self, optimizer: str | optimizers.Optimizer | None = None
    ) -> None:
        """Second phase of a step: clip `gradient`, and update the parameters by it.

        Parameters
        ----------
        optimizer : str or Optimizer, optional
            As in `fit`.

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError, ValueError
            An unknown optimizer, or rates that cannot be.
        FloatingPointError
            A norm to clip by is not finite; the parameters are as before.
        """
        net = self._compiled[0] if self._compiled else self._compile("apply_gradients")
        rule = optimizers.get(self._rule() if optimizer is None else optimizer)
        self._adopt(rule)
        update, rate = self._updates + 1, float(self._rates(rule, 1)[0])
        if net is not None and rule.core is not None:
            finite = net.apply(rule.core, rate, self._state, update)
        else:
            finite = self._apply_by_layer(rule, rate, update)
        if not finite:
            raise FloatingPointError(_NOT_FINITE)
        self._updates = update
        self.steps += 1

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        loss: str | losses.Loss | None = None,
        optimizer: str | optimizers.Optimizer | None = None,
    ) -> dict[str, float]:
        """One step: `gradients`, then `apply_gradients`, in one call of the core.

        Parameters
        ----------
        x, y, sample_weight, loss, optimizer
            As in `fit`. The first call builds the net. A `Standardize` layer must have
            learnt before.

        Returns
        -------
        dict
            As `gradients`.

        Raises
        ------
        TypeError, ValueError
            Arguments or data that cannot be used.
        FloatingPointError
            A norm to clip by is not finite; the parameters are as before.
        """
        goal, rule = self.loss, self.optimizer
        net = self._compiled[0] if self._compiled else None
        if (
            net is not None
            and rule is not None
            and loss is optimizer is sample_weight is None
            and (goal is _SPARSE or goal == _SPARSE)
            and net.takes(x, y)  # then its checks suffice
        ):
            return training.scores(goal, *self._steps(x, y, None, None, len(x)))
        goal = self._goal(loss)
        x, y, weights = self._rows(goal, x, y, sample_weight).take(slice(None))
        rule = optimizers.get(self._rule() if optimizer is None else optimizer)
        sources.require_moments(self, x.shape[1])
        self.build(x.shape[1])
        self.loss = goal
        self._adopt(rule)
        sums = self._steps(x, y, weights, None, len(x))
        return training.scores(goal, *sums)

    def release_memory(self) -> None:
        """Give back the memory that steps of large batches were computed in.

        What `gradients` and `train_on_batch` took is kept for the next step, however
        large; `fit` calls this at its end. Up to 64 MiB stay with the net.

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(1)], seed=0)
        >>> scores = net.train_on_batch(np.ones((9, 2)), np.ones(9), loss="huber")
        >>> net.release_memory()
        """
        for net in self._compiled:
            if net is not None:
                net.release()

    def _link(self) -> None:
        """Move the layers' parameters and gradients into the two flat buffers."""
        self._compiled = []
        for layer in self.layers:
            layer._net = self._compiled
            for name in layer.kept:  # of a file mapped into memory, say
                if isinstance(value := getattr(layer, name, None), np.ndarray):
                    setattr(layer, name, np.require(value, requirements=["C", "W"]))
        self._state = np.require(self._state, requirements=["C", "W"])
        for attribute, held in (
            ("parameters", "_parameters"),
            ("gradient", "_gradients"),
        ):
            built = self.layers if self.features else ()
            tables = [getattr(layer, held) for layer in built]
            arrays = [array.ravel() for table in tables for array in table.values()]
            flat = np.concatenate([np.empty(0, self.dtype), *arrays])
            setattr(self, attribute, flat)
            start = 0
            for table in tables:
                for name, array in table.items():
                    stop = start + array.size
                    table[name] = flat[start:stop].reshape(array.shape)
                    start = stop

    def _compile(self, method: str) -> _core.Network | None:
        """The net as the core runs it; None if it holds a layer of the user's own."""
        self._require_built(method)
        start = 0
        made: list[Any] = []
        for layer in self.layers:
            if type(layer) in _BUILT_IN:
                made.append(layer.core(start))
            start += sum(array.size for array in layer.parameters.values())
        net = None
        if len(made) == len(self.layers):
            buffers = self.parameters, self.gradient
            net = _core.Network(made, self.features, self.seed, *buffers)
        self._compiled[:] = [net]
        return net

    def _require_built(self, method: str) -> None:
        if not self.features:
            raise RuntimeError(
                f"{method} must come after fit or build(features): "
                "the number of features is not known yet"
            )

    def _outputs(self, features: int) -> int:
        for layer in self.layers:
            features = layer.outputs(features)
        return features

    def _goal(self, loss: str | losses.Loss | None) -> losses.Loss:
        """The loss: as given, of the last fit, or what the last layer implies."""
        last = self.layers[-1]
        activation = last.activation if _gives_logits(last) else None
        implied = activation.loss if activation is not None else None
        known = implied if self.loss is None else self.loss
        wanted = known if loss is None else loss
        if wanted is None:
            raise ValueError(
                f"loss must be given, since the last layer, {last!r}, implies none; "
                f"known are {losses.known()}"
            )
        goal = losses.get(wanted)
        name = activation.name if activation is not None else None
        if goal.activations and name not in goal.activations:
            raise ValueError(
                f"loss {goal.name!r} must follow {goal.activations[0]!r} as the last "
                f"activation, got {last!r}"
            )
        return goal

    def _rows(
        self,
        goal: losses.Loss,
        x: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        features: int = 0,
        names: Sequence[str] = ("x", "y", "sample_weight"),
    ) -> data.Rows:
        """Inputs, targets and weights of rows, all of them checked."""
        features = features or self.features
        return data.rows(
            goal, x, y, sample_weight, self.dtype, self._outputs, features, names
        )

    def _rule(self) -> str | optimizers.Optimizer:
        return "adam" if self.optimizer is None else self.optimizer

    def _adopt(self, rule: optimizers.Optimizer) -> None:
        """Take an optimizer, and start its state anew unless it suits the old one's."""
        shape = rule.slots, self.parameters.size
        if _meaning(rule) != _meaning(self.optimizer) or self._state.shape != shape:
            self._state = np.zeros(shape, self.dtype)
            self._updates = 0
        if self.optimizer not in (None, rule):
            self.rate_factor = 1.0
        self.optimizer = rule

    def _steps(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array | None,
        batch_size: int,
        before: tuple[float, float, int] = (0.0, 0.0, 0),
    ) -> tuple[float, float, int]:
        """Training steps over the rows of those numbers, or all, in batches.

        Arrays are C-contiguous and of the net's dtype, labels and numbers of rows
        int64. Returns sums over the rows of loss with penalties, and of hits, and how
        many rows they are; they go on from those of the call before. A signal is heard
        after a step; what its handler raises is raised, and the parameters then are
        those after that step.
        """
        assert self.loss is not None and self.optimizer is not None
        goal, rule = self.loss, self.optimizer
        net = self._compiled[0] if self._compiled else self._compile("fit")
        count = len(x) if rows is None else len(rows)
        batch_size = min(batch_size, count)
        rates = self._rates(rule, -(-count // batch_size))
        if net is None or goal.core is None or rule.core is None:
            data = x, y, weights, rows
            return self._steps_by_layer(goal, rule, data, batch_size, rates, before)
        loss, correct, done, steps, finite, error = net.train(
            x,
            y,
            weights,
            rows,
            batch_size,
            goal.core,
            bool(goal.activations),
            rule.core,
            rates,
            self._state,
            self.steps,
            self._updates + 1,
            before[0],
            before[1],
        )
        self.steps += steps
        self._updates += steps
        if error is not None:
            raise error
        if not finite:
            raise FloatingPointError(_NOT_FINITE)
        return loss, correct, before[2] + done

    def _steps_by_layer(
        self,
        goal: losses.Loss,
        rule: optimizers.Optimizer,
        data: tuple[Array, Array, Array | None, Array | None],
        batch_size: int,
        rates: Array,
        before: tuple[float, float, int],
    ) -> tuple[float, float, int]:
        x, y, weights, rows = data
        rows = np.arange(len(x)) if rows is None else rows
        loss, correct, done = before
        for rate, start in zip(rates, range(0, len(rows), batch_size), strict=True):
            batch = rows[start : start + batch_size]
            own = None if weights is None else weights[batch]
            more, hits = self._fill(goal, x[batch], y[batch], own)
            if not self._apply_by_layer(rule, float(rate), self._updates + 1):
                raise FloatingPointError(_NOT_FINITE)
            self._updates += 1
            self.steps += 1
            loss, correct = loss + more, correct + hits
        return loss, correct, done + len(rows)

    def _fill(
        self,
        goal: losses.Loss,
        x: Array,
        y: Array,
        weights: Array | None,
        weight: float = 1.0,
        first_row: int = 0,
        accumulate: bool = False,
    ) -> tuple[float, float]:
        """Sums over the rows of loss with penalties, and of hits; fills `gradient`."""
        net = self._compiled[0] if self._compiled else self._compile("gradients")
        logits = bool(goal.activations)
        if net is not None and goal.core is not None:
            return net.gradients(
                x,
                y,
                weights,
                goal.core,
                logits,
                weight,
                self.steps,
                first_row,
                accumulate,
            )
        before = self.gradient.copy() if accumulate else None
        for layer in self.layers:
            if hasattr(layer, "step"):
                layer.step, layer.first_row = self.steps, first_row
        outputs = self._forward(x, training=True, logits=logits)
        gradient = np.empty_like(outputs)
        loss, correct = goal(outputs, y, weights, gradient, weight / len(x))
        self._backward(gradient)
        loss += sum(layer.penalty(weight) for layer in self.layers) * len(x)
        if before is not None:
            self.gradient += before
        return loss, correct

    def _apply_by_layer(
        self, rule: optimizers.Optimizer, rate: float, update: int
    ) -> bool:
        sizes = [a.size for layer in self.layers for a in layer.parameters.values()]
        if rule.core is None:
            rule.update(self.parameters, self.gradient, self._state, update)
        else:
            if not np.isfinite(_core.clip(rule.core, self.gradient, sizes)):
                return False
            _core.update(
                rule.core, self.parameters, self.gradient, self._state, rate, update
            )
        for layer in self.layers:
            if isinstance(layer, Dense) and layer.max_norm is not None:
                _core.limit_norms(layer.parameters["kernel"], layer.max_norm)
        return True

    def _rates(self, rule: optimizers.Optimizer, count: int) -> Array:
        """Of the steps to come; a rule of the user's own knows its rate itself."""
        if rule.core is None:
            return np.ones(count)
        known, one = self._one_rate
        rates: Array = one if count == 1 and known is rule else self._asked(rule, count)
        return rates if self.rate_factor == 1 else rates * self.rate_factor

    def _asked(self, rule: optimizers.Optimizer, count: int) -> Array:
        rates = rule.rates(self._updates + 1, count)
        usual = type(rule).rates is optimizers.SGD.rates
        if count == 1 and usual and isinstance(vars(rule)["learning_rate"], float):
            self._one_rate = rule, rates
        return rates

    def _evaluate(
        self, goal: losses.Loss, x: Array, y: Array, weights: Array | None
    ) -> tuple[float, float]:
        """Sums over the rows of loss with penalties, and of hits."""
        net = self._compiled[0] if self._compiled else self._compile("evaluate")
        logits = bool(goal.activations)
        if net is not None and goal.core is not None:
            return net.evaluate(x, y, weights, goal.core, logits, CHUNK)
        sums = np.zeros(2)
        for start in range(0, len(x), CHUNK):
            rows = slice(start, start + CHUNK)
            own = None if weights is None else weights[rows]
            sums += goal(self._forward(x[rows], logits=logits), y[rows], own)
        penalty = sum(layer.penalty() for layer in self.layers)
        return float(sums[0]) + penalty * len(x), float(sums[1])

    def _forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        for layer in self.layers[:-1]:
            x = layer.forward(x, training)
        last = self.layers[-1]
        if logits and _gives_logits(last):
            y = last.forward(x, training, logits=True)
        else:
            y = last.forward(x, training)
        return np.ascontiguousarray(y)

    def _backward(self, gradient: Array) -> None:
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

    def _sample(
        self, x: ArrayLike, samples: int, seed: int | None
    ) -> tuple[Array, Array]:
        samples, bits = _checks.count("samples", samples), _checks.seed(seed)
        table = data.inputs("x", x, self.dtype, self.features, finite=False)
        x, net = table.take(slice(None)), self._compiled[0]
        if net is not None:
            mean, deviation = net.sample(x, samples, bits, CHUNK)
            return mean, deviation
        random = [layer for layer in self.layers if hasattr(layer, "step")]
        before = [(layer.seed, layer.step) for layer in random]
        values = np.empty((samples, len(x), self._outputs(self.features)), self.dtype)
        try:
            for step in range(samples):
                for layer in random:
                    layer.seed, layer.step, layer.first_row = bits, step, 0
                values[step] = self._forward(x, training=True)
        finally:
            for layer, state in zip(random, before, strict=True):
                layer.seed, layer.step = state
        wide = values.astype(np.float64)
        return wide.mean(axis=0).astype(self.dtype), wide.std(axis=0).astype(self.dtype)


def _meaning(rule: optimizers.Optimizer | None) -> tuple[Any, ...]:
    """Rules that mean the same by their state have the same."""
    return type(rule), getattr(rule, "centered", None)


def _gives_logits(layer: Layer) -> TypeGuard[Dense | Activation]:
    """Whether a loss can take in its activation: not if a subclass has its own way."""
    return type(layer).forward in (Dense.forward, Activation.forward)
