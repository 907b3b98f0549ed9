"""Around the steps: weights, how often steps are called, what a fit leaves behind."""

import copy
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from test_model import blobs, classifier

X, Y = blobs(90)
WEIGHTS = np.arange(90) % 4 / 2


def network(last: str | None = "softmax", units: int = 3) -> lm.Sequential:
    layers = [lm.Dense(5, "tanh", l2=0.1), lm.Dense(units, last)]
    return lm.Sequential(layers, seed=0, dtype="float64")


@pytest.mark.parametrize(
    ("last", "y"), [("softmax", Y), ("sigmoid", np.eye(3)[Y]), (None, X[:, :3])]
)
def test_sample_weight_is_how_often_a_row_counts(last: Any, y: np.ndarray) -> None:
    """Whole weights are repeated rows; the mean stays that over the rows."""
    net, other = network(last), network(last)
    for each in (net, other):
        each.build(4)
    counts = np.arange(90) % 3
    factor = 90 / counts.sum()
    some = np.repeat(np.arange(90), counts)
    scores = net.evaluate(X, y, sample_weight=counts * factor)
    assert scores["loss"] == pytest.approx(other.evaluate(X[some], y[some])["loss"])
    arguments: Any = {"batch_size": 200, "optimizer": lm.SGD(0.1), "verbose": 0}
    history = net.fit(X, y, sample_weight=counts * factor, **arguments)
    other.fit(X[some], y[some], **arguments)
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-12, 1e-15)
    assert history["loss"] == [pytest.approx(scores["loss"], rel=1e-12)]
    if "accuracy" in scores:  # which weights do not change
        assert scores["accuracy"] == pytest.approx(history["accuracy"][0], rel=1e-12)


def test_weights_follow_their_rows() -> None:
    """Through shuffling, splitting and batches."""
    net, other = network(), network()
    for each, x in ((net, X), (other, np.asfortranarray(X))):
        weights = WEIGHTS if each is net else WEIGHTS.tolist()
        each.fit(x, Y, sample_weight=weights, validation_split=0.3, epochs=3, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    spoilt = X.copy()
    spoilt[WEIGHTS == 0] += 5.0  # rows that do not count
    other = network()
    other.fit(
        spoilt, Y, sample_weight=WEIGHTS, validation_split=0.3, epochs=3, verbose=0
    )
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-12)


def test_class_weight() -> None:
    hot = np.eye(3)[Y]
    counts = np.bincount(Y)
    balanced = 90 / (3 * counts)
    for class_weight, factors in (
        ({0: 2.0, 2: 0.5}, np.array([2, 1, 0.5])),
        ("balanced", balanced),
    ):
        expected = network()
        expected.fit(X, Y, sample_weight=WEIGHTS * factors[Y], verbose=0)
        for y in (Y, hot):
            net = network()
            history = net.fit(
                X,
                y,
                sample_weight=WEIGHTS,
                class_weight=class_weight,
                validation_data=(X, y, WEIGHTS),
                verbose=0,
            )
            np.testing.assert_allclose(net.parameters, expected.parameters, 1e-12)
            # Classes have no weight in validation.
            scores = net.evaluate(X, y, sample_weight=WEIGHTS)
            assert history["val_loss"] == [pytest.approx(scores["loss"], rel=1e-12)]
    two = network("sigmoid", 1)
    two.fit(X, Y == 1, class_weight={1: 3}, verbose=0)
    other = network("sigmoid", 1)
    other.fit(X, Y == 1, sample_weight=1 + 2 * (Y == 1), verbose=0)
    np.testing.assert_allclose(two.parameters, other.parameters, 1e-12)


def test_balanced_classes_are_those_of_the_training_rows() -> None:
    seen: list[Any] = []

    class Net(lm.Sequential):
        def _steps(self, *arguments: Any, **options: Any) -> Any:
            _, _, _, weights, rows, *_ = arguments
            seen.append((rows, weights))
            return super()._steps(*arguments, **options)

    net = Net([lm.Dense(3, "softmax")], seed=0)
    net.fit(
        X, Y, class_weight="balanced", validation_split=0.5, batch_size=90, verbose=0
    )
    [(rows, weights)] = seen
    counts = np.bincount(Y[rows])
    np.testing.assert_allclose(weights[rows], (len(rows) / (3 * counts))[Y[rows]], 1e-6)
    held_out = np.setdiff1d(np.arange(90), rows)
    np.testing.assert_array_equal(weights[held_out], 1)


def test_class_weight_needs_classes() -> None:
    net = network(None, 1)
    with pytest.raises(ValueError, match="labels must hold whole numbers"):
        net.fit(X, X[:, 0], class_weight="balanced", verbose=0)
    net = network("softmax")
    soft = np.full((90, 3), 1 / 3)
    with pytest.raises(ValueError, match="one class per row"):
        net.fit(X, soft, class_weight="balanced", verbose=0)
    assert net.features == 0


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("seconds", [1e-9, 1e9])
def test_calls_of_steps_take_many_batches(
    seconds: float, shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight times as many at most from call to call; one, if time is short."""
    calls: list[int] = []

    class Net(lm.Sequential):
        def _steps(self, *arguments: Any, **options: Any) -> Any:
            sums = super()._steps(*arguments, **options)
            calls.append(sums[2] - arguments[-1][2])
            return sums

    monkeypatch.setattr("lamina.training._BETWEEN", seconds)
    x, y = blobs(1000)
    net = Net([lm.Dense(3, "softmax")], seed=0)
    net.fit(x, y, epochs=2, batch_size=3, shuffle=shuffle, verbose=0)
    if seconds > 1:
        assert calls == [3, 24, 192, 781, 1000]
    else:
        assert calls == [*[3] * 333, 1] * 2
    other = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    other.fit(x, y, epochs=2, batch_size=3, shuffle=shuffle, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_evaluate_leaves_the_net_alone() -> None:
    net = classifier()
    net.fit(X, Y, verbose=0)
    before = net.parameters.copy(), net.steps, net.epoch
    net.evaluate(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(net.parameters, before[0])
    assert (net.steps, net.epoch) == before[1:]


# What is learnt is not lost -----------------------------------------------------------


def slope() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    return x, x[:, 0]


def diverging(global_clip_norm: float | None = None) -> lm.SGD:
    """A rate that grows until the weights are infinite."""
    rate = lm.schedules.Exponential(1e-2, factor=1.03)
    return lm.SGD(rate, momentum=0.9, global_clip_norm=global_clip_norm)


def regressor(seed: int = 0) -> lm.Sequential:
    return lm.Sequential([lm.Dense(16, "relu"), lm.Dense(1)], seed=seed)


@pytest.mark.parametrize("again", ["fit", "file", "pickle", "train_on_batch"])
def test_training_goes_on_from_restored_weights_after_a_divergence(
    again: str, tmp_path: Path
) -> None:
    x, y = slope()
    net = regressor()
    stop = lm.callbacks.EarlyStopping("loss", patience=10, restore_best=True)
    history = net.fit(
        x, y, epochs=200, optimizer=diverging(), callbacks=[stop], verbose=0
    )
    assert not np.isfinite(history["loss"][-1])
    best = net.evaluate(x, y)["loss"]
    if again == "file":
        net.save(tmp_path / "net")
        net = lm.load(tmp_path / "net")
    elif again == "pickle":
        net = pickle.loads(pickle.dumps(net))
    rule = lm.SGD(1e-3, momentum=0.9)
    if again == "train_on_batch":
        losses = [net.train_on_batch(x, y, optimizer=rule)["loss"] for _ in range(50)]
    else:
        losses = net.fit(x, y, epochs=8, optimizer=rule, verbose=0)["loss"]
    assert np.isfinite(net.parameters).all()
    assert losses[-1] < best


def test_restored_weights_come_with_the_state_of_their_epoch() -> None:
    """What follows is bit for bit what would have followed that epoch."""
    x, y = slope()
    rule = diverging()
    net, other = regressor(), regressor()
    stop = lm.callbacks.EarlyStopping("loss", patience=10, restore_best=True)
    net.fit(
        x, y, epochs=200, optimizer=rule, callbacks=[stop], shuffle=False, verbose=0
    )
    other.fit(x, y, epochs=stop.best_epoch, optimizer=rule, shuffle=False, verbose=0)
    for each in (net, other):
        each.fit(x, y, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)


class Fails(lm.callbacks.Callback):
    def on_epoch_end(self, net: Any, epoch: int, scores: Any) -> None:
        if epoch == 15:
            raise OSError("disk full")


@pytest.mark.parametrize("error", [FloatingPointError, OSError, KeyboardInterrupt])
def test_best_weights_are_restored_and_the_history_is_kept_whatever_ends_a_fit(
    error: type[BaseException],
) -> None:
    x, y = slope()
    net = regressor()
    rule = diverging(1e20 if error is FloatingPointError else None)
    stop = lm.callbacks.EarlyStopping("loss", patience=50, restore_best=True)
    told: list[lm.callbacks.Callback] = [stop]
    if error is OSError:
        told.append(Fails())
    elif error is KeyboardInterrupt:

        def interrupt(net: Any, epoch: int, scores: Any) -> None:
            if epoch == 15:
                raise KeyboardInterrupt

        told.append(lm.callbacks.LambdaCallback(on_epoch_end=interrupt))
    with pytest.raises(error):
        net.fit(x, y, epochs=200, optimizer=rule, callbacks=told, verbose=0)
    assert net.history is not None
    assert net.history.stopped == error.__name__
    assert net.history.epochs == list(range(1, len(net.history.epochs) + 1))
    assert 0 < stop.best_epoch <= net.history.epochs[-1]
    assert net.evaluate(x, y)["loss"] < 1
    assert np.isfinite(net.fit(x, y, optimizer=lm.SGD(1e-3), verbose=0)["loss"]).all()


def test_the_state_of_an_optimizer_can_be_started_anew() -> None:
    x, y = slope()
    net = regressor()
    net.fit(x, y, epochs=3, verbose=0)
    net.reset_optimizer()
    before = net.parameters.copy()
    net.fit(x, y, batch_size=200, optimizer=lm.Adam(0.01), verbose=0)
    # Adam's first step is the rate for any gradient that is not 0.
    assert np.abs(net.parameters - before).max() == pytest.approx(0.01, rel=1e-3)


# A running fit belongs to its caller --------------------------------------------------


class Looks(lm.callbacks.Callback):
    """Calls other methods of the net in the middle of its fit."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def on_epoch_end(self, net: Any, epoch: int, scores: Any) -> None:
        self.call(net)


@pytest.mark.parametrize("own", [False, True], ids=["core", "own layer"])
def test_gradients_in_a_callback_leave_the_fit_alone(own: bool) -> None:
    x, y = slope()

    class Same(lm.Dense):
        """Known to Python only."""

    def made() -> lm.Sequential:
        return lm.Sequential(
            [Same(4, "tanh") if own else lm.Dense(4, "tanh"), lm.Dense(1)], seed=1
        )

    net, alone = made(), made()
    look = Looks(lambda n: n.gradients(x, y, loss="mean_absolute_error"))
    history = net.fit(x, y, epochs=3, callbacks=[look], verbose=0)
    assert history["loss"] == alone.fit(x, y, epochs=3, verbose=0)["loss"]
    assert net.loss == lm.losses.mean_squared_error
    np.testing.assert_array_equal(net.parameters, alone.parameters)


def test_a_step_in_a_callback_is_one_of_the_fit_or_is_refused() -> None:
    x, y = slope()
    net = regressor()
    step = Looks(lambda n: n.train_on_batch(x, y, loss="huber"))
    history = net.fit(x, y, epochs=3, callbacks=[step], verbose=0)
    assert net.loss == lm.losses.mean_squared_error
    assert (history.epochs, net.steps) == ([1, 2, 3], 3 * 7 + 3)
    for call in (
        lambda n: n.train_on_batch(x, y, optimizer="sgd"),
        lambda n: (n.gradients(x, y), n.apply_gradients(lm.SGD(0.1))),
    ):
        with pytest.raises(RuntimeError, match="optimizer must be that of the fit"):
            net.fit(x, y, callbacks=[Looks(call)], verbose=0)
    assert isinstance(net.optimizer, lm.Adam)
    np.testing.assert_array_equal(net.fit(x, y, verbose=0).epochs, [6])


def test_a_fit_in_a_fit_is_refused_and_the_net_can_be_fitted_afterwards() -> None:
    x, y = slope()
    net = regressor()
    with pytest.raises(RuntimeError, match="fit must wait until the fit of this net"):
        net.fit(x, y, callbacks=[Looks(lambda n: n.fit(x, y, verbose=0))], verbose=0)
    other = Looks(lambda n: copy.deepcopy(n).fit(x, y, verbose=0))
    assert net.fit(x, y, callbacks=[other], verbose=0).epochs == [2]


def test_another_thread_cannot_disturb_a_fit() -> None:
    x, y = slope()
    net, alone = regressor(), regressor()
    refused: list[str] = []

    def disturb() -> None:
        for call in (
            lambda: net.fit(x, y, verbose=0),
            lambda: net.gradients(x, y),
            lambda: net.train_on_batch(x, y),
            lambda: net.apply_gradients(),
            lambda: net.reset_optimizer(),
        ):
            try:
                call()
            except RuntimeError as error:
                refused.append(str(error))
        assert net.predict(x).shape == (200, 1)

    def in_thread(net: Any) -> None:
        thread = threading.Thread(target=disturb)
        thread.start()
        thread.join()

    history = net.fit(x, y, epochs=2, callbacks=[Looks(in_thread)], verbose=0)
    assert len(refused) == 10
    assert all("must wait until the fit of this net" in text for text in refused)
    assert history["loss"] == alone.fit(x, y, epochs=2, verbose=0)["loss"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_may_train_a_net_whose_fit_it_was_born_in() -> None:
    x, y = slope()
    net = regressor()
    status: list[int] = []

    def fork(net: Any) -> None:
        def child() -> None:
            child_id = os.fork()
            if child_id == 0:
                try:
                    net.train_on_batch(x, y)
                    net.fit(x, y, verbose=0)
                    os._exit(0)
                finally:
                    os._exit(1)
            status.append(os.waitpid(child_id, 0)[1])

        thread = threading.Thread(target=child)
        thread.start()
        thread.join()

    net.fit(x, y, callbacks=[Looks(fork)], verbose=0)
    assert status == [0]


def test_a_fit_that_ends_while_another_thread_asks_fails_in_words_alone() -> None:
    class Ending(lm.Sequential):
        """Whose fit, in another thread, has ended when it is looked at again."""

        looks: Any = iter(())

        @property
        def _fit(self) -> Any:  # type: ignore[override]
            return next(self.looks, None)

    x, y = slope()
    net = Ending([lm.Dense(1)], seed=0)
    net.build(x.shape[1])
    net.looks = iter([(os.getpid(), 0)])
    with pytest.raises(RuntimeError, match="gradients must wait until the fit"):
        net.gradients(x, y)
    assert net.gradients(x, y)["loss"] > 0


def test_first_calls_in_several_threads_make_one_net() -> None:
    x, y = np.ones((32, 6), np.float32), np.arange(32) % 3
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            net = lm.Sequential([lm.Dense(16, "relu"), lm.Dense(3, "softmax")], seed=1)
            wall = threading.Barrier(4)
            failed: list[BaseException] = []

            def first(net: Any = net, wall: Any = wall, failed: Any = failed) -> None:
                wall.wait()
                try:
                    net.train_on_batch(x, y)
                    net.predict(x)
                except BaseException as error:
                    failed.append(error)

            threads = [threading.Thread(target=first) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failed == []
            kernel = net.layers[0].parameters["kernel"]
            assert np.shares_memory(net.parameters, kernel)
    finally:
        sys.setswitchinterval(before)


# Buffers belong to their net ----------------------------------------------------------


def test_assigned_parameters_are_copied_and_never_shared() -> None:
    x = np.ones((1, 2), np.float32)
    a, b, c = (lm.Sequential([lm.Dense(1)], seed=s) for s in (1, 2, 3))
    for net in (a, b, c):
        net.build(2)
    b.predict(x)
    b.parameters = a.parameters
    c.parameters = a.parameters
    want = a.predict(x)
    np.testing.assert_array_equal(b.predict(x), want)
    np.testing.assert_array_equal(c.predict(x), want)
    c.train_on_batch(x, [9.0], optimizer=lm.SGD(0.1))
    np.testing.assert_array_equal(a.predict(x), want)
    b.gradient = np.ones(3)
    b.parameters -= b.gradient
    np.testing.assert_array_equal(b.parameters, a.parameters - 1)
    for wrong, kind, message in [
        (np.ones(4), ValueError, r"parameters must have shape \(3,\), got \(4,\)"),
        ("abc", TypeError, "parameters must hold real numbers"),
        (np.full(3, 1e300), ValueError, "parameters must hold what float32 can"),
    ]:
        before = c.parameters.copy()
        with pytest.raises(kind, match=message):
            c.parameters = wrong  # type: ignore[assignment]
        np.testing.assert_array_equal(c.parameters, before)


def test_a_net_that_is_not_built_says_so_where_numbers_are_assigned() -> None:
    net = lm.Sequential([lm.Dense(1)])
    for name in ("parameters", "gradient"):
        with pytest.raises(RuntimeError, match=f"^{name} must come after fit or build"):
            setattr(net, name, np.ones(3))


def test_a_net_from_read_only_buffers_trains() -> None:
    """As ray, dask and joblib pass them on."""
    net = lm.Sequential([lm.Standardize(), lm.Dense(1)], seed=0)
    x, y = slope()
    net.fit(x, y, verbose=0)
    net.train_on_batch(x, y)
    parts: list[pickle.PickleBuffer] = []
    stored = pickle.dumps(net, 5, buffer_callback=parts.append)
    again = pickle.loads(stored, buffers=[bytes(part) for part in parts])
    for each in (net, again):
        each.train_on_batch(x, y)
        each.fit(x, y, verbose=0)
    np.testing.assert_array_equal(again.parameters, net.parameters)


# Penalties ----------------------------------------------------------------------------


class Pulled(lm.Dense):
    """A penalty of its own, which only Python knows."""

    def penalty(self, weight: float = 0.0) -> float:
        return 3 * float(self.parameters["bias"].sum()) ** 2


def regularized(kind: str) -> lm.Sequential:
    last = Pulled(3, "softmax") if kind == "own" else lm.Dense(3, "softmax", l2=0.25)
    net = lm.Sequential([lm.Dense(5, "tanh", l1=0.5), last], seed=0, dtype="float64")
    net.build(4)
    net.layers[1].parameters["bias"][...] = 0.5
    return net


def penalty_of(net: lm.Sequential) -> float:
    first, last = net.layers
    of_last = 0.25 / 2 * (last.parameters["kernel"] ** 2).sum()
    if isinstance(last, Pulled):
        of_last = 3 * last.parameters["bias"].sum() ** 2
    return float(0.5 * np.abs(first.parameters["kernel"]).sum() + of_last)


@pytest.mark.parametrize("kind", ["core", "own"])
def test_the_loss_without_penalties_is_told_beside_it(kind: str) -> None:
    """A penalty is that of the weights before the step, and counts for each row."""
    net, penalties, rows = regularized(kind), list[float](), [32, 32, 26]
    batches = [(X[i : i + 32], Y[i : i + 32]) for i in range(0, 90, 32)]
    for x, y in batches:
        penalties.append(penalty_of(net))
        first = net.gradients(x, y, weight=0.5)
        scores = net.train_on_batch(x, y, optimizer=lm.SGD(0.1))
        for each in (first, scores):
            without = each["loss_without_penalty"]
            assert each["loss"] - without == pytest.approx(penalties[-1])
    for told in ([], [lm.callbacks.LambdaCallback(on_batch_end=lambda *_: None)]):
        net = regularized(kind)
        history = net.fit(
            X,
            Y,
            batch_size=32,
            shuffle=False,
            optimizer=lm.SGD(0.1),
            validation_data=(X, Y),
            callbacks=told,
            verbose=0,
        )
        of_epoch = history["loss"][0] - history["loss_without_penalty"][0]
        assert of_epoch == pytest.approx(np.dot(penalties, rows) / 90)
        found = net.evaluate(X, Y)
        without = found["loss_without_penalty"]
        assert history["val_loss_without_penalty"] == [without]
        assert found["loss"] - without == pytest.approx(penalty_of(net))
        p = net.predict(X)[np.arange(90), Y]
        assert without == pytest.approx(-np.log(p).mean())


def test_the_loss_without_penalties_comes_with_the_layers_that_have_some() -> None:
    net = lm.Sequential([lm.Dense(3, "softmax", l2=0.1, kernel_initializer="zeros")])
    net.build(4)
    found = net.evaluate(X, Y)
    assert found["loss"] == found["loss_without_penalty"]  # the penalty is 0
    net.layers[0].l2 = 0.0
    assert "loss_without_penalty" not in net.evaluate(X, Y)
    assert list(net.train_on_batch(X, Y)) == ["loss", "accuracy"]
