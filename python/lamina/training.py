"""`Sequential.fit` and `evaluate`: everything around the steps of training.

The steps themselves are `Network._steps`, which is called about ten times a second: in
between callbacks are told, and Ctrl-C is heard.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from lamina import _checks, data, losses, metrics, optimizers
from lamina._checks import Array
from lamina.alarms import Alarms
from lamina.callbacks import Callback, ProgressBar
from lamina.history import History, Told
from lamina.initializers import SHUFFLE, SPLIT, permutation, stream
from lamina.network import Network, Sums

__all__ = ["evaluate", "fit"]

_BETWEEN = 0.1  # seconds of steps between two looks at callbacks and signals

Source = data.Rows | data.Batches
Metrics = Iterable[str | metrics.Metric] | Mapping[str, str | metrics.Metric]
Piece = tuple[Array, Array, Array | None, Array | None, int]  # what `_steps` takes


class Group(Protocol):
    """Processes that train the same net together, each by `fit`: those of
    `lamina.distributed`. The first decides."""

    interrupted: list[bool]  # filled by Ctrl-C in any of them
    watched: bool  # whether callbacks look at the net after each step

    def begin(self, net: Network, goal: losses.Loss, source: Source) -> None:
        """Before the first step: raise unless all are alike."""

    def steps(self, *args: Any, **kwargs: Any) -> Sums:
        """As `Network._steps`, of all together."""

    def agree(self, value: Any) -> Any:
        """That of the first, of what JSON knows."""

    def complete(self) -> None:
        """After the steps of an epoch: what only one of them had, all have now."""

    def check(self) -> None:
        """After the steps of an epoch: raise unless all have the same net."""

    def share(self) -> None:
        """After callbacks at its end: take over what they made of the first's net."""


def fit(
    net: Network,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    optimizer: str | optimizers.Optimizer | None,
    loss: str | losses.Loss | None,
    sample_weight: Any,
    class_weight: Mapping[int, float] | str | None,
    validation_split: float,
    validation_data: Any,
    shuffle: bool,
    callbacks: Iterable[Callback],
    steps_per_epoch: int | None,
    validation_steps: int | None,
    verbose: int,
    metrics: Metrics,
    train_metrics: bool,
    precision: str | None,
    ema: float | None,
    group: Group | None = None,
) -> History:
    """As `Sequential.fit` says."""
    epochs = _checks.count("epochs", epochs)
    batch_size = _checks.count("batch_size", batch_size)
    share = _checks.below_one("validation_split", validation_split)
    if steps_per_epoch is not None:
        steps_per_epoch = _checks.count("steps_per_epoch", steps_per_epoch)
    if validation_steps is not None:
        validation_steps = _checks.count("validation_steps", validation_steps)
    train_metrics = _checks.flag("train_metrics", train_metrics)
    if ema is not None:
        ema = _checks.below_one("ema", ema)
    told = _told(callbacks, verbose)
    with net._fitting():
        rule, goal = net._rule(optimizer), net._goal(loss)
        wanted = net._step_precision(precision, goal, rule)
        asked = _asked(net, goal, metrics)
        alone = not share and validation_data is None
        again = bool(asked) and (train_metrics or alone)
        if again and isinstance(x, Iterator):
            raise ValueError(
                "metrics of training data need an x that can be gone through again, "
                f"got {type(x).__name__}"
            )
        source, train, held_out, rest = _sources(
            net,
            goal,
            x,
            y,
            sample_weight=sample_weight,
            class_weight=class_weight,
            share=share,
            validation_data=validation_data,
            epochs=epochs,
            length=steps_per_epoch,
            validation_steps=validation_steps,
        )
        learnt = None
        if not isinstance(source, data.Rows):
            net._require_learnt(source.features)
        elif net._standardizes_nothing():
            first: Any = net.layers[0]
            learnt = first.measured(source.x, train)

        net.build(source.features)
        net.loss = goal
        net._adopt(rule)
        if learnt is not None:
            net.layers[0].adopt(*learnt)  # type: ignore[attr-defined]
            source, held_out = _centred(net, source, held_out)
        if isinstance(source, data.Rows):
            net._learn(source.x, train)

        history = net.history = History()
        history.precision = net.dtype.name
        net.told = Told(
            epochs, batch_size, steps_per_epoch, sample_weight, class_weight, share
        )
        run = _Run(net, goal, told, history, batch_size, wanted, group)
        if group is not None:
            group.begin(net, goal, source)
            group.watched = run.pace.each = group.agree(run.pace.each)
        try:
            with _interrupts() as run.interrupted:
                if group is not None:
                    group.interrupted = run.interrupted
                last = net.epoch + epochs
                for callback in told:
                    callback._on_data(net, source, train)
                    callback.on_train_begin(net, range(net.epoch + 1, last + 1))
                while net.epoch < last and history.stopped is None:
                    order = _order(net, source, train, shuffle)
                    with net._averaging(ema):
                        means = run.epoch(source, order)
                    if means is None:
                        break
                    if again:
                        measured = _measure(net, goal, source, train, asked)
                        means |= {name: measured[name] for name in asked}
                    if held_out is not None:
                        measured = _measure(net, goal, held_out, rest, asked)
                        means |= {f"val_{k}": value for k, value in measured.items()}
                    run.end_epoch(means)
                for callback in told:
                    callback.on_train_end(net, history)
                if group is not None:
                    group.share()
        except BaseException as error:
            history.stopped = type(error).__name__
            with contextlib.ExitStack() as stack:  # each is told, whatever others raise
                for callback in reversed(told):
                    stack.callback(callback.on_exception, net, history, error)
                raise
    return history


def evaluate(
    net: Network,
    x: Any,
    y: Any,
    sample_weight: Any,
    steps: int | None,
    metrics: Metrics,
) -> dict[str, float]:
    """As `Sequential.evaluate` says."""
    net._require_built("evaluate")
    goal = net._goal(None)
    asked = _asked(net, goal, metrics)
    if steps is not None:
        steps = _checks.count("steps", steps)
    if y is None and data.gives_batches(x):
        if sample_weight is not None:
            raise ValueError("sample_weight must come with arrays, not with batches")
        batches = _batches(net, goal, "x", x, 1, steps, "steps", bounded=True)
        return _measure(net, goal, batches, None, asked)
    if steps is not None:
        raise ValueError("steps must come with batches, not with arrays")
    return _measure(net, goal, net._rows(goal, x, y, sample_weight), None, asked)


def _asked(
    net: Network, goal: losses.Loss, asked: Metrics
) -> dict[str, metrics.Metric]:
    """The metrics that were asked for, by their names."""
    reported = ["epoch", "loss", "loss_without_penalty", "learning_rate"]
    reported += ["accuracy"] if goal.classifies else []
    last = net._last_activation()
    return metrics.get(asked, goal, None if last is None else last.name, reported)


def _measure(
    net: Network,
    goal: losses.Loss,
    source: Source,
    rows: Array | None,
    asked: Mapping[str, metrics.Metric],
) -> dict[str, float]:
    """Scores of the rows of those numbers, or of all."""
    whole = source.whole if isinstance(source, data.Rows) else None
    if isinstance(source, data.Batches):
        batches = source.batches()
    elif whole is not None and rows is None:
        batches = iter([whole])
    else:
        batches = source.batches(source.at_once(1), rows)
    sums, seen = (0.0, 0.0, 0, 0.0), []
    for x, y, weights in batches:
        loss, correct, penalty = net._evaluate(goal, x, y, weights)
        sums = _plus(sums, (loss, correct, len(x), penalty))
        if asked:
            seen.append((y, net.predict(x)))
    found = net._scores(goal, *sums)
    if asked:
        found |= metrics.evaluate(asked, *map(np.concatenate, zip(*seen, strict=True)))
    return found


# Data ---------------------------------------------------------------------------------


def _sources(
    net: Network,
    goal: losses.Loss,
    x: Any,
    y: Any,
    *,
    sample_weight: Any,
    class_weight: Mapping[int, float] | str | None,
    share: float,
    validation_data: Any,
    epochs: int,
    length: int | None,
    validation_steps: int | None,
) -> tuple[Source, Array | None, Source | None, Array | None]:
    """What to train on and to validate by, each with the numbers of its rows; None: all
    rows, or no validation."""
    if share and validation_data is not None:
        raise ValueError("validation_data must not come together with validation_split")
    source: Source
    held_out: Source | None = None
    train = rest = None
    if y is None and data.gives_batches(x):
        if share or sample_weight is not None:
            name = "validation_split" if share else "sample_weight"
            raise ValueError(f"{name} must come with arrays, not with batches")
        if not isinstance(class_weight, Mapping | None):
            raise ValueError(
                "class_weight must be a dict where x gives batches, got "
                f"{class_weight!r}"
            )
        argument = "steps_per_epoch"
        source = _batches(net, goal, "x", x, epochs, length, argument, class_weight)
    else:
        if length is not None:
            raise ValueError("steps_per_epoch must come with batches, not with arrays")
        source = net._rows(goal, x, y, sample_weight)
        if share:
            train, rest = _split(net, len(source), share)
            held_out = source
    if validation_data is not None:
        held_out = _validation(
            net, goal, validation_data, source.features, epochs, validation_steps
        )
    if validation_steps is not None and not isinstance(held_out, data.Batches):
        raise ValueError(
            "validation_steps must come with validation_data that gives batches"
        )
    if class_weight is not None and isinstance(source, data.Rows):
        source = source.weighted(class_weight, net.dtype, train)
    return source, train, held_out, rest


def _batches(
    net: Network,
    goal: losses.Loss,
    name: str,
    x: Iterable[Any],
    epochs: int,
    length: int | None,
    argument: str,
    class_weight: Mapping[int, float] | None = None,
    features: int = 0,
    *,
    bounded: bool = False,
) -> data.Batches:
    """Those of `x`; `argument` is the name of the one that gives their number."""
    if isinstance(x, Iterator) and epochs > 1 and length is None:
        raise ValueError(
            f"{name} must be an iterable that can be gone through {epochs} times, like "
            f"a list, or come with {argument}, got {type(x).__name__}"
        )

    def check(names: tuple[str, str, str], batch: Any) -> data.Rows:
        rows = net._rows(goal, *batch, names=names, features=features)
        if class_weight is None:
            return rows
        return rows.weighted_batch(class_weight, net.dtype)

    return data.Batches(name, x, check, length, argument if bounded else "")


def _validation(
    net: Network,
    goal: losses.Loss,
    value: Any,
    features: int,
    epochs: int,
    length: int | None,
) -> Source:
    name = "validation_data"
    if data.gives_pair(value):
        names = f"{name}[0]", f"{name}[1]", f"{name}[2]"
        return net._rows(goal, *value, names=names, features=features)
    if not data.gives_batches(value):
        raise TypeError(
            f"{name} must be (x, y), (x, y, weights) or batches of them, got "
            f"{type(value)}"
        )
    steps = "validation_steps"
    return _batches(
        net, goal, name, value, epochs, length, steps, None, features, bounded=True
    )


def _centred(
    net: Network, source: Source, held_out: Source | None
) -> tuple[Source, Source | None]:
    """The same with the mean that the net has learnt since."""
    mean = net._mean()
    if mean is None or not isinstance(source, data.Rows):
        return source, held_out
    x = source.x.centred(mean)
    if isinstance(held_out, data.Rows):
        own = x if held_out.x is source.x else held_out.x.centred(mean)
        held_out = dataclasses.replace(held_out, x=own)
    return dataclasses.replace(source, x=x), held_out


def _split(net: Network, n: int, share: float) -> tuple[Array, Array]:
    """Numbers of the rows to train on, in order, and of those held out."""
    held_out = round(n * share)
    if not 0 < held_out < n:
        raise ValueError(
            "validation_split must leave rows to train on and to hold out, got "
            f"{share} of {n} rows"
        )
    order = permutation(n, net.seed, stream(SPLIT))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


# Steps --------------------------------------------------------------------------------


class _Run:
    """A fit that runs: it tells its callbacks, and hears Ctrl-C."""

    interrupted: list[bool]  # filled by Ctrl-C

    def __init__(
        self,
        net: Network,
        goal: losses.Loss,
        told: list[Callback],
        history: History,
        batch_size: int,
        precision: str | None = None,
        group: Group | None = None,
    ) -> None:
        self.net, self.goal, self.told, self.history = net, goal, told, history
        self.batch_size, self.precision, self.group = batch_size, precision, group
        self.alarms = Alarms(net, goal)
        steps = net._steps if group is None else group.steps
        self.pace = _Pace(any(_overrides(each, "on_batch_end") for each in told), steps)

    def epoch(self, source: Source, order: Array | None) -> dict[str, float] | None:
        """The scores of an epoch; None where it was broken off."""
        rows: int | None = None
        if isinstance(source, data.Rows):
            rows = len(source) if order is None else len(order)
            pieces = _of_rows(source, order, self.batch_size, self.pace)
        else:
            pieces = _of_batches(source)
        for callback in self.told:
            callback.on_epoch_begin(self.net, self.net.epoch + 1, rows)
        if self.group is not None:
            self.net.rate_factor = self.group.agree(self.net.rate_factor)
        sums: Sums = 0.0, 0.0, 0, 0.0
        for piece in pieces:
            batch, sums = self.pace.steps(self.goal, piece, sums, self.precision)
            if self.net._is_narrow(*piece, self.precision):
                self.history.precision = "bf16"
            self.alarms.steps(*piece[:4], sums[0])
            self.history.stopped = self._tell(batch, sums)
            if self.interrupted:
                self.history.stopped = "interrupt"
            if self.group is not None:
                net, history, pace = self.net, self.history, self.pace
                own = history.stopped, pace.batches, net.rate_factor
                agreed = self.group.agree(own)
                history.stopped, pace.batches, net.rate_factor = agreed
            if self.history.stopped is not None:
                break
        if self.group is not None:
            self.group.complete()
        if self.history.stopped is not None and sums[2] != rows:
            return None
        return self.net._scores(self.goal, *sums)

    def end_epoch(self, means: dict[str, float]) -> None:
        self.alarms.loss(means["loss"])
        rate = self.net._last_rate()
        if rate is not None:
            means["learning_rate"] = rate
        self.net.epoch += 1
        if self.group is not None:
            self.group.check()
        for callback in self.told:
            name = type(callback).__name__
            if callback.on_epoch_end(self.net, self.net.epoch, means):
                self.history.stopped = self.history.stopped or name
            means.update(_checks.scores(means, name))
        if self.interrupted:
            self.history.stopped = "interrupt"
        if self.group is not None:
            self.group.share()
            means, self.history.stopped = self.group.agree(
                (means, self.history.stopped)
            )
        self.history.add(self.net.epoch, means)

    def _tell(self, batch: Sums, sums: Sums) -> str | None:
        """Tell about steps; the name of the first callback that wants to stop."""
        net, stops = self.net, list[Callback]()
        if self.pace.each:
            own = net._scores(self.goal, *batch)
            stops += [c for c in self.told if c.on_batch_end(net, net.steps, own)]
        if self.pace.due():
            means, rows = net._scores(self.goal, *sums), sums[2]
            stops += [c for c in self.told if c.on_progress(net, rows, means)]
        return type(stops[0]).__name__ if stops else None


def _plus(a: Sums, b: Sums) -> Sums:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


class _Pace:
    """How many batches to give to one call of the steps, by how long the last took."""

    def __init__(self, each: bool, take: Callable[..., Sums]) -> None:
        self.each = each  # a call for every batch
        self.take = take
        self.batches = 1
        self.told = time.perf_counter()

    def steps(
        self,
        goal: losses.Loss,
        piece: Piece,
        before: Sums,
        precision: str | None,
    ) -> tuple[Sums, Sums]:
        """Sums over the rows of the piece if it is a batch, and those so far.

        Their bits do not depend on the pace: steps are added one by one.
        """
        if self.each:
            batch = self.take(goal, *piece, precision=precision)
            return batch, _plus(before, batch)
        started = time.perf_counter()
        sums = self.take(goal, *piece, before, precision=precision)
        seconds = max(time.perf_counter() - started, 1e-9)
        wanted = (sums[2] - before[2]) / piece[4] * _BETWEEN / seconds
        self.batches = max(1, int(min(wanted, 8 * self.batches)))
        return sums, sums

    def due(self) -> bool:
        """Whether it is time to tell about the progress."""
        now = time.perf_counter()
        due = now - self.told >= _BETWEEN / 2
        if due:
            self.told = now
        return due


def _of_rows(
    source: data.Rows, order: Array | None, batch_size: int, pace: _Pace
) -> Iterator[Piece]:
    """The rows in that order, as many at a time as the pace allows."""
    whole, start = source.whole, 0
    end = len(source) if order is None else len(order)
    most = end if whole is not None else source.at_once(batch_size)
    while start < end:
        part = slice(start, start + min(pace.batches * batch_size, most))
        if whole is None:
            yield *source.take(part if order is None else order[part]), None, batch_size
        elif order is not None:
            yield *whole, order[part], batch_size
        else:
            x, y, weights = whole
            own = None if weights is None else weights[part]
            yield x[part], y[part], own, None, batch_size
        start = part.stop


def _of_batches(source: data.Batches) -> Iterator[Piece]:
    for x, y, weights in source.batches():
        yield x, y, weights, None, len(x)


def _order(
    net: Network, source: Source, train: Array | None, shuffle: bool
) -> Array | None:
    """Numbers of the rows of an epoch; None: all as they are."""
    if not shuffle or isinstance(source, data.Batches):
        return train
    rows = len(source) if train is None else len(train)
    order = permutation(rows, net.seed, stream(SHUFFLE, step=net.epoch))
    return order if train is None else train[order]


# Callbacks and signals ----------------------------------------------------------------


def _told(callbacks: Iterable[Callback], verbose: int) -> list[Callback]:
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, got {callbacks!r}")
    told = list(callbacks)
    for i, callback in enumerate(told):
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks[{i}] must be a Callback, got {callback!r}")
    return [*told, ProgressBar()] if verbose else told


def _overrides(callback: Callback, method: str) -> bool:
    own = getattr(callback, method)
    return getattr(own, "__func__", own) is not getattr(Callback, method)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[bool]]:
    """A list that is filled by the first Ctrl-C; a second one is raised as usual.

    Only where Ctrl-C would be raised otherwise: a handler of the user's own stays.
    """
    came: list[bool] = []
    usual = signal.default_int_handler
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not usual:
        yield came
        return

    def first(number: int, frame: Any) -> None:
        came.append(True)
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, first)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, usual)
