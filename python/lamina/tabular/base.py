"""What the estimators of tables have in common: columns, members, files."""

from __future__ import annotations

import copy
import functools
import os
import time
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.inspection import permutation_importance
from sklearn.utils import (
    Bunch,
    _safe_indexing,
    check_array,
    check_random_state,
    column_or_1d,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
)

from lamina._checks import Array
from lamina.history import History
from lamina.initializers import SPLIT, permutation, stream
from lamina.model import Sequential
from lamina.tabular import files
from lamina.tabular.columns import Columns, Frame, is_gap
from lamina.tabular.recipe import PRESETS, Part, Progress, Recipe, Task, train

__all__ = ["BaseTable", "rows_of"]

_FEW = 50  # rows of which equal ones are one, whose weight is their sum
_FEWEST = 10  # rows of which some are held out
_STRIDE = 0x9E3779B97F4A7C15  # between the seeds of nets: 2^64 by the golden ratio


class BaseTable(BaseEstimator):
    """What both have in common: columns, members, files."""

    _parameter_constraints: dict[str, Any] = {
        "preset": [StrOptions(set(PRESETS))],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    _groups: list[list[Sequential]]  # nets of one loss, and such groups
    history_: list[History]
    scores_: dict[str, float]

    # Training -------------------------------------------------------------------------

    def _read(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[Any, Array, Array | None]:
        """What `fit` gets; from here on nothing is learnt until all is."""
        self.__dict__.pop("_groups", None)
        named = _is_frame(X)
        table: Any = nw.from_native(X, eager_only=True) if named else _array(X)
        rows, columns = table.shape
        if not rows or not columns:
            raise ValueError(
                f"Found array with 0 {'feature' if rows else 'sample'}(s) (shape="
                f"{table.shape}) while a minimum of 1 is required."
            )
        self.n_features_in_, self._count = columns, rows
        self.__dict__.pop("feature_names_in_", None)
        if named:
            names = [str(name) for name in table.columns]
            self.feature_names_in_ = np.array(names, object)
        return table, _target(self, y, rows), _weights(rows, sample_weight)

    def _learn(
        self, x: Any, y: Array, weights: Array | None, tasks: Sequence[Task]
    ) -> tuple[Part, Array] | None:
        """Columns and nets; the rows held out with what nets answered there, if any."""
        started = time.perf_counter()
        counts = np.arange(len(y)) if weights is None else np.flatnonzero(weights)
        if len(counts) < 2:
            raise ValueError(
                f"X must have two rows at least, of weights above 0; got n_samples = "
                f"{len(counts)}, 1 sample at most"
            )
        if weights is not None:  # nothing is learnt from rows of weight 0
            x, y = x[counts], y[counts]
            weights = weights[counts] / weights[counts].mean()
        frame = Frame(x)
        self._columns = columns = Columns(frame, weights)
        self.columns_ = columns.columns
        part = Part(columns.rows(frame), y, weights)
        if len(part) < _FEW:
            part, firsts = _merged(part)
            counts = counts[firsts]
        recipe = PRESETS[self.preset]
        seed = self._seed()
        folds = self._folds(part, recipe, seed)
        groups, self.history_ = list[list[Sequential]](), []
        held, answers = [], []
        count = len(tasks) * recipe.members
        for number, task in enumerate(tasks):
            nets = list[Sequential]()
            for member in range(recipe.members):
                left = None
                if self.time_limit is not None:
                    left = self.time_limit - (time.perf_counter() - started)
                    left /= count - number * recipe.members - member
                    if nets and left <= 0:
                        break
                own = folds == member % recipe.folds
                rest = np.flatnonzero(own)
                try:
                    net, history = train(
                        recipe,
                        task,
                        part.take(np.flatnonzero(~own)),
                        part.take(rest) if len(rest) else None,
                        columns.kinds,
                        seed=(seed + member * _STRIDE) % 2**64,
                        seconds=left,
                        callbacks=[Progress(len(self.history_) + 1, count)]
                        if self.verbose
                        else [],
                    )
                except KeyboardInterrupt:
                    if not nets or task is not tasks[-1]:
                        raise
                    warnings.warn(
                        f"fit was interrupted: answers are those of {len(nets)} nets, "
                        f"not of {recipe.members}",
                        stacklevel=4,
                    )
                    break
                nets.append(net)
                self.history_.append(history)
                held.append(rest)
                answers.append(net.predict(part.x[rest]))
            groups.append(nets)
        rows = np.concatenate([np.empty(0, np.int64), *held])
        # The net of a row's fold is the first of each group that held it out.
        all_held = (folds >= 0) & (folds < min(map(len, groups), default=0))
        own = np.flatnonzero(all_held)
        own = own[np.argsort(counts[own])]
        self._held, self._holders = counts[own], folds[own]
        self._groups = groups
        return (part.take(rows), np.concatenate(answers)) if len(rows) else None

    def _seed(self) -> int:
        state = self.random_state
        if isinstance(state, Integral):
            return int(state) % 2**64
        return int.from_bytes(check_random_state(state).bytes(8), "little")

    def _folds(self, part: Part, recipe: Recipe, seed: int) -> Array:
        """Which member holds a row out; -1: none of them."""
        n = len(part)
        if n < _FEWEST:
            return np.full(n, -1)
        order = permutation(n, seed, stream(SPLIT))
        folds = np.empty(n, np.int64)
        if part.y.ndim == 1:  # of labels, each to all parts alike
            order = order[np.argsort(part.y[order], kind="stable")]
        folds[order] = np.arange(n) % recipe.folds
        if part.y.ndim == 1:
            folds[np.bincount(part.y)[part.y] == 1] = -1
        return folds

    # State ----------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_groups")

    @property
    def nets_(self) -> list[Sequential]:
        """The nets whose answers are averaged; those of quantiles one after another."""
        check_is_fitted(self)
        return [net for nets in self._groups for net in nets]

    @property
    def net_(self) -> Sequential:
        """The first of `nets_`: it takes what `encode` gives.

        A regressor's answers in standard deviations of the target from its mean.
        """
        nets = self.nets_
        if not nets:
            raise AttributeError("there is no net: all rows were of one class")
        return nets[0]

    def encode(self, X: Any) -> Array:
        """The rows of numbers that the nets get.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)

        Returns
        -------
        (n_samples, columns) float32 array
        """
        check_is_fitted(self)
        learnt = self._columns
        if not _is_frame(X):
            X = _array(X)
        if not (learnt.named and _is_frame(X)):
            _check_n_features(self, X, reset=False)
        return learnt.rows(Frame(X, learnt.columns, learnt.named))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that prediction needs to a safetensors file.

        `lamina.tabular.load` makes the estimator again; nothing of the file is run.

        Raises
        ------
        OSError
            The file cannot be written.
        ImportError
            safetensors is not installed: ``pip install lamina[files]``.
        """
        check_is_fitted(self)
        files.save(self, path)

    def explain(self, X: Any, y: Any = None, *, n_repeats: int = 5) -> Bunch:
        """How much worse answers become where a column is shuffled.

        Parameters
        ----------
        X : table
            Without `y` the one that `fit` got, of which the rows held out are taken,
            each answered by a net that did not learn from it.
        y : array-like, optional
        n_repeats : int

        Returns
        -------
        Bunch
            As of `sklearn.inspection.permutation_importance`, with the `names` of the
            columns, the most important first in `ranked`.
        """
        check_is_fitted(self)
        asked = self
        if y is None:
            if not len(self._held):
                raise ValueError(
                    "y must be given where fit held no rows out, and after load"
                )
            if rows_of(X) != self._count:
                raise ValueError(
                    f"without y, X must be the table of fit ({self._count} rows), got "
                    f"{rows_of(X)}"
                )
            X, y = _safe_indexing(X, self._held), self._answers[self._held]
            asked = copy.copy(self)
            held = self._holders
            asked._groups = [[_Holders(nets, held)] for nets in self._groups]  # type: ignore[list-item]
        found = permutation_importance(
            asked, X, y, n_repeats=n_repeats, random_state=self._seed() % 2**32
        )
        found.names = [column.name for column in self.columns_]
        order = np.argsort(-found.importances_mean, kind="stable")
        found.ranked = [found.names[i] for i in order]
        return found

    def _outputs(self, X: Any) -> list[Array]:
        """Of each group the mean of its members."""
        x = self.encode(X)
        return [
            functools.reduce(np.add, (net.predict(x) for net in nets)) / len(nets)
            for nets in self._groups
        ]

    def _parameters(self) -> dict[str, Any]:
        """Those of the estimator, for a file: of a generator there is nothing."""
        found: dict[str, Any] = self.get_params()
        if not isinstance(self.random_state, Integral):
            found["random_state"] = None
        return found

    def _set_parameters(self, found: dict[str, Any]) -> None:
        self.set_params(**found)
        self._validate_params()
        self.history_ = []
        self._held = np.empty(0, np.int64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags


class _Holders:
    """Answers row i by the net that held it out."""

    def __init__(self, nets: list[Sequential], holders: Array) -> None:
        self.nets, self.holders = nets, holders

    def predict(self, x: Array) -> Array:
        places = [np.flatnonzero(self.holders == i) for i in range(len(self.nets))]
        each = zip(self.nets, places, strict=True)
        found = np.concatenate([net.predict(x[rows]) for net, rows in each])
        return found[np.argsort(np.concatenate(places))]


def _merged(part: Part) -> tuple[Part, Array]:
    """Equal rows as one, and where each came first.

    A weight of 2 is then a row that comes twice, to the last bit.
    """
    rows = np.column_stack([part.x, part.y])
    _, firsts, places = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    weights = np.bincount(places.ravel(), part.weights).astype(np.float64)
    found = Part(part.x[firsts], part.y[firsts], weights / weights.mean())
    return found, firsts


def _is_frame(X: Any) -> bool:
    return bool(nw.dependencies.is_into_dataframe(X))


def _array(X: Any) -> Array:
    """By scikit-learn's checks; gaps are allowed."""
    found: Array = check_array(X, dtype=None, ensure_all_finite=False, input_name="X")
    return found


def rows_of(X: Any) -> int:
    """How many a table or an array has."""
    return len(X) if hasattr(X, "__len__") else X.shape[0]


def _target(est: Any, y: Any, rows: int) -> Array:
    """As an array without gaps, of as many rows as the table."""
    if y is None:
        raise ValueError(
            f"{type(est).__name__} requires y to be passed, but the target y is None"
        )
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    found = np.asarray(y)
    if found.dtype.kind == "O":
        gaps = np.array(list(map(is_gap, found.ravel())), bool)
        if gaps.any():
            raise ValueError(
                f"Input y contains NaN: it must have no gaps, got one in row "
                f"{int(gaps.argmax()) // (found.size // len(found))}"
            )
    checked: Array = check_array(
        y,
        ensure_2d=False,
        dtype="numeric" if is_regressor(est) else None,
        input_name="y",
        estimator=est,
    )
    if checked.ndim == 2 and checked.shape[1] == 1:
        checked = column_or_1d(checked, warn=True)
    if len(checked) != rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {rows}"
            f", y {len(checked)}"
        )
    return checked


def _weights(rows: int, sample_weight: Any) -> Array | None:
    if sample_weight is None:
        return None
    shaped = np.empty((rows, 1))
    found: Array = _check_sample_weight(
        sample_weight, shaped, dtype=np.float64, ensure_non_negative=True
    )
    return found
