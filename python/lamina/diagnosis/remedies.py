"""Remedies: what may be done otherwise with a net, and how that is written as code.

A `Change` is tried and printed by one description, so that what a report recommends is
what has been tried.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina import activations as functions
from lamina import initializers, losses, optimizers
from lamina.diagnosis.measure import Case
from lamina.initializers import Initializer
from lamina.layers import (
    Activation,
    Add,
    Dense,
    Dropout,
    Embedding,
    GaussianNoise,
    Layer,
    Residual,
    RobustScale,
    Standardize,
)
from lamina.network import Network

__all__ = [
    "Change",
    "both_scaled",
    "code",
    "dense",
    "ending",
    "penalties",
    "relu_everywhere",
    "shallower",
    "usual_weights",
    "wider",
    "with_more",
    "without_dropout",
    "written",
]

EPOCHS_FOR = 300  # steps, where nobody has said how many epochs
Edit = Callable[[list[Layer]], list[Layer]]


@dataclasses.dataclass(frozen=True)
class Change:
    """What to do otherwise: the net made anew and trained so."""

    rate: float = 1.0  # a factor
    standardize: bool = False
    scale_targets: bool = False
    edit: Edit | None = None
    loss: losses.Loss | None = None
    class_weight: str | None = None
    drop: int | None = None  # a column of x
    epochs: int | None = None
    patience: int | None = None  # of early stopping
    longer: int = 1  # times the steps of other trials

    def layers(self, net: Network) -> list[Layer]:
        """Those of the net as the change has them; they have learnt nothing."""
        return self._changed(_fresh(net), net.features)

    def _changed(self, layers: list[Layer], features: int) -> list[Layer]:
        if self.edit is not None:
            layers = self.edit(layers)
        if self.standardize and not isinstance(layers[0], Standardize):
            first = layers[0]
            codes = first.columns if isinstance(first, Embedding) else ()
            numbers = [j for j in range(features) if j not in codes]
            if numbers:
                layers = [Standardize(columns=numbers if codes else None), *layers]
        return layers

    @property
    def rebuilds(self) -> bool:
        return self.edit is not None or self.standardize or self.drop is not None

    def optimizer(self, rule: optimizers.Optimizer) -> optimizers.Optimizer:
        rate: Any = getattr(rule, "learning_rate", None)
        if self.rate == 1 or not isinstance(rate, int | float):
            return rule
        changed: Any = dataclasses.replace(
            rule,  # type: ignore[type-var]
            learning_rate=float(f"{rate * self.rate:.6g}"),
        )
        return changed  # type: ignore[no-any-return]

    def factor(self, rule: optimizers.Optimizer) -> float:
        """Of rates that a schedule gives."""
        return self.rate if self.optimizer(rule) is rule else 1.0


# Layers made anew ---------------------------------------------------------------------


def _fresh(net: Network) -> list[Layer]:
    """Copies of its layers that have learnt nothing."""
    layers = copy.deepcopy(net.layers)
    for layer in layers:
        layer.features = 0
        layer._parameters, layer._gradients = {}, {}
    return list(layers)


def dense(layer: Dense, **changes: Any) -> Dense:
    """The same layer, changed; initializers that cannot be written become "auto"."""
    settings = layer.config()
    if not isinstance(settings["kernel_initializer"], Initializer):
        settings["kernel_initializer"] = "auto"
    if not isinstance(settings["bias_initializer"], Initializer):
        settings["bias_initializer"] = "zeros"
    return Dense(**settings | changes)


# Edits of layers ----------------------------------------------------------------------


def relu_everywhere(layers: list[Layer]) -> list[Layer]:
    """He weights and relu in the hidden layers, and the usual weights at the end."""
    last = max((i for i, each in enumerate(layers) if type(each) is Dense), default=-1)
    made = list[Layer]()
    for i, layer in enumerate(layers):
        usual = {"kernel_initializer": "auto", "bias_initializer": "zeros"}
        if type(layer) is Dense:
            change = usual if i == last else usual | {"activation": "relu"}
            followed = i + 1 < len(layers) and type(layers[i + 1]) is Activation
            if followed and layer.activation.name == "identity":
                change = {
                    "kernel_initializer": "he_normal",
                    "bias_initializer": "zeros",
                }
            made.append(dense(layer, **change))
        elif type(layer) is Activation and i < last:
            made.append(Activation("relu"))
        else:
            made.append(layer)
    return made


def usual_weights(layers: list[Layer]) -> list[Layer]:
    """The initial weights that suit each activation, biases of zero."""
    usual = {"kernel_initializer": "auto", "bias_initializer": "zeros"}
    made = list[Layer]()
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        if type(layer) is not Dense:
            made.append(layer)
        elif type(after) is Activation and layer.activation.name == "identity":
            suits = {"kernel_initializer": after.activation.initializer}
            made.append(dense(layer, **usual | suits))
        else:
            made.append(dense(layer, **usual))
    return made


def shallower(layers: list[Layer]) -> list[Layer]:
    """relu, He weights and at most four hidden layers, if none is in a block."""
    layers = relu_everywhere(layers)
    if any(isinstance(each, Residual) for each in layers):
        return layers
    hidden = [i for i, each in enumerate(layers) if type(each) is Dense][:-1]
    return [each for i, each in enumerate(layers) if i not in hidden[4:]]


def without_dropout(rate: float) -> Callable[[list[Layer]], list[Layer]]:
    """Dropout of that rate at most."""

    def edit(layers: list[Layer]) -> list[Layer]:
        return [
            Dropout(min(each.rates(0, 1).item(), rate), each.mode)
            if type(each) is Dropout
            else each
            for each in layers
        ]

    return edit


def penalties(factor: float) -> Callable[[list[Layer]], list[Layer]]:
    """Penalties times a factor."""

    def edit(layers: list[Layer]) -> list[Layer]:
        return [
            dense(each, l1=factor * each.l1, l2=factor * each.l2)
            if isinstance(each, Dense) and (each.l1 or each.l2)
            else each
            for each in layers
        ]

    return edit


def with_more(l2: float, dropout: float) -> Callable[[list[Layer]], list[Layer]]:
    """That penalty, and that dropout after each hidden layer."""

    def edit(layers: list[Layer]) -> list[Layer]:
        made = list[Layer]()
        for i, layer in enumerate(layers):
            if type(layer) is not Dense:
                made.append(layer)
                continue
            made.append(dense(layer, l2=max(l2, layer.l2)))
            if dropout and i < len(layers) - 1:
                made.append(Dropout(dropout))
        return made

    return edit


def ending(activation: str | None) -> Callable[[list[Layer]], list[Layer]]:
    """Another last activation."""

    def edit(layers: list[Layer]) -> list[Layer]:
        last = layers[-1]
        if type(last) is Dense:
            new = dense(last, activation=activation, kernel_initializer="auto")
            return [*layers[:-1], new]
        return layers[:-1] + ([] if activation is None else [Activation(activation)])

    return edit


def wider(layers: list[Layer]) -> list[Layer]:
    """Four times the units in the hidden layers, but where a block begins or ends."""
    made, inside = list[Layer](), False
    for each in reversed(layers):
        if isinstance(each, Add | Residual):
            inside = False
        elif type(each) is Dense:
            each = dense(each, units=4 * each.units) if inside else each
            inside = True
        made.append(each)
    return made[::-1]


both_scaled = Change(standardize=True, scale_targets=True)


# Code ---------------------------------------------------------------------------------


def code(change: Change, case: Case, batches: bool = False) -> str:
    """The change as a line that runs where `net`, `x`, `y` and `lm` are known."""
    parts = list[str]()
    if change.scale_targets:
        parts.append("y = (y - np.mean(y, axis=0)) / np.std(y, axis=0)")
    if change.drop is not None:
        parts.append(f"x = np.delete(x, {change.drop}, axis=1)")
    parts += _net(change, case.net)
    factor = change.factor(case.rule) * case.net.rate_factor
    if factor != 1:
        parts.append(f"net.rate_factor = {factor:g}")
    return "; ".join([*parts, f"net.fit({_fit(change, case, batches)})"])


def _net(change: Change, net: Network) -> list[str]:
    if not (change.edit or change.standardize):
        return ["net = net.clone()"]
    old, names, uses = _fresh(net), list[str](), False
    for layer in change._changed(old, net.features):
        text = layer_code(layer)
        if text is None:
            place = next(i for i, each in enumerate(old) if each is layer)
            text, uses = f"layers[{place}]", True
        names.append(text)
    groups = [(text, len(list(same))) for text, same in itertools.groupby(names)]
    inside = ", ".join(
        text
        if n == 1
        else f"*({text} for _ in range({n}))"
        if n > 2
        else f"{text}, {text}"
        for text, n in groups
    )
    dtype = "" if net.dtype == np.float32 else f", dtype='{net.dtype}'"
    made = f"net = lm.Sequential([{inside}], seed={net.seed}{dtype})"
    own = "import copy; layers = copy.deepcopy(net.clone().layers)"
    return [own, made] if uses else [made]


def _fit(change: Change, case: Case, batches: bool) -> str:
    told, rule = case.told, change.optimizer(case.rule)
    epochs = change.epochs or told.epochs or -(-EPOCHS_FOR // case.steps_per_epoch)
    words = ["x" if batches else "x, y", f"epochs={epochs}"]
    if told.batch_size != 32 and not batches:
        words.append(f"batch_size={told.batch_size}")
    words.append(f"optimizer={written(rule, 'optimizer')}")
    goal = change.loss or case.goal
    last = change.layers(case.net)[-1] if change.edit else case.net.layers[-1]
    implied = getattr(last, "activation", None)
    if implied is None or implied.loss != goal.name or goal != losses.get(goal.name):
        words.append(f"loss={_loss(goal)}")
    class_weight = change.class_weight or told.class_weight
    if class_weight is not None:
        words.append(f"class_weight={class_weight!r}")
    if told.sample_weight is not None:
        words.append("sample_weight=sample_weight")
    if told.validation_split or (change.patience and case.validation is None):
        words.append(f"validation_split={told.validation_split or 0.2}")
    elif change.patience:
        words.append("validation_data=validation")
    if told.steps_per_epoch is not None:
        words.append(f"steps_per_epoch={told.steps_per_epoch}")
    if change.patience:
        stop = (
            f"lm.callbacks.EarlyStopping(patience={change.patience}, restore_best=True)"
        )
        words.append(f"callbacks=[{stop}]")
    return ", ".join(words)


def layer_code(layer: Layer) -> str | None:
    """How it is written; None for what only its user can write."""
    if type(layer) is Dense:
        return _dense(layer)
    if type(layer) is Activation:
        return f"lm.Activation({_activation(layer.activation)})"
    if type(layer) in (Dropout, GaussianNoise, RobustScale, Standardize):
        return f"lm.{layer!r}"
    return None


def _dense(layer: Dense) -> str | None:
    words = [str(layer.units)]
    if layer.activation != functions.get(None):
        words.append(_activation(layer.activation))
    if not layer.use_bias:
        words.append("use_bias=False")
    for name, usual in [
        ("kernel_initializer", initializers.get(layer.activation.initializer)),
        ("bias_initializer", initializers.get("zeros")),
    ]:
        held = getattr(layer, name)
        if held != usual:
            if not isinstance(held, Initializer):
                return None
            words.append(f"{name}={_initializer(held)}")
    for name in "l1", "l2", "max_norm":
        if getattr(layer, name):
            words.append(f"{name}={getattr(layer, name):g}")
    return f"lm.Dense({', '.join(words)})"


def _activation(function: functions.ActivationFunction) -> str:
    if function == functions.get(function.name):
        return repr(function.name)
    settings = ", ".join(f"{k}={v!r}" for k, v in function.parameters.items())
    return f"lm.{function.name}.using({settings})"


def _initializer(held: Initializer) -> str:
    usual = initializers.get(held.name)
    changed = [
        f"{f.name}={getattr(held, f.name)!r}"
        for f in dataclasses.fields(held)
        if getattr(held, f.name) != getattr(usual, f.name, None)
    ]
    using = f".using({', '.join(changed)})" if changed else ""
    return f"lm.initializers.{held.name}{using}"


def _loss(goal: losses.Loss) -> str:
    if goal.core is None:
        return "loss"
    return repr(goal.name) if goal == losses.get(goal.name) else f"lm.losses.{goal!r}"


def written(rule: Any, otherwise: str) -> str:
    """An optimizer or a schedule with the arguments that are not usual."""
    module = "lm.schedules." if "schedules" in type(rule).__module__ else "lm."
    if not type(rule).__module__.startswith("lamina."):
        return otherwise
    words = list[str]()
    for field in dataclasses.fields(rule):
        value = getattr(rule, field.name)
        if value == field.default and field.name != "learning_rate":
            continue
        nested = dataclasses.is_dataclass(value)
        text = written(value, otherwise) if nested else f"{value!r}"
        text = f"{value:g}" if isinstance(value, float) else text
        words.append(text if field.name == "learning_rate" else f"{field.name}={text}")
    return f"{module}{type(rule).__name__}({', '.join(words)})"
