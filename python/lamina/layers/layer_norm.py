"""The layer that normalizes every row by itself."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.layers.base import Core, Settings
from lamina.layers.learning import Learning

__all__ = ["LayerNorm"]


class LayerNorm(Learning):
    """Normalizes every row: ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``.

    Mean and variance are those of the row's features, gamma and beta are learnt for
    each feature (Ba, Kiros & Hinton 2016). A row whose features are equal becomes beta;
    so does one whose squares overflow (above 1e19 in float32), as in PyTorch.

    Parameters
    ----------
    epsilon : float
        Added to the variance; that of PyTorch.
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0.
    trainable : bool
        False: a net's training leaves gamma and beta as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "gamma" (features,), 1 at first, and "beta" (features,), 0 at first.

    Raises
    ------
    ValueError
        An epsilon that is not positive, a negative rate or decay.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.LayerNorm().forward([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]).round(3)
    array([[-1.225,  0.   ,  1.225],
           [ 0.   ,  0.   ,  0.   ]])
    """

    _settings: ClassVar[Settings] = {
        **Learning._settings,
        "epsilon": _checks.positive,
    }

    def __init__(
        self,
        epsilon: float = 1e-5,
        *,
        rate: float = 1.0,
        decay: float = 1.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(rate=rate, decay=decay, trainable=trainable)
        self.epsilon = epsilon

    def __repr__(self) -> str:
        return "LayerNorm()"

    def core(self) -> Core:
        return "layer_norm", {"epsilon": self.epsilon}

    def config(self) -> dict[str, Any]:
        return {"epsilon": self.epsilon, **super().config()}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"gamma": (features,), "beta": (features,)}

    def initial(self) -> dict[str, Array]:
        return {"gamma": np.ones(self.features), "beta": np.zeros(self.features)}
