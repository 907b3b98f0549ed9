"""Dense neural-network layers for NumPy at the speed of the machine.

Activations are called like NumPy ufuncs (``lm.gelu(x, out=y)``); `dense`, `dropout` and
their backward work on plain arrays; `Sequential` trains nets of `Dense`, `Activation`,
`Dropout`, `LayerNorm` and other layers.
"""

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from lamina import (
    _core,
    activations,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    schedules,
)
from lamina._core import *
from lamina._core import PackedKernel, __version__
from lamina.alarms import LaminaWarning
from lamina.config import (
    get_num_threads,
    set_num_threads,
    set_target,
    show_config,
    threads,
)
from lamina.functional import (
    dense,
    dense_backward,
    dropout,
    dropout_backward,
    dropout_mask,
    matmul,
    pack,
)
from lamina.history import History
from lamina.layers import *
from lamina.model import Sequential, from_onnx, load
from lamina.optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop

with contextlib.suppress(ImportError):  # threadpoolctl is not installed
    from lamina import _threadpool as _threadpool

if TYPE_CHECKING:
    from lamina.experiments.compare import compare
    from lamina.experiments.search import log, search

# What is done with nets is loaded when it is first asked for.
_LAZY = {"compare": "experiments", "log": "experiments", "search": "experiments"}
_ROOMS = "distributed", "experiments", "optuna", "plot"

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "History",
    "LaminaWarning",
    "Lion",
    "PackedKernel",
    "RMSprop",
    "Sequential",
    "__version__",
    "activations",
    "callbacks",
    "compare",
    "dense",
    "dense_backward",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "from_onnx",
    "get_num_threads",
    "initializers",
    "load",
    "log",
    "losses",
    "matmul",
    "metrics",
    "optimizers",
    "pack",
    "schedules",
    "search",
    "set_num_threads",
    "set_target",
    "show_config",
    "threads",
]
__all__ += layers.__all__
__all__ += _core.__all__


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"lamina.{_LAZY[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"lamina.{name}")
    raise AttributeError(f"module 'lamina' has no attribute {name!r}")
