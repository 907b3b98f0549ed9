"""NumPy's best form of every function, each written once.

Forms allocate nothing: results go to the array named `y` or `dx`, and `s`, `t` are
scratch of the same shape, `z` zeros of it. Each is the fastest of those tried that
holds on the inputs of the benchmarks and loses no more than rounding there.
What was learnt about NumPy on the way:

- constants are arrays of no dimension, which cost half a microsecond less than numbers;
- a comparison may write 0 and 1 into a float32 `out`, which beats a mask of booleans;
- np.maximum is fast with an array of zeros and slow with one number; beyond the cache
  the method clip, which reads one array less, is faster still;
- tanh is NumPy's fastest transcendental function, so sigmoids are made of it;
- the method dot costs less to call than np.matmul, and sums rows faster than np.sum;
- SFC64's raw bits, sixteen an element, are twice as fast as Generator.random.
"""

import math
import os
from typing import Any, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
DTYPE = os.environ.get("BENCH_DTYPE", "float32")  # of arrays and constants alike


def _constant(value: float) -> Array:
    return np.array(value, DTYPE)


ZERO, HALF, ONE, TWO, FOUR = map(_constant, (0.0, 0.5, 1.0, 2.0, 4.0))
THREE, SIX, SIXTH, INFINITY = map(_constant, (3.0, 6.0, 1 / 6, np.inf))
SLOPE, ONE_LESS_SLOPE = map(_constant, (0.01, 0.99))
SELU_SCALE, SELU_SLOPE = map(_constant, (1.0507009873554805, 1.7580993408473769))
SELU_STEP = SELU_SCALE - SELU_SLOPE
ROOT_HALF, TWICE_DENSITY = map(_constant, (0.5**0.5, (2 / np.pi) ** 0.5))
CUBIC, THRICE_CUBIC = map(_constant, (0.035677408136300125, 0.10703222440890037))
QUICK, HALF_QUICK = map(_constant, (1.702, 0.851))

BEYOND_CACHE = 1 << 17  # elements

# Backward of the others reads y.
BACKWARD_FROM_INPUT = {
    "silu",
    "gelu",
    "gelu_tanh",
    "quick_gelu",
    "mish",
    "hard_sigmoid",
    "hard_swish",
    "tanh_shrink",
}


# Activations: x to y ------------------------------------------------------------------


def identity(x: Array, y: Array, *_: Array) -> Any:
    np.copyto(y, x)
    return y


def sigmoid(x: Array, y: Array, *_: Array) -> Any:
    np.multiply(x, HALF, out=y)
    np.tanh(y, out=y)
    np.multiply(y, HALF, out=y)
    return np.add(y, HALF, out=y)


def log_sigmoid(x: Array, y: Array, z: Array, s: Array, *_: Array) -> Any:
    _log1p_of_decay(x, y)
    _negative_part(x, s, z)
    return np.subtract(s, y, out=y)


def tanh(x: Array, y: Array, *_: Array) -> Any:
    return np.tanh(x, out=y)


def relu(x: Array, y: Array, z: Array, *_: Array) -> Any:
    if x.size < BEYOND_CACHE:
        return np.maximum(x, z, out=y)
    return x.clip(ZERO, INFINITY, out=y)


def relu6(x: Array, y: Array, *_: Array) -> Any:
    return x.clip(ZERO, SIX, out=y)


def leaky_relu(x: Array, y: Array, *_: Array) -> Any:
    np.multiply(x, SLOPE, out=y)
    return np.maximum(x, y, out=y)


def elu(x: Array, y: Array, z: Array, *_: Array) -> Any:
    _negative_part(x, y, z)
    np.expm1(y, out=y)
    return np.maximum(x, y, out=y)


def selu(x: Array, y: Array, z: Array, s: Array, *_: Array) -> Any:
    _negative_part(x, y, z)
    np.expm1(y, out=y)
    np.multiply(y, SELU_SLOPE, out=y)
    relu(x, s, z)
    np.multiply(s, SELU_SCALE, out=s)
    return np.add(y, s, out=y)


celu = elu  # the same at alpha = 1


def softplus(x: Array, y: Array, z: Array, s: Array, *_: Array) -> Any:
    _log1p_of_decay(x, y)
    relu(x, s, z)
    return np.add(s, y, out=y)


def softsign(x: Array, y: Array, *_: Array) -> Any:
    np.abs(x, out=y)
    np.add(y, ONE, out=y)
    return np.divide(x, y, out=y)


def silu(x: Array, y: Array, z: Array, s: Array, *_: Array) -> Any:
    np.multiply(x, HALF, out=s)
    np.tanh(s, out=y)
    np.multiply(y, s, out=y)
    return np.add(y, s, out=y)


def gelu(x: Array, y: Array, z: Array, s: Array, *_: Array) -> Any:
    np.multiply(x, ROOT_HALF, out=y)
    scipy.special.erf(y, out=y)
    np.multiply(x, HALF, out=s)
    np.multiply(y, s, out=y)
    return np.add(y, s, out=y)


def gelu_tanh(x: Array, y: Array, z: Array, s: Array, *_: Array) -> Any:
    np.multiply(x, x, out=y)
    np.multiply(y, CUBIC, out=y)
    np.add(y, TWICE_DENSITY, out=y)
    np.multiply(y, x, out=y)
    np.tanh(y, out=y)
    np.multiply(x, HALF, out=s)
    np.multiply(y, s, out=y)
    return np.add(y, s, out=y)


def quick_gelu(x: Array, y: Array, *_: Array) -> Any:
    np.multiply(x, -QUICK, out=y)
    np.exp(y, out=y)
    np.add(y, ONE, out=y)
    return np.divide(x, y, out=y)


def mish(x: Array, y: Array, *_: Array) -> Any:
    np.exp(x, out=y)
    np.log1p(y, out=y)
    np.tanh(y, out=y)
    return np.multiply(x, y, out=y)


def hard_sigmoid(x: Array, y: Array, *_: Array) -> Any:
    np.add(x, THREE, out=y)
    y.clip(ZERO, SIX, out=y)
    return np.multiply(y, SIXTH, out=y)


def hard_swish(x: Array, y: Array, *_: Array) -> Any:
    hard_sigmoid(x, y)
    return np.multiply(x, y, out=y)


def hard_tanh(x: Array, y: Array, *_: Array) -> Any:
    return x.clip(-ONE, ONE, out=y)


def tanh_shrink(x: Array, y: Array, *_: Array) -> Any:
    np.tanh(x, out=y)
    return np.subtract(x, y, out=y)


def soft_shrink(x: Array, y: Array, *_: Array) -> Any:
    x.clip(-HALF, HALF, out=y)
    return np.subtract(x, y, out=y)


def hard_shrink(x: Array, y: Array, *_: Array) -> Any:
    np.abs(x, out=y)
    np.greater(y, HALF, out=y)
    return np.multiply(x, y, out=y)


def squareplus(x: Array, y: Array, *_: Array) -> Any:
    np.multiply(x, x, out=y)
    np.add(y, FOUR, out=y)
    np.sqrt(y, out=y)
    np.add(x, y, out=y)
    return np.multiply(y, HALF, out=y)


def smooth_clip(x: Array, y: Array, *_: Array) -> Any:
    np.divide(x, THREE, out=y)
    np.multiply(y, y, out=y)
    np.add(y, ONE, out=y)
    np.sqrt(y, out=y)
    return np.divide(x, y, out=y)


def _negative_part(x: Array, y: Array, z: Array) -> Any:
    if x.size < BEYOND_CACHE:
        return np.minimum(x, z, out=y)
    return x.clip(-INFINITY, ZERO, out=y)


def _log1p_of_decay(x: Array, y: Array) -> Any:
    """log(1 + exp(-|x|)), of which softplus and log_sigmoid are made."""
    np.abs(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    return np.log1p(y, out=y)


# Their backward: dy and the saved tensor, y or x, to dx -------------------------------


def identity_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.copyto(dx, dy)
    return dx


def sigmoid_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.subtract(ONE, y, out=dx)
    np.multiply(dx, y, out=dx)
    return np.multiply(dx, dy, out=dx)


def log_sigmoid_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.exp(y, out=dx)
    np.subtract(ONE, dx, out=dx)
    return np.multiply(dx, dy, out=dx)


def tanh_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.multiply(y, y, out=dx)
    np.subtract(ONE, dx, out=dx)
    return np.multiply(dx, dy, out=dx)


def relu_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.greater(y, ZERO, out=dx)
    return np.multiply(dx, dy, out=dx)


def relu6_backward(
    dy: Array, y: Array, dx: Array, z: Array, s: Array, *_: Array
) -> Any:
    np.greater(y, ZERO, out=dx)
    np.less(y, SIX, out=s)
    np.multiply(dx, s, out=dx)
    return np.multiply(dx, dy, out=dx)


def leaky_relu_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.greater(y, ZERO, out=dx)
    np.multiply(dx, ONE_LESS_SLOPE, out=dx)
    np.add(dx, SLOPE, out=dx)
    return np.multiply(dx, dy, out=dx)


def elu_backward(dy: Array, y: Array, dx: Array, z: Array, *_: Array) -> Any:
    _negative_part(y, dx, z)
    np.add(dx, ONE, out=dx)
    return np.multiply(dx, dy, out=dx)


def selu_backward(dy: Array, y: Array, dx: Array, z: Array, s: Array, *_: Array) -> Any:
    _negative_part(y, dx, z)
    np.add(dx, SELU_SLOPE, out=dx)
    np.greater(y, ZERO, out=s)
    np.multiply(s, SELU_STEP, out=s)
    np.add(dx, s, out=dx)
    return np.multiply(dx, dy, out=dx)


celu_backward = elu_backward


def softplus_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.negative(y, out=dx)
    np.exp(dx, out=dx)
    np.subtract(ONE, dx, out=dx)
    return np.multiply(dx, dy, out=dx)


def softsign_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.abs(y, out=dx)
    np.subtract(ONE, dx, out=dx)
    np.multiply(dx, dx, out=dx)
    return np.multiply(dx, dy, out=dx)


def silu_backward(
    dy: Array, x: Array, dx: Array, z: Array, s: Array, t: Array, half: Array = HALF
) -> Any:
    """dy (1 + tanh u) (1 + u (1 - tanh u)) / 2, u = x / 2."""
    np.multiply(x, half, out=s)
    np.tanh(s, out=dx)
    np.subtract(ONE, dx, out=t)
    np.multiply(t, s, out=t)
    np.add(t, ONE, out=t)
    np.add(dx, ONE, out=dx)
    np.multiply(dx, t, out=dx)
    np.multiply(dx, HALF, out=dx)
    return np.multiply(dx, dy, out=dx)


def gelu_backward(dy: Array, x: Array, dx: Array, z: Array, s: Array, *_: Array) -> Any:
    """dy (1 + erf u + sqrt(2 / pi) x exp(-u^2)) / 2, u = x / sqrt 2."""
    np.multiply(x, ROOT_HALF, out=s)
    scipy.special.erf(s, out=dx)
    np.multiply(s, s, out=s)
    np.negative(s, out=s)
    np.exp(s, out=s)
    np.multiply(s, x, out=s)
    np.multiply(s, TWICE_DENSITY, out=s)
    np.add(dx, s, out=dx)
    np.add(dx, ONE, out=dx)
    np.multiply(dx, HALF, out=dx)
    return np.multiply(dx, dy, out=dx)


def gelu_tanh_backward(
    dy: Array, x: Array, dx: Array, z: Array, s: Array, t: Array
) -> Any:
    """dy (1 + tanh u + x u' (1 - tanh^2 u)) / 2."""
    np.multiply(x, x, out=s)
    np.multiply(s, CUBIC, out=dx)
    np.add(dx, TWICE_DENSITY, out=dx)
    np.multiply(dx, x, out=dx)
    np.tanh(dx, out=dx)
    np.multiply(s, THRICE_CUBIC, out=s)
    np.add(s, TWICE_DENSITY, out=s)
    np.multiply(s, x, out=s)
    np.multiply(dx, dx, out=t)
    np.subtract(ONE, t, out=t)
    np.multiply(s, t, out=s)
    np.add(dx, s, out=dx)
    np.add(dx, ONE, out=dx)
    np.multiply(dx, HALF, out=dx)
    return np.multiply(dx, dy, out=dx)


def quick_gelu_backward(
    dy: Array, x: Array, dx: Array, z: Array, s: Array, t: Array
) -> Any:
    return silu_backward(dy, x, dx, z, s, t, half=HALF_QUICK)


def mish_backward(dy: Array, x: Array, dx: Array, z: Array, s: Array, t: Array) -> Any:
    """dy w (n + 4 x w (n - e)), e = exp x, n = e (e + 2), w = 1 / (n + 2)."""
    np.exp(x, out=s)
    np.add(s, TWO, out=dx)
    np.multiply(dx, s, out=dx)
    np.add(dx, TWO, out=t)
    np.reciprocal(t, out=t)
    np.subtract(dx, s, out=s)
    np.multiply(s, t, out=s)
    np.multiply(s, x, out=s)
    np.multiply(s, FOUR, out=s)
    np.add(dx, s, out=dx)
    np.multiply(dx, t, out=dx)
    return np.multiply(dx, dy, out=dx)


def hard_sigmoid_backward(dy: Array, x: Array, dx: Array, *_: Array) -> Any:
    np.abs(x, out=dx)
    np.less(dx, THREE, out=dx)
    np.multiply(dx, SIXTH, out=dx)
    return np.multiply(dx, dy, out=dx)


def hard_swish_backward(
    dy: Array, x: Array, dx: Array, z: Array, s: Array, *_: Array
) -> Any:
    """dy (c / 6 + 1 / 2 + (x / 6 where c = x)), c = clip(x, -3, 3)."""
    x.clip(-THREE, THREE, out=dx)
    np.equal(x, dx, out=s)
    np.multiply(s, dx, out=s)
    np.add(dx, s, out=dx)
    np.multiply(dx, SIXTH, out=dx)
    np.add(dx, HALF, out=dx)
    return np.multiply(dx, dy, out=dx)


def hard_tanh_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.abs(y, out=dx)
    np.less(dx, ONE, out=dx)
    return np.multiply(dx, dy, out=dx)


def tanh_shrink_backward(dy: Array, x: Array, dx: Array, *_: Array) -> Any:
    np.tanh(x, out=dx)
    np.multiply(dx, dx, out=dx)
    return np.multiply(dx, dy, out=dx)


def soft_shrink_backward(dy: Array, y: Array, dx: Array, *_: Array) -> Any:
    np.not_equal(y, ZERO, out=dx)
    return np.multiply(dx, dy, out=dx)


hard_shrink_backward = soft_shrink_backward


def squareplus_backward(
    dy: Array, y: Array, dx: Array, z: Array, s: Array, *_: Array
) -> Any:
    np.multiply(y, y, out=s)
    np.add(s, ONE, out=dx)
    np.divide(s, dx, out=dx)
    return np.multiply(dx, dy, out=dx)


def smooth_clip_backward(
    dy: Array, y: Array, dx: Array, z: Array, s: Array, *_: Array
) -> Any:
    np.divide(y, THREE, out=s)
    np.multiply(s, s, out=s)
    np.subtract(ONE, s, out=s)
    np.sqrt(s, out=dx)
    np.multiply(dx, s, out=dx)
    return np.multiply(dx, dy, out=dx)


# Rows: `row` is scratch of shape (rows, 1), `ones` of shape (columns, 1) --------------


def softmax(x: Array, y: Array, row: Array, ones: Array, s: Array) -> Any:
    _row_maximum(x, row, s)
    np.subtract(x, row, out=y)
    np.exp(y, out=y)
    y.dot(ones, out=row)
    return np.divide(y, row, out=y)


def softmax_backward(
    dy: Array, y: Array, dx: Array, row: Array, ones: Array, s: Array
) -> Any:
    np.vecdot(dy, y, out=row, keepdims=True)  # type: ignore[call-overload]
    np.subtract(dy, row, out=dx)
    return np.multiply(dx, y, out=dx)


def log_softmax(x: Array, y: Array, row: Array, ones: Array, s: Array) -> Any:
    _row_maximum(x, row, s)
    np.subtract(x, row, out=y)
    np.exp(y, out=s)
    s.dot(ones, out=row)
    np.log(row, out=row)
    return np.subtract(y, row, out=y)


def log_softmax_backward(
    dy: Array, y: Array, dx: Array, row: Array, ones: Array, s: Array
) -> Any:
    dy.dot(ones, out=row)
    np.exp(y, out=dx)
    np.multiply(dx, row, out=dx)
    return np.subtract(dy, dx, out=dx)


def _row_maximum(x: Array, row: Array, s: Array) -> None:
    if x.shape[1] > 32:
        np.maximum.reduce(x, axis=1, keepdims=True, out=row)
    else:  # NumPy starts anew on each row: turn short ones into columns
        columns = s.reshape(x.shape[::-1])
        np.copyto(columns, x.T)
        np.maximum.reduce(columns, axis=0, keepdims=True, out=row.T)


# Dense and dropout --------------------------------------------------------------------


def matmul(a: Array, b: Array, c: Array) -> Any:
    return a.dot(b, out=c)


def dense(x: Array, kernel: Array, bias: Array, y: Array, z: Array) -> Any:
    x.dot(kernel, out=y)
    np.add(y, bias, out=y)
    return relu(y, y, z)


def dense_backward(
    dy: Array,
    x: Array,
    kernel: Array,
    y: Array,
    out: tuple[Array, Array, Array],
    dz: Array,
    ones: Array,
) -> Any:
    dx, dkernel, dbias = out
    relu_backward(dy, y, dz)
    dz.dot(kernel.T, out=dx)
    x.T.dot(dz, out=dkernel)
    ones.dot(dz, out=dbias)
    return out


def dropout(
    x: Array,
    y: Array,
    mask: Array,
    generator: np.random.SFC64,
    threshold: NDArray[np.uint16],
    scale: Array,
) -> Any:
    """The mask, 0 or the scale, stays for backward."""
    words = generator.random_raw(-(-x.size // 4))
    np.greater_equal(words.view(np.uint16)[: x.size], threshold, out=mask)
    np.multiply(mask, scale, out=mask)
    return np.multiply(x, mask, out=y)


def dropout_backward(dy: Array, mask: Array, dx: Array) -> Any:
    return np.multiply(dy, mask, out=dx)


# Losses: their value, and their gradient into `g` ------------------------------------


def softmax_cross_entropy(
    x: Array,
    labels: Array,
    g: Array,
    row: Array,
    ones: Array,
    s: Array,
    starts: Array,
    places: Array,
    terms: Array,
) -> Any:
    """`starts` are those of the rows in memory; `places` and `terms` are scratch."""
    _row_maximum(x, row, s)
    np.subtract(x, row, out=g)
    np.add(starts, labels, out=places)
    g.take(places, out=terms, mode="clip")  # which spares a buffer for `out`
    np.exp(g, out=g)
    g.dot(ones, out=row)
    np.multiply(row, len(x), out=row)
    np.divide(g, row, out=g)
    g.reshape(-1)[places] -= 1 / len(x)
    np.log(row, out=row)
    np.subtract(row[:, 0], terms, out=terms)
    return terms.sum() / len(x) - math.log(len(x)), g


def sigmoid_cross_entropy(
    x: Array, targets: Array, g: Array, s: Array, ones: Array, share: Array
) -> Any:
    """log(1 + e^x) - t x and e^x / (1 + e^x) - t; `share` is 1 / n, arrays are flat."""
    np.exp(x, out=g)
    np.add(g, ONE, out=s)
    np.divide(g, s, out=g)
    np.log(s, out=s)
    loss = (s.dot(ones) - x.dot(targets)) / x.size
    np.subtract(g, targets, out=g)
    np.multiply(g, share, out=g)
    return loss, g


def squared_error(y: Array, targets: Array, g: Array, share: Array) -> Any:
    """`share` is 2 / n, arrays are flat."""
    np.subtract(y, targets, out=g)
    np.multiply(g, share, out=g)
    return g.dot(g) * (g.size / 4), g


# Optimizers, in place; `s` is scratch -------------------------------------------------


def sgd(w: Array, dw: Array, s: Array, rate: Array) -> Any:
    np.multiply(dw, rate, out=s)
    return np.subtract(w, s, out=w)


def sgd_momentum(
    w: Array, dw: Array, s: Array, rate: Array, v: Array, momentum: Array
) -> Any:
    np.multiply(v, momentum, out=v)
    np.add(v, dw, out=v)
    return sgd(w, v, s, rate)


def adam(
    w: Array,
    dw: Array,
    s: Array,
    m: Array,
    v: Array,
    step: int,
    beta_1: Array,
    beta_2: Array,
) -> Any:
    """`m` and `v` are kept divided by 1 - beta: two passes less."""
    np.multiply(m, beta_1, out=m)
    np.add(m, dw, out=m)
    np.multiply(v, beta_2, out=v)
    np.multiply(dw, dw, out=s)
    np.add(v, s, out=v)
    root = ((1 - 0.999**step) / (1 - 0.999)) ** 0.5
    np.sqrt(v, out=s)
    np.add(s, 1e-8 * root, out=s)
    np.divide(m, s, out=s)
    np.multiply(s, 1e-3 * (1 - 0.9) / (1 - 0.9**step) * root, out=s)
    return np.subtract(w, s, out=w)


# Layers with numbers for each feature: y, dx, then what the parameters get ------------


def scale(
    dy: Array, x: Array, factor: Array, y: Array, dx: Array, *_: Array
) -> tuple[Array, ...]:
    np.multiply(x, factor, out=y)
    np.multiply(dy, factor, out=dx)
    return y, dx, np.einsum("ij,ij->j", dy, x)


def prelu(
    dy: Array, x: Array, slope: Array, y: Array, dx: Array, s: Array
) -> tuple[Array, ...]:
    np.minimum(x, ZERO, out=s)
    np.maximum(x, ZERO, out=y)
    dslope = np.einsum("ij,ij->j", dy, s)
    np.multiply(s, slope, out=s)
    np.add(y, s, out=y)
    np.greater(x, ZERO, out=dx)
    np.multiply(dx, ONE - slope, out=dx)
    np.add(dx, slope, out=dx)
    np.multiply(dx, dy, out=dx)
    return y, dx, dslope


def mixed(
    dy: Array, x: Array, share: Array, y: Array, dx: Array, s: Array
) -> tuple[Array, ...]:
    gelu(x, y, s, dx)
    gelu_backward(dy, x, dx, s, s)
    np.subtract(dx, dy, out=dx)
    np.multiply(dx, share, out=dx)
    np.add(dx, dy, out=dx)
    np.subtract(y, x, out=y)
    dshare = np.einsum("ij,ij->j", dy, y)
    np.multiply(y, share, out=y)
    np.add(y, x, out=y)
    return y, dx, dshare


def layer_norm(
    dy: Array, x: Array, gamma: Array, beta: Array, y: Array, dx: Array, s: Array
) -> tuple[Array, ...]:
    mean_of = np.full(x.shape[1], 1 / x.shape[1], x.dtype)
    np.subtract(x, x.dot(mean_of)[:, None], out=s)
    np.multiply(s, s, out=y)
    inverse = (1 / np.sqrt(y.dot(mean_of) + x.dtype.type(1e-5)))[:, None]
    np.multiply(s, inverse, out=s)
    np.multiply(s, gamma, out=y)
    np.add(y, beta, out=y)
    dgamma = np.einsum("ij,ij->j", dy, s)
    dbeta = np.ones(len(dy), dy.dtype).dot(dy)
    np.multiply(dy, gamma, out=dx)
    slope = dx.dot(mean_of)[:, None]
    bend = np.einsum("ij,ij->i", dx, s)[:, None] / x.shape[1]
    np.multiply(s, bend, out=s)
    np.subtract(dx, s, out=dx)
    np.subtract(dx, slope, out=dx)
    np.multiply(dx, inverse, out=dx)
    return y, dx, dgamma, dbeta


def batch_norm(
    dy: Array, x: Array, gamma: Array, beta: Array, y: Array, dx: Array, s: Array
) -> tuple[Array, ...]:
    ones, n = np.ones(len(x), x.dtype), x.dtype.type(len(x))
    np.subtract(x, ones.dot(x) / n, out=s)
    inverse = 1 / np.sqrt(np.einsum("ij,ij->j", s, s) / n + x.dtype.type(1e-3))
    np.multiply(s, inverse, out=s)
    np.multiply(s, gamma, out=y)
    np.add(y, beta, out=y)
    dgamma, dbeta = np.einsum("ij,ij->j", dy, s), ones.dot(dy)
    np.multiply(s, dgamma / n, out=s)
    np.subtract(dy, s, out=dx)
    np.subtract(dx, dbeta / n, out=dx)
    np.multiply(dx, gamma * inverse, out=dx)
    return y, dx, dgamma, dbeta
