"""Steps with products in bfloat16: what is rounded and what is not, and when.

Where the machine has no bf16, what needs it is skipped; the rest runs everywhere.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lamina
from lamina import optimizers, reference
from test_packed import rounded

lm: Any = lamina  # wrong types are the point of some calls

HAS_BF16 = lm.show_config()["bf16"]
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="no avx512_bf16 here")
# (rows, inputs, units, outputs): one of each, odd depths, borders of tiles (6 rows),
# vectors (16), squares (16 x 32), panels (64), blocks (240 and 256 rows, 1024 deep) and
# chains (512).
SHAPES = [
    (1, 1, 1, 1),
    (2, 1, 3, 2),
    (5, 9, 17, 3),
    (6, 64, 64, 64),
    (7, 33, 31, 16),
    (64, 70, 130, 9),
    (241, 65, 66, 10),
    (520, 40, 100, 33),
    (33, 1030, 48, 5),
    (1500, 24, 20, 1),
    (16, 300, 515, 65),
]


@pytest.fixture
def threads() -> Iterator[None]:
    before = lm.get_num_threads()
    yield
    lm.set_num_threads(before)


def made(shape: tuple[int, ...], *, whole: bool = False, **options: Any) -> Any:
    """A net of two layers and a batch; `whole`: of small integers."""
    rows, inputs, units, outputs = shape
    rng = np.random.default_rng(sum(shape))
    net = lm.Sequential([lm.Dense(units, "relu"), lm.Dense(outputs)], seed=1, **options)
    net.build(inputs)
    x: Any = rng.normal(size=(rows, inputs))
    y: Any = rng.normal(size=(rows, outputs))
    if whole:
        # Few of them are not 0, so that all that follows has 8 bits.
        net.parameters = rng.integers(-1, 2, net.parameters.size) * (
            rng.random(net.parameters.size) < 0.1
        )
        x, y = rng.integers(-1, 2, x.shape), rng.integers(-8, 9, y.shape)
    return net, x.astype(np.float32), y.astype(np.float32)


def stepped(net: Any, x: Any, y: Any, precision: str | None, **options: Any) -> Any:
    """The gradient of a step."""
    options = {"loss": "mse", "optimizer": lm.SGD(0.5)} | options
    net.train_on_batch(x, y, precision=precision, **options)
    return net.gradient.copy()


def by_hand(net: Any, x: Any, y: Any, factor: Any) -> list[Any]:
    """The gradients of both layers; factors of products go through `factor`."""
    first, second = (layer.parameters for layer in net.layers)
    h = factor(x) @ factor(first["kernel"]) + first["bias"]
    h = np.maximum(h, 0).astype(np.float32)
    out = factor(h) @ factor(second["kernel"]) + second["bias"]
    dy = (2 * (out - y) / y.size).astype(np.float32)
    dh = (factor(dy) @ factor(second["kernel"]).T).astype(np.float32) * (h > 0)
    return [
        factor(x).T @ factor(dh),
        dh.sum(0, dtype=float),
        factor(h).T @ factor(dy),
        dy.sum(0, dtype=float),
    ]


def to_bf16(a: Any) -> Any:
    return rounded(np.asarray(a, np.float32)).astype(np.float64)


@needs_bf16
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_factors_of_every_product_are_rounded_and_nothing_else(
    shape: tuple[int, ...],
) -> None:
    net, x, y = made(shape)
    expected = by_hand(net, x, y, to_bf16)
    wide = by_hand(net, x, y, lambda a: np.asarray(a, np.float64))
    stepped(net, x, y, "bf16")
    found = [a for layer in net.layers for a in layer.gradients.values()]
    for a, b, c in zip(found, expected, wide, strict=True):
        # Sums of float32; where one rounds to the other bfloat16, 2**-8 of a term.
        scale = np.sqrt(np.mean(b**2)) + 1e-30
        assert np.abs(a - b).max() <= 0.02 * scale
        assert np.sqrt(np.mean((a - b) ** 2)) <= 5e-4 * scale
        if a.size > 100:
            assert np.sqrt(np.mean((c - b) ** 2)) > 1e-3 * scale


@needs_bf16
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_small_integers_give_the_bits_of_float32(shape: tuple[int, ...]) -> None:
    """No rounding anywhere: any wrong index, mask or border shows."""
    rows = 1 << (shape[0] - 1).bit_length()  # means are exact
    net, x, y = made((rows, *shape[1:3], 1 << (shape[3] - 1).bit_length()), whole=True)
    other, _, _ = made((rows, *shape[1:3], net.layers[1].units), whole=True)
    wide, narrow = stepped(net, x, y, None), stepped(other, x, y, "bf16")
    assert wide.any()
    np.testing.assert_array_equal(narrow, wide)
    np.testing.assert_array_equal(other.parameters, net.parameters)


@needs_bf16
def test_threads_change_no_bit(threads: None) -> None:
    found = []
    for count in (1, 2, 3, 7):
        lm.set_num_threads(count)
        net, x, y = made((300, 520, 260, 200))
        for _ in range(3):
            stepped(net, x, y, "bf16")
        found.append(net.parameters.copy())
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])


@needs_bf16
def test_fit_steps_as_train_on_batch() -> None:
    net, x, y = made((200, 64, 64, 3))
    by_batch, _, _ = made((200, 64, 64, 3))
    how = {"loss": "mse", "optimizer": lm.Adam(), "precision": "bf16"}
    history = net.fit(x, y, batch_size=64, shuffle=False, verbose=0, **how)
    for start in range(0, 200, 64):
        rows = slice(start, start + 64)
        by_batch.train_on_batch(x[rows], y[rows], **how)
    np.testing.assert_array_equal(net.parameters, by_batch.parameters)
    assert history.precision == "bf16"


@needs_bf16
def test_precision_holds_for_one_call() -> None:
    """Also where a batch is like the one before, which is checked less."""
    net, x, y = made((64, 64, 64, 64))
    other, _, _ = made((64, 64, 64, 64))
    for precision in (None, "bf16", None, "bf16", "float32", "auto", None):
        before = other.parameters.copy()
        net.parameters = before
        other.reset_optimizer()
        narrow = precision in ("bf16", "auto")
        stepped(other, x, y, precision)
        expected = stepped(net, x, y, "bf16" if narrow else None)
        np.testing.assert_array_equal(other.gradient, expected)
        net.parameters = before
        assert narrow == (stepped(net, x, y, None) != expected).any()


@needs_bf16
def test_auto_leaves_what_would_lose() -> None:
    for shape, gains in [((64, 64, 64, 64), True), ((64, 64, 64, 2), True)] + [
        (shape, False) for shape in [(8, 64, 64, 64), (64, 10, 16, 2)]
    ]:
        net, x, y = made(shape)
        other, _, _ = made(shape)
        wide, auto = stepped(net, x, y, None), stepped(other, x, y, "auto")
        assert (auto != wide).any() == gains
        history = net.fit(x, y, batch_size=64, verbose=0, precision="auto")
        assert history.precision == ("bf16" if gains else "float32")
    # The last layer, of two units, is float32 as it was.
    net, x, y = made((64, 64, 64, 2))
    stepped(net, x, y, "auto")
    kernel = net.layers[1].gradients["kernel"].copy()
    all_narrow, _, _ = made((64, 64, 64, 2))
    stepped(all_narrow, x, y, "bf16")
    assert (all_narrow.layers[1].gradients["kernel"] != kernel).any()


@needs_bf16
def test_sums_beyond_a_span_are_those_of_float32() -> None:
    shape = (2**15 + 1, 2, 3, 1)
    net, x, y = made(shape)
    other, _, _ = made(shape)
    np.testing.assert_array_equal(
        stepped(net, x, y, "bf16"), stepped(other, x, y, None)
    )


@needs_bf16
def test_frozen_layers_and_those_without_bias() -> None:
    x, y = made((64, 64, 1, 1))[1:]
    nets = []
    for precision in ("bf16", None):
        layers = [lm.Dense(64, "gelu", use_bias=False), lm.Dense(64), lm.Dense(1)]
        layers[1].trainable = False
        net = lm.Sequential(layers, seed=3)
        net.train_on_batch(x, y, precision=precision)
        nets.append(net)
    narrow, wide = (net.gradient for net in nets)
    assert not nets[0].layers[1].gradients["kernel"].any()
    # rms errors of 2**-9 in each factor of the six products that lie behind.
    error = np.linalg.norm(narrow - wide) / np.linalg.norm(wide)
    assert 1e-4 < error < 0.02


@needs_bf16
def test_no_scale_is_needed() -> None:
    """bfloat16 has the range of float32: what is tiny or huge there is so here."""
    for scale in (1e-15, 1e7):
        net, x, y = made((64, 64, 64, 2))
        other, _, _ = made((64, 64, 64, 2))
        narrow = stepped(net, x * scale, y * scale, "bf16")
        wide = stepped(other, x * scale, y * scale, None)
        assert np.isfinite(narrow).all()
        narrow, wide = narrow.astype(float), wide.astype(float)
        assert np.linalg.norm(narrow - wide) < 0.02 * np.linalg.norm(wide)


@needs_bf16
def test_what_diverges_shows_as_in_float32() -> None:
    net, x, y = made((64, 64, 64, 2))
    stepped(net, x * 1e20, y, "bf16", optimizer=lm.SGD(1e20))
    stepped(net, x * 1e20, y, "bf16", optimizer=lm.SGD(1e20))
    assert not np.isfinite(net.parameters).all()
    rule = lm.SGD(1.0, global_clip_norm=1.0)
    with pytest.raises(FloatingPointError):
        stepped(net, x, y, "bf16", optimizer=rule)


@needs_bf16
@pytest.mark.parametrize("data", ["digits", "table"])
def test_accuracy_is_that_of_float32(data: str) -> None:
    """Over seeds, on rows held out: `bench/bf16.py --accuracy` has ten of them."""
    datasets = pytest.importorskip("sklearn.datasets")
    load = datasets.load_digits if data == "digits" else datasets.load_breast_cancer
    x, y = load(return_X_y=True)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    scores = []
    for precision in ("bf16", "float32"):
        of_seed = []
        for seed in range(3):
            layers = [lm.Dense(64, "relu"), lm.Dense(64, "relu")]
            net = lm.Sequential(
                [*layers, lm.Dense(int(y.max()) + 1, "softmax")], seed=seed
            )
            history = net.fit(
                x,
                y,
                epochs=20,
                batch_size=64,
                validation_split=0.3,
                precision=precision,
                verbose=0,
            )
            of_seed.append(history["val_accuracy"][-1])
        scores.append(np.mean(of_seed))
    # The rows held out are 3 x 539 and 3 x 171: a few of them may change sides.
    assert scores[0] > 0.95
    assert abs(scores[0] - scores[1]) < 0.012


class Twice(lm.layers.Layer):  # type: ignore[misc]
    def forward(self, x: Any, training: bool = False) -> Any:
        return 2 * x

    def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
        return 2 * dy


def refuse(net: Any, message: str, **options: Any) -> None:
    x, y = np.ones((40, 3)), np.ones((40, 1))
    how = {"loss": "mse", "precision": "bf16"} | options
    for call in (net.train_on_batch, lambda *a, **k: net.fit(*a, **k, verbose=0)):
        with pytest.raises(ValueError, match=message):
            call(x, y, **how)
    assert not net.features, "the net was built"


def test_what_cannot_be_computed_so_is_refused_before_anything_changes() -> None:
    def made_of(*layers: Any, **options: Any) -> Any:
        return lm.Sequential([*layers, lm.Dense(1)], seed=0, **options)

    refuse(made_of(), "'bf16', 'float32' or 'auto', got 'fp8'", precision="fp8")
    refuse(
        made_of(dtype="float64"),
        "must be None or 'auto' for a net of float64, got 'float32'",
        precision="float32",
    )
    if not HAS_BF16:
        refuse(made_of(), "needs the instructions avx512_bf16")
        return
    refuse(made_of(dtype="float64"), "needs a net of float32")
    refuse(made_of(Twice()), "without layers, losses and optimizers of your own")

    class Slow(optimizers.Optimizer):
        core = None

    refuse(made_of(), "optimizers of your own", optimizer=Slow())


@needs_bf16
def test_another_target_has_no_bf16() -> None:
    before = lm.show_config()["target"]
    lm.set_target("sse2")
    try:
        net, x, y = made((64, 64, 64, 2))
        other, _, _ = made((64, 64, 64, 2))
        with pytest.raises(ValueError, match="the active target is not avx512"):
            stepped(net, x, y, "bf16")
        np.testing.assert_array_equal(
            stepped(net, x, y, "auto"), stepped(other, x, y, None)
        )
    finally:
        lm.set_target(before)


def test_auto_is_the_nets_own_type_where_there_is_no_other() -> None:
    x, y = np.ones((64, 64)), np.ones((64, 1))
    for layers, dtype in [([], "float64"), ([Twice()], "float32")]:
        net = lm.Sequential([*layers, lm.Dense(64), lm.Dense(1)], seed=0, dtype=dtype)
        history = net.fit(x, y, precision="auto", verbose=0)
        assert history.precision == dtype


def test_reference_of_the_step() -> None:
    """What `by_hand` computes without rounding is the oracle's gradient."""
    net, x, y = made((20, 7, 9, 4))
    wide = by_hand(net, x, y, lambda a: np.asarray(a, np.float64))
    out = net.predict(x).astype(float)
    _, dy = reference.mean_squared_error(out, y)
    np.testing.assert_allclose(wide[3], np.asarray(dy).sum(0), rtol=1e-4, atol=1e-6)
