"""The layer that adds noise while training."""

from __future__ import annotations

from typing import Any, ClassVar

from lamina import _checks
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings

__all__ = ["GaussianNoise"]


class GaussianNoise(Layer):
    """Adds normal noise to every value while training; prediction changes nothing.

    ``y = x + stddev * normal``, the gradient passing as it is (Sietsma & Dow 1991). The
    noise depends on the seed, the layer's place and the number of the training pass
    alone: not on threads, instruction set or dtype. It goes from -6.23 to 6.23 standard
    deviations.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, in units of the input.

    Attributes
    ----------
    step, first_row : int
        As in `Dropout`.

    Raises
    ------
    ValueError
        A negative or infinite stddev.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> layer = lm.GaussianNoise(0.1)
    >>> layer.build(1000, seed=0)
    1000
    >>> x = np.zeros((100, 1000), np.float32)
    >>> round(float(layer.forward(x, training=True).std()), 2), layer.forward(x) is x
    (0.1, True)
    """

    _settings: ClassVar[Settings] = {"stddev": _checks.nonnegative}

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev
        self.step = self.first_row = 0

    def __repr__(self) -> str:
        return f"GaussianNoise({self.stddev:g})"

    def core(self) -> Core:
        return "noise", {"stddev": self.stddev}

    def config(self) -> dict[str, Any]:
        return {"stddev": self.stddev}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {}

    def affine(self) -> tuple[float, float]:
        return 1.0, 0.0

    def initial(self) -> dict[str, Array]:
        self.step = self.first_row = 0
        return {}
