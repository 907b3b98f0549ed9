"""What prose cannot hold: the rules of the code base, read from its own files."""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lamina as lm
from lamina import _core, losses, optimizers, reference

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"


def test_every_activation_has_its_reference() -> None:
    """A formula without an independent one to compare with proves nothing."""
    with_rows = [*reference.ACTIVATIONS, "softmax", "log_softmax"]
    assert with_rows == _core.__all__
    for name in with_rows[-2:]:
        assert callable(getattr(reference, name))
        assert callable(getattr(reference, f"{name}_backward"))
    for name, entry in reference.ACTIVATIONS.items():
        parameters = getattr(_core, name).parameters
        expected = {entry.parameter: entry.default} if entry.parameter else {}
        assert parameters == expected, name


def test_every_loss_and_optimizer_has_its_reference() -> None:
    for name in losses.known().split(", ") + optimizers.known():
        assert callable(getattr(reference, name)), name


def test_promises_are_at_most_four_ulp() -> None:
    for name in reference.ACTIVATIONS:
        assert max(getattr(_core, name).promises["max_ulp"]) <= 4, name


def test_an_activation_is_named_in_three_source_files() -> None:
    """Its formula, its reference, its ONNX nodes; the rest is printed from the list."""
    name = re.compile(r"\btanh_shrink\b|\bTanhShrink\b")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split() or [str(p.relative_to(ROOT)) for p in ROOT.rglob("*.[chp]*")]
    generated = {"docs/activations.md", *(f"python/lamina/{f}" for f in GENERATED)}
    naming = {
        path
        for path in tracked
        if Path(path).suffix in {".hpp", ".cpp", ".py", ".pyi", ".pyx", ".pxd"}
        and not path.startswith(("tests/", "bench/", "tools/"))
        and name.search((ROOT / path).read_text())
    }
    assert {"csrc/activations.hpp", "python/lamina/reference.py"} <= naming
    # math.hpp holds what a formula needs of its own.
    assert naming - generated <= {
        "csrc/activations.hpp",
        "csrc/simd/math.hpp",
        "python/lamina/exchange/to_onnx.py",
        "python/lamina/reference.py",
    }


GENERATED = ("_core.pyi", "kernels.pxd", "kernels.pyx")

# From left to right; a folder includes only itself and what stands to its right.
LAYERS = ["bindings", "network", "ops", "kernels", "simd"]
OPEN = {"activations.hpp", "activation_info.hpp", "targets.inc"}
# The contracts that ops and kernels share.
STANDARD_BELOW_OPS = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}


@pytest.mark.parametrize(
    "path", sorted(CSRC.rglob("*.[ch]pp")), ids=lambda path: path.name
)
def test_includes_point_one_way(path: Path) -> None:
    layer = path.relative_to(CSRC).parts[0]
    below = LAYERS[LAYERS.index(layer) :] if layer in LAYERS else []
    text = path.read_text()
    for included in re.findall(r'#include "([^"]+)"', text):
        assert included in OPEN or included.split("/")[0] in below, included
    if layer in ("kernels", "simd") or path.parent == CSRC:
        # No standard-library template may be compiled for one instruction set and then
        # linked for all.
        assert set(re.findall(r"#include <([^>]+)>", text)) <= STANDARD_BELOW_OPS


# From the ground up; a module imports only from floors below its own and from what
# stands to its left. A folder is one room: `layers` stands for `layers.dense`.
FLOORS = [
    ["_core", "_checks", "config", "kernels", "reference"],
    ["activations", "functional", "initializers", "schedules", "history"],
    ["losses", "optimizers", "data", "metrics"],
    ["layers"],
    ["interpreter", "assembly", "network"],
    ["alarms", "callbacks", "training", "exchange"],
    ["diagnosis"],
    ["model"],
    ["noise", "_threadpool", "plot", "distributed", "sklearn", "tabular"],
    ["experiments"],
    ["optuna"],
    ["__init__", "__main__"],
]
PYTHON = ROOT / "python" / "lamina"
# Of the layers, which others may build on:
FIRST = ["base", "learning", "dense", "standardize"]
OTHERS = {path.stem for path in (PYTHON / "layers").glob("*.py")}
# Within a folder from left to right.
ROOMS = {
    "layers": [*FIRST, *sorted(OTHERS - {*FIRST, "__init__"}), "__init__"],
    "callbacks": ["base", "monitors", "files", "progress", "watch", "__init__"],
    "experiments": [
        "settings",
        "experiment",
        "table",
        "journal",
        "workers",
        "compare",
        "search",
        "columns",
        "presets",
        "__init__",
    ],
    "exchange": ["descriptions", "files", "arrays", "to_onnx", "from_onnx", "__init__"],
    "sklearn": ["nets", "solvers", "base", "estimators", "__init__"],
    "tabular": [
        "columns",
        "scores",
        "recipe",
        "files",
        "graphs",
        "base",
        "classifier",
        "regressor",
        "estimators",
        "command",
        "__init__",
    ],
    "diagnosis": [
        "measure",
        "remedies",
        "trials",
        "facts",
        "causes",
        "symptoms",
        "outcomes",
        "rules",
        "report",
        "__init__",
    ],
}


def imported(source: str) -> set[str]:
    """The modules of Lamina that a module imports, wherever in it: ``layers.dense``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{each.name}" for each in node.names}
    names = {name.removeprefix("lamina.") for name in found if name[:7] == "lamina."}
    modules = {
        ".".join(path.relative_to(PYTHON).with_suffix("").parts)
        for path in PYTHON.rglob("*.py")
    } | {"_core", "kernels"}
    return {
        next(
            (m for m in (name, name.rpartition(".")[0]) if m in modules),
            name.partition(".")[0] if name.partition(".")[0] in ROOMS else "__init__",
        )
        for name in names
    } | ({"__init__"} if "lamina" in found else set())


def below(module: str) -> set[str]:
    """What it may import."""
    room, _, part = module.partition(".")
    floor = next(i for i, rooms in enumerate(FLOORS) if room in rooms)
    rooms = [name for each in FLOORS[:floor] for name in each]
    rooms += FLOORS[floor][: FLOORS[floor].index(room)]
    inside = ROOMS.get(room, [])
    inside = inside[: inside.index(part or "__init__")] if inside else []
    whole = {f"{name}.{part}" for name in rooms for part in ROOMS.get(name, [])}
    return {*rooms, *whole, *(f"{room}.{name}" for name in inside)}


@pytest.mark.parametrize(
    "module",
    sorted(
        ".".join(path.relative_to(PYTHON).with_suffix("").parts)
        for path in PYTHON.rglob("*.py")
    ),
)
def test_imports_point_down(module: str) -> None:
    """Those under TYPE_CHECKING and within functions, too."""
    path = PYTHON.joinpath(*module.split(".")).with_suffix(".py")
    upwards = imported(path.read_text()) - below(module.removesuffix(".__init__"))
    assert not upwards, f"{module} imports {', '.join(sorted(upwards))}"


def test_an_arrow_that_is_turned_is_found() -> None:
    turned = "if TYPE_CHECKING:\n    from lamina.model import Sequential\n"
    assert imported(turned) == {"model"}
    assert not imported(turned) & below("network")
    assert imported("def f():\n    from lamina import losses, model\n") == {
        "losses",
        "model",
    }
    assert imported("from lamina.layers import Dense") == {"layers"}
    assert imported("from lamina.layers.dense import Dense") == {"layers.dense"}
    assert "layers.dropout" not in below("layers.dense") >= {"layers.base"}
    assert imported("import lamina as lm") == {"__init__"}


def test_generated_text_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_flag_that_changes_the_floating_point_state() -> None:
    for path in [ROOT / "CMakeLists.txt", ROOT / "pyproject.toml", ROOT / "Makefile"]:
        code = re.sub(r"#.*", "", path.read_text())
        assert not re.search(r"-ffast-math|-Ofast|-march=native|-funsafe", code)


# Where the compiler knows bf16, its products are compiled beside the targets.
BF16 = "avx512_bf16"
COMPILED = [
    *((target, source) for target in _core.targets() for source in ("target", "gemm")),
    *([(BF16, "bfloat16")] if lm.show_config()["bf16"] else []),
]
STRONG = {"target": "12kernel_tableE", "bfloat16": "16bfloat16_kernelsE"}


def compile_commands() -> dict[tuple[str, str], tuple[list[str], Path]]:
    """For each target and source the command that compiled it, and where it ran."""
    commands = {}
    for path in (ROOT / "build").glob("*/compile_commands.json"):
        for entry in json.loads(path.read_text()):
            found = re.search(r"-DLAMINA_TARGET=(\w+)", entry["command"])
            kernels = found and (found[1], Path(entry["file"]).stem)
            if kernels in COMPILED:
                words, directory = shlex.split(entry["command"]), entry["directory"]
                commands[kernels] = words, Path(directory)
    assert set(COMPILED) <= set(commands), "build in the source tree first"
    return commands


@pytest.fixture(scope="module")
def objects(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str, str], Path]:
    """The kernels of each target as built, at -O2, and compiled at -O0."""
    found, running = {}, []
    for (name, source), (command, directory) in compile_commands().items():
        assert "-O2" in command
        at = command.index("-o") + 1
        found[name, source, "-O2"] = directory / command[at]
        plain = tmp_path_factory.mktemp(name) / f"{source}.o"
        found[name, source, "-O0"] = plain
        words = ["-O0" if word == "-O2" else word for word in command]
        words[at] = str(plain)
        running.append(subprocess.Popen(words, cwd=directory))
    assert [process.wait() for process in running] == [0] * len(running)
    return found


@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
@pytest.mark.parametrize(("name", "source"), COMPILED)
def test_no_foreign_weak_symbols(
    name: str,
    source: str,
    optimisation: str,
    objects: dict[tuple[str, str, str], Path],
) -> None:
    """The linker keeps one copy of a weak function, which may be another target's.

    At -O2 inlining can hide what -O0 shows.
    """
    listing = subprocess.run(
        ["nm", str(objects[name, source, optimisation])],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = re.findall(r"^\s*\w* ([A-Za-z]) (.*)$", listing, re.MULTILINE)
    own = f"{len(name)}{name}"  # the target's namespace as compilers mangle it
    functions = [symbol for kind, symbol in symbols if kind == "W"]
    assert [symbol for symbol in functions if own not in symbol] == []
    assert functions or name == BF16, "nothing was read"
    # Weak data: what an activation says of itself, the same bytes on every target.
    data = [symbol for kind, symbol in symbols if kind in "Vu" and own not in symbol]
    assert [s for s in data if not re.fullmatch(r"_ZN6lamina\d+\w+4infoE", s)] == []
    strong = [symbol for kind, symbol in symbols if kind in "DBRT"]
    tables = [f"_ZN6lamina{own}{STRONG[source]}"] if source in STRONG else []
    assert strong == tables
    # What it needs of others: its own products, and the C library's memory functions.
    needed = {symbol for kind, symbol in symbols if kind == "U"}
    products = {symbol for symbol in needed if f"{own}4gemm" in symbol}
    products |= {symbol for symbol in needed if f"{own}12gemm_scratch" in symbol}
    assert len(products) == (4 if source == "target" else 0)
    needed -= products
    assert needed <= {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}, needed
