"""Dropout, its masks and its random bits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from conftest import TARGETS
from lamina import _core, reference

lm: Any = lamina  # wrong types are the point of some calls

DTYPES = [np.float32, np.float64]
SEEDS = [0, 7, 2**40 + 5, 2**64 - 1]


def unpack(bits: np.ndarray, size: int) -> np.ndarray:
    return np.unpackbits(bits, count=size, bitorder="little").astype(bool)


def test_known_answer_of_random123(target: str) -> None:
    # philox4x32 10: counter 0, key 0 (kat_vectors). The reference passes the others.
    words = _core.random_words(64, 0, 0).reshape(4, 16)[:, 0]
    assert [hex(word) for word in words.tolist()] == [
        "0x6627e8d5",
        "0xe169c58d",
        "0xbc57ac4c",
        "0x9b00dbd8",
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_words_are_the_references(seed: int, target: str) -> None:
    for stream in (0, 3, 2**33 + 1, 2**64 - 1):
        for size in (0, 1, 63, 64, 65, 1000):
            np.testing.assert_array_equal(
                _core.random_words(size, seed, stream),
                reference.random_words(size, seed, stream),
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.1, 0.5, 0.9, 1 - 1e-5, 1.0])
@pytest.mark.parametrize("mode", ["inverted", "classic", "alpha"])
def test_dropout_is_the_references(
    dtype: Any, rate: float, mode: Any, target: str
) -> None:
    rng = np.random.default_rng(0)
    for size in [*range(40), 127, 128, 129, 1009, 5000]:
        offset = size * 37
        x = rng.normal(size=size).astype(dtype)
        y = lm.dropout(x, rate, seed=99, offset=offset, mode=mode)
        want = reference.dropout(x, rate, 99, offset, 0, mode)
        # The scale is rounded to the dtype, then the product; alpha adds a shift of
        # less than 2 a.
        eps = np.finfo(dtype).eps
        a = (1 - rate + 3.1 * rate * (1 - rate) + 1e-9) ** -0.5
        atol = 4 * eps * 2 * a if mode == "alpha" else 0.0
        np.testing.assert_allclose(y, want, 2 * eps, atol)
        assert y.dtype == dtype


@pytest.mark.parametrize("offset", [0, 1, 127, 2**32 - 3, 2**57, 2**64 - 1])
def test_offsets_and_splits(offset: int, target: str) -> None:
    x = np.ones(300, np.float32)
    if offset + x.size <= 2**64:
        whole = lm.dropout(x, 0.4, seed=3, offset=offset)
        np.testing.assert_array_equal(
            whole, reference.dropout(x, 0.4, 3, offset).astype(np.float32)
        )
        for cut in (0, 1, 16, 100, 128, 299):
            parts = [
                lm.dropout(x[:cut], 0.4, seed=3, offset=offset),
                lm.dropout(x[cut:], 0.4, seed=3, offset=offset + cut),
            ]
            np.testing.assert_array_equal(np.concatenate(parts), whole)
    else:  # numbers go on from 0
        wrapped = lm.dropout(x, 0.4, seed=3, offset=offset)
        np.testing.assert_array_equal(
            wrapped[1:], lm.dropout(x[1:], 0.4, seed=3, offset=0)
        )


def test_same_bits_on_every_target_and_dtype() -> None:
    x = np.ones((41, 101))
    results = []
    for target in TARGETS:
        lm.set_target(target)
        for dtype in DTYPES:
            results.append(lm.dropout(x.astype(dtype), 0.3, seed=5) != 0)
        results.append(unpack(lm.dropout_mask(x.shape, 0.3, seed=5), x.size))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].ravel(), other.ravel())


def test_golden_mask() -> None:
    """philox-v1, frozen: these bits never change after a release."""
    bits = lm.dropout_mask(256, 0.5, seed=2014, offset=3)
    assert bits.tobytes().hex() == GOLDEN


GOLDEN = "bdc3ff17ff965b372190adc8bb3e985d508a7444261d179f4c5e335fc48c058f"


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**64 - 1))
@settings(max_examples=100, deadline=None)
def test_masks_are_nested_in_the_rate(a: float, b: float, seed: int) -> None:
    low, high = sorted((a, b))
    kept_low = unpack(lm.dropout_mask(500, low, seed=seed), 500)
    kept_high = unpack(lm.dropout_mask(500, high, seed=seed), 500)
    assert not (kept_high & ~kept_low).any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_share_and_expectation(rate: float) -> None:
    n = 1_000_000
    y = lm.dropout(np.ones(n), rate, seed=1)
    # Five standard deviations of a binomial share.
    assert abs((y == 0).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / n)
    threshold = round(rate * 65536)
    assert y.max() == 65536 / (65536 - threshold)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_by_seed_and_by_mask(dtype: Any, target: str) -> None:
    rng = np.random.default_rng(2)
    for size in [*range(40), 1009]:
        dy = rng.normal(size=size).astype(dtype)
        for mode in ("inverted", "classic", "alpha"):
            options: Any = {"seed": 8, "offset": 5}
            kept = lm.dropout_mask(size, 0.3, **options, packed=False)
            step = lm.dropout(dy + 1, 0.3, mode=mode, **options) - lm.dropout(
                dy, 0.3, mode=mode, **options
            )
            by_seed = lm.dropout_backward(dy, 0.3, mode=mode, **options)
            bits = lm.dropout_mask(size, 0.3, **options)
            assert bits.shape == ((size + 7) // 8,)
            by_mask = lm.dropout_backward(dy, 0.3, mask=bits, mode=mode)
            # The slope of a function that is linear where kept, constant elsewhere.
            np.testing.assert_allclose(by_seed, dy * step, 0, 64 * np.finfo(dtype).eps)
            assert ((by_seed != 0) == kept).all()
            np.testing.assert_array_equal(by_mask, by_seed)


def test_dropped_values_leave_nothing_behind(target: str) -> None:
    x = np.full(1000, np.inf, np.float32)
    x[::2] = np.nan
    y = lm.dropout(x, 0.5, seed=1)
    kept = unpack(lm.dropout_mask(1000, 0.5, seed=1), 1000)
    assert (y[~kept] == 0).all() and not np.isfinite(y[kept]).any()
    assert (lm.dropout(x, 1.0, seed=1) == 0).all()


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    n = 1_000_000
    x = np.random.default_rng(0).normal(size=n)
    for rate in (0.05, 0.5):
        y = lm.dropout(x, rate, seed=1, mode="alpha")
        # Five standard deviations of the mean; the fourth moment is below 10.
        assert abs(y.mean()) < 5 * n**-0.5
        assert abs(y.var() - 1) < 5 * 3 * n**-0.5
    np.testing.assert_array_equal(lm.dropout(x, 0.0, seed=1, mode="alpha"), x)
    assert (lm.dropout(x, 1.0, seed=1, mode="alpha") == 0).all()


def test_mask_as_bool_has_the_shape() -> None:
    kept = lm.dropout_mask((3, 5, 7), 0.4, seed=9, offset=2, packed=False)
    assert kept.dtype == np.bool_ and kept.shape == (3, 5, 7)
    y = lm.dropout(np.ones((3, 5, 7)), 0.4, seed=9, offset=2)
    np.testing.assert_array_equal(kept, y != 0)
    assert lm.dropout_mask(0, 0.4, seed=9, packed=False).shape == (0,)


def test_layouts_and_outputs() -> None:
    x = np.arange(1, 61, dtype=np.float32).reshape(6, 10)
    y = lm.dropout(x, 0.5, seed=4)
    for view in (np.asfortranarray(x), x[::-1].copy()[::-1], x.astype(">f4")):
        np.testing.assert_array_equal(lm.dropout(view, 0.5, seed=4), y)
    inside = x.copy()
    assert lm.dropout(inside, 0.5, seed=4, out=inside) is inside
    np.testing.assert_array_equal(inside, y)
    shifted = np.append(x.ravel(), np.float32(0))
    lm.dropout(shifted[:-1], 0.5, seed=4, out=shifted[1:])
    np.testing.assert_array_equal(shifted[1:], y.ravel())
    assert lm.dropout(np.float32(3), 0.0).shape == ()
    assert lm.dropout([1, 2, 3], 0.0).tolist() == [1, 2, 3]
    assert lm.dropout(x, 0.5).shape == x.shape  # a seed of its own
    assert not np.array_equal(lm.dropout(x, 0.5), lm.dropout(x, 0.5))


ONES = np.ones(10)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: lm.dropout(ONES, -0.1),
            ValueError,
            "rate must be .*, got -0.1",
        ),
        (lambda: lm.dropout(ONES, float("nan")), ValueError, "rate must be"),
        (lambda: lm.dropout(ONES, 0.5, seed=-1), ValueError, "seed must be"),
        (
            lambda: lm.dropout(ONES, 0.5, seed=2**64),
            ValueError,
            "seed must be",
        ),
        (
            lambda: lm.dropout(ONES, 0.5, offset=-1),
            ValueError,
            "offset must be",
        ),
        (
            lambda: lm.dropout(ONES, 0.5, mode="x"),
            ValueError,
            "mode must be",
        ),
        (lambda: lm.dropout(ONES * 1j, 0.5), TypeError, "x must hold real numbers"),
        (lambda: lm.dropout_backward(ONES, 0.5), ValueError, "seed must be the one"),
        (
            lambda: lm.dropout_backward(ONES, 0.5, mask=np.zeros(1, np.uint8)),
            ValueError,
            "mask must be the contiguous uint8 array of 2 bytes",
        ),
        (
            lambda: lm.dropout_backward(ONES, 0.5, seed=1, mask=np.zeros(2, np.uint8)),
            ValueError,
            "not both",
        ),
        (lambda: lm.dropout("x", 0.5), TypeError, "x must hold real numbers"),
        (lambda: lm.dropout(ONES, "a"), TypeError, "rate must be a number in"),
        (
            lambda: lm.dropout_mask(2**64 - 1, 0, seed=1),
            ValueError,
            "exceed the memory",
        ),
        (lambda: lm.dropout_mask((2.5, 2), 0.5, seed=1), TypeError, "an extent or a"),
        (
            lambda: lm.dropout_mask((0, 2**70), 0.5, seed=1, packed=False),
            ValueError,
            "shape must not exceed",
        ),
        (
            lambda: lm.dropout_mask(3, 0.5, seed=1, packed=1),
            TypeError,
            "packed must be",
        ),
        (
            lambda: lm.dropout_backward(ONES * 1j, 0.5, seed=1),
            TypeError,
            "dy must hold real numbers",
        ),
        (
            lambda: lm.dropout_mask((-1,), 0.5, seed=1),
            ValueError,
            "shape must be an extent",
        ),
    ],
)
def test_misuse(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_mask_of_any_integer_shape() -> None:
    for shape in (10, np.int64(10), (2, 5), [2, 5], np.array([5, 2])):
        assert lm.dropout_mask(shape, 0.5, seed=1).shape == (2,)
    assert lm.dropout_mask((), 0.5, seed=1).shape == (1,)


def test_result_may_share_memory_with_the_mask() -> None:
    dy = np.arange(1, 129, dtype=np.float32)
    bits = lm.dropout_mask(128, 0.5, seed=3)
    memory = np.zeros(512, np.uint8)
    memory[100:116] = bits
    out = memory.view(np.float32)
    lm.dropout_backward(dy, 0.5, mask=memory[100:116], out=out)
    np.testing.assert_array_equal(out, lm.dropout_backward(dy, 0.5, mask=bits))
