"""Callbacks: when they are told, how they stop, what they leave behind."""

import csv
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import callbacks
from test_model import blobs, classifier

X, Y = blobs(90)


class Spy(callbacks.Callback):
    """Notes what it is told."""

    def __init__(self, **stops: Any) -> None:
        self.seen: list[Any] = []
        self.stops = stops

    def on_train_begin(self, net: Any, epochs: Any) -> None:
        self.seen.append(("train begin", epochs))

    def on_epoch_begin(self, net: Any, epoch: Any, rows: Any) -> None:
        self.seen.append(("epoch begin", epoch, rows))

    def on_batch_end(self, net: Any, step: Any, scores: Any) -> Any:
        self.seen.append(("batch", step, scores))
        return step == self.stops.get("batch")

    def on_epoch_end(self, net: Any, epoch: Any, scores: Any) -> Any:
        self.seen.append(("epoch end", epoch, dict(scores)))
        return epoch == self.stops.get("epoch")

    def on_train_end(self, net: Any, history: Any) -> None:
        self.seen.append(("train end", history.stopped))


class Scripted(callbacks.Callback):
    """Puts scores of its own in the place of those measured, one after the other."""

    def __init__(self, *values: float, name: str = "val_loss") -> None:
        self.values, self.name = iter(values), name

    def on_epoch_end(self, net: Any, epoch: Any, scores: Any) -> None:
        scores[self.name] = next(self.values)


def fit(
    net: lm.Sequential, *told: Any, epochs: int = 2, **arguments: Any
) -> lm.History:
    return net.fit(X, Y, epochs=epochs, callbacks=told, verbose=0, **arguments)


def test_order() -> None:
    spy, net = Spy(), classifier()
    history = fit(net, spy, batch_size=50)
    kinds = ["epoch begin", "batch", "batch", "epoch end"]
    assert [each[0] for each in spy.seen] == ["train begin", *kinds * 2, "train end"]
    assert spy.seen[0][1] == range(1, 3)
    assert spy.seen[1][1:] == (1, 90)
    assert [each[1] for each in spy.seen if each[0] == "batch"] == [1, 2, 3, 4]
    first, second, end = (each[2] for each in spy.seen[2:5])
    for name in ("loss", "accuracy"):
        mean = (50 * first[name] + 40 * second[name]) / 90
        assert end[name] == history[name][0] == pytest.approx(mean, rel=1e-12)
    other = classifier()
    fit(other, batch_size=50)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    fit(net, spy, batch_size=50)
    assert spy.seen[-10][1] == range(3, 5)


@pytest.mark.parametrize(
    ("stops", "epochs", "steps"), [({"epoch": 2}, 2, 6), ({"batch": 5}, 1, 5)]
)
def test_stopping(stops: Any, epochs: int, steps: int) -> None:
    spy, late, net = Spy(**stops), Spy(), classifier()
    history = fit(net, spy, late, epochs=9)
    assert history.stopped == "Spy"
    assert late.seen == spy.seen
    assert net.epoch == len(history["loss"]) == epochs
    assert net.steps == steps


def test_scores_of_a_callback_are_kept() -> None:
    history = fit(classifier(), Scripted(3.0, 4.0, name="mine"))
    assert history["mine"] == [3.0, 4.0]
    assert history.stopped is None


def test_an_exception_goes_through() -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    usual = signal.getsignal(signal.SIGINT)  # ignored in the background of a shell
    for name in ("on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end"):
        net = classifier()
        with pytest.raises(ZeroDivisionError):
            fit(net, callbacks.LambdaCallback(**{name: fail}))
        assert signal.getsignal(signal.SIGINT) is usual
        fit(net)
        assert np.isfinite(net.parameters).all()


def press(*_: Any) -> None:
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_ends_after_the_step() -> None:
    net, other = classifier(), classifier()
    told = callbacks.LambdaCallback(
        on_batch_end=lambda net, step, scores: press() if step == 5 else None
    )
    history = fit(net, told, epochs=9)
    assert history.stopped == "interrupt"
    assert (net.epoch, net.steps, len(history["loss"])) == (1, 5, 1)
    fit(other, callbacks.LambdaCallback(on_batch_end=lambda net, step, _: step == 5))
    np.testing.assert_array_equal(net.parameters, other.parameters)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_within_steps() -> None:
    """The call of the steps that runs is not cut in two."""

    class Pressed(lm.Dense):
        def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
            press()
            return super().backward(dy, input_gradient=input_gradient)

    net = lm.Sequential([Pressed(3, "softmax")], seed=0)
    assert fit(net, epochs=9, batch_size=90).stopped == "interrupt"
    assert net.epoch == net.steps == 1
    with pytest.raises(KeyboardInterrupt):  # the second one of a fit
        fit(net, callbacks.LambdaCallback(on_epoch_begin=press))


def test_a_handler_of_the_users_own_stays() -> None:
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        history = fit(classifier(), callbacks.LambdaCallback(on_epoch_begin=press))
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert history.stopped is None
    assert pressed == [1, 1]


LOSSES = 5.0, 3.0, 4.0, 2.95, float("nan"), 3.0, 6.0, 7.0, 8.0, 9.0


@pytest.mark.parametrize(
    ("arguments", "stopped", "best"),
    [
        ({"patience": 2}, 6, 4),
        ({"patience": 3}, 7, 4),
        ({"patience": 2, "min_delta": 0.1}, 4, 2),
        ({"patience": 9}, None, 4),
        ({"patience": 3, "mode": "max"}, 4, 1),
    ],
)
def test_early_stopping(arguments: Any, stopped: Any, best: int) -> None:
    net, stop = classifier(), callbacks.EarlyStopping(restore_best=True, **arguments)
    kept: list[np.ndarray] = []
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda net, epoch, scores: kept.append(net.parameters.copy())
    )
    history = fit(net, Scripted(*LOSSES), stop, keep, epochs=10)
    assert history.stopped == ("EarlyStopping" if stopped else None)
    assert len(history.epochs) == (stopped or 10)
    assert stop.best_epoch == best
    assert stop.best == LOSSES[best - 1]
    np.testing.assert_array_equal(net.parameters, kept[best - 1])


def test_what_is_monitored() -> None:
    stop = callbacks.EarlyStopping(patience=1)
    history = fit(classifier(), stop)
    assert stop.best == min(history["loss"])
    fit(classifier(), stop, validation_split=0.3)
    assert stop.best is not None
    stop = callbacks.EarlyStopping("accuracy", patience=1)
    fit(classifier(), Scripted(0.5, 0.6, 0.4, name="accuracy"), stop, epochs=3)
    assert stop.best == 0.6
    message = "must be one of loss, .*, got 'val_loss'; there are no validation"
    with pytest.raises(ValueError, match=message):
        fit(classifier(), callbacks.EarlyStopping("val_loss"))


def test_reduce_on_plateau() -> None:
    factors: list[float] = []
    slow = callbacks.ReduceOnPlateau(factor=0.5, patience=2)
    note = callbacks.LambdaCallback(
        on_epoch_end=lambda net, epoch, scores: factors.append(net.rate_factor)
    )
    net = classifier()
    fit(net, Scripted(3, 2, 2, 2, 1, 1, 1, 1, 1), slow, note, epochs=9)
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    fit(net)
    assert net.rate_factor == 0.125
    fit(net, optimizer=lm.SGD(0.1))
    assert net.rate_factor == 1


def test_the_factor_multiplies_the_rate() -> None:
    nets = [lm.Sequential([lm.Dense(3, "softmax")], seed=0) for _ in range(2)]
    fit(nets[0], optimizer=lm.SGD(0.125))
    nets[1].rate_factor = 0.5
    fit(nets[1], optimizer=lm.SGD(0.25))
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_terminate_on_nan() -> None:
    net = lm.Sequential([lm.Dense(3)], seed=0)
    x = np.full((64, 4), 1e15)
    told = [callbacks.TerminateOnNaN()]
    rule = lm.SGD(1e15)
    history = net.fit(x, x[:, :3], epochs=50, optimizer=rule, callbacks=told, verbose=0)
    assert history.stopped == "TerminateOnNaN"
    assert len(history.epochs) < 50


def test_csv_logger(tmp_path: Path) -> None:
    net, log = classifier(), callbacks.CSVLogger(tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text("old")
    histories = [fit(net, log), fit(net, log, validation_split=0.1)]
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "learning_rate"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    losses = [*histories[0]["loss"], *histories[1]["loss"]]
    assert [float(row["loss"]) for row in rows] == losses


def test_checkpoint(tmp_path: Path) -> None:
    path, net = tmp_path / "net.safetensors", classifier()
    fit(net, callbacks.ModelCheckpoint(path))
    again = lm.load(path)
    np.testing.assert_array_equal(again.parameters, net.parameters)
    assert again.epoch == net.epoch
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        fit(net, callbacks.ModelCheckpoint(tmp_path / "nowhere" / "net"))


def test_checkpoint_of_the_best(tmp_path: Path) -> None:
    path, kept = tmp_path / "net", []
    told = callbacks.ModelCheckpoint(str(path), save_best_only=True)
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda *_: kept.append(lm.load(path).parameters.tobytes())
    )
    net = classifier()
    fit(net, Scripted(3, 2, 4, 1), told, keep, epochs=4)
    assert kept[0] != kept[1] == kept[2] != kept[3] == net.parameters.tobytes()
    fit(net, Scripted(2, 3), told, keep)
    assert kept[3] == kept[5]


def test_checkpoint_that_cannot_be_written_wholly(tmp_path: Path) -> None:
    """As on a disk that is full midway: the system refuses to go on writing."""
    resource = pytest.importorskip("resource")
    path, net = tmp_path / "net", classifier()
    told = callbacks.ModelCheckpoint(path)
    fit(net, told)
    good = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            fit(net, told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]
    fit(net, told)
    assert path.read_bytes() != good


def test_progress_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("lamina.training._BETWEEN", 0.0)
    stop = callbacks.LambdaCallback(on_epoch_end=lambda net, epoch, scores: epoch == 2)
    classifier().fit(X, Y, epochs=12, callbacks=[stop])
    out, err = capsys.readouterr()
    assert re.findall(r"^epoch +\d+/12", out, re.M) == ["epoch  1/12", "epoch  2/12"]
    assert out.splitlines()[-1] == "stopped by LambdaCallback"
    assert "epoch 2/12" in err
    assert "90/90" in err
    assert "loss=" in err


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: callbacks.EarlyStopping(patience=0),
            ValueError,
            "patience must be an",
        ),
        (
            lambda: callbacks.EarlyStopping(min_delta=-1),
            ValueError,
            "min_delta must be",
        ),
        (
            lambda: callbacks.EarlyStopping(mode="up"),  # type: ignore[arg-type]
            ValueError,
            "mode must be 'auto', 'min' or 'max', got 'up'",
        ),
        (lambda: callbacks.ReduceOnPlateau(factor=1), ValueError, "factor must be a n"),
        (
            lambda: callbacks.LambdaCallback(on_end=print),
            TypeError,
            "LambdaCallback takes functions on_train_begin, .* got on_end=",
        ),
    ],
)
def test_wrong_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
