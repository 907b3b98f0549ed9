"""Blocks whose input is added to their output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import ArrayLike

from lamina._checks import Array
from lamina.layers.base import Core, Layer

__all__ = ["Add", "Residual", "blocks", "in_a_row"]


class Residual(Layer):
    """A block of layers whose input is added to its output (He et al. 2016).

    In a net the layers of the block stand in its row, between the `Residual`, which
    changes nothing, and an `Add`: ``[Residual([a, b])]`` is ``[Residual(), a, b,
    Add()]``. Both have to be as wide as each other. A block may hold other blocks.

    Parameters
    ----------
    layers : iterable of Layer
        The block; without any, the layers of the net up to the `Add` that closes it.

    Examples
    --------
    >>> import lamina as lm
    >>> net = lm.Sequential(
    ...     [lm.Dense(8), lm.Residual([lm.Dense(16, "relu"), lm.Dense(8)]), lm.Dense(1)]
    ... )
    >>> net.layers[1:5]
    (Residual(), Dense(16, 'relu'), Dense(8, 'identity'), Add())
    """

    def __init__(self, layers: Iterable[Layer] = ()) -> None:
        super().__init__()
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, got {layers!r}")
        self.layers = tuple(layers)  # until they are in a net

    def __repr__(self) -> str:
        return f"Residual({list(self.layers) if self.layers else ''})"

    def core(self) -> Core:
        return "residual", {}

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers}

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        x = self.take(x)
        self.keep(x, True)  # for what closes the block
        return x

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        dy, _, beside = self.recall(dy)
        dx: Array = dy + beside
        return dx


class Add(Layer):
    """Closes the block of a `Residual`: adds the block's input to its output.

    ``Residual([...])`` puts it into the net by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.beginning: Residual | None = None  # known in a net

    def __repr__(self) -> str:
        return "Add()"

    def core(self) -> Core:
        return "add", {}

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        x = self.take(x)
        if self.beginning is None or self.beginning._saved is None:
            raise RuntimeError("Add.forward must come after that of its Residual")
        self.keep(x, training)
        y: Array = self.beginning._saved[0] + x
        return y

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        dy, _ = self.recall(dy)
        assert self.beginning is not None
        assert self.beginning._saved is not None
        self.beginning._saved = self.beginning._saved[0], dy
        dx: Array = dy
        return dx


def in_a_row(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers with those of blocks in their places."""
    for layer in layers:
        yield layer
        if isinstance(layer, Residual) and layer.layers:
            yield from in_a_row(layer.layers)
            yield Add()


def blocks(layers: Sequence[Layer]) -> dict[int, int]:
    """For each `Add` the place of its `Residual`.

    Raises
    ------
    ValueError
        One of them is alone.
    """
    begun: list[int] = []
    found = {}
    for i, layer in enumerate(layers):
        if isinstance(layer, Residual):
            begun.append(i)
        elif isinstance(layer, Add):
            if not begun:
                raise ValueError(f"layers[{i}], Add(), must come after a Residual")
            found[i] = begun.pop()
    if begun:
        raise ValueError(f"layers[{begun[-1]}], Residual(), must come before an Add")
    return found
