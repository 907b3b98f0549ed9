"""Rows of a run, as tables of text."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

OURS = "lamina"
LIMIT = "limit"


class Row(NamedTuple):
    table: str
    operation: str
    size: str
    implementation: str
    seconds: float
    ratio: float | None  # to lamina, by paired rounds; None for lamina itself
    quartiles: tuple[float, float] = (np.nan, np.nan)  # of the ratio
    won: float = np.nan  # share of the rounds in which lamina was faster
    memory: int = 0  # bytes at most, of a cold start


def ratio_tables(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """For each opponent and kind of operation, its time / Lamina's."""
    cells: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for row in sorted(rows, key=lambda row: row.implementation):
        if row.ratio is not None:
            table = cells.setdefault((row.implementation, row.table), {})
            table[row.operation, row.size] = row.ratio
    return {key: render(table, key[0] != LIMIT) for key, table in cells.items()}


def render(ratios: dict[tuple[str, str], float], losses: bool = True) -> str:
    """A table, the longer of operations and sizes down the page, losses starred."""
    operations, sizes = (unique(key[i] for key in ratios) for i in (0, 1))
    down = len(operations) >= len(sizes)
    rows, columns = (operations, sizes) if down else (sizes, operations)
    first = max(map(len, rows))
    widths = [max(8, len(column) + 2) for column in columns]
    titles = zip(columns, widths, strict=True)
    lines = [" " * first + "".join(f"{title:>{width}} " for title, width in titles)]
    for row in rows:
        line = f"{row:{first}}"
        for column, width in zip(columns, widths, strict=True):
            ratio = ratios.get((row, column) if down else (column, row))
            mark = "*" if losses and ratio is not None and ratio < 1 else " "
            line += f"{'' if ratio is None else format(ratio, '.2f'):>{width}}{mark}"
        lines.append(line)
    if losses:
        slower = sum(ratio < 1 for ratio in ratios.values())
        lines.append(f"* lamina is slower: {slower} of {len(ratios)}")
    return "\n".join(lines)


def growth(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, list[Row]]]:
    """Rows of the tables called "growth by ...", by table, operation and library."""
    found: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        if row.table.startswith("growth"):
            series = found.setdefault((row.table, row.operation), {})
            series.setdefault(row.implementation, []).append(row)
    return found


def exponent(series: Sequence[Row]) -> float:
    """p of the power law, seconds ~ size ** p, by least squares of logs."""
    sizes = np.log([float(row.size) for row in series])
    return float(np.polyfit(sizes, np.log([row.seconds for row in series]), 1)[0])


def exponents(series: Sequence[Row]) -> list[float]:
    """Over all sizes and over the upper half of them; none of less than two."""
    upper = series[max(0, len(series) // 2 - 1) :]
    return [exponent(part) for part in (series, upper) if len(part) > 1]


def growth_table(series: dict[str, list[Row]]) -> str:
    """Microseconds by size, and the exponents over all and the upper half of sizes."""
    sizes = unique(row.size for rows in series.values() for row in rows)
    lines = [" " * 12 + "".join(f"{size:>10}" for size in (*sizes, "p", "p above"))]
    for name, rows in series.items():
        times = {row.size: f"{row.seconds * 1e6:.4g}" for row in rows}
        cells = [times.get(size, "") for size in sizes]
        cells += [f"{p:.2f}" for p in exponents(rows)]
        lines.append(f"{name:12}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
