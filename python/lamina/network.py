"""`Network`: layers in a row, and everything that is done with a batch.

A step is one call: of the core, or of the `Interpreter` where a net has a layer, a loss
or an optimizer that only Python knows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lamina import _checks, _core, data, interpreter, losses, optimizers
from lamina._checks import Array
from lamina.interpreter import Interpreter
from lamina.layers import (
    Activation,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
    Standardize,
)

__all__ = ["Network", "scores"]

_SPARSE = losses.categorical_crossentropy  # which takes labels
_CHUNK = 1024  # rows at a time where nothing is learnt: activations stay in the cache
_BUILT_IN = Standardize, Dense, Activation, Dropout, GaussianNoise
_NOT_FINITE = (
    "the norm of the gradient is not finite: the step was not taken; look for data or "
    "weights that are too large, or a learning rate that is too high"
)
# What a copy or a pickle makes anew: the layers hold the buffers.
_MADE_ANEW = "_parameters", "_gradient", "_compiled", "_one_rate"


class Network:
    """Layers in a row, their parameters and gradients in two flat buffers, the state of
    their optimizer. `Sequential`, which says more, adds what is larger than a batch."""

    # An optimizer whose rate is always the same, and that rate.
    _one_rate: tuple[optimizers.Optimizer | None, Any] = None, None

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, got {layers!r}")
        self.layers = tuple(layers)
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{i}] must be a Layer, got {layer!r}")
            if not hasattr(layer, "_net"):
                raise TypeError(
                    f"layers[{i}] must call super().__init__() in its __init__, got "
                    f"{type(layer).__name__} without"
                )
            if layer._net is not None or layer in self.layers[:i]:
                raise ValueError(
                    f"layers[{i}] must not be in a net already, got {layer!r}; "
                    "use copy.deepcopy(layer)"
                )
            if i > 0 and isinstance(layer, Standardize):
                raise ValueError(f"Standardize must be the first layer, got it as {i}")
        self.seed = _checks.seed(seed)
        self.dtype = _checks.float_dtype(dtype)
        self.features = self.epoch = self.steps = 0
        self.rate_factor = 1.0
        self.loss: losses.Loss | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self._state = np.empty((0, 0), self.dtype)  # the optimizer's
        self._updates = 0  # steps that this state has seen
        self._link()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in _MADE_ANEW:
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.pop("_one_rate", None)  # version 0.1.0 kept it
        self._link()

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # two nets cannot share layers

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return (
            f"{type(self).__name__}([{inside}], seed={self.seed}, dtype='{self.dtype}')"
        )

    @property
    def parameters(self) -> Array:
        return self._parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        _checks.assign("parameters", values, self._parameters)

    @property
    def rate_factor(self) -> float:
        return self.__dict__["rate_factor"]  # type: ignore[no-any-return]

    @rate_factor.setter
    def rate_factor(self, value: float) -> None:
        self.__dict__["rate_factor"] = _checks.nonnegative("rate_factor", value)

    @property
    def gradient(self) -> Array:
        return self._gradient

    @gradient.setter
    def gradient(self, values: ArrayLike) -> None:
        _checks.assign("gradient", values, self._gradient)

    def build(self, features: int) -> None:
        """Make the parameters for inputs of that width; `fit` does it by itself.

        Raises
        ------
        ValueError
            features < 1, or the net is already built for another width.
        """
        features = _checks.count("features", features)
        if self.features:
            if features != self.features:
                raise ValueError(
                    f"features must be {self.features}, for which the net is built, "
                    f"got {features}"
                )
            return
        before = [layer.__dict__.copy() for layer in self.layers]
        width = features
        try:
            for i, layer in enumerate(self.layers):
                width = layer.build(width, self.dtype, seed=self.seed, index=i)
        except BaseException:
            for layer, state in zip(self.layers, before, strict=True):
                layer.__dict__.update(state)
            raise
        self.features = features
        self._link()

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
        weight = _checks.finite_number("weight", weight)
        first_row = _checks.unsigned("first_row", first_row, 32)
        self._require_moments(x.shape[1])
        self.build(x.shape[1])
        self.loss = goal
        sums = self._fill(goal, x, y, weights, weight, first_row, accumulate)
        return scores(goal, *sums, len(x))

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
        self._require_built("apply_gradients")
        rule = optimizers.get(self._rule() if optimizer is None else optimizer)
        self._adopt(rule)
        update, rate = self._updates + 1, float(self._rates(rule, 1)[0])
        net, _, core = self._runner("apply_gradients", _SPARSE, rule)
        finite = net.apply(core, rate, self._state, update)
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
            type(net) is _core.Network
            and rule is not None
            and loss is optimizer is sample_weight is None
            and (goal is _SPARSE or goal == _SPARSE)
            and net.takes(x, y)  # then its checks suffice
        ):
            return scores(goal, *self._steps(x, y, None, None, len(x)))
        goal = self._goal(loss)
        x, y, weights = self._rows(goal, x, y, sample_weight).take(slice(None))
        rule = optimizers.get(self._rule() if optimizer is None else optimizer)
        self._require_moments(x.shape[1])
        self.build(x.shape[1])
        self.loss = goal
        self._adopt(rule)
        sums = self._steps(x, y, weights, None, len(x))
        return scores(goal, *sums)

    def predict(
        self,
        x: ArrayLike,
        out: Array | None = None,
        batch_size: int | None = None,
        *,
        samples: int | None = None,
        seed: int | None = None,
        precision: Literal["bf16", "auto"] | None = None,
    ) -> Any:
        """The outputs for `x`.

        Parameters
        ----------
        x : (n, features) array_like
        out : (n, outputs) array of the net's dtype, optional
            Receives the result.
        batch_size : int, optional
            Rows at a time; by default as many as suit the cache. The result is the
            same.
        samples : int, optional
            Monte-Carlo dropout (Gal & Ghahramani 2016): that many passes with dropout
            and noise as in training, of which mean and standard deviation are returned.
        seed : int, optional
            Of the samples' random bits, in [0, 2**64); by default drawn anew.
        precision : {"bf16", "auto"}, optional
            "bf16": products in bfloat16, twice as fast, with the errors that `pack`
            states; "auto": the same where machine and net can (float32, layers of
            Lamina's own). Else, and by default, in the net's dtype.

        Returns
        -------
        (n, outputs) array of the net's dtype
            `out`, if given. With `samples` two of them, mean and standard deviation.

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError, ValueError
            `x` or `out` cannot be used.
        """
        net = self._compiled[0] if self._compiled else self._net("predict", None)
        options = batch_size, samples, seed, precision
        if (
            type(x) is np.ndarray
            and x.dtype == self.dtype
            and options == (None, None, None, None)
        ):
            return net.predict(x, out, _CHUNK)
        if samples is not None:
            if any(each is not None for each in (out, batch_size, precision)):
                raise ValueError(
                    "samples must come without out, batch_size and precision"
                )
            samples, seed = _checks.count("samples", samples), _checks.seed(seed)
            rows = self._inputs(x).take(slice(None))
            return self._net("predict", rows).sample(rows, samples, seed, _CHUNK)
        if seed is not None:
            raise ValueError(f"seed must come with samples, got {seed!r} without")
        wanted = self._precision(precision, net)
        chunk = _checks.count(
            "batch_size", _CHUNK if batch_size is None else batch_size
        )
        table = self._inputs(x)
        if table.whole is not None:
            net = self._net("predict", table.whole)
            return net.predict(table.whole, out, chunk, wanted)
        shape = len(table), self._outputs(self.features)
        if out is None:
            out = np.empty(shape, self.dtype)
        _checks.output(out, shape, self.dtype)
        for start in range(0, len(table), chunk):
            part = slice(start, start + chunk)
            rows = table.take(part)
            out[part] = self._net("predict", rows).predict(rows, None, chunk, wanted)
        return out

    def _precision(self, wanted: str | None, net: _core.Network | Interpreter) -> Any:
        """None: that of the net's dtype."""
        if wanted not in (None, "bf16", "auto"):
            raise ValueError(
                f"precision must be 'bf16', 'auto' or None, got {wanted!r}"
            )
        if isinstance(net, _core.Network) and self.dtype == np.float32:
            return wanted
        if wanted == "bf16":
            raise ValueError(
                "precision 'bf16' needs a net of float32 without layers of your own; "
                "'auto' computes in the net's dtype here"
            )
        return None

    def _link(self) -> None:
        """Move the layers' parameters and gradients into the two flat buffers."""
        self._compiled: list[Any] = []  # what computes, if known; layers share the list
        for layer in self.layers:
            layer._net = self._compiled
        self._state = np.require(self._state, requirements=["C", "W"])
        built = self.layers if self.features else ()
        self._parameters = self._flat([layer._parameters for layer in built])
        self._gradient = self._flat([layer._gradients for layer in built])

    def _flat(self, tables: Iterable[dict[str, Array]]) -> Array:
        """One buffer for these arrays, which become views into it."""
        tables = list(tables)
        arrays = [array.ravel() for table in tables for array in table.values()]
        flat = np.concatenate([np.empty(0, self.dtype), *arrays])
        start = 0
        for table in tables:
            for name, array in table.items():
                stop = start + array.size
                table[name] = flat[start:stop].reshape(array.shape)
                start = stop
        return flat

    def _compile(self, method: str) -> list[Any]:
        """What computes, with rows and with those that are `Centred`: the core, unless
        there is a layer that it does not know."""
        self._require_built(method)
        start = 0
        made: list[Any] = []
        for layer in self.layers:
            if type(layer) in _BUILT_IN:
                made.append(layer.core(start))
            start += sum(array.size for array in layer.parameters.values())
        net: _core.Network | Interpreter = self._interpreter()
        of_centred = net
        if len(made) == len(self.layers):
            width, buffers = self.features, (self.parameters, self.gradient)
            net = of_centred = _core.Network(made, width, self.seed, *buffers)
            if self._mean() is not None:
                made[0] = self.layers[0].core_of_centred()  # type: ignore[attr-defined]
                of_centred = _core.Network(made, width, self.seed, *buffers)
        self._compiled[:] = nets = [net, of_centred]
        return nets

    def _net(self, method: str, x: Array | None) -> Any:
        """What computes with these rows."""
        nets = self._compiled[:] or self._compile(method)
        return nets[isinstance(x, data.Centred)]

    def _interpreter(self) -> Interpreter:
        return Interpreter(self.layers, self.parameters, self.gradient)

    def _runner(
        self,
        method: str,
        goal: losses.Loss,
        rule: optimizers.Optimizer | None = None,
        x: Array | None = None,
    ) -> tuple[Any, Any, Any]:
        """What computes with `x`, and how it calls the loss and the optimizer."""
        net = self._net(method, x)
        known = goal.core is not None and (rule is None or rule.core is not None)
        if known and type(net) is _core.Network:
            return net, goal.core, None if rule is None else rule.core
        return self._interpreter(), goal, rule

    def _require_built(self, method: str) -> None:
        if not self.features:
            raise RuntimeError(
                f"{method} must come after fit or build(features): "
                "the number of features is not known yet"
            )

    def _require_moments(self, features: int) -> None:
        """Raise ValueError if a first layer that standardizes has still to learn."""
        if self._standardizes_nothing():
            raise ValueError(
                "Standardize must have learnt before training on batches: call "
                f"net.build({features}) and net.layers[0].learn(x) with some rows"
            )

    def _standardizes_nothing(self) -> bool:
        first = self.layers[0]
        return isinstance(first, Standardize) and not (first.features and first.learnt)

    def _outputs(self, features: int) -> int:
        return interpreter.outputs(self.layers, features)

    def _goal(self, loss: str | losses.Loss | None) -> losses.Loss:
        """The loss: as given, of the last fit, or what the last layer implies."""
        last = self.layers[-1]
        activation = last.activation if interpreter.gives_logits(last) else None
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
        features, width = features or self.features, self._outputs
        mean, dtype = self._mean(), self.dtype
        return data.rows(goal, x, y, sample_weight, dtype, width, features, names, mean)

    def _inputs(self, x: Any) -> data.Table:
        """The rows to predict for."""
        return data.inputs("x", x, self.dtype, self.features, False, self._mean())

    def _mean(self) -> Array | None:
        """What is subtracted from inputs that the net's dtype would round."""
        first = self.layers[0]
        if type(first) is not Standardize or not first.features:
            return None
        return first.exact_mean()

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
        net, loss_core, rule_core = self._runner("fit", goal, rule, x)
        count = len(x) if rows is None else len(rows)
        batch_size = min(batch_size, count)
        rates = self._rates(rule, -(-count // batch_size))
        loss, correct, done, steps, finite, error = net.train(
            x,
            y,
            weights,
            rows,
            batch_size,
            loss_core,
            bool(goal.activations),
            rule_core,
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
        net, core, _ = self._runner("gradients", goal, x=x)
        logits, at = bool(goal.activations), (self.steps, first_row)
        sums: tuple[float, float] = net.gradients(
            x, y, weights, core, logits, weight, *at, accumulate
        )
        return sums

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
        net, core, _ = self._runner("evaluate", goal, x=x)
        logits = bool(goal.activations)
        sums: tuple[float, float] = net.evaluate(x, y, weights, core, logits, _CHUNK)
        return sums


def scores(
    goal: losses.Loss, loss: float, correct: float, rows: float
) -> dict[str, float]:
    """Means from sums over that many rows."""
    if goal.classifies:
        return {"loss": loss / rows, "accuracy": correct / rows}
    return {"loss": loss / rows}


def _meaning(rule: optimizers.Optimizer | None) -> tuple[Any, ...]:
    """Rules that mean the same by their state have the same."""
    return type(rule), getattr(rule, "centered", None)
