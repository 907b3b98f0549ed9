"""The questions of the course, each an experiment: its table, a sentence, a picture."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lamina import initializers, plot
from lamina._checks import Array
from lamina.experiments.compare import compare
from lamina.experiments.experiment import parts
from lamina.experiments.table import Table
from lamina.layers import Dense, Dropout, Standardize
from lamina.model import Sequential
from lamina.optimizers import SGD, Adam

__all__ = ["PRESETS", "Preset"]

Means = Callable[..., float]  # (metric, **setting) -> mean over the trainings


@dataclasses.dataclass(frozen=True)
class Preset:
    """A question, and the experiment that answers it.

    Attributes
    ----------
    question : str
    data : str
        The loader of scikit-learn's that gives the data.
    build, vary, fit, measure
        As `lamina.compare` takes them.
    sentence : function (Means) -> str
        What the numbers say.
    picture : tuple
        What is drawn: over what, by what, and the metrics, a panel for each; those
        within a tuple share one.
    folds : int or None
        As `compare` takes them; None: a fifth of the rows is held out, once.
    """

    question: str
    data: str
    build: Callable[..., Sequential]
    vary: dict[str, list[Any]]
    fit: dict[str, Any]
    sentence: Callable[[Means], str]
    picture: tuple[str, str | None, list[str | tuple[str, ...]]]
    measure: Callable[[Sequential, Any, Any], Mapping[str, float]] | None = None
    folds: int | None = None

    def run(self, *, seeds: int = 3, **options: Any) -> Table:
        """The table; options are those of `compare`."""
        x, y = _load(self.data)
        return compare(
            self.build,
            x,
            y,
            vary=self.vary,
            fit=self.fit,
            folds=self.folds or parts(y, 5)[:1],
            seeds=seeds,
            measure=self.measure,
            **options,
        )

    def answer(self, table: Table) -> str:
        """The sentence."""

        def mean(metric: str, **setting: Any) -> float:
            values = [
                table.values(metric, place).mean()
                for place, labels in enumerate(table.labels)
                if all(labels[name] == value for name, value in setting.items())
            ]
            return float(np.mean(values))

        return self.sentence(mean)

    def draw(self, table: Table) -> Any:
        """The picture, as an array of axes."""
        x, by, metrics = self.picture
        axes = plot.panels(len(metrics))
        for ax, metric in zip(axes, metrics, strict=True):
            plot.lines(table, x, metric, by=by, ax=ax)
            ax.set(xlabel="", ylabel=_NAMES.get(metric, "loss"))
            if ax is not axes[0] and ax.get_legend():
                ax.get_legend().remove()
        axes[-1].set_xlabel(_NAMES.get(x, x))
        return axes


_NAMES: dict[Any, str] = {
    "accuracy": "accuracy in the test",
    ("train_loss", "loss"): "squared error / variance",
    "signal": "first gradient:\nfirst / last hidden layer",
    "growth": "outputs at first:\nlast / first hidden layer",
    "dead": "share of dead units,\nworst layer",
    "depth": "hidden layers",
    "scale": "standard deviation of the weights",
    "rate": "share dropped",
    "optimizer.learning_rate": "learning rate",
    "activation": "hidden activation",
}


def _load(name: str) -> tuple[Array, Array]:
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise ImportError(
            "presets need the data of scikit-learn: pip install lamina[experiments]"
        ) from None
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "digits":
        x = x / 16
    if name == "diabetes":
        y = (y - y.mean()) / y.std()  # always guessing the mean: a loss of 1
    return x, y


# Nets ---------------------------------------------------------------------------------


def _deep(
    activation: str = "relu",
    depth: int = 2,
    weights: Any = "auto",
    width: int = 32,
    seed: int = 0,
) -> Sequential:
    hidden = [
        Dense(width, activation, kernel_initializer=weights) for _ in range(depth)
    ]
    return Sequential([*hidden, Dense(10, "softmax")], seed=seed)


def _scaled(activation: str, scale: float, seed: int) -> Sequential:
    weights = initializers.normal.using(std=scale)
    return _deep(activation, 10, weights, width=64, seed=seed)


def _begun(activation: str, weights: str, depth: int, seed: int) -> Sequential:
    return _deep(activation, depth, f"{weights}_normal", width=64, seed=seed)


def _dropping(rate: float, seed: int) -> Sequential:
    hidden = [layer for _ in range(2) for layer in (Dense(128, "relu"), Dropout(rate))]
    return Sequential([Standardize(), *hidden, Dense(1)], seed=seed)


def _centred(activation: str, inputs: str, seed: int) -> Sequential:
    first = [Standardize()] if inputs == "standardised" else []
    layers = [*first, Dense(32, activation), Dense(1, "sigmoid")]
    return Sequential(layers, seed=seed)


# What is measured beside the loss -----------------------------------------------------


def _start(net: Sequential, x: Any, y: Any) -> dict[str, float]:
    """Of a net before its training, first hidden layer against last: "signal", rms of
    the gradients of the kernels, and "growth", of the outputs, last against first."""
    start = net.clone()
    start.build(net.features)
    start.gradients(x, y)
    slopes = [_rms(layer.gradients["kernel"]) for layer in start.layers[:-1]]
    outputs = [_rms(h) for h in _hidden(start, x)]
    return {"signal": slopes[0] / slopes[-1], "growth": outputs[-1] / outputs[0]}


def _hidden(net: Sequential, x: Any) -> Iterator[Array]:
    """The outputs of the hidden layers."""
    h = np.asarray(x, net.dtype)
    for layer in net.layers[:-1]:
        h = layer.forward(h)
        yield h


def _rms(array: Array) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).mean()))


def _dead(net: Sequential, x: Any, y: Any) -> dict[str, float]:
    """The share of units that answer no row, in the hidden layer that has most."""
    return {"dead": max(float((h == 0).all(axis=0).mean()) for h in _hidden(net, x))}


def _contrast(net: Sequential, x: Any, y: Any) -> dict[str, float]:
    """How much the last hidden outputs differ from row to row, before the training."""
    start = net.clone()
    start.build(net.features)
    *_, last = _hidden(start, x)
    return {"contrast": _rms(last - last.mean(axis=0))}


# The experiments ----------------------------------------------------------------------

_SLOW = SGD(3e-3, momentum=0.9)  # which deep nets bear
_HIDDEN = ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus"]
_DEPTHS = [2, 5, 10, 20, 30]
_SCALES = [0.02, 0.05, 0.1, 0.18, 0.25, 0.35, 0.5, 1.0]
_DROPPED = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
_RATE = "optimizer.learning_rate"


def _vanishing(mean: Means) -> str:
    reached = []
    for name in _HIDDEN:
        read = [d for d in _DEPTHS if mean("accuracy", activation=name, depth=d) > 0.5]
        reached.append(f"{name} {max(read, default='none of these')}")
    lost = mean("signal", activation="sigmoid", depth=10)
    kept = mean("signal", activation="tanh", depth=10)
    return (
        "The deepest nets that read more than half of the digits have this many "
        f"hidden layers: {', '.join(reached)}. At ten layers the first gradient that "
        f"arrives at the first layer is {lost:.1g} times that at the last with "
        f"sigmoid, {kept:.2g} times with tanh: that is vanishing."
    )


def _exploding(mean: Means) -> str:
    def growth(scale: float) -> str:
        return f"{mean('growth', activation='relu', scale=scale):.2g}"

    def read(activation: str, scale: float) -> str:
        return f"{mean('accuracy', activation=activation, scale=scale):.0%}"

    slope = mean("signal", activation="tanh", scale=1.0)
    return (
        "From the first to the last of ten relu layers the outputs grow by a factor of "
        f"{growth(0.05)} with weights of 0.05, {growth(0.18)} with 0.18, about He's, "
        f"and {growth(0.5)} with 0.5; trained, the nets read {read('relu', 0.05)}, "
        f"{read('relu', 0.18)} and {read('relu', 0.5)} of the digits. tanh bounds its "
        "outputs, but with weights of 1 the gradient at the first layer is "
        f"{slope:.0f} times that at the last, and {read('tanh', 1.0)} are read."
    )


def _dying(mean: Means) -> str:
    def of(activation: str, rate: float) -> str:
        setting = {"activation": activation, _RATE: rate}
        dead, read = mean("dead", **setting), mean("accuracy", **setting)
        return (
            f"{dead:.0%} of a layer's units are dead and {read:.0%} of the digits read"
        )

    return (
        f"With relu {of('relu', 0.1)} at a rate of 0.1, {of('relu', 1.0)} at 1; with "
        f"leaky relu {of('leaky_relu', 1.0)} at 1. Too high a rate hurts both, but a "
        "dead relu has no gradient by which to come back."
    )


def _dropout(mean: Means) -> str:
    best = min(_DROPPED, key=lambda rate: mean("loss", rate=rate))

    def at(rate: float) -> str:
        train, test = mean("train_loss", rate=rate), mean("loss", rate=rate)
        return f"{train:.2f} in training and {test:.2f} in the test"

    return (
        f"Without dropout the loss is {at(0.0)}; with {best:g} dropped, the best of "
        f"these rates, {at(best)}; with 0.9, {at(0.9)}: the gap closes, at last "
        "because nothing is learnt any more. (A loss of 1: always guessing the mean.)"
    )


def _init(mean: Means) -> str:
    def read(activation: str, depth: int) -> str:
        setting = {"activation": activation, "depth": depth}
        he, glorot = (
            mean("accuracy", weights=weights, **setting) for weights in ("he", "glorot")
        )
        return f"{he:.0%} and {glorot:.0%}"

    kept, lost = (
        mean("growth", activation="relu", weights=weights, depth=20)
        for weights in ("he", "glorot")
    )
    return (
        f"With He's and with Glorot's weights, {read('relu', 3)} of the digits are "
        f"read by three relu layers, {read('relu', 20)} by twenty: their outputs keep "
        f"{kept:.2g} and {lost:.1g} of their size on the way. Sigmoid layers read "
        f"{read('sigmoid', 3)} with three, {read('sigmoid', 10)} with ten: weights of "
        "neither kind keep their gradients from vanishing."
    )


def _centring(mean: Means) -> str:
    def both(activation: str) -> str:
        raw, fair = (
            mean("accuracy", activation=activation, inputs=inputs)
            for inputs in ("as they are", "standardised")
        )
        return f"{activation} {raw:.0%} and {fair:.0%}"

    return (
        "Share of tumours told rightly with inputs as they are (up to 4254) and "
        f"standardised: {both('relu')}, {both('tanh')}, {both('sigmoid')}; always "
        "guessing benign is right for 63%."
    )


def _softmax(mean: Means) -> str:
    def both(metric: str, depth: int, form: str = ".0%") -> str:
        relu, soft = (
            mean(metric, activation=name, depth=depth) for name in ("relu", "softmax")
        )
        return f"{relu:{form}} and {soft:{form}}"

    return (
        f"With relu and with softmax as hidden activation {both('accuracy', 1)} of the "
        f"digits are read through one layer, {both('accuracy', 2)} through two, "
        f"{both('accuracy', 3)} through three. The outputs of a softmax layer add up "
        "to 1: those of a third layer differ from row to row by "
        f"{both('contrast', 3, '.1g')} at first."
    )


PRESETS = {
    "vanishing": Preset(
        "How deep may a net be with which activation?",
        "digits",
        _deep,
        {"activation": _HIDDEN, "depth": _DEPTHS},
        {"epochs": 40, "optimizer": SGD(5e-3, momentum=0.9)},
        _vanishing,
        ("depth", "activation", ["accuracy", "signal"]),
        _start,
    ),
    "exploding": Preset(
        "How large may the first weights be?",
        "digits",
        _scaled,
        {"activation": ["relu", "tanh"], "scale": _SCALES},
        {"epochs": 20, "optimizer": _SLOW},
        _exploding,
        ("scale", "activation", ["accuracy", "growth", "signal"]),
        _start,
    ),
    "dying-relu": Preset(
        "When do units die?",
        "digits",
        _deep,
        {
            "activation": ["relu", "leaky_relu", "elu"],
            _RATE: [0.03, 0.1, 0.3, 0.5, 0.7, 1.0, 1.5],
        },
        {"epochs": 20, "optimizer": SGD(0.1)},
        _dying,
        (_RATE, "activation", ["accuracy", "dead"]),
        _dead,
    ),
    "dropout": Preset(
        "How much to drop?",
        "diabetes",
        _dropping,
        {"rate": _DROPPED},
        {"epochs": 60, "optimizer": Adam(1e-3)},
        _dropout,
        ("rate", None, [("train_loss", "loss")]),
        folds=5,
    ),
    "init": Preset(
        "He's or Glorot's weights?",
        "digits",
        _begun,
        {
            "activation": ["relu", "sigmoid"],
            "weights": ["he", "glorot"],
            "depth": [3, 10, 20],
        },
        {"epochs": 30, "optimizer": _SLOW},
        _init,
        ("depth", "activation, weights", ["accuracy", "growth"]),
        _start,
    ),
    "centring": Preset(
        "Must inputs be standardised?",
        "breast_cancer",
        _centred,
        {
            "activation": ["relu", "tanh", "sigmoid"],
            "inputs": ["as they are", "standardised"],
        },
        {"epochs": 30, "optimizer": SGD(0.1)},
        _centring,
        ("activation", "inputs", ["accuracy"]),
        folds=5,
    ),
    "softmax-hidden": Preset(
        "Is softmax a hidden activation?",
        "digits",
        _deep,
        {"activation": ["relu", "softmax"], "depth": [1, 2, 3]},
        {"epochs": 40},
        _softmax,
        ("depth", "activation", ["accuracy"]),
        _contrast,
    ),
}
