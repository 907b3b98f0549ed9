"""The board: what is missing of it is run, one process after the other, and appended
to `results.jsonl`; then it is printed, and the picture drawn.

    PYTHONPATH=bench python -m tabular [--learners A,B] [--tables A,B] [--seeds 5]
        [--again] [--report]
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from tabular.board import RESULTS, beside, draw, load, markdown
from tabular.learners import LEARNERS
from tabular.tables import NAMES

BENCH = RESULTS.parent.parent
THREADS = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
THREADS += ["NUMBA_NUM_THREADS", "LAMINA_NUM_THREADS"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learners", default=",".join(LEARNERS))
    parser.add_argument("--tables", default=",".join(NAMES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--again", action="store_true", help="also what there is")
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.report:
        run(
            options.learners.split(","),
            options.tables.split(","),
            range(options.seeds),
            options.again,
        )
    results = load()
    print(markdown(results))
    for learner in "RealMLP_TD_S", "RealMLP_TD":
        print(beside(results, learner))
    draw(results)
    return 0


def run(
    learners: Sequence[str], tables: Sequence[str], seeds: Sequence[int], again: bool
) -> None:
    there = set() if again else set(load())
    one = dict.fromkeys(THREADS, "1")
    for seed in seeds:
        for learner in learners:
            few = LEARNERS[learner][1]
            for table in tables:
                if (learner, table, seed) in there or table not in (few or tables):
                    continue
                command = [sys.executable, "-m", "tabular.job", learner, table]
                done = subprocess.run(
                    [*command, str(seed)],
                    cwd=BENCH,
                    env=os.environ | one,
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    print(learner, table, seed, done.stderr[-2000:], file=sys.stderr)
                    continue
                line = done.stdout.strip().splitlines()[-1]
                print(line, file=sys.stderr, flush=True)
                json.loads(line)
                with open(RESULTS, "a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
