"""The layers of a net: the protocol in `base`, then a file for each kind."""

from lamina.layers.activation import Activation
from lamina.layers.base import Layer
from lamina.layers.dense import Dense
from lamina.layers.dropout import Dropout
from lamina.layers.noise import GaussianNoise
from lamina.layers.scale import Scale
from lamina.layers.standardize import Standardize

__all__ = [
    "Activation",
    "Dense",
    "Dropout",
    "GaussianNoise",
    "Layer",
    "Scale",
    "Standardize",
]
