"""What this build is and what it runs on."""

from __future__ import annotations

import platform
import sys
from types import TracebackType
from typing import Any, Self

import numpy as np

from lamina import _checks, _core


def set_target(name: str) -> None:
    """Choose the instruction set whose kernels run from now on, in the whole process.

    The environment variable LAMINA_TARGET chooses it at import.

    Parameters
    ----------
    name : str
        One of ``show_config()["targets_available"]``.

    Raises
    ------
    ValueError
        If this machine does not run that target.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.set_target(lm.show_config()["target"])
    """
    if not isinstance(name, str):
        raise TypeError(f"target must be a name, got {name!r}")
    _core.set_target(name)


def get_num_threads() -> int:
    """How many threads a call may use here, the calling one included.

    As many as processors that the process may run on, or fewer where a quota of its
    cgroup says so; the environment variable LAMINA_NUM_THREADS or, where it is not set,
    OMP_NUM_THREADS, `set_num_threads` and `threads` say otherwise. Results do not
    depend on it, and calls too small to gain by it use one.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def set_num_threads(count: int) -> None:
    """Choose how many threads a call may use from now on, in the whole process.

    Parameters
    ----------
    count : int
        From 1 up; 1024 at most are used.

    Raises
    ------
    ValueError
        If `count` is less than 1.

    Examples
    --------
    >>> import lamina as lm
    >>> before = lm.get_num_threads()
    >>> lm.set_num_threads(1)
    >>> lm.get_num_threads()
    1
    >>> lm.set_num_threads(before)
    """
    _core.set_num_threads(_checks.count("count", count))


class threads:  # noqa: N801, used like a function
    """Within a with block, how many threads the calls of this Python thread may use.

    Parameters
    ----------
    count : int
        From 1 up; 1024 at most are used.

    Raises
    ------
    ValueError
        If `count` is less than 1.

    Examples
    --------
    >>> import lamina as lm
    >>> with lm.threads(1):
    ...     lm.get_num_threads()
    1
    """

    def __init__(self, count: int) -> None:
        self._count = _checks.count("count", count)
        self._former: list[int] = []

    def __enter__(self) -> Self:
        self._former.append(_core.limit_threads(self._count))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _core.limit_threads(self._former.pop())


def show_config() -> dict[str, Any]:
    """Return version, compiler, targets and versions as a dict.

    Returns
    -------
    dict
        Keys ``lamina``, ``compiler``, ``targets_built``, ``targets_available``,
        ``target`` (the active one), ``bf16`` (whether it can be had), ``threads`` (as
        `get_num_threads`), ``numpy``, ``python``, ``machine``.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.show_config()["target"] in lm.show_config()["targets_available"]
    True
    """
    return {
        "lamina": _core.__version__,
        "compiler": _core.compiler,
        "targets_built": _core.targets(),
        "targets_available": _core.targets(available_only=True),
        "target": _core.get_target(),
        "bf16": _core.has_bf16(),
        "threads": get_num_threads(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
    }
