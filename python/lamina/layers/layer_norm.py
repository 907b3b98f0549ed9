"""The layer that normalizes every row by itself."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings

__all__ = ["LayerNorm"]


class LayerNorm(Layer):
    """Normalizes every row: ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``.

    Mean and variance are those of the row's features, gamma and beta are learnt for
    each feature (Ba, Kiros & Hinton 2016). A row whose features are equal becomes beta;
    so does one whose squares overflow (above 1e19 in float32), as in PyTorch.

    Parameters
    ----------
    epsilon : float
        Added to the variance; that of PyTorch.
    trainable : bool
        False: a net's training leaves gamma and beta as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "gamma" (features,), 1 at first, and "beta" (features,), 0 at first.

    Raises
    ------
    ValueError
        An epsilon that is not positive.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.LayerNorm().forward([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]).round(3)
    array([[-1.225,  0.   ,  1.225],
           [ 0.   ,  0.   ,  0.   ]])
    """

    _settings: ClassVar[Settings] = {
        "epsilon": _checks.positive,
        "trainable": _checks.flag,
    }

    def __init__(self, epsilon: float = 1e-5, *, trainable: bool = True) -> None:
        super().__init__()
        self.epsilon, self.trainable = epsilon, trainable

    def __repr__(self) -> str:
        return "LayerNorm()"

    def core(self) -> Core:
        return "layer_norm", {"epsilon": self.epsilon}

    def config(self) -> dict[str, Any]:
        return {"epsilon": self.epsilon, "trainable": self.trainable}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"gamma": (features,), "beta": (features,)}

    def initial(self) -> dict[str, Array]:
        return {"gamma": np.ones(self.features), "beta": np.zeros(self.features)}
