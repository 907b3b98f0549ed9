"""A million rows: seconds of the processor, memory and error, beside LightGBM.

    PYTHONPATH=bench python -m tabular.million [--rows 1000000] [--learners A,B]

The table is made: numbers of which two have heavy tails, categories of 5 and of 2 000
values, text, a date, gaps; the noise leaves an error of 0.5 at best.
"""

import argparse
import multiprocessing
import resource
import time

import numpy as np
import pandas as pd

from tabular.learners import LEARNERS

NOISE = 0.5


def made(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, 6))
    sums = rng.lognormal(0, 2, (rows, 2))
    few, many = rng.integers(0, 5, rows), rng.integers(0, 2_000, rows)
    day = rng.integers(0, 1_000, rows)
    effects = np.random.default_rng(9).normal(size=2_000)
    y = (
        np.sin(2 * numbers[:, 0]) * (1 + (few == 2))
        + np.abs(numbers[:, 1]) * numbers[:, 2]
        + 0.5 * np.log(sums[:, 0])
        + effects[many]
        + np.cos(day / 58)
        + NOISE * rng.normal(size=rows)
    )
    table = pd.DataFrame(numbers, columns=[f"x{i}" for i in range(6)])
    table[["sum0", "sum1"]] = sums
    table["few"] = pd.Categorical.from_codes(few, [*"abcde"])
    table["many"] = pd.Categorical.from_codes(many, [f"v{i}" for i in range(2_000)])
    table["day"] = day
    table.loc[rng.random(rows) < 0.2, "x5"] = np.nan
    return table, y


def job(learner: str, rows: int) -> str:
    x, y = made(rows + 100_000, 0)
    model = LEARNERS[learner][0](True, 0)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    model.fit(x[:rows], y[:rows])
    fitted = time.process_time()
    found = model.predict(x[rows:])
    ended = time.process_time()
    after = resource.getrusage(resource.RUSAGE_SELF)
    error = np.sqrt(np.mean((found - y[rows:]) ** 2))
    more = (after.ru_maxrss - before.ru_maxrss) / 1024
    return (
        f"{learner:14}RMSE {error:.4f}  fit {fitted - started:6.1f} s  "
        f"predict of 100 000 {ended - fitted:5.2f} s  {more:6.0f} MB more"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--learners", default="Lamina fast,Lamina,LightGBM")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for learner in options.learners.split(","):
        with context.Pool(1) as pool:  # of its own: the peak of memory is its
            print(pool.apply(job, (learner, options.rows)), flush=True)


if __name__ == "__main__":
    main()
