"""Sparse rows: what the core makes of them is what it makes of the same rows, dense."""

import copy
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina as lm
from conftest import TARGETS
from lamina import _core, data

# Sums of the same products in another order: a few roundings of the largest of them.
CLOSE: dict[str, Any] = {
    "float32": {"rtol": 2e-5, "atol": 2e-5},
    "float64": {"rtol": 1e-12, "atol": 1e-12},
}
# Of rules that divide by a root: their own is no more than a gradient that is mere
# rounding, which they make a step of.
EPSILON = 1e-3


@st.composite
def matrices(draw: Any) -> Any:
    """CSR with empty rows and columns, rows in any order of columns, and columns that
    come twice; in any width of indices and type of values, and in other formats."""
    rows, features = draw(st.integers(1, 40)), draw(st.integers(1, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = rng.integers(0, draw(st.integers(0, 30)) + 1, rows)
    counts[rng.random(rows) < 0.2] = 0
    starts = np.concatenate([[0], np.cumsum(counts)])
    columns = rng.integers(0, features, starts[-1])
    kind = draw(st.sampled_from(["f4", "f8", "i1", "i4", "?"]))
    values = rng.integers(-3, 4, starts[-1])
    values = np.sign(values) if kind == "?" else values
    values = values.astype(kind) if kind in ("i1", "i4", "?") else values / 4
    wide = draw(st.sampled_from([np.int32, np.int64]))
    x = sp.csr_array((values, columns, starts), (rows, features), dtype=kind)
    x.indices, x.indptr = columns.astype(wide), starts.astype(wide)
    if kind == "?":
        x.sum_duplicates()  # True and True are not two
    form = draw(st.sampled_from(["csr", "csr_matrix", "csc", "coo", "lil"]))
    return sp.csr_matrix(x) if form == "csr_matrix" else x.asformat(form)


def nets(dtype: str, layers: list[lm.Layer], units: int) -> list[lm.Sequential]:
    """Two that are the same."""
    net = lm.Sequential(
        [*layers, lm.Dense(units, "tanh"), lm.Dense(2, "softmax")], seed=3, dtype=dtype
    )
    return [net, copy.deepcopy(net)]


FRONTS: dict[str, Any] = {
    "none": list,
    "dropout": lambda: [lm.Dropout(0.3)],
    "classic": lambda: [lm.Dropout(0.3, "classic"), lm.Dropout(0.1)],
    "scheduled": lambda: [lm.Dropout(lm.schedules.FlatCosine(0.3, 20))],
    "scaled": lambda: [lm.Standardize(center=False), lm.Dropout(0.2)],
    "centred": lambda: [lm.Standardize()],
    "alpha": lambda: [lm.Dropout(0.3, "alpha")],
}


@given(
    x=matrices(),
    front=st.sampled_from(sorted(FRONTS)),
    units=st.sampled_from([1, 5, 16, 23, 70, 150]),
    dtype=st.sampled_from(["float32", "float64"]),
    rule=st.sampled_from(
        [
            lm.SGD(0.1),
            lm.SGD(0.1, momentum=0.9),
            lm.Adam(0.01, epsilon=EPSILON),
            lm.RMSprop(0.01, epsilon=EPSILON),
        ]
    ),
)
@settings(max_examples=60, deadline=None)
def test_nets_learn_the_same_from_sparse_rows(
    x: Any, front: str, units: int, dtype: str, rule: Any
) -> None:
    if dtype == "float32" and not isinstance(rule, lm.SGD):
        dtype = "float64"  # roots of gradients that are mere rounding
    dense = x.toarray()
    y = np.arange(len(dense)) % 2
    results = []
    for net, rows in zip(nets(dtype, FRONTS[front](), units), (x, dense), strict=True):
        history = net.fit(
            rows,
            y,
            epochs=2,
            batch_size=7,
            optimizer=rule,
            verbose=0,
            validation_data=(rows, y),
        )
        scores = net.train_on_batch(rows, y)
        results.append(
            [
                history["loss"],
                history["val_loss"],
                scores["loss"],
                net.gradient.copy(),
                net.parameters.copy(),
                net.predict(rows),
                net.evaluate(rows, y)["loss"],
                net.gradients(rows, y, weight=0.5, accumulate=True)["loss"],
                net.gradient.copy(),
            ]
        )
    # Each step builds on the roundings of those before.
    close = {name: 20 * limit for name, limit in CLOSE[dtype].items()}
    for sparse, expected in zip(*results, strict=True):
        np.testing.assert_allclose(sparse, expected, **close)


@given(
    x=matrices(),
    units=st.sampled_from([1, 4, 16, 40, 130]),
    activation=st.sampled_from([None, "relu", "gelu", "softmax"]),
    rate=st.sampled_from([0.0, 0.4]),
    double=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_dense_of_sparse_rows(
    x: Any, units: int, activation: Any, rate: float, double: bool
) -> None:
    rng = np.random.default_rng(0)
    dense, dtype = x.toarray(), "float64" if double else "float32"
    kernel = rng.normal(size=(x.shape[1], units)).astype(dtype)
    bias = rng.normal(size=units).astype(dtype)
    dy = rng.normal(size=(x.shape[0], units)).astype(dtype)
    options: dict[str, Any] = {"dropout": rate, "seed": 5, "offset": 3}
    found: list[Any] = []
    expected: list[Any] = []
    for rows, to in ((x, found), (dense, expected)):
        y, saved = lm.dense(
            rows, kernel, bias, activation, return_saved=True, **options
        )
        to += [y, lm.dense(rows, kernel, bias, activation, **options)]
        to += lm.dense_backward(dy, rows, kernel, saved, activation, **options)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, **CLOSE[str(mine.dtype)])
    dx, *_ = lm.dense_backward(dy, x, kernel, dy, input_gradient=False)
    assert dx is None


def words(n: int, features: int, each: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    columns = rng.integers(0, features, n * each, dtype=np.int32)
    starts = np.arange(0, n * each + 1, each, dtype=np.int32)
    values = rng.random(n * each, np.float32)
    return sp.csr_array((values, columns, starts), (n, features))


def test_long_rows_and_columns_do_not_drift() -> None:
    """Chains of 512 terms: a float32 chain over so many equal ones is off by 4e-4."""
    n = 30_000
    x = sp.csr_array(np.full((1, n), 0.1, np.float32))
    kernel = np.full((n, 3), 0.7, np.float32)
    expected = n * np.float64(np.float32(0.1)) * np.float64(np.float32(0.7))
    # Within a chain the roundings of equal terms still go the same way.
    np.testing.assert_allclose(lm.dense(x, kernel), expected, 8e-6)
    column, dy = sp.csr_array(x.T), kernel
    _, dkernel, _ = lm.dense_backward(dy, column, np.ones((1, 3), np.float32), dy)
    np.testing.assert_allclose(dkernel, expected, 8e-6)


RULES: list[Any] = [
    lm.SGD(0.1),
    lm.SGD(0.1, momentum=0.9, nesterov=True),
    lm.Adam(1e-2),
    lm.AdamW(1e-2, weight_decay=0.1),
    lm.RMSprop(1e-2, momentum=0.5, centered=True),
    lm.Adagrad(1e-2),
    lm.Lion(1e-3),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_rows_that_wait_are_where_all_steps_take_them(rule: Any) -> None:
    """The same bits in one call of many steps as in calls of a step each, where all
    rows of the kernel move every time; the gradient is that of the last step."""
    x, y = words(300, 2000, 7), np.arange(300) % 2
    many, single = nets("float32", [], 24)
    many.fit(x, y, batch_size=20, optimizer=rule, shuffle=False, verbose=0)
    for start in range(0, 300, 20):
        part = slice(start, start + 20)
        single.train_on_batch(x[part], y[part], optimizer=rule, loss=many.loss)
    np.testing.assert_array_equal(many.parameters, single.parameters)
    np.testing.assert_array_equal(many._state, single._state)
    np.testing.assert_array_equal(many.gradient, single.gradient)
    phases = copy.deepcopy(single)
    last = x[280:], y[280:]
    single.train_on_batch(*last)
    phases.gradients(*last)
    phases.apply_gradients()
    np.testing.assert_array_equal(phases.parameters, single.parameters)
    np.testing.assert_array_equal(phases.gradient, single.gradient)


@pytest.mark.parametrize("options", [{"l2": 0.1}, {"l1": 0.01}, {"max_norm": 0.5}])
@pytest.mark.parametrize(
    "rule",
    [lm.SGD(0.1), lm.Adam(0.01, global_clip_norm=0.1), lm.SGD(0.1, clip_value=1e-3)],
    ids=["sgd", "clipped norm", "clipped values"],
)
def test_what_moves_every_row_moves_it(options: Any, rule: Any) -> None:
    x, y = words(60, 300, 5), np.arange(60) % 2
    net = lm.Sequential(
        [lm.Dense(8, "relu", **options), lm.Dense(2, "softmax")], seed=0
    )
    other = copy.deepcopy(net)
    for each, rows in ((net, x), (other, x.toarray())):
        each.fit(rows, y, batch_size=16, epochs=3, optimizer=rule, verbose=0)
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-4, 1e-5)


def test_a_step_that_fails_leaves_those_before() -> None:
    """Labels that change while they are trained on: rows that were woken for the step
    that failed do not move twice."""
    x, y = words(60, 300, 5), np.arange(60) % 2
    y[45] = 2
    for rule in (lm.Adam(0.01), lm.SGD(0.1)):
        net, other = nets("float32", [], 24)
        for each in (net, other):
            each.train_on_batch(x[:20], y[:20], optimizer=rule)
            each.train_on_batch(x[:20], y[:20])
        for start in (0, 20):
            part = slice(start, start + 20)
            other.train_on_batch(x[part], y[part])
        core, rows = (
            net._compile("fit")[0],
            data.inputs("x", x, net.dtype, sparse=True).whole,
        )
        goal = net._goal(None)
        arguments = rows, y, None, None, 20, goal.core, True, rule.core
        place = net.steps, net._updates + 1, 0.0, 0.0, 0.0, None
        *_, done, steps, finite, error = core.train(
            *arguments,
            *net._rates(rule, net._updates, 3),
            net._shares(3),
            net._state,
            *net._following,
            *place,
        )
        assert (done, steps, finite) == (40, 2, True)
        assert isinstance(error, ValueError)
        np.testing.assert_array_equal(net.parameters, other.parameters)
        np.testing.assert_array_equal(net._state, other._state)


def test_a_frozen_first_layer_stays() -> None:
    x, y = words(60, 300, 5), np.arange(60) % 2
    net = lm.Sequential(
        [lm.Dense(8, "relu", trainable=False), lm.Dense(2, "softmax")], seed=0
    )
    net.build(300)
    before = net.parameters.copy()
    net.fit(x, y, batch_size=16, verbose=0)
    kernel = net.layers[0].parameters["kernel"]
    np.testing.assert_array_equal(kernel.ravel(), before[: kernel.size])
    assert (net.parameters != before).any()
    assert not net.gradient[: kernel.size].any()


def test_the_same_bits_on_any_number_of_threads_and_target() -> None:
    x, y = words(600, 5000, 40), np.arange(600) % 2
    threads = lm.get_num_threads()
    found: dict[bool, set[bytes]] = {}
    try:
        for target in TARGETS:
            lm.set_target(target)
            for count in (1, 2, 3):
                lm.set_num_threads(count)
                net, _ = nets("float32", [lm.Dropout(0.2)], 150)
                net.fit(x, y, batch_size=200, epochs=2, verbose=0)
                has_fma = target != "sse2"
                bits = net.predict(x).tobytes() + net.parameters.tobytes()
                found.setdefault(has_fma, set()).add(bits)
    finally:
        lm.set_num_threads(threads)
    assert all(len(bits) == 1 for bits in found.values())


def test_batches_weights_and_splits() -> None:
    x, y = words(90, 400, 6), np.arange(90) % 2
    weights = np.linspace(0.5, 2, 90)
    net, other = nets("float64", [], 6)
    for each, rows in ((net, x), (other, x.toarray())):
        options: dict[str, Any] = {"class_weight": {0: 2.0, 1: 1.0}, "verbose": 0}
        each.fit(rows, y, sample_weight=weights, validation_split=0.3, **options)
        each.fit([(rows[:50], y[:50]), (rows[50:], y[50:])], verbose=0)
        each.fit(rows, sp.csr_array(np.eye(2)[y]), metrics=["f1"], verbose=0)
        each.fit(
            rows, y, epochs=3, callbacks=[lm.callbacks.Watch(verbose=0)], verbose=0
        )
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-9, 1e-12)
    for method in (lm.Sequential.predict, lm.Sequential.input_gradient):
        extra = (y,) if method is lm.Sequential.input_gradient else ()
        np.testing.assert_allclose(
            method(net, x, *extra), method(other, x.toarray(), *extra), 1e-9, 1e-12
        )
    net.diagnose(x, y, trials=False)


class Own(lm.Layer):
    """Known to Python alone."""

    def forward(self, x: Any, training: bool = False) -> np.ndarray:
        return self.take(x)

    def backward(self, dy: Any, *, input_gradient: bool = True) -> np.ndarray:
        return np.asarray(dy)


def test_layers_and_losses_of_ones_own() -> None:
    x, y = words(60, 100, 6), np.arange(60) % 2 * 1.0

    class Squares(lm.losses.Loss):
        def value(self, outputs: Any, targets: Any) -> Any:
            gap = outputs - targets
            return (gap**2).mean(axis=1), 2 * gap / gap.shape[1]

    for extra, loss in (([Own()], "mean_squared_error"), ([], Squares())):
        net = lm.Sequential([lm.Dense(4), *extra, lm.Dense(1)], seed=0)
        other = copy.deepcopy(net)
        for each, rows in ((net, x), (other, x.toarray())):
            each.fit(rows, y, loss=loss, validation_data=(rows, y), verbose=0)
        np.testing.assert_allclose(net.parameters, other.parameters, 1e-4, 1e-5)
        np.testing.assert_allclose(net.predict(x), other.predict(x.toarray()), 1e-4)


def test_nothing_is_made_dense() -> None:
    """As dense rows this would take 40 GB. What a fit takes beside the matrix stays
    below twice that and the parameters."""
    n = 100_000
    x = words(n, n, 100)
    csr = x.data.nbytes + x.indices.nbytes + x.indptr.nbytes
    net = lm.Sequential([lm.Dense(16, "relu"), lm.Dense(2, "softmax")], seed=0)
    tracemalloc.start()
    net.fit(x, np.arange(n) % 2, batch_size=1000, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * (csr + net.parameters.nbytes)
    assert peak < csr  # the parameters, their gradient and state, the order of the rows


@pytest.mark.parametrize("how", ["index", "negative", "indptr", "end", "nan", "length"])
def test_hostile_matrices_are_refused(how: str) -> None:
    x, y = words(50, 40, 4), np.arange(50) % 2
    if how == "index":
        x.indices[7] = 40
    elif how == "negative":
        x.indices[7] = -1
    elif how == "indptr":
        x.indptr[3] = 40
    elif how == "end":
        x.indptr[-1] = 10**6
    elif how == "nan":
        x.data[9] = np.nan
    else:
        x.indices = x.indices[:-5]
    message: str = {
        "index": r"indices in \[0, 40\), got 40",
        "negative": r"indices in \[0, 40\), got -1",
        "indptr": r"indptr never decreases .*40 and 16 for row 3",
        "end": r"ends within its 200 entries",
        "nan": r"finite in float32, got nan in row 2, column",
        "length": "as many values as indices",
    }[how]
    net = lm.Sequential([lm.Dense(4), lm.Dense(2, "softmax")], seed=0)
    net.build(40)
    before = net.parameters.copy()
    calls: list[Callable[[], Any]] = [
        lambda: net.fit(x, y, verbose=0),
        lambda: net.train_on_batch(x, y),
        lambda: net.gradients(x, y),
        lambda: net.evaluate(x, y),
        lambda: net.fit(words(50, 40, 4), y, validation_data=(x, y), verbose=0),
    ]
    if how != "nan":  # which comes through where nothing is learnt
        calls += [lambda: net.predict(x), lambda: lm.dense(x, np.ones((40, 2)))]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(net.parameters, before)


def test_what_is_no_matrix_of_numbers_is_refused() -> None:
    x = words(5, 40, 4)
    with pytest.raises(TypeError, match="x must have indices and indptr of integers"):
        lm.dense(
            data.SparseRows(x.data, x.indices + 0.5, x.indptr, x.shape),
            np.ones((40, 2)),
        )
    with pytest.raises(ValueError, match=r"kernel must have shape \(40, 2\)"):
        lm.dense(x, np.ones((41, 2)))
    net = lm.Sequential([lm.Dense(2)], seed=0)
    net.build(41)
    with pytest.raises(ValueError, match="x must have 41 features"):
        net.predict(x)
    with pytest.raises(ValueError, match="x must have 41 features, got 40"):
        core = net._compile("predict")[0]
        core.predict(data.SparseRows(x.data, x.indices, x.indptr, x.shape), None, 9)
    wide = data.SparseRows(x.data, x.indices, x.indptr, (5, 2**31))
    with pytest.raises(ValueError, match=r"fewer than 2\*\*31 columns"):
        _core.check_sparse("x", wide)


def test_scales_are_learnt_from_what_is_there() -> None:
    x = words(500, 30, 4)
    x.data[:] *= 7
    for weights in (None, np.arange(500) % 3 * 1.0):
        table = data.inputs("x", x, np.dtype(np.float32), sparse=True)
        assert isinstance(table.whole, data.SparseRows)
        _, scale = data.standardization(table, weights=weights)
        dense = data.inputs("x", x.toarray(), np.dtype(np.float32))
        _, expected = data.standardization(dense, weights=weights)
        np.testing.assert_allclose(scale, expected, 1e-6)
    layer = lm.Standardize(center=False)
    layer.learn(x)
    np.testing.assert_allclose(layer.scale, x.toarray().std(axis=0, dtype=float), 1e-6)
    assert not layer.mean.any()
    assert repr(layer) == "Standardize(center=False)"
    np.testing.assert_allclose(layer.forward(x), x.toarray() / layer.scale, 1e-6)


def test_scaling_only_is_saved(tmp_path: Any) -> None:
    x, y = words(60, 30, 4), np.arange(60) % 2
    net = lm.Sequential([lm.Standardize(center=False), lm.Dense(2, "softmax")], seed=0)
    net.fit(x, y, verbose=0)
    net.save(tmp_path / "net.safetensors")
    loaded = lm.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(loaded.predict(x), net.predict(x))
    assert repr(loaded.layers[0]) == repr(net.layers[0])
