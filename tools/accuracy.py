"""The audit of every activation, written to docs/accuracy.md by `make accuracy`.

    python tools/accuracy.py path/to/accuracy [step]

The program (tools/accuracy.cpp) takes every float32, or every step-th, on every target.
Here are added samples of float64 against mpmath, and of what NumPy's, SciPy's and
PyTorch's best forms of the benchmarks make of the same floats.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mpmath import mpf

import lamina as lm

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "bench")]

from test_activations import ulp
from test_reference import GRID, exact

Array = np.ndarray[Any, np.dtype[Any]]
Form = Callable[[Array], Array]
SAMPLE = 1021  # every so many-th float, for the other libraries
DOUBLES = 2000  # random ones besides the grid of the tests


class Audit(NamedTuple):
    largest: float
    where: float
    mean: float
    not_numbers: int
    different: int


def audit(program: str, step: str) -> dict[tuple[str, str, str], Audit]:
    """By function, question and target."""
    found = {}
    with subprocess.Popen([program, step], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        for line in run.stdout:
            name, question, target, largest, where, mean, nan, different = line.split()
            found[name, question, target] = Audit(
                float(largest),
                float.fromhex(where),
                float(mean),
                int(nan),
                int(different),
            )
            print(line, end="", flush=True)
    if run.returncode:
        raise SystemExit(f"{program} failed")
    return found


def doubles(name: str) -> tuple[float, float]:
    """Largest errors in float64: of the forward in ULP, of the derivative in 2^-53."""
    rng = np.random.default_rng(0)
    sizes = np.concatenate(
        [10 ** rng.uniform(-20, 2.9, DOUBLES // 2), rng.uniform(0, 40, DOUBLES // 2)]
    )
    x = np.concatenate([GRID, sizes * rng.choice([-1, 1], DOUBLES)])
    act, worst = lm.activations.get(name), [0.0, 0.0]
    for point, y, slope in zip(x, act(x), act.derivative(x), strict=True):
        truth = exact(name, False, float(point), None)
        if abs(truth) <= np.finfo(np.float64).max:
            unit = mpf(float(ulp(np.float64(float(truth)), np.float64)))
            worst[0] = max(worst[0], float(abs(mpf(float(y)) - truth) / unit))
        truth = exact(name, True, float(point), None)
        worst[1] = max(worst[1], float(abs(mpf(float(slope)) - truth) * 2**53))
    return worst[0], worst[1]


def others() -> dict[str, Callable[[str], Form | None]]:
    """Of each library that is here, the forms by name."""
    from peers import numpy as numpy_peer

    def from_peer(peer: Any) -> Callable[[str], Form | None]:
        def form(name: str) -> Form | None:
            return lambda x: np.asarray(peer.forward(name, x)())

        return form

    found = {"NumPy": from_peer(numpy_peer), "SciPy": scipy_form}
    try:
        from peers import torch as torch_peer
    except ModuleNotFoundError:
        return found
    return found | {"PyTorch": from_peer(torch_peer)}


def scipy_form(name: str) -> Form | None:
    from scipy import special

    forms: dict[str, Form] = {
        "sigmoid": special.expit,
        "log_sigmoid": special.log_expit,
        "softplus": lambda x: -special.log_expit(-x),
        "silu": lambda x: x * special.expit(x),
        "gelu": lambda x: x * special.ndtr(x),
    }
    return forms.get(name)


def error(form: Form, x: Array, truth: Array) -> float:
    """The largest of float32 results, in ULP; overflow to infinity counts as one."""
    with np.errstate(all="ignore"):
        y = form(x).astype(np.float64)
        beyond = 2.0**128
        y, truth = np.clip(y, -beyond, beyond), np.clip(truth, -beyond, beyond)
        return float(np.nanmax(abs(y - truth) / ulp(truth, np.float32)))


def document(
    found: dict[tuple[str, str, str], Audit], step: str, names: list[str]
) -> str:
    targets = list(dict.fromkeys(key[2] for key in found))
    with_fma = [target for target in targets if target != "sse2"]
    best = with_fma[-1] if with_fma else targets[-1]
    forms = others()
    x = np.arange(509, 2**32, SAMPLE).astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    forward, slopes = [], []
    for name in names:
        act = lm.activations.get(name)
        truth = act(x.astype(np.float64))
        double, double_slope = doubles(name)
        cells = [name, f"{act.promises['max_ulp'][0]:g}"]
        cells += audited(found, name, "forward", targets, best)
        cells += [f"{double:.2f}"]
        for library in forms.values():
            form = library(name)
            cells.append("-" if form is None else f"{error(form, x, truth):.3g}")
        forward.append(cells)
        cells = [name, f"{act.promises['max_derivative_error'][0]:g}"]
        cells += audited(found, name, "derivative", targets, best)
        slopes.append([*cells, f"{double_slope:.2f}"])
    different = sum(
        found[name, question, target].different
        for name in names
        for question in ("forward", "derivative")
        for target in with_fma
    )
    wrong = sum(entry.not_numbers for entry in found.values())
    inputs = "all 2^32" if step == "1" else f"every {step}-th of the"
    return f"""\
<!-- Generated by `make accuracy`; do not edit. -->
# Accuracy

Errors over {inputs} float32 inputs, on each target, against the float64 kernels, which
are themselves compared with mpmath at {len(GRID) + DOUBLES} points, boundaries among
them. Results that are NaN where they should not be, or the other way round: {wrong}.
Results that differ between {" and ".join(with_fma)}: {different}.

## Forward

In units in the last place of the exact result (ULP), subnormal results included. The
promise holds on every target, in float32, at the initial value of a parameter. At: the
input of {best}'s largest error. float64: the largest error of the sample, in its ULP.
Other libraries (the forms that the benchmarks time; SciPy where it has one): every
{SAMPLE}st float; millions of ULP mean that the tail has no right digit.

{table(["function", "promise", *targets, "at", "mean", "float64", *forms], forward)}
## Derivative

Absolute, in units of 2^-24 for float32 and 2^-53 for float64, from the float32 input
through what the forward saves.

{table(["function", "promise", *targets, "at", "mean", "float64"], slopes)}"""


def audited(
    found: dict[tuple[str, str, str], Audit],
    name: str,
    question: str,
    targets: list[str],
    best: str,
) -> list[str]:
    largest = [f"{found[name, question, target].largest:.2f}" for target in targets]
    entry = found[name, question, best]
    return [*largest, f"{entry.where:.9g}", f"{entry.mean:.3f}"]


def table(head: list[str], body: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, rule, *body])


def main() -> None:
    program, step = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "1"
    found = audit(program, step)
    names = list(dict.fromkeys(key[0] for key in found))
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "accuracy.md").write_text(document(found, step, names))
    broken = []
    for (name, question, target), entry in found.items():
        promise = {"forward": "max_ulp", "derivative": "max_derivative_error"}[question]
        if (
            entry.largest > lm.activations.get(name).promises[promise][0]
            or entry.not_numbers
            or (entry.different and target == "avx2")
        ):
            broken.append(f"{name} {question} on {target}: {entry}")
    if broken:
        raise SystemExit("promises not kept: " + "; ".join(broken))


if __name__ == "__main__":
    main()
