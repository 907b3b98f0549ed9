"""Layers for the columns of a table, alone and in nets: what they compute, that they
learn, are saved, and go on."""

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
from test_network import by_layer

RNG = np.random.default_rng(0)
Embedding: Any = lm.Embedding  # for the wrong types
Parameters = dict[str, np.ndarray]


def table(rows: int) -> np.ndarray:
    """Numbers, but for codes in columns 1 and 4, of which some are unknown."""
    x = RNG.normal(size=(rows, 6))
    x[:, 1] = RNG.integers(0, 9, rows)
    x[:, 4] = RNG.integers(-1, 4, rows)
    return x


X = table(40)

# What makes each layer, its outputs from inputs and parameters, and what it leaves of
# the inputs as it is.
LAYERS: dict[str, tuple[Callable[[], Any], Callable[..., np.ndarray], list[int]]] = {
    "Embedding": (
        lambda: lm.Embedding([4, 1], [4, 8], [2, 5]),
        lambda layer, x: reference.embedding(
            x, {4: layer.parameters["table_4"], 1: layer.parameters["table_1"]}
        ),
        [0, 2, 3, 5],
    ),
}
CODES = {"Embedding": [1, 4]}  # columns by which nothing has a gradient


def built(name: str, dtype: Any = "float64") -> Any:
    """With parameters that are not those at first."""
    layer = LAYERS[name][0]()
    layer.build(6, dtype, seed=1)
    for array in layer.parameters.values():
        array += RNG.normal(size=array.shape, scale=0.5)
    return layer


def net_with(name: str, **options: Any) -> lm.Sequential:
    layers = [LAYERS[name][0](), lm.Dense(16, "relu"), lm.Dense(1)]
    return lm.Sequential(layers, seed=3, **options)


ROWS = table(300)
WANTED = np.cos(2 * ROWS[:, 1]) + np.abs(ROWS[:, 0])


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
    layer, (_, oracle, _) = built(name), LAYERS[name]
    x = X.copy()
    for training in (False, True):  # sums of a few numbers of size 1
        y = layer.forward(x, training)
        np.testing.assert_allclose(y, oracle(layer, x), 1e-13, 1e-13)
    weights = RNG.normal(size=y.shape)
    dx = layer.backward(weights)

    def loss() -> float:
        return float((weights * oracle(layer, x)).sum())

    for key, array in layer.parameters.items():
        assert_slopes(layer.gradients[key], slope(loss, array))
    slopes = slope(loss, x)
    slopes[:, CODES.get(name, [])] = 0
    assert_slopes(dx, slopes)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rows", [1, 30, 1500])
def test_float32_is_float64_rounded(name: str, target: str, rows: int) -> None:
    lm.set_target(target)
    layer, double = built(name, "float32"), LAYERS[name][0]()
    double.build(6, "float64")
    for key, array in double.parameters.items():
        array[...] = layer.parameters[key]
    x = table(rows).astype(np.float32)
    y, wide = (each.forward(x, training=True) for each in (layer, double))
    # Some roundings of numbers of size 1 to 10, after sums of that many.
    np.testing.assert_allclose(y, wide, 2e-5, 2e-5)
    dy = RNG.normal(size=y.shape).astype(np.float32)
    np.testing.assert_allclose(layer.backward(dy), double.backward(dy), 1e-4, 1e-4)
    for key, array in double.gradients.items():
        np.testing.assert_allclose(layer.gradients[key], array, 1e-4, 1e-5 * rows**0.5)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
def test_threads_change_no_bit(name: str, target: str) -> None:
    lm.set_target(target)
    x, layer = table(20_000).astype(np.float32), built(name, "float32")
    dy = RNG.normal(size=(len(x), layer.outputs(6))).astype(np.float32)

    def passes() -> list[Any]:
        results = [layer.forward(x, True), layer.backward(dy), layer.forward(x)]
        return [*results, *(array.copy() for array in layer.gradients.values())]

    with lm.threads(1):
        alone = passes()
    for count in (2, 3, 8):
        with lm.threads(count):
            for one, two in zip(passes(), alone, strict=True):
                np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(name: str, rows: int) -> None:
    layer = built(name)
    y = layer.forward(np.ones((rows, 6)), training=True)
    dx = layer.backward(np.ones_like(y))
    assert y.shape == (rows, layer.outputs(6))
    assert dx.shape == (rows, 6)
    assert np.isfinite(y).all()
    if rows == 0:
        assert not any(array.any() for array in layer.gradients.values())


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_named_passes(name: str) -> None:
    left = LAYERS[name][2]
    y = built(name, "float32").forward(X)
    np.testing.assert_array_equal(y[:, : len(left)], X.astype(np.float32)[:, left])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_bit_for_bit(name: str, dtype: str, tmp_path: Path) -> None:
    whole, first = (net_with(name, dtype=dtype) for _ in range(2))
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
def test_a_frozen_one_stays(name: str) -> None:
    net = net_with(name)
    fit(net, 1)
    layer: Any = net.layers[0]
    layer.trainable = False
    before = copy.deepcopy(layer)
    fit(net, 2, optimizer=lm.AdamW(0.01, weight_decay=0.1))
    for key, array in layer.parameters.items():
        np.testing.assert_array_equal(array, before.parameters[key])
        assert not layer.gradients[key].any()
    assert type(layer)(**layer.config()).trainable is False


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_by_the_inputs(name: str) -> None:
    net = net_with(name, dtype="float64")
    fit(net, 2)
    x = ROWS[:5].copy()
    before = copy.deepcopy(net)
    dx = net.input_gradient(x, WANTED[:5])
    expected = slope(lambda: net.evaluate(x, WANTED[:5])["loss"], x)
    expected[:, CODES.get(name, [])] = 0
    assert_slopes(dx, expected)
    assert_same(net, before)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_finite_stays_in_its_row(name: str) -> None:
    layer, x = built(name), X.copy()
    clean = layer.forward(x)
    for row, value in enumerate([np.nan, np.inf, -np.inf, 1e300]):
        x[row] = value
    y = layer.forward(x, training=True)
    np.testing.assert_array_equal(y[4:], clean[4:])
    layer.backward(np.ones_like(y))


@pytest.mark.parametrize("name", LAYERS)
def test_a_healthy_net_with_it_is_called_healthy(name: str) -> None:
    net = net_with(name)
    told: Any = {"optimizer": lm.Adam(0.01), "epochs": 20}
    assert net.diagnose(ROWS, WANTED, **told).verdicts == ()
    net.fit(ROWS, WANTED, verbose=0, **told)
    report = net.diagnose(ROWS, WANTED)
    assert report.verdicts == (), str(report)
    assert repr(net.layers[0]) in str(report)


@pytest.mark.parametrize("name", LAYERS)
def test_a_summary_counts_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    net = net_with(name)
    net.build(6)
    net.summary()
    line = capsys.readouterr().out.splitlines()[1]
    held = sum(array.size for array in net.layers[0].parameters.values())
    assert line.split()[-1] == f"{held:,}"
    assert line.startswith(repr(net.layers[0]))


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
    for call in (
        lambda n: n.input_gradient(x, y, training=True),
        lambda n: n.input_gradient(x, output_gradient=slopes),
        lambda n: np.array(list(n.evaluate(ROWS, WANTED).values())),
    ):
        np.testing.assert_array_equal(call(net), call(other))


# Embedding ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_no_code_has_a_row_of_its_own(dtype: str) -> None:
    layer = lm.Embedding(0, 5, 3)
    layer.build(1, dtype)
    vectors = layer.parameters["table_0"]
    assert not vectors[-1].any(), "zero at first"
    vectors[-1] = 7
    others = [-1, 5, 6, 2**31, 2**32 + 1, 2**53, -(2**40), 1e30, 0.5, 4.5, -1e-9]
    others += [np.nan, np.inf, -np.inf]
    y = layer.forward(np.array(others).reshape(-1, 1))
    np.testing.assert_array_equal(y, np.full((len(others), 3), 7))
    codes = np.array([[4], [0], [-0.0], [3]])
    np.testing.assert_array_equal(layer.forward(codes), vectors[[4, 0, 0, 3]])
    integers = np.array([[4], [2**62], [1]])
    np.testing.assert_array_equal(layer.forward(integers), vectors[[4, -1, 1]])


def test_codes_are_exact_up_to_the_largest_table() -> None:
    layer = lm.Embedding(0, 2**24, 1)
    layer.build(1)
    vectors = layer.parameters["table_0"]
    last = np.array([[2**24 - 1], [2**24 - 2], [2**24]])
    found = layer.forward(last)
    np.testing.assert_array_equal(found, vectors[[-2, -3, -1]])


def test_vectors_begin_as_normal_numbers() -> None:
    layer = lm.Embedding([0, 1], 2000, 16)
    layer.build(2, seed=0)
    one, two = layer.parameters.values()
    for drawn in (one[:-1], two[:-1]):
        assert abs(drawn.mean()) < 0.02
        assert abs(drawn.std() - 1) < 0.02
    assert (one[:-1] != two[:-1]).mean() > 0.99


def test_padding_stays_zero() -> None:
    net = lm.Sequential(
        [lm.Embedding([4, 1], [4, 8], 3, padding=0), lm.Dense(1)], seed=0
    )
    fit(net, 3, optimizer=lm.SGD(0.05, momentum=0.9))
    for vectors in net.layers[0].parameters.values():
        assert not vectors[0].any()
        assert vectors[1:-1].all()
    # Column 4 has unknown codes, from which their row learns, and column 1 few.
    assert net.layers[0].parameters["table_4"][-1].all()


def test_many_rows_of_one_code_are_summed_without_drift() -> None:
    layer = lm.Embedding(0, 2, 1)
    layer.build(1)
    x = np.ones((1_000_000, 1), np.float32)
    layer.forward(x, training=True)
    layer.backward(np.full_like(x, 0.1))
    exact = float(np.float32(0.1)) * len(x)
    gradient = layer.gradients["table_0"][1, 0]
    # Chains of 512 that round alike; one of all rows would be off by a hundredth.
    assert gradient == pytest.approx(exact, rel=512 * 2.0**-24)


def test_a_net_learns_what_codes_mean() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, [50, 30], (2000, 2))
    meaning = [rng.normal(size=50), rng.normal(size=30)]
    y = meaning[0][x[:, 0]] * meaning[1][x[:, 1]]  # no order, and not a sum
    hidden = [lm.Dense(32, "relu"), lm.Dense(1)]
    told: Any = {"epochs": 60, "batch_size": 32, "verbose": 0}
    told |= {"optimizer": lm.Adam(0.01)}
    found = {}
    for name, first in (
        ("codes", lm.Embedding([0, 1], [50, 30], 8)),
        ("numbers", None),
    ):
        layers = [first or lm.Standardize(), *copy.deepcopy(hidden)]
        net = lm.Sequential(layers, seed=0)
        net.fit(x[:1500], y[:1500], **told)
        found[name] = net.evaluate(x[1500:], y[1500:])["loss"] / y.var()
    assert found["codes"] < 0.1
    assert found["numbers"] > 0.5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Embedding([], 3, 2), ValueError, "columns must be numbers .* got "),
        (lambda: Embedding([1, 1], 3, 2), ValueError, r"each once, got \[1, 1\]"),
        (lambda: Embedding([-1], 3, 2), ValueError, "columns must be .* got -1"),
        (lambda: Embedding("a", 3, 2), TypeError, "columns must be .* got 'a'"),
        (lambda: Embedding([0.5], 3, 2), TypeError, "columns must be .* got 0.5"),
        (lambda: Embedding([0], 0, 2), ValueError, "sizes must be .* got 0"),
        (lambda: Embedding([0], [3, 4], 2), ValueError, r"sizes must be .* the 1 col"),
        (lambda: Embedding([0, 1], 3, (2,)), ValueError, r"dims must be .*\(2,\)"),
        (lambda: Embedding([0], 2**24 + 1, 2), ValueError, r"2\*\*24.* got 16777217"),
        (lambda: Embedding([0], 3, 2.0), TypeError, "dims must be .* got 2.0"),
        (lambda: Embedding([0], 3, 2, padding=3), ValueError, "padding .* got 3"),
        (lambda: Embedding([0], 3, 2, padding=-1), ValueError, "padding .* got -1"),
        (lambda: Embedding([0], 3, 2, trainable=1), TypeError, "trainable .* got 1"),
        (lambda: Embedding([3], 3, 2).build(3), ValueError, "less than 3.* got 3"),
    ],
)
def test_wrong_settings(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
