"""Why a net does not learn: `Sequential.diagnose`.

`measure` reads nets and data, `trials` trains copies that `remedies` have changed for a
moment, `rules` judge by both, `report` says it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from lamina import _checks, data
from lamina.diagnosis.facts import Facts
from lamina.diagnosis.measure import Case, Sample, sample
from lamina.diagnosis.report import Report, Verdict, Watcher, judge
from lamina.diagnosis.trials import Trials
from lamina.history import Told
from lamina.network import Network

__all__ = ["Report", "Sample", "Verdict", "Watcher", "diagnose"]


def diagnose(
    net: Network,
    x: Any,
    y: Any,
    validation: Any,
    trials: bool,
    *,
    optimizer: Any,
    loss: Any,
    **told: Any,
) -> Report:
    """As `Sequential.diagnose` says."""
    known = net.told or Told()
    given = {name: value for name, value in told.items() if value is not None}
    for name in ("epochs", "batch_size"):
        if name in given:
            given[name] = _checks.count(name, given[name])
    known = dataclasses.replace(known, **given)
    trials = _checks.flag("trials", trials)
    goal, rule = net._goal(loss), net._rule(optimizer)
    batches = y is None and data.gives_batches(x)
    split = 0.0 if batches else known.validation_split
    options = known.class_weight, split
    train = sample(net, goal, x, y, known.sample_weight, *options)
    if batches and known.steps_per_epoch is None:
        known = dataclasses.replace(known, batch_size=min(known.batch_size, len(train)))
    apart = None
    if validation is not None:
        apart = _validation(net, goal, validation, train.x.shape[1])
    elif split:
        apart = sample(net, goal, x, y, known.sample_weight, None, split, True)
    case = Case(net, goal, rule, known, train, apart)
    return judge(Facts(case, Trials(case, trials)), batches)


def _validation(net: Network, goal: Any, value: Any, features: int) -> Any:
    names = "validation[0]", "validation[1]", "validation[2]"
    one = isinstance(value, tuple | list) and len(value) in (2, 3)
    if one and not isinstance(value[0], tuple):
        x, y, weight = (*value, None)[:3]
        made = sample(net, goal, x, y, weight, names=names)
        if made.x.shape[1] != features:
            raise ValueError(
                f"validation[0] must have {features} features like x, got "
                f"{made.x.shape[1]}"
            )
        return made
    if not data.gives_batches(value):
        raise TypeError(
            "validation must be (x, y), (x, y, weights) or batches of them, got "
            f"{type(value)}"
        )
    return sample(net, goal, value, None, names=("validation", "y", "sample_weight"))
