"""What is written into files."""

from __future__ import annotations

import csv
import errno
import math
import os
import string
from pathlib import Path
from typing import Any

from lamina import _checks
from lamina.callbacks.base import Callback, Scores
from lamina.callbacks.monitors import Mode, Monitor
from lamina.network import Network

__all__ = ["CSVLogger", "ModelCheckpoint"]


class ModelCheckpoint(Monitor):
    """Saves the net after every epoch, or after the best so far.

    The file is written beside the old one and then put in its place: when writing
    fails, for a full disk say, the last good one stays, and the error is raised. It
    holds the net as it is when this callback is told: put the callback after those that
    change the net, such as `ReduceOnPlateau`.

    Parameters
    ----------
    path : str or path
        Its folder must exist. A format string, in which ``{epoch}`` and the names of
        scores stand for their values; "{{" is a brace.
    monitor, mode
        As in `EarlyStopping`, for `save_best_only`.
    save_best_only : bool
        The best score is remembered from fit to fit.
    initial_best : float, optional
        The score that the first epoch must surpass, that of an older file say.

    Attributes
    ----------
    best : float or None
        The best score so far.

    Raises
    ------
    OSError
        The file cannot be written. Before the first step: its folder does not exist or
        cannot be written in, or the path is that of a folder or a pipe.
    ValueError
        In the first epoch: a score that does not exist, in `monitor` or `path`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import lamina as lm
    >>> folder = tempfile.TemporaryDirectory()
    >>> save = lm.callbacks.ModelCheckpoint(
    ...     folder.name + "/net-{epoch:02d}-{loss:.1f}.safetensors"
    ... )
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> x = np.zeros((8, 3))
    >>> history = net.fit(x, x[:, 0], epochs=2, callbacks=[save], verbose=0)
    >>> sorted(path.name for path in pathlib.Path(folder.name).iterdir())
    ['net-01-0.0.safetensors', 'net-02-0.0.safetensors']
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str | None = None,
        mode: Mode = "auto",
        save_best_only: bool = False,
        initial_best: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.path = Path(path)
        try:
            _has_fields(self.path)
        except ValueError as error:
            raise ValueError(
                f"path must be a format string, in which '{{{{' is a brace, got "
                f"{str(path)!r}: {error}"
            ) from None
        self.save_best_only = save_best_only
        if initial_best is not None:
            if not save_best_only:
                raise ValueError("initial_best must come with save_best_only")
            self.best = _checks.real(
                "initial_best", initial_best, "a finite number", math.isfinite
            )

    def on_train_begin(self, net: Any, epochs: range) -> None:
        known = self.path
        while _has_fields(known):
            known = known.parent
        known = Path(str(known).format())
        if not _has_fields(self.path):
            _require_regular(known)
            known = known.resolve().parent  # that of the file a link points to
        _require_folder(known)

    def on_epoch_end(self, net: Any, epoch: int, scores: Scores) -> None:
        if self.save_best_only and not self.improved(scores):
            return
        names = {"epoch": epoch, **scores}
        try:
            path = str(self.path).format_map(names)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"path must be a format string of {', '.join(names)}, got "
                f"{str(self.path)!r} ({type(error).__name__}: {error})"
            ) from None
        net.save(path)


class CSVLogger(Callback):
    """Writes a row for each epoch: its number and its scores.

    Parameters
    ----------
    path : str or path
        Written anew by the first epoch, with the scores that this has as columns; later
        ones are appended, also those of further fits.
    append : bool
        Go on with a file that is there, with its columns. A score that is none of the
        columns is left out.

    Raises
    ------
    OSError
        The file cannot be written. Before the first step: its folder does not exist or
        cannot be written in, or the path is that of a folder or a pipe.
    ValueError
        Before the first step: a file to go on with that is no log.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import lamina as lm
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "log.csv")
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> x = np.zeros((8, 3))
    >>> for run in range(2):
    ...     log = lm.callbacks.CSVLogger(path, append=True)
    ...     history = net.fit(x, x[:, 0], callbacks=[log], verbose=0)
    >>> print(path.read_text())
    epoch,loss,learning_rate
    1,0.0,0.001
    2,0.0,0.001
    <BLANKLINE>
    >>> folder.cleanup()
    """

    append = False  # that of version 0.1.0, whose pickles do not say

    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        self.path = Path(path)
        self.append = append
        self._columns: list[str] = []

    def on_train_begin(self, net: Network, epochs: range) -> None:
        _require_regular(self.path)
        if not self.path.exists():
            _require_folder(self.path.resolve().parent)
            self._columns = []
            return
        with open(self.path, "ab+") as file:
            if not (self.append or self._columns):
                return
            file.seek(0)
            text = file.read().decode("utf-8-sig", "replace")
            rows = csv.reader(text.splitlines(keepends=True)[:1])
            self._columns = next(rows, [])
            if text and "epoch" not in self._columns:
                raise ValueError(
                    "path must be that of a log with a column 'epoch', got "
                    f"{str(self.path)!r}, which begins with {', '.join(self._columns)}"
                )
            if text and not text.endswith("\n"):  # broken off within a row
                file.write(b"\r\n")

    def on_epoch_end(self, net: Network, epoch: int, scores: Scores) -> None:
        first = not self._columns
        if first:
            self._columns = ["epoch", *scores]
        mode = "w" if first else "a"
        with open(self.path, mode, newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
            if first:
                writer.writeheader()
            writer.writerow({"epoch": epoch, **scores})


def _has_fields(path: Path) -> bool:
    """Whether it is a format string with something to fill in."""
    return any(name is not None for _, name, *_ in string.Formatter().parse(str(path)))


def _require_regular(path: Path) -> None:
    """Not a folder, nor a pipe, which would wait for its reader."""
    if path.exists() and not path.is_file():
        number, kind = errno.EINVAL, "what is no file"
        if path.is_dir():
            number, kind = errno.EISDIR, "a folder"
        raise OSError(number, f"path must be that of a file, got {kind}", str(path))


def _require_folder(folder: Path) -> None:
    import tempfile  # here, since it and what it needs take long

    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"path must be in a folder that can be written in ({error.strerror})"
        raise OSError(error.errno, message, str(folder)) from None
