"""`Sequential.diagnose`: sick nets are named, healthy ones are not, nothing changes."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.sparse

import lamina as lm
import sick_nets
from lamina import diagnosis
from lamina.diagnosis.rules import RULES
from sick_nets import (
    HEALTHY,
    HELD_OUT_HEALTHY,
    HELD_OUT_SICK,
    SICK,
    Patient,
    digits,
    mlp,
    told,
)

ROOT = Path(__file__).resolve().parent.parent
# What shows only in what training made of a net.
LATE = {sick_nets.OVERFIT}


def fitted(patient: Patient) -> lm.Sequential:
    patient.net.fit(patient.x, patient.y, verbose=0, **patient.fit)
    return patient.net


def names(report: diagnosis.Report) -> list[str]:
    return [verdict.name for verdict in report.verdicts]


# Right verdicts, no false ones --------------------------------------------------------


@pytest.fixture(scope="module")
def verdicts() -> dict[str, tuple[list[str], list[str]]]:
    """Of every sick net of section "From Stack Overflow" and "From the course": before
    training, and after."""
    found = {}
    for name, (make, _) in SICK.items():
        patient = make(0)
        plain = {k: v for k, v in patient.fit.items() if k != "validation_split"}
        before = patient.net.diagnose(patient.x, patient.y, **plain)
        after = fitted(patient).diagnose(patient.x, patient.y)
        found[name] = names(before), names(after)
    return found


def test_sick_nets_are_told_what_is_wrong_with_them(
    verdicts: dict[str, tuple[list[str], list[str]]],
) -> None:
    """At least 97 % of them, and in 85 % that comes first; tools/diagnose_audit.py does
    the same over seeds."""
    right = [bool(SICK[n].accepted & set(after)) for n, (_, after) in verdicts.items()]
    first = [after[:1] for _, after in verdicts.values()]
    named = [
        bool(SICK[n].accepted & set(f)) for n, f in zip(verdicts, first, strict=True)
    ]
    wrong = [n for n, ok in zip(verdicts, right, strict=True) if not ok]
    assert np.mean(right) >= 0.97, wrong
    assert np.mean(named) >= 0.85


def test_most_sick_nets_are_found_before_they_are_trained(
    verdicts: dict[str, tuple[list[str], list[str]]],
) -> None:
    early = [
        bool(SICK[name].accepted & set(before))
        for name, (before, _) in verdicts.items()
        if not SICK[name].accepted & LATE
    ]
    assert np.mean(early) >= 0.95


@pytest.mark.parametrize("name", [*HEALTHY, *HELD_OUT_HEALTHY])
def test_healthy_nets_are_not_called_ill(name: str) -> None:
    patient = (HEALTHY | HELD_OUT_HEALTHY)[name](1)
    plain = {k: v for k, v in patient.fit.items() if k != "validation_split"}
    before = patient.net.diagnose(patient.x, patient.y, **plain)
    assert names(before) == [], before
    after = fitted(patient).diagnose(patient.x, patient.y)
    assert names(after) == [], after


# For every rule a net that it names first.
SAMPLES = {
    "not finite": SICK["so48385830"],
    "softmax of one output": SICK["so31880720"],
    "outputs cannot reach the targets": SICK["so48221692"],
    "a feature gives the answer away": SICK["label_among_features"],
    "no activation between layers": SICK["no_activation"],
    "symmetric weights": SICK["tdc_constant"],
    "unscaled inputs": SICK["cancer_unscaled"],
    "unscaled targets": SICK["tdc_friedman_targets"],
    "penalty too strong": SICK["tdc_l2"],
    "dropout too strong": SICK["dropout_95"],
    "exploding": SICK["12_relu_large"],
    "saturated": SICK["wine_tanh_large"],
    "rate too high": SICK["adam_0.1"],
    "vanishing": HELD_OUT_SICK["own_layers_between"],
    "dead units": SICK["bias_20_second"],
    "imbalanced classes": SICK["dc_50_to_1"],
    "rate too low": SICK["adam_1e-5"],
    "nothing to learn": SICK["coin_flips"],
    "overfit": SICK["diabetes_300_epochs"],
}


def unlearnt(seed: int) -> Patient:
    """Enough that is new in each of two columns, and one bit that decides: no rate and
    no width learns that in a few steps."""
    x = np.random.default_rng(0).integers(0, 2, (256, 16))
    net = mlp([8, 2], "relu", "softmax", seed)
    return Patient(net, x, x.sum(axis=1) % 2, told("adam", 2))


def test_every_verdict_has_a_net_here() -> None:
    assert {*SAMPLES, "has not learnt"} == {
        rule.name for rule in RULES if not rule.hint
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_a_remedy_runs_and_cures_its_net(name: str) -> None:
    patient = SAMPLES[name].make(0)
    net = fitted(patient)
    report = net.diagnose(patient.x, patient.y)
    verdict = report.verdicts[0]
    assert verdict.name == name
    low, high = verdict.healthy
    assert not low <= verdict.number <= high
    assert verdict.remedy is not None
    told = {"net": net, "x": patient.x, "y": patient.y, "lm": lm, "np": np}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(verdict.remedy, told)
    if name == "nothing to learn":  # the remedy is to look
        return
    cured: Any = told["net"]
    assert report.reached is not None
    after = cured.diagnose(told["x"], told["y"])
    if name == "overfit":  # fewer rows than weights stay so
        assert min(cured.history["val_loss"]) < 0.9 * net.history["val_loss"][-1]  # type: ignore[index]
        return
    assert name not in names(after), after
    assert after.reached is not None
    assert after.reached < min(0.9, report.reached) or name in (
        "a feature gives the answer away",
        "softmax of one output",
    )


def test_what_nothing_helps_has_not_learnt() -> None:
    patient = unlearnt(0)
    report = fitted(patient).diagnose(patient.x, patient.y)
    assert names(report) in (["has not learnt"], ["nothing to learn"])


# Nothing changes ----------------------------------------------------------------------


def digest(net: lm.Sequential) -> str:
    """Of all that training could see: parameters, state, counters, history."""
    state = pickle.dumps(
        (
            net.parameters,
            net.gradient,
            net._state,
            net._updates,
            net.epoch,
            net.steps,
            net.rate_factor,
            net.features,
            net.loss,
            net.optimizer,
            None if net.history is None else dict(net.history),
            net.told,
            [
                {k: v for k, v in vars(layer).items() if k not in ("_net", "_saved")}
                for layer in net.layers
            ],
        )
    )
    return hashlib.sha256(state).hexdigest()


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", ["adam_0.1", "cancer_unscaled", "dropout_90"])
def test_the_net_stays_as_it_is(name: str, trained: bool) -> None:
    patient = SICK[name].make(3)
    other = copy.deepcopy(patient.net)
    if trained:
        fitted(patient)
        other = copy.deepcopy(patient.net)
    before = digest(patient.net)
    random = pickle.dumps(np.random.get_state())
    plain = {k: v for k, v in patient.fit.items() if k != "validation_split"}
    patient.net.diagnose(patient.x, patient.y, **plain)
    assert digest(patient.net) == before
    assert pickle.dumps(np.random.get_state()) == random
    for net in (patient.net, other):
        net.fit(patient.x, patient.y, verbose=0, **{**patient.fit, "epochs": 1})
    np.testing.assert_array_equal(patient.net.parameters, other.parameters)


def test_the_same_report_twice() -> None:
    patient = SICK["adam_0.1"].make(0)
    one, two = (
        patient.net.diagnose(patient.x, patient.y, **patient.fit).to_dict()
        for _ in range(2)
    )
    assert one == two


# Any data that fit takes --------------------------------------------------------------


def kinds(tmp_path: Path) -> Iterator[tuple[str, Any, Any]]:
    x, y = digits()
    yield "lists", x[:300].tolist(), y[:300].tolist()
    yield "frame", pandas.DataFrame(x), pandas.Series(y)
    yield "sparse", scipy.sparse.csr_array(x), y
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    mapped[:] = x
    yield "memory map", mapped, y
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 1792, 32)]
    yield "batches", batches, None
    weights = np.ones(32)
    yield "weighted batches", [(*batch, weights) for batch in batches], None
    yield "one-hot", x, np.eye(10)[y]


def test_any_data_that_fit_takes(tmp_path: Path) -> None:
    for kind, x, y in kinds(tmp_path):
        net = mlp([32, 10], "relu", "softmax", 0)
        assert names(net.diagnose(x, y)) == [], kind
        sick = net.diagnose(x, y, optimizer=lm.Adam(10.0))
        assert names(sick)[0] == "rate too high", kind
        net.fit(x, y, epochs=8, verbose=0)
        assert names(net.diagnose(x, y)) == [], kind


def test_what_fit_was_told_is_known_afterwards() -> None:
    """Optimizer, batch size, loss, weights, and which rows were held out."""
    x, y = digits()
    net = mlp([16, 10], "relu", "softmax", 0)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(x))
    net.fit(
        x,
        y,
        epochs=3,
        batch_size=64,
        optimizer=lm.SGD(1e-7),
        sample_weight=weights,
        validation_split=0.2,
        verbose=0,
    )
    assert net.told is not None and net.told.sample_weight is weights
    verdict = net.diagnose(x, y).verdicts[0]
    assert verdict.name == "rate too low"
    for word in ("epochs=3", "batch_size=64", "lm.SGD(", "sample_weight=sample_weight"):
        assert word in (verdict.remedy or ""), verdict.remedy
    assert "validation_split=0.2" in (verdict.remedy or "")
    # A copy is without the rows' weights, which may be many.
    assert copy.deepcopy(net).told == lm.history.Told(3, 64, None, None, None, 0.2)
    assert pickle.loads(pickle.dumps(net)).told.batch_size == 64


def test_weights_end_an_imbalance() -> None:
    make = SICK["dc_50_to_1"].make
    patient = make(0)
    report = fitted(patient).diagnose(patient.x, patient.y)
    assert names(report)[0] == "imbalanced classes"
    patient = make(0)
    patient.fit["class_weight"] = "balanced"
    assert "imbalanced classes" not in names(
        fitted(patient).diagnose(patient.x, patient.y)
    )


def test_validation_rows_show_what_was_learnt_by_heart() -> None:
    patient = SICK["diabetes_300_epochs"].make(0)
    x, y = patient.x, patient.y
    fit = {k: v for k, v in patient.fit.items() if k != "validation_split"}
    patient.net.fit(x[:300], y[:300], verbose=0, **fit)
    assert names(patient.net.diagnose(x[:300], y[:300])) == []
    report = patient.net.diagnose(x[:300], y[:300], (x[300:], y[300:]))
    assert names(report) == ["overfit"]
    # As fit has seen it, too.
    net = patient.net.clone()
    net.fit(x[:300], y[:300], validation_data=(x[300:], y[300:]), verbose=0, **fit)
    assert "overfit" in names(net.diagnose(x[:300], y[:300]))
    shared = net.diagnose(x[:300], y[:300], (x[:50], y[:50]))
    assert "validation rows also in training" in [hint.name for hint in shared.hints]


def test_own_layers_losses_and_optimizers() -> None:
    class Sign(lm.optimizers.Optimizer):
        slots = 0

        def update(self, weights: Any, gradients: Any, state: Any, step: int) -> None:
            weights -= 0.01 * np.sign(gradients)

    class Cosh(lm.losses.Loss):
        def value(self, outputs: Any, targets: Any) -> Any:
            error = outputs - targets
            loss = np.logaddexp(error, -error) - np.log(2)
            return loss.mean(axis=1), np.tanh(error) / error.shape[1]

    x, y = sick_nets.friedman()
    layers = [lm.Dense(16, "tanh"), sick_nets.Shift(), lm.Dense(1)]
    net = lm.Sequential(layers, seed=0)
    report = net.diagnose(x, y, optimizer=Sign(), loss=Cosh())
    assert names(report) == []
    assert [row["layer"] for row in report.layers] == [0, 1, 2]
    assert report.layers[1]["saturated"] is None


def test_a_net_is_diagnosed_while_it_trains() -> None:
    class Look(lm.callbacks.Callback):
        def on_epoch_end(self, net: Any, epoch: int, scores: Any) -> None:
            self.report = net.diagnose(x, y, trials=False)

    look = Look()
    x, y = digits()
    net = mlp([32, 10], "relu", "softmax", 0)
    plain = copy.deepcopy(net)
    net.fit(x, y, epochs=2, callbacks=[look], verbose=0)
    plain.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(net.parameters, plain.parameters)
    assert names(look.report) == []


# The report ---------------------------------------------------------------------------


def conforms(value: Any, schema: dict[str, Any], where: str = "report") -> None:
    """As much of JSON schema as the published one uses."""
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    wanted = schema.get("type")
    if wanted is not None:
        wanted = [wanted] if isinstance(wanted, str) else wanted
        assert any(isinstance(value, kinds[w]) for w in wanted), (where, value)  # type: ignore[arg-type]
    if "enum" in schema:
        assert value in schema["enum"], (where, value)
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) == set(schema["required"]), where
        for key, each in value.items():
            conforms(each, schema["properties"][key], f"{where}.{key}")
    if isinstance(value, list):
        for i, each in enumerate(value):
            conforms(each, schema["items"], f"{where}[{i}]")


SCHEMA = json.loads((ROOT / "docs" / "diagnosis.schema.json").read_text())


def resolved(schema: Any) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            return resolved(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
        return {key: resolved(value) for key, value in schema.items()}
    return schema


@pytest.mark.parametrize("name", ["adam_10", "so48385830", "tdc_99_to_1", "bias_10"])
def test_the_json_is_as_the_schema_says(name: str) -> None:
    patient = SICK[name].make(0)
    with warnings.catch_warnings():
        report = fitted(patient).diagnose(patient.x, patient.y)
    made = json.loads(report.to_json())
    assert made == report.to_dict()
    conforms(made, resolved(SCHEMA))
    known = [rule.name for rule in RULES]
    verdict = SCHEMA["$defs"]["verdict"]["properties"]["name"]["enum"]
    assert sorted(verdict) == sorted(known)


def test_the_report_reads_from_cause_to_table() -> None:
    x, y = digits()
    net = mlp([64, 64, 10], "relu", "softmax", 1)
    report = net.diagnose(x, y, optimizer=lm.SGD(10.0))
    text = str(report)
    lines = text.splitlines()
    assert lines[0].startswith("rate too high: the first step changes the weights of")
    assert "(healthy: at most 0.1). After 300 steps: loss" in lines[0]
    assert "net.fit(x, y, epochs=6, optimizer=lm.SGD(" in lines[2]
    assert [line.split()[0] for line in lines[-3:]] == ["0", "1", "2"]
    for word in ("dead", "saturated", "signal", "update/weight"):
        assert word in text
    page = report._repr_html_()
    assert "rate too high" in page and page.count("<tr>") == 4
    assert repr(report).startswith("<Report: rate too high")


def test_without_trials_nothing_is_trained() -> None:
    x, y = digits()
    net = mlp([64, 64, 10], "relu", "softmax", 1)
    report = net.diagnose(x, y, trials=False, optimizer=lm.SGD(10.0))
    assert report.trials == () and names(report) == ["rate too high"]
    assert names(net.diagnose(x, y, trials=False)) == []


# Bad input ----------------------------------------------------------------------------


def test_what_cannot_be_diagnosed() -> None:
    x, y = digits()
    net = mlp([8, 10], "relu", "softmax", 0)
    cases: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((x[:5], y[:4]), {}, "y must have as many rows as x, 5, got 4"),
        ((x[0], y), {}, "must be 2-d|as many rows"),
        ((x, None), {}, "y must be given|batches"),
        (([], None), {}, "x must give a batch at least"),
        ((x, y), {"optimizer": "swift"}, "unknown optimizer 'swift'"),
        ((x, y), {"loss": "hinge"}, "unknown loss 'hinge'"),
        ((x, y), {"epochs": 0}, "epochs must be an integer >= 1"),
        ((x, y), {"batch_size": 1.5}, "batch_size must be an integer >= 1"),
        ((x, y), {"trials": 1}, "trials must be True or False"),
        ((x, y), {"validation": 3}, "validation must be"),
        ((x, y), {"validation": (x[:, 1:], y)}, "must have 64 features"),
        ((x * np.nan, y), {}, "x must be finite"),
        ((x, y + 1), {}, "labels from 0 to 9"),
    ]
    for arguments, options, message in cases:
        with pytest.raises((TypeError, ValueError), match=message):
            net.diagnose(*arguments, **options)
    assert net.features == 0


# What fit says by itself --------------------------------------------------------------


def said(net: lm.Sequential, x: Any, y: Any, **fit: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(x, y, verbose=0, **fit)
    for each in caught:
        assert each.category is lm.LaminaWarning
        assert each.filename == __file__  # where `fit` was called
    return [str(each.message).partition(":")[0] for each in caught]


def test_fit_warns_once_of_what_cannot_go_well() -> None:
    x, y = digits()
    net = mlp([32, 10], "relu", "softmax", 0)
    assert said(net, x, y, epochs=3, optimizer=lm.SGD(10.0)) == ["rate too high"]
    net = mlp([32, 1], "relu", None, 0)
    lost = said(net, x, 1e9 * y, epochs=9, optimizer=lm.SGD(1.0))
    assert lost == ["rate too high", "not finite"]
    net = mlp([8, 1], "relu", "softmax", 0)
    assert said(net, x, 0 * y, epochs=2) == ["softmax of one output"]


@pytest.mark.parametrize("name", [*HEALTHY, *HELD_OUT_HEALTHY])
def test_fit_says_nothing_of_healthy_nets(name: str) -> None:
    patient = (HEALTHY | HELD_OUT_HEALTHY)[name](2)
    assert said(patient.net, patient.x, patient.y, **{**patient.fit, "epochs": 2}) == []


def test_linear_models_may_take_large_steps() -> None:
    x = np.linspace(-1, 1, 50)[:, None]
    net = lm.Sequential([lm.Dense(1)], seed=0)
    assert said(net, x, 3 * x, epochs=5, optimizer=lm.SGD(0.5)) == []


def test_the_page_says_what_every_rule_says() -> None:
    page = (ROOT / "docs" / "diagnosis.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| ")]
    known = {line.split(" | ")[0][2:]: line for line in table}
    for rule in RULES:
        assert known[rule.name].endswith(f"| {rule.cause} |"), rule.name
    assert len(known) == len(RULES) + 2
