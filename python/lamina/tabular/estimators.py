"""`TableClassifier` and `TableRegressor`: tables and nets by scikit-learn's rules."""

from __future__ import annotations

import copy
import functools
import os
import time
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    _fit_context,
    is_regressor,
)
from sklearn.inspection import permutation_importance
from sklearn.metrics import d2_pinball_score
from sklearn.utils import (
    Bunch,
    _safe_indexing,
    check_array,
    check_random_state,
    column_or_1d,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
)

from lamina import losses
from lamina._checks import Array
from lamina.exchange.to_onnx import plain
from lamina.history import History
from lamina.initializers import SPLIT, permutation, stream
from lamina.model import Sequential
from lamina.tabular import files, graphs, scores
from lamina.tabular.columns import Columns, Frame, is_gap
from lamina.tabular.recipe import PRESETS, Part, Progress, Recipe, Task, train

__all__ = ["TableClassifier", "TableRegressor", "load"]

_FEW = 50  # rows of which equal ones are one, whose weight is their sum
_FEWEST = 10  # rows of which some are held out
_STRIDE = 0x9E3779B97F4A7C15  # between the seeds of nets: 2^64 by the golden ratio
_OF_TARGETS = "mean", "scale", "low", "high"


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

    def _read(self, X: Any) -> Frame:
        """What `fit` gets, as columns; from here on nothing is learnt until all is."""
        self.__dict__.pop("_groups", None)
        frame = Frame(X if _is_frame(X) else _array(X))
        if not frame.rows or not frame.columns:
            what = "feature" if frame.rows else "sample"
            raise ValueError(
                f"Found array with 0 {what}(s) (shape=({frame.rows}, "
                f"{len(frame.columns)})) while a minimum of 1 is required."
            )
        self.n_features_in_, self._count = len(frame.columns), frame.rows
        self.__dict__.pop("feature_names_in_", None)
        if frame.names is not None:
            self.feature_names_in_ = np.array(frame.names, object)
        return frame

    def _learn(
        self, frame: Frame, y: Array, weights: Array | None, tasks: Sequence[Task]
    ) -> tuple[Part, Array] | None:
        """Columns and nets; the rows held out with what nets answered there, if any."""
        started = time.perf_counter()
        counts = np.arange(frame.rows) if weights is None else np.flatnonzero(weights)
        if len(counts) < 2:
            raise ValueError(
                f"X must have two rows at least, of weights above 0; got n_samples = "
                f"{len(counts)}, 1 sample at most"
            )
        if weights is not None:  # rows of weight 0 are as if they were not there
            frame, y = frame.take(counts), y[counts]
            weights = weights[counts] / weights[counts].mean()
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
            if _rows_of(X) != self._count:
                raise ValueError(
                    f"without y, X must be the table of fit ({self._count} rows), got "
                    f"{_rows_of(X)}"
                )
            X, y = _take(X, self._held), self._answers[self._held]
            asked = copy.copy(self)
            asked._groups = [[_Holders(nets, self._holders)] for nets in self._groups]  # type: ignore[list-item]
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


class TableClassifier(ClassifierMixin, BaseTable):
    """The classes of a table's rows, by nets that need no tuning.

    Columns may be numbers, truth values, categories, text of few values, dates, with
    gaps in any of them; `columns_` tells what each was taken for. The nets are
    RealMLP's (Holzmüller et al. 2024) in Lamina's layers; `docs/tabular.md` has what
    differs and how good they are beside boosted trees.

    Parameters
    ----------
    preset : {"default", "fast", "best"}
        How much time good answers may take.
    class_weight : dict or "balanced", optional
        Factors of the rows of each class.
    time_limit : float, optional
        Seconds that `fit` may take, about; what fits into them depends on the machine,
        and so then do the bits of the result.
    random_state : int, RandomState or None
        The same number gives the same nets, bit for bit, on any machine.
    verbose : bool
        Show a bar for each net, where tqdm is installed.

    Attributes
    ----------
    classes_ : array
    columns_ : list of Column
        Name, kind, values and gaps of each column.
    history_ : list of History
        Of each net, by epoch; "val_loss", where the rate is in a valley, is what
        the best of them was taken by.
    scores_ : dict
        Of the rows held out, each answered by one net, which chose epochs and
        temperature; all nets together are better. "accuracy",
        "log_loss", "roc_auc" of two classes, "calibration_error", which is the expected
        one (Guo et al. 2017). Empty where there were less than ten different rows: all
        were learnt from.
    temperature_ : float
        By what logits are divided, so that the probabilities of rows held out fit best.
        An average of nets is less sure than each: how much less is judged by rows that
        two nets held out.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from lamina.tabular import TableClassifier
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> clf = TableClassifier("fast").fit(X[::2], y[::2])
    >>> clf.score(X[1::2], y[1::2]) > 0.9
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **BaseTable._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
        preset: str = "default",
        *,
        class_weight: Any = None,
        time_limit: float | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.preset = preset
        self.class_weight = class_weight
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from rows and their classes.

        Parameters
        ----------
        X : table of pandas, polars or pyarrow, or array-like (n_samples, n_features)
        y : (n_samples,) labels of any kind, or (n_samples, n_outputs) of 0 and 1
        sample_weight : (n_samples,) array-like, optional

        Returns
        -------
        self
        """
        frame = self._read(X)
        y = _target(self, y, frame.rows)
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y of several outputs must hold 0 and 1; for several classes in each: "
                "sklearn.multioutput.MultiOutputClassifier(TableClassifier())"
            )
        weights = _weights(frame, sample_weight)
        if self.class_weight is not None:
            factors = compute_sample_weight(self.class_weight, y)
            weights = factors if weights is None else weights * factors
        self._answers, self.temperature_, self.scores_ = y, 1.0, {}
        self._several = kind.startswith("multilabel")
        if self._several:
            self.classes_ = np.arange(y.shape[1])
            task = _task(y.shape[1], "sigmoid", losses.binary_crossentropy)
            held = self._learn(frame, y.astype(np.float32), weights, [task])
        else:
            self.classes_, codes = np.unique(
                column_or_1d(y, warn=True), return_inverse=True
            )
            count = len(self.classes_)
            task = _task(count, "softmax", losses.categorical_crossentropy)
            held = self._learn(frame, codes, weights, [task] if count > 1 else [])
        if held is not None:
            self._calibrate(*held)
        return self

    def _calibrate(self, rows: Part, p: Array) -> None:
        """Divide the logits of all nets by the temperature."""
        found = scores.temperature(p, rows.y, rows.weights)
        once = len(self._held)  # what follows are other nets' answers to the first
        first = rows.take(np.arange(once))
        q = scores.tempered(p[:once], first.y, found)
        self.scores_ = scores.of_classes(q, first.y, first.weights)
        twice = len(p) - once
        if twice:
            same = rows.take(np.r_[:twice, once : len(p)])
            each, other = p[:twice], p[once:]
            alone = scores.temperature(np.r_[each, other], same.y, same.weights)
            same = rows.take(np.arange(twice))
            both = scores.shared_temperature([each, other], same.y, same.weights)
            # What averaging takes from it goes as the variance of a mean does.
            less = np.clip(1 - both / alone, 0, 0.25)
            found *= float(1 - 2 * less * (1 - 1 / len(self.nets_)))
        for net in self.nets_:
            for array in net.layers[-1].parameters.values():
                array /= found
        self.temperature_ = found

    def predict_proba(self, X: Any) -> Array:
        """The probabilities of the classes, calibrated on the rows held out.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            Columns go by their names where `fit` got names: their order does not
            matter, and further ones are passed over.

        Returns
        -------
        (n_samples, n_classes) array
            Of several outputs, the probability of 1 of each.
        """
        found = self._outputs(X)
        return found[0] if found else np.ones((_rows_of(X), 1))

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, or 0 and 1 of each output.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)

        Returns
        -------
        (n_samples,) or (n_samples, n_outputs) array
        """
        p = self.predict_proba(X)
        if self._several:
            return (p > 0.5).astype(np.int64)
        found: Array = self.classes_[p.argmax(axis=1)]
        return found

    def to_onnx(
        self, path: str | os.PathLike[str] | None = None, *, opset: int = 15
    ) -> Any:
        """The classifier as an ONNX graph of the table's columns.

        Every column is an input of its name, (n, 1): float64 for numbers, truth values
        (0 and 1) and dates (microseconds since 1970), with NaN for a gap; text for
        categories, with "" for a gap. A table of numbers without names is one input
        "x" (n, features). Outputs are "labels", what `predict` returns, and
        "probabilities". A name that is taken has an underscore after it.

        Parameters
        ----------
        path : str or path, optional
            Of a file to write.
        opset : int

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ValueError
            All rows were of one class.
        ImportError
            onnx is not installed: ``pip install lamina[onnx]``.
        """
        check_is_fitted(self)
        if not self._groups:
            raise ValueError("there is no net to write: all rows were of one class")
        graph, (p,) = graphs.begin(self, opset)
        count = len(self.classes_)
        if self._several:
            labels = graph.add("Cast", graph.add("Greater", p, graph.number(0.5)), to=7)
            graph.output("labels", labels, np.int64, [count])
        else:
            classes = plain(self.classes_)
            graph.output("labels", graph.choose(p, count, classes), classes.dtype, [])
        graph.output("probabilities", p, np.float32, [count])
        return graph.save(path)

    def _parameters(self) -> dict[str, Any]:
        weight = self.class_weight
        several = weight if isinstance(weight, list) else [weight]
        pairs = [list(w.items()) if isinstance(w, dict) else w for w in several]
        written = pairs if isinstance(weight, list) else pairs[0]
        return super()._parameters() | {"class_weight": written}

    def _set_parameters(self, found: dict[str, Any]) -> None:
        weight = found["class_weight"]
        if isinstance(weight, list):  # of pairs, or of lists of pairs
            one = all(not isinstance(pair[0], list) for pair in weight)
            weight = dict(weight) if one else [dict(pairs) for pairs in weight]
        super()._set_parameters(found | {"class_weight": weight})

    def _widths(self) -> list[int]:
        """Of the answers of each group of nets."""
        count = len(self.classes_)
        return [count] if self._several or count > 1 else []

    def _state(self) -> dict[str, Any]:
        if self.classes_.dtype.kind not in "biufU" and not all(
            isinstance(label, str) for label in self.classes_
        ):
            raise TypeError(
                f"classes to save must be numbers or text, got {self.classes_!r:.200}"
            )
        return {
            "classes": self.classes_.tolist(),
            "dtype": self.classes_.dtype.str,
            "several": self._several,
            "temperature": self.temperature_,
            "scores": self.scores_,
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        dtype = np.dtype(state["dtype"])
        if dtype.kind not in "biufUO":
            raise ValueError(f"classes must be numbers or text, got {dtype}")
        self.classes_ = np.array(state["classes"], dtype)
        self._several = bool(state["several"])
        self.temperature_ = state["temperature"]
        self.scores_ = dict(state["scores"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class TableRegressor(RegressorMixin, BaseTable):
    """Numbers foretold from a table's rows, by nets that need no tuning.

    Columns, nets and `preset`, `time_limit`, `random_state`, `verbose`, `columns_`,
    `history_` are as in `TableClassifier`; `scores_` has "rmse" and "r2".

    Parameters
    ----------
    loss : {"squared_error", "quantile"}
    quantiles : float or sequence of float
        For "quantile": which ones, between 0 and 1. Nets of its own learn each.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from lamina.tabular import TableRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> est = TableRegressor("fast", loss="quantile", quantiles=[0.1, 0.9])
    >>> low, high = est.fit(X[::2], y[::2]).predict(X[1::2]).T
    >>> bool((low <= high).all())
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **BaseTable._parameter_constraints,
        "loss": [StrOptions({"squared_error", "quantile"})],
        "quantiles": ["array-like", Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        preset: str = "default",
        *,
        loss: str = "squared_error",
        quantiles: Any = (0.1, 0.5, 0.9),
        time_limit: float | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.preset = preset
        self.loss = loss
        self.quantiles = quantiles
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from rows and their numbers.

        Parameters
        ----------
        X : table of pandas, polars or pyarrow, or array-like (n_samples, n_features)
        y : (n_samples,) or (n_samples, n_outputs) array-like of numbers
        sample_weight : (n_samples,) array-like, optional

        Returns
        -------
        self
        """
        frame = self._read(X)
        y = _target(self, y, frame.rows).astype(np.float64)
        weights = _weights(frame, sample_weight)
        self._answers, self._several = y, y.ndim == 2
        table = y.reshape(len(y), -1)
        counts = slice(None) if weights is None else weights > 0
        some, share = table[counts], None if weights is None else weights[counts]
        if not len(some):
            raise ValueError("sample_weight must not be all 0, got zeros alone")
        self._mean = np.average(some, axis=0, weights=share)
        spread = np.average(np.square(some - self._mean), axis=0, weights=share)
        self._scale = np.where(spread > 0, np.sqrt(spread), 1.0)
        self._low, self._high = some.min(axis=0), some.max(axis=0)
        if self.loss == "quantile":
            if y.ndim == 2:
                raise ValueError(
                    f"y must have one output for loss='quantile', got {y.shape[1]}"
                )
            tasks = [
                Task(
                    1,
                    None,
                    losses.pinball.using(quantile=q),
                    functools.partial(scores.pinball, q),
                )
                for q in self._chosen()
            ]
        else:
            tasks = [
                Task(table.shape[1], None, losses.mean_squared_error, scores.squares)
            ]
        scaled = ((table - self._mean) / self._scale).astype(np.float32)
        held = self._learn(frame, scaled, weights, tasks)
        self.scores_ = {}
        if held is not None and self.loss != "quantile":
            rows, found = held
            once = np.arange(len(self._held))  # what follows are other nets' answers
            rows, factors = rows.take(once), self._scale**2
            self.scores_ = scores.of_numbers(found[once], rows.y, rows.weights, factors)
        return self

    def _widths(self) -> list[int]:
        """Of the answers of each group of nets."""
        several = [1] * len(self._chosen())
        return several if self.loss == "quantile" else [len(self._mean)]

    def _state(self) -> dict[str, Any]:
        return {
            "several": self._several,
            "scores": self.scores_,
            **{name: getattr(self, f"_{name}").tolist() for name in _OF_TARGETS},
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        self._several, self.scores_ = bool(state["several"]), dict(state["scores"])
        for name in _OF_TARGETS:
            setattr(self, f"_{name}", np.array(state[name], np.float64))

    def _chosen(self) -> list[float]:
        chosen = np.atleast_1d(np.asarray(self.quantiles, np.float64)).ravel().tolist()
        if not chosen or not all(0 < q < 1 for q in chosen):
            raise ValueError(
                f"quantiles must lie between 0 and 1, got {self.quantiles!r}"
            )
        return [float(q) for q in chosen]

    def predict(self, X: Any) -> Array:
        """Numbers, within the range of those learnt from.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)

        Returns
        -------
        (n_samples,) or (n_samples, n_outputs) array
            Of several quantiles a column each; none lies below a smaller quantile's.
        """
        found: Array = np.concatenate(self._outputs(X), axis=1)
        found = np.clip(found * self._scale + self._mean, self._low, self._high)
        if self.loss == "quantile":
            places = np.argsort(
                np.argsort(self._chosen(), kind="stable"), kind="stable"
            )
            found = np.sort(found, axis=1)[:, places]
        return found if self._several or found.shape[1] > 1 else found.ravel()

    def to_onnx(
        self, path: str | os.PathLike[str] | None = None, *, opset: int = 15
    ) -> Any:
        """The regressor as an ONNX graph of the table's columns.

        Inputs are those of `TableClassifier.to_onnx`; the output is "predictions", what
        `predict` returns.

        Parameters
        ----------
        path, opset
            As in `TableClassifier.to_onnx`.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ImportError
            onnx is not installed: ``pip install lamina[onnx]``.
        """
        check_is_fitted(self)
        graph, answers = graphs.begin(self, opset)
        y = graph.add("Cast", graph.add("Concat", *answers, axis=1), to=11)
        for op, name in (
            ("Mul", "scale"),
            ("Add", "mean"),
            ("Max", "low"),
            ("Min", "high"),
        ):
            y = graph.add(op, y, graph.array(name, getattr(self, f"_{name}")))
        width = len(answers) if self.loss == "quantile" else len(self._mean)
        if self.loss == "quantile":
            places = np.argsort(
                np.argsort(self._chosen(), kind="stable"), kind="stable"
            )
            y = graph.sorted(y, width)
            y = graph.columns(y, places.tolist())
        shape = [width] if self._several or width > 1 else []
        y = y if shape else graph.add("Squeeze", y, graph.axes(1))
        graph.output("predictions", y, np.float64, shape)
        return graph.save(path)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2, or the mean of the D^2 pinball scores of the quantiles.

        Both are 1 for perfect answers and 0 for those that know no columns.
        """
        if self.loss != "quantile":
            return float(super().score(X, y, sample_weight))
        found = self.predict(X).reshape(len(y), -1)
        return float(
            np.mean(
                [
                    d2_pinball_score(y, column, sample_weight=sample_weight, alpha=q)
                    for q, column in zip(self._chosen(), found.T, strict=True)
                ]
            )
        )


def _merged(part: Part) -> tuple[Part, Array]:
    """Equal rows as one, and where each came first.

    A weight of 2 is then a row that comes twice, to the last bit.
    """
    rows = np.column_stack([part.x, part.y])
    _, firsts, places = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    weights = np.bincount(places.ravel(), part.weights).astype(np.float64)
    found = Part(part.x[firsts], part.y[firsts], weights / weights.mean())
    return found, firsts


def _task(outputs: int, activation: str, loss: losses.Loss) -> Task:
    return Task(outputs, activation, loss, scores.refined)


def _is_frame(X: Any) -> bool:
    return bool(nw.dependencies.is_into_dataframe(X))


def _array(X: Any) -> Array:
    """By scikit-learn's checks; gaps are allowed."""
    found: Array = check_array(X, dtype=None, ensure_all_finite=False, input_name="X")
    return found


def _rows_of(X: Any) -> int:
    return len(X) if hasattr(X, "__len__") else X.shape[0]


def _take(X: Any, rows: Array) -> Any:
    return _safe_indexing(X, rows)


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


def _weights(frame: Frame, sample_weight: Any) -> Array | None:
    if sample_weight is None:
        return None
    shaped = np.empty((frame.rows, 1))
    found: Array = _check_sample_weight(
        sample_weight, shaped, dtype=np.float64, ensure_non_negative=True
    )
    return found


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that its `save` wrote.

    It gives the same answers, bit for bit; nothing in the file is run. What only `fit`
    knows is not in it: `history_` is empty, `explain` must be given targets, a
    `random_state` that was a generator is None.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    TableClassifier or TableRegressor

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no estimator, or was damaged.
    ImportError
        safetensors is not installed: ``pip install lamina[files]``.
    """
    return files.load(path, [TableClassifier, TableRegressor])
