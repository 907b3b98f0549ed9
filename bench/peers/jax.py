"""JAX: one jitted function for each case, compiled by the first call, waited for.

It has no `out=`: every call allocates its result.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
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
    return jitted(lambda x, w, b: jnp.maximum(x @ w + b, 0), x, kernel, bias)


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    def gradients(
        dy: JaxArray, x: JaxArray, kernel: JaxArray, y: JaxArray
    ) -> tuple[JaxArray, ...]:
        dz = jnp.where(y > 0, dy, 0)
        return dz @ kernel.T, x.T @ dz, dz.sum(0)

    call = compiled(gradients, dy, x, kernel, y)
    return lambda: jax.block_until_ready(call())


def matmul(a: Array, b: Array) -> Call:
    """A transposed operand is held as it was and transposed in the function."""
    if a.flags.c_contiguous and b.flags.c_contiguous:
        return jitted(jnp.matmul, a, b)
    if a.flags.c_contiguous:
        return jitted(lambda a, b: a @ b.T, a, b.T)
    return jitted(lambda a, b: a.T @ b, a.T, b)


def dropout(rate: float, x: Array) -> Call:
    """Bits by the generator that is fastest here; the key follows from the last one."""

    def step(key: JaxArray, x: JaxArray) -> tuple[JaxArray, JaxArray]:
        key, now = jax.random.split(key)
        kept = jax.random.bits(now, x.shape, "uint16") >= round(rate * 65536)
        return key, jnp.where(kept, x * (1 / (1 - rate)), 0)

    draw = jax.jit(step)
    key, ours = jax.random.key(0, impl="rbg"), jnp.array(x)

    def call() -> JaxArray:
        nonlocal key
        key, y = draw(key, ours)
        return y.block_until_ready()

    return call


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    scale = 1 / (1 - rate)
    return jitted(lambda dy, kept: jnp.where(kept, dy * scale, 0), dy, kept)
