"""An experiment: nets of many settings, trained on the same splits with the same seeds.

`Experiment.train` is one training, wherever it runs: it gives a row.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lamina import _checks, data
from lamina._checks import Array
from lamina.callbacks import Callback
from lamina.config import threads
from lamina.experiments import settings
from lamina.experiments.settings import Setting
from lamina.initializers import SPLIT, permutation, stream
from lamina.model import Sequential

__all__ = ["Experiment", "Split", "Task", "failed", "parts", "score"]

Row = dict[str, Any]
Measure = Callable[[Sequential, Any, Any], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows to train on and those to measure by, with their weights if any.

    They are taken out of the data, checked and converted once for all trainings.
    """

    x: Any
    y: Array
    weights: Array | None
    x_test: Any
    y_test: Array
    weights_test: Array | None
    _checked: dict[str, tuple[data.Table, data.Table]] = dataclasses.field(
        default_factory=dict
    )

    def inputs(self, dtype: np.dtype[Any]) -> tuple[data.Table, data.Table]:
        """`x` and `x_test` as nets of that dtype take them as they are."""
        if dtype.str not in self._checked:
            both = data.inputs("x", self.x, dtype), data.inputs("x", self.x_test, dtype)
            self._checked[dtype.str] = both
        return self._checked[dtype.str]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_checked": {}}


@dataclasses.dataclass(frozen=True)
class Task:
    """One training: of a new net, or of one that goes on to that epoch."""

    setting: Setting
    split: int
    seed: int
    diagnose: bool = False
    epochs: int | None = None
    net: Sequential | None = None

    @property
    def key(self) -> tuple[str, int, int, int | None]:
        return self.setting.key, self.split, self.seed, self.epochs


class _Stop(Callback):
    """Ends a training when the whole experiment ends."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def on_progress(self, net: Any, rows: int, scores: dict[str, float]) -> bool:
        return self.event.is_set()


class Experiment:
    """What all trainings of an experiment share.

    Raises
    ------
    TypeError, ValueError
        Arguments that no training could use.
    """

    def __init__(
        self,
        build: Callable[..., Sequential] | Sequential,
        x: Any,
        y: Any,
        *,
        names: Sequence[str],
        fit: Mapping[str, Any] | None,
        folds: Any,
        validation: Any,
        measure: Measure | None = None,
    ) -> None:
        self.build = build.clone if isinstance(build, Sequential) else build
        if not callable(self.build):
            raise TypeError(f"build must be a function or a net, got {build!r}")
        self.fit = dict(fit or {})
        self.parameters = inspect.signature(self.build).parameters
        settings.check_names(self.parameters, names, self.fit)
        weights = self.fit.pop("sample_weight", None)
        x, y = _data("x", "y", x, y)
        if np.ndim(y) == 1 and len(y) and (y == y[0]).all():
            raise ValueError(f"y must have two different values, got only {y[0]}")
        if weights is not None:
            weights = _checks.numeric("sample_weight", weights)
            if weights.shape != (len(y),):
                raise ValueError(
                    f"sample_weight must have shape ({len(y)},), got {weights.shape}"
                )
        self.measure = measure
        self.splits: list[Split] = []
        held: tuple[Any, ...] = ()
        if validation is not None:
            if not isinstance(validation, tuple | list) or len(validation) != 2:
                raise TypeError(f"validation must be (x, y), got {type(validation)}")
            held = _data("validation[0]", "validation[1]", *validation)
            if held[0].shape[1] != x.shape[1]:
                raise ValueError(
                    f"validation[0] must have {x.shape[1]} features like x, got "
                    f"{held[0].shape[1]}"
                )
            self.splits.append(Split(x, y, weights, *held, None))
            self.shared = 0.0
        else:
            pairs = parts(y, folds)
            for train, test in pairs:
                some = (None, None)
                if weights is not None:
                    some = weights[train], weights[test]
                self.splits.append(
                    Split(x[train], y[train], some[0], x[test], y[test], some[1])
                )
            train, test = pairs[0]
            self.shared = len(test) / len(train)
        self._data = x, y, weights, held
        self._names, self._parts = sorted(names), folds

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What makes it this experiment and no other."""
        x, y, weights, held = self._data
        fit = settings.label(self.fit | {"sample_weight": weights})
        return {
            "build": settings.source(self.build),
            "data": settings.digest(x, y, *held),
            "fit": fit,
            "names": self._names,
            "folds": "validation" if held else _folds_label(self._parts),
            "measure": settings.source(self.measure) if self.measure else None,
        }

    def arguments(self, setting: Setting) -> tuple[dict[str, Any], dict[str, Any]]:
        """Those of `build` and of `fit` in a setting."""
        return settings.resolve(self.parameters, self.fit, setting)

    def row(self, task: Task, stop: threading.Event | None = None) -> Any:
        """As `train`, but the net is not kept."""
        result = self.train(task, stop)
        return result and (result[0], None)

    def train(self, task: Task, stop: threading.Event | None = None) -> Any:
        """Row and net of a task; None where the experiment was ended meanwhile."""
        began, net = time.perf_counter(), None
        row: Row = {"setting": task.setting.labels}
        row |= {"split": task.split, "seed": task.seed}
        if task.epochs is not None:
            row["rung"] = task.epochs
        try:
            with threads(1):
                net = self.advance(task, [] if stop is None else [_Stop(stop)])
                if net.history is not None and net.history.stopped == _Stop.__name__:
                    return None
                row |= self.scores(net, task)
                row["epochs"] = net.epoch
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
        row["seconds"] = time.perf_counter() - began
        return row, net

    def advance(self, task: Task, told: Iterable[Callback] = ()) -> Sequential:
        """The net of a task, trained."""
        own, how = self.arguments(task.setting)
        net, split = task.net, self.splits[task.split]
        if net is None:
            net = self.build(**own, seed=task.seed)
            if not isinstance(net, Sequential):
                raise TypeError(f"build must return a net, got {net!r}")
        if task.epochs is not None:
            how["epochs"] = task.epochs - net.epoch
        # Callbacks have a memory of the net that they follow.
        how["callbacks"] = [*copy.deepcopy(list(how.get("callbacks", ()))), *told]
        x, _ = split.inputs(net.dtype)
        net.fit(x, split.y, **how, sample_weight=split.weights, verbose=0)
        return net

    def scores(self, net: Sequential, task: Task) -> dict[str, Any]:
        """What is to be known of a trained net."""
        split = self.splits[task.split]
        x, x_test = split.inputs(net.dtype)
        metrics = self.arguments(task.setting)[1].get("metrics")
        found: dict[str, Any] = score(
            net, x_test, split.y_test, split.weights_test, metrics or ()
        )
        of_train = score(net, x, split.y, split.weights)
        found |= {f"train_{name}": value for name, value in of_train.items()}
        if self.measure is not None:
            measured = self.measure(net, split.x_test, split.y_test)
            found |= {name: float(value) for name, value in measured.items()}
        if task.diagnose:
            found["diagnosis"] = _diagnosis(net, split.x, split.y)
        return found


def score(
    net: Sequential, x: Any, y: Any, weights: Array | None = None, metrics: Any = ()
) -> dict[str, float]:
    """As `evaluate`, but the loss without penalties: those of two settings differ."""
    scores = net.evaluate(x, y, sample_weight=weights, metrics=metrics)
    scores["loss"] = scores.pop("loss_without_penalty", scores["loss"])
    return scores


def failed(row: Row) -> bool:
    """Whether the training raised, or its loss is not finite."""
    return "error" in row or not math.isfinite(row["loss"])


def _diagnosis(net: Any, x: Any, y: Array) -> str:
    """The name of what ails a net; empty for a healthy one."""
    verdicts = net.diagnose(x, y, trials=False).verdicts
    return verdicts[0].name if verdicts else ""


def _data(x_name: str, y_name: str, x: Any, y: Any) -> tuple[Any, Array]:
    x, y = data.held(x_name, x), data.held(y_name, y)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{x_name} must be 2-d (rows, features), got shape {x.shape}")
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"{y_name} must have as many rows as {x_name}, {x.shape[0]}, got shape "
            f"{y.shape}"
        )
    for name, array in ((x_name, x), (y_name, y)):
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            _checks.finite(name, array.reshape(len(array), -1))
    return x, y


def parts(y: Array, folds: Any) -> list[tuple[Array, Array]]:
    """Numbers of the rows to train on and to measure by, for each split."""
    n = len(y)
    if isinstance(folds, Iterable) and not isinstance(folds, str):
        pairs = [(np.asarray(train), np.asarray(test)) for train, test in folds]
        for train, test in pairs:
            both = np.concatenate([train, test])
            if not (len(train) and len(test)) or len(np.unique(both)) < len(both):
                raise ValueError("folds must give pairs of different numbers of rows")
            if both.dtype.kind not in "iu" or both.min() < 0 or both.max() >= n:
                raise ValueError(
                    f"folds must give numbers of rows below {n}, got {both}"
                )
        if not pairs:
            raise ValueError("folds must give a pair at least, got none")
        return pairs
    count = _checks.count("folds", folds)
    if not 2 <= count <= n:
        raise ValueError(f"folds must be from 2 to the {n} rows, got {count}")
    # Every fold gets its share of each class, or of small and large targets.
    order = permutation(n, 0, stream(SPLIT))
    if y.ndim == 1 or y.shape[1] == 1:
        order = order[np.argsort(y.reshape(-1)[order], kind="stable")]
    tests = [np.sort(order[i::count]) for i in range(count)]
    rows = np.arange(n)
    return [(np.setdiff1d(rows, test, assume_unique=True), test) for test in tests]


def _folds_label(folds: Any) -> Any:
    if isinstance(folds, int):
        return folds
    return settings.digest(*(part for pair in folds for part in pair))
