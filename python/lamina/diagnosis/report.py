"""What a diagnosis says: verdicts, hints, a table by layer; as text, JSON and HTML."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from lamina.diagnosis.facts import Facts, Finding, Rule
from lamina.diagnosis.measure import Case, Sample, Stage
from lamina.diagnosis.remedies import Change, code
from lamina.diagnosis.rules import RULES
from lamina.diagnosis.trials import Trials
from lamina.history import Told
from lamina.network import Network

__all__ = ["Report", "Verdict", "Watcher", "judge"]

SCHEMA = 1  # of `Report.to_dict`; docs/diagnosis.schema.json


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Something that is wrong with a net, or a hint.

    Attributes
    ----------
    name : str
        As in the table of docs/diagnosis.md: "rate too high", "vanishing" ...
    layer : int or None
        Number of the layer, where there is one.
    number : float
        What was measured; it lies outside the healthy range.
    healthy : (low, high)
        The range of nets that learn, infinite where there is no limit.
    says : str
        The sentence with the number.
    cause : str
        Why that keeps a net from learning.
    remedy : str or None
        A line of code that runs where ``net``, ``x``, ``y``, ``lm`` and ``np`` are
        known, and makes the net anew.
    tried : str
        What training a copy for a moment with the remedy gave; "" if it was not tried.
    """

    name: str
    layer: int | None
    number: float
    healthy: tuple[float, float]
    says: str
    cause: str
    remedy: str | None
    tried: str

    def __str__(self) -> str:
        said = f"{self.name}: {self.says} (healthy: {_range(self.healthy)})."
        return f"{said} {self.tried}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        made = dataclasses.asdict(self)
        made["number"] = _number(self.number)
        made["healthy"] = [_number(end) for end in self.healthy]
        return made


class Report:
    """What `Sequential.diagnose` returns: printed, it is a page of text.

    Attributes
    ----------
    verdicts : tuple of Verdict
        What is wrong, causes before what follows from them; empty where nothing is.
    hints : tuple of Verdict
        What might be better; nobody is called ill for it.
    layers : tuple of dict
        For every layer that learns "layer", "name", "units", "rms" (of its outputs),
        "dead" and "saturated" (shares, None where an activation has no such thing),
        "signal" (rms of the gradient of a row's loss by its outputs), "update" (the
        norm of a step over that of the kernel).
    loss, constant : float
        Of the net on the rows that were looked at, without penalties, and of the best
        constant.
    trials : tuple of dict
        What was tried: "change" as code, "steps", "loss".
    """

    def __init__(
        self, facts: Facts, found: Sequence[tuple[Rule, Finding]], batches: bool
    ) -> None:
        case = facts.case
        made = [
            (finding.hint or rule.hint, _verdict(rule, finding, facts, batches))
            for rule, finding in found
        ]
        self.verdicts = tuple(verdict for hint, verdict in made if not hint)
        self.hints = tuple(verdict for hint, verdict in made if hint)
        self.layers = tuple(_row(stage) for stage in case.measure_step().stages)
        self.loss, self.constant = case.loss, case.constant
        self.rows, self.trained = len(case.train), case.trained
        self.reached = facts.reached
        self.trials = tuple(
            {"change": code(t.change, case, batches), **t.to_dict()}
            for t in facts.trials.done.values()
        )

    @property
    def headline(self) -> str:
        """The first verdict in a sentence, or what the net has learnt."""
        if self.verdicts:
            return str(self.verdicts[0])
        if self.reached is None:
            return "nothing found"
        when = "" if self.trained else " of a trial"
        share = f"{self.reached:.2g} of the best constant's"
        return f"nothing found: the loss{when} is {share}"

    def __repr__(self) -> str:
        return f"<Report: {self.headline}>"

    def __str__(self) -> str:
        lines = [self.headline]
        if self.verdicts:
            first, *others = self.verdicts
            lines.append(f"  {first.cause}")
            if first.remedy:
                label = "tried" if first.tried else "try"
                lines.append(f"  {label}: {first.remedy}")
            if others:
                lines += ["", "follows from it, or comes on top:"]
                lines += [f"  {each}" for each in others]
        lines += ["", *_table(self.layers)]
        if self.hints:
            lines += ["", "hints:"]
            for hint in self.hints:
                lines.append(f"  {hint.name}: {hint.says}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and None, as docs/diagnosis.schema.json says; None
        stands for what is infinite."""
        return {
            "schema": SCHEMA,
            "headline": self.headline,
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "hints": [hint.to_dict() for hint in self.hints],
            "layers": [dict(row) for row in self.layers],
            "loss": _number(self.loss),
            "constant": _number(self.constant),
            "rows": self.rows,
            "trained": self.trained,
            "trials": [dict(trial) for trial in self.trials],
        }

    def to_json(self, indent: int | None = 2) -> str:
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def _repr_html_(self) -> str:
        import html  # 10 ms that few need

        parts = [f"<p><b>{html.escape(self.headline)}</b></p>"]
        for verdict in self.verdicts:
            parts.append(f"<p>{html.escape(verdict.cause)}</p>")
            if verdict.remedy:
                parts.append(f"<pre>{html.escape(verdict.remedy)}</pre>")
            break
        if len(self.verdicts) > 1:
            items = "".join(
                f"<li>{html.escape(str(v))}</li>" for v in self.verdicts[1:]
            )
            parts.append(f"<p>follows from it, or comes on top:</p><ul>{items}</ul>")
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row))
            + "</tr>"
            for row in self.layers
        )
        parts.append(f"<table><tr>{head}</tr>{body}</table>")
        if self.hints:
            items = "".join(
                f"<li>{html.escape(f'{h.name}: {h.says}')}</li>" for h in self.hints
            )
            parts.append(f"<p>hints:</p><ul>{items}</ul>")
        return "".join(parts)


def judge(facts: Facts, batches: bool) -> Report:
    """Go through the rules in their order, and report."""
    return Report(facts, _findings(facts), batches)


class Watcher:
    """Looks at a net while it trains, by what can be read alone."""

    names = tuple(rule.name for rule in RULES if not rule.hint)

    def __init__(self, net: Network, rows: Sample) -> None:
        goal, rule = net._goal(None), net._rule(None)
        self._case = Case(net, goal, rule, net.told or Told(), rows, None)

    def look(self, net: Network) -> dict[str, Verdict]:
        """The verdicts by their names."""
        self._case.follow(net)
        facts = Facts(self._case, Trials(self._case, wanted=False))
        return {
            rule.name: _verdict(rule, finding, facts, False)
            for rule, finding in _findings(facts, late=False)
            if not (rule.hint or finding.hint)
        }


def _findings(facts: Facts, late: bool = True) -> list[tuple[Rule, Finding]]:
    found: list[tuple[Rule, Finding]] = []
    for rule in RULES:
        if rule.late and not late:
            continue
        for finding in rule.find(facts):
            found.append((rule, finding))
            if not (finding.hint or rule.hint):
                facts.found.append(rule.name)
    found.sort(key=lambda pair: pair[1].follows)
    return [(rule, _completed(f, facts, i == 0)) for i, (rule, f) in enumerate(found)]


def _completed(finding: Finding, facts: Facts, headline: bool) -> Finding:
    """The remedy of the headline is to make a net that learns."""
    trial = finding.trial
    if not headline or trial is None or trial.loss < 0.8:
        return finding
    trial = facts.trials.completed(trial)
    return dataclasses.replace(finding, remedy=trial.change, trial=trial)


def _verdict(rule: Rule, finding: Finding, facts: Facts, batches: bool) -> Verdict:
    remedy = finding.remedy
    if isinstance(remedy, Change):
        remedy = code(remedy, facts.case, batches)
    return Verdict(
        rule.name,
        finding.layer,
        float(finding.number),
        finding.healthy or rule.healthy,
        finding.says,
        rule.cause,
        remedy,
        facts.tried(finding),
    )


def _row(stage: Stage) -> dict[str, Any]:
    return {
        "layer": stage.layer,
        "name": stage.name,
        "units": stage.units,
        **{
            name: _number(getattr(stage, name))
            for name in ("rms", "dead", "saturated", "signal", "update")
        },
    }


_COLUMNS = "layer", "", "outputs (rms)", "dead", "saturated", "signal", "update/weight"


def _cells(row: dict[str, Any]) -> list[str]:
    shares = ["" if row[k] is None else f"{row[k]:.0%}" for k in ("dead", "saturated")]
    rms, signal, update = (
        "" if row[k] is None else f"{row[k]:.2g}" for k in ("rms", "signal", "update")
    )
    return [str(row["layer"]), row["name"], rms, *shares, signal, update]


def _table(layers: Sequence[dict[str, Any]]) -> list[str]:
    rows = [list(_COLUMNS), *(_cells(row) for row in layers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 1 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _range(healthy: tuple[float, float]) -> str:
    low, high = healthy
    if math.isinf(high):
        return f"at least {low:g}"
    if low == high:
        return f"{low:g}"
    return f"at most {high:g}" if low == 0 else f"{low:g} to {high:g}"


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
