"""`lamina.compare` and `lamina.search`: fair, repeatable, nothing lost, honest."""

import json
import math
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.stats
from joblib.parallel import ThreadingBackend

import lamina as lm
from lamina.experiments.table import t_quantile

random = np.random.default_rng(0)
X = random.normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
FIT: dict[str, Any] = {"epochs": 3, "optimizer": lm.Adam(0.01)}


def build(
    width: int = 8,
    dropout: float = 0.0,
    l2: float = 0.0,
    activation: str = "relu",
    seed: int = 0,
) -> lm.Sequential:
    return lm.Sequential(
        [
            lm.Dense(width, activation, l2=l2),
            lm.Dropout(dropout),
            lm.Dense(2, "softmax"),
        ],
        seed=seed,
    )


def compare(**options: Any) -> Any:
    usual: dict[str, Any] = {"vary": {"width": [2, 8]}, "fit": FIT, "folds": 3}
    options = {**usual, "verbose": 0, **options}
    return lm.compare(options.pop("build", build), X, Y, **options)


def scores(table: Any) -> list[tuple[Any, ...]]:
    """What a training gives, without the time that it took."""
    return [
        (str(row["setting"]), row["split"], row["seed"], row["loss"], row["accuracy"])
        for row in table.rows
    ]


# Fair ---------------------------------------------------------------------------------


def test_a_row_is_what_fit_and_evaluate_say() -> None:
    test = np.arange(0, 120, 4)
    train = np.setdiff1d(np.arange(120), test)
    table = compare(folds=[(train, test)], seeds=[7])
    net = build(8, seed=7)
    net.fit(X[train], Y[train], **FIT, verbose=0)
    row = table.rows[1]
    assert row["setting"] == {"width": 8} and row["seed"] == 7
    assert row["loss"] == net.evaluate(X[test], Y[test])["loss"]
    assert row["accuracy"] == net.evaluate(X[test], Y[test])["accuracy"]
    assert row["train_loss"] == net.evaluate(X[train], Y[train])["loss"]
    assert row["epochs"] == 3


def test_every_setting_meets_the_same_rows_seeds_and_masks() -> None:
    """Two settings that mean the same differ in nothing at all."""
    table = compare(vary={"activation": ["relu", lm.relu]}, seeds=2, folds=2)
    one, other = (table.values("loss", place) for place in (0, 1))
    np.testing.assert_array_equal(one, other)
    assert table.difference(1) == (0, 0, 4)
    assert len({*one}) == 4  # though splits and seeds differ


def test_threads_processes_and_order_change_no_result() -> None:
    alone = compare(threads=1, seeds=2)
    assert scores(compare(threads=3, seeds=2)) == scores(alone)
    backwards = compare(threads=1, seeds=2, vary={"width": [8, 2]})
    assert sorted(scores(backwards)) == sorted(scores(alone))
    assert scores(compare(backend="threading", threads=2, seeds=2)) == scores(alone)


def test_processes_give_the_same() -> None:
    table = compare(backend="loky", threads=2)
    assert scores(table) == scores(compare())


def test_results_are_saved_while_others_are_to_come(tmp_path: Path) -> None:
    """Also where all of a call come at once, as on Ray: a worker may be killed."""

    class AtTheEnd(ThreadingBackend):  # type: ignore[misc]
        supports_return_generator = False

    joblib.register_parallel_backend("at the end", AtTheEnd)
    save = tmp_path / "rows.jsonl"

    def measure(net: Any, x: Any, y: Any) -> dict[str, float]:
        return {"saved": len(save.read_text().splitlines()) - 1}

    options: dict[str, Any] = {"seeds": 2, "threads": 2, "backend": "at the end"}
    table = compare(save=save, measure=measure, **options)
    assert {row["saved"] for row in table.rows} == {0, 8}  # of 12
    assert scores(table) == scores(compare(seeds=2))


def test_a_penalty_does_not_count_against_its_setting() -> None:
    """With a rate so small that nothing moves, the losses are those without it."""
    still: dict[str, Any] = {"epochs": 1, "optimizer": lm.SGD(1e-12)}
    table = compare(vary={"l2": [0.0, 10.0]}, fit=still, folds=2)
    assert table.difference(1)[0] == pytest.approx(0, abs=1e-9)  # sums of float64
    net = build(l2=10.0)
    net.fit(X, Y, **still, verbose=0)
    assert net.evaluate(X, Y)["loss"] > 5  # the penalty is there


def test_folds_share_out_the_classes() -> None:
    rare = np.array([1] * 9 + [0] * 111)
    seen: list[Any] = []

    def measure(net: Any, x: Any, y: Any) -> dict[str, float]:
        seen.append(sorted(y))
        return {"rare": int(y.sum())}

    table = lm.compare(
        build, X, rare, vary={"width": [2]}, fit=FIT, folds=3, measure=measure,
        threads=1, verbose=0,
    )  # fmt: skip
    assert [row["rare"] for row in table.rows] == [3, 3, 3]
    assert sum(map(len, seen)) == 120


def test_parts_of_the_optimizer_and_arguments_of_fit_are_varied() -> None:
    vary = {"optimizer.learning_rate": [0.1, 0.01], "batch_size": [16]}
    table = compare(vary=vary, fit={"epochs": 2}, folds=2)
    net = build()
    rows = table.rows[2:]
    split = table._experiment.splits[0]
    net.fit(
        split.x, split.y, epochs=2, batch_size=16, optimizer=lm.Adam(0.01), verbose=0
    )
    assert rows[0]["loss"] == net.evaluate(split.x_test, split.y_test)["loss"]
    assert table.settings[1] == {"optimizer.learning_rate": 0.01, "batch_size": 16}


def test_weights_of_rows_go_with_their_rows() -> None:
    """A split whose test rows weigh nothing has no loss."""
    weights = np.ones(120)
    weights[:40] = 0
    parts = [(np.arange(40, 120), np.arange(40))]
    table = compare(fit=FIT | {"sample_weight": weights}, folds=parts)
    assert table.rows[0]["loss"] == 0


def test_callbacks_remember_nothing_of_other_nets() -> None:
    stop = lm.callbacks.EarlyStopping(patience=2, restore_best=True)
    fit: dict[str, Any] = {
        "epochs": 30,
        "optimizer": lm.Adam(0.05),
        "callbacks": [stop],
        "validation_split": 0.3,
    }
    table = compare(fit=fit, seeds=3, threads=2)
    assert scores(table) == scores(compare(fit=fit, seeds=3, threads=1))
    assert stop.best is None
    assert len({row["epochs"] for row in table.rows}) > 1


def test_metrics_of_fit_are_measured_on_the_rows_held_out() -> None:
    def ones(y: Any, outputs: Any) -> float:
        return float(y.mean())

    fit = FIT | {"metrics": [ones]}
    table = compare(fit=fit, folds=[(np.arange(60), np.arange(60, 120))])
    assert table.rows[0]["ones"] == Y[60:].mean()


def test_a_net_in_place_of_a_function() -> None:
    net = build(seed=3)
    table = lm.compare(
        net, X, Y, vary={"batch_size": [8, 32]}, fit=FIT, seeds=[3], folds=2, verbose=0
    )
    assert scores(table)[2:] == scores(
        compare(vary={"batch_size": [32]}, seeds=[3], folds=2)
    )
    assert not net.features  # clones were trained


def test_tables_sparse_matrices_and_regressions() -> None:
    import pandas as pd
    import scipy.sparse

    def line(seed: int, width: int) -> lm.Sequential:
        return lm.Sequential([lm.Dense(width, "tanh"), lm.Dense(1)], seed=seed)

    target = X @ [1.0, 2.0, 3.0, 4.0]
    tables = [
        lm.compare(line, x, target, vary={"width": [4]}, fit=FIT, folds=3, verbose=0)
        for x in (X, pd.DataFrame(X), scipy.sparse.csr_matrix(X))
    ]
    first = tables[0].values("loss", 0)
    assert all((table.values("loss", 0) == first).all() for table in tables)
    assert "accuracy" not in str(tables[0])


# Honest of doubt ----------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [1, 2, 5, 8, 9, 12, 30, 100, 10_000])
def test_quantiles_of_student(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(
        scipy.stats.t.ppf(0.975, freedom), rel=1e-5
    )


def test_intervals_are_those_of_scipy_and_of_nadeau_and_bengio() -> None:
    table = compare(validation=(X[:30], Y[:30]), seeds=6)
    gaps = table.values("loss", 1) - table.values("loss", 0)
    mean, half, pairs = table.difference(1)
    low, high = scipy.stats.t.interval(
        0.95, 5, loc=gaps.mean(), scale=scipy.stats.sem(gaps)
    )
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-5)
    assert pairs == 6

    table = compare(folds=4, seeds=2)  # each test fold is a third of its training rows
    gaps = table.values("loss", 1) - table.values("loss", 0)
    scale = gaps.std(ddof=1) * math.sqrt(1 / 8 + 1 / 3)
    assert table.difference(1)[1] == pytest.approx(
        scipy.stats.t.ppf(0.975, 7) * scale, rel=1e-5
    )


def test_one_pair_has_no_interval() -> None:
    table = compare(validation=(X, Y))
    mean, half, pairs = table.difference(1)
    assert pairs == 1 and half == math.inf and math.isfinite(mean)
    assert "inf" not in str(table) and "nan" not in str(table)


# Nothing lost -------------------------------------------------------------------------


def test_a_training_that_fails_is_a_row_with_its_error() -> None:
    def fragile(width: int, seed: int) -> lm.Sequential:
        if width == 3 and seed == 1:
            raise RuntimeError("no net today")
        return build(width, seed=seed)

    table = compare(build=fragile, vary={"width": [8, 3, 4]}, seeds=2)
    bad = [row for row in table.rows if "error" in row]
    assert [row["split"] for row in bad] == [0, 1, 2]
    assert {row["error"] for row in bad} == {"RuntimeError: no net today"}
    assert "failed: RuntimeError: no net today" in str(table)
    assert table.ranked()[-1] == 1  # a setting that fails is not the best


def test_a_loss_that_is_not_finite_counts_as_failed() -> None:
    def wild(rate: float, seed: int) -> lm.Sequential:
        return lm.Sequential([lm.Dense(4), lm.Dense(1)], seed=seed)

    table = lm.compare(
        wild, X, X[:, 0], vary=[{"rate": 1.0, "optimizer": lm.SGD(1e6)},
        {"rate": 2.0, "optimizer": lm.SGD(0.01)}], fit={"epochs": 5}, verbose=0,
    )  # fmt: skip
    assert table.best["rate"] == 2.0
    assert table.summary()[0]["failed"] == 5


def test_what_fit_warns_about_is_no_failure_of_a_setting() -> None:
    """Where warnings are errors, too: nets that are sick are tried on purpose."""

    def warning(width: int, seed: int) -> lm.Sequential:
        warnings.warn("rate too high: the first step changed it", stacklevel=1)
        return build(width, seed=seed)

    assert not any("error" in row for row in compare(build=warning).rows)


def test_nothing_ended_is_said() -> None:
    table = compare(build=lambda width, seed: None)
    assert "TypeError: build must return a net, got None" in str(table)
    with pytest.raises(ValueError, match="best needs a training"):
        _ = table.best
    assert repr(table) == "<Table of 6 trainings>"


def test_results_are_saved_and_not_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    calls: list[int] = []

    def counted(width: int, seed: int) -> lm.Sequential:
        calls.append(width)
        return build(width, seed=seed)

    first = compare(build=counted, save=path)
    assert len(calls) == 6
    assert scores(compare(build=counted, save=path)) == scores(first)
    assert len(calls) == 6
    more = compare(build=counted, save=path, vary={"width": [2, 8, 4]}, seeds=2)
    assert len(calls) == 18  # two thirds of them new
    assert set(scores(first)) < set(scores(more))
    lines = path.read_text().splitlines()
    assert len(lines) == 19
    settings = [json.loads(line)["setting"]["width"] for line in lines[1:]]
    assert sorted(settings) == 6 * [2] + 6 * [4] + 6 * [8]


def test_a_torn_last_line_is_kept_and_its_training_done_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    whole = scores(compare(save=path))
    text = path.read_text()
    for length in (len(text) - 30, len(text) - 1, 10, 0):
        path.write_text(text[:length])
        assert scores(compare(save=path)) == whole
        assert path.read_text().startswith(text[:length])
        assert scores(compare(save=path)) == whole


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    path, broken = tmp_path / "out.jsonl", [True]

    def healing(width: int, seed: int) -> lm.Sequential:
        if broken:
            raise MemoryError
        return build(width, seed=seed)

    assert all("error" in row for row in compare(build=healing, save=path).rows)
    broken.clear()
    healed = scores(compare(build=healing, save=path))
    assert healed == scores(compare())
    assert scores(compare(build=healing, save=path)) == healed


def test_losses_that_are_not_finite_come_back_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    options: dict[str, Any] = {
        "vary": {"width": [4]},
        "fit": {"epochs": 1},
        "measure": lambda net, x, y: {"odd": math.inf},
        "save": path,
    }
    compare(**options)
    assert "Infinity" not in path.read_text()
    assert math.isnan(compare(**options).rows[0]["odd"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fit": FIT | {"epochs": 4}}, "fit differ"),
        ({"folds": 4}, "folds differ"),
        ({"vary": {"dropout": [0.5]}}, "names differ"),
        ({"build": lambda width, seed: build(width, seed=seed)}, "build differ"),
        ({"validation": (X, Y)}, "data, folds differ"),
        ({"measure": lambda net, x, y: {}}, "measure differ"),
    ],
)
def test_a_file_of_another_experiment_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    compare(save=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"save must be .*{message}"):
        compare(save=path, **change)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "x", "[]\n", "{}\n", "\n"])
def test_any_other_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"save must be .*which holds no experiment"):
        compare(save=path)
    assert path.read_text() == text


def test_a_file_that_cannot_be_written_is_told_before_the_training(
    tmp_path: Path,
) -> None:
    began: list[int] = []
    for path, kind in (
        (tmp_path / "none" / "out.jsonl", FileNotFoundError),
        (tmp_path, IsADirectoryError),
    ):
        with pytest.raises(kind, match=str(path)):
            compare(build=lambda width, seed: began.append(1), save=path)
    assert not began


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, lamina as lm
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
x = np.random.default_rng(0).normal(size=(4000, 50)); y = (x[:, 0] > 0).astype(int)
def build(width, seed):
    return lm.Sequential([lm.Dense(width, "relu"), lm.Dense(2, "softmax")], seed=seed)
def interrupt():
    while not os.path.exists("out.jsonl") or open("out.jsonl").read().count("\\n") < 3:
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
table = lm.compare(build, x, y, vary={"width": [4, 5, 512]}, fit={"epochs": 500},
    threads=2, save="out.jsonl", verbose=0, diagnose=False)
print(table.stopped, len(table.rows), "stopped by interrupt" in str(table))
"""


def test_ctrl_c_keeps_what_is_done_and_ends_all(tmp_path: Path) -> None:
    """Fifteen trainings of which each third would take minutes."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stopped, rows, said = done.stdout.split()
    assert (stopped, said) == ("interrupt", "True")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert 2 <= int(rows) == len(lines) - 1 < 15
    assert all(json.loads(line) for line in lines)


def test_a_signal_handler_of_ones_own_stays() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        table = compare(fit={"epochs": 200}, seeds=2)
        time.sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard and table.stopped is None and len(table.rows) == 12


def test_results_are_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    table = compare(vary={"width": [2, 8], "epochs": [1]}, fit={})
    table.to_csv(path)
    head, *rows = path.read_text().splitlines()
    assert head.startswith("width,setting.epochs,split,seed,loss,accuracy")
    assert len(rows) == 6
    with pytest.raises(FileExistsError):
        table.to_csv(path)


# Bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vary": {"widht": [1]}}, "vary must name .*width.*got 'widht'"),
        ({"vary": {"width": 3}}, r"vary\['width'\] must be a list of values, got 3"),
        ({"vary": {"width": []}}, "vary must give a setting"),
        ({"vary": {"width": [2, 2]}}, "different settings.*twice"),
        ({"vary": [{"width": 1}, {"l2": 1}]}, "the same values in all settings"),
        ({"vary": 5}, "vary must be a dict"),
        ({"vary": {"seed": [1]}}, "got 'seed'"),
        ({"fit": {"epoch": 1}}, "fit must name epochs.*got 'epoch'"),
        ({"folds": 1}, "folds must be from 2 to the 120 rows, got 1"),
        ({"folds": 121}, "folds must be from 2 to the 120 rows, got 121"),
        ({"folds": []}, "folds must give a pair"),
        ({"folds": [([0, 1], [1])]}, "different numbers of rows"),
        ({"seeds": 0}, "seeds must be an integer >= 1"),
        ({"seeds": [1, 1]}, "seeds must be different"),
        ({"threads": 0}, "threads must be an integer >= 1"),
        ({"backend": "carrier pigeon"}, "carrier pigeon"),
        ({"folds": [([0, 1], [120])]}, "numbers of rows below 120"),
        ({"validation": (X[:, :3], Y)}, r"validation\[0\] must have 4 features"),
        ({"validation": X}, r"validation must be \(x, y\)"),
        ({"build": lambda width: build(width)}, "build must take seed="),
        ({"build": 3}, "build must be a function or a net"),
    ],
)
def test_arguments_that_no_training_could_use(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        compare(**options)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:5], "y must have as many rows as x, 120"),
        (X, np.zeros(120), "y must have two different values, got only 0"),
        (X[:, 0], Y, "x must be 2-d"),
        (np.where(X > 1, np.nan, X), Y, "x must be finite"),
        (X.astype(str), Y, "x must hold real numbers"),
    ],
)
def test_data_that_no_training_could_use(x: Any, y: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lm.compare(build, x, y, vary={"width": [2]}, verbose=0)


def test_a_name_of_what_the_experiments_are_is_not_loaded_by_import() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, lamina\n"
            "loaded = {m for m in sys.modules if m.startswith('lamina.')}\n"
            "late = {'experiments', 'plot', 'optuna', 'diagnosis'}\n"
            "assert not {m for m in loaded if m.split('.')[1] in late}, loaded\n"
            "lamina.compare; lamina.search; lamina.log\n"
            "assert not hasattr(lamina, 'no_such_name')",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Search -------------------------------------------------------------------------------

SPACE: dict[str, Any] = {
    "width": [1, 2, 4, 8],
    "optimizer.learning_rate": lm.log(1e-5, 1e-1),
}


def search(**options: Any) -> Any:
    usual: dict[str, Any] = {
        "space": SPACE,
        "trials": 9,
        "epochs": 9,
        "folds": 2,
        "verbose": 0,
    }
    options = usual | options
    return lm.search(options.pop("build", build), X, Y, **options)


class Steps(lm.callbacks.Callback):
    """Counts the epochs of all nets."""

    epochs = 0

    def on_epoch_end(self, net: Any, epoch: int, scores: Any) -> None:
        Steps.epochs += 1


@pytest.fixture
def epochs() -> type[Steps]:
    Steps.epochs = 0
    return Steps


def test_halving_trains_no_step_twice_and_gives_the_nets_of_straight_training(
    epochs: type[Steps],
) -> None:
    found = search(fit={"callbacks": [Steps()]}, threads=1)
    # Nine to the first epoch, three on to the third, one on to the ninth; two folds.
    assert epochs.epochs == 2 * (9 * 1 + 3 * 2 + 1 * 6)
    assert [row["rung"] for row in found._last(0)] == [9, 9]
    assert len(found.rows) == 2 * (9 + 3 + 1)
    split = found._experiment.splits[0]
    net = build(found.best["width"])
    rate = found.best["optimizer.learning_rate"]
    net.fit(split.x, split.y, epochs=9, optimizer=lm.Adam(rate), verbose=0)
    row = found._last(0)[0]
    assert row["loss"] == net.evaluate(split.x_test, split.y_test)["loss"]


def test_halving_keeps_the_better_third() -> None:
    found = search()
    first = {
        str(row["setting"]): row["loss"]
        for row in found.rows
        if row["rung"] == 1 and row["split"] == 0
    }
    rungs = [found._rung(place) for place in range(9)]
    assert rungs == [9, 3, 3, 1, 1, 1, 1, 1, 1]
    means = [
        np.mean([r["loss"] for r in found._of[p] if r["rung"] == 1]) for p in range(9)
    ]
    assert max(means[:3]) <= min(means[3:])
    assert len(first) == 9


def test_a_search_goes_on_from_its_file(tmp_path: Path, epochs: type[Steps]) -> None:
    path = tmp_path / "search.jsonl"
    fit = {"callbacks": [Steps()]}
    whole = search(fit=fit, save=path, threads=1)
    lines = path.read_text().splitlines(keepends=True)
    before = epochs.epochs
    assert scores(search(fit=fit, save=path, threads=1)) == scores(whole)
    assert epochs.epochs == before
    path.write_text("".join(lines[:-1]))  # the last training of the last rung is lost
    assert scores(search(fit=fit, save=path, threads=1)) == scores(whole)
    assert epochs.epochs == before + 9
    with pytest.raises(ValueError, match="save must be"):
        search(fit=fit, save=path, epochs=27)


def test_random_and_grid() -> None:
    found = search(method="random", trials=5)
    assert len(found.settings) == 5 and len(found.rows) == 10
    rates = [setting["optimizer.learning_rate"] for setting in found.settings]
    assert all(1e-5 <= rate <= 1e-1 for rate in rates)
    assert search(method="random", trials=5).settings == found.settings
    assert search(method="random", trials=5, seed=1).settings != found.settings
    few = {"width": [1, 2], "dropout": [0.0, 0.5]}
    grid = search(method="grid", trials=None, space=few)
    assert len(grid.settings) == 4
    losses = [grid.values("loss", place).mean() for place in range(4)]
    assert losses == sorted(losses)
    assert len(search(space=few, trials=50).settings) == 4  # there are no more


def test_ranges_of_a_space_keep_their_kinds() -> None:
    space = {"width": (2, 5), "dropout": (0.0, 0.5), "batch_size": lm.log(8, 64)}
    found = search(space=space, method="random", trials=30, epochs=1, folds=2)
    widths = {setting["width"] for setting in found.settings}
    assert widths == {2, 3, 4, 5}
    assert all(isinstance(s["batch_size"], int) for s in found.settings)
    assert all(0 <= s["dropout"] <= 0.5 for s in found.settings)


def test_refit_trains_the_best_on_all_rows() -> None:
    found = search()
    net = found.refit(X, Y, seed=5)
    own = build(found.best["width"], seed=5)
    rule = lm.Adam(found.best["optimizer.learning_rate"])
    own.fit(X, Y, epochs=9, optimizer=rule, verbose=0)
    np.testing.assert_array_equal(net.parameters, own.parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bayes"}, "method must be 'halving', 'random' or 'grid'"),
        ({"method": "grid"}, "trials must not come with method 'grid'"),
        ({"method": "grid", "trials": None}, "must be a list for method 'grid'"),
        ({"eta": 1}, "eta must be an integer >= 2"),
        ({"space": {}}, "space must be a dict"),
        ({"space": {"width": 3}}, r"space\['width'\] must be a list"),
        ({"space": {"width": (1, 2, 3)}}, r"\(low, high\)"),
        ({"space": {"width": (5, 2)}}, "low < high"),
        ({"space": {"width": []}}, "must hold a value"),
        ({"fit": {"epochs": 3}}, "epochs must be given by itself"),
    ],
)
def test_a_search_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        search(**options)
    with pytest.raises((TypeError, ValueError), match="high must be"):
        lm.log(1, 1)
