"""Activations against the oracle, and as NumPy ufuncs."""

import copy
import pickle
import subprocess
import sys
from typing import Any

import mpmath
import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mpmath import mpf

import lamina
from conftest import TARGETS
from lamina import _core, reference
from test_reference import FORMULAS, GRID, NAN, exact

lm: Any = lamina  # wrong types are the point of some calls

pytestmark = pytest.mark.filterwarnings("error")

NAMES = list(reference.ACTIVATIONS)
WITH_PARAMETER = [name for name in NAMES if reference.ACTIVATIONS[name].parameter]
DTYPES = [np.float32, np.float64]
# Beyond the default, among them those for which backward must read the input.
PARAMETERS = {
    "leaky_relu": [0.2, 2.0, -0.5],
    "elu": [0.3, -0.5],
    "celu": [0.3, 2.5, -1.5],
    "softplus": [0.3, 3.0],
    "soft_shrink": [0.0, 1.25],
    "hard_shrink": [0.0, 1.25],
    "squareplus": [0.0, 0.25],
    "smooth_clip": [0.3, 20.0],
}
CASES: list[tuple[str, float | None]] = [(name, None) for name in NAMES]
CASES += [(name, value) for name, values in PARAMETERS.items() for value in values]
# Nothing, less than, exactly and just over one and two registers of any width, a prime,
# and more than any buffer.
SIZES = [*range(35), 1009, 100_003]


def with_fma() -> list[str]:
    """The targets that must agree; nothing is compared where there is but one."""
    targets = [target for target in TARGETS if target != "sse2"]
    if len(targets) < 2:
        pytest.skip(f"one target with fma: {targets}")
    return targets


def activation(name: str, parameter: float | None = None) -> Any:
    found = getattr(lm, name)
    if parameter is None:
        return found
    return found.using(**dict.fromkeys(found.parameters, parameter))


def ulp(exact_values: Any, dtype: Any) -> Any:
    """Distance of neighbouring numbers of `dtype` at exact float64 values."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(exact_values)
    exponent = np.clip(exponent - 1, info.minexp, info.maxexp - 1)
    return np.ldexp(1.0, exponent - info.nmant)


def error_in_ulp(y: Any, truth: Any) -> Any:
    """Of y in float32; an exact value beyond the largest number may become infinity."""
    largest = float(np.finfo(y.dtype).max)
    with np.errstate(invalid="ignore"):
        error = np.abs(y.astype(np.float64) - truth) / ulp(truth, y.dtype)
    error[(y == truth) | (np.abs(truth) >= largest) & np.isinf(y)] = 0
    return error


def stride_sample(stride: int, start: int) -> Any:
    """Every `stride`-th of all 2**32 float32, without NaN."""
    x = np.arange(start, 2**32, stride).astype(np.uint32).view(np.float32)
    return x[~np.isnan(x)]


def saved(act: Any, x: Any) -> np.ndarray:
    return act(x) if act.saves == "output" else np.asarray(x)


# Accuracy -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_float32_error_is_within_the_promise(name: str) -> None:
    # 1/1024 of all inputs; a prime start so that low bits are not all zero.
    x = stride_sample(1024, 509)
    truth = reference.ACTIVATIONS[name].forward(x)
    for target in TARGETS:
        lm.set_target(target)
        error = error_in_ulp(activation(name)(x), truth)
        worst = int(np.argmax(error))
        assert error[worst] <= activation(name).promises["max_ulp"][0], (
            f"{target}: {error[worst]} ULP at {x[worst]!r}"
        )


@pytest.mark.parametrize("name", NAMES)
def test_float32_derivative_error_is_within_the_promise(name: str) -> None:
    x = stride_sample(4096, 509)
    truth = reference.ACTIVATIONS[name].derivative(x)
    for target in TARGETS:
        lm.set_target(target)
        act = activation(name)
        limit = act.promises["max_derivative_error"][0]
        for dx in (act.derivative(x), act.backward(np.ones_like(x), saved(act, x))):
            error = np.abs(dx - truth) * 2.0**24
            worst = int(np.argmax(error))
            # argmax finds a NaN first, and no NaN is <= limit.
            assert error[worst] <= limit, f"{target}: {error[worst]} at {x[worst]!r}"


@pytest.mark.parametrize("name", FORMULAS)
def test_float64_error_is_within_the_promise(name: str, target: str) -> None:
    act = activation(name)
    promised, slope_promised = (
        act.promises["max_ulp"][1],
        act.promises["max_derivative_error"][1],
    )
    for x, y, slope in zip(GRID, act(GRID), act.derivative(GRID), strict=True):
        truth = exact(name, False, float(x), None)
        if abs(truth) <= np.finfo(np.float64).max:
            unit = mpf(float(ulp(np.float64(float(truth)), np.float64)))
            assert abs(mpf(float(y)) - truth) <= promised * unit, (x, y, truth)
        truth = exact(name, True, float(x), None)
        assert abs(mpf(float(slope)) - truth) <= slope_promised * mpf(2) ** -53, (
            x,
            slope,
            mpmath.nstr(truth, 20),
        )


@pytest.mark.parametrize(("name", "parameter"), CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_with_any_parameter(
    name: str, parameter: float | None, dtype: Any, target: str
) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 3, 500), [0.0, 100.0, -100.0]]).astype(dtype)
    act, oracle = activation(name, parameter), reference.ACTIVATIONS[name]
    p = None if parameter is None else dtype(parameter)  # as the kernel receives it
    # Absolute and relative: formulas with a parameter round once or twice more, which
    # exp magnifies by its argument; 32 units of rounding.
    tolerance = 32 * np.finfo(dtype).eps
    np.testing.assert_allclose(act(x), oracle.forward(x, p), tolerance, tolerance)
    slope = oracle.derivative(x, p)
    # Where y is so close to a kink that it rounds to it, both one-sided slopes do.
    np.testing.assert_allclose(act.derivative(x), slope, tolerance, tolerance)
    dy = rng.normal(size=x.size).astype(dtype)
    np.testing.assert_allclose(
        act.backward(dy, saved(act, x)), dy * slope, tolerance, 4 * tolerance
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_with_fma_agree_bit_for_bit(dtype: Any) -> None:
    targets = with_fma()
    x = stride_sample(40_961, 7).astype(dtype)
    for name in NAMES:
        act, results = activation(name), []
        for target in targets:
            lm.set_target(target)
            y = act(x)
            results.append((y, act.derivative(x), act.backward(x, y)))
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b, strict=True, err_msg=name)


TRAPS = [  # where other libraries are known to be wrong
    ("elu", np.float32, -1e-8, -1e-8),
    ("elu", np.float32, -1e-6, -9.999995e-7),
    ("softplus", np.float64, 20.1, 20.10000000186501),
    ("softplus", np.float64, -745.0, 5e-324),
    ("sigmoid", np.float64, -50.0, 1.928749847963918e-22),
    ("sigmoid", np.float32, -100.0, 3.783506e-44),
    ("tanh", np.float32, 1e-6, 1e-6),
    ("gelu", np.float64, -10.0, -7.619853024160526e-23),
    ("gelu", np.float32, -3.0, -0.0040496941),
    ("gelu_tanh", np.float32, -3.0, -0.0036373921),
    ("hard_sigmoid", np.float32, -2.9999998, 3.9736431e-08),
]


@pytest.mark.parametrize(("name", "dtype", "x", "y"), TRAPS)
def test_traps(name: str, dtype: Any, x: float, y: float, target: str) -> None:
    # 4 ULP is the promise; the subnormals among them are exact to one quantum.
    tolerance = 4 * np.finfo(dtype).eps
    quantum = float(np.finfo(dtype).smallest_subnormal)
    got = float(activation(name)(dtype(x)))
    assert abs(got - y) <= max(tolerance * abs(y), quantum)


def test_kinks(target: str) -> None:
    def slope(name: str, x: float, **parameter: float) -> float:
        return float(getattr(lm, name).derivative(np.float32(x), **parameter))

    assert slope("relu", 0) == 0
    assert slope("leaky_relu", 0, negative_slope=0.25) == 0.25
    assert slope("elu", 0, alpha=0.5) == 0.5
    assert slope("celu", 0, alpha=0.5) == 1
    assert [slope("relu6", x) for x in (0, 3, 6)] == [0, 1, 0]
    assert [slope("hard_tanh", x) for x in (-1, 0, 1)] == [0, 1, 0]
    assert [slope("hard_sigmoid", x) for x in (-3, 3)] == [0, 0]
    assert slope("hard_sigmoid", np.nextafter(np.float32(3), 0)) > 0.16
    assert [slope("hard_swish", x) for x in (-3, 3)] == [0, 1]
    assert [slope("soft_shrink", x) for x in (-0.5, 0, 0.5)] == [0, 0, 0]
    assert float(lm.leaky_relu(-2.0, negative_slope=2.0)) == -4
    assert not np.signbit(lm.relu(np.float32(-0.0)))
    steep = lm.elu(np.array([-1.0, 0.0, 2.0], np.float32), alpha=np.inf)
    np.testing.assert_array_equal(steep[[0, 2]], [-np.inf, 2])
    every = np.array([-np.inf, -3.0, 0.0, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(lm.smooth_clip(every, limit=np.inf), every)
    slopes = lm.smooth_clip.derivative(every, limit=np.inf)
    np.testing.assert_array_equal(slopes, [1, 1, 1, 1, np.nan])


# NaN, infinities, subnormals ----------------------------------------------------------


@pytest.mark.parametrize(("name", "parameter"), CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_passes_and_infinities_give_limits(
    name: str, parameter: float | None, dtype: Any, target: str
) -> None:
    act, oracle = activation(name, parameter), reference.ACTIVATIONS[name]
    x = np.array([NAN, np.inf, -np.inf, 3e38, -3e38, *[NAN] * 30], dtype)
    tolerance = 32 * np.finfo(dtype).eps  # as in test_values_with_any_parameter
    with np.errstate(over="ignore"):
        y = oracle.forward(x, parameter).astype(dtype)
    np.testing.assert_allclose(act(x), y, tolerance)
    slope = oracle.derivative(x, parameter)
    np.testing.assert_allclose(act.derivative(x), slope, tolerance, tolerance)
    dy = np.ones_like(x)
    dx = act.backward(dy, np.full_like(x, NAN))
    assert np.isnan(dx).all() or (name == "identity" and (dx == dy).all())


@pytest.mark.parametrize("name", ["identity", "relu", "leaky_relu", "elu", "tanh"])
def test_subnormals_are_kept(name: str, target: str) -> None:
    tiny = np.full(40, np.finfo(np.float32).smallest_subnormal) * np.arange(1, 41)
    tiny = tiny.astype(np.float32)
    np.testing.assert_array_equal(activation(name)(tiny), tiny)


# As NumPy ufuncs ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size_and_layout_gives_the_same_bits(
    name: str, dtype: Any, target: str
) -> None:
    act = activation(name)
    rng = np.random.default_rng(3)
    for size in SIZES:
        x = rng.normal(0, 3, 2 * size + 2).astype(dtype)
        # One by one, so that each element takes the path of a partial register.
        few = x[: min(size, 40)]
        alone = np.array([act(v) for v in few], dtype).reshape(few.shape)
        y = act(x[:size])
        np.testing.assert_array_equal(y[: few.size], alone)
        assert y.dtype == dtype and y.shape == (size,)
        spaced, reverse = x[: 2 * size : 2], x[:size][::-1]
        np.testing.assert_array_equal(act(spaced), act(spaced.copy()))
        np.testing.assert_array_equal(act(reverse), y[::-1])
        unaligned = np.empty(size * y.itemsize + 1, np.uint8)[1:].view(dtype)
        unaligned[...] = x[:size]
        np.testing.assert_array_equal(act(unaligned), y)
        out = np.full(size + 2, 7, dtype)
        assert act(x[:size], out=out[1:-1]) is not None
        assert out[0] == out[-1] == 7  # nothing beyond the end
        np.testing.assert_array_equal(out[1:-1], y)
        np.testing.assert_array_equal(
            act.backward(y, y), act.backward(y[::-1], y[::-1])[::-1]
        )


views: Any = hnp.arrays(
    dtype=st.sampled_from(["f4", "f8", ">f4"]).map(np.dtype),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9),
    elements=st.floats(-50, 50, width=32),
).flatmap(
    lambda array: hnp.basic_indices(array.shape, allow_newaxis=True).map(
        lambda index: np.asarray(array[index]).T
    )
)


@given(x=views, name=st.sampled_from(NAMES))
@settings(max_examples=300, deadline=None)
def test_any_view_equals_its_copy(x: np.ndarray, name: str) -> None:
    act = activation(name)
    contiguous = np.ascontiguousarray(x, x.dtype.newbyteorder("=")).reshape(x.shape)
    y = act(contiguous)
    np.testing.assert_array_equal(act(x), y, strict=True)
    np.testing.assert_array_equal(
        act.backward(x, saved(act, x)), act.backward(contiguous, saved(act, contiguous))
    )
    out = np.zeros(x.shape[::-1], y.dtype).T
    np.testing.assert_array_equal(act(x, out=out), y)


@pytest.mark.parametrize("name", [*NAMES, "softmax", "log_softmax"])
def test_dtypes_come_out_in_one_way(name: str) -> None:
    """Documented: up to 16 bits gives float32, wider integers and float64 float64."""
    act = activation(name)
    for code in "?bBhHe":
        x = np.ones(3, code)
        assert act(x).dtype == act.backward(x, x).dtype == np.float32, code
        assert act(x.tolist() if code == "?" else list(x)).dtype == np.float32, code
    for code in "iIlLd":
        x = np.ones(3, code)
        assert act(x).dtype == act.backward(x, x).dtype == np.float64, code
    assert act([1, 2]).dtype == np.float64
    assert act(np.ones(3, np.float32), dtype=np.float64).dtype == np.float64
    for bad in (np.ones(3, complex), np.array(["a"]), np.array([None, 1]), "text"):
        with pytest.raises(TypeError):
            act(bad)
    with pytest.raises(TypeError):
        act(np.ones(3, np.longdouble))


@pytest.mark.parametrize("name", NAMES)
def test_ufunc_arguments(name: str) -> None:
    act = activation(name)
    x = np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 6)
    y = act(x)
    where = x > 0
    np.testing.assert_array_equal(
        act(x, out=np.full_like(x, 9), where=where), np.where(where, y, 9)
    )
    overlapping = np.append(x.ravel(), np.float32(0))
    act(overlapping[:-1], out=overlapping[1:])
    np.testing.assert_array_equal(overlapping[1:], y.ravel())
    inside = x.copy()
    assert act(inside, out=inside) is inside
    np.testing.assert_array_equal(inside, y)
    np.testing.assert_array_equal(act.backward(x[0], saved(act, x)).shape, x.shape)
    ones = act.backward(np.float32(1), saved(act, x))  # a broadcast scalar
    np.testing.assert_array_equal(ones, act.backward(np.ones_like(x), saved(act, x)))
    assert np.ndim(act(np.float32(1))) == 0
    assert act(np.empty((0, 3), np.float32)).shape == (0, 3)
    locked = np.zeros_like(x)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        act(x, out=locked)
    masked = np.ma.array(x[0], mask=x[0] > 1)
    assert isinstance(act(masked), np.ma.MaskedArray)
    np.testing.assert_array_equal(act(masked).mask, masked.mask)


def test_array_ufunc_protocol_is_asked() -> None:
    class Mine:
        def __array_ufunc__(
            self, ufunc: Any, method: str, *args: Any, **kw: Any
        ) -> Any:
            return ufunc.__name__, method, len(args)

    assert lm.sigmoid(Mine()) == ("sigmoid", "__call__", 1)
    assert lm.elu(Mine()) == ("elu", "__call__", 2)
    assert lm.softmax(Mine()) == ("softmax", "__call__", 1)


# The callables ------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_PARAMETER)
def test_parameter_by_keyword_position_using_and_array(name: str) -> None:
    act, (keyword,) = activation(name), activation(name).parameters
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    y = act(x, **{keyword: 1.5})
    assert y.dtype == np.float32
    assert not np.array_equal(y, act(x))
    np.testing.assert_array_equal(act(x, 1.5), y)
    changed = act.using(**{keyword: 1.5})
    np.testing.assert_array_equal(changed(x), y)
    out = np.empty_like(x)
    assert act(x, out=out, **{keyword: np.float64(1.5)}) is out
    np.testing.assert_array_equal(out, y)
    # The bare ufunc takes an array of parameters, one an element.
    values = np.where(
        np.arange(50) % 2, np.float32(1.5), np.float32(act.parameters[keyword])
    )
    np.testing.assert_array_equal(
        act.ufunc(x, values), np.where(np.arange(50) % 2, y, act(x))
    )
    np.testing.assert_array_equal(
        changed.backward(x, saved(changed, x)), act.backward(x, saved(changed, x), 1.5)
    )
    np.testing.assert_array_equal(
        changed.derivative(x), act.derivative(x, **{keyword: 1.5})
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lm.elu([1.0], alpha="a"), TypeError, "alpha of elu must be a number"),
        (lambda: lm.elu([1.0], slope=1), TypeError, "slope"),
        (lambda: lm.elu([1.0], 1.0, alpha=1.0), TypeError, "alpha twice"),
        (lambda: lm.elu(), TypeError, "elu takes 1 array and alpha"),
        (lambda: lm.celu([1.0], alpha=0), ValueError, "other than 0, got 0"),
        (lambda: lm.softplus([1.0], beta=-1), ValueError, "a positive number, got -1"),
        (lambda: lm.hard_shrink(1.0, threshold=-1), ValueError, "at least 0, got -1"),
        (lambda: lm.elu([1.0], alpha=NAN), ValueError, "alpha of elu must be a number"),
        (lambda: lm.relu.using(alpha=1.0), TypeError, "relu has no parameter"),
        (lambda: lm.elu.using(beta=1.0), TypeError, "exactly alpha=value"),
        (lambda: lm.softmax.derivative, AttributeError, "softmax.backward"),
        (
            lambda: lm.activations.get("rleu"),
            ValueError,
            "'rleu'; known are identity",
        ),
        (lambda: lm.activations.get(3), TypeError, "a name, an activation"),
        (lambda: type(lm.relu)(), TypeError, "cannot create"),
    ],
)
def test_misuse(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_equality_pickling_and_names() -> None:
    changed = lm.elu.using(alpha=2.0)
    assert changed == lm.elu.using(alpha=2) != lm.elu
    assert hash(changed) == hash(lm.elu.using(alpha=2.0))
    assert pickle.loads(pickle.dumps(changed)) == changed
    assert pickle.loads(pickle.dumps(lm.relu)) is lm.relu
    assert copy.deepcopy(changed) == changed
    assert (
        repr(changed) == "<lamina.elu alpha=2.0>" and repr(lm.relu) == "<lamina.relu>"
    )
    assert lm.activations.get(None) is lm.identity
    assert [getattr(lm, name).name for name in _core.__all__] == _core.__all__
    assert lm.leaky_relu.using(negative_slope=-1.0).saves == "input"


# Softmax ------------------------------------------------------------------------------

ROWS = [(1, 1), (3, 10), (7, 16), (5, 17), (2, 1000), (0, 4), (4, 0), (2, 3, 5), (33,)]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ROWS)
def test_softmax(name: str, dtype: Any, shape: tuple[int, ...], target: str) -> None:
    act, oracle = getattr(lm, name), getattr(reference, name)
    slope = getattr(reference, f"{name}_backward")
    rng = np.random.default_rng(5)
    x, dy = (rng.normal(0, 4, shape).astype(dtype) for _ in range(2))
    # Sums of up to 1000 terms, each rounded: 100 units leave room for their growth.
    tolerance: dict[str, Any] = {
        "rtol": 1e2 * np.finfo(dtype).eps,
        "atol": 1e2 * np.finfo(dtype).eps,
    }
    for axis in range(-1, len(shape)):
        y = act(x, axis=axis)
        assert y.dtype == dtype and y.shape == shape
        np.testing.assert_allclose(y, oracle(x, axis), **tolerance)
        np.testing.assert_allclose(
            act.backward(dy, y, axis=axis), slope(dy, y, axis), **tolerance
        )
    out = np.empty(shape[::-1], dtype).T
    assert act(x, out=out) is out
    np.testing.assert_array_equal(out, act(x))
    np.testing.assert_array_equal(act(x[::-1]), act(x[::-1].copy()))
    inside = x.copy()
    act(inside, out=inside)
    np.testing.assert_array_equal(inside, act(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_extremes(dtype: Any, target: str) -> None:
    big = np.array([[1e30, 0, -1e30], [-1e30] * 3, [np.inf, 0, 1]], dtype)
    np.testing.assert_array_equal(
        lm.softmax(big), np.array([[1, 0, 0], [1 / 3] * 3, [NAN] * 3], dtype)
    )
    rows = np.zeros((3, 40), dtype)
    rows[0, 7], rows[1] = NAN, -np.inf
    for act in (lm.softmax, lm.log_softmax):
        y = act(rows)
        assert np.isnan(y[:2]).all() and np.isfinite(y[2]).all()
    with pytest.raises(ValueError, match="not have enough dimensions"):
        lm.softmax(np.float32(1))


def test_softmax_targets_with_fma_agree_bit_for_bit() -> None:
    rng = np.random.default_rng(7)
    for columns in (1, 9, 10, 16, 31, 1000):
        x = rng.normal(0, 3, (5, columns)).astype(np.float32)
        results = []
        for target in TARGETS:
            if target == "sse2":
                continue
            lm.set_target(target)
            results.append(
                (lm.softmax(x), lm.log_softmax(x), lm.softmax.backward(x, x))
            )
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


# Unusual calls ------------------------------------------------------------------------


@pytest.mark.parametrize("name", lm.activations.names)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_arrays_give_what_the_ufunc_gives(name: str, dtype: Any) -> None:
    """They go to the kernel directly; lists and strided views do not."""
    act = lm.activations.get(name)
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(dtype)
    parameters = tuple(act.parameters.values())
    for function, inputs in ((act, (x,)), (act.backward, (x[::-1].copy(), x))):
        expected = function.ufunc(*inputs, *parameters)
        np.testing.assert_array_equal(function(*inputs), expected, strict=True)
        strided = [np.repeat(a, 2, axis=1)[:, ::2] for a in inputs]
        np.testing.assert_array_equal(function(*strided), expected, strict=True)
        out = np.full_like(x, np.nan)
        assert function(*inputs, out=out) is out
        np.testing.assert_array_equal(out, expected)
        for i in range(len(inputs)):  # in place
            copies = [a.copy() for a in inputs]
            assert function(*copies, out=copies[i]) is copies[i]
            np.testing.assert_array_equal(copies[i], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_that_pass_the_caches_are_the_same(dtype: Any, target: str) -> None:
    """Those of 32 MiB with their inputs, from any border of the elements."""
    n = (32 << 20) // np.dtype(dtype).itemsize // 2 + 37
    x = np.random.default_rng(0).normal(size=n + 3).astype(dtype)
    out = np.empty_like(x)
    mask = np.random.default_rng(1).integers(0, 256, n // 8 + 1, np.uint8)
    kept = np.unpackbits(mask, count=n, bitorder="little")
    for start in (0, 1, 3):
        part, y = x[start : start + n], out[start : start + n]
        pieces = [lm.sigmoid(piece) for piece in np.array_split(part, 9)]
        out[:] = np.nan
        lm.sigmoid(part, out=y)
        np.testing.assert_array_equal(y, np.concatenate(pieces))
        assert np.isnan(out).sum() == 3
        expected = lm.sigmoid.backward(part[:1000], y[:1000])
        dx = lm.sigmoid.backward(part, y)
        np.testing.assert_array_equal(dx[:1000], expected)
        np.testing.assert_array_equal(dx[-7:], lm.sigmoid.backward(part[-7:], y[-7:]))
        lm.dropout_backward(part, 0.5, mask=mask, out=y)
        np.testing.assert_array_equal(y, np.where(kept, 2 * part, 0))


def test_results_that_the_kernel_cannot_write_directly() -> None:
    x = np.linspace(-2, 2, 40, dtype=np.float32)
    buffer = np.concatenate([x, x])
    expected = lm.tanh(x)
    shifted = lm.tanh(buffer[:40], out=buffer[1:41])
    np.testing.assert_array_equal(shifted, expected)
    np.testing.assert_array_equal(lm.tanh(x, out=np.empty(40)), expected)
    rows = np.empty((3, 40), np.float32)
    np.testing.assert_array_equal(lm.tanh(x, out=rows), [expected] * 3)
    frozen = np.empty_like(x)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lm.tanh(x, out=frozen)
    with pytest.raises(ValueError, match="broadcast"):
        lm.tanh(x, out=np.empty(3, np.float32))
    with pytest.raises(ValueError, match="broadcast"):
        lm.tanh.backward(x, x[:3])

    class Own(np.ndarray): ...

    assert type(lm.tanh(x.view(Own))) is Own


def test_reduce_and_accumulate_go_element_by_element(target: str) -> None:
    values = np.linspace(0.1, 0.9, 40)
    for function in (lm.sigmoid.backward.ufunc, lm.tanh.backward.ufunc):
        running = [values[0]]
        for value in values[1:]:
            running.append(float(function(running[-1], value)))
        np.testing.assert_array_equal(function.accumulate(values), running)
        assert function.reduce(values) == running[-1]
    np.testing.assert_array_equal(
        lm.relu.backward.ufunc.outer([1.0, 2.0], [3.0, -1.0]), [[1, 0], [2, 0]]
    )


def test_parameters_must_fit_float32_where_that_is_used() -> None:
    x = np.ones(3, np.float32)
    for act, value in ((lm.leaky_relu, 1e300), (lm.softplus, 1e-320)):
        with pytest.raises(ValueError, match="in float32, got"):
            act(x, value)
    assert lm.leaky_relu(-1.0, negative_slope=1e300) == -1e300
    assert lm.leaky_relu(x, negative_slope=np.inf)[0] == 1


@pytest.mark.parametrize("name", ["squareplus", "hard_shrink", "soft_shrink"])
def test_a_negative_parameter_that_float32_would_round_to_zero_is_refused(
    name: str,
) -> None:
    """However it is called: with plain arrays, too, as with others."""
    act = lamina.activations.get(name)
    value = dict.fromkeys(act.parameters, -1e-50)
    x = np.ones(4, np.float32)
    for f, inputs in ((act, [x]), (act.derivative, [x]), (act.backward, [x, x])):
        for those in (inputs, [each[::2] for each in inputs]):
            with pytest.raises(ValueError, match="at least 0, got -1e-50"):
                f(*those, **value)


def test_dtypes_of_mixed_and_foreign_inputs() -> None:
    small = np.ones(3, np.int8)

    class Wrapped:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return small

    for act in (lm.tanh, lm.elu):
        assert act.backward(1, small).dtype == np.float32
        assert act.backward(1.0, small).dtype == np.float64
        assert act(Wrapped()).dtype == np.float32


def test_strided_softmax_without_memory_raises() -> None:
    code = (
        "import os, subprocess, numpy as np, lamina as lm\n"
        "x = np.zeros((1, 20_000_000), np.float32)[:, ::2]\n"
        "out = np.zeros((1, 20_000_000), np.float32)[:, ::2]\n"
        "with open('/proc/self/statm') as f: used = int(f.read().split()[0]) * 4096\n"
        "limit = used + 40_000_000\n"
        # Not by resource.setrlimit, which emulators of other processors ignore.
        "pid = os.getpid()\n"
        "subprocess.run(['prlimit', f'--pid={pid}', f'--as={limit}'], check=True)\n"
        "try: lm.softmax(x, out=out)\n"
        "except MemoryError: print('MemoryError')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "MemoryError", (done.returncode, done.stderr)


def test_callables_describe_themselves() -> None:
    assert lm.elu.__doc__.startswith("elu(x, alpha=1.0) = ")
    assert repr(lm.elu.backward) == "<lamina.elu.backward alpha=1.0>"
    assert "derivative of elu" in lm.elu.backward.__doc__
    assert lm.elu.derivative.__name__ == "elu.derivative"


# Each with a small type, whose loop without dtype= is that of float32.
@pytest.mark.parametrize("small", [np.int8, np.uint16, np.bool_, np.float16])
@pytest.mark.parametrize("name", WITH_PARAMETER)
def test_a_parameter_has_the_precision_of_dtype(name: str, small: Any) -> None:
    x = np.array([0, 1], small) if small != np.float16 else np.array([-1, 1], small)
    act, (keyword,) = activation(name), activation(name).parameters
    value = {keyword: 0.1}
    for f, arrays in [(act, (x,)), (act.derivative, (x,)), (act.backward, (x, x))]:
        wide = [array.astype(np.float64) for array in arrays]
        expected = f(*wide, **value)
        for option in (
            {"dtype": np.float64},
            {"dtype": "d"},
            {"dtype": np.dtype(float)},
            {"signature": "d" * (len(arrays) + 1) + "->d"},
            {"sig": (None,) * (len(arrays) + 1) + (np.float64,)},
        ):
            np.testing.assert_array_equal(f(*arrays, **value, **option), expected)
            np.testing.assert_array_equal(f(*arrays, 0.1, **option), expected)
        single = [array.astype(np.float32) for array in arrays]
        for those in (arrays, single, wide):
            found = f(*those, **value, dtype=np.float32)
            np.testing.assert_array_equal(found, f(*single, **value))
            assert found.dtype == np.float32


def test_what_float32_cannot_hold_is_refused_where_dtype_says_so() -> None:
    for x in (np.array([-1.0]), np.array([-1], np.int8), [-1.0]):
        assert lm.leaky_relu(x, negative_slope=1e60, dtype=np.float64)[0] == -1e60
        for option in ({"dtype": np.float32}, {"signature": "ff->f"}):
            with pytest.raises(ValueError, match=r"in float32, got 1e\+60"):
                lm.leaky_relu(x, negative_slope=1e60, **option)
            with pytest.raises(ValueError, match="other than 0 in float32, got 1e-50"):
                lm.celu.derivative(x, alpha=1e-50, **option)


class Stubborn:
    """Whatever number is asked for, this comes instead."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def answer(self, *_: Any, **__: Any) -> Any:
        raise self.error

    __float__ = __index__ = __array__ = __bool__ = answer


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
@pytest.mark.parametrize(
    "call",
    [
        lambda v: lm.elu(np.ones(3), alpha=v),
        lambda v: lm.elu(np.ones(3), v),
        lambda v: lm.elu.using(alpha=v),
        lambda v: lm.relu(v),
        lambda v: lm.dropout(np.ones(3), v),
        lambda v: lm.dropout(np.ones(3), 0.5, seed=v),
        lambda v: lm.dropout(np.ones(3), 0.5, seed=1, offset=v),
        lambda v: lm.dense(np.ones((1, 1)), np.ones((1, 1)), dropout=v, seed=1),
        lambda v: lm.dense(v, np.ones((1, 1))),
        lambda v: lm.dropout_mask(v, 0.5, seed=1),
        lambda v: lm.dropout_mask(3, 0.5, seed=v),
        lambda v: lm.set_num_threads(v),
    ],
)
def test_what_an_argument_itself_raises_comes_out(call: Any, error: Any) -> None:
    with pytest.raises(type(error)) as caught:
        call(Stubborn(error))
    assert caught.value is error


def test_an_interrupt_while_an_array_is_made_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt):
        lm.elu(Stubborn(KeyboardInterrupt()), alpha=0.5)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_integers_beyond_any_float_are_named(value: int) -> None:
    calls: list[tuple[Any, str]] = [
        (lambda: lm.elu(np.ones(3), alpha=value), "alpha of elu must be a number"),
        (lambda: lm.dropout(np.ones(3), value), "rate must be a number in"),
        (lambda: lm.dropout(np.ones(3), 0.5, seed=value), "seed must be an integer in"),
        (lambda: lm.GaussianNoise(value), "stddev must be a finite number"),
    ]
    for call, name in calls:
        with pytest.raises(ValueError, match=name):
            call()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows_of_a_frame_are_its_rows(name: str) -> None:
    """pandas hands a ufunc its blocks, which lie transposed."""
    act = getattr(lm, name)
    table = np.array([[-1, 2, 3], [4, -5, 6]], np.float32)
    for columns in ("abc", "aab"):
        frame = pandas.DataFrame(table, ["x", "y"], list(columns))
        for y in (act(frame), act(frame, axis=-1), act(frame, out=np.empty((2, 3)))):
            assert isinstance(y, pandas.DataFrame | np.ndarray)
            np.testing.assert_array_equal(np.asarray(y, np.float32), act(table))
        y = act(frame)
        pandas.testing.assert_frame_equal(y, frame.copy().mask(frame == frame, y))
        for dy, saved in [(frame, y), (table, y), (frame, act(table))]:
            np.testing.assert_array_equal(
                act.backward(dy, saved), act.backward(table, act(table))
            )
        np.testing.assert_array_equal(act(frame, axis=0), act(table, axis=0))
        np.testing.assert_array_equal(act(frame, axes=[0, 0]), act(table, axis=0))
    mixed = pandas.DataFrame(table).astype({0: np.int8, 1: np.float64})
    np.testing.assert_array_equal(act(mixed), act(table.astype(np.float64)))
    series = pandas.Series(table[0], list("abc"), name="one")
    pandas.testing.assert_series_equal(
        act(series), pandas.Series(act(table[0]), list("abc"), name="one")
    )
    np.testing.assert_array_equal(act(table.tolist()), act(table.astype(np.float64)))
