"""Trainings a minute, through `lamina.compare` and beside scikit-learn's grid search.

``python bench/sweeps.py [--trainings N] [--rounds R]`` on a quiet machine of two cores.
The net is 64-64-10 with relu and dropout of 0.2, the data scikit-learn's digits, the
training 40 epochs of 45 steps. In each round all ways take turns; the table has medians
over the rounds, and ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neural_network import MLPClassifier

import lamina as lm

EPOCHS = 40
X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
ROWS = np.arange(len(X))
TEST = ROWS % 5 == 0
SPLIT = [(ROWS[~TEST], ROWS[TEST])]  # 1437 rows: 45 steps of 32
FIT: dict[str, Any] = {"epochs": EPOCHS, "optimizer": lm.Adam(1e-3)}


def build(dropout: float = 0.2, seed: int = 0) -> lm.Sequential:
    return lm.Sequential(
        [lm.Dense(64, "relu"), lm.Dropout(dropout), lm.Dense(10, "softmax")], seed=seed
    )


def bare(count: int) -> None:
    """Nothing but the trainings, one after the other on one thread."""
    x, y = np.ascontiguousarray(X[~TEST]), Y[~TEST]
    with lm.threads(1):
        for seed in range(count):
            build(seed=seed).fit(x, y, **FIT, verbose=0)


def compared(count: int, threads: int) -> Any:
    return lm.compare(
        build,
        X,
        Y,
        vary={"dropout": [0.2]},
        fit=FIT,
        folds=SPLIT,
        seeds=count,
        threads=threads,
        diagnose=False,
        verbose=0,
    )


def searched(count: int) -> Any:
    """scikit-learn's net has no dropout: it does less."""
    net = MLPClassifier((64,), batch_size=32, max_iter=EPOCHS, n_iter_no_change=EPOCHS)
    folds = PredefinedSplit(np.where(TEST, 0, -1))
    grid = {"random_state": range(count)}
    search = GridSearchCV(net, grid, cv=folds, n_jobs=2, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, it says
        return search.fit(X, Y)


def agree() -> None:
    """Both learn the same."""
    ours = compared(4, 1).values("accuracy", 0).mean()
    theirs = searched(4).cv_results_["mean_test_score"].mean()
    assert min(ours, theirs) > 0.95 and abs(ours - theirs) < 0.02, (ours, theirs)


def timed(run: Callable[[], Any], count: int) -> float:
    """Seconds of a training."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    count, few = options.trainings, max(2, options.trainings // 20)
    agree()  # and the workers of joblib have started
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "bare": (partial(bare, count), count),
        "compare, one thread": (partial(compared, count, 1), count),
        "compare, two threads": (partial(compared, count, 2), count),
        "GridSearchCV, n_jobs=2": (partial(searched, few), few),
    }
    rounds = [
        {name: timed(run, n) for name, (run, n) in ways.items()}
        for _ in range(options.rounds)
    ]

    def median(value: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(map(value, rounds))

    for name in ways:
        seconds = statistics.median(each[name] for each in rounds)
        print(f"{name:24} {60 / seconds:8.0f} trainings a minute")
    one, two = "compare, one thread", "compare, two threads"
    overhead = median(lambda r: r[one] / r["bare"]) - 1
    print(f"overhead of compare over bare trainings: {overhead:.1%} (at most 3 %)")
    print(
        f"two threads over one: {median(lambda r: r[one] / r[two]):.2f} (at least 1.8)"
    )
    ratio = median(lambda r: r["GridSearchCV, n_jobs=2"] / r[two])
    print(f"GridSearchCV over compare: {ratio:.1f} (at least 10)")
    print("trainings a minute on two threads: at least 4000 wanted")


if __name__ == "__main__":
    main()
