"""What is read of a net and its data, each number once, on a bounded sample of rows.

Nets are read as copies: nothing here changes the net that was given.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lamina import activations, data, losses, optimizers, training
from lamina._checks import Array
from lamina.alarms import kernels, overshot, relative_change
from lamina.history import Told
from lamina.layers import (
    Activation,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
    Standardize,
)
from lamina.network import Network

__all__ = ["Case", "Reading", "Sample", "Stage", "learn_from", "sample"]

ROWS = 1024  # that a net is read on
SAMPLE = 4096  # rows that are looked at, and trained on by trials
_VALUES = 1 << 22  # of them all together, where rows are wide
_ENOUGH = 500  # rows that may call a unit dead, where there are more than were read
_WORK = 1e10  # operations of a reading: nets above a million weights see fewer rows
_WITHOUT_NOISE = Dropout, GaussianNoise

Share = float | None


@dataclasses.dataclass(frozen=True)
class Sample:
    """Some rows, as a net takes them, of how many."""

    x: Array
    y: Array
    weights: Array | None
    total: int

    def __len__(self) -> int:
        return len(self.x)

    def part(self, rows: slice | Array) -> Sample:
        weights = None if self.weights is None else self.weights[rows]
        return Sample(self.x[rows], self.y[rows], weights, self.total)


def sample(
    net: Network,
    goal: losses.Loss,
    x: Any,
    y: Any,
    weight: Any = None,
    class_weight: Any = None,
    split: float = 0.0,
    held_out: bool = False,
    names: Sequence[str] = ("x", "y", "sample_weight"),
) -> Sample:
    """Rows of anything that `fit` takes: at most `SAMPLE`, drawn evenly and in order.

    With a `split`, those of the rows that `fit` trains on by it, or holds out.
    """
    if y is None and data.gives_batches(x):
        return _of_batches(net, goal, names[0], x, class_weight)
    if y is None:
        net._rows(goal, x, y, names=names)  # raises, and says why
    held, targets = data.held(names[0], x), data.held(names[1], y)
    if weight is not None:
        weight = np.asarray(weight)
    if not held.ndim or not targets.ndim or held.shape[0] != targets.shape[0]:
        net._rows(goal, x, y, weight, names=names)  # raises, and says why
    chosen = np.arange(held.shape[0])
    if split:
        chosen = training._split(net, len(chosen), split)[held_out]
    total = len(chosen)
    most = max(64, min(SAMPLE, _VALUES // max(1, math.prod(held.shape[1:]))))
    if total > most:
        drawn = np.random.default_rng(0).choice(total, most, replace=False)
        chosen = chosen[np.sort(drawn)]
    if len(chosen) < held.shape[0]:
        held, targets = held[chosen], targets[chosen]
        weight = None if weight is None else weight[chosen]
    rows = net._rows(goal, held, targets, weight, names=names)
    x, y, weights = _weighted(net, rows, class_weight).take(slice(None))
    return Sample(data.dense(x), y, weights, total)


def _weighted(net: Network, rows: data.Rows, class_weight: Any) -> data.Rows:
    if class_weight is None:
        return rows
    if isinstance(class_weight, str):
        return rows.weighted(class_weight, net.dtype)
    return rows.weighted_batch(class_weight, net.dtype)  # not every class need be there


def _of_batches(
    net: Network, goal: losses.Loss, name: str, batches: Any, class_weight: Any
) -> Sample:
    source = training._batches(net, goal, name, batches, 1, None, class_weight)
    most = max(64, min(SAMPLE, _VALUES // source.features))
    taken: list[data.Batch] = []
    for batch in source.batches():
        taken.append(batch)
        if sum(len(x) for x, _, _ in taken) >= most:
            break
    weights: Array | None = None
    if any(w is not None for _, _, w in taken):
        weights = np.concatenate(
            [np.ones(len(x), net.dtype) if w is None else w for x, _, w in taken]
        )
    x = np.concatenate([data.dense(x) for x, _, _ in taken])
    y = np.concatenate([y for _, y, _ in taken])
    whole = Sample(x, y, weights, len(x))
    return whole.part(slice(most))


# Layers -------------------------------------------------------------------------------


@dataclasses.dataclass
class Stage:
    """A layer that learns, with the activation after it: a row of the table."""

    layer: int
    name: str
    hidden: bool
    units: int = 0
    rms: float = 0.0  # of its outputs
    dead: Share = None  # of its units, that pass no gradient for any row
    saturated: Share = None  # of its outputs, where the derivative is < 1 % of its most
    signal: Share = None  # rms of the gradient of a row's loss by its outputs
    update: Share = None  # the norm of a step over that of the kernel
    not_finite: int = 0  # of its outputs and parameters


@functools.lru_cache(maxsize=64)
def kind(activation: activations.ActivationFunction) -> tuple[str | None, float]:
    """How its derivative can vanish, "saturates" (at both ends) or "dies" (at one, or
    about zero, too), and the largest derivative."""
    if activation.name in ("softmax", "log_softmax"):
        return None, 1.0
    grid = np.array([-1000.0, -0.5, 0.5, 1000.0, *np.linspace(-8, 8, 321)])
    slope = np.abs(activation.derivative(grid))
    top = float(slope[4:].max())
    left, inner_left, inner_right, right = slope[:4] < 0.01 * top
    if left and right and not (inner_left or inner_right):
        return "saturates", top
    return ("dies" if left or right or inner_left or inner_right else None), top


class Reading:
    """A net as it is: what goes forward through it, and what comes back."""

    def __init__(self, net: Network, goal: losses.Loss, rows: Sample) -> None:
        self.net, self.goal = net, goal
        self.overshot = False  # whether a step raises the loss of its own rows
        most = max(64, min(ROWS, int(_WORK / (6 * max(net.parameters.size, 1)))))
        self.rows = rows.part(slice(None, None, -(-len(rows) // most)))
        self.stages = _stages(net)
        self.layer_not_finite: int | None = None
        with np.errstate(all="ignore"):
            self._read()
        self.not_finite = sum(stage.not_finite for stage in self.stages)
        self.hidden = [stage for stage in self.stages if stage.hidden]

    def _read(self) -> None:
        by_layer = {stage.layer: stage for stage in self.stages}
        ends = {_end(self.net.layers, stage.layer): stage for stage in self.stages}
        x = self.rows.x
        for i, layer in enumerate(self.net.layers):
            before, x = x, self._forward(i, layer, x)
            if i in by_layer:
                for array in layer.parameters.values():
                    by_layer[i].not_finite += int(array.size - np.isfinite(array).sum())
            if i in ends:
                self._outputs(ends[i], layer, before, x)
        self.outputs = np.ascontiguousarray(x)
        slopes = np.empty_like(self.outputs)
        total, _ = self.goal(self.outputs, self.rows.y, self.rows.weights, slopes, 1.0)
        self.loss = total / len(self.rows)
        self.penalty = float(sum(layer.penalty() for layer in self.net.layers))
        self._signal(ends, slopes)

    def _forward(self, i: int, layer: Layer, x: Array) -> Array:
        if isinstance(layer, _WITHOUT_NOISE):
            return layer.forward(x)
        last = i == len(self.net.layers) - 1
        if last and self.goal.activations and isinstance(layer, Dense | Activation):
            return layer.forward(x, True, logits=True)
        return layer.forward(x, True)

    def _outputs(self, stage: Stage, layer: Layer, x: Array, y: Array) -> None:
        stage.units = y.shape[1]
        stage.rms = _rms(y)
        stage.not_finite += int(y.size - np.isfinite(y).sum())
        known = type(layer) in (Dense, Activation)
        if not stage.hidden or (len(y) < _ENOUGH and len(y) < self.rows.total):
            enough = False
        else:
            enough = True
        if not known:
            passed = (x == 0).all(axis=0) if x.shape == y.shape else False
            if stage.hidden and enough:
                stage.dead = float(((y == 0).all(axis=0) & ~np.asarray(passed)).mean())
            return
        assert isinstance(layer, Dense | Activation)
        how, top = kind(layer.activation)
        if how is None or not stage.hidden:
            return
        slope = np.abs(_slopes(layer, y))
        if how == "saturates":
            stage.saturated = float((slope < 0.01 * top).mean())
        elif enough:
            stage.dead = float((slope < 0.001 * top).all(axis=0).mean())

    def _signal(self, ends: dict[int, Stage], gradient: Array) -> None:
        first = min(ends, default=0)
        for i in range(len(self.net.layers) - 1, first - 1, -1):
            if i in ends:
                ends[i].signal = _rms(gradient)
            if i == first:
                return
            layer = self.net.layers[i]
            if isinstance(layer, _WITHOUT_NOISE):
                if isinstance(layer, Dropout) and layer.mode == "classic":
                    gradient = gradient * (1 - layer.rates(0, 1)[0])
                continue
            passed = layer.backward(gradient)
            if passed is None:
                return
            gradient = np.ascontiguousarray(passed)

    def ratio(self, name: str) -> float | None:
        """First hidden stage over the last one, of "rms" or "signal"."""
        if len(self.hidden) < 2:
            return None
        first, last = (getattr(self.hidden[i], name) for i in (0, -1))
        if not (
            first is not None and last is not None and np.isfinite([first, last]).all()
        ):
            return None
        if first == last == 0:
            return None
        return float(first / last) if last else math.inf


def _stages(net: Network) -> list[Stage]:
    learning = [i for i, layer in enumerate(net.layers) if layer.parameters]
    return [Stage(i, repr(net.layers[i]), hidden=i != learning[-1]) for i in learning]


def _end(layers: Sequence[Layer], i: int) -> int:
    """The layer after which the values of a stage are read."""
    last = len(layers) - 1
    after = layers[i + 1] if i < last else None
    dense = layers[i]
    linear = isinstance(dense, Dense) and dense.activation.name == "identity"
    return i + 1 if linear and isinstance(after, Activation) else i


def _slopes(layer: Dense | Activation, y: Array) -> Array:
    """The derivative of its activation where the last forward pass was."""
    assert layer._saved is not None
    saved = layer._saved[1] if isinstance(layer, Dense) else layer._saved[0]
    made: Array = layer.activation.backward(np.ones_like(y), saved)
    return made


def _rms(array: Array) -> float:
    return math.sqrt(float(np.square(array, dtype=np.float64).mean()))


# The case -----------------------------------------------------------------------------


class Case:
    """All that rules read: the net as it is and as it began, the data, what `fit` was
    told, and how much of what can be learnt the net has learnt."""

    def __init__(
        self,
        net: Network,
        goal: losses.Loss,
        rule: optimizers.Optimizer,
        told: Told,
        train: Sample,
        validation: Sample | None,
    ) -> None:
        self.goal, self.rule, self.told = goal, rule, told
        self.train, self.validation = train, validation
        self.trained = net.steps > 0
        self.history = net.history
        self.net = copy.deepcopy(net)
        learn_from(self.net, train.x)
        self.first = self._as_it_began()
        self.constant, self.floor = bounds(goal, self.outputs, train)

    def _as_it_began(self) -> Network:
        """The net before its first step: made anew from its seed if it has trained."""
        if not self.trained:
            return copy.deepcopy(self.net)
        layers = copy.deepcopy(self.net.layers)
        for layer in layers:
            layer.features = 0
            layer._parameters, layer._gradients = {}, {}
        made = Network(layers, seed=self.net.seed, dtype=self.net.dtype)
        learn_from(made, self.train.x)
        return made

    def follow(self, net: Network) -> None:
        """See the net as it is now; how it began is known."""
        self.net.parameters[...] = net.parameters
        for own, other in zip(self.net.layers, net.layers, strict=True):
            for name in other.kept:
                setattr(own, name, copy.copy(getattr(other, name)))
        self.net.steps, self.trained = net.steps, net.steps > 0
        for name in ("now", "loss", "validation_loss"):
            self.__dict__.pop(name, None)

    @property
    def outputs(self) -> int:
        return self.net._outputs(self.net.features)

    @functools.cached_property
    def now(self) -> Reading:
        if not self.trained:
            return self.start
        return Reading(copy.deepcopy(self.net), self.goal, self.train)

    @functools.cached_property
    def start(self) -> Reading:
        reading = Reading(copy.deepcopy(self.first), self.goal, self.train)
        _measure_step(self, self.first, reading)
        return reading

    @functools.cached_property
    def first_step(self) -> tuple[float, int | None]:
        """The largest change of a kernel by the first step, and its layer."""
        known = [(s.update, s.layer) for s in self.start.stages if s.update is not None]
        return max(known, default=(0.0, None))

    # What is learnt: 1 as the best constant, 0 as outputs that equal the targets.

    def share(self, loss: float, rows: Sample | None = None) -> float:
        """The loss as a share of the best constant's, of the training rows or others;
        inf if it is not finite."""
        ends = self.constant, self.floor
        if rows is not None and rows is self.validation:
            ends = self._validation_bounds
        return share(loss, *ends)

    @functools.cached_property
    def _validation_bounds(self) -> tuple[float, float]:
        assert self.validation is not None
        return bounds(self.goal, self.outputs, self.validation)

    @functools.cached_property
    def loss(self) -> float:
        """Of the net as it is, without penalties, on the sample."""
        return loss_of(self.net, self.goal, self.train)

    @functools.cached_property
    def validation_loss(self) -> float | None:
        """Of the validation rows or, where there are none now, as `fit` measured it."""
        if self.validation is not None:
            return loss_of(self.net, self.goal, self.validation)
        curve = self.validation_curve
        if not curve:
            return None
        assert self.history is not None
        return min(curve) if self.history.stopped == "EarlyStopping" else curve[-1]

    @property
    def validation_curve(self) -> list[float]:
        """The losses of validation rows by epoch, without penalties."""
        if self.history is None:
            return []
        losses = self.history.get("val_loss", [])
        return list(self.history.get("val_loss_without_penalty", losses))

    def measure_step(self) -> Reading:
        """`now`, with the change that a step makes."""
        if self.trained and not any(s.update for s in self.now.stages):
            _measure_step(self, self.net, self.now)
        return self.now

    # Data.

    @functools.cached_property
    def labels(self) -> Array | None:
        """The class of each row, where it has one."""
        return labels_of(self.goal, self.train.y)

    @functools.cached_property
    def entering(self) -> Array | None:
        """What the first Dense layer gets; None where another layer learns before."""
        x = self.train.x
        for layer in copy.deepcopy(self.first).layers:
            if type(layer) is Dense:
                return x
            if layer.parameters:
                return None
            x = layer.forward(x)
        return None

    @functools.cached_property
    def columns(self) -> Array:
        """Targets as numbers, (n, k)."""
        y = self.train.y
        return y.reshape(len(y), -1).astype(np.float64)

    @functools.cached_property
    def steps_per_epoch(self) -> int:
        if self.told.steps_per_epoch is not None:
            return self.told.steps_per_epoch
        return -(-self.train.total // self.told.batch_size)

    @property
    def steps(self) -> int | None:
        """That `fit` was or will be given; None where nobody has said."""
        if self.trained:
            return self.net.steps
        return (
            None
            if self.told.epochs is None
            else self.told.epochs * self.steps_per_epoch
        )


def learn_from(net: Network, x: Array) -> None:
    """Build a net; its layers learn from these rows what `fit` has them learn."""
    first = net.layers[0]
    if isinstance(first, Standardize) and net._standardizes_nothing():
        first.build(x.shape[1], net.dtype, seed=net.seed)
        first.learn(x)
    net.build(x.shape[1])
    net._learn(data.inputs("x", x, net.dtype, finite=False))


def labels_of(goal: losses.Loss, y: Array) -> Array | None:
    if not goal.classifies and goal.core is None:
        return None
    if y.dtype.kind == "i":
        return y
    table = y.reshape(len(y), -1)
    whole = ((table == 0) | (table == 1)).all()
    if not whole:
        return None
    if table.shape[1] == 1:
        return table[:, 0].astype(np.int64)
    if (table.sum(axis=1) == 1).all():
        return np.asarray(table.argmax(axis=1))
    return None


def loss_of(net: Network, goal: losses.Loss, rows: Sample) -> float:
    with np.errstate(all="ignore"):
        total, _, penalty = net._evaluate(goal, rows.x, rows.y, rows.weights)
        return (total - penalty) / len(rows)


def _measure_step(case: Case, net: Network, reading: Reading) -> None:
    """Take a step with a copy, and note by how much it changes each kernel."""
    moved = copy.deepcopy(net)
    moved._adopt(case.rule)
    batch = case.train.part(slice(case.told.batch_size))
    with np.errstate(all="ignore"):
        try:
            rows = batch.x, batch.y, batch.weights
            loss = moved._steps(case.goal, *rows, None, len(batch.x))[0]
            reading.overshot = overshot(moved, case.goal, *rows, loss)
        except FloatingPointError:  # a norm to clip by that is not finite
            return
    after = dict[int, float]()
    for (i, old), (_, new) in zip(kernels(net), kernels(moved), strict=True):
        after[i] = max(after.get(i, 0.0), relative_change(old, new))
    for stage in reading.stages:
        stage.update = after.get(stage.layer)


def bounds(goal: losses.Loss, outputs: int, rows: Sample) -> tuple[float, float]:
    """The loss of the best constant, and of outputs that equal the targets."""
    n, y = len(rows), rows.y
    table = np.eye(outputs)[y] if y.dtype.kind == "i" else y.reshape(n, -1)
    if table.shape[1] != outputs:
        return 1.0, 0.0
    weights = np.ones(n) if rows.weights is None else rows.weights.astype(np.float64)
    if not weights.any():
        weights = np.ones(n)
    mean = (weights @ table) / weights.sum()

    def loss(values: Array) -> float:
        made = np.ascontiguousarray(np.broadcast_to(values, table.shape), y_dtype)
        with np.errstate(all="ignore"):
            total, _ = goal(made, y, rows.weights)
        return total / n if math.isfinite(total) else math.inf

    y_dtype = rows.x.dtype
    if goal.activations:
        constants, exact = _logits(goal, mean), _logits(goal, table)
        return min(map(loss, constants)), min(map(loss, exact))
    if goal == losses.poisson:
        with np.errstate(divide="ignore"):
            log = np.log(np.maximum(mean, 1e-30)), np.log(np.maximum(table, 1e-30))
        return loss(log[0]), loss(log[1])
    middle = np.median(table, axis=0)
    return min(map(loss, (mean, middle, np.zeros(outputs)))), loss(table)


def share(loss: float, constant: float, floor: float) -> float:
    if not math.isfinite(loss):
        return math.inf
    if constant - floor <= 1e-12 * abs(floor):  # one class, or one target: all is known
        return 0.0
    return max(0.0, (loss - floor) / (constant - floor))


def _logits(goal: losses.Loss, shares: Array) -> list[Array]:
    """Of the outputs that are best for targets with these means."""
    smoothing = getattr(goal, "label_smoothing", 0.0)
    positive = getattr(goal, "pos_weight", 1.0)
    shares = np.asarray(shares, np.float64)
    if "sigmoid" in goal.activations:
        p = shares * (1 - smoothing) + smoothing / 2
        p = p * positive / (p * positive + 1 - p)
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return [np.log(p / (1 - p))]
    p = shares * (1 - smoothing) + smoothing / shares.shape[-1]
    return [np.log(np.maximum(p, 1e-12))]


def batches_of(rows: int, batch_size: int, steps: int) -> Iterator[int]:
    """How many rows of each epoch's order make up that many steps."""
    for _ in itertools.count():
        if steps <= 0:
            return
        here = min(-(-rows // batch_size), steps)
        steps -= here
        yield min(here * batch_size, rows)
