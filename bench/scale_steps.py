"""Steps of several ranks beside those of one process: a Markdown table of medians.

784-512-512-10, batches of 256, Adam, one thread a rank, over MPI on this machine. Every
row is a process or a group of its own, and all take turns; a ratio is that of times to
one process of the same round, and the table has its median. "sum": each rank takes its
part of the batch, and MPI's Allreduce adds, in an order of its own. "tree": what
`lamina.distributed` does, with the same bits on any number of ranks. Ranks need a
processor each, and a quiet machine: MPI waits busily. Exits with 1 where a ratio is
above its limit.

    .venv-scale/bin/python bench/scale_steps.py [--rounds 9]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from mpi4py.MPI import COMM_WORLD, IN_PLACE

import lamina as lm
from lamina._checks import Array

STEPS, BATCH = 64, 256
# Name, ranks, threads of each, shards (0: Allreduce, None: plain fit), limit.
CASES = [
    ("one process", 1, 1, None, None),
    ("one process, 2 threads", 1, 2, None, None),
    ("1 rank, tree of 8", 1, 1, 8, None),
    ("2 ranks, sum", 2, 1, 0, 0.704),
    ("2 ranks, tree of 2", 2, 1, 2, 0.85),
    ("2 ranks, tree of 4", 2, 1, 4, 0.85),
    ("2 ranks, tree of 8", 2, 1, 8, 0.85),
    ("4 ranks, sum", 4, 1, 0, None),
    ("4 ranks, tree of 8", 4, 1, 8, None),
]


def added(net: lm.Sequential, x: Array, y: Array, own: slice, comm: Any) -> None:
    """An epoch by MPI's own sum."""
    share = (own.stop - own.start) / BATCH
    for start in range(0, len(x), BATCH):
        part = slice(start + own.start, start + own.stop)
        net.gradients(x[part], y[part], weight=share, first_row=own.start)
        comm.Allreduce(IN_PLACE, net.gradient)
        net.apply_gradients()


def measure(shards: int | None, rounds: int = 4) -> None:
    """Seconds of a step, the median of some epochs, on rank 0."""
    ranks = lm.distributed.mpi()
    parts = [BATCH * r // ranks.size for r in (ranks.rank, ranks.rank + 1)]
    rng = np.random.default_rng(0)
    x = rng.random((STEPS * BATCH, 784), np.float32)
    y = rng.integers(0, 10, len(x))
    layers = [lm.Dense(512, "relu"), lm.Dense(512, "relu"), lm.Dense(10, "softmax")]
    net = lm.Sequential(layers, seed=0)
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    net.build(784)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        if shards is None:
            net.fit(x, y, **options)
        elif shards == 0:
            added(net, x, y, slice(*parts), COMM_WORLD)
        else:
            lm.distributed.fit(net, x, y, ranks, shards=shards, **options)
        times.append((time.perf_counter() - start) / STEPS)
    if ranks.rank == 0:
        print(median(times[1:]))


def seconds(ranks: int, threads: int, shards: int | None) -> float:
    launcher = Path(sys.executable).with_name("mpirun")
    command = [str(launcher), "-n", str(ranks), sys.executable, __file__]
    command += [f"--shards={shards}"]
    own = os.environ | {"LAMINA_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shards", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shards is not None:
        measure(None if options.shards == "None" else int(options.shards))
        return 0
    times = [[seconds(*case[1:4]) for case in CASES] for _ in range(options.rounds)]
    print("| | ms a step | of one process | limit |\n|---|---|---|---|")
    missed = False
    for i, (name, *_, limit) in enumerate(CASES):
        ratio = median(each[i] / each[0] for each in times)
        step = 1e3 * median(each[i] for each in times)
        print(f"| {name} | {step:.2f} | {ratio:.2f} | {limit or ''} |")
        missed |= limit is not None and ratio > limit
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
