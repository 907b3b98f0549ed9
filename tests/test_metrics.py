"""Metrics: formulas of their own here, on what `predict` gives."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import metrics

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5)).astype(np.float32)


def share(hits: Array, of: Array) -> float:
    return float((hits & of).sum() / of.sum()) if of.any() else 0.0


def precision(truth: Array, predicted: Array) -> float:
    return share(truth, predicted)


def recall(truth: Array, predicted: Array) -> float:
    return share(predicted, truth)


def f1(truth: Array, predicted: Array) -> float:
    both = truth.sum() + predicted.sum()
    return float(2 * (truth & predicted).sum() / both) if both else 0.0


def balanced_accuracy(truth: Array, predicted: Array) -> float:
    return (recall(truth, predicted) + recall(~truth, ~predicted)) / 2


def correlation(truth: Array, predicted: Array) -> float:
    return float(np.corrcoef(truth, predicted)[0, 1])


def roc_auc(truth: Array, p: Array) -> float:
    """How often a positive row is above a negative one; ties are half."""
    gaps = p[truth][:, np.newaxis] - p[~truth]
    return float((gaps > 0).mean() + (gaps == 0).mean() / 2)


def average_precision(truth: Array, p: Array) -> float:
    """Precision at each positive row, with all that are not below it."""
    return float(np.mean([truth[p >= limit].mean() for limit in p[truth]]))


def log_loss(truth: Array, p: Array) -> float:
    return float(-np.log(np.where(truth, p, 1 - p)).mean())


OF_CLASSES: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": lambda truth, predicted: float((truth == predicted).mean()),
    "balanced_accuracy": balanced_accuracy,
    "f1": f1,
    "matthews_corrcoef": correlation,
    "precision": precision,
    "recall": recall,
}
OF_PROBABILITIES = {
    "average_precision": average_precision,
    "log_loss": log_loss,
    "roc_auc": roc_auc,
}
ALL = [*OF_CLASSES, *OF_PROBABILITIES]


def net_of(outputs: int, activation: str | None, seed: int = 1) -> lm.Sequential:
    net = lm.Sequential([lm.Dense(outputs, activation)], seed=seed)
    net.build(5)
    return net


def agree(found: Any, expected: Any) -> None:
    """float64 on both sides, but probabilities that are made to sum to 1 move by what
    float32 rounds."""
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("columns", [1, 3])
def test_of_sigmoid_each_output_is_judged(columns: int) -> None:
    net, y = net_of(columns, "sigmoid"), X[:, :columns] > 0.2
    found, p = net.evaluate(X, y, metrics=ALL), net.predict(X).astype(float)
    for name, formula in OF_CLASSES.items():
        agree(found[name], np.mean([*map(formula, y.T, p.T > 0.5)]))
    for name, formula in OF_PROBABILITIES.items():
        agree(found[name], np.mean([*map(formula, y.T, p.T)]))


def test_of_two_classes_the_second_is_the_positive_one() -> None:
    """So that a softmax of two and a sigmoid of one score the same."""
    net, labels = net_of(2, "softmax"), (X[:, 0] > 0.7).astype(int)
    p = net.predict(X).astype(float)[:, 1]
    truth = labels == 1
    for y in (labels, np.eye(2)[labels]):
        found = net.evaluate(X, y, metrics=ALL)
        for name, formula in OF_CLASSES.items():
            agree(found[name], formula(truth, p > 0.5))
        for name, formula in OF_PROBABILITIES.items():
            agree(found[name], formula(truth, p))


@pytest.mark.parametrize("activation", ["softmax", "log_softmax"])
def test_of_many_classes_the_mean_is_taken(activation: str) -> None:
    net = net_of(4, activation)
    net.loss = lm.losses.categorical_crossentropy
    labels = RNG.integers(0, 4, len(X))
    found, p = net.evaluate(X, labels, metrics=ALL), net.predict(X).astype(float)
    p = np.exp(p) if activation == "log_softmax" else p
    truth = labels == np.arange(4)[:, np.newaxis]
    predicted = p.argmax(axis=1) == np.arange(4)[:, np.newaxis]
    for name in ("precision", "recall", "f1"):
        agree(found[name], np.mean([*map(OF_CLASSES[name], truth, predicted)]))
    for name in ("average_precision", "roc_auc"):
        agree(found[name], np.mean([*map(OF_PROBABILITIES[name], truth, p.T)]))
    agree(found["balanced_accuracy"], np.mean([*map(recall, truth, predicted)]))
    agree(found["accuracy"], (p.argmax(axis=1) == labels).mean())
    agree(found["log_loss"], -np.log(p[np.arange(len(X)), labels]).mean())
    assert -1 < found["matthews_corrcoef"] < 1


def test_of_numbers() -> None:
    net, y = net_of(2, None), X[:, :2].astype(float) + RNG.normal(size=(120, 2))
    error = y.astype(np.float32).astype(float) - net.predict(X)
    expected = {
        "explained_variance": np.mean(1 - error.var(axis=0) / y.var(axis=0)),
        "mean_absolute_error": np.abs(error).mean(),
        "mean_absolute_percentage_error": np.abs(error / y).mean(),
        "mean_squared_error": (error**2).mean(),
        "median_absolute_error": np.median(np.abs(error), axis=0).mean(),
        "r2": np.mean(1 - (error**2).mean(axis=0) / y.var(axis=0)),
        "root_mean_squared_error": np.sqrt((error**2).mean(axis=0)).mean(),
    }
    found = net.evaluate(X, y, metrics=list(expected))
    assert set(found) == {"loss", *expected}
    for name, value in expected.items():
        agree(found[name], value)


def test_every_name_is_checked_here() -> None:
    numbers = set(metrics._NUMBERS)
    assert set(metrics._KNOWN) == numbers | set(ALL)
    documented = str(metrics.__doc__)
    assert all(f'"{name}"' in documented for name in metrics._KNOWN)


def worst(y: Array, outputs: Array) -> float:
    assert y.shape == outputs.shape  # nothing broadcasts by mistake
    return float(np.abs(y - outputs).max())


def test_functions_get_all_rows_at_once_in_the_shape_of_the_outputs() -> None:
    net, y = net_of(1, None), X[:, 0]
    found = net.evaluate(X, y, metrics=[worst])
    assert found["worst"] == np.abs(y[:, np.newaxis] - net.predict(X)).max()
    batches = [(X[i : i + 50], y[i : i + 50]) for i in range(0, 120, 50)]
    assert net.evaluate(batches, metrics=[worst])["worst"] == found["worst"]
    calls = []

    def count(y: Array, outputs: Array) -> int:
        calls.append(y)
        return len(y)

    assert net.evaluate(X, y, metrics=[count])["count"] == 120
    assert len(calls) == 1


def test_functions_of_classes_get_labels() -> None:
    net, labels = net_of(3, "softmax"), RNG.integers(0, 3, len(X))

    def top_two(y: Array, outputs: Array) -> float:
        best = np.argsort(outputs, axis=1)[:, -2:]
        return float((best == y[:, np.newaxis]).any(axis=1).mean())

    found = net.evaluate(X, labels, metrics={"top": top_two, "first": "accuracy"})
    assert found["accuracy"] == found["first"] <= found["top"] <= 1


def test_a_dict_names_them() -> None:
    asked = {"mae": "mean_absolute_error", "most": lambda y, outputs: np.float32(2)}
    history = net_of(1, None).fit(
        X, X[:, 0], epochs=2, validation_split=0.25, metrics=asked, verbose=0
    )
    assert list(history) == [
        "loss",
        *("val_loss", "val_mae", "val_most"),
        "learning_rate",
    ]
    assert history["val_most"] == [2.0, 2.0]


def test_in_fit_they_are_of_the_validation_data_and_of_the_training_data_if_asked(
    tmp_path: Path,
) -> None:
    labels = (X[:, 0] > 0).astype(int)
    more = X[:40] + 1, labels[:40]
    common: dict[str, Any] = {"epochs": 3, "metrics": ["f1"], "verbose": 0}
    net = net_of(1, "sigmoid")
    history = net.fit(X, labels, validation_data=more, **common)
    assert "f1" not in history
    assert history["val_f1"][-1] == net.evaluate(*more, metrics=["f1"])["f1"]
    net = net_of(1, "sigmoid")
    both = net.fit(X, labels, validation_data=more, train_metrics=True, **common)
    assert both["val_f1"] == history["val_f1"]
    assert both["f1"][-1] == net.evaluate(X, labels, metrics=["f1"])["f1"]
    net = net_of(1, "sigmoid")
    assert net.fit(X, labels, **common)["f1"] == both["f1"]  # no validation data
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    net = net_of(1, "sigmoid")
    assert net.fit(mapped, labels, **common)["f1"] == both["f1"]
    sparse = pytest.importorskip("scipy.sparse")
    net = net_of(1, "sigmoid")
    assert net.fit(sparse.csr_array(X), labels, **common)["f1"] == both["f1"]
    batches = [(X[i : i + 32], labels[i : i + 32]) for i in range(0, 120, 32)]
    net = net_of(1, "sigmoid")
    assert net.fit(batches, **common)["f1"][-1] > 0


def test_rows_held_out_are_those_that_are_judged() -> None:
    seen: list[Array] = []

    def keep(y: Array, outputs: Array) -> int:
        seen.append(y)
        return len(y)

    numbers = np.arange(120.0)
    net = net_of(1, None)
    history = net.fit(
        X,
        numbers,
        validation_split=0.25,
        metrics=[keep],
        train_metrics=True,
        verbose=0,
    )
    assert (history["keep"], history["val_keep"]) == ([90], [30])
    rows = np.concatenate(seen)[:, 0]
    assert sorted(rows) == numbers.tolist()
    assert not set(seen[0][:, 0]) & set(seen[1][:, 0])


def test_weights_do_not_count() -> None:
    net, y = net_of(1, None), X[:, 0]
    weights = RNG.random(len(X))
    found = net.evaluate(X, y, sample_weight=weights, metrics=["r2"])
    assert found["r2"] == net.evaluate(X, y, metrics=["r2"])["r2"]


def test_what_is_not_defined_is_nan_and_no_error() -> None:
    """A warning would be an error here; and the other columns still count."""
    names = ["roc_auc", "average_precision", "precision", "balanced_accuracy"]
    net = net_of(1, "sigmoid")
    found = net.evaluate(X, np.zeros(120), metrics=names)
    assert np.isnan(found["roc_auc"])
    assert np.isnan(found["average_precision"])
    assert found["precision"] == 0
    net, labels = net_of(3, "softmax"), RNG.integers(0, 2, len(X))  # none of the third
    p = net.predict(X)
    expected = [roc_auc(labels == k, p[:, k]) for k in range(2)]
    agree(net.evaluate(X, labels, metrics=names)["roc_auc"], np.mean(expected))
    net = net_of(1, None)
    assert np.isnan(net.evaluate(X[:1], X[:1, 0], metrics=["r2"])["r2"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_outputs_that_are_not_finite_have_no_score() -> None:
    for activation, name in (("sigmoid", "f1"), ("softmax", "f1"), (None, "r2")):
        net = net_of(2, activation)
        net.parameters[...] = np.nan
        y = np.zeros(120, int) if activation == "softmax" else np.zeros((120, 2))
        assert np.isnan(net.evaluate(X, y, metrics=[name])[name])


def test_a_metric_cannot_change_what_others_see() -> None:
    def spoil(y: Array, outputs: Array) -> float:
        outputs[...] = 0
        return 0.0

    y = X[:, 0].copy()
    with pytest.raises(ValueError, match="read-only"):
        net_of(1, None).evaluate(X, y, metrics=[spoil])
    assert (y == X[:, 0]).all()


SIGMOID = "must be functions or among accuracy, average_precision, .*, got 'F1'"


@pytest.mark.parametrize(
    ("activation", "asked", "error", "message"),
    [
        ("sigmoid", ["F1"], ValueError, SIGMOID),
        ("sigmoid", "f1", TypeError, "metrics must be a list or a dict .*, got 'f1'"),
        ("sigmoid", 3, TypeError, "metrics must be a list or a dict .*, got 3"),
        ("sigmoid", [3], TypeError, "metrics must be names or functions, got 3"),
        ("sigmoid", {3: "f1"}, TypeError, "must be called by strings, got 3"),
        ("sigmoid", ["f1", "f1"], ValueError, "must differ in .*; got 'f1'"),
        ("sigmoid", {"loss": "f1"}, ValueError, "must differ in .*; got 'loss'"),
        ("sigmoid", {"accuracy": "f1"}, ValueError, "must differ .*got 'accuracy'"),
        (None, ["f1"], ValueError, "metric 'f1' needs a last activation of softmax"),
        ("softmax", ["r2"], ValueError, "metric 'r2' needs numbers as outputs, got so"),
        (None, {"bad": lambda *_: "b"}, TypeError, "score 'bad' must be a number, got"),
    ],
)
def test_wrong_metrics(
    activation: Any, asked: Any, error: type[Exception], message: str
) -> None:
    net = net_of(2, activation)
    y = np.zeros(120, int) if activation == "softmax" else np.zeros((120, 2))
    with pytest.raises(error, match=message):
        net.evaluate(X, y, metrics=asked)
    with pytest.raises(error, match=message):
        net.fit(X, y, metrics=asked, validation_split=0.5, verbose=0)
    assert net.steps == 0 or "bad" in asked  # what a function gives is seen later


def test_train_metrics_is_yes_or_no() -> None:
    with pytest.raises(
        TypeError, match="train_metrics must be True or False, got 'f1'"
    ):
        net_of(1, None).fit(X, X[:, 0], train_metrics="f1")  # type: ignore[arg-type]


def test_logarithms_of_rates_are_not_taken_for_rates() -> None:
    with pytest.raises(
        ValueError, match=r"metric 'r2' needs numbers as outputs, .*pois"
    ):
        net_of(1, None).fit(X, np.ones(120), loss="poisson", metrics=["r2"], verbose=0)


def test_an_iterator_cannot_be_gone_through_again() -> None:
    batches = iter([(X, X[:, 0])])
    net = net_of(1, None)
    with pytest.raises(ValueError, match=r"metrics of training data .*, got list_iter"):
        net.fit(batches, metrics=["r2"], verbose=0)
    assert net.fit(batches, verbose=0).epochs == [1]  # nothing was taken from it


WITHOUT = """
import sys
sys.modules["sklearn"] = sys.modules["sklearn.metrics"] = None
import numpy as np, lamina as lm
net = lm.Sequential([lm.Dense(1, "sigmoid")])
x, y = np.eye(4), np.array([0, 1, 0, 1])
net.fit(x, y, metrics=[lambda y, outputs: 1], verbose=0)
try:
    net.fit(x, y, metrics=["f1"], verbose=0)
except ImportError as error:
    print(error, net.steps)
"""


def test_without_scikit_learn_the_extra_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    message = "metric 'f1' needs scikit-learn; use pip install lamina[metrics] 1"
    assert done.stdout.strip() == message


def test_scikit_learn_is_imported_only_where_it_is_used() -> None:
    code = "import sys, lamina; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
