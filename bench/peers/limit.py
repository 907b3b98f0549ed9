"""The machine's limit: calls that last as long as one core needs at the very least.

Products are as many fused multiply-adds, done in registers; everything else moves the
bytes that the operation must read and write, once, by vector loads and stores (see
`limit.cpp`). Nothing is computed. A call costs about 30 ns beyond its work.
"""

import os
import time
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import compiled
from peers import Array, Call

FUSED = "-ffp-contract=fast"


def facts() -> dict[str, Any]:
    """The peaks, in 1e9 operations and bytes a second, the best of 0.1 s each."""
    itemsize = np.dtype(os.environ.get("BENCH_DTYPE", "float32")).itemsize
    flops, size = 1e8, 1 << 26
    return {
        "fma_gflops": round(flops / shortest(multiply(flops, itemsize)) / 1e9, 1),
        "copy_gbytes": round(2 * size / shortest(move(size)) / 1e9, 1),
        **compiled.facts(FUSED),
    }


def shortest(call: Call) -> float:
    """Seconds of the shortest of the calls that a tenth of a second has room for."""
    times = [time.perf_counter()]
    while times[-1] - times[0] < 0.1:
        call()
        times.append(time.perf_counter())
    return float(np.diff(times).min())


@cache
def extension() -> ModuleType:
    source = Path(compiled.__file__).with_name("limit.cpp").read_text()
    return compiled.extension("limit", source, FUSED)


def multiply(flops: float, itemsize: int) -> Call:
    call: Call = extension().multiply(flops, itemsize)
    return call


def move(
    size: int, read: int = 1, updated: int = 0, written: int = 1, more: int = 0
) -> Call:
    """So many arrays of `size` bytes each, and `more` bytes that are read."""
    call: Call = extension().move(size, read, updated, written, more)
    return call


def forward(name: str, x: Array) -> Call:
    return move(x.nbytes)


def backward(name: str, dy: Array, x: Array, y: Array) -> Call:
    return move(dy.nbytes, read=1 if name == "identity" else 2)


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    return multiply(2 * len(x) * kernel.size, x.itemsize)


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    return multiply(4 * len(x) * kernel.size, x.itemsize)


def dense_both(dy: Array, x: Array, kernel: Array, bias: Array) -> Call:
    return multiply(6 * len(x) * kernel.size, x.itemsize)


def dense_dropout(rate: float, x: Array, kernel: Array, bias: Array) -> Call:
    return dense(x, kernel, bias)


def matmul(a: Array, b: Array) -> Call:
    return multiply(2 * len(a) * b.size, a.itemsize)


def dropout(rate: float, x: Array) -> Call:
    return move(x.nbytes)


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    """The mask is one of bits."""
    return move(dy.nbytes, more=-(-dy.size // 8))


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    return move(logits.nbytes, more=labels.nbytes)


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    return move(logits.nbytes, read=2)


def squared_error(outputs: Array, targets: Array) -> Call:
    return move(outputs.nbytes, read=2)


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    return move(w.nbytes, updated=2 if momentum else 1, written=0)


def adam(w: Array, dw: Array) -> Call:
    return move(w.nbytes, updated=3, written=0)
