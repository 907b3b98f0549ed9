"""What `Sequential.fit` and `evaluate` are given, as rows or batches for a net."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina import data, losses
from lamina._checks import Array
from lamina.initializers import SPLIT, permutation, stream
from lamina.layers import Standardize

if TYPE_CHECKING:
    from lamina.model import Sequential
    from lamina.phases import Phases

__all__ = ["moments", "of_evaluate", "of_fit", "require_moments"]

Source = data.Rows | data.Batches


def of_fit(
    net: Sequential,
    goal: losses.Loss,
    x: Any,
    y: Any,
    *,
    sample_weight: Any,
    class_weight: Mapping[int, float] | str | None,
    share: float,
    validation_data: Any,
    epochs: int,
    length: int | None,
) -> tuple[Source, Array | None, Source | None, Array | None]:
    """What to train on and to validate by, each with the numbers of its rows; None: all
    rows, or no validation."""
    if share and validation_data is not None:
        raise ValueError("validation_data must not come together with validation_split")
    source: Source
    held_out: Source | None = None
    train = rest = None
    if y is None and _gives_batches(x):
        if share or sample_weight is not None:
            name = "validation_split" if share else "sample_weight"
            raise ValueError(f"{name} must come with arrays, not with batches")
        if not isinstance(class_weight, Mapping | None):
            raise ValueError(
                "class_weight must be a dict where x gives batches, got "
                f"{class_weight!r}"
            )
        source = _batches(net, goal, "x", x, epochs, length, class_weight)
    else:
        if length is not None:
            raise ValueError("steps_per_epoch must come with batches, not with arrays")
        source = net._rows(goal, x, y, sample_weight)
        if share:
            held_out = source
            train, rest = _split(net, len(source), share)
    if validation_data is not None:
        held_out = _validation(net, goal, validation_data, source.features, epochs)
    if class_weight is not None and isinstance(source, data.Rows):
        source = _weighted(source, class_weight, train, net.dtype)
    return source, train, held_out, rest


def of_evaluate(
    net: Sequential, goal: losses.Loss, x: Any, y: Any, sample_weight: Any
) -> Source:
    """What is to be evaluated."""
    if y is None and _gives_batches(x):
        if sample_weight is not None:
            raise ValueError("sample_weight must come with arrays, not with batches")
        return _batches(net, goal, "x", x, 1, None)
    return net._rows(goal, x, y, sample_weight)


def _gives_batches(x: Any) -> bool:
    table = any(hasattr(x, each) for each in ("__array__", "to_numpy", "tocsr"))
    return isinstance(x, Iterable) and not table


def _batches(
    net: Sequential,
    goal: losses.Loss,
    name: str,
    x: Iterable[Any],
    epochs: int,
    length: int | None,
    class_weight: Mapping[int, float] | str | None = None,
    features: int = 0,
) -> data.Batches:
    if isinstance(x, Iterator) and epochs > 1 and length is None:
        raise ValueError(
            f"{name} must be an iterable that can be gone through {epochs} times, like "
            f"a list, or come with steps_per_epoch, got {type(x).__name__}"
        )

    def check(names: tuple[str, str, str], batch: Any) -> data.Rows:
        rows = net._rows(goal, *batch, names=names, features=features)
        if not isinstance(class_weight, Mapping):
            return rows
        # A batch need not hold every class.
        present = dict.fromkeys(np.unique(_labels(rows.y.take(slice(None)))), 1.0)
        return _weighted(rows, {**present, **class_weight}, None, net.dtype)

    return data.Batches(name, x, check, length)


def _validation(
    net: Sequential, goal: losses.Loss, value: Any, features: int, epochs: int
) -> Source:
    name = "validation_data"
    one = isinstance(value, tuple | list) and len(value) in (2, 3)
    if one and not isinstance(value[0], tuple):
        names = f"{name}[0]", f"{name}[1]", f"{name}[2]"
        return net._rows(goal, *value, names=names, features=features)
    if not _gives_batches(value):
        raise TypeError(
            f"{name} must be (x, y), (x, y, weights) or batches of them, got "
            f"{type(value)}"
        )
    return _batches(net, goal, name, value, epochs, None, features=features)


def _split(net: Sequential, n: int, share: float) -> tuple[Array, Array]:
    """Numbers of the rows to train on, in order, and of those held out."""
    held_out = round(n * share)
    if not 0 < held_out < n:
        raise ValueError(
            "validation_split must leave rows to train on and to hold out, got "
            f"{share} of {n} rows"
        )
    order = permutation(n, net.seed, stream(SPLIT))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def moments(
    net: Sequential, source: Source, train: Array | None
) -> tuple[Array, Array] | None:
    """What a first layer that standardizes has still to learn."""
    if isinstance(source, data.Rows) and _standardizes_nothing(net):
        return data.moments(source.x.blocks(train))
    require_moments(net, source.features)
    return None


def require_moments(net: Phases, features: int) -> None:
    """Raise ValueError if a first layer that standardizes has still to learn."""
    if _standardizes_nothing(net):
        raise ValueError(
            "Standardize must have learnt before training on batches: call "
            f"net.build({features}) and net.layers[0].learn(x) with a sample of rows"
        )


def _standardizes_nothing(net: Phases) -> bool:
    first = net.layers[0]
    return isinstance(first, Standardize) and not (first.features and first.learnt)


def _weighted(
    rows: data.Rows,
    class_weight: Mapping[int, float] | str,
    train: Array | None,
    dtype: np.dtype[Any],
) -> data.Rows:
    """The rows with the weights of their classes; held-out ones keep theirs."""
    labels = np.concatenate([_labels(block) for block in rows.y.blocks(train)])
    factors = losses.class_weights(labels, class_weight)
    weights = np.ones(len(rows), dtype) if rows.weights is None else rows.weights.copy()
    weights[slice(None) if train is None else train] *= factors.astype(dtype)
    return data.Rows(rows.x, rows.y, weights)


def _labels(targets: Array) -> Array:
    """The classes of the rows."""
    if targets[:1].size == 1:
        return targets.reshape(-1)
    losses.class_weights(targets, {})  # raises where a row has not one class
    labels: Array = targets.argmax(axis=1)
    return labels
