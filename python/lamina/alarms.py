"""What `fit` warns about by itself: three things only, each once.

They are told from what is at hand, at no cost in a step; `Sequential.diagnose` says
more.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np

from lamina import losses
from lamina._checks import Array
from lamina.network import Network

__all__ = ["Alarms", "LaminaWarning", "kernels", "overshot", "relative_change"]

# Of a kernel; nets that learn change it by 0.06 at most in their first step.
TENTH = 0.1
_MORE = "; net.diagnose(x, y) looks for the cause and a remedy"


class LaminaWarning(UserWarning):
    """What `Sequential.fit` says of a net that will hardly learn."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Alarms:
    """Those of one fit, made before its first step."""

    def __init__(self, net: Network, goal: losses.Loss) -> None:
        self.net, self.goal = net, goal
        self._before = net.parameters.copy() if net._updates == 0 else None
        self._warned, self._pending = False, ""
        last = net._last_activation()
        softmax = last is not None and last.name in ("softmax", "log_softmax")
        if softmax and net._outputs(net.features) == 1:
            _warn(
                "softmax of one output: it is 1 for every row; use 'sigmoid', or an "
                "output for each class"
            )

    def steps(
        self, x: Array, y: Array, weights: Array | None, rows: Array | None, loss: float
    ) -> None:
        """After some steps, with their rows and loss; only the first is looked at, and
        what it says is said when another follows."""
        if self._pending:
            _warn(self._pending)
            self._pending = ""
        before, self._before = self._before, None
        if before is None:
            return
        change, layer = largest_change(self.net, before)
        if rows is not None:
            x, y = x[rows], y[rows]
            weights = None if weights is None else weights[rows]
        if change > TENTH and overshot(self.net, self.goal, x, y, weights, loss):
            self._pending = (
                f"rate too high: the first step changed the kernel of layer {layer} by "
                f"{change:.2g} of its size (healthy: at most {TENTH:g}){_MORE}"
            )

    def loss(self, value: float) -> None:
        """At the end of an epoch."""
        if not math.isfinite(value) and not self._warned:
            self._warned = True
            epoch = self.net.epoch + 1
            _warn(f"not finite: the loss of epoch {epoch} is {value}{_MORE}")


def largest_change(net: Network, before: Array) -> tuple[float, int]:
    """Of a kernel since those parameters, and its layer."""
    pairs = zip(kernels(net, before), kernels(net), strict=True)
    return max(
        ((relative_change(old, new), i) for (i, old), (_, new) in pairs),
        default=(0.0, 0),
    )


def overshot(
    net: Network,
    goal: losses.Loss,
    x: Array,
    y: Array,
    weights: Array | None,
    before: float,
) -> bool:
    """Whether a step has not lowered the loss of its own rows, as a sum: where a large
    step does, as in a small or a linear model, it is not too large."""
    with np.errstate(all="ignore"):
        after = net._evaluate(goal, x, y, weights)[0]
    return not after < before


def _warn(text: str) -> None:
    warnings.warn(text, LaminaWarning, stacklevel=6)  # where `fit` is called


def kernels(
    net: Network, parameters: Array | None = None
) -> Iterator[tuple[int, Array]]:
    """Every parameter of two dimensions with the number of its layer: the net's own, or
    from a copy of all parameters."""
    start = 0
    for i, layer in enumerate(net.layers):
        for array in layer.parameters.values():
            stop = start + array.size
            if array.ndim == 2:
                held = array if parameters is None else parameters[start:stop]
                yield i, held.reshape(array.shape)
            start = stop


def relative_change(before: Array, after: Array) -> float:
    """The norm of a kernel's change over its norm, or over that of He's weights of the
    same shape where that is larger: a kernel that begins near zero may grow."""
    usual = math.sqrt(2 * before.shape[1])
    size = max(1, (1 << 20) // before.shape[1])
    change = held = 0.0
    with np.errstate(all="ignore"):
        for start in range(0, len(before), size):  # in float64: not all at once
            old = before[start : start + size].astype(np.float64)
            change += float(np.square(after[start : start + size] - old).sum())
            held += float(np.square(old).sum())
    change, held = math.sqrt(change), math.sqrt(held)
    return change / max(held, usual) if math.isfinite(change) else math.inf
