"""Losses: what they take as targets, their value, their gradient, their accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core
from lamina._checks import Array

__all__ = [
    "Loss",
    "binary_crossentropy",
    "categorical_crossentropy",
    "class_weights",
    "get",
    "mean_squared_error",
]


@dataclasses.dataclass(frozen=True)
class Loss:
    """The mean over rows of a loss per row.

    Attributes
    ----------
    name : str
    activations : tuple of str
        The last activations that this loss takes in: it is then computed, more
        exactly and faster, from what comes before them (the logits). Empty if it is
        computed from the outputs themselves.
    """

    name: str
    activations: tuple[str, ...] = ()
    kernel: ClassVar[Callable[..., None]]
    classifies: ClassVar[bool] = True

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """`y` as the array that the kernel reads, checked against the outputs."""
        raise NotImplementedError

    def correct(self, outputs: Array, targets: Array) -> float:
        """How many rows are classified rightly."""
        return 0.0

    def __call__(
        self, outputs: Array, targets: Array, gradient: Array | None = None
    ) -> float:
        """The loss, and its gradient by the outputs.

        Parameters
        ----------
        outputs : (n, c) array, float32 or float64
            Logits if `activations` is not empty.
        targets : array
            As returned by `targets`.
        gradient : (n, c) array, optional
            Receives the gradient of the mean.

        Returns
        -------
        float
            The mean over rows, summed up in float64.
        """
        terms = len(outputs) * self._width(outputs)
        losses = np.empty(len(outputs), outputs.dtype)
        self.kernel(outputs, targets, 1 / terms, losses=losses, gradient=gradient)
        return float(losses.sum(dtype=np.float64)) / terms

    def _width(self, outputs: Array) -> int:
        """By what to divide the kernel's sum over a row."""
        return int(outputs.shape[1])


class _Categorical(Loss):
    kernel = staticmethod(_core.softmax_cross_entropy)

    def _width(self, outputs: Array) -> int:
        return 1

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        array = _checks.numeric(name, y)
        if array.ndim == 2 and array.shape[1] == outputs > 1:
            table = _checks.convert(array, dtype)
            # float16 probabilities sum to 1 within 1e-3.
            bad = ~((table >= 0).all(axis=1) & (np.abs(table.sum(axis=1) - 1) < 1e-3))
            if bad.any():
                raise ValueError(
                    f"{name} must hold probabilities (one-hot: >= 0, rows of sum 1), "
                    f"got {array[bad][0]} in row {bad.argmax()}"
                )
            return table
        if array.ndim != 1 and array.shape[1:] != (1,):
            raise ValueError(
                f"{name} must be labels (n,) or one-hot (n, {outputs}), got shape "
                f"{array.shape}"
            )
        if array.dtype.kind == "f":
            raise TypeError(
                f"{name} must hold integer labels, got dtype {array.dtype}; "
                "use astype(int)"
            )
        bad = (array < 0) | (array >= outputs)
        if bad.any():
            raise ValueError(
                f"{name} must hold labels from 0 to {outputs - 1} for {outputs} "
                f"outputs, got {array[bad][0]}"
            )
        return np.ascontiguousarray(array, np.int64).reshape(-1)

    def correct(self, outputs: Array, targets: Array) -> float:
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return float(np.count_nonzero(outputs.argmax(axis=1) == labels))


class _Binary(Loss):
    kernel = staticmethod(_core.sigmoid_cross_entropy)

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        table = _columns(name, y, outputs, dtype)
        bad = ~((table >= 0) & (table <= 1))
        if bad.any():
            raise ValueError(f"{name} must hold 0 and 1, got {table[bad][0]}")
        return table

    def correct(self, outputs: Array, targets: Array) -> float:
        right = (outputs > 0) == (targets > 0.5)  # a logit > 0 is a sigmoid > 0.5
        return float(right.sum() / outputs.shape[1])


class _Squared(Loss):
    kernel = staticmethod(_core.squared_error)
    classifies = False

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        table = _columns(name, y, outputs, dtype)
        _checks.finite(name, table)
        return table


def _columns(name: str, y: ArrayLike, outputs: int, dtype: np.dtype[Any]) -> Array:
    array = _checks.numeric(name, y)
    if array.ndim == 1 and outputs == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] != outputs:
        shapes = "(n,) or (n, 1)" if outputs == 1 else f"(n, {outputs})"
        raise ValueError(
            f"{name} must have shape {shapes} for {outputs} outputs, got {array.shape}"
        )
    return _checks.convert(array, dtype)


def class_weights(labels: ArrayLike, class_weight: Mapping[int, float] | str) -> Array:
    """The weight of each row, by its class.

    Parameters
    ----------
    labels : array_like
        Integer labels, (n,) or (n, 1), or one-hot rows, (n, classes): 0 and 1 in any
        dtype.
    class_weight : dict or "balanced"
        The weights of classes; 1 for a class that is not named. "balanced": n / (number
        of classes present * number of rows of the class), as scikit-learn does.

    Returns
    -------
    (n,) float64 array

    Raises
    ------
    TypeError, ValueError
        Rows without one class, weights that are negative or not finite, or names of
        classes that do not occur while others that do are not named.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.losses.class_weights([0, 0, 0, 1], "balanced")
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    >>> lm.losses.class_weights([[1, 0], [0, 1]], {1: 5})
    array([1., 5.])
    """
    classes, of_row, counts = np.unique(
        _classes(labels), return_inverse=True, return_counts=True
    )
    if isinstance(class_weight, str) and class_weight == "balanced":
        weights = len(of_row) / (len(classes) * counts)
    elif isinstance(class_weight, Mapping):
        weights = _weights_of(classes, class_weight)
    else:
        error = ValueError if isinstance(class_weight, str) else TypeError
        raise error(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
    return np.asarray(weights[of_row.reshape(-1)], np.float64)


def _classes(labels: ArrayLike) -> Array:
    """The class of each row."""
    array = _checks.numeric("labels", labels)
    if array.ndim == 2 and array.shape[1] > 1:
        one_hot = ((array == 0) | (array == 1)).all(axis=1) & (array.sum(axis=1) == 1)
        if not one_hot.all():
            row = int((~one_hot).argmax())
            raise ValueError(
                "labels must hold one class per row (one-hot) to be weighted by class, "
                f"got {array[row]} in row {row}"
            )
        return np.asarray(array.argmax(axis=1))
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise ValueError(
            f"labels must have shape (n,), (n, 1) or (n, classes), got {array.shape}"
        )
    array = array.reshape(-1)
    whole = np.isfinite(array) & (array == np.floor(array))
    if not whole.all():
        raise ValueError(
            "labels must hold whole numbers to be weighted by class, got "
            f"{array[~whole][0]}"
        )
    return array.astype(np.int64)


def _weights_of(classes: Array, class_weight: Mapping[int, float]) -> Array:
    """Those of `classes`."""
    present = classes.tolist()
    for label, weight in class_weight.items():
        _checks.nonnegative(f"class_weight[{label!r}]", weight)
    unused = [label for label in class_weight if label not in present]
    unnamed = [label for label in present if label not in class_weight]
    if unused and unnamed:
        raise ValueError(
            f"class_weight must name classes of the labels, got {unused[0]!r}, which "
            f"does not occur, and nothing for {unnamed[0]}"
        )
    return np.array([float(class_weight.get(label, 1)) for label in present])


categorical_crossentropy = _Categorical(
    "categorical_crossentropy", ("softmax", "log_softmax")
)
binary_crossentropy = _Binary("binary_crossentropy", ("sigmoid",))
mean_squared_error = _Squared("mean_squared_error")

_KNOWN: dict[str, Loss] = {
    each.name: each
    for each in (categorical_crossentropy, binary_crossentropy, mean_squared_error)
}


def known() -> str:
    """The names of all losses, for a message."""
    return ", ".join(sorted(_KNOWN))


def get(loss: str | Loss) -> Loss:
    """The loss of that name, or the object itself."""
    return _checks.choice("loss", loss, _KNOWN, Loss)
