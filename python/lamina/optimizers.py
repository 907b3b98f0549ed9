"""Optimizers: descriptions of an update rule. Their state belongs to the net.

Every rule here can limit the gradients before its step: each one to [-clip_value,
clip_value], then each array of parameters (a layer's kernel, its bias) by its norm to
clip_norm, then all of them by their norm to global_clip_norm. What is above a limit is
scaled down to it, with nothing added to the norm, which is summed in float64.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from lamina import _checks, _core
from lamina._checks import Array
from lamina.schedules import Schedule, numbers

# The kind, and the numbers that the compiled part calls an OptimizerChoice.
OptimizerCore = tuple[str, float, float, float, bool, float, float, float, float]

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "get"]


class Optimizer:
    """What `Sequential` asks of an optimizer: a description without state.

    One's own is a subclass with `slots` and `update`, in NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> class SignMomentum(lm.optimizers.Optimizer):
    ...     slots = 1
    ...
    ...     def update(self, weights, gradients, state, step):
    ...         state[0] = 0.9 * state[0] + gradients
    ...         weights -= 0.1 / np.sqrt(step) * np.sign(state[0])
    >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> history = net.fit(
    ...     x, 3 * x, epochs=200, optimizer=SignMomentum(), loss="mean_squared_error",
    ...     verbose=0,
    ... )
    >>> net.predict([[0.5]]).round(1)
    array([[1.5]], dtype=float32)
    """

    @property
    def slots(self) -> int:
        """How many numbers of state it needs for each parameter."""
        raise NotImplementedError(
            f"{type(self).__name__} must define slots, its numbers for each parameter"
        )

    @property
    def core(self) -> OptimizerCore | None:
        """The rule as the compiled part knows it; None: only `update` does."""
        return None

    def rates(self, first_step: int, count: int) -> Array:
        """The learning rates of `count` steps from number `first_step` on, in float64.

        Only asked of a rule that has a `core`.
        """
        raise NotImplementedError

    def decays(self, first_step: int, count: int) -> Array | None:
        """The weight decays of those steps, if they change; None: `core` has it."""
        return None

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
        raise NotImplementedError(
            f"{type(self).__name__} must define update(weights, gradients, state, step)"
        )


_LIMITS = "clip_value", "clip_norm", "global_clip_norm"


@dataclasses.dataclass(frozen=True, repr=False)
class _Rule(Optimizer):
    """A rule of the compiled part: its rate, and how gradients are limited."""

    learning_rate: float | Schedule = 1e-3
    _: dataclasses.KW_ONLY
    clip_value: float | None = None
    clip_norm: float | None = None
    global_clip_norm: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            _checks.positive("learning_rate", self.learning_rate)
        decay = self._decay()
        if not isinstance(decay, Schedule):
            _checks.nonnegative("weight_decay", decay)
        for name in _LIMITS:
            if getattr(self, name) is not None:
                _checks.positive(name, getattr(self, name))

    def __repr__(self) -> str:
        """As it is written; what few rules have only where they have it."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        rare = {name: values.pop(name, None) for name in ("epsilon_hat", *_LIMITS)}
        values |= {name: value for name, value in rare.items() if value}
        inside = [f"{name}={value!r}" for name, value in values.items()]
        return f"{type(self).__name__}({', '.join(inside)})"

    def _describe(
        self,
        kind: str,
        first: float = 0.0,
        second: float = 0.0,
        epsilon: float = 0.0,
        variant: bool = False,
    ) -> OptimizerCore:
        """What csrc/ops/optimizers.hpp calls an OptimizerChoice."""
        limits = [getattr(self, name) for name in _LIMITS]
        value, norm, total = (np.inf if x is None else float(x) for x in limits)
        decay = self._decay()
        fixed = 0.0 if isinstance(decay, Schedule) else float(decay)
        betas = float(first), float(second), float(epsilon)
        return kind, *betas, bool(variant), fixed, value, norm, total

    def _decay(self) -> float | Schedule:
        decay: float | Schedule = getattr(self, "weight_decay", 0.0)
        return decay

    def rates(self, first_step: int, count: int) -> Array:
        first_step = _checks.count("first_step", first_step)
        count = _checks.count("count", count)
        if not isinstance(self.learning_rate, Schedule):
            return np.full(count, self.learning_rate, np.float64)
        return numbers("learning_rate", self.learning_rate, first_step, count)

    def decays(self, first_step: int, count: int) -> Array | None:
        first_step = _checks.count("first_step", first_step)
        count = _checks.count("count", count)
        decay = self._decay()
        if not isinstance(decay, Schedule):
            return None
        return numbers("weight_decay", decay, first_step, count)

    def update(self, weights: Array, gradients: Array, state: Array, step: int) -> None:
        """As in `Optimizer`; the net has limited the gradients before."""
        core, rate = self._constant or (core_at(self, step), self.rates(step, 1).item())
        assert core is not None
        _core.update(core, weights, gradients, state, rate, step)

    @functools.cached_property
    def _constant(self) -> tuple[OptimizerCore, float] | None:
        """Core and rate of every step, if nothing changes them."""
        rate = self.learning_rate
        own = type(self).rates, type(self).decays
        if own != (_Rule.rates, _Rule.decays) or isinstance(rate, Schedule):
            return None
        return None if isinstance(self._decay(), Schedule) else (self.core, rate)

    @functools.cached_property
    def core(self) -> OptimizerCore:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, repr=False)
class SGD(_Rule):
    """Stochastic gradient descent, with momentum if wanted.

    ``v = momentum * v + dw; w -= learning_rate * v``; Nesterov's form steps by
    ``dw + momentum * v`` in place of ``v`` (Sutskever et al. 2013).

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0, or a function of the number of the step.
    momentum : float
        In [0, 1).
    nesterov : bool
        Only with a momentum.
    clip_value, clip_norm, global_clip_norm : float, optional
        Limits of each gradient, of each array's norm, of the norm of all; above 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.SGD(0.1, momentum=0.9, global_clip_norm=1.0)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, global_clip_norm=1.0)
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.below_one("momentum", self.momentum)
        _checks.flag("nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov must come with a momentum > 0, got 0")

    @property
    def slots(self) -> int:
        return 1 if self.momentum else 0

    @functools.cached_property
    def core(self) -> OptimizerCore:
        return self._describe("sgd", self.momentum, variant=self.nesterov)


@dataclasses.dataclass(frozen=True, repr=False)
class RMSprop(_Rule):
    """Steps divided by the root of a running mean of squares (Tieleman & Hinton 2012).

    ``s = rho * s + (1 - rho) * dw**2; u = dw / (sqrt(s) + epsilon)``, then
    ``v = momentum * v + u; w -= learning_rate * v``. If centered, ``s`` less the square
    of the running mean of ``dw`` is in place of ``s``, at least 0. As in PyTorch, whose
    alpha is rho; Keras has epsilon within the root.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0, or a function of the number of the step.
    rho, momentum : float
        In [0, 1).
    epsilon : float
        Above 0; outside the root.
    centered : bool
    clip_value, clip_norm, global_clip_norm : float, optional
        Limits of each gradient, of each array's norm, of the norm of all; above 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.RMSprop(1e-4, momentum=0.9).slots
    2
    """

    learning_rate: float | Schedule = 1e-3
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-8
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.below_one("rho", self.rho)
        _checks.below_one("momentum", self.momentum)
        _checks.positive("epsilon", self.epsilon)
        _checks.flag("centered", self.centered)

    @property
    def slots(self) -> int:
        return 1 + bool(self.momentum) + bool(self.centered)

    @functools.cached_property
    def core(self) -> OptimizerCore:
        return self._describe(
            "rmsprop", self.momentum, self.rho, self.epsilon, self.centered
        )


@dataclasses.dataclass(frozen=True, repr=False)
class Adagrad(_Rule):
    """Steps divided by the root of the sum of all squares (Duchi et al. 2011).

    ``s += dw**2; w -= learning_rate * dw / (sqrt(s) + epsilon)``, as in PyTorch.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0, or a function of the number of the step.
    epsilon : float
        Above 0; outside the root.
    clip_value, clip_norm, global_clip_norm : float, optional
        Limits of each gradient, of each array's norm, of the norm of all; above 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.Adagrad(0.1)
    Adagrad(learning_rate=0.1, epsilon=1e-10)
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.positive("epsilon", self.epsilon)

    @property
    def slots(self) -> int:
        return 1

    @functools.cached_property
    def core(self) -> OptimizerCore:
        return self._describe("adagrad", epsilon=self.epsilon)


@dataclasses.dataclass(frozen=True, repr=False)
class Adam(_Rule):
    """Adam as published (Kingma & Ba 2015, algorithm 1), epsilon outside the root.

    ``m = beta_1 * m + (1 - beta_1) * dw; v = beta_2 * v + (1 - beta_2) * dw**2`` and
    ``w -= learning_rate * m / c1 / (sqrt(v / c2) + epsilon)`` with ``c = 1 - beta**t``
    in step t.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0, or a function of the number of the step.
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
        Above 0.
    epsilon_hat : bool
        Add epsilon to ``sqrt(v)``, before it is corrected: the paper's "epsilon hat"
        (end of section 2), as scikit-learn and TensorFlow 1 do.
    clip_value, clip_norm, global_clip_norm : float, optional
        Limits of each gradient, of each array's norm, of the norm of all; above 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.Adam(3e-4)
    Adam(learning_rate=0.0003, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    >>> rule = lm.Adam(lm.schedules.Cosine(1e-3, steps=1000, warm_up=100))
    >>> rule.rates(50, 1).tolist()
    [0.0005]
    """

    learning_rate: float | Schedule = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.below_one("beta_1", self.beta_1)
        _checks.below_one("beta_2", self.beta_2)
        _checks.positive("epsilon", self.epsilon)
        _checks.flag("epsilon_hat", self.epsilon_hat)

    @property
    def slots(self) -> int:
        return 2

    @functools.cached_property
    def core(self) -> OptimizerCore:
        betas = self.beta_1, self.beta_2
        return self._describe("adam", *betas, self.epsilon, self.epsilon_hat)


@dataclasses.dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Before each step of `Adam`, ``w -= learning_rate * weight_decay * w``: of all
    parameters, biases too, as in PyTorch.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0, or a function of the number of the step.
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
        Above 0.
    weight_decay : float or Schedule
        At least 0, or a function of the number of the step.
    epsilon_hat : bool
        As in `Adam`.
    clip_value, clip_norm, global_clip_norm : float, optional
        Limits of each gradient, of each array's norm, of the norm of all; above 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.AdamW(3e-4, weight_decay=0.1).weight_decay
    0.1
    """

    weight_decay: float | Schedule = 0.01


@dataclasses.dataclass(frozen=True, repr=False)
class Lion(_Rule):
    """Steps by the sign of a mean of gradients (Chen et al. 2023, algorithm 2).

    ``w -= learning_rate * (sign(beta_1 * m + (1 - beta_1) * dw) + weight_decay * w)``,
    then ``m = beta_2 * m + (1 - beta_2) * dw``. The paper takes a rate three to ten
    times smaller than Adam's, and a decay as much larger.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0, or a function of the number of the step.
    beta_1, beta_2 : float
        In [0, 1).
    weight_decay : float or Schedule
        At least 0, or a function of the number of the step.
    clip_value, clip_norm, global_clip_norm : float, optional
        Limits of each gradient, of each array's norm, of the norm of all; above 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.Lion(weight_decay=0.1)
    Lion(learning_rate=0.0001, beta_1=0.9, beta_2=0.99, weight_decay=0.1)
    """

    learning_rate: float | Schedule = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float | Schedule = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.below_one("beta_1", self.beta_1)
        _checks.below_one("beta_2", self.beta_2)

    @property
    def slots(self) -> int:
        return 1

    @functools.cached_property
    def core(self) -> OptimizerCore:
        return self._describe("lion", self.beta_1, self.beta_2)


_KNOWN: dict[str, Optimizer] = {
    "adagrad": Adagrad(),
    "adam": Adam(),
    "adamw": AdamW(),
    "lion": Lion(),
    "rmsprop": RMSprop(),
    "sgd": SGD(),
}
# What other libraries have.
_NEAREST = {
    **dict.fromkeys(["adamax", "adafactor", "amsgrad", "nadam", "radam"], "'adam'"),
    **dict.fromkeys(["bfgs", "lbfgs"], "'adam'"),
    **dict.fromkeys(["adadelta", "rprop"], "'rmsprop'"),
    **dict.fromkeys(["momentum", "sgdmomentum"], "SGD(momentum=0.9)"),
    **dict.fromkeys(["nag", "nesterov"], "SGD(momentum=0.9, nesterov=True)"),
}


def known() -> list[str]:
    """The names of all optimizers."""
    return sorted(_KNOWN)


def decaying(core: OptimizerCore, weight_decay: float) -> OptimizerCore:
    """The same rule with that weight decay."""
    return (*core[:5], weight_decay, *core[6:])


def core_at(rule: Optimizer, step: int) -> OptimizerCore | None:
    """Its core in that step."""
    core, decays = rule.core, rule.decays(step, 1)
    return core if core is None or decays is None else decaying(core, decays.item())


def is_foreseen(rule: Optimizer) -> bool:
    """Whether its rates can be asked for ahead of time, since nothing changes them."""
    given = (vars(rule).get(name) for name in ("learning_rate", "weight_decay"))
    own = any(
        isinstance(each, Schedule) and type(each).__module__ != Schedule.__module__
        for each in given
    )
    return type(rule).rates is _Rule.rates and not own


def get(optimizer: str | Optimizer) -> Optimizer:
    """The optimizer of that name, in any case, with its defaults; or the object."""
    return _checks.choice("optimizer", optimizer, _KNOWN, Optimizer, {}, _NEAREST)
