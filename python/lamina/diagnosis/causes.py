"""Rules about causes: what the data, the layers and their settings say at once."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lamina import losses
from lamina._checks import Array
from lamina.diagnosis.facts import (
    ANY,
    HALF,
    Facts,
    Finding,
    Range,
    Rule,
    lower_rates,
    registry,
)
from lamina.diagnosis.remedies import (
    Change,
    both_scaled,
    ending,
    penalties,
    relu_everywhere,
    usual_weights,
    without_dropout,
)
from lamina.layers import Activation, Dense, Dropout, GaussianNoise, Standardize

RULES: list[Rule] = []
rule = registry(RULES)


@rule(
    "not finite",
    (0, 0),
    "Numbers became infinite or undefined; every step after that is lost.",
)
def _not_finite(f: Facts) -> Iterator[Finding]:
    case = f.case
    for reading, when in [(case.start, "before training"), (case.now, "now")]:
        bad = [s for s in reading.stages if s.not_finite]
        if bad:
            first = bad[0]
            says = (
                f"{first.not_finite} outputs and parameters of layer {first.layer} are "
                f"not finite {when}"
            )
            yield _with_cure(f, first.not_finite, says, first.layer)
            return
    curve = [] if case.history is None else case.history.get("loss", [])
    bad_epochs = int(len(curve) - np.isfinite(curve).sum()) if curve else 0
    if bad_epochs:
        yield _with_cure(
            f, bad_epochs, f"the loss of {bad_epochs} epochs is not finite"
        )
    elif not math.isfinite(case.now.loss):
        yield _with_cure(f, 1, "the loss is not finite")


def _with_cure(f: Facts, number: float, says: str, layer: int | None = None) -> Finding:
    changes = [*lower_rates(), Change(standardize=True), Change(edit=usual_weights)]
    if f.squared and f.case.columns.std() > 0:
        changes.append(Change(scale_targets=True))
    best = f.trials.best(changes)
    if best is None or not best.loss < 0.9:
        both = [Change(edit=usual_weights, rate=r) for r in (0.1, 0.01, 1e-3)]
        both.append(Change(standardize=True, edit=usual_weights, rate=0.1))
        best = f.trials.best([*both, both_scaled] if f.squared else both)
    if best is None or not math.isfinite(best.loss):
        return Finding(number, says, layer, Change(rate=0.01))
    return Finding(number, says, layer, best.change, best)


@rule(
    "softmax of one output",
    (2, ANY),
    "Softmax of a single output is always 1: there is nothing to learn.",
)
def _softmax_of_one(f: Facts) -> Iterator[Finding]:
    if f.output is None or not f.output.name.endswith("softmax"):
        return
    if f.case.outputs == 1:
        y = f.case.columns
        binary = bool(((y >= 0) & (y <= 1)).all())
        loss = losses.binary_crossentropy if binary else losses.mean_squared_error
        change = Change(edit=ending("sigmoid" if binary else None), loss=loss)
        yield Finding(
            1,
            "the last layer is a softmax of 1 output, which is 1 for every row",
            len(f.layers) - 1,
            change,
            f.trials(change),
        )


@rule(
    "outputs cannot reach the targets",
    (0, 0.02),
    "The last activation has no such values, so that the loss has a floor.",
)
def _out_of_reach(f: Facts) -> Iterator[Finding]:
    # A few targets outside are outliers; those of a wrong activation are many.
    if f.output is None or not f.squared:
        return
    y = f.case.columns
    if f.output.name == "softmax":
        if f.case.outputs == 1:
            return
        outside = np.abs(y.sum(axis=1) - 1) > 0.01
        says = "rows of targets do not sum to 1, as outputs of softmax do"
    elif f.output.name == "log_softmax":
        return
    else:
        low, high = _range_of(f.output)
        room = 1e-3 * max(1.0, float(np.abs(y).max()))
        outside = ((y < low - room) | (y > high + room)).any(axis=1)
        says = (
            f"targets lie outside {low:.3g} to {high:.3g}, where {f.output.name} ends"
        )
    share = float(outside.mean())
    if share <= 0.02:
        return
    many_labels = bool(((y == 0) | (y == 1)).all())
    loss = losses.binary_crossentropy if many_labels else f.case.goal
    changes = [Change(edit=ending("sigmoid" if many_labels else None), loss=loss)]
    if not many_labels:
        changes.append(dataclasses.replace(changes[0], scale_targets=True))
    best = f.trials.best(changes)
    change = changes[0] if best is None else best.change
    says = f"{share:.0%} of the {says}"
    yield Finding(share, says, len(f.layers) - 1, change, best)


@functools.lru_cache(maxsize=64)
def _range_of(activation: Any) -> Range:
    grid = np.array([-1e6, -1e5, *np.linspace(-100, 100, 4001), 1e5, 1e6])
    y = np.asarray(activation(grid), np.float64)
    low, high = float(y.min()), float(y.max())
    return (-ANY if low < -1e3 else low), (ANY if high > 1e3 else high)


@rule(
    "a feature gives the answer away",
    (0, 0.995),
    "A column of x holds the target: what it teaches is of no use where it is unknown.",
)
def _leak(f: Facts) -> Iterator[Finding]:
    # Made classes that lie far apart have 0.97, and then in most of their features.
    case, x = f.case, f.case.train.x.astype(np.float64)
    if x.shape[1] < 2 or len(x) < 20:
        return
    shares = _explained(x, case.labels) if case.labels is not None else None
    if shares is None and case.outputs == 1:
        shares = _correlation(x, case.columns[:, 0]) ** 2
        if (shares > 0.999).sum() != 1:
            return
    if shares is None or float(np.median(shares)) > 0.9:
        return
    column = int(shares.argmax())
    cut = 0.995 if case.labels is not None else 0.999
    if shares[column] > cut:
        named = any(getattr(each, "columns", None) is not None for each in f.layers)
        yield Finding(
            float(shares[column]),
            f"column {column} of x explains {shares[column]:.2%} of the target",
            None,
            None if named else Change(drop=column),  # their numbers would change
        )


def _explained(x: Array, labels: Array) -> Array:
    """The share of each column's variance that lies between the classes."""
    total = x.var(axis=0)
    within = np.zeros(x.shape[1])
    counts = np.bincount(labels)
    if (counts > 0).sum() < 2 or (counts > 1).sum() > len(x) // 3:
        return np.zeros(x.shape[1])
    for label in np.flatnonzero(counts):
        rows = x[labels == label]
        within += len(rows) / len(x) * rows.var(axis=0)
    varies = total > 1e-12 * np.square(x).mean(axis=0)
    return np.where(varies, 1 - within / np.where(varies, total, 1), 0)


def _correlation(x: Array, y: Array) -> Array:
    x, y = x - x.mean(axis=0), y - y.mean()
    scale = np.sqrt(np.square(x).sum(axis=0) * np.square(y).sum())
    made: Array = np.divide(y @ x, scale, out=np.zeros(x.shape[1]), where=scale > 0)
    return made


@rule(
    "no activation between layers",
    (1, ANY),
    "Dense layers without activation are one Dense layer, whatever their number.",
)
def _linear(f: Facts) -> Iterator[Finding]:
    known = Standardize, Dense, Dropout, GaussianNoise, Activation
    inner = [each for each in f.layers[:-1] if type(each) in (Dense, Activation)]
    trailing = type(f.last) is Activation
    if trailing:  # then the last Dense is the output
        inner = inner[:-1] if inner and type(inner[-1]) is Dense else inner
    if not all(type(each) in known for each in f.layers) or not any(
        type(each) is Dense for each in inner
    ):
        return
    if all(each.activation.name == "identity" for each in inner):  # type: ignore[attr-defined]
        change = Change(edit=relu_everywhere)
        trial = f.trials(change)
        says = f"none of the {len(inner)} hidden layers has an activation"
        yield Finding(0, says, f.case.now.stages[0].layer, change, trial)


@rule(
    "symmetric weights",
    (0, 0),
    "Units that begin alike get the same gradients and stay alike: one unit in all.",
)
def _symmetric(f: Facts) -> Iterator[Finding]:
    for net in (f.case.first, f.case.net) if f.case.trained else (f.case.first,):
        found = [(i, each) for i, each in enumerate(net.layers) if type(each) is Dense]
        for (i, one), (_, two) in itertools.pairwise(found):
            kernel, after = one.parameters["kernel"], two.parameters["kernel"]
            bias = one.parameters.get("bias", np.zeros(1))
            if kernel.shape[1] < 2 or not np.isfinite(kernel).all():
                continue
            alike = (kernel == kernel[:, :1]).all() and (bias == bias[:1]).all()
            # Unequal weights after them, or masks, tell the units apart.
            if alike and (after == after[:1]).all() and f.suffers:
                change = Change(edit=usual_weights)
                says = f"all {kernel.shape[1]} units of layer {i} have the same weights"
                yield Finding(kernel.shape[1], says, i, change, f.trials(change))
                return


@rule(
    "unscaled inputs",
    (0.01, 10),
    "Weights, rates and initial values are made for inputs of about unit size.",
)
def _inputs(f: Facts) -> Iterator[Finding]:
    x = f.case.entering
    if x is None or any(isinstance(each, Standardize) for each in f.layers):
        return
    number, says = _unscaled(x.astype(np.float64))
    far = not 1e-3 <= number <= 100
    # The further off, the less has to show.
    if says and (f.suffers or (far and f.reached is not None and f.reached > 0.05)):
        by = 0.9 if far and f.suffers else HALF
        change = Change(standardize=True)
        rates = [dataclasses.replace(change, rate=r) for r in (0.1, 0.01, 10, 100)]
        both = [both_scaled] if f.squared else []
        trial = f.first_that_helps(change, by=by)
        trial = trial or f.first_that_helps(*rates, *both, by=by)
        if trial is None and far and f.suffers:  # by itself it may not be enough
            trial = f.trials(change)
        if trial is not None or (far and not f.trials.wanted):
            used = change if trial is None else trial.change
            yield Finding(number, says, None, used, trial, "with Standardize")
        else:
            yield Finding(number, says, None, change, hint=True)


def _unscaled(x: Array) -> tuple[float, str]:
    """A number outside 0.01 to 10 and what it is, or nothing to say."""
    spread = x.std(axis=0)
    rms = np.sqrt(np.square(x).mean(axis=0))
    varies = spread > 1e-6 * np.maximum(rms, 1e-30)
    if not varies.any():
        return 1.0, ""
    size = rms[varies]
    column = int(np.flatnonzero(varies)[size.argmax()])
    if size.max() > 10:
        return float(
            size.max()
        ), f"column {column} of x has size {size.max():.4g} (rms)"
    if size.max() < 0.01:
        return float(
            size.max()
        ), f"the largest column of x has size {size.max():.2g} (rms)"
    off = float(np.median(np.abs(x.mean(axis=0))[varies] / spread[varies]))
    if off > 10:
        return off, f"columns of x lie {off:.3g} of their standard deviations from zero"
    middle = float(np.median(size))
    if size.max() > 30 * middle > 0:
        # Rare features, as of counts and one-hot columns, are small but of unit scale.
        peak = np.abs(x).max(axis=0)[varies]
        if peak.max() > 30 * np.median(peak):
            share = float(size.max() / middle)
            return share, f"column {column} of x is {share:.3g} times as large as most"
    return 1.0, ""


@rule(
    "unscaled targets",
    (0.01, 10),
    "Outputs begin near zero: far targets give gradients as large, near ones as small.",
)
def _targets(f: Facts) -> Iterator[Finding]:
    linear = f.output is None or f.output.name == "identity"
    if not linear or not f.squared or not f.suffers:
        return
    y = f.case.columns
    size = float(np.sqrt(np.square(y).mean(axis=0)).max())
    if 0.01 <= size <= 10 or not y.std() > 0:
        return
    plain = Change(scale_targets=True)
    changes = [plain, both_scaled]
    changes += [dataclasses.replace(plain, rate=r) for r in (0.1, 10)]
    trial = next((t for c in changes if f.helps(t := f.trials(c), 0.67)), None)
    says = f"the targets have size {size:.4g} (rms)"
    far = not 1e-3 <= size <= 100
    if trial is None and far:
        trial = f.trials(plain)
    if trial is not None or (far and not f.trials.wanted):
        change = plain if trial is None else trial.change
        by = "with targets of unit size, in that unit"
        yield Finding(size, says, None, change, trial, by)
    else:
        yield Finding(size, says, None, plain, hint=True)


@rule(
    "penalty too strong",
    (0, 1),
    "The weights serve the penalty before the data.",
)
def _penalty(f: Facts) -> Iterator[Finding]:
    start = f.case.start
    number = start.penalty / max(start.loss, 1e-30)
    if not start.penalty > 0 or not f.suffers:
        return
    changes = [Change(edit=penalties(r)) for r in (0.1, 0.01, 0.001)]
    if number > 1 or f.case.now.penalty > f.case.now.loss:
        number = max(number, f.case.now.penalty / max(f.case.now.loss, 1e-30))
        trial = f.first_that_helps(*changes)
        if trial is None and f.trials.wanted:
            return
        says = f"the penalties are {number:.3g} times the loss of the data"
        change = changes[0] if trial is None else trial.change
        yield Finding(number, says, None, change, trial, "with smaller ones")


@rule(
    "dropout too strong",
    (0, 0.7),
    "What is left of a row in training tells too little of its target.",
)
def _dropout(f: Facts) -> Iterator[Finding]:
    rates = [
        (float(e.rates(0, 1)[0]), i)
        for i, e in enumerate(f.layers)
        if type(e) is Dropout
    ]
    rate, layer = max(rates, default=(0.0, 0))
    if rate < 0.8 or not f.suffers:
        return
    changes = [Change(edit=without_dropout(r)) for r in (0.3, 0.1)]
    trial = f.first_that_helps(*changes)
    if trial is None and f.trials.wanted:
        return
    says = f"layer {layer} drops {rate:.0%} of its values"
    change = changes[0] if trial is None else trial.change
    yield Finding(rate, says, layer, change, trial, "with less")
