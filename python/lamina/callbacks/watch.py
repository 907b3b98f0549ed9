"""Diagnosis while training."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina import data
from lamina._checks import Array
from lamina.callbacks.base import Callback, Scores
from lamina.history import History

__all__ = ["Watch"]

ROWS = 512  # enough to call a unit dead
SHARE = 0.02  # of the time of the fit


class Watch(Callback):
    """Says in one line when something goes wrong with a net while it trains, and when
    it is over: the verdicts of `Sequential.diagnose` that need no trials.

    It looks at 512 of the rows that are trained on, whenever all looks so far and the
    next take less than 2 % of the time: rarely in a fit of some seconds, not at all in
    one of some hundredths.

    Parameters
    ----------
    stop_on : iterable of str
        Names of verdicts that end the training: ``["not finite", "dead units"]``.
    verbose : {0, 1}
        0 prints nothing; `History.watch` has it all the same.

    Attributes
    ----------
    verdicts : dict of str to Verdict
        Those of the last look.
    seconds : float
        That all looks took.

    Raises
    ------
    ValueError
        In `fit`: a name that no verdict has.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> net = lm.Sequential([lm.Dense(8, "relu"), lm.Dense(1)], seed=0)
    >>> watch = lm.callbacks.Watch(stop_on=["not finite"], verbose=0)
    >>> history = net.fit(x, x[:, 0], epochs=5, callbacks=[watch], verbose=0)
    >>> history.watch
    []
    """

    def __init__(self, *, stop_on: Iterable[str] = (), verbose: int = 1) -> None:
        if isinstance(stop_on, str):
            raise TypeError(f"stop_on must be a list of names, got {stop_on!r}")
        self.stop_on, self.verbose = tuple(stop_on), verbose
        self.verdicts: dict[str, Any] = {}
        self.seconds = 0.0
        self._rows: tuple[Array, Array, Array | None, int] | None = None
        self._watcher: Any = None

    def _on_data(self, net: Any, source: data.Rows | data.Batches, train: Any) -> None:
        if isinstance(source, data.Batches):
            x, y, weights = source.peek()
            total = len(x)
            x, y = x[:ROWS], y[:ROWS]
            weights = None if weights is None else weights[:ROWS]
        else:
            total = len(source) if train is None else len(train)
            drawn = np.random.default_rng(0).permutation(total)[:ROWS]
            rows = np.sort(drawn) if train is None else train[np.sort(drawn)]
            x, y, weights = source.take(rows)
        self._rows = data.dense(x), y, weights, total

    def on_train_begin(self, net: Any, epochs: range) -> None:
        self.verdicts, self.seconds, self._watcher = {}, 0.0, None
        known = net._watcher_names()
        for name in self.stop_on:
            if name not in known:
                raise ValueError(
                    f"stop_on must name verdicts, {', '.join(known)}, got {name!r}"
                )
        self._began, self._steps = time.perf_counter(), net.steps
        # A guess before the first look: it makes the net anew, and reads it twice.
        self._next = 5e-3 + 2e-7 * net.parameters.size

    def on_progress(self, net: Any, rows: int, scores: Scores) -> bool:
        return self._perhaps(net, scores)

    def on_epoch_end(self, net: Any, epoch: int, scores: Scores) -> bool:
        return self._perhaps(net, scores)

    def on_train_end(self, net: Any, history: History) -> None:
        self._perhaps(net, {})
        self._watcher = self._rows = None

    def on_exception(self, net: Any, history: History, error: BaseException) -> None:
        self._watcher = self._rows = None

    def _perhaps(self, net: Any, scores: Scores) -> bool:
        """Look if there is time for it; whether to stop."""
        now = time.perf_counter()
        lost = (
            not np.isfinite(scores.get("loss", 0.0))
            and "not finite" not in self.verdicts
        )
        if not lost and self.seconds + self._next > SHARE * (now - self._began):
            return False
        found = self._look(net)
        self._tell(net, found)
        took = time.perf_counter() - now
        self.seconds += took
        self._next = took
        return any(name in self.stop_on for name in found)

    def _look(self, net: Any) -> dict[str, Any]:
        assert self._rows is not None
        if self._watcher is None:
            self._watcher = net._watcher(*self._rows)
        found: dict[str, Any] = self._watcher.look(net)
        return found

    def _tell(self, net: Any, found: dict[str, Any]) -> None:
        before, self.verdicts = self.verdicts, found
        changed = [(v, True) for name, v in found.items() if name not in before]
        changed += [(v, False) for name, v in before.items() if name not in found]
        for verdict, appeared in changed:
            says = str(verdict) if appeared else f"{verdict.name} is over"
            net.history.watch.append(
                {
                    "epoch": net.epoch,
                    "step": net.steps,
                    "verdict": verdict.name,
                    "appeared": appeared,
                    "says": says,
                }
            )
            if self.verbose:
                print(f"epoch {net.epoch}, step {net.steps}: {says}")
