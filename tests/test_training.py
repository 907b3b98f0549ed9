"""Around the steps: weights of rows and classes, and how often steps are called."""

from typing import Any

import numpy as np
import pytest

import lamina as lm
from test_model import blobs, classifier

X, Y = blobs(90)
WEIGHTS = np.arange(90) % 4 / 2


def network(last: str | None = "softmax", units: int = 3) -> lm.Sequential:
    layers = [lm.Dense(5, "tanh", l2=0.1), lm.Dense(units, last)]
    return lm.Sequential(layers, seed=0, dtype="float64")


@pytest.mark.parametrize(
    ("last", "y"), [("softmax", Y), ("sigmoid", np.eye(3)[Y]), (None, X[:, :3])]
)
def test_sample_weight_is_how_often_a_row_counts(last: Any, y: np.ndarray) -> None:
    """Whole weights are repeated rows; the mean stays that over the rows."""
    net, other = network(last), network(last)
    for each in (net, other):
        each.build(4)
    counts = np.arange(90) % 3
    factor = 90 / counts.sum()
    some = np.repeat(np.arange(90), counts)
    scores = net.evaluate(X, y, sample_weight=counts * factor)
    assert scores["loss"] == pytest.approx(other.evaluate(X[some], y[some])["loss"])
    arguments: Any = {"batch_size": 200, "optimizer": lm.SGD(0.1), "verbose": 0}
    history = net.fit(X, y, sample_weight=counts * factor, **arguments)
    other.fit(X[some], y[some], **arguments)
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-12, 1e-15)
    assert history["loss"] == [pytest.approx(scores["loss"], rel=1e-12)]
    if "accuracy" in scores:  # which weights do not change
        assert scores["accuracy"] == pytest.approx(history["accuracy"][0], rel=1e-12)


def test_weights_follow_their_rows() -> None:
    """Through shuffling, splitting and batches."""
    net, other = network(), network()
    for each, x in ((net, X), (other, np.asfortranarray(X))):
        weights = WEIGHTS if each is net else WEIGHTS.tolist()
        each.fit(x, Y, sample_weight=weights, validation_split=0.3, epochs=3, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    spoilt = X.copy()
    spoilt[WEIGHTS == 0] += 5.0  # rows that do not count
    other = network()
    other.fit(
        spoilt, Y, sample_weight=WEIGHTS, validation_split=0.3, epochs=3, verbose=0
    )
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-12)


def test_class_weight() -> None:
    hot = np.eye(3)[Y]
    counts = np.bincount(Y)
    balanced = 90 / (3 * counts)
    for class_weight, factors in (
        ({0: 2.0, 2: 0.5}, np.array([2, 1, 0.5])),
        ("balanced", balanced),
    ):
        expected = network()
        expected.fit(X, Y, sample_weight=WEIGHTS * factors[Y], verbose=0)
        for y in (Y, hot):
            net = network()
            history = net.fit(
                X,
                y,
                sample_weight=WEIGHTS,
                class_weight=class_weight,
                validation_data=(X, y, WEIGHTS),
                verbose=0,
            )
            np.testing.assert_allclose(net.parameters, expected.parameters, 1e-12)
            # Classes have no weight in validation.
            scores = net.evaluate(X, y, sample_weight=WEIGHTS)
            assert history["val_loss"] == [pytest.approx(scores["loss"], rel=1e-12)]
    two = network("sigmoid", 1)
    two.fit(X, Y == 1, class_weight={1: 3}, verbose=0)
    other = network("sigmoid", 1)
    other.fit(X, Y == 1, sample_weight=1 + 2 * (Y == 1), verbose=0)
    np.testing.assert_allclose(two.parameters, other.parameters, 1e-12)


def test_balanced_classes_are_those_of_the_training_rows() -> None:
    seen: list[Any] = []

    class Net(lm.Sequential):
        def _steps(self, x: Any, y: Any, weights: Any, *rest: Any) -> Any:
            seen.append((rest[0], weights))
            return super()._steps(x, y, weights, *rest)

    net = Net([lm.Dense(3, "softmax")], seed=0)
    net.fit(
        X, Y, class_weight="balanced", validation_split=0.5, batch_size=90, verbose=0
    )
    [(rows, weights)] = seen
    counts = np.bincount(Y[rows])
    np.testing.assert_allclose(weights[rows], (len(rows) / (3 * counts))[Y[rows]], 1e-6)
    held_out = np.setdiff1d(np.arange(90), rows)
    np.testing.assert_array_equal(weights[held_out], 1)


def test_class_weight_needs_classes() -> None:
    net = network(None, 1)
    with pytest.raises(ValueError, match="labels must hold whole numbers"):
        net.fit(X, X[:, 0], class_weight="balanced", verbose=0)
    net = network("softmax")
    soft = np.full((90, 3), 1 / 3)
    with pytest.raises(ValueError, match="one class per row"):
        net.fit(X, soft, class_weight="balanced", verbose=0)
    assert net.features == 0


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("seconds", [1e-9, 1e9])
def test_calls_of_steps_take_many_batches(
    seconds: float, shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight times as many at most from call to call; one, if time is short."""
    calls: list[int] = []

    class Net(lm.Sequential):
        def _steps(self, *arguments: Any) -> Any:
            sums = super()._steps(*arguments)
            calls.append(sums[2] - arguments[-1][2])
            return sums

    monkeypatch.setattr("lamina.training._BETWEEN", seconds)
    x, y = blobs(1000)
    net = Net([lm.Dense(3, "softmax")], seed=0)
    net.fit(x, y, epochs=2, batch_size=3, shuffle=shuffle, verbose=0)
    if seconds > 1:
        assert calls == [3, 24, 192, 781, 1000]
    else:
        assert calls == [*[3] * 333, 1] * 2
    other = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    other.fit(x, y, epochs=2, batch_size=3, shuffle=shuffle, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_evaluate_leaves_the_net_alone() -> None:
    net = classifier()
    net.fit(X, Y, verbose=0)
    before = net.parameters.copy(), net.steps, net.epoch
    net.evaluate(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(net.parameters, before[0])
    assert (net.steps, net.epoch) == before[1:]
