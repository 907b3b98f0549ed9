"""What layers have in common whose arrays learn alike."""

from __future__ import annotations

from typing import Any, ClassVar

from lamina import _checks
from lamina.layers.base import Layer, Settings

__all__ = ["Learning"]


class Learning(Layer):
    """A layer with one factor of the rate and one of the decay, for all its arrays."""

    _settings: ClassVar[Settings] = {
        "rate": _checks.nonnegative,
        "decay": _checks.nonnegative,
        "trainable": _checks.flag,
    }

    def __init__(
        self, *, rate: float = 1.0, decay: float = 1.0, trainable: bool = True
    ) -> None:
        super().__init__()
        self.rate, self.decay, self.trainable = rate, decay, trainable

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate, "decay": self.decay, "trainable": self.trainable}

    def factors(self) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(self.parameters, (self.rate, self.decay))
