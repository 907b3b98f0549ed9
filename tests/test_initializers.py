"""Initial weights: their distribution, their bits, and the random draws below them."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import _core, initializers, reference

NAMES = ["he", "glorot", "lecun"]
SHAPE = (300, 200)
# One side of zero is off or nearly so: half of the variance is lost.
RELU_LIKE = {
    *("relu", "relu6", "leaky_relu", "elu", "celu", "softplus", "silu", "gelu"),
    *("gelu_tanh", "quick_gelu", "mish", "hard_swish", "squareplus"),
}
OTHERS = {
    *("identity", "sigmoid", "log_sigmoid", "tanh", "softsign", "hard_sigmoid"),
    *("hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink", "smooth_clip"),
    *("softmax", "log_softmax"),
}
VARIANCE = {"he": 2 / 300, "glorot": 2 / 500, "lecun": 1 / 300}


def test_normal_quantile_against_the_standard_library(target: str) -> None:
    # Both ends of what 32 bits give, the borders of the two branches, and between.
    ends = [2.0**-33, 1e-9, 1e-4, 0.0749, 0.075, 0.0751, 0.3, 0.4999999, 0.5]
    p = np.array([*ends, *(1 - e for e in ends), *np.linspace(1e-6, 1 - 1e-6, 10_001)])
    expected = [NormalDist().inv_cdf(value) for value in p]
    # The same formula with the C library's logarithm in place of ours.
    np.testing.assert_allclose(
        _core.normal_quantile(p), expected, rtol=1e-14, atol=1e-16
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated"])
def test_moments(name: str, distribution: str) -> None:
    kind = "uniform" if distribution == "uniform" else "normal"
    initializer: Any = getattr(initializers, f"{name}_{kind}")
    if distribution == "truncated":
        initializer = initializer.using(truncated=True)
    w = initializer(SHAPE, "float64", seed=3).ravel()
    std = math.sqrt(VARIANCE[name])
    n = w.size
    # Five standard errors of the mean, of the variance (kurtosis at most 3) and of the
    # lag-one correlation.
    assert abs(w.mean()) < 5 * std / math.sqrt(n)
    assert abs(w.var() / std**2 - 1) < 5 * math.sqrt(2 / n)
    assert abs(np.corrcoef(w[:-1], w[1:])[0, 1]) < 5 / math.sqrt(n)
    limit = {
        "uniform": math.sqrt(3) * std,
        "truncated": 2 * std / 0.87962566103423978,
        "normal": math.inf,
    }[distribution]
    assert np.abs(w).max() <= limit * (1 + 1e-12)
    if distribution == "normal":  # P(|w| > 2 std) = 4.55 %, and no gap in the tail
        share = np.mean(np.abs(w) > 2 * std)
        assert abs(share - 0.0455) < 5 * math.sqrt(0.0455 / n)
        assert np.abs(w).max() > 3.9 * std
    else:
        assert np.abs(w).max() > 0.999 * limit


def test_draws_follow_the_oracle_word_by_word() -> None:
    words = reference.random_words(6 * 5, 11, 22).astype(np.float64)
    quantiles = [
        NormalDist(0, math.sqrt(2 / 6)).inv_cdf((w + 0.5) / 2**32) for w in words
    ]
    drawn = initializers.he_normal((6, 5), "float64", seed=11, stream=22)
    np.testing.assert_allclose(drawn.ravel(), quantiles, rtol=1e-13)
    limit = math.sqrt(6 / 11)
    drawn = initializers.glorot_uniform((6, 5), "float64", seed=11, stream=22)
    expected = ((words + 0.5) / 2**31 - 1) * limit
    np.testing.assert_allclose(drawn.ravel(), expected, rtol=1e-13, atol=1e-15)


GOLDEN = [
    "-0x1.05f49f2b37755p-2",
    "0x1.ea308c1cfbec6p+0",
    "-0x1.085a49a173389p+1",
    "0x1.983a7f071f8cdp-1",
    "0x1.82ad1b6fa7491p+0",
    "-0x1.ff5554d847f80p-4",
]


def test_golden_bits(target: str) -> None:
    # Bits of a released version, the same on every machine: never to change.
    drawn = initializers.he_normal((2, 3), "float64", seed=0)
    assert [value.hex() for value in drawn.ravel().tolist()] == GOLDEN


@pytest.mark.parametrize("truncated", [False, True])
def test_every_target_draws_the_same(truncated: bool) -> None:
    """SSE2 too, which has no fused multiply-add: nothing here may use one."""
    draw = initializers.he_normal.using(truncated=truncated)
    drawn = []
    for name in _core.targets(available_only=True):
        lm.set_target(name)
        drawn.append(draw((300, 301), "float64", seed=0))
    for each in drawn[1:]:
        np.testing.assert_array_equal(each, drawn[0])


def test_float32_is_float64_rounded() -> None:
    wide = initializers.lecun_normal((50, 40), "float64", seed=1)
    narrow = initializers.lecun_normal((50, 40), "float32", seed=1)
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))


def test_large_draws_are_the_small_ones_continued() -> None:
    # Draws are made block by block; a border must not show.
    long = initializers.he_normal((1, 40_000), "float64", seed=5)
    short = initializers.he_normal((1, 20_001), "float64", seed=5)
    np.testing.assert_array_equal(long[:, :20_001], short)
    assert long.all()


def test_seed_and_stream_matter() -> None:
    draws = [
        initializers.he_uniform((4, 4), seed=seed, stream=stream)
        for seed, stream in [(1, 0), (2, 0), (1, 1), (2**64 - 1, 2**64 - 1)]
    ]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert not np.any(one == other)


def test_streams_are_distinct() -> None:
    numbers = {
        initializers.stream(purpose, layer, step)
        for purpose in range(5)
        for layer in (0, 1, 65535)
        for step in (0, 1, 2**32 - 1)
    }
    assert len(numbers) == 5 * 3 * 3
    assert initializers.stream(2, 3, 5) == 5 << 32 | 2 << 16 | 3
    assert max(numbers) < 2**64


def test_permutation() -> None:
    order = initializers.permutation(1000, 7, 9)
    assert sorted(order.tolist()) == list(range(1000))
    words = reference.random_words(2000, 7, 9).astype(object)
    keys = words[:1000] * 2**32 + words[1000:]
    assert order.tolist() == sorted(range(1000), key=lambda i: keys[i])
    assert not np.array_equal(order, initializers.permutation(1000, 7, 10))


def test_permutation_uses_both_halves_of_its_keys() -> None:
    n = 300_000  # ten pairs share their upper 32 bits
    high, low = _core.random_words(2 * n, 1, 2).reshape(2, n)
    assert len(np.unique(high)) < n
    order = initializers.permutation(n, 1, 2)
    np.testing.assert_array_equal(order, np.lexsort((low, high)))


def test_zeros_and_bias_shape() -> None:
    np.testing.assert_array_equal(initializers.zeros((3, 2)), np.zeros((3, 2)))
    assert initializers.he_normal((7,), seed=0).shape == (7,)
    assert initializers.he_normal((0, 7), seed=0).shape == (0, 7)


def test_kernel_and_bias_are_independent() -> None:
    layer = lm.Dense(4, kernel_initializer="he_normal", bias_initializer="he_normal")
    layer.build(1, seed=0)
    kernel, bias = layer.parameters["kernel"][0], layer.parameters["bias"]
    # The same bits would differ by the root of the fan alone.
    assert not np.isclose(kernel, 2 * bias).any()


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        *((name, "he_normal") for name in sorted(RELU_LIKE)),
        ("selu", "lecun_normal"),
        *((name, "glorot_uniform") for name in sorted(OTHERS)),
        (None, "glorot_uniform"),
    ],
)
def test_auto(activation: str | None, expected: str) -> None:
    chosen = lm.Dense(3, activation).kernel_initializer
    assert chosen == initializers.get(expected)


def test_auto_knows_every_activation() -> None:
    assert RELU_LIKE | OTHERS | {"selu"} == set(_core.__all__)


def test_normal_and_uniform_have_their_own_scale() -> None:
    for std in (0.05, 1.0, 3.0):
        for given in (initializers.normal, initializers.truncated_normal):
            w = given.using(std=std)(SHAPE, "float64", seed=8)
            n = w.size
            # Five standard errors, as above.
            assert abs(w.mean()) < 5 * std / math.sqrt(n)
            assert abs(w.var() / std**2 - 1) < 5 * math.sqrt(2 / n)
        assert np.abs(w).max() <= 2 * std / 0.87962566103423978
        w = initializers.uniform.using(limit=std)(SHAPE, "float64", seed=8)
        assert abs(w.mean()) < 5 * std / math.sqrt(3 * n)
        assert 0.999 * std < np.abs(w).max() <= std
    words = reference.random_words(6, 11, 22)
    quantiles = [NormalDist(0, 2).inv_cdf((w + 0.5) / 2**32) for w in words.tolist()]
    drawn = initializers.normal.using(std=2)((6,), "float64", seed=11, stream=22)
    np.testing.assert_allclose(drawn, quantiles, rtol=1e-13)
    layer = lm.Dense(400, kernel_initializer=initializers.normal.using(std=1.0))
    layer.build(100, seed=0)
    kernel = layer.parameters["kernel"]
    assert abs(kernel.var() - 1) < 5 * math.sqrt(2 / kernel.size)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1), (0, 3)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    w = initializers.orthogonal(shape, "float64", seed=3)
    small = w.T @ w if shape[0] >= shape[1] else w @ w.T
    # A product of few numbers below 1, of vectors that are as near as they round.
    np.testing.assert_allclose(small, np.eye(min(shape)), 0, 1e-14)
    twice = initializers.orthogonal.using(gain=2.0)(shape, "float64", seed=3)
    np.testing.assert_array_equal(twice, 2 * w)
    other = initializers.orthogonal(shape, "float64", seed=4)
    assert not w.size or np.any(other != w) or shape == (1, 1)


def test_orthogonal_is_that_of_a_normal_matrix() -> None:
    # By Gram and Schmidt, whose R has a positive diagonal.
    normal = initializers.normal.using(std=1.0)((6, 4), "float64", seed=5, stream=6)
    columns: list[Any] = []
    for column in normal.T:
        for earlier in columns:
            column = column - earlier * (earlier @ column)
        columns.append(column / math.sqrt(column @ column))
    drawn = initializers.orthogonal((6, 4), "float64", seed=5, stream=6)
    np.testing.assert_allclose(drawn, np.transpose(columns), 0, 1e-13)
    drawn = initializers.orthogonal((4, 6), "float64", seed=5, stream=6)
    np.testing.assert_allclose(drawn, columns, 0, 1e-13)


def test_orthogonal_has_no_preferred_sign() -> None:
    # Without the sign of R, LAPACK's Q has a first element that is never positive.
    first = [initializers.orthogonal((3, 3), seed=seed)[0, 0] for seed in range(64)]
    assert 12 < sum(value > 0 for value in first) < 52  # five standard deviations


def test_constants() -> None:
    for name, value in (("zeros", 0), ("ones", 1), ("constant", 0)):
        for dtype in ("float32", "float64"):
            made: Any = initializers.get(name)
            weights = made((2, 3), dtype)
            assert weights.dtype == dtype
            np.testing.assert_array_equal(weights, np.full((2, 3), value))
    layer = lm.Dense(3, bias_initializer=initializers.constant.using(value=-0.5))
    layer.build(2)
    np.testing.assert_array_equal(layer.parameters["bias"], [-0.5] * 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: initializers.normal.using(std=-1),
            ValueError,
            "std must be .* got -1",
        ),
        (lambda: initializers.normal.using(std="1"), TypeError, "std must be"),
        (lambda: initializers.uniform.using(limit=np.inf), ValueError, "limit must be"),
        (
            lambda: initializers.constant.using(value=np.nan),
            ValueError,
            "value must be",
        ),
        (lambda: initializers.orthogonal.using(gain=-1), ValueError, "gain must be"),
        (
            lambda: initializers.he_normal.using(std=1),
            TypeError,
            r"he_normal has the settings \['gain', .*'truncated'\], got 'std'",
        ),
        (lambda: initializers.normal.using(name="x"), TypeError, "got 'name'"),
        (
            lambda: initializers.he_normal.using(fan="out"),
            ValueError,
            "fan must be one",
        ),
        (
            lambda: initializers.he_normal.using(truncated=1),
            TypeError,
            "truncated must be True or False",
        ),
        (
            lambda: lm.Dense(3, bias_initializer="orthogonal").build(2),
            ValueError,
            r"orthogonal must make a matrix \(inputs, outputs\), got shape \(3,\)",
        ),
    ],
)
def test_wrong_settings(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_own_function() -> None:
    def ones(shape: tuple[int, ...], dtype: Any) -> Any:
        return np.ones(shape, dtype)

    layer = lm.Dense(3, kernel_initializer=ones, bias_initializer=ones)
    np.testing.assert_array_equal(layer.forward([[1.0, 2.0]]), [[4.0, 4.0, 4.0]])
    wrong = lm.Dense(3, kernel_initializer=lambda shape, dtype: np.ones(shape[::-1]))
    with pytest.raises(ValueError, match=r"return shape \(2, 3\), got \(3, 2\)"):
        wrong.build(2)


def test_unknown() -> None:
    with pytest.raises(
        ValueError, match="unknown initializer 'xavier'; known are const"
    ):
        lm.Dense(3, kernel_initializer="xavier")
    with pytest.raises(TypeError, match="unknown initializer 3"):
        lm.Dense(3, kernel_initializer=3)  # type: ignore[arg-type]


def test_names_of_other_libraries() -> None:
    for name, known in (
        ("GlorotUniform", "glorot_uniform"),
        ("xavier_uniform_", "glorot_uniform"),
        ("kaiming_normal", "he_normal"),
        ("HeNormal", "he_normal"),
        ("RandomNormal", "normal"),
        ("Zeros", "zeros"),
    ):
        assert initializers.get(name) is initializers.get(known)
    with pytest.raises(ValueError, match=r"'xavier'; .*nearest is 'glorot_uniform'"):
        initializers.get("xavier")
