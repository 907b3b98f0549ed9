"""`compare` and `search` on every backend of joblib: the same scores to the last digit,
and what was saved outlives a worker. `make test-scale` runs this."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.distributed as distributed
import joblib
import numpy as np
import pytest
import ray
from ray.util.joblib import register_ray

import lamina as lm

pytestmark = pytest.mark.filterwarnings("default")  # those of the engines
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(240, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
WIDTHS = [2, 4, 8, 16]
ENGINES = ["threading", "loky", "dask", "ray"]


@pytest.fixture(scope="module")
def engines() -> Iterator[None]:
    """A cluster of each, with two workers."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    )
    client = distributed.Client(cluster)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    yield
    ray.shutdown()
    client.close()
    cluster.close()


def compare(**options: Any) -> lm.experiments.Table:
    def build(width: int, seed: int) -> lm.Sequential:
        return lm.Sequential(
            [lm.Dense(width, "tanh"), lm.Dropout(0.2), lm.Dense(2, "softmax")],
            seed=seed,
        )

    own: dict[str, Any] = {"vary": {"width": WIDTHS}, "seeds": 2, "folds": 3}
    own |= {"fit": {"epochs": 5}, "threads": 2, "diagnose": False} | options
    return lm.compare(build, X, Y, verbose=0, **own)


def scores(table: lm.experiments.Table) -> list[Any]:
    names = "loss", "accuracy", "train_loss"
    keys = "setting", "split", "seed"
    rows = [[*(str(r[k]) for k in keys), *(r[n] for n in names)] for r in table.rows]
    return sorted(rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_the_same_to_the_last_digit(engine: str, engines: None) -> None:
    assert scores(compare(backend=engine)) == scores(compare())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_search_finds_the_same(engine: str, engines: None) -> None:
    def build(width: int, seed: int) -> lm.Sequential:
        return lm.Sequential(
            [lm.Dense(width, "relu"), lm.Dense(2, "softmax")], seed=seed
        )

    def best(backend: str | None) -> list[Any]:
        space = {"width": WIDTHS, "optimizer.learning_rate": lm.log(1e-4, 1e-1)}
        options: dict[str, Any] = {"trials": 6, "epochs": 3, "threads": 2, "folds": 2}
        return scores(
            lm.search(build, X, Y, space=space, backend=backend, verbose=0, **options)
        )

    assert best(engine) == best(None)


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_a_worker_killed_in_mid_search_loses_no_result_that_was_saved(
    engine: str, engines: None, tmp_path: Path
) -> None:
    save, armed = tmp_path / "rows.jsonl", tmp_path / "armed"
    armed.touch()

    def measure(net: Any, x: Any, y: Any) -> dict[str, float]:
        if armed.exists() and len(save.read_text().splitlines()) > 8:
            armed.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"rows": len(x)}

    try:
        table = compare(backend=engine, save=save, measure=measure)
    except Exception:  # the engine's own
        table = None
    if engine == "dask":  # goes on by itself
        assert table is not None and scores(table) == scores(compare())
    assert not armed.exists()
    kept = rows(save)
    assert len(kept) >= 8
    again = compare(backend=engine, save=save, measure=measure)
    assert rows(save)[: len(kept)] == kept
    assert len(rows(save)) == 24
    assert scores(again) == scores(compare())


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


@pytest.mark.parametrize("engine", ["loky", "dask", "ray"])
def test_a_worker_takes_one_thread(engine: str, engines: None) -> None:
    """Engines set OMP_NUM_THREADS to 1 in theirs: 64 workers are no 64 x 64 threads."""

    def count() -> int:
        return lm.get_num_threads()

    with joblib.parallel_config(backend=engine, n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(count)() for _ in range(4)) == [1] * 4
