"""Tables of scores and ranks, and the picture, from the lines of `results.jsonl`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from tabular.learners import LEARNERS
from tabular.tables import NAMES, REGRESSIONS

RESULTS = Path(__file__).parent / "results.jsonl"
PICTURE = Path(__file__).parents[2] / "docs" / "tabular.svg"
MANY = ["letter"]  # more than two classes
Results = dict[tuple[str, str, int], dict[str, float]]


def load() -> Results:
    """Of two lines for the same thing, the later counts."""
    if not RESULTS.exists():
        return {}
    lines = map(json.loads, RESULTS.read_text().splitlines())
    return {(r["learner"], r["table"], r["seed"]): r for r in lines}


def error(table: str, row: dict[str, float]) -> float:
    """What the ranks go by: AUC of two classes, log-loss of more, RMSE."""
    if table in REGRESSIONS:
        return row["rmse"]
    return row["log_loss"] if table in MANY else 1 - row["auc"]


def mistakes(table: str, row: dict[str, float]) -> float:
    return row["rmse"] if table in REGRESSIONS else 1 - row["accuracy"]


def means(results: Results, of: Callable[[str, Any], float]) -> Any:
    """By learner and table, over seeds; NaN where a learner did not run."""
    found = np.full((len(LEARNERS), len(NAMES)), np.nan)
    for i, learner in enumerate(LEARNERS):
        for j, table in enumerate(NAMES):
            rows = [r for k, r in results.items() if k[:2] == (learner, table)]
            if rows:
                found[i, j] = np.mean([of(table, row) for row in rows])
    return found


def ranks(errors: Any) -> Any:
    """The mean rank over tables of who ran on all of them; NaN for others."""
    found = np.full(len(errors), np.nan)
    whole = ~np.isnan(errors).any(axis=1)
    if whole.any():
        found[whole] = rankdata(errors[whole], axis=0).mean(axis=1)
    return found


def markdown(results: Results) -> str:
    seconds = means(results, lambda _, row: row["fit"])
    predict = means(results, lambda _, row: row["predict"])
    main = means(results, error)
    columns = [ranks(main), ranks(means(results, mistakes))]
    columns += [seconds.mean(axis=1), predict.mean(axis=1)]
    lines = [
        "| | rank | by accuracy | fit, s | predict, s | " + " | ".join(NAMES) + " |",
        "|---" * (5 + len(NAMES)) + "|",
    ]
    for i in np.argsort(np.nan_to_num(columns[0], nan=99), kind="stable"):
        cells = [number(c[i], 2) for c in columns[:2]]
        cells += [number(c[i], 2) for c in columns[2:]]
        cells += [
            f"{number(main[i, j], 4)} ({number(seconds[i, j], 1)} s)"
            for j in range(len(NAMES))
        ]
        lines.append(f"| {list(LEARNERS)[i]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def number(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def draw(results: Results) -> None:
    """Error against seconds of the fit, a panel for each table."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lamina"
    from matplotlib import pyplot as plt

    errors = means(results, error)
    seconds = means(results, lambda _, row: row["fit"])
    colours = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
    figure, axes = plt.subplots(2, 4, figsize=(12, 6), layout="constrained")
    for j, (table, axis) in enumerate(zip(NAMES, axes.flat, strict=True)):
        for i, learner in enumerate(LEARNERS):
            own = learner.startswith("Lamina")
            axis.plot(
                seconds[i, j],
                errors[i, j],
                linestyle="none",
                marker="*" if own else "osD^vPXh"[i % 8],
                markersize=12 if own else 6,
                color=colours[i] if own else ("#777777", *colours)[i % 7],
                label=learner,
            )
        axis.set_xscale("log")
        axis.set_title(table)
    axes[0, 0].set_ylabel("error")
    axes[1, 0].set_ylabel("error")
    figure.supxlabel("seconds of one core for a fit")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)
