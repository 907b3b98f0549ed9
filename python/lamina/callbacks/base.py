"""What every callback is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.history import History

__all__ = ["Callback", "LambdaCallback", "Scores"]

Scores = dict[str, float]  # "loss", "accuracy", "val_loss", ... as in the history


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

    def _on_data(self, net: Any, source: Any, train: Any) -> None:
        """Before the training: the rows, and the numbers of those to train on."""

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

        `scores` holds what `Sequential.fit` says that it returns. What is added to it
        later callbacks see, and the history keeps: real numbers (of Python or NumPy,
        booleans and 0-d arrays too), which become floats, by names that are strings,
        other than "epoch". Anything else is a TypeError that says whose it is.
        """

    def on_train_end(self, net: Any, history: History) -> None:
        """At the end, also where training was stopped; not after an exception."""

    def on_exception(self, net: Any, history: History, error: BaseException) -> None:
        """In place of `on_train_end`: something failed, data or a callback or a step
        whose gradient is not finite, and `fit` is about to raise it."""


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
    1 ['loss', 'learning_rate']
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
