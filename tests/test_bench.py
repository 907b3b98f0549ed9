"""The benchmarks run, agree and are reported; what they say of speed is theirs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CASES = "(tanh and 1000 and not hard) or 33-65-17 or test_dropout and 0.5-1000"


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run with as few rounds as there can be."""
    path = tmp_path_factory.mktemp("bench") / "results.json"
    options = ["--full", "--benchmark-max-time=0.001", f"--benchmark-json={path}"]
    run("-m", "pytest", "bench", "--benchmark-only", "-k", CASES, *options)
    return path


def test_libraries_agree_and_every_case_has_a_ratio(results: Path) -> None:
    found = json.loads(results.read_text())
    rows = [entry["extra_info"] for entry in found["benchmarks"]]
    cases = {(row["table"], row["operation"], row["size"]) for row in rows}
    assert ("dense", "matmul NT", "33x65x17") in cases
    for library in ("lamina", "numpy", "cython"):
        own = [row for row in rows if row["implementation"] == library]
        assert len(own) == len(cases), found["missing"]
        assert all(row["ratio_to_lamina"] > 0 for row in own if library != "lamina")
    peaks = found["libraries"]["limit"]
    assert peaks["fma_gflops"] > 0 and peaks["copy_gbytes"] > 0


def test_layers_agree() -> None:
    said = run("-m", "pytest", "bench", "--full", "--benchmark-disable", "-k=256-64")
    assert " 10 passed, " in said


def test_estimators_are_compared() -> None:
    done = subprocess.run(
        [sys.executable, "bench/estimators.py", "--rounds=1", "-k=partial_fit"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: below its floor
    assert done.stdout.splitlines()[-1].startswith("| partial_fit, 32 digits | ")
    assert not done.stderr


def test_report_shows_the_rows(results: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    begin, end = "<!-- performance: begin -->", "<!-- performance: end -->"
    readme.write_text(f"before\n{begin}\nformer figures\n{end}\nafter\n")
    run("bench/report.py", str(results), "--into", str(tmp_path))
    text = readme.read_text()
    assert text.startswith(f"before\n{begin}\n") and text.endswith(f"{end}\nafter\n")
    assert "former figures" not in text
    document = (tmp_path / "docs" / "performance.md").read_text()
    for cell in ("| tanh |", "33x65x17", "Where Lamina is slower", "### Share of"):
        assert cell in document


BOUNDS = """
import sys
sys.path.insert(0, "bench")
from report import met
from tables import Row
for line in sys.stdin:
    print(met(Row(*line.strip().split(","), "numba", 1.0, 0.8)))
"""


def test_a_slower_row_has_its_bound() -> None:
    wanted = {
        "dropout,dropout 0.5,16384": "generator",
        "backward,smooth_clip backward,16384": "divider",
        "optimizers,adam,10000": "divider",
        "cold start,import,1": "import",
        "forward,gelu,1048576": "accuracy",
        "growth by threads,dense relu 256x512x512,4": "threads",
        "growth by threads,dense relu 256x512x512,2": "-",
        "optimizers,sgd,10000000": "memory",
        "forward,hard_tanh,16777216": "memory",
        "backward,tanh backward,16384": "cache",
        "losses,squared error,256x1": "call",
        "dense,matmul NT,8x64x64": "-",
    }
    done = subprocess.run(
        [sys.executable, "-c", BOUNDS],
        cwd=ROOT,
        input="\n".join(wanted),
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(wanted, done.stdout.split(), strict=True)) == wanted


LOOP = """
import sys
sys.path.insert(0, "bench")
from bounds import PROCESSORS, bound
copy = ["vmovups (%rdi,%rax,4),%zmm0", "vmovups %zmm0,(%rsi,%rax,4)"]
multiply = [*copy[:1], *["vmulps %zmm0,%zmm1,%zmm0"] * 12, *copy[1:]]
divide = [*copy[:1], "vsqrtps %zmm0,%zmm0", "vdivps %zmm0,%zmm1,%zmm0", *copy[1:]]
for loop in copy, multiply, divide:
    for family in 25, 26:
        found = bound(loop, PROCESSORS["AuthenticAMD", family])
        print(round(16 * found.cycles, 2), found.binds, sep=",")
"""


def test_least_cycles_of_a_loop() -> None:
    """Of one register: two lines; twelve products on one or two pipes; the divider."""
    assert run("-c", LOOP).split("\n")[:-1] == [
        *("4.0,bytes", "3.0,bytes"),
        *("12.0,multiply-adds", "6.0,multiply-adds"),
        *("15.4,division and root", "7.0,division and root"),
    ]
