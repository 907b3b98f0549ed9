"""The layer that turns numbers into piecewise linear functions of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, data, initializers
from lamina._checks import Array
from lamina.layers.base import Core, Settings
from lamina.layers.learning import Learning

__all__ = ["PiecewiseLinear"]

_MOST = 512  # terms of a chain of additions


class PiecewiseLinear(Learning):
    """Turns each column into `dims` functions of it, linear between quantiles.

    The piecewise linear encoding and a linear map of it for each column: with bins from
    edge t to edge t + 1, ``y = bias + sum over t of e[t] * kernel[t]``, where e[t] is 0
    below bin t, 1 above, and what x has passed of it within; the first and the last bin
    have no end (Gorishniy, Rubachev & Babenko 2022, section 3.2.1; version "A" of
    rtdl_num_embeddings). An activation, relu in the paper, is a layer of its own after
    it. Numbers of any scale may come.

    Columns that are not named pass as they are. In the output they come first, in their
    order; then come the functions, in the order of `columns`.

    The edges are quantiles of the training rows, learnt in the first `Sequential.fit`
    and kept in later ones: exactly from up to 100 000 rows, from as many of them,
    spread evenly, where there are more. Equal quantiles are one edge.

    Parameters
    ----------
    bins : int
        Of each column; at most 512.
    dims : int
        Functions of each column; at most 512.
    columns : int or sequence of int, optional
        Numbers of the columns, from 0; all if not given.
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0.
    trainable : bool
        False: a net's training leaves kernel and bias as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "kernel" (columns, bins, dims) and "bias" (columns, 1, dims), drawn evenly from
        between -1 and 1 over the root of `bins`.
    edges : (columns, bins + 1) array
        Ascending; infinite where a column has fewer bins.
    learnt : bool

    Raises
    ------
    ValueError
        Columns that come twice or are not in the input, bins or dims beyond 512.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.PiecewiseLinear(bins=2, dims=1)
    >>> layer.learn([[0.0], [1.0], [5.0]])
    >>> layer.edges
    array([[0., 1., 5.]])
    >>> layer.parameters["kernel"][...] = [[[10], [100]]]
    >>> layer.parameters["bias"][...] = 0
    >>> layer.forward([[0.5], [1.0], [3.0], [-1.0]])
    array([[  5.],
           [ 10.],
           [ 60.],
           [-10.]])
    """

    kept = ("edges", "learnt")
    _settings: ClassVar[Settings] = {
        **Learning._settings,
        "bins": lambda name, value: _checks.at_most(name, value, _MOST),
        "dims": lambda name, value: _checks.at_most(name, value, _MOST),
        "columns": _checks.some_columns,
    }
    _fixed = "bins", "dims", "columns"

    def __init__(
        self,
        bins: int = 48,
        dims: int = 16,
        *,
        columns: int | Sequence[int] | None = None,
        rate: float = 1.0,
        decay: float = 1.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(rate=rate, decay=decay, trainable=trainable)
        self.bins, self.dims = bins, dims
        self.columns: tuple[int, ...] | None = columns  # type: ignore[assignment]
        self.learnt = False

    def __repr__(self) -> str:
        named = "" if self.columns is None else f", columns={[*self.columns]}"
        return f"PiecewiseLinear({self.bins}, {self.dims}{named})"

    def core(self) -> Core:
        if not self.learnt:
            raise RuntimeError(
                "PiecewiseLinear must have learnt its bins before: call fit, or "
                "learn(x) with some rows as they come to the layer"
            )
        return "piecewise_linear", {
            "columns": _checks.within("columns", self.columns, self.features),
            "outputs": self.outputs(self.features),
            "bins": self.bins,
            "edges": self.edges,
        }

    def config(self) -> dict[str, Any]:
        own = {"bins": self.bins, "dims": self.dims, "columns": self.columns}
        return own | super().config()

    def outputs(self, features: int) -> int:
        count = len(_checks.within("columns", self.columns, features))
        return features + count * (self.dims - 1)

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        count = len(_checks.within("columns", self.columns, features))
        return {
            "kernel": (count, self.bins, self.dims),
            "bias": (count, 1, self.dims),
            "edges": (count, self.bins + 1),
        }

    def initial(self) -> dict[str, Array]:
        shapes = self.shapes(self.features)
        self.edges = np.full(shapes.pop("edges"), np.inf, self.dtype)
        self.learnt = False
        even = initializers.uniform.using(limit=self.bins**-0.5)
        return {
            name: self.draw(even, shape, i)
            for i, (name, shape) in enumerate(shapes.items())
        }

    def learn(self, x: ArrayLike) -> None:
        """Take the edges of the bins from the rows of `x`, (n, features), as they come
        to the layer.

        Raises
        ------
        TypeError, ValueError
            `x` cannot be used, or has a spread that is not finite.
        """
        table = self._rows_to_learn(x)
        columns = _checks.within("columns", self.columns, self.features)
        values = data.sample(table)[:, columns].astype(np.float64)
        if not (np.ptp(values, axis=0) <= np.finfo(self.dtype).max / 2).all():
            raise ValueError("x must have a finite spread, got a column without")
        steps = np.linspace(0, 1, self.bins + 1)
        edges = np.full((len(columns), self.bins + 1), np.inf, self.dtype)
        for own, quantiles in zip(
            edges, np.quantile(values, steps, axis=0).T, strict=True
        ):
            found = np.unique(quantiles.astype(self.dtype))
            own[: len(found)] = found
            if len(found) == 1:  # constant: a line through it
                own[1] = found[0] + max(abs(found[0]), 1)
        self.edges, self.learnt = edges, True
