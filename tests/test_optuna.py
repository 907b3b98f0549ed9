"""Optuna searches with nets of Lamina: what it prunes, and what it is told."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest

import lamina as lm

X = np.random.default_rng(0).normal(size=(150, 3)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def build(width: int = 8, dropout: float = 0.0, seed: int = 0) -> lm.Sequential:
    layers = [lm.Dense(width, "tanh"), lm.Dropout(dropout), lm.Dense(2, "softmax")]
    return lm.Sequential(layers, seed=seed)


class Second(optuna.pruners.BasePruner):
    """Ends every trial after its second report."""

    def prune(self, study: Any, trial: Any) -> bool:
        return len(trial.intermediate_values) >= 2


def test_a_pruner_ends_fit_after_the_epoch_that_it_dislikes() -> None:
    nets = []

    def objective(trial: Any) -> float:
        net = build()
        nets.append(net)
        prune = lm.optuna.Prune(trial, "loss")
        net.fit(X, Y, epochs=9, callbacks=[prune], verbose=0)
        raise AssertionError("the trial must have ended")

    study = optuna.create_study(pruner=Second())
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 2
    assert [net.epoch for net in nets] == [2, 2]
    assert nets[0].history is not None
    assert nets[0].history.stopped == "TrialPruned"
    reported = study.trials[0].intermediate_values
    assert reported[1] == nets[0].history["loss"][0]


def test_what_to_report_must_be_there() -> None:
    trial = optuna.trial.FixedTrial({})
    with pytest.raises(
        ValueError, match=r"monitor must be one of loss, accuracy, .*got"
    ):
        build().fit(X, Y, callbacks=[lm.optuna.Prune(trial)], verbose=0)


def test_the_score_is_the_mean_loss_of_compare() -> None:
    """Over folds and seeds, though its nets train side by side, epoch by epoch."""
    trial = optuna.trial.FixedTrial({})
    options: dict[str, Any] = {"folds": 3, "seeds": 2}
    value = lm.optuna.score(
        build, X, Y, trial, epochs=4, dropout=0.5,
        **{"optimizer.learning_rate": 0.01}, **options,
    )  # fmt: skip
    table = lm.compare(
        build, X, Y, vary={"dropout": [0.5]},
        fit={"epochs": 4, "optimizer": lm.Adam(0.01)}, verbose=0, **options,
    )  # fmt: skip
    assert value == pytest.approx(table.values("loss", 0).mean(), rel=1e-12)


def test_a_study_in_two_threads_finds_the_width_that_learns() -> None:
    def objective(trial: Any) -> Any:
        width = trial.suggest_categorical("width", [1, 32])
        rate = trial.suggest_float("rate", 1e-2, 1e-1, log=True)
        return lm.optuna.score(
            build, X, Y, trial, epochs=30, folds=3, width=width,
            **{"optimizer.learning_rate": rate},
        )  # fmt: skip

    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0),
        # In whichever order the widths come: after 13 epochs the wide nets lead.
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=13),
    )
    for number in range(20):  # in threads Optuna seeds its sampler anew, by chance
        study.enqueue_trial({"width": (1, 32)[number % 2]})
    study.optimize(objective, n_trials=20, n_jobs=2)
    states = [trial.state.name for trial in study.trials]
    assert states.count("PRUNED") > 3
    assert states.count("COMPLETE") + states.count("PRUNED") == 20
    assert study.best_params["width"] == 32


def test_a_setting_that_cannot_be_is_no_trial_that_failed() -> None:
    trial = optuna.trial.FixedTrial({})
    with pytest.raises(ValueError, match="got 'widht'"):
        lm.optuna.score(build, X, Y, trial, epochs=1, widht=3)
