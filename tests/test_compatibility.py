"""What an earlier version wrote and computed: files load, pickles open, nets train.

``tests/data/0.1.0`` was written by version 0.1.0 (``python tests/test_compatibility.py
folder``): the net below after two epochs, as a model file and as a pickle, and digests
of five trainings. Bits are those of processors with fused multiply-add.
"""

import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina as lm
from conftest import TARGETS

OLD = Path(__file__).parent / "data" / "0.1.0"


def numbers(rows: int, columns: int) -> np.ndarray:
    """From -4 to 4, by a multiplicative hash."""
    words = np.arange(1, rows * columns + 1, dtype=np.uint32) * 0x9E3779B1
    return (words.view(np.int32) / 2.0**29).reshape(rows, columns)


X = numbers(150, 12)
Y = (np.arange(150) * 7 % 5).astype(np.int64)
WEIGHTS = np.arange(150) % 3 + 0.5


def net(dtype: Any = "float32") -> lm.Sequential:
    """Every kind of layer, each with what it can hold."""
    layers = [
        lm.Standardize(),
        lm.GaussianNoise(0.1),
        lm.Dense(24, "relu", l1=1e-4, l2=1e-3, max_norm=2.0),
        lm.Dropout(0.25),
        lm.Dense(16, lm.leaky_relu.using(negative_slope=0.2), use_bias=False),
        lm.Dropout(0.5, "classic"),
        lm.Activation("tanh"),
        lm.Dense(5, "softmax", kernel_initializer="lecun_uniform"),
    ]
    return lm.Sequential(layers, seed=11, dtype=dtype)


def fitted(dtype: Any = "float32", **options: Any) -> Callable[[], lm.Sequential]:
    def train() -> lm.Sequential:
        made = net(dtype)
        made.fit(X, Y, verbose=0, **{"epochs": 3, **options})
        return made

    return train


def by_batches() -> lm.Sequential:
    """Regression by an own loop, in two phases and in one call."""
    made = lm.Sequential([lm.Dense(9, "elu"), lm.Dense(2)], seed=3)
    for start in range(0, 150, 30):
        x, y = X[start : start + 30], X[start : start + 30, :2] ** 2
        made.gradients(x[:10], y[:10], loss="huber", weight=1 / 3)
        made.gradients(x[10:], y[10:], weight=2 / 3, first_row=10, accumulate=True)
        made.apply_gradients(lm.RMSprop(0.01))
        made.train_on_batch(x, y, sample_weight=WEIGHTS[:30])
    return made


TRAININGS: dict[str, Callable[[], lm.Sequential]] = {
    "adam": fitted(),
    "sgd, weights, split": fitted(
        optimizer=lm.SGD(lm.schedules.Cosine(0.1, steps=20), momentum=0.9),
        sample_weight=WEIGHTS,
        validation_split=0.2,
        batch_size=17,
    ),
    "float64, clipped": fitted(
        dtype="float64", optimizer=lm.AdamW(0.01, global_clip_norm=0.5), shuffle=False
    ),
    "class weights, lion": fitted(
        optimizer=lm.Lion(1e-3), class_weight="balanced", batch_size=64
    ),
    "phases": by_batches,
}


def digest(trained: lm.Sequential) -> str:
    return hashlib.sha256(trained.parameters.tobytes()).hexdigest()


@pytest.fixture(autouse=True, params=[name for name in TARGETS if name != "sse2"])
def _fused(request: pytest.FixtureRequest) -> None:
    lm.set_target(request.param)


@pytest.mark.parametrize("name", TRAININGS)
def test_the_same_training_gives_the_same_weights(name: str) -> None:
    recorded = json.loads((OLD / "digests.json").read_text())
    assert digest(TRAININGS[name]()) == recorded["trained"][name]


def from_file() -> lm.Sequential:
    return lm.load(OLD / "net.safetensors")


def from_pickle() -> lm.Sequential:
    found: lm.Sequential = pickle.loads((OLD / "net.pickle").read_bytes())
    return found


@pytest.mark.parametrize("read", [from_file, from_pickle])
def test_an_old_net_predicts_and_goes_on_as_it_would_have(
    read: Callable[[], lm.Sequential],
) -> None:
    recorded = json.loads((OLD / "digests.json").read_text())
    again = read()
    predicted = hashlib.sha256(again.predict(X).tobytes()).hexdigest()
    assert predicted == recorded["predicted"]
    assert (again.epoch, again.steps) == (2, 10)
    again.fit(X, Y, verbose=0)
    assert digest(again) == recorded["went on"]


def test_pickles_of_old_descriptions_open() -> None:
    """Losses, optimizers, schedules, initializers and callbacks on their own."""
    for name, value in pickle.loads((OLD / "descriptions.pickle").read_bytes()).items():
        assert repr(value) == name or name in repr(value), name


def described() -> dict[str, Any]:
    values: list[Any] = [
        lm.losses.huber.using(delta=0.5),
        lm.losses.categorical_crossentropy,
        lm.Adam(1e-2, clip_norm=1.0),
        lm.SGD(lm.schedules.Step(0.5, every=3), momentum=0.5),
        lm.schedules.OneCycle(1.0, steps=10),
        lm.initializers.get("he_normal"),
        lm.elu.using(alpha=0.5),
        lm.Dropout(0.25),
        lm.GaussianNoise(0.5),
        lm.Dense(3, "relu"),
        lm.Activation("tanh"),
        lm.Standardize(),
    ]
    found = {repr(value): value for value in values}
    early = lm.callbacks.EarlyStopping(patience=3)
    return found | {"EarlyStopping": early, "History": lm.History()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    trained = fitted(epochs=2)()
    trained.save(folder / "net.safetensors")
    (folder / "net.pickle").write_bytes(pickle.dumps(trained))
    (folder / "descriptions.pickle").write_bytes(pickle.dumps(described()))
    predictions = trained.predict(X)
    trained.fit(X, Y, verbose=0)
    digests = {
        "trained": {name: digest(train()) for name, train in TRAININGS.items()},
        "predicted": hashlib.sha256(predictions.tobytes()).hexdigest(),
        "went on": digest(trained),
    }
    (folder / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")
