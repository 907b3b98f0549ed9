"""Rates and decays of single arrays: factors of what the optimizer says."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from test_each_layer import LAYERS
from test_network import by_layer
from test_optimizers import ALL, oracle

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 6))
Y = np.sin(X[:, 0]) + X[:, 1]
# Of rate and decay, for the arrays of the net below.
FACTORS = [(6.0, 0.5), (0.25, 3.0), (0.1, 0.0), (1.0, 1.0), (0.0, 2.0)]


def made(dtype: Any = "float64", **options: Any) -> lm.Sequential:
    scale, kernel, bias, *_ = FACTORS
    net = lm.Sequential(
        [
            lm.Scale(rate=scale[0], decay=scale[1]),
            lm.Dense(
                7,
                "selu",
                rate=kernel[0],
                decay=kernel[1],
                bias_rate=bias[0],
                bias_decay=bias[1],
            ),
            lm.Dense(1, bias_rate=0.0, bias_decay=2.0),
        ],
        seed=1,
        dtype=dtype,
        **options,
    )
    net.build(6)
    return net


def arrays(net: lm.Sequential) -> list[np.ndarray]:
    return [array for layer in net.layers for array in layer.parameters.values()]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rule", ALL, ids=repr)
def test_an_array_takes_the_steps_of_its_own_rate_and_decay(
    rule: Any, known: bool
) -> None:
    net = made() if known else by_layer(made())
    for array in arrays(net):  # biases, which decay, too
        array += RNG.normal(size=array.shape)
    expected = [array.copy() for array in arrays(net)]
    states = [[np.zeros(array.shape)] * 3 for array in expected]
    for step in range(1, 5):
        net.gradients(X, Y, loss="mean_squared_error")
        slopes = [s.copy() for each in net.layers for s in each.gradients.values()]
        net.apply_gradients(rule)
        for i, (of_rate, of_decay) in enumerate(FACTORS):
            changed: dict[str, Any] = {"learning_rate": rule.learning_rate * of_rate}
            if hasattr(rule, "weight_decay"):
                changed["weight_decay"] = rule.weight_decay * of_decay
            own = copy.copy(rule)  # as it is: a rate of 0 is none to be made
            vars(own).update(changed)
            expected[i] = oracle(own, expected[i], slopes[i], states[i], step)
            # Four steps round a few times each.
            np.testing.assert_allclose(arrays(net)[i], expected[i], 1e-13, 1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_interpreter_and_any_cut_of_the_steps_give_the_same_bits(
    dtype: Any,
) -> None:
    nets = [made(dtype), by_layer(made(dtype)), made(dtype)]
    options: Any = {"epochs": 3, "batch_size": 16, "verbose": 0, "shuffle": False}
    rule = lm.AdamW(0.01, weight_decay=0.3, global_clip_norm=1.0)
    for net in nets[:2]:
        net.fit(X, Y, optimizer=rule, **options)
    for _ in range(3):
        for start in range(0, len(X), 16):
            rows = slice(start, start + 16)
            nets[2].train_on_batch(X[rows], Y[rows], optimizer=rule)
    for net in nets[1:]:
        np.testing.assert_array_equal(net.parameters, nets[0].parameters)
        np.testing.assert_array_equal(net._state, nets[0]._state)


def test_factors_are_saved_copied_and_resumed(tmp_path: Path) -> None:
    whole, half = made(), made()
    options: Any = {"batch_size": 16, "verbose": 0, "optimizer": lm.AdamW(0.01)}
    whole.fit(X, Y, epochs=4, **options)
    half.fit(X, Y, epochs=2, **options)
    half.save(tmp_path / "net")
    pickled = pickle.loads(pickle.dumps(half))
    for net in (lm.load(tmp_path / "net"), pickled, copy.deepcopy(half)):
        assert [each.config() for each in net.layers] == [
            each.config() for each in whole.layers
        ]
        net.fit(X, Y, epochs=2, **options)
        np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_a_factor_may_be_set_at_any_time() -> None:
    net = made()
    net.fit(X, Y, epochs=1, verbose=0)
    before = net.layers[1].parameters["kernel"].copy()
    net.layers[1].rate = 0.0
    net.fit(X, Y, epochs=1, verbose=0)
    np.testing.assert_array_equal(net.layers[1].parameters["kernel"], before)


def test_a_layer_of_ones_own_has_factors() -> None:
    class Shift(lm.Layer):
        def initial(self) -> dict[str, np.ndarray]:
            return {"by": np.zeros(self.features), "idle": np.ones(2)}

        def factors(self) -> dict[str, tuple[float, float]]:
            return {"by": (10.0, 1.0)}

        def forward(self, x: Any, training: bool = False) -> Any:
            x = self.take(x)
            self.keep(x, training)
            return x + self.parameters["by"]

        def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
            dy, _ = self.recall(dy)
            self.gradients["by"][...] = dy.sum(axis=0)
            return dy

    net = lm.Sequential([Shift()], seed=0, dtype="float64")
    rule = lm.SGD(0.5)
    net.backward(np.zeros((1, 2)), [[1.0, -2.0]])
    net.apply_gradients(rule)
    assert net.parameters.tolist() == [-5.0, 10.0, 1.0, 1.0]


def test_factors_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"^bias_rate must be .* >= 0, got -1"):
        lm.Dense(1, bias_rate=-1)
    with pytest.raises(ValueError, match=r"^decay must be "):
        lm.Scale(decay=np.inf)

    class Own(lm.optimizers.Optimizer):
        slots = 0

        def update(self, weights: Any, *_: Any) -> None:
            weights[...] = 0

    net = made()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="must come with an optimizer of Lamina's"):
        net.train_on_batch(X, Y, loss="mean_squared_error", optimizer=Own())
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_that_learns_has_a_rate_of_its_own(name: str) -> None:
    kinds = {"Mixed": lambda **options: lm.Mixed("selu", **options)}
    make = kinds.get(name, getattr(lm, name))
    moves = []
    for options in ({}, {"rate": 2.0, "decay": 0.0}, {"rate": 0.0}):
        layer = make(**options)
        net = lm.Sequential([lm.Dense(4), layer, lm.Dense(1)], seed=1, dtype="float64")
        net.build(6)
        before = [array.copy() for array in layer.parameters.values()]
        net.train_on_batch(X, Y, optimizer=lm.SGD(0.01), loss="mean_squared_error")
        now = layer.parameters.values()
        moves.append([b - a for a, b in zip(before, now, strict=True)])
    for once, twice, still in zip(*moves, strict=True):
        np.testing.assert_allclose(twice, 2 * once, 1e-9, 1e-15)
        assert once.any() and not still.any()


@pytest.mark.parametrize("rule", [lm.SGD(0.1), lm.AdamW(0.01, weight_decay=0.5)])
def test_sparse_rows_learn_at_the_same_rates(rule: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = X * (RNG.random(X.shape) < 0.3)
    nets = [
        lm.Sequential([lm.Dense(3, rate=0.5, decay=4.0), lm.Dense(1)], seed=1)
        for _ in range(2)
    ]
    options: Any = {"epochs": 3, "batch_size": 8, "verbose": 0, "optimizer": rule}
    nets[0].fit(x, Y, **options)
    nets[1].fit(sparse.csr_array(x), Y, **options)
    # Products of sparse rows sum in another order.
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, 1e-4, 1e-5)
