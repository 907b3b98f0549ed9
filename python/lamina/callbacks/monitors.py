"""Callbacks that watch a score."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

import numpy as np

from lamina import _checks
from lamina.assembly import Snapshot
from lamina.callbacks.base import Callback, Scores
from lamina.history import History
from lamina.network import Network

__all__ = ["EarlyStopping", "Mode", "Monitor", "ReduceOnPlateau", "TerminateOnNaN"]

Mode = Literal["auto", "min", "max"]

# Words in the names of scores that tell which way is good.
_GROWS = {"accuracy", "acc", "auc", "auroc", "f1", "precision", "r2", "recall"}
_GROWS |= {"corrcoef", "dice", "explained", "iou", "jaccard", "kappa", "specificity"}
_FALLS = {"loss", "error", "crossentropy", "brier", "deviance", "divergence", "huber"}
_FALLS |= {"mae", "mape", "mse", "msle", "perplexity", "poisson", "rmse"}


class Monitor(Callback):
    """Compares a score from epoch to epoch."""

    ties: Literal["first", "last"] = "first"  # which of the best is the best

    def __init__(self, monitor: str | None, mode: Mode, min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str | None):
            raise TypeError(f"monitor must be the name of a score, got {monitor!r}")
        _grows(monitor, mode)
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
        tie = self.ties == "last" and scores[name] == self.best
        if not tie and not self.better(scores[name], self.best):
            return False
        self.best = scores[name]
        return True

    def better(self, value: float, best: float | None) -> bool:
        """Whether it is better, by `min_delta` at least, than a finite score or None;
        one that is not finite never is."""
        if best is None:
            return math.isfinite(value)
        gain = value - best if _grows(self.monitor, self.mode) else best - value
        return math.isfinite(value) and gain > 0 and gain >= self.min_delta


def _grows(monitor: str | None, mode: str) -> bool:
    """Whether large is good."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
    if mode != "auto":
        return mode == "max"
    words = {"loss"} if monitor is None else set(re.split(r"\W|_", monitor.lower()))
    grows, falls = bool(words & _GROWS), bool(words & _FALLS)
    if grows == falls or "neg" in words:
        raise ValueError(
            f"mode must be 'min' or 'max' for the score {monitor!r}, whose name does "
            "not tell whether small or large is good"
        )
    return grows


class EarlyStopping(Monitor):
    """Stops when a score has not improved for some epochs.

    Parameters
    ----------
    monitor : str, optional
        By default "val_loss" or, without validation data, "loss".
    patience : int or None
        How many epochs may pass without improvement, at least 1: so many in a row stop
        the training. None: it goes on to its end, for the best to be restored.
    min_delta : float
        By how much a score must be better than the best one to be an improvement.
    mode : {"auto", "min", "max"}
        Whether small or large is good. auto: large for accuracies, AUC, F1, precision,
        recall, R^2 and the like, small for losses and errors; other names are refused.
    restore_best : bool
        At the end of the training, whatever ended it, an exception too, take back the
        parameters of the best epoch, with the optimizer's state and its count of steps:
        the next training goes on from there.
    start_from_epoch : int
        How many epochs of each training are passed over before the first is looked at.
    baseline : float, optional
        A score that is not better than this, too, does not end the wait: `patience`
        epochs in a row with none that is stop the training.
    ties : {"first", "last"}
        Which of the epochs with the best score is the best: accuracies of few rows are
        often equal, and the last has learnt for longer. With "last", one as good as the
        best is an improvement, whatever `min_delta`.

    Attributes
    ----------
    best : float or None
        The best score of the training. One that is infinite or NaN is never the best.
    best_epoch : int
        Its epoch; 0 as long as there is none.

    Raises
    ------
    ValueError
        A name of which `mode` must tell which way is good. In the first epoch: a score
        that does not exist.

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

    # Those of version 0.1.0, whose pickles do not say.
    start_from_epoch = 0
    baseline: float | None = None

    def __init__(
        self,
        monitor: str | None = None,
        *,
        patience: int | None = 10,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best: bool = False,
        start_from_epoch: int = 0,
        baseline: float | None = None,
        ties: Literal["first", "last"] = "first",
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if ties not in ("first", "last"):
            raise ValueError(f"ties must be 'first' or 'last', got {ties!r}")
        self.ties = ties
        self.patience = (
            None if patience is None else _checks.count("patience", patience)
        )
        self.restore_best = restore_best
        self.start_from_epoch = _checks.unsigned("start_from_epoch", start_from_epoch)
        if baseline is not None:
            self.baseline = _checks.real(
                "baseline", baseline, "a finite number", math.isfinite
            )
        self.best_epoch = 0
        self._best: Snapshot | None = None

    def on_train_begin(self, net: Network, epochs: range) -> None:
        self.best, self.best_epoch = None, 0
        self._best = None
        self._first = epochs[0] + self.start_from_epoch
        # The first epoch has no other to be better than, unless there is a baseline.
        self._since = self._first - (self.baseline is not None)

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> bool:
        if epoch < self._first:
            return False
        if self.improved(scores):
            self.best_epoch = epoch
            if self.restore_best:
                self._best = net._snapshot()
            assert self.best is not None
            if self.baseline is None or self.better(self.best, self.baseline):
                self._since = epoch
        return self.patience is not None and epoch - self._since >= self.patience

    def on_train_end(self, net: Network, history: History) -> None:
        if self._best is not None:
            net._restore(self._best)
            self._best = None

    def on_exception(
        self, net: Network, history: History, error: BaseException
    ) -> None:
        self.on_train_end(net, history)


class ReduceOnPlateau(Monitor):
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
    cooldown : int
        How many epochs after a change do not count.
    min_rate : float
        The learning rate is not made smaller than this; that of a schedule is judged as
        it was in the epoch's last step.

    Raises
    ------
    ValueError
        As `EarlyStopping`; a `min_rate` where the optimizer does not tell its rate.

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

    # Those of version 0.1.0, whose pickles do not say.
    cooldown = 0
    min_rate = 0.0

    def __init__(
        self,
        monitor: str | None = None,
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        cooldown: int = 0,
        min_rate: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = _checks.below_one("factor", factor)
        self.patience = _checks.count("patience", patience)
        self.cooldown = _checks.unsigned("cooldown", cooldown)
        self.min_rate = _checks.nonnegative("min_rate", min_rate)

    def on_train_begin(self, net: Network, epochs: range) -> None:
        self.best, self._since = None, epochs[0]

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> None:
        if self.improved(scores):
            self._since = max(self._since, epoch)
        elif epoch - self._since >= self.patience:
            net.rate_factor *= max(self.factor, self._smallest(scores))
            self._since = epoch + self.cooldown

    def _smallest(self, scores: Scores) -> float:
        """The factor, 1 at most, that leads to `min_rate`."""
        if self.min_rate == 0:
            return 0.0
        if "learning_rate" not in scores:
            raise ValueError(
                "min_rate must come with an optimizer that tells its rate, got "
                f"{self.min_rate}"
            )
        return self.min_rate / max(self.min_rate, scores["learning_rate"])


class TerminateOnNaN(Callback):
    """Stops soon after the loss is no longer finite: within a tenth of a second."""

    def on_progress(self, net: Network, rows: int, scores: Scores) -> bool:
        return not np.isfinite(scores["loss"])

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> bool:
        return not np.isfinite(scores["loss"])
