"""One library in a process of its own, which takes orders from a pipe.

Environment variables hold from the start of the process. Between orders it is stopped,
so that no idle thread of one library spins while another is timed.
"""

import contextlib
import ctypes
import gc
import importlib
import importlib.metadata
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

LONG = 0.01  # seconds
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a file system in memory
LARGEST_PART = {"scikit-learn": "sklearn.neural_network", "thinc": "thinc.api"}


class UnavailableError(Exception):
    """The library is not installed, has no such function or fails; says which."""


class Worker:
    """The parent's end of the pipe."""

    def __init__(
        self, library: str, environment: Mapping[str, str], cores: Iterable[int]
    ) -> None:
        self.library, self.environment, self.cores = library, environment, cores
        self.connection, theirs = Pipe()
        with theirs:
            end = theirs.fileno()
            self.process = subprocess.Popen(
                [sys.executable, __file__, library, str(end)],
                env=environment,
                pass_fds=[end],
            )
        os.sched_setaffinity(self.process.pid, cores)

    def ask(self, order: str, *arguments: Any) -> Any:
        """What the method `order` of `Library` returns in the worker."""
        try:
            self.process.send_signal(signal.SIGCONT)
            self.connection.send((order, arguments))
            reason, value = self.connection.recv()
            self.process.send_signal(signal.SIGSTOP)
        except (EOFError, OSError):
            code = self.process.wait()
            raise UnavailableError(f"{self.library} died, exit code {code}") from None
        if reason:
            raise UnavailableError(reason)
        return value

    def cold(self, function: str, arguments: str) -> tuple[float, int, int]:
        """Of a new process, to its first result: seconds, and the most bytes it held.

        The last are the bytes that the function took on top of its arguments. Without
        one, the import of the library is all.
        """
        start = time.perf_counter()
        new = Worker(self.library, self.environment, self.cores)
        try:
            new.ask("load")
            own = new.ask("first", function, arguments) if function else 0
            seconds = time.perf_counter() - start
            return seconds, held(new.process.pid, "VmHWM"), own
        finally:
            new.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Library:
    """The child's end: the modules of `peers` and `nets` with the library's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.call: Callable[[], Any] = lambda: None
        self.pool = ThreadPoolExecutor(1)
        self.elapsed = 0.0

    def module(self, package: str = "peers") -> ModuleType:
        return importlib.import_module(f"{package}.{self.name.replace('-', '_')}")

    def load(self) -> None:
        """Import the library itself."""
        if self.name in ("cython", "limit"):
            raise UnavailableError(f"{self.name} is compiled into its caller")
        importlib.import_module(LARGEST_PART.get(self.name, self.name))

    def facts(self) -> dict[str, Any]:
        """Version, threads of each pool, and what the library says of itself."""
        module = self.module()
        pools = {
            pool["internal_api"]: " ".join(
                str(pool[key]) for key in ("num_threads", "architecture") if key in pool
            )
            for pool in threadpool_info()
        }
        about: Callable[[], dict[str, Any]] = getattr(module, "facts", dict)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(self.name)
            return {"version": version, **pools, **about()}
        return about()

    def build(self, function: str, arguments: str, threads: int) -> None:
        """Prepare a call of the function, on arrays that this process owns.

        With more threads than one, each makes such a call, on any core.
        """
        self.call = lambda: None  # frees what the last one held
        self.pool.shutdown()
        package, _, name = function.rpartition(".")
        make = getattr(self.module(package or "peers"), name, None)
        sets = [unpack(arguments) for _ in range(threads)]
        calls = [make and make(*operands) for operands in sets]
        if calls[0] is None:
            named = [text for text in sets[0] if isinstance(text, str)]
            raise UnavailableError(f"{self.name} has no {' '.join([name, *named])}")
        if threads == 1:
            self.call = calls[0]
            return

        def start() -> None:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
            getattr(self.module(), "start_thread", lambda: None)()

        self.pool = ThreadPoolExecutor(threads, initializer=start)

        def all_at_once() -> Any:
            results = list(self.pool.map(lambda call: call(), calls))
            return results[0]

        self.call = all_at_once

    def first(self, function: str, arguments: str) -> int:
        """Build and call; the bytes that both take at most besides the arguments."""
        package, _, name = function.rpartition(".")
        make, operands = getattr(self.module(package), name, None), unpack(arguments)
        if make is None:
            raise UnavailableError(f"{self.name} has no {name}")
        before = held(os.getpid(), "VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
        call = make(*operands)
        if call is None:
            raise UnavailableError(f"{self.name} has no such {name}")
        call()
        return held(os.getpid(), "VmHWM") - before

    def result(self, calls: int) -> str:
        """What the last of that many calls gives, packed."""
        for _ in range(calls - 1):
            self.call()
        value = self.call()
        if isinstance(value, tuple):
            return pack(tuple(np.asarray(part) for part in value))
        return pack(np.asarray(value))

    def calibrate(self, seconds: float) -> int:
        """How many calls last that long."""
        self.elapsed, calls = 0.0, 1
        while (elapsed := self.time(calls)) < seconds:
            calls = int(calls * min(10, max(2, 1.2 * seconds / elapsed)))
        return calls

    def time(self, calls: int) -> float:
        """Seconds that the calls take, after as many to wake core and caches.

        Rounds longer than LONG, known from the last one, have no cache to wake.
        """
        call, clock = self.call, time.perf_counter
        gc.disable()
        for _ in repeat(None, calls if self.elapsed < LONG else 0):
            call()
        start = clock()
        for _ in repeat(None, calls):
            call()
        self.elapsed = clock() - start
        gc.enable()
        return self.elapsed


def held(process: int, what: str) -> int:
    """Bytes of memory that a process holds (VmRSS) or has held at most (VmHWM)."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"{what}:\s*(\d+) kB", status)
    assert found
    return 1024 * int(found[1])


def pack(thing: Any) -> str:
    """A file that holds it: a pipe takes six times as long for large arrays."""
    with NamedTemporaryFile(delete=False) as file:
        pickle.dump(thing, file, protocol=5)
    return file.name


def unpack(path: str) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


def obey(library: Library, connection: Connection) -> None:
    while True:
        order, arguments = connection.recv()
        reply: tuple[str | None, Any]
        try:
            reply = None, getattr(library, order)(*arguments)
        except UnavailableError as error:
            reply = str(error), None
        except ModuleNotFoundError as error:
            ours = (error.name or "").startswith(("peers.", "nets."))
            absent = "has no such function" if ours else f"needs {error.name}"
            reply = f"{library.name} {absent}", None
        except Exception as error:
            reply = f"{library.name} fails: {type(error).__name__}: {error}", None
        connection.send(reply)


if __name__ == "__main__":
    # A stopped process would outlive a killed parent.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with contextlib.suppress(EOFError):
        obey(Library(sys.argv[1]), Connection(int(sys.argv[2])))
