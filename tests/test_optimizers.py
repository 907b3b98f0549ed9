"""Optimizers against the oracle, through the hooks that a net uses."""

from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import optimizers, reference

N = 37
OPTIMIZERS = [
    lm.SGD(0.1),
    lm.SGD(0.1, momentum=0.9),
    lm.SGD(0.1, momentum=0.9, nesterov=True),
    lm.Adam(),
    lm.Adam(0.05, beta_1=0.5, beta_2=0.9, epsilon=1e-3),
]


def oracle(
    rule: Any, w: np.ndarray, gradients: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The weights at the end, and how far each has gone."""
    first, second, path = np.zeros(N), np.zeros(N), np.zeros(N)
    for step, dw in enumerate(gradients, 1):
        before = w
        if isinstance(rule, lm.SGD):
            w, first = reference.sgd(
                w, dw, first, rule.learning_rate, rule.momentum, rule.nesterov
            )
        else:
            w, first, second = reference.adam(
                w,
                dw,
                first,
                second,
                step,
                rule.learning_rate,
                rule.beta_1,
                rule.beta_2,
                rule.epsilon,
            )
        path += abs(w - before)
    return w, path


@pytest.mark.parametrize("rule", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fifty_steps(rule: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=N).astype(dtype) for _ in range(50)]
    w, state = np.zeros(N, dtype), np.zeros((rule.slots, N), dtype)
    for step, dw in enumerate(gradients, 1):
        rule.update(w, dw, state, step)
    expected, path = oracle(rule, np.zeros(N), gradients)
    # A step rounds a few times, and its sum with the weight once: 50 halves of eps.
    tolerance = (8 + 25) * np.finfo(dtype).eps
    assert (abs(w - expected) <= tolerance * path).all()


def test_state_that_is_needed() -> None:
    assert [rule.slots for rule in OPTIMIZERS] == [0, 1, 1, 2, 2]


def test_power_by_multiplication() -> None:
    for exponent in (1, 2, 3, 10, 1000, 123_457):
        # Squarings double the relative error: exponent roundings at most.
        assert optimizers._power(0.999, exponent) == pytest.approx(
            0.999**exponent, rel=exponent * 2.3e-16
        )


def test_immutable() -> None:
    with pytest.raises(AttributeError):
        lm.Adam().learning_rate = 1.0  # type: ignore[misc]
    assert lm.SGD(0.1) == lm.SGD(0.1) != lm.SGD(0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lm.SGD(0), "learning_rate must be a finite number > 0, got 0"),
        (lambda: lm.SGD(float("nan")), "learning_rate must be .* got nan"),
        (lambda: lm.SGD(float("inf")), "learning_rate must be .* got inf"),
        (lambda: lm.SGD(momentum=1.0), r"momentum must be a number in \[0, 1\), got"),
        (lambda: lm.SGD(momentum=-0.1), "momentum must be .* got -0.1"),
        (lambda: lm.SGD(nesterov=True), "nesterov must come with a momentum > 0"),
        (lambda: lm.Adam(-1.0), "learning_rate must be .* got -1.0"),
        (lambda: lm.Adam(beta_1=1), "beta_1 must be .* got 1"),
        (lambda: lm.Adam(beta_2=2), "beta_2 must be .* got 2"),
        (lambda: lm.Adam(epsilon=0.0), "epsilon must be .* got 0.0"),
        (
            lambda: optimizers.get("adagrad"),
            "unknown optimizer 'adagrad'; known are ad",
        ),
    ],
)
def test_wrong_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match=r"learning_rate must be .* got '0.1'"):
        lm.SGD("0.1")  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"unknown optimizer <class .*known are adam, sgd"
    ):
        optimizers.get(lm.Adam)  # type: ignore[arg-type]


def test_by_name() -> None:
    assert optimizers.get("adam") == lm.Adam()
    assert optimizers.get("sgd") == lm.SGD()
