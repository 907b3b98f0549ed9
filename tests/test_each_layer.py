"""Layers with numbers of their own for each feature, alone and in nets: what they
compute, that they learn, are saved, and go on."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from conftest import TARGETS
from lamina import reference
from test_layers import assert_slopes, slope

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 5))
Oracle = Callable[[np.ndarray, dict[str, np.ndarray], bool], np.ndarray]

# What makes each layer, and its outputs from inputs, parameters and whether it trains.
LAYERS: dict[str, tuple[Callable[[], lm.Layer], Oracle]] = {
    "Scale": (lm.Scale, lambda x, p, training: reference.scale(x, p["factor"])),
}


def built(name: str, features: int = 5, dtype: Any = "float64") -> lm.Layer:
    """With parameters that are not those at first."""
    layer = LAYERS[name][0]()
    layer.build(features, dtype, seed=1)
    for array in layer.parameters.values():
        array += RNG.normal(size=array.shape, scale=0.5)
    return layer


def net_with(*names: str, last: str | None = None, **options: Any) -> lm.Sequential:
    layers = [each for name in names for each in (lm.Dense(9), LAYERS[name][0]())]
    return lm.Sequential(
        [*layers, lm.Dense(8, "tanh"), lm.Dense(1, last)], seed=3, **options
    )


ROWS = RNG.normal(size=(60, 6))
WANTED = np.sin(ROWS[:, 0]) + ROWS[:, 1] * ROWS[:, 2] / 2


def fit(net: lm.Sequential, epochs: int, **options: Any) -> lm.History:
    settings: Any = {"optimizer": lm.Adam(0.01), "batch_size": 16, "verbose": 0}
    return net.fit(ROWS, WANTED, epochs=epochs, **settings | options)


def state(net: lm.Sequential) -> list[np.ndarray]:
    """All that training changes."""
    kept = [getattr(layer, name) for layer in net.layers for name in layer.kept]
    return [net.parameters, net._state, *map(np.asarray, kept)]


def assert_same(net: lm.Sequential, other: lm.Sequential) -> None:
    for one, two in zip(state(net), state(other), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(net.predict(ROWS), other.predict(ROWS))


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients(name: str) -> None:
    layer, oracle = built(name), LAYERS[name][1]
    x, weights, p = X.copy(), RNG.normal(size=X.shape), dict(layer.parameters)
    for training in (False, True):  # sums of a few numbers of size 1
        expected = oracle(x, p, training)
        np.testing.assert_allclose(layer.forward(x, training), expected, 1e-13, 1e-14)
    dx = layer.backward(weights)

    def loss() -> float:
        return float((weights * oracle(x, p, True)).sum())

    assert_slopes(dx, slope(loss, x))
    for key, array in p.items():
        assert_slopes(layer.gradients[key], slope(loss, array))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (9, 10), (40, 33), (1500, 70)])
def test_float32_is_float64_rounded(name: str, shape: tuple[int, int]) -> None:
    rows, features = shape
    layer = built(name, features, "float32")
    x, dy = (RNG.normal(size=shape).astype(np.float32) for _ in range(2))
    double = LAYERS[name][0]()
    double.build(features, "float64")
    for key, array in double.parameters.items():
        array[...] = layer.parameters[key]
    for training in (False, True):
        y, wide = (each.forward(x, training) for each in (layer, double))
        # Some roundings of numbers of size 1 to 10, after sums of that many.
        np.testing.assert_allclose(y, wide, 2e-5, 2e-5)
    dx, wide_dx = (np.asarray(each.backward(dy)) for each in (layer, double))
    np.testing.assert_allclose(dx, wide_dx, 2e-4, 2e-4 if rows > 2 else 2e-2)
    for key, array in double.gradients.items():
        np.testing.assert_allclose(layer.gradients[key], array, 1e-4, 1e-4 * rows**0.5)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
def test_threads_change_no_bit(name: str, target: str) -> None:
    lm.set_target(target)
    x, dy = (RNG.normal(size=(1500, 300)).astype(np.float32) for _ in range(2))

    def passes(layer: lm.Layer) -> list[Any]:
        results = [layer.forward(x, True), layer.backward(dy), layer.forward(x)]
        return [*results, *layer.gradients.values()]

    layer = built(name, 300, "float32")
    with lm.threads(1):
        alone = passes(copy.deepcopy(layer))
    for count in (2, 3, 8):
        with lm.threads(count):
            for one, two in zip(passes(copy.deepcopy(layer)), alone, strict=True):
                np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(name: str, rows: int) -> None:
    layer = built(name, 4)
    y = layer.forward(np.ones((rows, 4)), training=True)
    dx = layer.backward(np.ones_like(y))
    assert dx is not None
    assert y.shape == dx.shape == (rows, 4)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    if rows == 0:
        assert not any(array.any() for array in layer.gradients.values())


@pytest.mark.parametrize("name", LAYERS)
def test_a_net_with_it_learns(name: str) -> None:
    net = net_with(name)
    history = fit(net, 60)
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    first = LAYERS[name][0]()
    first.build(9)
    for key, array in net.layers[1].parameters.items():
        assert (array != first.parameters[key]).all()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_bit_for_bit(name: str, dtype: str, tmp_path: Path) -> None:
    whole, first = (net_with(name, name, dtype=dtype) for _ in range(2))
    fit(whole, 6)
    fit(first, 3)
    first.save(tmp_path / "net.safetensors")
    snapshot = first._snapshot()
    others = [
        lm.load(tmp_path / "net.safetensors"),
        pickle.loads(pickle.dumps(first)),
        copy.deepcopy(first),
    ]
    fit(first, 2, shuffle=False)  # elsewhere, and back
    first._restore(snapshot)
    first.epoch, first.steps = others[0].epoch, others[0].steps
    for net in (*others, first):
        fit(net, 3)
        assert_same(net, whole)


@pytest.mark.parametrize("name", LAYERS)
def test_the_best_weights_come_with_all_that_was_learnt(name: str) -> None:
    net, stop = (
        net_with(name),
        lm.callbacks.EarlyStopping("loss", patience=1, restore_best=True),
    )
    fit(net, 50, optimizer=lm.SGD(0.3), callbacks=[stop])
    assert net.history is not None
    best = 1 + int(np.argmin(net.history["loss"]))
    assert best < len(net.history["loss"]), "the rate must be one that fails soon"
    again = net_with(name)
    fit(again, best, optimizer=lm.SGD(0.3))
    assert_same(net, again)


@pytest.mark.parametrize("name", LAYERS)
def test_a_frozen_one_stays(name: str) -> None:
    net = net_with(name)
    fit(net, 1)
    layer: Any = net.layers[1]
    layer.trainable = False
    before = copy.deepcopy(layer)
    fit(net, 2, optimizer=lm.AdamW(0.01, weight_decay=0.1))
    for key, array in layer.parameters.items():
        np.testing.assert_array_equal(array, before.parameters[key])
        assert not layer.gradients[key].any()
    for key in layer.kept:
        np.testing.assert_array_equal(getattr(layer, key), getattr(before, key))
    assert type(layer)(trainable=False).trainable is False


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_by_the_inputs(name: str) -> None:
    net = net_with(name, dtype="float64")
    fit(net, 2)
    x = ROWS[:5].copy()
    before = copy.deepcopy(net)
    dx = net.input_gradient(x, WANTED[:5])
    assert_slopes(dx, slope(lambda: net.evaluate(x, WANTED[:5])["loss"], x))
    net.input_gradient(x, WANTED[:5], training=True)
    assert_same(net, before)


@pytest.mark.parametrize("name", LAYERS)
def test_samples_without_noise_are_predictions(name: str) -> None:
    net = net_with(name)
    fit(net, 2)
    before = copy.deepcopy(net)
    mean, deviation = net.predict(ROWS, samples=3)
    np.testing.assert_array_equal(mean, net.predict(ROWS))
    assert not deviation.any()
    assert_same(net, before)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_finite_stays_where_it_is(name: str) -> None:
    layer = built(name, 70)
    x = RNG.normal(size=(30, 70))
    clean = layer.forward(x)
    x[3, 5], x[4, 6] = np.nan, np.inf
    y = layer.forward(x)
    assert np.isnan(y[3, 5])
    assert not np.isfinite(y[4, 6])
    others = np.delete(np.arange(30), [3, 4])
    np.testing.assert_array_equal(y[others], clean[others])


@pytest.mark.parametrize("name", LAYERS)
def test_a_healthy_net_with_it_is_called_healthy(name: str) -> None:
    net = net_with(name)
    x = np.random.default_rng(1).normal(size=(400, 6))
    y = np.sin(x[:, 0]) + x[:, 1] / 2
    told: Any = {"optimizer": lm.Adam(0.01), "epochs": 20}
    assert net.diagnose(x, y, **told).verdicts == ()
    net.fit(x, y, verbose=0, **told)
    report = net.diagnose(x, y)
    assert report.verdicts == (), str(report)
    assert repr(net.layers[1]) in str(report)


def test_a_summary_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    net = net_with(*LAYERS)
    net.build(6)
    net.summary()
    lines = capsys.readouterr().out.splitlines()[1:-1]
    for layer, line in zip(net.layers, lines, strict=True):
        held = sum(array.size for array in layer.parameters.values())
        assert line.split()[-1] == str(held)
        assert line.startswith(repr(layer))


@pytest.mark.parametrize("name", LAYERS)
def test_after_standardized_inputs(name: str) -> None:
    x = 1e6 + ROWS
    nets = [
        lm.Sequential(
            [lm.Standardize(), *first, LAYERS[name][0](), lm.Dense(1)], seed=3
        )
        for first in ([], [lm.Dense(4)])
    ]
    for net in nets:
        history = net.fit(x, WANTED, epochs=5, optimizer=lm.Adam(0.05), verbose=0)
        assert history["loss"][-1] < history["loss"][0]
