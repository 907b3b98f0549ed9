"""An activation of which every feature learns its share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lamina import activations
from lamina._checks import Array
from lamina.layers.base import Core, Settings
from lamina.layers.learning import Learning

__all__ = ["Mixed"]


class Mixed(Learning):
    """``x + share * (activation(x) - x)``, a share for each feature being learnt.

    The parametric activation of RealMLP (Holzmueller, Grinsztajn & Steinwart 2024),
    after a `Dense` without one, whose kernel begins as suits the activation only if its
    `kernel_initializer` says so. Where a share is 0 the feature passes as it is, where
    it is 1 it is the activation, exactly.

    Parameters
    ----------
    activation : str or activation
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0.
    trainable : bool
        False: a net's training leaves the shares as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "share" (features,), 1 at first.

    Raises
    ------
    ValueError
        An unknown activation, or one of whole rows, such as softmax; a negative rate or
        decay.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.Mixed("relu")
    >>> layer.build(2)
    2
    >>> layer.parameters["share"][...] = [1, 0.5]
    >>> layer.forward([[-4.0, -4.0], [3.0, 3.0]])
    array([[ 0., -2.],
           [ 3.,  3.]], dtype=float32)
    """

    _settings: ClassVar[Settings] = {
        **Learning._settings,
        "activation": lambda _, value: _of_values(value),
    }

    def __init__(
        self,
        activation: str | activations.ActivationFunction,
        *,
        rate: float = 1.0,
        decay: float = 1.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(rate=rate, decay=decay, trainable=trainable)
        self.activation: activations.ActivationFunction = activations.get(activation)

    def __repr__(self) -> str:
        return f"Mixed({self.activation.name!r})"

    def core(self) -> Core:
        return "mixed", {"activation": self.activation}

    def config(self) -> dict[str, Any]:
        return {"activation": self.activation, **super().config()}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"share": (features,)}

    def initial(self) -> dict[str, Array]:
        return {"share": np.ones(self.features)}


def _of_values(
    activation: str | activations.ActivationFunction,
) -> activations.ActivationFunction:
    found = activations.get(activation)
    if found.name in ("softmax", "log_softmax"):
        raise ValueError(
            f"activation must act on each value, got {found.name!r}, which acts on rows"
        )
    return found
