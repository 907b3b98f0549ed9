"""Random draws from a seed, and the initial weights made of them.

Everything here is the same on every machine: the bits are Philox's, and what follows
uses only operations that IEEE 754 rounds exactly (the last bit of a library's log or
cos differs between processors).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina import _checks, _core
from lamina._checks import Array

__all__ = [
    "Initializer",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "zeros",
]

DROPOUT, WEIGHTS, SHUFFLE, SPLIT = range(4)  # purposes of random bits, never renumbered


def stream(purpose: int, layer: int = 0, step: int = 0) -> int:
    """The 64-bit number of the random stream for one purpose, layer and step."""
    return (step % 2**32) << 32 | purpose % 2**16 << 16 | layer % 2**16


def permutation(n: int, seed: int, stream: int) -> Array:
    """The numbers 0 to n - 1 in random order: those of n random 64-bit keys, sorted."""
    high, low = _core.random_words(2 * n, seed, stream).reshape(2, n)
    # NumPy sorts 16 bits by counting: twice that takes a third of the time of sorting
    # whole keys, of which the lower halves decide where upper ones agree.
    order = high.astype(np.uint16).argsort(kind="stable")
    order = order[(high >> 16).astype(np.uint16)[order].argsort(kind="stable")]
    upper = high[order]
    same = np.concatenate([[False], upper[1:] == upper[:-1], [False]])
    tied = same[1:] | same[:-1]
    if tied.any():
        some = order[tied]
        order[tied] = some[np.lexsort((low[some], high[some]))]
    return order


# Wichura's AS 241 (PPND16): numerators and denominators, highest power first.
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0),
)  # fmt: skip
_LOG_TERMS = [2 / (2 * k + 1) for k in range(11, -1, -1)]  # 2 atanh(s) / s in s * s


def _log(x: Array) -> Array:
    """Logarithm of normal positive float64, to 2 units in the last place."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < np.sqrt(0.5)
    mantissa, exponent = np.where(low, 2 * mantissa, mantissa), exponent - low
    s = (mantissa - 1) / (mantissa + 1)
    log: Array = exponent * 0.6931471805599453 + s * np.polyval(_LOG_TERMS, s * s)
    return log


def normal_quantile(p: Array) -> Array:
    """Inverse of the normal distribution function, float64 `p` in [1e-11, 1 - 1e-11].

    Relative error about 1e-15 (Wichura, Applied Statistics 37, 1988); his third
    branch, for still smaller p, cannot be reached from 32 random bits.
    """
    q = p - 0.5
    r = 0.180625 - q * q
    x: Array = q * np.polyval(_CENTRE[0], r) / np.polyval(_CENTRE[1], r)
    tail = np.abs(q) > 0.425
    r = np.sqrt(-_log(np.minimum(p, 1 - p)[tail])) - 1.6
    x[tail] = np.copysign(np.polyval(_TAIL[0], r) / np.polyval(_TAIL[1], r), q[tail])
    return x


_BELOW_2_SIGMA = 0.022750131948179207  # normal distribution function at -2
_STD_WITHIN_2_SIGMA = 0.87962566103423978
_BLOCK = 1 << 14  # numbers at a time: the temporaries stay in the cache


@dataclasses.dataclass(frozen=True)
class Initializer:
    """Independent weights of mean zero, scaled by the number of inputs and outputs.

    Attributes
    ----------
    name : str
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
    >>> weights = lm.initializers.he_normal((64, 32), seed=0)
    >>> weights.shape, weights.dtype
    ((64, 32), dtype('float32'))
    >>> layer = lm.Dense(
    ...     32, kernel_initializer=lm.initializers.he_normal.using(truncated=True)
    ... )
    """

    name: str
    gain: float
    fan: str = "in"
    distribution: str = "normal"
    truncated: bool = False

    def using(self, *, truncated: bool) -> Initializer:
        """The same initializer with another setting."""
        return dataclasses.replace(self, truncated=truncated)

    def __call__(
        self,
        shape: tuple[int, ...],
        dtype: Any = "float32",
        *,
        seed: int | None = None,
        stream: int = 0,
    ) -> Array:
        """Draw weights.

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
        weights = np.zeros(shape, _checks.float_dtype(dtype))
        if self.gain == 0:
            return weights
        fan = shape[0] if self.fan == "in" else (shape[0] + shape[-1]) / 2
        std = np.sqrt(self.gain / max(1, fan))
        flat = weights.reshape(-1)
        words = _core.random_words(flat.size, _checks.seed(seed), stream)
        for start in range(0, flat.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            u = (words[block] + 0.5) * 2.0**-32
            if self.distribution == "uniform":
                flat[block] = (2 * u - 1) * (std * np.sqrt(3))
            elif self.truncated:
                u = _BELOW_2_SIGMA + u * (1 - 2 * _BELOW_2_SIGMA)
                flat[block] = normal_quantile(u) * (std / _STD_WITHIN_2_SIGMA)
            else:
                flat[block] = normal_quantile(u) * std
        return weights


he_normal = Initializer("he_normal", 2.0)
he_uniform = Initializer("he_uniform", 2.0, distribution="uniform")
glorot_normal = Initializer("glorot_normal", 1.0, "mean")
glorot_uniform = Initializer("glorot_uniform", 1.0, "mean", "uniform")
lecun_normal = Initializer("lecun_normal", 1.0)
lecun_uniform = Initializer("lecun_uniform", 1.0, distribution="uniform")
zeros = Initializer("zeros", 0.0)

_KNOWN = {
    each.name: each
    for each in (
        he_normal,
        he_uniform,
        glorot_normal,
        glorot_uniform,
        lecun_normal,
        lecun_uniform,
        zeros,
    )
}


def get(
    initializer: str | Initializer | Callable[[tuple[int, ...], Any], Any],
) -> Initializer | Callable[[tuple[int, ...], Any], Any]:
    """The initializer of that name; a function (shape, dtype) -> array as it is."""
    if callable(initializer):
        return initializer
    return _checks.choice("initializer", initializer, _KNOWN, Initializer)


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
