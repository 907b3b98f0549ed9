"""What is told about the progress of `Sequential.fit`, and may stop it."""

import importlib
from typing import TYPE_CHECKING, Any

from lamina.callbacks.base import Callback, LambdaCallback
from lamina.callbacks.monitors import EarlyStopping, ReduceOnPlateau, TerminateOnNaN
from lamina.callbacks.progress import ProgressBar
from lamina.callbacks.watch import Watch

if TYPE_CHECKING:
    from lamina.callbacks.files import CSVLogger, ModelCheckpoint

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceOnPlateau",
    "TerminateOnNaN",
    "Watch",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "files"})


if not TYPE_CHECKING:  # which knows all names

    def __getattr__(name: str) -> Any:
        files = importlib.import_module("lamina.callbacks.files")
        if name == "files":
            return files
        if name in files.__all__:
            return getattr(files, name)
        raise AttributeError(f"module 'lamina.callbacks' has no attribute {name!r}")
