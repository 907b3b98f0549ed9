"""Losses: values and gradients against the oracle; which targets they take."""

from typing import Any

import numpy as np
import pytest

from lamina import losses, reference

F64 = np.dtype(np.float64)
RNG = np.random.default_rng(0)
LOGITS = 5 * RNG.normal(size=(9, 4))
PROBABILITIES = RNG.dirichlet(np.ones(4), 9)
CASES = [
    (losses.categorical_crossentropy, RNG.integers(0, 4, 9)),
    (losses.categorical_crossentropy, np.eye(4)[RNG.integers(0, 4, 9)]),
    (losses.categorical_crossentropy, PROBABILITIES),
    (losses.binary_crossentropy, RNG.integers(0, 2, (9, 4))),
    (losses.mean_squared_error, RNG.normal(size=(9, 4))),
]


@pytest.mark.parametrize(("loss", "y"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_gradient(loss: losses.Loss, y: np.ndarray, dtype: Any) -> None:
    outputs = LOGITS.astype(dtype)
    targets = loss.targets(y, 4, np.dtype(dtype))
    gradient = np.full_like(outputs, np.nan)
    value = loss(outputs, targets, gradient)
    oracle = getattr(reference, loss.name)
    expected, slope = oracle(outputs, targets)
    eps = float(np.finfo(dtype).eps)  # sums of four terms, logits of up to 15
    assert value == pytest.approx(expected, rel=20 * eps)
    np.testing.assert_allclose(gradient, slope, 20 * eps, 5 * eps)
    assert loss(outputs, targets) == value


def test_accuracy() -> None:
    outputs = np.array([[1.0, 3.0], [2.0, 1.0], [-1.0, 0.5], [0.1, 0.0]])
    loss = losses.categorical_crossentropy
    assert loss.correct(outputs, np.array([1, 0, 0, 1])) == 2
    assert loss.correct(outputs, np.eye(2)[[1, 0, 0, 1]]) == 2
    # Seven of the eight logits are on the side that the target wants.
    table = np.array([[1, 1], [1, 1], [0, 1], [1, 1.0]])
    assert losses.binary_crossentropy.correct(outputs, table) == 3.5


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 2, 1]),
        np.array([[0], [2], [1]]),
        np.array([0, 2, 1], np.uint8),
        [0, 2, 1],
        np.array([0, 2, 1], ">i2"),
    ],
)
def test_labels(y: Any) -> None:
    targets = losses.categorical_crossentropy.targets(y, 3, F64)
    assert targets.dtype == np.int64
    assert targets.tolist() == [0, 2, 1]


def test_labels_of_a_single_class() -> None:
    targets = losses.categorical_crossentropy.targets([[0], [0]], 1, F64)
    assert targets.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [bool, int, np.float32])
def test_binary_targets(dtype: Any) -> None:
    for shape in [(3,), (3, 1)]:
        y = np.array([0, 1, 1], dtype).reshape(shape)
        targets = losses.binary_crossentropy.targets(y, 1, F64)
        assert targets.dtype == F64
        assert targets.tolist() == [[0], [1], [1]]


@pytest.mark.parametrize(
    ("loss", "y", "outputs", "error", "message"),
    [
        ("categorical", [0, 3], 3, ValueError, "labels from 0 to 2 .* got 3"),
        ("categorical", [0, -1], 3, ValueError, "labels from 0 to 2 .* got -1"),
        ("categorical", [0.0, 1.0], 3, TypeError, "integer labels, got dtype float64"),
        ("categorical", ["a", "b"], 3, TypeError, "real numbers, got dtype <U1"),
        ("categorical", [1j], 3, TypeError, "real numbers, got dtype complex128"),
        (
            "categorical",
            np.zeros((2, 4)),
            3,
            ValueError,
            r"\(n, 3\), got shape \(2, 4",
        ),
        ("categorical", 3, 3, ValueError, r"labels \(n,\) or .* got shape \(\)"),
        ("categorical", [[1, 1, 0]], 3, ValueError, r"rows of sum 1\), got .* row 0"),
        ("categorical", [[2, -1, 0]], 3, ValueError, "must hold probabilities"),
        ("categorical", [[np.nan, 1, 0]], 3, ValueError, "must hold probabilities"),
        ("binary", [0, 2], 1, ValueError, "must hold 0 and 1, got 2"),
        ("binary", [0, -1], 1, ValueError, "must hold 0 and 1, got -1"),
        ("binary", [0, np.nan], 1, ValueError, "must hold 0 and 1, got nan"),
        ("binary", [0, 1], 2, ValueError, r"shape \(n, 2\) for 2 outputs, got \(2,\)"),
        (
            "squared",
            [0.0, np.inf],
            1,
            ValueError,
            "y must be finite .* row 1, column 0",
        ),
        ("squared", np.zeros((2, 3)), 1, ValueError, r"\(n,\) or \(n, 1\) .* \(2, 3\)"),
        ("squared", np.ma.ones((2, 1)), 1, TypeError, "must not be masked"),
    ],
)
def test_wrong_targets(
    loss: str, y: Any, outputs: int, error: type[Exception], message: str
) -> None:
    chosen: losses.Loss = {
        "categorical": losses.categorical_crossentropy,
        "binary": losses.binary_crossentropy,
        "squared": losses.mean_squared_error,
    }[loss]
    with pytest.raises(error, match=message):
        chosen.targets(y, outputs, F64)


def test_get() -> None:
    assert losses.get("mean_squared_error") is losses.mean_squared_error
    with pytest.raises(
        ValueError, match="unknown loss 'hinge'; known are binary_cross"
    ):
        losses.get("hinge")
