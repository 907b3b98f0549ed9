"""RealMLP-TD-S made of Lamina's pieces, against pytabkit 1.8.0.

Its linear layers are ``x @ w / sqrt(inputs) + b`` with w ~ N(0, 1). An optimizer whose
steps do not depend on the gradient's scale takes the same ones on the kernel ``w /
sqrt(inputs)`` at a rate of ``1 / sqrt(inputs)``: Adam, but for its epsilon.
"""

from typing import Any

import numpy as np
import pytest

import lamina as lm


def wave(n: int, k: float) -> np.ndarray:
    return np.asarray(np.sin(1.7 * np.arange(1, n + 1) + k))


X = wave(60, 0.3).reshape(12, 5) ** 3 * [1, 40, 1, 0.2, 3]
X[:, 2] = np.arange(12) == 4  # whose quartiles are equal
X[3, 1] = 900
LABELS = np.arange(12) * 5 % 3
WIDTHS = 5, 6, 4

# Losses before each of six steps, and the parameters after them, w for kernels, in
# float64: mlp.0.scale, 1.weight, 2.bias, 5.weight, 6.bias, 9.weight, 10.bias. They
# began as 1, 1.2 sin(1.7 (i + 1) + number of the array) and, in the last layer, 0.
# fmt: off
RECORDED: dict[str, tuple[list[float], list[list[float]]]] = {
    "classes": (
        [1.098612289, 1.098612289, 1.093341535, 1.093341535, 1.085355533, 1.069191062],
        [
            [1.371176, 1.3383053, 1.3575228, 1.3666727, 0.7010804],
            [0.5753516, -1.0830921, -0.209292, 1.1375326, -0.1508651, -1.2355985,
             0.331752, 1.0132457, -0.7319351, -0.9652305, 0.8390695, 0.6090615,
             -1.1369629, -0.4531383, 1.1113213, 0.1484548, -1.1370222, 0.2794891,
             1.2034875, -0.4512136, -0.9455048, 0.8380997, 0.7521322, -1.0438534,
             -0.6161056, 1.0617637, 0.2027261, -1.2586518, -0.0222428, 1.1225116],
            [-0.6294454, -0.9335897, 0.8686822, 0.6955628, -1.0609131, -0.423881],
            [-1.261382, 0.2040568, 1.2248918, -0.5035996, -1.0025018, 0.6462031,
             0.8039167, -0.8700346, -0.5651048, 1.0388402, 0.283032, -1.1201543,
             -0.1020363, 1.2586461, -0.2065311, -1.1892821, 0.4972119, 1.0441663,
             -0.7504991, -0.8359096, 1.0729176, 0.4476933, -1.2042193, -0.1534058],
            [-0.6547627, 1.0723016, 0.3770212, -1.1709044],
            [-0.1147887, 0.1137812, 0.1086949, 0.0666298, -0.0907199, 0.1031049,
             0.1156263, -0.1153119, -0.110977, -0.0546881, 0.067468, 0.0031904],
            [-0.006404, 0.0063466, 0.006053],
        ],
    ),
    "numbers": (
        [27.981304672, 27.981304672, 27.904781271, 27.904781271, 27.770139262,
         27.483268862],
        [
            [0.3358675, 0.3695667, 1.6526597, 1.5292891, 1.6505804],
            [0.4005754, -1.2543001, -0.3305271, 1.0863695, -0.2014058, -1.063183,
             0.2807164, 0.9628235, -0.5890215, -1.0096739, 0.7920073, 0.7808975,
             -1.179194, -0.49376, 1.2821487, 0.1953242, -1.30751, 0.113865, 1.0338809,
             -0.62582, -1.1154637, 0.6693082, 0.6977189, -0.8747617, -0.664947,
             1.0211125, 0.1600684, -1.3019235, -0.0701088, 1.2888561],
            [-0.646944, -0.9377856, 0.8859865, 0.7123101, -1.0668168, -0.4208984],
            [-1.1659301, 0.0283521, 1.0519299, -0.5502835, -0.9598052, 0.6015853,
             0.7592228, -1.0402884, -0.6752941, 1.2036552, 0.4510909, -1.0773524,
             -0.1446469, 1.2924762, -0.1708483, -1.0269007, 0.5787936, 0.8708801,
             -0.9236466, -0.8803694, 1.1034165, 0.416197, -1.2382614, -0.3158137],
            [-0.6515957, 1.0894971, 0.3936798, -1.1665623],
            [0.2018331, -0.2014179, -0.1964782, 0.1446464],
            [-0.0197177],
        ],
    ),
}
# fmt: on


@pytest.mark.parametrize("task", RECORDED)
def test_six_steps_are_those_of_pytabkit(task: str) -> None:
    losses, expected = RECORDED[task]
    classes = task == "classes"
    targets: Any = LABELS if classes else 10 * np.sin(X[:, :1])

    def dense(units: int, inputs: int, activation: str | None) -> lm.Dense:
        return lm.Dense(
            units,
            activation,
            kernel_initializer="lecun_normal",
            rate=inputs**-0.5,
            bias_rate=0.1,
        )

    act = "selu" if classes else "mish"
    last = dense(3, 4, "softmax") if classes else dense(1, 4, None)
    net = lm.Sequential(
        [
            lm.RobustScale(),
            lm.Scale(rate=6.0),
            dense(6, 5, act),
            dense(4, 6, act),
            last,
        ],
        seed=0,
        dtype="float64",
    )
    net.build(5)
    net.layers[0].learn(X)  # type: ignore[attr-defined]
    arrays = [array for layer in net.layers[2:] for array in layer.parameters.values()]
    for k, array in enumerate(arrays[:4], 1):
        scale = len(array) ** -0.5 if array.ndim == 2 else 1.0
        array[...] = 1.2 * scale * wave(array.size, k).reshape(array.shape)
    for array in arrays[4:]:
        array[...] = 0
    rate = lm.schedules.CosLog(0.04 if classes else 0.07, steps=30)
    smooth = lm.losses.categorical_crossentropy.using(label_smoothing=0.1)
    found = [
        net.train_on_batch(
            X,
            targets,
            optimizer=lm.Adam(rate, beta_2=0.95),
            loss=smooth if classes else "mean_squared_error",
        )["loss"]
        for _ in losses
    ]
    # Theirs takes medians and quartiles in float32.
    np.testing.assert_allclose(found, losses, rtol=1e-6)
    arrays.insert(0, net.layers[1].parameters["factor"])
    for array, theirs in zip(arrays, expected, strict=True):
        scale = len(array) ** 0.5 if array.ndim == 2 else 1.0
        np.testing.assert_allclose(array.ravel() * scale, theirs, rtol=0, atol=1e-5)
