"""Layers for the columns of a table, alone and in nets: what they compute, that they
learn, are saved, and go on."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

import lamina as lm
from conftest import TARGETS
from lamina import reference
from test_each_layer import assert_frozen_stays, assert_goes_on, assert_same
from test_layers import assert_slopes, slope
from test_network import by_layer

RNG = np.random.default_rng(0)
Embedding: Any = lm.Embedding  # for the wrong types
Periodic: Any = lm.Periodic
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
    "PiecewiseLinear": (
        lambda: lm.PiecewiseLinear(7, 3, columns=[5, 0, 3]),
        lambda layer, x: reference.piecewise_linear(
            x, [5, 0, 3], layer.edges, *layer.parameters.values()
        ),
        [1, 2, 4],
    ),
    "Periodic": (
        lambda: lm.Periodic(4, 5, 0.3, columns=[5, 0, 3]),
        lambda layer, x: reference.periodic(x, [5, 0, 3], **layer.parameters),
        [0, 1, 2, 3, 4, 5],
    ),
    "Periodic plr": (
        lambda: lm.Periodic(6, 3, 0.3, form="plr", columns=[5, 0, 3]),
        lambda layer, x: reference.periodic(x, [5, 0, 3], **layer.parameters),
        [1, 2, 4],
    ),
}
CODES = {"Embedding": [1, 4]}  # columns by which nothing has a gradient


def built(name: str, dtype: Any = "float64") -> Any:
    """With parameters that are not those at first."""
    layer = LAYERS[name][0]()
    layer.build(6, dtype, seed=1)
    if not layer.learnt:
        layer.learn(X)
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
    if not double.learnt:
        double.edges, double.learnt = layer.edges.astype(np.float64), True
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
    assert_goes_on(lambda: net_with(name, dtype=dtype), fit, ROWS, tmp_path)


@pytest.mark.parametrize("name", LAYERS)
def test_a_frozen_one_stays(name: str) -> None:
    assert_frozen_stays(net_with(name), 0, fit)


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
    assert_same(net, before, ROWS)


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
    fit(net, 1)
    net.optimizer, net.loss = lm.Adam(0.01), lm.losses.mean_squared_error
    other = by_layer(net)
    x, y, slopes = ROWS[:9], WANTED[:9], np.ones((9, 1))
    for each in (net, other):
        each.train_on_batch(x, y)
        each.gradients(ROWS[9:], WANTED[9:])
        each.backward(x, slopes, accumulate=True)
    assert_same(net, other, ROWS)
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


# As others have them ------------------------------------------------------------------

# What rtdl_num_embeddings 0.0.12 gives (PiecewiseLinearEmbeddings of version "A" and
# PeriodicEmbeddings, both without activation) and PBLDEmbeddings of pytabkit 1.8.0, by
# torch 2.13.0 in float64, flattened, for x = numbers(8, 3, start=7) * 1.25, bins from
# numbers(300, 3, start=1000), its last column rounded down, dy = numbers(start=50) and
# the parameters, in order, numbers(start=200), (start=300) and so on over 4.
THEIRS = json.loads((Path(__file__).parent / "data" / "table_layers.json").read_text())
NEAR: Any = {"rtol": 1e-12, "atol": 1e-12}  # other orders of sums of some tens


def hashed(*shape: int, start: int = 1) -> np.ndarray:
    words = np.arange(start, start + math.prod(shape), dtype=np.uint32) * 0x9E3779B1
    return (words.view(np.int32) / 2.0**29).reshape(shape)


def given(name: str) -> list[np.ndarray]:
    """Their parameters."""
    shapes = [np.shape(each) for each in THEIRS[name]["gradients"]]
    return [hashed(*n, start=200 + 100 * i) / 4 for i, n in enumerate(shapes)]


def test_piecewise_linear_is_that_of_rtdl() -> None:
    theirs, x = THEIRS["piecewise_linear"], hashed(8, 3, start=7) * 1.25
    layer = lm.PiecewiseLinear(12, 5)
    layer.build(3, "float64")
    rows = hashed(300, 3, start=1000)
    rows[:, 2] = np.floor(rows[:, 2])
    layer.learn(rows)
    kernel, bias = given("piecewise_linear")
    # They have the last bin of each column at the end.
    places = []
    for own, edges in zip(layer.edges, theirs["bins"], strict=True):
        np.testing.assert_allclose(own[: len(edges)], edges, **NEAR)
        assert np.isinf(own[len(edges) :]).all()
        bins = len(edges) - 1
        places.append([*range(bins - 1), 11, *range(bins - 1, 11)])
    assert max(map(len, theirs["bins"])) > min(map(len, theirs["bins"]))
    order = np.arange(3)[:, None], np.array(places)
    layer.parameters["kernel"][...] = kernel[order]
    layer.parameters["bias"][...] = bias[:, None]
    np.testing.assert_allclose(layer.forward(x, training=True), theirs["y"], **NEAR)
    dx: Any = layer.backward(hashed(8, 15, start=50))
    np.testing.assert_allclose(dx, theirs["dx"], **NEAR)
    dkernel, dbias = map(np.array, theirs["gradients"])
    np.testing.assert_allclose(layer.gradients["kernel"], dkernel[order], **NEAR)
    np.testing.assert_allclose(layer.gradients["bias"][:, 0], dbias, **NEAR)


@pytest.mark.parametrize("form", ["plr", "pbld"])
def test_periodic_is_that_of_rtdl_and_pytabkit(form: Any) -> None:
    theirs, x = THEIRS[form], hashed(8, 3, start=7) * 1.25
    layer = lm.Periodic(5 if form == "plr" else 4, 6, form=form)
    layer.build(3, "float64")
    for array, values in zip(layer.parameters.values(), given(form), strict=True):
        array[...] = values.reshape(array.shape)
    y, dy = np.array(theirs["y"]), hashed(8, np.shape(theirs["y"])[1], start=50)
    if form == "pbld":  # they have the columns themselves at the end
        y, dy = (np.roll(each, 3, axis=1) for each in (y, dy))
    np.testing.assert_allclose(layer.forward(x, training=True), y, **NEAR)
    np.testing.assert_allclose(np.asarray(layer.backward(dy)), theirs["dx"], **NEAR)
    found = layer.gradients.values()
    for gradient, expected in zip(found, theirs["gradients"], strict=True):
        wanted = np.reshape(expected, gradient.shape)
        np.testing.assert_allclose(gradient, wanted, **NEAR)


# PiecewiseLinear ----------------------------------------------------------------------


def test_bins_are_quantiles_of_the_rows_it_trains_on() -> None:
    x = np.exp(3 * RNG.normal(size=(400, 2)))  # of any scale
    net = lm.Sequential([lm.PiecewiseLinear(8, 2), lm.Dense(1)], seed=0)
    options: Any = {"validation_split": 0.5, "batch_size": 50, "verbose": 0}
    net.fit(x, x[:, 0], **options)
    layer: Any = net.layers[0]
    assert net.told is not None
    _, train = lm.training._split(net, 400, 0.5)[::-1]
    steps = np.linspace(0, 1, 9)
    expected = np.quantile(x[train].astype(np.float32), steps, axis=0).T
    np.testing.assert_allclose(layer.edges, expected, 1e-6)
    before = layer.edges.copy()
    net.fit(10 * x, x[:, 0], **options)
    np.testing.assert_array_equal(layer.edges, before)


def test_bins_of_many_rows_are_near_those_of_all(tmp_path: Path) -> None:
    n = 350_000
    rows = np.lib.format.open_memmap(
        tmp_path / "x.npy", "w+", dtype=np.float32, shape=(n, 2)
    )
    rows[:, 0] = np.sqrt(np.arange(n))
    rows[:, 1] = np.arange(n) % 24  # a period that an even choice could miss
    layer = lm.PiecewiseLinear(24, 1)
    layer.learn(rows)
    expected = np.quantile(rows[:, 0], np.linspace(0, 1, 25))
    np.testing.assert_allclose(layer.edges[0], expected, 1e-3, 3)
    np.testing.assert_array_equal(layer.edges[1, :24], np.arange(24))


def test_constant_and_repeated_numbers_make_fewer_bins() -> None:
    x = np.zeros((50, 3))
    x[:, 1], x[:5, 2] = 7, 1
    layer = lm.PiecewiseLinear(4, 2)
    layer.build(3, "float64")
    layer.learn(x)
    inf = np.inf
    expected = [[0, 1, inf, inf, inf], [7, 14, inf, inf, inf], [0, 1, inf, inf, inf]]
    np.testing.assert_array_equal(layer.edges, expected)
    y = layer.forward(x, training=True)
    np.testing.assert_array_equal(
        y[:, :4], np.tile(layer.parameters["bias"].ravel()[:4], (50, 1))
    )
    layer.backward(y)
    assert not layer.gradients["kernel"][:, 1:].any()


def test_it_learns_from_what_comes_to_it() -> None:
    first = lm.Embedding([4, 1], [4, 9], 2)  # leaves 0, 2, 3, 5, then four numbers
    layer = lm.PiecewiseLinear(5, 2, columns=[0, 1, 2, 3])
    net = lm.Sequential([first, layer, lm.Dense(1)], seed=0)
    fit(net, 1)
    numbers = ROWS[:, [0, 2, 3, 5]].astype(np.float32)
    expected = np.quantile(numbers, np.linspace(0, 1, 6), axis=0).T
    np.testing.assert_allclose(layer.edges, expected, 1e-6)


def test_bins_must_be_learnt_before() -> None:
    net = lm.Sequential([lm.Dense(2), lm.PiecewiseLinear(4, 2), lm.Dense(1)], seed=0)
    net.build(3)
    x, y = np.ones((5, 3)), np.ones(5)
    for call in (net.train_on_batch, lambda x, y: net.fit([(x, y)], verbose=0)):
        with pytest.raises(ValueError, match=r"layers\[1\].learn\(x\).* come to it"):
            call(x, y)
    with pytest.raises(RuntimeError, match="must have learnt its bins before"):
        net.predict(x)
    for bad in (
        [[np.nan]],
        [[np.inf]],
        np.array([[3e38], [-3e38]], np.float32),
        np.empty((0, 1)),
        [1.0],
    ):
        with pytest.raises(ValueError, match=r"^x"):
            lm.PiecewiseLinear(4, 2).learn(bad)


def test_a_linear_model_of_it_learns_a_curve() -> None:
    x = np.random.default_rng(0).uniform(0, 1000, (500, 1))
    y = np.sin(x[:, 0] / 100)
    told: Any = {"epochs": 100, "verbose": 0, "optimizer": lm.Adam(0.02)}
    net = lm.Sequential([lm.PiecewiseLinear(20, 4), lm.Dense(1)], seed=0)
    assert net.fit(x, y, **told)["loss"][-1] < 0.01
    plain = lm.Sequential([lm.Standardize(), lm.Dense(1)], seed=0)
    assert plain.fit(x, y, **told)["loss"][-1] > 0.3


# Periodic -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_waves_are_right_to_a_few_units(target: str, dtype: Any) -> None:
    lm.set_target(target)
    most = 4 if target == "sse2" else 3  # without fma
    cosine, sine = lm.Periodic(2, 1), lm.Periodic(1, 1, form="plr")
    for layer, kernel in ((cosine, [1]), (sine, [0, 1])):
        layer.build(1, dtype)
        for name, value in (("frequencies", 1), ("phases", 0), ("bias", 0)):
            if name in layer.parameters:
                layer.parameters[name][...] = value
        layer.parameters["kernel"][0, :, 0] = kernel
    rng = np.random.default_rng(1)
    digits = np.finfo(dtype).nmant
    of_every_size = 2.0 ** rng.uniform(-40, digits + 3, 3000)
    near_zeros = (rng.integers(0, 99, 3000) + rng.normal(size=3000) * 1e-3) / 4
    x = np.concatenate([of_every_size, near_zeros, [0, 0.25, 0.5, 0.75, 1, 2.0**70]])
    x = np.concatenate([x, -x]).astype(dtype)
    with mpmath.workdps(60):
        turns = [2 * (mpmath.mpf(float(v)) % 1) for v in x]
        wanted = [[*map(of, turns)] for of in (mpmath.cospi, mpmath.sinpi)]
    for layer, exact in zip((cosine, sine), wanted, strict=True):
        found = layer.forward(x[:, None])[:, -1]
        for y, value in zip(found, exact, strict=True):
            unit = np.spacing(abs(dtype(float(value))))
            assert abs(mpmath.mpf(float(y)) - value) <= most * mpmath.mpf(float(unit))
    odd = np.array([[np.inf], [-np.inf], [np.nan]])
    assert np.isnan(cosine.forward(odd)[:, 1]).all()


def test_a_linear_model_of_waves_learns_a_fast_one() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 1))
    y = np.sin(15 * x[:, 0])
    told: Any = {"epochs": 60, "verbose": 0, "optimizer": lm.Adam(0.01)}
    for form in ("pbld", "plr"):
        first = lm.Periodic(8, 24, 2.0, form=form)
        net = lm.Sequential([first, lm.Dense(16, "relu"), lm.Dense(1)], seed=0)
        assert net.fit(x, y, **told)["loss"][-1] < 0.05
    plain = lm.Sequential(
        [lm.Dense(24, "relu"), lm.Dense(16, "relu"), lm.Dense(1)], seed=0
    )
    assert plain.fit(x, y, **told)["loss"][-1] > 0.3


def test_initial_numbers_are_those_of_realmlp() -> None:
    layer = lm.Periodic()
    layer.build(500, seed=0)
    p = layer.parameters
    assert layer.outputs(500) == 2000
    assert p["frequencies"].std() == pytest.approx(0.1, rel=0.05)
    assert np.abs(p["phases"]).max() == pytest.approx(np.pi, rel=0.01)
    for name in ("kernel", "bias"):
        assert np.abs(p[name]).max() == pytest.approx(0.25, rel=0.01)


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
        (lambda: lm.PiecewiseLinear(513), ValueError, "bins must be at most 512.* 513"),
        (lambda: lm.PiecewiseLinear(4, 0), ValueError, "dims must be .* got 0"),
        (
            lambda: lm.PiecewiseLinear(4, columns=[2]).build(2),
            ValueError,
            "columns must be less than 2",
        ),
        (lambda: lm.Periodic(1), ValueError, "dims must be at least 2 in 'pbld'"),
        (lambda: Periodic(form="pl"), ValueError, "form must be .* got 'pl'"),
        (lambda: lm.Periodic(2, 0), ValueError, "n_frequencies must be .* got 0"),
        (
            lambda: lm.Periodic(2, 257, form="plr"),
            ValueError,
            "n_frequencies must be at most 256",
        ),
        (lambda: lm.Periodic(2, 2, -1), ValueError, "frequency_init_scale .* got -1"),
    ],
)
def test_wrong_settings(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# Together -----------------------------------------------------------------------------


def test_numbers_beside_codes_are_standardized(tmp_path: Path) -> None:
    x = ROWS.copy()
    x[:, 0] = 1e9 + x[:, 0]  # that float32 cannot tell apart
    numbers = [0, 2, 3, 5]
    net = lm.Sequential(
        [
            lm.Standardize(columns=numbers),
            lm.Embedding([4, 1], [4, 9], 4),
            lm.PiecewiseLinear(8, 4, columns=range(4)),
            lm.Dense(16, "relu"),
            lm.Dense(1),
        ],
        seed=0,
    )
    history = net.fit(x, WANTED, epochs=30, optimizer=lm.Adam(0.01), verbose=0)
    assert history["loss"][-1] < 0.05
    first: Any = net.layers[0]
    np.testing.assert_allclose(first.mean[numbers], x[:, numbers].mean(axis=0), 1e-6)
    np.testing.assert_array_equal(first.mean[[1, 4]], 0)
    np.testing.assert_array_equal(first.scale[[1, 4]], 1)
    net.save(tmp_path / "net")
    again = lm.load(tmp_path / "net")
    assert repr(again) == repr(net)
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    with pytest.raises(ValueError, match=r"columns must be less than 6, .* got 6"):
        lm.Standardize(columns=6).build(6)


def test_a_remedy_leaves_codes_alone() -> None:
    x = ROWS.copy()
    x[:, 0] *= 1e5
    layers = [lm.Embedding([4, 1], [4, 9], 4), lm.Dense(16, "sigmoid"), lm.Dense(1)]
    net = lm.Sequential(layers, seed=0)
    told: Any = {"epochs": 20, "optimizer": lm.Adam(0.01)}
    net.fit(x, WANTED, verbose=0, **told)
    report = net.diagnose(x, WANTED)
    assert "lm.Standardize(columns=[0, 2, 3, 5])" in str(report)
    x[:, 0] = WANTED
    assert "np.delete" not in str(net.diagnose(x, WANTED))
