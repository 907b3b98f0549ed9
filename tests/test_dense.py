"""matmul, dense and dense_backward against the oracle."""

import contextlib
import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from conftest import TARGETS
from lamina import reference

lm: Any = lamina  # wrong types are the point of some calls

DTYPES = [np.float32, np.float64]
# (batch, in, out): nothing, one row, one column, odd sizes, tile and register borders,
# and depths beyond one block of the product.
SHAPES = [
    (0, 5, 3),
    (5, 0, 3),
    (5, 3, 0),
    (1, 1, 1),
    (1, 64, 64),
    (1, 601, 523),
    (2, 300, 70),
    (3, 7, 5),
    (4, 1, 9),
    (7, 33, 1),
    (8, 64, 64),
    (33, 65, 17),
    (100, 100, 100),
    (13, 1100, 131),
    (200, 40, 1030),
    (257, 600, 66),
    (40, 600, 12),
    (31, 530, 24),
]
LAYOUTS = ["rows", "columns", "strided", "reversed", "swapped"]


def lay_out(a: np.ndarray, layout: str) -> np.ndarray:
    """An array equal to `a` that lies otherwise in memory."""
    if layout == "columns":
        return np.asfortranarray(a)
    if layout == "strided":
        wide = np.full((2 * a.shape[0], 3 * a.shape[1]), np.nan, a.dtype)
        wide[::2, ::3] = a
        return wide[::2, ::3]
    if layout == "reversed":
        return a[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "swapped":
        return a.astype(a.dtype.newbyteorder())
    return a


def data(shape: tuple[int, int, int], dtype: Any, seed: int = 0) -> list[np.ndarray]:
    """x, kernel, bias and dy."""
    batch, features, units = shape
    rng = np.random.default_rng(seed)
    shapes = [(batch, features), (features, units), (units,), (batch, units)]
    return [rng.normal(size=s).astype(dtype) for s in shapes]


def assert_product(y: np.ndarray, exact: np.ndarray, a: Any, b: Any) -> None:
    """Within the rounding of a sum of products in any order (Higham 2002, 3.5)."""
    eps = float(np.finfo(y.dtype).eps)
    bound = (a.shape[1] + 2) * eps * (np.abs(a) @ np.abs(b)).astype(np.float64)
    assert y.shape == exact.shape
    assert (np.abs(y - exact) <= bound).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_of_every_layout(
    shape: tuple[int, int, int], dtype: Any, target: str
) -> None:
    a, b, _, _ = data(shape, dtype)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    for left in LAYOUTS:
        for right in LAYOUTS:
            c = lm.matmul(lay_out(a, left), lay_out(b, right))
            assert c.dtype == dtype
            assert_product(c, exact, a, b)
    out = np.full(exact.shape, np.nan, dtype)  # what was there must not matter
    assert lm.matmul(a, b, out=out) is out
    assert_product(out, exact, a, b)
    strided = np.full((exact.shape[0], 2 * exact.shape[1]), 7, dtype)
    lm.matmul(a, b, out=strided[:, ::2])
    np.testing.assert_array_equal(strided[:, ::2], out)
    assert (strided[:, 1::2] == 7).all()


@given(st.tuples(*[st.integers(0, 70)] * 3), st.sampled_from(DTYPES), st.randoms())
@settings(max_examples=200, deadline=None)
def test_matmul_of_any_shape(shape: Any, dtype: Any, random: Any) -> None:
    a, b, _, _ = data(shape, dtype)
    lm.set_target(random.choice(TARGETS))
    c = lm.matmul(
        lay_out(a, random.choice(LAYOUTS[:2])), lay_out(b, random.choice(LAYOUTS[:2]))
    )
    assert_product(c, a.astype(np.float64) @ b.astype(np.float64), a, b)


def test_targets_with_fma_agree_bit_for_bit() -> None:
    for dtype in DTYPES:
        for shape in SHAPES:
            x, kernel, bias, dy = data(shape, dtype)
            results = []
            for target in TARGETS:
                if target == "sse2":  # no fma
                    continue
                lm.set_target(target)
                y, saved = lm.dense(x, kernel, bias, "tanh", return_saved=True)
                results.append((y, *lm.dense_backward(dy, x, kernel, saved, "tanh")))
            for other in results[1:]:
                for one, two in zip(results[0], other, strict=True):
                    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", [*reference.ACTIVATIONS, "softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_and_backward(name: str, dtype: Any, target: str) -> None:
    for shape in [(1, 64, 64), (5, 7, 3), (33, 65, 17), (0, 4, 5)]:
        x, kernel, bias, dy = data(shape, dtype)
        kernel /= np.sqrt(shape[1])
        y, saved = lm.dense(x, kernel, bias, name, return_saved=True)
        act = lm.activations.get(name)
        exact, z = reference.dense(x, kernel, bias, name)
        # Sums of 65 products near 1, and slopes up to 2 behind them: 200 units.
        tolerance: Any = {
            "rtol": 2e2 * np.finfo(dtype).eps,
            "atol": 2e2 * np.finfo(dtype).eps,
        }
        np.testing.assert_allclose(y, exact, **tolerance)
        assert (saved is y) == (act.saves == "output")
        np.testing.assert_array_equal(
            lm.dense(x, kernel, bias, act, out=np.full_like(y, np.nan)), y
        )
        got = lm.dense_backward(dy, x, kernel, saved, name)
        want = reference.dense_backward(dy, x, kernel, z, name)
        # A kink between z and its rounding moves one term: none lies that close here.
        for ours, theirs in zip(got, want, strict=True):
            assert ours is not None and ours.dtype == dtype
            np.testing.assert_allclose(ours, theirs, **tolerance)
        alone = lm.dense_backward(dy, x, kernel, saved, name, input_gradient=False)
        assert alone[0] is None
        np.testing.assert_array_equal(alone[1], got[1])


@pytest.mark.parametrize("slope", [0.2, -0.5])
def test_dense_with_a_parameter(slope: float, target: str) -> None:
    act = lm.leaky_relu.using(negative_slope=slope)
    x, kernel, bias, dy = data((9, 20, 11), np.float64)
    y, saved = lm.dense(x, kernel, bias, act, return_saved=True)
    exact, z = reference.dense(x, kernel, bias, "leaky_relu", slope)
    np.testing.assert_allclose(y, exact, 1e-13)  # sums of 20 products
    dx, dkernel, dbias = lm.dense_backward(dy, x, kernel, saved, act)
    for got, want in zip(
        (dx, dkernel, dbias),
        reference.dense_backward(dy, x, kernel, z, "leaky_relu", slope),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, 1e-12, 1e-13)


@pytest.mark.parametrize("name", ["identity", "relu", "gelu", "softmax"])
def test_dropout_inside_dense_is_dropout_after_it(name: str, target: str) -> None:
    x, kernel, bias, dy = data((33, 20, 17), np.float32)
    options: Any = {"seed": 11, "offset": 1000}
    plain, kept = lm.dense(x, kernel, bias, name, return_saved=True)
    y, saved = lm.dense(
        x, kernel, bias, name, dropout=0.3, return_saved=True, **options
    )
    np.testing.assert_array_equal(y, lm.dropout(plain, 0.3, **options))
    np.testing.assert_array_equal(saved, kept)
    got = lm.dense_backward(dy, x, kernel, saved, name, dropout=0.3, **options)
    want = lm.dense_backward(
        lm.dropout_backward(dy, 0.3, **options), x, kernel, kept, name
    )
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_layouts_of_dense_and_its_outputs() -> None:
    x, kernel, bias, dy = data((9, 12, 7), np.float32)
    y, saved = lm.dense(x, kernel, bias, "gelu", return_saved=True)
    gradients = lm.dense_backward(dy, x, kernel, saved, "gelu")
    for layout in LAYOUTS:
        again = lm.dense(
            lay_out(x, layout), lay_out(kernel, layout), bias[::-1][::-1], "gelu"
        )
        np.testing.assert_allclose(again, y, 1e-5, 1e-6)  # other orders of summation
        for got, want in zip(
            lm.dense_backward(
                lay_out(dy, layout), lay_out(x, layout), kernel, saved, "gelu"
            ),
            gradients,
            strict=True,
        ):
            np.testing.assert_allclose(got, want, 1e-5, 1e-5)
    outs = tuple(np.full_like(g, np.nan) for g in gradients)
    for got, out, want in zip(
        lm.dense_backward(dy, x, kernel, saved, "gelu", out=outs),
        outs,
        gradients,
        strict=True,
    ):
        assert got is out
        np.testing.assert_array_equal(got, want)


N = 9
SIZE = N * N


def places(memory: np.ndarray) -> dict[str, np.ndarray]:
    """Matrices that share memory with the one at memory[SIZE:], none of them alike."""
    middle = memory[SIZE : 2 * SIZE].reshape(N, N)
    return {
        "itself": middle,
        "transposed": middle.T,
        "reversed": middle[::-1, ::-1],
        "an element later": memory[SIZE + 1 : 2 * SIZE + 1].reshape(N, N),
        "five rows earlier": memory[SIZE - 5 * N : 2 * SIZE - 5 * N].reshape(N, N),
        "every second element": memory[: 2 * SIZE : 2].reshape(N, N),
        "rows apart": memory.reshape(2 * N, 2 * N)[3 : 3 + N, :N],
    }


def gradients(place: int) -> Any:
    def call(dy: Any, x: Any, kernel: Any, saved: Any, out: Any) -> Any:
        outs: list[Any] = [None, None, None]
        outs[place] = out[1] if place == 2 and out is not None else out
        return lm.dense_backward(dy, x, kernel, saved, "gelu", out=tuple(outs))

    return call


WRITERS: dict[str, Any] = {
    "matmul": lambda a, b, out: [lm.matmul(a, b, out=out)],
    "dense": lambda x, k, b, out: lm.dense(
        x, k, b[2], "gelu", dropout=0.25, seed=1, return_saved=True, out=out
    ),
    "dx": gradients(0),
    "dkernel": gradients(1),
    "dbias": gradients(2),
    "dropout": lambda x, out: [lm.dropout(x, 0.5, seed=3, out=out)],
    "dropout_backward": lambda dy, out: [lm.dropout_backward(dy, 0.5, seed=3, out=out)],
}


@pytest.mark.parametrize("writer", WRITERS)
def test_out_may_share_memory_with_any_input(writer: str) -> None:
    call = WRITERS[writer]
    rng = np.random.default_rng(5)
    count = call.__code__.co_argcount - 1
    inputs = [rng.normal(size=(N, N)).astype(np.float32) for _ in range(count)]
    want = call(*inputs, None)
    for i in range(count):
        for place in places(np.zeros(4 * SIZE)):
            memory = np.zeros(4 * SIZE, np.float32)
            shared = list(inputs)
            shared[i] = memory[SIZE : 2 * SIZE].reshape(N, N)
            shared[i][:] = inputs[i]
            got = call(*shared, places(memory)[place])
            for ours, theirs in zip(got, want, strict=True):
                np.testing.assert_array_equal(ours, theirs, f"{i} {place}")


def test_more_elements_than_32_bits_count() -> None:
    """Matrices of 16 GiB, all zero but for some elements: they take no memory, since
    pages that nobody wrote to are one and the same."""
    size = 2**32 + 64
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    no_reserve = 0x4000  # MAP_NORESERVE of Linux
    try:
        pages = mmap.mmap(-1, 4 * size, flags=anonymous | no_reserve)
    except OSError as error:
        pytest.skip(f"this system promises no more memory than it has: {error}")
    with contextlib.suppress(OSError):  # a few seconds, not a part of one
        pages.madvise(mmap.MADV_HUGEPAGE)
    x = np.frombuffer(pages, np.float32)
    far = np.array([5, 2**31 - 1, 2**31 + 1, 2**32 - 1, 2**32 + 1, size - 1])
    places = np.unique([far, far // 16])
    x[places] = values = np.arange(1, 1 + len(places))
    # As long as that,
    assert lm.matmul(x[None, :], x[:, None]) == (values**2).sum()
    # as far apart,
    rows = x.reshape(8, -1)[:, -3:]
    np.testing.assert_array_equal(lm.matmul(rows, rows.T), rows @ rows.T)
    np.testing.assert_array_equal(lm.matmul(rows.T, rows), rows.T @ rows)
    # and as many rows.
    dy = x.reshape(-1, 16)
    _, dkernel, dbias = lm.dense_backward(
        dy, x[: len(dy), None], np.ones((1, 16), np.float32), dy, input_gradient=False
    )
    for found, terms in [(dbias, values), (dkernel[0], values * x[places // 16])]:
        want = np.bincount(places % 16, terms, 16)
        np.testing.assert_array_equal(found, want)
        assert want.any()


def test_mixed_and_integer_dtypes() -> None:
    x, kernel, bias, _ = data((3, 4, 2), np.float32)
    assert lm.dense(x, kernel.astype(np.float64)).dtype == np.float64
    assert lm.dense(x.astype(np.float16), kernel, bias).dtype == np.float32
    assert lm.dense(np.ones((3, 4), np.int8), kernel).dtype == np.float32
    assert lm.dense(np.ones((3, 4), int), kernel).dtype == np.float64
    np.testing.assert_array_equal(lm.dense([[1, 2]], [[3], [4]]), [[11.0]])


X, K, B = np.ones((3, 4), np.float32), np.ones((4, 2), np.float32), np.ones(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lm.dense(X[0], K), ValueError, r"x must have 2 dim.*got shape \(4,\)"),
        (lambda: lm.dense(X, K[:3]), ValueError, r"kernel .* shape \(4, 2\).*\(3, 2\)"),
        (
            lambda: lm.dense(X, K, np.ones(3)),
            ValueError,
            r"bias must have shape \(2,\)",
        ),
        (lambda: lm.dense(X, K, activation="rleu"), ValueError, "'rleu'; known are"),
        (lambda: lm.dense(X, K, dropout=1.5), ValueError, "dropout must be .* got 1.5"),
        (lambda: lm.dense(X + 1j, K), TypeError, "x must hold real .* complex64"),
        (lambda: lm.dense([["a"]], K), TypeError, "x must hold real numbers"),
        (lambda: lm.dense([[None]], K), TypeError, "x must hold real numbers"),
        (lambda: lm.dense(np.ma.array(X), K), TypeError, "x is a masked array"),
        (lambda: lm.dense(X, K, out=[]), TypeError, "out must be a NumPy array"),
        (lambda: lm.dense(X, K, out=np.ones((3, 2))), TypeError, "dtype float32"),
        (
            lambda: lm.dense(X, K, out=np.ones((3, 3), np.float32)),
            ValueError,
            r"out must have shape \(3, 2\), got \(3, 3\)",
        ),
        (
            lambda: lm.dense(X, K, out=np.broadcast_to(np.float32(0), (3, 2))),
            ValueError,
            "out is read-only",
        ),
        (lambda: lm.matmul(X, X), ValueError, r"b must have shape \(4, 4\)"),
        (
            lambda: lm.dense_backward(X, X, K, X @ K),
            ValueError,
            r"dy must have shape \(3, 2\), that of the output, got \(3, 4\)",
        ),
        (
            lambda: lm.dense_backward(X @ K, X, K, X @ K, dropout=0.5),
            ValueError,
            "seed must be the one",
        ),
        (
            lambda: lm.dense_backward(X @ K, X, K, X @ K, out=[]),
            TypeError,
            "out must be None or a tuple",
        ),
    ],
)
def test_misuse(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_empty_views_with_any_strides() -> None:
    a, b = np.ones((5, 5), np.float32), np.ones((5, 2), np.float32)
    assert lm.matmul(a[:, ::-1][:0], b).shape == (0, 2)
    assert lm.matmul(a, b[::-1][:, :0]).shape == (5, 0)
    assert not lm.matmul(a[:, ::-2][:, :0], b[:0]).any()


def test_outputs_must_not_overlap_each_other() -> None:
    x, kernel, _, dy = data((3, 3, 3), np.float32)
    buffer = np.zeros(12, np.float32)
    square = np.zeros((3, 8), np.float32)
    for out in [
        (buffer[:9].reshape(3, 3), None, buffer[:3]),
        # Temporaries stand for these, which are not contiguous, and for inputs.
        (square[:, :3], square[:, 2:5], None),
        (None, square[:, ::2][:, 1:], square[:, 4]),
        (x, x, None),
    ]:
        with pytest.raises(ValueError, match="out must not overlap"):
            lm.dense_backward(dy, x, kernel, dy, out=out)
    # Columns beside each other do not.
    out = square[:, :3], square[:, 3:6], square[:, 6]
    want = lm.dense_backward(dy, x, kernel, dy)
    lm.dense_backward(dy, x, kernel, dy, out=out)
    for ours, theirs in zip(out, want, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_dropout_that_cannot_be_differentiated_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must be given with return_saved"):
        lm.dense(X, K, dropout=0.5, return_saved=True)


@pytest.mark.parametrize(
    ("activation", "right"),
    [
        (lm.celu.using(alpha=1e-50), 0.0),
        (lm.elu.using(alpha=1e39), 0.0),
        (lm.softplus.using(beta=1e-50), np.log(2) * 1e50),
        (lm.leaky_relu.using(negative_slope=-1e39), 0.0),
    ],
)
def test_parameters_that_float32_cannot_hold(activation: Any, right: float) -> None:
    """The right value or an error, as of the activation itself; never NaN."""
    x, one = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    calls: list[Any] = [
        lambda: activation(x),
        lambda: lm.dense(x, one, activation=activation),
        lambda: lm.dense(x.astype(np.float16), one, activation=activation),
        lambda: lm.dense(x, one, activation=activation, return_saved=True),
        lambda: lm.dense(x, lm.pack(one, "float32"), activation=activation),
        lambda: lm.dense_backward(one, x, one, x, activation),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"in float32, got -?1e"):
            call()
    wide = lm.dense(x.astype(np.float64), one, activation=activation)
    np.testing.assert_allclose(wide, [[right]], rtol=1e-15)
    gradients = lm.dense_backward(one, x, one.astype(np.float64), x, activation)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
