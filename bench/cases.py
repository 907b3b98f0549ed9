"""A benchmark: a function that every library computes, and how results are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from peers import Array


def close(actual: Array, expected: Array, scale: float = 1.0) -> None:
    """Equal up to roundings, half an epsilon each, of the terms that a form adds.

    Terms reach ten where their sum is nearly zero: the tails of gelu and its like.
    """
    tolerance = 84 * np.finfo(expected.dtype).eps * scale
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@dataclass(frozen=True)
class Case:
    """One operation at one size: `function` of a library's module, of `arguments`.

    The module is that of `peers`, or of `nets` for "nets.training_step" and its like.

    What libraries agree on is the result of the last of `calls` calls, of `rehearsal`
    where the arguments timed have no single right answer.
    """

    table: str
    operation: str
    size: str
    function: str
    arguments: tuple[Any, ...]
    agree: Callable[[Any, Any], None] = close
    rehearsal: tuple[Any, ...] | None = None
    calls: int = 1
    threads: int = 1  # of the caller, each with arrays of its own
    cold: bool = False  # a round is a new process with one call


def parameter(build: Callable[..., Case], *arguments: Any, brief: bool = True) -> Any:
    """The case that ``build(dtype, *arguments)`` makes once its turn has come.

    Without `brief`, it runs with ``--full`` only.
    """

    def make(dtype: str) -> Case:
        return build(dtype, *arguments)

    marks = () if brief else pytest.mark.full
    return pytest.param(make, id="-".join(map(str, arguments)), marks=marks)


def normal(
    dtype: str, shape: tuple[int, ...], scale: float = 1.0, seed: int = 0
) -> Array:
    generator: Any = np.random.default_rng(seed)
    draws: Array = generator.standard_normal(shape, dtype)
    draws *= draws.dtype.type(scale)
    return draws


def times(*extents: int) -> str:
    """How a shape is written: 32x64x64."""
    return "x".join(map(str, extents))
