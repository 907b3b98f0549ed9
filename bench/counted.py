"""Kernels and steps whose instructions `check.py` counts: callgrind runs this program.

It dumps a profile at every call of getppid, which nothing else calls: each second one
is of a single call. Printed are the names of the calls in that order, and the
compiler, which decides how many instructions there are.
"""

import functools
import gc
import itertools
import json
import os
from collections.abc import Iterator

import numpy as np

import lamina as lm
from lamina import _core
from peers import Array, Call, lamina


def kernels() -> Iterator[tuple[str, Call]]:
    x, dy = normal(4096), normal(4096, seed=1)
    for name in ("relu", "sigmoid", "tanh", "gelu", "mish", "softplus"):
        yield f"{name} 4096", lamina.forward(name, x)
    for name in ("sigmoid", "gelu"):
        y = lm.activations.get(name)(x)
        yield f"{name} backward 4096", lamina.backward(name, dy, x, y)
    yield "sigmoid 4096 float64", lamina.forward("sigmoid", x.astype(np.float64))
    yield "sigmoid 16", lamina.forward("sigmoid", x[:16])  # the call, above all
    for columns in (10, 100):
        yield f"softmax 64x{columns}", lamina.forward("softmax", normal(64, columns))

    yield "dropout 0.5 4096", lamina.dropout(0.5, x)
    yield "dropout 0.5 backward 4096", lamina.dropout_backward(0.5, dy, x > 0)

    for shape in ((32, 64, 64), (33, 65, 17)):
        batch, features, units = shape
        size = "x".join(map(str, shape))
        a, kernel, bias = normal(batch, features), normal(features, units), dy[:units]
        y = lm.dense(a, kernel, bias, "relu")
        yield f"dense relu {size}", lamina.dense(a, kernel, bias)
        backward = lamina.dense_backward(normal(batch, units), a, kernel, y)
        yield f"dense relu backward {size}", backward
    a, b = normal(64, 64), normal(64, 64, seed=1)
    for kind, operands in {"NN": (a, b), "NT": (a, b.T), "TN": (a.T, b)}.items():
        yield f"matmul {kind} 64x64x64", lamina.matmul(*operands)

    adam, w, state = lm.Adam(), normal(4096), np.zeros((2, 4096), np.float32)
    yield "adam 4096", lambda: adam.update(w, dy, state, 1)
    logits, labels = normal(64, 10), np.arange(64) % 10
    core, dz = lm.losses.categorical_crossentropy.core, np.empty_like(logits)
    yield (
        "softmax_cross_entropy 64x10",
        lambda: _core.loss(core, logits, labels, 1 / 64, None, dz),
    )


def steps() -> Iterator[tuple[str, Call]]:
    """Of 64-64-10 on one row, by what makes them differ outside the kernels."""
    x, label, cosine = normal(1, 64), np.array([3]), lm.schedules.Cosine(1e-3, 10**6)
    one_hot, numbers = np.eye(10)[label], normal(1, 10).astype(np.float64)
    for name, last, loss, rate, y in (
        ("labels", "softmax", None, 1e-3, label),
        ("schedule", "softmax", None, cosine, label),
        ("one-hot", "softmax", None, 1e-3, one_hot),
        ("regression", None, "mean_squared_error", 1e-3, numbers),
    ):
        net = lm.Sequential([lm.Dense(64, "relu"), lm.Dense(10, last)], seed=0)
        net.train_on_batch(x, y, loss=loss, optimizer=lm.Adam(rate))
        yield f"step, {name}", functools.partial(net.train_on_batch, x, y)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def main() -> None:
    gc.disable()
    names = []
    for name, call in itertools.chain(kernels(), steps()):
        for _ in range(20):  # for what only first calls do
            call()
        os.getppid()
        call()
        os.getppid()
        names.append(name)
    print(json.dumps({"compiler": lm.show_config()["compiler"], "names": names}))


if __name__ == "__main__":
    main()
