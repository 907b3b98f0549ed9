"""The report of benchmark runs: docs/performance.md, pictures, figures of the README.

    python bench/report.py out/bench/*.json

Takes files of pytest-benchmark, each a run or a part of one: a run is what shares
dtype, threads and target. Of two rows for the same thing, the later file's counts.
"""

import argparse
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from math import floor, log10, nan
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

from bounds import LANES, PROCESSORS, bound_of, bounds
from tables import LIMIT, OURS, Row, exponents, growth, unique

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib import ticker

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- performance: begin -->", "<!-- performance: end -->"
NONE = "-"

# Opponents in the order of columns; colours that colour-blind readers tell apart.
COLOURS = {
    "numpy": "#117733",
    "cython": "#999933",
    "torch": "#cc6677",
    "jax": "#332288",
    "scikit-learn": "#b8860b",
    "onnxruntime": "#aa4499",
    "thinc": "#882255",
    "numba": "#44aa99",
    "numexpr": "#5599cc",
}
DENSE = "dense relu", "dense relu backward", "matmul NN", "matmul NT", "matmul TN"
PICTURED = ["relu", "sigmoid", "tanh", "softplus", "mish", "gelu"]
STEP, NET = "step, dropout 0.5", "32: 64-128-64-10"
CORES = [2, 4, 8, 16]
FOUND = ["libraries", "missing", "load"]  # by a run, besides its rows
FIGURES = {  # of the README: table, operation or whichever comes first, size
    "sigmoid, 16384 elements": ("forward", "sigmoid", "16384"),
    "tanh, 16384 elements": ("forward", "tanh", "16384"),
    "gelu, 16384 elements": ("forward", "gelu", "16384"),
    "dropout 0.5, 16384 elements": ("dropout", "dropout 0.5", "16384"),
    "softmax, 256 rows of 100": ("forward, rows", "softmax", "256x100"),
    "dense with relu, 64x256x256": ("dense", "dense relu", "64x256x256"),
    "its backward": ("dense", "dense relu backward", "64x256x256"),
    f"training step with dropout, {NET}": ("training step", STEP, NET),
    f"inference, {NET}": ("inference", "", NET),
}


class Run(NamedTuple):
    title: str
    machine: dict[str, Any]  # with the libraries and what is missing of all files
    rows: list[Row]  # of Lamina and its opponents
    limits: list[Row]


def read(paths: Iterable[Path]) -> list[Run]:
    files = [json.loads(path.read_text(), object_hook=without_rounds) for path in paths]
    found: dict[tuple[bool, str, str], tuple[dict[str, Any], dict[Any, Row]]] = {}
    for file in sorted(files, key=lambda file: str(file["datetime"])):
        facts = {**file["machine_info"], **{key: file[key] for key in FOUND}}
        commit = file["commit_info"]
        changed = " with changes" if commit["dirty"] else ""
        facts |= {"date": file["datetime"][:10]}
        facts |= {"commits": [commit["id"][:7] + changed]}
        for entry in file["benchmarks"]:
            info = entry["extra_info"]
            key = info["target"] != "best", info["dtype"], info["threads"]
            row = Row(
                info["table"],
                info["operation"],
                info["size"],
                info["implementation"],
                entry["stats"]["median"],
                info.get("ratio_to_lamina"),
                info.get("ratio_quartiles", (nan, nan)),
                info.get("rounds_lamina_won", nan),
                info.get("peak_memory", 0),
                info.get("own_memory", 0),
            )
            machine, rows = found.setdefault(key, (facts, {}))
            rows[row[:4]] = row
        if file["benchmarks"] and machine is not facts:
            machine["libraries"] |= facts["libraries"]
            machine["commits"] = unique(machine["commits"] + facts["commits"])
            for library, reasons in facts.get("missing", {}).items():
                known = machine.setdefault("missing", {}).setdefault(library, {})
                for reason, cases in reasons.items():
                    known[reason] = unique(known.get(reason, []) + cases)
    if len({cpu(machine) for machine, _ in found.values()}) != 1:
        raise SystemExit("the files have no rows, or rows of several machines")
    return [run_of(*key, *found[key]) for key in sorted(found)]


def without_rounds(entry: dict[str, Any]) -> dict[str, Any]:
    """Medians are enough, and files may have millions of rounds."""
    entry.pop("data", None)
    return entry


def run_of(
    held: bool, dtype: str, threads: str, machine: dict[str, Any], rows: dict[Any, Row]
) -> Run:
    """With tables in the order found, and sizes that are numbers ascending."""
    words = [dtype, "one thread" if threads == "1" else f"{threads} threads"]
    tables = unique(row.table for row in rows.values())

    def place(row: Row) -> tuple[int, int]:
        return tables.index(row.table), int(row.size) if row.size.isdigit() else 0

    ordered = sorted(rows.values(), key=place)
    limits = by(ordered, implementation=LIMIT)
    others = [row for row in ordered if row.implementation != LIMIT]
    return Run(", ".join(words + ["avx2"] * held), machine, others, limits)


def by(rows: Iterable[Row], **fields: str) -> list[Row]:
    """Rows with these values."""
    return [row for row in rows if all(getattr(row, f) == fields[f] for f in fields)]


def slow(row: Row) -> bool:
    return row.ratio is not None and row.ratio < 1


def opponents(rows: Iterable[Row]) -> list[str]:
    names = {row.implementation for row in rows} - {OURS}
    return [*filter(names.__contains__, COLOURS), *sorted(names - COLOURS.keys())]


def cpu(machine: dict[str, Any]) -> str:
    facts = machine["cpu"]
    numbers = [f"{key} {facts[key]}" for key in ("family", "model") if key in facts]
    return f"{facts['brand_raw']} ({', '.join(numbers)})"


# Cells and tables of Markdown.


def digits(value: float) -> str:
    """Three that count."""
    value = float(f"{value:.2e}")
    return f"{value:.{max(0, 2 - floor(log10(value)))}f}"


def duration(row: Row) -> str:
    units = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
    unit = next((name for name, size in units.items() if row.seconds >= size), "ns")
    return f"{digits(row.seconds / units[unit])} {unit}"


def ratio(row: Row) -> str:
    """Of Lamina itself, the time."""
    return duration(row) if row.ratio is None else digits(row.ratio)


def share(row: Row) -> str:
    return f"{row.ratio:.0%}"


def cold_start(row: Row) -> str:
    return f"{duration(row)}, {row.memory / 1e6:.0f} MB"


def label(name: str) -> str:
    return f"{int(name):,}".replace(",", "\u202f") if name.isdigit() else name


def grid(
    head: Sequence[str], body: Iterable[Sequence[str]], align: str = "---:"
) -> str:
    rule = ["---", *[align] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body]) + "\n"


def cross(
    rows: Sequence[Row],
    down: str,
    across: str = "implementation",
    cell: Callable[[Row], str] = ratio,
    bold: Callable[[Row], bool] = slow,
) -> str:
    """A grid by two fields of the rows."""
    cells = {
        (getattr(row, down), getattr(row, across)): f"**{cell(row)}**"
        if bold(row)
        else cell(row)
        for row in rows
    }
    columns = unique(key[1] for key in cells)
    if across == "implementation":
        columns = [OURS, *opponents(rows)]
    body = [
        [label(line), *(cells.get((line, column), NONE) for column in columns)]
        for line in unique(key[0] for key in cells)
    ]
    return grid([down, *map(label, columns)], body)


def sides(rows: Sequence[Row]) -> tuple[str, str]:
    """The field to go down a page, and the one of fewer values."""
    many = len({row.operation for row in rows}) >= len({row.size for row in rows})
    return ("operation", "size") if many else ("size", "operation")


# docs/performance.md

INTRODUCTION = """\
<!-- Generated by `python bench/report.py out/bench/*.json`; do not edit. -->
# Performance

A ratio is the time of an opponent / that of Lamina, the median over paired rounds:
above 1 Lamina is faster, and **bold says that Lamina is slower**. The column `lamina`
is its own time. A dash: there is no such row; the reasons are at the end. Tables called
growth have medians, and *p* of the power law, time ~ size^*p*, that fits them best.
[bench/README.md](../bench/README.md) says what is compared, how it is measured and what
is not claimed.
"""
SLOWER = """\
## Where Lamina is slower

Rows with a ratio below 1, of all rows measured:
"""
WORST = """\
All of them follow, the worst first. Won: the share of rounds in which Lamina was
faster; near 50% the two are equal, whatever the ratio. Bound: what Lamina's time is
made of there, where that is known:
"""
MET = {  # what binds, by whatever of "table operation size" matches first
    "generator": (
        r"^dropout dropout 0\.\d [\d ]+$",
        "random bits of Philox, which pass the tests of randomness; the row of Cython "
        "hashes a counter, with a third of the operations",
    ),
    "divider": (
        r" (squareplus|smooth_clip)|adam (1|10|100) 000$",
        "roots and divisions, which take nearly all cycles. The plain formula of "
        "squareplus has no division, and no digit right for x < -3000; numba's fast "
        "mathematics takes the processor's estimate of a root",
    ),
    "import": (
        r"^cold start (import|first step 32:)",
        "NumPy's own import is two thirds of it; what Lamina adds to it is 20 to 30 ms",
    ),
    "accuracy": (
        r"^(forward|backward) (gelu|tanh_shrink) ",
        "multiply-adds of a formula that is right to 4 to 6 units in the last place, "
        "for every float ([accuracy](accuracy.md))",
    ),
    "threads": (
        r"^growth by threads .* [48]$|^inference predict 1: ",
        "more threads of Python than cores: who runs when is the system's; and a call "
        "of 10 us is not shared with a thread that takes as long to wake (those of "
        "ONNX Runtime do not sleep)",
    ),
    "memory": (
        r"^(forward|backward|optimizers|growth by parameters) .* \d+ 000 000$"
        r"|^(forward|backward) .* (1 048 576|16 777 216)$"
        r"|^layers .* 1024x512$|^dense .* 1x1024x1024$"
        r"|^backward, rows softmax backward 256x1000$",
        "each element is read or written once, beyond the second-level cache; all wait "
        "for it, and ratios change from run to run",
    ),
    "cache": (
        r"^forward (identity|relu|leaky_relu|hard_\w+|soft_shrink|softsign) 16 384$"
        r"|^backward (\w*relu6?|identity|sigmoid|tanh|[sc]?elu|hard_\w+|soft_shrink|"
        r"softsign) backward 16 384$|^dropout .* backward 16 384$"
        r"|^optimizers sgd.* 100? 000$",
        "the lines that the second-level cache moves: a line takes 1.5 to 2 cycles",
    ),
    "rows": (
        r"^losses squared error 256x100$",
        "rows that end within a register, each with a sum of its own; Numba adds all "
        "elements as one",
    ),
    "call": (
        r"^calls | 1 000$|^losses .* 256x1$",
        "the call: arguments are checked in 0.1 to 0.5 us",
    ),
}
NOTES = {
    "calls": "\nNumPy's row is `np.tanh(x, out=y)`, a ufunc as a yardstick.\n",
    "cold start": "\nNew processes, from nothing to the result; most memory held.\n",
}
MEMORY = """\
**Memory of training** (a net and its first step with dropout and Adam, on top of data
and initial weights; compilers included where there are any), beside the
sum of what must be kept: parameters, gradients, two moments, every layer's output.
"""
BEYOND = """\
**More threads within a step**: reasoned, not measured (Amdahl's law). If only the
multiplications, at the measured peak, are spread over n cores and all else stays as it
is, a training step becomes so many times as fast:
"""
LIMITS = """\
### Share of the limit

The time that the operation takes at the measured peak of its limit, multiply-adds or
memory traffic, / the time of Lamina. Measured: """

CYCLES = """\
### Cycles an element

Of calls with 16\u202f384 float32 elements, beside the least that the instructions of
their loops need on this processor ([bench/bounds.py](../bench/bounds.py) says how it is
counted): the unit that is busiest, or the second level cache that the elements come
from. The operations on one element depend on each other, 60 to 100 cycles from load to
store; a scheduler holds some dozens that wait, a few registers of elements. That
waiting, and the call with its first misses, is what lies between.
"""


def document(runs: Sequence[Run], pictures: Sequence[str]) -> str:
    parts = [INTRODUCTION, *what_was_run(runs), SLOWER, *losses(runs)]
    parts += [f"## Pictures\n\nOf {runs[0].title}.\n"] * bool(pictures)
    parts += [f"![{PICTURES[name][0]}]({name})\n" for name in pictures]
    for run in runs:
        parts += [f"## {run.title}\n", *tables_of(run)]
    return "\n".join([*parts, "## Rows that are missing\n", *map(missing, runs)])


def what_was_run(runs: Sequence[Run]) -> Iterator[str]:
    machine = runs[0].machine
    ours = machine["libraries"][OURS]
    dates = sorted({run.machine["date"] for run in runs})
    commits = unique(c for run in runs for c in run.machine["commits"])
    flags = sorted({flag.replace("_", "") for flag in machine["cpu"]["flags"]})
    facts = {
        "date": " to ".join(unique([dates[0], dates[-1]])),
        "processor": cpu(machine),
        "flags": " ".join(f for f in flags if re.match("avx|fma|f16c|amx", f)),
        "cores": machine.get("cores", machine["cpu"]["count"]),
        "governor": machine.get("governor", NONE),
        "huge pages": machine.get("huge_pages", NONE),
        "system": f"{machine['system']} {machine['release']}",
        "Python": machine["python_version"],
        "Lamina": f"{ours['version']}, commit {', '.join(commits)}",
        "its compiler": ours.get("compiler", NONE),
    }
    yield "## What was run\n"
    yield grid(["", ""], ([key, str(value)] for key, value in facts.items()), "---")
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in runs:
        for name, about in run.machine["libraries"].items():
            key = name, about.get("version", NONE), said(about)
            found.setdefault(key, []).append(run.title)
    head = ["library", "version", "what it says of threads and instructions", "runs"]
    yield grid(head, ([*key, "; ".join(found[key])] for key in sorted(found)), "---")


def said(facts: dict[str, Any]) -> str:
    """What may differ between the runs, and how the library computes."""
    known = ["version", "numpy", "python", "machine", "lamina"]
    known += ["targets_built", "targets_available"]
    words = {
        key.replace("_", " "): value if isinstance(value, list) else [value]
        for key, value in facts.items()
        if key not in known
    }
    return ", ".join(f"{key} {' '.join(map(str, words[key]))}" for key in words)


def losses(runs: Sequence[Run]) -> Iterator[str]:
    """How many, for each opponent and run; then each of them."""
    counts, parts = [], []
    for name in opponents(row for run in runs for row in run.rows):
        counts.append([name])
        for run in runs:
            rows = by(run.rows, implementation=name)
            lost = sorted(filter(slow, rows), key=lambda row: row.ratio or 0)
            counts[-1].append(f"{len(lost)} of {len(rows)}" if rows else NONE)
            if lost:
                parts.append(f"### {name}, {run.title}: slower in {counts[-1][-1]}\n")
                head = ["operation", "size", "table", "ratio", "quartiles", "won"]
                parts.append(grid([*head, "bound"], map(loss, lost)))
    yield grid(["opponent", *(run.title for run in runs)], counts)
    reasons = [f"- **{name}**: {reason}." for name, (_, reason) in MET.items()]
    yield from [WORST, "\n".join(reasons) + "\n", *parts]


def loss(row: Row) -> list[str]:
    quartiles = " to ".join(map(digits, row.quartiles))
    cells = [f"**{ratio(row)}**", quartiles, f"{row.won:.0%}"]
    return [row.operation, label(row.size), row.table, *cells, met(row)]


def met(row: Row) -> str:
    """The bound of `MET` that the row is at, where one is known."""
    place = f"{row.table} {row.operation} {label(row.size)}".replace("\u202f", " ")
    found = (name for name, (places, _) in MET.items() if re.search(places, place))
    return next(found, NONE)


def tables_of(run: Run) -> Iterator[str]:
    for table, group in groupby(run.rows, attrgetter("table")):
        rows = list(group)
        yield f"### {table.capitalize()}\n{NOTES.get(table, '')}"
        if table.startswith("growth"):
            for (_, operation), series in growth(rows).items():
                yield from (f"**{operation}**\n", growth_grid(series))
            if table == "growth by threads":
                yield from (BEYOND, beyond(run))
        elif table == "cold start":
            tops = [r._replace(operation=f"{r.operation} {r.size}") for r in rows]
            yield cross(tops, "implementation", "operation", cold_start)
            yield from (MEMORY, memory_grid([r for r in rows if r.own_memory], run))
        else:
            down, across = sides(rows)
            for value in unique(getattr(row, across) for row in rows):
                yield f"**{'Size ' * (across == 'size')}{label(value)}**\n"
                yield cross(by(rows, **{across: value}), down)
    if run.limits:
        facts = run.machine["libraries"].get(LIMIT, {}).items()
        yield (
            LIMITS + said({key: n for key, n in facts if isinstance(n, float)}) + ".\n"
        )
    yield from cycles(run)
    for table, group in groupby(run.limits, attrgetter("table")):
        rows = list(group)
        yield f"**{table.capitalize()}**\n"
        yield cross(rows, *sides(rows), share, lambda row: False)


def cycles(run: Run) -> Iterator[str]:
    """Beside their bounds, of a run whose loops those are."""
    peak = run.machine["libraries"].get(LIMIT, {}).get("fma_gflops")
    rows = by(run.rows, implementation=OURS, size="16384")
    rows = [row for row in rows if row.table in ("forward", "backward")]
    facts = run.machine["cpu"]
    processor = PROCESSORS.get((facts.get("vendor_id_raw"), facts.get("family")))
    if run.title != "float32, one thread" or not peak or not processor:
        return
    known = bounds(processor)
    clock = peak * 1e9 / (2 * LANES * processor.each)
    body = []
    for row in [row for row in rows if row.operation in known]:
        measured = row.seconds * clock / 16384
        least, binds, operations = bound_of(known[row.operation], measured)
        cells = [f"{measured:.2f}", f"{least:.2f}", f"{measured / least:.2f}"]
        body.append([row.operation, str(operations), *cells, binds])
    if body:
        head = ["operation", "operations", "cycles", "bound", "ratio", "bound by"]
        yield CYCLES
        yield grid(head, body)


def growth_grid(series: dict[str, list[Row]]) -> str:
    rows = [row for line in series.values() for row in line]
    text = cross(rows, "size", cell=duration)
    names = [OURS, *opponents(rows)]
    fits = [[f"{p:.2f}" for p in exponents(series.get(name, []))] for name in names]
    for i, over in enumerate(["all sizes", "upper half"]):
        cells = [fit[i] if fit else NONE for fit in fits]
        text += f"| *p*, {over} | {' | '.join(cells)} |\n"
    return text


def beyond(run: Run) -> str:
    body = []
    for row in by(run.rows, implementation=OURS, operation=STEP):
        limits = by(run.limits, operation=STEP, size=row.size)
        spread = min(1.0, limits[0].seconds / row.seconds) if limits else 0.0
        gains = [1 / (1 - spread + spread / cores) for cores in CORES]
        body.append([row.size, f"{spread:.0%}", *map(digits, gains)])
    return grid(["net", "multiplications", *(f"{n} cores" for n in CORES)], body)


def memory_grid(rows: Sequence[Row], run: Run) -> str:
    kept = [
        row._replace(implementation="must be kept", own_memory=kept_by(row.size, run))
        for row in by(rows, implementation=OURS)
    ]
    return cross(
        [*kept, *rows],
        "implementation",
        "size",
        lambda row: f"{row.own_memory / 1e6:.3g} MB",
        lambda row: False,
    )


def kept_by(size: str, run: Run) -> int:
    """Bytes that a step keeps of a net written as 32: 64-128-10."""
    batch, net = size.split(": ")
    widths = [int(width) for width in net.split("-")]
    parameters = sum((n + 1) * m for n, m in pairwise(widths))
    numbers = 4 * parameters + int(batch) * sum(widths[1:])
    return numbers * (8 if run.title.startswith("float64") else 4)


def missing(run: Run) -> str:
    """A list to unfold: reasons, each with its number of rows and their operations."""
    names = {f"{row.operation} {row.size}": row.operation for row in run.rows}
    lines = [f"<details><summary>{run.title}</summary>\n"]
    for reasons in run.machine.get("missing", {}).values():
        for reason, cases in reasons.items():
            # The beginning; of paths the last part.
            text = re.sub(r"(?<![\w.])(/[\w.-]+)+/", "", " ".join(reason.split())[:200])
            held = ", ".join(unique(names.get(case, case) for case in cases))
            text = html.escape(text, quote=False)
            lines.append(f"- {text} ({len(cases)}): {held}")
    return "\n".join([*lines, "\n</details>\n"])


# Pictures of one run; without rows for it, a picture is None.

BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8}


def training_step(run: Run) -> Any:
    """A panel for each net, a bar with its quartiles for each opponent."""
    rows = by(run.rows, table="training step", operation=STEP)
    names, nets = opponents(rows), unique(row.size for row in rows)
    if not names:
        return None
    figure, panels = panes(len(nets), "time of a training step / that of Lamina")
    for axes, net in zip(panels, nets, strict=True):
        part = {row.implementation: row for row in by(rows, size=net)}
        axes.set_title(f"{net} (Lamina {duration(part[OURS])})", fontsize=9)
        axes.set(xscale="log", yticks=range(len(names)), yticklabels=names)
        plain(axes.xaxis)
        axes.axvline(1, color="black", lw=1)
        for y, name in enumerate(names):
            if row := part.get(name):
                axes.barh(y, (row.ratio or 1) - 1, left=1, color=COLOURS.get(name))
                axes.plot(row.quartiles, [y, y], color="black", lw=1)
                end = max(1, row.quartiles[1]), y
                axes.annotate(ratio(row), end, (4, 0), **BESIDE)
        axes.margins(x=0.25)
    panels[0].invert_yaxis()
    return figure


def ratio_by_size(run: Run) -> Any:
    """A panel for each activation, a line for each opponent."""
    rows = by(run.rows, table="forward")
    names = [name for name in PICTURED if opponents(by(rows, operation=name))]
    if not names:
        return None
    figure, panels = panes(len(names), "elements", "time / that of Lamina")
    for axes, name in zip(panels, names, strict=True):
        part = by(rows, operation=name)
        shown = opponents(part)
        lines(axes, {name: by(part, implementation=name) for name in shown}, COLOURS)
        axes.set(title=name, yscale="log")
        plain(axes.yaxis)
        axes.axhline(1, color="black", lw=1)
    label_lines(figure, panels)
    return figure


def limit(run: Run) -> Any:
    """Dense layers by shape, activations by size."""
    dense, flat = by(run.limits, table="dense"), by(run.limits, table="forward")
    if not dense or not flat:
        return None
    figure, (left, right) = panes(2, "", shared=False)
    shapes = unique(row.size for row in dense)
    colours = COLOURS.values()
    for name, mark, colour in zip(DENSE, "os^vD", colours, strict=False):
        part = by(dense, operation=name)
        at = [shapes.index(row.size) for row in part]
        left.plot([row.ratio for row in part], at, mark, color=colour, label=name)
    left.set(
        title="dense layers: share of the limit",
        yticks=range(len(shapes)),
        yticklabels=shapes,
    )
    left.set_xlim(left=0)
    left.invert_yaxis()
    figure.legend(loc="outside upper left", ncols=5, fontsize=8)
    series = {name: by(flat, operation=name) for name in PICTURED}
    series = {name: part for name, part in series.items() if part}
    lines(right, series, dict(zip(PICTURED, colours, strict=False)))
    right.set(title="activations: share of the limit", xlabel="elements")
    right.set_ylim(bottom=0)
    for axis in (left.xaxis, right.yaxis):
        axis.set_major_formatter("{x:.0%}")
        axis.grid(alpha=0.3)
    label_lines(figure, [right])
    return figure


PICTURES: dict[str, tuple[str, Callable[[Run], Any]]] = {
    "training_step.svg": ("Time of a training step, by net and library", training_step),
    "ratio_by_size.svg": ("Time of activations, by size and library", ratio_by_size),
    "limit.svg": ("Share of the limit of the machine that Lamina reaches", limit),
}


def panes(
    count: int, across: str, up: str = "", shared: bool = True
) -> tuple[Any, list[Any]]:
    """A figure with at most three panels in a row."""
    high, wide = -(-count // 3), min(count, 3)
    figure, grid = plt.subplots(
        high,
        wide,
        figsize=(10, 0.6 + (2.6 if high > 1 else 4) * high),
        sharex=shared,
        sharey=shared,
        squeeze=False,
        layout="constrained",
    )
    figure.supxlabel(across, fontsize=9)
    figure.supylabel(up, fontsize=9)
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, list(grid.flat[:count])


def plain(axis: Any) -> None:
    """1, 2, 5, 10 on a logarithmic axis."""
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(ticker.NullLocator())


def lines(axes: Any, series: dict[str, list[Row]], colours: dict[str, str]) -> None:
    """Ratios by size, quartiles as a band."""
    for name, rows in series.items():
        sizes, colour = [int(row.size) for row in rows], colours.get(name, "gray")
        low, high = zip(*(row.quartiles for row in rows), strict=True)
        axes.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(sizes, [row.ratio for row in rows], ".-", color=colour, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    sizes = [int(row.size) for rows in series.values() for row in rows]
    span = max(2, max(sizes) / min(sizes))
    axes.set_xlim(min(sizes) / span**0.05, max(sizes) * span**0.35)  # room for names


def label_lines(figure: Any, panels: Sequence[Any]) -> None:
    """Names at the right ends of lines, moved up where they would overlap."""
    figure.draw_without_rendering()
    for axes in panels:
        least = float("-inf")
        named = [line for line in axes.get_lines() if line.get_label()[0] != "_"]
        for line in sorted(named, key=lambda line: line.get_ydata()[-1]):
            end = line.get_xydata()[-1]
            up = axes.transData.transform(end)[1] * 72 / figure.dpi
            least = max(up, least + 8)
            place = BESIDE | {"xytext": (5, least - up), "color": line.get_color()}
            axes.annotate(line.get_label(), end, **place)


def draw(run: Run, folder: Path) -> list[str]:
    """Names of the pictures that there were rows for."""
    plt.rcParams.update(
        {"svg.hashsalt": "lamina", "svg.fonttype": "none", "font.size": 9}
    )
    figures = {name: picture(run) for name, (_, picture) in PICTURES.items()}
    drawn = [name for name, figure in figures.items() if figure]
    for name in drawn:
        figures[name].savefig(folder / name, metadata={"Date": None})
    return drawn


# README.md


def summary(runs: Sequence[Run], pictures: Sequence[str]) -> str:
    """Figures of the first run; how often Lamina is slower, of all."""
    run = runs[0]
    chosen: list[Row] = []
    for name, (table, operation, size) in FIGURES.items():
        rows = by(run.rows, table=table, size=size)
        rows = by(rows, operation=operation or rows[0].operation) if rows else []
        chosen += [row._replace(operation=name) for row in rows]
    libraries = run.machine["libraries"]
    facts = [run.machine["date"], cpu(run.machine), run.title]
    facts += [f"Lamina on {libraries[OURS].get('target', 'its best target')}"]
    facts += [
        f"{name} {libraries[name]['version']}"
        for name in opponents(chosen)
        if "version" in libraries.get(name, {})
    ]
    ratios = [row for run in runs for row in run.rows if row.ratio is not None]
    text = f"""\
Time of each library / time of Lamina, above 1 Lamina is faster ({", ".join(facts)}).
[docs/performance.md](docs/performance.md) has all tables, and first of all where Lamina
is slower, as here in bold: {sum(map(slow, ratios))} of {len(ratios)} rows.
"""
    shown = [f"![{PICTURES[name][0]}](docs/{name})\n" for name in pictures[:1]]
    return "\n".join([text, *shown, cross(chosen, "operation")])


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Writes docs/ and a part of README.md."
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="file.json")
    parser.add_argument("--into", type=Path, default=ROOT, help="where README.md is")
    arguments = parser.parse_args()
    readme, docs = arguments.into / "README.md", arguments.into / "docs"
    text = re.fullmatch(f"(.*{BEGIN}\n).*({END}.*)", readme.read_text(), re.DOTALL)
    if text is None:
        raise SystemExit(f"README.md needs a line {BEGIN}\nand one after it {END}")
    runs = read(arguments.files)
    docs.mkdir(exist_ok=True)
    pictures = draw(runs[0], docs)
    (docs / "performance.md").write_text(document(runs, pictures))
    readme.write_text(text[1] + summary(runs, pictures) + text[2])


if __name__ == "__main__":
    main()
