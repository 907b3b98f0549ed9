"""What rules are made of: findings, the registry, and the facts that they ask about.

Who suffers is ill: what only looks unusual (dead units, a large step, raw inputs) is no
verdict while the net learns all the same. `Facts.reached` is what it has learnt, or,
before training, what it learns in a trial.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from lamina.diagnosis.measure import Case
from lamina.diagnosis.remedies import Change, written
from lamina.diagnosis.trials import Trial, Trials
from lamina.layers import Activation, Dense, Layer

__all__ = ["Facts", "Finding", "Rule", "registry"]

Range = tuple[float, float]
ANY = math.inf

LEARNT = 0.2  # of the constant's loss: whoever gets there is not ill for his looks
NOTHING = 0.95  # of the constant's loss: has not learnt (healthy nets: <= 0.62 at last)
FEW = 100  # rows; fewer do not tell whether nothing is to be learnt
HALF = 0.5  # a remedy must at least halve the loss


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a rule found: a number outside the healthy range, and what would help."""

    number: float
    says: str
    layer: int | None = None
    remedy: Change | str | None = None  # a change that may be tried, or a line of code
    trial: Trial | None = None  # that tried it
    by: str = "changed so"  # what it did, for the sentence about it
    hint: bool = False  # even where the rule is one for verdicts
    healthy: Range | None = None  # where it is not that of the rule
    follows: bool = False  # what training made; listed after every cause


@dataclasses.dataclass(frozen=True)
class Rule:
    name: str
    healthy: Range
    cause: str
    find: Callable[[Facts], Iterable[Finding]]
    hint: bool = False
    late: bool = False  # only at the end of a training


Find = Callable[["Facts"], Iterable[Finding]]
F = TypeVar("F", bound=Find)


def registry(rules: list[Rule]) -> Callable[..., Callable[[F], F]]:
    """What to decorate the functions of rules with; they are appended to that list."""

    def rule(
        name: str, healthy: Range, cause: str, *, hint: bool = False, late: bool = False
    ) -> Callable[[F], F]:
        def add(find: F) -> F:
            rules.append(Rule(name, healthy, cause, find, hint, late))
            return find

        return add

    return rule


class Facts:
    """The case and its trials, as rules ask about them."""

    def __init__(self, case: Case, trials: Trials) -> None:
        self.case, self.trials = case, trials
        self.found: list[str] = []  # the names of the verdicts so far

    @functools.cached_property
    def reached(self) -> float | None:
        """The loss as a share of the best constant's, trained or after a trial; None
        where nothing is known."""
        if self.case.trained:
            return self.case.share(self.case.loss)
        base, steps = self.trials.base, self.case.steps
        if base is None or base.loss < LEARNT or steps is None or steps <= base.steps:
            return None if base is None else base.loss
        # As many steps as its fit will have are what it may be judged by.
        whole = self.trials(Change(longer=10))
        return base.loss if whole is None else whole.loss

    @property
    def suffers(self) -> bool:
        return self.reached is None or not self.reached < LEARNT

    def helps(self, trial: Trial | None, by: float = HALF) -> bool:
        """Whether a change makes the net learn more by far, not only by heart."""
        if trial is None or self.reached is None:
            return False
        known = trial.held_out is None or trial.held_out < 0.98 or self.few
        return trial.loss < min(by * self.reached, 0.9) and known

    @property
    def few(self) -> bool:
        held_out = self.trials.held_out
        return held_out is None or len(held_out) < 40

    def first_that_helps(self, *changes: Change, by: float = HALF) -> Trial | None:
        best = self.trials.best(changes)
        return best if self.helps(best, by) else None

    @property
    def layers(self) -> Sequence[Layer]:
        return self.case.net.layers

    @property
    def last(self) -> Layer:
        return self.layers[-1]

    @functools.cached_property
    def output(self) -> Any:
        """The last activation, if Lamina knows it."""
        known = type(self.last) in (Dense, Activation)
        return getattr(self.last, "activation", None) if known else None

    @property
    def squared(self) -> bool:
        """Whether the loss measures a distance between outputs and targets."""
        return self.case.goal.name in (
            "mean_squared_error",
            "mean_absolute_error",
            "huber",
            "pinball",
        )

    @functools.cached_property
    def rate(self) -> float | None:
        rate = getattr(self.case.rule, "learning_rate", None)
        return rate if isinstance(rate, int | float) else None

    def at(self, change: Change) -> str:
        rule = change.optimizer(self.case.rule)
        if rule is self.case.rule and change.rate != 1:
            return f"{change.rate:g} times the rate"
        return written(rule, type(rule).__name__).removeprefix("lm.")

    def tried(self, finding: Finding) -> str:
        """ "After 300 steps: loss 3.53 as it is, 0.41 at Adam(0.1)"."""
        if finding.trial is None:
            return ""
        base, trial = self.trials.base, finding.trial
        as_is = "" if base is None else f"{base.raw:.3g} as it is, "
        return f"After {trial.steps} steps: loss {as_is}{trial.raw:.3g} {finding.by}."


def lower_rates() -> list[Change]:
    return [Change(rate=f) for f in (0.1, 0.01, 0.001)]


def with_weights(
    f: Facts, number: float, says: str, layer: int, *changes: Change, by: str = ""
) -> Finding:
    """A finding about how a net begins, with the first of the changes that helps."""
    best = f.trials.best(changes)
    if best is None:
        return Finding(number, says, layer, changes[0])
    what = by or "with weights that suit the activations"
    return Finding(number, says, layer, best.change, best, what)


def of_step(step: float, layer: int | None) -> str:
    changed = f"by {step:.2g} of their size"
    return f"the first step changes the weights of layer {layer} {changed}"


def ratio(f: Facts, best: Trial) -> float:
    """How many times the loss is that of the better trial."""
    assert f.reached is not None
    return f.reached / best.loss if best.loss > 0 else math.inf
