"""`callbacks.Watch`: what goes wrong while a net trains is said when it happens."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina.callbacks import Watch
from sick_nets import digits, mlp


def long_fit(
    watch: Watch, optimizer: Any, seconds: float = 1.0, **fit: Any
) -> lm.History:
    """A fit of at least that long, or until it is stopped."""
    x, y = digits()
    end = time.perf_counter() + seconds
    stop = lm.callbacks.LambdaCallback(
        on_epoch_end=lambda net, epoch, scores: time.perf_counter() > end
    )
    net = mlp([64, 64, 10], "relu", "softmax", 0)
    told = {"optimizer": optimizer, "epochs": 10**6, "verbose": 0, **fit}
    return net.fit(x, y, callbacks=[watch, stop], **told)


def test_a_verdict_is_said_in_one_line_and_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = Watch()
    history = long_fit(watch, lm.SGD(10.0), 3.0)
    lines = [line for line in capsys.readouterr().out.splitlines() if "rate" in line]
    assert "rate too high" in watch.verdicts
    assert len(lines) == 1 and lines[0].startswith("epoch "), lines
    seen = [each for each in history.watch if each["verdict"] == "rate too high"]
    assert len(seen) == 1 and seen[0]["appeared"] is True
    assert lines[0] == f"epoch {seen[0]['epoch']}, step {seen[0]['step']}: " + str(
        seen[0]["says"]
    )


class Looks(Watch):
    """Looks at every epoch, whatever it takes."""

    def _perhaps(self, net: Any, scores: Any) -> bool:
        self._tell(net, self._look(net))
        return False


def test_what_is_over_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A rate that is raised lets the net learn after all."""
    x, y = digits()
    net = mlp([64, 64, 10], "relu", "softmax", 0)

    def raise_rate(net: Any, epoch: int) -> None:
        net.rate_factor = 1e5 if epoch > 3 else 1

    rates = lm.callbacks.LambdaCallback(
        on_epoch_begin=lambda net, epoch, rows: raise_rate(net, epoch)
    )
    history = net.fit(
        x, y, epochs=20, optimizer=lm.SGD(1e-6), callbacks=[rates, Looks()], verbose=0
    )
    seen = [(each["verdict"], each["appeared"]) for each in history.watch]
    assert seen == [("rate too low", True), ("rate too low", False)]
    assert "rate too low is over" in capsys.readouterr().out


def test_units_that_die_are_seen() -> None:
    x, y = digits()
    net = mlp([32, 10], "relu", "softmax", 0)
    watch = Looks(verbose=0)
    net.build(64)
    net.layers[0].parameters["bias"][...] = -50
    history = net.fit(x, y, epochs=1, callbacks=[watch], verbose=0)
    assert "dead units" in [each["verdict"] for each in history.watch]


@pytest.mark.parametrize("kind", ["arrays", "split", "batches"])
def test_stop_on_ends_the_training(kind: str) -> None:
    x, y = digits()
    x = x * 1e20
    net = mlp([8, 10], "relu", "softmax", 0)
    fit: dict[str, Any] = {"validation_split": 0.2} if kind == "split" else {}
    data: tuple[Any, ...] = (x, y)
    if kind == "batches":
        data = ([(x[i : i + 50], y[i : i + 50]) for i in range(0, 1750, 50)],)
    watch = Watch(stop_on=["not finite"], verbose=0)
    history = net.fit(
        *data, epochs=50, optimizer=lm.SGD(1e30), callbacks=[watch], verbose=0, **fit
    )
    assert history.stopped == "Watch" and len(history.epochs) == 1
    assert "not finite" in [each["verdict"] for each in history.watch]


def test_looks_take_at_most_a_fiftieth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a clock that goes as the test says: a millisecond an epoch, seven a look."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class Slow(Watch):
        looks = 0

        def _look(self, net: Any) -> dict[str, Any]:
            clock[0] += 7e-3
            self.looks += 1
            return {}

    watch, net = Slow(), mlp([1], None, None, 0)
    net.build(1)
    watch.on_train_begin(net, range(1, 2))
    for epoch in range(10_000):
        clock[0] += 1e-3
        watch.on_epoch_end(net, epoch, {"loss": 1.0})
        # The first look may take longer than its guess, 5 ms.
        assert watch.seconds <= 0.02 * clock[0] + 2e-3
    assert watch.looks >= 25


def test_a_watched_net_learns_the_same() -> None:
    x, y = digits()
    nets = [mlp([32, 10], "relu", "softmax", 0, dropout=0.2) for _ in range(2)]
    nets[0].fit(x, y, epochs=5, verbose=0)
    nets[1].fit(x, y, epochs=5, callbacks=[Looks(verbose=0)], verbose=0)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_names_that_no_verdict_has() -> None:
    with pytest.raises(TypeError, match="stop_on must be a list of names, got 'nan'"):
        Watch(stop_on="nan")
    with pytest.raises(ValueError, match="stop_on must name verdicts, not finite, "):
        mlp([1], None, None, 0).fit(
            [[1.0]], [1.0], callbacks=[Watch(stop_on=["nan"])], verbose=0
        )
