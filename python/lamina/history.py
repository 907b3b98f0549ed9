"""What `Sequential.fit` returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from lamina import _checks

__all__ = ["History", "Told"]


@dataclasses.dataclass(frozen=True)
class Told:
    """What a `fit` was told beside data, loss and optimizer, which the net keeps.

    `Sequential.diagnose` reads it. Weights are held, not copied; copies and pickles of
    the net are without them.
    """

    epochs: int | None = None
    batch_size: int = 32
    steps_per_epoch: int | None = None
    sample_weight: Any = None
    class_weight: Mapping[int, float] | str | None = None
    validation_split: float = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "sample_weight": None}


class History(dict[str, list[float]]):
    """The scores of every epoch, by name: ``history["loss"]``, ``history["val_loss"]``.

    Every list has one value for each epoch, NaN where the epoch had none.

    Attributes
    ----------
    epochs : list of int
        Numbers of the epochs, counted from 1 over all fits of the net.
    stopped : str or None
        What ended the training before its time: the class of a callback,
        "interrupt" (Ctrl-C), or the class of an exception.
    precision : str
        What products were computed in: "float32", "float64", or "bf16" where those of
        at least one layer were.
    watch : list of dict
        What `callbacks.Watch` saw come and go: "epoch", "step", "verdict" (its name),
        "appeared" (or else gone) and "says".

    Examples
    --------
    >>> import lamina as lm
    >>> history = lm.History()
    >>> history.add(1, {"loss": 0.5})
    >>> history.add(2, {"loss": 0.25, "accuracy": 0.875})
    >>> history
    <History of 2 epochs: loss 0.5 to 0.25, accuracy nan to 0.875>
    >>> history["loss"], list(history), history.epochs
    ([0.5, 0.25], ['loss', 'accuracy'], [1, 2])

    ``pandas.DataFrame(history.to_dict())`` is a table of it:

    >>> history.to_dict()
    {'epoch': [1, 2], 'loss': [0.5, 0.25], 'accuracy': [None, 0.875]}
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[int] = []
        self.stopped: str | None = None
        self.precision = "float32"
        self.watch: list[dict[str, Any]] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state.pop("_values", {}))  # where version 0.1.0 kept them
        self.__dict__.update(state)

    def add(self, epoch: int, scores: Mapping[str, Any]) -> None:
        """Append the scores of one epoch.

        Raises
        ------
        TypeError
            As `callbacks.Callback.on_epoch_end` says.
        """
        values = _checks.scores(scores)
        for name in values:
            self.setdefault(name, [math.nan] * len(self.epochs))
        for name, held in self.items():
            held.append(values.get(name, math.nan))
        self.epochs.append(epoch)

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns of one length: "epoch", and the scores, with None in place of NaN."""
        columns: dict[str, list[Any]] = {"epoch": list(self.epochs)}
        for name, values in self.items():
            columns[name] = [None if math.isnan(value) else value for value in values]
        return columns

    def __repr__(self) -> str:
        spans = (f"{k} {v[0]:.4g} to {v[-1]:.4g}" for k, v in self.items())
        colon = ": " if self.epochs else ""
        return f"<History of {len(self.epochs)} epochs{colon}{', '.join(spans)}>"
