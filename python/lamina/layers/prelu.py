"""The rectifier whose slope is learnt."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings

__all__ = ["PReLU"]


class PReLU(Layer):
    """``x if x > 0 else slope * x``, a slope for each feature being learnt (He et al.
    2015).

    Parameters
    ----------
    trainable : bool
        False: a net's training leaves the slopes as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "slope" (features,), 0.25 at first, as in the paper and in PyTorch.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.PReLU().forward([[-4.0, 2.0]])
    array([[-1.,  2.]])
    """

    _settings: ClassVar[Settings] = {"trainable": _checks.flag}

    def __init__(self, *, trainable: bool = True) -> None:
        super().__init__()
        self.trainable = trainable

    def __repr__(self) -> str:
        return "PReLU()"

    def core(self) -> Core:
        return "prelu", {}

    def config(self) -> dict[str, Any]:
        return {"trainable": self.trainable}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"slope": (features,)}

    def initial(self) -> dict[str, Array]:
        return {"slope": np.full(self.features, 0.25)}
