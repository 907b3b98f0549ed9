"""Layers with numbers of their own for each feature, alone and in nets: what they
compute, that they learn, are saved, and go on."""

import copy
import json
import math
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
from test_network import by_layer

RNG = np.random.default_rng(0)
Scale: Any = lm.Scale  # for the wrong types
PReLU: Any = lm.PReLU
X = RNG.normal(size=(7, 5))
Oracle = Callable[[np.ndarray, dict[str, np.ndarray], bool], np.ndarray]

# What makes each layer, and its outputs from inputs, parameters and whether it trains.
LAYERS: dict[str, tuple[Callable[[], lm.Layer], Oracle]] = {
    "Scale": (lm.Scale, lambda x, p, training: reference.scale(x, p["factor"])),
    "PReLU": (lm.PReLU, lambda x, p, training: reference.prelu(x, p["slope"])),
    "Mixed": (
        lambda: lm.Mixed("gelu"),
        lambda x, p, training: reference.mixed(x, p["share"], "gelu"),
    ),
    "LayerNorm": (
        lm.LayerNorm,
        lambda x, p, training: reference.layer_norm(x, p["gamma"], p["beta"], 1e-5),
    ),
    "BatchNorm": (
        lambda: lm.BatchNorm(0.9),
        lambda x, p, training: reference.batch_norm(
            x,
            p["gamma"],
            p["beta"],
            1e-3,
            *(() if training else (p["mean"], p["variance"])),
        ),
    ),
}


def built(name: str, features: int = 5, dtype: Any = "float64") -> lm.Layer:
    """With parameters that are not those at first."""
    layer = LAYERS[name][0]()
    layer.build(features, dtype, seed=1)
    for array in layer.parameters.values():
        array += RNG.normal(size=array.shape, scale=0.5)
    for key in layer.kept:
        getattr(layer, key)[...] = RNG.uniform(0.5, 2, features)
    return layer


def arrays(layer: lm.Layer) -> dict[str, np.ndarray]:
    kept = {name: getattr(layer, name) for name in layer.kept}
    return dict(layer.parameters) | kept


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


def assert_same(net: lm.Sequential, other: lm.Sequential, rows: Any = ROWS) -> None:
    for one, two in zip(state(net), state(other), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(net.predict(rows), other.predict(rows))


def assert_goes_on(
    make: Callable[[], lm.Sequential], fit: Callable[..., Any], rows: Any, path: Path
) -> None:
    """Training, from all that holds a net, as if it had not been left."""
    whole, first = make(), make()
    fit(whole, 6)
    fit(first, 3)
    first.save(path / "net.safetensors")
    snapshot = first._snapshot()
    others = [
        lm.load(path / "net.safetensors"),
        pickle.loads(pickle.dumps(first)),
        copy.deepcopy(first),
    ]
    fit(first, 2, shuffle=False)  # elsewhere, and back
    first._restore(snapshot)
    first.epoch, first.steps = others[0].epoch, others[0].steps
    for net in (*others, first):
        fit(net, 3)
        assert_same(net, whole, rows)


def assert_frozen_stays(net: lm.Sequential, i: int, fit: Callable[..., Any]) -> None:
    fit(net, 1)
    layer: Any = net.layers[i]
    layer.trainable = False
    before = copy.deepcopy(layer)
    fit(net, 2, optimizer=lm.AdamW(0.01, weight_decay=0.1))
    for key, array in layer.parameters.items():
        np.testing.assert_array_equal(array, before.parameters[key])
        assert not layer.gradients[key].any()
    for key in layer.kept:
        np.testing.assert_array_equal(getattr(layer, key), getattr(before, key))
    assert type(layer)(**layer.config()).trainable is False


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients(name: str) -> None:
    layer, oracle = built(name), LAYERS[name][1]
    x, weights, p = X.copy(), RNG.normal(size=X.shape), arrays(layer)
    for training in (False, True):  # sums of a few numbers of size 1
        expected = oracle(x, p, training)
        np.testing.assert_allclose(layer.forward(x, training), expected, 1e-13, 1e-14)
    dx = layer.backward(weights)

    def loss() -> float:
        return float((weights * oracle(x, p, True)).sum())

    assert_slopes(dx, slope(loss, x))
    for key, array in layer.parameters.items():
        assert_slopes(layer.gradients[key], slope(loss, array))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (9, 10), (40, 33), (1500, 70)])
def test_float32_is_float64_rounded(name: str, shape: tuple[int, int]) -> None:
    rows, features = shape
    layer = built(name, features, "float32")
    x, dy = (RNG.normal(size=shape).astype(np.float32) for _ in range(2))
    double = LAYERS[name][0]()
    double.build(features, "float64")
    for key, array in arrays(double).items():
        array[...] = arrays(layer)[key]
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
    assert_goes_on(lambda: net_with(name, name, dtype=dtype), fit, ROWS, tmp_path)


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
    assert_frozen_stays(net_with(name), 1, fit)


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


@pytest.mark.parametrize("name", LAYERS)
def test_a_net_in_python_does_the_same(name: str) -> None:
    net = net_with(name)
    net.build(6)
    net.optimizer, net.loss = lm.Adam(0.01), lm.losses.mean_squared_error
    other = by_layer(net)
    x, y, slopes = ROWS[:9], WANTED[:9], np.ones((9, 1))
    for each in (net, other):
        each.train_on_batch(x, y)
        each.gradients(ROWS[9:], WANTED[9:])
        each.backward(x, slopes, accumulate=True)
    assert_same(net, other)
    np.testing.assert_array_equal(net.gradient, other.gradient)
    before = state(copy.deepcopy(net))
    for call in (
        lambda n: n.predict(ROWS, samples=2, seed=1)[0],
        lambda n: n.input_gradient(x, y, training=True),
        lambda n: n.input_gradient(x, output_gradient=slopes, training=True),
        lambda n: n.input_gradient(x, output_gradient=slopes),
        lambda n: np.array(list(n.evaluate(ROWS, WANTED).values())),
    ):
        np.testing.assert_array_equal(call(net), call(other))
        for one, two, old in zip(state(net), state(other), before, strict=True):
            np.testing.assert_array_equal(one, old)
            np.testing.assert_array_equal(two, old)


# As PyTorch has them ------------------------------------------------------------------

# What torch 2.13.0 gives in float64 for parameters that are its own at first plus an
# eighth of numbers(4, start=100) and (4, start=110), for x = numbers(6, 4), for dy =
# numbers(6, 4, start=50), with the epsilon below and, of BatchNorm1d, momentum=0.1.
TORCH = json.loads((Path(__file__).parent / "data" / "torch_layers.json").read_text())
OF_TORCH: dict[str, Callable[[], lm.Layer]] = {
    "PReLU": lm.PReLU,
    "LayerNorm": lm.LayerNorm,
    "BatchNorm": lambda: lm.BatchNorm(0.9, 1e-3),
}


def hashed(*shape: int, start: int = 1) -> np.ndarray:
    words = np.arange(start, start + math.prod(shape), dtype=np.uint32) * 0x9E3779B1
    return (words.view(np.int32) / 2.0**29).reshape(shape)


@pytest.mark.parametrize("name", OF_TORCH)
def test_numbers_are_those_of_torch(name: str) -> None:
    layer, theirs = OF_TORCH[name](), TORCH["layers"][name]
    layer.build(4, "float64")
    for k, array in enumerate(layer.parameters.values()):
        array += hashed(4, start=100 + 10 * k) / 8
    near: Any = {"rtol": 1e-12, "atol": 1e-13}  # other orders of sums of six numbers
    y = layer.forward(hashed(6, 4), training=True)
    np.testing.assert_allclose(y, theirs["y"], **near)
    dx: Any = layer.backward(hashed(6, 4, start=50))
    np.testing.assert_allclose(dx, theirs["dx"], **near)
    for gradient, key in zip(
        layer.gradients.values(), ("dweight", "dbias"), strict=False
    ):
        np.testing.assert_allclose(gradient, theirs[key], **near)
    if not isinstance(layer, lm.BatchNorm):
        np.testing.assert_allclose(
            layer.forward(hashed(6, 4)), theirs["predicted"], **near
        )
        return
    np.testing.assert_allclose(layer.mean, theirs["state"]["running_mean"], **near)
    # Theirs divides the squares of the batch by 5, not by 6.
    running = np.array(theirs["state"]["running_var"])
    np.testing.assert_allclose(layer.variance, 0.9 + (running - 0.9) * 5 / 6, **near)


def test_states_go_to_torch_and_come_from_there() -> None:
    net = lm.Sequential(
        [
            lm.Dense(4),
            lm.BatchNorm(),
            lm.PReLU(),
            lm.Dropout(0.5),
            lm.Dense(4, "relu"),
            lm.LayerNorm(),
            lm.Dense(1),
        ],
        seed=0,
        dtype="float64",
    )
    net.fit(ROWS, WANTED, verbose=0)
    state = net.state_dict()
    assert list(state) == [
        *("0.weight", "0.bias"),
        *("1.weight", "1.bias", "1.running_mean", "1.running_var"),
        "2.weight",
        *("4.weight", "4.bias"),
        *("6.weight", "6.bias"),
        *("7.weight", "7.bias"),
    ]
    bn: Any = net.layers[1]
    np.testing.assert_array_equal(state["1.running_var"], bn.variance)
    again = net.clone(seed=1)
    again.build(6)
    again.load_state_dict(state | {"1.num_batches_tracked": np.array(4)})
    np.testing.assert_array_equal(again.predict(ROWS), net.predict(ROWS))
    theirs = TORCH["layers"]["BatchNorm"]
    only = lm.Sequential([OF_TORCH["BatchNorm"]()], dtype="float64")
    only.build(4)
    only.load_state_dict(theirs["state"])
    np.testing.assert_allclose(
        only.predict(hashed(6, 4)), theirs["predicted"], 1e-12, 1e-13
    )
    with pytest.raises(TypeError, match=r"of Dense, .* got Scale\(\)"):
        net_built(lm.Scale()).state_dict()


def net_built(*layers: lm.Layer, features: int = 6) -> lm.Sequential:
    net = lm.Sequential(layers, seed=0)
    net.build(features)
    return net


def test_weights_come_in_the_order_of_keras() -> None:
    net = net_built(lm.Dense(3), lm.BatchNorm(), lm.Dense(1))
    net.fit(ROWS, WANTED, verbose=0)
    weights = net.get_weights()
    _, _, gamma, _, mean, variance, *_ = weights
    bn: Any = net.layers[1]
    np.testing.assert_array_equal(gamma, bn.parameters["gamma"])
    np.testing.assert_array_equal(mean, bn.mean)
    np.testing.assert_array_equal(variance, bn.variance)
    again = net.clone(seed=1)
    again.build(6)
    again.set_weights(weights)
    np.testing.assert_array_equal(again.predict(ROWS), net.predict(ROWS))


# Each by itself -----------------------------------------------------------------------


def test_batch_norm_keeps_means_of_its_batches() -> None:
    layer = lm.BatchNorm(momentum=0.75)
    layer.build(5, "float64")
    mean, variance = np.zeros(5), np.ones(5)
    for step in range(4):
        x = RNG.normal(size=(7, 5), loc=step)
        layer.backward(layer.forward(x, training=True))
        mean = 0.75 * mean + 0.25 * x.mean(axis=0)
        variance = 0.75 * variance + 0.25 * x.var(axis=0)
    np.testing.assert_allclose(layer.mean, mean, 1e-13)
    np.testing.assert_allclose(layer.variance, variance, 1e-13)
    expected = (X - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(layer.forward(X), expected, 1e-12, 1e-13)
    layer.forward(X, training=True)  # no gradient was filled
    np.testing.assert_allclose(layer.mean, mean, 1e-13)


def test_batch_norm_of_one_row_or_of_constants_is_beta() -> None:
    layer = built("BatchNorm", dtype="float32")
    beta = layer.parameters["beta"]
    for x in (X[:1], np.full((9, 5), 1e5)):
        y = layer.forward(x, training=True)
        np.testing.assert_array_equal(y, np.tile(beta, (len(x), 1)))
        dy = RNG.normal(size=y.shape).astype(np.float32)
        factor = layer.parameters["gamma"] / np.sqrt(1e-3)
        expected = factor * (dy - dy.mean(axis=0))  # 0 for one row
        dx: Any = layer.backward(dy)
        np.testing.assert_allclose(dx, expected, 1e-5, 1e-4)


def test_a_frozen_batch_norm_trains_others_as_it_predicts() -> None:
    net = net_built(lm.Dense(4), lm.BatchNorm(trainable=False), lm.Dense(1))
    bn: Any = net.layers[1]
    bn.mean[...], bn.variance[...] = 3, 9
    expected = net.evaluate(ROWS, WANTED)["loss"] if net.loss else None
    scores = net.gradients(ROWS, WANTED)
    net.loss = lm.losses.mean_squared_error
    expected = net.evaluate(ROWS, WANTED)["loss"]
    assert scores["loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["LayerNorm", "BatchNorm"])
def test_squares_that_overflow_become_beta(name: str) -> None:
    layer = built(name, dtype="float32")
    x = (1e30 * X).astype(np.float32)
    with np.errstate(all="raise"):
        y = layer.forward(x, training=True)
        dx = layer.backward(np.ones_like(y))
    np.testing.assert_array_equal(y, np.tile(layer.parameters["beta"], (len(x), 1)))
    np.testing.assert_array_equal(dx, np.zeros_like(x))


@pytest.mark.parametrize("name", ["LayerNorm", "BatchNorm"])
def test_a_large_mean_cancels_nothing(name: str) -> None:
    """As the mean of squares less the squared mean would."""
    layer = built(name, 200, "float32")
    spread = RNG.integers(-8, 8, (150, 200)) / np.float32(8)
    y = layer.forward(spread + np.float32(2**18), training=True)
    # Exact numbers, but for a mean that is rounded to a 64th.
    np.testing.assert_allclose(y, layer.forward(spread, training=True), 0, 0.1)


@pytest.mark.parametrize(
    "activation",
    ["relu", "tanh", "mish", lm.leaky_relu.using(negative_slope=-0.5)],
    ids=str,
)
def test_mixed_takes_any_activation(activation: Any) -> None:
    layer = lm.Mixed(activation)
    layer.build(5, "float64")
    f = layer.activation
    np.testing.assert_array_equal(layer.forward(X), f(X))
    layer.parameters["share"][...] = [0, 1, 0.5, -1, 2]
    share, x, weights = layer.parameters["share"], X.copy(), RNG.normal(size=X.shape)

    def loss() -> float:
        return float((weights * (x + share * (f(x) - x))).sum())

    y = layer.forward(x, training=True)
    np.testing.assert_array_equal(y[:, :2], np.stack([x[:, 0], f(x)[:, 1]], axis=1))
    assert_slopes(layer.backward(weights), slope(loss, x))
    assert_slopes(layer.gradients["share"], slope(loss, share))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lm.LayerNorm(0), ValueError, "epsilon must be .* > 0, got 0"),
        (
            lambda: lm.BatchNorm(1.5),
            ValueError,
            r"momentum must be .*\[0, 1\], got 1.5",
        ),
        (lambda: lm.BatchNorm(epsilon=-1), ValueError, "epsilon must be .* got -1"),
        (lambda: lm.Mixed("gleu"), ValueError, "unknown activation 'gleu'"),
        (lambda: lm.Mixed("softmax"), ValueError, "act on each value, got 'softmax'"),
        (lambda: Scale(trainable=1), TypeError, "trainable must be True or Fal"),
        (lambda: PReLU(trainable=None), TypeError, "trainable must be .* None"),
    ],
)
def test_wrong_settings(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# With what else nets can do -----------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("first", [True, False])
def test_sparse_rows_are_as_good_as_dense_ones(name: str, first: bool) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(RNG.random(ROWS.shape) < 0.4, ROWS, 0)
    before = [] if first else [lm.Dense(5)]
    net = lm.Sequential([*before, LAYERS[name][0](), lm.Dense(1)], seed=2)
    other = net.clone()
    options: Any = {"epochs": 3, "verbose": 0, "optimizer": lm.Adam(0.01)}
    net.fit(sparse.csr_array(x), WANTED, **options)
    other.fit(x, WANTED, **options)
    # Sums of six products in another order, three epochs on.
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-3, 1e-4)
    np.testing.assert_allclose(
        net.predict(sparse.csr_array(x)), net.predict(x), 1e-4, 1e-5
    )


@pytest.mark.parametrize("name", LAYERS)
def test_predictions_in_bf16_are_near(name: str) -> None:
    net = net_with(name)
    fit(net, 5)
    y = net.predict(ROWS)
    # Eight bits of mantissa in three products.
    scale = float(np.abs(y).max())
    np.testing.assert_allclose(net.predict(ROWS, precision="auto"), y, 0, 0.05 * scale)


def test_samples_of_dropout_see_moments_that_are_kept() -> None:
    """Not those of the few rows that are asked for."""
    net = lm.Sequential(
        [lm.Dense(8), lm.Dropout(0.5), lm.BatchNorm(0.5), lm.Dense(1)], seed=0
    )
    fit(net, 5)
    alone, _ = net.predict(ROWS[:1], samples=40, seed=1)
    together, deviation = net.predict(ROWS, samples=40, seed=1)
    np.testing.assert_array_equal(alone, together[:1])
    assert deviation.min() > 0
