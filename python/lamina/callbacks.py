"""What is told about the progress of `Sequential.fit`, and may stop it."""

from __future__ import annotations

import csv
import importlib
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lamina import _checks
from lamina.history import History
from lamina.network import Network, Snapshot

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceOnPlateau",
    "TerminateOnNaN",
]

Scores = dict[str, float]  # "loss", "accuracy", "val_loss", ... as in the history
Mode = Literal["auto", "min", "max"]


class Callback:
    """The base to derive own callbacks from: override what is needed.

    Where a method may return something, True stops the training: all other callbacks
    are still told, and `History.stopped` names the class. An exception goes through to
    the caller of `fit`; the net keeps what it has learnt. `net` is the one that trains,
    a `Sequential`.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> class Enough(lm.callbacks.Callback):
    ...     def on_epoch_end(self, net, epoch, scores):
    ...         return scores["loss"] < 0.5
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> x = np.ones((100, 1))
    >>> history = net.fit(
    ...     x, 3 * x, epochs=900, optimizer="sgd", callbacks=[Enough()], verbose=0
    ... )
    >>> history.stopped, history["loss"][-1] < 0.5 <= history["loss"][-2]
    ('Enough', True)
    """

    def on_train_begin(self, net: Any, epochs: range) -> None:
        """The numbers of the epochs to come; the first is 1 in the first fit."""

    def on_epoch_begin(self, net: Any, epoch: int, rows: int | None) -> None:
        """The epoch's number, and how many rows it has, if that is known."""

    def on_batch_end(self, net: Any, step: int, scores: Scores) -> bool | None:
        """After every step, with its number and its scores.

        Where any callback has this method, steps are taken one by one, which costs some
        microseconds each; `on_progress` costs nothing.
        """

    def on_progress(self, net: Any, rows: int, scores: Scores) -> bool | None:
        """About ten times a second, between steps: the rows of this epoch so far, and
        the means over them."""

    def on_epoch_end(self, net: Any, epoch: int, scores: Scores) -> bool | None:
        """After a whole epoch and its validation; `net.epoch` already counts it.

        What is added to `scores` later callbacks see, and the history keeps.
        """

    def on_train_end(self, net: Any, history: History) -> None:
        """At the end, also where training was stopped; not after an exception."""

    def on_exception(self, net: Any, history: History, error: BaseException) -> None:
        """In place of `on_train_end`: something failed, data or a callback or a step
        whose gradient is not finite, and `fit` is about to raise it."""


class _Monitor(Callback):
    """Compares a score from epoch to epoch."""

    def __init__(self, monitor: str | None, mode: Mode, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.monitor, self.mode = monitor, mode
        self.min_delta = _checks.nonnegative("min_delta", min_delta)
        self.best: float | None = None

    def improved(self, scores: Mapping[str, float]) -> bool:
        """Whether this is the best epoch so far, by `min_delta` at least."""
        name = self.monitor
        if name is None:
            name = "val_loss" if "val_loss" in scores else "loss"
        if name not in scores:
            hint = "" if "val_loss" in scores else "; there are no validation data"
            raise ValueError(
                f"monitor must be one of {', '.join(scores)}, got {name!r}{hint}"
            )
        largest = self.mode == "max" or (self.mode == "auto" and "accuracy" in name)
        value = scores[name]
        gain = math.inf if self.best is None else value - self.best
        if not largest and self.best is not None:
            gain = -gain
        if math.isnan(value) or gain <= 0 or gain < self.min_delta:
            return False
        self.best = value
        return True


class EarlyStopping(_Monitor):
    """Stops when a score has not improved for some epochs.

    Parameters
    ----------
    monitor : str, optional
        By default "val_loss" or, without validation data, "loss".
    patience : int
        How many epochs may pass without improvement, at least 1: so many in a row stop
        the training.
    min_delta : float
        By how much a score must be better than the best one to be an improvement.
    mode : {"auto", "min", "max"}
        Whether small or large is good; auto: large for accuracies.
    restore_best : bool
        At the end of the training, whatever ended it, an exception too, take back the
        parameters of the best epoch, with the optimizer's state and its count of steps:
        the next training goes on from there.

    Attributes
    ----------
    best : float or None
        The best score of the training.
    best_epoch : int
        Its epoch.

    Raises
    ------
    ValueError
        In the first epoch: a score that does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(60, 5))
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> stop = lm.callbacks.EarlyStopping(patience=5, restore_best=True)
    >>> history = net.fit(
    ...     x, x[:, 0], epochs=900, validation_split=0.5, callbacks=[stop],
    ...     optimizer=lm.Adam(0.1), verbose=0,
    ... )
    >>> history.stopped, history.epochs[-1] - stop.best_epoch
    ('EarlyStopping', 5)
    """

    def __init__(
        self,
        monitor: str | None = None,
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = _checks.count("patience", patience)
        self.restore_best = restore_best
        self.best_epoch = 0
        self._best: Snapshot | None = None

    def on_train_begin(self, net: Network, epochs: range) -> None:
        self.best, self.best_epoch = None, net.epoch
        self._best = None

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> bool:
        if self.improved(scores):
            self.best_epoch = epoch
            if self.restore_best:
                self._best = net._snapshot()
        return epoch - self.best_epoch >= self.patience

    def on_train_end(self, net: Network, history: History) -> None:
        if self._best is not None:
            net._restore(self._best)
            self._best = None

    def on_exception(
        self, net: Network, history: History, error: BaseException
    ) -> None:
        self.on_train_end(net, history)


class ModelCheckpoint(_Monitor):
    """Saves the net after every epoch, or after the best so far.

    The file is written beside the old one and then put in its place: when writing
    fails, for a full disk say, the last good one stays, and the error is raised.

    Parameters
    ----------
    path : str or path
    monitor, mode
        As in `EarlyStopping`, for `save_best_only`.
    save_best_only : bool
        The best score is remembered from fit to fit.

    Raises
    ------
    OSError
        The file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str | None = None,
        mode: Mode = "auto",
        save_best_only: bool = False,
    ) -> None:
        super().__init__(monitor, mode)
        self.path = Path(path)
        self.save_best_only = save_best_only

    def on_epoch_end(self, net: Any, epoch: int, scores: Scores) -> None:
        if self.save_best_only and not self.improved(scores):
            return
        net.save(self.path)


class ReduceOnPlateau(_Monitor):
    """Multiplies learning rates by a factor when a score stays where it is.

    It changes `Sequential.rate_factor`, which multiplies schedules, too.

    Parameters
    ----------
    monitor, min_delta, mode
        As in `EarlyStopping`.
    factor : float
        In [0, 1).
    patience : int
        How many epochs in a row without improvement, at least 1, bring a change.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> slow = lm.callbacks.ReduceOnPlateau(factor=0.5, patience=2)
    >>> x = np.zeros((8, 3))  # nothing to learn: the loss stays 0
    >>> history = net.fit(x, x[:, 0], epochs=5, callbacks=[slow], verbose=0)
    >>> net.rate_factor
    0.25
    """

    def __init__(
        self,
        monitor: str | None = None,
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Mode = "auto",
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = _checks.below_one("factor", factor)
        self.patience = _checks.count("patience", patience)

    def on_train_begin(self, net: Network, epochs: range) -> None:
        self.best, self._since = None, net.epoch

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> None:
        if self.improved(scores):
            self._since = epoch
        elif epoch - self._since >= self.patience:
            net.rate_factor *= self.factor
            self._since = epoch


class TerminateOnNaN(Callback):
    """Stops soon after the loss is no longer finite: within a tenth of a second."""

    def on_progress(self, net: Network, rows: int, scores: Scores) -> bool:
        return not np.isfinite(scores["loss"])

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> bool:
        return not np.isfinite(scores["loss"])


class CSVLogger(Callback):
    """Writes a row for each epoch: its number and its scores.

    Parameters
    ----------
    path : str or path
        Written anew by the first epoch, with the scores that this has as columns; later
        ones are appended, also those of further fits.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._columns: list[str] = []

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> None:
        first = not self._columns
        if first:
            self._columns = ["epoch", *scores]
        with open(self.path, "w" if first else "a", newline="") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
            if first:
                writer.writeheader()
            writer.writerow({"epoch": epoch, **scores})


class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    functions
        Methods of `Callback` by name.

    Raises
    ------
    TypeError
        A name that is not one of its methods, or a value that cannot be called.

    Examples
    --------
    >>> import lamina as lm
    >>> show = lm.callbacks.LambdaCallback(
    ...     on_epoch_end=lambda net, epoch, scores: print(epoch, list(scores))
    ... )
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> history = net.fit([[1.0], [2.0]], [1.0, 2.0], callbacks=[show], verbose=0)
    1 ['loss']
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name, function in functions.items():
            if name not in known or not callable(function):
                raise TypeError(
                    f"LambdaCallback takes functions {', '.join(known)}, got "
                    f"{name}={function!r}"
                )
            setattr(self, name, function)


class ProgressBar(Callback):
    """Prints a line for each epoch: what ``fit(verbose=1)`` adds by itself.

    In a terminal, where tqdm is installed, a bar shows the epoch that runs.
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, net: Network, epochs: range) -> None:
        self._last = epochs[-1]

    def on_epoch_begin(self, net: Network, epoch: int, rows: int | None) -> None:
        self._started = time.perf_counter()
        self._bar = _bar(f"epoch {epoch}/{self._last}", rows)

    def on_progress(self, net: Network, rows: int, scores: Scores) -> None:
        if self._bar is not None:
            self._bar.n = rows
            self._bar.set_postfix(loss=f"{scores['loss']:.4f}")

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> None:
        self._close()
        seconds = time.perf_counter() - self._started
        print(_line(epoch, self._last, scores, seconds))

    def on_train_end(self, net: Network, history: History) -> None:
        self._close()
        if history.stopped is not None:
            print(f"stopped by {history.stopped}")

    def on_exception(
        self, net: Network, history: History, error: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def _line(epoch: int, last: int, values: Mapping[str, float], seconds: float) -> str:
    """``epoch  3/20  loss 0.3412  accuracy 0.903  0.12 s``"""
    width = len(str(last))
    shown = (
        f"{name} {value:.3f}" if "accuracy" in name else f"{name} {value:.4f}"
        for name, value in values.items()
    )
    return "  ".join([f"epoch {epoch:{width}}/{last}", *shown, f"{seconds:.2f} s"])


def _bar(title: str, rows: int | None) -> Any:
    """A bar that vanishes: in a terminal, where tqdm is installed; else None."""
    if not sys.stderr.isatty():
        return None
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        return None
    return tqdm(total=rows, desc=title, unit=" rows", leave=False)
