"""Packed kernels: what they compute, to the bit where that is exact, and refuse.

Where the machine has no bf16, what needs it is skipped; the rest runs everywhere.
"""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lamina
from lamina import reference

lm: Any = lamina  # wrong types are the point of some calls

HAS_BF16 = lm.show_config()["bf16"]
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="no avx512_bf16 here")
PRECISIONS = ["float32", pytest.param("bf16", marks=needs_bf16)]
# (batch, features, units): nothing, one row, one column, odd depths, borders of tiles
# (6 rows), vectors (16), panels (64), blocks (240 rows, 1024 deep) and threads' parts.
SHAPES = [
    (0, 5, 30),
    (5, 0, 30),
    (5, 3, 0),
    (1, 1, 1),
    (1, 1, 9),
    (4, 50, 8),
    (1, 64, 64),
    (1, 1025, 200),
    (2, 301, 70),
    (6, 31, 16),
    (7, 33, 17),
    (9, 40, 1),
    (33, 65, 49),
    (241, 16, 64),
    (250, 1027, 66),
    (500, 100, 130),
    (20, 700, 650),
]


def data(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    batch, features, units = shape
    rng = np.random.default_rng(sum(shape))
    shapes: list[Any] = [(batch, features), (features, units), units]
    x, kernel, bias = (rng.normal(size=s).astype(np.float32) for s in shapes)
    return x, kernel, bias


def rounded(a: np.ndarray) -> np.ndarray:
    """To bfloat16 and back: to nearest, ties to even; NaN stays, subnormals vanish."""
    bits = a.view(np.uint32).astype(np.uint64)
    bits += 0x7FFF + (bits >> 16 & 1)
    result = (bits & 0xFFFF0000).astype(np.uint32).view(np.float32)
    result = np.where(np.abs(a) < np.finfo(np.float32).tiny, np.copysign(0, a), result)
    return np.where(np.isnan(a), a, result).astype(np.float32)


def chained(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The documented sums: two products, each exact, to one float32 after the other.

    The one of the higher index comes first. Each 512 of the depth begin at zero.
    """
    depth = x.shape[1]
    y = np.zeros((x.shape[0], kernel.shape[1]), np.float32)
    for begin in range(0, depth, 512):
        end = min(begin + 512, depth)
        block = np.zeros_like(y)
        for k in range(begin, end, 2):
            for i in (k + 1, k):
                if i < end:
                    block += np.outer(x[:, i], kernel[i])
        y += block
    return y


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_error_is_within_the_stated_bound(
    shape: tuple[int, int, int], precision: str
) -> None:
    x, kernel, bias = data(shape)
    y = lm.dense(x, lm.pack(kernel, precision), bias)
    assert y.dtype == np.float32
    assert y.shape == (shape[0], shape[2])
    wide = x.astype(np.float64), kernel.astype(np.float64)
    terms = np.abs(wide[0]) @ np.abs(wide[1])
    # Two roundings of 2**-8, the sums' of 2**-24 each; the bias adds one of the result.
    bound = (2**-7 + 2**-16 + shape[1] * 2**-23) * terms + 2**-23 * np.abs(bias)
    assert (np.abs(y - (wide[0] @ wide[1] + bias)) <= bound).all()


@needs_bf16
def test_usual_error() -> None:
    """As stated: root mean square 0.0025 of the product's, at any depth."""
    for depth in (64, 1024):
        x, kernel, _ = data((256, depth, 64))
        exact = x.astype(np.float64) @ kernel.astype(np.float64)
        error = lm.dense(x, lm.pack(kernel, "bf16")) - exact
        assert 0.001 < np.sqrt(np.mean(error**2) / np.mean(exact**2)) < 0.0025


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_small_integers_are_exact(shape: tuple[int, int, int], precision: str) -> None:
    """No rounding anywhere: any wrong index, mask or border shows."""
    batch, features, units = shape
    rng = np.random.default_rng(1)
    x = rng.integers(-256, 257, (batch, features)).astype(np.float32)
    kernel = rng.integers(-15, 16, (features, units)).astype(np.float32)
    packed = lm.pack(kernel, precision)
    out = np.full((batch, units), np.nan, np.float32)
    assert lm.dense(x, packed, out=out) is out
    assert np.array_equal(out, x.astype(np.int64) @ kernel.astype(np.int64))
    for laid_out in (np.asfortranarray(x), x[:, ::-1].copy()[:, ::-1]):
        assert np.array_equal(lm.dense(laid_out, packed), out)
    transposed = lm.pack(np.asfortranarray(kernel), precision)
    assert np.array_equal(lm.dense(x, transposed), out)


@needs_bf16
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_are_those_of_the_documented_chain(shape: tuple[int, int, int]) -> None:
    if shape[2] <= 8:
        pytest.skip("computed in float32")
    x, kernel, _ = data(shape)
    expected = chained(rounded(x), rounded(kernel))
    assert np.array_equal(lm.dense(x, lm.pack(kernel, "bf16")), expected)


@needs_bf16
def test_rounding() -> None:
    """Through a product with ones and zeros, which shows each element of the kernel."""
    rng = np.random.default_rng(2)
    kernel = rng.integers(0, 2**32, 4096, np.uint32).view(np.float32).reshape(64, 64)
    edges = [0.0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-23, 3.3961e38, 3.4e38]
    edges += [1e-40, -1e-40, 2.0**-126, np.inf, -np.inf, np.nan]
    kernel[0, : len(edges)] = edges
    kernel[~np.isfinite(kernel)] = 1
    kernel[np.abs(kernel) > 3e38] = 2
    kernel[0, :5] = edges[:5]
    y = lm.dense(np.eye(64, dtype=np.float32), lm.pack(kernel, "bf16"))
    assert np.array_equal(y, rounded(kernel))
    # A row alone, where no zero meets an infinity.
    row = np.array([[*edges, 1.0]], np.float32)
    y = lm.dense(np.ones((1, 1), np.float32), lm.pack(row, "bf16"))
    assert np.array_equal(y, rounded(row), equal_nan=True)
    assert np.isinf(y[0, 6])
    y = lm.dense(row.T, lm.pack(np.ones((1, 9), np.float32), "bf16"))
    assert np.array_equal(y[:, 1], rounded(row)[0], equal_nan=True)
    # Signalling NaNs, whose payload lies in the half that is cut off.
    bits = [0x7F800001, 0xFF800001, 0x7F80FFFF] * 3
    nan = np.array([bits], np.uint32).view(np.float32)
    y = lm.dense(np.ones((1, 1), np.float32), lm.pack(nan, "bf16"))
    assert np.isnan(y).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_epilogue_and_dropout_are_those_of_dense(precision: str) -> None:
    x, kernel, bias = data((50, 40, 70))
    packed = lm.pack(kernel, precision)
    z = lm.dense(x, packed) + bias
    for name, entry in reference.ACTIVATIONS.items():
        act = getattr(lm, name)
        assert np.array_equal(lm.dense(x, packed, bias, act), act(z)), entry
    y = lm.dense(x, packed, bias, "softmax")
    assert np.array_equal(y, lm.softmax(z))
    dropped = lm.dense(x, packed, bias, "softmax", dropout=0.5, seed=3)
    assert np.array_equal(dropped, lm.dropout(y, 0.5, seed=3))
    in_place = x[:, :40].copy()
    square = lm.pack(kernel[:, :40], precision)
    expected = lm.dense(in_place, square)
    assert np.array_equal(lm.dense(in_place, square, out=in_place), expected)


@needs_bf16
def test_threads_change_no_bit() -> None:
    for shape in [(500, 100, 130), (20, 700, 650), (1, 2000, 1000), (300, 2100, 70)]:
        x, kernel, bias = data(shape)
        packed = lm.pack(kernel, "bf16")
        results = []
        for count in (1, 2, 3, 8):
            with lm.threads(count):
                results.append(lm.dense(x, packed, bias, "tanh"))
        for other in results[1:]:
            assert np.array_equal(results[0], other), shape


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_packed_kernel_is_a_copy(precision: str) -> None:
    x, kernel, _ = data((4, 31, 66))
    packed = lm.pack(kernel, precision)
    before = lm.dense(x, packed)
    kernel[:] = 0
    assert np.array_equal(lm.dense(x, packed), before)
    for other in (pickle.loads(pickle.dumps(packed)), copy.deepcopy(packed)):
        assert np.array_equal(lm.dense(x, other), before)
        assert other.precision == precision
    with pytest.raises(AttributeError):
        packed.shape = (1, 1)


def test_attributes() -> None:
    packed = lm.pack(np.ones((31, 70), np.float32), "float32")
    assert isinstance(packed, lm.PackedKernel)
    assert packed.shape == (31, 70)
    assert packed.precision == "float32"
    assert packed.nbytes == 31 * 70 * 4
    assert repr(packed) == "<lamina.PackedKernel (31, 70) in float32>"
    if HAS_BF16:  # an even number of rows, columns to a multiple of sixteen
        assert lm.pack(np.ones((31, 70), np.float32), "auto").nbytes == 32 * 80 * 2
    with pytest.raises(TypeError):
        lm.PackedKernel(np.ones((3, 2), np.float32))


@pytest.mark.parametrize("shape", [(33, 65, 17), (1, 1100, 257), (600, 600, 500)])
def test_float32_has_the_bits_of_the_array(
    shape: tuple[int, int, int], target: str
) -> None:
    """Also where it lies in panels, beyond 1 MiB, and the rows are cut for threads."""
    x, kernel, bias = data(shape)
    expected = lm.dense(x, kernel, bias, "gelu")
    packed = lm.pack(kernel, "float32")
    for count in (1, 2, 3):
        with lm.threads(count):
            assert np.array_equal(lm.dense(x, packed, bias, "gelu"), expected), target
    again = pickle.loads(pickle.dumps(packed))
    assert np.array_equal(lm.dense(x, again, bias, "gelu"), expected)


@pytest.fixture(
    params=[name for name in lm.show_config()["targets_available"] if name != "avx512"]
)
def without_bf16(request: pytest.FixtureRequest) -> Iterator[None]:
    """As on a machine that has none: it goes with the target avx512."""
    before = lm.show_config()["target"]
    lm.set_target(request.param)
    yield
    lm.set_target(before)


@pytest.mark.usefixtures("without_bf16")
def test_without_bf16() -> None:
    x, kernel, _ = data((5, 30, 20))
    assert not lm.show_config()["bf16"]
    with pytest.raises(ValueError, match="needs the instructions avx512_bf16: "):
        lm.pack(kernel, "bf16")
    packed = lm.pack(kernel, "auto")
    assert packed.precision == "float32"
    assert np.array_equal(lm.dense(x, packed), lm.dense(x, kernel))


@needs_bf16
@pytest.mark.parametrize("name", lm.show_config()["targets_available"])
def test_a_target_chosen_later_does_not_change_it(name: str) -> None:
    x, kernel, _ = data((5, 30, 20))
    packed = lm.pack(kernel, "auto")
    assert packed.precision == "bf16"
    before = lm.dense(x, packed)
    lm.set_target(name)
    assert np.array_equal(lm.dense(x, packed), before)


def test_errors() -> None:
    x, kernel, bias = data((5, 30, 20))
    packed = lm.pack(kernel, "auto")
    with pytest.raises(ValueError, match=r"precision must be .* got 'fp8'"):
        lm.pack(kernel, "fp8")
    with pytest.raises(ValueError, match="kernel must have 2 dimensions"):
        lm.pack(bias, "auto")
    with pytest.raises(TypeError, match=r"kernel must be float32 .* got float64"):
        lm.pack(kernel.astype(float), "auto")
    with pytest.raises(TypeError, match="x must be float32 with a packed kernel"):
        lm.dense(x.astype(float), packed)
    with pytest.raises(TypeError, match="bias must be float32 with a packed kernel"):
        lm.dense(x, packed, bias.astype(float))
    with pytest.raises(ValueError, match=r"x must have shape \(5, 30\), .* \(5, 29\)"):
        lm.dense(x[:, 1:], packed)
    with pytest.raises(ValueError, match=r"bias must have shape \(20,\)"):
        lm.dense(x, packed, bias[1:])
    with pytest.raises(TypeError, match="out must have dtype float32"):
        lm.dense(x, packed, out=np.empty((5, 20)))
    with pytest.raises(ValueError, match="return_saved needs an array"):
        lm.dense(x, packed, return_saved=True)
    y = lm.dense(x, packed)
    with pytest.raises(TypeError, match="kernel must be an array: only"):
        lm.dense_backward(y, x, packed, y)
    with pytest.raises(TypeError, match="b must be an array: only"):
        lm.matmul(x, packed)
    with pytest.raises(TypeError, match="kernel must be an array: only"):
        lm.pack(packed, "auto")


def test_float16_becomes_float32() -> None:
    x, kernel, _ = data((5, 30, 20))
    half = x.astype(np.float16)
    packed = lm.pack(kernel, "float32")
    assert np.array_equal(lm.dense(half, packed), lm.dense(half, kernel))
