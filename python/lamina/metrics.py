"""Scores beside loss and accuracy: the `metrics` of `Sequential.fit` and `evaluate`.

A metric is a name or a function ``(y, outputs) -> float``. The named ones are
scikit-learn's, with its defaults:

- by classes: "accuracy", "balanced_accuracy", "f1", "matthews_corrcoef", "precision",
  "recall"
- by probabilities: "average_precision", "log_loss", "roc_auc"
- by numbers: "explained_variance", "mean_absolute_error",
  "mean_absolute_percentage_error", "mean_squared_error", "median_absolute_error", "r2",
  "root_mean_squared_error"

After a sigmoid a row is of the class 1 where the output is above 0.5; several outputs
are judged one by one, and the mean over them is given ("macro"). After a softmax the
class is that of the largest output; of two classes, class 1 is the positive one; of
more, "precision", "recall" and "f1" are means over the classes, "roc_auc" and
"average_precision" those of each class against the rest. Targets that are probabilities
are taken for classes in the same way. What is not defined is NaN, such as the
area under a curve where all rows are of one class, and every metric of outputs that are
not finite; from a mean over classes or columns it is left out.

Examples
--------
>>> import numpy as np
>>> import lamina as lm
>>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 1, 0, 1])
>>> net = lm.Sequential([lm.Dense(1, "sigmoid")])
>>> net.build(1)
>>> net.parameters = [1, 0]
>>> def found(y, outputs):
...     return (outputs > 0.5).sum()
>>> scores = net.evaluate(x, y, metrics=["roc_auc", found])
>>> scores["roc_auc"], scores["found"]
(0.75, 2.0)
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

from lamina import _checks, losses
from lamina._checks import Array

__all__ = ["Metric", "evaluate", "get"]

Metric = Callable[[Array, Array], float]

# What they are called in sklearn.metrics.
_CLASSES = {
    "accuracy": "accuracy_score",
    "balanced_accuracy": "balanced_accuracy_score",
    "f1": "f1_score",
    "matthews_corrcoef": "matthews_corrcoef",
    "precision": "precision_score",
    "recall": "recall_score",
}
_PROBABILITIES = {
    "average_precision": "average_precision_score",
    "log_loss": "log_loss",
    "roc_auc": "roc_auc_score",
}
_NUMBERS = {
    "explained_variance": "explained_variance_score",
    "mean_absolute_error": "mean_absolute_error",
    "mean_absolute_percentage_error": "mean_absolute_percentage_error",
    "mean_squared_error": "mean_squared_error",
    "median_absolute_error": "median_absolute_error",
    "r2": "r2_score",
    "root_mean_squared_error": "root_mean_squared_error",
}
_KNOWN = _CLASSES | _PROBABILITIES | _NUMBERS
_CURVES = "average_precision", "roc_auc"
_AVERAGED = "f1", "precision", "recall"


def get(
    metrics: Iterable[str | Metric] | Mapping[str, str | Metric],
    goal: losses.Loss,
    activation: str | None,
    reported: Collection[str],
) -> dict[str, Metric]:
    """The functions that were asked for, by the names of their scores.

    Parameters
    ----------
    metrics
        Names and functions, or a dict of them.
    goal, activation
        The net's loss, and the name of its last activation.
    reported
        Names of scores that there are without being asked for.
    """
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(
            f"metrics must be a list or a dict of names and functions, got {metrics!r}"
        )
    pairs: list[tuple[Any, Any]]
    if isinstance(metrics, Mapping):
        pairs = list(metrics.items())
    else:
        pairs = [(m if isinstance(m, str) else _name(m), m) for m in metrics]
    found: dict[str, Metric] = {}
    for name, metric in pairs:
        if name == metric == "accuracy" and "accuracy" in reported:
            continue
        if not isinstance(name, str):
            raise TypeError(f"metrics must be called by strings, got {name!r}")
        if name in found or name in reported:
            raise ValueError(
                f"metrics must differ in their names, and from {', '.join(reported)}; "
                f"got {name!r}; use a dict"
            )
        if isinstance(metric, str):
            metric = _named(metric, goal, activation)
        elif not callable(metric):
            raise TypeError(f"metrics must be names or functions, got {metric!r}")
        found[name] = metric
    return found


def evaluate(
    metrics: Mapping[str, Metric], y: Array, outputs: Array
) -> dict[str, float]:
    """The value of each metric; none can change the arrays."""
    y.flags.writeable = outputs.flags.writeable = False
    values = {name: metric(y, outputs) for name, metric in metrics.items()}
    return _checks.scores(values, "metrics")


def _name(function: Any) -> Any:
    return getattr(function, "__name__", type(function).__name__)


def _named(name: str, goal: losses.Loss, activation: str | None) -> Metric:
    """The metric of that name for a net that ends in that activation."""
    if name not in _KNOWN:
        raise ValueError(
            f"metrics must be functions or among {', '.join(sorted(_KNOWN))}, got "
            f"{name!r}"
        )
    softmax = activation in ("softmax", "log_softmax")
    if name in _NUMBERS:
        fits, wanted = not softmax and goal != losses.poisson, "numbers as outputs"
    else:
        fits = softmax or activation == "sigmoid"
        wanted = "a last activation of softmax or sigmoid"
    if not fits:
        raise ValueError(
            f"metric {name!r} needs {wanted}, got {activation} and loss {goal.name!r}; "
            "use a function (y, outputs)"
        )
    try:
        module = importlib.import_module("sklearn.metrics")
    except ImportError as error:
        raise ImportError(
            f"metric {name!r} needs scikit-learn; use pip install lamina[metrics]"
        ) from error
    function = getattr(module, _KNOWN[name])

    def metric(y: Array, outputs: Array) -> float:
        y, outputs = y.astype(np.float64), outputs.astype(np.float64)
        if activation == "log_softmax":
            outputs = np.exp(outputs)
        if not np.isfinite(outputs).all():
            return np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where a score is not defined
            if name in _NUMBERS:
                return float(function(y, outputs))
            if activation == "sigmoid":
                return _by_column(name, function, y > 0.5, outputs)
            labels = y if y.ndim == 1 else y.argmax(axis=1)
            return _by_class(name, function, labels.astype(int), outputs)

    metric.__name__ = name
    return metric


def _by_class(name: str, function: Any, labels: Array, p: Array) -> float:
    """Of softmax: labels (n,), probabilities (n, classes)."""
    classes = np.arange(p.shape[1])
    if len(classes) == 2:
        return _binary(name, function, labels == 1, p[:, 1], p.argmax(axis=1) == 1)
    if name in _CURVES:
        return _by_column(name, function, labels[:, np.newaxis] == classes, p)
    if name == "log_loss":
        p = p / p.sum(axis=1, keepdims=True)  # to float64's precision
        return float(function(labels, p, labels=classes))
    options = {"average": "macro", "zero_division": 0} if name in _AVERAGED else {}
    return float(function(labels, p.argmax(axis=1), **options))


def _by_column(name: str, function: Any, truth: Array, p: Array) -> float:
    values = [
        _binary(name, function, t, column, column > 0.5)
        for t, column in zip(truth.T, p.T, strict=True)
    ]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else np.nan


def _binary(
    name: str, function: Any, truth: Array, p: Array, predicted: Array
) -> float:
    if name in _CURVES:
        return np.nan if truth.all() or not truth.any() else float(function(truth, p))
    if name == "log_loss":
        return float(
            function(truth, np.stack([1 - p, p], axis=1), labels=[False, True])
        )
    options = {"zero_division": 0} if name in _AVERAGED else {}
    return float(function(truth, predicted, **options))
