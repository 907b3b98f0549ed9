"""An activation function as a layer."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import ArrayLike

from lamina import activations
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings

__all__ = ["Activation"]


class Activation(Layer):
    """An activation as a layer of its own.

    Parameters
    ----------
    activation : str or activation

    Raises
    ------
    ValueError
        An unknown activation.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.Activation("relu").forward([[-1.0, 2.0]])
    array([[0., 2.]])
    """

    _settings: ClassVar[Settings] = {
        "activation": lambda _, value: activations.get(value)
    }

    def __init__(self, activation: str | activations.ActivationFunction) -> None:
        super().__init__()
        self.activation: activations.ActivationFunction = activations.get(activation)

    def __repr__(self) -> str:
        return f"Activation({self.activation.name!r})"

    def core(self) -> Core:
        return "activation", {"activation": self.activation}

    def config(self) -> dict[str, Any]:
        return {"activation": self.activation}

    def forward(
        self, x: ArrayLike, training: bool = False, *, logits: bool = False
    ) -> Array:
        """As `Layer.forward`; `logits` returns `x` itself (see `Dense.forward`)."""
        x = self.take(x)
        y: Array = x if logits else self.activation(x)
        saves_output = self.activation.saves == "output"
        self.keep(y if saves_output else x, training, logits)
        return y

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        dy, saved, logits = self.recall(dy)
        dx: Array = dy if logits else self.activation.backward(dy, saved)
        return dx
