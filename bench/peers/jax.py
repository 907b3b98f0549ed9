"""JAX: one jitted function for each case, compiled by the first call, waited for.

It has no `out=`: every call allocates its result.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array as JaxArray

from peers import Array, Call
from peers.formulas import BACKWARD, FORWARD

jax.config.update("jax_enable_x64", True)

FUNCTIONS = {
    name: getattr(jnp, name)
    for name in ("abs", "exp", "expm1", "log1p", "sqrt", "tanh", "where")
}
FUNCTIONS |= {"erf": jax.lax.erf, "c": lambda value: value}  # constants adapt


def facts() -> dict[str, Any]:
    return {"backend": jax.default_backend()}


def compiled(function: Any, *arguments: Array) -> Call:
    return partial(jax.jit(function), *map(jnp.array, arguments))


def jitted(function: Any, *arguments: Array) -> Call:
    """The array's own method waits in less time than jax.block_until_ready."""
    call = compiled(function, *arguments)
    return lambda: call().block_until_ready()


def forward(name: str, x: Array) -> Call | None:
    if name in ("softmax", "log_softmax"):
        return jitted(getattr(jax.nn, name), x)
    if name == "identity":
        return jitted(jnp.copy, x)
    if name not in FORWARD:
        return None
    return jitted(eval(f"lambda x: {FORWARD[name]}", FUNCTIONS), x)


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    if name == "identity":
        return jitted(jnp.copy, dy)
    if name == "softmax":
        return jitted(lambda dy, y: y * (dy - (dy * y).sum(1, keepdims=True)), dy, y)
    if name == "log_softmax":
        return jitted(lambda dy, y: dy - jnp.exp(y) * dy.sum(1, keepdims=True), dy, y)
    if name not in BACKWARD:
        return None
    return jitted(eval(f"lambda dy, x, y: {BACKWARD[name]}", FUNCTIONS), dy, x, y)


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    return jitted(relu_layer, x, kernel, bias)


def dense_both(dy: Array, x: Array, kernel: Array, bias: Array) -> Call:
    def both(dy: JaxArray, *arguments: JaxArray) -> tuple[JaxArray, ...]:
        y, pull_back = jax.vjp(relu_layer, *arguments)
        return y, *pull_back(dy)

    return waited(both, dy, x, kernel, bias)


def relu_layer(x: JaxArray, kernel: JaxArray, bias: JaxArray) -> JaxArray:
    return jax.nn.relu(x @ kernel + bias)


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    def gradients(
        dy: JaxArray, x: JaxArray, kernel: JaxArray, y: JaxArray
    ) -> tuple[JaxArray, ...]:
        dz = jnp.where(y > 0, dy, 0)
        return dz @ kernel.T, x.T @ dz, dz.sum(0)

    return waited(gradients, dy, x, kernel, y)


def matmul(a: Array, b: Array) -> Call:
    """A transposed operand is held as it was and transposed in the function."""
    if a.flags.c_contiguous and b.flags.c_contiguous:
        return jitted(jnp.matmul, a, b)
    if a.flags.c_contiguous:
        return jitted(lambda a, b: a @ b.T, a, b.T)
    return jitted(lambda a, b: a.T @ b, a.T, b)


def mask(key: JaxArray, rate: float, size: int) -> JaxArray:
    """What is kept, by sixteen bits each, which four at a time draws fastest."""
    words = jax.random.bits(key, (-(-size // 4),), "uint64")
    bits = jax.lax.bitcast_convert_type(words, "uint16").ravel()
    return bits[:size] >= round(rate * 65536)


def dropout(rate: float, x: Array) -> Call:
    return dropped(rate, lambda x: x, x)


def dense_dropout(rate: float, x: Array, kernel: Array, bias: Array) -> Call:
    return dropped(rate, relu_layer, x, kernel, bias)


def dropped(rate: float, function: Any, *arguments: Array) -> Call:
    """The function's result with dropout; the key follows from the last one."""

    def step(key: JaxArray, *arguments: JaxArray) -> tuple[JaxArray, JaxArray]:
        key, now = jax.random.split(key)
        y = function(*arguments)
        kept = mask(now, rate, y.size).reshape(y.shape)
        return key, jnp.where(kept, y * (1 / (1 - rate)), 0)

    draw = jax.jit(step)
    key, ours = jax.random.key(0), tuple(map(jnp.array, arguments))

    def call() -> JaxArray:
        nonlocal key
        key, y = draw(key, *ours)
        return y.block_until_ready()

    return call


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    scale = 1 / (1 - rate)
    return jitted(lambda dy, kept: jnp.where(kept, dy * scale, 0), dy, kept)


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    """The gradient as a formula: no slower than value_and_grad and often faster."""

    def value_and_gradient(x: JaxArray, t: JaxArray) -> tuple[JaxArray, JaxArray]:
        y, right = jax.nn.log_softmax(x), t[:, None] == jnp.arange(x.shape[1])
        loss = -jnp.take_along_axis(y, t[:, None], 1).mean()
        return loss, (jnp.exp(y) - right) / len(x)

    return waited(value_and_gradient, logits, labels)


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    def value_and_gradient(x: JaxArray, t: JaxArray) -> tuple[JaxArray, JaxArray]:
        loss = jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-abs(x))) - x * t
        return loss.mean(), (jax.nn.sigmoid(x) - t) / x.size

    return waited(value_and_gradient, logits, targets)


def squared_error(outputs: Array, targets: Array) -> Call:
    def value_and_gradient(y: JaxArray, t: JaxArray) -> tuple[JaxArray, JaxArray]:
        return ((y - t) ** 2).mean(), (y - t) * (2 / y.size)

    return waited(value_and_gradient, outputs, targets)


def waited(function: Any, *arguments: Array) -> Call:
    call = compiled(function, *arguments)
    return lambda: jax.block_until_ready(call())


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    def step(w: JaxArray, v: JaxArray, dw: JaxArray) -> tuple[JaxArray, JaxArray]:
        v = momentum * v + dw
        return w - 0.01 * v, v

    def plain(w: JaxArray, dw: JaxArray) -> tuple[JaxArray]:
        return (w - 0.01 * dw,)

    return updated(step, dw, w, np.zeros_like(w)) if momentum else updated(plain, dw, w)


def adam(w: Array, dw: Array) -> Call:
    def step(
        w: JaxArray, m: JaxArray, v: JaxArray, steps: JaxArray, dw: JaxArray
    ) -> tuple[JaxArray, ...]:
        steps += 1
        m = 0.9 * m + 0.1 * dw
        v = 0.999 * v + 0.001 * dw * dw
        first, second = m / (1 - 0.9**steps), v / (1 - 0.999**steps)
        return w - 1e-3 * first / (jnp.sqrt(second) + 1e-8), m, v, steps

    steps = np.zeros((), w.dtype)
    return updated(step, dw, w, np.zeros_like(w), np.zeros_like(w), steps)


def updated(step: Any, dw: Array, *initial: Array) -> Call:
    """The state, parameters first, is donated: XLA writes the new one over it."""
    update = jax.jit(step, donate_argnums=range(len(initial)))
    state, gradient = tuple(map(jnp.array, initial)), jnp.array(dw)

    def call() -> JaxArray:
        nonlocal state
        state = update(*state, gradient)
        return state[0].block_until_ready()

    return call
