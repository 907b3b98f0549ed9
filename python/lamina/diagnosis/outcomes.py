"""Rules about what came of it, and hints."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lamina import losses
from lamina.diagnosis.facts import (
    ANY,
    FEW,
    HALF,
    NOTHING,
    Facts,
    Finding,
    Rule,
    of_step,
    ratio,
    registry,
)
from lamina.diagnosis.remedies import Change, ending, relu_everywhere, wider, with_more
from lamina.diagnosis.trials import recall_of_rarest

RULES: list[Rule] = []
rule = registry(RULES)


@rule(
    "imbalanced classes",
    (0.5, 1),
    "The rarest class weighs too little in the loss to be learnt.",
)
def _imbalance(f: Facts) -> Iterator[Finding]:
    case, told = f.case, f.case.told
    weighted = told.sample_weight is not None or told.class_weight is not None
    if case.labels is None or weighted or case.train.weights is not None:
        return
    counts = np.bincount(case.labels)
    counts = counts[counts > 0]
    # Fewer than five rows tell nothing of a class.
    if len(counts) < 2 or counts.min() < 5 or counts.max() <= 10 * counts.min():
        return
    change = Change(class_weight="balanced")
    now = f.trials.base.recall if f.trials.base and not case.trained else None
    if case.trained:
        now = recall_of_rarest(case.net, case.goal, case.train)
    times = counts.max() / counts.min()
    if now is None or now >= 0.5:
        if now is None:
            says = f"the largest class has {times:.3g} times the rows of the smallest"
            yield Finding(times, says, None, change, hint=True, healthy=(1, 10))
        return
    says = (
        f"{now:.0%} of the rarest class are recognised; the largest class has "
        f"{times:.3g} times its rows"
    )
    trial = f.trials(change)
    helps = trial is not None and (trial.recall or 0.0) >= min(0.5, now + 0.2)
    if trial is not None:
        says += f", with weights {trial.recall:.0%}"
    yield Finding(now, says, None, change, trial, hint=trial is not None and not helps)


@rule(
    "rate too low",
    (1e-4, 0.1),
    "The steps are too small to get anywhere in their number.",
)
def _rate_too_low(f: Facts) -> Iterator[Finding]:
    step, layer = f.case.first_step
    began = f.case.share(f.case.start.loss)
    stands = step < 1e-4 and f.suffers and (f.reached or 1.0) > 0.9 * began
    if f.reached is not None and f.reached < 0.8 and not stands:
        return
    if not f.trials.wanted or f.trials.base is None:
        if step < 1e-4:
            says = of_step(step, layer)
            rate = min(1e-2 / max(step, 1e-30), 1e6)
            yield Finding(step, says, layer, Change(rate=rate))
        return
    factors = [10.0, 100.0, 1e3, 1e4]
    # Long trials: what is too high for a whole fit shows late.
    rates = [Change(rate=r, longer=10) for r in factors[:2]]
    gentle = f.trials(rates[0])
    best = gentle if gentle and gentle.loss < HALF else f.trials.best(rates)
    if not f.helps(best, 0.9) and step < 1e-4:
        # Up to a step that changes a hundredth.
        factors += [1e-3 / step, 1e-2 / step] if step else []
        best = f.trials.best([Change(rate=r) for r in factors[2:]])
    if best is not None and f.helps(best, 0.9):
        number, says, healthy = step, of_step(step, layer), None
        if step >= 1e-4:
            number, layer, healthy = ratio(f, best), None, (0.0, 1.1)
            says = f"the loss is {number:.3g} times that of a trial at a higher rate"
        by = f"at {f.at(best.change)}"
        yield Finding(number, says, layer, best.change, best, by, healthy=healthy)
    elif 0 < step < 1e-4 and (f.reached or 1.0) > NOTHING and not f.found:
        # So few steps that none of the trials got far.
        change = Change(rate=min(1e-2 / step, 1e6))
        yield Finding(step, of_step(step, layer), layer, change, f.trials(change))


@rule(
    "nothing to learn",
    (0, 0.98),
    "What is learnt of these rows does not hold for others: look at labels and rows.",
    late=True,
)
def _nothing(f: Facts) -> Iterator[Finding]:
    case = f.case
    held, rows = case.validation_loss, case.validation
    remedy = "print(x[:5], y[:5])"
    if case.trained and held is not None:
        if rows is None or len(rows) < FEW or f.reached is None:
            return
        last = case.share(held, rows)
        best = min(case.share(each, rows) for each in [held, *case.validation_curve])
        # The least of many epochs is below the constant's by chance.
        none = last >= 0.98 and best >= 0.98 - 0.5 / math.sqrt(len(rows))
        if none and f.reached < NOTHING:
            says = (
                f"on validation rows the loss is {last:.2f} of the best constant's, on "
                f"its own rows {f.reached:.2f}"
            )
            yield Finding(last, says, None, remedy)
        return
    if not f.trials.wanted or f.few or f.found:
        return
    done = [t for t in f.trials.done.values() if t.held_out is not None]
    by_heart = min(done, key=lambda t: t.loss, default=None)
    best = min((t.held_out for t in done if t.held_out is not None), default=0.0)
    if by_heart is not None and best >= 0.98 and by_heart.loss < 0.8:
        says = (
            f"on rows held out no trial gets below {best:.2f} of the best constant's "
            f"loss; on its own rows one gets to {by_heart.loss:.2f}"
        )
        yield Finding(best, says, None, remedy)


@rule(
    "overfit",
    (0, 3),
    "The net learns its rows by heart; for others it says less than it could.",
)
def _overfit(f: Facts) -> Iterator[Finding]:
    case = f.case
    if not case.trained or case.validation_loss is None:
        return
    own = case.share(case.loss)
    other = case.share(case.validation_loss, case.validation)
    gap = other / max(own, 1e-9)
    curve = case.validation_curve
    best_epoch = int(np.nanargmin(curve)) + 1 if np.isfinite(curve).any() else None
    stop = Change(patience=10)  # epochs, then the best is restored
    if gap > 3 and other > HALF:
        says = (
            f"the loss of validation rows is {gap:.3g} times that of its own "
            f"({case.validation_loss:.3g} and {case.loss:.3g})"
        )
        if best_epoch is not None:
            says += f"; the best epoch was {best_epoch}"
        calmer = [
            Change(edit=with_more(l2, dropout), patience=10)
            for l2, dropout in [(0.01, 0.0), (0.1, 0.0), (0.01, 0.5)]
        ]
        tried = [t for c in calmer if (t := f.trials(c)) and t.held_out is not None]
        best = min(tried, key=lambda t: t.held_out or 0.0, default=None)
        known = case.share(min(curve), case.validation) if curve else other
        if best is not None and (best.held_out or 0.0) < 0.8 * known:
            yield Finding(gap, says, None, best.change, best, "with a penalty")
        else:
            yield Finding(gap, says, None, stop)
    elif best_epoch is not None and curve[-1] > 1.2 * curve[best_epoch - 1]:
        says = f"the best epoch was {best_epoch} of {len(curve)}"
        rise = curve[-1] / curve[best_epoch - 1]
        yield Finding(rise, says, None, stop, hint=True, healthy=(0, 1.2))


@rule(
    "too small",
    (0, 0.5),
    "The net cannot hold more, or the data say no more.",
    hint=True,
    late=True,
)
def _too_small(f: Facts) -> Iterator[Finding]:
    case = f.case
    curve = [] if case.history is None else case.history.get("loss", [])
    if f.found or not case.trained or len(curve) < 10 or f.reached is None:
        return
    flat = curve[-1] > 0.98 * curve[-len(curve) // 5]
    if flat and HALF < f.reached <= NOTHING:
        change = Change(edit=wider)
        trial = f.trials(change)
        says = f"the loss stays at {f.reached:.2f} of the best constant's"
        by = "with four times the units"
        yield Finding(f.reached, says, None, change, trial, by)


@rule(
    "has not learnt",
    (0, NOTHING),
    "The net says hardly more than the best constant does.",
    late=True,
)
def _not_learnt(f: Facts) -> Iterator[Finding]:
    if f.found or f.reached is None or not f.reached > NOTHING:
        return
    changes = [Change(rate=r) for r in (0.1, 10, 100, 1e-2, 1e3)]
    changes += [Change(edit=relu_everywhere), Change(edit=wider)]
    best = f.trials.best(changes)
    says = f"the loss is {f.reached:.2f} of the best constant's"
    if best is not None and best.loss < 0.9 * f.reached:
        yield Finding(f.reached, says, None, best.change, best)
    else:
        yield Finding(f.reached, says, None, "print(x[:5], y[:5])")


# Hints --------------------------------------------------------------------------------


@rule(
    "one class per row, but sigmoid outputs",
    (0, 0.99),
    "Softmax knows that one class excludes the others.",
    hint=True,
)
def _one_class(f: Facts) -> Iterator[Finding]:
    y = f.case.columns
    if f.case.goal.name != "binary_crossentropy" or f.case.outputs < 3 or len(y) < 20:
        return
    share = float(((y == 0) | (y == 1)).all(axis=1)[y.sum(axis=1) == 1].sum() / len(y))
    if share > 0.99:
        change = Change(edit=ending("softmax"), loss=losses.categorical_crossentropy)
        yield Finding(share, "every row has one class", len(f.layers) - 1, change)


@rule(
    "constant features",
    (0, 0.25),
    "Columns that never change teach nothing.",
    hint=True,
)
def _constant(f: Facts) -> Iterator[Finding]:
    x = f.case.train.x
    share = float((x == x[:1]).all(axis=0).mean())
    if share > 0.25 and len(x) > 1:
        yield Finding(share, f"{share:.0%} of the columns of x are constant")


@rule(
    "duplicate features",
    (0, 0),
    "Columns that equal others teach nothing more.",
    hint=True,
)
def _duplicates(f: Facts) -> Iterator[Finding]:
    x = f.case.train.x[:256]
    if len(x) < 20:
        return
    varied = x[:, ~(x == x[:1]).all(axis=0)]
    same = varied.shape[1] - len({column.tobytes() for column in varied.T.copy()})
    if same:
        yield Finding(same, f"{same} columns of x equal others")


@rule(
    "one class only",
    (2, ANY),
    "With one class there is nothing to tell apart.",
    hint=True,
)
def _one_only(f: Facts) -> Iterator[Finding]:
    labels = f.case.labels
    if labels is not None and len(labels) > 1 and len(np.unique(labels)) == 1:
        yield Finding(1, f"all rows have class {int(labels[0])}")


@rule(
    "validation rows also in training",
    (0, 0.1),
    "Rows that were learnt by heart do not tell what holds for others.",
    hint=True,
)
def _shared_rows(f: Facts) -> Iterator[Finding]:
    held = f.case.validation
    if held is None or held.x.shape[1] < 2:
        return
    known = {row.tobytes() for row in np.ascontiguousarray(f.case.train.x)}
    both = np.mean([row.tobytes() in known for row in np.ascontiguousarray(held.x)])
    if both > 0.1:
        says = f"{both:.0%} of the validation rows are training rows, too"
        yield Finding(float(both), says)
