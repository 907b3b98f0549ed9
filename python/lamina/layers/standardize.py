"""The layer that centres and scales its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, activations, data
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings

__all__ = ["Standardize"]


class Standardize(Layer):
    """Centres every feature and scales it to unit variance; the first layer of a net.

    Without centring sparse rows stay sparse: zeros stay zeros.

    Mean and scale are learnt from the training rows in the first `Sequential.fit` and
    stay as they are in later ones; until then the layer changes nothing. Columns far
    from zero, like points in time, stay apart in a net of float32, too: if that could
    move an output by a millionth, inputs of float64 or of large integers are centred
    before they are rounded.

    Parameters
    ----------
    center : bool
        False: only scale, by the same standard deviation.
    columns : int or sequence of int, optional
        Numbers of the columns, from 0; the others stay as they are. All if not given.

    Attributes
    ----------
    mean : (features,) array
        Of the layer's dtype; of float64 where inputs are centred before; 0 without
        centring, and of other columns.
    scale : (features,) array
        Standard deviation, or 1 for a constant feature and for other columns.
    learnt : bool

    Raises
    ------
    ValueError
        Columns that come twice or are not in the input.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.Standardize()
    >>> layer.learn([[1.0, 5.0], [3.0, 5.0]])
    >>> layer.forward([[1.0, 5.0], [4.0, 6.0]])
    array([[-1.,  0.],
           [ 2.,  1.]])
    """

    kept = ("mean", "scale", "learnt")
    # Of nets that were pickled before there was a choice.
    center: bool = True
    columns: tuple[int, ...] | None = None
    _settings: ClassVar[Settings] = {
        "center": _checks.flag,
        "columns": _checks.some_columns,
    }
    _fixed = "center", "columns"

    def __init__(
        self, center: bool = True, columns: int | Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.center = center
        self.columns = columns  # type: ignore[assignment]
        self.learnt = False

    def __repr__(self) -> str:
        center = [] if self.center else ["center=False"]
        named = [] if self.columns is None else [f"columns={[*self.columns]}"]
        return f"Standardize({', '.join(center + named)})"

    @property
    def _sparse(self) -> str:
        return "" if self.center else "keeps"

    def core(self) -> Core:
        learnt = {"mean": self._rounded_mean(), "scale": self.scale}
        return "standardize", learnt | {"center": self.center, "clip": self._clip}

    @property
    def _clip(self) -> activations.ActivationFunction:
        """What outputs go through last; its backward reads its output."""
        return activations.get("identity")

    def exact_mean(self) -> Array | None:
        """The mean, if the layer's dtype is too coarse for it."""
        return None if self.mean.dtype == self.dtype else self.mean

    def _rounded_mean(self) -> Array:
        return self.mean.astype(self.dtype, copy=False)

    def config(self) -> dict[str, Any]:
        return {"center": self.center, "columns": self.columns}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"mean": (features,), "scale": (features,)}

    def initial(self) -> dict[str, Array]:
        _checks.within("columns", self.columns, self.features)
        self.mean = np.zeros(self.features, self.dtype)
        self.scale = np.ones_like(self.mean)
        self.learnt = False
        return {}

    def learn(self, x: Any) -> None:
        """Take mean and scale from the rows of `x`, (n, features), of any kind that
        `Sequential.fit` takes; a memory map is read block by block.

        Raises
        ------
        TypeError, ValueError
            `x` cannot be used, or has a spread that is not finite.
        """
        rows = self._rows_to_learn(x, sparse=not self.center)
        self.adopt(*self.measured(rows))

    def measured(
        self, table: data.Table, rows: Array | None = None
    ) -> tuple[Array, Array]:
        """What `adopt` takes, of the rows of those numbers, or of all."""
        return data.standardization(table, rows)

    def adopt(self, mean: Array, scale: Array) -> None:
        """Take that mean and scale, (features,), of a layer that is built."""
        self.mean = mean if self.center else np.zeros(self.features, self.dtype)
        # A spread that the dtype rounds to zero is constant for all that it can tell.
        scale = scale.astype(self.dtype)
        self.scale = np.where(scale == 0, 1, scale)
        if self.columns is not None:
            others = np.delete(np.arange(self.features), self.columns)
            self.mean, self.scale[others] = self.mean.copy(), 1
            self.mean[others] = 0
        self.learnt = True

    def take(self, x: ArrayLike) -> Array:
        if isinstance(x, data.Centred):
            return x
        if not self.features:
            x = super().take(x)
        mean = self.exact_mean()
        rows = data.inputs("x", x, self.dtype, self.features, finite=False, mean=mean)
        made: Array = rows.take(slice(None))
        return made

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        x = self.take(x)
        centred = isinstance(x, data.Centred)
        mean = 0 if centred else self._rounded_mean()
        y: Array = (np.asarray(x) - mean) / self.scale
        if self._clip.name != "identity":
            y = self._clip(y)
        self.keep(y, training)
        return y

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        dy, y = self.recall(dy)
        if self._clip.name != "identity":
            dy = np.asarray(self._clip.backward(dy, y))
        dx: Array = dy / self.scale
        return dx
