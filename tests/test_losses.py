"""Losses: values and gradients against the oracle; which targets they take."""

import pickle
from typing import Any

import numpy as np
import pytest

import lamina as lm
from lamina import _core, losses, reference

F64 = np.dtype(np.float64)
INF, NAN = np.inf, np.nan
SHAPES = [(9, 2), (9, 4), (33, 10), (40, 32), (5, 33), (3, 100)]  # short rows and long


def targets_of(kind: str, rows: int, cols: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    made: dict[str, Any] = {
        "labels": lambda: rng.integers(0, cols, rows),
        "one-hot": lambda: np.eye(cols)[rng.integers(0, cols, rows)],
        "probabilities": lambda: rng.dirichlet(np.ones(cols), rows),
        "bits": lambda: rng.integers(0, 2, (rows, cols)),
        "numbers": lambda: rng.normal(size=(rows, cols)),
        "counts": lambda: rng.poisson(1.0, (rows, cols)),
    }
    return np.asarray(made[kind]())


CATEGORICAL, BINARY = losses.categorical_crossentropy, losses.binary_crossentropy
# Each loss with options, and what it takes as targets.
KINDS: list[tuple[Any, dict[str, float], str]] = [
    (CATEGORICAL, {}, "labels"),
    (CATEGORICAL, {}, "one-hot"),
    (CATEGORICAL, {}, "probabilities"),
    (CATEGORICAL, {"label_smoothing": 0.1}, "labels"),
    (CATEGORICAL, {"label_smoothing": 0.1}, "probabilities"),
    (CATEGORICAL, {"label_smoothing": 1.0}, "labels"),
    (BINARY, {}, "bits"),
    (BINARY, {"pos_weight": 3.0}, "bits"),
    (BINARY, {"pos_weight": 0.3, "label_smoothing": 0.2}, "probabilities"),
    (BINARY, {"label_smoothing": 1.0}, "bits"),
    (losses.mean_squared_error, {}, "numbers"),
    (losses.mean_absolute_error, {}, "numbers"),
    (losses.huber, {}, "numbers"),
    (losses.huber, {"delta": 3.5}, "numbers"),
    (losses.pinball, {}, "numbers"),
    (losses.pinball, {"quantile": 0.9}, "numbers"),
    (losses.poisson, {}, "counts"),
]
IDS = [f"{loss.using(**options)!r} {kind}" for loss, options, kind in KINDS]


@pytest.mark.parametrize(("loss", "options", "kind"), KINDS, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_gradient(
    loss: Any, options: dict[str, float], kind: str, dtype: Any, target: str
) -> None:
    chosen, oracle = loss.using(**options), getattr(reference, loss.name)
    for shape in SHAPES:
        rng = np.random.default_rng(0)
        outputs = (5 * rng.normal(size=shape)).astype(dtype)
        targets = chosen.targets(targets_of(kind, *shape), shape[1], np.dtype(dtype))
        weights = rng.integers(0, 4, shape[0]).astype(dtype)
        for given in (None, weights):
            gradient = np.full_like(outputs, np.nan)
            total, _ = chosen(outputs, targets, given, gradient)
            expected, slope = oracle(outputs, targets, weights=given, **options)
            # A sum rounds once for each of its terms; logits reach 15, a weight 3.
            tolerance = (20 + shape[1]) * float(np.finfo(dtype).eps)
            size = max(1.0, float(np.abs(slope).max()))  # rates reach exp(15)
            assert total / shape[0] == pytest.approx(expected, rel=tolerance)
            np.testing.assert_allclose(
                gradient, slope, tolerance, tolerance / 4 * min(size, 3)
            )
            assert chosen(outputs, targets, given)[0] == total
            # The gradient may take the place of the outputs; `scale` is its factor.
            place = outputs.copy()
            assert chosen(place, targets, given, place)[0] == total
            np.testing.assert_array_equal(place, gradient)
            chosen(outputs, targets, given, place, 4 / shape[0])
            np.testing.assert_array_equal(place, 4 * gradient)


@pytest.mark.parametrize(("loss", "options", "kind"), KINDS, ids=IDS)
def test_oracle_has_the_gradient_it_says(
    loss: Any, options: dict[str, float], kind: str
) -> None:
    rng = np.random.default_rng(2)
    z, weights = rng.normal(size=(4, 3)) * 2, np.array([0.0, 1.0, 2.5, 1.0])
    options = {**options, "weights": weights}  # type: ignore[dict-item]
    oracle, targets = getattr(reference, loss.name), targets_of(kind, 4, 3)
    slope, step = oracle(z, targets, **options)[1], 1e-6
    for at in np.ndindex(z.shape):
        above, below = z.copy(), z.copy()
        above[at] += step
        below[at] -= step
        rise = (
            oracle(above, targets, **options)[0] - oracle(below, targets, **options)[0]
        )
        # Roundings of about 1e-16 over the step; its square times a third derivative.
        assert rise / (2 * step) == pytest.approx(slope[at], rel=1e-7, abs=1e-8)


Z = np.array([[1.5, -2.0, 0.25], [0.5, 3.0, -1.0]])
BITS = np.array([[1.0, 0, 1], [0, 1, 1]])
NUMBERS = np.array([[1.0, 1, 0], [0, 2.5, 3]])
# By torch 2.13 in float64: cross_entropy, binary_cross_entropy_with_logits, huber_loss,
# l1_loss and poisson_nll_loss, and what autograd makes of them.
RECORDED: dict[str, tuple[Any, Any, Any, float, Any]] = {
    "labels, smoothed": (
        CATEGORICAL.using(label_smoothing=0.1),
        np.array([0, 2]),
        None,
        2.1729022958310087,
        [
            [-0.08693007361817556, -0.0051996151668964544, 0.09212968878507195],
            [0.020631111899440547, 0.43771329546258997, -0.4583444073620305],
        ],
    ),
    "probabilities, smoothed": (
        CATEGORICAL.using(label_smoothing=0.1),
        np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]]),
        None,
        1.6441522958310093,
        [
            [0.048069926381824446, -0.09519961516689646, 0.04712968878507194],
            [0.020631111899440547, 0.21271329546258996, -0.2333444073620305],
        ],
    ),
    "pos_weight": (
        BINARY.using(pos_weight=3),
        BITS,
        None,
        1.25310170101396,
        [
            [-0.09121276190317817, 0.019867153670352924, -0.218911749557101],
            [0.10374322186697577, -0.0237129365887833, -0.36552928931500245],
        ],
    ),
    "pos_weight, weights": (
        BINARY.using(pos_weight=3),
        BITS,
        np.array([2, 0.5]),
        1.2412973766639201,
        [
            [-0.18242552380635635, 0.03973430734070585, -0.437823499114202],
            [0.05187161093348788, -0.01185646829439165, -0.18276464465750122],
        ],
    ),
    "huber": (
        losses.huber.using(delta=0.75),
        NUMBERS,
        None,
        0.8489583333333334,
        [1 / 12, -1 / 8, 1 / 24, 1 / 12, 1 / 12, -1 / 8],
    ),
    "absolute": (
        losses.mean_absolute_error,
        NUMBERS,
        None,
        1.4583333333333333,
        [1 / 6, -1 / 6, 1 / 6, 1 / 6, 1 / 6, -1 / 6],
    ),
    "poisson": (
        losses.poisson,
        NUMBERS,
        None,
        4.000531234220277,
        [
            [0.5802815117230108, -0.14411078612723122, 0.21400423611462355],
            [0.27478687845002137, 2.930922820531278, -0.43868675980475963],
        ],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_as_torch(name: str, target: str) -> None:
    loss, targets, weights, expected, slope = RECORDED[name]
    gradient = np.empty_like(Z)
    total, _ = loss(Z, targets, weights, gradient)
    # Ten roundings or so on either side.
    assert total / 2 == pytest.approx(expected, rel=3e-15)
    np.testing.assert_allclose(gradient.ravel(), np.ravel(slope), 3e-15, 3e-16)


def row(cols: int, *first: float, fill: float) -> np.ndarray:
    """One row of outputs that begins like that."""
    filled = np.full((1, cols), float(fill))
    filled[0, : len(first)] = first
    return filled


@pytest.mark.parametrize("cols", [3, 40])
def test_infinite_logits_of_what_is_certain_cost_nothing(
    cols: int, target: str
) -> None:
    certain = row(cols, 0, 1, fill=0)
    logits = row(cols, -INF, INF, fill=-INF)
    assert losses.binary_crossentropy(logits, certain) == (0, 1)
    logits[:, 1] = 0
    assert losses.categorical_crossentropy(logits, certain) == (0, 1)
    # A smoothed target wants something of every class.
    smoothed = CATEGORICAL.using(label_smoothing=0.1)
    assert smoothed(logits, np.array([1]))[0] == INF
    assert CATEGORICAL.using(label_smoothing=1.0)(logits, np.array([0]))[0] == INF
    assert BINARY.using(label_smoothing=0.1)(logits, certain)[0] == INF


@pytest.mark.parametrize("cols", [4, 64])  # by which the mean divides exactly
def test_far_outputs(cols: int, target: str) -> None:
    def both(loss: Any, o: Any, t: Any) -> Any:
        outputs, gradient = row(cols, o, fill=0), np.empty((1, cols))
        total, _ = loss(outputs, row(cols, t, fill=0), None, gradient)
        if loss is losses.poisson:
            total -= (cols - 1) / cols  # exp(0) of the others
        return total * cols, gradient[0, 0] * cols

    huge = 1e300
    assert both(losses.mean_absolute_error, huge, 0) == (huge, 1)
    assert both(losses.mean_absolute_error, -INF, 0) == (INF, -1)
    assert both(losses.mean_absolute_error, 2, 2) == (0, 0)
    assert both(losses.huber, -huge, 0) == (huge, -1)
    assert both(losses.huber, INF, 0) == (INF, 1)
    assert both(losses.poisson, -INF, 0) == (pytest.approx(0, abs=1e-14), 0)
    assert both(losses.poisson, -INF, 2) == (INF, -2)
    assert both(losses.poisson, INF, 2) == (INF, INF)
    assert both(BINARY.using(pos_weight=3), -800, 1)[1] == -3
    for loss in (BINARY, losses.mean_absolute_error, losses.huber, losses.poisson):
        assert np.isnan(both(loss, NAN, 1)).all()


@pytest.mark.parametrize("cols", [3, 40])
@pytest.mark.parametrize(("loss", "options", "kind"), KINDS, ids=IDS)
def test_rows_of_weight_0_count_nothing(
    loss: Any, options: dict[str, float], kind: str, cols: int, target: str
) -> None:
    chosen = loss.using(**options)
    rows = 20
    outputs = np.random.default_rng(3).normal(size=(rows, cols))
    targets = chosen.targets(targets_of(kind, rows, cols), cols, F64)
    weights = np.ones(rows)
    weights[[2, 3]] = 0
    gradient = np.empty_like(outputs)
    expected = chosen(outputs, targets, weights, gradient)[0]
    outputs[2], outputs[3, 1] = NAN, INF
    spoilt = np.empty_like(outputs)
    assert chosen(outputs, targets, weights, spoilt)[0] == expected
    np.testing.assert_array_equal(spoilt, gradient)
    assert not spoilt[[2, 3]].any()


@pytest.mark.parametrize(("loss", "options", "kind"), KINDS, ids=IDS)
def test_weights_of_1_change_no_bit(
    loss: Any, options: dict[str, float], kind: str
) -> None:
    chosen = loss.using(**options)
    for rows, cols in SHAPES:
        z = np.random.default_rng(4).normal(size=(rows, cols)).astype(np.float32)
        t = chosen.targets(targets_of(kind, rows, cols), cols, z.dtype)
        plain, weighted = np.empty_like(z), np.empty_like(z)
        ones = np.ones(rows, np.float32)
        assert chosen(z, t, None, plain) == chosen(z, t, ones, weighted)
        np.testing.assert_array_equal(plain, weighted)


@pytest.mark.parametrize(("loss", "options", "kind"), KINDS, ids=IDS)
def test_any_number_of_threads_gives_the_same_bits(
    loss: Any, options: dict[str, float], kind: str
) -> None:
    chosen = loss.using(**options)
    for rows, cols in [(20_011, 7), (1_501, 40)]:
        rng = np.random.default_rng(5)
        z = rng.normal(size=(rows, cols)).astype(np.float32)
        t = chosen.targets(targets_of(kind, rows, cols), cols, z.dtype)
        weights = rng.integers(0, 3, rows).astype(np.float32)
        found = []
        for count in (1, 3):
            gradient = np.empty_like(z)
            with lm.threads(count):
                found.append((chosen(z, t, weights, gradient), gradient))
        assert found[0][0] == found[1][0]
        np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("cols", [1, 2, 10, 32, 33, 150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_correct_is_counted_as_numpy_does(cols: int, dtype: Any, target: str) -> None:
    """With ties and infinities, for labels and probabilities; NaN is never right."""
    rng = np.random.default_rng(6)
    z = rng.integers(-3, 4, (203, cols)).astype(dtype)
    rare = rng.random(z.shape) < 0.3 / cols
    z[rare] = rng.choice([NAN, INF, -INF], rare.sum())
    z[5] = -INF
    z[6:9] = 0
    t = rng.integers(0, 3, z.shape).astype(dtype)
    labels = rng.integers(0, cols, len(z))
    labels[::2] = z.argmax(axis=1)[::2]
    t[::4] = np.nan_to_num(z[::4], posinf=9, neginf=-9)
    told = ~np.isnan(lm.softmax(z)).any(axis=1)  # the others have no output
    for gradient in (None, np.empty_like(z)):
        found = CATEGORICAL(z, labels, None, gradient)[1]
        assert found == np.count_nonzero(told & (z.argmax(axis=1) == labels))
        found = CATEGORICAL(z, t, None, gradient)[1]
        right = told & (z.argmax(axis=1) == t.argmax(axis=1))
        assert found == np.count_nonzero(right)
        right = np.count_nonzero(((z > 0) == (t > 0.5)) & ~np.isnan(z))
        assert BINARY(z, t, None, gradient)[1] == right / cols
        for loss in (losses.mean_squared_error, losses.huber, losses.poisson):
            assert loss(z, t, None, gradient)[1] == 0
    place = z.copy()
    found = CATEGORICAL(place, labels, None, place)[1]
    assert found == np.count_nonzero(told & (z.argmax(axis=1) == labels))


@pytest.mark.parametrize("name", losses.known().split(", "))
def test_every_loss_by_its_name_is_the_references(name: str) -> None:
    """Any that is added, with its options as they come."""
    rng = np.random.default_rng(8)
    z, t = rng.normal(size=(9, 4)), np.eye(4)[rng.integers(0, 4, 9)]
    gradient = np.empty_like(z)
    value, _ = losses.get(name)(z, t, None, gradient)
    expected, slopes = getattr(reference, name)(z, t)
    # A few roundings in sums of nine numbers of size 1.
    np.testing.assert_allclose(value / 9, expected, rtol=1e-14)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("cols", [1, 3, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_net_that_gives_nan_has_an_accuracy_of_nothing(
    cols: int, dtype: Any, target: str
) -> None:
    """Whatever the target: class 0, where NaN's place would be, or a 0 of sigmoid."""
    z, first = np.full((5, cols), NAN, dtype), np.zeros(5, np.int64)
    for t in (first, np.eye(cols, dtype=dtype)[first]):
        assert CATEGORICAL(z, t)[1] == 0
    for t in (np.zeros_like(z), np.ones_like(z)):
        assert BINARY(z, t)[1] == 0
    z[1:, 1:] = 0  # one NaN in a row is enough for softmax, and counts for itself
    assert CATEGORICAL(z, first)[1] == 0
    assert BINARY(z, np.zeros_like(z))[1] == pytest.approx(4 * (cols - 1) / cols)


def test_accuracy() -> None:
    outputs = np.array([[1.0, 3.0], [2.0, 1.0], [-1.0, 0.5], [0.1, 0.0]])
    assert CATEGORICAL(outputs, np.array([1, 0, 0, 1]))[1] == 2
    assert CATEGORICAL(outputs, np.eye(2)[[1, 0, 0, 1]])[1] == 2
    # Seven of the eight logits are on the side that the target wants.
    table = np.array([[1, 1], [1, 1], [0, 1], [1, 1.0]])
    assert BINARY(outputs, table)[1] == 3.5


@pytest.mark.parametrize("cols", [3, 40])
def test_gradient_over_targets_or_weights_is_refused(cols: int) -> None:
    logits, targets = np.zeros((2, cols)), np.eye(cols)[:2].copy()
    with pytest.raises(ValueError, match="gradient must not be the array of the targ"):
        CATEGORICAL(logits, targets, gradient=targets)
    np.testing.assert_array_equal(targets, np.eye(cols)[:2])
    weights = np.ones(2)
    with pytest.raises(ValueError, match="gradient must not be the array of the weig"):
        BINARY(np.zeros((2, 1)), np.zeros((2, 1)), weights, weights.reshape(2, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros(3), np.zeros(3), 1), ValueError, "outputs must have 2 dimensions"),
        ((Z, np.zeros((2, 2)), 1), ValueError, r"targets must have shape \(2, 3\)"),
        ((Z, BITS, 1, np.ones(3)), ValueError, r"weights must have shape \(2,\), one"),
        ((Z, BITS, 1, None, np.zeros(5)), ValueError, "gradient must have 6 elements"),
        ((Z, BITS, 1, None, Z.astype("f4")), TypeError, "gradient must have the dtype"),
        ((Z, np.array([0, 1]), 1), ValueError, r"targets must have shape \(2, 3\)"),
    ],
)
def test_wrong_arrays(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _core.loss(BINARY.core, *arguments)


def test_wrong_labels_never_reach_the_kernel() -> None:
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\), got"):
            CATEGORICAL(Z, np.array(labels))


@pytest.mark.parametrize(
    "core", [None, ("hinge", 0.0, 0.0), ("huber", 0.0), ("huber", "a", 0.0), (1, 2, 3)]
)
def test_wrong_core(core: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"core must be|real number"):
        _core.loss(core, Z, BITS, 1.0)


def test_wrong_number_of_arguments() -> None:
    with pytest.raises(TypeError, match=r"loss\(\) takes 4 to 6 arguments, got 2"):
        _core.loss(BINARY.core, Z)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"update\(\) takes 6 arguments, got 0"):
        _core.update()  # type: ignore[call-arg]


def test_a_number_that_changes_the_outputs() -> None:
    """What Python may run comes before the extents are read."""
    outputs = np.ones((3000, 4))

    class Scale:
        def __float__(self) -> float:
            outputs.resize((1, 1), refcheck=False)
            return 1.0

    with pytest.raises(ValueError, match=r"targets must have shape \(1, 1\)"):
        _core.loss(losses.huber.core, outputs, outputs.copy(), Scale())  # type: ignore[arg-type]


# Options ------------------------------------------------------------------------------


def test_using() -> None:
    changed = losses.huber.using(delta=2)
    assert changed != losses.huber
    assert (
        changed == losses.huber.using(delta=2.0) == pickle.loads(pickle.dumps(changed))
    )
    assert changed.using() == changed
    assert repr(changed) == "huber.using(delta=2.0)"
    assert repr(losses.huber) == "huber"
    assert losses.mean_squared_error.using() == losses.mean_squared_error
    assert len({losses.mean_squared_error, losses.mean_absolute_error}) == 2


@pytest.mark.parametrize(
    ("loss", "options", "error", "message"),
    [
        ("huber", {"delta": 0}, ValueError, "delta must be a finite number > 0, got 0"),
        ("huber", {"delta": "a"}, TypeError, "delta must be a finite number > 0"),
        ("huber", {"label_smoothing": 0.1}, TypeError, "huber has no option 'label_"),
        ("poisson", {"delta": 1}, TypeError, "no option 'delta'; it has none"),
        ("binary_crossentropy", {"pos_weight": -1}, ValueError, "pos_weight must be"),
        ("binary_crossentropy", {"a": 1}, TypeError, "has label_smoothing, pos_weight"),
        (
            "categorical_crossentropy",
            {"label_smoothing": 1.5},
            ValueError,
            r"label_smoothing must be a number in \[0, 1\], got 1.5",
        ),
    ],
)
def test_wrong_options(
    loss: str, options: Any, error: type[Exception], message: str
) -> None:
    chosen: Any = losses.get(loss)
    with pytest.raises(error, match=message):
        chosen.using(**options)


@pytest.mark.parametrize(
    "loss", ["mean_absolute_error", "huber", "poisson", losses.huber.using(delta=0.1)]
)
def test_losses_in_a_net(loss: Any) -> None:
    x = np.linspace(-1, 1, 60).reshape(-1, 2)
    y = np.exp(x.sum(axis=1))
    net = lm.Sequential([lm.Dense(1)], seed=1)
    history = net.fit(x, y, epochs=60, optimizer=lm.Adam(0.05), loss=loss, verbose=0)
    assert history["loss"][-1] < history["loss"][0] - 0.05
    assert "accuracy" not in history
    assert net.loss is not None
    outputs = net.predict(x)
    total, _ = net.loss(outputs, net.loss.targets(y, 1, outputs.dtype))
    # summed in chunks of other sizes
    assert net.evaluate(x, y)["loss"] == pytest.approx(total / len(x), rel=1e-12)


# Losses of one's own ------------------------------------------------------------------


class SquaredByHand(losses.Loss):
    def value(self, outputs: Any, targets: Any) -> Any:
        error = outputs - targets
        return (error**2).mean(axis=1), 2 * error / error.shape[1]


def test_own_loss_is_weighted_and_scaled() -> None:
    own, built_in = SquaredByHand(), losses.mean_squared_error
    assert own.name == "SquaredByHand"
    assert own.core is None
    for weights in (None, np.array([2.0, 0.5])):
        for scale in (None, 3.0):
            ours, theirs = np.empty_like(Z), np.empty_like(Z)
            total, correct = own(Z, NUMBERS, weights, ours, scale)
            expected, _ = built_in(Z, NUMBERS, weights, theirs, scale)
            # the same few operations in another order
            assert total == pytest.approx(expected, rel=1e-15)
            assert correct == 0
            np.testing.assert_allclose(ours, theirs, rtol=1e-15)
    spoilt = Z.copy()
    spoilt[0] = NAN
    assert np.isfinite(own(spoilt, NUMBERS, np.array([0.0, 1.0]), ours)[0])
    assert not ours[0].any()
    assert own.targets([1, 2], 1, F64).tolist() == [[1], [2]]


def test_own_loss_trains_as_the_one_it_repeats() -> None:
    x = np.random.default_rng(0).normal(size=(70, 3))
    nets = []
    for loss in (SquaredByHand(), losses.mean_squared_error):
        net = lm.Sequential([lm.Dense(4, "tanh"), lm.Dense(2)], seed=1, dtype="float64")
        net.fit(x, x[:, :2], epochs=3, loss=loss, verbose=0)
        nets.append(net)
    # some ten steps, each of which repeats roundings of 1e-16
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-9)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (np.zeros(2), TypeError, r"must return \(losses, gradients\), got ndarray"),
        ((0.5, Z), ValueError, r"losses of shape \(2,\), got \(\)"),
        ((np.zeros((2, 3)), Z), ValueError, r"losses of shape \(2,\), got \(2, 3\)"),
        ((np.zeros(2), Z[0]), ValueError, r"gradients of shape \(2, 3\), got \(3,\)"),
        ((np.zeros(2), "a"), TypeError, "gradients of Wrong.value must hold real numb"),
    ],
)
def test_own_loss_that_returns_something_else(
    returned: Any, error: type[Exception], message: str
) -> None:
    class Wrong(losses.Loss):
        def value(self, outputs: Any, targets: Any) -> Any:
            return returned

    with pytest.raises(error, match=message):
        Wrong()(Z, NUMBERS)


def test_own_loss_without_a_value_or_with_wrong_weights() -> None:
    class Nothing(losses.Loss):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must define value\(outp"):
        Nothing()(Z, NUMBERS)
    with pytest.raises(ValueError, match=r"weights must have shape \(2,\), one weight"):
        SquaredByHand()(Z, NUMBERS, np.ones(3))


# Weights of classes -------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 2, 2],
        np.array([[0], [2], [2], [2]], np.uint8),
        np.eye(3)[[0, 2, 2, 2]],
        np.array([0.0, 2, 2, 2], np.float32),
    ],
)
def test_class_weights(labels: Any) -> None:
    # n / (classes present * count), as scikit-learn's compute_class_weight
    balanced = losses.class_weights(labels, "balanced")
    np.testing.assert_array_equal(balanced, [2, 2 / 3, 2 / 3, 2 / 3])
    assert balanced.dtype == np.float64
    given: list[Any] = [{2: 5}, {np.int64(2): 5.0, 0: 1}, {0: 1, 1: 9, 2: 5}]
    for weights in given:
        assert losses.class_weights(labels, weights).tolist() == [1, 5, 5, 5]


def test_class_weights_of_bits() -> None:
    for labels in ([True, False, False], [[1.0], [0.0], [0.0]]):
        assert losses.class_weights(labels, {1: 0}).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("labels", "class_weight", "error", "message"),
    [
        ([0, 1], "equal", ValueError, "must be a dict or 'balanced', got 'equal'"),
        ([0, 1], [1, 2], TypeError, "must be a dict or 'balanced', got"),
        (
            [0, 1],
            {1: -1},
            ValueError,
            r"class_weight\[1\] must be a finite number >= 0",
        ),
        ([0, 1], {1: NAN}, ValueError, r"class_weight\[1\] must be a finite number >="),
        (
            [0, 1],
            {1: "2"},
            TypeError,
            r"class_weight\[1\] must be a finite number >= 0",
        ),
        ([0, 1], {1: 2, 7: 2}, ValueError, "got 7, which does not occur, and nothing"),
        (
            [0, 1],
            {"1": 2},
            ValueError,
            "got '1', which does not occur, and nothing for",
        ),
        ([0.5, 1], "balanced", ValueError, "must hold whole numbers .* got 0.5"),
        ([INF, 1], "balanced", ValueError, "must hold whole numbers .* got inf"),
        ([[0.5, 0.5]], "balanced", ValueError, r"one class per row .* in row 0"),
        ([[0, 1], [1, 1]], "balanced", ValueError, r"one class per row .* in row 1"),
        (3, "balanced", ValueError, r"shape \(n,\), \(n, 1\) or .* got \(\)"),
    ],
)
def test_wrong_class_weights(
    labels: Any, class_weight: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        losses.class_weights(labels, class_weight)


# Targets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 2, 1]),
        np.array([[0], [2], [1]]),
        np.array([0, 2, 1], np.uint8),
        [0, 2, 1],
        np.array([0, 2, 1], ">i2"),
    ],
)
def test_labels(y: Any) -> None:
    targets = losses.categorical_crossentropy.targets(y, 3, F64)
    assert targets.dtype == np.int64
    assert targets.tolist() == [0, 2, 1]


def test_labels_of_a_single_class() -> None:
    targets = losses.categorical_crossentropy.targets([[0], [0]], 1, F64)
    assert targets.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [bool, int, np.float32])
def test_binary_targets(dtype: Any) -> None:
    for shape in [(3,), (3, 1)]:
        y = np.array([0, 1, 1], dtype).reshape(shape)
        targets = losses.binary_crossentropy.targets(y, 1, F64)
        assert targets.dtype == F64
        assert targets.tolist() == [[0], [1], [1]]


@pytest.mark.parametrize(
    ("loss", "y", "outputs", "error", "message"),
    [
        ("categorical", [0, 3], 3, ValueError, "labels from 0 to 2 .* got 3"),
        ("categorical", [0, -1], 3, ValueError, "labels from 0 to 2 .* got -1"),
        ("categorical", [0.0, 1.0], 3, TypeError, "integer labels, got dtype float64"),
        ("categorical", ["a", "b"], 3, TypeError, "real numbers, got dtype <U1"),
        ("categorical", [1j], 3, TypeError, "real numbers, got dtype complex128"),
        (
            "categorical",
            np.zeros((2, 4)),
            3,
            ValueError,
            r"\(n, 3\), got shape \(2, 4",
        ),
        ("categorical", 3, 3, ValueError, r"labels \(n,\) or .* got shape \(\)"),
        ("categorical", [[1, 1, 0]], 3, ValueError, r"rows of sum 1\), got .* row 0"),
        ("categorical", [[2, -1, 0]], 3, ValueError, "must hold probabilities"),
        ("categorical", [[np.nan, 1, 0]], 3, ValueError, "must hold probabilities"),
        ("binary", [0, 2], 1, ValueError, "must hold 0 and 1, got 2"),
        ("binary", [0, -1], 1, ValueError, "must hold 0 and 1, got -1"),
        ("binary", [0, np.nan], 1, ValueError, "must hold 0 and 1, got nan"),
        ("binary", [0, 1], 2, ValueError, r"shape \(n, 2\) for 2 outputs, got \(2,\)"),
        (
            "squared",
            [0.0, np.inf],
            1,
            ValueError,
            "y must be finite .* row 1, column 0",
        ),
        ("squared", np.zeros((2, 3)), 1, ValueError, r"\(n,\) or \(n, 1\) .* \(2, 3\)"),
        ("squared", np.ma.ones((2, 1)), 1, TypeError, "must not be masked"),
        ("absolute", [0.0, np.nan], 1, ValueError, "y must be finite .* row 1"),
        ("huber", np.zeros((2, 3)), 2, ValueError, r"shape \(n, 2\) .* \(2, 3\)"),
        ("poisson", [1, -2], 1, ValueError, "must hold counts >= 0, got -2"),
    ],
)
def test_wrong_targets(
    loss: str, y: Any, outputs: int, error: type[Exception], message: str
) -> None:
    chosen: losses.Loss = {
        "categorical": losses.categorical_crossentropy,
        "binary": losses.binary_crossentropy,
        "squared": losses.mean_squared_error,
        "absolute": losses.mean_absolute_error,
        "huber": losses.huber,
        "poisson": losses.poisson,
    }[loss]
    with pytest.raises(error, match=message):
        chosen.targets(y, outputs, F64)


def test_get() -> None:
    assert losses.get("mean_squared_error") is losses.mean_squared_error
    with pytest.raises(
        ValueError, match="unknown loss 'hinge'; known are binary_cross"
    ):
        losses.get("hinge")
    with pytest.raises(TypeError, match=r"MyLoss'>; known are .*; use MyLoss\(\)"):
        losses.get(type("MyLoss", (lm.losses.Loss,), {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "loss"),
    [
        ("mse MSE MeanSquaredError MSELoss squared_error", "mean_squared_error"),
        ("mae L1Loss absolute_error mean-absolute-error", "mean_absolute_error"),
        ("bce BinaryCrossentropy BCELoss BCEWithLogitsLoss", "binary_crossentropy"),
        (
            "sparse_categorical_crossentropy cross_entropy CrossEntropyLoss nll_loss "
            "categorical_cross_entropy NLLLoss",
            "categorical_crossentropy",
        ),
        ("Huber HuberLoss smooth_l1_loss SmoothL1Loss", "huber"),
        ("Poisson PoissonNLLLoss", "poisson"),
    ],
)
def test_names_that_other_libraries_have_for_the_same(names: str, loss: str) -> None:
    for name in names.split():
        assert losses.get(name) is losses.get(loss), name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rmse", "nearest is 'mean_squared_error'"),
        ("msle", r"nearest is 'mean_squared_error' of np.log1p\(y\)"),
        ("log_loss", "'categorical_crossentropy' after softmax, 'binary_crossen"),
        ("KLDivLoss", "nearest is 'categorical_crossentropy'"),
        ("mean_sqared_error", "nearest is 'mean_squared_error'"),
    ],
)
def test_names_for_something_else_lead_on(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"unknown loss '{name}'; known are .*{hint}"):
        losses.get(name)


def test_an_option_that_float32_cannot_hold_is_refused_there() -> None:
    loss = losses.binary_crossentropy.using(pos_weight=1e39)
    for dtype in (np.float32, np.float64):
        z, t = np.array([[1.0], [-1.0]], dtype), np.array([[0.0], [1.0]], dtype)
        if dtype == np.float64:
            assert np.isfinite(loss(z, t)[0])
            continue
        with pytest.raises(ValueError, match=r"pos_weight must be finite in float32, "):
            loss(z, t)
        with pytest.raises(ValueError, match=r"scale must be finite in float32, got "):
            losses.huber(z, t, scale=1e39)
        net = lm.Sequential([lm.Dense(1, "sigmoid")], seed=0, dtype="float32")
        for call in (net.gradients, net.train_on_batch, net.fit):
            net.build(1)
            with pytest.raises(
                ValueError, match="pos_weight must be finite in float32"
            ):
                call(z, t, loss=loss)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 1.0, 3.0]])
@pytest.mark.parametrize("own", [True, False])
def test_a_loss_per_weight_divides_by_the_weights_of_each_batch(
    weights: Any, own: bool
) -> None:
    """And penalties, too, as scikit-learn does: those of a short batch count more."""

    class Own(losses.Loss):
        def value(self, outputs: Any, targets: Any) -> Any:
            error = outputs - targets
            return (error**2).mean(axis=1), 2 * error / error.shape[1]

    inner = Own() if own else losses.mean_squared_error
    x, y = np.arange(10.0).reshape(5, 2) / 10, np.arange(10.0).reshape(5, 2) / 3
    net = lm.Sequential([lm.Dense(2, l2=0.3)], seed=1, dtype="float64")
    net.build(2)
    kernel, bias = (p.astype(float) for p in net.get_weights())
    rule, losses_seen = lm.SGD(0.1), 0.0
    for rows in [slice(0, 3), slice(3, 5)]:
        w = np.ones(5)[rows] if weights is None else np.array(weights)[rows]
        error = x[rows] @ kernel + bias - y[rows]
        penalty = 0.15 * (kernel**2).sum()
        mean = (1.5 * w @ (error**2).mean(axis=1) + penalty) / w.sum()
        losses_seen += mean * len(w)
        slopes = 1.5 * w[:, np.newaxis] * error / w.sum()
        kernel = kernel - 0.1 * (x[rows].T @ slopes + 0.3 * kernel / w.sum())
        bias = bias - 0.1 * slopes.sum(axis=0)
    goal = losses.PerWeight(inner, 1.5)
    options: Any = {"sample_weight": weights, "shuffle": False, "verbose": 0}
    history = net.fit(x, y, loss=goal, optimizer=rule, batch_size=3, **options)
    # float64: the same sums in another order.
    np.testing.assert_allclose(net.get_weights()[0], kernel, rtol=1e-13)
    np.testing.assert_allclose(net.get_weights()[1], bias, rtol=1e-13)
    np.testing.assert_allclose(history["loss"], [losses_seen / 5], rtol=1e-13)


def test_a_batch_without_weight_counts_nothing() -> None:
    net = lm.Sequential([lm.Dense(1, l2=0.3)], seed=1)
    goal = losses.PerWeight(losses.mean_squared_error)
    scores = net.gradients(np.eye(2), [1, 2], sample_weight=[0, 0], loss=goal)
    assert scores["loss"] == 0
    assert not net.gradient.any()


def test_a_net_with_a_loss_per_weight_is_saved(tmp_path: Any) -> None:
    net = lm.Sequential([lm.Dense(1)], seed=1)
    goal = losses.PerWeight(losses.huber.using(delta=0.5), 2.0)
    net.fit(np.eye(2), [1, 2], loss=goal, verbose=0)
    net.save(tmp_path / "net")
    assert lm.load(tmp_path / "net").loss == goal


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.PerWeight("huber"), "loss must be a Loss, got 'huber'"),  # type: ignore[arg-type]
        (lambda: losses.PerWeight(losses.huber, 0), "factor must be .* got 0"),
    ],
)
def test_wrong_losses_per_weight(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
