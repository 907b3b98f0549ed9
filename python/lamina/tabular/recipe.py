"""The net of a table, and how it learns: RealMLP's recipe in Lamina's layers.

Holzmüller, Grinsztajn and Steinwart, "Better by default", NeurIPS 2024. Where this
differs, `docs/tabular.md` has the figure that says why.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lamina import initializers, losses, optimizers, schedules
from lamina._checks import Array
from lamina.callbacks import Callback
from lamina.callbacks.progress import bar
from lamina.history import History
from lamina.layers import Dense, Dropout, Embedding, Layer, PiecewiseLinear, Scale
from lamina.model import Sequential
from lamina.network import Network
from lamina.tabular.columns import Kinds

__all__ = ["PRESETS", "Part", "Progress", "Recipe", "Task", "net_of", "train"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is chosen for a table.

    Attributes
    ----------
    width, depth : int
        Of the hidden layers.
    steps : int
        Updates of a net, whatever the rows: what counts is their number.
    most_epochs : int
        Where so many epochs have fewer steps than that, they are enough.
    members : int
        Nets whose answers are averaged.
    folds : int
        Parts of the rows, of which each net holds one out; at least half as many. What
        two nets hold out tells what averaging does to probabilities.
    embedding : int
        The length of the vectors of categories.
    bins, dims : int
        Of the piecewise linear functions of numbers, of which many columns get fewer;
        without bins there are none.
    bin_rate : float
        Factor of the learning rate of those functions.
    dropout : float
        Of hidden units, for the first half of the steps; then it falls to 0.
    """

    width: int
    steps: int
    members: int
    folds: int
    most_epochs: int = 256
    depth: int = 3
    embedding: int = 8
    bins: int = 16
    dims: int = 8
    bin_rate: float = 0.25
    dropout: float = 0.0


PRESETS = {
    "fast": Recipe(width=64, steps=2000, members=1, folds=5),
    "default": Recipe(
        width=64, steps=4000, members=6, folds=5, most_epochs=120, dims=4
    ),
    "best": Recipe(width=128, steps=4000, members=10, folds=8, dropout=0.1),
}
_RATES = {True: 0.04, False: 0.07}  # of classes, of numbers
_CYCLES = 4  # of the rate, each twice as long as the one before
_MOST_INPUTS = 1024  # functions of numbers
_STEPS_TIMED = 20
_EPOCHS_UNSEEN = 31  # where no rows are held out
_BATCHES = (1_000, 64), (8_000, 128), (30_000, 256), (100_000, 512)


def _batch(rows: int) -> int:
    """As pytabkit has it."""
    return next((size for most, size in _BATCHES if rows <= most), 1024)


@dataclasses.dataclass(frozen=True)
class Task:
    """What rows mean to a net: its last layer, its loss, and the losses of rows held
    out by which epochs are judged."""

    outputs: int
    activation: str | None
    loss: losses.Loss
    score: Callable[[Array, Array, Array | None], Array]  # outputs, targets, weights

    @property
    def classifies(self) -> bool:
        return self.activation is not None


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows of a table, as nets take them."""

    x: Array
    y: Array
    weights: Array | None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Array) -> Part:
        weights = None
        if self.weights is not None and len(rows):
            weights = self.weights[rows] / self.weights[rows].mean()
        return Part(self.x[rows], self.y[rows], weights)


def net_of(
    recipe: Recipe, task: Task, kinds: Kinds, steps: int, seed: int
) -> Sequential:
    """A net for columns of these kinds, whose training takes so many steps."""
    width = kinds.features + len(kinds.sizes) * (recipe.embedding - 1)
    layers = list[Layer]()
    if kinds.sizes:
        codes = range(kinds.features - len(kinds.sizes), kinds.features)
        layers.append(Embedding(codes, kinds.sizes, recipe.embedding))
    dims = min(recipe.dims, _MOST_INPUTS // max(1, kinds.amounts))
    if kinds.amounts and recipe.bins and dims:
        layers.append(
            PiecewiseLinear(
                recipe.bins, dims, columns=range(kinds.amounts), rate=recipe.bin_rate
            )
        )
        width += kinds.amounts * (dims - 1)
    layers.append(Scale(rate=6.0))
    hidden = initializers.lecun_normal, initializers.normal.using(std=1.0)
    for _ in range(recipe.depth):
        activation = "selu" if task.classifies else "mish"
        layers.append(_dense(recipe.width, width, activation, *hidden))
        width = recipe.width
        if recipe.dropout:
            layers.append(Dropout(schedules.FlatCosine(recipe.dropout, steps)))
    zeros = initializers.zeros
    layers.append(_dense(task.outputs, width, task.activation, zeros, zeros))
    return Sequential(layers, seed=seed)


def _dense(
    units: int, width: int, activation: str | None, kernel: Any, bias: Any
) -> Dense:
    """With the rates of the neural-tangent parametrization: under Adam a kernel of
    variance 1 / width that learns at 1 / sqrt(width) of the rate is one of variance 1
    whose products are divided by sqrt(width)."""
    return Dense(
        units,
        activation,
        kernel_initializer=kernel,
        bias_initializer=bias,
        rate=1 / math.sqrt(width),
        bias_rate=0.1,
    )


def train(
    recipe: Recipe,
    task: Task,
    part: Part,
    held_out: Part | None,
    kinds: Kinds,
    *,
    seed: int,
    seconds: float | None = None,
    callbacks: Iterable[Callback] = (),
) -> tuple[Sequential, History]:
    """A net, trained; with at most so many seconds, about.

    Raises
    ------
    KeyboardInterrupt
        It was ended before it was done.
    """
    if held_out is None:  # nothing would tell when it is enough
        recipe = dataclasses.replace(recipe, most_epochs=_EPOCHS_UNSEEN)
    batch = min(_batch(len(part)), len(part))
    each = -(-len(part) // batch)
    make = functools.partial(net_of, recipe, task, kinds, seed=seed)
    steps = float(recipe.steps)
    if seconds is not None:
        steps = min(steps, _affordable(make(recipe.steps), part, batch, task, seconds))
    epochs = max(1, min(round(steps / each), recipe.most_epochs))
    # Each valley of the rate lies at the end of an epoch.
    cycles = min(_CYCLES, int(math.log2(epochs + 1)))
    first = max(1, round(epochs / (2**cycles - 1)))
    valleys = [first * (2**cycle - 1) for cycle in range(1, cycles + 1)]
    epochs = valleys[-1]
    net = make(epochs * each)
    highest = _RATES[task.classifies]
    told = list(callbacks)
    if held_out is not None:
        told.append(_Best(task, held_out, valleys))
    history = net.fit(
        part.x,
        part.y,
        sample_weight=part.weights,
        epochs=epochs,
        batch_size=batch,
        optimizer=optimizers.Adam(
            schedules.CosLog(highest, epochs * each, cycles), beta_2=0.95
        ),
        loss=task.loss,
        callbacks=told,
        verbose=0,
    )
    if history.stopped == "interrupt":
        raise KeyboardInterrupt
    net._forget_optimizer()  # it is for answers from now on
    return net, history


def _affordable(
    net: Sequential, part: Part, batch: int, task: Task, seconds: float
) -> float:
    """How many steps fit into that time, by some of a net like it."""
    steps = min(_STEPS_TIMED, len(part) // batch)
    rows = part.take(np.arange(steps * batch))
    started = time.perf_counter()
    history = net.fit(
        rows.x,
        rows.y,
        sample_weight=rows.weights,
        batch_size=batch,
        loss=task.loss,
        verbose=0,
    )
    if history.stopped == "interrupt":
        raise KeyboardInterrupt
    # A fifth of the time is for what is around the steps.
    return 0.8 * seconds * steps / (time.perf_counter() - started)


class _Best(Callback):
    """Takes back the last of the best valleys of the rate by rows held out.

    Between them a net is in motion, and worse than it will be. Training ends in a
    valley that is worse than the best one by more than the standard error of the
    difference: later ones are then no better.
    """

    def __init__(self, task: Task, held_out: Part, valleys: Sequence[int]) -> None:
        self.task, self.rows, self.valleys = task, held_out, valleys
        self.losses: Array | None = None
        self.parameters: Array | None = None

    def on_epoch_end(self, net: Network, epoch: int, scores: dict[str, float]) -> bool:
        if epoch not in self.valleys:
            return False
        rows = self.rows
        losses = self.task.score(net.predict(rows.x), rows.y, rows.weights)
        scores["val_loss"] = float(np.average(losses, weights=rows.weights))
        if self.losses is not None:
            worse = losses - self.losses
            mean = np.average(worse, weights=rows.weights)
            if mean > 0:
                spread = np.std(worse) / math.sqrt(len(worse))
                return bool(mean > spread)
        self.losses, self.parameters = losses, net.parameters.copy()
        return False

    def on_train_end(self, net: Network, history: History) -> None:
        if self.parameters is not None:
            net.parameters = self.parameters


class Progress(Callback):
    """A bar of the epochs of a net, one of so many."""

    def __init__(self, number: int, count: int) -> None:
        self.title = f"net {number}/{count}"

    def on_train_begin(self, net: Network, epochs: range) -> None:
        self.bar = bar(self.title, len(epochs), " epochs")

    def on_epoch_end(self, net: Network, epoch: int, scores: dict[str, float]) -> None:
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix(loss=f"{scores['loss']:.4g}")

    def on_train_end(self, net: Network, history: History) -> None:
        if self.bar is not None:
            self.bar.close()
