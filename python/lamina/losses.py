"""Losses: what they take as targets, their value, their gradient, their accuracy.

A net calls its loss on the outputs of each batch. The loss of a batch is the mean over
its rows of weight times loss, as in Keras: divided by the number of rows, not by the
sum of their weights.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core
from lamina._checks import Array

__all__ = [
    "Loss",
    "PerWeight",
    "binary_crossentropy",
    "categorical_crossentropy",
    "class_weights",
    "get",
    "huber",
    "mean_absolute_error",
    "mean_squared_error",
    "pinball",
    "poisson",
]


class Loss:
    """A loss per row of outputs, and its gradient.

    A loss of one's own is a subclass with a method ``value(outputs, targets)``, in
    NumPy: the losses of the rows, (n,), and their gradients by the outputs, (n, c).
    Weights and the mean over rows are applied to what it returns. A method `targets`,
    if it has one, checks and converts what `fit` is given as ``y``.

    Attributes
    ----------
    name : str
        By default that of the class.
    activations : tuple of str
        The last activations that this loss takes in: it is then computed, more
        exactly and faster, from what comes before them (the logits). Empty if it is
        computed from the outputs themselves.
    classifies : bool
        Whether it counts the rows that are classified rightly.
    core : tuple or None
        How the compiled part names it; None for a loss of one's own.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> class LogCosh(lm.losses.Loss):
    ...     def value(self, outputs, targets):
    ...         error = outputs - targets
    ...         losses = np.logaddexp(error, -error) - np.log(2)
    ...         return losses.mean(axis=1), np.tanh(error) / error.shape[1]
    >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> history = net.fit(x, 3 * x, epochs=200, loss=LogCosh(), verbose=0)
    >>> history["loss"][-1] < history["loss"][0]
    True
    """

    name: str = "Loss"
    activations: tuple[str, ...] = ()
    classifies: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @property
    def core(self) -> tuple[Any, ...] | None:
        return None

    def _mean(self, weights: Array | None, rows: int) -> tuple[float, float, float]:
        """What a batch's sum over rows is multiplied by and divided by, and what
        penalties are divided by."""
        return 1.0, float(rows), 1.0

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """`y` as the array that `value` gets, checked against the outputs.

        Parameters
        ----------
        y : array_like
            Here finite numbers, (n, outputs), or (n,) for one output.
        outputs : int
            The width of the outputs.
        dtype : numpy.dtype
            That of the outputs.
        name : str
            What to call `y` in errors.

        Returns
        -------
        array
            One row for each of `y`; here (n, outputs) of `dtype`.

        Raises
        ------
        TypeError, ValueError
            `y` cannot be the targets of this loss.
        """
        table = _columns(name, y, outputs, dtype)
        _checks.finite(name, table)
        return table

    def value(self, outputs: Array, targets: Array) -> tuple[ArrayLike, ArrayLike]:
        """The losses of the rows, (n,), and their gradients by the outputs, (n, c)."""
        raise NotImplementedError(
            f"{self.name} must define value(outputs, targets), or be one of {known()}"
        )

    def __call__(
        self,
        outputs: Array,
        targets: Array,
        weights: Array | None = None,
        gradient: Array | None = None,
        scale: float | None = None,
    ) -> tuple[float, float]:
        """The loss of a batch, and its gradient by the outputs.

        Parameters
        ----------
        outputs : (n, c) array, float32 or float64
            Logits if `activations` is not empty.
        targets : array
            As returned by `targets`.
        weights : (n,) array, optional
            One a row. A row of weight 0 counts nothing, even if its loss is not finite.
        gradient : (n, c) array of the dtype of the outputs, optional
            Receives the gradient, by row times weight and `scale`.
        scale : float, optional
            By default 1 / n: the gradient is that of the mean.

        Returns
        -------
        sum : float
            Of the rows' losses times weights, in float64.
        correct : float
            How many rows are classified rightly, whatever their weight; 0 unless
            `classifies`.

        Raises
        ------
        TypeError, ValueError
            Arrays that do not fit each other, or what `value` returned.
        """
        if scale is not None:
            scale = _checks.finite_number("scale", scale)
        core = self.core
        if core is not None:
            return _core.loss(core, outputs, targets, scale, weights, gradient)
        if scale is None:
            scale = 1 / max(len(outputs), 1)
        losses, slopes = self._checked_value(outputs, targets)
        if weights is not None:
            if weights.shape != losses.shape:
                raise ValueError(
                    f"weights must have shape {losses.shape}, one weight per row, got "
                    f"{weights.shape}"
                )
            losses, slopes = (
                np.multiply(a, w, out=np.zeros_like(a), where=w != 0)
                for a, w in [(losses, weights), (slopes, weights[:, np.newaxis])]
            )
        if gradient is not None:
            np.multiply(slopes, scale, out=gradient)
        return float(losses.sum(dtype=np.float64)), 0.0

    def _checked_value(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        returned = self.value(outputs, targets)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(
                f"{self.name}.value must return (losses, gradients), got "
                f"{type(returned).__name__}"
            )
        arrays = []
        for what, value, shape in [
            ("losses", returned[0], outputs.shape[:1]),
            ("gradients", returned[1], outputs.shape),
        ]:
            array = _checks.numeric(f"{what} of {self.name}.value", value)
            if array.shape != shape:
                raise ValueError(
                    f"{self.name}.value must return {what} of shape {shape}, got "
                    f"{array.shape}"
                )
            arrays.append(array.astype(outputs.dtype, copy=False))
        return arrays[0], arrays[1]


@dataclasses.dataclass(frozen=True, repr=False)
class PerWeight(Loss):
    """`factor` times another loss, as a mean by weights.

    The losses of a batch are divided by the sum of its weights, not by the number of
    its rows, and so are the layers' penalties: what scikit-learn's nets minimise. A
    batch without weights has weights of 1; one whose weights are all 0 counts nothing.

    Parameters
    ----------
    loss : Loss
    factor : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        A `loss` that is none, or a `factor` that is not above 0.

    Examples
    --------
    >>> import lamina as lm
    >>> net = lm.Sequential([lm.Dense(1)])
    >>> net.build(1)
    >>> net.parameters = [1, 0]
    >>> half = lm.losses.PerWeight(lm.losses.mean_squared_error, 0.5)
    >>> net.gradients([[1], [3]], [0, 0], sample_weight=[3, 1], loss=half)
    {'loss': 1.5}
    """

    loss: Loss
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss):
            raise TypeError(f"loss must be a Loss, got {self.loss!r}")
        factor = float(_checks.positive("factor", self.factor))
        object.__setattr__(self, "factor", factor)

    def __repr__(self) -> str:
        return f"PerWeight({self.loss!r}, {self.factor!r})"

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.loss.name

    @property
    def activations(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.loss.activations

    @property
    def classifies(self) -> bool:  # type: ignore[override]
        return self.loss.classifies

    @functools.cached_property
    def core(self) -> tuple[Any, ...] | None:
        core = self.loss.core
        return None if core is None else (*core, self.factor)

    def _mean(self, weights: Array | None, rows: int) -> tuple[float, float, float]:
        total = float(rows)
        if weights is not None:  # one by one, as the core
            total = float(np.add.accumulate(weights, dtype=np.float64)[-1]) or np.inf
        return self.factor, total, total

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        return self.loss.targets(y, outputs, dtype, name)

    def value(self, outputs: Array, targets: Array) -> tuple[ArrayLike, ArrayLike]:
        return self.loss.value(outputs, targets)


def _open_unit(name: str, value: object) -> float:
    what = "a number between 0 and 1"
    return _checks.real(name, value, what, lambda number: 0 < number < 1)


_OPTIONS: dict[str, Callable[[str, object], float]] = {
    "label_smoothing": _checks.fraction,
    "pos_weight": _checks.positive,
    "delta": _checks.positive,
    "quantile": _open_unit,
}


@dataclasses.dataclass(frozen=True, repr=False)
class _Compiled(Loss):
    """A loss of the compiled part; its fields are its options."""

    kind: ClassVar[str]
    # Of targets, both included; infinite ones are none.
    bounds: ClassVar[tuple[float, float]] = -np.inf, np.inf

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = _OPTIONS[field.name](field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def using(self, **options: float) -> _Compiled:
        """The same loss with other options.

        Raises
        ------
        TypeError, ValueError
            An option that this loss does not have, or a value that it cannot have.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in options:
            if name not in names:
                raise TypeError(
                    f"{self.name} has no option {name!r}; it has "
                    f"{', '.join(names) or 'none'}"
                )
        return dataclasses.replace(self, **options)

    @functools.cached_property
    def core(self) -> tuple[str, float, float]:
        return self.kind, getattr(self, "label_smoothing", 0.0), self._parameter()

    def _parameter(self) -> float:
        return 0.0

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return self.name + (f".using({', '.join(changed)})" if changed else "")


@dataclasses.dataclass(frozen=True, repr=False)
class _Categorical(_Compiled):
    """-sum(t log softmax(z)) of logits z and labels or probabilities t.

    The one loss for integer labels, (n,) or (n, 1), and for one-hot rows or other
    probabilities, (n, classes). `label_smoothing` s, in [0, 1], makes t (1 - s) + s /
    classes of t (Szegedy et al. 2016, section 7).

    Examples
    --------
    >>> import lamina as lm
    >>> lm.losses.categorical_crossentropy.using(label_smoothing=0.1)
    categorical_crossentropy.using(label_smoothing=0.1)
    """

    label_smoothing: float = 0.0
    name = "categorical_crossentropy"
    activations = ("softmax", "log_softmax")
    classifies = True
    kind = "softmax_cross_entropy"

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Labels as (n,) int64, or probabilities as (n, outputs) of `dtype`."""
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
        array = array.reshape(-1)
        if array.dtype.kind == "f":
            missing = np.isnan(array)
            if missing.any():
                raise ValueError(
                    f"{name} must hold a label in each row, got {missing.sum()} "
                    f"missing, the first in row {missing.argmax()}"
                )
            raise TypeError(
                f"{name} must hold integer labels, got dtype {array.dtype}; "
                "use astype(int)"
            )
        bad = (array < 0) | (array >= outputs)
        if bad.any():
            hint = ""
            if array.min() == 1 and array.max() == outputs:
                hint = f"; where they begin with 1, {name} - 1"
            elif array.min() >= 0:
                hint = "; as many outputs as classes are needed"
            raise ValueError(
                f"{name} must hold labels from 0 to {outputs - 1} for {outputs} "
                f"outputs, got {array[bad][0]} in row {bad.argmax()}{hint}"
            )
        return np.ascontiguousarray(array, np.int64)


@dataclasses.dataclass(frozen=True, repr=False)
class _Binary(_Compiled):
    """-(p t log(sigmoid(z)) + (1 - t) log(1 - sigmoid(z))) of logits z, mean of a row.

    Targets t lie in [0, 1]. `pos_weight` p > 0 is the weight of the positive; how many
    negatives there are for one positive balances them. `label_smoothing` s, in [0, 1],
    makes t (1 - s) + s / 2 of t. An output is right if sigmoid(z) is on the side of 0.5
    where t is; a row counts by the share of its columns.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.losses.binary_crossentropy.using(pos_weight=3)
    binary_crossentropy.using(pos_weight=3.0)
    """

    label_smoothing: float = 0.0
    pos_weight: float = 1.0
    name = "binary_crossentropy"
    activations = ("sigmoid",)
    classifies = True
    kind = "sigmoid_cross_entropy"
    bounds = 0.0, 1.0

    def _parameter(self) -> float:
        return self.pos_weight

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Numbers in [0, 1] as (n, outputs) of `dtype`."""
        table = _columns(name, y, outputs, dtype)
        bad = ~((table >= 0) & (table <= 1))
        if bad.any():
            row = int(bad.any(axis=1).argmax())
            hint = ""
            if np.isin(table, (-1, 1)).all():
                hint = f"; for -1 and 1, ({name} + 1) // 2"
            elif np.isin(table, (1, 2)).all():
                hint = f"; for 1 and 2, {name} - 1"
            raise ValueError(
                f"{name} must hold 0 and 1, got {table[bad][0]} in row {row}{hint}"
            )
        return table


class _Squared(_Compiled):
    """(o - t)^2, mean of a row; the gradient is 2 (o - t) / columns."""

    name = "mean_squared_error"
    kind = "squared_error"


class _Absolute(_Compiled):
    """|o - t|, mean of a row; its slope at 0 is 0."""

    name = "mean_absolute_error"
    kind = "absolute_error"


@dataclasses.dataclass(frozen=True, repr=False)
class _Huber(_Compiled):
    """d^2 / 2 for d = |o - t| up to `delta`, then delta (d - delta / 2), mean of a row.

    Squared error for small errors, absolute error, by delta, for large ones (Huber
    1964).

    Examples
    --------
    >>> import lamina as lm
    >>> lm.losses.huber.using(delta=0.5)
    huber.using(delta=0.5)
    """

    delta: float = 1.0
    name = "huber"
    kind = "huber"

    def _parameter(self) -> float:
        return self.delta


@dataclasses.dataclass(frozen=True, repr=False)
class _Pinball(_Compiled):
    """max(q d, (q - 1) d) for d = t - o and a `quantile` q, mean of a row.

    What minimizes it is the quantile: below it lies the share q of what is possible
    (Koenker & Bassett 1978). Of one half it is half the absolute error. The slope at 0
    is 0.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.losses.pinball.using(quantile=0.9)
    pinball.using(quantile=0.9)
    """

    quantile: float = 0.5
    name = "pinball"
    kind = "pinball"

    def _parameter(self) -> float:
        return self.quantile


class _Poisson(_Compiled):
    """exp(o) - t o, mean of a row: the outputs o are the logarithms of rates.

    For counts t >= 0, which need not be whole. The net ends without activation;
    ``np.exp(net.predict(x))`` are the rates. log(t!), which no output changes, is left
    out, as torch's ``PoissonNLLLoss`` does by default.
    """

    name = "poisson"
    kind = "poisson"
    bounds = 0.0, np.inf

    def targets(
        self, y: ArrayLike, outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Numbers >= 0 as (n, outputs) of `dtype`."""
        table = super().targets(y, outputs, dtype, name)
        if (table < 0).any():
            raise ValueError(f"{name} must hold counts >= 0, got {table[table < 0][0]}")
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


categorical_crossentropy = _Categorical()
binary_crossentropy = _Binary()
mean_squared_error = _Squared()
mean_absolute_error = _Absolute()
huber = _Huber()
pinball = _Pinball()
poisson = _Poisson()

_KNOWN: dict[str, Loss] = {
    each.name: each
    for each in (
        categorical_crossentropy,
        binary_crossentropy,
        mean_squared_error,
        mean_absolute_error,
        huber,
        pinball,
        poisson,
    )
}


def known() -> str:
    """The names of all losses, for a message."""
    return ", ".join(sorted(_KNOWN))


def bounds(loss: Loss) -> tuple[float, float] | None:
    """Those of the targets of a loss of Lamina's own; None for others, and for a class
    derived from one."""
    return loss.bounds if "kind" in vars(type(loss)) else None  # type: ignore[attr-defined]


# What other libraries call the same, and what they have besides; also with "loss" at
# the end.
_MEANT = {
    "absoluteerror": "mean_absolute_error",
    "bce": "binary_crossentropy",
    "bcewithlogits": "binary_crossentropy",
    "binarycrossentropywithlogits": "binary_crossentropy",
    "crossentropy": "categorical_crossentropy",
    "huber": "huber",
    "l1": "mean_absolute_error",
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "nll": "categorical_crossentropy",
    "pinball": "pinball",
    "poissonnll": "poisson",
    "quantile": "pinball",
    "sigmoidcrossentropy": "binary_crossentropy",
    "smoothl1": "huber",
    "softmaxcrossentropy": "categorical_crossentropy",
    "sparsecategoricalcrossentropy": "categorical_crossentropy",
    "squarederror": "mean_squared_error",
}
_NEAREST = {
    "binaryfocalcrossentropy": "'binary_crossentropy'",
    "categoricalfocalcrossentropy": "'categorical_crossentropy'",
    "categoricalhinge": "'categorical_crossentropy'",
    "hinge": "'binary_crossentropy'",
    "kldiv": "'categorical_crossentropy'",
    "kldivergence": "'categorical_crossentropy'",
    "kullbackleiblerdivergence": "'categorical_crossentropy'",
    "l2": "'mean_squared_error'",
    "log": "'categorical_crossentropy' after softmax, 'binary_crossentropy' after "
    "sigmoid",
    "logcosh": "'huber'",
    "mape": "'mean_absolute_error'",
    "meanabsolutepercentageerror": "'mean_absolute_error'",
    "meansquaredlogarithmicerror": "'mean_squared_error' of np.log1p(y)",
    "msle": "'mean_squared_error' of np.log1p(y)",
    "rmse": "'mean_squared_error'",
    "rootmeansquarederror": "'mean_squared_error'",
    "squaredhinge": "'binary_crossentropy'",
}
_MEANT |= {f"{name}loss": loss for name, loss in _MEANT.items()}
_NEAREST |= {f"{name}loss": hint for name, hint in _NEAREST.items()}


def get(loss: str | Loss) -> Loss:
    """The loss of that name, or of one that other libraries have for it; or the object
    itself.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.losses.get("mse"), lm.losses.get("BCEWithLogitsLoss")
    (mean_squared_error, binary_crossentropy)
    """
    return _checks.choice("loss", loss, _KNOWN, Loss, _MEANT, _NEAREST)
