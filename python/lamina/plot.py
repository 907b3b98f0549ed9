"""Pictures of nets and of what is measured of them, with matplotlib.

``pip install lamina[plots]``. Every function draws on the axes that it is given, or on
new ones of the width of a README, and returns them; ``ax.figure.savefig(path)`` writes
them. Lines differ in their markers, areas in their hatching, so that nothing rests on
colour alone.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lamina import _core, activations, data
from lamina._checks import Array
from lamina.interpreter import gives_logits
from lamina.model import Sequential

__all__ = [
    "activation_atlas",
    "comparison",
    "confusion",
    "curves",
    "lines",
    "panels",
    "plane",
    "rates",
    "signal",
    "units",
    "updates",
    "weights",
]

# Okabe and Ito's colours, told apart by all eyes; the markers by none but the dark.
_COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
_MARKERS = "osD^vPX"
_DASHES = "-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))
_GREY = "#777777"
_WIDTH = 6.4  # inches; 640 pixels at 100 to the inch


def activation_atlas(names: Iterable[str] | None = None, *, axes: Any = None) -> Any:
    """Activations with their derivatives, a panel for each.

    Parameters
    ----------
    names : iterable of str, optional
        By default all. Those that work by rows are drawn for rows (x, 0).
    axes : array of matplotlib axes, optional
        As many as names, at least.

    Returns
    -------
    array of matplotlib axes

    Examples
    --------
    >>> import lamina as lm
    >>> axes = lm.plot.activation_atlas(["relu", "tanh", "gelu", "elu"])
    >>> [ax.get_title() for ax in axes.flat]
    ['relu', 'tanh', 'gelu', 'elu']
    """
    chosen = _core.__all__ if names is None else names
    functions = [activations.get(name) for name in chosen]
    if axes is None:
        rows = -(-len(functions) // 4)
        _, axes = _pyplot().subplots(
            rows,
            min(4, len(functions)),
            figsize=(_WIDTH, 0.5 + 1.35 * rows),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
    axes = np.asarray(axes)
    x = np.linspace(-4, 4, 401)
    panels = list(axes.flat)
    for ax, function in zip(panels, functions, strict=False):
        value, slope = _with_slope(function, x)
        ax.axhline(0, color=_GREY, lw=0.6)
        ax.axvline(0, color=_GREY, lw=0.6)
        ax.plot(x, value, color=_COLOURS[0], label="f(x)")
        ax.plot(x, slope, "--", color=_COLOURS[1], label="f'(x)")
        ax.set_title(function.name, fontsize=9, pad=3)
        largest = _with_slope(function, np.linspace(-50, 50, 10_001))[1].max()
        text = f"max f' {largest:.2f}".rstrip("0").rstrip(".")
        ax.text(0.03, 0.95, text, transform=ax.transAxes, fontsize=7, va="top")
        ax.set(xlim=(-4, 4), ylim=(-1.6, 2.4), xticks=[-3, 0, 3], yticks=[-1, 0, 1, 2])
        ax.tick_params(labelsize=7)
    for ax in panels[len(functions) :]:
        ax.set_axis_off()
    for ax in panels[max(0, len(functions) - axes.shape[-1]) : len(functions)]:
        ax.tick_params(labelbottom=True)  # none below, or one without axes
    figure = panels[0].figure
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, fontsize=8, frameon=False
    )
    figure.supxlabel("x", fontsize=8)
    return axes


def signal(
    nets: Mapping[str, Sequential] | Sequential, x: Any, y: Any, *, ax: Any = None
) -> Any:
    """How much of the gradient is left at each layer, from the last back to the first.

    The root mean square of the gradient of the loss by the outputs of each layer, on a
    log scale: level lines train, lines that fall to the left vanish there, lines that
    rise to the left explode.

    Parameters
    ----------
    nets : dict of str to Sequential, or Sequential
        As they are; one that is not built is drawn as it would begin. None is changed.
    x, y : array_like
        Some hundred rows are enough.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> def deep(activation):
    ...     hidden = [lm.Dense(16, activation) for _ in range(12)]
    ...     return lm.Sequential([*hidden, lm.Dense(2, "softmax")], seed=0)
    >>> nets = {name: deep(name) for name in ("sigmoid", "tanh", "relu")}
    >>> ax = lm.plot.signal(nets, x, y)
    >>> ax.get_yscale(), len(ax.lines)
    ('log', 3)
    """
    ax = _axes(ax)
    named = nets if isinstance(nets, Mapping) else {"": nets}
    for i, (name, net) in enumerate(named.items()):
        sizes = _signals(net, x, y)
        ax.plot(range(1, len(sizes) + 1), sizes, label=name, **_style(i, len(sizes)))
    ax.set_yscale("log")
    ax.set(xlabel="layer", ylabel="rms of the gradient\nby the layer's outputs")
    ax.set_xlim(left=0.5)
    _whole(ax)
    _legend(ax, len(named) if isinstance(nets, Mapping) else 0)
    return ax


def curves(
    histories: Any,
    *,
    constant: float | None = None,
    metric: str = "loss",
    ax: Any = None,
) -> Any:
    """Learning curves, with the best epoch of the validation marked.

    Parameters
    ----------
    histories : History, or dict of str to History
        Training is dashed where there are validation data, whose line is whole.
    constant : float, optional
        What always guessing the same would reach: a grey line.
    metric : str

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> net = lm.Sequential([lm.Dense(1)], seed=0)
    >>> history = net.fit(x, x[:, 0], epochs=9, validation_split=0.2, verbose=0)
    >>> ax = lm.plot.curves(history, constant=1.0)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('epoch', 'loss')
    """
    ax = _axes(ax)
    several = isinstance(histories, Mapping) and metric not in histories
    named = histories if several else {"": histories}
    for i, (name, history) in enumerate(named.items()):
        style = _style(i, len(history.epochs))
        head = f"{name}, " if name else ""
        held_out = history.get(f"val_{metric}")
        if held_out is None:
            ax.plot(history.epochs, history[metric], label=name or "training", **style)
            continue
        quiet = style | {"linestyle": "--", "marker": "", "alpha": 0.8}
        ax.plot(history.epochs, history[metric], label=f"{head}training", **quiet)
        solid = style | {"linestyle": "-"}
        ax.plot(history.epochs, held_out, label=f"{head}validation", **solid)
        best = np.nanargmax(held_out) if "acc" in metric else np.nanargmin(held_out)
        at = history.epochs[best], held_out[best]
        ax.plot(*at, marker="*", ms=13, color=style["color"], mec="black", ls="")
        ax.annotate(
            f"best: {held_out[best]:.3g}, epoch {at[0]}",
            at,
            xytext=(0, 12),
            textcoords="offset points",
            ha="right" if best > len(held_out) / 2 else "left",
            fontsize=8,
        )
    if constant is not None:
        ax.axhline(constant, color=_GREY, lw=2, zorder=0, label="best constant")
    ax.set(xlabel="epoch", ylabel=metric)
    _whole(ax)
    _legend(ax, 2)
    return ax


def units(net: Sequential, x: Any, *, ax: Any = None) -> Any:
    """What share of the units of each layer does not answer.

    Dead: a unit that gives the same for every row of `x`. Saturated: the share of
    outputs of sigmoid and tanh where the slope is below a hundredth of its maximum.

    Parameters
    ----------
    net : Sequential
    x : array_like
        Some hundred rows: a unit is dead if it answers none of them.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> net = lm.Sequential([lm.Dense(8, "relu"), lm.Dense(1)], seed=0)
    >>> net.build(3)
    >>> ax = lm.plot.units(net, np.random.default_rng(0).normal(size=(100, 3)))
    >>> ax.get_xlabel()
    'share of the units in %'
    """
    labels, dead, saturated = [], [], []
    h = data.inputs("x", x, net.dtype, net.features).take(slice(None))
    net._require_built("units")
    for i, layer in enumerate(copy.deepcopy(net).layers, 1):
        h = layer.forward(h)
        name = getattr(getattr(layer, "activation", None), "name", "identity")
        if name in ("identity", "softmax", "log_softmax"):
            continue
        labels.append(f"{i}: {name}")
        still = h.max(axis=0) == h.min(axis=0)
        dead.append(100 * still.mean())
        slope = {"sigmoid": 4 * h * (1 - h), "tanh": 1 - h * h}.get(name, np.ones(()))
        flat = np.broadcast_to(slope < 0.01, h.shape) & ~still
        saturated.append(100 * flat.mean())
    ax = _axes(ax, height=0.9 + 0.32 * len(labels))
    places = np.arange(len(labels))
    ax.barh(places, dead, color=_COLOURS[6], label="dead")
    ax.barh(
        places, saturated, left=dead, color=_COLOURS[4], hatch="///", ec="black",
        label="saturated",
    )  # fmt: skip
    for place, total in zip(places, np.add(dead, saturated), strict=True):
        ax.text(min(total + 1, 93), place, f"{total:.0f} %", va="center", fontsize=8)
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    ax.set(xlim=(0, 100), xlabel="share of the units in %", ylabel="layer")
    ax.legend(loc="lower right", fontsize=8)
    return ax


def updates(
    steps: ArrayLike,
    ratios: Any,
    *,
    names: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """How much the steps change the kernel of each layer, over time.

    Parameters
    ----------
    steps : (n,) array_like
        Numbers of the steps.
    ratios : (n, layers) array_like
        Norm of the change over norm of the kernel.
    names : sequence of str, optional
        Of the layers.

    Examples
    --------
    >>> import lamina as lm
    >>> ax = lm.plot.updates([1, 2, 3], [[1e-2, 1e-3], [5e-3, 1e-3], [1e-3, 9e-4]])
    >>> ax.get_legend_handles_labels()[1]
    ['layer 1', 'layer 2']
    """
    table = np.asarray(ratios, float)
    if table.ndim != 2 or len(table) != len(np.atleast_1d(steps)):
        raise ValueError(
            f"ratios must have a row for each of {np.size(steps)} steps, got shape "
            f"{table.shape}"
        )
    ax = _axes(ax)
    for i, column in enumerate(table.T):
        label = names[i] if names is not None else f"layer {i + 1}"
        ax.plot(steps, column, label=label, **_style(i, len(column)))
    low, high = ax.get_xlim()
    ax.axhspan(1e-4, 1e-2, color=_GREY, alpha=0.15, lw=0, zorder=0)
    ax.text(high, 1e-2, "usual ", ha="right", va="top", fontsize=8, color="#444444")
    ax.axhline(0.1, color="black", lw=1)
    ax.text(high, 0.1, "too large ", ha="right", va="bottom", fontsize=8)
    ax.set_yscale("log")
    ax.set(
        xlim=(low, high),
        xlabel="step",
        ylabel="norm of the change /\nnorm of the kernel",
    )
    _legend(ax, table.shape[1], outside=True)
    return ax


def rates(
    losses: Mapping[float, float],
    *,
    given: float | None = None,
    constant: float | None = None,
    ax: Any = None,
) -> Any:
    """What a moment of training reaches at each learning rate.

    Parameters
    ----------
    losses : dict of float to float
        By rate; a loss that is not finite is drawn as a cross at the top.
    given : float, optional
        The rate in use, to be marked.
    constant : float, optional
        The loss of always guessing the same.

    Examples
    --------
    >>> import lamina as lm
    >>> ax = lm.plot.rates({0.01: 0.8, 0.1: 0.2, 1.0: float("nan")}, given=0.1)
    >>> ax.get_xscale()
    'log'
    """
    ax = _axes(ax)
    tried = sorted(losses)
    values = np.array([losses[rate] for rate in tried], float)
    fine = np.isfinite(values)
    where = np.array(tried)
    ax.plot(where[fine], values[fine], "-o", color=_COLOURS[0])
    if constant is not None:
        ax.axhline(constant, color=_GREY, lw=2, zorder=0, label="best constant")
    if not fine.all():
        top = max([*values[fine], constant or 0.0], default=1.0) * 1.1 or 1.0
        ax.plot(
            where[~fine], np.full((~fine).sum(), top), "X", color="black", ms=9,
            label="not finite",
        )  # fmt: skip
    if given is not None:
        ax.axvline(given, color=_COLOURS[1], ls="--", label=f"given: {given:g}")
    ax.set_xscale("log")
    ax.set(xlabel="learning rate", ylabel="loss after the trial")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=8)
    return ax


def comparison(table: Any, *, metric: str = "loss", ax: Any = None) -> Any:
    """Differences of all settings from the first, with their 95 % intervals.

    Parameters
    ----------
    table : Table
        As `lamina.compare` returns it.
    metric : str

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> net = lm.Sequential([lm.Dense(8, "tanh"), lm.Dense(1)])
    >>> table = lm.compare(net, x, x[:, 0], vary={"epochs": [1, 5]}, verbose=0)
    >>> ax = lm.plot.comparison(table)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['epochs=1', 'epochs=5']
    """
    labels = [", ".join(f"{n}={_text(v)}" for n, v in s.items()) for s in table.labels]
    ax = _axes(ax, height=0.9 + 0.3 * len(labels))
    ax.axvline(0, color=_GREY, lw=1)
    ax.plot(0, 0, "|", color="black", ms=12)
    for place in range(1, len(labels)):
        mean, half, _ = table.difference(place, metric=metric)
        half = half if math.isfinite(half) else 0.0
        sure = abs(mean) > half
        ax.errorbar(
            mean, place, xerr=half, fmt="o", capsize=4, color=_COLOURS[0],
            mfc=_COLOURS[0] if sure else "white",
        )  # fmt: skip
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlabel(
        f"difference of {metric} from the first, 95 % interval\n"
        "(filled: it does not hold 0)"
    )
    return ax


def lines(
    table: Any,
    x: str,
    y: str | Sequence[str] = "loss",
    *,
    by: str | None = None,
    ax: Any = None,
) -> Any:
    """Means of a metric over what was varied, with bars from smallest to largest.

    Parameters
    ----------
    table : Table
        As `lamina.compare` returns it.
    x : str
        What was varied.
    y : str or sequence of str
        The metric, or several, a line for each.
    by : str, optional
        A line for each value of this; of several, by comma.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> net = lm.Sequential([lm.Dense(8, "tanh"), lm.Dense(1)])
    >>> vary = {"epochs": [1, 5, 9], "optimizer": ["sgd", "adam"]}
    >>> table = lm.compare(net, x, x[:, 0], vary=vary, verbose=0)
    >>> ax = lm.plot.lines(table, "epochs", "loss", by="optimizer")
    >>> ax.get_xlabel(), ax.get_ylabel(), len(ax.containers)
    ('epochs', 'loss', 2)
    """
    parts = [] if by is None else [part.strip() for part in by.split(",")]
    for name in (x, *parts):
        if name not in table.names:
            raise ValueError(
                f"x and by must be of {', '.join(table.names)}, got {name!r}"
            )
    metrics = [y] if isinstance(y, str) else list(y)
    for metric in metrics:
        if metric not in table.metrics:
            raise ValueError(
                f"y must be one of {', '.join(table.metrics)}, got {metric!r}"
            )
    found: dict[str, list[tuple[Any, Array]]] = {}
    for metric in metrics:
        for place, setting in enumerate(table.labels):
            names = [_text(setting[part]) for part in parts]
            line = ", ".join(names + ([metric] if len(metrics) > 1 else []))
            values = table.values(metric, place)
            found.setdefault(line, []).append((setting[x], values))
    ax = _axes(ax)
    at = list(dict.fromkeys(setting[x] for setting in table.labels))
    numeric = all(isinstance(value, int | float) for value in at)
    for i, (name, points) in enumerate(found.items()):
        style = _style(i, 0)
        places = [value for value, _ in points]
        if not numeric:  # side by side, and not joined
            shift = 0.12 * (i - (len(found) - 1) / 2)
            places = [at.index(value) + shift for value in places]
            style["linestyle"] = ""
        low, mean, high = (
            np.array([f(values) for _, values in points])
            for f in (np.min, np.mean, np.max)
        )
        bars = np.maximum([mean - low, high - mean], 0)  # the mean is rounded
        ax.errorbar(places, mean, bars, capsize=3, label=name, **style)
    if numeric:
        _scale(ax, "x", at)
        _ticks(ax, at)
    else:
        ax.set_xticks(range(len(at)), map(_text, at))
        ax.set_xlim(-0.5, len(at) - 0.5)
    _scale(
        ax, "y", [v for points in found.values() for _, each in points for v in each]
    )
    ax.set(xlabel=x, ylabel=metrics[0] if len(metrics) == 1 else "loss")
    _legend(ax, len(found) if len(found) > 1 else 0, by)
    return ax


def panels(count: int) -> Array:
    """So many axes one below the other, over the same x.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.plot.panels(2).shape
    (2,)
    """
    figure = _pyplot().subplots(
        count,
        figsize=(_WIDTH, 0.9 + 2.3 * count),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    axes: Array = figure[1][:, 0]
    return axes


def weights(
    net: Sequential, *, shape: tuple[int, int] | None = None, count: int = 32,
    axes: Any = None,
) -> Any:  # fmt: skip
    """What the first units look at: their weights as images, dark for positive.

    Parameters
    ----------
    net : Sequential
        Its first layer with a kernel is drawn.
    shape : (height, width), optional
        Of the inputs as images; by default square.
    count : int
        How many units at most: those with the largest weights.
    axes : array of matplotlib axes, optional
        As many as images, at least.

    Examples
    --------
    >>> import lamina as lm
    >>> net = lm.Sequential([lm.Dense(8, "relu"), lm.Dense(1)], seed=0)
    >>> net.build(16)
    >>> lm.plot.weights(net).shape
    (1, 8)
    """
    net._require_built("weights")
    kernel = next(
        layer.parameters["kernel"]
        for layer in net.layers
        if "kernel" in layer.parameters
    )
    features = len(kernel)
    side = math.isqrt(features)
    height, width = (side, side) if shape is None else shape
    if height * width != features:
        raise ValueError(f"shape must hold {features} features, got {(height, width)}")
    order = np.argsort(-np.square(kernel).sum(axis=0), kind="stable")[:count]
    if axes is None:
        columns = min(8, len(order))
        rows = -(-len(order) // columns)
        _, axes = _pyplot().subplots(
            rows,
            columns,
            figsize=(_WIDTH, 0.5 + _WIDTH / columns * rows * height / width),
            squeeze=False,
            layout="constrained",
        )
    axes = np.asarray(axes)
    for ax in axes.flat:
        ax.set_axis_off()
    limit = float(np.abs(kernel[:, order]).max()) or 1.0
    for ax, unit in zip(axes.flat, np.sort(order), strict=False):
        image = kernel[:, unit].reshape(height, width)
        drawn = ax.imshow(image, cmap="gray_r", vmin=-limit, vmax=limit)
        ax.set_title(f"unit {unit}", fontsize=7, pad=2)
    bar = axes.flat[0].figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("weight", fontsize=8)
    return axes


def confusion(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    labels: Sequence[Any] | None = None,
    ax: Any = None,
) -> Any:
    """How often each class was taken for each: counts, and shares as shades.

    Parameters
    ----------
    truth : (n,) array_like
        Labels 0 to K - 1.
    predicted : (n,) or (n, K) array_like
        Labels, or outputs of a net, of which the largest counts.
    labels : sequence, optional
        Names of the classes.

    Examples
    --------
    >>> import lamina as lm
    >>> ax = lm.plot.confusion([0, 0, 1, 1], [0, 1, 1, 1], labels=["no", "yes"])
    >>> [text.get_text() for text in ax.texts]
    ['1', '1', '0', '2']
    """
    right, guessed = np.asarray(truth), np.asarray(predicted)
    if guessed.ndim == 2:
        wide = guessed.shape[1] > 1
        guessed = guessed.argmax(axis=1) if wide else (guessed[:, 0] > 0.5).astype(int)
    if right.shape != guessed.shape or right.dtype.kind not in "iub":
        raise ValueError(
            f"truth must be labels, one for each prediction, got {right.dtype} of "
            f"shape {right.shape} and {guessed.shape}"
        )
    count = int(max(right.max(), guessed.max())) + 1
    names = [str(n) for n in (range(count) if labels is None else labels)]
    table = np.zeros((len(names), len(names)), int)
    np.add.at(table, (right.astype(int), guessed.astype(int)), 1)
    side = min(_WIDTH, 2.2 + 0.42 * len(names))
    ax = _axes(ax, height=0.92 * side, width=side)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    for (i, j), number in np.ndenumerate(table):
        tone = "white" if shares[i, j] > 0.55 else "black" if number else "#bbbbbb"
        ax.text(j, i, str(number), ha="center", va="center", fontsize=8, color=tone)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    hit = table.trace() / max(table.sum(), 1)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(f"{hit:.1%} of {table.sum()} right", fontsize=9)
    return ax


def plane(
    net: Sequential, x: ArrayLike, y: ArrayLike, *, steps: int = 200, ax: Any = None
) -> Any:
    """What a net makes of a plane of two features, with the rows it learnt from.

    Shades and lines are the output, the probability of class 1 or, of more classes,
    the class; rows of each class have a marker of their own.

    Parameters
    ----------
    net : Sequential
        Built for two features.
    x : (n, 2) array_like
    y : (n,) array_like
        Labels, or numbers.
    steps : int
        How fine.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> net = lm.Sequential([lm.Dense(16, "tanh"), lm.Dense(2, "softmax")], seed=0)
    >>> history = net.fit(x, y, epochs=50, optimizer=lm.Adam(0.02), verbose=0)
    >>> lm.plot.plane(net, x, y).get_xlabel()
    'feature 0'
    """
    rows, targets = np.asarray(x, float), np.asarray(y).reshape(-1)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"x must have two features, got shape {rows.shape}")
    ax = _axes(ax, height=4.8)
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = 0.08 * (high - low)
    grid = [
        np.linspace(a, b, steps)
        for a, b in zip(low - margin, high + margin, strict=True)
    ]
    points = np.stack([g.ravel() for g in np.meshgrid(*grid)], axis=1)
    z = net.predict(points)
    classes = targets.dtype.kind in "iub"
    if z.shape[1] > 2:
        shown, levels = z.argmax(axis=1), np.arange(z.shape[1] + 1) - 0.5
    else:
        shown = z[:, -1]
        levels = np.linspace(0, 1, 11)
        if not classes:
            locator = importlib.import_module("matplotlib.ticker").MaxNLocator(10)
            levels = locator.tick_values(z.min(), z.max())
    surface = np.asarray(shown, float).reshape(steps, steps)
    filled = ax.contourf(*grid, surface, levels=levels, cmap="Greys_r", alpha=0.55)
    middle = levels[1:-1] if z.shape[1] > 2 else [0.5] if classes else levels[2:-1:2]
    ax.contour(*grid, surface, levels=middle, colors="black", linewidths=1.5)
    if classes:
        for i, label in enumerate(np.unique(targets)):
            ax.plot(
                *rows[targets == label].T,
                _MARKERS[i % len(_MARKERS)],
                ms=5,
                mec="white",
                mew=0.6,
                color=_COLOURS[i % len(_COLOURS)],
                label=f"class {label}",
            )
        _legend(ax, len(np.unique(targets)), outside=z.shape[1] > 2)
    else:
        ax.plot(*rows.T, "o", ms=4, mec="white", color="black")
    if z.shape[1] <= 2:
        name = "probability of class 1" if classes else "output"
        ax.figure.colorbar(filled, ax=ax, label=name)
    ax.set(xlabel="feature 0", ylabel="feature 1")
    return ax


def _with_slope(function: Any, x: Array) -> tuple[Array, Array]:
    """Values and derivatives; of a function of rows those of (x, 0) by x."""
    if function.name not in ("softmax", "log_softmax"):
        return function(x), function.derivative(x)
    y = function(np.stack([x, np.zeros_like(x)], axis=1))
    slope = function.backward(np.tile([1.0, 0.0], (len(x), 1)), y)
    return y[:, 0], slope[:, 0]


def _signals(net: Sequential, x: Any, y: Any) -> list[float]:
    """Root mean squares of the gradient by the outputs of each layer."""
    net = copy.deepcopy(net)
    goal = net._goal(None)
    rows = net._rows(goal, x, y)
    h, targets, _ = rows.take(slice(None))
    h = data.dense(h)
    net._require_learnt(rows.features)
    net.build(rows.features)
    *hidden, last = net.layers
    for layer in hidden:
        h = layer.forward(h, True)
    logits = bool(goal.activations)
    if logits and gives_logits(last):
        h = last.forward(h, True, logits=True)
    else:
        h = last.forward(h, True)
    slope: Array = np.empty_like(h)
    goal(np.ascontiguousarray(h), targets, None, slope)
    sizes = []
    for layer in reversed(net.layers):
        sizes.append(float(np.sqrt(np.square(slope, dtype=np.float64).mean())))
        slope = np.asarray(layer.backward(slope))
    return sizes[::-1]


def _pyplot() -> Any:
    try:
        return importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise ImportError(
            "pictures need matplotlib: pip install lamina[plots]"
        ) from None


def _axes(ax: Any, height: float = 3.4, width: float = _WIDTH) -> Any:
    if ax is not None:
        return ax
    return _pyplot().subplots(figsize=(width, height), layout="constrained")[1]


def _style(i: int, points: int) -> dict[str, Any]:
    """Of line number i; markers at some twelve points."""
    return {
        "color": _COLOURS[i % len(_COLOURS)],
        "marker": _MARKERS[i % len(_MARKERS)],
        "linestyle": _DASHES[i % len(_DASHES)],
        "markersize": 5,
        "markevery": max(1, points // 12),
    }


def _legend(
    ax: Any, count: int, title: str | None = None, outside: bool = False
) -> None:
    """Beside the axes where there are many lines."""
    if count > 3 or outside:
        ax.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, title=title,
            title_fontsize=8, borderaxespad=0,
        )  # fmt: skip
    elif count > 0:
        ax.legend(fontsize=8, title=title, title_fontsize=8)


def _scale(ax: Any, axis: str, values: Sequence[float]) -> None:
    """Logarithmic where the values are positive and span more than a factor of 30."""
    finite = [v for v in values if math.isfinite(v)]
    if finite and min(finite) > 0 and max(finite) > 30 * min(finite):
        getattr(ax, f"set_{axis}scale")("log")


def _ticks(ax: Any, values: Sequence[float]) -> None:
    """The values themselves where they are few, and as many as there is room for."""
    if len(values) > 12:
        return
    scale = ax.get_xscale()
    ax.set_xticks(values, map(_text, values))
    ax.minorticks_off()
    place = np.log(values) if scale == "log" else np.array(values, float)
    if len(values) > 1 and np.diff(np.sort(place)).min() < 0.04 * np.ptp(place):
        ax.tick_params(axis="x", labelrotation=45)


def _whole(ax: Any) -> None:
    """Only whole numbers below."""
    ticker = importlib.import_module("matplotlib.ticker")
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
