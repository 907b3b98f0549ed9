"""How every benchmark runs: a process for each library, rounds by turns.

The fixture `group` builds a case in every library asked for and asserts that all
compute the same; `measure` times them together when the first row is due, and gives
pytest-benchmark one library's rounds. At the end there is one table of ratios for each
opponent and kind of operation.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, cached_property
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest

from cases import Case
from tables import LIMIT, OURS, Row, growth, growth_table, ratio_tables, unique
from worker import MEMORY, UnavailableError, Worker, pack, unpack

ALWAYS = [OURS, "numpy", "cython", LIMIT]
PEERS = ["torch", "jax", "scikit-learn", "onnxruntime", "thinc", "numba", "numexpr"]

# Ours unless the command line says otherwise: rounds of 0.1 ms, 0.03 s for each
# library, at least five rounds.
SETTINGS = {
    "benchmark_min_time": 1e-4,
    "benchmark_max_time": 0.03,
    "benchmark_min_rounds": 5,
    "benchmark_columns": ["median", "iqr", "rounds", "iterations"],
}

THREAD_VARIABLES = ["LAMINA", "OPENBLAS", "OMP", "MKL", "BLIS", "NUMEXPR", "NUMBA"]
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in THREAD_VARIABLES} | {
    "NPROC": "1",  # of XLA's pool
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",  # no second thread to hand work to
}
AVX2 = {
    "LAMINA_TARGET": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "BLIS_ARCH_TYPE": "3",  # haswell in the order of thinc's BLIS
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma",
    # Its library for products, which looks for AVX-512 itself, is left out.
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_cpu_experimental_ynn_fusion_type=",
}


class Rounds(NamedTuple):
    calls: int
    seconds: list[float]  # of each round, in the order of time


class Clock:
    """Stands still but for what a recorded call took."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def replay(self, benchmark: Any, rounds: Rounds) -> None:
        self.now = 0.0
        calls, seconds = rounds
        steps = chain.from_iterable(repeat(s / calls, calls) for s in seconds)

        def call() -> None:
            self.now += next(steps, 0.0)

        benchmark.pedantic(call, rounds=len(seconds), iterations=calls)


CLOCK = Clock()
ROWS = pytest.StashKey[list[Row]]()
FACTS = pytest.StashKey[dict[str, dict[str, Any]]]()
MISSING = pytest.StashKey[dict[str, dict[str, list[str]]]]()  # library, reason: cases


class Group:
    """One case in all libraries that have it."""

    def __init__(
        self,
        case: Case,
        start: Callable[[str], Worker],
        names: list[str],
        limits: tuple[float, float, int],
    ) -> None:
        self.case = case
        self.limits = limits
        self.arguments = pack(case.arguments)
        self.rehearsal = pack(case.rehearsal or case.arguments)
        self.workers: dict[str, Worker] = {}
        self.unavailable: dict[str, str] = {}
        self.memory: dict[str, tuple[int, int]] = {}  # of cold processes, see `cold`
        reference = None
        for name in names:
            try:
                worker = start(name)
                result = self._prepare(worker)
                if result is not None:
                    reference = result if reference is None else reference
                    case.agree(result, reference)
            except UnavailableError as error:
                if name == OURS:
                    raise
                self.unavailable[name] = str(error)
            except AssertionError as error:
                if name not in PEERS:
                    raise
                lines = str(error).strip().splitlines()
                shown = [line for line in lines if "Max" in line] or lines[:1]
                self.unavailable[name] = f"{name} computes something else {shown}"
            else:
                self.workers[name] = worker

    def _prepare(self, worker: Worker) -> Any:
        """Make the call that is timed, and the result on which all must agree."""
        case = self.case
        if not case.function:
            return None
        worker.ask("build", case.function, self.rehearsal, case.threads)
        if worker.library == LIMIT:  # computes nothing
            return None
        path = worker.ask("result", case.calls)
        result = unpack(path)
        os.unlink(path)
        if case.rehearsal:
            worker.ask("build", case.function, self.arguments, case.threads)
        return result

    def close(self) -> None:
        os.unlink(self.arguments)
        os.unlink(self.rehearsal)

    @cached_property
    def rounds(self) -> dict[str, Rounds]:
        """Rounds of all libraries in turn, forwards and backwards by turns."""
        round_time, time, least = self.limits
        rounds: dict[str, Rounds] = {}
        spent, count = 0.0, 0
        while count < least or spent < time * len(self.workers):
            for name in list(self.workers)[:: -1 if count % 2 else 1]:
                worker = self.workers[name]
                try:
                    if name not in rounds:
                        cold = self.case.cold
                        calls = 1 if cold else worker.ask("calibrate", round_time)
                        rounds[name] = Rounds(calls, [])
                    rounds[name].seconds.append(self._time(name, rounds[name].calls))
                    spent += rounds[name].seconds[-1]
                except UnavailableError as error:
                    self.unavailable[name] = str(error)
                    del self.workers[name]
            count += 1
        return rounds

    def _time(self, name: str, calls: int) -> float:
        worker = self.workers[name]
        if not self.case.cold:
            return float(worker.ask("time", calls))
        seconds, peak, own = worker.cold(self.case.function, self.arguments)
        self.memory[name] = max((peak, own), self.memory.get(name, (0, 0)))
        return seconds


@pytest.fixture(scope="session")
def workers(pytestconfig: pytest.Config) -> Iterator[Callable[[str], Worker]]:
    """Start the worker of a library when it is first asked for."""
    environment = worker_environment(pytestconfig)
    cores = os.sched_getaffinity(0)
    if pytestconfig.getoption("threads") == "1":
        cores = {max(cores)}  # the same for all: cores of a shared machine differ
    started: list[Worker] = []
    memory = TemporaryDirectory(dir=MEMORY, prefix="bench-")
    environment["TMPDIR"] = tempfile.tempdir = memory.name

    @cache
    def start(library: str) -> Worker:
        if library == "onnxruntime" and pytestconfig.getoption("target") == "avx2":
            raise UnavailableError("onnxruntime cannot be held to AVX2")
        started.append(Worker(library, environment, cores))
        with suppress(UnavailableError):
            pytestconfig.stash[FACTS][library] = started[-1].ask("facts")
        return started[-1]

    with memory:
        yield start
        for worker in started:
            worker.close()
    tempfile.tempdir = None


def worker_environment(config: pytest.Config) -> dict[str, str]:
    """That of the caller, but for what makes libraries differ."""
    held = ONE_THREAD.keys() | AVX2.keys() | {"NPY_DISABLE_CPU_FEATURES"}
    environment = {k: v for k, v in os.environ.items() if k not in held}
    environment["BENCH_DTYPE"] = config.getoption("dtype")
    limits = [ONE_THREAD] if config.getoption("threads") == "1" else []
    if config.getoption("target") == "avx2":
        limits += [AVX2, {"NPY_DISABLE_CPU_FEATURES": " ".join(avx512_of_numpy())}]
    for variables in limits:
        for name, value in variables.items():
            if name == "XLA_FLAGS":
                value = f"{environment.get(name, '')} {value}".strip()
            environment[name] = value
    return environment


def avx512_of_numpy() -> list[str]:
    """Those of its instruction sets beyond AVX2 that this processor has."""
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return [name for name in found if "AVX512" in name or name == "X86_V4"]


@pytest.fixture(scope="module")
def group(
    request: pytest.FixtureRequest, workers: Callable[[str], Worker]
) -> Iterator[Group]:
    """What the function given as parameter builds, in every library with a row."""
    rows = [getattr(item, "callspec", None) for item in request.session.items]
    asked = [
        row.params["measure"]
        for row in rows
        if row is not None and row.params.get("group") is request.param
    ]
    option = request.config.getoption
    limits = (
        float(option("benchmark_min_time")),
        float(option("benchmark_max_time")),
        int(option("benchmark_min_rounds")),
    )
    case = request.param(option("dtype"))
    # Lamina's result is what others are compared with, whether it has a row or not.
    made = Group(case, workers, unique([OURS, *asked]), limits)
    yield made
    made.close()


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[Group], None]:
    """Make the row of one library, recording the whole group when the first is due."""

    def run(group: Group) -> None:
        name, case, config = request.param, group.case, request.config
        recorded = {} if benchmark.disabled else group.rounds
        if name in group.unavailable:
            benchmark.skipped = True
            reasons = config.stash[MISSING].setdefault(name, {})
            reasons.setdefault(group.unavailable[name], []).append(
                f"{case.operation} {case.size}"
            )
            pytest.skip(group.unavailable[name])
        if benchmark.disabled:
            benchmark.pedantic(lambda: None)
            return
        dtype = config.getoption("dtype")
        by = f", {case.table}" if case.table.startswith("growth") else ""
        benchmark.group = f"{case.operation} {dtype} {case.size}{by}"
        benchmark.extra_info.update(
            table=case.table,
            operation=case.operation,
            dtype=dtype,
            size=case.size,
            implementation=name,
            threads=config.getoption("threads"),
            target=config.getoption("target"),
        )
        ratio, own = None, recorded[name]
        if name != OURS and OURS in recorded:
            pairs = ratios(own, recorded[OURS])
            low, ratio, high = np.quantile(pairs, [0.25, 0.5, 0.75]).tolist()
            benchmark.extra_info.update(
                ratio_to_lamina=ratio,
                ratio_quartiles=[low, high],
                rounds_lamina_won=sum(pair > 1 for pair in pairs) / len(pairs),
            )
        if name in group.memory:
            peak, taken = group.memory[name]
            benchmark.extra_info.update(peak_memory=peak, own_memory=taken)
        seconds = median(own.seconds) / own.calls
        labels = case.table, case.operation, case.size
        config.stash[ROWS].append(Row(*labels, name, seconds, ratio))
        CLOCK.replay(benchmark, recorded[name])

    return run


def ratios(theirs: Rounds, ours: Rounds) -> list[float]:
    """How many times as long a call of theirs takes, for rounds next to each other."""
    return [
        (a / theirs.calls) / (b / ours.calls)
        for a, b in zip(theirs.seconds, ours.seconds, strict=True)
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("bench")
    options.addoption("--dtype", default="float32", choices=["float32", "float64"])
    options.addoption("--threads", default="1", choices=["1", "default"])
    options.addoption("--full", action="store_true", help="every case and size")
    options.addoption(
        "--target", default="best", choices=["best", "avx2"], help="for all libraries"
    )
    options.addoption(
        "--peers",
        default="",
        help=f"opponents that are extras, by comma: {','.join(PEERS)} or all",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.stash[FACTS] = {}
    config.stash[MISSING] = {}
    config.addinivalue_line("markers", "full: a case that runs with --full only")
    implementations(config)
    given = " ".join(config.invocation_params.args)
    given += os.environ.get("PYTEST_ADDOPTS", "")
    for name, value in SETTINGS.items():
        if f"--{name.replace('_', '-')}" not in given:
            setattr(config.option, name, value)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "measure" in metafunc.fixturenames:
        replayed = pytest.mark.benchmark(timer=CLOCK)
        rows = [
            pytest.param(name, marks=replayed)
            for name in implementations(metafunc.config)
        ]
        metafunc.parametrize("measure", rows, indirect=True)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if not config.getoption("full"):
        longer = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=longer)
        items[:] = [item for item in items if item not in longer]


def implementations(config: pytest.Config) -> list[str]:
    peers = config.getoption("peers")
    chosen = PEERS if peers == "all" else [name for name in peers.split(",") if name]
    if unknown := set(chosen) - set(PEERS):
        raise pytest.UsageError(f"--peers: no such library: {', '.join(unknown)}")
    return [*ALWAYS, *chosen]


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    machine_info.update(
        cores=len(os.sched_getaffinity(0)),
        governor=governor.read_text().strip() if governor.exists() else "not shown",
        huge_pages=pages.read_text().strip() if pages.exists() else "not shown",
    )


def pytest_benchmark_update_json(
    config: pytest.Config, output_json: dict[str, Any]
) -> None:
    """What the run found out; runs are compared only if the rest is the same."""
    output_json.update(
        libraries=config.stash[FACTS],
        missing=config.stash[MISSING],
        load=os.getloadavg()[0],
    )


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What ran, and one table of ratios for each opponent and kind of operation."""
    dtype = config.getoption("dtype")
    rows = config.stash[ROWS]
    for (name, kind), text in ratio_tables(rows).items():
        title = f"{kind}, {dtype}: time of {name} / of lamina"
        if name == LIMIT:
            title = f"{kind}, {dtype}: share of the machine's limit"
        terminalreporter.section(title)
        terminalreporter.write_line(text)
    for (kind, operation), series in growth(rows).items():
        terminalreporter.section(f"{operation}, {kind}: microseconds, exponents")
        terminalreporter.write_line(growth_table(series))
    terminalreporter.section("libraries")
    for library, facts in config.stash[FACTS].items():
        pairs = " ".join(f"{key}={value}" for key, value in facts.items())
        terminalreporter.write_line(f"{library}: {pairs}")
