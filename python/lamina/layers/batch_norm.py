"""The layer that normalizes every feature over the rows of a batch."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.layers.base import Core, Settings
from lamina.layers.learning import Learning

__all__ = ["BatchNorm"]


class BatchNorm(Learning):
    """Normalizes features: ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``.

    In training mean and variance are those of the batch (Ioffe & Szegedy 2015), in
    prediction, and in the samples of `Sequential.predict`, what is kept. That follows
    the batches of which a gradient is filled, by ``kept += (1 - momentum) * (batch -
    kept)``, weights of rows not counting: after fewer than ``2 / (1 - momentum)`` steps
    predictions are still far from what was trained, and a smaller momentum is better.
    The variance divides by the number of rows, as in Keras; PyTorch keeps one that
    divides by one less.

    A batch of one row, and a feature that is constant in a batch, become beta; so does
    a feature whose squares overflow (above 1e19 in float32), as in PyTorch. A batch cut
    into parts does not give the gradient of the whole.

    Parameters
    ----------
    momentum : float
        The share of what is kept that a batch leaves, in [0, 1]; PyTorch's is one less
        it.
    epsilon : float
        Added to the variance.
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0.
    trainable : bool
        False: a net's training leaves gamma and beta as they are, and mean and variance
        are those kept, as in prediction.

    Attributes
    ----------
    parameters, gradients : dict
        "gamma" (features,), 1 at first, and "beta" (features,), 0 at first.
    mean, variance : (features,) arrays
        What is kept for prediction, 0 and 1 at first.

    Raises
    ------
    ValueError
        A momentum outside [0, 1], an epsilon that is not positive, a negative rate or
        decay.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.BatchNorm(momentum=0.9)
    >>> layer.forward([[1.0, 5.0], [3.0, 5.0]], training=True).round(3)
    array([[-1.,  0.],
           [ 1.,  0.]])
    >>> dx = layer.backward([[1.0, 0.0], [0.0, 0.0]])
    >>> layer.mean, layer.variance
    (array([0.2, 0.5]), array([1. , 0.9]))
    """

    kept = ("mean", "variance")
    _settings: ClassVar[Settings] = {
        **Learning._settings,
        "momentum": _checks.fraction,
        "epsilon": _checks.positive,
    }

    def __init__(
        self,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        *,
        rate: float = 1.0,
        decay: float = 1.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(rate=rate, decay=decay, trainable=trainable)
        self.momentum, self.epsilon = momentum, epsilon

    def __repr__(self) -> str:
        return "BatchNorm()"

    def core(self) -> Core:
        names = "momentum", "epsilon", "mean", "variance"
        return "batch_norm", {name: getattr(self, name) for name in names}

    def config(self) -> dict[str, Any]:
        own = {"momentum": self.momentum, "epsilon": self.epsilon}
        return own | super().config()

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("gamma", "beta", "mean", "variance"), (features,))

    def affine(self) -> tuple[Array, Array]:
        variance = self.variance.astype(np.float64)
        factor = self.parameters["gamma"] / np.sqrt(variance + self.epsilon)
        return factor, self.parameters["beta"] - self.mean * factor

    def initial(self) -> dict[str, Array]:
        self.mean = np.zeros(self.features, self.dtype)
        self.variance = np.ones_like(self.mean)
        return {"gamma": np.ones(self.features), "beta": np.zeros(self.features)}
