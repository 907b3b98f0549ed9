"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core, activations, functional, initializers
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings

__all__ = ["Dense", "fold"]

Initial = initializers.Initializer | Callable[..., Any]


class Dense(Layer):
    """Fully connected: ``activation(x @ kernel + bias)``.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or activation, optional
        Name or object (``lm.leaky_relu.using(negative_slope=0.2)``); None: identity.
    use_bias : bool
    kernel_initializer : str, Initializer or function (shape, dtype) -> array
        "auto" is what suits the activation: He normal for the relu family, LeCun
        normal for selu, Glorot uniform otherwise.
    bias_initializer : likewise
    l1, l2 : float
        Adds ``l1 * sum(abs(kernel)) + l2 / 2 * sum(kernel**2)`` to the loss.
    max_norm : float, optional
        The largest norm that the weights of a unit, a column of the kernel, may have:
        after each update of a net, a column whose norm is larger is scaled down to it,
        ``w *= max_norm / norm(w)`` (Srivastava et al. 2014, section 5.1, who use 3 to
        4 with dropout). Neither the initial weights nor the bias are limited.
    rate, bias_rate : float
        Factors of the learning rate for kernel and bias, at least 0.
    decay, bias_decay : float
        Factors of the optimizer's weight decay, at least 0: as it is, the decay of
        `AdamW` and `Lion` is that of kernel and bias alike.
    trainable : bool
        False: a net's training leaves kernel and bias as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "kernel" (features, units) and, with a bias, "bias" (units,).

    Raises
    ------
    ValueError
        units < 1, a negative penalty or factor, a max_norm that is not positive, an
        unknown activation or initializer.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.Dense(3, activation="tanh")
    >>> y = layer.forward([[1.0, 2.0], [3.0, 4.0]], training=True)
    >>> dx = layer.backward(y)
    >>> y.shape, dx.shape, layer.gradients["kernel"].shape
    ((2, 3), (2, 2), (2, 3))
    """

    _settings: ClassVar[Settings] = {
        "units": _checks.count,
        "activation": lambda _, value: activations.get(value),
        "use_bias": lambda _, value: bool(value),
        "kernel_initializer": lambda _, value: initializers.get(value),
        "bias_initializer": lambda _, value: initializers.get(value),
        "l1": _checks.nonnegative,
        "l2": _checks.nonnegative,
        "rate": _checks.nonnegative,
        "bias_rate": _checks.nonnegative,
        "decay": _checks.nonnegative,
        "bias_decay": _checks.nonnegative,
        "trainable": _checks.flag,
        "max_norm": lambda name, value: (
            None if value is None else _checks.positive(name, value)
        ),
    }
    _fixed = "units", "use_bias"
    # Those of layers whose pickles do not say.
    rate = bias_rate = decay = bias_decay = 1.0

    def __init__(
        self,
        units: int,
        activation: str | activations.ActivationFunction | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str | Callable[..., Any] = "auto",
        bias_initializer: str | Callable[..., Any] = "zeros",
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
        rate: float = 1.0,
        bias_rate: float = 1.0,
        decay: float = 1.0,
        bias_decay: float = 1.0,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.units = units
        self.activation: activations.ActivationFunction = activations.get(activation)
        self.use_bias = use_bias
        if isinstance(kernel_initializer, str) and kernel_initializer == "auto":
            kernel_initializer = self.activation.initializer
        self.kernel_initializer: Initial = initializers.get(kernel_initializer)
        self.bias_initializer: Initial = initializers.get(bias_initializer)
        self.l1, self.l2, self.max_norm = l1, l2, max_norm
        self.rate, self.bias_rate = rate, bias_rate
        self.decay, self.bias_decay = decay, bias_decay
        self.trainable = trainable

    def __repr__(self) -> str:
        return f"Dense({self.units}, {self.activation.name!r})"

    def config(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
            "bias_initializer": self.bias_initializer,
            "l1": self.l1,
            "l2": self.l2,
            "max_norm": self.max_norm,
            "rate": self.rate,
            "bias_rate": self.bias_rate,
            "decay": self.decay,
            "bias_decay": self.bias_decay,
            "trainable": self.trainable,
        }

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        kernel = {"kernel": (features, self.units)}
        return kernel | ({"bias": (self.units,)} if self.use_bias else {})

    def outputs(self, features: int) -> int:
        return self.units

    def initial(self) -> dict[str, Array]:
        shape = self.features, self.units
        arrays = {"kernel": self.draw(self.kernel_initializer, shape)}
        if self.use_bias:
            arrays["bias"] = self.draw(self.bias_initializer, (self.units,), 1)
        return arrays

    def core(self) -> Core:
        names = "units", "activation", "use_bias", "l1", "l2"
        limit = math.inf if self.max_norm is None else self.max_norm
        return "dense", {k: getattr(self, k) for k in names} | {"max_norm": limit}

    @property
    def _sparse(self) -> str:
        return "takes"

    def factors(self) -> dict[str, tuple[float, float]]:
        bias = self.bias_rate, self.bias_decay
        return {"kernel": (self.rate, self.decay), "bias": bias}

    def penalty(self, weight: float = 0.0) -> float:
        if not (self.l1 or self.l2):
            return 0.0
        gradient = self.gradients["kernel"] if weight else None
        kernel = self.parameters["kernel"]
        return _core.penalty(kernel, gradient, self.l1, self.l2, weight)

    def forward(
        self, x: ArrayLike, training: bool = False, *, logits: bool = False
    ) -> Array:
        """As `Layer.forward`; `logits` leaves out the activation, which a loss has.

        `backward` then takes the gradient by the logits.
        """
        x = self.take(x)
        activation = None if logits else self.activation
        kernel, bias = self.parameters["kernel"], self.parameters.get("bias")
        y: Array
        if not training:
            y = functional.dense(x, kernel, bias, activation)
            return y
        y, saved = functional.dense(x, kernel, bias, activation, return_saved=True)
        self.keep(x, training, saved, activation)
        return y

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        dy, x, saved, activation = self.recall(dy)
        kernel, dkernel = self.parameters["kernel"], self.gradients["kernel"]
        dx, _, _ = functional.dense_backward(
            dy,
            x,
            kernel,
            saved,
            activation,
            input_gradient=input_gradient,
            out=(None, dkernel, self.gradients.get("bias")),
        )
        return dx


def fold(layers: Sequence[Layer]) -> list[Layer]:
    """The layers, built, of the net that `Sequential.fold` returns."""
    made: list[Layer] = []
    for layer in layers:
        last = made[-1] if made else None
        if (own := _affine(layer)) and type(last) is Dense and _is_linear(last):
            kernel, bias = _weights(last)
            made[-1] = _dense(last, kernel * own[0], bias * own[0] + own[1])
            continue
        while type(layer) is Dense and made and (own := _affine(made[-1])):
            made.pop()
            factor, shift = (np.broadcast_to(each, layer.features) for each in own)
            kernel, bias = _weights(layer)
            layer = _dense(layer, factor[:, None] * kernel, shift @ kernel + bias)
        made.append(layer)
    return made


def _affine(layer: Layer) -> tuple[Any, Any] | None:
    """Not of a subclass, which may predict otherwise."""
    return layer.affine() if "affine" in vars(type(layer)) else None


def _is_linear(layer: Dense) -> bool:
    return layer.activation.name == "identity"


def _weights(layer: Dense) -> tuple[Array, Array]:
    """Kernel and bias in float64."""
    bias = layer.parameters.get("bias", np.zeros(layer.units))
    return layer.parameters["kernel"].astype(np.float64), bias.astype(np.float64)


def _dense(like: Dense, kernel: Array, bias: Array) -> Dense:
    made = Dense(like.units, like.activation, kernel_initializer=initializers.zeros)
    made.build(like.features, like.dtype)
    made.parameters["kernel"][...] = kernel
    made.parameters["bias"][...] = bias
    return made
