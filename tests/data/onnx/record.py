"""Writes the ONNX files beside it: dense nets as PyTorch 2.13 (both exporters) and
skl2onnx 1.20 write them. Needs torch, onnxscript, scikit-learn and skl2onnx."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn

HERE = Path(__file__).parent
warnings.simplefilter("ignore")
torch.manual_seed(0)


class Residual(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)
        self.block = nn.Sequential(
            nn.LayerNorm(6), nn.Linear(6, 5), nn.PReLU(5), nn.Linear(5, 6)
        )

    def forward(self, x: Any) -> Any:
        h = torch.relu(self.first(x))
        return torch.log_softmax(self.last(h + self.block(h)), dim=-1)


ACTIVATIONS = [
    *(nn.Sigmoid(), nn.LogSigmoid(), nn.Tanh(), nn.ReLU(), nn.ReLU6()),
    *(nn.LeakyReLU(0.2), nn.ELU(0.7), nn.SELU(), nn.CELU(0.6), nn.Softplus()),
    *(nn.Softplus(beta=2), nn.Softsign(), nn.SiLU(), nn.GELU(), nn.GELU("tanh")),
    *(nn.Mish(), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(), nn.Tanhshrink()),
    *(nn.Softshrink(0.3), nn.Hardshrink(0.3), nn.PReLU()),
]
layers = [layer for each in ACTIVATIONS for layer in (nn.Linear(2, 2), each)]
mlp = nn.Sequential(
    *(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5)),
    *(nn.Linear(6, 5, bias=False), nn.Tanh(), nn.BatchNorm1d(5)),
    *(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(1)),
)
mlp(torch.randn(50, 4))  # for the moments
NETS = {
    "mlp": (mlp, (4,)),
    "image": (nn.Sequential(nn.Flatten(), nn.Linear(8, 2)), (2, 2, 2)),
    "activations": (nn.Sequential(*layers), (2,)),
    "residual": (Residual(), (4,)),
}
for name, (net, shape) in NETS.items():
    net.eval()
    x = torch.randn(5, *shape)
    path = HERE / f"torch_script_{name}.onnx"
    torch.onnx.export(
        net, (x,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )
    path = HERE / f"torch_dynamo_{name}.onnx"
    rows = ({0: torch.export.Dim("n")},)
    torch.onnx.export(
        net, (x,), path, dynamo=True, external_data=False, dynamic_shapes=rows
    )
    model = onnx.load(path)
    for each in [*model.graph.node, *model.graph.value_info, model.graph]:
        each.ClearField("metadata_props")  # where in Python a node comes from
    path.write_bytes(model.SerializeToString())

rng = np.random.default_rng(0)
x = (rng.normal(size=(60, 4)) * [1, 2, 3, 4] + 5).astype(np.float32)
integers = (10 * x[:, 0]).astype(int) % 3 + 5
strings = np.where(x[:, 1] > 5, "yes", "no")
options: Any = {"hidden_layer_sizes": (6, 5), "max_iter": 30, "random_state": 0}
multi = make_pipeline(StandardScaler(), MLPClassifier(**options)).fit(x, integers)
binary = MLPClassifier(activation="tanh", **options)
binary = make_pipeline(MinMaxScaler(), binary).fit(x, strings)
several = MLPClassifier(**options).fit(x, (x[:, :3] > 5).astype(int))
numbers = make_pipeline(StandardScaler(), MLPRegressor(**options)).fit(x, x[:, 0])
as_arrays = {"zipmap": False}
for name, model, how in [
    ("multiclass", multi, None),
    ("binary", binary, None),
    ("binary_arrays", binary, as_arrays),
    ("multilabel", several, as_arrays),
    ("regressor", numbers, None),
]:
    written = to_onnx(model, x[:1], options=how).SerializeToString()
    (HERE / f"skl_{name}.onnx").write_bytes(written)
