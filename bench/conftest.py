"""How every benchmark runs: on one thread, checked first, then timed.

The fixture `case` builds a case and asserts that its sides agree, `measure` times one
side of it; at the end there is one table of ratios for each kind of operation.
"""

import os

# Read when NumPy is first imported. Idle OpenBLAS workers spin, and would take the
# core on which nothing is measured from whoever else needs it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

import lamina as lm
from cases import Case

IMPLEMENTATIONS = ["lamina", "numpy"]

# Ours unless the command line says otherwise: rounds of 0.1 ms, 0.1 s in all, at least
# five rounds after one call to warm up.
SETTINGS = {
    "benchmark_min_time": 1e-4,
    "benchmark_max_time": 0.1,
    "benchmark_min_rounds": 5,
    "benchmark_warmup": True,
    "benchmark_warmup_iterations": 1,
    "benchmark_columns": ["median", "iqr", "rounds", "iterations"],
}


class Timing(NamedTuple):
    table: str
    operation: str
    size: str
    implementation: str
    median: float


TIMINGS = pytest.StashKey[list[Timing]]()


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    """What the function given as parameter builds, its sides compared."""
    built: Case = request.param()
    built.check()
    return built


@pytest.fixture(params=IMPLEMENTATIONS)
def measure(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[Case], None]:
    """Time the side of a case that carries the name of this row."""

    def run(case: Case) -> None:
        name = request.param
        if name not in case.sides:
            pytest.skip(f"{case.operation} has no {name} form")
        benchmark.group = f"{case.operation} float32 {case.size}"
        benchmark.extra_info.update(
            table=case.table,
            operation=case.operation,
            dtype="float32",
            size=case.size,
            implementation=name,
        )
        benchmark(case.sides[name])
        if benchmark.stats is not None:
            median = benchmark.stats.stats.median
            row = Timing(case.table, case.operation, case.size, name, median)
            request.config.stash[TIMINGS].append(row)

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[TIMINGS] = []
    given = " ".join(config.invocation_params.args)
    for name, value in SETTINGS.items():
        if f"--{name.replace('_', '-')}" not in given:
            setattr(config.option, name, value)


def pytest_report_header() -> list[str]:
    pools = {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()}
    facts = lm.show_config() | {f"{name}_threads": n for name, n in pools.items()}
    return [" ".join(f"{key}={value}" for key, value in facts.items())]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One table of ratios for each opponent and kind of operation."""
    timings = config.stash[TIMINGS]
    for other in IMPLEMENTATIONS[1:]:
        for table in unique(timing.table for timing in timings):
            chosen = [timing for timing in timings if timing.table == table]
            ratios = ratios_to_lamina(chosen, other)
            if ratios:
                title = f"{table}, float32: median time of {other} / of lamina"
                terminalreporter.section(title)
                terminalreporter.write_line(render(ratios))


def ratios_to_lamina(timings: list[Timing], other: str) -> dict[tuple[str, str], float]:
    """How many times as long the other takes, by operation and size."""
    medians = {(t.operation, t.size, t.implementation): t.median for t in timings}
    return {
        (operation, size): medians[operation, size, other] / median
        for (operation, size, name), median in medians.items()
        if name == "lamina" and (operation, size, other) in medians
    }


def render(ratios: dict[tuple[str, str], float]) -> str:
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
            mark = "*" if ratio is not None and ratio < 1 else " "
            line += f"{'' if ratio is None else format(ratio, '.2f'):>{width}}{mark}"
        lines.append(line)
    slower = sum(ratio < 1 for ratio in ratios.values())
    lines.append(f"* lamina is slower: {slower} of {len(ratios)}")
    return "\n".join(lines)


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
