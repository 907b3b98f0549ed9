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
    return sorted(globals().keys() | set(__all__))


def __getattr__(name: str) -> Any:
    if name in ("CSVLogger", "ModelCheckpoint"):  # which need what reads and writes
        return getattr(importlib.import_module("lamina.callbacks.files"), name)
    raise AttributeError(f"module 'lamina.callbacks' has no attribute {name!r}")
