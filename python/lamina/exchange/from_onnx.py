"""Dense nets from ONNX graphs, as PyTorch, Keras, scikit-learn and Lamina write them.

A graph is cut where a layer begins. What is between two cuts and made of elementwise
nodes is one function of one number, however it is spelled: ONNX's reference evaluator
says what it makes of some numbers, and the activation that makes the same is taken.
The finished net is compared with the evaluator on whole rows.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from lamina import _checks, activations, layers
from lamina._checks import Array
from lamina._core import ActivationFunction
from lamina.exchange.to_onnx import package
from lamina.network import Network

__all__ = ["read"]

Net = TypeVar("Net", bound=Network)

_FLOATS = {1, 10, 11, 16}  # ONNX's numbers of float, float16, double, bfloat16
_AFFINE = {"Add", "Sub", "Mul", "Div"}
# Of rows, each value of which stays where it is.
_SAME = {"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze"}
_SHAPES = {"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_ELEMENTWISE = _AFFINE | {
    *("Abs", "And", "Cast", "Celu", "Clip", "Elu", "Equal", "Erf", "Exp", "Gelu"),
    *("Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity"),
    *("LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mish", "Neg", "Not"),
    *("Or", "PRelu", "Pow", "Reciprocal", "Relu", "Selu", "Shrink", "Sigmoid", "Sign"),
    *("Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "Where"),
}
# What makes labels of outputs.
_LABELS = {
    *("ArgMax", "ArrayFeatureExtractor", "Binarizer", "Cast", "Concat", "Gather"),
    *("Greater", "Identity", "LabelEncoder", "Reshape", "Squeeze", "ZipMap"),
}
_FEW = 64  # nodes of a function
_LONGEST = 500  # characters that spell a `LayerNorm`
_WIDEST = 2**20  # features: what is not in the file is made as wide


@dataclass
class _Part:
    """A layer with its arrays; several, if it is the block of a `Residual`."""

    layer: layers.Layer
    arrays: dict[str, Any] = field(default_factory=dict)
    block: list[_Part] = field(default_factory=list)


@dataclass
class _Place:
    """A value between two layers: what is before the last of them, and that layer."""

    width: int
    before: _Place | None = None
    part: _Part | None = None

    def since(self, earlier: _Place) -> list[_Part] | None:
        """The parts from that place to this one."""
        place: _Place | None = self
        parts: list[_Part] = []
        while place is not None and place is not earlier:
            if place.part is not None:
                parts.append(place.part)
            place = place.before
        return None if place is None else parts[::-1]


def read(path: str | os.PathLike[str], make: type[Net]) -> Net:
    """What `lamina.from_onnx` does, for a net of the class `make`."""
    onnx, name = package("onnx"), os.fsdecode(path)
    _checks.file("path", name)
    with _blaming(name), np.errstate(all="ignore"):
        model = onnx.load_model(name, "protobuf", load_external_data=False)
        _load_external(model, os.path.dirname(os.path.abspath(name)))
        onnx.checker.check_model(model)
        return _Graph(model).net(make)


@contextlib.contextmanager
def _blaming(path: str) -> Iterator[None]:
    """Turns what a bad file leads to into one kind of error that names the file."""
    wrong = package("google.protobuf.message").DecodeError
    invalid = package("onnx.checker").ValidationError
    kinds = TypeError, ValueError, ArithmeticError, LookupError, MemoryError
    try:
        yield
    except (wrong, invalid, *kinds, RuntimeError, AttributeError) as error:
        raise ValueError(f"{path} must hold a dense net: {error}") from error


def _load_external(model: Any, folder: str) -> None:
    """Read the weights that are in a file beside, of no more than it holds."""
    helper = package("onnx.external_data_helper")
    attributes = [each for node in model.graph.node for each in node.attribute]
    for tensor in [*model.graph.initializer, *(each.t for each in attributes)]:
        if not helper.uses_external_data(tensor):
            continue
        found = {entry.key: entry.value for entry in tensor.external_data}
        name = found.get("location", "")
        beside = os.path.join(folder, name)
        plain = os.path.basename(name) == name and "\\" not in name
        if not plain or os.path.islink(beside) or not os.path.isfile(beside):
            raise ValueError(f"external data must be in a file beside it, got {name!r}")
        first, size = (int(found.get(key, 0)) for key in ("offset", "length"))
        if min(first, size) < 0 or first + size > os.path.getsize(beside):
            raise ValueError(f"external data must be within {name!r}, got {found}")
        helper.load_external_data_for_tensor(tensor, folder)
        tensor.data_location = 0  # here


class _Graph:
    def __init__(self, model: Any) -> None:
        self.model, graph = model, model.graph
        self.opset = max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
            default=1,
        )
        self.arrays = {each.name: _array(each) for each in graph.initializer}
        inputs = [each for each in graph.input if each.name not in self.arrays]
        if len(inputs) != 1:
            raise ValueError(
                f"it must have one input, got {[each.name for each in inputs]}"
            )
        self.input = inputs[0]
        self.makers: dict[str, Any] = {}
        self.numbers: dict[str, int] = {}  # of the nodes that make them
        for i, node in enumerate(graph.node):
            self.makers.update((name, node) for name in node.output if name)
            self.numbers.update((name, i) for name in node.output)
            alone = node.op_type in ("Constant", "ConstantOfShape")
            if alone or all(each in self.arrays for each in node.input):
                self._fold(node)
        rows, *self.shape = [
            each.dim_value for each in self.input.type.tensor_type.shape.dim
        ] or [0]
        self.rows = rows or 16
        if not self.shape or 0 in self.shape:
            self.shape = [self._first_width()]
        width = math.prod(self.shape)
        most = max(_WIDEST, *(array.size for array in self.arrays.values()), 0)
        if not 0 < width <= most:
            raise ValueError(
                f"input {self.input.name!r} must have features, got {width}"
            )
        self.places = {self.input.name: _Place(width)}
        self.refused: dict[str, ValueError] = {}

    def _fold(self, node: Any) -> None:
        """Evaluate a node of constants."""
        if node.op_type == "Constant" and len(node.attribute) == 1:
            name, value = next(iter(_attributes(node).items()))
            if name in ("value", "value_float", "value_floats", "value_ints"):
                self.arrays[node.output[0]] = (
                    _array(value)
                    if name == "value"
                    else np.array(value, np.float32 if "float" in name else np.int64)
                )
        elif node.op_type == "ConstantOfShape":  # for a value's shape a number does
            value = _attributes(node).get("value")
            self.arrays[node.output[0]] = (
                np.zeros(1, np.float32) if value is None else _array(value)
            )
        elif node.op_type in _SHAPES | _ELEMENTWISE and not node.domain and node.input:
            given = [self.arrays[name] for name in node.input]
            if node.op_type in _SHAPES or (
                np.prod(np.broadcast_shapes(*(a.shape for a in given)))
                <= 4 * max(a.size for a in given) + 4
            ):
                found = self._evaluate([node], node.output[0], {})
                self.arrays[node.output[0]] = np.asarray(found)

    def _first_width(self) -> int:
        """The width of the input, where it is not said: as the first kernel has it."""
        for node in self.model.graph.node:
            if node.op_type in ("Gemm", "MatMul") and node.input[1] in self.arrays:
                kernel = self.arrays[node.input[1]]
                turned = bool(_attributes(node).get("transB", 0))
                return int(kernel.shape[turned])
        raise ValueError(f"the width of input {self.input.name!r} must be given")

    # From the outputs to the net ------------------------------------------------------

    def net(self, make: type[Net]) -> Net:
        for node in self.model.graph.node:  # in their order, so that nothing is deep
            if node.op_type in _READERS:
                with contextlib.suppress(ValueError):
                    self.place(node.output[0])
        outputs = self._outputs(each.name for each in self.model.graph.output)
        if len(outputs) != 1:
            raise ValueError(f"it must have one output, got those of {outputs}")
        (output,) = outputs
        first, last = self.places[self.input.name], self.place(output)
        parts = list(_in_a_row(last.since(first) or []))
        kinds = {str(a.dtype) for part in parts for a in part.arrays.values()}
        kernels = {str(p.arrays["kernel"].dtype) for p in parts if "kernel" in p.arrays}
        dtype = "float64" if "float64" in (kernels or kinds) else "float32"
        net = make([part.layer for part in parts], seed=0, dtype=dtype)
        net.build(first.width)
        for part in parts:
            _fill(part)
        self._compare(net, output)
        return net

    def _outputs(self, names: Iterable[str]) -> list[str]:
        """The values of the net that these are or come from, as labels do."""
        found: dict[int, str] = {}
        waiting, seen = [*names][::-1], set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            node = self.makers.get(name)
            try:
                found[id(self.place(name))] = name
            except ValueError:
                if node is None or node.op_type not in _LABELS:
                    raise
                chosen = node.op_type in ("ArrayFeatureExtractor", "Gather")
                if chosen and node.input[0] not in self.arrays:  # no list of classes
                    raise
                values = self._given(node)
                # Of two probabilities the other is one less it.
                if node.op_type == "Concat" and len(values) == 2:
                    rest = self._spelled(values[0], values[1]) == "Sub(#,x)"
                    values = values[rest:]
                waiting += values[::-1]
        return list(found.values())

    def _compare(self, net: Network, output: str) -> None:
        """Raise unless the net predicts what the graph does."""
        rows = min(self.rows, 4096)
        x = np.random.default_rng(0).normal(size=(rows, net.features))
        first = net.layers[0]
        if isinstance(first, layers.Standardize):
            x = first.mean + x * np.where(np.isfinite(first.scale), first.scale, 1)
        kind = self.input.type.tensor_type.elem_type
        given = x.astype(package("onnx.helper").tensor_dtype_to_np_dtype(kind))
        wanted = self._evaluate(
            self._between(output, self.input.name),
            output,
            {self.input.name: given.reshape(rows, *self.shape)},
        )
        wanted = np.asarray(wanted, np.float64).reshape(rows, -1)
        got = net.predict(given)
        finite = wanted[np.isfinite(wanted)]
        if not finite.size:
            raise ValueError("the graph must predict finite numbers to be compared")
        scale = np.abs(finite).max()
        if got.shape != wanted.shape or not np.allclose(
            got, wanted, rtol=1e-3, atol=1e-3 * scale, equal_nan=True
        ):
            raise ValueError("the net that was read predicts otherwise than the graph")

    # Nodes ----------------------------------------------------------------------------

    def place(self, name: str) -> _Place:
        """Where in the net that value is.

        Raises
        ------
        ValueError
            It is no value of a dense net.
        """
        if name in self.refused:
            raise self.refused[name]
        if name not in self.places:
            try:
                self.places[name] = self._place(name)
            except ValueError as error:
                self.refused[name] = error
                raise
        return self.places[name]

    def _place(self, name: str) -> _Place:
        node = self.makers.get(name)
        if node is None:
            raise ValueError(f"{name!r} must be made by a node")
        if node.output[0] != name:
            raise _refusal(node, "its further outputs are not known")
        domain = "ai.onnx.ml" if node.op_type == "Scaler" else ""
        if node.domain not in (domain, "ai.onnx"):
            raise _refusal(node, f"{node.domain} is another domain")
        if node.op_type in _SAME and (same := self._unchanged(node)) is not None:
            return same
        if node.op_type in _READERS:
            before = self.place(node.input[0])
            return _READERS[node.op_type](self, node, before)
        if node.op_type not in _ELEMENTWISE:
            raise _refusal(node, "it is no part of a dense net")
        if (normal := self._normalized(node)) is not None:
            return normal
        for each in self._given(node):  # sums of blocks within
            if len(self._sources(each)) > 1:
                self.place(each)
        sources = self._sources(name)
        if len(sources) == 1:
            return self._function(sources[0], name)
        if node.op_type == "Add" and len(node.input) == 2:
            return self._residual(node)
        raise _refusal(node, "it takes more than one value")

    def _given(self, node: Any) -> list[str]:
        """The inputs that are no constants."""
        return [name for name in node.input if name and name not in self.arrays]

    def _unchanged(self, node: Any) -> _Place | None:
        """The place before, if the node leaves rows as they are."""
        kept = _attributes(node)
        if node.op_type == "Cast" and kept["to"] not in _FLOATS:
            return None
        if node.op_type == "Flatten" and kept.get("axis", 1) != 1:
            return None
        place = self.place(node.input[0])
        if node.op_type == "Squeeze":
            return None
        if node.op_type == "Reshape":
            shape = self.arrays.get(node.input[1])
            if shape is None or shape.tolist() not in (
                *([-1, 0], [0, -1], [-1, place.width], [0, place.width]),
            ):
                return None
        return place

    def _array(self, node: Any, number: int, width: int) -> Array:
        """An input as an array of one number for each feature."""
        array = self.arrays.get(node.input[number])
        if array is None:
            raise _refusal(node, f"{node.input[number]!r} is no constant")
        return _of_features(node, array, width)

    def dense(self, node: Any, before: _Place) -> _Place:
        """Gemm and MatMul."""
        options = _attributes(node)
        kernel = self.arrays.get(node.input[1])
        if options.get("transA", 0) or kernel is None or kernel.ndim != 2:
            raise _refusal(node, "it does not multiply rows by a constant matrix")
        kernel = kernel.T if options.get("transB", 0) else kernel
        inputs, units = kernel.shape
        if inputs != before.width or not units:
            raise _refusal(node, f"{before.width} features meet {inputs} rows")
        arrays = {"kernel": _times(kernel, options.get("alpha", 1.0))}
        if len(node.input) > 2 and node.input[2]:
            bias = self._array(node, 2, units)
            arrays["bias"] = _times(bias, options.get("beta", 1.0))
        layer = layers.Dense(units, use_bias="bias" in arrays)
        return _Place(units, before, _Part(layer, arrays))

    def softmax(self, node: Any, before: _Place) -> _Place:
        axis = _attributes(node).get("axis", -1 if self.opset >= 13 else 1)
        if axis not in (-1, 1):
            raise _refusal(node, f"its axis is {axis}")
        name = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[node.op_type]
        return _Place(before.width, before, _Part(layers.Activation(name)))

    def batch_norm(self, node: Any, before: _Place) -> _Place:
        options = _attributes(node)
        if options.get("training_mode", 0):
            raise _refusal(node, "it trains")
        names = "gamma", "beta", "mean", "variance"
        arrays = {n: self._array(node, i, before.width) for i, n in enumerate(names, 1)}
        layer = layers.BatchNorm(epsilon=_shortest(options.get("epsilon", 1e-5)))
        return _Place(before.width, before, _Part(layer, arrays))

    def layer_norm(self, node: Any, before: _Place) -> _Place:
        options = _attributes(node)
        if options.get("axis", -1) not in (-1, 1):
            raise _refusal(node, "it is not over the features of a row")
        arrays = {"gamma": self._array(node, 1, before.width)}
        arrays["beta"] = (
            self._array(node, 2, before.width)
            if len(node.input) > 2 and node.input[2]
            else np.zeros_like(arrays["gamma"])
        )
        layer = layers.LayerNorm(_shortest(options.get("epsilon", 1e-5)))
        return _Place(before.width, before, _Part(layer, arrays))

    def scaler(self, node: Any, before: _Place) -> _Place:
        options = _attributes(node)
        steps = [
            (op, _of_features(node, np.array(options[name], np.float32), before.width))
            for op, name in (("Sub", "offset"), ("Mul", "scale"))
        ]
        return self._affine(node, before, steps)

    def _normalized(self, node: Any) -> _Place | None:
        """A `LayerNorm` of single nodes, of which the last comparison is sure."""
        above = self.makers.get(node.input[0])
        if node.op_type not in ("Add", "Div") or above is None:
            return None
        if above.op_type not in ("Mul", "Sub"):
            return None
        x, found = above.input[0], list[Array]()
        spelled = self._spelled(node.output[0], x, found)
        for part, sign in _NORMAL_PARTS.items():
            spelled = spelled.replace(part, sign)
        if spelled not in _NORMAL_FORMS:
            return None
        before, dtype = self.place(x), found[0].dtype
        arrays = {"gamma": np.ones(before.width, dtype)}
        arrays["beta"] = np.zeros_like(arrays["gamma"])
        if "G" in spelled:
            arrays["gamma"] = _of_features(node, found[1], before.width)
        if "#" in spelled:
            arrays["beta"] = _of_features(node, found[-1], before.width)
        epsilon = found[-1 if node.op_type == "Div" else 0].item()
        part_of = _Part(layers.LayerNorm(_shortest(epsilon)), arrays)
        return _Place(before.width, before, part_of)

    def _spelled(
        self, name: str, x: str, found: list[Array] | None = None, depth: int = 12
    ) -> str:
        """What makes the value of x, # being constants, which are found in order; "?"
        where that is more than `_NORMAL_FORMS` have."""
        if name == x:
            return "x"
        if name in self.arrays:
            if found is not None:
                found.append(self.arrays[name])
            return "#"
        node = self.makers.get(name)
        if node is None or not depth:
            return "?"
        inputs = node.input[:1] if node.op_type == "ReduceMean" else node.input
        if len(inputs) > 2:
            return "?"
        inner = [self._spelled(each, x, found, depth - 1) for each in inputs]
        text = f"{node.op_type}({','.join(inner)})"
        return "?" if "?" in text or len(text) > _LONGEST else text

    def _residual(self, node: Any) -> _Place:
        one, two = (self.place(name) for name in node.input)
        for early, late in (one, two), (two, one):
            block = late.since(early)
            if block and early.width == late.width:
                part = _Part(layers.Residual(), block=block)
                return _Place(late.width, early, part)
        raise _refusal(node, "it adds two values of which neither comes from the other")

    # Functions ------------------------------------------------------------------------

    def _sources(self, name: str) -> list[str]:
        """The values that elementwise nodes make this one of."""
        found: list[str] = []
        waiting, seen = [name], {name}
        while waiting:
            value = waiting.pop()
            node = self.makers.get(value)
            known = value != name and value in self.places
            if known or not node or node.op_type not in _ELEMENTWISE or node.domain:
                found.append(value)
                continue
            fresh = {*self._given(node)} - seen
            seen |= fresh
            waiting += fresh
            if len(seen) > _FEW:
                raise _refusal(node, "it ends a function of too many nodes")
        return found

    def _between(self, name: str, source: str) -> list[Any]:
        """The nodes that make one value of the other, in their order."""
        found, seen, waiting = dict[int, Any](), {source}, [name]
        while waiting:
            value = waiting.pop()
            if value not in seen and value not in self.arrays:
                seen.add(value)
                node = found[self.numbers[value]] = self.makers[value]
                waiting += self._given(node)
        return [node for _, node in sorted(found.items())]

    def _evaluate(self, nodes: Sequence[Any], name: str, given: dict[str, Any]) -> Any:
        """That value by the reference evaluator."""
        helper, onnx = package("onnx.helper"), package("onnx")
        from_array = package("onnx.numpy_helper").from_array
        needed = {each for node in nodes for each in node.input if each in self.arrays}
        graph = helper.make_graph(
            nodes,
            "part",
            [onnx.ValueInfoProto(name=each) for each in given],
            [onnx.ValueInfoProto(name=name)],
            [from_array(self.arrays[each], each) for each in sorted(needed)],
        )
        opsets = list(self.model.opset_import)
        model = helper.make_model(graph, opset_imports=opsets)
        evaluator = package("onnx.reference").ReferenceEvaluator(model)
        return evaluator.run(None, given)[0]

    def _function(self, source: str, name: str) -> _Place:
        """What elementwise nodes make of one value: an activation, an affine map, or
        one after the other."""
        before, node = self.place(source), self.makers[name]
        first, steps = self._steps(name, source)
        if first == source:
            return self._affine(node, before, steps)
        nodes = self._between(name, source)
        part = self._mixed(node, source) or self._known(nodes, source, name, before)
        if part is not None:
            return _Place(before.width, before, part)
        for value in [source, *self._cuts(nodes, source)][::-1]:
            sum_of_two = node.op_type == "Add" and len(self._given(node)) == 2
            if sum_of_two and value in node.input:
                self.place(value)
                return self._residual(node)
            part = self._known(self._between(name, value), value, name, before)
            if part is not None:
                with contextlib.suppress(ValueError):
                    return _Place(before.width, self.place(value), part)
        if steps:
            return self._affine(node, self.place(first), steps)
        raise _refusal(node, "it ends a function that no activation is")

    def _cuts(self, nodes: Sequence[Any], source: str) -> Iterator[str]:
        """The values between these nodes through which all goes."""
        last = {each: i for i, node in enumerate(nodes) for each in self._given(node)}
        needed = {source}
        for i, node in enumerate(nodes[:-1]):
            needed |= {node.output[0]}
            needed = {each for each in needed if last.get(each, 0) > i}
            if needed == {node.output[0]}:
                yield node.output[0]

    def _steps(self, name: str, source: str) -> tuple[str, list[tuple[str, Any]]]:
        """From which value an affine map leads here, and its steps."""
        steps: list[tuple[str, Any]] = []
        while name != source:
            node = self.makers[name]
            given = self._given(node)
            if node.op_type in ("Cast", "Identity"):
                name = given[0]
                continue
            if node.op_type == "Neg":
                steps.append(("Mul", np.float32(-1)))
            elif node.op_type not in _AFFINE or len(given) != 1:
                break
            else:
                left, right = (self.arrays.get(each) for each in node.input)
                if right is not None:
                    steps.append((node.op_type, right))
                elif node.op_type == "Div":
                    break
                elif node.op_type == "Sub":  # of a constant
                    steps += [("Add", left), ("Mul", np.float32(-1))]
                else:
                    steps.append((node.op_type, left))
            name = given[0]
        return name, steps[::-1]

    def _affine(
        self, node: Any, before: _Place, steps: list[tuple[str, Any]]
    ) -> _Place:
        width, part = before.width, before.part
        steps = [(op, _of_features(node, value, width)) for op, value in steps]
        dtype = np.result_type(*(value for _, value in steps))
        factor, shift = np.ones(width), np.zeros(width)
        for op, value in steps:
            exact = value.astype(np.float64)
            if op in ("Mul", "Div"):
                by = np.multiply if op == "Mul" else np.divide
                factor, shift = by(factor, exact), by(shift, exact)
            else:
                shift = shift + (exact if op == "Add" else -exact)
        if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
            raise _refusal(node, "its numbers must be finite")
        if part is None:
            return _Place(width, before, _first(steps, factor, shift))
        own = dict(part.arrays)
        plain = type(part.layer) is layers.LayerNorm and not own["beta"].any()
        if plain and ((factor == 1).all() or (own["gamma"] == 1).all()):
            own = {"gamma": own["gamma"] * factor, "beta": shift}
            own = {name: array.astype(dtype) for name, array in own.items()}
            return _Place(width, before.before, _Part(part.layer, own))
        if not shift.any():
            if (factor == 1).all():
                return before
            arrays = {"factor": factor.astype(dtype)}
            return _Place(width, before, _Part(layers.Scale(), arrays))
        if type(part.layer) is layers.Dense:
            kernel, bias = own["kernel"], own.get("bias", np.zeros(width))
            own["kernel"] = (kernel * factor).astype(kernel.dtype)
            own["bias"] = (bias * factor + shift).astype(kernel.dtype)
            return _Place(width, before.before, _Part(layers.Dense(width), own))
        layer = layers.BatchNorm()
        variance = np.full(width, 1 - layer.epsilon)
        own = {"gamma": factor, "beta": shift, "mean": 0 * shift, "variance": variance}
        own = {name: array.astype(dtype) for name, array in own.items()}
        return _Place(width, before, _Part(layer, own))

    def _mixed(self, node: Any, x: str) -> _Part | None:
        """x + share * (f(x) - x)"""
        path: list[Any] = []
        for op in "Add", "Mul", "Sub":
            inner = self.makers.get(path[-1].input[1]) if path else node
            if inner is None or inner.op_type != op:
                return None
            path.append(inner)
        (one, _), (share_name, _), (f, two) = (each.input for each in path)
        share = self.arrays.get(share_name)
        if share is None or not one == two == x:
            return None
        found = self._known(self._between(f, x), x, f, self.place(x))
        if found is None or not isinstance(found.layer, layers.Activation):
            return None
        array = _of_features(node, share, self.place(x).width)
        return _Part(layers.Mixed(found.layer.activation), {"share": array})

    def _known(
        self, nodes: Sequence[Any], source: str, name: str, before: _Place
    ) -> _Part | None:
        """The layer of one number that these nodes are."""
        constants = [
            self.arrays[each]
            for node in nodes
            for each in node.input
            if each in self.arrays
        ]
        single = {c.item() for c in constants if c.size == 1 and c.dtype.kind == "f"}
        single |= {
            v for n in nodes for v in _attributes(n).values() if type(v) is float
        }
        single = {abs(_shortest(v)) for v in single if np.isfinite(v) and v}
        if len(single) > 16 or any(c.size not in (1, before.width) for c in constants):
            return None
        x = np.concatenate([_PROBES, *(np.outer([-2, -0.5, 0.5, 2], [*single]))])
        double = any(c.dtype == np.float64 for c in constants)
        x = np.unique(x).astype(np.float64 if double else np.float32)[:, np.newaxis]
        y = np.asarray(self._evaluate(nodes, name, {source: x}), np.float64)
        x = x.astype(np.float64)
        if y.ndim != 2 or y.shape[1] not in (1, before.width):
            return None
        for activation in _candidates(single):
            if _agree(x, y, activation(x)):
                return _Part(layers.Activation(activation))
        at_one = int(np.flatnonzero(x == -1)[0])
        slope = -y[at_one]
        if (slope != 1).any() and _agree(x, y, np.where(x > 0, x, x * slope)):
            dtype = np.float64 if double else np.float32
            array = np.broadcast_to(slope, before.width).astype(dtype)
            return _Part(layers.PReLU(), {"slope": array})
        return None


# How a LayerNorm is spelled: C is centred, V the variance, R its root, S one over it, G
# times gamma; by us and by PyTorch, then by tf2onnx.
_NORMAL_PARTS = {
    "Sub(x,ReduceMean(x))": "C",
    "ReduceMean(Mul(C,C))": "V",
    "ReduceMean(Pow(C,#))": "V",
    "Sqrt(Add(V,#))": "R",
    "Reciprocal(R)": "S",
    "Mul(S,#)": "G",
}
_NORMAL_FORMS = {"Div(C,R)"} | {
    f"Add(Mul(x,{s}),{shift})"
    for s in "SG"
    for mean in [f"Mul(Neg(ReduceMean(x)),{s})"]
    for shift in (mean, f"Add({mean},#)")
}

_READERS: dict[str, Callable[[_Graph, Any, _Place], _Place]] = {
    "BatchNormalization": _Graph.batch_norm,
    "Gemm": _Graph.dense,
    "LayerNormalization": _Graph.layer_norm,
    "LogSoftmax": _Graph.softmax,
    "MatMul": _Graph.dense,
    "Scaler": _Graph.scaler,
    "Softmax": _Graph.softmax,
}

# Where functions are compared: near zero, at kinks, far away.
_FAR = np.array([20.5, 80, 1e3, 1e4])
_PROBES = np.concatenate([np.linspace(-12, 12, 97), [0.7, 3.3, 1e-3], _FAR, -_FAR])


def _candidates(numbers: set[float]) -> Iterator[ActivationFunction]:
    """All activations of a number but identity, with these as their parameters."""
    for name in activations.names:
        if name in ("identity", "softmax", "log_softmax"):
            continue
        activation = activations.get(name)
        yield activation
        for parameter in activation.parameters:
            for value in sorted({*numbers, *(1 / n for n in numbers)}):
                with contextlib.suppress(ValueError):
                    yield activation.using(**{parameter: value})


def _agree(x: Array, y: Array, wanted: Array) -> bool:
    """Whether they are the same but for roundings of float32; far away the nodes of a
    graph may overflow."""
    overflown = ~np.isfinite(y) & (np.abs(x) > 12)
    close = np.abs(y - wanted) <= 2e-6 * (1 + np.abs(x))
    return bool((close | overflown).all())


def _first(steps: list[tuple[str, Array]], factor: Array, shift: Array) -> _Part:
    """What is done with inputs."""
    ops, dtype = [op for op, _ in steps], steps[-1][1].dtype
    if set(ops) == {"Mul"} and not (factor == factor[0]).all():
        return _Part(layers.Scale(), {"factor": factor.astype(dtype)})
    exact = ops in (["Sub"], ["Sub", "Div"], ["Sub", "Mul"])
    if not (exact or factor.all()):
        raise ValueError("factors of inputs must not be 0")
    arrays = {
        "mean": steps[0][1] if exact else (-shift / factor).astype(dtype),
        "scale": steps[-1][1]
        if ops[-1] == "Div" and (exact or len(ops) == 1)
        else (1 / factor).astype(dtype),
        "learnt": np.True_,
    }
    return _Part(layers.Standardize(), arrays)


def _in_a_row(parts: Sequence[_Part]) -> list[_Part]:
    """Blocks in the places of their layers, and activations with those before."""
    row: list[_Part] = []
    for part in parts:
        last = row[-1] if row else None
        if type(part.layer) is layers.Residual:
            row += [part, *_in_a_row(part.block), _Part(layers.Add())]
        elif (
            type(part.layer) is layers.Activation
            and last is not None
            and type(last.layer) is layers.Dense
            and last.layer.activation.name == "identity"
        ):
            layer = layers.Dense(
                last.layer.units, part.layer.activation, use_bias=last.layer.use_bias
            )
            row[-1] = _Part(layer, last.arrays)
        else:
            row.append(part)
    return row


def _fill(part: _Part) -> None:
    """Put the arrays into the layer, which is built."""
    layer: Any = part.layer
    for name, value in part.arrays.items():
        if name in layer.parameters:
            layer.parameters[name][...] = value
        elif name == "learnt":
            layer.learnt = True
        else:  # a mean in float64 is one to centre by before rounding
            wide = name == "mean" and type(layer) is layers.Standardize
            dtype = value.dtype if wide and value.dtype == np.float64 else layer.dtype
            setattr(layer, name, np.array(value, dtype))


def _array(tensor: Any) -> Array:
    try:
        array = package("onnx.numpy_helper").to_array(tensor)
    except (TypeError, ValueError) as error:
        raise ValueError(f"tensor {tensor.name!r}: {error}") from error
    half = array.dtype.kind == "V" or array.dtype == np.float16
    return np.asarray(array, np.float32 if half else array.dtype)


def _of_features(node: Any, array: Array, width: int) -> Array:
    """`array` as one number for each feature."""
    if (
        array.dtype.kind != "f"
        or array.size not in (1, width)
        or (array.size > 1 and array.shape[-1] != width)
    ):
        raise _refusal(
            node, f"{array.dtype} of shape {array.shape} meets {width} features"
        )
    return np.broadcast_to(array.reshape(-1), (width,))


def _times(array: Array, factor: float) -> Array:
    exact = array if factor == 1 else array.astype(np.float64) * factor
    return exact.astype(array.dtype)


def _shortest(value: float) -> float:
    """The number that was meant, where it has been rounded to float32."""
    narrow = np.float32(value)
    return float(str(narrow)) if narrow == value else float(value)


def _attributes(node: Any) -> Mapping[str, Any]:
    value = package("onnx.helper").get_attribute_value
    return {each.name: value(each) for each in node.attribute}


def _refusal(node: Any, why: str) -> ValueError:
    kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    name = node.name or next(iter(node.output), "")
    return ValueError(f"node {name!r} ({kind}): {why}")
