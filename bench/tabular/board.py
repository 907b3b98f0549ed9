"""Tables of scores and ranks, and the picture, from the lines of `results.jsonl`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from tabular.learners import LEARNERS
from tabular.tables import NAMES, REGRESSIONS, SEEDS

RESULTS = Path(__file__).parent / "results.jsonl"
PICTURE = Path(__file__).parents[2] / "docs" / "tabular.svg"
OWN = "#000000"
OTHERS = [
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8B4513",
    "#777777",
]
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


def measure(table: str) -> str:
    if table in REGRESSIONS:
        return "RMSE"
    return "log-loss" if table in MANY else "1 - AUC"


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


def fair(results: Results) -> tuple[Results, Any]:
    """Only seeds that all learners have who ran three times or more on every table, and
    which those are; of others, which get no rank, all seeds."""
    runs = {
        learner: [{s for s in SEEDS if (learner, t, s) in results} for t in NAMES]
        for learner in LEARNERS
    }
    whole = [min(map(len, seeds)) > 2 for seeds in runs.values()]
    ranked = [learner for learner, good in zip(LEARNERS, whole, strict=True) if good]
    shared = set(SEEDS).intersection(*(s for learner in ranked for s in runs[learner]))
    kept = {k: r for k, r in results.items() if k[0] not in ranked or k[2] in shared}
    return kept, np.array(whole)


def ranks(errors: Any, whole: Any) -> Any:
    """The mean rank over tables; NaN for who is not ranked."""
    found = np.full(len(errors), np.nan)
    if whole.any():
        found[whole] = rankdata(errors[whole], axis=0).mean(axis=1)
    return found


def markdown(results: Results) -> str:
    results, whole = fair(results)
    seconds = means(results, lambda _, row: row["fit"])
    predict = means(results, lambda _, row: row["predict"])
    main = means(results, error)
    columns = [ranks(main, whole), ranks(means(results, mistakes), whole)]
    columns += [seconds.mean(axis=1), predict.mean(axis=1)]
    lines = [
        "| | rank | by accuracy | fit, s | predict, s | " + " | ".join(NAMES) + " |",
        "|---" * (5 + len(NAMES)) + "|",
    ]
    for i in np.argsort(columns[0], kind="stable")[: whole.sum()]:
        cells = [f"{column[i]:.2f}" for column in columns]
        cells += [
            f"{main[i, j]:.4f} ({seconds[i, j]:.1f} s)" for j in range(len(NAMES))
        ]
        lines.append(f"| {list(LEARNERS)[i]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def beside(results: Results, learner: str) -> str:
    """A learner that is not ranked and the nets of this project, by the seeds that all
    have; last the mean ranks among these."""
    names = [learner, *(name for name in LEARNERS if name.startswith("Lamina"))]
    lines = ["| | seeds | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    errors = []
    for table in NAMES:
        seeds = [s for s in SEEDS if all((n, table, s) in results for n in names)]
        if not seeds:
            continue
        rows = [[results[name, table, seed] for seed in seeds] for name in names]
        errors.append([np.mean([error(table, row) for row in each]) for each in rows])
        seconds = [np.mean([row["fit"] for row in each]) for each in rows]
        cells = [
            f"{e:.4f} ({s:.1f} s)" for e, s in zip(errors[-1], seconds, strict=True)
        ]
        lines.append(f"| {table} | {len(seeds)} | " + " | ".join(cells) + " |")
    if errors:
        means = rankdata(errors, axis=1).mean(axis=0)
        lines.append("| mean rank | | " + " | ".join(f"{m:.2f}" for m in means) + " |")
    return "\n".join(lines)


def draw(results: Results) -> None:
    """Error against seconds of the fit, a panel for each table."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lamina"
    from matplotlib import pyplot as plt

    results, _ = fair(results)
    errors = means(results, error)
    seconds = means(results, lambda _, row: row["fit"])
    figure, axes = plt.subplots(2, 4, figsize=(12, 6), layout="constrained")
    own = [i for i, learner in enumerate(LEARNERS) if learner.startswith("Lamina")]
    for j, (table, axis) in enumerate(zip(NAMES, axes.flat, strict=True)):
        axis.plot(seconds[own, j], errors[own, j], color=OWN, linewidth=1)
        for i, learner in enumerate(LEARNERS):
            if np.isnan(seconds[i]).all():
                continue
            axis.plot(
                seconds[i, j],
                errors[i, j],
                linestyle="none",
                marker="*" if i in own else "osD^vXhd"[i - len(own)],
                markersize=(9, 12, 15)[i] if i in own else 7,
                color=OWN if i in own else OTHERS[i - len(own)],
                label=learner,
            )
        axis.set_xscale("log")
        axis.set_title(f"{table}, {measure(table)}")
    for axis in axes[1]:
        axis.set_xlabel("seconds of a core for a fit")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)
