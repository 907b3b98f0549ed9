"""Rules about what goes through a net, and about its steps."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

from lamina.diagnosis.facts import (
    ANY,
    HALF,
    Facts,
    Finding,
    Rule,
    lower_rates,
    of_step,
    ratio,
    registry,
    with_weights,
)
from lamina.diagnosis.measure import Stage
from lamina.diagnosis.remedies import Change, relu_everywhere, shallower, usual_weights
from lamina.layers import Standardize

RULES: list[Rule] = []
rule = registry(RULES)


@rule(
    "exploding",
    (0.001, 100),
    "Each layer multiplies what it gets: weights are too large for their number.",
)
def _exploding(f: Facts) -> Iterator[Finding]:
    # Of healthy nets activations grow up to 4 times, signals up to 5.
    start = f.case.start
    rms, signal = start.ratio("rms"), start.ratio("signal")
    growth = math.inf if rms == 0 else 1 / rms if rms is not None else 0.0
    largest = max((s.rms for s in start.stages), default=0.0)
    change = Change(edit=usual_weights)
    if growth > 100 or largest > 1e30:
        last = start.hidden[-1].layer if start.hidden else start.stages[-1].layer
        says = (
            f"activations grow {growth:.3g} times from the first hidden layer to the "
            "last"
        )
        yield with_weights(f, max(growth, largest), says, last, change)
    elif signal is not None and signal > 1000:
        says = f"the gradient grows {signal:.3g} times from the last layer to the first"
        yield with_weights(f, signal, says, start.hidden[0].layer, change)


@rule(
    "saturated",
    (0, 0.25),
    "Sums far from zero, where the activation is flat, pass no gradient.",
)
def _saturated(f: Facts) -> Iterator[Finding]:
    # Healthy nets: at most 0.02 at the start, 0.21 when trained.
    for reading in (f.case.start, f.case.now) if f.suffers else (f.case.start,):
        worst = max(
            (s for s in reading.hidden if s.saturated is not None),
            key=lambda s: s.saturated or 0.0,
            default=None,
        )
        if worst is None or not worst.saturated or worst.saturated < 0.5:
            continue
        says = (
            f"{worst.saturated:.0%} of the outputs of layer {worst.layer} lie where "
            "the derivative is below 1 % of its most"
        )
        changes = [Change(edit=usual_weights), Change(edit=relu_everywhere)]
        if not any(isinstance(each, Standardize) for each in f.layers):
            changes.append(Change(standardize=True))
        found = with_weights(
            f, worst.saturated, says, worst.layer, *changes, by="with other weights"
        )
        yield dataclasses.replace(found, follows=reading is f.case.now)
        return


@rule(
    "rate too high",
    (0, 0.1),
    "Steps lead beyond where the gradient tells anything.",
)
def _rate_too_high(f: Facts) -> Iterator[Finding]:
    # Healthy nets change a kernel by at most 0.06 in their first step, and none of them
    # learns half as much again at a lower rate.
    step, layer = f.case.first_step
    if not f.suffers:
        return
    if not f.trials.wanted or f.trials.base is None:
        if step > 0.1 and f.case.start.overshot:
            rate = max(0.05 / step, 1e-6)
            yield Finding(step, of_step(step, layer), layer, Change(rate=rate))
        return
    best = f.first_that_helps(Change(rate=0.1), Change(rate=0.01), Change(rate=0.001))
    if best is None:
        return
    if step > 0.1:
        says = of_step(step, layer)
    else:
        layer, step = None, ratio(f, best)
        says = f"the loss is {step:.3g} times that of a trial at a lower rate"
    healthy = None if layer is not None else (0.0, 1.0)
    by = f"at {f.at(best.change)}"
    yield Finding(step, says, layer, best.change, best, by, healthy=healthy)


@rule(
    "vanishing",
    (0.2, ANY),
    "Each layer passes on a small part of what it gets: little is left over many.",
)
def _vanishing(f: Facts) -> Iterator[Finding]:
    # Healthy nets: 0.2 at least. Nets that have 0.01 do not learn; between the two a
    # trial decides.
    if f.reached is not None and f.reached < HALF:
        return
    for reading in (f.case.start, f.case.now):
        if _suddenly_dead(reading.hidden):
            return
        signal, rms = reading.ratio("signal"), reading.ratio("rms")
        kept = 1 / rms if rms else None
        if kept is not None and math.isinf(kept):
            kept = None
        changes = [Change(edit=relu_everywhere), Change(edit=shallower)]
        if f.rate is not None:
            changes.append(Change(edit=shallower, rate=10))
        by, vanishes = "with relu and weights that suit it", 0.01
        small = f.reached is not None and f.reached > 0.8 and (signal or 0.01) < 0.2
        if small and (best := f.first_that_helps(*changes)) is not None:
            changes, vanishes = [best.change], 0.2
        if signal is not None and signal < vanishes:
            says = (
                f"of the gradient {signal:.2g} is left at the first layer, compared "
                "with the last hidden one"
            )
            yield with_weights(
                f, signal, says, reading.hidden[0].layer, *changes, by=by
            )
            return
        if rms is not None and math.isinf(rms):
            kept = 0.0
        if kept is not None and kept < 0.01:
            says = f"of the activations {kept:.2g} is left at the last hidden layer"
            yield with_weights(f, kept, says, reading.hidden[-1].layer, *changes, by=by)
            return


def _suddenly_dead(stages: Sequence[Stage]) -> bool:
    """Whether a layer is dead that comes after a lively one: then it is the cause of
    what vanishes, and not the last of many that pass on less and less."""
    shares = [0.0, *(stage.dead or 0.0 for stage in stages)]
    return any(b - a > 0.5 and b > 0.6 for a, b in itertools.pairwise(shares))


@rule(
    "dead units",
    (0, 0.6),
    "Units that are off for every row get no gradient and stay off.",
)
def _dead(f: Facts) -> Iterator[Finding]:
    # A net of 20 relu layers begins with up to half of a layer dead, and trains. Few
    # units, fed by inputs of one sign, are dead by chance: 1.5 / sqrt(units) are three
    # standard deviations.
    for reading in (f.case.start, f.case.now) if f.suffers else (f.case.start,):
        worst = [
            s
            for s in reading.hidden
            if s.dead is not None
            and s.dead >= min(1.0, 0.6 + 1.5 / math.sqrt(s.units))
            and s.dead > 0.6
        ]
        if not worst:
            continue
        stage = max(worst, key=lambda s: s.dead or 0.0)
        assert stage.dead is not None
        says = (
            f"{stage.dead:.0%} of the {stage.units} units of layer {stage.layer} are "
            "off for every row"
        )
        changes = [Change(edit=usual_weights), *lower_rates()[:2]]
        changes.append(Change(edit=relu_everywhere))
        if not any(isinstance(each, Standardize) for each in f.layers):
            changes.append(Change(standardize=True))
        found = with_weights(
            f, stage.dead, says, stage.layer, *changes, by="changed so"
        )
        yield dataclasses.replace(found, follows=reading is f.case.now)
        return
