"""Schedules against numbers recorded from torch 2.13 (torch.optim.lr_scheduler) and
pytabkit 1.8, and against mpmath; rates of learning, decay and dropout by them."""

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

import lamina as lm
from lamina.schedules import Cosine, CosLog, Exponential, FlatCosine, OneCycle, Step
from test_network import by_layer

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
    # Of pytabkit, "coslog4" and "flat_cos" at t = 0, 1/8, ... 1:
    (CosLog(1.0, 8),
     [0.0, 0.9945307335869031, 0.49348927546479743, 0.5691426524033205,
      0.07361893418585597, 0.8536409741706632, 0.8756577310807727,
      0.2866017707059414, 0.0]),
    (FlatCosine(0.02, 8),
     [0.02, 0.02, 0.02, 0.02, 0.02, 0.017071067811865476, 0.01,
      0.0029289321881345253, 0.0]),
]
# fmt: on


@pytest.mark.parametrize(("schedule", "rates"), TORCH, ids=lambda v: repr(v)[:40])
def test_as_torch(schedule: Any, rates: list[float]) -> None:
    found = schedule(np.arange(1, len(rates) + 1))
    assert found.dtype == np.float64
    # Of numbers up to 1, each sum rounds a few times; theirs, too.
    np.testing.assert_allclose(found, rates, rtol=1e-14, atol=3e-15)


@pytest.mark.parametrize("cycles", [1, 4, 9, 52])
def test_cycles_by_exact_logarithms(cycles: int) -> None:
    count = 3001
    with mpmath.workdps(40):
        exact = []
        for step in range(count):
            share = mpmath.mpf(step / (count - 1))
            turns = mpmath.log(1 + (2**cycles - 1) * share, 2)
            exact.append(float((1 - mpmath.cos(2 * mpmath.pi * turns)) / 2))
    found = CosLog(1.0, count - 1, cycles)(np.arange(1, count + 1))
    # The logarithm's argument is off by two roundings of 2^-53, which pi log2(e) makes
    # 1e-15, the rest by some more.
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-15)


def test_cycles_have_the_same_bits_everywhere() -> None:
    """They are recorded: only operations that IEEE 754 rounds exactly."""
    bits = [rate.hex() for rate in CosLog(0.04, 1000)([2, 68, 250, 789]).tolist()]
    assert bits == [
        "0x1.7d6803d5cbba0p-13",
        "0x1.57c4a21ff69cep-18",
        "0x1.3a05ab4e01bb5p-6",
        "0x1.d29845e413c80p-6",
    ]
    bits = [rate.hex() for rate in FlatCosine(0.02, 1000)([600, 999]).tolist()]
    assert bits == ["0x1.28fde7627d5e3p-6", "0x1.a7e4051d7301ap-21"]


@pytest.mark.parametrize(
    ("schedule", "end"),
    [
        (Cosine(0.5, 8, end=0.01), 0.01),
        (Cosine(1.0, 9, 3), 0.0),
        (OneCycle(1.0, 9), 4e-6),
        (CosLog(1.0, 9, 3), 0.0),
        (FlatCosine(1.0, 9), 0.0),
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


RNG = np.random.default_rng(2)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = np.sin(X[:, 0]) - X[:, 1]
FIT: dict[str, Any] = {"batch_size": 8, "verbose": 0, "loss": "mean_squared_error"}


def made(*between: lm.Layer, dtype: Any = "float32") -> lm.Sequential:
    layers = [lm.Dense(12, "relu"), *between, lm.Dense(6, "tanh"), lm.Dense(1)]
    return lm.Sequential(layers, seed=4, dtype=dtype)


def scheduled() -> list[lm.Layer]:
    return [
        lm.Dropout(FlatCosine(0.5, 30)),
        lm.GaussianNoise(0.1),
        lm.Dropout(CosLog(0.25, 30), "alpha"),
        lm.Dropout(0.125),
    ]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rule", [lm.AdamW, lm.Lion])
def test_weight_decay_by_a_schedule_is_that_of_each_step(
    rule: Any, known: bool
) -> None:
    decays = FlatCosine(0.5, 20)
    net, other = made(), made()
    for each in (net, other):
        each.build(4)
    if not known:
        net, other = by_layer(net), by_layer(other)
    net.fit(
        X, Y, epochs=2, shuffle=False, optimizer=rule(0.01, weight_decay=decays), **FIT
    )
    for step in range(1, 15):
        now = rule(0.01, weight_decay=float(decays(step)))
        first = (step - 1) % 7 * 8
        rows = slice(first, first + 8)
        other.gradients(X[rows], Y[rows], loss="mean_squared_error")
        other.apply_gradients(now)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    assert other._updates == 14  # whose state another decay does not start anew


def test_weight_decay_in_numpy_follows_its_schedule() -> None:
    rule = lm.AdamW(0.1, weight_decay=Step(1.0, every=1, factor=0.5))
    weights, state = np.ones(3), np.zeros((2, 3))
    for step in (1, 2):
        rule.update(weights, np.zeros(3), state, step)
    np.testing.assert_allclose(weights, 0.9 * 0.95, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_by_a_schedule_is_that_of_each_step(dtype: Any) -> None:
    """However steps are cut and whatever computes them."""
    nets = [made(*scheduled(), dtype=dtype) for _ in range(4)]
    for net in nets:
        net.build(4)
    nets[1] = by_layer(nets[1])
    for net in nets[:2]:
        net.fit(X, Y, epochs=3, shuffle=False, optimizer="adam", **FIT)
    for step in range(21):
        first = step % 7 * 8
        rows = slice(first, first + 8)
        nets[2].train_on_batch(
            X[rows], Y[rows], optimizer="adam", loss="mean_squared_error"
        )
        # By numbers, set before each step.
        fixed = [layer for layer in nets[3].layers if isinstance(layer, lm.Dropout)]
        schedules = FlatCosine(0.5, 30), CosLog(0.25, 30)
        for layer, schedule in zip(fixed, schedules, strict=False):
            layer.rate = float(schedule(step + 1))
        n = len(X[rows])
        for part in (slice(0, 1), slice(1, n)):
            nets[3].gradients(
                X[rows][part],
                Y[rows][part],
                weight=len(X[rows][part]) / n,
                first_row=part.start,
                accumulate=part.start > 0,
                loss="mean_squared_error",
            )
        nets[3].apply_gradients("adam")
    for net in nets[1:3]:
        np.testing.assert_array_equal(net.parameters, nets[0].parameters)
    # Sums of parts of a batch round otherwise.
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(
        nets[3].parameters, nets[0].parameters, tolerance, tolerance
    )


def test_dropout_by_a_schedule_leaves_predictions_alone() -> None:
    net, plain = made(*scheduled()), made()
    for each in (net, plain):
        each.build(4)
    plain.parameters[:] = net.parameters
    np.testing.assert_array_equal(net.predict(X), plain.predict(X))
    # Samples drop what the next step would.
    fixed = copy.deepcopy(net)
    rates = 0.5, None, float(CosLog(0.25, 30)(1)), 0.125
    for layer, rate in zip(fixed.layers[1:5], rates, strict=True):
        if rate is not None:
            layer.rate = rate
    for known in (True, False):
        pair = (net, fixed) if known else (by_layer(net), by_layer(fixed))
        one, two = (each.predict(X, samples=9, seed=1) for each in pair)
        np.testing.assert_array_equal(one, two)
        one, two = (
            each.input_gradient(X, Y, loss="mean_squared_error", training=training)
            for each, training in [(pair[0], True), (pair[1], True)]
        )
        np.testing.assert_array_equal(one, two)
    layer = lm.Dropout(FlatCosine(0.5, 2))
    ones = np.ones((1, 1000))
    kept = [float((layer.forward(ones, training=True) > 0).mean()) for _ in range(3)]
    assert kept[0] < 0.6 < 0.9 < kept[2] == 1.0


@pytest.mark.parametrize("known", [True, False])
def test_schedules_of_all_kinds_are_saved_copied_and_resumed(
    known: bool, tmp_path: Path
) -> None:
    rule = lm.AdamW(CosLog(0.04, 28), weight_decay=FlatCosine(0.1, 28))
    options: dict[str, Any] = FIT | {"optimizer": rule}
    whole, half = made(*scheduled()), made(*scheduled())
    whole.fit(X, Y, epochs=4, **options)
    half.fit(X, Y, epochs=2, **options)
    half.save(tmp_path / "net")
    others = lm.load(tmp_path / "net"), pickle.loads(pickle.dumps(half))
    for net in (*others, copy.deepcopy(half)):
        assert net.optimizer == rule
        going = net if known else by_layer(net)
        going.fit(X, Y, epochs=2, **options)
        np.testing.assert_array_equal(going.parameters, whole.parameters)
    assert repr(half.clone().layers) == repr(half.layers)


def test_schedules_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"weight_decay must be .* >= 0, got -1"):
        lm.AdamW(weight_decay=-1)
    with pytest.raises(ValueError, match="rate must be a number in classic mode, got"):
        lm.Dropout(FlatCosine(0.5, 9), "classic")
    net = made(lm.Dropout(FlatCosine(0.5, 9)))
    net.build(4)
    with pytest.raises(ValueError, match="rate must be a number in classic mode"):
        net.convert_dropout("classic")
    changed = made(lm.Dropout(0.5, "classic"))
    changed.layers[1].rate = FlatCosine(0.5, 9)
    changed.build(4)
    with pytest.raises(ValueError, match="rate must be a number in classic mode"):
        changed.predict(X)

    class Wrong(lm.schedules.Schedule):
        def __call__(self, steps: Any) -> Any:
            return np.where(np.asarray(steps) < 3, 0.5, 1.5)

    dropping = made(lm.Dropout(Wrong()))
    with pytest.raises(ValueError, match=r"^rate must give 6 rates in \[0, 1\] for as"):
        dropping.fit(X, Y, **FIT)

    class Falling(lm.schedules.Schedule):
        def __call__(self, steps: Any) -> Any:
            return math.nan * np.asarray(steps)

    with pytest.raises(ValueError, match=r"^weight_decay must give 1 finite rates"):
        made().fit(X, Y, optimizer=lm.AdamW(weight_decay=Falling()), **FIT)


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
        (lambda: CosLog(0.0, 9), "rate must be .* > 0, got 0.0"),
        (lambda: CosLog(0.1, 0), "steps must be an integer >= 1, got 0"),
        (lambda: CosLog(0.1, 9, 0), "cycles must be an integer >= 1, got 0"),
        (lambda: CosLog(0.1, 9, 53), "cycles must be at most 52, got 53"),
        (lambda: FlatCosine(0.0, 9), "rate must be .* > 0, got 0.0"),
        (lambda: FlatCosine(0.1, 0), "steps must be an integer >= 1, got 0"),
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
    CosLog(0.5, 10),
    FlatCosine(0.5, 10),
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
