"""The layer that drops values while training, and what turns one form into another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core, initializers
from lamina._checks import Array
from lamina.layers.base import Core, Layer, Settings
from lamina.layers.dense import Dense
from lamina.schedules import Schedule, numbers

__all__ = ["Dropout", "convert_dropout"]


class Dropout(Layer):
    """Sets a random share of the values to zero while training.

    Which ones depends on the seed, the layer's place and the number of the training
    pass alone: not on threads, instruction set or dtype.

    Parameters
    ----------
    rate : float or Schedule
        The share that is dropped (not the one that is kept), in [0, 1]; a multiple of
        1/65536 after rounding. A schedule is asked for that of each training step of
        the net, from number 1 on, whatever the optimizer.
    mode : {"inverted", "classic", "alpha"}
        Inverted: what is kept is divided by the probability of keeping, while training;
        prediction changes nothing. Classic (Srivastava et al. 2014): training does not
        scale; prediction multiplies by that probability; `Sequential.convert_dropout`
        turns a net of either into the other, and whose rate is a number. Alpha: for
        nets of selu, whose mean and variance it keeps (see `lamina.dropout`);
        prediction changes nothing.

    Attributes
    ----------
    step : int
        Number of the next training pass. A net uses the number of its step instead.
    first_row : int
        Number of the first row of the next pass, where the bits of a batch begin.

    Raises
    ------
    ValueError
        A rate outside [0, 1], an unknown mode, a schedule in classic mode.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> layer = lm.Dropout(0.5)
    >>> x = np.ones((1, 1000))
    >>> float(layer.forward(x, training=True).max()), layer.forward(x) is x
    (2.0, True)
    """

    _settings: ClassVar[Settings] = {
        "rate": lambda name, value: (
            value if isinstance(value, Schedule) else _checks.fraction(name, value)
        ),
        "mode": lambda _, value: _checks.mode(value),
    }

    def __init__(self, rate: float | Schedule, mode: _checks.Mode = "inverted") -> None:
        super().__init__()
        self.rate, self.mode = rate, mode
        if self.mode == "classic":
            _kept(self)
        self.step = self.first_row = 0

    def __repr__(self) -> str:
        mode = "" if self.mode == "inverted" else f", {self.mode!r}"
        rate = self.rate if isinstance(self.rate, Schedule) else f"{self.rate:g}"
        return f"Dropout({rate}{mode})"

    def core(self) -> Core:
        scheduled = isinstance(self.rate, Schedule)
        rate = 0.0 if scheduled else self.rate
        return "dropout", {"rate": rate, "scheduled": scheduled, "mode": self.mode}

    @property
    def _sparse(self) -> str:
        return "" if self.mode == "alpha" else "keeps"

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate, "mode": self.mode}

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {}

    def affine(self) -> tuple[float, float]:
        return _kept(self) if self.mode == "classic" else 1.0, 0.0

    def initial(self) -> dict[str, Array]:
        self.step = self.first_row = 0
        return {}

    def rates(self, first_step: int, count: int) -> Array:
        """Of `count` steps from that one on, 0 being the first of a net."""
        first_step = _checks.unsigned("first_step", first_step, 63)
        count = _checks.count("count", count)
        if isinstance(self.rate, Schedule):
            return numbers("rate", self.rate, first_step + 1, count, 1)
        return np.full(count, self.rate)

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        x = self.take(x)
        if training:
            bits = initializers.stream(initializers.DROPOUT, self.index, self.step)
            rate = float(self.rates(self.step, 1)[0])
            self.step += 1
            self.keep(x, training, bits, rate)
            return self._drop(x, bits, rate)
        if self.mode == "classic":
            return x * _kept(self)
        return x

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        dy, _, bits, rate = self.recall(dy)
        return self._drop(dy, bits, rate, gradient=True)

    def _drop(self, x: Array, bits: int, rate: float, gradient: bool = False) -> Array:
        offset = self.first_row * x.shape[1]
        return _core.dropout(x, rate, self.seed, bits, offset, self.mode, gradient)


def _kept(layer: Dropout) -> float:
    """The probability of keeping a value, a multiple of 1/65536."""
    if isinstance(layer.rate, Schedule):
        raise ValueError(f"rate must be a number in classic mode, got {layer.rate!r}")
    return 1 - round(layer.rate * 65536) / 65536


def convert_dropout(
    layers: Sequence[Layer], mode: Literal["classic", "inverted"]
) -> None:
    """What `Sequential.convert_dropout` does, in place, on built layers."""
    other = {"classic": "inverted", "inverted": "classic"}.get(mode)
    if other is None:
        raise ValueError(f"mode must be 'classic' or 'inverted', got {mode!r}")
    found = []
    for i, layer in enumerate(layers):
        if not isinstance(layer, Dropout) or layer.mode != other:
            continue
        after = layers[i + 1] if i + 1 < len(layers) else None
        if not isinstance(after, Dense) or type(after).forward is not Dense.forward:
            raise ValueError(
                f"layers[{i}], {layer!r}, must come right before a Dense layer, whose "
                f"kernel takes its factor, got {after!r} there"
            )
        if _kept(layer) == 0:
            raise ValueError(f"layers[{i}], {layer!r}, must keep something to convert")
        found.append((layer, after))
    for layer, dense in found:
        kernel, kept = dense.parameters["kernel"], _kept(layer)
        if mode == "inverted":
            kernel *= kept
        else:
            kernel /= kept
        layer.mode = mode
