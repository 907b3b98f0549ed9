"""Sums of any length keep their digits: over rows, depth and columns.

Terms that are all equal are the worst: every rounding may go the same way. A float32
chain over 10**7 rows was off by 8.8 %, and stopped growing at 2**24 ones.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import _core, losses

DTYPES: list[Any] = [np.float32, np.float64]
# Half of a last digit between 256 and 512, the end of a chain: down at each term, up at
# each, then numbers of no pattern.
HALF = {np.float32: 2.0**-16, np.float64: 2.0**-45}
CHAIN, SPAN = 512, 2**15


def bound(dtype: Any) -> float:
    """1e-5 in float32, and as many units of roundoff in float64.

    A chain of 512 equal terms drifts by 128 units, 64 sums of chains by 16.
    """
    return 168 * float(np.finfo(dtype).epsneg)


def constants(dtype: Any) -> Iterator[Any]:
    for value in (1 + HALF[dtype], 1 + 3 * HALF[dtype], 0.1, 1 / 3, -np.pi):
        yield dtype(value)


def same(found: Any, exact: Any, dtype: Any) -> None:
    error = np.abs(np.asarray(found, np.longdouble) / np.longdouble(exact) - 1)
    assert error.max() < bound(dtype), (error.max(), found, exact)


def forms(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    for left in (a, np.asfortranarray(a)):
        for right in (b, np.asfortranarray(b)):
            yield lm.matmul(left, right)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_over_ten_million_rows_do_not_drift(target: str, dtype: Any) -> None:
    n = 10_000_000
    dy, x = np.full((n, 2), dtype(0.1)), np.ones((n, 1), dtype)
    kernel = np.ones((1, 2), dtype)
    _, dkernel, dbias = lm.dense_backward(dy, x, kernel, dy, input_gradient=False)
    same(dkernel, n * np.longdouble(dtype(0.1)), dtype)
    same(dbias, n * np.longdouble(dtype(0.1)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "n", [CHAIN, 3 * CHAIN - 1, 8 * 1024, SPAN, SPAN + 1, 5 * SPAN + 77]
)
def test_bias_gradients_keep_their_digits_for_any_constant(dtype: Any, n: int) -> None:
    for value in constants(dtype):
        dy, x = np.full((n, 37), value), np.ones((n, 1), dtype)
        _, _, dbias = lm.dense_backward(dy, x, np.ones((1, 37), dtype), dy)
        same(dbias, n * np.longdouble(value), dtype)


# A single row, a few by columns, a single column, tiles.
@pytest.mark.parametrize("shape", [(1, 9), (1, 3), (3, 2), (9, 1), (7, 5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "n", [CHAIN, 3 * CHAIN - 1, SPAN, SPAN + 1, 5 * SPAN + 77, 10**6]
)
def test_products_keep_their_digits_at_any_depth(
    dtype: Any, n: int, shape: tuple[int, int]
) -> None:
    for value in constants(dtype):
        a, b = np.ones((shape[0], n), dtype), np.full((n, shape[1]), value)
        for product in forms(a, b):
            same(product, n * np.longdouble(value), dtype)


def test_ones_are_counted_beyond_what_float32_counts() -> None:
    n = 2**25
    ones = np.ones((1, n), np.float32)
    assert (lm.matmul(ones, np.ones((n, 2), np.float32)) == n).all()
    assert lm.matmul(ones, np.ones((n, 1), np.float32)) == n


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_packed_kernels_keep_their_digits(precision: Any) -> None:
    if precision == "bf16" and not lm.show_config()["bf16"]:
        pytest.skip("no avx512_bf16 here")
    value = 255 / 128  # its square has a bit too many from 1024 on
    for n in (CHAIN, 5 * CHAIN + 3, 20_000, SPAN, 2 * SPAN + 1):
        x = np.full((7, n), value, np.float32)
        packed = lm.pack(np.full((n, 70), value, np.float32), precision)
        same(lm.dense(x, packed), n * value**2, np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_random_numbers_keep_their_digits(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    n = 1_000_000
    dy, x = rng.random((n, 3)).astype(dtype), rng.random((n, 4)).astype(dtype)
    kernel = np.ones((4, 3), dtype)
    _, dkernel, dbias = lm.dense_backward(dy, x, kernel, dy)
    wide = dy.astype(np.longdouble), x.astype(np.longdouble)
    # Roundings that do not go one way: a tenth of what is promised for equal terms.
    error = np.abs(dkernel / (wide[1].T @ wide[0]) - 1).max()
    assert error < bound(dtype) / 10
    assert np.abs(dbias / wide[0].sum(0) - 1).max() < bound(dtype) / 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_ten_million_columns_keeps_its_digits(dtype: Any) -> None:
    n = 10_000_000
    low = dtype(-1.1)
    x = np.full((1, n), low)
    x[0, 0] = 0
    total = 1 + (n - 1) * np.exp(np.longdouble(low))
    # The exponential adds its own few units.
    same(lm.softmax(x)[0, :2] * total, [1, np.exp(np.longdouble(low))], dtype)
    error = lm.log_softmax(x)[0, 0] + np.log(total)
    assert np.abs(error) < bound(dtype) * np.log(total)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_softmax_keep_their_digits(dtype: Any) -> None:
    """dx = y (dy - sum(dy y)) and dy - exp(y) sum(dy): dx[0] shows the sum."""
    n = 4_000_001
    for value in constants(dtype):
        dy = np.full((1, n), value)
        dy[0, 0] = 0
        total = (n - 1) * np.longdouble(value)
        same(-lm.softmax.backward(dy, np.ones((1, n), dtype))[0, 0], total, dtype)
        same(-lm.log_softmax.backward(dy, np.zeros((1, n), dtype))[0, 0], total, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_of_many_columns_keep_their_digits(dtype: Any) -> None:
    n = 4_000_000
    for value in constants(dtype):
        z, t = np.zeros((1, n), dtype), np.full((1, n), value)
        for loss in (losses.mean_absolute_error, losses.categorical_crossentropy):
            expected = np.abs(np.longdouble(value))
            if loss is losses.categorical_crossentropy:
                expected = n * np.longdouble(value) * np.log(np.longdouble(n))
            found = _core.loss(loss.core, z, t, 1.0, None, np.empty_like(z))[0]
            same(found, expected, dtype)
        # Where logits differ, the sum of t (z - top) counts, too.
        z[0, 1:] = -1
        total = 1 + (n - 1) * np.exp(np.longdouble(-1))
        expected = np.longdouble(value) * (n * np.log(total) + (n - 1))
        loss = losses.categorical_crossentropy
        found = _core.loss(loss.core, z, t, 1.0, None, np.empty_like(z))[0]
        same(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [511, 512, 513, 1025, 8193, SPAN, 2 * SPAN + 1])
def test_no_border_of_blocks_loses_or_repeats_a_term(
    target: str, dtype: Any, depth: int
) -> None:
    """Small integers: no rounding anywhere, so any wrong index shows."""
    rng = np.random.default_rng(depth)
    for rows, columns in [(1, 1), (1, 40), (4, 3), (7, 17), (3, 34), (490, 2)]:
        a = rng.integers(-3, 4, (rows, depth)).astype(dtype)
        b = rng.integers(-3, 4, (depth, columns)).astype(dtype)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        for product in forms(a, b):
            assert np.array_equal(product, exact), (rows, columns)
        bias = np.arange(columns).astype(dtype)
        y = lm.dense(a, b, bias, "relu")
        assert np.array_equal(y, np.maximum(exact + bias, 0))
        dx, dk, db = lm.dense_backward(b, a.T, np.ones((rows, columns), dtype), b)
        assert np.array_equal(db, b.sum(0))
        assert np.array_equal(dk, exact)
        assert dx is not None
        assert np.array_equal(dx, np.repeat(b.sum(1, keepdims=True), rows, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit_of_long_sums(target: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    shapes = [(1, 33_000, 130), (3, 33_000, 70), (130, 33_000, 9), (130, 1100, 200)]
    for rows, depth, columns in shapes:
        a = rng.normal(size=(rows, depth)).astype(dtype)
        b = rng.normal(size=(depth, columns)).astype(dtype)
        results: list[bytes] = []
        for count in (1, 2, 3, 8):
            with lm.threads(count):
                products = [p.tobytes() for p in forms(a, b)]
                products += [
                    lm.dense_backward(b, a.T, a[:, :1] * b[:1], b)[2].tobytes()
                ]
            results.append(b"".join(products))
        assert len(set(results)) == 1, (rows, depth, columns)


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_and_nan_are_kept_in_every_block(dtype: Any) -> None:
    depth = 3 * SPAN
    for shape in [(1, 9), (3, 2), (7, 5)]:
        for place in (0, 600, SPAN + 5, depth - 1):
            for value in (np.inf, -np.inf, np.nan):
                a, b = (
                    np.ones((shape[0], depth), dtype),
                    np.ones((depth, shape[1]), dtype),
                )
                b[place, 0] = value
                for product in forms(a, b):
                    assert np.array_equal(
                        product[:, 0], np.full(shape[0], value), equal_nan=True
                    )
                    assert (product[:, 1:] == depth).all()
                dbias = lm.dense_backward(
                    b, b[:, :1], np.ones((1, shape[1]), dtype), b
                )[2]
                assert np.array_equal(dbias[:1], [value], equal_nan=True)
                assert (dbias[1:] == depth).all()
        # Beyond the largest number the sum is infinite, not NaN.
        b = np.full((depth, shape[1]), np.finfo(dtype).max)
        assert np.isposinf(lm.matmul(np.ones((1, depth), dtype), b)).all()
