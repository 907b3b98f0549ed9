"""Layers on their own: forward and backward against the oracle, what they refuse."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import reference

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5))
Dense: Any = lm.Dense  # for the wrong types
Dropout: Any = lm.Dropout
ACTIVATIONS = [None, "relu", "tanh", "gelu", "elu", "softmax", "log_softmax"]


def apply(name: str | None, z: np.ndarray) -> np.ndarray:
    if name in ("softmax", "log_softmax"):
        y: np.ndarray = getattr(reference, name)(z)
        return y
    return reference.ACTIVATIONS[name or "identity"].forward(z)


def slope(f: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Central differences of f by every element of `array`, which f reads.

    The step balances a truncation of 1e-10 against a rounding of 1e-11.
    """
    result, step = np.empty_like(array), 1e-5
    for i in np.ndindex(array.shape):
        old = array[i]
        array[i] = old + step
        above = f()
        array[i] = old - step
        result[i] = (above - f()) / (2 * step)
        array[i] = old
    return result


def assert_slopes(actual: Any, expected: np.ndarray) -> None:
    scale = np.abs(expected).max() + 1e-3
    np.testing.assert_allclose(actual, expected, 0, 1e-6 * scale)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_dense(name: str | None, bias: bool) -> None:
    layer = lm.Dense(4, name, use_bias=bias, bias_initializer="he_normal")
    layer.build(5, "float64", seed=1)
    x, weights = X.copy(), RNG.normal(size=(6, 4))
    p = layer.parameters
    assert (
        set(p) == set(layer.gradients) == ({"kernel", "bias"} if bias else {"kernel"})
    )

    def output() -> np.ndarray:
        return apply(name, x @ p["kernel"] + (p["bias"] if bias else 0))

    # Five products and a sum; gelu's relative error grows near its zero.
    np.testing.assert_allclose(layer.forward(x), output(), 1e-13, 1e-14)
    training = layer.forward(x, training=True)
    np.testing.assert_array_equal(training, layer.forward(x))
    dx = layer.backward(weights)

    def loss() -> float:
        return float((weights * output()).sum())

    assert_slopes(dx, slope(loss, x))
    for parameter in p:
        assert_slopes(layer.gradients[parameter], slope(loss, p[parameter]))
    assert layer.backward(weights, input_gradient=False) is None


def test_dense_penalties() -> None:
    layer = lm.Dense(4, l1=0.3, l2=0.7)
    layer.build(5, "float64", seed=1)
    kernel = layer.parameters["kernel"]
    kernel[0, 0] = 0  # sign(0) = 0
    expected = 0.3 * np.abs(kernel).sum() + 0.35 * (kernel**2).sum()
    assert layer.penalty() == pytest.approx(expected, rel=1e-14)
    layer.forward(X, training=True)
    layer.backward(np.zeros((6, 4)))
    assert layer.penalty(2.0) == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(
        layer.gradients["kernel"], 0.6 * np.sign(kernel) + 1.4 * kernel, 1e-15
    )
    np.testing.assert_array_equal(layer.gradients["bias"], 0)


def test_dense_max_norm() -> None:
    assert lm.Dense(4).max_norm is None
    assert lm.Dense(4, max_norm=3).max_norm == 3.0


def test_dense_logits() -> None:
    layer = lm.Dense(4, "softmax")
    z = layer.forward(X, training=True, logits=True)
    kernel = layer.parameters["kernel"]
    np.testing.assert_allclose(z, X @ kernel, 1e-13, 1e-14)
    dx: Any = layer.backward(np.ones((6, 4)))
    np.testing.assert_allclose(dx, np.ones((6, 4)) @ kernel.T, 1e-13, 1e-14)


@pytest.mark.parametrize("name", [a for a in ACTIVATIONS if a])
def test_activation(name: str) -> None:
    layer = lm.Activation(name)
    x, weights = X.copy(), RNG.normal(size=(6, 5))
    np.testing.assert_allclose(
        layer.forward(x, training=True), apply(name, x), 1e-13, 1e-14
    )
    dx = layer.backward(weights)
    assert_slopes(dx, slope(lambda: float((weights * apply(name, x)).sum()), x))


def test_activation_with_parameter() -> None:
    leaky = lm.leaky_relu.using(negative_slope=-0.5)  # cannot be undone from y
    for layer in (
        lm.Activation(leaky),
        lm.Dense(5, leaky, kernel_initializer=identity),
    ):
        y = layer.forward(X, training=True)
        np.testing.assert_array_equal(y, np.where(X > 0, X, -0.5 * X))
        dx: Any = layer.backward(np.ones_like(X))
        np.testing.assert_array_equal(dx, np.where(X > 0, 1, -0.5))


def identity(shape: tuple[int, ...], dtype: Any) -> Any:
    return np.eye(*shape, dtype=dtype)


@pytest.mark.parametrize("mode", ["inverted", "classic"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1 / 131072, 1.0])
def test_dropout(mode: Any, rate: float) -> None:
    x = RNG.normal(size=(40, 30))
    layer = lm.Dropout(rate, mode)
    layer.build(30, "float64", seed=9, index=3)
    for step in range(2):
        bits = step << 32 | 3
        y = layer.forward(x, training=True)
        expected = reference.dropout(x, rate, 9, 0, bits, mode)
        # The scale and the product are rounded once each.
        np.testing.assert_allclose(y, expected, 3e-16)
        dy = np.ones_like(x)
        mask: Any = reference.dropout(dy, rate, 9, 0, bits, mode)
        dx: Any = layer.backward(dy)
        np.testing.assert_allclose(dx, mask, 3e-16)
    keep = 1 - round(rate * 65536) / 65536
    expected = x * keep if mode == "classic" else x
    np.testing.assert_array_equal(layer.forward(x), expected)


@pytest.mark.parametrize("mode", ["inverted", "classic"])
def test_dropout_expectation(mode: Any) -> None:
    # The mean of training passes is the prediction.
    layer = lm.Dropout(0.3, mode)
    layer.build(1000, "float64", seed=0)
    x = np.ones((500, 1000))
    y = layer.forward(x, training=True)
    scale = 1 / 0.7 if mode == "inverted" else 1
    error = scale * np.sqrt(0.21 / x.size)
    assert abs(y.mean() - layer.forward(x).mean()) < 5 * error


def test_dropout_depends_on_seed_and_step() -> None:
    passes = []
    for _ in range(2):
        layer = lm.Dropout(0.5)
        layer.build(50, seed=1)
        passes.append([layer.forward(np.ones((1, 50)), True) for _ in range(2)])
    np.testing.assert_array_equal(passes[0], passes[1])
    assert not np.array_equal(passes[0][0], passes[0][1])


def test_dropout_selects() -> None:
    x = np.full((1, 1000), np.inf)
    y = lm.Dropout(0.5).forward(x, training=True)
    assert set(y.ravel().tolist()) == {0.0, np.inf}


@pytest.mark.parametrize("mode", ["inverted", "classic", "alpha"])
def test_dropout_of_inputs(mode: Any) -> None:
    """As the first layer of a net: one step of training against plain NumPy."""
    x, y = RNG.normal(size=(20, 5)), RNG.normal(size=(20, 2))
    net = lm.Sequential([lm.Dropout(0.4, mode), lm.Dense(2)], seed=6, dtype="float64")
    net.build(5)
    kernel = net.layers[1].parameters["kernel"].copy()
    net.fit(
        x,
        y,
        batch_size=20,
        shuffle=False,
        optimizer=lm.SGD(0.5),
        loss="mean_squared_error",
        verbose=0,
    )
    h = reference.dropout(x, 0.4, 6, 0, 0, mode)  # stream: dropout, layer 0, step 0
    _, gradient = reference.mean_squared_error(h @ kernel, y)
    # Sums of 20 numbers of size 1, and rounded scales of dropout.
    np.testing.assert_allclose(
        net.layers[1].parameters["kernel"], kernel - 0.5 * h.T @ gradient, 0, 1e-13
    )


def two_nets(rates: tuple[float, float], dtype: Any) -> tuple[Any, Any, np.ndarray]:
    """A trained classic net, its inverted copy, and inputs."""
    x = RNG.normal(size=(50, 7))
    net = lm.Sequential(
        [
            lm.Dropout(rates[0], "classic"),
            lm.Dense(11, "relu", bias_initializer="he_normal"),
            lm.Dropout(rates[1], "classic"),
            lm.Dense(5, "gelu"),
            lm.Dropout(0.5),
            lm.Dense(3, "softmax"),
        ],
        seed=3,
        dtype=dtype,
    )
    net.fit(x, np.arange(50) % 3, epochs=3, verbose=0)
    return net, net.convert_dropout("inverted"), x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_converted_dropout_computes_the_same(dtype: Any) -> None:
    for rates in [(0.5, 0.75), (0.3, 0.123), (0.0, 0.9)]:
        net, inverted, x = two_nets(rates, dtype)
        modes = [layer.mode for layer in inverted.layers[::2]]
        assert modes == ["inverted"] * 3
        keeps = [1 - round(rate * 65536) / 65536 for rate in rates]
        for i, keep in zip((1, 3), keeps, strict=True):
            for name, factor in (("kernel", keep), ("bias", 1)):
                np.testing.assert_array_equal(
                    inverted.layers[i].parameters[name],
                    net.layers[i].parameters[name] * np.dtype(dtype).type(factor),
                )
        back = inverted.convert_dropout("classic")
        assert [layer.mode for layer in back.layers[::2]] == ["classic"] * 3
        exact = rates == (0.5, 0.75)
        # Products of a few numbers of size 1, each rounded some times more or less.
        error = 0 if exact else 50 * np.finfo(dtype).eps
        for other in (inverted, back):
            np.testing.assert_allclose(other.predict(x), net.predict(x), error, error)
        for start, other in ((net, inverted), (inverted, back)):
            a, b = copy.deepcopy(start), copy.deepcopy(other)
            y, z = x, x
            for one, two in zip(a.layers, b.layers, strict=True):
                y, z = one.forward(y, training=True), two.forward(z, training=True)
            np.testing.assert_allclose(y, z, error, error)


def test_conversion_leaves_the_net_and_starts_a_new_optimizer() -> None:
    net, inverted, x = two_nets((0.5, 0.5), "float32")
    before, start = net.parameters.copy(), inverted.parameters.copy()
    inverted.fit(x, np.arange(50) % 3, batch_size=50, verbose=0)
    np.testing.assert_array_equal(net.parameters, before)
    # A first step of Adam goes as far as the rate, by every gradient far above epsilon.
    steps = np.abs(inverted.parameters - start)
    assert np.median(steps) == pytest.approx(1e-3, rel=1e-3)
    assert net.layers[0].mode == "classic"
    same = net.convert_dropout("inverted").convert_dropout("inverted")
    again = net.convert_dropout("inverted")
    np.testing.assert_array_equal(same.parameters, again.parameters)
    alpha = lm.Sequential([lm.Dropout(0.5, "alpha"), lm.Dense(1)], seed=0)
    alpha.build(2)
    np.testing.assert_array_equal(
        alpha.convert_dropout("classic").parameters, alpha.parameters
    )


@pytest.mark.parametrize(
    ("layers", "mode", "message"),
    [
        ([lm.Dense(2), lm.Dropout(0.5, "classic")], "inverted", r"layers\[1\].*None"),
        (
            [lm.Dropout(0.5, "classic"), lm.Activation("relu"), lm.Dense(2)],
            "inverted",
            r"layers\[0\], Dropout\(0.5, 'classic'\), must come right before a Dense "
            r".* got Activation",
        ),
        ([lm.Dropout(1), lm.Dense(2)], "classic", "must keep something"),
        ([lm.Dense(2)], "alpha", "mode must be 'classic' or 'inverted', got 'alpha'"),
    ],
)
def test_dropout_that_cannot_be_converted(layers: Any, mode: Any, message: str) -> None:
    net = lm.Sequential(layers, seed=0)
    with pytest.raises(RuntimeError, match="convert_dropout must come after"):
        net.convert_dropout(mode)
    net.build(4)
    with pytest.raises(ValueError, match=message):
        net.convert_dropout(mode)


def test_standardize() -> None:
    x = RNG.normal(size=(100, 4)) * [1, 1e-3, 1e3, 0] + [0, 50, -1e6, 0.1]
    for dtype in ("float64", "float32"):
        layer = lm.Standardize()
        layer.build(4, dtype)
        narrow = x.astype(dtype)
        np.testing.assert_array_equal(layer.forward(narrow), narrow)  # not learnt yet
        layer.learn(narrow)
        wide = narrow.astype(np.float64)
        # Sums of 100 in float64, in whatever order, then one rounding to the dtype.
        eps = 10 * np.finfo(np.float64).eps + np.finfo(dtype).eps
        np.testing.assert_allclose(layer.mean, wide.mean(axis=0), eps)
        scale = wide.std(axis=0)
        scale[3] = 1  # constant, though its computed spread is not exactly 0
        np.testing.assert_allclose(layer.scale, scale, eps)
        y = layer.forward(narrow, training=True)
        assert not y[:, 3].any()
        np.testing.assert_array_equal(y, (narrow - layer.mean) / layer.scale)
        dx = layer.backward(np.ones_like(narrow))
        np.testing.assert_array_equal(dx, np.ones_like(narrow) / layer.scale)
        assert not layer.parameters


def test_conversion_of_inputs() -> None:
    layer = lm.Dense(2, kernel_initializer=identity)
    layer.build(2)
    for x in ([[1, 2]], np.array([[1, 2]], ">i2"), np.array([[1, 2]], np.float16)):
        y = layer.forward(x)
        assert y.dtype == np.float32
        assert y.tolist() == [[1, 2]]
    assert lm.Dense(2).forward(np.ones((1, 3), np.float32)).dtype == np.float32
    assert lm.Dense(2).forward(np.ones((1, 3), np.float64)).dtype == np.float64
    assert lm.Dense(2).forward(np.ones((1, 3), np.int64)).dtype == np.float32


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows: int) -> None:
    for layer in (lm.Dense(3, "gelu"), lm.Activation("softmax"), lm.Dropout(0.5)):
        layer.build(4, "float64")
        y = layer.forward(np.ones((rows, 4)), training=True)
        dx = layer.backward(np.ones_like(y))
        assert y.shape == (rows, layer.outputs(4))
        assert dx is not None
        assert dx.shape == (rows, 4)


def test_copies_are_independent() -> None:
    layer = lm.Dense(4, lm.leaky_relu.using(negative_slope=0.2))
    y = layer.forward(X, training=True)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other.forward(X), y)
        with pytest.raises(RuntimeError, match="must come after forward"):
            other.backward(y)
        other.parameters["kernel"][...] = 0
        assert not other.forward(X).any()
    np.testing.assert_array_equal(layer.forward(X), y)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lm.Dense(0), ValueError, "units must be an integer >= 1, got 0"),
        (lambda: lm.Dense(-3), ValueError, "units must be .* got -3"),
        (lambda: Dense(2.5), TypeError, "units must be .* got 2.5"),
        (lambda: Dense("relu"), TypeError, "units must be .* got 'relu'"),
        (lambda: lm.Dense(3, l1=-1), ValueError, "l1 must be .* >= 0, got -1"),
        (lambda: lm.Dense(3, l2=np.inf), ValueError, "l2 must be .* got inf"),
        (lambda: lm.Dense(3, max_norm=0), ValueError, "max_norm must be .* > 0, got 0"),
        (lambda: lm.Dense(3, max_norm=np.inf), ValueError, "max_norm must be .* inf"),
        (lambda: Dense(3, max_norm="3"), TypeError, "max_norm must be .* got '3'"),
        (lambda: lm.Dense(3, "rellu"), ValueError, "rellu.*softplus"),
        (lambda: lm.Activation("rellu"), ValueError, "rellu.*softplus"),
        (lambda: lm.Dropout(1.5), ValueError, r"rate must be .*\[0, 1\], got 1.5"),
        (lambda: lm.Dropout(-0.1), ValueError, "rate must be .* got -0.1"),
        (lambda: lm.Dropout(np.nan), ValueError, "rate must be .* got nan"),
        (lambda: Dropout("0.5"), TypeError, "rate must be .* got '0.5'"),
        (
            lambda: Dropout(0.5, "old"),
            ValueError,
            "'inverted', 'classic' or 'alpha', got 'o",
        ),
        (lambda: lm.Dense(2).build(0), ValueError, "features must be .* got 0"),
        (lambda: lm.Dense(2).build(3, "int8"), ValueError, "'float64', got 'int8'"),
        (lambda: lm.Dense(2).build(3, "who"), ValueError, "'float64', got 'who'"),
        (lambda: lm.Dense(2).build(3, seed=-1), ValueError, "seed must be .* got -1"),
        (lambda: Dense(2).build(3, seed="x"), TypeError, "seed must be .* got 'x'"),
    ],
)
def test_wrong_arguments(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((2, 4)), ValueError, "x must have 5 features, got 4"),
        (np.ones(5), ValueError, r"got shape \(5,\); use reshape\(-1, 1\) .* one row"),
        (np.ones((2, 5, 1)), ValueError, r"got shape \(2, 5, 1\); use reshape\(len"),
        (1.0, ValueError, r"x must be 2-d \(rows, features\), got shape \(\)"),
        (np.ones((2, 5), complex), TypeError, "real numbers, got dtype complex128"),
        (np.full((2, 5), "a"), TypeError, "x must hold real numbers, got dtype <U1"),
        (
            np.full((2, 5), None),
            TypeError,
            "x must hold real numbers, got dtype object",
        ),
        (np.ma.ones((2, 5)), TypeError, "x must not be masked"),
    ],
)
def test_wrong_inputs(x: Any, error: type[Exception], message: str) -> None:
    for layer in (
        lm.Dense(3),
        lm.Activation("relu"),
        lm.Dropout(0.5),
        lm.Standardize(),
    ):
        layer.build(5)
        with pytest.raises(error, match=message):
            layer.forward(x)


def test_wrong_gradients() -> None:
    for layer in (
        lm.Dense(3),
        lm.Activation("relu"),
        lm.Dropout(0.5),
        lm.Standardize(),
    ):
        with pytest.raises(RuntimeError, match="must come after forward"):
            layer.backward(np.ones((6, 3)))
        layer.forward(X)
        with pytest.raises(RuntimeError, match="training=True"):
            layer.backward(np.ones((6, 3)))
        outputs = layer.forward(X, training=True).shape[1]
        with pytest.raises(ValueError, match="dy must have 6 rows like x, got 1"):
            layer.backward(np.ones((1, outputs)))
        with pytest.raises(ValueError, match=f"dy must have {outputs} features, got 7"):
            layer.backward(np.ones((6, 7)))


def test_a_built_layer_keeps_what_it_has_learnt() -> None:
    layer = lm.Dense(3)
    kernel = layer.forward(np.eye(4, dtype=np.float32))
    net = lm.Sequential([copy.deepcopy(layer), lm.Dense(2)], seed=5)
    net.build(4)
    np.testing.assert_array_equal(net.layers[0].parameters["kernel"], kernel)
    centred = lm.Standardize()
    centred.learn(np.array([[1.0], [3.0]], np.float32))
    net = lm.Sequential([centred, lm.Dense(1)])
    net.build(1)
    assert centred.mean == 2
    for features, dtype in ((5, "float32"), (4, "float64")):
        with pytest.raises(ValueError, match="is built for 4 features in float32"):
            copy.deepcopy(layer).build(features, dtype)


def test_parameters_are_changed_in_place_only() -> None:
    layer = lm.Dense(2)
    layer.build(3)
    with pytest.raises(TypeError):
        layer.parameters["kernel"] = np.zeros((3, 2))  # type: ignore[index]
    layer.parameters["kernel"][...] = 0
    assert not layer.forward(np.ones((1, 3), np.float32)).any()


class Plain(lm.Layer):
    """A layer of a user's own, with mistakes on request."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__()
        self.mistake = mistake

    def initial(self) -> dict[str, Any]:
        return {"scale": [1.0] * self.features}  # a list, and of float64

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.take(x)
        self.keep(x, training)
        return np.asfortranarray(x * self.parameters["scale"])

    def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
        dy, x = self.recall(dy)
        self.gradients["scale"][...] = (dy * x).sum(axis=0)
        if self.mistake != "no gradient":
            return dy * self.parameters["scale"]
        return None


def test_own_layers_train_wherever_they_stand() -> None:
    x = np.random.default_rng(0).normal(size=(64, 3))
    y = x @ [[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]]
    for layers in ([Plain(), lm.Dense(2)], [lm.Dense(2), Plain()]):
        net = lm.Sequential(layers, seed=0)
        loss = "mean_squared_error"
        history = net.fit(x, y, epochs=40, loss=loss, optimizer=lm.SGD(0.05), verbose=0)
        assert history["loss"][-1] < 0.1 * history["loss"][0]
    net = lm.Sequential([lm.Dense(3), Plain("no gradient"), lm.Dense(2)], seed=0)
    with pytest.raises(TypeError, match=r"Plain.*backward must return a gradient"):
        net.fit(x, y, verbose=0)


def test_own_layers_draw_their_weights() -> None:
    layer = Plain()
    layer.build(4, "float64", seed=5, index=2)
    drawn = [layer.draw("normal", (4, 3), number) for number in (0, 1)]
    for number, weights in enumerate(drawn):
        bits = lm.initializers.stream(lm.initializers.WEIGHTS, 2, number)
        want = lm.initializers.normal((4, 3), "float64", seed=5, stream=bits)
        np.testing.assert_array_equal(weights, want)
    with pytest.raises(ValueError, match="unknown initializer 'x'"):
        layer.draw("x", (4, 3))


def test_a_build_that_fails_leaves_nothing_built() -> None:
    def broken(shape: Any, dtype: Any) -> Any:
        raise RuntimeError("no weights today")

    net = lm.Sequential([lm.Dense(3), lm.Dense(2, kernel_initializer=broken)])
    with pytest.raises(RuntimeError, match="no weights today"):
        net.build(4)
    assert net.features == net.layers[0].features == 0
    assert not net.layers[0].parameters

    class Forgetful(lm.Layer):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"must call super\(\).__init__\(\)"):
        lm.Sequential([Forgetful()])
    with pytest.raises(TypeError, match="layers must be a list of layers"):
        lm.Sequential(lm.Dense(3))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_standardize_of_huge_values() -> None:
    with pytest.raises(ValueError, match="x must have a finite spread, got column=1"):
        lm.Standardize().learn(np.array([[1.0, 1e200], [2.0, -1e200]]))


def test_activations_by_names_of_other_libraries() -> None:
    for name, known in (
        ("ReLU", "relu"),
        ("LeakyReLU", "leaky_relu"),
        ("Softmax", "softmax"),
        ("LogSoftmax", "log_softmax"),
        ("swish", "silu"),
        ("linear", "identity"),
        ("hard-swish", "hard_swish"),
    ):
        assert lm.Dense(1, name).activation is lm.activations.get(known)
    with pytest.raises(ValueError, match=r"'prelu'; .*nearest is lm.PReLU\(\)"):
        lm.Activation("prelu")


@pytest.mark.parametrize(
    ("layer", "name", "value", "error", "message"),
    [
        (lm.Dropout(0.5), "rate", np.nan, ValueError, r"rate must be .* got nan"),
        (
            lm.Dropout(0.5),
            "rate",
            1.5,
            ValueError,
            r"rate must be .* 1\], got 1.5",
        ),
        (lm.Dropout(0.5), "mode", "up", ValueError, "mode must be 'inverted', "),
        (lm.GaussianNoise(0.5), "stddev", -1, ValueError, "stddev must be .* >= 0"),
        (lm.Dense(3), "l1", np.nan, ValueError, "l1 must be .* got nan"),
        (lm.Dense(3), "l2", -1, ValueError, "l2 must be a finite number >= 0, got -1"),
        (lm.Dense(3), "l2", "much", TypeError, "l2 must be .* got 'much'"),
        (lm.Dense(3), "max_norm", 0, ValueError, "max_norm must be .* > 0, got 0"),
        (lm.Dense(3), "activation", "rleu", ValueError, "unknown activation 'rleu'"),
        (lm.Dense(3), "units", 4, ValueError, "units must stay 3 in a layer that is"),
        (lm.Dense(3), "use_bias", False, ValueError, "use_bias must stay True"),
        (lm.Activation("relu"), "activation", 3, TypeError, "activation must be a n"),
    ],
)
def test_settings_are_checked_whenever_they_are_set(
    layer: Any, name: str, value: Any, error: type[Exception], message: str
) -> None:
    """On a built layer, too, where they would be met in the middle of a training."""
    before = getattr(layer, name)
    layer = copy.deepcopy(layer)
    net = lm.Sequential([layer, lm.Dense(1)], seed=0)
    net.build(4)
    with pytest.raises(error, match=message):
        setattr(layer, name, value)
    assert getattr(layer, name) == before
    net.train_on_batch(np.ones((2, 4)), [1, 2])


def test_settings_that_are_set_count_at_once() -> None:
    net = lm.Sequential([lm.Dense(1)], seed=0)
    net.build(2)
    x = np.array([[3.0, -4.0]])
    layer: Any = net.layers[0]
    linear = net.predict(x)
    layer.activation = "tanh"
    np.testing.assert_allclose(net.predict(x), np.tanh(linear), 1e-6)
    layer.l2 = np.float32(0.5)
    assert type(layer.l2) is float


def own_layer(**methods: Any) -> lm.Layer:
    layer: lm.Layer = type("Mine", (lm.Layer,), methods)()
    return layer


def passing(self: Any, x: Any, training: bool = False) -> Any:
    x = self.take(x)
    self.keep(x, training)
    return x


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        ({}, NotImplementedError, r"Mine must define forward\(x, training=False\)"),
        (
            {"forward": passing},
            NotImplementedError,
            r"Mine must define .*backward\(dy, \*, input_gradient=True\) to be trained",
        ),
        (
            {"forward": lambda self, x, training=False: np.hstack([x, x])},
            ValueError,
            r"Mine.forward must return shape \(5, 3\), as outputs.* got \(5, 6\)",
        ),
        (
            {"forward": lambda self, x, training=False: None},
            ValueError,
            r"Mine.forward must return shape \(5, 3\), .* got \(\)",
        ),
        (
            {
                "forward": passing,
                "backward": lambda self, dy, input_gradient=True: None,
            },
            TypeError,
            "backward must return a gradient, got None",
        ),
    ],
)
def test_what_an_own_layer_lacks(
    methods: dict[str, Any], error: type[Exception], message: str
) -> None:
    net = lm.Sequential([lm.Dense(3), own_layer(**methods), lm.Dense(1)], seed=0)
    with pytest.raises(error, match=message):
        net.fit(np.ones((5, 2)), np.ones(5), verbose=0)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0], [np.nan]], r"x must be finite .* \(nan\) in row 1, column 0"),
        (np.empty((0, 2)), r"x must have a row and a feature at least, got \(0, 2\)"),
        (np.empty((2, 0)), r"x must have a row and a feature at least, got \(2, 0\)"),
    ],
)
def test_standardize_learns_from_numbers(x: Any, message: str) -> None:
    layer = lm.Standardize()
    with pytest.raises(ValueError, match=message):
        layer.learn(x)
    assert not layer.learnt
