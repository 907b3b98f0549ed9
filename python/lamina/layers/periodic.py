"""The layer that turns numbers into maps of waves of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from lamina import _checks, initializers
from lamina._checks import Array
from lamina.layers.base import Core, Settings
from lamina.layers.learning import Learning

__all__ = ["Periodic"]

_MOST = 512  # terms of a chain of additions
_FORMS = {"pbld": (4, 16, 0.1), "plr": (24, 48, 0.01)}  # what is usual in each


def _form(name: str, value: Any) -> str:
    if value not in _FORMS:
        raise ValueError(f"{name} must be 'pbld' or 'plr', got {value!r}")
    return str(value)


class Periodic(Learning):
    """Turns each column into `dims` numbers by waves of learnt frequencies.

    Both forms have frequencies, a kernel and a bias for each column.

    "pbld" (Holzmueller, Grinsztajn & Steinwart 2024, of RealMLP): the column itself and
    ``cos(2 pi x frequencies + phases) @ kernel + bias``, `dims` - 1 numbers.
    "plr" (Gorishniy, Rubachev & Babenko 2022, of rtdl_num_embeddings):
    ``[cos(2 pi x frequencies), sin(2 pi x frequencies)] @ kernel + bias``, before the
    relu, which is a layer of its own after it.

    Columns that pass come first in the output, in their order: those that are not
    named, and in the form "pbld" all; then come the maps, in the order of `columns`.
    Numbers should be of unit scale.

    Parameters
    ----------
    dims : int, optional
        Numbers made of each column; 4 in the form "pbld", 24 in "plr".
    n_frequencies : int, optional
        Of each column; 16 or 48.
    frequency_init_scale : float, optional
        Deviation of the frequencies at first, in turns for a change of x by 1; 0.1 or
        0.01. It counts.
    form : {"pbld", "plr"}
    columns : int or sequence of int, optional
        Numbers of the columns, from 0; all if not given.
    rate, decay : float
        Factors of the learning rate and of the optimizer's weight decay, at least 0;
        RealMLP takes a rate of 0.1.
    trainable : bool
        False: a net's training leaves the parameters as they are.

    Attributes
    ----------
    parameters, gradients : dict
        "frequencies" (columns, 1, n_frequencies), drawn from a normal distribution;
        "phases" likewise in the form "pbld", from between -pi and pi; "kernel"
        (columns, waves, maps) and "bias" (columns, 1, maps), from between -1 and 1 over
        the root of the number of waves.

    Raises
    ------
    ValueError
        Columns that come twice or are not in the input, more than 512 waves or dims,
        less than 2 dims in the form "pbld", a scale that is negative.

    Examples
    --------
    >>> import lamina as lm
    >>> layer = lm.Periodic(dims=2, n_frequencies=1)
    >>> layer.build(1)
    2
    >>> for name, value in zip(layer.parameters, (0.25, 0, 10, 0.5)):
    ...     layer.parameters[name][...] = value
    >>> layer.forward([[0.0], [2.0], [1.0]])
    array([[ 0. , 10.5],
           [ 2. , -9.5],
           [ 1. ,  0.5]], dtype=float32)
    """

    _settings: ClassVar[Settings] = {
        **Learning._settings,
        "dims": lambda name, value: _checks.at_most(name, value, _MOST),
        "n_frequencies": lambda name, value: _checks.at_most(name, value, _MOST),
        "frequency_init_scale": _checks.nonnegative,
        "form": _form,
        "columns": _checks.some_columns,
    }
    _fixed = "dims", "n_frequencies", "form", "columns"

    def __init__(
        self,
        dims: int | None = None,
        n_frequencies: int | None = None,
        frequency_init_scale: float | None = None,
        *,
        form: Literal["pbld", "plr"] = "pbld",
        columns: int | Sequence[int] | None = None,
        rate: float = 1.0,
        decay: float = 1.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(rate=rate, decay=decay, trainable=trainable)
        self.form = form
        usual = _FORMS[self.form]
        self.dims = usual[0] if dims is None else dims
        self.n_frequencies = usual[1] if n_frequencies is None else n_frequencies
        scale = usual[2] if frequency_init_scale is None else frequency_init_scale
        self.frequency_init_scale = scale
        self.columns: tuple[int, ...] | None = columns  # type: ignore[assignment]
        self._shape()

    def __repr__(self) -> str:
        form = "" if self.form == "pbld" else f", form={self.form!r}"
        named = "" if self.columns is None else f", columns={[*self.columns]}"
        given = f"{self.dims}, {self.n_frequencies}, {self.frequency_init_scale:g}"
        return f"Periodic({given}{form}{named})"

    def _shape(self) -> tuple[int, int]:
        """Of a column's kernel."""
        if self.form == "pbld":
            if self.dims < 2:
                raise ValueError(f"dims must be at least 2 in 'pbld', got {self.dims}")
            return self.n_frequencies, self.dims - 1
        if 2 * self.n_frequencies > _MOST:
            raise ValueError(
                f"n_frequencies must be at most {_MOST // 2} in 'plr', got "
                f"{self.n_frequencies}"
            )
        return 2 * self.n_frequencies, self.dims

    def core(self) -> Core:
        return "periodic", {
            "columns": _checks.within("columns", self.columns, self.features),
            "outputs": self.outputs(self.features),
            "frequencies": self.n_frequencies,
            "phases": self.form == "pbld",
        }

    def config(self) -> dict[str, Any]:
        names = "dims", "n_frequencies", "frequency_init_scale", "form", "columns"
        return {name: getattr(self, name) for name in names} | super().config()

    def outputs(self, features: int) -> int:
        count = len(_checks.within("columns", self.columns, features))
        return features + count * (self.dims - 1)

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        count = len(_checks.within("columns", self.columns, features))
        waves, maps = self._shape()
        names = ["frequencies", "phases"] if self.form == "pbld" else ["frequencies"]
        return {
            **dict.fromkeys(names, (count, 1, self.n_frequencies)),
            "kernel": (count, waves, maps),
            "bias": (count, 1, maps),
        }

    def initial(self) -> dict[str, Array]:
        normal, uniform = initializers.normal, initializers.uniform
        even = uniform.using(limit=self._shape()[0] ** -0.5)
        first = {
            "frequencies": normal.using(std=self.frequency_init_scale),
            "phases": uniform.using(limit=math.pi),
        }
        return {
            name: self.draw(first.get(name, even), shape, i)
            for i, (name, shape) in enumerate(self.shapes(self.features).items())
        }
