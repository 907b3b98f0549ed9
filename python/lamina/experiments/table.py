"""The result of an experiment: its rows, and what they say of the settings."""

from __future__ import annotations

import copy
import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.experiments.experiment import Experiment, Row, failed
from lamina.experiments.settings import Setting, shown
from lamina.model import Sequential

__all__ = ["Table", "t_quantile"]

_MOST = 40  # settings that are printed


class Table:
    """What `lamina.compare` and `lamina.search` return; printed, it is a table.

    Attributes
    ----------
    rows : list of dict
        One for each training: "setting" (a dict), "split", "seed", "loss" and, for
        classifiers, "accuracy" of the rows held out, "train_loss" and "train_accuracy"
        of those trained on, what `measure` gave, "epochs", "seconds"; "diagnosis" of
        the first of each setting; "rung" of a search by halving; "error" of one that
        failed, in place of its scores. Losses are without penalties.
    settings : list of dict
        The values that were varied, in the order of the table.
    stopped : str or None
        "interrupt" where Ctrl-C ended the experiment: some rows are missing.
    """

    def __init__(
        self,
        experiment: Experiment,
        choices: Sequence[Setting],
        rows: Iterable[Row],
        *,
        stopped: str | None = None,
    ) -> None:
        self._experiment, self._choices = experiment, list(choices)
        place = {setting.key: i for i, setting in enumerate(self._choices)}
        self._of: list[list[Row]] = [[] for _ in self._choices]
        for row in rows:
            self._of[place[Setting(row["setting"]).key]].append(row)
        for own in self._of:
            own.sort(key=lambda row: (row.get("rung", 0), row["split"], row["seed"]))
        self.stopped = stopped

    @property
    def rows(self) -> list[Row]:
        return [row for own in self._of for row in own]

    @property
    def settings(self) -> list[dict[str, Any]]:
        return [dict(setting.values) for setting in self._choices]

    @property
    def labels(self) -> list[dict[str, Any]]:
        """The same as numbers and strings."""
        return [setting.labels for setting in self._choices]

    @property
    def names(self) -> list[str]:
        """Of what was varied."""
        return list(self._choices[0].values)

    @property
    def metrics(self) -> list[str]:
        """Names of the numbers that a row has, "loss" first."""
        found = dict.fromkeys(
            name
            for row in self.rows
            for name, value in row.items()
            if isinstance(value, float) and name != "seconds"
        )
        return list(found)

    @property
    def best(self) -> dict[str, Any]:
        """The setting of the smallest mean loss, of those with fewest failures.

        Raises
        ------
        ValueError
            All trainings failed.
        """
        places = self.ranked()
        if math.isnan(self.values("loss", places[0]).mean()):
            raise ValueError("best needs a training that has ended, got none")
        return self.settings[places[0]]

    def ranked(self, metric: str = "loss") -> list[int]:
        """The numbers of the settings, the best first: small losses, large accuracies.

        Settings that were trained longer, of a search by halving, come first; then
        those of which fewer trainings failed.
        """
        sign = -1 if "accuracy" in metric else 1

        def rank(place: int) -> tuple[float, ...]:
            own = self._last(place)
            mean = self.values(metric, place).mean()
            return (
                -self._rung(place),
                not own,
                sum(map(failed, own)),
                math.inf if math.isnan(mean) else sign * mean,
            )

        return sorted(range(len(self._choices)), key=rank)

    def values(self, metric: str, place: int) -> Array:
        """Those of a setting's trainings that are finite; NaN if none is."""
        found = [row.get(metric, math.nan) for row in self._last(place)]
        return np.array([v for v in found if math.isfinite(v)] or [math.nan], float)

    def difference(
        self, place: int, base: int = 0, metric: str = "loss"
    ) -> tuple[float, float, int]:
        """Mean of the paired differences from another setting, and half the width of
        its 95 % interval.

        A pair is two trainings on the same split by the same seed: with the same order
        of the rows, the same dropout masks and, where shapes are alike, weights. The
        interval is Student's, with as many degrees of freedom as pairs less one. The
        training rows of folds overlap, so their differences depend on each other:
        there the variance of the mean is multiplied by 1 + pairs * test rows / training
        rows (Nadeau and Bengio, Machine Learning 52, 2003).

        Returns
        -------
        mean, half : float
            NaN without a pair; `half` infinite with one alone.
        pairs : int
        """
        one, other = (
            {
                (row["split"], row["seed"]): row[metric]
                for row in self._last(each)
                if not failed(row)
            }
            for each in (place, base)
        )
        both = sorted(one.keys() & other.keys())
        if self._rung(place) != self._rung(base):
            both = []  # one was trained longer
        if not both:
            return math.nan, math.nan, 0
        gaps = np.array([one[pair] - other[pair] for pair in both], float)
        n = len(gaps)
        if n == 1:
            return float(gaps[0]), math.inf, 1
        splits = {split for split, _ in both}
        factor = 1 / n + (self._experiment.shared if len(splits) > 1 else 0.0)
        half = t_quantile(n - 1) * gaps.std(ddof=1) * math.sqrt(factor)
        return float(gaps.mean()), float(half), n

    def refit(
        self, x: Any, y: Any, *, sample_weight: Any = None, seed: int = 0
    ) -> Sequential:
        """A net of the best setting, trained on these rows: all that there are, say."""
        setting = self._choices[self.ranked()[0]]
        experiment = self._experiment
        own, how = experiment.arguments(setting)
        how["callbacks"] = copy.deepcopy(list(how.pop("callbacks", ())))
        net = experiment.build(**own, seed=_checks.seed(seed))
        net.fit(x, y, **how, sample_weight=sample_weight, verbose=0)
        return net

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows, a column for each thing that was varied or measured.

        Raises
        ------
        FileExistsError
            There is such a file: results are not written over.
        """
        flat = []
        for row in self.rows:
            rest = {name: value for name, value in row.items() if name != "setting"}
            own = {
                f"setting.{name}" if name in rest else name: value
                for name, value in row["setting"].items()
            }
            flat.append(own | rest)
        columns = list(dict.fromkeys(name for row in flat for name in row))
        with open(path, "x", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(flat)

    def plot(
        self, x: str, y: str = "loss", *, by: str | None = None, ax: Any = None
    ) -> Any:
        """Means of a metric over what was varied, as `lamina.plot.lines` draws them."""
        from lamina import plot

        return plot.lines(self, x, y, by=by, ax=ax)

    def summary(self) -> list[dict[str, Any]]:
        """For each setting its labels, mean and spread of the metrics, the difference
        of its loss from the first one's with the interval, and how many failed."""
        found = []
        for place, setting in enumerate(self._choices):
            own = self._last(place)
            line: dict[str, Any] = {"setting": setting.labels, "trainings": len(own)}
            line["epochs"] = self._rung(place)
            line["failed"] = sum(map(failed, own))
            for metric in self.metrics:
                values = self.values(metric, place)
                line[metric] = float(values.mean())
                if len(values) > 1:
                    line[f"{metric}_spread"] = float(values.std(ddof=1))
            mean, half, _ = self.difference(place)
            line |= {"difference": mean, "low": mean - half, "high": mean + half}
            said = [row["diagnosis"] for row in own if row.get("diagnosis")]
            line["diagnosis"] = said[0] if said else ""
            found.append(line)
        return found

    def __repr__(self) -> str:
        best = "" if all(map(failed, self.rows)) else f", best: {Setting(self.best)}"
        return f"<Table of {len(self.rows)} trainings{best}>"

    def __str__(self) -> str:
        lines = self.summary()
        names, metrics = self.names, self._shown()
        head = [*names]
        for metric in metrics:
            head += [metric, "spread"] if metric == "loss" else [metric]
        several = len(lines) > 1
        if several:
            head += ["difference", "95 % interval"]
        extra = [
            name
            for name in ("epochs", "failed", "diagnosis")
            if any(line[name] for line in lines)
        ]
        cells = [head + extra]
        for place, line in enumerate(lines[:_MOST]):
            row = [shown(line["setting"][name]) for name in names]
            for metric in metrics:
                row.append(_number(line.get(metric)))
                if metric == "loss":
                    row.append(_number(line.get("loss_spread")))
            if several:
                row += _interval(line) if place else ["", ""]
            cells.append(row + [str(line[name] or "") for name in extra])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        text = []
        for row in cells:
            parts = [
                cell.ljust(width)
                if name in names or name == "diagnosis"
                else cell.rjust(width)
                for name, cell, width in zip(cells[0], row, widths, strict=True)
            ]
            text.append("  ".join(parts).rstrip())
        if len(lines) > _MOST:
            text.append(f"... and {len(lines) - _MOST} more")
        return "\n".join([*text, *self._notes()])

    def _shown(self) -> list[str]:
        return [metric for metric in self.metrics if metric != "train_accuracy"]

    def _notes(self) -> Iterable[str]:
        done = self.rows
        splits = len({row["split"] for row in done})
        seeds = len({row["seed"] for row in done})
        if done:
            yield (
                f"{len(done)} trainings: {splits} split{'s' * (splits > 1)} x {seeds} "
                f"seed{'s' * (seeds > 1)}, the same for all; losses without penalties"
            )
        if done and len(self._choices) > 1:
            folds = " widened for folds that share rows" * (splits > 1)
            yield (
                f"difference of the loss from {self._choices[0]}, by pairs; Student's "
                f"interval{folds}"
            )
        errors = dict.fromkeys(row["error"] for row in done if "error" in row)
        for error in list(errors)[:3]:
            yield f"failed: {error}"
        if self.stopped:
            yield f"stopped by {self.stopped}"

    def _last(self, place: int) -> list[Row]:
        """The rows of a setting, of a search by halving those of its last rung."""
        last = self._rung(place)
        return [row for row in self._of[place] if row.get("rung", 0) == last]

    def _rung(self, place: int) -> int:
        return max((row.get("rung", 0) for row in self._of[place]), default=0)


def _number(value: float | None, sign: str = "") -> str:
    if value is None or math.isnan(value):
        return ""
    usual = value == 0 or 1e-3 <= abs(value) < 1e3
    return f"{value:{sign}.4f}" if usual else f"{value:{sign}.3g}"


def _interval(line: Mapping[str, Any]) -> list[str]:
    mean, low, high = line["difference"], line["low"], line["high"]
    if math.isnan(mean):
        return ["", ""]
    if not math.isfinite(low):
        return [_number(mean, "+"), ""]
    return [_number(mean, "+"), f"{_number(low, '+')} to {_number(high, '+')}"]


_T = 12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004
_Z = 1.959963985


def t_quantile(freedom: int) -> float:
    """That of Student's distribution at 0.975, to 1e-5.

    Beyond the table by Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5).
    """
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum([z, *(term / freedom**i for i, term in enumerate(terms, 1))])
