"""Tables of any columns become nets that answer well, the same everywhere."""

import datetime
import decimal
import itertools
import os
import pickle
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lamina as lm
from lamina.__main__ import main
from lamina.tabular import TableClassifier, TableRegressor, load, recipe, scores
from lamina.tabular.columns import Columns, Frame

COLOURS = np.array(["red", "green", "blue"])


def shop(n: int = 1000, seed: int = 0) -> tuple[pd.DataFrame, Any]:
    """A table whose target goes by a number, a category and a gap."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(3, 1, n)
    colour = rng.integers(0, 3, n)
    town = rng.integers(0, 12, n)
    wait = rng.normal(size=n)
    known = rng.random(n) > 0.3
    signal = np.log(price) - 3 + (colour == 1) + 0.5 * (town % 3 - 1) - 1.5 * known
    table = pd.DataFrame(
        {
            "price": price,
            "colour": pd.Categorical(COLOURS[colour]),
            "town": [f"town {i}" for i in town],
            "wait": np.where(known, wait, np.nan),
            "member": rng.random(n) > 0.5,
        }
    )
    return table, signal + 0.1 * rng.normal(size=n)


@pytest.fixture(scope="module")
def fitted() -> tuple[Any, Any, Any]:
    x, y = shop()
    labels = np.where(y > 0, "yes", "no")
    return TableClassifier("fast").fit(x[:800], labels[:800]), x[800:], labels[800:]


def test_mixed_columns_are_learnt_from(fitted: Any) -> None:
    est, x, y = fitted
    # A line through the numbers alone, which knows neither category nor gap.
    numbers = x[["price", "member"]]
    line = cross_val_score(LogisticRegression(), numbers, y).mean()
    assert est.score(x, y) > 0.9 > line + 0.1
    kinds = {column.name: column.kind for column in est.columns_}
    assert kinds == {
        "price": "number",
        "colour": "category",
        "town": "category",
        "wait": "number",
        "member": "boolean",
    }
    assert str(est.columns_[3]) == "wait: number, with gaps"
    assert str(est.columns_[1]) == "colour: category (3 values: blue, green, red)"


def test_numbers_are_foretold() -> None:
    x, y = shop()
    est = TableRegressor("fast").fit(x[:800], y[:800])
    assert est.score(x[800:], y[800:]) > 0.95  # the noise leaves 0.99
    assert est.scores_["r2"] > 0.9
    assert est.predict(x).min() >= y[:800].min()


def test_columns_go_by_name(fitted: Any) -> None:
    est, x, _ = fitted
    expected = est.predict_proba(x)
    turned = x[x.columns[::-1]].assign(more="anything")
    np.testing.assert_array_equal(est.predict_proba(turned), expected)
    with pytest.raises(ValueError, match="none named 'town', 'wait'"):
        est.predict(x.drop(columns=["wait", "town"]))
    with pytest.raises(ValueError, match=r"'price' of X must hold numbers.*text"):
        est.predict(x.assign(price="cheap"))
    # Text of numbers, integers for floats, booleans as numbers are the same columns.
    other = x.assign(member=x.member.astype(float), colour=x.colour.astype(str))
    np.testing.assert_array_equal(est.predict_proba(other), expected)


def test_polars_and_arrays_are_tables_too(fitted: Any) -> None:
    est, x, y = fitted
    frame = pl.DataFrame({name: x[name].tolist() for name in x}, strict=False)
    frame = frame.with_columns(pl.col("wait").fill_nan(None))
    np.testing.assert_array_equal(est.predict_proba(frame), est.predict_proba(x))
    again = TableClassifier("fast").fit(frame, pl.Series(y))
    assert again.feature_names_in_.tolist() == list(x)
    rows = x.assign(colour=x.colour.astype(str)).to_numpy(object)
    plain = TableClassifier("fast").fit(rows, y)
    assert [c.kind for c in plain.columns_] == [c.kind for c in est.columns_]
    with pytest.raises(ValueError, match="expecting 5 features"):
        plain.predict(rows[:, :4])


def test_every_dtype_of_pandas() -> None:
    n = 60
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-30", periods=n, freq="17h")
    numbers = rng.integers(0, 9, n)
    x = pd.DataFrame(
        {
            "int8": numbers.astype("int8"),
            "uint64": numbers.astype("uint64") + 2**60 * (numbers > 4).astype("uint64"),
            "float16": numbers.astype("float16"),
            "Int64": pd.array([None, *numbers[1:]], "Int64"),
            "Float32": pd.array([None, *numbers[1:]], "Float32"),
            "bool": numbers > 4,
            "boolean": pd.array([None, *(numbers[1:] > 4)], "boolean"),
            "string": pd.array([None, *COLOURS[numbers[1:] % 3]], "string"),
            "object": [None, *COLOURS[numbers[1:] % 3]],
            "ordered": pd.Categorical(numbers % 3, ordered=True),
            "dates": days,
            "zoned": days.tz_localize("Asia/Tokyo"),
            "gap": days.where(numbers > 2),
            "span": pd.to_timedelta(numbers, "h"),
            "text date": days.strftime("%Y-%m-%d"),
            "text number": [f"{i}.5" for i in range(n)],
            "decimal": [decimal.Decimal(int(i)) for i in numbers],
            "python date": [day.date() for day in days],
            "time": [datetime.time(int(i)) for i in numbers],
            "constant": "a",
            "empty": np.full(n, np.nan),
            "nothing": [None] * n,
            "identifier": [f"id-{i}" for i in range(n)],
            "mixed": [1, "a", 2.5] * (n // 3),
        }
    )
    est = TableRegressor("fast").fit(x, numbers)
    kinds = {column.name: column.kind for column in est.columns_}
    date = ["dates", "zoned", "gap", "text date", "python date"]
    assert [name for name in kinds if kinds[name] == "date"] == date
    unused = ["constant", "empty", "nothing", "identifier"]
    assert [name for name in kinds if kinds[name] == "unused"] == unused
    category = ["string", "object", "ordered", "time", "mixed"]
    assert [name for name in kinds if kinds[name] == "category"] == category
    assert kinds["boolean"] == "boolean" and kinds["span"] == "number"
    assert kinds["text number"] == kinds["decimal"] == "number"
    rows = est.encode(x)
    assert rows.dtype == np.float32 and np.isfinite(rows).all()
    assert np.isfinite(est.predict(x.iloc[::-1])).all()


def test_rows_of_numbers_are_those_of_the_paper() -> None:
    x = np.array([[1.0, 5], [2, 5], [3, 7], [4, 5], [100, 5], [np.nan, 5]])
    rows = Columns(Frame(x), None).rows(Frame(x))
    # Quartiles 2 and 4; those of the second are equal, half of its range is 1; then a
    # column for the gap.
    u = (np.array([1.0, 2, 3, 4, 100]) - 3) / 2
    np.testing.assert_allclose(rows[:5, 0], u / np.sqrt(1 + (u / 3) ** 2), rtol=1e-6)
    assert rows[5, 0] == 0
    assert rows[2, 1] == pytest.approx(2 / np.sqrt(1 + (2 / 3) ** 2))
    assert len(set(rows[:5, 2])) == 1 and rows[5, 2] > rows[0, 2]


def test_dates_of_today_keep_their_seconds() -> None:
    """Of numbers of seconds since 1970 float32 keeps a hundred alike."""
    start = np.datetime64("2026-01-01T00:00:00")
    x = pd.DataFrame({"at": start + np.arange(600).astype("timedelta64[s]")})
    est = TableRegressor("fast").fit(x, np.arange(600.0))
    assert len(np.unique(est.encode(x)[:, 0])) == 600
    assert est.score(x, np.arange(600.0)) > 0.99


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_ten_thousand_categories_and_unknown_ones(kind: Any) -> None:
    rng = np.random.default_rng(0)
    code = rng.integers(0, 10_000, 20_000)
    x = pd.DataFrame({"code": [f"c{i}" for i in code]})
    y = (code % 2).astype(int)
    est = kind("fast").fit(x, y)
    assert est.columns_[0].kind == "category" and len(est.columns_[0].values) > 5000
    assert est.net_.layers[0].dims == 8
    new = est.predict(pd.DataFrame({"code": ["never seen", None]}))
    assert new[0] == new[1]


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: ([[1.0, 2]] * 9, [*"aabbaabb", None]), "no gaps, got one in row 8"),
    (lambda: ([[1.0, 2]] * 9, [0, 1, np.nan] * 3), "y contains NaN"),
    (lambda: ([[1.0, 2]], ["a"]), "two rows at least"),
    (lambda: (np.zeros((0, 3)), []), "0 sample"),
    (lambda: (pd.DataFrame(index=range(5)), list("aabbb")), "0 feature"),
    (lambda: ([[1.0, np.inf]] * 4, [*"aabb"]), "infinity.* column 'x1'"),
    (lambda: (pd.DataFrame({"a": [{}] * 4}), [*"aabb"]), "'a' of X.*string or a num"),
    (lambda: ([[1.0]] * 4, [*"aab"]), "inconsistent numbers of samples"),
    (lambda: (scipy.sparse.eye_array(4), [*"aabb"]), "[Ss]parse"),
    (lambda: (np.arange(4.0), [*"aabb"]), "Reshape your data"),
    (lambda: ([[1.0]] * 4, [[0, 2], [1, 1], [2, 0], [1, 1]]), "MultiOutputClassifier"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_cannot_be_learnt_from_is_one_sentence(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        TableClassifier("fast").fit(*make())


def test_one_class_and_a_constant_target() -> None:
    x, _ = shop(100)
    est = TableClassifier("fast").fit(x, ["only"] * 100)
    assert set(est.predict(x)) == {"only"} and (est.predict_proba(x) == 1).all()
    with pytest.raises(AttributeError, match="one class"):
        _ = est.net_
    assert (TableRegressor("fast").fit(x, np.full(100, 7.5)).predict(x) == 7.5).all()


def test_tables_of_nothing_that_helps_give_what_is_usual() -> None:
    x = pd.DataFrame({"empty": [None] * 90, "same": 3})
    p = TableClassifier("fast").fit(x, [0] * 60 + [1] * 30).predict_proba(x)
    np.testing.assert_allclose(p[:, 1], 1 / 3, atol=0.03)  # by the rows held out


def test_a_rare_class_is_learnt_from() -> None:
    x, _ = shop(200)
    y = np.array(["a"] * 120 + ["b"] * 79 + ["once"])
    est = TableClassifier("fast").fit(x, y)
    assert est.classes_.tolist() == ["a", "b", "once"]
    assert 199 not in est._held


def test_weights_count() -> None:
    x, y = shop(600)
    labels = np.where(y > 0, "yes", "no")
    even = TableClassifier("fast").fit(x, labels).predict_proba(x)[:, 1].mean()
    heavy = TableClassifier("fast", class_weight={"yes": 9, "no": 1}).fit(x, labels)
    assert heavy.predict_proba(x)[:, 1].mean() > even + 0.02
    by_rows = TableClassifier("fast").fit(x, labels, np.where(labels == "yes", 9.0, 1))
    np.testing.assert_array_equal(by_rows.predict_proba(x), heavy.predict_proba(x))
    # Rows of weight 0 are not there.
    half = np.arange(600) < 300
    some = TableRegressor("fast").fit(x, y, half.astype(float))
    alone = TableRegressor("fast").fit(x[:300], y[:300])
    np.testing.assert_allclose(some.predict(x), alone.predict(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("table", [pd.DataFrame, np.array, pl.DataFrame])
def test_rows_of_weight_0_do_not_say_what_a_column_is(table: Any) -> None:
    few = [f"{i % 5}" for i in range(100)]  # categories, if there is no word among them
    x = {"a": np.array([*map(str, range(100)), "word"], object), "b": [*few, None]}
    y = np.r_[np.arange(100.0), 1e9]
    whole = table(x if table is not np.array else np.array([*x.values()], object).T)
    weights = np.r_[np.ones(100), 0.0]
    some = TableRegressor("fast").fit(whole, y, weights)
    alone = TableRegressor("fast").fit(whole[:100], y[:100], weights[:100])
    assert [(c.kind, c.gaps) for c in some.columns_] == [
        ("number", False),
        ("category", False),
    ]
    answers = some.predict(whole[:100])
    np.testing.assert_array_equal(answers, alone.predict(whole[:100]))
    never = TableClassifier("fast", class_weight={True: 0.0}).fit(whole, y > 1e6)
    assert [c.kind for c in never.columns_] == ["number", "category"]


def test_several_outputs() -> None:
    x, y = shop()
    both = np.stack([y, -2 * y + 1], axis=1)
    est = TableRegressor("fast").fit(x, both)
    assert est.predict(x).shape == (1000, 2) and est.score(x, both) > 0.95
    flags = np.stack([y > 0, y > 1, y < 2], axis=1).astype(int)
    many = TableClassifier("fast").fit(x, flags)
    assert many.predict(x).shape == many.predict_proba(x).shape == (1000, 3)
    assert (many.predict(x) == flags).mean() > 0.9


def test_quantiles_hold_their_share() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, 2))
    y = x[:, 0] + (1 + x[:, 1]) * rng.exponential(size=4000)
    est = TableRegressor("fast", loss="quantile", quantiles=[0.9, 0.1, 0.5])
    found = est.fit(x[:3000], y[:3000]).predict(x[3000:])
    share = (y[3000:, np.newaxis] <= found).mean(axis=0)
    # Five standard errors of 1000 rows, and what the nets miss.
    np.testing.assert_allclose(share, [0.9, 0.1, 0.5], atol=0.06)
    assert (np.diff(found[:, [1, 2, 0]], axis=1) >= 0).all()
    assert est.score(x[3000:], y[3000:]) > 0.2
    one = TableRegressor("fast", loss="quantile", quantiles=0.5)
    assert one.fit(x, y).predict(x).shape == (4000,)
    with pytest.raises(ValueError, match="one output"):
        one.fit(x, np.stack([y, y], axis=1))


def test_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3))
    y = rng.random(3000) < 1 / (1 + np.exp(-2 * x[:, 0]))
    est = TableClassifier("fast").fit(x[:2000], y[:2000])
    p = est.predict_proba(x[2000:])[:, 1]
    edges = np.quantile(p, np.linspace(0, 1, 6))
    places = np.clip(np.searchsorted(edges, p) - 1, 0, 4)
    for i in range(5):
        some = places == i
        # Three standard errors of two hundred rows, and what the net misses.
        assert abs(p[some].mean() - y[2000:][some].mean()) < 0.13
    assert est.scores_["calibration_error"] < 0.06
    assert 0.3 < est.temperature_ < 3


def test_the_mean_of_nets_has_a_temperature_of_its_own() -> None:
    """Averaging takes away sureness: by the temperature of each it has too little."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 1)) * [2, 0]
    y = (rng.random(4000) > 1 / (1 + np.exp(-z[:, 0]))).astype(int)
    members = [z + 3 * rng.normal(size=z.shape) for _ in range(2)]
    p = [np.exp(m) / np.exp(m).sum(axis=1, keepdims=True) for m in members]
    each, both = (
        scores.temperature(p[0], y, None),
        scores.shared_temperature(p, y, None),
    )
    assert both < each - 0.1

    def loss(t: float) -> float:
        mean = np.mean([scores.tempered(q, y, t) for q in p], axis=0)
        return float(-np.log(mean[np.arange(4000), y]).mean())

    assert loss(both) < min(loss(1.02 * both), loss(both / 1.02), loss(each))


def test_training_ends_where_rows_held_out_get_worse() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2000, 10)), rng.random(2000) < 0.3
    est = TableClassifier("fast").fit(x, y)
    (history,) = est.history_
    known = [i + 1 for i, loss in enumerate(history["val_loss"]) if loss == loss]
    assert len(known) >= 2 and known[1] == 3 * known[0]  # valleys of the rate
    assert len(history["loss"]) == known[-1] < 15 * known[0]
    p = est.predict_proba(x)[:, 1]
    assert p.std() < 0.1 and abs(p.mean() - 0.3) < 0.05


@pytest.mark.parametrize("rows", [6, 20, 60])
def test_few_rows_make_it_no_surer_than_they_may(rows: int) -> None:
    x, y = load_iris(return_X_y=True)
    some = np.random.default_rng(1).permutation(150)
    est = TableClassifier("fast").fit(x[some[:rows]], y[some[:rows]])
    p = est.predict_proba(x[some[rows:]])
    assert log_loss(y[some[rows:]], p, labels=est.classes_) < 0.8 * np.log(3)


def test_as_good_as_a_line_where_a_line_is_right() -> None:
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    line = make_pipeline(StandardScaler(), LogisticRegression())
    found = []
    for seed in range(6):  # of one split the standard error alone is 0.005
        parts = train_test_split(x, y, random_state=seed, stratify=y)
        for est in (TableClassifier(), line):
            p = est.fit(parts[0], parts[2]).predict_proba(parts[1])
            found.append(roc_auc_score(parts[3], p[:, 1]))
    own, other = np.reshape(found, (6, 2)).mean(axis=0)
    assert own > other - 0.005 > 0.98


def test_gaps_everywhere() -> None:
    x, y = shop(600)
    holes = np.random.default_rng(1).random(x.shape) < 0.5
    x = x.astype({"member": object}).mask(holes)
    x["price"] = x["price"].where(x.index % 2 == 0)
    est = TableClassifier("fast").fit(x[:500], y[:500] > 0)
    assert all(column.gaps for column in est.columns_)
    assert est.score(x[500:], y[500:] > 0) > 0.5
    assert np.isfinite(est.predict_proba(x.iloc[:3].map(lambda _: None))).all()


SAME = """
import numpy as np, pandas as pd, lamina as lm
from test_tabular import shop
from lamina.tabular import TableClassifier
lm.set_num_threads({threads})
x, y = shop(400)
est = TableClassifier("fast", random_state=3).fit(x, y > 0)
print(est.predict_proba(x).tobytes().hex())
"""


def test_same_bits_in_other_processes_and_threads() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", SAME.format(threads=threads)],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 2)
    }
    x, y = shop(400)
    own = TableClassifier("fast", random_state=3).fit(x, y > 0)
    assert printed == {own.predict_proba(x).tobytes().hex() + "\n"}
    other = TableClassifier("fast", random_state=4).fit(x, y > 0)
    assert (other.predict_proba(x) != own.predict_proba(x)).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: (TableClassifier("fast"), lambda y: np.where(y > 0, "yes", "no")),
        lambda: (TableClassifier("fast"), lambda y: np.stack([y > 0, y > 1], 1) * 1),
        lambda: (TableClassifier("fast"), lambda y: np.zeros(len(y), int)),
        lambda: (TableRegressor("fast"), lambda y: y),
        lambda: (TableRegressor("fast", loss="quantile"), lambda y: y),
    ],
)
def test_files_and_pickles_answer_with_the_same_bits(make: Any, tmp_path: Path) -> None:
    est, target = make()
    x, y = shop(300)
    est.fit(x, target(y))
    expected = est.predict(x)
    path = tmp_path / "net.safetensors"
    est.save(path)
    for again in (load(path), pickle.loads(pickle.dumps(est))):
        np.testing.assert_array_equal(again.predict(x), expected)
        assert again.scores_ == est.scores_
        assert [str(c) for c in again.columns_] == [str(c) for c in est.columns_]
    first = path.read_bytes()
    est.save(path)
    assert path.read_bytes() == first


def test_bad_files_are_refused(tmp_path: Path, fitted: Any) -> None:
    path = tmp_path / "net.safetensors"
    fitted[0].save(path)
    whole = path.read_bytes()
    with pytest.raises(ValueError, match="no description"):
        lm.load(path)
    for changed in (
        whole[:-9],
        whole.replace(b"TableClassifier", b"TableClassifie_"),
        whole.replace(b'\\"features\\":5', b'\\"features\\":0'),
        whole.replace(b'\\"features\\":5', b'\\"features\\":4'),
        whole.replace(b'\\"kind\\":\\"number', b'\\"kind\\":\\"numbed'),
        re.sub(rb"(centre[^[]*.)([\d.]+,)", lambda m: m[1] + b" " * len(m[2]), whole),
        re.sub(rb'\[(\\"no\\"),\\"yes\\"\]', rb"[\1       ]", whole),
        b"nothing",
    ):
        assert changed != whole
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"net.safetensors must hold"):
            load(path)
    fitted[0].net_.save(path)
    with pytest.raises(ValueError, match=r"for lamina\.load"):
        load(path)


def test_time_limit_ends_a_long_fit() -> None:
    x, y = shop(4000)
    short = TableRegressor("best", time_limit=0.3).fit(x, y)
    epochs = [len(history["loss"]) for history in short.history_]
    assert sum(epochs) < 200
    assert np.isfinite(short.predict(x)).all()


def test_explanations_name_what_counts(fitted: Any) -> None:
    est, x, y = fitted
    table, _ = shop()
    found = est.explain(table[:800])
    assert set(found.ranked[:2]) <= {"price", "colour", "wait", "town"}
    assert found.names == list(x)
    given = est.explain(x, y, n_repeats=2)
    assert given.importances.shape == (5, 2)


def test_best_averages_several_nets() -> None:
    x, y = load_diabetes(return_X_y=True)
    est = TableRegressor("best", random_state=0).fit(x, y)
    nets = est.nets_
    assert len(nets) == len(est.history_) > 1
    each = [net.predict(est.encode(x))[:, 0] for net in nets]
    low, high = y.min(), y.max()
    mean = np.clip(np.mean(each, axis=0) * y.std() + y.mean(), low, high)
    # A sum of float32.
    np.testing.assert_allclose(est.predict(x), mean, rtol=1e-5)
    assert len(est._held) == len(y)  # each row by one of them


def csv(tmp_path: Path, **columns: Any) -> str:
    x, y = shop(300)
    path = tmp_path / "table.csv"
    x.assign(y=np.where(y > 0, "yes", "no"), z=y, **columns).to_csv(path, index=False)
    return str(path)


def test_a_csv_becomes_a_net_and_answers(tmp_path: Path, capsys: Any) -> None:
    path, net = csv(tmp_path), str(tmp_path / "net.safetensors")
    options = ["--preset", "fast", "--save", net]
    assert main(["fit", path, "--target", "y", *options]) == 0
    told = capsys.readouterr().out
    assert "town: category (12 values" in told and "calibration error" in told
    assert main(["predict", net, path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prediction,p(no),p(yes)" and len(lines) == 301
    answers = str(tmp_path / "answers.csv")
    assert main(["fit", path, "--target", "z", *options]) == 0
    assert "r2" in capsys.readouterr().out
    assert main(["predict", net, path, "--save", answers]) == 0
    assert pd.read_csv(answers).columns.tolist() == ["prediction"]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_columns_of_a_csv_may_have_other_marks_between(
    mark: str, tmp_path: Path, capsys: Any
) -> None:
    path, net = tmp_path / "table.csv", str(tmp_path / "net.safetensors")
    shop(60)[0].to_csv(path, index=False, sep=mark)
    options = ["--target", "member", "--preset", "fast", "--save", net]
    assert main(["fit", str(path), *options]) == 0
    assert "60 rows, 4 columns" in capsys.readouterr().out


def test_files_for_predict_are_refused_in_one_sentence(
    tmp_path: Path, capsys: Any
) -> None:
    path, net = csv(tmp_path), str(tmp_path / "net.safetensors")
    assert main(["fit", path, "--target", "y", "--preset", "fast", "--save", net]) == 0
    short = tmp_path / "short.csv"
    pd.read_csv(path).drop(columns="town").to_csv(short, index=False)
    capsys.readouterr()
    for options, message in [
        ([path, path], "must hold a net of Lamina"),
        ([str(tmp_path / "none"), path], "No such file"),
        ([net, str(tmp_path / "none")], "No such file"),
        ([net, str(short)], "none named 'town'"),
    ]:
        assert main(["predict", *options]) == 2
        told = capsys.readouterr()
        assert not told.out and message in told.err and told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "No such file"),
        (b"", [], "must be a CSV file: No columns"),
        (b"\xff\xfe\x00\x01", [], "must be a CSV file"),
        (b"y,a\n1,2\n3,4,5\n", [], "must be a CSV file: .*line 3"),
        (b"a,b\n1,2\n", [], r"target must be a column of .* \(a, b\), got 'y'"),
        (b"y,a\n1,2,3\n3,4,5\n", [], "must be a CSV file"),
        (b"y ,a,y\n1,2,3\n", [], "must be a CSV file: it has two columns 'y'"),
        (b"y,a\n", [], "must have a row"),
        (b"y\n1\n", [], "and a column besides"),
        (b"y,a\n1,2\n,3\n", [], "no gaps in the target 'y', got one in row 2"),
        (b"y,a\nb,2\nc,3\n", ["--kind", "numbers"], "must hold numbers, got text"),
        (b"y,a\n1,2\n", ["--save", "/no/where.net"], "save must be in a folder"),
        (b"y,a\n1,2\n", ["--save", "/"], "save must name a file, got the folder /"),
    ],
)
def test_a_bad_csv_is_one_sentence(
    content: bytes | None, options: list[str], message: str, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    save = ["--save", str(tmp_path / "net")]
    assert main(["fit", str(path), "--target", "y", *save, *options]) == 2
    told = capsys.readouterr()
    assert not told.out and len(told.err.splitlines()) == 1
    assert re.search(message, told.err)


def test_the_answer_of_a_row_is_its_own() -> None:
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {
            "code": [f"{i % 15:03}" for i in range(300)],
            "day": ["2024-01-01", "2024-01-02", "never"] * 100,
        }
    )
    est = TableClassifier("fast").fit(x, rng.permutation([0, 1] * 150))
    more = pd.DataFrame({"code": [f"{i:03}" for i in range(40)], "day": "2024-01-01"})
    alone = np.concatenate([est.encode(more[i : i + 1]) for i in range(40)])
    np.testing.assert_array_equal(est.encode(more), alone)
    np.testing.assert_array_equal(est.encode(x[:1]), est.encode(x)[:1])
    days = pd.DataFrame({"c": pd.Categorical([*pd.date_range("2024", periods=3)] * 20)})
    est = TableClassifier("fast").fit(days, [0, 1, 1] * 20)
    plain = days.astype("datetime64[us]")
    np.testing.assert_array_equal(est.encode(plain), est.encode(days))


def test_a_csv_keeps_zeros_of_codes(tmp_path: Path, capsys: Any) -> None:
    path, net = tmp_path / "table.csv", str(tmp_path / "net.safetensors")
    rows = ["007,1,no", "A12,2,yes", "012,2,no"] * 30
    path.write_text("zip ,a,y\n" + "\n".join(rows) + "\n")
    options = ["--target", "y", "--preset", "fast", "--save", net]
    assert main(["fit", str(path), *options]) == 0
    assert "3 values: 007, 012, A12" in capsys.readouterr().out
    found = []
    for more in ("", "A12,2\n"):
        path.write_text("zip,a\n007,2\n012,2\n" + more)
        assert main(["predict", net, str(path)]) == 0
        found.append(capsys.readouterr().out.splitlines()[1:3])
    assert found[0] == found[1]


def test_long_text_takes_no_more_than_itself() -> None:
    texts = [f"short {i}" for i in range(1999)] + ["long " * 20_000]
    x = pd.DataFrame({"t": texts, "a": np.arange(2000.0)})
    tracemalloc.start()
    Columns(Frame(x), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # of fixed width they are 800 MB


def test_decimal_commas_between_semicolons(tmp_path: Path, capsys: Any) -> None:
    path, net = tmp_path / "table.csv", str(tmp_path / "net.safetensors")
    rows = [f"{i},5;{i % 7},25" if i % 9 else f"{i};0,5" for i in range(40)]
    path.write_text("a;y\n" + "\n".join(rows) + "\n")
    options = ["--target", "y", "--preset", "fast", "--save", net]
    assert main(["fit", str(path), *options]) == 0
    told = capsys.readouterr().out
    assert "a: number" in told and "y: numbers" in told


def test_gaps_of_pandas_in_objects() -> None:
    x = np.array([[pd.NA, 1], [2, 3]] * 20, object)
    est = TableClassifier("fast").fit(x, [0, 1] * 20)
    assert est.columns_[0].gaps
    with pytest.raises(ValueError, match="no gaps, got one in row 1"):
        TableClassifier("fast").fit(x, np.array(["a", pd.NA] * 20, object))


def test_huge_numbers_are_far_from_the_median() -> None:
    x = pd.DataFrame({"a": np.arange(60.0), "d": pd.date_range("2024", periods=60)})
    est = TableRegressor("fast").fit(x, np.arange(60.0))
    rows = est.encode(x[:2].assign(a=[1e300, -1e300]))
    np.testing.assert_allclose(rows[:, 0], [3, -3])
    with pytest.raises(ValueError, match=r"infinity.* column 'a'"):
        est.predict(x.assign(a="inf"))
    with pytest.raises(ValueError, match="'d' of X must hold dates"):
        est.predict(x.assign(d="20240101"))


def test_columns_of_other_things() -> None:
    n = 60
    numbers = np.arange(n)
    x = pd.DataFrame(
        {
            "bin": pd.cut(numbers, 3),
            "span": pd.Series([datetime.timedelta(int(i)) for i in numbers], dtype="O"),
        }
    )
    est = TableRegressor("fast").fit(x, numbers)
    assert [c.kind for c in est.columns_] == ["category", "number"]
    month = x.assign(m=pd.period_range("2020-01", periods=n, freq="M"))
    with pytest.raises(TypeError, match=r"column 'm' of X: .*got Period"):
        est.fit(month, numbers)
    with pytest.raises(ValueError, match="column 'big' of X must hold numbers"):
        est.fit(pd.DataFrame({"big": [10**400 + i for i in range(n)]}), numbers)


def test_explanations_go_by_rows_that_a_net_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    x, y = pd.DataFrame(rng.normal(size=(600, 8))), rng.integers(0, 2, 600)
    est = TableClassifier().fit(x, y)
    found = est.explain(x)
    # Of noise nothing counts; by nets that learnt the rows columns count 0.04 and more.
    assert found.importances_mean.max() < 0.03
    table = pd.DataFrame({"a": np.arange(600.0), "b": x[0]})
    for kind in (TableRegressor(), TableRegressor("fast", loss="quantile")):
        assert kind.fit(table, table.a).explain(table).ranked == ["a", "b"]
    with pytest.raises(ValueError, match=r"table of fit \(600 rows\), got 50"):
        est.explain(x[:50])


def test_an_interrupt_leaves_whole_nets(monkeypatch: Any) -> None:
    x, y = shop(60)
    whole = TableRegressor().fit(x, y)
    done = itertools.count()

    def ended(*arguments: Any, **options: Any) -> Any:
        if next(done) >= 2:
            raise KeyboardInterrupt
        return recipe.train(*arguments, **options)

    monkeypatch.setattr("lamina.tabular.base.train", ended)
    with pytest.warns(UserWarning, match="interrupted: answers are those of 2 nets"):
        est = TableRegressor().fit(x, y)
    for net, other in zip(est.nets_, whole.nets_[:2], strict=True):
        np.testing.assert_array_equal(net.parameters, other.parameters)
    est.explain(x)
    with pytest.raises(KeyboardInterrupt):
        est.fit(x, y)
    with pytest.raises(NotFittedError):
        est.predict(x)


def test_an_interrupted_net_is_none(tmp_path: Path, monkeypatch: Any) -> None:
    def ended(*arguments: Any, **options: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe._Best, "on_epoch_end", ended)
    options = ["--target", "y", "--save", str(tmp_path / "net")]
    assert main(["fit", csv(tmp_path), *options]) == 130
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("weight", [{0: 1, 1: 5}, "balanced", None])
def test_files_keep_parameters(weight: Any, tmp_path: Path) -> None:
    x, y = shop(60)
    own = {"class_weight": weight, "random_state": np.int64(9), "time_limit": 50}
    est = TableClassifier("fast", **own).fit(x, y > 0)
    est.save(tmp_path / "net")
    again = load(tmp_path / "net")
    assert again.get_params() == est.get_params() and again.history_ == []
    with pytest.raises(ValueError, match="after load"):
        again.explain(x)
    assert again.explain(x, y > 0).names == list(x)


def test_scores_count_a_row_once() -> None:
    x, y = load_diabetes(return_X_y=True)
    est = TableRegressor().fit(x, y)
    answers = np.empty(len(y))
    rows = est.encode(x)
    for row, holder in zip(est._held, est._holders, strict=True):
        net = est.nets_[holder]
        answers[row] = net.predict(rows[row : row + 1])[0, 0] * y.std() + y.mean()
    # Sums of float32.
    expected = np.sqrt(np.mean((answers - y) ** 2))
    assert est.scores_["rmse"] == pytest.approx(expected, rel=1e-5)
    seeds = [
        {net.seed for net in TableRegressor(random_state=s).fit(x[:60], y[:60]).nets_}
        for s in range(3)
    ]
    assert len(set.union(*seeds)) == 18


def test_a_failed_fit_leaves_nothing() -> None:
    x, y = shop(60)
    for est in (TableClassifier("fast"), TableClassifier("fast").fit(x, y > 0)):
        with pytest.raises(ValueError, match="inconsistent"):
            est.fit(x, [0, 1])
        with pytest.raises(NotFittedError):
            est.predict(x)


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [TableClassifier("fast"), TableRegressor("fast")]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [TableRegressor("fast", loss="quantile")],
    expected_failed_checks=lambda _: {"check_regressors_train": "a column a quantile"},
    xfail_strict=True,
)
def test_checks_of_quantiles_fail_where_the_docstring_says(
    estimator: Any, check: Any
) -> None:
    check(estimator)
