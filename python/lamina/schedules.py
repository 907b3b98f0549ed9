"""Rates that change with the number of the step: of learning, of decay, of dropout.

A number is a constant rate; anything else is a `Schedule`, given in its place. Only
operations that IEEE 754 rounds exactly: the last bit of a library's cosine, logarithm
or power differs between processors.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks
from lamina._checks import Array

__all__ = [
    "CosLog",
    "Cosine",
    "Exponential",
    "FlatCosine",
    "OneCycle",
    "Schedule",
    "Step",
]


class Schedule:
    """A rate as a function of the number of the step.

    Of learning and of weight decay, in an optimizer, which counts the steps that its
    state has seen; of `Dropout`, in a net, which counts all of its own.

    A schedule of one's own is a subclass with `__call__`.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> class InverseRoot(lm.schedules.Schedule):
    ...     def __call__(self, steps):
    ...         return 0.1 / np.sqrt(steps)
    >>> lm.SGD(InverseRoot()).rates(1, 4).round(3).tolist()
    [0.1, 0.071, 0.058, 0.05]
    """

    def __call__(self, steps: ArrayLike) -> Array:
        """The rates of these steps.

        Parameters
        ----------
        steps : array_like of real numbers
            A step is one update of the weights; the first is number 1. A number between
            two steps counts as the one before, and one below 1 as 1.

        Returns
        -------
        float64 array of the same shape

        Raises
        ------
        TypeError, ValueError
            `steps` that are no real numbers, or NaN.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define __call__(steps), the rates of steps"
        )


@dataclasses.dataclass(frozen=True)
class Step(Schedule):
    """``rate * factor ** ((step - 1) // every)``.

    Parameters
    ----------
    rate, factor : float
        Above 0.
    every : int
        Steps, not epochs: there are as many in an epoch as batches.

    Raises
    ------
    TypeError, ValueError
        A rate or factor that is not above 0, or `every` below 1.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.schedules.Step(0.5, every=2, factor=0.5)([1, 2, 3, 4, 5]).tolist()
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _checks.fields(
            self, rate=_checks.positive, every=_checks.count, factor=_checks.positive
        )

    def __call__(self, steps: ArrayLike) -> Array:
        exponents = (_whole(steps) - 1) // self.every
        return _times_power(self.rate, self.factor, exponents)


@dataclasses.dataclass(frozen=True)
class Exponential(Schedule):
    """``rate * factor ** (step - 1)``.

    For a factor of f in each epoch of n batches, give ``f ** (1 / n)``.

    Raises
    ------
    TypeError, ValueError
        A rate or factor that is not above 0.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.schedules.Exponential(0.5, factor=0.5)([1, 2, 3]).tolist()
    [0.5, 0.25, 0.125]
    """

    rate: float
    factor: float

    def __post_init__(self) -> None:
        _checks.fields(self, rate=_checks.positive, factor=_checks.positive)

    def __call__(self, steps: ArrayLike) -> Array:
        return _times_power(self.rate, self.factor, _whole(steps) - 1)


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `rate` down to `end` (Loshchilov & Hutter 2017).

    The first `warm_up` steps rise in equal parts to `rate`. After all `steps`, the rate
    stays at `end`.

    Parameters
    ----------
    rate : float
        The highest.
    steps : int
        Of the whole, warm-up included: epochs times batches.
    warm_up : int
        Below `steps`.
    end : float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.schedules.Cosine(1.0, steps=6, warm_up=2)([1, 2, 3, 4, 7]).round(3).tolist()
    [0.5, 1.0, 1.0, 0.854, 0.0]
    """

    rate: float
    steps: int
    warm_up: int = 0
    end: float = 0.0

    def __post_init__(self) -> None:
        _checks.fields(self, rate=_checks.positive, steps=_checks.count)
        _checks.fields(self, warm_up=_checks.unsigned, end=_checks.nonnegative)
        if self.warm_up >= self.steps:
            raise ValueError(
                f"warm_up must be below steps, {self.steps}, got {self.warm_up}"
            )

    def __call__(self, steps: ArrayLike) -> Array:
        done = _whole(steps).astype(np.float64)
        share = (done - 1 - self.warm_up) / (self.steps - self.warm_up)
        falling = _between(self.rate, self.end, share)
        if not self.warm_up:
            return falling
        return np.where(done <= self.warm_up, self.rate * done / self.warm_up, falling)


@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """Half a cosine up to `rate`, then half a cosine down (Smith & Topin 2018).

    The first step has ``rate / div_factor``, the last and those after it
    ``rate / div_factor / final_div_factor``. Names and figures are PyTorch's.

    Parameters
    ----------
    rate : float
        The highest.
    steps : int
        Of the whole cycle: epochs times batches.
    pct_start : float
        The share of them that rises, in [0, 1).
    div_factor, final_div_factor : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.schedules.OneCycle(1.0, steps=10)([1, 3, 10]).tolist()
    [0.04, 1.0, 4e-06]
    """

    rate: float
    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        _checks.fields(self, rate=_checks.positive, steps=_checks.count)
        _checks.fields(self, pct_start=_checks.below_one)
        _checks.fields(
            self, div_factor=_checks.positive, final_div_factor=_checks.positive
        )
        first = _checks.nonnegative("rate / div_factor", self.rate / self.div_factor)
        _checks.nonnegative(
            "rate / div_factor / final_div_factor", first / self.final_div_factor
        )

    def __call__(self, steps: ArrayLike) -> Array:
        start = self.rate / self.div_factor
        done = _whole(steps).astype(np.float64) - 1
        top = self.pct_start * self.steps - 1  # PyTorch's: the last that rises
        share = (done - top) / (self.steps - 1 - top)
        falling = _between(self.rate, start / self.final_div_factor, share)
        if top <= 0:
            return falling
        return np.where(done < top, _between(start, self.rate, done / top), falling)


@dataclasses.dataclass(frozen=True)
class CosLog(Schedule):
    """Cycles, each twice as long as the one before (Holzmueller et al. 2024).

    ``rate * (1 - cos(2 pi log2(1 + (2**cycles - 1) t))) / 2`` with
    ``t = (step - 1) / steps``: from 0 up to `rate` and back in each, 0 after all
    `steps`. The schedule of RealMLP, "coslog4".

    Parameters
    ----------
    rate : float
        The highest.
    steps : int
        Of all cycles: epochs times batches.
    cycles : int
        At most 52.

    Raises
    ------
    TypeError, ValueError
        Arguments outside these ranges.

    Examples
    --------
    >>> import lamina as lm
    >>> rates = lm.schedules.CosLog(1.0, steps=30)
    >>> rates([2, 3, 5, 7, 10, 15]).round(3).tolist()  # hills and valleys
    [0.93, 0.0, 0.93, 0.0, 0.984, 0.0]
    """

    rate: float
    steps: int
    cycles: int = 4

    def __post_init__(self) -> None:
        _checks.fields(self, rate=_checks.positive, steps=_checks.count)
        _checks.fields(self, cycles=_checks.count)
        if self.cycles > 52:
            raise ValueError(f"cycles must be at most 52, got {self.cycles}")

    def __call__(self, steps: ArrayLike) -> Array:
        share = np.minimum(_share(steps, self.steps), 1)
        # Of a cycle, to its next end: a half at most.
        part = 2 * np.abs(_log2_fraction(1 + (2.0**self.cycles - 1) * share))
        square = _sine_squared(part)
        return np.asarray(self.rate * np.where(part > 0.5, 1 - square, square))


@dataclasses.dataclass(frozen=True)
class FlatCosine(Schedule):
    """`rate` for half of the steps, then half a cosine down to 0.

    As RealMLP has its weight decay and its dropout ("flat_cos", Holzmueller et al.
    2024): ``t = (step - 1) / steps`` is 1/2 where the cosine begins.

    Parameters
    ----------
    rate : float
        The highest.
    steps : int
        Of the whole: epochs times batches.

    Raises
    ------
    TypeError, ValueError
        A rate that is not above 0, or `steps` below 1.

    Examples
    --------
    >>> import lamina as lm
    >>> rule = lm.AdamW(weight_decay=lm.schedules.FlatCosine(0.02, steps=100))
    >>> rule.decays(1, 100)[[0, 50, 75, 99]].round(3).tolist()
    [0.02, 0.02, 0.01, 0.0]
    """

    rate: float
    steps: int

    def __post_init__(self) -> None:
        _checks.fields(self, rate=_checks.positive, steps=_checks.count)

    def __call__(self, steps: ArrayLike) -> Array:
        return _between(self.rate, 0.0, 2 * _share(steps, self.steps) - 1)


def numbers(
    name: str, schedule: Schedule, first_step: int, count: int, most: float = np.inf
) -> Array:
    """What the schedule of that name gives for `count` steps from `first_step` on.

    Raises
    ------
    ValueError
        Other than that many finite numbers from 0 to `most`.
    """
    found = schedule(np.arange(first_step, first_step + count))
    found = np.array(found, np.float64, order="C")
    good = (found >= 0) & (found <= most) & (found < np.inf)
    if found.shape != (count,) or not good.all():
        within = "finite rates >= 0" if most == np.inf else f"rates in [0, {most:g}]"
        raise ValueError(
            f"{name} must give {count} {within} for as many steps from {first_step} "
            f"on, got {found}"
        )
    return found


def _share(steps: ArrayLike, of: int) -> Array:
    """The share of so many steps that lies before these."""
    return np.asarray((_whole(steps).astype(np.float64) - 1) / of)


def _whole(steps: ArrayLike) -> Array:
    """`steps` as whole numbers from 1 on, as `Schedule.__call__` says."""
    given = _checks.numeric("steps", steps)
    if given.dtype.kind == "f":
        if np.isnan(given).any():
            raise ValueError(f"steps must hold no NaN, got {steps!r}")
        with np.errstate(over="ignore"):  # of longdouble
            given = np.clip(given.astype(np.float64), 1, 2.0**62)
    elif given.dtype == np.uint64:
        given = np.minimum(given, np.uint64(2**63 - 1))
    return np.asarray(np.maximum(given.astype(np.int64), 1))


_SINE = [(-1.0) ** k / math.factorial(2 * k + 1) for k in reversed(range(8))]


def _between(start: float, end: float, share: Array) -> Array:
    """``end + (start - end) (1 + cos(pi share)) / 2``, at shares from 0 to 1."""
    share = np.clip(share, 0, 1)
    square = _sine_squared(share)
    weight = np.where(share < 0.5, 1 - square, square)
    return np.asarray(start * weight + end * (1 - weight))


def _sine_squared(share: Array) -> Array:
    """Of half pi times the share, or of what is left of it to 1 if that is less.

    By the sine's Taylor series up to pi / 4, of which 5e-17 is left out.
    """
    angle = math.pi / 2 * np.minimum(share, 1 - share)
    return np.asarray((angle * np.polyval(_SINE, angle * angle)) ** 2)


_ATANH = [1 / (2 * k + 1) for k in reversed(range(12))]


def _log2_fraction(x: Array) -> Array:
    """``log2(x)`` less the whole number next to it, at finite x >= 1.

    ``log(m) = 2 atanh((m - 1) / (m + 1))``, m between the roots of 1/2 and of 2, by its
    Taylor series, of which 3e-19 is left out.
    """
    m = np.frexp(x)[0]
    m = np.where(m < math.sqrt(0.5), 2 * m, m)
    z = (m - 1) / (m + 1)
    return np.asarray(2 / math.log(2) * z * np.polyval(_ATANH, z * z))


def _times_power(rate: float, base: float, exponents: Array) -> Array:
    """``rate * base ** exponents``, of integers from 0 on, by multiplications."""
    result, left = np.ones(exponents.shape), exponents
    with np.errstate(over="ignore", under="ignore"):
        while left.any():
            result = np.where(left & 1, result * base, result)
            base, left = base * base, left >> 1
        return rate * result
