"""A comparison of 54 nets on every backend of joblib: a Markdown table.

Three widths, three rates, two shares of dropout, three folds of the digits, ten epochs;
two at once. "first": with what the backend needs to begin, its cluster's start aside,
which is named. Every backend must give the same scores.

    .venv-scale/bin/python bench/scale_backends.py
"""

import os
import time
import warnings
from typing import Any

import dask.distributed as cluster
import ray
from ray.util.joblib import register_ray
from sklearn.datasets import load_digits

import lamina as lm


def main() -> None:
    x, y = load_digits(return_X_y=True)

    def build(width: int, rate: float, seed: int) -> lm.Sequential:
        layers = [lm.Dense(width, "relu"), lm.Dropout(rate), lm.Dense(10, "softmax")]
        return lm.Sequential(layers, seed=seed)

    vary: dict[str, Any] = {"width": [32, 64, 128], "rate": [0.0, 0.3]}
    vary["optimizer.learning_rate"] = [1e-3, 3e-3, 1e-2]
    options: dict[str, Any] = {"folds": 3, "diagnose": False, "verbose": 0}
    options |= {"vary": vary, "fit": {"epochs": 10}}

    def timed(backend: str | None, threads: int = 2) -> tuple[float, float]:
        start = time.perf_counter()
        table = lm.compare(
            build, x / 16, y, threads=threads, backend=backend, **options
        )
        return time.perf_counter() - start, sum(sorted(r["loss"] for r in table.rows))

    warnings.simplefilter("ignore")
    start = time.perf_counter()
    client = cluster.Client(  # two processes of a thread each
        n_workers=2, threads_per_worker=1, dashboard_address=None
    )
    dask = time.perf_counter() - start
    start = time.perf_counter()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    starts = {"dask": dask, "ray": time.perf_counter() - start}
    _, wanted = timed(None)
    print("| backend | start, s | first, s | again, s |\n|---|---|---|---|")
    for name, backend, threads in (
        ("one at a time", None, 1),
        ("none: two threads", None, 2),
        ("threading", "threading", 2),
        ("loky", "loky", 2),
        ("dask", "dask", 2),
        ("ray", "ray", 2),
    ):
        (first, found), (again, _) = timed(backend, threads), timed(backend, threads)
        assert found == wanted, name
        begun = f"{starts[name]:.1f}" if name in starts else ""
        print(f"| {name} | {begun} | {first:.2f} | {again:.2f} |")
    ray.shutdown()
    client.close()


if __name__ == "__main__":
    main()
