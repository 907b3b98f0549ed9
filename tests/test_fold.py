"""Nets with fewer layers that predict the same."""

import copy
from typing import Any

import numpy as np
import pytest

import lamina as lm

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6))
Y = np.sin(X[:, 0]) + X[:, 1] / 2

# Layers, and the names of those that are left.
NETS: dict[str, tuple[list[lm.Layer], str]] = {
    "after a Dense": (
        [lm.Dense(8, use_bias=False), lm.BatchNorm(0.5), lm.Activation("relu")],
        "Dense Activation",
    ),
    "before a Dense": ([lm.BatchNorm(0.5), lm.Dense(4, "tanh")], "Dense"),
    "after an activation": (
        [lm.Dense(8, "relu"), lm.BatchNorm(0.5), lm.Dropout(0.4), lm.Dense(3)],
        "Dense Dense",
    ),
    "several": (
        [
            *[lm.Scale(), lm.Dropout(0.3, "classic"), lm.GaussianNoise(0.1)],
            *[lm.Dense(5, l2=0.1), lm.Scale(), lm.BatchNorm(0.5), lm.PReLU()],
            *[lm.BatchNorm(0.5), lm.Scale(), lm.Dense(2), lm.LayerNorm()],
        ],
        "Dense PReLU Dense LayerNorm",
    ),
    "nothing beside it": (
        [lm.Scale(), lm.Activation("tanh"), lm.BatchNorm(0.5)],
        "Scale Activation BatchNorm",
    ),
    "before a block": (  # whose input is what the Dense gives
        [lm.Dense(4), lm.Residual([lm.BatchNorm(0.5), lm.Dense(4)]), lm.Scale()],
        "Dense Residual Dense Add Scale",
    ),
    "at the end of a block": (
        [lm.Residual([lm.Dense(6), lm.BatchNorm(0.5)]), lm.BatchNorm(0.5)],
        "Residual Dense Add BatchNorm",
    ),
    "after standardized inputs": (
        [lm.Standardize(), lm.BatchNorm(0.5), lm.Dense(2)],
        "Standardize Dense",
    ),
}


def trained(layers: Any, dtype: Any) -> lm.Sequential:
    net = lm.Sequential(layers, seed=0, dtype=dtype)
    y = np.tile(Y[:, None], (1, net._outputs(6)))
    options: Any = {"loss": "mean_squared_error", "optimizer": lm.Adam(0.05)}
    net.fit(X, y, epochs=5, batch_size=10, verbose=0, **options)
    return net


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_folded_net_predicts_the_same(name: str, dtype: Any) -> None:
    layers, left = NETS[name]
    net = trained(copy.deepcopy(layers), dtype)
    before, expected = net.parameters.copy(), net.predict(X)
    folded = net.fold()
    assert " ".join(type(layer).__name__ for layer in folded.layers) == left
    # Sums of some products of size 1 to 10, rounded some times more or less.
    error = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(folded.predict(X), expected, error, error)
    np.testing.assert_array_equal(net.parameters, before)
    np.testing.assert_array_equal(net.predict(X), expected)
    np.testing.assert_array_equal(folded.fold().predict(X), folded.predict(X))
    folded.parameters[...] = 0
    np.testing.assert_array_equal(net.predict(X), expected)


def test_a_folded_net_is_scored_without_penalties() -> None:
    net = trained([lm.Dense(4, l2=1.0), lm.BatchNorm(0.5), lm.Dense(1)], "float64")
    scores = net.evaluate(X, Y)
    folded = net.fold().evaluate(X, Y)
    assert folded == {"loss": pytest.approx(scores["loss_without_penalty"], rel=1e-12)}


def test_layers_of_ones_own_are_left_alone() -> None:
    class Doubled(lm.BatchNorm):
        def forward(self, x: Any, training: bool = False) -> Any:
            return 2 * super().forward(x, training)

    net = lm.Sequential([Doubled(), lm.Dense(1)], seed=0)
    with pytest.raises(RuntimeError, match="fold must come after"):
        net.fold()
    net.build(6)
    assert [type(layer) for layer in net.fold().layers] == [Doubled, lm.Dense]
