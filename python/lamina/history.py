"""What `Sequential.fit` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """Loss and metrics of every epoch: ``history["loss"]``, ``history["val_loss"]``.

    Attributes
    ----------
    epochs : list of int
        Numbers of the epochs, counted from 1 over all fits of the net.
    stopped : str or None
        What ended the training before its time: the class of a callback,
        "interrupt" (Ctrl-C), or the class of an exception.

    Examples
    --------
    >>> import lamina as lm
    >>> history = lm.History()
    >>> history.add(1, {"loss": 0.5, "accuracy": 0.75})
    >>> history.add(2, {"loss": 0.25, "accuracy": 0.875})
    >>> history
    <History of 2 epochs: loss 0.5 to 0.25, accuracy 0.75 to 0.875>
    >>> history["loss"], list(history), history.epochs
    ([0.5, 0.25], ['loss', 'accuracy'], [1, 2])
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.stopped: str | None = None
        self._values: dict[str, list[float]] = {}

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Append the values of one epoch."""
        self.epochs.append(epoch)
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> list[float]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        spans = (f"{k} {v[0]:.4g} to {v[-1]:.4g}" for k, v in self.items())
        colon = ": " if self.epochs else ""
        return f"<History of {len(self.epochs)} epochs{colon}{', '.join(spans)}>"
