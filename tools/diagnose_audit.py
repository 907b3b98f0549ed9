"""How often `Sequential.diagnose` is right: sick nets, healthy ones by the thousand.

python tools/diagnose_audit.py [seeds of sick nets] [seeds of healthy families]
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from sick_nets import (
    HEALTHY,
    HELD_OUT_HEALTHY,
    HELD_OUT_SICK,
    SICK,
    Make,
    Patient,
    Sick,
)

_UNTOLD = "validation_split", "validation_data", "shuffle"


def before(patient: Patient) -> list[str]:
    told = {k: v for k, v in patient.fit.items() if k not in _UNTOLD}
    report = patient.net.diagnose(patient.x, patient.y, **told)
    return [verdict.name for verdict in report.verdicts]


def after(patient: Patient) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patient.net.fit(patient.x, patient.y, verbose=0, **patient.fit)
    return [v.name for v in patient.net.diagnose(patient.x, patient.y).verdicts]


def sick(table: Mapping[str, Sick], seeds: int) -> None:
    right, first, early, runs = 0, 0, 0, 0
    for name, (make, accepted) in table.items():
        missed = []
        for seed in range(seeds):
            patient = make(seed)
            early_names = before(patient)
            names = after(patient)
            runs += 1
            early += bool(accepted & set(early_names))
            right += bool(accepted & set(names))
            first += names[:1] != [] and names[0] in accepted
            if not names or names[0] not in accepted:
                missed.append((early_names, names))
        if missed:
            print(f"  {name}: {len(missed)} of {seeds}, e.g. {missed[0]}")
    print(
        f"sick: {runs} runs, right {right / runs:.1%}, first {first / runs:.1%}, "
        f"before training {early / runs:.1%}"
    )


def healthy(table: Mapping[str, Make], seeds: int) -> None:
    alarms: Counter[str] = Counter()
    for name, make in table.items():
        here: Counter[str] = Counter()
        for seed in range(seeds):
            patient = make(1000 + seed)
            here[f"before: {before(patient)}"] += 1
            here[f"after: {after(patient)}"] += 1
        wrong = {k: n for k, n in here.items() if not k.endswith("[]")}
        if wrong:
            print(f"  {name}: {wrong}")
        for key, count in wrong.items():
            alarms[key.partition(":")[0]] += count
    total = seeds * len(table)
    print(f"healthy: {total} nets, alarms {dict(alarms)}")


if __name__ == "__main__":
    many = [int(word) for word in sys.argv[1:]] + [3, 40][len(sys.argv[1:]) :]
    started = time.perf_counter()
    for title, ill, well in [
        ("tuned on", SICK, HEALTHY),
        ("held out", HELD_OUT_SICK, HELD_OUT_HEALTHY),
    ]:
        print(title)
        if ill:
            sick(ill, many[0])
        if well:
            healthy(well, many[1])
    print(f"{time.perf_counter() - started:.0f} s")
