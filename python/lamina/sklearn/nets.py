"""The net of an estimator, made from its parameters."""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from lamina import losses, optimizers, schedules
from lamina._checks import Array
from lamina.initializers import WEIGHTS, stream, uniform
from lamina.layers import Dense, Dropout, Layer, Standardize
from lamina.model import Sequential

_THEIRS = "identity", "logistic", "tanh", "relu"

__all__ = ["Held", "goal_of", "hidden_sizes", "parts_of", "rates_of", "rule_of"]


@dataclasses.dataclass
class Held:
    """A net with the arrays that an estimator shows as its coefficients."""

    net: Sequential
    dense: list[Dense]
    coefs: list[Array]
    intercepts: list[Array]

    @classmethod
    def of(
        cls, parts: dict[str, Any], widths: Sequence[int], dtype: Any, seed: int
    ) -> Self:
        """A net of `parts_of` an estimator and of these widths, the inputs' first, with
        Lamina's first weights."""
        layers: list[Layer] = [Standardize()] if parts["standardize"] else []
        first, *rates = parts["rates"]
        layers += [Dropout(first)] if first else []
        for units, activation, rate in zip(
            widths[1:-1], parts["hidden"], rates, strict=True
        ):
            layers += [Dense(units, activation), *([Dropout(rate)] if rate else [])]
        last = parts["last"]
        net = Sequential([*layers, Dense(widths[-1], last)], seed=seed, dtype=dtype)
        net.build(widths[0])
        dense = [layer for layer in net.layers if isinstance(layer, Dense)]
        return cls(
            net,
            dense,
            [layer.parameters["kernel"] for layer in dense],
            [layer.parameters["bias"] for layer in dense],
        )

    def draw(self, est: Any, random: np.random.RandomState) -> None:
        """scikit-learn's first weights, uniform and of biases too, where it knows the
        activation: drawn as it does in exact mode, else from the net's own bits."""
        for i, name in enumerate(_names(est, len(self.coefs))):
            coef, intercept = self.coefs[i], self.intercepts[i]
            theirs = isinstance(name, str) and name in _THEIRS
            limit = float(
                np.sqrt((2 if theirs and name == "logistic" else 6) / sum(coef.shape))
            )
            if est.exact:
                coef[...] = random.uniform(-limit, limit, coef.shape)
                intercept[...] = random.uniform(-limit, limit, intercept.shape)
            elif theirs:
                # float64, then rounded: the same net in either dtype.
                draw = uniform.using(limit=limit)
                for number, array in enumerate((coef, intercept)):
                    bits = stream(WEIGHTS, i, number)
                    drawn = draw(
                        array.shape, "float64", seed=self.net.seed, stream=bits
                    )
                    array[...] = drawn

    def regularize(self, alpha: float, l1: float, max_norm: float | None) -> None:
        for layer in self.dense:
            for name, value in [("l2", alpha), ("l1", l1), ("max_norm", max_norm)]:
                if getattr(layer, name) != value:
                    setattr(layer, name, value)

    def shows(self, coefs: list[Array], intercepts: list[Array]) -> bool:
        """Whether these are its own arrays."""
        return all(map(operator.is_, coefs, self.coefs)) and all(
            map(operator.is_, intercepts, self.intercepts)
        )

    def take(self, coefs: list[Array], intercepts: list[Array]) -> None:
        """What a user has put into the lists of coefficients, which then hold views."""
        for given, own in ((coefs, self.coefs), (intercepts, self.intercepts)):
            for i, array in enumerate(own):
                if given[i] is not array:
                    array[...] = given[i]
                    given[i] = array

    def standardize_as(self, other: Held) -> None:
        for own, theirs in zip(self.net.layers[:1], other.net.layers[:1], strict=True):
            if isinstance(own, Standardize) and isinstance(theirs, Standardize):
                own.adopt(theirs.mean.astype(own.dtype), theirs.scale)

    def before(self, hidden: int) -> Sequence[Layer]:
        """The layers up to that hidden one."""
        return self.net.layers[: self.net.layers.index(self.dense[hidden]) + 1]

    def state(self) -> dict[str, Any]:
        """What training changes beside the coefficients, in arrays and numbers."""
        net = self.net
        kept = {
            name: copy.copy(getattr(layer, name))
            for layer in net.layers
            for name in layer.kept
        }
        counts: dict[str, Any] = {
            "seed": net.seed,
            "epoch": net.epoch,
            "steps": net.steps,
        }
        counts |= {"updates": net._updates, "rate_factor": net.rate_factor}
        return {**counts, "kept": kept, "moments": net._state.copy()}

    def restore(self, state: dict[str, Any], rule: optimizers.Optimizer | None) -> None:
        net, kept = self.net, state["kept"]
        for layer in net.layers:
            for name in layer.kept:
                setattr(layer, name, np.copy(kept[name])[()])
        net.epoch, net.steps = state["epoch"], state["steps"]
        net.rate_factor, net._updates = state["rate_factor"], state["updates"]
        net._state, net.optimizer = np.array(state["moments"]), rule


def parts_of(est: Any, hidden: int) -> dict[str, Any]:
    """What the net of that many hidden layers is made of, beside its widths."""
    last = est.out_activation
    if last is None:
        last = {"exp": "identity"}.get(est.out_activation_, est.out_activation_)
    return {
        "standardize": bool(est.standardize),
        "rates": rates_of(est, hidden),
        "hidden": _hidden_activations(est, hidden),
        "last": last,
    }


def hidden_sizes(est: Any) -> list[int]:
    """The widths of the hidden layers."""
    sizes = est.hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if np.any(np.array(sizes) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    if est.width is not None or est.depth is not None:
        if not sizes and est.width is None:
            raise ValueError("width must come with depth, got None")
        width = sizes[0] if est.width is None else est.width
        sizes = [width] * (max(1, len(sizes)) if est.depth is None else est.depth)
    return [int(size) for size in sizes]


def rates_of(est: Any, hidden: int) -> list[float]:
    """Rates of dropout: of the inputs, and after each hidden layer."""
    rates = est.dropout
    if not hasattr(rates, "__iter__"):
        return [0.0] + [float(rates)] * hidden
    rates = [float(rate) for rate in rates]
    if len(rates) != hidden + 1:
        raise ValueError(
            f"dropout must be one rate, or {hidden + 1}: of the inputs and of each "
            f"hidden layer, got {len(rates)}"
        )
    return rates


def _names(est: Any, count: int) -> list[Any]:
    """The activation by which each layer's first weights are drawn: the last layer's
    is that of the last hidden one, as in scikit-learn."""
    hidden = _hidden_activations(est, count - 1)
    return [*hidden, hidden[-1] if hidden else "identity"]


def _hidden_activations(est: Any, hidden: int) -> list[Any]:
    given = est.activation
    if not isinstance(given, list | tuple):
        return [given] * hidden
    if len(given) != hidden:
        raise ValueError(
            f"activation must be one, or {hidden}, one for each hidden layer, got "
            f"{len(given)}"
        )
    return list(given)


def goal_of(est: Any, outputs: int) -> losses.PerWeight:
    """The loss with the factor that makes its gradient scikit-learn's: of the sum over
    the outputs, half of it for squares."""
    if est.loss == "log_loss":
        if est.out_activation_ in ("softmax", "log_softmax"):
            return losses.PerWeight(losses.categorical_crossentropy)
        return losses.PerWeight(losses.binary_crossentropy, outputs)
    if est.loss == "squared_error":
        return losses.PerWeight(losses.mean_squared_error, outputs / 2)
    if est.loss == "poisson":
        return losses.PerWeight(losses.poisson, outputs)
    return losses.PerWeight(losses.get(est.loss))


def rule_of(est: Any) -> optimizers.Optimizer:
    """The optimizer: what was given, or scikit-learn's of that solver."""
    if est.optimizer is not None:
        return optimizers.get(est.optimizer)
    rate = est.learning_rate
    if not isinstance(rate, schedules.Schedule):
        rate = est.learning_rate_init
    if est.solver == "adam":
        numbers = est.beta_1, est.beta_2, est.epsilon
        return optimizers.Adam(rate, *numbers, epsilon_hat=True)
    # scikit-learn allows a momentum of 1.
    momentum = min(float(est.momentum), float(np.nextafter(1, 0)))
    nesterov = bool(est.nesterovs_momentum) and momentum > 0
    return optimizers.SGD(rate, momentum=momentum, nesterov=nesterov)
