"""onnxruntime: a model of one operator for each case, in its text form.

Inputs and outputs are bound beforehand. Float64 runs where an operator has a kernel.
"""

import os
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import numpy_helper, parser

from peers import Array, Call

ONE_THREAD = os.environ.get("OMP_NUM_THREADS") == "1"  # it reads no variable itself
HEADER = '<ir_version: 10, opset_import: ["": 22]>'

OPTIONS = ort.SessionOptions()
OPTIONS.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
OPTIONS.log_severity_level = 3  # errors
if ONE_THREAD:
    OPTIONS.intra_op_num_threads = 1

# `T` stands for the type of the arrays. A product with Sigmoid becomes one operator.
CLIP = """
low = Constant <value = T {{{}}}> ()
high = Constant <value = T {{{}}}> ()
y = Clip (x, low, high)
"""
FORWARD = {
    "identity": "y = Identity (x)",
    "sigmoid": "y = Sigmoid (x)",
    "tanh": "y = Tanh (x)",
    "relu": "y = Relu (x)",
    "relu6": CLIP.format("0", "6"),
    "leaky_relu": "y = LeakyRelu <alpha = 0.01> (x)",
    "elu": "y = Elu (x)",
    "selu": "y = Selu (x)",
    "celu": "y = Celu (x)",
    "softplus": "y = Softplus (x)",
    "softsign": "y = Softsign (x)",
    "silu": """
s = Sigmoid (x)
y = Mul (x, s)
""",
    "gelu": "y = Gelu (x)",
    "gelu_tanh": 'y = Gelu <approximate = "tanh"> (x)',
    "quick_gelu": """
slope = Constant <value = T {1.702}> ()
u = Mul (x, slope)
s = Sigmoid (u)
y = Mul (x, s)
""",
    "mish": "y = Mish (x)",
    "hard_sigmoid": "y = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x)",
    "hard_swish": "y = HardSwish (x)",
    "hard_tanh": CLIP.format("-1", "1"),
    "soft_shrink": "y = Shrink <lambd = 0.5, bias = 0.5> (x)",
    "hard_shrink": "y = Shrink <lambd = 0.5> (x)",
    "softmax": "y = Softmax <axis = 1> (x)",
    "log_softmax": "y = LogSoftmax <axis = 1> (x)",
}


def facts() -> dict[str, Any]:
    threads = 1 if ONE_THREAD else "one for each core"
    return {"providers": ort.get_available_providers(), "threads": threads}


def run(body: str, y: Array, constants: dict[str, Array], **inputs: Array) -> Call:
    """The graph of that body, from the inputs into y."""
    kind = {"float32": "float", "float64": "double"}[y.dtype.name]
    declared = {
        name: f"T[{','.join(map(str, array.shape))}] {name}"
        for name, array in {**inputs, "y": y}.items()
    }
    result = declared.pop("y")
    text = f"{HEADER} g ({', '.join(declared.values())}) => ({result}) {{\n{body}\n}}"
    words = text.replace("T[", f"{kind}[").replace("= T {", f"= {kind} {{")
    model = parser.parse_model(words)
    for name, array in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    session = ort.InferenceSession(
        model.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    for name, array in inputs.items():
        value = ort.OrtValue.ortvalue_from_numpy(array)
        binding.bind_ortvalue_input(name, value)
    binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(y))

    def call() -> Array:
        session.run_with_iobinding(binding)
        return y

    return call


def forward(name: str, x: Array) -> Call | None:
    body = FORWARD.get(name)
    return None if body is None else run(body, np.empty_like(x), {}, x=x)


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    """The weights are constants of the model, which it packs when it is loaded."""
    body = """
t = Gemm (x, kernel, bias)
y = Relu (t)
"""
    y = np.empty((len(x), len(bias)), x.dtype)
    return run(body, y, {"kernel": kernel, "bias": bias}, x=x)


def matmul(a: Array, b: Array) -> Call:
    """A transposition of b before MatMul, which it fuses, beats transB of Gemm."""
    y = np.empty((len(a), b.shape[1]), a.dtype)
    if not b.flags.c_contiguous:
        body = """
t = Transpose <perm = [1, 0]> (b)
y = MatMul (a, t)
"""
        return run(body, y, {}, a=a, b=b.T)
    if not a.flags.c_contiguous:
        return run("y = Gemm <transA = 1> (a, b)", y, {}, a=a.T, b=b)
    return run("y = Gemm (a, b)", y, {}, a=a, b=b)
