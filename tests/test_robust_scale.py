"""RobustScale: medians, quartiles and a smooth clip, learnt in the first fit."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import data, reference
from test_layers import assert_slopes, slope
from test_network import by_layer

RNG = np.random.default_rng(11)
ROWS = np.column_stack(
    [
        RNG.normal(size=101),
        RNG.standard_cauchy(size=101) * 1e3,
        np.full(101, 7.0),
        np.arange(101) == 5,  # quartiles are equal, the range is not
        RNG.integers(0, 3, 101),
    ]
)
WANTED = np.tanh(ROWS[:, 0]) + ROWS[:, 3]


def test_outputs_are_those_of_the_paper() -> None:
    layer = lm.RobustScale()
    layer.learn(ROWS)
    y = layer.forward(ROWS)
    # A few roundings of numbers up to 3.
    np.testing.assert_allclose(y, reference.robust_scale(ROWS), 1e-13, 1e-14)
    assert abs(y).max() <= 3
    assert not y[:, 2].any()
    np.testing.assert_allclose(y[5, 3], 2 / np.sqrt(1 + 4 / 9))  # 2 / (max - min)


def test_other_limits() -> None:
    for limit in (0.5, 20.0):
        layer = lm.RobustScale(limit)
        layer.learn(ROWS)
        expected = reference.robust_scale(ROWS, limit=limit)
        np.testing.assert_allclose(layer.forward(ROWS), expected, 1e-13, 1e-14)
    layer = lm.RobustScale(np.inf)
    layer.learn(ROWS)
    first = ROWS[:, 0] - np.median(ROWS[:, 0])
    np.testing.assert_allclose(
        layer.forward(ROWS)[:, 0],
        first / np.subtract(*np.quantile(ROWS[:, 0], [0.75, 0.25])),
    )
    for limit in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="limit must be a number > 0, got"):
            lm.RobustScale(limit)


def made(dtype: Any = "float64", known: bool = True) -> lm.Sequential:
    net = lm.Sequential(
        [lm.RobustScale(), lm.Dense(7, "selu"), lm.Dense(1)], seed=2, dtype=dtype
    )
    if known:
        return net
    net.build(5)
    return by_layer(net)


OPTIONS: dict[str, Any] = {"batch_size": 16, "verbose": 0}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_learns_from_the_rows_it_trains_on(dtype: Any, known: bool) -> None:
    net = made(dtype, known)
    net.fit(ROWS, WANTED, validation_split=0.3, epochs=3, **OPTIONS)
    layer: Any = net.layers[0]
    held_out = copy.deepcopy(net)
    held_out.fit(ROWS + 5, WANTED, **OPTIONS)  # a later fit learns nothing anew
    np.testing.assert_array_equal(layer.mean, held_out.layers[0].mean)  # type: ignore[attr-defined]
    # 30 of 101 rows are held out; those left tell their medians.
    found = [
        np.median(ROWS[train], axis=0) for train in [np.sort(_order(net, 101)[30:])]
    ]
    np.testing.assert_allclose(layer.mean, found[0], 1e-6)
    y = net.layers[1].forward(layer.forward(ROWS))
    expected = net.layers[2].forward(y)
    np.testing.assert_array_equal(net.predict(ROWS), expected)


def _order(net: lm.Sequential, n: int) -> np.ndarray:
    from lamina.initializers import SPLIT, permutation, stream

    return permutation(n, net.seed, stream(SPLIT))


def test_the_core_and_the_interpreter_have_the_same_bits() -> None:
    nets = made("float32"), made("float32", known=False)
    for net in nets:
        net.fit(ROWS, WANTED, epochs=3, **OPTIONS)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    x, y = ROWS[:9], WANTED[:9]
    one, two = (net.input_gradient(x, y) for net in nets)
    np.testing.assert_array_equal(one, two)


def test_gradients_by_inputs() -> None:
    net = made()
    net.fit(ROWS, WANTED, epochs=2, **OPTIONS)
    x, y = ROWS[:5].copy(), WANTED[:5]
    dx = net.input_gradient(x, y)

    def loss() -> float:
        return net.evaluate(x, y)["loss"]

    columns = [0, 4]  # elsewhere scales are too large or small for these differences
    assert_slopes(dx[:, columns], slope(loss, x)[:, columns])


def test_saved_copied_and_resumed(tmp_path: Path) -> None:
    whole, half = made(), made()
    whole.fit(ROWS, WANTED, epochs=4, **OPTIONS)
    half.fit(ROWS, WANTED, epochs=2, **OPTIONS)
    half.save(tmp_path / "net")
    pickled = pickle.loads(pickle.dumps(half))
    for net in (lm.load(tmp_path / "net"), pickled, copy.deepcopy(half)):
        net.fit(ROWS, WANTED, epochs=2, **OPTIONS)
        np.testing.assert_array_equal(net.predict(ROWS), whole.predict(ROWS))
    clone: Any = half.clone().layers[0]
    assert (
        repr(clone) == "RobustScale()" and repr(lm.RobustScale(2)) == "RobustScale(2)"
    )


def test_columns_far_from_zero_stay_apart() -> None:
    """Points in time, which float32 rounds to quarters of an hour."""
    times = 1.7e9 + np.arange(50.0).reshape(-1, 1)
    net = lm.Sequential([lm.RobustScale(), lm.Dense(1)], seed=0)
    net.fit(times, times[:, 0] - 1.7e9, epochs=1, verbose=0)
    layer: Any = net.layers[0]
    assert layer.mean.dtype == np.float64
    y = net.predict(times)
    assert len(np.unique(y)) == 50
    expected = reference.robust_scale(times)
    kernel, bias = net.get_weights()
    np.testing.assert_allclose(y, expected @ kernel + bias, 1e-5, 1e-5)


def test_memory_maps_and_large_tables(tmp_path: Path, monkeypatch: Any) -> None:
    rows = RNG.normal(size=(3000, 4)).astype(np.float32)
    rows[:, 3] = np.arange(3000) == 1  # which a sample may miss
    held = np.memmap(tmp_path / "rows", np.float32, "w+", shape=rows.shape)
    held[:] = rows
    exact, mapped = lm.RobustScale(), lm.RobustScale()
    exact.learn(rows)
    mapped.learn(held)
    np.testing.assert_array_equal(mapped.mean, exact.mean)
    np.testing.assert_array_equal(mapped.scale, exact.scale)
    monkeypatch.setattr(data, "_SAMPLE", 1000)
    sampled = lm.RobustScale()
    sampled.learn(held)
    assert (sampled.mean[:3] != exact.mean[:3]).all()
    # Quartiles of 1000 normal numbers are off by a twentieth, their distance by less
    # than a tenth, but for one in ten thousand.
    np.testing.assert_allclose(sampled.mean[:3], exact.mean[:3], 0, 0.15)
    np.testing.assert_allclose(sampled.scale[:3], exact.scale[:3], 0.2)
    assert sampled.scale[3] == 0.5


def test_batches_need_what_was_learnt_before() -> None:
    net = made()
    batches = [(ROWS[:50], WANTED[:50]), (ROWS[50:], WANTED[50:])]
    with pytest.raises(ValueError, match="must have learnt before training on batches"):
        net.fit(batches, verbose=0)
    net.build(5)
    net.layers[0].learn(ROWS)  # type: ignore[attr-defined]
    net.fit(batches, verbose=0)
    with pytest.raises(ValueError, match="must be the first layer"):
        lm.Sequential([lm.Dense(1), lm.RobustScale()])
