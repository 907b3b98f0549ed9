"""`compare`: settings times splits times seeds, side by side."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lamina import _checks
from lamina.alarms import LaminaWarning
from lamina.config import get_num_threads
from lamina.experiments import settings, workers
from lamina.experiments.experiment import Experiment, Measure, Row, Task
from lamina.experiments.journal import Journal
from lamina.experiments.settings import Setting
from lamina.experiments.table import Table
from lamina.model import Sequential

__all__ = ["Bench", "compare"]


def compare(
    build: Callable[..., Sequential] | Sequential,
    x: Any,
    y: Any,
    *,
    vary: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]],
    fit: Mapping[str, Any] | None = None,
    folds: int | Iterable[tuple[Any, Any]] = 5,
    validation: tuple[Any, Any] | None = None,
    seeds: int | Iterable[int] = 1,
    save: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    backend: str | None = None,
    measure: Measure | None = None,
    diagnose: bool = True,
    verbose: int = 1,
) -> Table:
    """Train nets of many settings on the same splits with the same seeds.

    Every setting meets the same rows in the same order, the same dropout masks and,
    where shapes are alike, the same first weights: what differs is the setting. So the
    differences of pairs scatter far less than the results do, and a few seeds tell what
    would take hundreds otherwise. A layer that is there in one setting and not in
    another gives later layers other weights: compare dropout with ``Dropout(0.0)``, not
    with none.

    Ctrl-C ends all trainings that run, and the table of those that are done is
    returned.

    Parameters
    ----------
    build : function or Sequential
        Called with `seed` and what is varied by name, it returns a net. Of a net,
        clones are trained.
    x, y : array_like
        As of `Sequential.fit`, except batches.
    vary : dict of str to values, or list of dicts
        All combinations, or the settings themselves. Names are parameters of `build`,
        arguments of `fit`, or parts of these such as "optimizer.learning_rate".
    fit : dict, optional
        Arguments of `Sequential.fit`, with callbacks copied for each training.
    folds : int or iterable of (train, test)
        Each fold is held out once; with about the same share of each class, or of small
        and large targets. Or pairs of numbers of rows, such as a splitter of
        scikit-learn gives.
    validation : (x, y), optional
        In place of folds: rows to measure by, while `x` and `y` are trained on.
    seeds : int or iterable of int
        How many, from 0, or which.
    save : str or path, optional
        A file of JSON lines: each training is appended when it ends, and those that are
        there already, by setting, split and seed, are not done again, unless they had
        failed. A file of other data, another `build` (by its text) or other arguments
        of `fit` is refused.
    threads : int, optional
        How many trainings at once, by default `lamina.get_num_threads`; each computes
        with one thread.
    backend : str, optional
        One of joblib's, where one process is too small: "loky" (processes), "dask"
        with a client, "ray" once it is registered. By default threads of this process.
    measure : function (net, x, y) -> dict of str to float, optional
        More to know of every trained net; it gets the rows that were held out.
    diagnose : bool
        Name what ails the first net of each setting (see `Sequential.diagnose`).
    verbose : {0, 1}
        1 shows a bar with the time left in a terminal.

    Returns
    -------
    Table
        A training that raised is a row with its error.

    Raises
    ------
    TypeError, ValueError
        Unknown names, data or folds that cannot be used, a `save` file of another
        experiment.
    OSError
        `save` cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> def build(width, seed):
    ...     return lm.Sequential(
    ...         [lm.Dense(width, "relu"), lm.Dense(2, "softmax")], seed=seed
    ...     )
    >>> fit = {"epochs": 50, "optimizer": lm.Adam(0.01)}
    >>> table = lm.compare(build, x, y, vary={"width": [1, 16]}, fit=fit, verbose=0)
    >>> len(table.rows), table.best
    (10, {'width': 16})
    >>> gain, half, pairs = table.difference(1)
    >>> gain + half < 0, pairs
    (True, 5)
    """
    choices = settings.product(vary)
    names = list(choices[0].values)
    experiment = Experiment(
        build,
        x,
        y,
        names=names,
        fit=fit,
        folds=folds,
        validation=validation,
        measure=measure,
    )
    numbers = seed_numbers(seeds)
    bench = Bench(experiment, save, threads, backend, "compare" if verbose else None)
    tasks = [
        Task(setting, split, seed, diagnose and (split, seed) == (0, numbers[0]))
        for split in range(len(experiment.splits))
        for seed in numbers
        for setting in choices
    ]
    rows = bench.run(tasks)
    return Table(experiment, choices, rows, stopped=bench.stopped)


class Bench:
    """Where tasks become rows: those of the file, and new trainings that it is told."""

    def __init__(
        self,
        experiment: Experiment,
        save: str | os.PathLike[str] | None,
        threads: int | None,
        backend: str | None,
        title: str | None,
    ) -> None:
        self.experiment, self.backend, self.title = experiment, backend, title
        self.count = (
            get_num_threads() if threads is None else _checks.count("threads", threads)
        )
        self.journal = None if save is None else Journal(save, experiment.identity)
        known = self.journal.rows if self.journal else []
        self.known = {row_key(row): row for row in known if "error" not in row}
        self.nets: dict[Any, Sequential] = {}
        self.stopped: str | None = None

    def run(self, tasks: Sequence[Task], keep: bool = False) -> list[Row]:
        """The rows of the tasks that are done; `nets` those to go on with, if kept."""
        found = [self.known[task.key] for task in tasks if task.key in self.known]
        new = [task for task in tasks if task.key not in self.known]

        awaited = {task.key for task in new}

        def done(result: tuple[Row, Sequential | None]) -> None:
            row, net = result
            if row_key(row) not in awaited:  # Dask may do again what a lost worker did
                return
            awaited.remove(row_key(row))
            found.append(row)
            if self.journal is not None:
                self.journal.add(row)
            if keep and net is not None:
                self.nets[row_key(row)[:3]] = net

        with warnings.catch_warnings():
            # Of nets that are tried on purpose; the table says what becomes of them.
            warnings.simplefilter("ignore", LaminaWarning)
            self.stopped = workers.run(
                self.experiment.train if keep else self.experiment.row,
                new,
                done,
                count=self.count,
                backend=self.backend,
                title=self.title,
            )
        return found


def row_key(row: Row) -> tuple[str, int, int, int | None]:
    return Setting(row["setting"]).key, row["split"], row["seed"], row.get("rung")


def seed_numbers(seeds: int | Iterable[int]) -> list[int]:
    if isinstance(seeds, Iterable):
        numbers = [_checks.seed(operator.index(seed)) for seed in seeds]
        if not numbers or len({*numbers}) < len(numbers):
            raise ValueError(f"seeds must be different numbers, got {seeds!r}")
        return numbers
    return list(range(_checks.count("seeds", seeds)))
