"""Schedules against numbers recorded from torch 2.13 (torch.optim.lr_scheduler)."""

from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina.schedules import Cosine, Exponential, OneCycle, Step

# Each from step 1 on, torch's step 0. The schedulers: StepLR(3, 0.3),
# ExponentialLR(0.9), CosineAnnealingLR(8, eta_min=0.01), SequentialLR of LinearLR(0.25,
# total_iters=3) and, from 4 on, CosineAnnealingLR(6), and OneCycleLR.
# fmt: off
TORCH: list[tuple[Any, list[float]]] = [
    (Step(0.5, 3, 0.3),
     [0.5, 0.5, 0.5, 0.15, 0.15, 0.15, 0.045, 0.045, 0.045, 0.0135]),
    (Exponential(0.5, 0.9),
     [0.5, 0.45, 0.405, 0.3645, 0.32805, 0.295245, 0.2657205, 0.23914845]),
    (Cosine(0.5, 8, end=0.01),
     [0.5, 0.48135048546526527, 0.4282411613907041, 0.34875744092944705, 0.255,
      0.16124255907055302, 0.08175883860929586, 0.02864951453473475, 0.01]),
    (Cosine(0.5, 10, warm_up=4),
     [0.125, 0.25, 0.375, 0.5, 0.5, 0.4665063509461097, 0.375, 0.25, 0.125,
      0.03349364905389032]),
    (OneCycle(0.5, 10),
     [0.02, 0.26, 0.5, 0.47524231600673683, 0.40587282697488153, 0.30563101096814466,
      0.19437098903185537, 0.09412917302511849, 0.024759683993263143, 2e-06]),
    (OneCycle(0.5, 8, pct_start=0.6, div_factor=10, final_div_factor=100),
     [0.05, 0.12261164638420824, 0.29358035273127475, 0.4525566146141885,
      0.4952011237807068, 0.3458251872331811, 0.11149633430335441, 0.0005]),
    (OneCycle(0.5, 5, pct_start=0.1),
     [0.4849232155038563, 0.3750005, 0.2065891292314451, 0.05849065526469865, 2e-06]),
]
# fmt: on


@pytest.mark.parametrize(("schedule", "rates"), TORCH, ids=lambda v: repr(v)[:40])
def test_as_torch(schedule: Any, rates: list[float]) -> None:
    found = schedule(np.arange(1, len(rates) + 1))
    assert found.dtype == np.float64
    # Of numbers up to 0.5, each sum rounds a few times.
    np.testing.assert_allclose(found, rates, rtol=1e-14, atol=2e-16)


@pytest.mark.parametrize(
    ("schedule", "end"),
    [
        (Cosine(0.5, 8, end=0.01), 0.01),
        (Cosine(1.0, 9, 3), 0.0),
        (OneCycle(1.0, 9), 4e-6),
    ],
    ids=repr,
)
def test_stays_at_the_end(schedule: Any, end: float) -> None:
    np.testing.assert_allclose(schedule([10, 11, 1000, 10**12]), end, rtol=1e-15)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short(steps: int) -> None:
    for schedule in (OneCycle(1.0, steps), Cosine(1.0, steps)):
        assert np.isfinite(schedule(np.arange(1, 5))).all()


def test_many_steps() -> None:
    steps = np.array([[1, 10], [1000, 10**6]])
    found = Exponential(1.0, 0.99999)(steps)
    assert found.shape == steps.shape
    # Squarings double the relative error: as many roundings as the exponent.
    np.testing.assert_allclose(found, 0.99999 ** (steps - 1.0), rtol=1e6 * 2.3e-16)
    assert Exponential(1.0, 0.5)(10**6) == 0
    assert Exponential(1.0, 2.0)(10**6) == np.inf
    assert Step(2.0, every=10**9)(10**9) == 2


def test_in_a_fit() -> None:
    x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(-1, 1)
    parameters, mse = [], "mean_squared_error"
    # A factor that is exact: eight steps at 0.25, eight at 0.125, as two fits.
    for rates in ([Step(0.25, every=8, factor=0.5), None], [0.25, 0.125]):
        net = lm.Sequential([lm.Dense(1)], seed=0)
        for rate in rates:
            rule = None if rate is None else lm.SGD(rate)
            net.fit(x, 3 * x, batch_size=8, optimizer=rule, loss=mse, verbose=0)
        parameters.append(net.parameters)
    np.testing.assert_array_equal(parameters[0], parameters[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Step(0.0, 3), "rate must be .* > 0, got 0.0"),
        (lambda: Step(0.1, 0), "every must be an integer >= 1, got 0"),
        (lambda: Step(0.1, 3, -1.0), "factor must be .* > 0, got -1.0"),
        (lambda: Exponential(0.1, 0.0), "factor must be .* > 0, got 0.0"),
        (lambda: Exponential(-1.0, 0.5), "rate must be .* > 0, got -1.0"),
        (lambda: Cosine(0.0, 9), "rate must be .* > 0, got 0.0"),
        (lambda: Cosine(0.1, 0), "steps must be an integer >= 1, got 0"),
        (lambda: Cosine(0.1, 9, 9), "warm_up must be below steps, 9, got 9"),
        (lambda: Cosine(0.1, 9, -1), r"warm_up must be an integer in .* got -1"),
        (lambda: Cosine(0.1, 9, end=-1.0), "end must be .* >= 0, got -1.0"),
        (lambda: OneCycle(np.inf, 9), "rate must be .* got inf"),
        (lambda: OneCycle(0.1, 0), "steps must be .* got 0"),
        (lambda: OneCycle(0.1, 9, 1.0), r"pct_start must be .* \[0, 1\), got 1.0"),
        (lambda: OneCycle(0.1, 9, div_factor=0.0), "div_factor must be .* got 0.0"),
        (lambda: OneCycle(0.1, 9, final_div_factor=0.0), "final_div_factor must be"),
    ],
)
def test_wrong_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


SCHEDULES = [
    Step(0.5, 3, 0.3),
    Exponential(0.5, 0.9),
    Exponential(0.5, 2),  # squared as an integer it would fill the memory
    Cosine(0.5, 10, warm_up=4),
    OneCycle(0.5, 10),
]
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


@each_schedule
def test_a_curve_may_be_asked_for_at_any_number(schedule: Any) -> None:
    """Plotted from 0, or on a fine grid: a rate holds until the next step."""
    first, second, third = schedule([1, 2, 3])
    assert (schedule([-(2**63), -5, 0, -0.5, -np.inf, 1e-300, 1.9]) == first).all()
    assert schedule([2, 2.5, 2.999]).tolist() == [second] * 3
    assert schedule(np.arange(4)).tolist() == [first, first, second, third]
    last = schedule(2**62)
    for huge in (2**63 - 1, 2**63, 2**64 - 1, 1e300, np.inf, np.uint64(2**63)):
        assert schedule([huge]).tolist() == [last]


def test_a_curve_beyond_any_float_is_infinite_without_a_warning() -> None:
    assert Exponential(1e10, 1e300)([1, 2, 3]).tolist() == [1e10, np.inf, np.inf]
    assert Step(1e10, 1, 1e300)([2, 2**62]).tolist() == [np.inf, np.inf]


@each_schedule
@pytest.mark.parametrize("dtype", ["b", "B", "u4", "u8", ">i8", "e", "f", "g"])
def test_steps_of_any_type(schedule: Any, dtype: str) -> None:
    steps = np.arange(1, 7).reshape(2, 3)
    found = schedule(steps.astype(dtype))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, schedule(steps))
    assert schedule(np.ones((2, 0), dtype)).shape == (2, 0)
    assert schedule(np.array(3, dtype)).shape == ()


@each_schedule
@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        (np.nan, ValueError, "steps must hold no NaN, got nan"),
        ([1, np.nan], ValueError, "steps must hold no NaN"),
        ("3", TypeError, "steps must hold real numbers, got dtype <U1"),
        (["1", "2"], TypeError, "steps must hold real numbers"),
        ([1j], TypeError, "steps must hold real numbers, got dtype complex128"),
        (2**64, TypeError, "real numbers, got dtype object; use astype"),
        (None, TypeError, "steps must hold real numbers, got dtype object with NoneT"),
        ([[1], [2, 3]], ValueError, "steps must have rows of one length"),
    ],
)
def test_steps_that_are_none(
    schedule: Any, steps: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        schedule(steps)


def test_arguments_of_any_type_of_number() -> None:
    """float16 would round, and int8 overflow, where rates are computed from them."""
    half: Any = np.float16(0.5)
    numbers: list[Any] = [np.int8(100), np.int8(1), np.int8(0)]
    hundred, one, zero = numbers
    assert OneCycle(half, hundred)(1) == OneCycle(0.5, 100)(1)
    small = Cosine(half, hundred, hundred - one, zero)
    assert small([1, 1000]).tolist() == Cosine(0.5, 100, 99)([1, 1000]).tolist()
    assert Step(1, 2**62)(2**62) == 1
