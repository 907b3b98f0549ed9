"""`Network`: what a net does with a batch.

A step is one call: of the core, or of the `Interpreter` where a net has a layer, a loss
or an optimizer that only Python knows.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core, data, interpreter, losses, optimizers
from lamina._checks import Array
from lamina.assembly import Assembly
from lamina.layers import Standardize
from lamina.layers.base import is_known

__all__ = ["Network", "Precision", "Sums"]

_SPARSE = losses.categorical_crossentropy  # which takes labels
_CHUNK = 1024  # rows at a time where nothing is learnt: activations stay in the cache
_NOT_FINITE = (
    "the norm of the gradient is not finite: the step was not taken; look for data or "
    "weights that are too large, or a learning rate that is too high"
)
Precision = Literal["float32", "bf16", "auto"] | None
# Over rows: losses with penalties, hits, how many rows, penalties.
Sums = tuple[float, float, int, float]


class Network(Assembly):
    """Gradients, steps and predictions of rows: what a net does. `Sequential`, which
    says more, adds what is larger than a batch."""

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
            As in `fit`, but that weights may be negative: those of a policy gradient,
            say. The first call builds the net. A `Standardize` layer must have learnt
            before.
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
            "loss", where a layer has penalties "loss_without_penalty" and, for
            classifiers, "accuracy", of these rows, without `weight`.

        Raises
        ------
        RuntimeError
            A `fit` of this net runs in another thread. Within one, a callback may call
            this: the loss of the fit stays what it is.
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
        self._require_own("gradients")
        weight = _checks.finite_number("weight", weight)
        first_row = _checks.unsigned("first_row", first_row, 32)
        goal = self._goal(loss)
        x, y, weights = self._batch(goal, x, y, sample_weight)
        if self._fit is None:
            self.loss = goal
        loss_sum, correct, penalty = self._fill(
            goal, x, y, weights, weight, first_row, accumulate
        )
        return self._scores(goal, loss_sum, correct, len(x), penalty)

    def backward(
        self,
        x: ArrayLike,
        output_gradient: ArrayLike,
        *,
        training: bool = True,
        first_row: int = 0,
        accumulate: bool = False,
        input_gradient: bool = False,
    ) -> Array | None:
        """Fill `gradient` from a gradient by the outputs that you give.

        As ``net(x).backward(output_gradient)`` in PyTorch: for losses that are not sums
        over rows, or that another net computes. `gradients`, of a loss of Lamina's, is
        the same with its gradient; penalties are added there alone.

        Parameters
        ----------
        x : (n, features) array_like
            As in `gradients`.
        output_gradient : (n, outputs) array_like
            Gradient of what is to be minimised by the outputs, activation included.
        training : bool
            Dropout and noise as in the step that comes next; False: as in `predict`. A
            layer of your own computes as in training in either case.
        first_row, accumulate
            As in `gradients`.
        input_gradient : bool
            Return the gradient by `x`, too.

        Returns
        -------
        (n, features) array of the net's dtype, or None

        Raises
        ------
        RuntimeError
            A `fit` of this net runs in another thread.
        TypeError, ValueError
            Arguments or data that cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(1)], seed=1)
        >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> net.backward(x, [[1.0], [0.5]])
        >>> net.layers[0].gradients["kernel"].ravel().tolist()
        [2.5, 4.0]
        """
        first_row = _checks.unsigned("first_row", first_row, 32)
        self._require_own("backward")
        x, slopes = self._slopes(x, output_gradient)
        net, _, _ = self._runner("backward", _SPARSE, x=x)
        at = self.steps, first_row
        dx: Array | None = net.backward(
            x,
            slopes,
            bool(training),
            *at,
            True,
            bool(accumulate),
            bool(input_gradient),
            self._shares(),
        )
        return dx

    def input_gradient(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        *,
        output_gradient: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        loss: str | losses.Loss | None = None,
        training: bool = False,
    ) -> Array:
        """The gradient of the loss by the inputs; nothing in the net changes.

        Parameters
        ----------
        x, y, sample_weight, loss
            As in `gradients`: the loss is the mean over the rows, without penalties.
        output_gradient : (n, outputs) array_like, optional
            Instead of `y`: the gradient, by the outputs, of what is asked for. A row of
            ones in one column gives the gradients of that output: a saliency map.
        training : bool
            As in `backward`.

        Returns
        -------
        (n, features) array of the net's dtype

        Raises
        ------
        RuntimeError
            A `fit` of this net runs in another thread.
        TypeError, ValueError
            Arguments or data that cannot be used.

        Examples
        --------
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(1)], seed=1)
        >>> net.build(2)
        >>> net.set_weights([[[2.0], [-3.0]], [0.0]])
        >>> net.input_gradient([[5.0, 7.0]], output_gradient=[[1.0]])
        array([[ 2., -3.]], dtype=float32)
        >>> net.input_gradient([[5.0, 3.0]], [0.0], loss="mean_squared_error")
        array([[ 4., -6.]], dtype=float32)
        """
        self._require_own("input_gradient")
        dx: Array
        if output_gradient is not None:
            given = {"y": y, "sample_weight": sample_weight, "loss": loss}
            for name, value in given.items():
                if value is not None:
                    raise ValueError(f"{name} must not come with output_gradient")
            x, slopes = self._slopes(x, output_gradient)
            net, _, _ = self._runner("input_gradient", _SPARSE, x=x)
            at = self.steps, 0
            wanted = False, False, True, self._shares()
            dx = net.backward(x, slopes, bool(training), *at, *wanted)
            return dx
        if y is None:
            raise TypeError("y or output_gradient must be given")
        goal = self._goal(loss)
        x, y, weights = self._batch(goal, x, y, sample_weight)
        x = data.dense(x)
        net, core, _ = self._runner("input_gradient", goal, x=x)
        logits = bool(goal.activations)
        now = self.steps, self._shares()
        dx = net.input_gradient(x, y, weights, core, logits, bool(training), *now)
        return dx

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
            The net is not built; a `fit` of it runs, in another thread or with another
            optimizer.
        TypeError, ValueError
            An unknown optimizer, or rates that cannot be.
        FloatingPointError
            A norm to clip by is not finite; the parameters are as before.
        """
        self._require_built("apply_gradients")
        self._require_own("apply_gradients")
        rule = self._rule(optimizer)
        self._require_same(rule)
        self._adopt(rule)
        self._apply(rule)

    def _apply(self, rule: optimizers.Optimizer, part: slice | None = None) -> None:
        """Update all parameters, or, where `_updates_apart`, those of a part."""
        state, updates = self._state, self._updates
        net, _, core = self._runner("apply_gradients", _SPARSE, rule)
        updates, rates, _ = self._steps_to_come(rule, state, updates, 1)
        if rates[1] is not None and core is not rule:
            core = optimizers.decaying(core, rates[1].item())
        now = core, rates[0].item(), state, updates + 1
        if part is not None:
            net.apply_part(*now, part.start, part.stop)
        elif not net.apply(*now):
            raise FloatingPointError(_NOT_FINITE)
        self._count(state, 1)

    def _updates_apart(self, rule: optimizers.Optimizer) -> bool:
        net, _, core = self._runner("apply_gradients", _SPARSE, rule)
        return isinstance(net, _core.Network) and net.updates_apart(core)

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        loss: str | losses.Loss | None = None,
        optimizer: str | optimizers.Optimizer | None = None,
        precision: Precision = None,
    ) -> dict[str, float]:
        """One step: `gradients`, then `apply_gradients`, in one call of the core.

        Parameters
        ----------
        x, y, sample_weight, loss, optimizer, precision
            As in `fit`, but that weights may be negative. The first call builds the
            net. A `Standardize` layer must have learnt before.

        Returns
        -------
        dict
            As `gradients`.

        Raises
        ------
        RuntimeError
            A `fit` of this net runs, in another thread or with another optimizer.
        TypeError, ValueError
            Arguments or data that cannot be used.
        FloatingPointError
            A norm to clip by is not finite; the parameters are as before.
        """
        self._require_own("train_on_batch")
        goal, weights = self.loss, sample_weight
        asked = loss, optimizer, precision
        now = *self._compiled, goal, self.optimizer, self._state, *asked
        ready, bounds = self._ready
        if (
            goal is not None
            and len(now) == len(ready)
            and all(map(operator.is_, now, ready))
            and now[0].takes(x, y, weights, goal.core, bounds)
        ):
            sums = self._steps(goal, x, y, weights, None, len(x), precision=precision)
            return self._scores(goal, *sums)
        goal = self._goal(loss)
        rule = self._rule(optimizer)
        wanted = self._step_precision(precision, goal, rule)
        self._require_same(rule)
        x, y, weights = self._batch(goal, x, y, sample_weight)
        if self._fit is None:
            self.loss = goal
        self._adopt(rule)
        sums = self._steps(goal, x, y, weights, None, len(x), precision=wanted)
        net, _, _ = self._runner("train_on_batch", goal, rule)
        bounds = losses.bounds(goal)
        plain = self._mean() is None and type(net) is _core.Network
        if self._fit is None and plain and bounds is not None:
            now = net, goal, rule, self._state, *asked
            self._ready = now, bounds
        return self._scores(goal, *sums)

    def predict(
        self,
        x: ArrayLike,
        out: Array | None = None,
        batch_size: int | None = None,
        *,
        samples: int | None = None,
        seed: int | None = None,
        precision: Precision = None,
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
            and noise as in the next step of training, of which mean and standard
            deviation are returned. Where a schedule has ended at 0, nothing is dropped.
        seed : int, optional
            Of the samples' random bits, in [0, 2**64); by default drawn anew.
        precision : {"float32", "bf16", "auto"}, optional
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
        try:
            net = self._compiled[0]
        except IndexError:
            net = self._net("predict", None)
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
            rows = data.dense(self._inputs(x, finite=False).take(slice(None)))
            net = self._net("predict", rows)
            return net.sample(rows, samples, seed, _CHUNK, self._shares())
        if seed is not None:
            raise ValueError(f"seed must come with samples, got {seed!r} without")
        wanted = self._precision(precision, isinstance(net, _core.Network))
        chunk = _checks.count(
            "batch_size", _CHUNK if batch_size is None else batch_size
        )
        table = self._inputs(x, finite=False)
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

    def _precision(self, wanted: str | None, known: bool) -> Any:
        """As the core is told, if it knows all that computes; None: the net's dtype."""
        if wanted is None:
            return None
        _core.require_precision(wanted)
        if wanted == "float32" and self.dtype != np.float32:
            raise ValueError(
                f"precision must be None or 'auto' for a net of {self.dtype}, got "
                "'float32'"
            )
        if known and self.dtype == np.float32:
            return None if wanted == "float32" else wanted
        if wanted == "bf16":
            raise ValueError(
                "precision 'bf16' needs a net of float32 without layers, losses and "
                "optimizers of your own; 'auto' computes in the net's dtype here"
            )
        return None

    def _step_precision(
        self, wanted: str | None, goal: losses.Loss, rule: optimizers.Optimizer
    ) -> Any:
        known = goal.core is not None and rule.core is not None
        return self._precision(wanted, known and all(map(is_known, self.layers)))

    def _require_learnt(self, features: int) -> None:
        """Raise ValueError if a layer has still to learn from rows what it keeps."""
        for i, layer in enumerate(self.layers):
            if not layer.learnt:
                raise ValueError(
                    f"{type(layer).__name__} must have learnt before training on "
                    f"batches: call net.build({features}) and net.layers[{i}].learn(x) "
                    f"with some rows{' as they come to it' if i else ''}"
                )

    def _standardizes_nothing(self) -> bool:
        first = self.layers[0]
        return isinstance(first, Standardize) and not (first.features and first.learnt)

    def _learn(self, x: data.Table, rows: Array | None = None) -> None:
        """Have layers learn from these rows, or all, what they keep."""
        for i, layer in enumerate(self.layers):
            if not layer.learnt:
                came = data.sample(x, rows)
                for before in self.layers[:i]:
                    came = before.forward(came)
                layer.learn(came)  # type: ignore[attr-defined]

    def _goal(self, loss: str | losses.Loss | None) -> losses.Loss:
        """The loss: as given, of the last fit, or what the last layer implies."""
        activation = self._last_activation()
        implied = activation.loss if activation is not None else None
        known = implied if self.loss is None else self.loss
        wanted = known if loss is None else loss
        if wanted is None:
            raise ValueError(
                f"loss must be given, since the last layer, {self.layers[-1]!r}, "
                "implies none; "
                f"known are {losses.known()}"
            )
        goal = losses.get(wanted)
        name = activation.name if activation is not None else None
        if goal.activations and name not in goal.activations:
            raise ValueError(
                f"loss {goal.name!r} must follow {goal.activations[0]!r} as the last "
                f"activation, got {self.layers[-1]!r}"
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
        signed: bool = False,
    ) -> data.Rows:
        """Inputs, targets and weights of rows, all of them checked."""
        features, width = features or self.features, self._outputs
        mean, dtype = self._mean(), self.dtype
        return data.rows(
            goal,
            x,
            y,
            sample_weight,
            dtype,
            width,
            features,
            names,
            signed,
            mean,
            self._takes_sparse(),
        )

    def _inputs(self, x: Any, finite: bool) -> data.Table:
        """Inputs alone, checked."""
        mean, sparse = self._mean(), self._takes_sparse()
        return data.inputs("x", x, self.dtype, self.features, finite, mean, sparse)

    def _batch(
        self, goal: losses.Loss, x: Any, y: Any, sample_weight: ArrayLike | None
    ) -> data.Batch:
        """Rows for one pass, whose weights may have either sign; builds the net."""
        rows = self._rows(goal, x, y, sample_weight, signed=True)
        self._require_learnt(rows.features)
        self.build(rows.features)
        return rows.take(slice(None))

    def _slopes(self, x: Any, output_gradient: Any) -> tuple[Array, Array]:
        """Rows for one pass, and the gradient by their outputs; builds the net."""
        table = self._inputs(x, finite=True)
        data.require_rows("x", table)
        features = int(table.held.shape[1])
        self._require_learnt(features)
        self.build(features)
        slopes = _checks.numeric("output_gradient", output_gradient)
        shape = len(table), self._outputs(features)
        if slopes.shape != shape:
            raise ValueError(
                f"output_gradient must have shape {shape}, that of the outputs, got "
                f"{slopes.shape}"
            )
        rows = data.dense(table.take(slice(None)))
        return rows, _checks.convert(slopes, self.dtype)

    def _steps(
        self,
        goal: losses.Loss,
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array | None,
        batch_size: int,
        before: Sums = (0.0, 0.0, 0, 0.0),
        precision: str | None = None,
    ) -> Sums:
        """Training steps over the rows of those numbers, or all, in batches.

        Arrays are C-contiguous and of the net's dtype, labels and numbers of rows
        int64. The sums go on from those of the call before. A signal is heard after a
        step; what its handler raises is raised, and the parameters then are those after
        that step.
        """
        # At once: a signal's handler may bring another optimizer.
        rule, state, updates = self.optimizer, self._state, self._updates
        assert rule is not None
        net, loss_core, rule_core = self._runner("fit", goal, rule, x)
        count = len(x) if rows is None else len(rows)
        batch_size = min(batch_size, count)
        steps = -(-count // batch_size)
        updates, rates, shares = self._steps_to_come(rule, state, updates, steps)
        loss, correct, penalty, done, steps, finite, error = net.train(
            x,
            y,
            weights,
            rows,
            batch_size,
            loss_core,
            bool(goal.activations),
            rule_core,
            *rates,
            shares,
            state,
            *self._following,
            self.steps,
            updates + 1,
            before[0],
            before[1],
            before[3],
            precision,
        )
        self._count(state, steps)
        if error is not None:
            raise error
        if not finite:
            raise FloatingPointError(_NOT_FINITE)
        return loss, correct, before[2] + done, penalty

    def _count(self, state: Array, steps: int) -> None:
        """Steps that were made, by that state of the optimizer."""
        self.steps += steps
        if self._state is state:  # else a signal's handler brought another
            self._updates += steps

    def _is_narrow(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array | None,
        batch_size: int,
        precision: str | None,
    ) -> bool:
        """Whether these steps have products in bfloat16."""
        if precision is None:
            return False
        count = x.shape[0] if rows is None else len(rows)
        net: _core.Network = self._net("fit", x)
        return net.is_narrow(min(batch_size, count), precision)

    def _fill(
        self,
        goal: losses.Loss,
        x: Array,
        y: Array,
        weights: Array | None,
        weight: float = 1.0,
        first_row: int = 0,
        accumulate: bool = False,
    ) -> tuple[float, float, float]:
        """Sums over the rows, but for their number; fills `gradient`."""
        net, core, _ = self._runner("gradients", goal, x=x)
        logits, at = bool(goal.activations), (self.steps, first_row)
        sums: tuple[float, float, float] = net.gradients(
            x, y, weights, core, logits, weight, *at, accumulate, self._shares()
        )
        return sums

    def _fill_shards(
        self,
        goal: losses.Loss,
        x: Array,
        y: Array,
        weights: Array | None,
        batch: int,
        borders: Sequence[int],
    ) -> list[tuple[float, float, float]]:
        """As `_fill` of each shard of a batch of so many rows, added in their tree."""
        net, core, _ = self._runner("gradients", goal, x=x)
        logits, shares = bool(goal.activations), self._shares()
        sums: list[tuple[float, float, float]] = net.shard_gradients(
            x, y, weights, core, logits, batch, borders, self.steps, shares
        )
        return sums

    def _adds_shards(self, goal: losses.Loss, x: Any, rows: int) -> bool:
        """Whether `_fill_shards` can do it, of shards of at least so many rows."""
        net, _, _ = self._runner("gradients", goal, x=x)
        known = isinstance(net, _core.Network) and isinstance(x, np.ndarray)
        return known and net.adds_shards(rows)

    def _last_activation(self) -> Any:
        """None where the last layer has none, or a way of its own."""
        last = self.layers[-1]
        return last.activation if interpreter.gives_logits(last) else None

    def _scores(
        self, goal: losses.Loss, loss: float, correct: float, rows: int, penalty: float
    ) -> dict[str, float]:
        """Means from sums over that many rows."""
        means = {"loss": loss / rows}
        if self._penalizes:
            means["loss_without_penalty"] = (loss - penalty) / rows
        if goal.classifies:
            means["accuracy"] = correct / rows
        return means

    def _evaluate(
        self, goal: losses.Loss, x: Array, y: Array, weights: Array | None
    ) -> tuple[float, float, float]:
        """Sums over the rows, but for their number."""
        net, core, _ = self._runner("evaluate", goal, x=x)
        logits = bool(goal.activations)
        sums: tuple[float, float, float] = net.evaluate(
            x, y, weights, core, logits, _CHUNK
        )
        return sums
