"""Gaussian noise: the kernel against the normal quantile, and the layer."""

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import lamina as lm
from conftest import TARGETS
from lamina import _core, initializers, reference

DTYPES: list[Any] = [np.float32, np.float64]
LARGEST = 6.2305  # of the normal numbers: the quantile of 1 - 2^-33
# Of a normal number, PPND7 in float32: the largest over all 2^32 words is 2^-21.2.
ERROR = 2.0**-21


def noise(size: int, dtype: Any, **options: Any) -> np.ndarray:
    return _core.gaussian_noise(np.zeros(size, dtype), 1.0, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_is_the_references(dtype: Any, target: str) -> None:
    for size, seed, stream, offset in [
        *((size, 3, 1, 37 * size) for size in range(40)),
        (63, 2**64 - 1, 2**64 - 1, 0),
        (64, 0, 0, 2**32 * 64 - 7),
        (65, 7, 2**33 + 1, 1),
        (5000, 2**40 + 5, 3, 129),
    ]:
        got = noise(size, dtype, seed=seed, stream=stream, offset=offset)
        want = reference.gaussian_noise(np.zeros(size), 1.0, seed, offset, stream)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, ERROR)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_and_sum(dtype: Any, target: str) -> None:
    x = np.random.default_rng(0).normal(size=(30, 41)).astype(dtype)
    y = _core.gaussian_noise(x, 0.3, 5, 6)
    want = x + 0.3 * noise(x.size, np.float64, seed=5, stream=6).reshape(x.shape)
    # stddev, product and sum are rounded, of numbers below 5.
    np.testing.assert_allclose(y, want, 0, 5 * np.finfo(dtype).eps)
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(_core.gaussian_noise(same, 0.3, 5, 6), y)


def test_without_deviation_nothing_changes() -> None:
    x = np.array([0.0, -0.0, np.nan, np.inf, 1e-45], np.float32)
    y = _core.gaussian_noise(x, 0.0, 1, 2)
    assert y.tobytes() == x.tobytes()
    assert y is not x


def test_same_bits_on_every_target_and_any_number_of_threads() -> None:
    results = []
    for name in TARGETS:
        lm.set_target(name)
        for count in (1, 2, 3):
            with lm.threads(count):
                wide = noise(100_003, np.float64, seed=1, stream=2)
                narrow = noise(100_003, np.float32, seed=1, stream=2)
                # The same numbers for both types.
                np.testing.assert_array_equal(wide, narrow)
                if name != "sse2":  # without fused multiply-add
                    results.append(narrow)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_splits() -> None:
    whole = noise(300, np.float32, seed=3, stream=0, offset=5)
    for cut in (0, 1, 16, 59, 60, 64, 299):
        first = noise(cut, np.float32, seed=3, stream=0, offset=5)
        rest = noise(300 - cut, np.float32, seed=3, stream=0, offset=5 + cut)
        np.testing.assert_array_equal(np.concatenate([first, rest]), whole)


def test_distribution() -> None:
    n = 1_000_000
    z = np.sort(noise(n, np.float64, seed=11, stream=4))
    # Five standard errors: of the mean, the variance and the fourth moment.
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert np.abs(z).max() < LARGEST
    # Kolmogorov and Smirnov's distance, which exceeds 2.5 / sqrt(n) in one of 130 000.
    below = np.array([NormalDist().cdf(value) for value in z[::100].tolist()])
    assert np.abs(below - np.arange(0, n, 100) / n).max() < 2.5 / np.sqrt(n)
    draws = noise(n, np.float64, seed=11, stream=4)
    assert abs(np.mean(draws[1:] * draws[:-1])) < 5 / np.sqrt(n)


def test_arguments_of_the_layer() -> None:
    for stddev in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="stddev must be a finite number >= 0"):
            lm.GaussianNoise(stddev)
    with pytest.raises(TypeError, match=r"stddev must be .* got 'a'"):
        lm.GaussianNoise("a")  # type: ignore[arg-type]
    assert repr(lm.GaussianNoise(0.25)) == "GaussianNoise(0.25)"


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer(dtype: Any) -> None:
    x = np.random.default_rng(1).normal(size=(40, 30)).astype(dtype)
    layer = lm.GaussianNoise(0.5)
    layer.build(30, dtype, seed=9, index=3)
    with pytest.raises(RuntimeError, match="must come after forward"):
        layer.backward(x)
    for step in range(2):
        y = layer.forward(x, training=True)
        bits = initializers.stream(initializers.NOISE, 3, step)
        want = reference.gaussian_noise(x, 0.5, 9, 0, bits)
        # Numbers below 8; the noise is of float32 in either type.
        np.testing.assert_allclose(y, want, 0, 4 * ERROR)
        assert y.dtype == dtype
        dx: Any = layer.backward(2 * x)
        np.testing.assert_array_equal(dx, 2 * x)
    assert layer.forward(x) is x


def test_a_net_with_noisy_inputs_learns() -> None:
    x = np.random.default_rng(2).normal(size=(200, 3))
    y = (x[:, 0] > x[:, 1]).astype(int)
    nets = []
    for _ in range(2):
        layers = [lm.GaussianNoise(0.1), lm.Dense(8, "tanh"), lm.Dense(2, "softmax")]
        net = lm.Sequential(layers, seed=4)
        history = net.fit(x, y, epochs=30, optimizer=lm.Adam(0.02), verbose=0)
        nets.append(net)
        assert history["accuracy"][-1] > 0.9
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    np.testing.assert_array_equal(nets[0].predict(x), nets[0].predict(x))
