"""Dense neural-network layers for NumPy at the speed of the machine."""

from lamina import activations
from lamina._core import __version__
from lamina.activations import *
from lamina.config import set_target, show_config
from lamina.functional import (
    dense,
    dense_backward,
    dropout,
    dropout_backward,
    dropout_mask,
    matmul,
)
