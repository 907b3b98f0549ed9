"""Callbacks: when they are told, how they stop, what they leave behind."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
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


def test_best_weights_come_back_although_another_callback_fails_again() -> None:
    """Each is told of an exception, whatever those before it raise then."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    def diverge(net: lm.Sequential, epoch: int, scores: Any) -> None:
        if epoch == 2:
            net.parameters[...] = np.nan
            raise OverflowError

    net, stop = classifier(), callbacks.EarlyStopping("loss", restore_best=True)
    failing = callbacks.LambdaCallback(on_epoch_end=diverge, on_exception=fail)
    with pytest.raises(ZeroDivisionError) as caught:
        fit(net, failing, stop, epochs=3)
    assert isinstance(caught.value.__context__, OverflowError)
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


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("values", "arguments", "best", "last"),
    [
        ([5, 3, 4, 3, 6, 3.1, 7], {"ties": "last"}, 4, 7),
        ([5, 3, 4, 3, 6, 3.1, 7], {"ties": "last", "patience": 3}, 4, 7),
        ([5, 3, 4, 3, 6, 3.1, 7], {"ties": "last", "patience": 2}, 4, 6),
        ([5, 3, 4, 3, 6, 3.1, 7], {"ties": "first"}, 2, 7),
        ([5, 3, 4, 3, 6, 3.1, 7], {"ties": "first", "patience": 2}, 2, 4),
        ([1, 1, 1, 1, 1, 1, 1], {"ties": "last", "min_delta": 0.5}, 7, 7),
        ([INF, INF, NAN, NAN, INF, INF, INF], {"ties": "last"}, 0, 7),
        # As good as the baseline is not better than it.
        ([3, 3, 3, 3, 3, 3, 3], {"ties": "last", "patience": 3, "baseline": 3}, 3, 3),
    ],
)
def test_the_last_of_the_best_epochs_without_an_end(
    values: list[float], arguments: Any, best: int, last: int
) -> None:
    stop = callbacks.EarlyStopping(
        **{"patience": None, "restore_best": True} | arguments
    )
    net, kept = classifier(), list[np.ndarray]()
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda net, epoch, scores: kept.append(net.parameters.copy())
    )
    history = fit(net, Scripted(*values), stop, keep, epochs=7)
    assert (stop.best_epoch, history.epochs[-1]) == (best, last)
    np.testing.assert_array_equal(net.parameters, kept[best - 1 if best else last - 1])


@pytest.mark.parametrize(
    ("values", "mode", "best"),
    [
        ([INF] * 5, "min", None),
        ([INF] * 5, "max", None),
        ([-INF] * 5, "min", None),
        ([-INF] * 5, "max", None),
        ([NAN] * 5, "min", None),
        ([NAN, INF, NAN, INF, NAN], "max", None),
        ([1.0, -INF, -INF, -INF, -INF], "min", 1),
        ([1.0, INF, NAN, INF, INF], "max", 1),
        ([INF, 2.0, -INF, INF, NAN], "min", 2),
        ([NAN, -2.0, INF, NAN, -INF], "max", 2),
        ([1e308, -1e308, INF, NAN, -INF], "min", 2),
    ],
)
def test_a_score_that_is_not_finite_is_never_better(
    tmp_path: Path, values: list[float], mode: Any, best: int | None
) -> None:
    """A net that is dead from the start stops as one whose score stays does; its rate
    is reduced, and it does not take the place of a good file."""
    net, path = classifier(), tmp_path / "net"
    path.write_text("good")
    stop = callbacks.EarlyStopping("q", mode=mode, patience=2)
    slow = callbacks.ReduceOnPlateau("q", mode=mode, patience=2, factor=0.5)
    save = callbacks.ModelCheckpoint(path, monitor="q", mode=mode, save_best_only=True)
    history = fit(net, Scripted(*values, name="q"), stop, slow, save, epochs=5)
    first = 1 if best is None else best
    assert history.epochs[-1] == first + 2
    assert history.stopped == "EarlyStopping"
    assert net.rate_factor == 0.5
    if best is None:
        assert (stop.best, stop.best_epoch) == (None, 0)
        assert path.read_text() == "good"
    else:
        assert (stop.best, stop.best_epoch) == (values[best - 1], best)
        assert lm.load(path).epoch == best


class Adds(callbacks.Callback):
    def __init__(self, name: Any, value: Any) -> None:
        self.name, self.value = name, value

    def on_epoch_end(self, net: Any, epoch: int, scores: Any) -> None:
        scores[self.name] = self.value


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("value", ["b", None, np.ones(2), [1], 1j])
def test_a_score_that_is_no_number_is_refused_by_name(value: Any, verbose: int) -> None:
    """At once: the next callback is not told."""
    spy = Spy()
    message = "score 'best_class' must be a number, got .*, added by Adds"
    with pytest.raises(TypeError, match=message):
        classifier().fit(
            X, Y, callbacks=[Adds("best_class", value), spy], verbose=verbose
        )
    assert "epoch end" not in [each[0] for each in spy.seen]


@pytest.mark.parametrize("name", [3, None, "epoch"])
def test_a_score_has_a_name(name: Any) -> None:
    with pytest.raises(TypeError, match=r"name of a score .*, got .*, added by Adds"):
        fit(classifier(), Adds(name, 1.0))


def test_scores_become_floats_for_the_callbacks_after() -> None:
    spy = Spy()
    history = fit(classifier(), Adds("q", np.array(2, np.float32)), spy, epochs=1)
    seen = next(each[2]["q"] for each in spy.seen if each[0] == "epoch end")
    assert type(seen) is type(history["q"][0]) is float
    assert seen == 2


GROW = [
    "accuracy acc val_acc val_accuracy top_5_accuracy balanced_accuracy auc val_auc",
    "roc_auc f1 val_f1 f1_macro precision recall average_precision r2 val_r2",
    "matthews_corrcoef explained_variance mean_iou val_AUC F1-macro",
]
FALL = [
    "loss val_loss log_loss val_log_loss mean_squared_error rmse val_mae mse huber",
    "max_error binary_crossentropy poisson val_loss_without_penalty brier_score",
]


@pytest.mark.parametrize(
    ("name", "best"),
    [(name, 2) for line in GROW for name in line.split()]
    + [(name, 1) for line in FALL for name in line.split()],
)
def test_known_scores_are_taken_the_right_way(name: str, best: int) -> None:
    stop = callbacks.EarlyStopping(name)
    fit(classifier(), Scripted(0.25, 0.5, name=name), stop)
    assert stop.best_epoch == best


@pytest.mark.parametrize(
    "name", ["q", "learning_rate", "neg_mean_squared_error", "auc_error", "score", ""]
)
@pytest.mark.parametrize(
    "make",
    [
        callbacks.EarlyStopping,
        callbacks.ReduceOnPlateau,
        lambda name: callbacks.ModelCheckpoint("net", monitor=name),
    ],
)
def test_the_way_of_others_is_not_guessed(name: str, make: Any) -> None:
    with pytest.raises(ValueError, match="mode must be 'min' or 'max' for the score"):
        make(name)


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


def test_early_stopping_looks_from_an_epoch_on() -> None:
    net, values = classifier(), [1, 9, 3, 4, 5, 6, 7]
    stop = callbacks.EarlyStopping(patience=2, start_from_epoch=2, restore_best=True)
    history = fit(net, Scripted(*values), stop, epochs=7)
    assert (stop.best, stop.best_epoch, history.epochs[-1]) == (3, 3, 5)
    history = fit(net, Scripted(*values), stop, epochs=7)  # of this training
    assert (stop.best, stop.best_epoch, history.epochs[-1]) == (3, 8, 10)


@pytest.mark.parametrize(
    ("values", "baseline", "last", "best"),
    [
        ([9, 8, 7, 6, 5, 4], 5.0, 3, 3),  # improves, but not enough in time
        ([9, 8, 4, 6, 7, 8], 5.0, 6, 3),
        ([9, 8, 4, 3, 7, 8], 5.0, 6, 4),
        ([NAN, INF, NAN, 3, 7, 8], 5.0, 3, 0),
    ],
)
def test_early_stopping_where_a_baseline_is_not_reached(
    values: list[float], baseline: float, last: int, best: int
) -> None:
    net, stop = classifier(), callbacks.EarlyStopping(patience=3, baseline=baseline)
    history = fit(net, Scripted(*values), stop, epochs=6)
    assert (history.epochs[-1], stop.best_epoch) == (last, best)


def test_reduce_on_plateau_waits_and_ends_at_the_smallest_rate() -> None:
    def rates(**arguments: Any) -> list[float]:
        slow = callbacks.ReduceOnPlateau(factor=0.5, patience=1, **arguments)
        told = [Scripted(*range(9)), slow]
        net = classifier()
        return fit(net, *told, epochs=7, optimizer=lm.SGD(0.5))["learning_rate"]

    assert rates()[:5] == [0.5, 0.5, 0.25, 0.125, 0.0625]
    assert rates(cooldown=2) == [0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]
    assert rates(min_rate=0.2) == [0.5, 0.5, 0.25, *[0.2] * 4]
    assert rates(min_rate=0.5) == rates(min_rate=4.0) == [0.5] * 7


def test_an_improvement_does_not_shorten_the_cooldown() -> None:
    slow = callbacks.ReduceOnPlateau(factor=0.5, patience=1, cooldown=3)
    net = classifier()
    history = fit(net, Scripted(2, 2, 1, 1, 1, 1, 1), slow, epochs=7)
    assert [r / history["learning_rate"][0] for r in history["learning_rate"]] == [
        *(1, 1, 0.5, 0.5, 0.5, 0.5),
        0.25,
    ]


def test_a_smallest_rate_needs_a_rate() -> None:
    class Own(lm.optimizers.Optimizer):
        slots = 0

        def update(self, weights: Any, gradients: Any, state: Any, step: int) -> None:
            pass

    slow = callbacks.ReduceOnPlateau(patience=1, min_rate=0.1)
    with pytest.raises(ValueError, match="min_rate must come with an optimizer that"):
        fit(classifier(), slow, epochs=4, optimizer=Own())


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


def test_csv_logger_goes_on_with_a_log(tmp_path: Path) -> None:
    path, net = tmp_path / "log.csv", classifier()
    fit(net, callbacks.CSVLogger(path, append=True))
    path.chmod(0o644)
    log = callbacks.CSVLogger(path, append=True)
    fit(net, log, validation_split=0.2)
    fit(net, log)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("123456")
    assert list(rows[5]) == ["epoch", "loss", "accuracy", "learning_rate"]
    path.write_text("")
    fit(net, callbacks.CSVLogger(path, append=True))
    assert path.read_text().splitlines()[0] == "epoch,loss,accuracy,learning_rate"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"a log with a column 'epoch', got .*a, b"):
        fit(net, callbacks.CSVLogger(path, append=True))
    assert path.read_text() == "a,b\n1,2\n"


def test_csv_logger_spoils_no_log_that_it_goes_on_with(tmp_path: Path) -> None:
    path, net = tmp_path / "log.csv", classifier()
    log = callbacks.CSVLogger(path, append=True)

    def rows(text: str) -> list[list[str]]:
        path.write_bytes(text.encode())
        fit(net, log, epochs=1)
        return [line.split(",") for line in path.read_text("utf-8").splitlines()]

    broken_off = rows("epoch,loss\r\n1,0.")
    assert broken_off[1] == ["1", "0."]
    assert broken_off[2][0] == str(net.epoch)
    assert rows("\ufeffepoch,accuracy\n")[1][0] == str(net.epoch)  # as Excel saves it
    assert rows("")[0][:2] == ["epoch", "loss"]
    path.unlink()
    fit(net, log, epochs=1)
    assert path.read_text().startswith("epoch,loss")
    for other in (b"\n\nepoch,loss\n1,2\n", b"\xff\xfe\0\r1"):
        path.write_bytes(other)
        with pytest.raises(ValueError, match="must be that of a log with a column"):
            fit(net, log)
        assert path.read_bytes() == other


PATHS: list[Any] = [
    callbacks.ModelCheckpoint,
    lambda path: callbacks.ModelCheckpoint(path, save_best_only=True),
    callbacks.CSVLogger,
    lambda path: callbacks.CSVLogger(path, append=True),
]


@pytest.mark.parametrize("make", PATHS)
def test_a_path_that_cannot_be_written_is_named_before_the_first_step(
    make: Any, tmp_path: Path
) -> None:
    net = classifier()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    refused: list[tuple[Any, type[OSError]]] = [
        (tmp_path / "nowhere" / "net", FileNotFoundError),
        (tmp_path / "file" / "net", NotADirectoryError),
        (tmp_path, IsADirectoryError),
        (tmp_path / "pipe", OSError),
        ("/proc/net.st", OSError),
    ]
    for path, error in refused:
        with pytest.raises(error, match="path must be") as caught:
            fit(net, make(path))
        assert str(caught.value.filename) in (str(path), str(Path(path).parent))
    assert net.steps == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "pipe"]


def test_checkpoint_named_after_epoch_and_scores(tmp_path: Path) -> None:
    net = classifier()
    path = tmp_path / "net-{epoch:02d}-{val_loss:.3f}-{{x}}.st"
    history = fit(net, callbacks.ModelCheckpoint(path), validation_split=0.2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"net-{epoch:02d}-{loss:.3f}-{{x}}.st"
        for epoch, loss in zip((1, 2), history["val_loss"], strict=True)
    ]
    (tmp_path / "3").mkdir()
    fit(net, callbacks.ModelCheckpoint(tmp_path / "{epoch}" / "net"), epochs=1)
    assert lm.load(tmp_path / "3" / "net").epoch == 3
    with pytest.raises(FileNotFoundError, match="path must be in a folder"):
        fit(net, callbacks.ModelCheckpoint(tmp_path / "nowhere" / "{epoch}" / "net"))


@pytest.mark.parametrize(
    "name", ["{val_los}", "{}", "{0}", "{loss:d}", "{epoch.x}", "{loss:{width}}"]
)
def test_checkpoint_named_after_nothing(name: str, tmp_path: Path) -> None:
    message = r"path must be a format string of epoch, loss, accuracy, learning_rate, "
    with pytest.raises(ValueError, match=message + "got '.*net-"):
        fit(classifier(), callbacks.ModelCheckpoint(tmp_path / f"net-{name}"))
    assert not list(tmp_path.iterdir())


def test_checkpoint_onto_a_folder_that_appears(tmp_path: Path) -> None:
    (tmp_path / "net-2").mkdir()
    net = classifier()
    with pytest.raises(OSError, match="path must be that of a file"):
        fit(net, callbacks.ModelCheckpoint(tmp_path / "net-{epoch}"))
    assert net.epoch == 2


def test_checkpoint_with_an_initial_best(tmp_path: Path) -> None:
    path, net = tmp_path / "net", classifier()
    told = callbacks.ModelCheckpoint(path, save_best_only=True, initial_best=2.5)
    fit(net, Scripted(3, 2.5, 2, 4), told, epochs=4)
    assert told.best == 2
    assert lm.load(path).epoch == 3


def test_a_checkpoint_that_stands_last_holds_what_others_change(tmp_path: Path) -> None:
    net, path = classifier(), tmp_path / "net"
    slow = callbacks.ReduceOnPlateau(factor=0.5, patience=1)
    fit(net, Scripted(1, 1), slow, callbacks.ModelCheckpoint(path))
    assert lm.load(path).rate_factor == net.rate_factor == 0.5


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


class Stream(io.TextIOBase):
    """One that fails as it is told to."""

    def __init__(self, error: type[Exception], terminal: bool = False) -> None:
        self.error, self.terminal = error, terminal

    def isatty(self) -> bool:
        if not self.terminal:
            raise self.error
        return True

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error

    def close(self) -> None:
        """Else Python 3.13 complains of flush when it collects the object."""


class Nothing:
    """Neither write nor isatty."""


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS: list[Callable[[], Any]] = [
    lambda: None,
    closed,
    Nothing,
    lambda: Stream(BrokenPipeError),
    lambda: Stream(OSError, terminal=True),
    lambda: Stream(RuntimeError, terminal=True),
]


@pytest.mark.parametrize("make", STREAMS)
@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_a_training_does_not_need_a_stream(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], names: tuple[str, ...]
) -> None:
    monkeypatch.setattr("lamina.training._BETWEEN", 0.0)
    for name in names:
        monkeypatch.setattr(sys, name, make())
    net = classifier()
    net.summary()
    history = net.fit(X, Y, epochs=2)
    net.summary()
    assert history.epochs == [1, 2]


def test_a_stream_of_ascii_shows_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    ascii_only = io.TextIOWrapper(held, "ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", ascii_only)
    classifier().fit(X, Y, callbacks=[Adds("größe", 1.5)])
    assert rb"gr\xf6\xdfe 1.5" in held.getvalue()

    class Größe(lm.Dense):
        def __repr__(self) -> str:
            return "Größe"

    lm.Sequential([Größe(1)]).summary()
    assert rb"Gr\xf6\xdfe" in held.getvalue()


@pytest.mark.parametrize("closes", ["2>&-", ">&-", ">&- 2>&-", "| true"])
def test_a_shell_that_closes_streams(closes: str, tmp_path: Path) -> None:
    code = (
        "import numpy as np, lamina as lm; net = lm.Sequential([lm.Dense(1)]);"
        "net.summary(); net.fit(np.ones((8, 2)), np.ones(8), epochs=999);"
        f"open({str(tmp_path / 'done')!r}, 'w').close()"
    )
    command = f'"{sys.executable}" -c "{code}" {closes}'
    subprocess.run(command, shell=True, check=False, timeout=120)
    assert (tmp_path / "done").exists()


def test_the_progress_line_has_significant_digits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [Adds("tiny", 1.23456e-7), Adds("large", 123456.0), Adds("share", 0.98765)]
    classifier().fit(X, Y, callbacks=told)
    assert "tiny 1.235e-07  large 1.235e+05  share 0.9877  " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: callbacks.EarlyStopping(start_from_epoch=-1),
            ValueError,
            "start_from_epoch must be an integer",
        ),
        (
            lambda: callbacks.EarlyStopping(baseline=float("nan")),
            ValueError,
            "baseline must be a finite number, got nan",
        ),
        (
            lambda: callbacks.EarlyStopping(3),  # type: ignore[arg-type]
            TypeError,
            "monitor must be the name of a score, got 3",
        ),
        (
            lambda: callbacks.ReduceOnPlateau(cooldown=-1),
            ValueError,
            "cooldown must be an integer",
        ),
        (
            lambda: callbacks.ReduceOnPlateau(min_rate=-1),
            ValueError,
            "min_rate must be a finite number >= 0",
        ),
        (
            lambda: callbacks.ModelCheckpoint("net-{epoch"),
            ValueError,
            "path must be a format string, .* got 'net-{epoch': ",
        ),
        (
            lambda: callbacks.ModelCheckpoint("net", initial_best=1.0),
            ValueError,
            "initial_best must come with save_best_only",
        ),
        (
            lambda: callbacks.ModelCheckpoint(
                "net", save_best_only=True, initial_best=float("inf")
            ),
            ValueError,
            "initial_best must be a finite number, got inf",
        ),
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
