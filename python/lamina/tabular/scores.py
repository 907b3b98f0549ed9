"""What nets of tables are chosen by, and how far their probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import r2_score, roc_auc_score

from lamina._checks import Array

__all__ = [
    "of_classes",
    "of_numbers",
    "pinball",
    "refined",
    "shared_temperature",
    "squares",
    "temperature",
    "tempered",
]

_SMALLEST = 1e-30  # of a probability
_BINS = 15


def squares(outputs: Array, y: Array, weights: Array | None) -> Array:
    """The squared error of each row."""
    found: Array = np.square(outputs - y).mean(axis=1)
    return found


def pinball(quantile: float, outputs: Array, y: Array, weights: Array | None) -> Array:
    """The loss of that quantile for each row (Koenker & Bassett 1978)."""
    d = y - outputs
    found: Array = np.maximum(quantile * d, (quantile - 1) * d).mean(axis=1)
    return found


def refined(p: Array, y: Array, weights: Array | None) -> Array:
    """The log-loss of each row that the best temperature leaves.

    How well classes are told apart, apart from how sure the net is of it, which is
    mended afterwards (Berta, Holzmüller, Jordan & Bach 2025, "Rethinking early
    stopping: refine, then calibrate").
    """
    factor = 1 / temperature(p, y, weights)
    z = factor * _logarithms(p, y)
    return _cross_entropy(z, y)


def temperature(p: Array, y: Array, weights: Array | None) -> float:
    """By what logits are divided for the least log-loss (Guo et al. 2017).

    Newton's method for its reciprocal, by which the loss is convex. Of n rows a
    label counts as a probability of (n + 1) / (n + 2), the others share the rest (Platt
    1999): few rows that are all right are no proof of certainty.

    Parameters
    ----------
    p : (n, classes) or (n, outputs) array
        Probabilities: of classes, or each of its own where `y` has two dimensions.
    y : (n,) array of labels, or (n, outputs) array of 0 and 1
    weights : (n,) array or None
    """
    z = _logarithms(p, y)
    rows = z.reshape(-1, z.shape[-1])
    labels = y.reshape(-1).astype(np.int64)
    each = None if weights is None else np.repeat(weights, len(rows) // len(z))
    n, classes = rows.shape
    share = 1 / (n + 2)
    of_labels = rows[np.arange(n), labels]
    others = (rows.sum(axis=1) - of_labels) / max(1, classes - 1)
    wanted = (1 - share) * of_labels + share * others
    factor = 1.0
    for _ in range(8):
        q = _softmax(factor * rows)
        mean = (q * rows).sum(axis=1)
        slope = _mean(mean - wanted, each)
        curve = _mean((q * np.square(rows)).sum(axis=1) - np.square(mean), each)
        if not curve > 1e-12:
            break
        factor = float(np.clip(factor - slope / curve, factor / 3, factor * 3))
    return 1 / float(np.clip(factor, 0.05, 20))


def shared_temperature(
    members: Sequence[Array], y: Array, weights: Array | None
) -> float:
    """That of several nets for the least log-loss of their mean probabilities."""

    def loss(logarithm: float) -> float:
        each = [tempered(p, y, np.exp(logarithm)) for p in members]
        p = np.mean(each, axis=0)
        return _mean(_cross_entropy(_logarithms(p, y), y), weights)

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    return float(np.exp(found.x))


def tempered(p: Array, y: Array, temperature: float) -> Array:
    """The probabilities with logits divided by it."""
    q = _softmax(_logarithms(p, y) / temperature)
    return q[..., 1] if y.ndim == 2 else q


def of_classes(p: Array, y: Array, weights: Array | None) -> dict[str, float]:
    """Scores of probabilities, by name."""
    hits = (p > 0.5) == (y > 0.5) if y.ndim == 2 else p.argmax(axis=1) == y
    found = {
        "accuracy": _mean(hits.reshape(len(y), -1).mean(axis=1), weights),
        "log_loss": _mean(_cross_entropy(_logarithms(p, y), y), weights),
        "calibration_error": _calibration_error(p, y, weights),
    }
    if y.ndim == 1 and p.shape[1] == 2 and np.ptp(y):
        found["roc_auc"] = float(roc_auc_score(y, p[:, 1], sample_weight=weights))
    return found


def of_numbers(
    outputs: Array, y: Array, weights: Array | None, factors: Array
) -> dict[str, float]:
    """Scores of numbers; their squares are to be multiplied by the factors."""
    error = _mean((np.square(outputs - y) * factors).mean(axis=1), weights)
    found = {"rmse": float(np.sqrt(error))}
    if np.ptp(y, axis=0).all():
        found["r2"] = float(r2_score(y, outputs, sample_weight=weights))
    return found


def _calibration_error(p: Array, y: Array, weights: Array | None) -> float:
    """The expected calibration error: how far, on average over fifteen bins of
    confidence, the share of right answers is from it."""
    if y.ndim == 2:
        sure, right = np.maximum(p, 1 - p).ravel(), ((p > 0.5) == (y > 0.5)).ravel()
        weights = None if weights is None else np.repeat(weights, y.shape[1])
    else:
        sure, right = p.max(axis=1), p.argmax(axis=1) == y
    w = np.ones(len(sure)) if weights is None else weights
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, w * (sure - right), _BINS)
    return float(np.abs(gaps).sum() / w.sum())


def _logarithms(p: Array, y: Array) -> Array:
    """Logits, the last axis by class."""
    p = np.asarray(p, np.float64)
    if y.ndim == 2:
        p = np.stack([1 - p, p], axis=2)
    return np.log(np.maximum(p, _SMALLEST))


def _softmax(z: Array) -> Array:
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    z /= z.sum(axis=-1, keepdims=True)
    return z


def _cross_entropy(z: Array, y: Array) -> Array:
    q = np.maximum(_softmax(z), _SMALLEST)
    of_labels = np.take_along_axis(q, y.astype(np.int64)[..., np.newaxis], -1)
    found: Array = -np.log(of_labels).reshape(len(y), -1).mean(axis=1)
    return found


def _mean(values: Array, weights: Array | None) -> float:
    return float(np.average(values, weights=weights))
