"""The layer that turns codes into learnt vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from lamina import _checks, initializers
from lamina._checks import Array
from lamina.layers.base import Core, Settings
from lamina.layers.learning import Learning

__all__ = ["Embedding"]

_EXACT = 2**24  # codes are numbers of float32


class Embedding(Learning):
    """Turns columns of codes into vectors that are learnt, one for each code.

    Columns that are not named pass as they are. In the output they come first, in their
    order; then come the vectors, in the order of `columns`. A code of a column of size
    n is one of the numbers 0, 1, ... n - 1; every other number (negative, n or more,
    with a fraction, NaN) has the vector of the unknown, zero at first: it learns if the
    training rows have such numbers, as a -1 for what is missing.

    Parameters
    ----------
    columns : int or sequence of int
        Numbers of the columns of codes, from 0.
    sizes : int or sequence of int
        The number of codes of each column, or of all; at most 2**24.
    dims : int or sequence of int
        The length of the vectors of each column, or of all.
    padding : int, optional
        The code that stands for nothing: its vectors are zero and stay so.
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0.
    trainable : bool
        False: a net's training leaves the vectors as they are.

    Attributes
    ----------
    parameters, gradients : dict
        For each column, as "table_3" for column 3, (size + 1, dim): a row for each
        code, and the last for the unknown. Drawn from N(0, 1), as those of PyTorch and
        RealMLP.

    Raises
    ------
    ValueError
        Columns that come twice or are not in the input, sizes or dims of another
        number than columns, sizes beyond 2**24, a padding that is no code, a negative
        rate or decay.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.Embedding([1], sizes=3, dims=2)
    >>> layer.build(3)
    4
    >>> layer.parameters["table_1"][...] = [[1, 2], [3, 4], [5, 6], [0, 0]]
    >>> layer.forward([[0.5, 2.0, 0.25], [0.5, -1.0, 0.75]])
    array([[0.5 , 0.25, 5.  , 6.  ],
           [0.5 , 0.75, 0.  , 0.  ]], dtype=float32)
    """

    _settings: ClassVar[Settings] = {
        **Learning._settings,
        "columns": _checks.columns,
        "sizes": _checks.counts,
        "dims": _checks.counts,
        "padding": lambda name, value: (
            None if value is None else _checks.unsigned(name, value, 24)
        ),
    }
    _fixed = "columns", "sizes", "dims", "padding"

    def __init__(
        self,
        columns: int | Sequence[int],
        sizes: int | Sequence[int],
        dims: int | Sequence[int],
        *,
        padding: int | None = None,
        rate: float = 1.0,
        decay: float = 1.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(rate=rate, decay=decay, trainable=trainable)
        self.columns: tuple[int, ...] = columns  # type: ignore[assignment]
        self.sizes: int | tuple[int, ...] = sizes  # type: ignore[assignment]
        self.dims: int | tuple[int, ...] = dims  # type: ignore[assignment]
        self.padding = padding
        self._tables()

    def __repr__(self) -> str:
        return f"Embedding({[*self.columns]}, {self.sizes}, {self.dims})"

    def _tables(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Size and length of the vectors of each column."""
        found = []
        for name in "sizes", "dims":
            value = getattr(self, name)
            each = (value,) * len(self.columns) if isinstance(value, int) else value
            if len(each) != len(self.columns):
                raise ValueError(
                    f"{name} must be a number, or one for each of the "
                    f"{len(self.columns)} columns, got {value!r}"
                )
            found.append(each)
        sizes, dims = found
        if max(sizes) > _EXACT:
            raise ValueError(
                f"sizes must be at most 2**24, the codes that float32 tells apart, got "
                f"{max(sizes)}"
            )
        if self.padding is not None and self.padding >= min(sizes):
            raise ValueError(
                f"padding must be a code of every column, less than {min(sizes)}, got "
                f"{self.padding}"
            )
        return sizes, dims

    def core(self) -> Core:
        sizes, dims = self._tables()
        return "embedding", {
            "columns": self.columns,
            "sizes": sizes,
            "dims": dims,
            "pads": self.padding is not None,
            "padding": self.padding,
        }

    def config(self) -> dict[str, Any]:
        names = "columns", "sizes", "dims", "padding"
        return {name: getattr(self, name) for name in names} | super().config()

    def outputs(self, features: int) -> int:
        _checks.within("columns", self.columns, features)
        _, dims = self._tables()
        return features - len(self.columns) + sum(dims)

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        tables = zip(self.columns, *self._tables(), strict=True)
        return {f"table_{column}": (size + 1, dim) for column, size, dim in tables}

    def initial(self) -> dict[str, Array]:
        self.outputs(self.features)
        arrays = {}
        normal = initializers.normal.using(std=1.0)
        for i, (name, shape) in enumerate(self.shapes(self.features).items()):
            table = arrays[name] = np.array(self.draw(normal, shape, i))
            table[-1] = 0
            if self.padding is not None:
                table[self.padding] = 0
        return arrays
