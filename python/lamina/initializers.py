"""Random draws from a seed, and the initial weights made of them.

Everything here is the same on every machine: the bits are Philox's, and what follows
uses only operations that IEEE 754 rounds exactly (the last bit of a library's log or
cos differs between processors). `orthogonal` alone goes through a library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from lamina import _checks, _core
from lamina._checks import Array

__all__ = [
    "Constant",
    "Initializer",
    "Normal",
    "Orthogonal",
    "Uniform",
    "VarianceScaling",
    "constant",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "zeros",
]

# Purposes of random bits, never renumbered.
DROPOUT, WEIGHTS, SHUFFLE, SPLIT, NOISE = range(5)


def stream(purpose: int, layer: int = 0, step: int = 0) -> int:
    """The 64-bit number of the random stream for one purpose, layer and step."""
    return (step % 2**32) << 32 | purpose % 2**16 << 16 | layer % 2**16


def permutation(n: int, seed: int, stream: int) -> Array:
    """The numbers 0 to n - 1 in random order: those of n random 64-bit keys, sorted."""
    return _core.sorted_order(_core.random_words(2 * n, seed, stream))


_BELOW_2_SIGMA = 0.022750131948179207  # normal distribution function at -2
_STD_WITHIN_2_SIGMA = 0.87962566103423978
_BLOCK = 1 << 14  # numbers at a time: the temporaries stay in the cache


@dataclasses.dataclass(frozen=True)
class Initializer:
    """How weights begin: called with a shape, it returns them.

    Immutable; `using` gives the same with other settings. A function (shape, dtype) ->
    array of your own does as well wherever an initializer is asked for.

    Attributes
    ----------
    name : str

    Examples
    --------
    >>> import lamina as lm
    >>> weights = lm.initializers.he_normal((64, 32), seed=0)
    >>> weights.shape, weights.dtype
    ((64, 32), dtype('float32'))
    >>> layer = lm.Dense(
    ...     32, kernel_initializer=lm.initializers.normal.using(std=1.0)
    ... )
    """

    name: str

    def using(self, **settings: Any) -> Self:
        """The same initializer with other settings.

        Raises
        ------
        TypeError, ValueError
            A setting that it does not have, or a value that is none for it.
        """
        known = [field.name for field in dataclasses.fields(self)[1:]]
        for name in settings:
            if name not in known:
                raise TypeError(f"{self.name} has the settings {known}, got {name!r}")
        return dataclasses.replace(self, **settings)

    def __call__(
        self,
        shape: tuple[int, ...],
        dtype: Any = "float32",
        *,
        seed: int | None = None,
        stream: int = 0,
    ) -> Array:
        """Make weights.

        Parameters
        ----------
        shape : tuple of int
            (inputs, outputs), or (outputs,) for a bias.
        dtype : float32 or float64
            Drawn in float64, then rounded.
        seed : int, optional
            None draws one from the operating system.
        stream : int
            Which of the independent sequences of that seed.

        Returns
        -------
        ndarray of `shape` and `dtype`
        """
        shape = _checks.extents("shape", shape)
        stream = _checks.unsigned("stream", stream)
        weights = np.empty(shape, _checks.float_dtype(dtype))
        with np.errstate(over="ignore"):
            self._fill(weights, _checks.seed(seed), stream)
        if not np.isfinite(weights).all():
            raise ValueError(
                f"{self!r} must make numbers that {weights.dtype} can hold, got inf"
            )
        return weights

    def _fill(self, weights: Array, seed: int, stream: int) -> None:
        raise NotImplementedError


def _fill_normal(
    weights: Array, std: float, truncated: bool, seed: int, stream: int
) -> None:
    flat = weights.reshape(-1)
    for block, u in _fractions(flat.size, seed, stream):
        if truncated:
            u = _BELOW_2_SIGMA + u * (1 - 2 * _BELOW_2_SIGMA)
            flat[block] = _core.normal_quantile(u) * (std / _STD_WITHIN_2_SIGMA)
        else:
            flat[block] = _core.normal_quantile(u) * std


def _fill_uniform(weights: Array, limit: float, seed: int, stream: int) -> None:
    flat = weights.reshape(-1)
    for block, u in _fractions(flat.size, seed, stream):
        flat[block] = (2 * u - 1) * limit


def _fractions(size: int, seed: int, stream: int) -> Iterator[tuple[slice, Array]]:
    """Random numbers in (0, 1), block by block, and where each block belongs."""
    words = _core.random_words(size, seed, stream)
    for start in range(0, size, _BLOCK):
        block = slice(start, start + _BLOCK)
        yield block, (words[block] + 0.5) * 2.0**-32


@dataclasses.dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Independent weights of mean zero, scaled by the number of inputs and outputs.

    ``glorot_*`` (Glorot & Bengio 2010), ``he_*`` (He et al. 2015) and ``lecun_*``
    (LeCun et al. 1998) are of this kind.

    Attributes
    ----------
    gain : float
        The variance is ``gain / fan``.
    fan : {"in", "mean"}
        The number of inputs, or the mean of the numbers of inputs and outputs.
    distribution : {"normal", "uniform"}
    truncated : bool
        Draw the normal from within two standard deviations, keeping the variance.

    Examples
    --------
    >>> import lamina as lm
    >>> float(lm.initializers.lecun_uniform((300, 100), seed=0).max()) <= 0.1
    True
    >>> cut = lm.initializers.he_normal.using(truncated=True)
    """

    gain: float
    fan: str = "in"
    distribution: str = "normal"
    truncated: bool = False

    def __post_init__(self) -> None:
        _checks.fields(self, gain=_checks.nonnegative)
        _one_of("fan", self.fan, ("in", "mean"))
        _one_of("distribution", self.distribution, ("normal", "uniform"))
        _checks.flag("truncated", self.truncated)

    def _fill(self, weights: Array, seed: int, stream: int) -> None:
        shape = weights.shape
        fan = shape[0] if self.fan == "in" else (shape[0] + shape[-1]) / 2
        std = np.sqrt(self.gain / max(1, fan))
        if self.distribution == "uniform":
            _fill_uniform(weights, std * np.sqrt(3), seed, stream)
        else:
            _fill_normal(weights, std, self.truncated, seed, stream)


@dataclasses.dataclass(frozen=True)
class Normal(Initializer):
    """Independent weights from N(0, std^2), whatever the shape.

    Attributes
    ----------
    std : float
        Standard deviation of the weights; 0.05 at first.
    truncated : bool
        Draw from within two standard deviations of a wider normal, so that `std` is
        still that of the weights. (Keras' TruncatedNormal cuts N(0, std^2) itself: its
        weights deviate by 0.88 std.)

    Examples
    --------
    >>> import lamina as lm
    >>> weights = lm.initializers.normal.using(std=1.0)((200, 200), seed=0)
    >>> round(float(weights.std()), 1)
    1.0
    """

    std: float = 0.05
    truncated: bool = False

    def __post_init__(self) -> None:
        _checks.fields(self, std=_checks.nonnegative)
        _checks.flag("truncated", self.truncated)

    def _fill(self, weights: Array, seed: int, stream: int) -> None:
        _fill_normal(weights, self.std, self.truncated, seed, stream)


@dataclasses.dataclass(frozen=True)
class Uniform(Initializer):
    """Independent weights from between -limit and limit, whatever the shape.

    Attributes
    ----------
    limit : float
        0.05 at first.

    Examples
    --------
    >>> import lamina as lm
    >>> weights = lm.initializers.uniform.using(limit=1.0)((200, 200), seed=0)
    >>> float(abs(weights).max()) <= 1
    True
    """

    limit: float = 0.05

    def __post_init__(self) -> None:
        _checks.fields(self, limit=_checks.nonnegative)

    def _fill(self, weights: Array, seed: int, stream: int) -> None:
        _fill_uniform(weights, self.limit, seed, stream)


@dataclasses.dataclass(frozen=True)
class Orthogonal(Initializer):
    """A random orthogonal matrix times `gain` (Saxe et al. 2014).

    Columns are orthonormal, or rows where there are fewer of them: Q of the QR
    decomposition of a normal matrix, each column times the sign of R's diagonal, which
    makes it uniform over all orthogonal matrices (Mezzadri 2007). By NumPy's LAPACK in
    float64: the same on every machine to rounding, not in every bit.

    Attributes
    ----------
    gain : float

    Raises
    ------
    ValueError
        A shape that is not 2-d.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> w = lm.initializers.orthogonal((5, 3), "float64", seed=0)
    >>> bool(np.allclose(w.T @ w, np.eye(3)))
    True
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        _checks.fields(self, gain=_checks.nonnegative)

    def _fill(self, weights: Array, seed: int, stream: int) -> None:
        if weights.ndim != 2:
            raise ValueError(
                f"{self.name} must make a matrix (inputs, outputs), got shape "
                f"{weights.shape}"
            )
        tall = np.empty(sorted(weights.shape, reverse=True))
        _fill_normal(tall, 1.0, False, seed, stream)
        q, r = np.linalg.qr(tall)
        q *= np.where(np.diag(r) < 0, -self.gain, self.gain)
        weights[...] = q if q.shape == weights.shape else q.T


@dataclasses.dataclass(frozen=True)
class Constant(Initializer):
    """The same number everywhere.

    Attributes
    ----------
    value : float

    Examples
    --------
    >>> import lamina as lm
    >>> lm.initializers.constant.using(value=0.25)((2,))
    array([0.25, 0.25], dtype=float32)
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        _checks.fields(self, value=_checks.finite_number)

    def _fill(self, weights: Array, seed: int, stream: int) -> None:
        weights.fill(self.value)


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


he_normal = VarianceScaling("he_normal", 2.0)
he_uniform = VarianceScaling("he_uniform", 2.0, distribution="uniform")
glorot_normal = VarianceScaling("glorot_normal", 1.0, "mean")
glorot_uniform = VarianceScaling("glorot_uniform", 1.0, "mean", "uniform")
lecun_normal = VarianceScaling("lecun_normal", 1.0)
lecun_uniform = VarianceScaling("lecun_uniform", 1.0, distribution="uniform")
normal = Normal("normal")
truncated_normal = Normal("truncated_normal", truncated=True)
uniform = Uniform("uniform")
orthogonal = Orthogonal("orthogonal")
constant = Constant("constant")
zeros = Constant("zeros", 0.0)
ones = Constant("ones", 1.0)

_KNOWN: dict[str, Initializer] = {
    each.name: each
    for each in (
        he_normal,
        he_uniform,
        glorot_normal,
        glorot_uniform,
        lecun_normal,
        lecun_uniform,
        normal,
        truncated_normal,
        uniform,
        orthogonal,
        constant,
        zeros,
        ones,
    )
}
# What other libraries call the same, and what they have besides.
_MEANT = {
    "kaimingnormal": "he_normal",
    "kaiminguniform": "he_uniform",
    "one": "ones",
    "randomnormal": "normal",
    "randomuniform": "uniform",
    "xaviernormal": "glorot_normal",
    "xavieruniform": "glorot_uniform",
    "zero": "zeros",
}
_NEAREST = {
    **dict.fromkeys(["glorot", "xavier"], "'glorot_uniform'"),
    **dict.fromkeys(["he", "kaiming"], "'he_normal'"),
    **dict.fromkeys(["eye", "identity"], "'orthogonal'"),
    "lecun": "'lecun_normal'",
    "truncnormal": "'truncated_normal'",
    "variancescaling": "he_normal.using(...)",
}


def get(
    initializer: str | Initializer | Callable[[tuple[int, ...], Any], Any],
) -> Initializer | Callable[[tuple[int, ...], Any], Any]:
    """The initializer of that name; a function (shape, dtype) -> array as it is."""
    if callable(initializer):
        return initializer
    return _checks.choice(
        "initializer", initializer, _KNOWN, Initializer, _MEANT, _NEAREST
    )


def draw(
    initializer: Initializer | Callable[[tuple[int, ...], Any], Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    seed: int,
    stream: int,
) -> Array:
    """Weights from an initializer or from a function that a user wrote."""
    if isinstance(initializer, Initializer):
        return initializer(shape, dtype, seed=seed, stream=stream)
    weights = np.array(initializer(shape, dtype), dtype, order="C")
    if weights.shape != shape:
        raise ValueError(f"initializer must return shape {shape}, got {weights.shape}")
    return weights
