"""The layer that scales its inputs by what outliers do not change, and clips them."""

from __future__ import annotations

from typing import Any, ClassVar

from lamina import _checks, activations, data
from lamina._checks import Array
from lamina.layers.base import Settings
from lamina.layers.standardize import Standardize

__all__ = ["RobustScale"]


class RobustScale(Standardize):
    """Centres every feature by its median, scales it by its quartiles, and clips it
    smoothly; the first layer of a net.

    ``u = (x - median) / (q75 - q25)``, then ``u / sqrt(1 + (u / limit)**2)``, which
    lies between -limit and limit: the preprocessing of RealMLP (Holzmueller, Grinsztajn
    & Steinwart 2024). Where the quartiles are equal, half the range of the feature
    takes their place; a constant feature becomes 0.

    Like `Standardize` it learns from the training rows in the first `Sequential.fit`,
    and changes nothing but the clip before. Quartiles are those of all rows, or of
    100 000 of them, spread evenly, where there are more.

    Parameters
    ----------
    limit : float
        Above 0; infinity clips nothing.

    Attributes
    ----------
    mean : (features,) array
        The medians; of the layer's dtype, of float64 where inputs are centred before
        they are rounded.
    scale : (features,) array
        What the features are divided by; infinity for a constant one.
    learnt : bool

    Raises
    ------
    ValueError
        A limit that is not positive.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.RobustScale()
    >>> layer.learn([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> layer.forward([[2.0], [4.0], [1e9]]).round(3).ravel()
    array([0.   , 0.949, 3.   ])
    """

    _settings: ClassVar[Settings] = {
        "limit": lambda name, value: _checks.real(
            name, value, "a number > 0", lambda number: number > 0
        )
    }

    def __init__(self, limit: float = 3.0) -> None:
        super().__init__()
        self.limit = limit

    def __repr__(self) -> str:
        return "RobustScale()" if self.limit == 3 else f"RobustScale({self.limit:g})"

    @property
    def _clip(self) -> activations.ActivationFunction:
        return activations.get("smooth_clip").using(limit=self.limit)

    def config(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def measured(
        self, table: data.Table, rows: Array | None = None
    ) -> tuple[Array, Array]:
        return data.quartiles(table, rows)
