"""thinc: its NumpyOps; in place only where no input is overwritten.

Its hard_sigmoid has another slope, its gelu and swish are NumPy's.
"""

from collections.abc import Callable
from functools import partial
from itertools import count

import numpy as np
from thinc.api import CategoricalCrossentropy, L2Distance, NumpyOps, Optimizer

from peers import Array, Call, both_ways

ops = NumpyOps()  # type: ignore[no-untyped-call, unused-ignore]

FORWARD: dict[str, Callable[[Array], Call]] = {
    "sigmoid": lambda x: partial(ops.sigmoid, x),
    "relu": lambda x: partial(ops.relu, x),
    "relu6": lambda x: partial(ops.relu_k, x, n=6.0),
    "silu": lambda x: partial(ops.swish, x),
    "gelu": lambda x: partial(ops.gelu, x),
    "mish": lambda x: partial(ops.mish, x),
    "hard_swish": lambda x: partial(ops.hard_swish_mobilenet, x),
    "hard_tanh": lambda x: partial(ops.hard_tanh, x),
    "softmax": lambda x: partial(ops.softmax, x),
}
BACKWARD: dict[str, Callable[[Array, Array, Array], Call]] = {
    "relu": lambda dy, x, y: partial(ops.backprop_relu, dy, y),
    "silu": lambda dy, x, y: partial(ops.backprop_swish, dy, x, y),
    "gelu": lambda dy, x, y: partial(ops.backprop_gelu, dy, x),
    "mish": lambda dy, x, y: partial(ops.backprop_mish, dy, x),
    "hard_swish": lambda dy, x, y: partial(ops.backprop_hard_swish_mobilenet, dy, x),
    "softmax": lambda dy, x, y: partial(ops.backprop_softmax, y, dy),
}


def forward(name: str, x: Array) -> Call | None:
    form = FORWARD.get(name)
    return form and form(x)


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    form = BACKWARD.get(name)
    return form and form(dy, x, y)


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    weight = np.ascontiguousarray(kernel.T)
    return lambda: ops.relu(ops.affine(x, weight, bias), inplace=True)


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    weight = np.ascontiguousarray(kernel.T)
    dx, dweight = np.empty_like(x), np.empty_like(weight)

    def call() -> tuple[Array, ...]:
        dz = ops.backprop_relu(dy, y)
        ops.gemm(dz, weight, out=dx)
        ops.gemm(dz, x, trans1=True, out=dweight)
        return dx, dweight.T, dz.sum(axis=0)

    return call


def dense_both(dy: Array, x: Array, kernel: Array, bias: Array) -> Call:
    layer = dense(x, kernel, bias)
    return both_ways(layer, dense_backward(dy, x, kernel, layer()))


def dense_dropout(rate: float, x: Array, kernel: Array, bias: Array) -> Call:
    layer, shape = dense(x, kernel, bias), (len(x), len(bias))
    return lambda: layer() * ops.get_dropout_mask(shape, rate)


def matmul(a: Array, b: Array) -> Call:
    out, trans1 = np.empty((len(a), b.shape[1]), a.dtype), not a.flags.c_contiguous
    trans2 = not b.flags.c_contiguous
    left, right = (a.T if trans1 else a), (b.T if trans2 else b)
    return partial(ops.gemm, left, right, out=out, trans1=trans1, trans2=trans2)


def dropout(rate: float, x: Array) -> Call:
    return lambda: x * ops.get_dropout_mask(x.shape, rate)


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    mask, dx = kept / dy.dtype.type(1 - rate), np.empty_like(dy)
    return partial(np.multiply, dy, mask, out=dx)


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    """Its loss is the square of the gradient."""
    loss, rows = CategoricalCrossentropy(normalize=False), len(logits)

    def call() -> tuple[float, Array]:
        gradient, value = loss(ops.softmax(logits), labels)
        gradient /= rows
        return value / rows, gradient

    return call


def squared_error(outputs: Array, targets: Array) -> Call:
    loss, size = L2Distance(normalize=False), outputs.size

    def call() -> tuple[float, Array]:
        gradient, value = loss(outputs, targets)
        gradient *= 2 / size
        return value / size, gradient

    return call


def sgd(momentum: float, w: Array, dw: Array) -> Call | None:
    """Updates set the gradient to zero: each call copies it first."""
    if momentum:
        return None
    gradient, settings = np.empty_like(dw), {"L2": 0.0, "grad_clip": 0.0}
    optimizer = Optimizer(0.01, beta1=0.0, beta2=0.0, use_averages=False, **settings)

    def call() -> Array:
        np.copyto(gradient, dw)
        optimizer((0, "w"), w, gradient)
        return w

    return call


def adam(w: Array, dw: Array) -> Call:
    gradient, m, v = np.empty_like(dw), np.zeros_like(w), np.zeros_like(w)
    steps = count(1)

    def call() -> Array:
        np.copyto(gradient, dw)
        step = next(steps)
        rate = 1e-3 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
        ops.adam(w, gradient, m, v, 0.9, 0.999, 1e-8, rate)
        return w

    return call
