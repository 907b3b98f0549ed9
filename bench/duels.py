"""Lamina and a peer by turns in one process: a Markdown table of medians.

For peers that share nothing with us but the data: what needs an environment of its own
goes through `conftest.py`.
"""

import argparse
import contextlib
import time
import warnings
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, NamedTuple

import threadpoolctl

import lamina as lm

Work = Callable[[], Any]


class Duel(NamedTuple):
    name: str
    peer: str
    floor: float  # of the peer's time by ours; 0: none
    sides: Callable[[], tuple[Work, Work]]  # the peer's and ours
    steps: int = 1  # that the times are divided by


def seconds(work: Work) -> float:
    """Of a call, from as many as take a hundredth of a second."""
    calls, spent = 0, 0.0
    start = time.perf_counter()
    while spent < 0.01:
        work()
        calls, spent = calls + 1, time.perf_counter() - start
    return spent / calls


def shown(value: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1:
            return f"{value * scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def run(description: str | None, duels: Iterable[Duel]) -> int:
    """Time them as the command line says; 1 if a ratio is below its floor, else 0."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", choices=["1", "default"], default="1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-k", default="", help="part of a name")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of convergence
    missed = False
    with contextlib.ExitStack() as stack:
        if options.threads == "1":
            lm.set_num_threads(1)
            stack.enter_context(threadpoolctl.threadpool_limits(1))
        print("| | peer | its time | Lamina's | ratio | floor |")
        print("|---|---|---|---|---|---|")
        for name, peer, floor, sides, steps in duels:
            if options.k not in f"{name} {peer}":
                continue
            works = sides()
            for work in works:
                work()
            turns = [[seconds(work) for work in works] for _ in range(options.rounds)]
            theirs, mine = (median(side) / steps for side in zip(*turns, strict=True))
            ratio = median(a / b for a, b in turns)
            missed |= ratio < floor
            print(
                f"| {name} | {peer} | {shown(theirs)} | {shown(mine)} "
                f"| {ratio:.2f}{' *' if ratio < floor else ''} | {floor or ''} |",
                flush=True,
            )
    return int(missed)
