"""Optimizers: descriptions of an update rule. Their state belongs to the net."""

from __future__ import annotations

import dataclasses

from lamina import _checks, _core
from lamina._checks import Array

__all__ = ["SGD", "Adam", "Optimizer", "get"]


class Optimizer:
    """What `Sequential` asks of an optimizer: a description without state."""

    @property
    def slots(self) -> int:
        """How many numbers of state it needs for each parameter."""
        raise NotImplementedError

    def update(self, weights: Array, gradients: Array, state: Array, step: int) -> None:
        """Change `weights` in place.

        Parameters
        ----------
        weights, gradients : (parameters,) arrays
        state : (slots, parameters) array
            Zero before the first step; changed in place.
        step : int
            Number of this step, from 1.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    ``v = momentum * v + dw; w -= learning_rate * v``; Nesterov's form steps by
    ``momentum * v + dw`` in place of ``v``.

    Raises
    ------
    ValueError
        learning_rate <= 0, momentum outside [0, 1), or Nesterov without momentum.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _checks.positive("learning_rate", self.learning_rate)
        _checks.below_one("momentum", self.momentum)
        _checks.flag("nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov must come with a momentum > 0, got 0")

    @property
    def slots(self) -> int:
        return 1 if self.momentum else 0

    def update(self, weights: Array, gradients: Array, state: Array, step: int) -> None:
        velocity = state[0] if len(state) else None
        _core.sgd(
            weights,
            gradients,
            velocity,
            self.learning_rate,
            self.momentum,
            self.nesterov,
        )


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
    """Adam as published (Kingma & Ba 2015), epsilon outside the root.

    Raises
    ------
    ValueError
        learning_rate or epsilon <= 0, beta_1 or beta_2 outside [0, 1).

    Examples
    --------
    >>> import lamina as lm
    >>> lm.Adam(3e-4)
    Adam(learning_rate=0.0003, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _checks.positive("learning_rate", self.learning_rate)
        _checks.below_one("beta_1", self.beta_1)
        _checks.below_one("beta_2", self.beta_2)
        _checks.positive("epsilon", self.epsilon)

    @property
    def slots(self) -> int:
        return 2

    def update(self, weights: Array, gradients: Array, state: Array, step: int) -> None:
        _core.adam(
            weights,
            gradients,
            state[0],
            state[1],
            self.learning_rate,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            1 - _power(self.beta_1, step),
            1 - _power(self.beta_2, step),
        )


def _power(base: float, exponent: int) -> float:
    """base ** exponent by multiplications alone: the same bits on every machine."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


_KNOWN: dict[str, Optimizer] = {"adam": Adam(), "sgd": SGD()}


def get(optimizer: str | Optimizer) -> Optimizer:
    """The optimizer of that name with its defaults, or the object itself."""
    return _checks.choice("optimizer", optimizer, _KNOWN, Optimizer)
