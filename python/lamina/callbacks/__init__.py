"""What is told about the progress of `Sequential.fit`, and may stop it."""

from lamina.callbacks.base import Callback, LambdaCallback
from lamina.callbacks.files import CSVLogger, ModelCheckpoint
from lamina.callbacks.monitors import EarlyStopping, ReduceOnPlateau, TerminateOnNaN
from lamina.callbacks.progress import ProgressBar
from lamina.callbacks.watch import Watch

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
