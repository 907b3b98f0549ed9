"""Blocks whose input is added to their output."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina.diagnosis import remedies
from test_layers import assert_slopes, slope
from test_network import by_layer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] / 2
Residual: Any = lm.Residual  # for the wrong types


def layers() -> list[lm.Layer]:
    """Blocks in a row, within each other, before and after what writes in place."""
    return [
        lm.Residual([lm.Dense(6, "tanh")]),  # of the inputs
        lm.Dense(8, "relu"),
        lm.Residual(
            [
                lm.Dropout(0.3),
                lm.LayerNorm(),
                lm.Residual([lm.Dense(8, "gelu"), lm.Dropout(0.1)]),
                lm.Dense(12, "relu"),
                lm.Dropout(0.5),
                lm.Dense(8),
            ]
        ),
        lm.Residual([lm.Residual([lm.Dense(8, "relu")]), lm.GaussianNoise(0.1)]),
        lm.Dropout(0.2),
        lm.Dense(1),
    ]


def made(dtype: Any = "float32") -> lm.Sequential:
    net = lm.Sequential(layers(), seed=3, dtype=dtype)
    net.build(6)
    return net


def fit(net: lm.Sequential, epochs: int = 3, **options: Any) -> lm.History:
    settings: Any = {"optimizer": lm.Adam(0.01), "batch_size": 16, "verbose": 0}
    return net.fit(X, Y, epochs=epochs, **settings | options)


def test_a_block_adds_its_input() -> None:
    net = lm.Sequential(
        [lm.Dense(4), lm.Residual([lm.Dense(5, "tanh"), lm.Dense(4)])],
        dtype="float64",
        seed=0,
    )
    net.build(6)
    first, begin, one, two, end = net.layers
    assert repr(net.layers[1:]) == (
        "(Residual(), Dense(5, 'tanh'), Dense(4, 'identity'), Add())"
    )
    before = first.forward(X)
    after = two.forward(one.forward(before))
    np.testing.assert_array_equal(net.predict(X), before + after)
    assert begin.forward(before) is before
    np.testing.assert_array_equal(end.forward(after), before + after)


def test_outputs_are_those_of_plain_products() -> None:
    net = made("float64")
    kernels = [each.get("kernel") for each in (a.parameters for a in net.layers)]
    k = [kernel for kernel in kernels if kernel is not None]
    x = X + np.tanh(X @ k[0])
    h = np.maximum(x @ k[1], 0)
    norm = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
    inner = norm + lm.gelu(norm @ k[2])
    h = h + np.maximum(inner @ k[3], 0) @ k[4]
    h = h + (h + np.maximum(h @ k[5], 0))
    np.testing.assert_allclose(net.predict(X), h @ k[6], 1e-12, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_net_in_python_does_the_same(dtype: str) -> None:
    net = made(dtype)
    other = by_layer(net)
    for each in (net, other):
        fit(each)
        each.gradients(X, Y)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    np.testing.assert_array_equal(net.gradient, other.gradient)
    for call in (
        lambda n: n.predict(X),
        lambda n: n.predict(X, batch_size=7),
        lambda n: n.input_gradient(X, Y),
        lambda n: n.input_gradient(X, Y, training=True),
        lambda n: np.array(list(n.evaluate(X, Y).values())),
    ):
        np.testing.assert_array_equal(call(net), call(other))
    samples = [np.stack(n.predict(X, samples=9, seed=1)) for n in (net, other)]
    # Other sums of nine.
    np.testing.assert_allclose(samples[0], samples[1], 2e-6, 1e-6)


def test_gradients_are_those_of_the_loss() -> None:
    net = made("float64")
    for layer in net.layers:
        if isinstance(layer, lm.Dropout | lm.GaussianNoise):
            for name in ("rate", "stddev"):
                if hasattr(layer, name):
                    setattr(layer, name, 0.0)
    net.loss = lm.losses.mean_squared_error
    x = X[:6].copy()

    def loss() -> float:
        return net.evaluate(x, Y[:6])["loss"]

    net.gradients(x, Y[:6])
    expected = slope(loss, net.parameters)
    assert_slopes(net.gradient, expected)
    assert_slopes(net.input_gradient(x, Y[:6]), slope(loss, x))


@pytest.mark.parametrize("frozen", [[1], [1, 4], "all but the last"])
def test_layers_of_a_block_can_be_frozen(frozen: Any) -> None:
    net = made()
    dense = [i for i, layer in enumerate(net.layers) if layer.parameters]
    frozen = dense[:-1] if isinstance(frozen, str) else frozen
    for i in frozen:
        net.layers[i].trainable = False
    other, before = by_layer(net), copy.deepcopy(net)
    for each in (net, other):
        fit(each)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    for i in dense:
        for key, array in net.layers[i].parameters.items():
            same = np.array_equal(array, before.layers[i].parameters[key])
            assert same == (i in frozen)


def test_it_learns_is_saved_and_goes_on(tmp_path: Path) -> None:
    whole, first = made(), made()
    history = fit(whole, 40)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    fit(first, 20)
    first.save(tmp_path / "net.safetensors")
    for net in (
        lm.load(tmp_path / "net.safetensors"),
        pickle.loads(pickle.dumps(first)),
        copy.deepcopy(first),
    ):
        assert repr(net) == repr(first)
        fit(net, 20)
        np.testing.assert_array_equal(net.parameters, whole.parameters)
        np.testing.assert_array_equal(by_layer(net).predict(X), whole.predict(X))
    again = first.clone()
    fit(again, 40)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_threads_change_no_bit() -> None:
    x = RNG.normal(size=(600, 200)).astype(np.float32)

    def trained() -> Any:
        block = lm.Residual([lm.Dense(300, "relu"), lm.Dropout(0.5), lm.Dense(200)])
        net = lm.Sequential([block, lm.Dense(1)], seed=1)
        net.fit(x, x[:, 0], batch_size=256, epochs=2, verbose=0)
        return np.concatenate([net.parameters, net.predict(x).ravel()])

    with lm.threads(1):
        alone = trained()
    for count in (2, 3):
        with lm.threads(count):
            np.testing.assert_array_equal(trained(), alone)


def test_a_healthy_net_with_blocks_is_called_healthy() -> None:
    x = np.random.default_rng(1).normal(size=(400, 6))
    y = np.sin(x[:, 0]) + x[:, 1] / 2
    block = [lm.LayerNorm(), lm.Dense(16, "relu"), lm.Dense(16)]
    net = lm.Sequential(
        [
            lm.Dense(16),
            lm.Residual(block),
            lm.Residual(copy.deepcopy(block)),
            lm.Dense(1),
        ],
        seed=0,
    )
    told: Any = {"optimizer": lm.Adam(0.01), "epochs": 20}
    report = net.diagnose(x, y, **told)
    assert report.verdicts == (), str(report)
    net.fit(x, y, verbose=0, **told)
    report = net.diagnose(x, y)
    assert report.verdicts == (), str(report)


def test_a_summary_shows_the_ends(capsys: pytest.CaptureFixture[str]) -> None:
    net = lm.Sequential([lm.Residual([lm.Dense(6)]), lm.Dense(1)])
    net.build(6)
    net.summary()
    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names[1:4] == ["Residual()", "Dense(6, 'identity')", "Add()"]


def test_weights_go_by_the_layers() -> None:
    net = made()
    again = net.clone(seed=9)
    again.build(6)
    again.set_weights(net.get_weights())
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    plain = lm.Sequential([lm.Residual([lm.Dense(6)]), lm.Dense(1)], seed=0)
    plain.build(6)
    assert list(plain.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_an_own_layer_in_a_block() -> None:
    class Double(lm.Layer):
        def forward(self, x: Any, training: bool = False) -> Any:
            x = self.take(x)
            self.keep(x, training)
            return 2 * x

        def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
            dy, _ = self.recall(dy)
            return 2 * dy

    net = lm.Sequential([lm.Residual([Double()]), lm.Dense(1)], seed=0)
    net.build(6)
    kernel = net.layers[-1].parameters["kernel"]
    np.testing.assert_allclose(net.predict(X), 3 * X @ kernel, 1e-5, 1e-5)
    assert fit(net, 30)["loss"][-1] < 1


def block(*layers: lm.Layer) -> lm.Sequential:
    return lm.Sequential([lm.Dense(4), *layers], seed=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: block(lm.Residual([lm.Dense(5)])).build(6),
            ValueError,
            r"layers\[3\], Add\(\), must get the 4 features of layers\[1\], .* got 5",
        ),
        (lambda: block(lm.Add()), ValueError, r"\[1\], Add\(\), must come after a R"),
        (lambda: block(lm.Residual()), ValueError, r"\[1\], Resid.* come before an Ad"),
        (lambda: Residual(3), TypeError, "layers must be a list of layers, got 3"),
        (lambda: block(Residual([3])), TypeError, r"layers\[2\] must be a Layer"),
        (lambda: lm.Add().forward(X), RuntimeError, "must come after .* its Residual"),
    ],
)
def test_what_cannot_be_a_block(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_net_that_cannot_be_built_stays_unbuilt() -> None:
    net = block(lm.Residual([lm.Dense(5)]), lm.Dense(1))
    for _ in range(2):
        with pytest.raises(ValueError, match="must get the 4 features"):
            net.build(6)
        assert net.features == 0
        assert not any(layer.parameters for layer in net.layers)


@pytest.mark.parametrize(
    "edit", [remedies.wider, remedies.shallower, remedies.with_more(0.1, 0.5)]
)
def test_what_diagnosis_tries_keeps_the_widths(edit: Any) -> None:
    net = lm.Sequential(edit(layers()), seed=0)
    net.build(6)
    assert net.predict(X).shape == (40, 1)
