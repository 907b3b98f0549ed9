"""A benchmark: some sides that compute the same thing, and how that is checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal up to float32 roundings, 6e-8 each, of the terms that a form adds.

    Terms reach ten where their sum is nearly zero: the tails of gelu and its like.
    """
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@dataclass(frozen=True)
class Case:
    """One operation at one size; `sides` are what is timed, called without arguments.

    A side returns its result, which stays as it is while other sides run.
    """

    table: str
    operation: str
    size: str
    sides: Mapping[str, Callable[[], Any]]
    agree: Callable[[Any, Any], None] = close

    def check(self) -> None:
        """Assert that every side computes what the first does."""
        first, *others = (side() for side in self.sides.values())
        for other in others:
            self.agree(other, first)


def parameter(build: Callable[..., Case], *arguments: Any) -> Any:
    """The case that ``build(*arguments)`` makes once its turn has come."""
    return pytest.param(partial(build, *arguments), id="-".join(map(str, arguments)))


def normal(shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> Array:
    draws = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return np.multiply(draws, np.float32(scale), out=draws)


def empty(*shape: int) -> Array:
    return np.empty(shape, np.float32)


def times(*extents: int) -> str:
    """How a shape is written: 32x64x64."""
    return "x".join(map(str, extents))
