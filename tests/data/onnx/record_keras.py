"""Writes the ONNX files of Keras 3.15 beside it, by its backend: TensorFlow 2.21, which
goes through tf2onnx 1.17, or PyTorch 2.13 (KERAS_BACKEND)."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

HERE = Path(__file__).parent
BACKEND = keras.backend.backend()
NAMES = [
    *("elu", "selu", "softplus", "softsign", "silu", "mish", "hard_sigmoid"),
    *("hard_silu", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink"),
    *("squareplus", "leaky_relu", "relu6", "log_sigmoid", "sigmoid", "tanh"),
]
rng = np.random.default_rng(0)
x = (3 * rng.normal(size=(64, 4)) + 2).astype(np.float32)
scaled = layers.Normalization()
scaled.adapt(x)
first = scaled if BACKEND == "torch" else layers.Rescaling(0.1)  # lost by tf2onnx
normal = [layers.LayerNormalization()] if BACKEND == "tensorflow" else []
source = keras.Input((4,))
h = layers.Dense(6, "relu")(source)
block = layers.Dense(6)(layers.PReLU()(layers.Dense(5)(h)))
NETS: dict[str, Any] = {
    "mlp": keras.Sequential(
        [
            *(keras.Input((4,)), first, layers.Dense(6, use_bias=False)),
            *(layers.BatchNormalization(), layers.Activation("tanh")),
            *(layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(5)),
            *(*normal, layers.ReLU(), layers.Dense(3, "softmax")),
        ]
    ),
    "activations": keras.Sequential(
        [keras.Input((4,)), *(layers.Dense(2, name) for name in NAMES)]
    ),
    "residual": keras.Model(source, layers.Dense(2)(layers.Add()([h, block]))),
}
for name, net in NETS.items():
    net.predict(x, verbose=0)
    for layer in net.layers:
        if layer is not first:  # no number is what it is at first
            arrays = [rng.uniform(0.2, 1, a.shape) for a in layer.get_weights()]
            layer.set_weights([a * rng.choice([1, -1], a.shape) for a in arrays])
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([abs(array) for array in layer.get_weights()])
    net.export(HERE / f"keras_{BACKEND}_{name}.onnx", format="onnx", verbose=False)
