"""Compiles at run time what bench compares with, by the compiler and flags of Lamina.

The flags are those of target.cpp for the target in use, as the build left them in
`build/*/compile_commands.json`: what generates code (-O, -f, -m and the standard), no
warnings, paths or macros, -O3 in place of -O2, at which GCC vectorises few loops.

Extension modules are kept in `build/bench`, by a hash of their source and command.
"""

import json
import re
import shlex
import subprocess
import sys
import sysconfig
from functools import cache
from hashlib import sha256
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import lamina as lm

BUILD = Path(__file__).parents[1] / "build"
KEPT = re.compile("-[Ofm]|-std=")


@cache
def command() -> tuple[str, ...]:
    """The compiler and its flags.

    Raises
    ------
    RuntimeError
        Nothing was built here for the target in use.
    """
    target = lm.show_config()["target"]
    databases = sorted(
        BUILD.glob("*/compile_commands.json"), key=lambda path: path.stat().st_mtime
    )
    for database in reversed(databases):
        for entry in json.loads(database.read_text()):
            if f"/kernels_{target}.dir/" in entry["command"]:
                compiler, *flags = shlex.split(entry["command"])
                kept = [flag for flag in flags if KEPT.match(flag)]
                return compiler, *("-O3" if flag == "-O2" else flag for flag in kept)
    raise RuntimeError(f"no build/*/compile_commands.json with the target {target}")


def extension(name: str, source: str, *flags: str) -> ModuleType:
    """The extension module `name`, of C++, or of Cython if `source` imports by cimport.

    Raises
    ------
    RuntimeError
        It cannot be compiled; says why.
    """
    line = [*command(), *flags, "-shared", f"-I{sysconfig.get_path('include')}"]
    tag = sys.implementation.cache_tag
    digest = sha256("\0".join([source, tag, *line]).encode()).hexdigest()
    path = BUILD / "bench" / f"{name}-{digest[:16]}.so"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as directory:
            files = {
                end: Path(directory, name + end) for end in (".pyx", ".cpp", ".so")
            }
            if "cimport" in source:
                files[".pyx"].write_text(source)
                run(sys.executable, "-m", "cython", "--cplus", str(files[".pyx"]))
            else:
                files[".cpp"].write_text(source)
            run(*line, "-o", str(files[".so"]), str(files[".cpp"]))
            files[".so"].rename(path)
    loader = ExtensionFileLoader(name, str(path))
    spec = spec_from_loader(name, loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def run(*line: str) -> None:
    try:
        done = subprocess.run(line, stderr=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise RuntimeError(f"cannot run {line[0]}: {error.strerror}") from None
    if done.returncode:
        text = done.stderr.strip().splitlines()
        errors = [line for line in text if "error" in line.lower()] or text[-1:]
        raise RuntimeError(f"{Path(line[0]).name} fails: {' '.join(errors[:1])}")


def facts(*extra: str) -> dict[str, str]:
    compiler, *flags = command()
    return {"compiler": Path(compiler).name, "flags": " ".join([*flags, *extra])}
