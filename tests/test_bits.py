"""What the kernels compute, bit for bit: the same on every target with fused
multiply-add, whatever the processor. A digest stands for some thousand results."""

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import lamina as lm
from conftest import TARGETS
from lamina import _core, initializers, losses, reference, schedules
from test_activations import PARAMETERS, activation, saved
from test_dense import SHAPES
from test_each_layer import LAYERS
from test_losses import SHAPES as LOSS_SHAPES
from test_optimizers import MORE_OPTIMIZERS, OPTIMIZERS
from test_tabular_layers import LAYERS as TABULAR

Arrays = Iterator[Any]
DTYPES: list[Any] = [np.float32, np.float64]


def numbers(*shape: int, dtype: Any = np.float64, start: int = 1) -> np.ndarray:
    """From -4 to 4, by a multiplicative hash: NumPy's streams may change."""
    words = np.arange(start, start + math.prod(shape), dtype=np.uint32) * 0x9E3779B1
    return (words.view(np.int32) / 2.0**29).reshape(shape).astype(dtype)


def patterns(dtype: Any) -> np.ndarray:
    """Numbers of every size, infinities and NaN among them, and many of usual size."""
    word = np.dtype(f"u{np.dtype(dtype).itemsize}")
    step = 0x4003 if dtype is np.float32 else 0x400300000007
    of_every_size = (np.arange(2**18, dtype=word) * word.type(step)).view(dtype)
    limits = np.array([0, -0.0, np.inf, -np.inf, np.nan], dtype)
    return np.concatenate([limits, of_every_size, 5 * numbers(2**18, dtype=dtype)])


def elementwise(name: str) -> Arrays:
    for dtype in DTYPES:
        x = patterns(dtype)
        dy = numbers(x.size, dtype=dtype)
        for parameter in [None, *PARAMETERS.get(name, [])]:
            act = activation(name, parameter)
            yield act(x)
            yield act.derivative(x)
            yield act.backward(dy, saved(act, x))


def by_row(name: str) -> Arrays:
    act = getattr(lm, name)
    for dtype in DTYPES:
        for columns in (1, 2, 9, 10, 16, 31, 32, 33, 1000):
            x = 3 * numbers(37, columns, dtype=dtype)
            y = act(x)
            yield y
            yield act.backward(x, y)


def products() -> Arrays:
    for dtype in DTYPES:
        for rows, depth, columns in SHAPES:
            a = numbers(rows, depth, dtype=dtype)
            b = numbers(depth, columns, dtype=dtype)
            for left in (a, np.asfortranarray(a)):
                for right in (b, np.asfortranarray(b)):
                    yield lm.matmul(left, right)


def dense_layers() -> Arrays:
    for dtype in DTYPES:
        for rows, features, units in SHAPES:
            x = numbers(rows, features, dtype=dtype)
            kernel = numbers(features, units, dtype=dtype) / 32
            bias, dy = numbers(units, dtype=dtype), numbers(rows, units, dtype=dtype)
            dropout: Any = {"dropout": 0.25, "seed": 5, "offset": 3}
            for name in ("identity", "tanh", "gelu", "softmax"):
                y, kept = lm.dense(x, kernel, bias, name, return_saved=True, **dropout)
                yield y
                yield from lm.dense_backward(dy, x, kernel, kept, name, **dropout)


def long_sums() -> Arrays:
    """Beyond a chain, and beyond a span of chains."""
    for dtype in DTYPES:
        for rows, depth, columns in [
            (1, 9000, 40),
            (3, 9000, 20),
            (40, 1500, 12),
            (5, 33_000, 20),
            (9, 66_000, 5),
        ]:
            a = numbers(rows, depth, dtype=dtype)
            b = numbers(depth, columns, dtype=dtype)
            for left in (a, np.asfortranarray(a)):
                for right in (b, np.asfortranarray(b)):
                    yield lm.matmul(left, right)
            kernel = numbers(rows, columns, dtype=dtype)
            yield from lm.dense_backward(b, a.T, kernel, b)
        z = 3 * numbers(3, 20_000, dtype=dtype)
        t = numbers(3, 20_000, dtype=dtype, start=2) ** 2
        for name in ("softmax", "log_softmax"):
            act = getattr(lm, name)
            yield act(z)
            yield act.backward(t, act(z))
        for loss in (losses.categorical_crossentropy, losses.mean_squared_error):
            gradient = np.empty_like(z)
            yield np.array(loss(z, t, gradient=gradient)[0])
            yield gradient


def dropouts() -> Arrays:
    for size in [*range(1, 40), 1009, 100_003]:
        options: Any = {"seed": 2**63 + size, "offset": 3 * size}
        for rate in (0.0, 0.1, 0.5, 1.0):
            mask = lm.dropout_mask(size, rate, **options)
            yield mask
            for dtype in DTYPES:
                x = numbers(size, dtype=dtype)
                for mode in ("inverted", "classic", "alpha"):
                    yield lm.dropout(x, rate, mode=mode, **options)
                    yield lm.dropout_backward(x, rate, mode=mode, **options)
                    yield lm.dropout_backward(x, rate, mode=mode, mask=mask)


def noises() -> Arrays:
    for dtype in DTYPES:
        for size in [*range(1, 40), 1009, 100_003]:
            x = numbers(size, dtype=dtype)
            yield _core.gaussian_noise(x, 0.3, 2**63 + size, 3 * size, 5 * size)


def loss_functions() -> Arrays:
    for dtype in DTYPES:
        for rows, columns in LOSS_SHAPES:
            z = 3 * numbers(rows, columns, dtype=dtype)
            labels = np.arange(rows) * 7 % columns
            ones = np.eye(columns, dtype=dtype)[labels]
            for loss, targets in [
                (losses.categorical_crossentropy, labels),
                (losses.categorical_crossentropy, (ones + 1 / dtype(columns)) / 2),
                (losses.binary_crossentropy, ones),
                (losses.mean_squared_error, numbers(rows, columns, dtype=dtype)),
            ]:
                gradient = np.empty_like(z)
                yield np.array(loss(z, targets, gradient=gradient)[0] / rows)
                yield gradient


def loss_options() -> Arrays:
    for dtype in DTYPES:
        for rows, columns in LOSS_SHAPES:
            z = 3 * numbers(rows, columns, dtype=dtype)
            labels = np.arange(rows) * 7 % columns
            ones = np.eye(columns, dtype=dtype)[labels]
            smoothed = losses.categorical_crossentropy.using(label_smoothing=0.1)
            binary = losses.binary_crossentropy.using(pos_weight=3, label_smoothing=0.1)
            for loss, targets in [
                (smoothed, labels),
                (smoothed, (ones + 1 / dtype(columns)) / 2),
                (binary, ones),
                (losses.mean_absolute_error, z.T.reshape(z.shape)),
                (losses.huber, z.T.reshape(z.shape)),
                (losses.pinball.using(quantile=0.9), z.T.reshape(z.shape)),
                (losses.poisson, np.abs(z)),
            ]:
                for weights in (None, numbers(rows, dtype=dtype)):
                    gradient = np.empty_like(z)
                    yield np.array(loss(z, targets, weights, gradient))
                    yield gradient


def optimizer_steps(rules: list[Any]) -> Arrays:
    for dtype in DTYPES:
        for rule in rules:
            w = numbers(1009, dtype=dtype)
            state = np.zeros((rule.slots, w.size), dtype)
            for step in range(1, 6):
                dw = numbers(w.size, dtype=dtype, start=w.size * step)
                rule.update(w, dw, state, step)
            yield w
            yield state


def norms() -> Arrays:
    for dtype in DTYPES:
        for size in (1, 7, 8, 9, 31, 33, 1009, 100_003):
            dw = numbers(size, dtype=dtype)
            core = lm.SGD(clip_value=3.5, clip_norm=2.0, global_clip_norm=1.5).core
            yield np.array(_core.clip(core, dw, [size // 3, size - size // 3]))
            yield dw
        for rows, columns in ((3, 1), (40, 7), (40, 8), (7, 65), (67, 131)):
            kernel = numbers(rows, columns, dtype=dtype)
            _core.limit_norms(kernel, 2.0 * rows**0.5)
            yield kernel


def rates() -> Arrays:
    steps = np.arange(1, 1000)
    yield schedules.Step(0.5, every=3, factor=0.9)(steps)
    yield schedules.Exponential(0.5, factor=0.99)(steps)
    yield schedules.Cosine(0.3, steps=900, warm_up=70, end=0.01)(steps)
    yield schedules.OneCycle(0.3, steps=900)(steps)


def layers(name: str) -> Arrays:
    """Both passes: narrow and wide, beyond a chain and what is summed at once."""
    for dtype in DTYPES:
        for rows, columns in [(1, 1), (5, 10), (40, 33), (1300, 70), (3, 9000)]:
            layer = LAYERS[name][0]()
            layer.build(columns, dtype)
            for array in layer.parameters.values():
                array += numbers(*array.shape, dtype=dtype) / 8
            x = numbers(rows, columns, dtype=dtype)
            yield layer.forward(x, training=True)
            yield layer.backward(x[::-1])
            yield from layer.gradients.values()
            yield from (np.asarray(getattr(layer, each)) for each in layer.kept)
            yield layer.forward(x)


def tabular(name: str) -> Arrays:
    """Both passes over codes and numbers, beyond a chain."""
    for dtype in DTYPES:
        for rows in (1, 40, 1300):
            x = numbers(rows, 6, dtype=dtype)
            x[:, [1, 4]] = np.floor(x[:, [1, 4]] + 4)
            layer = TABULAR[name][0]()
            layer.build(6, dtype, seed=1)
            if not layer.learnt:
                layer.edges[...] = np.sort(numbers(*layer.edges.shape, dtype=dtype))
                layer.learnt = True
            y = layer.forward(x, training=True)
            yield y
            yield layer.backward(numbers(*y.shape, dtype=dtype, start=9))
            yield from layer.gradients.values()


def initial_weights() -> Arrays:
    for name in ("he", "glorot", "lecun"):
        for kind in ("normal", "uniform"):
            make = getattr(initializers, f"{name}_{kind}")
            for dtype in ("float32", "float64"):
                yield make((67, 31), dtype, seed=2)


def training() -> Arrays:
    x, y = numbers(300, 4), np.arange(300) * 7 % 3
    for dtype in ("float32", "float64"):
        net = lm.Sequential(
            [
                lm.Standardize(),
                lm.Dense(37, activation="gelu", l2=1e-3),
                lm.Dropout(0.3),
                lm.Dense(19, activation="tanh"),
                lm.Dense(3, activation="softmax"),
            ],
            seed=7,
            dtype=dtype,
        )
        net.fit(x, y, epochs=5, batch_size=17, verbose=0)
        yield net.parameters
        yield net.predict(x)


def changing_rates() -> Arrays:
    """Of arrays and of steps, and an average of all."""
    x, y = numbers(300, 4), np.arange(300) * 7 % 3
    rule = lm.AdamW(
        lm.schedules.CosLog(0.04, 90), weight_decay=lm.schedules.FlatCosine(0.1, 90)
    )
    for dtype in ("float32", "float64"):
        net = lm.Sequential(
            [
                lm.RobustScale(),
                lm.Scale(rate=6.0),
                lm.Dense(37, "selu", rate=0.5, bias_rate=0.1, bias_decay=0.0),
                lm.Dropout(lm.schedules.FlatCosine(0.3, 90)),
                lm.Dense(3, "softmax", rate=1 / 8),
            ],
            seed=7,
            dtype=dtype,
        )
        net.fit(x, y, epochs=5, batch_size=17, optimizer=rule, ema=0.9, verbose=0)
        yield net.parameters
        yield net.predict(x)


MAKERS: dict[str, Callable[[], Arrays]] = {
    **{name: partial(elementwise, name) for name in reference.ACTIVATIONS},
    "softmax": partial(by_row, "softmax"),
    "log_softmax": partial(by_row, "log_softmax"),
    "matmul": products,
    "dense": dense_layers,
    "long sums": long_sums,
    "dropout": dropouts,
    "noise": noises,
    "losses": loss_functions,
    "loss options": loss_options,
    "optimizers": partial(optimizer_steps, OPTIMIZERS),
    "more optimizers": partial(optimizer_steps, MORE_OPTIMIZERS),
    "norms": norms,
    "schedules": rates,
    "initializers": initial_weights,
    "training": training,
    "changing rates": changing_rates,
    **{name: partial(layers, name) for name in LAYERS},
    **{name: partial(tabular, name) for name in TABULAR},
}


def digest(arrays: Arrays) -> str:
    """Of all bytes, but with one NaN for all: processors choose different ones."""
    found = hashlib.sha256()
    for array in arrays:
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


# A change of a formula, or of the order of a sum, changes them: record what the test
# then finds, and tell of it in the changelog.
DIGESTS = {
    "identity": "a43063f697b088f6",
    "sigmoid": "9c2f8bd86ef833e8",
    "log_sigmoid": "4d39178bb8d273bd",
    "tanh": "6fc17695d7c94b15",
    "relu": "f3a744ac67d8385f",
    "relu6": "4062570074ee664b",
    "leaky_relu": "e7e063e5295f74d8",
    "elu": "d28bbcbeb3073831",
    "selu": "a57463d416bfde0d",
    "celu": "e7e04d4189bcc114",
    "softplus": "dd7d5fdaa72ae696",
    "softsign": "296078b25381f2ad",
    "silu": "4ecd1a8f572dacab",
    "gelu": "3a7a4e9f69b544b8",
    "gelu_tanh": "10add324b7ede8ad",
    "quick_gelu": "dd1fb10ba8e5cb1e",
    "mish": "62acc1f93d4269b1",
    "hard_sigmoid": "648bf5d706a71e56",
    "hard_swish": "3954b7279faaa6c7",
    "hard_tanh": "e9f9cfdbc6eeb4c1",
    "tanh_shrink": "4365348b35480f17",
    "soft_shrink": "05e129dc3a0dc9c5",
    "hard_shrink": "73d0a274281a565f",
    "squareplus": "42900d1545528222",
    "smooth_clip": "9f277940400f83fc",
    "softmax": "1d4d27c89bf49326",
    "log_softmax": "7385b73746bc37f8",
    "matmul": "d1a406421b7eed87",
    "dense": "7a55d689ffdaf278",
    "long sums": "4dcd49315e37fc71",
    "dropout": "0bad6d6258a25d61",
    "noise": "cf137ecd23e8dd17",
    "losses": "dc010ef78ea66ef4",
    "loss options": "e76f46c536a82d52",
    "optimizers": "0dc29fe9a36567b5",
    "more optimizers": "5d4b182e14605cb2",
    "norms": "eeebb0aec9be327f",
    "schedules": "2e24b48828f9bba3",
    "initializers": "408db6d5e7420d08",
    "training": "29480eab9bf17f4b",
    "changing rates": "7ecca01fc97bf667",
    "Embedding": "89d57e0d6eddf06f",
    "PiecewiseLinear": "cae59e681c2b2920",
    "Periodic": "da5f599a43a58f91",
    "Periodic plr": "509564aa8930fd45",
    "Scale": "fa0285806f0e6888",
    "PReLU": "ab6e6a8aa0acb3e7",
    "Mixed": "1ea78bfde671c93d",
    "LayerNorm": "dc4b409bc23301fd",
    "BatchNorm": "477374ea01432283",
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("fused", [name for name in TARGETS if name != "sse2"])
def test_results_have_the_recorded_bits(name: str, fused: str) -> None:
    lm.set_target(fused)
    assert digest(MAKERS[name]()) == DIGESTS[name]
