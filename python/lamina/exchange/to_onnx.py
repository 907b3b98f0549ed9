"""Nets as ONNX graphs, of nodes that ONNX Runtime has for both dtypes."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lamina import _checks, activations, layers
from lamina._checks import Array
from lamina._core import ActivationFunction, __version__
from lamina.exchange.files import replace
from lamina.network import Network

__all__ = ["OLDEST", "Graph", "begin", "package", "plain", "write"]

OLDEST = 14  # the first opset with HardSwish


def package(name: str) -> Any:
    """onnx, or a module of it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            "ONNX files need onnx; use pip install lamina[onnx]"
        ) from error


class Graph:
    """A graph in the making: values are known by their names."""

    def __init__(self, dtype: DTypeLike, opset: int) -> None:
        self.helper = package("onnx.helper")
        newest = package("onnx.defs").onnx_opset_version()
        if not OLDEST <= _checks.count("opset", opset) <= newest:
            raise ValueError(
                f"opset must be from {OLDEST} to {newest}, the newest that the "
                f"installed onnx knows, got {opset}"
            )
        self.dtype, self.opset = np.dtype(dtype), opset
        self.double = self.dtype == np.float64
        self.scope = ""  # before the names that are made
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._names: set[str] = set()
        self._scalars: dict[tuple[str, bytes], str] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node of one output, whose name is returned."""
        name = self._own(f"{self.scope}{op}_{len(self._nodes)}")
        self._nodes.append(
            self.helper.make_node(
                op, inputs, [name], name=name, domain=domain, **attributes
            )
        )
        return name

    def number(self, value: float, dtype: DTypeLike | None = None) -> str:
        """A scalar, by default of the graph's dtype, which all nodes share."""
        scalar = np.array(value, dtype or self.dtype)
        key = scalar.dtype.str, scalar.tobytes()
        if key not in self._scalars:
            self._scalars[key] = self.array(f"number_{len(self._scalars)}", scalar)
        return self._scalars[key]

    def weights(self, name: str, value: Any) -> str:
        """An array in the graph's dtype, of the part that the scope names."""
        return self.array(self.scope + name, np.asarray(value, self.dtype))

    def array(self, name: str, value: Any) -> str:
        """An array as it is."""
        value = np.asarray(value)
        if value.dtype.kind in "OU":  # strings
            value = value.astype(object)
        name = self._own(name)
        tensor = package("onnx.numpy_helper").from_array(np.array(value), name)
        self._constants.append(tensor)
        return name

    def input(self, name: str, dtype: DTypeLike, width: int) -> str:
        """A matrix of as many rows as are given."""
        name = self._own(name)
        self._inputs.append(self._described(name, dtype, [width]))
        return name

    def output(
        self, name: str, value: str, dtype: DTypeLike, shape: Sequence[int]
    ) -> None:
        self.scope, name = "", self._own(name)
        node = self.helper.make_node("Identity", [value], [name], name=name)
        self._nodes.append(node)
        self._outputs.append(self._described(name, dtype, shape))

    def _own(self, name: str) -> str:
        """The name, or with _ after it if it is taken."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def _described(self, name: str, dtype: DTypeLike, shape: Sequence[int]) -> Any:
        kind = self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.helper.make_tensor_value_info(name, kind, ["n", *shape])

    # What nodes are made of -----------------------------------------------------------

    def mean(self, x: str) -> str:
        """Over the features, which stay as one."""
        if self.opset < 18:
            return self.add("ReduceMean", x, axes=[1], keepdims=1)
        return self.add("ReduceMean", x, self.axes(1), keepdims=1)

    def axes(self, *numbers: int) -> str:
        return self.array("axes", np.array(numbers, np.int64))

    def columns(self, x: str, numbers: Sequence[int]) -> str:
        chosen = self.array(f"{self.scope}columns", np.array(numbers, np.int64))
        return self.add("Gather", x, chosen, axis=1)

    def sorted(self, x: str, width: int) -> str:
        """The values of each row in ascending order."""
        name = self.add("TopK", x, self.axes(width), axis=1, largest=0)
        self._nodes[-1].output.append(self._own(f"{name}_places"))
        return name

    def activate(self, activation: ActivationFunction, x: str) -> str:
        name, parameters = activation.name, activation.parameters.values()
        found = (_IN_DOUBLE if self.double else {}).get(name) or _ACTIVATIONS[name]
        return found(self, x, *parameters)

    def net(self, net: Network, x: str, scope: str = "") -> str:
        """All layers, as they predict."""
        if (exact := _exact_mean(net)) is not None and not self.double:
            self.scope = f"{scope}0."
            mean = self.array(f"{self.scope}mean", exact)
            x = self.add("Cast", self.add("Sub", x, mean), to=1)
        blocks: list[str] = []
        for i, layer in enumerate(net.layers):
            self.scope = f"{scope}{i}."
            if type(layer) is layers.Residual:
                blocks.append(x)
            elif type(layer) is layers.Add:
                x = self.add("Add", blocks.pop(), x)
            elif type(layer) in _LAYERS:
                x = _LAYERS[type(layer)](self, layer, x)
            else:
                raise TypeError(
                    f"a net to write as ONNX must be of Lamina's layers, got {layer!r}"
                )
        self.scope = ""
        return x

    def choose(self, p: str, outputs: int, labels: Any) -> str:
        """The label of each row: that of the largest output, or of two by the side of
        one half on which the only output is."""
        if outputs > 1:
            codes = self.add("ArgMax", p, axis=1, keepdims=0)
        else:
            half = self.add("Greater", p, self.number(0.5))
            codes = self.add("Squeeze", half, self.axes(1))
            codes = self.add("Cast", codes, to=7)
        return self.add("Gather", self.array("classes", labels), codes, axis=0)

    def save(self, path: str | os.PathLike[str] | None, **metadata: Any) -> Any:
        """The model, checked; written to a file whole or not at all."""
        graph = self.helper.make_graph(
            self._nodes,
            "lamina",
            self._inputs,
            self._outputs,
            self._constants,
        )
        opsets = [self.helper.make_opsetid("", self.opset)]
        if any(node.domain for node in self._nodes):
            opsets.append(self.helper.make_opsetid("ai.onnx.ml", 2))
        model = self.helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=self.helper.find_min_ir_version_for(opsets),
            producer_name="lamina",
            producer_version=__version__,
        )
        described = {name: json.dumps(value) for name, value in metadata.items()}
        self.helper.set_model_props(model, described)
        package("onnx.checker").check_model(model)
        if path is not None:
            replace(os.fsdecode(path), model.SerializeToString())
        return model


def write(
    net: Network,
    path: str | os.PathLike[str] | None,
    opset: int,
    dtype: DTypeLike | None,
    labels: Sequence[Any] | None,
) -> Any:
    """What `Sequential.to_onnx` does."""
    graph, p = begin(net, opset, dtype)
    width = net.layers[-1].outputs(net.layers[-1].features)
    graph.output("predictions", p, graph.dtype, [width])
    if labels is not None:
        given = np.asarray(labels)
        if given.shape != (max(width, 2),) or given.dtype.kind not in "iuUO":
            raise ValueError(
                f"labels must be {max(width, 2)} integers or strings, got {labels!r}"
            )
        given = plain(given)
        chosen = graph.choose(p, width, given)
        graph.output("labels", chosen, given.dtype, [])
    return graph.save(path)


def begin(net: Network, opset: int, dtype: DTypeLike | None) -> tuple[Graph, str]:
    """A graph of the net, by default in its dtype, and the net's outputs."""
    graph = Graph(net.dtype if dtype is None else _checks.float_dtype(dtype), opset)
    # Columns that are centred before they are rounded.
    given = graph.dtype if _exact_mean(net) is None else np.float64
    return graph, graph.net(net, graph.input("x", given, net.features))


def _exact_mean(net: Network) -> Array | None:
    first = net.layers[0]
    return first.exact_mean() if isinstance(first, layers.Standardize) else None


def plain(classes: Array) -> Array:
    """Labels in a type that ONNX has."""
    if classes.dtype.kind in "biu":
        return classes.astype(np.int64)
    return classes if classes.dtype.kind == "f" else classes.astype(str)


# Layers -------------------------------------------------------------------------------


def _dense(g: Graph, layer: layers.Dense, x: str) -> str:
    own = [g.weights(name, array) for name, array in layer.parameters.items()]
    return g.activate(layer.activation, g.add("Gemm", x, *own))


def _standardize(g: Graph, layer: layers.Standardize, x: str) -> str:
    if layer.exact_mean() is None or g.double:
        x = g.add("Sub", x, g.weights("mean", layer.mean))
    return g.add("Div", x, g.weights("scale", layer.scale))


def _robust_scale(g: Graph, layer: layers.RobustScale, x: str) -> str:
    clip = activations.smooth_clip.using(limit=layer.limit)
    return g.activate(clip, _standardize(g, layer, x))


def _scale(g: Graph, layer: layers.Scale, x: str) -> str:
    return g.add("Mul", x, g.weights("factor", layer.parameters["factor"]))


def _prelu(g: Graph, layer: layers.PReLU, x: str) -> str:
    slope = g.weights("slope", layer.parameters["slope"])
    if not g.double:
        return g.add("PRelu", x, slope)
    return _by_sign(g, x, g.add("Mul", x, slope))


def _mixed(g: Graph, layer: layers.Mixed, x: str) -> str:
    share = g.weights("share", layer.parameters["share"])
    change = g.add("Sub", g.activate(layer.activation, x), x)
    return g.add("Add", x, g.add("Mul", share, change))


def _batch_norm(g: Graph, layer: layers.BatchNorm, x: str) -> str:
    p = layer.parameters
    arrays = {"gamma": p["gamma"], "beta": p["beta"]}
    arrays |= {"mean": layer.mean, "variance": layer.variance}
    own = [g.weights(name, array) for name, array in arrays.items()]
    return g.add("BatchNormalization", x, *own, epsilon=layer.epsilon)


def _layer_norm(g: Graph, layer: layers.LayerNorm, x: str) -> str:
    from_mean = g.add("Sub", x, g.mean(x))
    variance = g.mean(g.add("Mul", from_mean, from_mean))
    root = g.add("Sqrt", g.add("Add", variance, g.number(layer.epsilon)))
    y = g.add("Div", from_mean, root)
    y = g.add("Mul", y, g.weights("gamma", layer.parameters["gamma"]))
    return g.add("Add", y, g.weights("beta", layer.parameters["beta"]))


def _dropout(g: Graph, layer: layers.Dropout, x: str) -> str:
    factor, _ = layer.affine()
    return x if factor == 1 else g.add("Mul", x, g.number(factor))


def _embedding(g: Graph, layer: layers.Embedding, x: str) -> str:
    parts = _others(g, layer.columns, layer.features, x)
    for column, table in zip(layer.columns, layer.parameters.values(), strict=True):
        code, unknown = g.columns(x, [column]), g.number(len(table) - 1)
        known = g.add("Equal", code, g.add("Floor", code))
        known = g.add("And", known, g.add("Less", code, unknown))
        known = g.add("And", known, g.add("Not", g.add("Less", code, g.number(0))))
        row = g.add("Cast", g.add("Where", known, code, unknown), to=7)
        row = g.add("Squeeze", row, g.axes(1))
        vectors = g.add("Gather", g.weights(f"table_{column}", table), row, axis=0)
        parts.append(vectors)
    return g.add("Concat", *parts, axis=1)


def _piecewise_linear(g: Graph, layer: layers.PiecewiseLinear, x: str) -> str:
    """A matrix of rows and bins for each column, by its kernel."""
    numbers = _checks.within("columns", layer.columns, layer.features)
    low, high = layer.edges[:, np.newaxis, :-1], layer.edges[:, np.newaxis, 1:]
    # Bins that are not there give 0; the first and the last have no end.
    there = np.isfinite(high)
    first = np.arange(low.shape[2]) == 0
    last = there & ~np.append(there[..., 1:], np.zeros_like(there[..., :1]), axis=2)
    least, most = np.where(first, -np.inf, 0.0), np.where(last, np.inf, 1.0)
    most, least = np.where(there, most, 0.0), np.where(there, least, 0.0)
    low, high = np.where(there, low, 0), np.where(there, high, 1)
    within = g.add("Sub", _by_column(g, x, numbers), g.weights("low", low))
    code = g.add("Div", within, g.weights("width", high - low))
    code = g.add("Max", code, g.weights("least", least))
    code = g.add("Min", code, g.weights("most", most))
    others = _others(g, numbers, layer.features, x)
    return _mapped(g, code, layer, others, layer.dims)


def _periodic(g: Graph, layer: layers.Periodic, x: str) -> str:
    """Whole turns are left out before an angle is rounded."""
    numbers = _checks.within("columns", layer.columns, layer.features)
    frequencies = g.weights("frequencies", layer.parameters["frequencies"])
    turns = g.add("Mul", _by_column(g, x, numbers), frequencies)
    turns = g.add("Sub", turns, g.add("Round", turns))
    angles = g.add("Mul", turns, g.number(2 * np.pi))
    if "phases" in layer.parameters:
        phases = g.weights("phases", layer.parameters["phases"])
        waves = _cosine(g, g.add("Add", angles, phases))
        return _mapped(g, waves, layer, [x], layer.dims - 1)
    waves = g.add("Concat", _cosine(g, angles), g.add("Sin", angles), axis=2)
    others = _others(g, numbers, layer.features, x)
    return _mapped(g, waves, layer, others, layer.dims)


def _cosine(g: Graph, angles: str) -> str:
    if not g.double:
        return g.add("Cos", angles)
    return g.add("Sin", g.add("Add", angles, g.number(np.pi / 2)))


def _by_column(g: Graph, x: str, numbers: Sequence[int]) -> str:
    """(columns, rows, 1)"""
    chosen = g.add("Transpose", g.columns(x, numbers), perm=[1, 0])
    return g.add("Unsqueeze", chosen, g.axes(2))


def _mapped(
    g: Graph, codes: str, layer: layers.Layer, before: list[str], outputs: int
) -> str:
    """The codes of each column by its kernel, beside what comes before."""
    kernel = g.weights("kernel", layer.parameters["kernel"])
    y = g.add("MatMul", codes, kernel)
    y = g.add("Add", y, g.weights("bias", layer.parameters["bias"]))
    y = g.add("Transpose", y, perm=[1, 0, 2])
    width = outputs * len(layer.parameters["kernel"])
    flat = g.add("Reshape", y, g.array("shape", np.array([-1, width], np.int64)))
    return g.add("Concat", *before, flat, axis=1)


def _others(g: Graph, numbers: Sequence[int], features: int, x: str) -> list[str]:
    """The columns that are not named, if there are any."""
    rest = [i for i in range(features) if i not in set(numbers)]
    return [g.columns(x, rest)] if rest else []


_LAYERS: dict[type[layers.Layer], Callable[[Graph, Any, str], str]] = {
    layers.Activation: lambda g, layer, x: g.activate(layer.activation, x),
    layers.BatchNorm: _batch_norm,
    layers.Dense: _dense,
    layers.Dropout: _dropout,
    layers.Embedding: _embedding,
    layers.GaussianNoise: lambda g, layer, x: x,
    layers.LayerNorm: _layer_norm,
    layers.Mixed: _mixed,
    layers.PReLU: _prelu,
    layers.Periodic: _periodic,
    layers.PiecewiseLinear: _piecewise_linear,
    layers.RobustScale: _robust_scale,
    layers.Scale: _scale,
    layers.Standardize: _standardize,
}

# Activations --------------------------------------------------------------------------

_Form = Callable[..., str]  # of a graph, a value and the activation's parameter


def _node(op: str, **attributes: float) -> _Form:
    return lambda g, x: g.add(op, x, **attributes)


def _clip(g: Graph, x: str, low: float, high: float) -> str:
    return g.add("Clip", x, g.number(low), g.number(high))


def _by_sign(g: Graph, x: str, otherwise: str, positive: str | None = None) -> str:
    """x, or what is given, where x is positive."""
    above = g.add("Greater", x, g.number(0))
    return g.add("Where", above, positive or x, otherwise)


def _exponential(g: Graph, x: str, alpha: float, divisor: float = 1.0) -> str:
    """alpha (exp(min(x, 0) / divisor) - 1)"""
    power = g.add("Min", x, g.number(0))
    power = power if divisor == 1 else g.add("Div", power, g.number(divisor))
    below = g.add("Sub", g.add("Exp", power), g.number(1))
    return g.add("Mul", below, g.number(alpha))


def _log_sigmoid(g: Graph, x: str) -> str:
    return g.add("Neg", g.activate(activations.softplus, g.add("Neg", x)))


def _softplus(g: Graph, x: str, beta: float) -> str:
    if beta == 1:
        return g.add("Softplus", x)
    inner = g.add("Mul", x, g.number(beta))
    return g.add("Div", g.add("Softplus", inner), g.number(beta))


def _softplus_in_double(g: Graph, x: str, beta: float) -> str:
    """max(x, 0) + log(1 + exp(-beta |x|)) / beta"""
    power = g.add("Exp", g.add("Mul", g.add("Abs", x), g.number(-beta)))
    rest = g.add("Log", g.add("Add", power, g.number(1)))
    rest = rest if beta == 1 else g.add("Div", rest, g.number(beta))
    return g.add("Add", g.add("Relu", x), rest)


def _softsign_in_double(g: Graph, x: str) -> str:
    return g.add("Div", x, g.add("Add", g.add("Abs", x), g.number(1)))


def _gelu(g: Graph, x: str) -> str:
    inner = g.add("Erf", g.add("Mul", x, g.number(0.5**0.5)))
    half = g.add("Mul", x, g.number(0.5))
    return g.add("Mul", half, g.add("Add", inner, g.number(1)))


def _gelu_in_double(g: Graph, x: str) -> str:
    raise ValueError(
        "a net to write as ONNX in float64 must be without gelu, whose Erf ONNX "
        "Runtime has in float32 alone; use dtype='float32', or gelu_tanh"
    )


def _gelu_tanh(g: Graph, x: str) -> str:
    square = g.add("Mul", x, x)
    factor = g.add("Add", g.add("Mul", square, g.number(0.044715)), g.number(1))
    inner = g.add("Mul", g.add("Mul", x, g.number((2 / np.pi) ** 0.5)), factor)
    half = g.add("Mul", x, g.number(0.5))
    return g.add("Mul", half, g.add("Add", g.add("Tanh", inner), g.number(1)))


def _silu(g: Graph, x: str, factor: float = 1.0) -> str:
    inner = x if factor == 1 else g.add("Mul", x, g.number(factor))
    return g.add("Mul", x, g.add("Sigmoid", inner))


def _mish(g: Graph, x: str) -> str:
    return g.add("Mul", x, g.add("Tanh", g.activate(activations.softplus, x)))


def _hard_sigmoid_in_double(g: Graph, x: str) -> str:
    line = g.add("Add", g.add("Div", x, g.number(6)), g.number(0.5))
    return _clip(g, line, 0, 1)


def _soft_shrink(g: Graph, x: str, threshold: float) -> str:
    return g.add("Sub", x, _clip(g, x, -threshold, threshold))


def _hard_shrink(g: Graph, x: str, threshold: float) -> str:
    large = g.add("Greater", g.add("Abs", x), g.number(threshold))
    return g.add("Where", large, x, g.number(0))


def _squareplus(g: Graph, x: str, b: float) -> str:
    root = g.add("Sqrt", g.add("Add", g.add("Mul", x, x), g.number(b)))
    return g.add("Mul", g.add("Add", x, root), g.number(0.5))


def _smooth_clip(g: Graph, x: str, limit: float) -> str:
    """z / sqrt(1 + (z / limit)^2), of a z whose square is finite."""
    if limit == np.inf:
        return x
    z = _clip(g, g.add("Div", x, g.number(limit)), -(2.0**60), 2.0**60)
    root = g.add("Sqrt", g.add("Add", g.add("Mul", z, z), g.number(1)))
    return g.add("Mul", g.add("Div", z, root), g.number(limit))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804935, 1.6732632423543772848

_ACTIVATIONS: dict[str, _Form] = {
    "identity": lambda g, x: x,
    "sigmoid": _node("Sigmoid"),
    "log_sigmoid": _log_sigmoid,
    "tanh": _node("Tanh"),
    "relu": _node("Relu"),
    "relu6": lambda g, x: _clip(g, x, 0, 6),
    "leaky_relu": lambda g, x, slope: g.add("LeakyRelu", x, alpha=slope),
    "elu": lambda g, x, alpha: g.add("Elu", x, alpha=alpha),
    "selu": _node("Selu", alpha=_SELU_ALPHA, gamma=_SELU_SCALE),
    "celu": lambda g, x, alpha: g.add("Celu", x, alpha=alpha),
    "softplus": _softplus,
    "softsign": _node("Softsign"),
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": lambda g, x: _silu(g, x, 1.702),
    "mish": _mish,
    "hard_sigmoid": _node("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": _node("HardSwish"),
    "hard_tanh": lambda g, x: _clip(g, x, -1, 1),
    "tanh_shrink": lambda g, x: g.add("Sub", x, g.add("Tanh", x)),
    "soft_shrink": _soft_shrink,
    "hard_shrink": _hard_shrink,
    "squareplus": _squareplus,
    "smooth_clip": _smooth_clip,
    "softmax": _node("Softmax", axis=1),
    "log_softmax": _node("LogSoftmax", axis=1),
}

# For what ONNX Runtime has in float32 alone.
_IN_DOUBLE: dict[str, _Form] = {
    "leaky_relu": lambda g, x, slope: _by_sign(g, x, g.add("Mul", x, g.number(slope))),
    "elu": lambda g, x, alpha: _by_sign(g, x, _exponential(g, x, alpha)),
    "selu": lambda g, x: _by_sign(
        g,
        x,
        _exponential(g, x, _SELU_SCALE * _SELU_ALPHA),
        g.add("Mul", x, g.number(_SELU_SCALE)),
    ),
    "celu": lambda g, x, alpha: _by_sign(g, x, _exponential(g, x, alpha, alpha)),
    "softplus": _softplus_in_double,
    "softsign": _softsign_in_double,
    "gelu": _gelu_in_double,
    "hard_sigmoid": _hard_sigmoid_in_double,
    "hard_swish": lambda g, x: g.add("Mul", x, _hard_sigmoid_in_double(g, x)),
}
