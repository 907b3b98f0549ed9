"""Dense neural-network layers for NumPy at the speed of the machine.

Activations are called like NumPy ufuncs (``lm.gelu(x, out=y)``); `dense`, `dropout` and
their backward work on plain arrays; `Sequential` trains nets of `Dense`, `Activation`,
`Dropout`, `GaussianNoise` and `Standardize` layers.
"""

import contextlib

from lamina import (
    _core,
    activations,
    callbacks,
    initializers,
    losses,
    optimizers,
    schedules,
)
from lamina._core import *
from lamina._core import PackedKernel, __version__
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
from lamina.layers import (
    Activation,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
    Standardize,
)
from lamina.model import Sequential, load
from lamina.optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop

with contextlib.suppress(ImportError):  # threadpoolctl is not installed
    from lamina import _threadpool as _threadpool

__all__ = [
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Dense",
    "Dropout",
    "GaussianNoise",
    "History",
    "Layer",
    "Lion",
    "PackedKernel",
    "RMSprop",
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
    "load",
    "losses",
    "matmul",
    "optimizers",
    "pack",
    "schedules",
    "set_num_threads",
    "set_target",
    "show_config",
    "threads",
]
__all__ += _core.__all__
