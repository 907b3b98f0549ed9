"""Many trainings at once, until all are done or Ctrl-C ends them.

In threads of this process: the core lets go of the interpreter while it computes, so
nothing is pickled and the data are there once. Or wherever joblib's backends go.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lamina.training import _interrupts

__all__ = ["run"]

Work = Callable[..., Any]
Done = Callable[[Any], None]


def run(
    work: Work,
    tasks: Sequence[Any],
    done: Done,
    *,
    count: int,
    backend: str | None,
    title: str | None,
) -> str | None:
    """Do ``work(task)`` for all tasks and tell `done` each result, as they come.

    Parameters
    ----------
    count : int
        How many at once.
    backend : str or None
        A backend of joblib; None: threads.
    title : str or None
        That of the progress bar; None: there is none.

    Returns
    -------
    str or None
        "interrupt" where Ctrl-C ended it: `done` has been told what was ready.
    """
    with _bar(title, len(tasks)) as advance:

        def told(result: Any) -> None:
            if result is not None:  # None: broken off
                done(result)
                advance()

        if backend is None:
            return _in_threads(work, tasks, told, count)
        return _in_joblib(work, tasks, told, count, backend)


def _in_threads(work: Work, tasks: Sequence[Any], done: Done, count: int) -> str | None:
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    left, taking, stop = iter(tasks), threading.Lock(), threading.Event()

    def worker() -> None:
        while not stop.is_set():
            with taking:
                task = next(left, None)
            if task is None:
                return
            try:
                results.put(work(task, stop))
            except BaseException as error:
                results.put(error)

    pool = [
        threading.Thread(target=worker, daemon=True)
        for _ in range(min(count, len(tasks)))
    ]
    with _interrupts() as interrupted:
        for thread in pool:
            thread.start()
        try:
            ready = 0
            while ready < len(tasks) and not interrupted:
                with contextlib.suppress(queue.Empty):
                    result = results.get(timeout=0.1)
                    ready += 1
                    if isinstance(result, BaseException):
                        raise result
                    done(result)
        finally:
            stop.set()
            for thread in pool:
                thread.join()
        while not results.empty():
            result = results.get()
            if not isinstance(result, BaseException):
                done(result)
    return "interrupt" if interrupted else None


def _in_joblib(
    work: Work, tasks: Sequence[Any], done: Done, count: int, backend: str
) -> str | None:
    try:
        joblib = importlib.import_module("joblib")
    except ImportError:
        raise ImportError(
            "backend needs joblib: pip install lamina[experiments]"
        ) from None
    with joblib.parallel_config(backend=backend, n_jobs=count):
        size = max(1, len(tasks))
        try:
            parallel = joblib.Parallel(return_as="generator_unordered")
        except ValueError:  # results come when all are there: so some at a time
            parallel, size = joblib.Parallel(), 4 * count
        try:
            with parallel:
                for start in range(0, len(tasks), size):
                    some = tasks[start : start + size]
                    for result in parallel(joblib.delayed(work)(each) for each in some):
                        done(result)
        except KeyboardInterrupt:
            return "interrupt"
    return None


@contextlib.contextmanager
def _bar(title: str | None, total: int) -> Iterator[Callable[[], None]]:
    """What to call after each of them; in a terminal, it shows the time left."""
    if title is None or not total or not sys.stderr.isatty():
        yield lambda: None
        return
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        tqdm = None
    if tqdm is not None:
        with tqdm(total=total, desc=title, leave=False) as bar:
            yield bar.update
        return
    began, ready = time.perf_counter(), 0

    def advance() -> None:
        nonlocal ready
        ready += 1
        left = (time.perf_counter() - began) / ready * (total - ready)
        print(
            f"\r{title}: {ready}/{total}, {left:.0f} s left ", end="", file=sys.stderr
        )

    yield advance
    print(file=sys.stderr)
