"""Checks of the oracle itself, against mpmath, published vectors and differences."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from lamina import reference
from lamina.reference import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("error")

NAN, INF = float("nan"), float("inf")
QUANTUM = mpf(2) ** -1074  # the smallest float64
LARGEST = np.finfo(np.float64).max

# Activations against mpmath -----------------------------------------------------------
# The textbook formulas, in the form a reader would write first: the digits of `exact`
# make up for their cancellations.


def _sigmoid(x: Any) -> Any:
    # Clipped where it differs from its limit by 1e-43429: exp(1e900) takes long.
    return 1 / (1 + mpmath.exp(-max(min(x, 10**5), -(10**5))))


def _gate_slope(x: Any, t: Any, slope: Any) -> Any:
    return _sigmoid(t) + x * slope * _sigmoid(t) * _sigmoid(-t)


def _gelu_tanh(x: Any) -> Any:
    return mpmath.sqrt(2 / mpmath.pi) * (x + mpf(0.044715) * x**3)


def _gelu_tanh_slope(x: Any) -> Any:
    return mpmath.sqrt(2 / mpmath.pi) * (1 + 3 * mpf(0.044715) * x**2)


def _softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x))


def _normal_cdf(x: Any) -> Any:
    # mpmath's erfc fails beyond 1e20; erfc(1e4) is 1e-43429448 already.
    return mpmath.erfc(-max(min(x, 10**4), -(10**4)) / mpmath.sqrt(2)) / 2


SCALE, ALPHA = mpf("1.0507009873554804935"), mpf("1.6732632423543772848")

Formula = Callable[[Any, Any], Any]
FORMULAS: dict[str, tuple[Formula, Formula]] = {
    "identity": (lambda x, p: x, lambda x, p: 1),
    "sigmoid": (
        lambda x, p: _sigmoid(x),
        lambda x, p: _sigmoid(x) * _sigmoid(-x),
    ),
    "log_sigmoid": (lambda x, p: -_softplus(-x), lambda x, p: _sigmoid(-x)),
    "tanh": (lambda x, p: mpmath.tanh(x), lambda x, p: mpmath.sech(x) ** 2),
    "relu": (lambda x, p: max(x, 0), lambda x, p: x > 0),
    "relu6": (lambda x, p: min(max(x, 0), 6), lambda x, p: 0 < x < 6),
    "leaky_relu": (
        lambda x, p: x if x > 0 else p * x,
        lambda x, p: 1 if x > 0 else p,
    ),
    "elu": (
        lambda x, p: x if x > 0 else p * mpmath.expm1(x),
        lambda x, p: 1 if x > 0 else p * mpmath.exp(x),
    ),
    "selu": (
        lambda x, p: SCALE * (x if x > 0 else ALPHA * mpmath.expm1(x)),
        lambda x, p: SCALE * (1 if x > 0 else ALPHA * mpmath.exp(x)),
    ),
    "celu": (
        lambda x, p: max(x, 0) + min(0, p * mpmath.expm1(x / p)),
        lambda x, p: 1 if x > 0 else mpmath.exp(x / p),
    ),
    "softplus": (
        lambda x, p: _softplus(p * x) / p,
        lambda x, p: _sigmoid(p * x),
    ),
    "softsign": (lambda x, p: x / (1 + abs(x)), lambda x, p: 1 / (1 + abs(x)) ** 2),
    "silu": (lambda x, p: x * _sigmoid(x), lambda x, p: _gate_slope(x, x, 1)),
    "gelu": (
        lambda x, p: x * _normal_cdf(x),
        lambda x, p: _normal_cdf(x) + x * mpmath.npdf(x),
    ),
    "gelu_tanh": (
        lambda x, p: x * _sigmoid(2 * _gelu_tanh(x)),
        lambda x, p: _gate_slope(x, 2 * _gelu_tanh(x), 2 * _gelu_tanh_slope(x)),
    ),
    "quick_gelu": (
        lambda x, p: x * _sigmoid(mpf(1.702) * x),
        lambda x, p: _gate_slope(x, mpf(1.702) * x, mpf(1.702)),
    ),
    "mish": (
        lambda x, p: x * mpmath.tanh(_softplus(x)),
        lambda x, p: (
            mpmath.tanh(_softplus(x)) + x * mpmath.sech(_softplus(x)) ** 2 * _sigmoid(x)
        ),
    ),
    "hard_sigmoid": (
        lambda x, p: min(max(x / 6 + mpf(1) / 2, 0), 1),
        lambda x, p: mpf(1) / 6 if -3 < x < 3 else 0,
    ),
    "hard_swish": (
        lambda x, p: x * min(max(x / 6 + mpf(1) / 2, 0), 1),
        lambda x, p: 0 if x <= -3 else 1 if x >= 3 else x / 3 + mpf(1) / 2,
    ),
    "hard_tanh": (lambda x, p: min(max(x, -1), 1), lambda x, p: -1 < x < 1),
    "tanh_shrink": (lambda x, p: x - mpmath.tanh(x), lambda x, p: mpmath.tanh(x) ** 2),
    "soft_shrink": (
        lambda x, p: x - p if x > p else x + p if x < -p else 0,
        lambda x, p: abs(x) > p,
    ),
    "hard_shrink": (lambda x, p: x if abs(x) > p else 0, lambda x, p: abs(x) > p),
    "squareplus": (
        lambda x, p: (x + mpmath.sqrt(x**2 + p)) / 2,
        lambda x, p: (1 + x / mpmath.sqrt(x**2 + p)) / 2,
    ),
    "smooth_clip": (
        lambda x, p: x / mpmath.sqrt(1 + (x / p) ** 2),
        lambda x, p: (1 + (x / p) ** 2) ** (mpf(-3) / 2),
    ),
}

OTHER_PARAMETERS = {
    "leaky_relu": [0.2, 2.0, -0.5],
    "elu": [0.3, -0.5],
    "celu": [0.3, 2.5, -1.5],
    "softplus": [0.3, 3.0],
    "soft_shrink": [1.25],
    "hard_shrink": [1.25],
    "squareplus": [0.0, 0.1],
    "smooth_clip": [0.3, 20.0],
}
CASES: list[tuple[str, float | None]] = [(name, None) for name in ACTIVATIONS]
CASES += [(name, p) for name, values in OTHER_PARAMETERS.items() for p in values]


def exact(name: str, derivative: bool, x: float, parameter: float | None) -> Any:
    """f(x) or f'(x) in 50 digits beyond what the formula cancels, at most x^2 : 1."""
    p = ACTIVATIONS[name].default if parameter is None else parameter
    cancelled = 0.0 if x == 0.0 else 2 * abs(np.log10(abs(x)))
    with mpmath.workdps(50 + int(cancelled)):
        return mpf(FORMULAS[name][derivative](mpf(x), mpf(p)))


def _grid() -> np.ndarray:
    edges = np.array([0.5, 1.0, 1.25, 2.0, 3.0, 6.0, 38.5, 40.0, 708.4, 745.2, 1e4])
    positive = np.concatenate(
        [
            [5e-324, 1e-310, 2.2250738585072014e-308, 1e-200, 1e-160, 1e-107, 1e-50],
            10.0 ** np.arange(-20.0, 0.0, 1.5),
            np.linspace(0.05, 12.0, 60),
            np.linspace(12.3, 46.0, 25),
            np.linspace(60.0, 760.0, 20),
            [1e3, 1e5, 1e20, 1e100, 1e160, 1e300],
            edges,
            np.nextafter(edges, 0.0),
            np.nextafter(edges, np.inf),
        ]
    )
    return np.concatenate([-positive, positive])


GRID = _grid()

# Between these the derivative passes through 0, and only its absolute error is small.
CROSSES_ZERO = {
    "silu": (-2.0, -0.8),
    "gelu": (-1.2, -0.5),
    "gelu_tanh": (-1.2, -0.5),
    "quick_gelu": (-1.2, -0.5),
    "mish": (-2.0, -0.8),
}


@pytest.mark.parametrize(
    ("name", "parameter"), [case for case in CASES if case[0] in FORMULAS]
)
@pytest.mark.parametrize("derivative", [False, True], ids=["forward", "derivative"])
def test_activation_is_exact(
    name: str, parameter: float | None, derivative: bool
) -> None:
    activation = ACTIVATIONS[name]
    evaluate = activation.derivative if derivative else activation.forward
    low, high = CROSSES_ZERO.get(name, (0.0, 0.0)) if derivative else (0.0, 0.0)
    for x, y in zip(GRID, evaluate(GRID, parameter), strict=True):
        truth = exact(name, derivative, float(x), parameter)
        if abs(truth) > LARGEST:
            assert y == (INF if truth > 0 else -INF)
            continue
        error = abs(mpf(float(y)) - truth)
        # 18 ULP: NumPy allows its exp, log1p and tanh 4 each, and squares double them.
        scale = mpf(1) if low < x < high else abs(truth)
        # A subnormal is rounded to the quantum, then perhaps divided by 0.3.
        assert error <= 2e-15 * scale + 4 * QUANTUM, (x, y, truth)


def test_formulas_are_of_known_activations() -> None:
    """An activation without one here is still checked by finite differences."""
    assert set(FORMULAS) <= set(ACTIVATIONS)
    assert len(FORMULAS) >= 24
    named = {name for name, entry in ACTIVATIONS.items() if entry.parameter}
    assert set(OTHER_PARAMETERS) <= named


@pytest.mark.parametrize(
    ("name", "parameter", "default"),
    [
        ("leaky_relu", "negative_slope", 0.01),
        ("elu", "alpha", 1.0),
        ("celu", "alpha", 1.0),
        ("softplus", "beta", 1.0),
        ("soft_shrink", "threshold", 0.5),
        ("hard_shrink", "threshold", 0.5),
        ("squareplus", "b", 4.0),
        ("smooth_clip", "limit", 3.0),
    ],
)
def test_parameter_has_name_and_default(
    name: str, parameter: str, default: float
) -> None:
    activation = ACTIVATIONS[name]
    assert (activation.parameter, activation.default) == (parameter, default)
    x = np.linspace(-3.0, 3.0, 13)
    np.testing.assert_array_equal(activation.forward(x), activation.forward(x, default))


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_derivative_is_the_slope_of_forward(name: str, parameter: float | None) -> None:
    x = np.linspace(-8.0, 8.0, 159) + 0.013  # no kink within h of any point
    h = 1e-5
    f = ACTIVATIONS[name].forward
    slope = (f(x + h, parameter) - f(x - h, parameter)) / (2.0 * h)
    # Truncation h^2 |f'''| / 6 is 2e-11 for softplus(beta=3) and 7e-12 of celu(-1.5),
    # which grows as exp(-x / 1.5); rounding 8 eps / h is 2e-10 at x = 8.
    np.testing.assert_allclose(
        ACTIVATIONS[name].derivative(x, parameter), slope, rtol=1e-9, atol=1e-9
    )


KINKS = [  # name, parameter, x, forward, derivative
    ("relu", None, 0.0, 0.0, 0.0),
    ("relu6", None, 0.0, 0.0, 0.0),
    ("relu6", None, 6.0, 6.0, 0.0),
    ("leaky_relu", None, 0.0, 0.0, 0.01),
    ("leaky_relu", 2.0, 0.0, 0.0, 2.0),
    ("elu", 0.7, 0.0, 0.0, 0.7),
    ("selu", None, 0.0, 0.0, 1.7580993408473768),
    ("celu", 0.7, 0.0, 0.0, 1.0),
    ("softsign", None, 0.0, 0.0, 1.0),
    ("hard_sigmoid", None, -3.0, 0.0, 0.0),
    ("hard_sigmoid", None, 3.0, 1.0, 0.0),
    ("hard_swish", None, -3.0, 0.0, 0.0),
    ("hard_swish", None, 3.0, 3.0, 1.0),
    ("hard_tanh", None, -1.0, -1.0, 0.0),
    ("hard_tanh", None, 1.0, 1.0, 0.0),
    ("soft_shrink", None, -0.5, 0.0, 0.0),
    ("soft_shrink", None, 0.5, 0.0, 0.0),
    ("hard_shrink", None, -0.5, 0.0, 0.0),
    ("hard_shrink", None, 0.5, 0.0, 0.0),
    # smooth at 0
    ("identity", None, 0.0, 0.0, 1.0),
    ("sigmoid", None, 0.0, 0.5, 0.25),
    ("log_sigmoid", None, 0.0, -0.6931471805599453, 0.5),
    ("tanh", None, 0.0, 0.0, 1.0),
    ("softplus", 2.0, 0.0, 0.34657359027997264, 0.5),
    ("silu", None, 0.0, 0.0, 0.5),
    ("gelu", None, 0.0, 0.0, 0.5),
    ("gelu_tanh", None, 0.0, 0.0, 0.5),
    ("quick_gelu", None, 0.0, 0.0, 0.5),
    ("mish", None, 0.0, 0.0, 0.6),
    ("tanh_shrink", None, 0.0, 0.0, 0.0),
    ("squareplus", None, 0.0, 1.0, 0.5),
    ("squareplus", 0.0, 0.0, 0.0, 0.0),
    ("smooth_clip", None, 0.0, 0.0, 1.0),
]


@pytest.mark.parametrize(("name", "parameter", "x", "y", "slope"), KINKS)
def test_value_at_kinks_and_zero(
    name: str, parameter: float | None, x: float, y: float, slope: float
) -> None:
    activation = ACTIVATIONS[name]
    # rtol: one rounding of selu's constants and of log 2; every other value is exact.
    np.testing.assert_allclose(activation.forward(x, parameter), y, rtol=4e-16)
    np.testing.assert_allclose(activation.derivative(x, parameter), slope, rtol=4e-16)


LIMITS = {  # forward at -inf and inf, derivative at -inf and inf
    "identity": (-INF, INF, 1, 1),
    "sigmoid": (0, 1, 0, 0),
    "log_sigmoid": (-INF, 0, 1, 0),
    "tanh": (-1, 1, 0, 0),
    "relu": (0, INF, 0, 1),
    "relu6": (0, 6, 0, 0),
    "leaky_relu": (-INF, INF, 0.01, 1),
    "elu": (-1, INF, 0, 1),
    "selu": (-1.7580993408473768, INF, 0, 1.0507009873554805),
    "celu": (-1, INF, 0, 1),
    "softplus": (0, INF, 0, 1),
    "softsign": (-1, 1, 0, 0),
    "silu": (0, INF, 0, 1),
    "gelu": (0, INF, 0, 1),
    "gelu_tanh": (0, INF, 0, 1),
    "quick_gelu": (0, INF, 0, 1),
    "mish": (0, INF, 0, 1),
    "hard_sigmoid": (0, 1, 0, 0),
    "hard_swish": (0, INF, 0, 1),
    "hard_tanh": (-1, 1, 0, 0),
    "tanh_shrink": (-INF, INF, 1, 1),
    "soft_shrink": (-INF, INF, 1, 1),
    "hard_shrink": (-INF, INF, 1, 1),
    "squareplus": (0, INF, 0, 1),
    "smooth_clip": (-3, 3, 0, 0),
}


@pytest.mark.parametrize("name", LIMITS)
def test_infinities_and_largest_numbers_give_limits(name: str) -> None:
    activation = ACTIVATIONS[name]
    ends = np.array([-INF, INF])
    y = activation.forward(ends), activation.derivative(ends)
    np.testing.assert_array_equal(np.concatenate(y), LIMITS[name])
    largest = np.array([-1.0, 1.0]) * np.finfo(np.float64).max
    y = activation.forward(largest), activation.derivative(largest)
    assert name == "selu" or np.all(np.isfinite(y[0]))  # its scale is above 1
    np.testing.assert_array_equal(y[1], LIMITS[name][2:])


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_nan_passes_through(name: str, parameter: float | None) -> None:
    for evaluate in (ACTIVATIONS[name].forward, ACTIVATIONS[name].derivative):
        y = evaluate([NAN, 1.0, NAN], parameter)
        np.testing.assert_array_equal(np.isnan(y), [True, False, True])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_shape_and_type(name: str) -> None:
    for evaluate in (ACTIVATIONS[name].forward, ACTIVATIONS[name].derivative):
        for shape in ((), (0,), (2, 3)):
            y = evaluate(np.ones(shape, np.float32))
            assert isinstance(y, np.ndarray)
            assert y.dtype == np.float64 and y.shape == shape


TRAPS = [  # name, parameter, x, value where other libraries are known to be wrong
    ("softplus", None, 20.1, 20.10000000186501),
    ("softplus", None, -745.0, 5e-324),
    ("sigmoid", None, -50.0, 1.928749847963918e-22),
    ("sigmoid", None, -745.0, 5e-324),
    ("gelu", None, -10.0, -7.619853024160526e-23),
    ("leaky_relu", 2.0, -2.0, -4.0),
    ("relu", None, -0.0, 0.0),
]


@pytest.mark.parametrize(("name", "parameter", "x", "y"), TRAPS)
def test_trap(name: str, parameter: float | None, x: float, y: float) -> None:
    # rtol: the values are written with 16 digits.
    got = ACTIVATIONS[name].forward(x, parameter)
    np.testing.assert_allclose(got, y, rtol=1e-15, atol=0.0)
    assert np.signbit(got) == np.signbit(y)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("elu", -1e-8, -1e-8),
        ("elu", -1e-6, -9.999995e-7),
        ("tanh", 1e-6, 1e-6),
        ("gelu", -3.0, -0.0040496941),
        ("gelu_tanh", -3.0, -0.0036373921),
    ],
)
def test_trap_rounded_to_float32(name: str, x: float, y: float) -> None:
    got = np.float32(ACTIVATIONS[name].forward(np.float32(x)))
    # one ULP: y has eight digits, and is itself rounded
    np.testing.assert_array_max_ulp(got, np.float32(y), maxulp=1)


# Softmax ------------------------------------------------------------------------------


def _difference(f: Callable[[np.ndarray], Any], x: np.ndarray) -> np.ndarray:
    """Gradient of the number f(x) by central differences."""
    h = 1e-5
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        gradient[i] = (f(x + step) - f(x - step)) / (2.0 * h)
    return gradient


# Central differences of functions of size 1 to 10: truncation h^2 = 1e-10 and rounding
# 10 eps / h = 2e-10.
DIFFERENCE: Any = {"rtol": 1e-8, "atol": 2e-9}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_is_exact(rng: np.random.Generator, axis: int) -> None:
    x = rng.normal(size=(5, 7)) * 30.0
    rows = x if axis else x.T
    y, log_y = reference.softmax(x, axis), reference.log_softmax(x, axis)
    for row, got, got_log in zip(
        rows, y if axis else y.T, log_y if axis else log_y.T, strict=True
    ):
        total = mpmath.fsum(mpmath.exp(mpf(v)) for v in row)
        for v, p, log_p in zip(row, got, got_log, strict=True):
            # exp's argument, up to 200, is rounded after the subtraction
            assert abs(mpf(p) * total / mpmath.exp(mpf(v)) - 1) < 5e-14
            with mpmath.workdps(80):  # log of nearly 1
                truth = mpmath.log(
                    mpmath.exp(mpf(v)) / mpmath.fsum(mpmath.exp(mpf(w)) for w in row)
                )
            assert abs(mpf(log_p) - truth) <= 5e-14 * abs(truth)


def test_softmax_of_extremes() -> None:
    x = [
        [1e308, -1e308, 1e308],
        [-INF, 0.0, -1e9],
        [-INF] * 3,
        [INF, 0, 0],
        [NAN, 0, 0],
    ]
    nans = [NAN] * 3
    y = [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0], nans, nans, nans]
    np.testing.assert_array_equal(reference.softmax(x), y)
    log_y = reference.log_softmax(x)
    np.testing.assert_array_equal(log_y[1:], [[-INF, 0.0, -1e9], nans, nans, nans])
    np.testing.assert_allclose(log_y[0, ::2], -np.log(2.0), rtol=4e-16)
    np.testing.assert_array_equal(reference.softmax([-1e3, -1e3]), [0.5, 0.5])
    for shape in ((0, 3), (3, 0)):
        assert reference.softmax(np.ones(shape)).shape == shape
        assert reference.log_softmax(np.ones(shape)).shape == shape
    # the largest of a confident row keeps its digits: log1p(-p), not log(1 - p)
    np.testing.assert_allclose(
        reference.log_softmax([0.0, -50.0])[0], -np.exp(-50.0), rtol=1e-15
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_backward(rng: np.random.Generator, name: str, axis: int) -> None:
    f, backward = getattr(reference, name), getattr(reference, f"{name}_backward")
    x, dy = rng.normal(size=(2, 4, 5))
    np.testing.assert_allclose(
        backward(dy, f(x, axis), axis),
        _difference(lambda v: np.sum(dy * f(v, axis)), x),
        **DIFFERENCE,
    )


# Dense layer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "parameter"),
    [(n, None) for n in ("identity", "gelu", "softmax", "log_softmax")]
    + [("elu", 0.5)],
)
def test_dense_backward(
    rng: np.random.Generator, activation: str, parameter: float | None
) -> None:
    x, kernel = rng.normal(size=(4, 3)), rng.normal(size=(3, 5))
    bias, dy = rng.normal(size=5), rng.normal(size=(4, 5))

    def total(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> Any:
        return np.sum(dy * reference.dense(x, kernel, bias, activation, parameter)[0])

    z = reference.dense(x, kernel, bias, activation, parameter)[1]
    dx, dkernel, dbias = reference.dense_backward(
        dy, x, kernel, z, activation, parameter
    )
    expected = _difference(lambda v: total(v, kernel, bias), x)
    np.testing.assert_allclose(dx, expected, **DIFFERENCE)
    expected = _difference(lambda v: total(x, v, bias), kernel)
    np.testing.assert_allclose(dkernel, expected, **DIFFERENCE)
    expected = _difference(lambda v: total(x, kernel, v), bias)
    np.testing.assert_allclose(dbias, expected, **DIFFERENCE)


def test_dense_by_hand() -> None:
    x, kernel = [[1, 2], [3, -4]], [[1, 0, -1], [2, 1, 0]]
    y, z = reference.dense(x, kernel, [0.5, 0.0, 0.0], "relu")
    np.testing.assert_array_equal(z, [[5.5, 2, -1], [-4.5, -4, -3]])
    np.testing.assert_array_equal(y, [[5.5, 2, 0], [0, 0, 0]])
    np.testing.assert_array_equal(reference.dense(x, kernel)[0], z - [0.5, 0.0, 0.0])
    y, _ = reference.dense(x, kernel, None, "leaky_relu", 0.5)
    np.testing.assert_array_equal(y, [[5, 2, -0.5], [-2.5, -2, -1.5]])


# Random bits and dropout --------------------------------------------------------------

KNOWN_ANSWERS = [  # Random123's kat_vectors: philox4x32 10
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def _words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def test_philox_known_answers() -> None:
    counters, keys, outputs = (
        [_words(row[column]) for row in KNOWN_ANSWERS] for column in range(3)
    )
    for counter, key, output in zip(counters, keys, outputs, strict=True):
        got = reference.philox4x32([counter], key)
        assert got.dtype == np.uint32
        np.testing.assert_array_equal(got, [output])
    # a key for each counter
    np.testing.assert_array_equal(reference.philox4x32(counters, keys), outputs)


def test_philox_without_rounds_is_the_counter() -> None:
    counter = [[1, 2, 3, 4]]
    np.testing.assert_array_equal(reference.philox4x32(counter, [5, 6], 0), counter)


def _philox(number: int, stream: int, seed: int) -> list[int]:
    """Philox4x32-10 once more, on Python's integers."""
    mask = 0xFFFFFFFF
    c = [number & mask, number >> 32, stream & mask, stream >> 32]
    k0, k1 = seed & mask, seed >> 32
    for _ in range(10):
        high1, low1 = divmod(0xCD9E8D57 * c[2], 1 << 32)
        high0, low0 = divmod(0xD2511F53 * c[0], 1 << 32)
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c


SOURCES = [  # seed, stream, offset
    (0, 0, 0),
    (7, 3, 77),
    (2**64 - 1, 2**64 - 1, 2**40 + 5),
    (0xFEDCBA9876543210, 5 << 32, 2**63 + 100),
]


@pytest.mark.parametrize(("seed", "stream", "offset"), SOURCES)
def test_random_words_layout(seed: int, stream: int, offset: int) -> None:
    words = reference.random_words(200, seed, stream, offset)
    assert words.dtype == np.uint32 and words.shape == (200,)
    for i, word in enumerate(words):
        block, place = divmod(offset + i, 64)
        output, lane = divmod(place, 16)
        assert word == _philox(16 * block + lane, stream, seed)[output]


@pytest.mark.parametrize(("seed", "stream", "offset"), SOURCES)
def test_dropout_bits_layout(seed: int, stream: int, offset: int) -> None:
    bits = reference.dropout_bits(400, seed, offset, stream)
    assert bits.dtype == np.uint16 and bits.shape == (400,)
    for i, value in enumerate(bits):
        block, place = divmod(offset + i, 128)
        output, rest = divmod(place, 32)
        half, lane = divmod(rest, 16)
        word = _philox(16 * block + lane, stream, seed)[output]
        assert value == (word >> 16 if half else word & 0xFFFF)


def test_first_bits_are_those_of_the_known_answer() -> None:
    known = _words(KNOWN_ANSWERS[0][2])
    np.testing.assert_array_equal(reference.random_words(64, 0)[::16], known)
    bits = reference.dropout_bits(128, 0)
    np.testing.assert_array_equal(bits[::32], [word & 0xFFFF for word in known])
    np.testing.assert_array_equal(bits[16::32], [word >> 16 for word in known])


def test_bits_are_uniform_and_differ_by_seed_and_stream() -> None:
    n = 1 << 16
    draws = [
        reference.dropout_bits(n, seed=1),
        reference.dropout_bits(n, seed=2),
        reference.dropout_bits(n, seed=1, stream=1),
        reference.dropout_bits(n, seed=1, offset=n),
    ]
    for bits in draws:
        # mean and its deviation of n uniform numbers; five deviations
        assert abs(bits.mean() - 32767.5) < 5 * 65536 / np.sqrt(12 * n)
    for i, bits in enumerate(draws):
        for other in draws[:i]:
            # by chance one pair in 65536 is equal: one expected, ten never
            assert np.count_nonzero(bits == other) < 10


@pytest.mark.parametrize(
    ("rate", "count"),
    [(0.0, 0), (1.0, 65536), (0.5, 32768), (0.1, 6554), (0.3, 19661),
     (0.5 / 65536, 0), (1.5 / 65536, 2), (2.5 / 65536, 2)],
)  # fmt: skip
def test_threshold_rounds_ties_to_even(rate: float, count: int) -> None:
    assert reference.threshold(rate) == count


def test_dropout_selects_by_threshold_and_scales() -> None:
    x = np.linspace(1.0, 2.0, 1000).reshape(20, 50)
    for rate in (0.1, 0.5, 0.9):
        limit = round(rate * 65536)
        bits = reference.dropout_bits(1000, 7, 3, 9).reshape(20, 50)
        inverted = reference.dropout(x, rate, 7, 3, 9)
        expected = np.where(bits < limit, 0.0, x * (65536 / (65536 - limit)))
        np.testing.assert_array_equal(inverted, expected)
        classic = reference.dropout(x, rate, 7, 3, 9, "classic")
        np.testing.assert_array_equal(classic, np.where(bits < limit, 0.0, x))


def test_element_is_dropped_where_its_bits_are_below_the_threshold() -> None:
    bits = reference.dropout_bits(20, 7)
    for i, value in enumerate(bits.tolist()):
        assert reference.dropout(np.ones(20), value / 65536, 7)[i] > 0.0
        assert reference.dropout(np.ones(20), (value + 1) / 65536, 7)[i] == 0.0


def test_dropout_at_the_ends_of_the_rate_and_of_numbers() -> None:
    x = np.array([1.0, -INF, NAN, 0.0, INF, -2.0])
    for mode in ("inverted", "classic"):
        np.testing.assert_array_equal(reference.dropout(x, 0.0, 1, mode=mode), x)
        zeros = reference.dropout(x, 1.0, 1, mode=mode)
        np.testing.assert_array_equal(zeros, np.zeros(6))
    assert reference.dropout(np.ones((0, 3)), 0.5, 1).shape == (0, 3)
    infinite = reference.dropout(np.full(500, INF), 0.5, 1)
    assert set(infinite) == {0.0, INF}


def test_dropout_does_not_depend_on_the_split() -> None:
    x = np.ones(1000)
    whole = reference.dropout(x, 0.3, 5)
    parts = [
        reference.dropout(x[:333], 0.3, 5),
        reference.dropout(x[333:], 0.3, 5, 333),
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_masks_are_nested_in_the_rate() -> None:
    rates = np.linspace(0.0, 1.0, 21)
    masks = [reference.dropout(np.ones(4096), rate, 11) == 0.0 for rate in rates]
    for rate, mask, wider in zip(rates, masks, masks[1:], strict=False):
        assert np.all(wider[mask])
        assert np.count_nonzero(wider) > np.count_nonzero(mask)
        # five deviations of a binomial share
        deviation = np.sqrt(rate * (1.0 - rate) / 4096)
        assert abs(mask.mean() - rate) <= 5 * deviation + 1 / 65536


# Losses and optimizers ----------------------------------------------------------------


def test_losses_have_the_gradients_they_say(rng: np.random.Generator) -> None:
    z = rng.normal(size=(4, 5)) * 2.0
    probabilities = rng.dirichlet(np.ones(5), size=4)
    cases: list[tuple[Any, Any]] = [
        (reference.categorical_crossentropy, np.array([0, 3, 4, 3])),
        (reference.categorical_crossentropy, probabilities),
        (reference.categorical_crossentropy, 3.0 * probabilities),
        (reference.binary_crossentropy, (probabilities > 0.2).astype(float)),
        (reference.binary_crossentropy, probabilities),
        (reference.mean_squared_error, probabilities),
    ]
    for loss, targets in cases:

        def value(v: np.ndarray, loss: Any = loss, targets: Any = targets) -> float:
            return float(loss(v, targets)[0])

        expected = _difference(value, z)
        np.testing.assert_allclose(loss(z, targets)[1], expected, **DIFFERENCE)


def test_losses_by_hand() -> None:
    half = np.log(0.5)
    # rtol: a handful of roundings of numbers near 1
    close: Any = {"rtol": 2e-15, "atol": 0.0}
    loss, gradient = reference.categorical_crossentropy(
        [[0, 0], [0, np.log(3)]], [1, 0]
    )
    np.testing.assert_allclose(loss, (np.log(2.0) + np.log(4.0)) / 2.0, **close)
    np.testing.assert_allclose(gradient, [[0.25, -0.25], [-0.375, 0.375]], **close)
    one_hot = reference.categorical_crossentropy(
        [[0, 0], [0, np.log(3)]], [[0, 1], [1, 0]]
    )
    np.testing.assert_allclose(one_hot[0], loss, **close)
    np.testing.assert_allclose(one_hot[1], gradient, **close)
    loss, gradient = reference.binary_crossentropy([[0.0], [np.log(3.0)]], [1, 0])
    np.testing.assert_allclose(loss, -(half + np.log(0.25)) / 2.0, **close)
    np.testing.assert_allclose(gradient, [[-0.25], [0.375]], **close)
    loss, gradient = reference.mean_squared_error([[1.0, 2.0], [3.0, 4.0]], np.zeros(4))
    assert loss == 7.5
    np.testing.assert_array_equal(gradient, [[0.5, 1.0], [1.5, 2.0]])


def test_losses_far_from_zero() -> None:
    # a certain and right answer costs nothing, a certain and wrong one its logit
    loss, gradient = reference.categorical_crossentropy(
        [[1e3, 0.0], [0.0, -INF]], [1, 0]
    )
    assert loss == 500.0
    np.testing.assert_array_equal(gradient, [[0.5, -0.5], [0.0, 0.0]])
    loss, gradient = reference.binary_crossentropy(
        [800.0, -800.0, 800.0, INF], [1, 0, 0, 1]
    )
    assert loss == 200.0
    np.testing.assert_array_equal(gradient, [0.0, 0.0, 0.25, 0.0])
    # neither loss nor gradient of a nearly certain answer is rounded to nothing
    loss, gradient = reference.binary_crossentropy([50.0], [1])
    np.testing.assert_allclose([loss, -gradient[0]], np.exp(-50.0), rtol=1e-15)


def test_sgd_by_hand() -> None:
    w, v = reference.sgd([1.0, 2.0], [0.5, -1.0], [0.0, 0.0], 0.5)
    np.testing.assert_array_equal([w, v], [[0.75, 2.5], [0.5, -1.0]])
    # v = 0.5 * 8 + 2 = 6; Nesterov's step is 2 + 0.5 * 6 = 5
    w, v = reference.sgd([1.0], [2.0], [8.0], 0.25, 0.5)
    assert (w.item(), v.item()) == (-0.5, 6.0)
    w, v = reference.sgd([1.0], [2.0], [8.0], 0.25, 0.5, nesterov=True)
    assert (w.item(), v.item()) == (-0.25, 6.0)


def test_adam_by_hand() -> None:
    # step 1: m = 0.05, v = 0.00025; corrected 0.5 and 0.25: w = 1 - 0.1 * 0.5 / 0.75
    w, m, v = reference.adam(1.0, 0.5, 0.0, 0.0, 1, rate=0.1, epsilon=0.25)
    np.testing.assert_allclose([w, m, v], [14 / 15, 0.05, 0.00025], rtol=1e-13)
    # step 2: m = 0.045 - 0.1 = -0.055, v = 0.00024975 + 0.001;
    # corrected -0.055 / 0.19 and 0.00124975 / 0.001999
    w, m, v = reference.adam(w, -1.0, m, v, 2, rate=0.1, epsilon=0.25)
    step = 0.1 * (0.055 / 0.19) / ((0.00124975 / 0.001999) ** 0.5 + 0.25)
    # rtol: 1 - 0.999 and 1 - 0.999^2 have lost three digits
    np.testing.assert_allclose(
        [w, m, v], [14 / 15 + step, -0.055, 0.00124975], rtol=1e-13
    )


def test_adam_first_step_is_the_rate() -> None:
    dw = np.array([1e-3, -5.0, 1e4])
    w, _, _ = reference.adam(np.zeros(3), dw, np.zeros(3), np.zeros(3), 1)
    # epsilon = 1e-8 of 1e-3 shortens the first by 1e-5
    np.testing.assert_allclose(w, -1e-3 * dw / (np.abs(dw) + 1e-8), rtol=1e-12)
