"""The layer that centres and scales its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lamina import data
from lamina._checks import Array
from lamina.layers.base import Layer

__all__ = ["Standardize"]


class Standardize(Layer):
    """Centres every feature and scales it to unit variance; the first layer of a net.

    Mean and scale are learnt from the training rows in the first `Sequential.fit` and
    stay as they are in later ones; until then the layer changes nothing.

    Attributes
    ----------
    mean, scale : (features,) arrays
        Mean and standard deviation (1 for a constant feature), computed in float64.
    learnt : bool

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.Standardize()
    >>> layer.learn([[1.0, 5.0], [3.0, 5.0]])
    >>> layer.forward([[1.0, 5.0], [4.0, 6.0]])
    array([[-1.,  0.],
           [ 2.,  1.]])
    """

    kept = ("mean", "scale", "learnt")

    def __init__(self) -> None:
        super().__init__()
        self.learnt = False

    def __repr__(self) -> str:
        return "Standardize()"

    def core(self, start: int) -> tuple[Any, ...]:
        return "standardize", self.mean, self.scale

    def config(self) -> dict[str, Any]:
        return {}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"mean": (features,), "scale": (features,)}

    def initial(self) -> dict[str, Array]:
        self.mean = np.zeros(self.features, self.dtype)
        self.scale = np.ones_like(self.mean)
        self.learnt = False
        return {}

    def learn(self, x: Any) -> None:
        """Take mean and scale from the rows of `x`, (n, features), of any kind that
        `Sequential.fit` takes; a memory map is read block by block.

        Raises
        ------
        TypeError, ValueError
            `x` cannot be used, or has a spread that is not finite.
        """
        held = data.held("x", x)
        if not self.features and held.ndim == 2:
            double = held.dtype == np.float64
            self.build(held.shape[1], np.float64 if double else np.float32)
        rows = data.inputs("x", held, self.dtype, self.features, finite=False)
        self.adopt(*data.moments(rows.blocks()))

    def adopt(self, mean: Array, scale: Array) -> None:
        """Take that mean and scale, (features,), of a layer that is built."""
        self.mean[...] = mean
        # A spread that the dtype rounds to zero is constant for all that it can tell.
        scale = scale.astype(self.dtype)
        self.scale[...] = np.where(scale == 0, 1, scale)
        self.learnt = True

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        x = self.take(x)
        self.keep(x, training)
        y: Array = (x - self.mean) / self.scale
        return y

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        dy, _ = self.recall(dy)
        dx: Array = dy / self.scale
        return dx
