"""Nets in the core: the bits of their layers, phases, samples, threads, memory."""

import copy
import ctypes
import inspect
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import _core, losses, optimizers
from test_model import ARCHITECTURES, X

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(23, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 23)
NUMBERS = RNG.normal(size=(23, 3)).astype(np.float32)
BITS = RNG.integers(0, 2, (23, 3))

LOSSES: dict[str, tuple[str | None, Any, Any, Any]] = {
    "labels": ("softmax", None, CLASSES, None),
    "one-hot": ("softmax", None, np.eye(3)[CLASSES], None),
    "weighted": ("softmax", None, CLASSES, RNG.random(23)),
    "binary": ("sigmoid", None, BITS, None),
    "squared": (None, "mean_squared_error", NUMBERS, RNG.random(23)),
    "absolute": ("tanh", "mean_absolute_error", NUMBERS, None),
    "huber": (None, "huber", NUMBERS, None),
    "poisson": (None, "poisson", BITS * 3, None),
}
per_weight = losses.PerWeight(losses.huber, 1.5)
LOSSES["per weight"] = None, per_weight, NUMBERS, RNG.random(23)
for goal in map(losses.get, losses.known().split(", ")):  # and any that is to come
    LOSSES[goal.name] = next(iter(goal.activations), None), goal.name, BITS, None
LOSSES["categorical_crossentropy"] = LOSSES["labels"]
OPTIMIZERS = {
    "sgd": lm.SGD(0.05),
    "nesterov": lm.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop": lm.RMSprop(0.01, momentum=0.5),
    "adagrad": lm.Adagrad(0.05),
    "adam": lm.Adam(0.01),
    "adamw": lm.AdamW(0.01, weight_decay=0.1),
    "lion": lm.Lion(0.003),
    "clipped": lm.Adam(0.01, clip_value=0.5, clip_norm=0.3, global_clip_norm=0.4),
    "scheduled": lm.SGD(lm.schedules.Exponential(0.1, 0.9)),
    **{f"{name} by name": optimizers.get(name) for name in optimizers.known()},
}


def layers(last: str | None = "softmax") -> list[lm.Layer]:
    """One of each kind, and what the core merges: a dropout of relu."""
    return [
        lm.Standardize(),
        lm.Dropout(0.1),
        lm.Dense(17, "relu", l2=0.01, max_norm=1.0),
        lm.Dropout(0.5),
        lm.Dense(12, "gelu", l1=0.001, use_bias=False),
        lm.Dropout(0.3, "classic"),
        lm.GaussianNoise(0.1),
        lm.Dense(8),
        lm.Activation("selu"),
        lm.Dropout(0.2, "alpha"),
        lm.Dense(5, "softmax"),
        lm.Dense(3, last),
    ]


def made(last: str | None = "softmax", dtype: Any = "float32") -> lm.Sequential:
    net = lm.Sequential(layers(last), seed=2, dtype=dtype)
    net.build(6)
    net.layers[0].learn(ROWS)  # type: ignore[attr-defined]
    return net


def by_layer(net: lm.Sequential) -> lm.Sequential:
    """The same net, which will run as one with a layer that only Python knows."""

    class Known(lm.Dense):
        pass

    net = copy.deepcopy(net)
    for layer in net.layers:
        if type(layer) is lm.Dense:
            layer.__class__ = Known
    # Its last layer still gives logits: the loss is the same.
    return net


def trained(
    net: lm.Sequential, loss: str | None, y: Any, weights: Any, rule: Any
) -> Any:
    for _ in range(3):
        for rows in (slice(0, 10), slice(10, 23)):
            scores = net.train_on_batch(
                ROWS[rows],
                y[rows],
                sample_weight=None if weights is None else weights[rows],
                loss=loss,
                optimizer=rule,
            )
    return scores


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_is_that_of_its_layers(name: str, dtype: Any) -> None:
    last, loss, y, weights = LOSSES[name]
    net = made(last, dtype)
    other = by_layer(net)
    scores = [trained(n, loss, y, weights, lm.Adam(0.01)) for n in (net, other)]
    assert scores[0] == scores[1]
    np.testing.assert_array_equal(net.parameters, other.parameters)
    np.testing.assert_array_equal(net.gradient, other.gradient)
    np.testing.assert_array_equal(net.predict(ROWS), other.predict(ROWS))
    assert net.evaluate(ROWS, y) == other.evaluate(ROWS, y)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_is_that_of_its_layers(name: str) -> None:
    net = made()
    other = by_layer(net)
    for each in (net, other):
        trained(each, None, CLASSES, None, OPTIMIZERS[name])
    np.testing.assert_array_equal(net.parameters, other.parameters)


@pytest.mark.parametrize("name", [*LOSSES, *OPTIMIZERS])
@pytest.mark.parametrize("known", [True, False])
def test_a_step_is_its_two_phases(name: str, known: bool) -> None:
    last, loss, y, weights = LOSSES.get(name, LOSSES["labels"])
    rule = OPTIMIZERS.get(name, lm.Adam(0.01))
    net = made(last)
    if not known:
        net = by_layer(net)
    phases = copy.deepcopy(net)
    for _ in range(3):
        step = net.train_on_batch(
            ROWS, y, sample_weight=weights, loss=loss, optimizer=rule
        )
        first = phases.gradients(ROWS, y, sample_weight=weights, loss=loss)
        phases.apply_gradients(rule)
        assert step == first
    np.testing.assert_array_equal(net.parameters, phases.parameters)
    assert net.steps == phases.steps == 3


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("parts", [[9, 14], [1, 1, 21], [22, 1], [5, 6, 7, 5]])
def test_parts_of_a_batch_add_up(parts: list[int], known: bool) -> None:
    net = made(dtype="float64")
    if not known:
        net = by_layer(net)
    whole = net.gradients(ROWS, CLASSES)
    expected, loss, start = net.gradient.copy(), 0.0, 0
    for size in parts:
        rows = slice(start, start + size)
        scores = net.gradients(
            ROWS[rows],
            CLASSES[rows],
            weight=size / 23,
            first_row=start,
            accumulate=start > 0,
        )
        loss += scores["loss"] * size / 23
        start += size
    # Sums of 23 numbers of size 1 in another order.
    np.testing.assert_allclose(net.gradient, expected, rtol=0, atol=1e-14)
    assert loss == pytest.approx(whole["loss"], rel=1e-14)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_predictions_are_those_of_the_layers(name: str) -> None:
    net = lm.Sequential(ARCHITECTURES[name][0](), seed=3)
    net.build(5)
    y = X.astype(np.float32)
    for layer in net.layers:
        y = layer.forward(y)
    np.testing.assert_array_equal(net.predict(X), y)


def test_changes_of_a_layer_are_seen() -> None:
    net = lm.Sequential([lm.Dense(4, "relu"), lm.Dropout(0.5), lm.Dense(3)], seed=0)
    net.build(6)
    y = net.predict(ROWS)
    net.layers[0].activation = lm.tanh
    assert (net.predict(ROWS) != y).any()
    net.gradients(ROWS, NUMBERS, loss="mean_squared_error")
    before = net.gradient.copy()
    net.layers[1].rate = 0.9
    net.gradients(ROWS, NUMBERS)
    assert (net.gradient != before).any()


# What the core knows ------------------------------------------------------------------


def example(kind: type[lm.Layer]) -> lm.Layer:
    """One of that class, with something for the settings that it must have."""
    made = {"int": 5, "float": 0.1, "float | Schedule": 0.1, "int | Sequence[int]": 1}
    needed = {
        name: made.get(str(setting.annotation), "gelu")
        for name, setting in inspect.signature(kind).parameters.items()
        if setting.default is setting.empty
    }
    return kind(**needed)


KINDS = [
    kind for name in lm.layers.__all__ if "core" in vars(kind := getattr(lm, name))
][::-1]
KINDS.remove(lm.Layer)
BY_PAIRS = lm.Residual, lm.Add


def test_layers_losses_and_optimizers_are_those_of_the_core() -> None:
    """Else one would be in the lists of tests, or in the package, and not both."""
    built = [example(kind) for kind in KINDS]
    for layer in built:
        layer.build(6)
        if not layer.learnt:
            layer.learn(ROWS)  # type: ignore[attr-defined]
    assert sorted(layer.core()[0] for layer in built) == list(_core.LAYERS)  # type: ignore[index]
    rules = [optimizers.get(name) for name in optimizers.known()]
    assert {rule.core[0] for rule in rules} == set(_core.OPTIMIZERS)  # type: ignore[index]
    goals = [losses.get(name) for name in losses.known().split(", ")]
    assert sorted(goal.core[0] for goal in goals) == sorted(_core.LOSSES)  # type: ignore[index]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in BY_PAIRS])
def test_a_net_with_any_layer_is_that_of_its_layers(kind: type[lm.Layer]) -> None:
    before = [] if issubclass(kind, lm.Standardize) else [lm.Dense(7, "tanh")]
    net = lm.Sequential([*before, example(kind), lm.Dense(3, "softmax")], seed=2)
    net.build(6)
    net._learn(lm.data.inputs("x", ROWS, net.dtype))
    other = by_layer(net)
    for each in (net, other):
        trained(each, None, CLASSES, None, lm.SGD(0.05))
    np.testing.assert_array_equal(net.parameters, other.parameters)
    np.testing.assert_array_equal(net.predict(ROWS), other.predict(ROWS))
    for training in (False, True):
        one, two = (
            each.input_gradient(ROWS, CLASSES, training=training)
            for each in (net, other)
        )
        np.testing.assert_array_equal(one, two)


# Gradients by the inputs, from gradients by the outputs -------------------------------


def smooth() -> list[lm.Layer]:
    """With what prediction leaves out, or scales."""
    return [
        lm.Standardize(),
        lm.Dense(9, "tanh", l2=0.1),
        lm.Dropout(0.5),
        lm.GaussianNoise(0.1),
        lm.Dropout(0.3, "classic"),
        lm.Dense(8),
        lm.Activation("gelu"),
        lm.Dense(3, "softmax"),
    ]


def smooth_net(known: bool) -> lm.Sequential:
    net = lm.Sequential(smooth(), seed=4, dtype="float64")
    net.build(6)
    net.layers[0].learn(ROWS)  # type: ignore[attr-defined]
    return net if known else by_layer(net)


def differences(f: Any, x: np.ndarray) -> np.ndarray:
    """The gradient of a function of rows, by central differences."""
    found, step = np.empty_like(x), 1e-5
    for place in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[place] += step
        below[place] -= step
        found[place] = (f(above) - f(below)) / (2 * step)
    return found


@pytest.mark.parametrize("known", [True, False])
def test_the_gradient_by_the_inputs_is_that_of_the_loss(known: bool) -> None:
    net = smooth_net(known)
    x, y = ROWS[:4].astype(np.float64), CLASSES[:4]
    weights = np.array([1.0, -2.0, 0.0, 0.5])
    slopes = RNG.normal(size=(4, 3))
    net.gradient[...] = 7

    def loss(x: np.ndarray) -> float:
        chosen = net.predict(x)[np.arange(4), y]
        return float(-(weights * np.log(chosen)).mean())

    def outputs(x: np.ndarray) -> float:
        return float((net.predict(x) * slopes).sum())

    # Differences of functions of size 1 at a step of 1e-5: 1e-10 by their curvature,
    # 1e-11 by rounding.
    np.testing.assert_allclose(
        net.input_gradient(x, y, sample_weight=weights),
        differences(loss, x),
        rtol=0,
        atol=2e-9,
    )
    np.testing.assert_allclose(
        net.input_gradient(x, output_gradient=slopes),
        differences(outputs, x),
        rtol=0,
        atol=2e-9,
    )
    assert (net.gradient == 7).all()
    assert net.steps == 0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_backward_fills_the_gradient_of_what_it_is_given(
    known: bool, training: bool
) -> None:
    """By differences in the parameters, with the bits of the step that comes next."""
    net = smooth_net(known)
    x = ROWS[:4].astype(np.float64)
    slopes = RNG.normal(size=(4, 3))
    dx = net.backward(x, slopes, training=training, input_gradient=True)
    found = net.gradient.copy()
    assert dx is not None

    def value() -> float:
        layers = [
            each
            for each in net.layers
            if training or not isinstance(each, lm.GaussianNoise)
        ]
        y = x
        for layer in layers:
            if hasattr(layer, "step"):
                layer.step = net.steps
            y = layer.forward(y, training=training)
        return float((y * slopes).sum())

    expected, step = np.empty_like(found), 1e-5
    for i in range(len(found)):
        kept = net.parameters[i]
        net.parameters[i] = kept + step
        above = value()
        net.parameters[i] = kept - step
        expected[i] = (above - value()) / (2 * step)
        net.parameters[i] = kept
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-9)
    assert net.backward(x, slopes, training=training, accumulate=True) is None
    np.testing.assert_array_equal(net.gradient, 2 * found)


@pytest.mark.parametrize("name", ["squared", "absolute", "huber", "poisson"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backward_of_a_losses_gradient_is_gradients(name: str, dtype: Any) -> None:
    last, loss, y, weights = LOSSES[name]
    net = made(last, dtype)
    for layer in net.layers:
        if isinstance(layer, lm.Dense):
            layer.l1 = layer.l2 = 0.0
    other = by_layer(net)
    net.gradients(ROWS, y, sample_weight=weights, loss=loss)
    expected = net.gradient.copy()
    outputs = ROWS
    for layer in net.layers:
        outputs = layer.forward(outputs, training=True)
    goal = lm.losses.get(str(loss))
    slopes = np.empty_like(outputs)
    own = None if weights is None else weights.astype(dtype)
    goal(outputs, goal.targets(y, 3, net.dtype), own, slopes)
    for each in (net, other):
        dx = each.backward(ROWS, slopes, input_gradient=True)
        np.testing.assert_array_equal(each.gradient, expected)
        step = each.input_gradient(
            ROWS, y, sample_weight=weights, loss=loss, training=True
        )
        np.testing.assert_array_equal(dx, step)


@pytest.mark.parametrize("known", [True, False])
def test_a_negative_weight_turns_the_gradient_of_its_row(known: bool) -> None:
    net = lm.Sequential([lm.Dense(5, "tanh"), lm.Dense(3, "softmax")], seed=0)
    net.build(6)
    if not known:
        net = by_layer(net)
    weights = np.linspace(-1, 1, 23)
    rule = lm.SGD(0.1)
    net.gradients(ROWS, CLASSES, sample_weight=weights)
    found, before = net.gradient.copy(), net.parameters.copy()
    net.gradients(ROWS, CLASSES, sample_weight=-weights)
    np.testing.assert_array_equal(net.gradient, -found)
    net.train_on_batch(ROWS, CLASSES, sample_weight=weights, optimizer=rule)
    np.testing.assert_allclose(net.parameters, before - 0.1 * found, atol=1e-7)
    for call in (net.fit, net.evaluate):
        with pytest.raises(ValueError, match="must be finite and >= 0, got -1"):
            call(ROWS, CLASSES, sample_weight=weights)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"output_gradient": np.ones((22, 3))}, ValueError, r"have shape \(23, 3\)"),
        ({"output_gradient": np.ones((23, 2))}, ValueError, r"got \(23, 2\)"),
        ({"output_gradient": [["a"]]}, TypeError, "output_gradient must hold real"),
        ({}, TypeError, "y or output_gradient must be given"),
        (
            {"y": CLASSES, "output_gradient": np.ones((23, 3))},
            ValueError,
            "y must not come with output_gradient",
        ),
    ],
)
def test_wrong_output_gradients(
    arguments: Any, error: type[Exception], message: str
) -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    net.build(6)
    with pytest.raises(error, match=message):
        net.input_gradient(ROWS, **arguments)


# Frozen layers ------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [[2], [4], [10, 11], [2, 4, 7, 10], "all"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["adamw", "clipped", "nesterov"])
def test_a_frozen_layer_stays_as_it_is(frozen: Any, known: bool, name: str) -> None:
    """Its weights, its part of the state, under penalties, decay and limits of norms;
    the others learn as if nothing were frozen."""
    free, rule = made(dtype="float64"), OPTIMIZERS[name]
    # Above the limit of the norms: an update would scale them.
    free.layers[2].parameters["kernel"][...] *= 3
    net = free if known else by_layer(free)
    whole = copy.deepcopy(net)
    dense = [i for i, layer in enumerate(net.layers) if isinstance(layer, lm.Dense)]
    frozen = dense if frozen == "all" else frozen
    for i in frozen:
        net.layers[i].trainable = False
    before = copy.deepcopy(net)
    whole.gradients(ROWS, CLASSES)
    net.gradients(ROWS, CLASSES)
    for i in dense:
        for key, array in net.layers[i].gradients.items():
            learnt = whole.layers[i].gradients[key]
            expected = np.zeros_like(learnt) if i in frozen else learnt
            np.testing.assert_array_equal(array, expected)
    net.gradients(ROWS, CLASSES, accumulate=True)
    trained(net, None, CLASSES, None, rule)
    start = 0
    for i, layer in enumerate(net.layers):
        for key, array in layer.parameters.items():
            state = net._state[:, start : start + array.size]
            start += array.size
            same = np.array_equal(array, before.layers[i].parameters[key])
            assert same == (i in frozen)
            assert state.any() == (i not in frozen)


@pytest.mark.parametrize("rule", [lm.SGD(0.1, momentum=0.5), lm.AdamW(0.01)])
def test_a_layer_may_thaw(rule: Any) -> None:
    net = made()
    net.layers[4].trainable = False
    other = by_layer(net)
    for trainable in (False, True):
        for each in (net, other):
            each.layers[4].trainable = trainable
        one, two = (trained(n, None, CLASSES, None, rule) for n in (net, other))
        assert one == two
        np.testing.assert_array_equal(net.parameters, other.parameters)
        np.testing.assert_array_equal(net._state, other._state)


def test_a_frozen_layer_is_saved_and_copied_as_one(tmp_path: Any) -> None:
    layer = lm.Dense(3, "softmax", trainable=False)
    net = lm.Sequential([lm.Dense(4), layer], seed=0)
    net.build(6)
    net.save(tmp_path / "net.safetensors")
    for each in (
        lm.load(tmp_path / "net.safetensors"),
        copy.deepcopy(net),
        net.clone(),
        pickle.loads(pickle.dumps(net)),
    ):
        assert [layer.trainable for layer in each.layers] == [True, False]
    with pytest.raises(TypeError, match="trainable must be True or False, got 1"):
        lm.Dense(3, trainable=1)  # type: ignore[arg-type]


# Steps of one's own loop --------------------------------------------------------------


class Own(lm.schedules.Schedule):
    """Asked for each step alone, since it may be anything."""

    def __init__(self, inner: lm.schedules.Schedule) -> None:
        self.inner = inner

    def __call__(self, steps: Any) -> Any:
        return self.inner(steps)


SCHEDULES = [
    lm.schedules.Step(0.1, 100, 0.5),
    lm.schedules.Exponential(0.1, 0.99),
    lm.schedules.Exponential(0.1, 10.0),  # beyond all limits within the steps ahead
    lm.schedules.Cosine(0.1, 280, warm_up=20),
    lm.schedules.OneCycle(0.1, 280),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_rates_asked_for_ahead_are_those_of_each_step(schedule: Any) -> None:
    nets = [lm.Sequential([lm.Dense(3, "softmax")], seed=0) for _ in range(2)]
    steps = 280 if schedule != SCHEDULES[2] else 20
    for net, rate in zip(nets, (schedule, Own(schedule)), strict=True):
        rule = lm.SGD(rate)
        for step in range(steps):
            net.rate_factor = 0.5 if 5 <= step < 10 else 1.0
            net.train_on_batch(ROWS, CLASSES, optimizer=rule if step == 0 else None)
        rule = lm.SGD(rate, momentum=0.5)  # whose state, and steps, begin anew
        net.train_on_batch(ROWS, CLASSES, optimizer=rule)
        net.fit(ROWS, CLASSES, epochs=2, batch_size=10, verbose=0)
        net.train_on_batch(ROWS, CLASSES)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    each, own = (net.history for net in nets)
    assert each is not None
    assert own is not None
    assert each["learning_rate"] == own["learning_rate"]


def test_a_schedule_that_ends_fails_at_its_end_and_not_before() -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0, dtype="float64")
    rule = lm.SGD(lm.schedules.Exponential(1e300, 1e4))
    for _ in range(3):  # 1e300, 1e304, 1e308
        net.train_on_batch(ROWS * 0, CLASSES, optimizer=rule)
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match="learning_rate must give 1 finite rates"),
    ):
        net.train_on_batch(ROWS * 0, CLASSES)
    assert net.steps == 3


ENDS: dict[str, tuple[str | None, str, Any]] = {
    "labels": ("softmax", "categorical_crossentropy", CLASSES),
    "labels of a byte": ("softmax", "categorical_crossentropy", CLASSES.astype("u1")),
    "labels of int8": ("softmax", "categorical_crossentropy", CLASSES.astype("i1")),
    "labels of int32": ("softmax", "categorical_crossentropy", CLASSES.astype("i4")),
    "one-hot": ("softmax", "categorical_crossentropy", np.eye(3)[CLASSES]),
    "shares": (
        "softmax",
        "categorical_crossentropy",
        np.full((23, 3), np.float32(1 / 3)),
    ),
    "indicators": ("softmax", "categorical_crossentropy", np.eye(3)[CLASSES] > 0),
    "binary": ("sigmoid", "binary_crossentropy", BITS),
    "comparisons": ("sigmoid", "binary_crossentropy", BITS > 0),
    "squared": (None, "mean_squared_error", NUMBERS),
    "float64": (None, "huber", NUMBERS.astype(np.float64)),
    "poisson": (None, "poisson", BITS * 3),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [np.float32, np.float64])
def test_a_step_like_the_last_is_looked_at_by_the_core_alone(
    name: str, dtype: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same bits: Python's checks take several times as long as a step."""
    last, loss, y = ENDS[name]
    rule = lm.Adam(lm.schedules.Cosine(0.01, 100))
    net = lm.Sequential([lm.Dense(4, "tanh"), lm.Dense(3, last)], seed=0, dtype=dtype)
    net.train_on_batch(ROWS, y, loss=loss, optimizer=rule)
    other = copy.deepcopy(net)
    ahead = lm.Sequential([lm.Dense(4, "tanh"), lm.Dense(3, last)], seed=0, dtype=dtype)
    x = ROWS.astype(rows)
    weights = np.linspace(-1, 1, 23)
    net.train_on_batch(x, y)
    for own in (None, None, weights):
        other.gradients(x, y, sample_weight=own)
        other.apply_gradients()
    asked: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr("lamina.data.rows", None)
        patched.setattr(lm.schedules.Cosine, "__call__", lambda *_: asked.append(1))
        net.train_on_batch(x, y)
        net.train_on_batch(x, y, sample_weight=weights)
    assert not asked
    np.testing.assert_array_equal(net.parameters, other.parameters)
    ahead.train_on_batch(x, y, loss=loss, optimizer=rule)
    ahead.train_on_batch(x, y, loss=loss, optimizer=rule)
    with monkeypatch.context() as patched:
        patched.setattr("lamina.data.rows", None)
        ahead.train_on_batch(x, y, loss=loss, optimizer=rule)
        ahead.train_on_batch(x, y, loss=loss, optimizer=rule, sample_weight=weights)
    np.testing.assert_array_equal(ahead.parameters, net.parameters)


def test_one_output_may_have_targets_without_columns() -> None:
    net = lm.Sequential([lm.Dense(1)], seed=0)
    other = copy.deepcopy(net)
    for each, y in ((net, NUMBERS[:, 0].copy()), (other, NUMBERS[:, :1].copy())):
        for _ in range(3):
            each.train_on_batch(ROWS, y, loss="mean_squared_error")
    np.testing.assert_array_equal(net.parameters, other.parameters)


def changed(array: Any, value: float) -> Any:
    made = np.array(array, np.float64)
    made[3, 1] = value
    return made


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        *((name, changed(ROWS, np.nan), None) for name in ENDS),
        ("squared", changed(ROWS, np.inf), None),
        ("squared", changed(ROWS, 1e300), None),
        ("squared", ROWS[:, :5].copy(), None),
        ("squared", ROWS[:0], None),
        ("labels", None, np.where(CLASSES == 2, 3, CLASSES)),
        ("labels", None, CLASSES - 1),
        ("labels", None, CLASSES.astype(float)),
        ("labels", None, CLASSES[:22]),
        ("one-hot", None, changed(np.eye(3)[CLASSES], 1.01)),
        ("one-hot", None, changed(np.eye(3)[CLASSES], -1)),
        ("one-hot", None, changed(np.eye(3)[CLASSES], np.nan)),
        ("one-hot", None, np.eye(2)[BITS[:, 0]]),
        ("binary", None, changed(BITS, 1.5)),
        ("binary", None, changed(BITS, -0.5)),
        ("binary", None, changed(BITS, np.nan)),
        ("squared", None, changed(NUMBERS, np.nan)),
        ("squared", None, changed(NUMBERS, -np.inf)),
        ("squared", None, changed(NUMBERS, 1e300)),
        ("squared", None, NUMBERS[:, 0].copy()),
        ("squared", None, np.float32(1)),
        ("poisson", None, changed(BITS, -1)),
        ("poisson", None, changed(BITS, np.inf)),
    ],
)
def test_a_later_step_refuses_what_the_first_does(name: str, x: Any, y: Any) -> None:
    last, loss, right = ENDS[name]
    net = lm.Sequential([lm.Dense(4, "tanh"), lm.Dense(3, last)], seed=0)
    net.build(6)
    arguments = ROWS if x is None else x, right if y is None else y
    with pytest.raises((TypeError, ValueError)) as first:
        net.train_on_batch(*arguments, loss=loss)
    for _ in range(3):
        net.train_on_batch(ROWS, right, loss=loss)
    before = net.parameters.copy()
    with pytest.raises(first.type) as later:
        net.train_on_batch(*arguments, loss=loss)
    assert str(later.value) == str(first.value)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    "weights", [np.full(23, np.nan), np.full(23, 1e300), np.ones(22), np.ones((23, 1))]
)
def test_a_later_step_refuses_wrong_weights(weights: Any) -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    for _ in range(3):
        net.train_on_batch(ROWS, CLASSES)
    with pytest.raises(ValueError, match="sample_weight must"):
        net.train_on_batch(ROWS, CLASSES, sample_weight=weights)
    assert net.steps == 3


def test_a_loss_of_ones_own_checks_every_batch() -> None:
    class Positive(type(losses.mean_squared_error)):  # type: ignore[misc]
        def targets(self, y: Any, *arguments: Any) -> Any:
            if (np.asarray(y) < 0).any():
                raise ValueError("below 0")
            return super().targets(y, *arguments)

    net = lm.Sequential([lm.Dense(3)], seed=0)
    for _ in range(3):
        net.train_on_batch(ROWS, np.abs(NUMBERS), loss=Positive())
    with pytest.raises(ValueError, match="below 0"):
        net.train_on_batch(ROWS, NUMBERS)


def test_a_loss_or_optimizer_that_is_set_is_that_of_the_next_step() -> None:
    net = lm.Sequential([lm.Dense(4), lm.Dense(3)], seed=0)
    for _ in range(3):
        net.train_on_batch(ROWS, NUMBERS, loss="huber", optimizer=lm.SGD(0.1))
    other = copy.deepcopy(net)
    for _ in range(3):
        net.train_on_batch(ROWS, NUMBERS)
    net.loss = lm.losses.categorical_crossentropy
    with pytest.raises(ValueError, match="must follow 'softmax'"):
        net.train_on_batch(ROWS, CLASSES)
    net.layers[1].activation = lm.softmax
    net.train_on_batch(ROWS, CLASSES)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        net.train_on_batch(ROWS, CLASSES + 1)
    for _ in range(3):
        other.train_on_batch(ROWS, NUMBERS, loss="mean_squared_error")
    assert other.loss is lm.losses.mean_squared_error
    before = other.parameters.copy()
    other.train_on_batch(ROWS, NUMBERS, optimizer=lm.SGD(1e-30))
    np.testing.assert_array_equal(other.parameters, before)


# Samples ------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_samples(known: bool) -> None:
    net = made()
    if not known:
        net = by_layer(net)
    mean, deviation = net.predict(ROWS, samples=50, seed=9)
    single = []
    for layer in net.layers:
        layer.seed = 9
    for step in range(50):
        y = ROWS
        for layer in net.layers:
            if isinstance(layer, lm.Dropout | lm.GaussianNoise):
                layer.step = step
            y = layer.forward(y, training=True)
        single.append(y.astype(np.float64))
    # Both sum in float64 and round once to float32.
    np.testing.assert_allclose(mean, np.mean(single, axis=0), rtol=1e-6, atol=0)
    np.testing.assert_allclose(deviation, np.std(single, axis=0), rtol=1e-5, atol=1e-8)
    again, _ = net.predict(ROWS[:7], samples=50, seed=9)
    np.testing.assert_array_equal(again, mean[:7])


def test_samples_of_a_net_without_dropout() -> None:
    net = lm.Sequential([lm.Dense(3)], seed=0)
    net.build(6)
    mean, deviation = net.predict(ROWS, samples=3)
    np.testing.assert_array_equal(mean, net.predict(ROWS))
    assert not deviation.any()


# Threads, signals, memory -------------------------------------------------------------


def moons(seed: int) -> lm.Sequential:
    net = lm.Sequential(
        [lm.Dense(32, "relu"), lm.Dropout(0.5), lm.Dense(3, "softmax")], seed=seed
    )
    net.fit(ROWS, CLASSES, epochs=30, batch_size=5, verbose=0)
    return net


def test_nets_in_eight_threads() -> None:
    alone = [moons(seed).parameters for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = [net.parameters for net in pool.map(moons, range(8))]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_net_predicts_in_many_threads() -> None:
    net = moons(0)
    x = RNG.normal(size=(2000, 6)).astype(np.float32)
    expected = net.predict(x)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(net.predict, [x] * 40):
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_change_no_bit(threads: int) -> None:
    x = np.random.default_rng(0).normal(size=(512, 200)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 10, 512)

    def train() -> np.ndarray:
        net = lm.Sequential(
            [lm.Dense(300, "relu"), lm.Dropout(0.5), lm.Dense(10, "softmax")], seed=1
        )
        net.fit(x, y, batch_size=256, epochs=2, verbose=0)
        return np.concatenate([net.parameters, net.predict(x).ravel()])

    with lm.threads(1):
        alone = train()
    with lm.threads(threads):
        np.testing.assert_array_equal(train(), alone)


def test_an_interrupt_stops_after_a_step() -> None:
    """All that the steps taken have done is kept, and nothing else."""
    x = np.random.default_rng(0).normal(size=(3000, 400)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 10, 3000)

    def net() -> lm.Sequential:
        net = lm.Sequential([lm.Dense(400, "relu"), lm.Dense(10, "softmax")], seed=1)
        net.train_on_batch(x[:32], y[:32])
        return net

    stopped = net()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    arguments: Any = {"shuffle": False, "verbose": 0}
    history = stopped.fit(x, y, epochs=10**6, **arguments)
    timer.join()
    assert history.stopped == "interrupt"
    other, rest = net(), stopped.steps - 1
    if rest >= 94:  # steps of an epoch
        other.fit(x, y, epochs=rest // 94, **arguments)
    for start in range(0, 32 * (rest % 94), 32):
        other.train_on_batch(x[start : start + 32], y[start : start + 32])
    assert other.steps == stopped.steps
    np.testing.assert_array_equal(stopped.parameters, other.parameters)


def test_no_step_but_the_first_allocates() -> None:
    class Statistics(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("only the GNU C library tells what it holds")
    library.mallinfo2.restype = Statistics

    def held() -> int:
        """Bytes that malloc has given out, mapped ones included."""
        info = library.mallinfo2()
        return int(info.h + info.e)  # uordblks, hblkhd

    net = made()
    for _ in range(3):
        net.train_on_batch(ROWS, CLASSES)
    rows = np.arange(23).repeat(100)
    net._steps(net._goal(None), ROWS, CLASSES, None, rows[:46], 23)
    before = held()
    net._steps(net._goal(None), ROWS, CLASSES, None, rows, 23)
    # What Python itself keeps of a call: a few objects.
    assert held() - before < 2000


# Wrong use ----------------------------------------------------------------------------


def test_wrong_labels_leave_everything() -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    net.build(6)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"labels from 0 to 2 .*, got 3"):
        net.train_on_batch(ROWS, np.full(23, 3))
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\), got 7"):
        net.loss, net.optimizer = lm.losses.categorical_crossentropy, lm.SGD(0.1)
        net._steps(net._goal(None), ROWS, np.full(23, 7), None, None, 23)
    np.testing.assert_array_equal(net.parameters, before)


def test_a_norm_that_is_not_finite() -> None:
    net = lm.Sequential([lm.Dense(3)], seed=0)
    net.build(6)
    before = net.parameters.copy()
    with pytest.raises(FloatingPointError, match="norm of the gradient is not finite"):
        net.train_on_batch(
            ROWS * 1e30,
            NUMBERS,
            loss="mean_squared_error",
            optimizer=lm.SGD(0.1, global_clip_norm=1.0),
        )
    np.testing.assert_array_equal(net.parameters, before)
    assert net.steps == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(22), r"sample_weight must have shape \(23,\)"),
        (np.full(23, np.nan), "sample_weight must be finite, got nan in row 0"),
        (np.full(23, -np.inf), "sample_weight must be finite, got -inf in row 0"),
    ],
)
def test_wrong_weights(weights: Any, message: str) -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    with pytest.raises(ValueError, match=message):
        net.gradients(ROWS, CLASSES, sample_weight=weights)
    assert net.features == 0


@pytest.mark.parametrize("samples", [0, -1, 1.5])
def test_wrong_samples(samples: Any) -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    net.build(6)
    with pytest.raises((TypeError, ValueError), match="samples must be an integer"):
        net.predict(ROWS, samples=samples)


@pytest.mark.parametrize("option", ["clip_norm", "global_clip_norm"])
def test_either_norm_must_be_finite(option: str) -> None:
    net = lm.Sequential([lm.Dense(3)], seed=0)
    limit: Any = {option: 1.0}
    rule = lm.SGD(0.1, **limit)
    net.train_on_batch(ROWS, NUMBERS, loss="mean_squared_error", optimizer=rule)
    before = net.parameters.copy()
    with pytest.raises(FloatingPointError):
        net.train_on_batch(ROWS * 1e30, NUMBERS)
    np.testing.assert_array_equal(net.parameters, before)


def test_another_optimizer_begins_with_its_own_rate() -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    net.train_on_batch(ROWS, CLASSES, optimizer=lm.SGD(0.1))
    net.rate_factor = 0.0
    before = net.parameters.copy()
    net.train_on_batch(ROWS, CLASSES)
    np.testing.assert_array_equal(net.parameters, before)
    net.train_on_batch(ROWS, CLASSES, optimizer=lm.SGD(0.2))
    assert net.rate_factor == 1
    assert (net.parameters != before).any()


def test_states_of_other_meaning_begin_anew() -> None:
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    for _ in range(3):
        net.train_on_batch(ROWS, CLASSES, optimizer=lm.RMSprop(momentum=0.9))
    before = net.parameters.copy()
    net.train_on_batch(ROWS, CLASSES, optimizer=lm.RMSprop(centered=True))
    assert np.abs(net.parameters - before).max() < 0.1


def test_repr_of_a_net_whose_layers_are_refused() -> None:
    """As debuggers show it."""
    net = lm.Sequential.__new__(lm.Sequential)
    with pytest.raises(TypeError, match="layers must be a list of layers, got 5"):
        net.__init__(5)  # type: ignore[misc]
    assert repr(net).startswith("Sequential([], ")
    with pytest.raises(ValueError, match=r"layers\[1\] must not be in a net already"):
        net.__init__([first := lm.Dense(2), first])  # type: ignore[misc]
    assert repr(net).startswith("Sequential([Dense(2, 'identity'), Dense(2, ")


def test_a_signal_that_trains_the_same_net() -> None:
    """The step that it came in goes on with its own optimizer and state."""
    x = np.random.default_rng(0).normal(size=(3000, 300)).astype(np.float32)
    y = np.zeros((3000, 300), np.float32)
    net = lm.Sequential([lm.Dense(300)], seed=0)
    net.train_on_batch(x, y, loss="mean_squared_error", optimizer=lm.SGD(1e-3))
    came = []

    def handler(number: int, frame: Any) -> None:
        came.append(net.steps)
        net.train_on_batch(x[:8], y[:8], optimizer=lm.Adam(1e-3))

    former = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGUSR1])
    timer.start()
    try:
        while not came:
            net._steps(net._goal(None), x, y, None, None, 32)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, former)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("call", ["_runner", "_rates", "_shares"])
@pytest.mark.parametrize("phases", [False, True])
def test_a_signal_before_the_core_runs(
    call: str, phases: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler makes a step of the same net: as if it had come before this one."""
    rule = lm.Adam(lm.schedules.Exponential(0.1, 0.5))
    x, y = np.ones((8, 4), np.float32), np.zeros((8, 3), np.float32)

    def step(net: lm.Sequential) -> None:
        if phases:
            net.apply_gradients()
        else:
            net._steps(net._goal(None), x, y, None, None, 8)

    plain, net = (lm.Sequential([lm.Dense(3)], seed=0) for _ in range(2))
    for each in plain, net:
        each.train_on_batch(x, y, loss="mean_squared_error", optimizer=rule)
    step(plain)
    step(plain)
    known = getattr(net, call)

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.undo()
        step(net)
        return known(*arguments)

    monkeypatch.setattr(net, call, interrupted)
    step(net)
    assert (net.steps, net._updates) == (plain.steps, plain._updates) == (3, 3)
    np.testing.assert_array_equal(net.parameters, plain.parameters)


@pytest.mark.parametrize("call", ["_runner", "_rates", "_shares"])
def test_a_signal_whose_handler_brings_an_optimizer(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own state, and its own count of updates."""
    rule = lm.Adam(lm.schedules.Exponential(0.1, 0.5))
    x, y = np.ones((8, 4), np.float32), np.zeros((8, 3), np.float32)
    plain, net = (lm.Sequential([lm.Dense(3)], seed=0) for _ in range(2))
    for each in plain, net:
        each.train_on_batch(x, y, loss="mean_squared_error", optimizer=rule)
    before = plain.parameters.copy()
    plain.train_on_batch(x, y)
    moved = plain.parameters - before  # by the second step of that rule
    known = getattr(net, call)

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.undo()
        net.gradients(x, y, weight=0)  # of which SGD moves nothing
        net.apply_gradients(lm.SGD(0.1))
        return known(*arguments)

    monkeypatch.setattr(net, call, interrupted)
    net._steps(net._goal(None), x, y, None, None, 8)
    assert (net.steps, net._updates, net.optimizer) == (3, 1, lm.SGD(0.1))
    np.testing.assert_array_equal(net.parameters - before, moved)


def test_own_penalty() -> None:
    class Pull(lm.Dense):
        """Towards 1."""

        def penalty(self, weight: float = 0.0) -> float:
            away = self.parameters["kernel"] - 1
            self.gradients["kernel"][...] += weight * away
            return float((away**2).sum() / 2)

    net = lm.Sequential([Pull(3, "softmax")], seed=0, dtype="float64")
    plain = lm.Sequential([lm.Dense(3, "softmax")], seed=0, dtype="float64")
    scores = [n.gradients(ROWS, CLASSES, weight=0.5) for n in (net, plain)]
    away = net.layers[0].parameters["kernel"] - 1
    difference = net.gradient - plain.gradient
    np.testing.assert_allclose(difference[:18], 0.5 * away.ravel(), atol=1e-15)
    assert scores[0]["loss"] - scores[1]["loss"] == pytest.approx((away**2).sum() / 2)


# Precision ----------------------------------------------------------------------------


def test_bf16_predictions() -> None:
    net = lm.Sequential([lm.Dense(64, "relu"), lm.Dense(40)], seed=0)
    net.build(6)
    exact = net.predict(ROWS)
    auto = net.predict(ROWS, precision="auto")
    if lm.show_config()["bf16"]:
        np.testing.assert_array_equal(net.predict(ROWS, precision="bf16"), auto)
        assert (auto != exact).any()
        # Two layers, each with rms errors of 0.0021 of its output.
        assert np.abs(auto - exact).max() < 0.02 * np.abs(exact).max()
        h = lm.dense(ROWS, lm.pack(net.layers[0].parameters["kernel"], "bf16"), None)
        assert np.abs(h - ROWS @ net.layers[0].parameters["kernel"]).max() < 0.1
    else:
        np.testing.assert_array_equal(auto, exact)
        with pytest.raises(ValueError, match="avx512_bf16"):
            net.predict(ROWS, precision="bf16")


def test_precision_where_it_cannot_be_chosen() -> None:
    double = lm.Sequential([lm.Dense(3)], seed=0, dtype="float64")
    double.build(6)
    own = by_layer(made())
    for net in (double, own):
        np.testing.assert_array_equal(
            net.predict(ROWS, precision="auto"), net.predict(ROWS)
        )
        with pytest.raises(ValueError, match="'bf16' needs a net of float32 without"):
            net.predict(ROWS, precision="bf16")
    wrong: Any = "f32"
    with pytest.raises(
        ValueError, match="precision must be 'bf16', 'float32' or 'auto'"
    ):
        own.predict(ROWS, precision=wrong)


def test_arguments_that_exclude_each_other() -> None:
    net = made()
    with pytest.raises(ValueError, match="samples must come without out"):
        net.predict(ROWS, samples=3, batch_size=4)
    with pytest.raises(ValueError, match="seed must come with samples"):
        net.predict(ROWS, seed=3)


def test_a_net_that_has_to_standardize_learns_it_first() -> None:
    net = lm.Sequential(layers(), seed=2)
    for method in (net.gradients, net.train_on_batch):
        with pytest.raises(ValueError, match="Standardize must have learnt"):
            method(ROWS, CLASSES)
    assert net.features == 0


def test_predictions_into_the_parameters() -> None:
    net = lm.Sequential([lm.Dense(4), lm.Dense(3)], seed=0)
    net.build(2)
    x = np.ones((5, 2), np.float32)
    expected = net.predict(x)
    into = net.parameters[:15].reshape(5, 3)
    assert net.predict(x, out=into) is into
    np.testing.assert_array_equal(into, expected)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lm.Dense(1, lm.celu.using(alpha=1e-50)),
            "alpha of celu must be a number other",
        ),
        (lm.Dense(1, lm.elu.using(alpha=1e39)), "alpha of elu must be a number in"),
        (
            lm.Activation(lm.softplus.using(beta=1e-50)),
            "beta of softplus must be a pos",
        ),
        (lm.GaussianNoise(1e39), "stddev must be finite in float32"),
        (lm.Dense(1, l1=1e39), "l1 must be finite in float32"),
        (lm.Dense(1, l2=1e39), "l2 must be finite in float32"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_numbers_of_layers_that_float32_cannot_hold(
    layer: lm.Layer, message: str, known: bool
) -> None:
    """By the core as layer by layer; a net of float64 takes them."""

    class Own(lm.Layer):
        def forward(self, x: Any, training: bool = False) -> Any:
            return x

        def backward(self, dy: Any, input_gradient: bool = True) -> Any:
            return dy

    x = np.full((4, 1), 0.5)
    for dtype in ("float64", "float32"):
        layers = [lm.Dense(1), copy.deepcopy(layer), *([] if known else [Own()])]
        net = lm.Sequential(layers, seed=0, dtype=dtype)
        options: Any = {"loss": "mean_squared_error", "optimizer": lm.SGD(1e-60)}
        if dtype == "float64":
            net.train_on_batch(x, x, **options)
            assert np.isfinite(net.predict(x)).all()
            continue
        with pytest.raises(ValueError, match=message):
            net.train_on_batch(x, x, **options)
        with pytest.raises(ValueError, match=message):
            net.fit(x, x, verbose=0, **options)
