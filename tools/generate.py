"""Prints what must be text from the core's own list of activations.

``python tools/generate.py`` rewrites the table of docs/activations.md, the names in
``_core.pyi`` and ``kernels.pxd``/``kernels.pyx``; ``--check`` only says what is stale
(exit status 1).
"""

from __future__ import annotations

import sys
from pathlib import Path

from lamina import _core

ROOT = Path(__file__).resolve().parent.parent
ACTIVATIONS = [_core.get_activation(name) for name in _core.__all__]
ROW = {"softmax": 0, "log_softmax": 1}  # those that act on rows, and their index
BAR = "\\|"  # a bar inside a cell of a Markdown table
C_TYPES = {"f32": "float", "f64": "double"}


def activations_table() -> str:
    lines = [
        "| function | formula | parameter | backward reads | ULP, float32 / float64 |",
        "|---|---|---|---|---|",
    ]
    for act in ACTIVATIONS:
        parameter = ", ".join(f"`{k}={v:g}`" for k, v in act.parameters.items())
        single, double = act.promises["max_ulp"]
        promise = "by row" if act.name in ROW else f"{single:g} / {double:g}"
        lines.append(
            f"| `{act.name}` | `{act.formula.replace('|', BAR)}` | {parameter} "
            f"| {act.saves} | {promise} |"
        )
    return "\n".join(lines)


def stub_names() -> str:
    names = "".join(f'    "{act.name}",\n' for act in ACTIVATIONS)
    types = "\n".join(f"{act.name}: ActivationFunction" for act in ACTIVATIONS)
    return f"{types}\n__all__ = [\n{names}]"


def cython_functions() -> list[tuple[str, str]]:
    """Signature and body of every function of lamina.kernels."""
    functions = []
    for index, act in enumerate(ACTIVATIONS):
        for suffix, real in C_TYPES.items():
            if act.name in ROW:
                index = ROW[act.name]
                size, call, kind = "size_t rows, size_t cols", "rows, cols", "softmax"
            else:
                parameter = next(iter(act.parameters), None)
                size = "size_t n" + (f", {real} {parameter}" if parameter else "")
                call, kind = f"n, {parameter or 0}", "forward"
            back = "softmax_backward" if act.name in ROW else "backward"
            saved = "y" if act.name in ROW else "saved"
            functions += [
                (
                    f"{act.name}_{suffix}(const {real} *x, {real} *y, {size})",
                    f"api.{suffix}.{kind}({index}, x, y, {call})",
                ),
                (
                    f"{act.name}_backward_{suffix}(const {real} *dy, "
                    f"const {real} *{saved}, {real} *dx, {size})",
                    f"api.{suffix}.{back}({index}, dy, {saved}, dx, {call})",
                ),
            ]
    return functions


def pxd() -> str:
    names = [act.name for act in ACTIVATIONS if act.name not in ROW]
    constants = "".join(f"    {name.upper()} = {i}\n" for i, name in enumerate(names))
    functions = "\n".join(
        f"cdef void {signature} noexcept nogil" for signature, _ in cython_functions()
    )
    return f"cdef enum Activation:\n{constants}\n{functions}"


def pyx() -> str:
    return "\n\n".join(
        f"cdef void {signature} noexcept nogil:\n    {body}"
        for signature, body in cython_functions()
    )


# Each file has one generated part, between two lines that end in these words.
BEGIN, END = "generated: begin", "generated: end"
PARTS = {
    "docs/activations.md": activations_table,
    "python/lamina/_core.pyi": stub_names,
    "python/lamina/kernels.pxd": pxd,
    "python/lamina/kernels.pyx": pyx,
}


def rendered(path: Path, part: str) -> str:
    lines = path.read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if BEGIN in line)
    end = next(i for i, line in enumerate(lines) if END in line)
    return "\n".join([*lines[: begin + 1], part, *lines[end:]]) + "\n"


def stale() -> dict[Path, str]:
    """Files whose generated part differs from the list, with their new text."""
    found = {}
    for name, make in PARTS.items():
        path = ROOT / name
        text = rendered(path, make())
        if text != path.read_text():
            found[path] = text
    return found


if __name__ == "__main__":
    files = stale()
    for path, text in files.items():
        if "--check" not in sys.argv:
            path.write_text(text)
        print("stale" if "--check" in sys.argv else "written", path.relative_to(ROOT))
    sys.exit(bool(files) and "--check" in sys.argv)
