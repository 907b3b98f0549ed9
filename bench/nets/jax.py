"""JAX: a whole step is one jitted function, which takes over the memory of its state.

Parameters are one flat array, as are the moments: most of the time of a small step is
spent on the number of arguments.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array as JaxArray
from jax.flatten_util import ravel_pytree

from peers import Array, Call

Weights = tuple[tuple[Array, Array], ...]
State = tuple[JaxArray, ...]  # parameters, both moments, number of steps, key

jax.config.update("jax_enable_x64", True)


def training_step(weights: Weights, x: Array, labels: Array, rate: float) -> Call:
    state, updated = training(weights, rate)
    step = jax.jit(updated, donate_argnums=0)
    rows, classes = jnp.array(x), jnp.array(labels)

    def call() -> JaxArray:
        nonlocal state
        state, loss = step(state, rows, classes)
        return loss.block_until_ready()

    return call


def epoch(weights: Weights, x: Array, labels: Array, rate: float, batch: int) -> Call:
    """All in one function; batches are full. The order is NumPy's: JAX sorts."""
    state, updated = training(weights, rate)

    def whole(state: State, x: JaxArray, labels: JaxArray, order: JaxArray) -> Any:
        def step(state: State, rows: JaxArray) -> Any:
            return updated(state, x[rows], labels[rows])

        state, losses = jax.lax.scan(step, state, order)
        return state, losses.mean()

    run = jax.jit(whole, donate_argnums=0)
    rows, classes = jnp.array(x), jnp.array(labels)
    generator = np.random.Generator(np.random.SFC64(0))

    def call() -> JaxArray:
        nonlocal state
        order = generator.permutation(len(x)).reshape(-1, batch)
        state, loss = run(state, rows, classes, order)
        return loss.block_until_ready()

    return call


def predict(weights: Weights, x: Array) -> Call:
    forward = jax.jit(lambda weights, x: jax.nn.softmax(logits(weights, x)))
    parameters, rows = jax.tree.map(jnp.array, weights), jnp.array(x)
    return lambda: forward(parameters, rows).block_until_ready()


def training(weights: Weights, rate: float) -> tuple[State, Any]:
    """The state, and the function that makes of it, and a batch, the next and a loss.

    The loss is that before the update.
    """
    flat, layers = ravel_pytree(jax.tree.map(jnp.array, weights))

    def updated(state: State, x: JaxArray, labels: JaxArray) -> tuple[State, JaxArray]:
        parameters, first, second, steps, key = state
        now = None
        if rate:
            key, now = jax.random.split(key)

        def cross_entropy(parameters: JaxArray) -> JaxArray:
            y = jax.nn.log_softmax(logits(layers(parameters), x, now, rate))
            return -(y * jax.nn.one_hot(labels, y.shape[1], dtype=y.dtype)).sum() / len(
                x
            )

        loss, gradient = jax.value_and_grad(cross_entropy)(parameters)
        steps += 1
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient * gradient
        mean, square = first / (1 - 0.9**steps), second / (1 - 0.999**steps)
        parameters -= 1e-3 * mean / (jnp.sqrt(square) + 1e-8)
        return (parameters, first, second, steps, key), loss

    steps = jnp.zeros((), flat.dtype)
    key = jax.random.key(0)
    return (flat, jnp.zeros_like(flat), jnp.zeros_like(flat), steps, key), updated


def logits(
    weights: Any, x: JaxArray, key: JaxArray | None = None, rate: float = 0.0
) -> JaxArray:
    *hidden, (kernel, bias) = weights
    widths = [len(bias) for _, bias in hidden]
    kept = [None] * len(hidden) if key is None else masks(key, rate, len(x), widths)
    for layer, mask in zip(hidden, kept, strict=True):
        x = jnp.maximum(x @ layer[0] + layer[1], 0)
        if mask is not None:
            x = jnp.where(mask, x * (1 / (1 - rate)), 0)
    return x @ kernel + bias


def masks(key: JaxArray, rate: float, rows: int, widths: list[int]) -> list[JaxArray]:
    """What is kept, by sixteen bits each, which four at a time draws fastest."""
    ends = np.cumsum([rows * width for width in widths])
    words = jax.random.bits(key, (math.ceil(ends[-1] / 4),), "uint64")
    bits = jax.lax.bitcast_convert_type(words, "uint16").ravel()
    kept = bits[: ends[-1]] >= round(rate * 65536)
    parts = zip(jnp.split(kept, ends[:-1]), widths, strict=True)
    return [part.reshape(rows, width) for part, width in parts]
