"""Where pickles of version 0.1.0 look for layers that have moved."""

from lamina.layers import Dropout, GaussianNoise

__all__ = ["Dropout", "GaussianNoise"]
