"""Kernels whose instructions `check.py` counts: callgrind runs this program.

It dumps a profile at every call of getppid, which nothing else calls: each second one
is of a single call of a kernel. Printed are the names of kernels in that order, and the
compiler, which decides how many instructions there are.
"""

import gc
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


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def main() -> None:
    gc.disable()
    names = []
    for name, call in kernels():
        call()  # for what only a first call does
        os.getppid()
        call()
        os.getppid()
        names.append(name)
    print(json.dumps({"compiler": lm.show_config()["compiler"], "names": names}))


if __name__ == "__main__":
    main()
