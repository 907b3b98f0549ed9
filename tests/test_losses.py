"""Losses: values and gradients against the oracle; which targets they take."""

from typing import Any

import numpy as np
import pytest

from lamina import losses, reference

F64 = np.dtype(np.float64)
SHAPES = [(9, 2), (9, 4), (33, 10), (40, 32), (5, 33), (3, 100)]  # short rows and long


def targets_of(loss: losses.Loss, kind: str, rows: int, cols: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    made: dict[str, Any] = {
        "labels": lambda: rng.integers(0, cols, rows),
        "one-hot": lambda: np.eye(cols)[rng.integers(0, cols, rows)],
        "probabilities": lambda: rng.dirichlet(np.ones(cols), rows),
        "bits": lambda: rng.integers(0, 2, (rows, cols)),
        "numbers": lambda: rng.normal(size=(rows, cols)),
    }
    return np.asarray(made[kind]())


KINDS = [
    (losses.categorical_crossentropy, "labels"),
    (losses.categorical_crossentropy, "one-hot"),
    (losses.categorical_crossentropy, "probabilities"),
    (losses.binary_crossentropy, "bits"),
    (losses.mean_squared_error, "numbers"),
]


@pytest.mark.parametrize(("loss", "kind"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_gradient(
    loss: losses.Loss, kind: str, shape: tuple[int, int], dtype: Any, target: str
) -> None:
    outputs = (5 * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    y = targets_of(loss, kind, *shape)
    targets = loss.targets(y, shape[1], np.dtype(dtype))
    gradient = np.full_like(outputs, np.nan)
    value = loss(outputs, targets, gradient)
    oracle = getattr(reference, loss.name)
    expected, slope = oracle(outputs, targets)
    # A sum rounds once for each of its terms; logits reach 15.
    tolerance = (20 + shape[1]) * float(np.finfo(dtype).eps)
    assert value == pytest.approx(expected, rel=tolerance)
    np.testing.assert_allclose(gradient, slope, tolerance, tolerance / 4)
    assert loss(outputs, targets) == value


@pytest.mark.parametrize("cols", [3, 40])
def test_infinite_logits_of_what_is_certain_cost_nothing(
    cols: int, target: str
) -> None:
    logits = np.full((2, cols), -np.inf)
    logits[:, 1] = np.inf
    certain = np.zeros((2, cols))
    certain[:, 1] = 1
    assert losses.binary_crossentropy(logits, certain) == 0
    logits[:, 1] = 0
    assert losses.categorical_crossentropy(logits, certain) == 0


@pytest.mark.parametrize("cols", [3, 40])
def test_gradient_over_targets_is_refused(cols: int) -> None:
    logits, targets = np.zeros((2, cols)), np.eye(cols)[:2].copy()
    with pytest.raises(ValueError, match="gradient must not be the array of the"):
        losses.categorical_crossentropy(logits, targets, targets)
    np.testing.assert_array_equal(targets, np.eye(cols)[:2])


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
