"""Any number in the place of any other: an answer soon, or an error that names it.

In a process of its own with little memory (``python tests/test_numbers.py``): what
hangs or fills the memory ends with it.
"""

import functools
import inspect
import itertools
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import lamina as lm

NUMBERS: list[Any] = [
    *[0, -1, 2, 2**31, 2**63 - 1, 2**63, 2**64, 2**70, 10**400, True],
    *[0.5, -0.5, 1e-320, 1e308, -1e308, np.nan, np.inf, -np.inf],
    *[np.int8(-3), np.uint64(2**64 - 1), np.float16(0.1), np.float32(np.nan)],
]
# What takes as much memory, or as long, as it says.
LONG = {2**31, 2**63 - 1}
SIZES = {"shape", "count", "features", "epochs", "samples", "outputs"}
# What nets ask of layers, optimizers and callbacks; scores may be any number.
PROTOCOL = r"\.(core|draw|outputs|shapes|update|targets|on_\w+|improved|better|add)$"
OTHERS = {"PackedKernel", "initializers.get"}
OTHERS |= {"optimizers.Optimizer.rates", "optimizers.Optimizer.decays"}
DECAY = lm.schedules.Exponential(0.1, 0.5)
X, Y = np.ones((6, 3), np.float32), np.arange(6) % 2


def net(*layers: lm.Layer) -> lm.Sequential:
    made = lm.Sequential([*layers, lm.Dense(2, "softmax")], seed=0)
    made.build(3)
    return made


def built(layer: lm.Layer) -> lm.Layer:
    layer.build(3)
    return layer


def trained(*layers: lm.Layer, **options: Any) -> None:
    made = net(*layers)
    for each in made.layers:
        if not each.learnt:
            each.learn(X)  # type: ignore[attr-defined]
    made.train_on_batch(X, Y, **options)


def layer(kind: Callable[..., Any], **given: Any) -> Callable[..., None]:
    """To make the layer, and to train with it where it fits into memory."""

    def call(**numbers: Any) -> None:
        made = kind(**{**given, **numbers})
        if max(getattr(made, name, 1) for name in ("units", "dims")) < 1000:
            trained(made)

    return call


def rule(kind: Any) -> Callable[..., None]:
    return lambda **numbers: trained(optimizer=kind(**numbers))


def schedule(kind: Any, **given: Any) -> Callable[..., None]:
    def call(**numbers: Any) -> None:
        found = kind(**{**given, **numbers})([0, 1, 2, 100, 2**62])
        assert found.shape == (5,)

    return call


def many(x: Any = X, y: Any = Y) -> Iterator[Any]:
    return itertools.repeat((x, y), 3)


def fit(**numbers: Any) -> None:
    given: dict[str, Any] = {"verbose": 0}
    if "class_weight" in numbers:
        given["class_weight"] = {0: numbers.pop("class_weight")}
    if "validation_steps" in numbers:
        given["validation_data"] = many()
    if "steps_per_epoch" in numbers:
        net().fit(many(), **given, **numbers)
    elif numbers.get("epochs", 0) < 1000:
        net().fit(X, Y, **given, **numbers)


OPTIMIZERS = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "RMSprop"]
LOSSES = {
    name: getattr(lm.losses, name)
    for name in lm.losses.__all__
    if isinstance(getattr(lm.losses, name), lm.losses.Loss)
}
DRAWS = {
    name: getattr(lm.initializers, name)
    for name in lm.initializers.__all__
    if isinstance(getattr(lm.initializers, name), lm.initializers.Initializer)
}
LAYERS: dict[str, Callable[..., Any]] = {
    **{name: getattr(lm, name) for name in lm.layers.__all__ if name != "Layer"},
    "Dense": functools.partial(lm.Dense, units=2),
    "Dropout": functools.partial(lm.Dropout, rate=0.5),
    "GaussianNoise": functools.partial(lm.GaussianNoise, stddev=0.5),
    "Activation": functools.partial(lm.Activation, activation="relu"),
    "Embedding": functools.partial(lm.Embedding, columns=0, sizes=3, dims=2),
    "Mixed": functools.partial(lm.Mixed, activation="relu"),
}
PLAIN = {"Activation", "Add", "Residual"}  # take no numbers
SEEDED: dict[str, Any] = {"rate": 0.5, "seed": 3}


def draw(initializer: Any, shape: Any = (2, 3), **numbers: Any) -> None:
    initializer((shape, 3) if not isinstance(shape, tuple) else shape, **numbers)


def diagnose(**numbers: Any) -> None:
    if "class_weight" in numbers:
        numbers["class_weight"] = {0: numbers["class_weight"]}
    net().diagnose(X, Y, trials=False, **numbers)


def experiment(function: Callable[..., Any], **given: Any) -> Callable[..., None]:
    """On a net of one layer, with no more seeds and trials than are soon done."""

    def build(units: int = 2, seed: int = 0) -> lm.Sequential:
        return lm.Sequential([lm.Dense(units), lm.Dense(2, "softmax")], seed=seed)

    def call(**numbers: Any) -> None:
        if not LONG.intersection(numbers.values()):
            function(build, X, Y, **{"verbose": 0, "folds": 2, **given, **numbers})

    return call


# How each public callable is called with one of its numbers.
CALLS: dict[str, Callable[..., Any]] = {
    **{name: layer(LAYERS[name]) for name in LAYERS if name not in PLAIN},
    **{
        f"{name}.build": functools.partial(
            lambda kind, **n: kind().build(**{"features": 2, **n}), kind
        )
        for name, kind in LAYERS.items()
    },
    **{
        f"{name}.penalty": functools.partial(
            lambda kind, **n: built(kind()).penalty(**n), kind
        )
        for name, kind in LAYERS.items()
    },
    "Layer.build": lambda **n: lm.Layer().build(**{"features": 2, **n}),
    "Layer.penalty": lambda **n: lm.Layer().penalty(**n),
    **{name: rule(getattr(lm, name)) for name in OPTIMIZERS},
    **{
        f"{name}.{asked}": functools.partial(
            lambda ask, **n: ask(**{"first_step": 1, "count": 2, **n}),
            getattr(getattr(lm, name)(**given), asked),
        )
        for name in OPTIMIZERS
        for asked, given in (
            ("rates", {}),
            ("decays", {"weight_decay": DECAY} if name in ("AdamW", "Lion") else {}),
        )
    },
    "Dropout.rates": lambda **n: lm.Dropout(DECAY).rates(
        **{"first_step": 1, "count": 2, **n}
    ),
    "Sequential": lambda **n: lm.Sequential([lm.Dense(1)], **n).build(2),
    "Sequential.backward": lambda **n: net().backward(X, np.ones((6, 2)), **n),
    "Sequential.build": lambda **n: lm.Sequential([lm.Dense(1)]).build(**n),
    "Sequential.clone": lambda **n: net().clone(**n),
    "Sequential.diagnose": diagnose,
    "Sequential.evaluate": lambda **n: net().evaluate(many(), **n),
    "Sequential.fit": fit,
    "Sequential.gradients": lambda **n: net(lm.Dropout(0.5)).gradients(X, Y, **n),
    "Sequential.predict": lambda **n: (
        net().predict(X, **n) if n.get("samples", 0) not in LONG else None
    ),
    "Sequential.to_onnx": lambda **n: net().to_onnx(**n),
    "dense": lambda **n: lm.dense(X, X.T, **{"dropout": 0.5, "seed": 3, **n}),
    "dense_backward": lambda **n: lm.dense_backward(
        X @ X.T, X, X.T, X @ X.T, **{"dropout": 0.5, "seed": 3, **n}
    ),
    "dropout": lambda **n: lm.dropout(X, **{**SEEDED, **n}),
    "dropout_backward": lambda **n: lm.dropout_backward(X, **{**SEEDED, **n}),
    "dropout_mask": lambda **n: lm.dropout_mask(**{"shape": 9, **SEEDED, **n}),
    "set_num_threads": lambda **n: lm.set_num_threads(**n),
    "threads": lambda **n: lm.threads(**n).__enter__(),
    "compare": experiment(lm.compare, vary={"units": [1, 2]}),
    "search": experiment(lm.search, space={"units": [1, 2]}, method="grid", epochs=1),
    "log": lambda **n: lm.log(**{"low": 0.5, "high": 2.0, **n}),
    "callbacks.ModelCheckpoint": functools.partial(lm.callbacks.ModelCheckpoint, "net"),
    "callbacks.EarlyStopping": lm.callbacks.EarlyStopping,
    "callbacks.ReduceOnPlateau": lm.callbacks.ReduceOnPlateau,
    **{
        f"initializers.{kind}": functools.partial(
            lambda name, **n: draw(getattr(lm.initializers, name).using(**n)), name
        )
        for kind, name in (
            ("Constant", "constant"),
            ("Normal", "normal"),
            ("Orthogonal", "orthogonal"),
            ("Uniform", "uniform"),
            ("VarianceScaling", "he_normal"),
        )
    },
    **{
        f"initializers.{name}": functools.partial(draw, initializer)
        for name, initializer in DRAWS.items()
    },
    "losses.PerWeight": lambda factor: trained(
        loss=lm.losses.PerWeight(LOSSES["categorical_crossentropy"], factor)
    ),
    "losses.class_weights": lambda class_weight: lm.losses.class_weights(
        Y, {0: class_weight}
    ),
    **{
        f"losses.{name}": functools.partial(
            loss, np.ones((6, 2), np.float32), np.full((6, 2), 0.5, np.float32)
        )
        for name, loss in LOSSES.items()
    },
    "schedules.Step": schedule(lm.schedules.Step, rate=0.1, every=3),
    "schedules.Exponential": schedule(lm.schedules.Exponential, rate=0.1, factor=0.5),
    "schedules.CosLog": schedule(lm.schedules.CosLog, rate=0.1, steps=9),
    "schedules.FlatCosine": schedule(lm.schedules.FlatCosine, rate=0.1, steps=9),
    "schedules.Cosine": schedule(lm.schedules.Cosine, rate=0.1, steps=9),
    "schedules.OneCycle": schedule(lm.schedules.OneCycle, rate=0.1, steps=9),
}


def numeric_parameters() -> dict[str, list[str]]:
    """Of all that is public: names of parameters whose annotation speaks of numbers."""
    modules = "callbacks", "initializers", "losses", "optimizers", "schedules"
    public: dict[str, Any] = {}
    for module in (lm, *(getattr(lm, name) for name in modules)):
        prefix = module.__name__.removeprefix("lamina").removeprefix(".")
        for name in module.__all__:
            value = getattr(module, name)
            activation = isinstance(value, lm.activations.ActivationFunction)
            again = prefix and value is getattr(lm, name, None)
            if activation or again or not callable(value):
                continue
            full = f"{prefix}.{name}".lstrip(".")
            public[full] = value
            if inspect.isclass(value):
                for method, function in inspect.getmembers(value, inspect.isfunction):
                    if not method.startswith("_"):
                        public[f"{full}.{method}"] = function
    parameters = {}
    for name, value in public.items():
        if re.search(PROTOCOL, name) or name in OTHERS:
            continue
        found = [
            p.name
            for p in inspect.signature(value).parameters.values()
            if re.search(r"\b(int|float)\b", str(p.annotation)) and p.name != "verbose"
        ]
        if found:
            parameters[name] = found
    return parameters


def test_every_number_of_what_is_public_is_tried() -> None:
    assert set(CALLS) == set(numeric_parameters())


def test_any_number_anywhere() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def complaint(name: str, parameter: str, value: Any) -> str | None:
    """What is wrong with what a call does with a number."""
    try:
        CALLS[name](**{parameter: value})
    except ImportError:
        if sysconfig.get_config_var("Py_GIL_DISABLED"):
            return None  # no onnx for this Python
        raise
    except MemoryError:
        return None if parameter in SIZES else "takes too much memory"
    except (TypeError, ValueError) as error:
        text = str(error)
        size = parameter in SIZES and ("memory" in text or "too big" in text)
        said = size or any(str(known) in text for known in (parameter, value))
        if said and "incompatible function arguments" not in text:
            return None
        return f"{type(error).__name__} {error}"
    except BaseException as error:
        return f"{type(error).__name__} {error}"
    return None


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    wrong = [
        f"{name}({parameter}={value!r:.40}): {found}"
        for name, parameters in numeric_parameters().items()
        for parameter in parameters
        for value in NUMBERS
        if (found := complaint(name, parameter, value))
    ]
    sys.exit("\n".join(wrong) or None)
