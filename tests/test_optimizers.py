"""Optimizers against the oracle and recorded numbers; clipping; limits of norms."""

from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import _core, optimizers, reference
from lamina._checks import Array

N = 37
MSE = "mean_squared_error"
# Their digests are recorded in test_bits.py, so that new ones have a list of their own.
OPTIMIZERS = [
    lm.SGD(0.1),
    lm.SGD(0.1, momentum=0.9),
    lm.SGD(0.1, momentum=0.9, nesterov=True),
    lm.Adam(),
    lm.Adam(0.05, beta_1=0.5, beta_2=0.9, epsilon=1e-3),
]
MORE_OPTIMIZERS = [
    lm.RMSprop(),
    lm.RMSprop(0.05, rho=0.5, momentum=0.9, epsilon=1e-3),
    lm.RMSprop(0.05, centered=True),
    lm.RMSprop(0.05, rho=0.8, momentum=0.5, epsilon=1e-2, centered=True),
    lm.Adagrad(),
    lm.Adagrad(0.1, epsilon=1e-2),
    lm.AdamW(),
    lm.AdamW(0.05, beta_1=0.0, beta_2=0.0, epsilon=1e-3, weight_decay=0.5),
    lm.Lion(),
    lm.Lion(0.05, beta_1=0.5, beta_2=0.8, weight_decay=0.5),
]
EPSILON_HAT = lm.Adam(0.05, beta_1=0.5, beta_2=0.9, epsilon=1e-3, epsilon_hat=True)
ALL = [*OPTIMIZERS, *MORE_OPTIMIZERS, EPSILON_HAT]
DTYPES: list[Any] = [np.float32, np.float64]


def oracle(rule: Any, w: np.ndarray, dw: np.ndarray, state: Any, t: int) -> Any:
    """The weights after a step; `state` of three arrays is changed."""
    rate = rule.learning_rate
    if isinstance(rule, lm.SGD):
        w, state[0] = reference.sgd(w, dw, state[0], rate, rule.momentum, rule.nesterov)
    elif isinstance(rule, lm.RMSprop):
        options = [rate, rule.rho, rule.momentum, rule.epsilon, rule.centered]
        w, *state[:3] = reference.rmsprop(w, dw, *[*state, *options])
    elif isinstance(rule, lm.Adagrad):
        w, state[0] = reference.adagrad(w, dw, state[0], rate, rule.epsilon)
    elif isinstance(rule, lm.Adam):
        options = [t, rate, rule.beta_1, rule.beta_2, rule.epsilon]
        if isinstance(rule, lm.AdamW):
            options = [*state[:2], *options, rule.weight_decay]
            w, *state[:2] = reference.adamw(w, dw, *options)
        else:
            options = [*state[:2], *options, rule.epsilon_hat]
            w, *state[:2] = reference.adam(w, dw, *options)
    else:
        options = [rate, rule.beta_1, rule.beta_2, rule.weight_decay]
        w, state[0] = reference.lion(w, dw, state[0], *options)
    return w


def start(rule: optimizers.Optimizer, dtype: Any, size: int = N) -> Any:
    return np.ones(size, dtype), np.zeros((rule.slots, size), dtype)


@pytest.mark.parametrize("rule", ALL, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fifty_steps(rule: Any, dtype: Any, target: str) -> None:
    rng = np.random.default_rng(0)
    w, state = start(rule, dtype)
    expected, path, kept = np.ones(N), np.zeros(N), [np.zeros(N)] * 3
    for step in range(1, 51):
        dw = rng.normal(size=N).astype(dtype)
        rule.update(w, dw, state, step)
        before = expected
        expected = oracle(rule, expected, dw, kept, step)
        path += abs(expected - before)
    # A step rounds a few times, and its sum with the weight once: 50 halves of eps of
    # the weight, which starts at 1. If centered, a small difference is divided by,
    # whose error is that of the squares.
    roundings = 8 + 25
    if getattr(rule, "centered", False):
        roundings *= 10
    tolerance = roundings * np.finfo(dtype).eps
    assert (abs(w - expected) <= tolerance * (1 + path)).all()


@pytest.mark.parametrize("rule", ALL, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_that_begin_anywhere(rule: Any, dtype: Any, target: str) -> None:
    size, around = 200, 16  # more than eight registers, and the lanes of one
    dw = np.random.default_rng(0).normal(size=size).astype(dtype)
    want = oracle(rule, np.ones(size), dw, [np.zeros(size)] * 3, 1)
    for offset in range(around + 1):
        held = np.full(size + 2 * around, 7, dtype)
        w = held[offset : offset + size]
        w[:], state = start(rule, dtype, size)
        rule.update(w, dw, state, 1)
        # As in test_fifty_steps, of one step.
        roundings = 10 * 8 if getattr(rule, "centered", False) else 8
        np.testing.assert_allclose(
            w, want, rtol=0, atol=roundings * np.finfo(dtype).eps
        )
        assert (np.delete(held, np.s_[offset : offset + size]) == 7).all()


# From torch 2.13 (torch.optim on the CPU, in float64): the weights after steps 1, 10
# and 100 from FIRST on, with the gradients of `gradient`. RMSprop's alpha is rho.
FIRST = [1.0, -0.5, 0.25, -2.0]
TORCH: dict[str, dict[int, list[float]]] = {
    "SGD(0.1)": {
        1: [0.95, -0.45, 0.16874999999999998, -1.7625],
        10: [
            0.7250776438469012,
            -0.357999842071875,
            0.12698051748732467,
            -0.7617311454875,
        ],
        100: [
            0.10067433818007274,
            0.03692824878311317,
            0.05628089559085184,
            0.043431702805445185,
        ],
    },
    "SGD(0.1, momentum=0.9)": {
        1: [0.95, -0.45, 0.16874999999999998, -1.7625],
        10: [
            -0.1033219792455436,
            0.018878402816601598,
            -0.21763664966655238,
            1.0520800744,
        ],
        100: [
            0.020728010285008543,
            -0.006745740327358442,
            0.18797598579832211,
            -0.021919512878799757,
        ],
    },
    "SGD(0.1, momentum=0.9, nesterov=True)": {
        1: [0.905, -0.405, 0.095625, -1.5487499999999998],
        10: [
            -0.11623203359387917,
            -0.03686837394915972,
            0.026464544449681004,
            0.5450237540674707,
        ],
        100: [
            0.05207457193527798,
            0.04064329331277214,
            0.24773502407109574,
            0.0578527009735556,
        ],
    },
    "RMSprop(0.01)": {
        1: [
            0.968377225398316,
            -0.46837722539831605,
            0.21837722462908538,
            -1.9683772238193689,
        ],
        10: [
            0.8970819130534474,
            -0.4345764333297788,
            0.18580862787850078,
            -1.8400674694626886,
        ],
        100: [
            0.5556486687558264,
            -0.14782763963625523,
            0.07710454567809699,
            -0.9998140253040202,
        ],
    },
    "RMSprop(0.01, momentum=0.9)": {
        1: [
            0.968377225398316,
            -0.46837722539831605,
            0.21837722462908538,
            -1.9683772238193689,
        ],
        10: [
            0.5073791546624327,
            -0.18617515362819922,
            -0.14329402832921204,
            -1.2788172097840507,
        ],
        100: [
            0.02351875022475887,
            -0.010970655987886883,
            0.07107825134781774,
            -0.020141932466795243,
        ],
    },
    "RMSprop(0.01, rho=0.8, epsilon=0.001, centered=True)": {
        1: [
            0.9751243781094527,
            -0.47512437810945274,
            0.22507668711656442,
            -1.9750262881177707,
        ],
        10: [
            0.9054644073153779,
            -0.4431902790914406,
            0.18825310973491652,
            -1.789625634624085,
        ],
        100: [
            0.5265121391093279,
            -0.1431780838398891,
            0.1056138803753026,
            -0.19992319344220466,
        ],
    },
    "RMSprop(0.01, momentum=0.5, centered=True)": {
        1: [
            0.9666666688888887,
            -0.46666666888888875,
            0.21666666803418796,
            -1.966666667134503,
        ],
        10: [
            0.7896234313262965,
            -0.36878489454297597,
            0.10797229470640066,
            -1.634617911884379,
        ],
        100: [
            0.2629793881602292,
            -0.034638205264286,
            0.07242895656382495,
            -0.031157233291910655,
        ],
    },
    "Adagrad(0.1)": {
        1: [0.90000000002, -0.40000000002, 0.15000000001230768, -1.9000000000042105],
        10: [
            0.7149448291670419,
            -0.33704217419874805,
            0.10340952764900738,
            -1.558505664851637,
        ],
        100: [
            0.3420031093409649,
            -0.05233493533926466,
            0.026022058568557608,
            -0.5929650808410081,
        ],
    },
    "Adagrad(0.1, epsilon=0.1)": {
        1: [
            0.9166666666666666,
            -0.41666666666666663,
            0.16095890410958902,
            -1.904040404040404,
        ],
        10: [
            0.742609417889447,
            -0.3513328084476176,
            0.11117435322884184,
            -1.5698359826115833,
        ],
        100: [
            0.3651993106769084,
            -0.06011285271099024,
            0.026964622954808715,
            -0.6082456216159754,
        ],
    },
    "Adam(0.05)": {
        1: [0.950000001, -0.450000001, 0.20000000061538462, -1.9500000002105262],
        10: [
            0.6570605656346203,
            -0.25968979295081274,
            -0.0750114465065203,
            -1.5170810374863513,
        ],
        100: [
            0.007600055627391439,
            -0.002607735315242359,
            0.016865714589803685,
            0.014948286764661688,
        ],
    },
    "Adam(0.05, beta_1=0.5, beta_2=0.9, epsilon=0.001)": {
        1: [
            0.9500998003992016,
            -0.4500998003992016,
            0.20006146281499693,
            -1.9500210437710437,
        ],
        10: [
            0.7039439790415426,
            -0.31493130219464416,
            0.10432003469831694,
            -1.538470762634928,
        ],
        100: [
            0.07373506282761742,
            0.015599158468977033,
            0.10700515282573671,
            0.012145193197876162,
        ],
    },
    "AdamW(0.05)": {
        1: [0.9495000010000001, -0.449750001, 0.19987500061538463, -1.9490000002105263],
        10: [
            0.6531364815518806,
            -0.2581559029917969,
            -0.07517450684267123,
            -1.5083609497360597,
        ],
        100: [
            0.00674934746294425,
            -0.002581024135045194,
            0.01691079417445717,
            0.013800996459751743,
        ],
    },
    "AdamW(0.05, weight_decay=0.5)": {
        1: [
            0.9250000009999999,
            -0.43750000099999997,
            0.1937500006153846,
            -1.9000000002105262,
        ],
        10: [
            0.4829837916967189,
            -0.1921139299417275,
            -0.08064902755872018,
            -1.1293902208562145,
        ],
        100: [
            0.0020252568666060925,
            -0.0010133695258621985,
            0.018478439519223958,
            -0.004395614982774679,
        ],
    },
}


def gradient(w: np.ndarray, step: int) -> np.ndarray:
    """Of a bowl that is shaken; all of it exact to the last rounding."""
    shaken = np.array([step * 7 * i % 11 - 5 for i in (1, 2, 3, 5)], w.dtype)
    return w * np.arange(1, 5, dtype=w.dtype) / 4 + shaken / 8


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_hundred_steps_as_torch(name: str, dtype: Any) -> None:
    rule = eval(f"lm.{name}")
    w, state = np.array(FIRST, dtype), np.zeros((rule.slots, 4), dtype)
    for step in range(1, 101):
        rule.update(w, gradient(w, step), state, step)
        if step in TORCH[name]:
            # The gradient pulls errors back: a few roundings of numbers up to 2 stay.
            tolerance = 32 * np.finfo(dtype).eps
            np.testing.assert_allclose(w, TORCH[name][step], rtol=0, atol=tolerance)


def test_lion_as_published() -> None:
    """Algorithm 2 line by line, with numbers that are exact."""
    rule = lm.Lion(0.125, beta_1=0.5, beta_2=0.75, weight_decay=0.5)
    w, m = np.array([1.0, -2.0, 0.0, 4.0]), np.array([[2.0, -4.0, 0.0, 8.0]])
    rule.update(w, np.array([-2.0, -8.0, 0.0, -16.0]), m, 1)
    # c = 0, -6, 0, -4
    assert w.tolist() == [1 - 0.0625, -2 + 0.125 * 2, 0, 4 - 0.125 * (-1 + 2)]
    assert m.tolist() == [[1.0, -5.0, 0.0, 2.0]]


@pytest.mark.parametrize("rule", ALL, ids=repr)
def test_nan_and_zero(rule: Any, target: str) -> None:
    """A gradient of NaN stays in its own weight; one of 0 moves none but by decay."""
    w, state = start(rule, np.float32)
    dw = np.zeros(N, np.float32)
    dw[20] = np.nan
    for step in (1, 2):
        rule.update(w, dw, state, step)
    expected = (1 - rule.learning_rate * getattr(rule, "weight_decay", 0)) ** 2
    assert np.isnan(w[20])
    np.testing.assert_allclose(np.delete(w, 20), expected, rtol=1e-6)


def test_centered_never_takes_the_root_of_less_than_nothing() -> None:
    """Equal gradients: the excess over the squared mean is rounding, of either sign."""
    rule = lm.RMSprop(centered=True)
    w, state = start(rule, np.float32)
    dw = np.linspace(0.1, 9, N, dtype=np.float32)
    for step in range(1, 400):
        rule.update(w, dw, state, step)
    assert np.isfinite(w).all()


@pytest.mark.parametrize("rule", ALL, ids=repr)
def test_threads_change_nothing(rule: Any) -> None:
    rng = np.random.default_rng(1)
    size = 100_003
    steps = [rng.normal(size=size).astype(np.float32) for _ in range(2)]
    results = []
    for count in (1, 3):
        with lm.threads(count):
            w, state = start(rule, np.float32, size)
            for step, dw in enumerate(steps, 1):
                rule.update(w, dw, state, step)
        results.append((w, state))
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


def test_state_that_is_needed() -> None:
    assert [rule.slots for rule in OPTIMIZERS] == [0, 1, 1, 2, 2]
    assert [r.slots for r in MORE_OPTIMIZERS] == [1, 2, 2, 3, 1, 1, 2, 2, 1, 1]


def test_late_steps() -> None:
    """Corrections of the bias by multiplications alone: as powers, at large steps."""
    w, dw, state = np.zeros(1), np.ones(1), np.zeros((2, 1))
    for step in (1, 2, 3, 10, 1000, 123_457):
        w[:] = state[:] = 0
        lm.Adam(epsilon=1e-300).update(w, dw, state, step)
        c1, c2 = 1 - 0.9**step, 1 - 0.999**step
        expected = -1e-3 * 0.1 / c1 / (0.001 / c2) ** 0.5
        # Squarings double the relative error of a power: `step` roundings at most,
        # next to a correction of at least 0.001.
        assert w[0] == pytest.approx(expected, rel=1e-12)


# Clipping -----------------------------------------------------------------------------

SIZES = [1, 0, 40, 4096, 3, 20_000]


def clipped(rule: Any, dw: np.ndarray, sizes: list[int] = SIZES) -> float:
    return _core.clip(rule.core, dw, sizes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_in_order(dtype: Any, target: str) -> None:
    dw = np.random.default_rng(2).normal(size=sum(SIZES)).astype(dtype)
    rule = lm.SGD(clip_value=1.5, clip_norm=30.0, global_clip_norm=20.0)
    parts = np.split(np.clip(dw, -1.5, 1.5), np.cumsum(SIZES)[:-1])
    parts = [reference.limit_norm(part, 30.0) for part in parts]
    before = np.concatenate(parts)
    norm = clipped(rule, dw)
    # Two scalings, each by a rounded factor; a sum of squares of some thousand terms.
    eps = float(np.finfo(dtype).eps)
    assert norm == pytest.approx(np.linalg.norm(before), rel=eps + 1e-14)
    np.testing.assert_allclose(dw, reference.limit_norm(before, 20.0), rtol=4 * eps)


@pytest.mark.parametrize("option", ["clip_value", "clip_norm", "global_clip_norm"])
def test_nothing_above_a_limit_changes_nothing(option: str) -> None:
    dw = np.random.default_rng(3).normal(size=sum(SIZES)).astype(np.float32)
    before, largest = dw.copy(), np.linalg.norm(dw.astype(np.float64))
    limits: Any = {option: float(largest)}
    norm = clipped(lm.Adam(**limits), dw)
    np.testing.assert_array_equal(dw, before)
    expected = largest if option == "global_clip_norm" else 0
    assert norm == pytest.approx(expected, rel=1e-15 * dw.size)


def test_norms_beyond_float32() -> None:
    dw = np.full(100, 1e38, np.float32)
    assert clipped(lm.SGD(global_clip_norm=1.0), dw, [100]) == pytest.approx(1e39)
    np.testing.assert_allclose(dw, 0.1, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_norms_that_are_not_finite(bad: float) -> None:
    dw = np.array([3.0, bad, 4.0])
    before = dw.copy()
    norm = clipped(lm.SGD(clip_norm=1.0, global_clip_norm=1.0), dw, [3])
    np.testing.assert_array_equal(dw, before)
    np.testing.assert_equal(norm, bad)
    clipped(lm.SGD(clip_value=2.0), dw, [3])
    np.testing.assert_array_equal(dw, [2, min(bad, 2.0) if bad == bad else bad, 2])


@pytest.mark.parametrize("size", [0, 1, 31, 33, 4097, 1_200_000])
def test_norms_whatever_the_threads(size: int) -> None:
    dw = np.random.default_rng(4).normal(size=size).astype(np.float32)
    found = []
    for count in (1, 3):
        with lm.threads(count):
            found.append(clipped(lm.SGD(global_clip_norm=1e9), dw, [size]))
    assert found[0] == found[1]
    exact = np.linalg.norm(dw.astype(np.float64))
    assert found[0] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 3, 50])
@pytest.mark.parametrize("cols", [0, 1, 7, 8, 17, 64, 65, 130])
def test_limit_norms(rows: int, cols: int, dtype: Any, target: str) -> None:
    kernel = np.random.default_rng(5).normal(size=(rows, cols)).astype(dtype)
    limit = 0.9 * rows**0.5 + 0.01
    expected = reference.limit_norm(kernel, limit, axis=0)
    before = kernel.copy()
    _core.limit_norms(kernel, limit)
    # The factor is rounded, then the product; half of the sum's error is the norm's.
    tolerance = 2 * np.finfo(dtype).eps + rows * np.finfo(float).eps / 2
    np.testing.assert_allclose(kernel, expected, rtol=tolerance)
    below = np.linalg.norm(before.astype(np.float64), axis=0) < 0.999 * limit
    np.testing.assert_array_equal(kernel[:, below], before[:, below])


def test_limit_norms_leaves_what_is_not_finite() -> None:
    kernel = np.array([[3.0, np.inf, np.nan], [4.0, 9.0, 9.0]])
    _core.limit_norms(kernel, 1.0)
    np.testing.assert_allclose(kernel, [[0.6, np.inf, np.nan], [0.8, 9, 9]])


def test_limit_norms_whatever_the_threads() -> None:
    kernel = np.random.default_rng(6).normal(size=(200, 1001)).astype(np.float32)
    results: Any = []
    for count in (1, 3):
        with lm.threads(count):
            results.append(kernel.copy())
            _core.limit_norms(results[-1], 14.0)
    np.testing.assert_array_equal(*results)


# Descriptions -------------------------------------------------------------------------


def test_own_rule_trains_a_net() -> None:
    class Plain(optimizers.Optimizer):
        slots = 0

        def update(self, weights: Any, gradients: Any, state: Any, step: int) -> None:
            weights -= np.float32(0.1) * gradients

    assert Plain().core is None
    x = np.linspace(-1, 1, 50, dtype=np.float32).reshape(-1, 2)
    parameters: Any = []
    for rule in (Plain(), lm.SGD(0.1)):
        net = lm.Sequential([lm.Dense(3, activation="tanh"), lm.Dense(1)], seed=0)
        net.fit(x, x[:, 0], epochs=3, optimizer=rule, loss=MSE, verbose=0)
        parameters.append(net.parameters)
    # Lamina multiplies and subtracts in one rounding, 12 times.
    np.testing.assert_allclose(parameters[0], parameters[1], rtol=1e-5)


def test_rates() -> None:
    np.testing.assert_array_equal(lm.SGD(0.25).rates(7, 3), [0.25] * 3)
    rule = lm.SGD(lm.schedules.Step(1.0, every=2, factor=0.5))
    np.testing.assert_array_equal(rule.rates(2, 3), [1, 0.5, 0.5])
    w = np.zeros(1)
    for step in range(1, 6):
        rule.update(w, np.ones(1), np.zeros((0, 1)), step)
    assert w[0] == -(1 + 1 + 0.5 + 0.5 + 0.25)


@pytest.mark.parametrize(
    "rates", [[1.0], [1.0, -1.0], [1.0, np.nan], [np.inf, 1.0], [[1.0, 1.0]]]
)
def test_rates_of_a_wrong_schedule(rates: Any) -> None:
    class Wrong(lm.schedules.Schedule):
        def __call__(self, steps: Any) -> Any:
            return rates

    with pytest.raises(ValueError, match="learning_rate must give 2 finite rates >= 0"):
        lm.Adam(Wrong()).rates(1, 2)


def test_immutable() -> None:
    with pytest.raises(AttributeError):
        lm.Adam().learning_rate = 1.0  # type: ignore[misc]
    assert lm.SGD(0.1) == lm.SGD(0.1) != lm.SGD(0.2)
    assert lm.Adam() != lm.AdamW(weight_decay=0.0)


@pytest.mark.parametrize("rule", [*ALL, lm.Lion(clip_norm=2.0)], ids=repr)
def test_written_as_made(rule: Any) -> None:
    assert eval(f"lm.{rule!r}") == rule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lm.SGD(0), "learning_rate must be a finite number > 0, got 0"),
        (lambda: lm.SGD(float("nan")), "learning_rate must be .* got nan"),
        (lambda: lm.SGD(float("inf")), "learning_rate must be .* got inf"),
        (lambda: lm.SGD(momentum=1.0), r"momentum must be a number in \[0, 1\), got"),
        (lambda: lm.SGD(momentum=-0.1), "momentum must be .* got -0.1"),
        (lambda: lm.SGD(nesterov=True), "nesterov must come with a momentum > 0"),
        (lambda: lm.SGD(clip_value=0.0), "clip_value must be .* > 0, got 0.0"),
        (lambda: lm.SGD(clip_norm=-1.0), "^clip_norm must be .* > 0, got -1.0"),
        (lambda: lm.SGD(global_clip_norm=np.inf), "global_clip_norm must .* got inf"),
        (lambda: lm.RMSprop(rho=1.0), "rho must be .* got 1.0"),
        (lambda: lm.RMSprop(momentum=1.0), "momentum must be .* got 1.0"),
        (lambda: lm.RMSprop(epsilon=0.0), "epsilon must be .* got 0.0"),
        (lambda: lm.Adagrad(epsilon=-1.0), "epsilon must be .* got -1.0"),
        (lambda: lm.Adam(-1.0), "learning_rate must be .* got -1.0"),
        (lambda: lm.Adam(beta_1=1), "beta_1 must be .* got 1"),
        (lambda: lm.Adam(beta_2=2), "beta_2 must be .* got 2"),
        (lambda: lm.Adam(epsilon=0.0), "epsilon must be .* got 0.0"),
        (lambda: lm.AdamW(weight_decay=-0.1), "weight_decay must be .* got -0.1"),
        (lambda: lm.Lion(beta_1=1.0), "beta_1 must be .* got 1.0"),
        (lambda: lm.Lion(beta_2=-1.0), "beta_2 must be .* got -1.0"),
        (lambda: lm.Lion(weight_decay=-1.0), "weight_decay must be .* got -1.0"),
        (lambda: optimizers.get("muon"), "unknown optimizer 'muon'; known are adagrad"),
    ],
)
def test_wrong_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def wrong(value: Any) -> Any:
    """Unseen by the type checker."""
    return value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lm.SGD(wrong("0.1")), "learning_rate must be .* got '0.1'"),
        (
            lambda: lm.RMSprop(centered=wrong(1)),
            "centered must be True or False, got 1",
        ),
        (lambda: lm.Adam(clip_norm=wrong("1")), "clip_norm must be .* got '1'"),
        (
            lambda: optimizers.get(wrong(lm.Adam)),
            "unknown optimizer <class .*adam, adamw, li",
        ),
    ],
)
def test_wrong_types(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_by_name() -> None:
    for rule in (lm.SGD, lm.RMSprop, lm.Adagrad, lm.Adam, lm.AdamW, lm.Lion):
        assert optimizers.get(rule.__name__.lower()) == rule()


def test_an_update_asks_a_rule_for_decays_of_its_own() -> None:
    class Decaying(lm.AdamW):
        def decays(self, first_step: int, count: int) -> Array:
            return np.full(count, 0.5)

    weights, rule = np.ones(3, np.float32), Decaying(0.1, weight_decay=0.0)
    rule.update(weights, np.zeros(3, np.float32), np.zeros((2, 3), np.float32), 1)
    np.testing.assert_allclose(weights, 1 - 0.1 * 0.5, rtol=1e-6)  # float32's rounding


def test_core_checks_its_arguments() -> None:
    core, a = lm.Adam().core, np.zeros(4, np.float32)
    state = np.zeros((2, 4), np.float32)
    cases: list[tuple[Any, str]] = [
        ((core, a, a[:3], state, 0.1, 1), "dw must have 4 elements, got 3"),
        ((core, a, a, state[:1], 0.1, 1), "state must have 8 elements, got 4"),
        ((core, a, a, state, 0.1, 0), "step must be a whole number >= 1, got 0"),
        ((core, a, a, state, 0.1, -1), "step must be a whole number >= 1, got -1"),
        ((core, a, a, state, 0.1, 1.5), "step must be a whole number >= 1, got 1.5"),
        ((core[:3], a, a, state, 0.1, 1), "core must be a tuple of 9, got .*adam"),
        ((("muon", *core[1:]), a, a, state, 0.1, 1), "kind must be one of .*'muon'"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            _core.update(*arguments)
    with pytest.raises(ValueError, match="dw must have 5 elements, got 4"):
        _core.clip(core, a, [2, 3])
    with pytest.raises(
        ValueError, match=r"kernel must have 2 dimensions .* got shape \(4,\)"
    ):
        _core.limit_norms(a, 1.0)


def test_names_in_any_case_and_what_is_nearest() -> None:
    for name in ("Adam", "ADAM", "RMSProp", "AdaGrad", "AdamW", "SGD", "Lion"):
        assert optimizers.get(name) is optimizers.get(name.lower())
    for name, hint in (
        ("nadam", "nearest is 'adam'"),
        ("momentum", r"nearest is SGD\(momentum=0.9\)"),
        ("addam", "nearest is 'adam'"),
    ):
        with pytest.raises(ValueError, match=f"unknown optimizer '{name}'.*{hint}"):
            optimizers.get(name)
    with pytest.raises(TypeError, match=r"unknown optimizer <.*; use Adam\(\)"):
        optimizers.get(lm.Adam)  # type: ignore[arg-type]


def test_what_an_own_optimizer_or_schedule_lacks() -> None:
    def fit(rule: Any) -> None:
        lm.Sequential([lm.Dense(1)]).fit([[1.0]], [1.0], optimizer=rule, verbose=0)

    mine: Any = type("Mine", (optimizers.Optimizer,), {})
    with pytest.raises(NotImplementedError, match="Mine must define slots"):
        fit(mine())
    mine.slots = 0
    with pytest.raises(NotImplementedError, match=r"Mine must define update\(w"):
        fit(mine())
    rate = type("Rate", (lm.schedules.Schedule,), {})()
    with pytest.raises(NotImplementedError, match=r"Rate must define __call__"):
        fit(lm.SGD(rate))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lm.Adam(epsilon=1e-50), "epsilon must be a finite number > 0 in float32"),
        (lm.AdamW(epsilon=1e39), "epsilon must be a finite number > 0 in float32"),
        (lm.RMSprop(epsilon=1e-50), "epsilon must be a finite number > 0 in float32"),
        (lm.Adagrad(epsilon=1e-50), "epsilon must be a finite number > 0 in float32"),
        (lm.SGD(1e39), "learning_rate must be finite in float32, got 1e[+]39"),
        (lm.Lion(weight_decay=1e39), "weight_decay must be finite in float32"),
    ],
)
def test_numbers_that_float32_cannot_hold_are_refused_there(
    rule: Any, message: str
) -> None:
    """Where a gradient is zero, 0 / (0 + epsilon) was NaN: now nothing has changed."""
    x = np.ones((4, 2))
    for dtype in ("float64", "float32"):
        w, dw = np.ones(3, dtype), np.zeros(3, dtype)
        state = np.zeros((rule.slots, 3), dtype)
        net = lm.Sequential([lm.Dense(1)], seed=0, dtype=dtype)
        net.build(2)
        before = net.parameters.copy()
        calls: list[Any] = [
            lambda w=w, dw=dw, state=state: rule.update(w, dw, state, 1),
            lambda net=net: net.train_on_batch(
                x, 0 * x[:, :1], loss="huber", optimizer=rule
            ),
            lambda net=net: (
                net.gradients(x, x[:, :1], loss="huber"),
                net.apply_gradients(rule),
            ),
        ]
        for call in calls:
            if dtype == "float64":
                call()
                assert np.isfinite(w).all()
                continue
            with pytest.raises(ValueError, match=message):
                call()
            np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("option", ["clip_value", "clip_norm", "global_clip_norm"])
def test_a_limit_beyond_float32_limits_nothing(option: str) -> None:
    limit: Any = {option: 1e39}
    found = []
    for rule in (lm.SGD(0.1), lm.SGD(0.1, **limit)):
        weights, gradient = np.ones(3, np.float32), np.array([1, -3e38, 0], np.float32)
        _core.clip(rule.core, gradient, [3])
        rule.update(weights, gradient, np.zeros((0, 3), np.float32), 1)
        found.append(weights)
    np.testing.assert_array_equal(found[0], found[1])
