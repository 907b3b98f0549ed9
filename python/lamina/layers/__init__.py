"""The layers of a net: the protocol in `base`, then a file for each kind."""

from lamina.layers.activation import Activation
from lamina.layers.base import Layer
from lamina.layers.batch_norm import BatchNorm
from lamina.layers.dense import Dense
from lamina.layers.dropout import Dropout
from lamina.layers.embedding import Embedding
from lamina.layers.layer_norm import LayerNorm
from lamina.layers.mixed import Mixed
from lamina.layers.noise import GaussianNoise
from lamina.layers.periodic import Periodic
from lamina.layers.piecewise_linear import PiecewiseLinear
from lamina.layers.prelu import PReLU
from lamina.layers.residual import Add, Residual
from lamina.layers.robust_scale import RobustScale
from lamina.layers.scale import Scale
from lamina.layers.standardize import Standardize

__all__ = [
    "Activation",
    "Add",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Embedding",
    "GaussianNoise",
    "Layer",
    "LayerNorm",
    "Mixed",
    "PReLU",
    "Periodic",
    "PiecewiseLinear",
    "Residual",
    "RobustScale",
    "Scale",
    "Standardize",
]
