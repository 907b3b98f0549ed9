"""Training in bfloat16 beside our own float32: Markdown tables.

    python bench/bf16.py [--rounds 40] [--threads 1]    # steps
    python bench/bf16.py --accuracy [--seeds 10]        # accuracies on rows held out

Steps of both take turns in one process; ratios are medians, over the rounds, of
float32's time by that of bfloat16 next to it. Exits with 1 where one is below its
floor. PyTorch's autocast is in `bench_training.py`, "step in bf16".
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import mean, median
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification

import lamina as lm
from bench_training import NARROW, NETS, examples, net, weights
from nets import lamina as nets

# Of float32's time by that of "auto"; of what auto leaves in float32, nothing is lost.
FLOORS = {NETS[4]: 1.35, NETS[5]: 1.5, NARROW: 1.3}
ROUND = 0.005  # seconds


def steps(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    batch, *widths = shape
    x, y = examples("float32", batch, *widths)
    made = [nets.net(weights("float32", *widths)) for _ in range(3)]
    precisions: list[Any] = ["float32", "auto", "bf16"]
    return {
        precision: partial(each.train_on_batch, x, y, precision=precision)
        for precision, each in zip(precisions, made, strict=True)
    }


def seconds(call: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def speed(rounds: int) -> bool:
    """Whether all floors are kept."""
    kept = True
    print("| batch: net | float32, us | auto | bf16 | floor of auto |")
    print("|---|---|---|---|---|")
    for shape in [*NETS, NARROW]:
        calls = steps(shape)
        for call in calls.values():
            seconds(call, 3)
        count = max(1, int(ROUND / seconds(calls["float32"], 3)))
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(rounds):
            for name in np.roll(list(calls), turn):
                times[name].append(seconds(calls[name], count))
        ratios = {
            name: median(a / b for a, b in zip(times["float32"], own, strict=True))
            for name, own in times.items()
        }
        floor = FLOORS.get(shape, 0.97)
        kept &= ratios["auto"] >= floor
        print(
            f"| {shape[0]}: {net(*shape[1:])} | {median(times['float32']) * 1e6:.0f} "
            f"| {ratios['auto']:.2f} | {ratios['bf16']:.2f} | {floor} |",
            flush=True,
        )
    return kept


def tables() -> dict[str, tuple[Any, Any]]:
    digits = load_digits(return_X_y=True)
    made = make_classification(
        20_000, 30, n_informative=15, n_classes=4, flip_y=0.05, random_state=0
    )
    return {"digits": digits, "20 000 x 30": made}


def accuracy(seeds: int) -> bool:
    """Whether means differ by 0.3 points at most."""
    kept = True
    print("| data | float32, % | bf16, % | difference | its standard error |")
    print("|---|---|---|---|---|")
    for name, (x, y) in tables().items():
        scores: dict[Any, list[float]] = {"float32": [], "bf16": []}
        for seed in range(seeds):
            for precision, own in scores.items():
                model = lm.Sequential(
                    [
                        lm.Standardize(),
                        *(lm.Dense(128, "relu") for _ in range(2)),
                        lm.Dense(int(y.max()) + 1, "softmax"),
                    ],
                    seed=seed,
                )
                history = model.fit(
                    x,
                    y,
                    epochs=30,
                    batch_size=128,
                    validation_split=0.3,
                    precision=precision,
                    verbose=0,
                )
                own.append(100 * history["val_accuracy"][-1])
        pairs = np.subtract(scores["bf16"], scores["float32"])
        error = pairs.std(ddof=1) / np.sqrt(seeds)
        kept &= abs(pairs.mean()) <= 0.3
        print(
            f"| {name} | {mean(scores['float32']):.2f} | {mean(scores['bf16']):.2f} "
            f"| {pairs.mean():+.2f} | {error:.2f} |",
            flush=True,
        )
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    if not lm.show_config()["bf16"]:
        sys.exit("this processor has no avx512_bf16")
    lm.set_num_threads(options.threads)
    kept = accuracy(options.seeds) if options.accuracy else speed(options.rounds)
    sys.exit(0 if kept else 1)
