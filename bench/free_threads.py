"""Small calls by one Python thread and by two, each with arrays and a net of its own: a
Markdown table of nanoseconds a call of either, medians of rounds taken by turns.

Without a GIL two threads can do twice the calls; with one they do what one does.

    python bench/free_threads.py [--rounds 9] [--threads 2]
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import lamina as lm

Call = Callable[[], Any]
CALLS = 20_000  # of a thread in a round


def tanh(size: int) -> Call:
    x = np.linspace(-3, 3, size, dtype=np.float32)
    return lambda: lm.tanh(x)


def net_of(rows: int) -> tuple[lm.Sequential, Any, Any]:
    net = lm.Sequential([lm.Dense(8, "relu"), lm.Dense(2, "softmax")], seed=0)
    net.build(4)
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    return net, x, (x.sum(axis=1) > 0).astype(np.int64)


def predict() -> Call:
    net, x, _ = net_of(1)
    return lambda: net.predict(x)


def step() -> Call:
    net, x, y = net_of(4)
    net.train_on_batch(x, y, loss="categorical_crossentropy")
    return lambda: net.train_on_batch(x, y)["loss"]


CASES: dict[str, Callable[[], Call]] = {
    "`tanh` of 16": lambda: tanh(16),
    "`tanh` of 2048": lambda: tanh(2048),
    "`predict`, 1 x 4-8-2": predict,
    "`train_on_batch`, 4 x 4-8-2": step,
}


def nanoseconds(calls: list[Call]) -> float:
    """Of one call, where each of these is made by a thread of its own."""
    start = threading.Barrier(len(calls) + 1)
    results: list[Any] = [None] * len(calls)

    def repeat(i: int) -> None:
        call = calls[i]
        start.wait()
        for _ in range(CALLS - 1):
            call()
        results[i] = call()

    threads = [threading.Thread(target=repeat, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    for result in results:  # they did the same
        np.testing.assert_array_equal(result, results[0])
    return spent / (CALLS * len(calls)) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    lm.set_num_threads(1)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {sys.version.split()[0]}, {'with a' if gil else 'no'} GIL\n")
    print(f"| ns a call | 1 thread | {options.threads} threads | ratio |")
    print("|---|---|---|---|")
    for name, make in CASES.items():
        rounds = [
            [nanoseconds([make() for _ in range(n)]) for n in (1, options.threads)]
            for _ in range(options.rounds)
        ]
        one, more = (median(times) for times in zip(*rounds, strict=True))
        print(f"| {name} | {one:.0f} | {more:.0f} | {one / more:.2f} |")


if __name__ == "__main__":
    main()
