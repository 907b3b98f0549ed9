"""A module for each library, with its best form of every function that it has.

Each function takes arrays and returns a call without arguments, which is timed; None
means that the library has no such function.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Call: TypeAlias = Callable[[], Any]


def both_ways(forward: Call, backward: Call) -> Call:
    """Forward's y, then the gradients of x, kernel and bias."""
    return lambda: (forward(), *backward())
