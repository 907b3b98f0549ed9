"""The layer that multiplies every feature by a factor of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings

__all__ = ["Scale"]


class Scale(Layer):
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

    _settings: ClassVar[Settings] = {
        "rate": _checks.nonnegative,
        "decay": _checks.nonnegative,
        "trainable": _checks.flag,
    }

    def __init__(
        self, *, rate: float = 1.0, decay: float = 1.0, trainable: bool = True
    ) -> None:
        super().__init__()
        self.rate, self.decay = rate, decay
        self.trainable = trainable

    def __repr__(self) -> str:
        return "Scale()"

    def factors(self) -> dict[str, tuple[float, float]]:
        return {"factor": (self.rate, self.decay)}

    def core(self) -> Core:
        return "scale", {}

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate, "decay": self.decay, "trainable": self.trainable}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"factor": (features,)}

    def initial(self) -> dict[str, Array]:
        return {"factor": np.ones(self.features)}
