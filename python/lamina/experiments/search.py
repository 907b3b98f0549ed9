"""`search`: a good setting out of many. What Optuna does better is Optuna's."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lamina import _checks
from lamina.experiments import settings
from lamina.experiments.compare import Bench, seed_numbers
from lamina.experiments.experiment import Experiment, Measure, Row, Task
from lamina.experiments.settings import Setting
from lamina.experiments.table import Table
from lamina.model import Sequential

__all__ = ["log", "search"]


@dataclasses.dataclass(frozen=True)
class _Log:
    low: float
    high: float


def log(low: float, high: float) -> _Log:
    """For the `space` of `search`: a number whose logarithm is evenly spread.

    Raises
    ------
    TypeError, ValueError
        Unless 0 < low < high, finite.

    Examples
    --------
    >>> import lamina as lm
    >>> space = {"optimizer.learning_rate": lm.log(1e-4, 1e-1)}
    """
    _checks.positive("low", low)
    _checks.real("high", high, f"a finite number > {low}", lambda v: low < v < math.inf)
    return _Log(low, high)


def search(
    build: Callable[..., Sequential] | Sequential,
    x: Any,
    y: Any,
    *,
    space: Mapping[str, Any],
    trials: int | None = None,
    method: str = "halving",
    epochs: int,
    eta: int = 3,
    seed: int = 0,
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
    """Look for the setting of the smallest loss.

    Every setting meets the same splits and seeds, as in `compare`. For samplers that
    learn from earlier trials, see `lamina.optuna`.

    Parameters
    ----------
    build, x, y, fit, folds, validation, seeds, threads, backend, measure, verbose
        As of `compare`.
    space : dict
        By name, as `vary` of `compare`: a list to choose from, (low, high) for an even
        spread, of integers where both are, or ``lm.log(low, high)``.
    trials : int, optional
        How many settings to draw, by default 27; not of a grid.
    method : {"halving", "random", "grid"}
        Halving trains all settings a little, drops the worse ones and goes on with the
        nets of the best, so that no step is trained twice: of 81 settings, with `eta` 3
        and 27 epochs, all for one epoch, 27 to the third, 9 to the ninth, 3 to the
        last. (A search that is resumed from a file trains the nets that it goes on
        with anew.) Random trains all settings to the end; grid all combinations of
        lists.
    epochs : int
        Of the training of the best.
    eta : int
        One in so many settings is gone on with, for so many times the epochs.
    seed : int
        Of the settings that are drawn.
    save : str or path, optional
        As of `compare`.
    diagnose : bool
        Name what ails the first net of each setting that was trained to the end.

    Returns
    -------
    Table
        The best setting first; its `refit` trains a net of that on all rows.

    Raises
    ------
    TypeError, ValueError, OSError
        As `compare`; a space or a method that is none.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> def build(width, seed):
    ...     return lm.Sequential(
    ...         [lm.Dense(width, "tanh"), lm.Dense(2, "softmax")], seed=seed
    ...     )
    >>> space = {"width": [1, 16], "optimizer.learning_rate": lm.log(1e-5, 1e-1)}
    >>> found = lm.search(build, x, y, space=space, trials=9, epochs=36, verbose=0)
    >>> found.best["width"], found.refit(x, y).epoch
    (16, 36)
    """
    epochs, eta = _checks.count("epochs", epochs), _checks.count("eta", eta)
    if eta < 2:
        raise ValueError(f"eta must be an integer >= 2, got {eta}")
    if "epochs" in (fit or {}) or "epochs" in space:
        raise ValueError("epochs must be given by itself, not in fit or space")
    choices = _choices(space, trials, method, seed)
    experiment = Experiment(
        build,
        x,
        y,
        names=list(space),
        fit={**(fit or {}), "epochs": epochs},
        folds=folds,
        validation=validation,
        measure=measure,
    )
    numbers = seed_numbers(seeds)
    bench = Bench(experiment, save, threads, backend, "search" if verbose else None)
    rungs = _rungs(len(choices), epochs, eta) if method == "halving" else [epochs]
    rows: list[Row] = []
    alive = choices
    for rung in rungs:
        tasks = [
            Task(
                setting,
                split,
                number,
                diagnose and rung == epochs and (split, number) == (0, numbers[0]),
                rung,
                bench.nets.pop((setting.key, split, number), None),
            )
            for split in range(len(experiment.splits))
            for number in numbers
            for setting in alive
        ]
        bench.nets.clear()  # of those that were dropped
        new = bench.run(tasks, keep=rung < epochs)
        rows += new
        if bench.stopped:
            break
        best = Table(experiment, alive, new).ranked()
        alive = [alive[place] for place in best[: max(1, len(alive) // eta)]]
    found = Table(experiment, choices, rows)
    ordered = [choices[place] for place in found.ranked()]
    return Table(experiment, ordered, rows, stopped=bench.stopped)


def _rungs(trials: int, epochs: int, eta: int) -> list[int]:
    """The epochs to which the settings that are left are trained."""
    steps = 0
    while eta ** (steps + 1) <= min(trials, epochs):
        steps += 1
    return [epochs // eta**k for k in range(steps, -1, -1)]


def _choices(space: Any, trials: int | None, method: str, seed: int) -> list[Setting]:
    if not isinstance(space, Mapping) or not space:
        raise TypeError(f"space must be a dict of values by name, got {space!r}")
    if method == "grid":
        if trials is not None:
            raise ValueError("trials must not come with method 'grid', which takes all")
        for name, values in space.items():
            if isinstance(values, tuple | _Log):
                raise ValueError(
                    f"space[{name!r}] must be a list for method 'grid', got {values!r}"
                )
        return settings.product(space)
    if method not in ("random", "halving"):
        raise ValueError(
            f"method must be 'halving', 'random' or 'grid', got {method!r}"
        )
    drawers = {name: _drawer(name, values) for name, values in space.items()}
    count = _checks.count("trials", 27 if trials is None else trials)
    random = np.random.default_rng(_checks.seed(seed))
    drawn = (
        Setting({name: draw(random) for name, draw in drawers.items()})
        for _ in itertools.repeat(None)
    )
    different: dict[str, Setting] = {}
    for setting in itertools.islice(drawn, 20 * count):  # a small space has no more
        different.setdefault(setting.key, setting)
        if len(different) == count:
            break
    return list(different.values())


def _drawer(name: str, values: Any) -> Callable[[np.random.Generator], Any]:
    if isinstance(values, _Log):
        low, high = values.low, values.high
        whole = isinstance(low, int) and isinstance(high, int)

        def spread(random: np.random.Generator) -> float:
            drawn = math.exp(random.uniform(math.log(low), math.log(high)))
            return round(drawn) if whole else drawn

        return spread
    if isinstance(values, tuple):
        if len(values) != 2 or not all(isinstance(v, int | float) for v in values):
            raise ValueError(
                f"space[{name!r}] must be a list, (low, high) or log(low, high), got "
                f"{values!r}"
            )
        first, last = values
        if not first < last:
            raise ValueError(f"space[{name!r}] must have low < high, got {values!r}")
        if isinstance(first, int) and isinstance(last, int):
            return lambda random: int(random.integers(first, last + 1))
        return lambda random: float(random.uniform(first, last))
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"space[{name!r}] must be a list of values, got {values!r}")
    given = list(values)
    if not given:
        raise ValueError(f"space[{name!r}] must hold a value at least, got none")
    return lambda random: given[random.integers(len(given))]
