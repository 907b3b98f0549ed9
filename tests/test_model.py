"""Whole nets: gradients, training against an oracle, seeds, data and errors."""

import copy
import functools
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import reference
from test_layers import apply, assert_slopes, slope

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 5))
pytestmark = pytest.mark.filterwarnings("error")
LABELS = RNG.integers(0, 3, 7)
BITS = RNG.integers(0, 2, (7, 3))
NUMBERS = RNG.normal(size=(7, 3))


Sequential: Any = lm.Sequential  # for the wrong types


class Oracle:
    """A net and its training in NumPy float64, from the layers' descriptions alone."""

    def __init__(self, net: lm.Sequential) -> None:
        self.layers, self.seed = net.layers, net.seed

    def loss(self, x: Any, y: Any, step: int | None = None) -> float:
        """The loss by the parameters of the net; that of training if given a step."""
        penalty, last = 0.0, self.layers[-1]
        for index, layer in enumerate(self.layers):
            name = None
            if isinstance(layer, lm.Standardize):
                x = (x - layer.mean) / layer.scale
            elif isinstance(layer, lm.Dropout):
                rate = layer.rates(0, 1).item()
                if step is not None:
                    bits = step << 32 | index
                    x = reference.dropout(x, rate, self.seed, 0, bits, layer.mode)
                elif layer.mode == "classic":
                    x = x * (1 - reference.threshold(rate) / 65536)
            elif isinstance(layer, lm.Dense):
                kernel = layer.parameters["kernel"]
                x = x @ kernel + layer.parameters.get("bias", 0.0)
                penalty += layer.l1 * np.abs(kernel).sum()
                penalty += layer.l2 / 2 * (kernel**2).sum()
                name = layer.activation.name
            elif isinstance(layer, lm.Activation):
                name = layer.activation.name
            if layer is last and name == "softmax":
                return reference.categorical_crossentropy(x, y)[0] + penalty
            if layer is last and name == "sigmoid":
                return reference.binary_crossentropy(x, y)[0] + penalty
            x = apply(name, x)
        return reference.mean_squared_error(x, y)[0] + penalty


ARCHITECTURES: dict[str, tuple[Callable[[], list[lm.Layer]], Any]] = {
    "softmax": (lambda: [lm.Dense(6, "relu"), lm.Dense(3, "softmax")], LABELS),
    "one-hot": (
        lambda: [lm.Dense(6, "tanh"), lm.Dense(3, "softmax")],
        np.eye(3)[LABELS],
    ),
    "activation layers": (
        lambda: [
            lm.Dense(6),
            lm.Activation("silu"),
            lm.Dense(3, use_bias=False),
            lm.Activation("softmax"),
        ],
        LABELS,
    ),
    "stacked activations": (
        lambda: [lm.Dense(3, "relu"), lm.Activation("softmax")],
        LABELS,
    ),
    "sigmoid": (lambda: [lm.Dense(6, "gelu"), lm.Dense(3, "sigmoid")], BITS),
    "linear": (lambda: [lm.Dense(6, "selu"), lm.Dense(3)], NUMBERS),
    "output activation": (lambda: [lm.Dense(6, "elu"), lm.Dense(3, "tanh")], NUMBERS),
    "softmax hidden": (
        lambda: [lm.Dense(6, "softmax"), lm.Dense(6, "mish"), lm.Dense(3)],
        NUMBERS,
    ),
    "dropout": (
        lambda: [
            lm.Dropout(0.2),
            lm.Dense(6, "leaky_relu"),
            lm.Dropout(0.5),
            lm.Dense(3, "softmax"),
        ],
        LABELS,
    ),
    "classic dropout": (
        lambda: [lm.Dense(6, "softplus"), lm.Dropout(0.5, "classic"), lm.Dense(3)],
        NUMBERS,
    ),
    "alpha dropout": (
        lambda: [lm.Dense(6, "selu"), lm.Dropout(0.3, "alpha"), lm.Dense(3)],
        NUMBERS,
    ),
    "penalties": (
        lambda: [lm.Dense(6, "tanh", l1=0.1), lm.Dense(3, "softmax", l1=0.2, l2=0.3)],
        LABELS,
    ),
    "one layer": (lambda: [lm.Dense(3, "softmax")], LABELS),
    "standardize": (
        lambda: [lm.Standardize(), lm.Dense(6, "tanh"), lm.Dense(3, "sigmoid")],
        BITS,
    ),
    "dropout at the end": (lambda: [lm.Dense(3), lm.Dropout(0.4)], NUMBERS),
}


def built(name: str) -> tuple[lm.Sequential, Any]:
    make, y = ARCHITECTURES[name]
    net = lm.Sequential(make(), seed=3, dtype="float64")
    net.build(5)
    # Biases too away from 0; no pre-activation is within 1e-3 of relu's kink.
    net.parameters[...] = np.random.default_rng(1).normal(size=net.parameters.size)
    return net, y


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients(name: str) -> None:
    net, y = built(name)
    before = net.parameters.copy()
    loss = "mean_squared_error" if y is NUMBERS else None
    # One step of rate 1 on one batch: the buffer keeps the gradient at `before`.
    history = net.fit(
        X, y, batch_size=7, optimizer=lm.SGD(1.0), shuffle=False, loss=loss, verbose=0
    )
    np.testing.assert_allclose(net.parameters, before - net.gradient, 1e-13, 1e-14)
    net.parameters[...] = before
    oracle = Oracle(net)
    assert history["loss"] == [pytest.approx(oracle.loss(X, y, step=0), rel=1e-12)]
    expected = slope(lambda: oracle.loss(X, y, step=0), net.parameters)
    assert_slopes(net.gradient, expected)
    assert net.evaluate(X, y)["loss"] == pytest.approx(oracle.loss(X, y), rel=1e-12)


def test_training_against_the_oracle() -> None:
    """Three epochs of shuffled mini-batches, the last one smaller, with dropout."""
    n, batch, epochs = 11, 4, 3
    x, y = RNG.normal(size=(n, 5)), RNG.integers(0, 3, n)

    def make() -> lm.Sequential:
        layers = [lm.Dense(6, "tanh", l2=0.01), lm.Dropout(0.3), lm.Dense(3, "softmax")]
        return lm.Sequential(layers, seed=8, dtype="float64")

    net = make()
    rule = lm.Adam(0.02)
    history = net.fit(x, y, epochs=epochs, batch_size=batch, optimizer=rule, verbose=0)

    other = make()
    other.build(5)
    w, oracle = other.parameters, Oracle(other)
    m, v, step, means = np.zeros(w.size), np.zeros(w.size), 0, []
    for epoch in range(epochs):
        words = reference.random_words(2 * n, 8, epoch << 32 | 2 << 16).astype(object)
        keys = words[:n] * 2**32 + words[n:]
        order = np.array(sorted(range(n), key=lambda i: keys[i]))
        total = 0.0
        for start in range(0, n, batch):
            rows = order[start : start + batch]
            loss = functools.partial(oracle.loss, x[rows], y[rows], step)
            total += loss() * len(rows)
            gradient = slope(loss, w)
            new, m, v = reference.adam(w, gradient, m, v, step + 1, 0.02)
            w[...] = new
            step += 1
        means.append(total / n)
    # Differences are right to 1e-9; Adam divides by gradients as small as 1e-4.
    np.testing.assert_allclose(net.parameters, w, 0, 1e-6)
    np.testing.assert_allclose(history["loss"], means, 1e-6)


def blobs(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, 4)) + 3 * np.eye(3, 4)[y], y


def classifier(seed: Any = 0, dtype: str = "float32") -> lm.Sequential:
    layers = [
        lm.Standardize(),
        lm.Dense(16, "relu"),
        lm.Dropout(0.2),
        lm.Dense(3, "softmax"),
    ]
    return lm.Sequential(layers, seed=seed, dtype=dtype)


def test_learns_classes() -> None:
    x, y = blobs()
    net = classifier()
    history = net.fit(x, y, epochs=15, optimizer=lm.Adam(0.01), verbose=0)
    assert history["loss"][-1] < 0.4 * history["loss"][0]
    # Two of three centres are 3 sqrt 2 apart: Bayes' rule is right for 97 to 98 %.
    assert net.evaluate(*blobs(seed=1))["accuracy"] > 0.95
    p = net.predict(x)
    np.testing.assert_allclose(p.sum(axis=1), 1, 1e-6)
    accuracy = np.mean(p.argmax(axis=1) == y)
    assert net.evaluate(x, y)["accuracy"] == pytest.approx(accuracy, rel=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", lm.SGD(0.5, momentum=0.9)], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_solves_xor(optimizer: Any, dtype: str) -> None:
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    if optimizer == "adam":
        optimizer = lm.Adam(0.05)
    net = lm.Sequential(
        [lm.Dense(8, "tanh"), lm.Dense(1, "sigmoid")], seed=1, dtype=dtype
    )
    history = net.fit(x, y, epochs=400, optimizer=optimizer, verbose=0)
    assert history["accuracy"][-1] == 1.0
    assert net.evaluate(x, y)["loss"] < 0.05
    np.testing.assert_array_equal(net.predict(x).round().ravel(), y)


def test_learns_a_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (400, 2))
    y = np.sin(x[:, 0]) + x[:, 1]
    net = lm.Sequential([lm.Dense(32, "tanh"), lm.Dense(1)], seed=0)
    history = net.fit(x, y, epochs=60, optimizer=lm.Adam(0.01), verbose=0)
    assert history["loss"][-1] < 0.01 * y.var()
    assert list(history) == ["loss", "learning_rate"]
    assert list(net.evaluate(x, y)) == ["loss"]
    residual = net.predict(x)[:, 0] - y
    assert net.evaluate(x, y)["loss"] == pytest.approx(np.mean(residual**2), rel=1e-5)


# Seeds --------------------------------------------------------------------------------


def test_same_seed_same_net() -> None:
    x, y = blobs()
    nets = [classifier(seed) for seed in (5, 5, 6)]
    histories = [net.fit(x, y, epochs=3, verbose=0) for net in nets]
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert dict(histories[0]) == dict(histories[1])
    assert not np.array_equal(nets[0].parameters, nets[2].parameters)


def test_seed_none_is_kept() -> None:
    x, y = blobs()
    net = classifier(None)
    net.fit(x, y, verbose=0)
    again = classifier(net.seed)
    again.fit(x, y, verbose=0)
    np.testing.assert_array_equal(net.parameters, again.parameters)
    assert classifier(None).seed != net.seed


@pytest.mark.parametrize("optimizer", [lm.Adam(0.01), lm.SGD(0.1, momentum=0.9)])
@pytest.mark.parametrize("split", [0.0, 0.25])
def test_fit_goes_on(optimizer: lm.Adam, split: float) -> None:
    x, y = blobs()
    once, twice = classifier(), classifier()
    arguments: Any = {"validation_split": split, "verbose": 0}
    whole = once.fit(x, y, epochs=4, optimizer=optimizer, **arguments)
    first = twice.fit(x, y, epochs=2, optimizer=optimizer, **arguments)
    second = twice.fit(x, y, epochs=2, **arguments)
    np.testing.assert_array_equal(once.parameters, twice.parameters)
    assert first.epochs + second.epochs == whole.epochs == [1, 2, 3, 4]
    for name in whole:
        assert first[name] + second[name] == whole[name]


def test_optimizer_state_starts_anew_with_another_kind() -> None:
    x, y = blobs()
    net, other = classifier(), classifier()
    for each in (net, other):
        each.fit(x, y, verbose=0)
    other.reset_optimizer()
    for each in (net, other):
        each.fit(x, y, optimizer=lm.SGD(0.1, momentum=0.9), verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)

    class Other(lm.SGD):
        """Another kind with as much state."""

    other.reset_optimizer()
    for each in (net, other):
        each.fit(x, y, optimizer=Other(0.1, momentum=0.9), verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    # Adam's first step, unlike later ones, is the rate itself for any gradient.
    before = net.parameters.copy()
    net.fit(x, y, batch_size=300, optimizer=lm.Adam(0.01), verbose=0)
    largest = np.abs(net.parameters - before).max()
    assert largest == pytest.approx(0.01, rel=1e-3)  # float32 weights, epsilon


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
)
@pytest.mark.parametrize("fitted", [False, True])
def test_copies_continue(duplicate: Any, fitted: bool) -> None:
    x, y = blobs()
    net = classifier()
    if fitted:
        net.fit(x, y, epochs=2, verbose=0)
    other = duplicate(net)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    for each in (net, other):
        each.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    assert net.epoch == other.epoch
    assert_linked(other)
    other.parameters[...] = 0
    assert net.parameters.any()


def assert_linked(net: lm.Sequential) -> None:
    """The layers' arrays are the flat buffers, in order and without gaps."""
    for flat, attribute in [
        (net.parameters, "parameters"),
        (net.gradient, "gradients"),
    ]:
        arrays = [a for each in net.layers for a in getattr(each, attribute).values()]
        assert all(np.shares_memory(a, flat) for a in arrays)
        whole = np.concatenate([a.ravel() for a in arrays])
        np.testing.assert_array_equal(whole, flat)


def test_flat_buffers() -> None:
    net = classifier()
    assert net.parameters.size == 0
    net.build(4)
    assert net.parameters.size == net.gradient.size == 4 * 16 + 16 + 16 * 3 + 3
    assert_linked(net)
    net.layers[1].parameters["bias"][2] = 7
    assert net.parameters[4 * 16 + 2] == 7
    before = net.parameters
    net.fit(*blobs(), verbose=0)
    assert net.parameters is before
    assert_linked(net)


# Data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 33])
def test_validation_split(n: int) -> None:
    x = np.arange(n, dtype=np.float64)[:, np.newaxis]
    seen: list[float] = []

    class Spy(lm.Layer):
        """Notes which rows pass, in training or not."""

        def forward(self, x: Any, training: bool = False) -> Any:
            x = self.take(x)
            self.keep(x, training)
            (seen if training else held_out).extend(x.ravel().tolist())
            return x

        def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
            return self.recall(dy)[0]

    held_out: list[float] = []
    net = lm.Sequential([Spy(), lm.Dense(1)], seed=2)
    net.fit(x, x, batch_size=4, validation_split=0.3, verbose=0)
    assert len(held_out) == round(0.3 * n)
    assert sorted(seen + held_out) == x.ravel().tolist()
    assert seen != sorted(seen)
    words = reference.random_words(2 * n, 2, 3 << 16).astype(object)
    keys = words[:n] * 2**32 + words[n:]
    assert held_out == sorted(sorted(range(n), key=lambda i: keys[i])[: len(held_out)])
    first = list(held_out)
    seen.clear()
    held_out.clear()
    net.fit(x, x, validation_split=0.3, shuffle=False, epochs=2, verbose=0)
    assert held_out == first * 2
    assert seen == sorted(set(seen)) * 2


def test_shuffle_changes_from_epoch_to_epoch() -> None:
    orders: list[list[float]] = []

    class Spy(lm.Layer):
        def forward(self, x: Any, training: bool = False) -> Any:
            orders.append(np.asarray(x).ravel().tolist())
            self.keep(x, training)
            return self.take(x)

        def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
            return dy

    x = np.arange(20.0)[:, np.newaxis]
    net = lm.Sequential([Spy(), lm.Dense(1)], seed=0)
    net.fit(x, x, epochs=3, batch_size=20, verbose=0)
    assert all(sorted(order) == x.ravel().tolist() for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    orders.clear()
    net.fit(x, x, epochs=2, batch_size=20, shuffle=False, verbose=0)
    assert orders == [x.ravel().tolist()] * 2


def test_validation_data() -> None:
    x, y = blobs()
    other = blobs(100, seed=1)
    net = classifier()
    history = net.fit(x, y, epochs=2, validation_data=other, verbose=0)
    measured = ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert list(history) == [*measured, "learning_rate"]
    scores = net.evaluate(*other)
    assert history["val_loss"][-1] == scores["loss"]
    assert history["val_accuracy"][-1] == scores["accuracy"]


def test_history() -> None:
    x, y = blobs()
    net = lm.Sequential([lm.Dense(3, "softmax", l2=0.1)], seed=0, dtype="float64")
    net.build(4)
    before = net.evaluate(x, y)
    # One batch: the epoch's mean is the loss at the weights before the step.
    history = net.fit(x, y, batch_size=1000, epochs=3, verbose=0)
    assert history["loss"][0] == pytest.approx(before["loss"], rel=1e-12)
    assert history["accuracy"][0] == pytest.approx(before["accuracy"], rel=1e-12)
    assert history.epochs == [1, 2, 3]
    assert len(history["loss"]) == 3
    assert "val_loss" not in history
    with pytest.raises(KeyError):
        history["val_loss"]
    assert repr(history).startswith("<History of 3 epochs: loss ")
    assert repr(lm.History()) == "<History of 0 epochs>"


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint8, ">f4"])
def test_inputs_are_converted(dtype: Any) -> None:
    x = np.random.default_rng(0).integers(0, 9, (50, 4))
    y = np.arange(50) % 3
    nets = [classifier(), classifier()]
    nets[0].fit(x.astype(np.float32), y, verbose=0)
    nets[1].fit(np.asfortranarray(x.astype(dtype)), y[:, np.newaxis], verbose=0)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_standardize_learns_from_training_rows_once() -> None:
    x, y = blobs()
    net = classifier(dtype="float64")
    net.fit(x, y, validation_data=blobs(seed=1), verbose=0)
    first: Any = net.layers[0]
    np.testing.assert_allclose(first.mean, x.mean(axis=0), 1e-12)
    mean = first.mean.copy()
    net.fit(x + 5, y, verbose=0)
    np.testing.assert_array_equal(first.mean, mean)
    net = classifier(dtype="float64")
    net.fit(x, y, validation_split=0.5, verbose=0)
    assert not np.allclose(net.layers[0].mean, x.mean(axis=0), 1e-6)  # type: ignore


def test_one_row() -> None:
    net = classifier()
    net.fit([[1, 2, 3, 4]], [2], epochs=3, verbose=0)
    assert np.isfinite(net.parameters).all()
    assert net.predict([[1, 2, 3, 4]]).shape == (1, 3)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 10_000])
def test_predict(batch_size: int | None) -> None:
    x, y = blobs(2500)
    net = classifier()
    net.fit(x, y, verbose=0)
    whole = net.predict(x)
    assert whole.dtype == np.float32
    out = np.empty((2500, 3), np.float32)
    assert net.predict(x, out, batch_size) is out
    np.testing.assert_array_equal(out, whole)
    assert net.predict(np.empty((0, 4))).shape == (0, 3)


def test_predict_in_place() -> None:
    net = lm.Sequential([lm.Dense(4, "tanh")], seed=0)
    net.build(4)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = net.predict(x)
    net.predict(x[::-1], out=x)
    np.testing.assert_array_equal(x, expected[::-1])
    buffer = np.empty((6, 4), np.float32)
    buffer[:5] = x
    expected = net.predict(x)
    net.predict(buffer[:5], out=buffer[1:], batch_size=1)
    np.testing.assert_array_equal(buffer[1:], expected)


def test_the_lowest_layer_makes_no_input_gradient() -> None:
    asked = []

    class Spy(lm.Dense):
        def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
            asked.append((self.index, input_gradient))
            return super().backward(dy, input_gradient=input_gradient)

    net = lm.Sequential([lm.Standardize(), Spy(3, "relu"), Spy(3, "softmax")], seed=0)
    net.fit(*blobs(30), batch_size=30, verbose=0)
    assert asked == [(2, True), (1, False)]


def test_own_layer_trains() -> None:
    class Scale(lm.Layer):
        def initial(self) -> Any:
            return {"factor": np.ones(self.features, self.dtype)}

        def forward(self, x: Any, training: bool = False) -> Any:
            x = self.take(x)
            self.keep(x, training)
            return x * self.parameters["factor"]

        def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
            dy, x = self.recall(dy)
            self.gradients["factor"][...] = (dy * x).sum(axis=0)
            return dy * self.parameters["factor"]

    x = np.random.default_rng(0).normal(size=(200, 2))
    net = lm.Sequential([Scale()], seed=0)
    loss = "mean_squared_error"
    net.fit(x, x * [3, -2], loss=loss, epochs=40, optimizer=lm.Adam(0.1), verbose=0)
    np.testing.assert_allclose(net.parameters, [3, -2], 1e-3)


# Text ---------------------------------------------------------------------------------


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    net = classifier()
    assert net.summary() is None  # type: ignore[func-returns-value]
    text = capsys.readouterr().out
    assert "unbuilt" in text
    assert "Dense(16, 'relu')" in text
    net.build(4)
    net.summary()
    text = capsys.readouterr().out
    assert "unbuilt" not in text
    assert [line.split()[-2:] for line in text.splitlines()] == [
        ["output", "parameters"],
        ["4", "0"],
        ["16", "80"],
        ["16", "0"],
        ["3", "51"],
        ["total", "131"],
    ]
    assert repr(net).startswith("Sequential([Standardize(), Dense(16, 'relu'), Dropout")


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs()
    net = classifier()
    net.fit(x, y, epochs=2, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    number = r"\d+\.\d+"
    pattern = f"epoch 2/2  loss {number}  accuracy {number}  val_loss {number}  "
    assert_matches(lines[1], pattern + f"val_accuracy {number}  {number} s")
    net.fit(x, y, verbose=0)
    assert capsys.readouterr().out == ""
    net.fit(x, y, epochs=7)
    assert capsys.readouterr().out.startswith("epoch  4/10  ")


def assert_matches(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, text), text


# Errors -------------------------------------------------------------------------------

GOOD = blobs(30)


def bad(x: Any = GOOD[0], y: Any = GOOD[1], **arguments: Any) -> dict[str, Any]:
    return {"x": x, "y": y, **arguments}


def spoilt(value: float) -> np.ndarray:
    x = GOOD[0].copy()
    x[4, 2] = x[9, 0] = value
    return x


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    (bad(GOOD[0][:, :3]), ValueError, "x must have 4 features, got 3"),
    (bad(GOOD[0][:, 0]), ValueError, r"x must be 2-d .* use reshape\(-1, 1\)"),
    (bad(GOOD[0][:29]), ValueError, "y must have as many rows as x, 29, got 30"),
    (bad(GOOD[0][:0], GOOD[1][:0]), ValueError, r"x must have a row .* got \(0, 4\)"),
    (bad(spoilt(np.nan)), ValueError, "got 2 that are not, .* row 4, column 2"),
    (bad(spoilt(-np.inf)), ValueError, r"x must be finite .* \(-inf\) in row 4, col"),
    (bad(spoilt(1e300)), ValueError, "finite in float32, got 2 that are not"),
    (
        bad(GOOD[0].astype(complex)),
        TypeError,
        "x must hold real numbers, got dtype co",
    ),
    (bad(GOOD[0].astype(str)), TypeError, "x must hold real numbers, got dtype <U"),
    (bad(GOOD[0].astype(object)), TypeError, "real numbers, got dtype object"),
    (bad(y=GOOD[1] + 1), ValueError, "y must hold labels from 0 to 2 .* got 3"),
    (bad(y=GOOD[1] - 1), ValueError, "y must hold labels from 0 to 2 .* got -1"),
    (bad(y=GOOD[1] * 0.5), TypeError, "integer labels, got dtype float64; use astype"),
    (bad(y=np.eye(4)[GOOD[1]]), ValueError, r"one-hot \(n, 3\), got shape \(30, 4\)"),
    (bad(y=np.ones((30, 3))), ValueError, r"probabilities \(one-hot: >= 0, rows of su"),
    (bad(epochs=0), ValueError, "epochs must be an integer >= 1, got 0"),
    (bad(epochs=1.5), TypeError, "epochs must be an integer >= 1, got 1.5"),
    (bad(batch_size=0), ValueError, "batch_size must be an integer >= 1, got 0"),
    (bad(batch_size=-8), ValueError, "batch_size must be .* got -8"),
    (
        bad(optimizer="muon"),
        ValueError,
        "unknown optimizer 'muon'; known are adagrad, adam, adamw, lion, rmsprop, sgd",
    ),
    (bad(optimizer=3), TypeError, "unknown optimizer 3"),
    (bad(loss="hinge"), ValueError, "unknown loss 'hinge'; known are binary_cross"),
    (bad(loss="binary_crossentropy"), ValueError, "must follow 'sigmoid' .* 'softmax'"),
    (bad(validation_split=1.0), ValueError, r"validation_split .* \[0, 1\), got 1.0"),
    (bad(validation_split=-0.5), ValueError, "validation_split must be .* got -0.5"),
    (
        bad(validation_split=0.001),
        ValueError,
        "validation_split must leave rows .* 0.00",
    ),
    (bad(validation_split=0.999), ValueError, "validation_split must leave rows .* 30"),
    (
        bad(validation_data=GOOD[0]),
        TypeError,
        r"validation_data must be \(x, y\), .* got <class",
    ),
    (
        bad(validation_data=GOOD, validation_split=0.1),
        ValueError,
        "validation_data must not come together with validation_split",
    ),
    (
        bad(validation_data=(GOOD[0][:, :2], GOOD[1])),
        ValueError,
        r"validation_data\[0\] must have 4 features, got 2",
    ),
    (
        bad(validation_data=(GOOD[0], GOOD[1] + 5)),
        ValueError,
        r"validation_data\[1\] must hold labels from 0 to 2 .* got [567]",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_errors_change_nothing(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    net = classifier()
    net.fit(*GOOD, epochs=2, verbose=0)
    before = pickle.dumps(net)
    with pytest.raises(error, match=message):
        net.fit(**arguments, verbose=0)
    assert pickle.dumps(net) == before
    untouched = pickle.loads(before)
    for each in (net, untouched):
        each.fit(*GOOD, verbose=0)
    np.testing.assert_array_equal(net.parameters, untouched.parameters)


@pytest.mark.parametrize(
    "arguments", [bad(y=GOOD[1] + 1), bad(GOOD[0][:29]), bad(spoilt(np.nan))]
)
def test_errors_do_not_build(arguments: dict[str, Any]) -> None:
    net = classifier()
    with pytest.raises(ValueError, match="must"):
        net.fit(**arguments, verbose=0)
    assert net.features == net.parameters.size == 0
    net.fit(np.ones((3, 9)), [0, 1, 2], verbose=0)
    assert net.features == 9


@pytest.mark.parametrize(
    ("activation", "y", "message"),
    [
        ("sigmoid", np.full(30, 2), "y must hold 0 and 1, got 2"),
        (
            "sigmoid",
            np.ones((30, 2)),
            r"\(n,\) or \(n, 1\) for 1 outputs, got \(30, 2",
        ),
        (None, np.full(30, np.nan), "y must be finite .* got 30 that are not"),
        (
            "relu",
            np.ones(30),
            r"loss must be given, .* Dense\(1, 'relu'\), .* known are",
        ),
    ],
)
def test_wrong_targets(activation: str | None, y: np.ndarray, message: str) -> None:
    net = lm.Sequential([lm.Dense(1, activation)], seed=0)
    net.build(4)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(GOOD[0], y, verbose=0)
    np.testing.assert_array_equal(net.parameters, before)


def test_before_shapes_are_known() -> None:
    net = classifier()
    with pytest.raises(
        RuntimeError, match=r"predict must come after fit or build\(feat"
    ):
        net.predict(GOOD[0])
    with pytest.raises(
        RuntimeError, match=r"evaluate must come after fit or build\(fea"
    ):
        net.evaluate(*GOOD)
    net.build(4)
    assert net.predict(GOOD[0]).shape == (30, 3)


def test_wrong_use_of_a_built_net() -> None:
    net = classifier()
    net.build(4)
    net.build(4)
    with pytest.raises(ValueError, match=r"features must be 4, for which .* got 5"):
        net.build(5)
    with pytest.raises(ValueError, match="x must have 4 features, got 2"):
        net.predict(np.ones((3, 2)))
    read_only = np.empty((30, 3), np.float32)
    read_only.flags.writeable = False
    for out, error, message in (
        (np.empty((30, 2), np.float32), ValueError, r"shape \(30, 3\), got \(30, 2\)"),
        (np.empty((30, 3)), TypeError, "dtype float32, got float64"),
        (read_only, ValueError, "out is read-only"),
    ):
        with pytest.raises(error, match=message):
            net.predict(GOOD[0], out=out)
    with pytest.raises(TypeError, match="out must be a NumPy array or None, got str"):
        net.predict(GOOD[0], out="here")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"batch_size must be .* got 0"):
        net.predict(GOOD[0], batch_size=0)
    with pytest.raises(ValueError, match="y must have as many rows as x"):
        net.evaluate(GOOD[0], GOOD[1][:3])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lm.Sequential([]), ValueError, "layers must hold at least one"),
        (
            lambda: Sequential(["relu"]),
            TypeError,
            r"layers\[0\] must be a Layer, got",
        ),
        (lambda: Sequential([lm.Dense]), TypeError, r"layers\[0\] must be a Layer"),
        (lambda: classifier(-1), ValueError, r"in \[0, 2\*\*64\), got -1"),
        (
            lambda: classifier(2**64),
            ValueError,
            "seed must be .* got 18446744073709551",
        ),
        (lambda: classifier(0.5), TypeError, "seed must be an integer .* 0.5"),
        (
            lambda: classifier(0, "float16"),
            ValueError,
            "'float32' or 'float64', got 'f",
        ),
        (
            lambda: lm.Sequential([lm.Dense(3), lm.Standardize()]),
            ValueError,
            "Standardize must be the first layer",
        ),
    ],
)
def test_wrong_nets(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_layer_belongs_to_one_net() -> None:
    layer = lm.Dense(3)
    with pytest.raises(ValueError, match=r"layers\[1\] must not be in a net already"):
        lm.Sequential([layer, layer])
    net = lm.Sequential([layer])
    with pytest.raises(ValueError, match=r"layers\[0\] must not be .* copy.deepcopy"):
        lm.Sequential([layer])
    lm.Sequential([copy.deepcopy(layer)])
    other = pickle.loads(pickle.dumps(net))
    with pytest.raises(ValueError, match="must not be in a net already"):
        lm.Sequential(other.layers)


def test_whole_trainings_agree_bit_for_bit_on_targets_with_fma() -> None:
    x, y = blobs()
    trained = []
    targets = [t for t in lm.show_config()["targets_available"] if t != "sse2"]
    if len(targets) < 2:
        pytest.skip(f"one target with fma: {targets}")
    for target in targets:
        lm.set_target(target)
        net = lm.Sequential(
            [
                lm.Standardize(),
                lm.Dense(37, activation="gelu", l2=1e-3),
                lm.Dropout(0.3),
                lm.Dense(19, activation="tanh"),
                lm.Dense(3, activation="softmax"),
            ],
            seed=7,
        )
        net.fit(x, y, epochs=5, batch_size=17, verbose=0)
        trained.append((net.parameters, net.predict(x)))
    for parameters, outputs in trained[1:]:
        np.testing.assert_array_equal(parameters, trained[0][0])
        np.testing.assert_array_equal(outputs, trained[0][1])


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, "1", None])
def test_a_rate_factor_that_is_none(value: Any) -> None:
    net = classifier()
    with pytest.raises((TypeError, ValueError), match="rate_factor must be a finite n"):
        net.rate_factor = value
    assert net.rate_factor == 1


def test_weights_that_the_dtype_cannot_hold() -> None:
    net = lm.Sequential([lm.Dense(1)], seed=0)
    net.build(2)
    before = net.parameters.copy()
    big = np.array([[1.0], [-1e300]])
    calls: list[Any] = [
        lambda: net.set_weights([big, [0.0]]),
        lambda: net.load_state_dict({"0.weight": big.T, "0.bias": [0.0]}),
        lambda: setattr(net, "parameters", [1.0, 1e300, 0.0]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"what float32 can, got -?1e.300"):
            call()
    np.testing.assert_array_equal(net.parameters, before)
