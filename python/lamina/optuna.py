"""Optuna at work on nets of Lamina: its samplers, its pruners, its storage.

``pip install lamina[optuna]``. Nets of Lamina want threads, as Optuna has them
(``study.optimize(..., n_jobs=2)``): the core computes without the interpreter's lock.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lamina import _checks
from lamina.callbacks import Callback
from lamina.config import threads
from lamina.experiments.compare import seed_numbers
from lamina.experiments.experiment import Experiment, Task
from lamina.experiments.experiment import score as without_penalties
from lamina.experiments.settings import Setting
from lamina.model import Sequential

__all__ = ["Prune", "score"]


class Prune(Callback):
    """Reports a score of every epoch to a trial, and ends it where the pruner says so.

    Parameters
    ----------
    trial : optuna.Trial
    monitor : str
        What to report.

    Raises
    ------
    optuna.TrialPruned
        From `fit`, which `study.optimize` expects.
    ValueError
        In the first epoch: a score that does not exist.

    Examples
    --------
    >>> import numpy as np, optuna
    >>> import lamina as lm
    >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> def objective(trial):
    ...     rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    ...     net = lm.Sequential([lm.Dense(1)], seed=0)
    ...     history = net.fit(
    ...         x, x[:, 0], epochs=5, optimizer=lm.Adam(rate), validation_split=0.2,
    ...         callbacks=[lm.optuna.Prune(trial)], verbose=0,
    ...     )
    ...     return history["val_loss"][-1]
    >>> study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    >>> study.optimize(objective, n_trials=10)
    >>> len(study.trials)
    10
    """

    def __init__(self, trial: Any, monitor: str = "val_loss") -> None:
        self.trial, self.monitor = trial, monitor

    def on_epoch_end(self, net: Any, epoch: int, scores: dict[str, float]) -> None:
        if self.monitor not in scores:
            raise ValueError(
                f"monitor must be one of {', '.join(scores)}, got {self.monitor!r}"
            )
        _report(self.trial, scores[self.monitor], epoch)


def score(
    build: Callable[..., Sequential] | Sequential,
    x: Any,
    y: Any,
    trial: Any,
    *,
    epochs: int,
    fit: Mapping[str, Any] | None = None,
    folds: int | Iterable[tuple[Any, Any]] = 5,
    validation: tuple[Any, Any] | None = None,
    seeds: int | Iterable[int] = 1,
    **setting: Any,
) -> float:
    """The mean loss, without penalties, of a setting over the splits and seeds that all
    trials share: what an objective returns.

    All its nets train side by side, and after each epoch their mean is reported: so the
    pruner compares like with like.

    Parameters
    ----------
    build, x, y, fit, folds, validation, seeds
        As of `lamina.compare`.
    trial : optuna.Trial
    epochs : int
    **setting
        What the trial chose: parameters of `build`, arguments of `fit`, or parts of
        these, as in ``**{"optimizer.learning_rate": rate}``.

    Raises
    ------
    optuna.TrialPruned
        The pruner ends the trial.
    TypeError, ValueError
        As `lamina.compare`.

    Examples
    --------
    >>> import numpy as np, optuna
    >>> import lamina as lm
    >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> def build(width, seed):
    ...     hidden = lm.Dense(width, "tanh")
    ...     return lm.Sequential([hidden, lm.Dense(2, "softmax")], seed=seed)
    >>> def objective(trial):
    ...     width = trial.suggest_int("width", 1, 32)
    ...     return lm.optuna.score(build, x, y, trial, epochs=3, width=width)
    >>> study = optuna.create_study(pruner=optuna.pruners.MedianPruner())
    >>> study.optimize(objective, n_trials=3)
    >>> len(study.trials)
    3
    """
    epochs = _checks.count("epochs", epochs)
    experiment = Experiment(
        build, x, y, names=list(setting), fit=fit, folds=folds, validation=validation
    )
    pairs = [
        (split, number)
        for split in range(len(experiment.splits))
        for number in seed_numbers(seeds)
    ]
    chosen, mean = Setting(setting), math.nan
    nets: dict[tuple[int, int], Sequential] = {}
    with threads(1):
        for epoch in range(1, epochs + 1):
            losses = []
            for pair in pairs:
                task = Task(chosen, *pair, epochs=epoch, net=nets.get(pair))
                nets[pair] = net = experiment.advance(task)
                split = experiment.splits[task.split]
                x_test = split.inputs(net.dtype)[1]
                found = without_penalties(net, x_test, split.y_test, split.weights_test)
                losses.append(found["loss"])
            mean = float(np.mean(losses))
            _report(trial, mean, epoch)
    return mean


def _report(trial: Any, value: float, epoch: int) -> None:
    trial.report(value, epoch)
    if trial.should_prune():
        raise importlib.import_module("optuna").TrialPruned(f"after epoch {epoch}")
