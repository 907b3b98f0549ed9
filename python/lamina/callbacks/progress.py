"""What is printed."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Mapping
from typing import Any

from lamina.callbacks.base import Callback, Scores
from lamina.history import History
from lamina.network import Network

__all__ = ["ProgressBar", "bar", "say"]


class ProgressBar(Callback):
    """Prints a line for each epoch: what ``fit(verbose=1)`` adds by itself.

    In a terminal, where tqdm is installed, a bar shows the epoch that runs. Where there
    is nothing that can be printed to (no standard output, a closed one, a pipe that
    nobody reads) the training goes on in silence.
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, net: Network, epochs: range) -> None:
        self._last = epochs[-1]

    def on_epoch_begin(self, net: Network, epoch: int, rows: int | None) -> None:
        self._started = time.perf_counter()
        with contextlib.suppress(Exception):
            self._bar = bar(f"epoch {epoch}/{self._last}", rows)

    def on_progress(self, net: Network, rows: int, scores: Scores) -> None:
        if self._bar is not None:
            with contextlib.suppress(Exception):
                self._bar.n = rows
                self._bar.set_postfix(loss=_shown(scores["loss"]))

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> None:
        self._close()
        seconds = time.perf_counter() - self._started
        say(_line(epoch, self._last, scores, seconds))

    def on_train_end(self, net: Network, history: History) -> None:
        self._close()
        if history.stopped is not None:
            say(f"stopped by {history.stopped}")

    def on_exception(
        self, net: Network, history: History, error: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with contextlib.suppress(Exception):
                bar.close()


def say(text: str) -> None:
    """Print a line, if there is what it can be printed to.

    Whatever a stream raises: nobody who reads is no reason to end a training.
    """
    with contextlib.suppress(Exception):
        try:
            print(text)
        except UnicodeEncodeError:
            print(text.encode("ascii", "backslashreplace").decode())


def _line(epoch: int, last: int, values: Mapping[str, float], seconds: float) -> str:
    """``epoch  3/20  loss 0.3412  accuracy 0.903  0.12 s``: what came of it."""
    results = {k: value for k, value in values.items() if k != "learning_rate"}
    shown = (f"{name} {_shown(value)}" for name, value in results.items())
    title = f"epoch {epoch:{len(str(last))}}/{last}"
    return "  ".join([title, *shown, f"{seconds:.2f} s"])


def _shown(value: float) -> str:
    return f"{value:.4g}"


def bar(title: str, total: int | None, unit: str = " rows") -> Any:
    """A bar that vanishes: in a terminal, where tqdm is installed; else None."""
    if not sys.stderr.isatty():
        return None
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=title, unit=unit, leave=False)
