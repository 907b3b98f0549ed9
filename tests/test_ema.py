"""Training with averaged parameters: what the net holds, and when."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from test_network import by_layer

RNG = np.random.default_rng(8)
X = RNG.normal(size=(40, 5))
Y = np.sin(X[:, 0]) - X[:, 1]
OPTIONS: dict[str, Any] = {"batch_size": 8, "verbose": 0, "optimizer": lm.Adam(0.02)}


def made(dtype: Any = "float64") -> lm.Sequential:
    layers = [lm.Dense(9, "tanh"), lm.Dropout(0.2), lm.Dense(1)]
    net = lm.Sequential(layers, seed=3, dtype=dtype)
    net.build(5)
    return net


class Watch(lm.callbacks.Callback):
    """Parameters after each batch and at the end of each epoch."""

    def __init__(self, stop: int = 0) -> None:
        self.stop, self.batches, self.epochs = stop, list[Any](), list[Any]()

    def on_batch_end(self, net: Any, step: int, scores: Any) -> None:
        self.batches.append(net.parameters.copy())
        if step == self.stop:
            raise KeyError("broken off")

    def on_epoch_end(self, net: Any, epoch: int, scores: Any) -> None:
        self.epochs.append(net.parameters.copy())


@pytest.mark.parametrize("known", [True, False])
def test_the_net_holds_the_average_of_its_steps_at_the_end_of_an_epoch(
    known: bool,
) -> None:
    plain, net = made(), made()
    average, seen, ends = plain.parameters.copy(), Watch(), []
    plain.fit(X, Y, epochs=3, callbacks=[seen], **OPTIONS)
    for step, parameters in enumerate(seen.batches, 1):
        average = 0.9 * average + 0.1 * parameters
        if step % 5 == 0:
            ends.append(average)
    if not known:
        net = by_layer(net)
    own = Watch()
    history = net.fit(
        X, Y, epochs=3, ema=0.9, validation_data=(X, Y), callbacks=[own], **OPTIONS
    )
    # What learns is what learns without.
    np.testing.assert_array_equal(own.batches, seen.batches)
    assert history["loss"] == plain.history["loss"]  # type: ignore[index]
    # The same sums in another order.
    np.testing.assert_allclose(own.epochs, ends, 1e-13, 1e-15)
    np.testing.assert_array_equal(net.parameters, own.epochs[-1])
    assert history["val_loss"][-1] == net.evaluate(X, Y)["loss"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_interpreter_averages_to_the_same_bits(dtype: Any) -> None:
    nets = made(dtype), by_layer(made(dtype))
    for net in nets:
        net.fit(X, Y, epochs=2, ema=0.75, **OPTIONS)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, half = made(), made()
    whole.fit(X, Y, epochs=4, ema=0.9, **OPTIONS)
    half.fit(X, Y, epochs=2, ema=0.9, **OPTIONS)
    half.save(tmp_path / "net")
    pickled = pickle.loads(pickle.dumps(half))
    for net in (lm.load(tmp_path / "net"), pickled, copy.deepcopy(half), half):
        net.fit(X, Y, epochs=2, ema=0.9, **OPTIONS)
        np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_changed_parameters_are_where_both_begin() -> None:
    net, other = made(), made()
    net.fit(X, Y, ema=0.9, **OPTIONS)
    net.set_weights([w + 1 for w in net.get_weights()])
    other.fit(X, Y, ema=0.9, **OPTIONS)
    other.set_weights([w + 1 for w in other.get_weights()])
    other._averaged = None
    for each in (net, other):
        each.fit(X, Y, ema=0.9, **OPTIONS)
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_without_ema_the_average_learns() -> None:
    net, other = made(), made()
    net.fit(X, Y, ema=0.9, **OPTIONS)
    other.fit(X, Y, **OPTIONS)
    other.parameters = net.parameters
    for each in (net, other):
        each.fit(X, Y, **OPTIONS)
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_the_best_average_is_restored_with_what_learns() -> None:
    best = lm.callbacks.EarlyStopping("val_loss", patience=None, restore_best=True)
    net, other = made(), made()
    rule = lm.Adam(lm.schedules.Step(0.02, every=30, factor=20))  # it diverges late
    options = OPTIONS | {"optimizer": rule, "validation_data": (X[:9], Y[:9])}
    history = net.fit(X, Y, epochs=12, ema=0.5, callbacks=[best], **options)
    epoch = best.best_epoch
    assert epoch < 12 and best.best == min(history["val_loss"])
    assert net.evaluate(X[:9], Y[:9])["loss"] == best.best
    other.fit(X, Y, epochs=epoch, ema=0.5, **options)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    for each in (net, other):
        each.epoch, each.steps = 20, 100  # rows and dropout go by these
        each.fit(X, Y, ema=0.5, **options)
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_what_breaks_an_epoch_off_leaves_the_average() -> None:
    net, watch = made(), Watch(stop=3)
    average = net.parameters.copy()
    with pytest.raises(KeyError):
        net.fit(X, Y, ema=0.9, callbacks=[watch], **OPTIONS)
    for parameters in watch.batches:
        average = 0.9 * average + 0.1 * parameters
    np.testing.assert_allclose(net.parameters, average, 1e-13, 1e-15)
    again = Watch()
    net.fit(X, Y, ema=0.9, callbacks=[again], **OPTIONS)
    # It went on from the parameters of the third step, not from their average.
    first = again.batches[0]
    assert abs(first - watch.batches[-1]).max() < abs(first - average).mean()


def test_frozen_and_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = X * (RNG.random(X.shape) < 0.4)
    nets = [lm.Sequential([lm.Dense(4), lm.Dense(1)], seed=1) for _ in range(2)]
    for net, rows in zip(nets, (x, sparse.csr_array(x)), strict=True):
        net.layers[1].trainable = False
        net.build(5)
        frozen = net.layers[1].parameters["kernel"].copy()
        net.fit(rows, Y, epochs=2, ema=0.7, **OPTIONS)
        np.testing.assert_array_equal(net.layers[1].parameters["kernel"], frozen)
    # Products of sparse rows sum in another order.
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, 1e-4, 1e-5)


@pytest.mark.parametrize("ema", [1.0, -0.1, 2, np.nan])
def test_shares_that_cannot_be(ema: Any) -> None:
    net = made()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"^ema must be .* in \[0, 1\), got"):
        net.fit(X, Y, ema=ema, **OPTIONS)
    np.testing.assert_array_equal(net.parameters, before)


def test_an_ema_of_nothing_is_plain_training() -> None:
    net, plain = made(), made()
    net.fit(X, Y, epochs=2, ema=0, **OPTIONS)
    plain.fit(X, Y, epochs=2, **OPTIONS)
    np.testing.assert_allclose(net.parameters, plain.parameters, 1e-15, 1e-16)
