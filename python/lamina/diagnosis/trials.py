"""Verdicts by experiment: copies of the net, changed, and trained for a moment."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina import config, losses
from lamina.diagnosis.measure import (
    Case,
    Sample,
    batches_of,
    bounds,
    labels_of,
    learn_from,
    loss_of,
    share,
)
from lamina.diagnosis.remedies import Change
from lamina.initializers import SHUFFLE, permutation, stream
from lamina.layers import Dense
from lamina.network import Network

__all__ = ["Trial", "Trials", "recall_of_rarest"]

STEPS = 300
_SECONDS = 0.25  # for all trials of a diagnosis
_ONE = 0.06  # for one of them
_WORK = 5e9  # operations of one: what that takes on one core
_HELD_OUT = 5  # one row in so many tells whether what was learnt is more than the rows
_FEW = 100  # rows; fewer are all trained on


@dataclasses.dataclass(frozen=True)
class Trial:
    """How a training of some steps ended: losses as shares of the best constant's."""

    change: Change
    steps: int
    loss: float
    held_out: float | None
    recall: float | None  # of the rarest class
    raw: float  # the loss itself

    def to_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "loss": _number(self.raw)}


class Trials:
    """Trainings of changed copies, each run once; none where they are not wanted."""

    def __init__(self, case: Case, wanted: bool = True) -> None:
        self.case, self.wanted = case, wanted
        self.done: dict[Change, Trial] = {}
        self.spent = 0.0
        self.cut: int | None = None  # steps that the first could take in its time
        rows = case.train
        self.rows, self.held_out = rows, case.validation
        if self.held_out is None and len(rows) >= _FEW:
            order = permutation(len(rows), 0, stream(SHUFFLE))
            apart = len(rows) // _HELD_OUT
            self.held_out = rows.part(np.sort(order[:apart]))
            self.rows = rows.part(np.sort(order[apart:]))
        weights = max(case.net.parameters.size, 1)
        by_work = int(_WORK / (6 * weights * min(case.told.batch_size, len(self.rows))))
        self.steps = max(1, min(STEPS, case.steps or STEPS, max(by_work, 20)))

    def __call__(self, change: Change = Change()) -> Trial | None:  # noqa: B008
        """None where there is no time left, or nobody wants any."""
        if change in self.done:
            return self.done[change]
        if not self.wanted or self.spent + self._expected(change) > _SECONDS:
            return None
        started = time.process_time()
        with config.threads(1), np.errstate(all="ignore"):
            trial = self.done[change] = self._run(change)
        self.spent += time.process_time() - started
        return trial

    def _expected(self, change: Change) -> float:
        """Seconds, by those of the trials before and the size of the net."""
        if not self.done or not change.rebuilds:
            return 0.0
        new, width = 0, self.rows.x.shape[1]
        for layer in change.layers(self.case.first):
            new += width * layer.outputs(width) if type(layer) is Dense else 0
            width = layer.outputs(width)
        size = max(self.case.first.parameters.size, 1)
        return self.spent / len(self.done) * max(1.0, new / size)

    @property
    def base(self) -> Trial | None:
        """As the net is told to train."""
        return self()

    def _run(self, change: Change) -> Trial:
        case = self.case
        rows, held_out = self._data(change)
        goal = change.loss or case.goal
        net = case.first
        if change.rebuilds:
            net = Network(change.layers(net), seed=net.seed, dtype=net.dtype)
            learn_from(net, rows.x)
        else:
            net = copy.deepcopy(net)
        rule = change.optimizer(case.rule)
        net._adopt(rule)
        net.rate_factor = change.factor(case.rule) * case.net.rate_factor
        steps = self._train(net, goal, rows, change.longer)
        outputs = net._outputs(net.features)
        raw, apart = loss_of(net, goal, rows), None
        if held_out is not None:
            loss = loss_of(net, goal, held_out)
            apart = share(loss, *bounds(goal, outputs, held_out))
        known = share(raw, *bounds(goal, outputs, rows))
        return Trial(
            change, steps, known, apart, recall_of_rarest(net, goal, rows), raw
        )

    def _data(self, change: Change) -> tuple[Sample, Sample | None]:
        rows, held_out = self.rows, self.held_out
        if change.scale_targets:
            mean, scale = rows.y.mean(axis=0), rows.y.std(axis=0)
            scale = np.where(scale == 0, 1, scale).astype(rows.y.dtype)

            def scaled(some: Sample) -> Sample:
                return dataclasses.replace(some, y=(some.y - mean) / scale)

            rows = scaled(rows)
            held_out = None if held_out is None else scaled(held_out)
        if change.loss is not None:
            new: Any = change.loss
            outputs = self.case.outputs

            def meant(some: Sample) -> Sample:
                y = new.targets(some.y, outputs, some.x.dtype)
                return dataclasses.replace(some, y=y)

            rows = meant(rows)
            held_out = None if held_out is None else meant(held_out)
        if change.drop is not None:
            x = np.delete(rows.x, change.drop, axis=1)
            rows = dataclasses.replace(rows, x=x)
            if held_out is not None:
                x = np.delete(held_out.x, change.drop, axis=1)
                held_out = dataclasses.replace(held_out, x=x)
        if change.class_weight is not None:
            labels = labels_of(self.case.goal, rows.y)
            assert labels is not None
            factors = losses.class_weights(labels, change.class_weight)
            rows = dataclasses.replace(rows, weights=factors.astype(rows.x.dtype))
        return rows, held_out

    def _train(self, net: Network, goal: losses.Loss, rows: Sample, longer: int) -> int:
        steps = self.cut or self.steps
        if longer > 1:
            steps = max(steps, min(longer * steps, self.case.steps or STEPS))
        size = self.case.told.batch_size
        end = time.process_time() + _ONE
        before = net.steps
        for epoch, count in enumerate(batches_of(len(rows), size, steps)):
            order = permutation(len(rows), net.seed, stream(SHUFFLE, step=epoch))
            for start in range(0, count, 32 * size):
                some = order[start : min(count, start + 32 * size)]
                try:
                    net._steps(goal, rows.x, rows.y, rows.weights, some, size)
                except FloatingPointError:  # a norm to clip by that is not finite
                    return net.steps - before
                if time.process_time() > end and (self.cut is None or longer > 1):
                    break
            else:
                continue
            break
        if self.cut is None:
            self.cut = net.steps - before
        return net.steps - before

    def best(self, changes: Sequence[Change]) -> Trial | None:
        """The first of those whose loss is within a quarter of the smallest: changes
        come with the gentlest first."""
        tried = [trial for change in changes if (trial := self(change)) is not None]
        least = min((trial.loss for trial in tried), default=math.inf)
        return next((t for t in tried if t.loss <= 1.25 * least), None)

    def completed(self, trial: Trial) -> Trial:
        """What helps little by itself, with what it needs beside: another rate, inputs
        and targets of unit size."""
        change, more = trial.change, list[Change]()
        rates = [
            dataclasses.replace(change, rate=change.rate * r) for r in (10, 100, 0.1)
        ]
        more += rates
        if change.drop is None:
            scaled = dataclasses.replace(change, standardize=True)
            more += [scaled, dataclasses.replace(scaled, rate=10 * change.rate)]
            goal = change.loss or self.case.goal
            if goal.name in ("mean_squared_error", "mean_absolute_error", "huber"):
                more.append(dataclasses.replace(scaled, scale_targets=True))
        best = self.best(more)
        return trial if best is None or not best.loss < 0.8 * trial.loss else best


def recall_of_rarest(net: Network, goal: losses.Loss, rows: Sample) -> float | None:
    """The share of the rarest class that is recognised; None without classes."""
    labels = labels_of(goal, rows.y)
    if labels is None:
        return None
    counts = np.bincount(labels)
    rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
    outputs = net.predict(rows.x)
    if outputs.shape[1] == 1:
        said = (outputs[:, 0] >= 0.5).astype(int)
    else:
        said = outputs.argmax(axis=1)
    return float((said[labels == rarest] == rarest).mean())


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
