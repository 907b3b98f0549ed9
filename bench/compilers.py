"""Two builds of Lamina by turns, on one core: for each target a Markdown table of what
a call takes with the second by what it takes with the first.

    CXX=clang++-19 tools/apart.sh build/clang++-19
    python bench/compilers.py .venv/bin/python build/clang++-19/bin/python [--rounds 30]

Ratios are medians over the rounds. Exits with 1 where one is above 1.1.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median
from subprocess import PIPE, Popen
from time import perf_counter
from typing import Any

import lamina as lm
from bench_activations import ELEMENTWISE
from bench_training import NETS, examples, net, weights
from cases import normal
from nets import lamina as nets
from peers import lamina

MOST = 1.1
ROUND = 0.002  # seconds

Call = Callable[[], Any]


def calls() -> Iterator[tuple[str, Call]]:
    x, dy = normal("float32", (16384,)), normal("float32", (16384,), seed=1)
    for name in ELEMENTWISE:
        yield name, lamina.forward(name, x)
        y = lm.activations.get(name)(x)
        yield f"{name} backward", lamina.backward(name, dy, x, y)
    yield "softmax", lamina.forward("softmax", normal("float32", (256, 100)))
    for batch, *widths in NETS[:5]:
        step = nets.training_step(
            weights("float32", *widths), *examples("float32", batch, *widths), 0.0
        )
        yield f"step, {batch}: {net(*widths)}", step


def serve() -> None:
    """Writes how many calls there are; then, for each number that it reads, the
    microseconds that the call takes, and its name."""
    made = list(calls())
    counts = [max(1, int(ROUND / seconds(call, 10))) for _, call in made]
    print(len(made), flush=True)
    for line in sys.stdin:
        name, call = made[int(line)]
        print(seconds(call, counts[int(line)]) * 1e6, name, flush=True)


def seconds(call: Call, count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - start) / count


def ask(server: Popen[str], number: int) -> tuple[float, str]:
    print(number, file=server.stdin, flush=True)
    time, name = read(server).split(maxsplit=1)
    return float(time), name.strip()


def read(server: Popen[str]) -> str:
    assert server.stdout
    return server.stdout.readline()


def compare(pythons: list[str], target: str, rounds: int) -> bool:
    """Whether the second is as fast."""
    environment = os.environ | {"LAMINA_TARGET": target, "LAMINA_NUM_THREADS": "1"}
    start = partial(Popen[str], env=environment, text=True, stdin=PIPE, stdout=PIPE)
    fast = True
    with ExitStack() as stack:
        servers = [stack.enter_context(start([python, __file__])) for python in pythons]
        (count,) = {int(read(server)) for server in servers}
        print(f"\n| {target} | first, us | second by first |\n|---|---|---|")
        for number in range(count):
            times = [[ask(server, number) for server in servers] for _ in range(rounds)]
            first = median(one for (one, _), _ in times)
            ratio = median(two / one for (one, _), (two, _) in times)
            fast &= ratio <= MOST
            star = "" if ratio <= MOST else " *"
            print(f"| {times[0][0][1]} | {first:.2f} | {ratio:.2f}{star} |", flush=True)
    return fast


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--targets", nargs="+", default=["avx2", "avx512"])
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # cores differ
    results = [
        compare(options.pythons, target, options.rounds) for target in options.targets
    ]
    return int(not all(results))


if __name__ == "__main__":
    if len(sys.argv) == 1:  # called by the one with arguments
        serve()
    else:
        sys.exit(main())
