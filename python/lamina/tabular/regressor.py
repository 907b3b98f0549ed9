"""`TableRegressor`: numbers, or quantiles of them, foretold from a table's rows."""

from __future__ import annotations

import functools
import os
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import d2_pinball_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from lamina import losses
from lamina._checks import Array
from lamina.tabular import graphs, scores
from lamina.tabular.base import BaseTable
from lamina.tabular.recipe import Task

__all__ = ["TableRegressor"]

_OF_TARGETS = "mean", "scale", "low", "high"


class TableRegressor(RegressorMixin, BaseTable):
    """Numbers foretold from a table's rows, by nets that need no tuning.

    Columns, nets and `preset`, `time_limit`, `random_state`, `verbose`, `columns_`,
    `history_` are as in `TableClassifier`; `scores_` has "rmse" and "r2".

    Parameters
    ----------
    loss : {"squared_error", "quantile"}
    quantiles : float or sequence of float
        For "quantile": which ones, between 0 and 1. Nets of its own learn each. Answers
        of several are (n, quantiles), for which scikit-learn has no tag: of its checks
        ``check_regressors_train`` then fails, since it wants the shape of `y`; name it
        in ``check_estimator(..., expected_failed_checks=...)``.

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
        x, y, weights = self._read(X, y, sample_weight)
        y = y.astype(np.float64)
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
        held = self._learn(x, scaled, weights, tasks)
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = self.loss != "quantile"
        return tags
