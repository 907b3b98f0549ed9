"""Dense neural-network layers for NumPy at the speed of the machine.

Activations are called like NumPy ufuncs (``lm.gelu(x, out=y)``); `dense`, `dropout` and
their backward work on plain arrays; `Sequential` trains nets of `Dense`, `Activation`,
`Dropout` and `Standardize` layers.
"""

import contextlib

from lamina import _core, activations, callbacks, initializers, losses, optimizers
from lamina._core import *
from lamina._core import __version__
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
)
from lamina.history import History
from lamina.layers import Activation, Dense, Dropout, Layer, Standardize
from lamina.model import Sequential
from lamina.optimizers import SGD, Adam

with contextlib.suppress(ImportError):  # threadpoolctl is not installed
    from lamina import _threadpool as _threadpool

__all__ = [
    "SGD",
    "Activation",
    "Adam",
    "Dense",
    "Dropout",
    "History",
    "Layer",
    "Sequential",
    "Standardize",
    "__version__",
    "activations",
    "callbacks",
    "dense",
    "dense_backward",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "get_num_threads",
    "initializers",
    "losses",
    "matmul",
    "optimizers",
    "set_num_threads",
    "set_target",
    "show_config",
    "threads",
]
__all__ += _core.__all__
