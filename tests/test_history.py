"""The history: lists of one length, from which tables and files are made."""

import copy
import json
import math
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lamina as lm


def sometimes() -> lm.History:
    """A score that comes every second epoch."""
    history = lm.History()
    for epoch in range(3, 7):
        extra = {"test": epoch / 10} if epoch % 2 == 0 else {}
        history.add(epoch, {"loss": 1 / epoch} | extra)
    return history


def test_a_score_of_some_epochs_keeps_its_epochs() -> None:
    history = sometimes()
    assert history.epochs == [3, 4, 5, 6]
    assert len(history["test"]) == 4
    known = [(e, v) for e, v in zip(history.epochs, history["test"], strict=True)]
    assert [(e, v) for e, v in known if not math.isnan(v)] == [(4, 0.4), (6, 0.6)]
    assert "loss 0.3333 to 0.1667" in repr(history)


def test_a_table_of_it() -> None:
    history = sometimes()
    table = pd.DataFrame(history.to_dict()).set_index("epoch")
    assert table["loss"].tolist() == history["loss"]
    assert table["test"].dropna().to_dict() == {4: 0.4, 6: 0.6}
    assert table.dtypes.tolist() == [np.float64, np.float64]
    plain = pd.DataFrame(history, index=history.epochs)
    pd.testing.assert_frame_equal(plain, table, check_names=False)


def test_json_without_what_is_none_of_it() -> None:
    history = sometimes()
    text = json.dumps(history.to_dict(), allow_nan=False)
    assert json.loads(text) == {
        "epoch": [3, 4, 5, 6],
        "loss": history["loss"],
        "test": [None, 0.4, None, 0.6],
    }


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.int8(2), np.array(2), np.longdouble(2)]
)
def test_numbers_of_every_kind_become_floats(value: Any) -> None:
    history = lm.History()
    history.add(1, {"score": value})
    history.add(2, {"score": True})
    history.add(3, {"score": np.False_})
    assert history["score"] == [2.0, 1.0, 0.0]
    assert {type(each) for each in history["score"]} == {float}


@pytest.mark.parametrize(
    "value", ["b", None, [1.0], np.ones(1), 1j, 10**400, np.datetime64(0, "s"), print]
)
def test_what_is_no_number_is_refused_and_nothing_added(value: Any) -> None:
    history = lm.History()
    with pytest.raises(TypeError, match="score 'best' must be a number, got"):
        history.add(1, {"loss": 1.0, "best": value})
    with pytest.raises(TypeError, match=r"name of a score must be a string, .*, got 3"):
        history.add(1, {3: 1.0})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="other than 'epoch', got 'epoch'"):
        history.add(1, {"epoch": 1.0})
    assert (history.epochs, dict(history)) == ([], {})


def test_copies() -> None:
    history = sometimes()
    history.stopped = "interrupt"
    for again in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert type(again) is lm.History
        assert again.to_dict() == history.to_dict()
        assert again.stopped == "interrupt"
        again.add(7, {"loss": 0.0})
    assert len(history.epochs) == 4


def test_the_pickle_of_a_mapping_that_it_was_opens() -> None:
    old = lm.History.__new__(lm.History)
    old.__setstate__({"epochs": [1], "stopped": None, "_values": {"loss": [0.5]}})
    old.add(2, {"loss": 0.25})
    assert old.to_dict() == {"epoch": [1, 2], "loss": [0.5, 0.25]}
    assert set(vars(old)) == {"epochs", "stopped"}


def test_the_learning_rate_is_that_of_the_last_step() -> None:
    """Of a schedule, and with the factor that a plateau brings."""
    x = np.ones((8, 2))
    net = lm.Sequential([lm.Dense(1)], seed=0)
    rate = lm.schedules.Step(0.5, every=4, factor=0.5)
    history = net.fit(
        x, x[:, 0], batch_size=2, epochs=3, optimizer=lm.SGD(rate), verbose=0
    )
    assert history["learning_rate"] == [0.5, 0.25, 0.125]
    slow = lm.callbacks.ReduceOnPlateau("still", mode="min", factor=0.5, patience=1)

    class Still(lm.callbacks.Callback):
        def on_epoch_end(self, net: Any, epoch: int, scores: Any) -> None:
            scores["still"] = 0

    history = net.fit(
        x,
        x[:, 0],
        epochs=4,
        optimizer=lm.SGD(0.5),
        callbacks=[Still(), slow],
        verbose=0,
    )
    assert history["learning_rate"] == [0.5, 0.5, 0.25, 0.125]


def test_an_optimizer_of_ones_own_tells_no_rate() -> None:
    class Own(lm.optimizers.Optimizer):
        slots = 0

        def update(self, weights: Any, gradients: Any, state: Any, step: int) -> None:
            weights -= 0.1 * gradients

    net = lm.Sequential([lm.Dense(1)], seed=0)
    history = net.fit(np.eye(2), [0, 1], optimizer=Own(), verbose=0)
    assert list(history) == ["loss"]
