"""The rectifier whose slope is learnt."""

from __future__ import annotations

import numpy as np

from lamina._checks import Array
from lamina.layers.base import Core
from lamina.layers.learning import Learning

__all__ = ["PReLU"]


class PReLU(Learning):
    """``x if x > 0 else slope * x``, a slope for each feature being learnt (He et al.
    2015).

    Parameters
    ----------
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0.
    trainable : bool
        False: a net's training leaves the slopes as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "slope" (features,), 0.25 at first, as in the paper and in PyTorch.

    Raises
    ------
    ValueError
        A negative rate or decay.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.PReLU().forward([[-4.0, 2.0]])
    array([[-1.,  2.]])
    """

    def __repr__(self) -> str:
        return "PReLU()"

    def core(self) -> Core:
        return "prelu", {}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"slope": (features,)}

    def initial(self) -> dict[str, Array]:
        return {"slope": np.full(self.features, 0.25)}
