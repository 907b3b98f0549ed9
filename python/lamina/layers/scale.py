"""The layer that multiplies every feature by a factor of its own."""

from __future__ import annotations

import numpy as np

from lamina._checks import Array
from lamina.layers.base import Core
from lamina.layers.learning import Learning

__all__ = ["Scale"]


class Scale(Learning):
    """Multiplies every feature by a factor that is learnt: ``y = x * factor``.

    Before the first `Dense` of a net it learns which columns of a table count (the
    scaling layer of RealMLP: Holzmueller, Grinsztajn & Steinwart 2024).

    Parameters
    ----------
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0.
    trainable : bool
        False: a net's training leaves the factors as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "factor" (features,), 1 at first.

    Raises
    ------
    ValueError
        A negative rate or decay.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.Scale()
    >>> layer.build(2)
    2
    >>> layer.parameters["factor"][...] = [10, 0]
    >>> layer.forward([[1.0, 2.0]])
    array([[10.,  0.]], dtype=float32)
    """

    def __repr__(self) -> str:
        return "Scale()"

    def core(self) -> Core:
        return "scale", {}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"factor": (features,)}

    def affine(self) -> tuple[Array, float]:
        return self.parameters["factor"].astype(np.float64), 0.0

    def initial(self) -> dict[str, Array]:
        return {"factor": np.ones(self.features)}
