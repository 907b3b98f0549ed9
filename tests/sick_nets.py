"""Nets that do not learn, and nets that do: what `Sequential.diagnose` is judged by.

The sick ones re-create what users asked about and what benchmarks of fault localisers
plant; SO is a post of Stack Overflow, AT is AutoTrainer, TDC TheDeepChecker, DC
DeepCrime. All data are small sets of scikit-learn or drawn here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets

import lamina as lm

Make = Callable[[int], "Patient"]


class Patient(NamedTuple):
    net: lm.Sequential
    x: Any
    y: Any
    fit: dict[str, Any]


class Sick(NamedTuple):
    make: Make
    accepted: frozenset[str]


SICK: dict[str, Sick] = {}
HEALTHY: dict[str, Make] = {}
# Not looked at while the rules were made.
HELD_OUT_SICK: dict[str, Sick] = {}
HELD_OUT_HEALTHY: dict[str, Make] = {}

RATE_HIGH, RATE_LOW = "rate too high", "rate too low"
INPUTS, TARGETS = "unscaled inputs", "unscaled targets"
VANISHING, EXPLODING, SATURATED = "vanishing", "exploding", "saturated"
DEAD, SYMMETRIC, LINEAR = (
    "dead units",
    "symmetric weights",
    "no activation between layers",
)
ONE, REACH = "softmax of one output", "outputs cannot reach the targets"
PENALTY, DROPOUT = "penalty too strong", "dropout too strong"
IMBALANCE, NOTHING = "imbalanced classes", "nothing to learn"
OVERFIT, LEAK = "overfit", "a feature gives the answer away"
INFINITE, UNLEARNT = "not finite", "has not learnt"

CE, MSE, MAE = "categorical_crossentropy", "mean_squared_error", "mean_absolute_error"


# Data ---------------------------------------------------------------------------------


@functools.cache
def digits() -> tuple[Any, Any]:
    x, y = datasets.load_digits(return_X_y=True)
    return x / 16, y


@functools.cache
def cancer(raw: bool = False) -> tuple[Any, Any]:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return (x if raw else scaled(x)), y


@functools.cache
def wine(raw: bool = False) -> tuple[Any, Any]:
    x, y = datasets.load_wine(return_X_y=True)
    return (x if raw else scaled(x)), y


@functools.cache
def iris(raw: bool = False) -> tuple[Any, Any]:
    x, y = datasets.load_iris(return_X_y=True)
    return (x if raw else scaled(x)), y


@functools.cache
def diabetes(raw: bool = False) -> tuple[Any, Any]:
    x, y = datasets.load_diabetes(return_X_y=True)
    return scaled(x), (y if raw else scaled(y))


@functools.cache
def friedman(n: int = 500) -> tuple[Any, Any]:
    x, y = datasets.make_friedman1(n, noise=0.5, random_state=0)
    return scaled(x), scaled(y)


@functools.cache
def blobs(n: int = 600) -> tuple[Any, Any]:
    x, y = datasets.make_blobs(n, 2, centers=3, cluster_std=1.5, random_state=1)[:2]
    return scaled(x), y


@functools.cache
def moons(n: int = 500) -> tuple[Any, Any]:
    return datasets.make_moons(n, noise=0.1, random_state=0)  # type: ignore[no-any-return]


@functools.cache
def classes(n: int = 800, weights: tuple[float, ...] | None = None) -> tuple[Any, Any]:
    return datasets.make_classification(  # type: ignore[no-any-return]
        n, 10, n_informative=5, weights=weights, class_sep=1.2, random_state=0
    )


def scaled(x: Any) -> Any:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


# Nets ---------------------------------------------------------------------------------


def mlp(
    widths: list[int],
    hidden: str | None,
    out: str | None,
    seed: int,
    *,
    dropout: float = 0.0,
    standardize: bool = False,
    dtype: str = "float32",
    last: dict[str, Any] | None = None,
    **dense: Any,
) -> lm.Sequential:
    layers: list[lm.Layer] = [lm.Standardize()] if standardize else []
    for width in widths[:-1]:
        layers.append(lm.Dense(width, hidden, **dense))
        if dropout:
            layers.append(lm.Dropout(dropout))
    layers.append(lm.Dense(widths[-1], out, **(dense if last is None else last)))
    return lm.Sequential(layers, seed=seed, dtype=dtype)


def normal(std: float) -> Any:
    return lm.initializers.normal.using(std=std)


def uniform(limit: float) -> Any:
    return lm.initializers.uniform.using(limit=limit)


def constant(value: float) -> Any:
    return lm.initializers.constant.using(value=value)


def sick(*accepted: str, held_out: bool = False) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        table = HELD_OUT_SICK if held_out else SICK
        table[make.__name__] = Sick(make, frozenset(accepted))
        return make

    return add


def told(
    optimizer: Any, epochs: int, batch: int = 32, loss: str | None = None, **more: Any
) -> dict[str, Any]:
    made = {"optimizer": optimizer, "epochs": epochs, "batch_size": batch, **more}
    return made if loss is None else made | {"loss": loss}


# From Stack Overflow and the benchmarks -----------------------------------------------


@sick(RATE_HIGH, INFINITE, LINEAR)
def so48385830(seed: int) -> Patient:
    x, y = digits()
    net = mlp(
        [30, 10],
        None,
        None,
        seed,
        kernel_initializer=normal(1),
        bias_initializer=normal(1),
    )
    return Patient(net, x, np.eye(10)[y], told(lm.SGD(3.0), 30, 10, MSE))


@sick(RATE_LOW)
def so31556268(seed: int) -> Patient:
    x, y = XOR
    rule = lm.SGD(0.05, momentum=0.11, nesterov=True)
    return Patient(
        mlp([4, 1], "sigmoid", "sigmoid", seed), x, y, told(rule, 1000, 4, MAE)
    )


@sick(ONE)
def so31880720(seed: int) -> Patient:
    x = np.repeat([[1.0], [0.0]], 40, axis=0) * np.ones(128)
    y = np.repeat([1, 0], 40)
    net = mlp([50, 50, 1], "relu", "softmax", seed, dropout=0.2)
    return Patient(net, x, y, told("rmsprop", 3, 1, MSE))


@sick(ONE, INPUTS, TARGETS, INFINITE, RATE_HIGH)
def so33969059(seed: int) -> Patient:
    x = random().uniform(0, 1e4, (300, 3))
    net = mlp([3, 2, 1], "tanh", "softmax", seed, dropout=0.5)
    return Patient(
        net, x, x @ [1.0, 2.0, 3.0], told(lm.SGD(0.1, momentum=0.9), 20, 32, MSE)
    )


@sick(ONE, RATE_LOW)
def so34311586(seed: int) -> Patient:
    x, y = np.vstack([XOR[0], XOR[0][:2]]), np.r_[XOR[1], XOR[1][:2]]
    net = mlp([2, 3, 1], "sigmoid", "softmax", seed, kernel_initializer=uniform(0.05))
    return Patient(net, x, y, told(lm.SGD(1e-3), 20, 32, MSE))


@sick(REACH, DEAD)
def so48251943(seed: int) -> Patient:
    x = random().normal(size=(300, 2))
    return Patient(
        mlp([4, 1], "relu", "relu", seed),
        x,
        x[:, 0] - x[:, 1],
        told(lm.SGD(0.01), 50, 10, MSE),
    )


@sick(REACH)
def so38648195(seed: int) -> Patient:
    x, y = datasets.make_multilabel_classification(500, 20, n_classes=5, random_state=0)
    net = mlp([20, 20, 5], "relu", "softmax", seed, dropout=0.5)
    return Patient(net, scaled(x), y, told(lm.SGD(0.01), 20, 20, MSE))


@sick(INPUTS)
def so55328966(seed: int) -> Patient:
    x, y = digits()
    layers = [
        lm.Dense(64, "relu"),
        lm.Dense(64),
        lm.Dense(50, "relu"),
        lm.Dense(10, "softmax"),
    ]
    return Patient(
        lm.Sequential(layers, seed=seed), x * 255, y, told(lm.SGD(1e-4), 10, 32)
    )


@sick(INPUTS)
def so39525358(seed: int) -> Patient:
    x, y = classes()
    net = mlp([12, 3, 1], "relu", "sigmoid", seed, kernel_initializer=uniform(0.05))
    return Patient(net, x * np.logspace(0, 5, 10), y, told("adam", 50, 10))


@sick(RATE_LOW, NOTHING, UNLEARNT)
def so39217567(seed: int) -> Patient:
    x = (np.arange(256)[:, None] >> np.arange(8)) & 1
    y = random().permutation(x)
    net = mlp([8, 8, 8], "sigmoid", "sigmoid", seed, kernel_initializer=normal(0.05))
    return Patient(net, x, y, told(lm.SGD(0.01), 300, 50, MSE))


@sick(TARGETS, RATE_HIGH, DEAD, INFINITE)
def so48934338(seed: int) -> Patient:
    x = np.linspace(-5, 5, 200)[:, None]
    return Patient(
        mlp([50, 30, 1], "relu", None, seed),
        x,
        5 * x[:, 0] ** 2,
        told(lm.SGD(0.1), 200, 32),
    )


@sick(INPUTS)
def so47724077(seed: int) -> Patient:
    x, y = classes()
    more = random().uniform(size=(len(x), 4)) * [1e5, 90, 16, 1e4]
    net = mlp([21, 2], "relu", "softmax", seed)
    return Patient(
        net, np.hstack([x * np.logspace(0, 3, 10), more]), y, told("adam", 50, 100)
    )


@sick(RATE_LOW, DEAD)
def so59278771(seed: int) -> Patient:
    x, y = iris(raw=True)
    net = mlp([4, 4, 3], "relu", "sigmoid", seed, kernel_initializer=normal(0.05))
    return Patient(net, x, np.eye(3)[y], told(lm.SGD(0.01), 100, 5, MSE))


@sick(TARGETS, INPUTS)
def so52800582(seed: int) -> Patient:
    x = random().uniform(-100, 100, (400, 1))
    layers = [lm.Dense(50, "sigmoid"), lm.Dense(50, "elu"), lm.Dense(1)]
    return Patient(
        lm.Sequential(layers, seed=seed), x, x[:, 0] ** 4, told("adam", 200, 400)
    )


@sick(REACH)
def so48221692(seed: int) -> Patient:
    x = random().uniform(0, 1, (100, 1))
    return Patient(
        mlp([5, 1], "sigmoid", "sigmoid", seed),
        x,
        3 * x[:, 0] + 1,
        told(lm.SGD(0.01), 200, 100, MSE),
    )


@sick(RATE_LOW, UNLEARNT)
def so50306988(seed: int) -> Patient:
    x = random().uniform(0, 1, (200, 2))
    x[100:] += [1, 1]
    return Patient(
        mlp([2, 2], "sigmoid", "softmax", seed),
        x,
        np.repeat([0, 1], 100),
        told(lm.Adam(1e-3), 5, 32),
    )


@sick(ONE)
def so45442843(seed: int) -> Patient:
    x = random().normal(size=(200, 1))
    y = (x[:, 0] > 0).astype(int)
    return Patient(
        mlp([1, 1], "sigmoid", "softmax", seed), x, y, told("rmsprop", 50, 200, MAE)
    )


@sick(VANISHING)
def at_blobs_sigmoid(seed: int) -> Patient:
    x, y = blobs()
    return Patient(
        mlp([16] * 12 + [3], "sigmoid", "softmax", seed),
        x,
        y,
        told(lm.SGD(0.01), 40, 32),
    )


@sick(VANISHING, DEAD)
def at_34_relu(seed: int) -> Patient:
    x, y = digits()
    net = mlp(
        [64] * 34 + [10], "relu", "softmax", seed, kernel_initializer="glorot_uniform"
    )
    return Patient(net, x, y, told(lm.SGD(0.01), 10, 32))


@sick(SYMMETRIC)
def tdc_zero(seed: int) -> Patient:
    x, y = digits()
    net = mlp([64, 64, 10], "relu", "softmax", seed, kernel_initializer="zeros")
    return Patient(net, x, y, told("adam", 5))


@sick(SYMMETRIC)
def tdc_constant(seed: int) -> Patient:
    x, y = digits()
    net = mlp([64, 64, 10], "relu", "softmax", seed, kernel_initializer=constant(0.1))
    return Patient(net, x, y, told("adam", 5))


@sick(EXPLODING, INFINITE)
def tdc_30_relu(seed: int) -> Patient:
    x, y = digits()
    net = mlp([64] * 30 + [10], "relu", "softmax", seed, kernel_initializer=normal(3))
    return Patient(net, x, y, told("adam", 5))


def _deep_digits(rule: Any, epochs: int = 10) -> Make:
    def make(seed: int) -> Patient:
        x, y = digits()
        return Patient(
            mlp([64, 64, 64, 10], "relu", "softmax", seed), x, y, told(rule, epochs)
        )

    return make


for name, rule, names in [
    ("sgd_10", lm.SGD(10), (RATE_HIGH, INFINITE)),
    ("adam_10", lm.Adam(10), (RATE_HIGH, INFINITE)),
    ("adam_1", lm.Adam(1), (RATE_HIGH,)),
    ("adam_0.1", lm.Adam(0.1), (RATE_HIGH,)),
    ("adam_1e-7", lm.Adam(1e-7), (RATE_LOW,)),
    ("adam_1e-5", lm.Adam(1e-5), (RATE_LOW,)),
    ("sgd_1e-5", lm.SGD(1e-5), (RATE_LOW,)),
    ("lion_0.1", lm.Lion(0.1), (RATE_HIGH, INFINITE)),
    ("rmsprop_1", lm.RMSprop(1), (RATE_HIGH, INFINITE)),
    ("sgd_0.5_momentum", lm.SGD(0.5, momentum=0.9), (RATE_HIGH, INFINITE)),
]:
    SICK[name] = Sick(_deep_digits(rule), frozenset(names))


@sick(TARGETS, INFINITE)
def tdc_diabetes_targets(seed: int) -> Patient:
    x, y = diabetes(raw=True)
    return Patient(mlp([32, 32, 1], "relu", None, seed), x, y, told(lm.SGD(0.01), 20))


@sick(TARGETS)
def tdc_friedman_targets(seed: int) -> Patient:
    x, y = friedman()
    return Patient(mlp([32, 32, 1], "relu", None, seed), x, 1e6 * y, told("adam", 30))


@sick(PENALTY)
def tdc_l2(seed: int) -> Patient:
    x, y = digits()
    return Patient(
        mlp([64, 64, 10], "relu", "softmax", seed, l2=1.0), x, y, told("adam", 10)
    )


@sick(PENALTY)
def tdc_l1(seed: int) -> Patient:
    x, y = digits()
    return Patient(
        mlp([64, 64, 10], "relu", "softmax", seed, l1=0.1), x, y, told("adam", 10)
    )


def _imbalanced(share: float) -> Make:
    def make(seed: int) -> Patient:
        generator = random(seed)
        y = (generator.uniform(size=2000) < share).astype(int)
        x = generator.normal(size=(2000, 10)) + 0.5 * y[:, None]
        return Patient(mlp([32, 1], "relu", "sigmoid", seed), x, y, told("adam", 10))

    return make


SICK["tdc_99_to_1"] = Sick(_imbalanced(0.01), frozenset([IMBALANCE]))
SICK["dc_50_to_1"] = Sick(_imbalanced(0.02), frozenset([IMBALANCE]))


@sick(NOTHING, UNLEARNT, OVERFIT)
def tdc_shuffled_labels(seed: int) -> Patient:
    x, y = digits()
    return Patient(
        mlp([64, 32, 10], "relu", "softmax", seed),
        x,
        random().permutation(y),
        told("adam", 30, validation_split=0.25),
    )


@sick(NOTHING, UNLEARNT, OVERFIT)
def coin_flips(seed: int) -> Patient:
    x = random().normal(size=(600, 20))
    return Patient(
        mlp([64, 32, 2], "relu", "softmax", seed),
        x,
        random(1).integers(0, 2, 600),
        told("adam", 30, validation_split=0.25),
    )


@sick(NOTHING, UNLEARNT, OVERFIT)
def random_targets(seed: int) -> Patient:
    x = random().normal(size=(600, 10))
    return Patient(
        mlp([64, 32, 1], "relu", None, seed),
        x,
        random(1).normal(size=600),
        told("adam", 60, validation_split=0.25),
    )


# From the course and from practice ----------------------------------------------------


def _deep(
    depth: int,
    activation: str,
    names: tuple[str, ...],
    rule: Any,
    std: float | None,
    width: int = 64,
) -> Sick:
    def make(seed: int) -> Patient:
        x, y = digits()
        dense = {} if std is None else {"kernel_initializer": normal(std)}
        net = mlp([width] * depth + [10], activation, "softmax", seed, **dense)
        return Patient(net, x, y, told(rule, 5))

    return Sick(make, frozenset(names))


SICK["20_sigmoid_wide"] = _deep(20, "sigmoid", (VANISHING,), lm.SGD(0.1), 1)
SICK["20_sigmoid_narrow"] = _deep(20, "sigmoid", (VANISHING,), lm.SGD(0.1), 1, 16)
SICK["20_sigmoid"] = _deep(20, "sigmoid", (VANISHING,), "adam", None)
SICK["20_tanh_small"] = _deep(20, "tanh", (VANISHING,), "adam", 0.05)
SICK["15_gelu_small"] = _deep(15, "gelu", (VANISHING,), "adam", 0.02)
SICK["25_relu_small"] = _deep(25, "relu", (VANISHING,), "adam", 0.1)
SICK["12_relu_large"] = _deep(12, "relu", (EXPLODING, INFINITE), "adam", 1)
SICK["15_relu_large"] = _deep(15, "relu", (EXPLODING, INFINITE), lm.SGD(0.01), 0.5)
SICK["4_tanh_large"] = _deep(4, "tanh", (SATURATED,), "adam", 3)
SICK["4_tanh_rate"] = _deep(4, "tanh", (SATURATED, RATE_HIGH), lm.Adam(1), None)


@sick(SATURATED)
def wine_tanh_large(seed: int) -> Patient:
    x, y = wine()
    net = mlp([32, 32, 3], "tanh", "softmax", seed, kernel_initializer=normal(5))
    return Patient(net, x, y, told("adam", 30))


@sick(DEAD)
def bias_10(seed: int) -> Patient:
    x, y = digits()
    net = mlp(
        [64, 64, 10], "relu", "softmax", seed, last={}, bias_initializer=constant(-10)
    )
    return Patient(net, x, y, told("adam", 5))


@sick(DEAD)
def bias_3_first(seed: int) -> Patient:
    x, y = digits()
    layers = [
        lm.Dense(64, "relu", bias_initializer=constant(-3)),
        lm.Dense(64, "relu"),
        lm.Dense(10, "softmax"),
    ]
    return Patient(lm.Sequential(layers, seed=seed), x, y, told("adam", 5))


@sick(DEAD)
def bias_20_second(seed: int) -> Patient:
    x, y = digits()
    layers = [
        lm.Dense(64, "relu"),
        lm.Dense(64, "relu", bias_initializer=constant(-20)),
        lm.Dense(10, "softmax"),
    ]
    return Patient(lm.Sequential(layers, seed=seed), x, y, told("adam", 5))


@sick(DROPOUT)
def dropout_95(seed: int) -> Patient:
    x, y = digits()
    return Patient(
        mlp([64, 64, 10], "relu", "softmax", seed, dropout=0.95), x, y, told("adam", 5)
    )


@sick(DROPOUT)
def dropout_90(seed: int) -> Patient:
    x, y = digits()
    return Patient(
        mlp([64, 64, 64, 10], "relu", "softmax", seed, dropout=0.9),
        x,
        y,
        told("adam", 5),
    )


def _digits_times(factor: float, rule: Any) -> Sick:
    def make(seed: int) -> Patient:
        x, y = digits()
        return Patient(
            mlp([64, 64, 10], "relu", "softmax", seed), x * factor, y, told(rule, 10)
        )

    return Sick(make, frozenset([INPUTS, INFINITE]))


SICK["digits_1000_sgd"] = _digits_times(1000, lm.SGD(0.05))
SICK["digits_1000_adam"] = _digits_times(1e3, lm.Adam(0.01))
SICK["digits_255"] = _digits_times(255, lm.SGD(0.05))
SICK["digits_1e-4"] = _digits_times(1e-4, lm.SGD(0.05))


@sick(INPUTS, INFINITE)
def cancer_unscaled(seed: int) -> Patient:
    x, y = cancer(raw=True)
    return Patient(
        mlp([32, 32, 1], "relu", "sigmoid", seed), x, y, told(lm.SGD(0.01), 20)
    )


@sick(INPUTS)
def wine_unscaled(seed: int) -> Patient:
    x, y = wine(raw=True)
    return Patient(mlp([32, 3], "relu", "softmax", seed), x, y, told("adam", 20))


@sick(INPUTS)
def plus_1000(seed: int) -> Patient:
    x, y = classes()
    return Patient(
        mlp([32, 32, 2], "tanh", "softmax", seed), x + 1000, y, told("adam", 20)
    )


@sick(INPUTS)
def years(seed: int) -> Patient:
    generator = random(seed)
    x = np.c_[generator.integers(1950, 2021, 500), generator.normal(size=(500, 2))]
    y = np.sin((x[:, 0] - 1985) / 10) + x[:, 1]
    return Patient(mlp([32, 32, 1], "tanh", None, seed), x, y, told("adam", 30))


@sick(INPUTS)
def millimetres_beside_kilometres(seed: int) -> Patient:
    x, y = classes()
    return Patient(
        mlp([32, 2], "relu", "softmax", seed),
        x * np.r_[np.full(5, 1e3), np.full(5, 1e-3)],
        y,
        told("adam", 20),
    )


@sick(LEAK)
def label_among_features(seed: int) -> Patient:
    x, y = classes()
    return Patient(
        mlp([32, 2], "relu", "softmax", seed), np.c_[x, y], y, told("adam", 10)
    )


@sick(LEAK)
def target_among_features(seed: int) -> Patient:
    x, y = friedman()
    return Patient(mlp([32, 1], "relu", None, seed), np.c_[x, y], y, told("adam", 20))


@sick(RATE_HIGH, INFINITE)
def batch_of_one(seed: int) -> Patient:
    x, y = digits()
    return Patient(
        mlp([64, 10], "relu", "softmax", seed),
        x,
        y,
        told(lm.SGD(0.2, momentum=0.9), 2, 1),
    )


@sick(OVERFIT)
def sixty_rows(seed: int) -> Patient:
    x, y = classes()
    return Patient(
        mlp([512, 512, 2], "relu", "softmax", seed),
        x[:80],
        y[:80] ^ (random(3).uniform(size=80) < 0.2),
        told("adam", 60, validation_split=0.25),
    )


@sick(OVERFIT, NOTHING)
def thirty_rows_300_features(seed: int) -> Patient:
    x = random().normal(size=(60, 300))
    return Patient(
        mlp([64, 1], "relu", None, seed),
        x,
        x[:, 0] + 0.5 * x[:, 1],
        told("adam", 60, validation_split=0.5),
    )


@sick(OVERFIT, NOTHING)
def diabetes_300_epochs(seed: int) -> Patient:
    x, y = diabetes()
    return Patient(
        mlp([256, 256, 1], "relu", None, seed),
        x,
        y,
        told("adam", 100, validation_split=0.25),
    )


@sick(VANISHING, RATE_LOW, RATE_HIGH)
def hidden_softmax(seed: int) -> Patient:
    x, y = digits()
    return Patient(
        mlp([64, 64, 64, 10], "softmax", "softmax", seed), x, y, told("adam", 10)
    )


@sick(LINEAR)
def no_activation(seed: int) -> Patient:
    x, y = moons()
    return Patient(mlp([64, 64, 2], None, "softmax", seed), x, y, told("adam", 10))


# Healthy ------------------------------------------------------------------------------


def healthy(make: Make) -> Make:
    HEALTHY[make.__name__] = make
    return make


def _family(
    name: str,
    data: Callable[[], tuple[Any, Any]],
    widths: list[int],
    hidden: str | None,
    out: str | None,
    fit: dict[str, Any],
    table: dict[str, Make] = HEALTHY,
    **net: Any,
) -> None:
    def make(seed: int) -> Patient:
        x, y = data()
        return Patient(mlp(widths, hidden, out, seed, **net), x, y, fit)

    table[name] = make


def parity() -> tuple[Any, Any]:
    x = random().integers(0, 2, (400, 4))
    return 2.0 * x - 1, x.sum(axis=1) % 2


def multilabel() -> tuple[Any, Any]:
    x, y = datasets.make_multilabel_classification(500, 20, n_classes=5, random_state=0)
    return scaled(x), y


_family("digits relu", digits, [128, 64, 10], "relu", "softmax", told("adam", 10))
_family(
    "digits deep relu", digits, [64] * 8 + [10], "relu", "softmax", told("adam", 10)
)
_family("digits 20 relu", digits, [64] * 20 + [10], "relu", "softmax", told("adam", 10))
_family("digits tanh", digits, [64, 64, 10], "tanh", "softmax", told(lm.SGD(0.1), 15))
_family(
    "digits gelu", digits, [64, 64, 10], "gelu", "softmax", told(lm.AdamW(2e-3), 10)
)
_family(
    "digits dropout",
    digits,
    [128, 10],
    "relu",
    "softmax",
    told("adam", 20),
    dropout=0.5,
)
_family("digits elu 10", digits, [64] * 10 + [10], "elu", "softmax", told("adam", 10))
_family("digits l2", digits, [64, 64, 10], "relu", "softmax", told("adam", 15), l2=1e-4)
_family("digits lion", digits, [64, 10], "relu", "softmax", told(lm.Lion(1e-3), 10))
_family("cancer", cancer, [32, 1], "relu", "sigmoid", told("adam", 20))
_family(
    "cancer raw",
    lambda: cancer(raw=True),
    [32, 1],
    "relu",
    "sigmoid",
    told("adam", 20),
    standardize=True,
)
_family("wine silu", wine, [32, 32, 3], "silu", "softmax", told(lm.Adam(3e-3), 30))
_family("iris sigmoid", iris, [16, 3], "sigmoid", "softmax", told(lm.Adam(0.01), 60))
_family(
    "iris raw",
    lambda: iris(raw=True),
    [16, 16, 3],
    "relu",
    "softmax",
    told(lm.Adam(0.01), 60),
)
_family("diabetes", diabetes, [16, 1], "relu", None, told("adam", 40))
_family("friedman", friedman, [64, 64, 1], "tanh", None, told(lm.Adam(3e-3), 40))
_family("moons", moons, [16, 16, 1], "relu", "sigmoid", told(lm.Adam(0.01), 40))
_family("blobs", blobs, [8, 3], "leaky_relu", "softmax", told(lm.RMSprop(3e-3), 20))
_family(
    "classes selu",
    classes,
    [64, 64, 2],
    "selu",
    "softmax",
    told(lm.SGD(0.05, momentum=0.9), 20),
)
_family("parity", parity, [32, 32, 1], "tanh", "sigmoid", told(lm.Adam(0.01), 40))
_family("multilabel", multilabel, [64, 5], "relu", "sigmoid", told("adam", 30))
_family(
    "digits split",
    digits,
    [64, 10],
    "relu",
    "softmax",
    told("adam", 15, validation_split=0.2),
)


# Held out: made when the rules stood --------------------------------------------------


def circles() -> tuple[Any, Any]:
    return datasets.make_circles(500, noise=0.08, factor=0.5, random_state=0)  # type: ignore[no-any-return]


def hastie() -> tuple[Any, Any]:
    x, y = datasets.make_hastie_10_2(1200, random_state=0)
    return x, (y > 0).astype(int)


def quantiles() -> tuple[Any, Any]:
    return datasets.make_gaussian_quantiles(  # type: ignore[no-any-return]
        n_samples=700, n_features=4, n_classes=3, random_state=0
    )


def curve() -> tuple[Any, Any]:
    x, t = datasets.make_s_curve(600, noise=0.05, random_state=0)
    return scaled(x), scaled(t)


def friedman2(raw: bool = False) -> tuple[Any, Any]:
    x, y = datasets.make_friedman2(500, random_state=0)
    return (x, y) if raw else (scaled(x), scaled(y))


def friedman3() -> tuple[Any, Any]:
    x, y = datasets.make_friedman3(500, random_state=0)
    return scaled(x), scaled(y)


def linear(raw: bool = False) -> tuple[Any, Any]:
    x, y = datasets.make_regression(400, 12, n_informative=6, noise=5.0, random_state=0)
    return x, (y if raw else scaled(y))


class Shift(lm.Layer):
    """A layer of one's own."""

    def initial(self) -> dict[str, Any]:
        return {"shift": np.zeros(self.features)}

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.take(x)
        self.keep(x, training)
        return x + self.parameters["shift"]

    def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
        dy, _ = self.recall(dy)
        self.gradients["shift"][...] = dy.sum(axis=0)
        return dy


def _held(
    name: str,
    names: tuple[str, ...],
    data: Callable[[], tuple[Any, Any]],
    widths: list[int],
    hidden: str | None,
    out: str | None,
    fit: dict[str, Any],
    **net: Any,
) -> None:
    def make(seed: int) -> Patient:
        x, y = data()
        return Patient(mlp(widths, hidden, out, seed, **net), x, y, fit)

    HELD_OUT_SICK[name] = Sick(make, frozenset(names))


def _with(data: Callable[[], tuple[Any, Any]], edit: Callable[[Any, Any], Any]) -> Any:
    return lambda: edit(*data())


_held(
    "circles adam 3",
    (RATE_HIGH,),
    circles,
    [32, 32, 2],
    "tanh",
    "softmax",
    told(lm.Adam(3), 20),
)
_held(
    "friedman2 raw",
    (INPUTS, TARGETS, INFINITE),
    lambda: friedman2(raw=True),
    [32, 32, 1],
    "relu",
    None,
    told(lm.SGD(0.001), 20),
)
_held(
    "friedman3 slow",
    (RATE_LOW,),
    friedman3,
    [32, 32, 1],
    "gelu",
    None,
    told(lm.SGD(1e-6), 20),
)
_held(
    "regression raw",
    (TARGETS, RATE_HIGH, INFINITE),
    lambda: linear(raw=True),
    [32, 32, 1],
    "relu",
    None,
    told(lm.SGD(0.05), 20),
)
_held(
    "hastie 10 sigmoid",
    (VANISHING,),
    hastie,
    [32] * 10 + [1],
    "sigmoid",
    "sigmoid",
    told("adam", 10),
)
_held(
    "softplus explodes",
    (EXPLODING, INFINITE),
    quantiles,
    [48] * 12 + [3],
    "softplus",
    "softmax",
    told("adam", 10),
    kernel_initializer=normal(1),
)
_held(
    "selu explodes",
    (EXPLODING, INFINITE),
    hastie,
    [64] * 14 + [2],
    "selu",
    "softmax",
    told(lm.SGD(0.01), 10),
    kernel_initializer=normal(1.5),
)
_held(
    "elu vanishes",
    (VANISHING,),
    wine,
    [32] * 18 + [3],
    "elu",
    "softmax",
    told("rmsprop", 20),
    kernel_initializer=normal(0.03),
)
_held(
    "dead float64",
    (DEAD,),
    cancer,
    [48, 48, 1],
    "relu",
    "sigmoid",
    told("adam", 10),
    last={},
    bias_initializer=constant(-15),
    dtype="float64",
)
_held(
    "dead gelu",
    (DEAD,),
    digits,
    [48, 48, 10],
    "gelu",
    "softmax",
    told("adam", 5),
    last={},
    bias_initializer=constant(-30),
)
_held(
    "dropout 0.97",
    (DROPOUT,),
    wine,
    [64, 64, 3],
    "relu",
    "softmax",
    told(lm.Adam(3e-3), 20),
    dropout=0.97,
)
_held(
    "sigmoid of signed",
    (REACH,),
    curve,
    [32, 1],
    "relu",
    "sigmoid",
    told("adam", 20, 32, MSE),
)
_held(
    "tanh to ten",
    (REACH,),
    _with(curve, lambda x, y: (x, 4 * y + 5)),
    [32, 1],
    "relu",
    "tanh",
    told("adam", 20, 32, MAE),
)
_held(
    "softplus of negatives",
    (REACH,),
    linear,
    [16, 1],
    "relu",
    "softplus",
    told("adam", 20, 32, MSE),
)
_held(
    "counts to thousands",
    (TARGETS, INFINITE),
    _with(curve, lambda x, y: (x, np.round(800 * np.exp(y)))),
    [32, 32, 1],
    "relu",
    None,
    told(lm.SGD(0.01), 20),
)
_held(
    "tiny targets",
    (TARGETS,),
    _with(friedman3, lambda x, y: (x, 1e-4 * y)),
    [32, 1],
    "tanh",
    None,
    told("adam", 5),
)
_held(
    "four linear", (LINEAR,), circles, [16] * 4 + [1], None, "sigmoid", told("adam", 10)
)
_held(
    "constant tanh",
    (SYMMETRIC,),
    quantiles,
    [32, 32, 3],
    "tanh",
    "softmax",
    told(lm.SGD(0.1), 10),
    kernel_initializer=constant(0.2),
)
_held(
    "zero regression",
    (SYMMETRIC,),
    friedman3,
    [32, 1],
    "tanh",
    None,
    told("adam", 20),
    kernel_initializer="zeros",
)
_held(
    "sgd 100",
    (RATE_HIGH, INFINITE),
    quantiles,
    [32, 3],
    "relu",
    "softmax",
    told(lm.SGD(100.0, momentum=0.5), 20),
)
_held(
    "adagrad 1e-6",
    (RATE_LOW,),
    cancer,
    [32, 1],
    "relu",
    "sigmoid",
    told(lm.Adagrad(1e-6), 20),
)
_held(
    "adam 0.5 wine",
    (RATE_HIGH,),
    wine,
    [32, 32, 32, 3],
    "relu",
    "softmax",
    told(lm.Adam(0.5), 20),
)
_held(
    "sgd 20 iris",
    (RATE_HIGH, INFINITE),
    iris,
    [16, 16, 3],
    "tanh",
    "softmax",
    told(lm.SGD(20.0), 20),
)
_held(
    "rmsprop 0.5 batch 4",
    (RATE_HIGH, INFINITE),
    friedman3,
    [32, 32, 1],
    "relu",
    None,
    told(lm.RMSprop(0.5), 5, 4),
)
_held(
    "adamw 1e-6",
    (RATE_LOW,),
    digits,
    [32, 10],
    "silu",
    "softmax",
    told(lm.AdamW(1e-6), 10),
)
_held(
    "l2 of 5",
    (PENALTY,),
    friedman3,
    [32, 32, 1],
    "relu",
    None,
    told("adam", 30),
    l2=5.0,
)
_held(
    "l1 of 0.05",
    (PENALTY,),
    hastie,
    [64, 64, 2],
    "gelu",
    "softmax",
    told("adam", 20),
    l1=0.05,
)
_held(
    "softsign saturated",
    (SATURATED,),
    wine,
    [32, 32, 3],
    "softsign",
    "softmax",
    told("adam", 10),
    kernel_initializer=normal(20),
)
_held(
    "hard sigmoid saturated",
    (SATURATED,),
    digits,
    [64, 64, 10],
    "hard_sigmoid",
    "softmax",
    told("adam", 5),
    kernel_initializer=normal(5),
)
_held(
    "far from zero",
    (INPUTS,),
    _with(quantiles, lambda x, y: (x + 1e4, y)),
    [32, 32, 3],
    "relu",
    "softmax",
    told("adam", 20),
)
_held(
    "tiny inputs",
    (INPUTS,),
    _with(hastie, lambda x, y: (1e-5 * x, y)),
    [32, 2],
    "tanh",
    "softmax",
    told(lm.SGD(0.1), 20),
)
_held(
    "salary and age",
    (INPUTS,),
    _with(
        classes,
        lambda x, y: (
            x * [1, 4e4, 20, 1, 1, 1, 1, 1, 1, 1] + [0, 6e4, 40, 0, 0, 0, 0, 0, 0, 0],
            y,
        ),
    ),
    [32, 32, 1],
    "relu",
    "sigmoid",
    told("adam", 20),
)
_held(
    "softmax of one class",
    (ONE,),
    _with(moons, lambda x, y: (x, 0 * y)),
    [16, 1],
    "relu",
    "softmax",
    told("adam", 5),
)
_held(
    "noisy leak",
    (LEAK,),
    _with(hastie, lambda x, y: (np.c_[x, y + 0.01 * random().normal(size=len(y))], y)),
    [32, 1],
    "relu",
    "sigmoid",
    told("adam", 10),
)
_held(
    "leak in other units",
    (LEAK,),
    _with(friedman3, lambda x, y: (np.c_[x, 3 * y + 2], y)),
    [32, 1],
    "relu",
    None,
    told("adam", 20),
)
_held(
    "random classes",
    (NOTHING, UNLEARNT, OVERFIT),
    lambda: (random(5).normal(size=(900, 8)), random(6).integers(0, 3, 900)),
    [128, 3],
    "relu",
    "softmax",
    told(lm.Adam(5e-3), 40, validation_split=0.3),
)
_held(
    "rare class",
    (IMBALANCE,),
    lambda: _three(),
    [32, 3],
    "relu",
    "softmax",
    told("adam", 10),
)
_held(
    "a hundred digits",
    (OVERFIT, NOTHING),
    lambda: _few_digits(),
    [256, 256, 10],
    "relu",
    "softmax",
    told("adam", 40, validation_split=0.5),
)
_held(
    "standardized but wild",
    (RATE_HIGH, INFINITE),
    lambda: cancer(raw=True),
    [32, 32, 1],
    "relu",
    "sigmoid",
    told(lm.SGD(50.0), 20),
    standardize=True,
)


def _three() -> tuple[Any, Any]:
    generator = random(3)
    y = generator.choice(3, 2500, p=[0.7, 0.285, 0.015])
    return generator.normal(size=(2500, 6)) + 0.7 * np.eye(6)[:3][y], y


def _few_digits() -> tuple[Any, Any]:
    x, y = digits()
    wrong = random(4).uniform(size=160) < 0.5
    return x[:160], np.where(wrong, random(7).integers(0, 10, 160), y[:160])


@sick(VANISHING, held_out=True)
def activations_apart(seed: int) -> Patient:
    x, y = digits()
    layers: list[lm.Layer] = []
    for _ in range(12):
        layers += [lm.Dense(32), lm.Activation("sigmoid")]
    return Patient(
        lm.Sequential([*layers, lm.Dense(10, "softmax")], seed=seed),
        x,
        y,
        told("adam", 5),
    )


@sick(VANISHING, held_out=True)
def own_layers_between(seed: int) -> Patient:
    x, y = wine()
    layers: list[lm.Layer] = []
    for _ in range(9):
        layers += [lm.Dense(24, "sigmoid"), Shift()]
    return Patient(
        lm.Sequential([*layers, lm.Dense(3, "softmax")], seed=seed),
        x,
        y,
        told(lm.SGD(0.1), 10),
    )


def _well(
    name: str,
    data: Callable[[], tuple[Any, Any]],
    widths: list[int],
    hidden: str | None,
    out: str | None,
    fit: dict[str, Any],
    **net: Any,
) -> None:
    _family(name, data, widths, hidden, out, fit, HELD_OUT_HEALTHY, **net)


def sine(low: float, high: float) -> Any:
    x = np.linspace(low, high, 256)[:, None]
    return lambda: (x, np.sin(6.28 * (x[:, 0] - low) / (high - low)))


def one_hot() -> tuple[Any, Any]:
    generator = random(8)
    codes = generator.integers(0, 60, (800, 3))
    x = np.hstack([np.eye(60)[codes[:, i]] for i in range(3)])
    weights = generator.normal(size=60)
    return x, (weights[codes].sum(axis=1) > 0).astype(int)


def flipped() -> tuple[Any, Any]:
    x, y = digits()
    return x, np.where(random(9).uniform(size=len(y)) < 0.1, (y + 1) % 10, y)


def counts() -> tuple[Any, Any]:
    x, y = friedman3()
    return x, random(2).poisson(np.exp(y))


def rare_but_apart() -> tuple[Any, Any]:
    generator = random(11)
    y = (generator.uniform(size=1500) < 0.05).astype(int)
    return generator.normal(size=(1500, 6)) + 3 * y[:, None], y


_well("circles", circles, [16, 16, 1], "relu", "sigmoid", told(lm.Adam(0.01), 40))
_well("hastie mish", hastie, [64, 64, 2], "mish", "softmax", told("adam", 30))
_well("quantiles", quantiles, [32, 32, 3], "tanh", "softmax", told(lm.Adam(0.01), 30))
_well("s-curve", curve, [32, 32, 1], "gelu", None, told(lm.Adam(3e-3), 40))
_well("friedman2", friedman2, [32, 1], "relu", None, told(lm.Adam(0.01), 40))
_well(
    "friedman3 huber",
    friedman3,
    [32, 32, 1],
    "silu",
    None,
    told(lm.Adam(3e-3), 40, 16, "huber"),
)
_well("linear", linear, [16, 1], "relu", None, told(lm.SGD(0.02), 40))
_well(
    "raw digits",
    _with(digits, lambda x, y: (16 * x, y)),
    [64, 10],
    "relu",
    "softmax",
    told("adam", 15),
)
_well(
    "three sigmoid", digits, [64, 64, 10], "sigmoid", "softmax", told(lm.Adam(5e-3), 20)
)
_well("batch 8", digits, [32, 10], "relu", "softmax", told(lm.SGD(0.05), 6, 8))
_well("batch 512", digits, [64, 10], "relu", "softmax", told(lm.Adam(0.01), 30, 512))
_well("adagrad", cancer, [32, 1], "relu", "sigmoid", told(lm.Adagrad(0.05), 30))
_well(
    "float64",
    wine,
    [16, 3],
    "tanh",
    "softmax",
    told(lm.Adam(0.01), 30),
    dtype="float64",
)
_well("sine positive", sine(0, 1), [32, 32, 1], "relu", None, told(lm.Adam(0.01), 100))
_well("sine narrow", sine(0, 1), [16, 16, 1], "tanh", None, told(lm.Adam(0.02), 150))
_well(
    "sine around zero", sine(-3, 3), [32, 32, 1], "tanh", None, told(lm.Adam(0.01), 100)
)
_well("one-hot", one_hot, [32, 1], "relu", "sigmoid", told("adam", 30))
_well("one label in ten wrong", flipped, [64, 10], "relu", "softmax", told("adam", 15))
_well("counts", counts, [32, 1], "tanh", None, told(lm.Adam(0.01), 40, 32, "poisson"))
_well(
    "rare but apart",
    rare_but_apart,
    [16, 1],
    "relu",
    "sigmoid",
    told(lm.Adam(0.01), 20),
)
_well("no hidden layer", digits, [10], None, "softmax", told(lm.Adam(0.01), 15))
_well(
    "autoencoder",
    _with(digits, lambda x, y: (x, x)),
    [32, 64],
    "relu",
    "sigmoid",
    told(lm.Adam(3e-3), 20, 32, MSE),
)
_well(
    "zeros at last",
    digits,
    [64, 64, 10],
    "relu",
    "softmax",
    told("adam", 10),
    last={"kernel_initializer": "zeros"},
)
_well(
    "dropout 0.7",
    digits,
    [128, 128, 10],
    "relu",
    "softmax",
    told("adam", 30),
    dropout=0.7,
)
_well("softsign", iris, [16, 3], "softsign", "softmax", told(lm.Adam(0.01), 60))
_well(
    "targets of ten",
    _with(friedman3, lambda x, y: (x, 5 * y + 7)),
    [32, 32, 1],
    "relu",
    None,
    told(lm.Adam(5e-3), 60),
)
_well(
    "cosine",
    digits,
    [64, 64, 10],
    "relu",
    "softmax",
    told(lm.SGD(lm.schedules.Cosine(0.1, 600), momentum=0.9), 10),
)
_well("five wide", blobs, [256, 256, 256, 256, 3], "relu", "softmax", told("adam", 10))
_well("xor", lambda: XOR, [8, 1], "tanh", "sigmoid", told(lm.Adam(0.05), 300))
