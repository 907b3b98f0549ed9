"""Cython: plain loops as one writes them by hand, compiled with Lamina's own flags.

Typed memoryviews, no checks of bounds, the C library's functions of the arrays' type,
results into arrays made beforehand. Activations and products release Python's lock. One
extension for each type is compiled when first needed.
"""

import re
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

import compiled
from peers import Array, Call, both_ways
from peers.formulas import BACKWARD, FORWARD

# On top of Lamina's. Where errno is set, GCC neither computes a repeated exp once nor
# makes vector instructions of a root: adam and mish backward then take far longer.
FLAGS = ["-fno-math-errno"]

SOURCE = """
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False

from libc.math cimport (
    erf{f} as erf, exp{f} as exp, expm1{f} as expm1, fabs{f} as abs, log{f} as log,
    log1p{f} as log1p, sqrt{f} as sqrt, tanh{f} as tanh,
)
from libc.stdint cimport int64_t, uint32_t

ctypedef {real} real


cdef inline real where(bint condition, real true, real false) noexcept nogil:
    return true if condition else false


# Rows --------------------------------------------------------------------------------


cdef inline real largest(real[:, ::1] x, Py_ssize_t row) noexcept:
    cdef Py_ssize_t j
    cdef real found = x[row, 0]
    for j in range(1, x.shape[1]):
        found = where(x[row, j] > found, x[row, j], found)
    return found


def forward_softmax(real[:, ::1] x, result):
    cdef real[:, ::1] out = result
    cdef Py_ssize_t i, j
    cdef real top, total
    for i in range(x.shape[0]):
        top, total = largest(x, i), 0
        for j in range(x.shape[1]):
            out[i, j] = exp(x[i, j] - top)
            total += out[i, j]
        total = 1 / total
        for j in range(x.shape[1]):
            out[i, j] *= total
    return result


def backward_softmax(real[:, ::1] dy, real[:, ::1] y, result):
    cdef real[:, ::1] out = result
    cdef Py_ssize_t i, j
    cdef real total
    for i in range(y.shape[0]):
        total = 0
        for j in range(y.shape[1]):
            total += dy[i, j] * y[i, j]
        for j in range(y.shape[1]):
            out[i, j] = y[i, j] * (dy[i, j] - total)
    return result


def forward_log_softmax(real[:, ::1] x, result):
    cdef real[:, ::1] out = result
    cdef Py_ssize_t i, j
    cdef real top, total
    for i in range(x.shape[0]):
        top, total = largest(x, i), 0
        for j in range(x.shape[1]):
            total += exp(x[i, j] - top)
        total = log(total)
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - top - total
    return result


def backward_log_softmax(real[:, ::1] dy, real[:, ::1] y, result):
    cdef real[:, ::1] out = result
    cdef Py_ssize_t i, j
    cdef real total
    for i in range(y.shape[0]):
        total = 0
        for j in range(y.shape[1]):
            total += dy[i, j]
        for j in range(y.shape[1]):
            out[i, j] = dy[i, j] - exp(y[i, j]) * total
    return result


# Products, with rows of b in the inner loop ------------------------------------------


cdef void add_product(real[:, :] a, real[:, ::1] b, real[:, ::1] out) noexcept nogil:
    cdef Py_ssize_t i, j, k
    cdef real factor
    for i in range(out.shape[0]):
        for k in range(b.shape[0]):
            factor = a[i, k]
            for j in range(out.shape[1]):
                out[i, j] += factor * b[k, j]


# In strips of as few columns as a cache holds whatever their distance.
cdef void transpose(real[:, :] x, real[:, ::1] out) noexcept nogil:
    cdef Py_ssize_t i, j, left
    for left in range(0, out.shape[1], 8):
        for i in range(out.shape[0]):
            for j in range(left, min(left + 8, out.shape[1])):
                out[i, j] = x[j, i]


def matmul(real[:, :] a, real[:, ::1] b, result):
    cdef real[:, ::1] out = result
    with nogil:
        out[:, :] = 0
        add_product(a, b, out)
    return result


def matmul_transposed(real[:, :] a, real[:, ::1] b, real[:, ::1] rows, result):
    with nogil:
        transpose(b, rows)
    return matmul(a, rows, result)


def dense(real[:, ::1] x, real[:, ::1] kernel, real[::1] bias, result):
    cdef real[:, ::1] out = result
    cdef Py_ssize_t i, j
    with nogil:
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = bias[j]
        add_product(x, kernel, out)
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = where(out[i, j] > 0, out[i, j], 0)
    return result


def dense_backward(
    real[:, ::1] dy,
    real[:, ::1] x,
    real[:, ::1] kernel,
    real[:, ::1] y,
    real[:, ::1] dz,
    real[:, ::1] rows,
    real[:, ::1] dx,
    real[:, ::1] dkernel,
    real[::1] dbias,
):
    cdef Py_ssize_t i, j
    cdef real[:, :] columns = x.T
    with nogil:
        dbias[:] = 0
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                dz[i, j] = where(y[i, j] > 0, dy[i, j], 0)
                dbias[j] += dz[i, j]
        dx[:, :] = 0
        transpose(kernel, rows)
        add_product(dz, rows, dx)
        dkernel[:, :] = 0
        add_product(columns, dz, dkernel)


# Dropout -----------------------------------------------------------------------------


cdef inline uint32_t mixed(uint32_t bits) noexcept:
    bits = (bits ^ (bits >> 16)) * <uint32_t>0x7FEB352D
    bits = (bits ^ (bits >> 15)) * <uint32_t>0x846CA68B
    return bits ^ (bits >> 16)


def dropout(real[::1] x, uint32_t seed, uint32_t cut, real scale, result):
    cdef real[::1] out = result
    cdef Py_ssize_t i
    for i in range(out.shape[0]):
        out[i] = where(mixed(seed + <uint32_t>i) >= cut, scale * x[i], 0)
    return result


def dropout_backward(real[::1] dy, unsigned char[::1] kept, real scale, result):
    cdef real[::1] out = result
    cdef Py_ssize_t i
    for i in range(out.shape[0]):
        out[i] = where(kept[i] != 0, scale * dy[i], 0)
    return result


# Losses, summed up in double ---------------------------------------------------------


def softmax_cross_entropy(real[:, ::1] logits, int64_t[::1] labels, real[:, ::1] out):
    cdef Py_ssize_t i, j, rows = logits.shape[0]
    cdef real top, total, scale
    cdef double loss = 0
    for i in range(rows):
        top, total = largest(logits, i), 0
        for j in range(logits.shape[1]):
            out[i, j] = exp(logits[i, j] - top)
            total += out[i, j]
        loss += log(total) + top - logits[i, labels[i]]
        scale = 1 / (total * rows)
        for j in range(logits.shape[1]):
            out[i, j] *= scale
        out[i, labels[i]] -= <real>1 / rows
    return loss / rows


def sigmoid_cross_entropy(real[::1] logits, real[::1] targets, real[::1] out):
    cdef Py_ssize_t i
    cdef real x, decay, scale = <real>1 / out.shape[0]
    cdef double loss = 0
    for i in range(out.shape[0]):
        x, decay = logits[i], exp(-abs(logits[i]))
        loss += where(x > 0, x, 0) - x * targets[i] + log1p(decay)
        out[i] = scale * (where(x > 0, 1, decay) / (1 + decay) - targets[i])
    return loss / out.shape[0]


def squared_error(real[::1] outputs, real[::1] targets, real[::1] out):
    cdef Py_ssize_t i
    cdef real difference, scale = <real>2 / out.shape[0]
    cdef double loss = 0
    for i in range(out.shape[0]):
        difference = outputs[i] - targets[i]
        loss += difference * difference
        out[i] = scale * difference
    return loss / out.shape[0]


# Optimizers --------------------------------------------------------------------------


def sgd(real rate, real[::1] w, real[::1] dw):
    cdef Py_ssize_t i
    for i in range(w.shape[0]):
        w[i] -= rate * dw[i]


def sgd_momentum(real rate, real momentum, real[::1] w, real[::1] dw, real[::1] v):
    cdef Py_ssize_t i
    for i in range(w.shape[0]):
        v[i] = momentum * v[i] + dw[i]
        w[i] -= rate * v[i]


def adam(
    double rate, int step, real[::1] w, real[::1] dw, real[::1] m, real[::1] v
):
    cdef Py_ssize_t i
    cdef real first = rate / (1 - 0.9**step), second = 1 / (1 - 0.999**step)
    for i in range(w.shape[0]):
        m[i] += <real>0.1 * (dw[i] - m[i])
        v[i] += <real>0.001 * (dw[i] * dw[i] - v[i])
        w[i] -= first * m[i] / (sqrt(second * v[i]) + <real>1e-8)


# Activations -------------------------------------------------------------------------
"""

LOOP = """

def {name}({arrays}, result):
    cdef real[::1] out = result
    cdef Py_ssize_t i
    with nogil:
        for i in range(out.shape[0]):
            out[i] = {element}
    return result
"""


def facts() -> dict[str, Any]:
    return compiled.facts(*FLAGS)


def loop(name: str, formula: str) -> str:
    element = re.sub(r"\bc\(", "<real>(", formula)
    element = re.sub(r"\b(dy|x|y)\b", r"\1[i]", element)
    arrays = ", ".join(f"real[::1] {array}" for array in read(formula))
    return LOOP.format(name=name, arrays=arrays, element=element)


def read(formula: str) -> list[str]:
    """The arrays that a formula names."""
    return [name for name in ("dy", "x", "y") if re.search(rf"\b{name}\b", formula)]


@cache
def extension(dtype: np.dtype[Any]) -> ModuleType:
    real, suffix = {"float32": ("float", "f"), "float64": ("double", "")}[dtype.name]
    source = SOURCE.replace("{f}", suffix).replace("{real}", real)
    source += "".join(loop(f"forward_{name}", FORWARD[name]) for name in FORWARD)
    source += "".join(loop(f"backward_{name}", BACKWARD[name]) for name in BACKWARD)
    return compiled.extension(f"loops_{dtype.name}", source, *FLAGS)


def forward(name: str, x: Array) -> Call | None:
    function = getattr(extension(x.dtype), f"forward_{name}", None)
    return function and partial(function, x, np.empty_like(x))


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    function = getattr(extension(dy.dtype), f"backward_{name}", None)
    arrays = {"dy": dy, "x": x, "y": y}
    saved = [arrays[name] for name in read(BACKWARD.get(name, "dy y"))]
    return function and partial(function, *saved, np.empty_like(dy))


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    y = np.empty((len(x), len(bias)), x.dtype)
    return partial(extension(x.dtype).dense, x, kernel, bias, y)


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    out = np.empty_like(x), np.empty_like(kernel), np.empty(dy.shape[1], dy.dtype)
    scratch = np.empty_like(dy), np.empty_like(kernel.T, order="C")
    function = partial(extension(x.dtype).dense_backward, dy, x, kernel, y)

    def call() -> tuple[Array, ...]:
        function(*scratch, *out)
        return out

    return call


def dense_both(dy: Array, x: Array, kernel: Array, bias: Array) -> Call:
    layer = dense(x, kernel, bias)
    return both_ways(layer, dense_backward(dy, x, kernel, layer()))


def dense_dropout(rate: float, x: Array, kernel: Array, bias: Array) -> Call:
    layer = dense(x, kernel, bias)
    drop = dropout(rate, layer().reshape(-1))

    def call() -> Any:
        layer()
        return drop()

    return call


def matmul(a: Array, b: Array) -> Call:
    """Rows of b lie one after the other, or are laid so in every call."""
    out, module = np.empty((len(a), b.shape[1]), a.dtype), extension(a.dtype)
    if b.flags.c_contiguous:
        return partial(module.matmul, a, b, out)
    return partial(module.matmul_transposed, a, b.T, np.empty_like(b, order="C"), out)


def dropout(rate: float, x: Array) -> Call:
    """Its random bits are a hash of a number for each element, which vectorises."""
    function, out = extension(x.dtype).dropout, np.empty_like(x)
    cut, scale, seed = round(rate * 2**32), 1 / (1 - rate), 0

    def call() -> Array:
        nonlocal seed
        seed = (seed + x.size) % 2**32
        function(x, seed, cut, scale, out)
        return out

    return call


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    function, out = extension(dy.dtype).dropout_backward, np.empty_like(dy)
    return partial(function, dy, kept.view(np.uint8), 1 / (1 - rate), out)


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    gradient = np.empty_like(logits)
    function = extension(logits.dtype).softmax_cross_entropy
    return lambda: (function(logits, labels, gradient), gradient)


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    return flat_loss(extension(logits.dtype).sigmoid_cross_entropy, logits, targets)


def squared_error(outputs: Array, targets: Array) -> Call:
    return flat_loss(extension(outputs.dtype).squared_error, outputs, targets)


def flat_loss(function: Callable[..., float], outputs: Array, targets: Array) -> Call:
    gradient = np.empty_like(outputs)
    flat = outputs.reshape(-1), targets.reshape(-1), gradient.reshape(-1)
    return lambda: (function(*flat), gradient)


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    module, velocity = extension(w.dtype), np.zeros_like(w)
    function = partial(module.sgd, 0.01, w, dw)
    if momentum:
        function = partial(module.sgd_momentum, 0.01, momentum, w, dw, velocity)

    def call() -> Array:
        function()
        return w

    return call


def adam(w: Array, dw: Array) -> Call:
    function = extension(w.dtype).adam
    moments, step = (np.zeros_like(w), np.zeros_like(w)), 0

    def call() -> Array:
        nonlocal step
        step += 1
        function(1e-3, step, w, dw, *moments)
        return w

    return call
