"""Is anything more than 10 % slower than `baseline.json` says? Then it exits with 1.

Ratios are NumPy's time / Lamina's by paired rounds, comparable with those of the same
processor, target and NumPy. Counts are instructions of one call on AVX2, comparable
with those of the same compiler; for steps, Python's and NumPy's too, as a multiple of
the step with labels and a constant rate. What cannot be compared is printed and fails
nothing.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BASELINE = ROOT / "bench" / "baseline.json"
TOLERANCE = 1.1

# File, test and case. Not tanh: NumPy's varies by half from process to process.
CASES = [
    "activations forward sigmoid-16384",
    "activations forward softplus-16384",
    "activations forward gelu-16384",
    "activations backward relu-16384",
    "activations forward softmax-256-100",
    "dropout dropout 0.5-16384",
    "dense dense 32-64-64",
    "dense dense 256-512-512",
    "dense dense_backward 32-64-64",
    "dense dense_backward 256-512-512",
    "dense matmul NN-32-64-64",
    "dense matmul NN-256-512-512",
]
STEPS = ["step, labels", "step, schedule", "step, one-hot", "step, regression"]
RUNS = 5  # a baseline is their median; a loss must show in each

# All that a counted process sees: addresses, and look-ups by address, depend on it.
COUNTED = {
    "LAMINA_TARGET": "avx2",  # valgrind knows nothing beyond
    "LAMINA_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


class Results(NamedTuple):
    facts: dict[str, str]  # equal where values can be compared
    values: dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts-only", action="store_true", help="time nothing")
    parser.add_argument("--update", action="store_true", help="rewrite the baseline")
    options = parser.parse_args()
    stored = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    baseline = {kind: Results(**results) for kind, results in stored.items()}

    new: dict[str, Results] = {}
    if valgrind := shutil.which("valgrind"):
        new |= count(valgrind)
    else:
        print("valgrind is not installed: instructions were not counted")
        if options.update:
            return 2
    if not options.counts_only:
        again = None if options.update else baseline.get("ratios")
        new["ratios"] = best(again) if again else typical()

    slower = [
        report(kind, baseline.get(kind, Results({}, {})), new[kind]) for kind in new
    ]
    if options.update:
        merged = {kind: r._asdict() for kind, r in (baseline | new).items()}
        BASELINE.write_text(json.dumps(merged, indent=2, sort_keys=True) + "\n")
        return 0
    return int(any(slower))


def count(valgrind: str) -> dict[str, Results]:
    """Instructions in Lamina itself and in what it may call of libm, by callgrind; for
    steps in all."""
    with TemporaryDirectory() as folder:
        callgrind = [
            *(valgrind, "-q", "--tool=callgrind", "--dump-before=getppid"),
            *("--compress-strings=no", "--compress-pos=no"),
            f"--callgrind-out-file={folder}/profile",
        ]
        output = run([*callgrind, sys.executable, "bench/counted.py"], COUNTED)
        counted = json.loads(output)
        values = {
            name: instructions(
                Path(folder, f"profile.{2 * number}"), everything=name in STEPS
            )
            for number, name in enumerate(counted["names"], 1)
        }
    steps = {name: values.pop(name) for name in STEPS}
    multiples = {name: round(steps[name] / steps[STEPS[0]], 3) for name in STEPS}
    return {
        "counts": Results({"compiler": counted["compiler"]}, values),
        "steps": Results({}, multiples),
    }


def instructions(profile: Path, everything: bool) -> float:
    """Else not those of Python and NumPy, nor of libc, whose malloc varies.

    Lines of a profile are "ob=" and a binary, then "line instructions" of its own code;
    the one after "calls=" is of the function called, which has lines of its own.
    """
    total, counts = 0, everything
    lines = iter(profile.read_text().splitlines())
    for line in lines:
        if line.startswith("ob="):
            own = Path(line[3:]).name.startswith(("_core.", "libm.", "libm-"))
            counts = own or everything
        elif line.startswith("calls="):
            next(lines)
        elif counts and line[:1].isdigit():
            total += int(line.split()[1])
    return total


def typical() -> Results:
    runs = [time(CASES) for _ in range(RUNS)]
    values = {case: median(run.values[case] for run in runs) for case in CASES}
    return Results(runs[0].facts, values)


def best(baseline: Results) -> Results:
    """Of one run, and of more for what is worse than the baseline."""
    results = time(CASES)
    for _ in range(RUNS - 1):
        found = costs("ratios", baseline, results)
        if cases := [case for case in found if found[case] > TOLERANCE]:
            for case, ratio in time(cases).values.items():
                results.values[case] = max(ratio, results.values[case])
    return results


def time(cases: Sequence[str]) -> Results:
    ids = {
        (case, library): f"bench/bench_{file}.py::test_{test}[{library}-{rest}]"
        for case in cases
        for file, test, rest in [case.split()]
        for library in ("lamina", "numpy")
    }
    with TemporaryDirectory() as folder:
        file = Path(folder, "bench.json")
        options = ["-q", "--benchmark-only", f"--benchmark-json={file}"]
        run([sys.executable, "-m", "pytest", *options, *ids.values()])
        recorded = json.loads(file.read_text())
    cpu, libraries = recorded["machine_info"]["cpu"], recorded["libraries"]
    facts = {
        "cpu": f"{cpu['brand_raw']}, family {cpu['family']}, model {cpu['model']}",
        "numpy": libraries["numpy"]["version"],
        "target": libraries["lamina"]["target"],
    }
    rows = {row["fullname"]: row["extra_info"] for row in recorded["benchmarks"]}
    values = {case: rows[ids[case, "numpy"]]["ratio_to_lamina"] for case in cases}
    return Results(facts, {case: round(ratio, 3) for case, ratio in values.items()})


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What it prints; if it fails, that is the end."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}exit code {done.returncode} of {command}")
    return done.stdout


def costs(kind: str, baseline: Results, results: Results) -> dict[str, float]:
    """How many times as costly each is, of what can be compared."""
    if results.facts != baseline.facts:
        return {}
    old, new = baseline.values, results.values
    names = [name for name in new if name in old]
    if kind == "ratios":
        return {name: old[name] / new[name] for name in names}
    return {name: new[name] / old[name] for name in names}


def report(kind: str, baseline: Results, results: Results) -> bool:
    """Print a table; is anything in it worse?"""
    title = {
        "counts": "instructions of a call",
        "steps": "instructions / by labels",
        "ratios": "time of numpy / of lamina",
    }
    print(f"\n{title[kind]:36}{'baseline':>10}{'now':>10}{'cost':>10}")
    found = costs(kind, baseline, results)
    for name, now in results.values.items():
        before, cost = baseline.values.get(name, ""), found.get(name)
        change = "" if cost is None else f"{cost - 1:+.1%}"
        mark = "  SLOWER" if cost and cost > TOLERANCE else ""
        print(f"{name:36}{before:>10}{now:>10}{change:>10}{mark}".rstrip())
    if results.facts != baseline.facts:
        print(f"cannot be compared: {results.facts}, the baseline {baseline.facts}")
        return False
    slower = sum(cost > TOLERANCE for cost in found.values())
    print(f"{slower} of {len(found)} cost more than 10 % more")
    return slower > 0


if __name__ == "__main__":
    sys.exit(main())
