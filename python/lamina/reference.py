"""The specification of Lamina in plain NumPy float64: the oracle of the tests.

Everything here is written to be obviously right rather than fast, and shares no code
with the compiled kernels. Inputs are converted to float64; results are accurate to a
few units in the last place, in the tails and near zero too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[np.uint32]
Formula: TypeAlias = Callable[[Any, Any], Any]  # of x and the parameter
Pair: TypeAlias = tuple[Any, Any]  # the unevaluated sum of a number and its error


# Arithmetic with the error kept -------------------------------------------------------
# exp turns an absolute error of its argument into a relative one: at -700 the rounding
# of the argument alone costs 500 units in the last place. So arguments are pairs.


def _constant(digits: str) -> Pair:
    hi = float(digits)
    return hi, float(Fraction(digits) - Fraction(hi))


def _pair(hi: Any, lo: Any) -> Pair:
    """No error is kept where exp(hi) is 0 or inf, or where the error overflowed."""
    return hi, np.where((np.abs(hi) < 1e4) & np.isfinite(lo), lo, 0.0)


def _multiply(a: Pair, b: Pair) -> Pair:
    """Product of two pairs (Dekker, Numer. Math. 18, 1971)."""

    def halves(x: Any) -> Pair:
        top = x * 134217729.0  # 2^27 + 1
        top = top - (top - x)
        return top, x - top

    hi = a[0] * b[0]
    (a_top, a_end), (b_top, b_end) = halves(a[0]), halves(b[0])
    lo = a_top * b_top - hi + a_top * b_end + a_end * b_top + a_end * b_end
    return _pair(hi, lo + a[0] * b[1] + a[1] * b[0])


def _plus_one(a: Pair) -> Pair:
    """1 + a (Knuth's two-sum)."""
    hi = 1.0 + a[0]
    part = hi - 1.0
    return _pair(hi, (1.0 - (hi - part)) + (a[0] - part) + a[1])


def _divide(x: Any, y: Any) -> Pair:
    quotient = x / y
    hi, lo = _multiply((quotient, 0.0), (y, 0.0))
    return _pair(quotient, (x - hi - lo) / y)


def _times_exp(factor: Any, hi: Any, lo: Any = 0.0) -> Any:
    """factor * exp(hi + lo), rounded to a subnormal at most once, at the end."""
    root = np.exp(0.5 * hi)
    return factor * root * (1.0 + lo) * root


def _times_sigmoid(factor: Any, hi: Any, lo: Any = 0.0) -> Any:
    """factor * sigmoid(hi + lo)."""
    divisor = 1.0 + np.exp(-np.abs(hi))
    negative = _times_exp(factor, np.minimum(hi, 0.0), lo) / divisor
    return np.where(hi > 0.0, factor / divisor, negative)


# Activations --------------------------------------------------------------------------
# Each takes x and its parameter p. Beyond _FAR gates and their derivatives have reached
# their limits; staying there avoids inf * 0.

_FAR = 1e4


def _far(x: Any) -> Any:
    return np.clip(x, -_FAR, _FAR)


def _by_sign(x: Any, positive: Any, otherwise: Any) -> Any:
    return np.where(x > 0.0, positive, otherwise)


def _sech_squared(x: Any) -> Any:
    return np.square(1.0 / np.cosh(x))


_SELU_SCALE = 1.0507009873554804935  # Klambauer et al. 2017
_SELU_SLOPE = 1.7580993408473768599  # the scale times alpha = 1.6732632423543772848


def _celu(x: Any, p: Any) -> Any:
    """x or p (exp(x / p) - 1) (Barron 2017), expm1(a + e) = expm1(a) (1 + e) + e."""
    hi, lo = _divide(x, p)
    return _by_sign(x, x, p * (np.expm1(hi) * (1.0 + lo) + lo))


def _softplus(x: Any, p: Any) -> Any:
    """log(1 + exp(p x)) / p = max(x, 0) + log1p(exp(-|p x|)) / p."""
    hi, lo = _multiply((p, 0.0), (x, 0.0))
    rest = np.log1p(_times_exp(1.0, -np.abs(hi), -np.sign(hi) * lo))
    return _by_sign(hi, x, 0.0) + rest / p


def _softsign(x: Any, p: Any) -> Any:
    return np.where(np.isinf(x), np.sign(x), x / (1.0 + np.abs(x)))


# The gated functions x * sigmoid(t(x)): each is t as a pair, and dt/dx.
# 0.5 (1 + tanh(u)) = sigmoid(2 u) makes gelu_tanh one of them.

# The float64 numbers of these names, as in every implementation.
_QUICK, _CUBIC = (1.702, 0.0), (0.044715, 0.0)
_TWICE_ROOT_2_OVER_PI = _constant("1.5957691216057307117597842397375274739")


def _gate_silu(x: Any) -> tuple[Pair, Any]:
    return (x, 0.0), 1.0


def _gate_quick_gelu(x: Any) -> tuple[Pair, Any]:
    return _multiply(_QUICK, (x, 0.0)), _QUICK[0]


def _gate_gelu_tanh(x: Any) -> tuple[Pair, Any]:
    cubic = _multiply(_CUBIC, _multiply((x, 0.0), (x, 0.0)))
    line = _multiply(_TWICE_ROOT_2_OVER_PI, (x, 0.0))
    slope = _TWICE_ROOT_2_OVER_PI[0] * (1.0 + 3.0 * cubic[0])
    return _multiply(line, _plus_one(cubic)), slope


def _gated(gate: Callable[[Any], tuple[Pair, Any]]) -> tuple[Formula, Formula]:
    """x s and s (1 + x t' (1 - s)), where s = sigmoid(t)."""

    def function(x: Any, p: Any) -> Any:
        (hi, lo), _ = gate(_far(x))
        return _times_sigmoid(np.maximum(x, -_FAR), hi, lo)

    def derivative(x: Any, p: Any) -> Any:
        x = _far(x)
        (hi, lo), slope = gate(x)
        return _times_sigmoid(1.0 + x * slope * _times_sigmoid(1.0, -hi, -lo), hi, lo)

    return function, derivative


# gelu = x Phi(x), Phi(x) = erfc(-x / sqrt 2) / 2 (Hendrycks and Gimpel 2016). Below -2
# erfc magnifies the rounding of its argument, so there Phi is phi times Mills' ratio.

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _times_density(factor: Any, x: Any) -> Any:
    """factor * phi(x), phi(x) = exp(-x^2 / 2) / sqrt(2 pi)."""
    hi, lo = _multiply((-0.5 * x, 0.0), (x, 0.0))
    return _times_exp(factor * 0.39894228040143267794, hi, lo)


def _mills(x: Any) -> Any:
    """Phi(x) / phi(x) for x <= -2 by Laplace's continued fraction (DLMF 7.9)."""
    a = np.maximum(-x, 2.0)
    tail = a
    for k in range(100, 0, -1):
        tail = a + k / tail
    return 1.0 / tail


def _gelu(x: Any, p: Any) -> Any:
    x = np.maximum(x, -_FAR)
    above = 0.5 * x * _erfc(-x * math.sqrt(0.5))
    return np.where(x < -2.0, _times_density(x * _mills(x), x), above)


def _gelu_derivative(x: Any, p: Any) -> Any:
    """Phi(x) + x phi(x)."""
    x = _far(x)
    above = 0.5 * _erfc(-x * math.sqrt(0.5)) + _times_density(x, x)
    return np.where(x < -2.0, _times_density(x + _mills(x), x), above)


def _mish(x: Any, p: Any) -> Any:
    """x tanh(softplus(x)) (Misra 2019); x exp(x) below -40, the next term is 2^-58."""
    above = x * np.tanh(_softplus(x, 1.0))
    return np.where(x < -40.0, _times_exp(np.maximum(x, -_FAR), x), above)


def _mish_derivative(x: Any, p: Any) -> Any:
    x = _far(x)
    inner = _softplus(x, 1.0)
    above = np.tanh(inner) + x * _times_sigmoid(1.0, x) * _sech_squared(inner)
    return np.where(x < -40.0, _times_exp(1.0 + x, x), above)


def _hard_swish(x: Any, p: Any) -> Any:
    inner = x * (x + 3.0) / 6.0
    return np.where(x <= -3.0, 0.0, np.where(x >= 3.0, x, inner))


def _hard_swish_derivative(x: Any, p: Any) -> Any:
    inner = (2.0 * x + 3.0) / 6.0
    return np.where(x <= -3.0, 0.0, np.where(x >= 3.0, 1.0, inner))


def _tanh_shrink(x: Any, p: Any) -> Any:
    """x - tanh(x) = x q / (1 + q), q = x^2 / (3 + x^2 / (5 + ...)) (DLMF 4.39)."""
    square = np.square(np.clip(x, -2.0, 2.0))
    q = square / 31.0
    for odd in range(29, 1, -2):
        q = square / (odd + q)
    return np.where(np.abs(x) < 2.0, x * q / (1.0 + q), x - np.tanh(x))


def _soft_shrink(x: Any, p: Any) -> Any:
    return np.where(x > p, x - p, np.where(x < -p, x + p, 0.0))


def _squareplus(x: Any, p: Any) -> Any:
    """(x + r) / 2 = p / (2 (r - x)), r = sqrt(x^2 + p) (Barron 2021)."""
    root = np.hypot(x, np.sqrt(p))
    return np.where(x < 0.0, 0.5 * p / (root - x), 0.5 * root + 0.5 * x)


def _squareplus_derivative(x: Any, p: Any) -> Any:
    """(1 + x / r) / 2 = y / r; that of relu for p = 0."""
    x = np.clip(x, -1e300, 1e300)
    return np.where(p > 0.0, _squareplus(x, p) / np.hypot(x, np.sqrt(p)), x > 0.0)


@dataclass(frozen=True)
class Activation:
    """A function of one number, its derivative, and the parameter of both.

    NaN gives NaN in both; infinities give the limits.
    """

    function: Formula
    slope: Formula
    parameter: str | None = None
    default: float = 0.0

    def forward(self, x: ArrayLike, parameter: ArrayLike | None = None) -> Array:
        """f(x)."""
        return self._evaluate(self.function, x, parameter)

    def derivative(self, x: ArrayLike, parameter: ArrayLike | None = None) -> Array:
        """f'(x), from x."""
        return self._evaluate(self.slope, x, parameter)

    def _evaluate(self, f: Formula, x: ArrayLike, p: ArrayLike | None) -> Array:
        x = np.asarray(x, np.float64)
        p = np.asarray(self.default if p is None else p, np.float64)
        with np.errstate(all="ignore"):
            return np.where(np.isnan(x), np.nan, f(x, p))


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda x, p: x, lambda x, p: 1.0),
    "sigmoid": Activation(
        lambda x, p: _times_sigmoid(1.0, x),
        lambda x, p: _times_sigmoid(_times_sigmoid(1.0, np.abs(x)), -np.abs(x)),
    ),
    "log_sigmoid": Activation(
        lambda x, p: -_softplus(-x, 1.0), lambda x, p: _times_sigmoid(1.0, -x)
    ),
    "tanh": Activation(lambda x, p: np.tanh(x), lambda x, p: _sech_squared(x)),
    "relu": Activation(lambda x, p: _by_sign(x, x, 0.0), lambda x, p: x > 0.0),
    "relu6": Activation(
        lambda x, p: _by_sign(x, np.minimum(x, 6.0), 0.0),
        lambda x, p: (x > 0.0) & (x < 6.0),
    ),
    "leaky_relu": Activation(
        lambda x, p: _by_sign(x, x, p * x),
        lambda x, p: _by_sign(x, 1.0, p),
        "negative_slope",
        0.01,
    ),
    "elu": Activation(  # expm1, as exp(x) - 1 has no digits left near zero
        lambda x, p: _by_sign(x, x, p * np.expm1(x)),
        lambda x, p: _by_sign(x, 1.0, _times_exp(p, x)),
        "alpha",
        1.0,
    ),
    "selu": Activation(
        lambda x, p: _by_sign(x, _SELU_SCALE * x, _SELU_SLOPE * np.expm1(x)),
        lambda x, p: _by_sign(x, _SELU_SCALE, _times_exp(_SELU_SLOPE, x)),
    ),
    "celu": Activation(
        _celu,
        lambda x, p: _by_sign(x, 1.0, _times_exp(1.0, *_divide(x, p))),
        "alpha",
        1.0,
    ),
    "softplus": Activation(
        _softplus,
        lambda x, p: _times_sigmoid(1.0, *_multiply((p, 0.0), (x, 0.0))),
        "beta",
        1.0,
    ),
    "softsign": Activation(_softsign, lambda x, p: np.square(1.0 / (1.0 + np.abs(x)))),
    "silu": Activation(*_gated(_gate_silu)),
    "gelu": Activation(_gelu, _gelu_derivative),
    "gelu_tanh": Activation(*_gated(_gate_gelu_tanh)),
    "quick_gelu": Activation(*_gated(_gate_quick_gelu)),
    "mish": Activation(_mish, _mish_derivative),
    "hard_sigmoid": Activation(
        lambda x, p: np.clip(x + 3.0, 0.0, 6.0) / 6.0,
        lambda x, p: (np.abs(x) < 3.0) / 6.0,
    ),
    "hard_swish": Activation(_hard_swish, _hard_swish_derivative),
    "hard_tanh": Activation(
        lambda x, p: np.clip(x, -1.0, 1.0), lambda x, p: np.abs(x) < 1.0
    ),
    "tanh_shrink": Activation(_tanh_shrink, lambda x, p: np.square(np.tanh(x))),
    "soft_shrink": Activation(
        _soft_shrink, lambda x, p: np.abs(x) > p, "threshold", 0.5
    ),
    "hard_shrink": Activation(
        lambda x, p: np.where(np.abs(x) > p, x, 0.0),
        lambda x, p: np.abs(x) > p,
        "threshold",
        0.5,
    ),
    "squareplus": Activation(_squareplus, _squareplus_derivative, "b", 4.0),
    "smooth_clip": Activation(
        lambda x, p: np.where(np.isinf(x), np.sign(x) * p, x / np.hypot(1.0, x / p)),
        lambda x, p: np.hypot(1.0, x / p) ** -3,
        "limit",
        3.0,
    ),
}


# Softmax ------------------------------------------------------------------------------


def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """exp(x) / sum exp(x); a row with +inf, or of -inf alone, is NaN."""
    x = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(x - np.max(x, axis, keepdims=True, initial=-np.inf))
        return np.asarray(powers / np.sum(powers, axis, keepdims=True))


def log_softmax(x: ArrayLike, axis: int = -1) -> Array:
    """x - max - log1p(sum over all but the largest entry of exp(x - max))."""
    x = np.asarray(x, np.float64)
    if x.size == 0:
        return x.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = x - np.max(x, axis, keepdims=True)
        powers = np.exp(shifted)
        largest = np.expand_dims(np.argmax(x, axis), axis)
        rest = np.take_along_axis(powers, largest, axis) - 1.0  # 0, or NaN
        np.put_along_axis(powers, largest, rest, axis)
        return np.asarray(shifted - np.log1p(np.sum(powers, axis, keepdims=True)))


def softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """y (dy - sum(dy y)), y being the softmax."""
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return np.asarray(y * (dy - np.sum(dy * y, axis, keepdims=True)))


def log_softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """dy - exp(y) sum(dy), y being the log_softmax."""
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return np.asarray(dy - np.exp(y) * np.sum(dy, axis, keepdims=True))


# Dense layer --------------------------------------------------------------------------


def dense(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    activation: str = "identity",
    parameter: float | None = None,
) -> tuple[Array, Array]:
    """y = f(z) and z = x kernel + bias; x is (batch, in), kernel (in, out)."""
    z = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64)
    if bias is not None:
        z = z + np.asarray(bias, np.float64)
    if activation == "softmax":
        return softmax(z), z
    if activation == "log_softmax":
        return log_softmax(z), z
    return ACTIVATIONS[activation].forward(z, parameter), z


def dense_backward(
    dy: ArrayLike,
    x: ArrayLike,
    kernel: ArrayLike,
    z: ArrayLike,
    activation: str = "identity",
    parameter: float | None = None,
) -> tuple[Array, Array, Array]:
    """dx, dkernel and dbias from the pre-activation z."""
    dy, x, kernel = (np.asarray(a, np.float64) for a in (dy, x, kernel))
    if activation == "softmax":
        dz = softmax_backward(dy, softmax(z))
    elif activation == "log_softmax":
        dz = log_softmax_backward(dy, log_softmax(z))
    else:
        dz = dy * ACTIVATIONS[activation].derivative(z, parameter)
    return dz @ kernel.T, x.T @ dz, np.sum(dz, axis=0)


# Layers with numbers of their own for each feature ------------------------------------


def scale(x: ArrayLike, factor: ArrayLike) -> Array:
    return np.asarray(x, np.float64) * np.asarray(factor, np.float64)


def robust_scale(
    x: ArrayLike, rows: ArrayLike | None = None, limit: float = 3.0
) -> Array:
    """By the quartiles of those rows, or of x itself; half the range where they are
    equal, and nothing where all are (Holzmueller, Grinsztajn & Steinwart 2024)."""
    x = np.asarray(x, np.float64)
    rows = x if rows is None else np.asarray(rows, np.float64)
    q25, median, q75 = np.percentile(rows, (25, 50, 75), axis=0)
    half = np.ptp(rows, axis=0) / 2
    spread = np.where(q75 > q25, q75 - q25, half)
    factor = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    return ACTIVATIONS["smooth_clip"].forward((x - median) * factor, limit)


def prelu(x: ArrayLike, slope: ArrayLike) -> Array:
    x = np.asarray(x, np.float64)
    return np.where(x > 0, x, x * np.asarray(slope, np.float64))


def mixed(x: ArrayLike, share: ArrayLike, activation: str) -> Array:
    """x + share (f(x) - x)"""
    x, share = np.asarray(x, np.float64), np.asarray(share, np.float64)
    y: Array = x + share * (ACTIVATIONS[activation].forward(x) - x)
    return y


def layer_norm(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, epsilon: float
) -> Array:
    x = np.asarray(x, np.float64)
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    normal: Array = (x - mean) / np.sqrt(variance + epsilon)
    return normal * np.asarray(gamma, np.float64) + np.asarray(beta, np.float64)


def batch_norm(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    epsilon: float,
    mean: ArrayLike | None = None,
    variance: ArrayLike | None = None,
) -> Array:
    """By the moments of the batch, unless others are given."""
    x = np.asarray(x, np.float64)
    mean = x.mean(axis=0) if mean is None else np.asarray(mean, np.float64)
    variance = x.var(axis=0) if variance is None else np.asarray(variance, np.float64)
    normal: Array = (x - mean) / np.sqrt(variance + epsilon)
    return normal * np.asarray(gamma, np.float64) + np.asarray(beta, np.float64)


def embedding(x: ArrayLike, tables: Mapping[int, ArrayLike]) -> Array:
    """Columns of codes become rows of their tables; the last is that of what is no
    code."""
    x = np.asarray(x, np.float64)
    made = [np.delete(x, [*tables], axis=1)]
    for column, table in tables.items():
        vectors = np.asarray(table, np.float64)
        known = [float(code) for code in range(len(vectors) - 1)]
        rows = [known.index(v) if v in known else -1 for v in x[:, column].tolist()]
        made.append(vectors[rows])
    return np.concatenate(made, axis=1)


def piecewise_linear(
    x: ArrayLike, columns: Sequence[int], edges: Any, kernel: Any, bias: Any
) -> Array:
    """The other columns, and of each of these the encoding by its edges times its
    kernel."""
    x = np.asarray(x, np.float64)
    made = [np.delete(x, [*columns], axis=1)]
    for k, column in enumerate(columns):
        edge = np.asarray(edges[k], np.float64)
        low, high = edge[:-1], edge[1:]
        within = np.isfinite(high)
        low, high = low[within], high[within]
        code = (x[:, [column]] - low) / (high - low)
        code[:, 1:] = np.maximum(code[:, 1:], 0)
        code[:, :-1] = np.minimum(code[:, :-1], 1)
        weights = np.asarray(kernel[k], np.float64)[: len(low)]
        made.append(code @ weights + np.asarray(bias[k], np.float64))
    return np.concatenate(made, axis=1)


def periodic(
    x: ArrayLike,
    columns: Sequence[int],
    frequencies: Any,
    kernel: Any,
    bias: Any,
    phases: Any = None,
) -> Array:
    """With phases all columns, else the others, and of each of these the kernel's map
    of its cosines, or of its cosines and sines."""
    x = np.asarray(x, np.float64)
    made = [x if phases is not None else np.delete(x, [*columns], axis=1)]
    for k, column in enumerate(columns):
        angles = 2 * np.pi * (x[:, [column]] * np.asarray(frequencies[k], np.float64))
        if phases is None:
            waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        else:
            waves = np.cos(angles + np.asarray(phases[k], np.float64))
        weights = np.asarray(kernel[k], np.float64)
        made.append(waves @ weights + np.asarray(bias[k], np.float64))
    return np.concatenate(made, axis=1)


# Random bits and dropout --------------------------------------------------------------


def philox4x32(counter: ArrayLike, key: ArrayLike, rounds: int = 10) -> Words:
    """Philox4x32 (Salmon et al. 2011); counter (n, 4), key (2,) or (n, 2), uint32."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = np.asarray(counter, np.uint32).astype(np.uint64).T
    k0, k1 = np.asarray(key, np.uint32).astype(np.uint64).T
    for _ in range(rounds):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = (p1 >> half) ^ c1 ^ k0, p1 & low
        c2, c3 = (p0 >> half) ^ c3 ^ k1, p0 & low
        k0 = (k0 + np.uint64(0x9E3779B9)) & low
        k1 = (k1 + np.uint64(0xBB67AE85)) & low
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _words(
    number: NDArray[np.uint64], word: NDArray[np.uint64], seed: int, stream: int
) -> Words:
    """Output `word` of each counter number, one per element."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    s = np.full_like(number, stream)
    counter = np.stack([number & low, number >> half, s & low, s >> half], axis=-1)
    outputs = philox4x32(counter, [seed & 0xFFFFFFFF, seed >> 32])
    return np.take_along_axis(outputs, word.astype(np.intp)[:, None], axis=1)[:, 0]


def random_words(n: int, seed: int, stream: int = 0, offset: int = 0) -> Words:
    """Words offset ... offset + n - 1 of a stream.

    Word e is output (e // 16) % 4 of counter number 16 (e // 64) + e % 16.
    """
    e = np.arange(n, dtype=np.uint64) + np.uint64(offset)
    return _words(e // 64 * 16 + e % 16, e // 16 % 4, seed, stream)


def dropout_bits(
    n: int, seed: int, offset: int = 0, stream: int = 0
) -> NDArray[np.uint16]:
    """The 16 bits of elements offset ... offset + n - 1.

    Blocks are 128 elements, 16 counters; element e reads half (e // 16) % 2, low first,
    of output (e // 32) % 4 of counter number 16 (e // 128) + e % 16.
    """
    e = np.arange(n, dtype=np.uint64) + np.uint64(offset)
    words = _words(e // 128 * 16 + e % 16, e // 32 % 4, seed, stream)
    return (words >> (e // 16 % 2 * 16).astype(np.uint32)).astype(np.uint16)


def threshold(rate: float) -> int:
    """How many of the 65536 values of the 16 bits drop an element; ties to even."""
    return round(rate * 65536)


def dropout(
    x: ArrayLike,
    rate: float,
    seed: int,
    offset: int = 0,
    stream: int = 0,
    mode: Literal["inverted", "classic", "alpha"] = "inverted",
) -> Array:
    """Zero where bits < threshold; else x times 65536 / (65536 - threshold), or x.

    Alpha dropout: a x + b, with selu's limit for x where bits < threshold (Klambauer et
    al. 2017, section "New Dropout Technique").
    """
    x = np.asarray(x, np.float64)
    limit = threshold(rate)
    kept = dropout_bits(x.size, seed, offset, stream).reshape(x.shape) >= limit
    q = (65536 - limit) / 65536
    if mode == "alpha" and 0.0 < q < 1.0:
        lowest = -_SELU_SLOPE
        a = 1.0 / math.sqrt(q + lowest**2 * q * (1.0 - q))
        b = -a * (1.0 - q) * lowest
        return a * np.where(kept, x, lowest) + b
    scale = 1.0 / q if mode == "inverted" and q else 1.0
    return np.where(kept, x * scale, 0.0)


def gaussian_noise(
    x: ArrayLike, stddev: float, seed: int, offset: int = 0, stream: int = 0
) -> Array:
    """x + stddev * normal quantile of (word + 1/2) / 2^32, a word an element."""
    x = np.asarray(x, np.float64)
    words = random_words(x.size, seed, stream, offset).reshape(x.shape)
    quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])
    normal: Array = quantile((words + 0.5) / 2.0**32)
    return x + stddev * normal


# Losses: each returns its mean and the gradient of that mean --------------------------


def _times(weight: Array, value: Array) -> Array:
    """weight * value where 0 * inf is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(weight == 0.0, 0.0, weight * value)


def _mean(
    losses: Array, slopes: Array, weights: ArrayLike | None
) -> tuple[float, Array]:
    """The mean over rows of weight times loss, the mean of the row's terms."""
    n = len(losses)
    w = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    of_rows = losses.reshape(n, -1)
    slope = _times(w[:, np.newaxis], slopes.reshape(n, -1)).reshape(slopes.shape)
    share = of_rows.shape[1] * n
    return float(np.sum(_times(w[:, np.newaxis], of_rows)) / share), slope / share


def categorical_crossentropy(
    logits: ArrayLike,
    targets: ArrayLike,
    label_smoothing: float = 0.0,
    weights: ArrayLike | None = None,
) -> tuple[float, Array]:
    """Mean over rows of -sum(t log softmax(logits)); t: labels (n,) or (n, classes).

    Smoothed by s, t is (1 - s) t + s / classes.
    """
    z = np.asarray(logits, np.float64)
    t = np.asarray(targets)
    t = np.eye(z.shape[1])[t] if t.ndim == 1 else t.astype(np.float64)
    t = (1.0 - label_smoothing) * t + label_smoothing / z.shape[1]
    losses = -np.sum(_times(t, log_softmax(z)), axis=1)
    return _mean(losses, softmax(z) * np.sum(t, axis=1, keepdims=True) - t, weights)


def binary_crossentropy(
    logits: ArrayLike,
    targets: ArrayLike,
    label_smoothing: float = 0.0,
    pos_weight: float = 1.0,
    weights: ArrayLike | None = None,
) -> tuple[float, Array]:
    """Mean over elements of -(p t log s + (1 - t) log(1 - s)), s = sigmoid(logits).

    Smoothed by s, t is (1 - s) t + s / 2.
    """
    z = np.asarray(logits, np.float64)
    t = np.asarray(targets, np.float64).reshape(z.shape)
    t = (1.0 - label_smoothing) * t + label_smoothing / 2.0
    log_sigmoid = ACTIVATIONS["log_sigmoid"]
    losses = _times(pos_weight * t, log_sigmoid.forward(z))
    losses = losses + _times(1.0 - t, log_sigmoid.forward(-z))
    slopes = (1.0 - t) * log_sigmoid.derivative(-z)
    return _mean(-losses, slopes - pos_weight * t * log_sigmoid.derivative(z), weights)


def _error(outputs: ArrayLike, targets: ArrayLike) -> Array:
    y = np.asarray(outputs, np.float64)
    return y - np.asarray(targets, np.float64).reshape(y.shape)


def mean_squared_error(
    outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, Array]:
    """Mean over elements of (y - t)^2."""
    error = _error(outputs, targets)
    return _mean(np.square(error), 2.0 * error, weights)


def mean_absolute_error(
    outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, Array]:
    """Mean over elements of |y - t|."""
    error = _error(outputs, targets)
    return _mean(np.abs(error), np.sign(error), weights)


def huber(
    outputs: ArrayLike,
    targets: ArrayLike,
    delta: float = 1.0,
    weights: ArrayLike | None = None,
) -> tuple[float, Array]:
    """Mean of e^2 / 2 for e = |y - t| <= delta, else delta (e - delta / 2)."""
    error = _error(outputs, targets)
    size = np.abs(error)
    losses = np.where(
        size > delta, delta * (size - delta / 2.0), np.square(error) / 2.0
    )
    return _mean(losses, np.clip(error, -delta, delta), weights)


def pinball(
    outputs: ArrayLike,
    targets: ArrayLike,
    quantile: float = 0.5,
    weights: ArrayLike | None = None,
) -> tuple[float, Array]:
    """Mean over elements of max(q (t - y), (q - 1) (t - y))."""
    error = _error(outputs, targets)
    slopes = np.where(error > 0, 1.0 - quantile, -quantile) * (error != 0)
    return _mean(error * slopes, slopes, weights)


def poisson(
    log_rates: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, Array]:
    """Mean over elements of exp(y) - t y, infinite where y is infinite and t > 0."""
    y = np.asarray(log_rates, np.float64)
    t = np.asarray(targets, np.float64).reshape(y.shape)
    with np.errstate(over="ignore"):
        rates = np.exp(y)
    losses = rates - np.where(rates == np.inf, 0.0, _times(t, y))
    return _mean(losses, rates - t, weights)


# Optimizers: each returns the new values of what it was given -------------------------


def sgd(
    w: ArrayLike,
    dw: ArrayLike,
    velocity: ArrayLike,
    rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Array]:
    """v = momentum v + dw; w - rate v, or w - rate (dw + momentum v) (Nesterov)."""
    w, dw, v = (np.asarray(a, np.float64) for a in (w, dw, velocity))
    v = momentum * v + dw
    return w - rate * (dw + momentum * v if nesterov else v), v


def adam(
    w: ArrayLike,
    dw: ArrayLike,
    m: ArrayLike,
    v: ArrayLike,
    step: int,
    rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_hat: bool = False,
) -> tuple[Array, Array, Array]:
    """Step number 1, 2, ... of Kingma and Ba 2015, Algorithm 1, or, with epsilon hat,
    the form at the end of their section 2."""
    w, dw, m, v = (np.asarray(a, np.float64) for a in (w, dw, m, v))
    m = beta1 * m + (1.0 - beta1) * dw
    v = beta2 * v + (1.0 - beta2) * np.square(dw)
    if epsilon_hat:
        rate = rate * np.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)
        return w - rate * m / (np.sqrt(v) + epsilon), m, v
    corrected_m, corrected_v = m / (1.0 - beta1**step), v / (1.0 - beta2**step)
    return w - rate * corrected_m / (np.sqrt(corrected_v) + epsilon), m, v


def rmsprop(
    w: ArrayLike,
    dw: ArrayLike,
    s: ArrayLike,
    velocity: ArrayLike,
    mean: ArrayLike,
    rate: float = 1e-3,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-8,
    centered: bool = False,
) -> tuple[Array, Array, Array, Array]:
    """Tieleman and Hinton 2012; the mean is of use, and kept, only if centered."""
    w, dw, s, v, m = (np.asarray(a, np.float64) for a in (w, dw, s, velocity, mean))
    s = rho * s + (1.0 - rho) * np.square(dw)
    m = rho * m + (1.0 - rho) * dw if centered else m
    v = momentum * v + dw / (np.sqrt(s - np.square(m)) + epsilon)
    return w - rate * v, s, v, m


def adagrad(
    w: ArrayLike,
    dw: ArrayLike,
    s: ArrayLike,
    rate: float = 0.01,
    epsilon: float = 1e-10,
) -> tuple[Array, Array]:
    """Duchi et al. 2011, the diagonal form."""
    w, dw, s = (np.asarray(a, np.float64) for a in (w, dw, s))
    s = s + np.square(dw)
    return w - rate * dw / (np.sqrt(s) + epsilon), s


def adamw(
    w: ArrayLike,
    dw: ArrayLike,
    m: ArrayLike,
    v: ArrayLike,
    step: int,
    rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> tuple[Array, Array, Array]:
    """Loshchilov and Hutter 2019, the decay times the rate as PyTorch has it."""
    w = np.asarray(w, np.float64)
    decayed = w - rate * weight_decay * w
    return adam(decayed, dw, m, v, step, rate, beta1, beta2, epsilon)


def lion(
    w: ArrayLike,
    dw: ArrayLike,
    m: ArrayLike,
    rate: float = 1e-4,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
) -> tuple[Array, Array]:
    """Chen et al. 2023, Algorithm 2."""
    w, dw, m = (np.asarray(a, np.float64) for a in (w, dw, m))
    c = beta1 * m + (1.0 - beta1) * dw
    w = w - rate * (np.sign(c) + weight_decay * w)
    return w, beta2 * m + (1.0 - beta2) * dw


def limit_norm(x: ArrayLike, limit: float, axis: int | None = None) -> Array:
    """x, scaled to the limit where its norm (along the axis) is finite and above."""
    x = np.asarray(x, np.float64)
    norm = np.sqrt(np.sum(np.square(x), axis=axis, keepdims=True))
    above = np.isfinite(norm) & (norm > limit)
    return np.where(above, x * (limit / np.where(above, norm, 1.0)), x)
