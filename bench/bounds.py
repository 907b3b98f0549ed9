"""The least cycles that the loops of the activations need, from their instructions.

Counts what the loop of each float32 activation does for one register of 16 elements, in
the object file of the AVX-512 target, and adds up what the processor can start in a
cycle, as measured on Zen 4 and Zen 5 with pairs of independent instructions:

- multiplications, multiply-adds or comparisons on two pipes, of 256 bits on Zen 4 and
  of 512 on Zen 5;
- additions, minima, shifts or conversions on two others;
- bitwise and integer operations on any of them;
- a division or a square root takes their unit, and a division one or two turns of the
  first pipes besides; `vscalef` takes one turn of the first and two of the second;
- the second-level cache moves a line that is loaded as one that is stored and has to be
  read before.
"""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MULTIPLY = re.compile(r"vf?n?m(ul|add|sub)|vfnm|vp?cmp|vrcp|vscalef")
ADD = re.compile(r"v(add|sub|min|max)p|vps[lr][la]|vcvt|vrnd|vscalef")
EITHER = re.compile(r"vp?(and|or|xor|tern|add[bwdq]|sub[bwdq]|m(ax|in)[su]|blend)")
LANES = 16


class Processor(NamedTuple):
    """What it does with registers of 512 bits."""

    each: int  # multiply-adds a cycle, and so many additions
    division: float  # cycles of its unit
    beside: float  # turns of the first pipes that a division takes
    root: float
    line: float  # cycles in which the second-level cache moves one


PROCESSORS = {  # by vendor and family, of servers and desktops
    ("AuthenticAMD", 25): Processor(1, 5.9, 1.4, 9.5, 2),
    ("AuthenticAMD", 26): Processor(2, 2.5, 1.9, 4.5, 1.5),
}


# An operand in memory, but for constants and what was put aside on the stack.
ARRAY = re.compile(r"[-0-9a-fx]*\(%(?!rip|rsp|rbp)[^)]*\)")


class Bound(NamedTuple):
    cycles: float  # an element
    binds: str
    operations: int  # on a register


def stored(loop: list[str]) -> int:
    """Registers of results."""
    return sum(bool(re.search(r"%zmm\d+,[^,]*\(%(?!rsp|rbp)", line)) for line in loop)


def bound(loop: list[str], processor: Processor) -> Bound:
    """Of the instructions of one turn."""
    names = [line.split()[0] for line in loop]
    stores = stored(loop)
    arrays = {found[0] for line in loop if (found := ARRAY.search(line))}
    divisions = sum(name.startswith("vdiv") for name in names)
    roots = sum(name.startswith("vsqrt") for name in names)
    scaled = sum(name.startswith("vscalef") for name in names)
    others = sum(bool(MULTIPLY.match(name)) for name in names)
    multiply = others + processor.beside * divisions
    add = sum(bool(ADD.match(name)) for name in names) + scaled
    either = sum(bool(EITHER.match(name)) for name in names)
    cycles = {
        "multiply-adds": multiply / processor.each,
        "additions": add / processor.each,
        "operations": (multiply + add + either) / 2 / processor.each,
        "division and root": processor.division * divisions + processor.root * roots,
        "bytes": processor.line * len(arrays),
    }
    binds = max(cycles, key=lambda name: cycles[name])
    vectors = max(stores, 1)
    operations = round((others + divisions + add + either + roots) / vectors)
    return Bound(cycles[binds] / vectors / LANES, binds, operations)


def loops(lines: list[tuple[int, str]]) -> list[list[str]]:
    """Those that store the most registers a turn: one for each case of a parameter.

    Only innermost ones: a jump back to the entry makes a loop of the whole function.
    """
    spans = []
    for at, (end, text) in enumerate(lines):
        jump = re.match(r"j\w+ +([0-9a-f]+)", text)
        if jump and (start := int(jump[1], 16)) < end:
            body = [t for address, t in lines[: at + 1] if address >= start]
            if stored(body):
                spans.append((start, end, body))
    bodies = [
        body
        for start, end, body in spans
        if not any(
            start <= first and last <= end and (first, last) != (start, end)
            for first, last, _ in spans
        )
    ]
    most = max(map(stored, bodies), default=0)
    return [body for body in bodies if stored(body) == most]


def bounds(processor: Processor) -> dict[str, list[Bound]]:
    """By operation as the benchmarks name it; none where nothing was compiled."""
    objects = sorted(ROOT.glob("build/*/CMakeFiles/kernels_avx512.dir/**/*.o"))
    if not objects:
        return {}
    text = subprocess.run(
        ["objdump", "-dC", "--no-show-raw-insn", objects[-1]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = {}
    for block in text.split("\n\n"):
        title = re.match(
            r"[0-9a-f]+ <void lamina::avx512::(forward|backward)"
            r"<lamina::(\w+), float>\(",
            block,
        )
        if title is None:
            continue
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", title[2]).lower()
        line = r"^ *([0-9a-f]+):\t((?!.*nop|lea).*?) *$"
        rows = re.findall(line, block, re.MULTILINE)
        lines = [(int(address, 16), text) for address, text in rows]
        operation = name + " backward" * (title[1] == "backward")
        each = [bound(loop, processor) for loop in loops(lines)]
        found[operation] = sorted(each, key=lambda b: b.cycles)
    return found


def bound_of(cases: list[Bound], cycles: float) -> Bound:
    """Of the loop that ran, when an element took so many: the longest that can have."""
    return max([b for b in cases if b.cycles < 1.05 * cycles] or cases[:1])
