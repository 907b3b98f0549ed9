"""What this build is and what it runs on."""

from __future__ import annotations

import platform
import sys
from typing import Any

import numpy as np

from lamina import _core


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


def show_config() -> dict[str, Any]:
    """Return version, compiler, targets and versions as a dict.

    Returns
    -------
    dict
        Keys ``lamina``, ``compiler``, ``targets_built``, ``targets_available``,
        ``target`` (the active one), ``threads``, ``numpy``, ``python``, ``machine``.

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
        "threads": 1,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
    }
