"""ONNX Runtime: the net as a graph, its input and output bound beforehand."""

import os

import numpy as np
import onnxruntime
from onnx import checker, helper, numpy_helper

from peers import Array, Call

Weights = tuple[tuple[Array, Array], ...]

OPSET, FORMAT = 21, 10  # of the operators and of the file


def predict(weights: Weights, x: Array) -> Call:
    options = onnxruntime.SessionOptions()
    if os.environ.get("OMP_NUM_THREADS") == "1":  # which it does not read itself
        options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model(weights, x), options, providers=["CPUExecutionProvider"]
    )
    out = np.empty((len(x), len(weights[-1][1])), x.dtype)
    source, target = map(onnxruntime.OrtValue.ortvalue_from_numpy, (x, out))
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", source)
    binding.bind_ortvalue_output("y", target)

    def call() -> Array:
        session.run_with_iobinding(binding)  # writes into out
        return out

    return call


def model(weights: Weights, x: Array) -> bytes:
    nodes, arrays, name = [], [], "x"
    for i, (kernel, bias) in enumerate(weights):
        arrays += [
            numpy_helper.from_array(kernel, f"kernel{i}"),
            numpy_helper.from_array(bias, f"bias{i}"),
        ]
        inputs = [name, f"kernel{i}", f"bias{i}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"z{i}"]))
        last = i == len(weights) - 1
        name = "y" if last else f"y{i}"
        function = "Softmax" if last else "Relu"
        nodes.append(helper.make_node(function, [f"z{i}"], [name]))
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    ends = [
        helper.make_tensor_value_info(name, kind, [len(x), width])
        for name, width in (("x", x.shape[1]), ("y", len(weights[-1][1])))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], arrays)
    opset = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=FORMAT)
    checker.check_model(made)
    file: bytes = made.SerializeToString()
    return file
