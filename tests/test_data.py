"""Kinds of data: the same net from each, and nothing whole in memory."""

import copy
import datetime
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest
import scipy.sparse

import lamina as lm
from lamina import data
from test_model import blobs, classifier

X, Y = blobs(90)
INTEGERS = np.round(3 * X).astype(np.int8)


def trained(x: Any, y: Any = None, **arguments: Any) -> lm.Sequential:
    net = classifier()
    net.fit(x, y, epochs=2, verbose=0, **arguments)
    return net


def mapped(path: Path, array: np.ndarray) -> Any:
    """The array in a file."""
    made = np.memmap(path, array.dtype, "w+", shape=array.shape)
    made[...] = array
    made.flush()
    return np.memmap(path, array.dtype, "r", shape=array.shape)


class Tensor:
    """What other libraries' arrays are to NumPy."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array.astype(dtype or self.array.dtype)


class Interface:
    """What has memory, and says how it is laid out."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.ascontiguousarray(array)
        self.__array_interface__ = self.array.__array_interface__


def doubled(array: np.ndarray) -> pandas.DataFrame:
    """A mixed table, two columns of which have one name."""
    return pandas.DataFrame(array, columns=["a", "b", "a", "d"]).astype({"d": "Int8"})


def nested(array: np.ndarray) -> pandas.DataFrame:
    """A mixed table whose columns have two names each."""
    frame = pandas.DataFrame(array).astype({0: float, 1: "Int8"})
    frame.columns = pandas.MultiIndex.from_product([["u", "v"], ["x", "y"]])
    return frame


KINDS: dict[str, Any] = {
    "interface": Interface,
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "list of arrays": list,
    "doubled names": doubled,
    "nested names": nested,
    "sparse frame": lambda a: pandas.DataFrame(a).astype(pandas.SparseDtype(float, 0)),
    "polars": lambda a: polars.DataFrame(a, schema=["a", "b", "c", "d"]),
    "mixed polars": lambda a: polars.DataFrame(a, schema=["a", "b", "c", "d"]).cast(
        {"a": polars.Float64, "b": polars.Int64, "d": polars.Float32}
    ),
    "big-endian": lambda a: a.astype(">i4"),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "list": lambda a: a.tolist(),
    "tensor": Tensor,
    "frame": pandas.DataFrame,
    "nullable frame": lambda a: pandas.DataFrame(a).astype("Float64"),
    "mixed frame": lambda a: pandas.DataFrame(a).astype({0: float, 1: "Int8"}),
    "csr": scipy.sparse.csr_array,
    "csc matrix": scipy.sparse.csc_matrix,
    "coo": scipy.sparse.coo_array,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    """In fit, validation, predict and evaluate."""
    x = KINDS[kind](INTEGERS)
    net, other = classifier(), classifier()
    for each, rows in ((net, x), (other, INTEGERS)):
        each.fit(rows, Y, validation_data=(rows, Y), verbose=0)
        each.fit(rows, Y, validation_split=0.3, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    np.testing.assert_array_equal(net.predict(x), other.predict(INTEGERS))
    assert net.evaluate(x, Y) == pytest.approx(other.evaluate(INTEGERS, Y), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", ">f4", "bool"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_memory_maps(dtype: str, shuffle: bool, tmp_path: Path) -> None:
    rows = INTEGERS.astype(dtype)
    x = mapped(tmp_path / "x", rows)
    for each in (x, x[::-1][::-1], np.asarray(x)):
        assert data.inputs("x", each, np.dtype("f4")).held.base is not None
        net = trained(each, Y, shuffle=shuffle)
        other = trained(rows, Y, shuffle=shuffle)
        np.testing.assert_array_equal(net.parameters, other.parameters)
        np.testing.assert_array_equal(net.predict(x), other.predict(rows))


def test_targets_in_other_containers(tmp_path: Path) -> None:
    hot = np.eye(3, dtype=np.uint8)[Y]
    expected = trained(X, hot).parameters
    for y in (
        pandas.DataFrame(hot),
        scipy.sparse.csr_array(hot),
        mapped(tmp_path / "y", hot),
    ):
        np.testing.assert_array_equal(trained(X, y).parameters, expected)
    expected = trained(X, Y).parameters
    order = np.random.default_rng(0).permutation(len(Y))
    for y in (
        pandas.Series(Y),
        pandas.Series(Y, order),  # rows, whatever their index says
        pandas.Series(Y, dtype="Int64"),
        pandas.DataFrame({"label": Y}, order),
        polars.Series(Y),
        polars.DataFrame({"label": Y}),
        Y.tolist(),
        mapped(tmp_path / "labels", Y[:, np.newaxis]),
    ):
        np.testing.assert_array_equal(trained(X, y).parameters, expected)


def test_weights_in_other_containers() -> None:
    weights = np.linspace(0, 2, len(X))
    expected = trained(X, Y, sample_weight=weights).parameters
    order = np.random.default_rng(0).permutation(len(Y))
    for given in (
        weights.tolist(),
        pandas.Series(weights, order),
        pandas.Series(weights, dtype="Float64"),
        polars.Series(weights),
    ):
        found = trained(X, Y, sample_weight=given).parameters
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["a", "b"], TypeError, r"dtype <U1; .* np.unique\(y, return_inverse=True\)"),
        (pandas.Series(["a", "b"]), TypeError, "y must hold real numbers, .*np.unique"),
        (pandas.Series(["a", "b"], dtype="category"), TypeError, ".*np.unique"),
        (pandas.DataFrame({"k": ["a", "b"]}), TypeError, r"columns 'k' \(str\); .*uni"),
        (polars.Series(["a", "b"]), TypeError, "y must hold real numbers, .*np.unique"),
        ([None, 1], TypeError, "y must hold real numbers, got dtype object with NoneT"),
        (np.array([0, 1], object), TypeError, "got dtype object; use astype"),
        (pandas.Series([0, None], dtype="Int64"), ValueError, "1 missing, .* in row 1"),
        (pandas.Series([None, True], dtype="boolean"), ValueError, "1 missing, .*0$"),
        (polars.Series([0, None]), ValueError, "y must hold a label in each row"),
        (polars.Series([True, None]), ValueError, "a label in each row, got 1"),
        ([0.0, 1.0], TypeError, "integer labels, got dtype float64; use astype"),
        ([1, 2, 3], ValueError, "got 3 in row 2; where they .* 1, y - 1"),
        ([0, 5], ValueError, "got 5 in row 1; as many outputs as classes are needed"),
        ([-1, 5], ValueError, "got -1 in row 0$"),
        ([[0], [1, 2]], ValueError, "y must have rows of one length"),
        (np.array(["2020", "2021"], "M8[D]"), TypeError, r"y must .* datetime64\[D\]$"),
    ],
)
def test_labels_that_are_none(
    labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        classifier().fit(X[: len(labels)], labels, verbose=0)


@pytest.mark.parametrize(
    ("frame", "columns"),
    [
        (pandas.DataFrame({"a": [1.0], "b": ["x"]}), r"'b' \(str\)"),
        (pandas.DataFrame({"a": [1], "b": pandas.Categorical([2])}), r"'b' \(category"),
        (pandas.DataFrame({"d": pandas.to_datetime(["2020"])}), r"'d' \(datetime64"),
        (pandas.DataFrame([["x"]], columns=[("u", 1)]), r"\('u', 1\) \(str\)"),
        (pandas.DataFrame({i: ["x"] for i in range(20)}), r".*, 7 \(str\) and 12 more"),
        (polars.DataFrame({"a": [1.0], "b": ["x"]}), r"'b' \(String\)"),
        (polars.DataFrame({"d": [datetime.date(2020, 1, 1)]}), r"'d' \(Date\)"),
        (polars.DataFrame({"n": [None]}), r"'n' \(Null\)"),
    ],
)
def test_columns_that_are_no_numbers_are_named(frame: Any, columns: str) -> None:
    with pytest.raises(
        TypeError, match=f"x must hold real numbers, got others in columns {columns}"
    ):
        classifier().fit(frame, [0], verbose=0)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1, 2], [3]], ValueError, "x must have rows of one length, got an inhomo"),
        (np.zeros(2, [("a", float)]), TypeError, r"x must .* got dtype \[\('a', '<f8'"),
        ([["a", "b"]], TypeError, "x must hold real numbers, got dtype <U1$"),
        (X.astype(object), TypeError, "got dtype object; use astype"),
    ],
)
def test_rows_that_are_none(x: Any, error: type[Exception], message: str) -> None:
    net = learnt()
    for call in (
        lambda: net.predict(x),
        lambda: net.fit(x, [0, 1], verbose=0),
        lambda: net.train_on_batch(x, [0, 1]),
        lambda: lm.Standardize().learn(x),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_missing_values_are_found(kind: str) -> None:
    """Beside columns of other types, where a table is an array of objects."""
    columns = {"a": [True, False], "b": [1, None], "c": [0.5, 1.5], "d": [1, 2]}
    frame: Any = polars.DataFrame(columns)
    if kind == "pandas":
        frame = pandas.DataFrame(columns).astype({"b": "Int64", "d": "UInt8"})
    with pytest.raises(ValueError, match=r"x must be fin.* \(nan\) in row 1, column 1"):
        classifier().fit(frame, [0, 1], verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_arrays_that_cannot_be_written_to(dtype: str) -> None:
    def locked(array: Any) -> np.ndarray:
        copied = np.array(array)
        copied.setflags(write=False)
        return copied

    net, other = classifier(), classifier()
    x, weights, hot = INTEGERS.astype(dtype), np.linspace(0, 2, len(X)), np.eye(3)[Y]
    for each, lock in ((net, locked), (other, np.array)):
        a, y, w = lock(x), lock(Y), lock(weights)
        options: dict[str, Any] = {"class_weight": {0: 2.0}, "verbose": 0}
        each.fit(a, y, sample_weight=w, validation_data=(a, y, w), **options)
        each.fit(a, lock(hot), sample_weight=w, validation_split=0.3, **options)
        each.fit([(a, y, w)], validation_data=[(a, y, w)], **options)
        each.train_on_batch(a, y, sample_weight=w)
        each.train_on_batch(a, y)
        each.gradients(a, y, sample_weight=w)
        each.set_weights([lock(array) for array in each.get_weights()])
        each.evaluate(a, y, sample_weight=w)
        each.predict(a, samples=2)
        with pytest.raises(ValueError, match=r"out .*read-only"):
            each.predict(a, out=locked(np.empty((len(X), 3), np.float32)))
    np.testing.assert_array_equal(net.parameters, other.parameters)
    np.testing.assert_array_equal(net.gradient, other.gradient)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_memory_of_memory_maps(dtype: str, tmp_path: Path) -> None:
    """Autoencoding, so that targets are as large as the inputs."""
    n, features = 40_000, 500
    x = np.memmap(tmp_path / "x", dtype, "w+", shape=(n, features))
    x[::7] = 1
    net = lm.Sequential([lm.Standardize(), lm.Dense(2), lm.Dense(features)], seed=0)
    tracemalloc.start()
    net.fit(x, x, batch_size=500, validation_split=0.2, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # As float32 the map takes 80 MB, a block 4 MB, its square in float64 8 MB.
    assert peak < 40e6


def test_memory_of_sparse_matrices() -> None:
    x = scipy.sparse.random_array((40_000, 500), density=0.002, format="csr", rng=0)
    net = lm.Sequential([lm.Standardize(), lm.Dense(3, "softmax")], seed=0)
    tracemalloc.start()
    net.fit(x, np.arange(40_000) % 3, batch_size=500, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_large_arrays_are_converted_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(INTEGERS, Y).parameters
    monkeypatch.setattr(data, "_WHOLE", 1000)
    assert data.inputs("x", INTEGERS, np.dtype("f4")).whole is None
    np.testing.assert_array_equal(trained(INTEGERS, Y).parameters, expected)


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_moments_of_blocks(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 3)) * [1, 10, 0] + offset
    x[:, 2] = offset + 0.1
    mean, scale = data.moments(x[i : i + 64] for i in range(0, 1000, 64))
    # Naive sums of squares would lose everything at 1e8, where eps * 1e16 is 2; means
    # of blocks are right to eps * 1e8, 2e-8, of which the square sees a part.
    # NumPy's means of a thousand rows are themselves right to 1e-14 alone.
    np.testing.assert_allclose(mean, x.mean(axis=0), 1e-13)
    np.testing.assert_allclose(scale[:2], x.std(axis=0)[:2], 1e-8)
    assert scale[2] == 1
    assert mean[2] == offset + 0.1
    whole = lm.Standardize()
    whole.learn(x)
    monkeypatch.setattr(data, "_BLOCK", 200)
    for kind in (np.asarray, scipy.sparse.csr_array):
        blocks = lm.Standardize()
        blocks.learn(kind(x))
        np.testing.assert_allclose(blocks.mean, whole.mean, 1e-13)
        np.testing.assert_allclose(blocks.scale, whole.scale, 1e-8)


def test_scipy_and_pandas_are_not_imported() -> None:
    code = (
        "import sys, lamina as lm\n"
        "net = lm.Sequential([lm.Dense(1)], seed=0)\n"
        "net.fit([[1.0], [2.0]], [1.0, 2.0])\n"
        "assert not {'scipy', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Far from zero ------------------------------------------------------------------------


def far(rows: int = 1000) -> np.ndarray:
    """Columns that float32 would round to few values, and one that it would not."""
    rng = np.random.default_rng(0)
    order = [rng.permutation(rows) for _ in range(4)]
    return np.stack(
        [
            1.7e9 + order[0] * 0.1,  # points in time within 100 s: 2 values
            1.7e9 + order[1] * 86.4,  # within a day: 525
            1e8 - rows // 2 + order[2],  # identifiers: 125
            order[3] / 128,
        ],
        axis=1,
    )


FAR = far()
LABELS = (FAR[:, 0] > FAR[:, 0].mean()).astype(int)


class Same(lm.Layer):
    """Known to Python alone: such nets are interpreted."""

    def forward(self, x: Any, training: bool = False) -> np.ndarray:
        return self.take(x)

    def backward(self, dy: Any, *, input_gradient: bool = True) -> np.ndarray:
        return np.asarray(dy)


def standardizing(*more: lm.Layer) -> lm.Sequential:
    return lm.Sequential([lm.Standardize(), *more, lm.Dense(2, "softmax")], seed=0)


def test_what_is_far_from_zero_stays_apart() -> None:
    expected = (FAR - FAR.mean(axis=0)) / FAR.std(axis=0)
    net = standardizing()
    net.fit(FAR, LABELS, verbose=0)
    layer: Any = net.layers[0]
    alone = lm.Standardize()
    alone.build(4)
    alone.learn(FAR)
    for each in (layer, alone):
        found = each.forward(FAR)
        assert found.dtype == np.float32
        assert [len(np.unique(column)) for column in found.T] == [1000] * 4
        # Rounded once after centring and twice in scaling, near zero by float64's mean.
        np.testing.assert_allclose(found, expected, 3e-7, atol=2e-9)
    outputs = lm.Sequential([copy.deepcopy(alone), lm.Activation("identity")])
    outputs.build(4)
    np.testing.assert_array_equal(outputs.predict(FAR), alone.forward(FAR))
    # The classes lie 1e-8 apart, relatively.
    net.fit(FAR, LABELS, epochs=30, optimizer=lm.Adam(0.05), verbose=0)
    assert net.evaluate(FAR, LABELS)["accuracy"] > 0.98


FAR_KINDS: dict[str, Any] = {
    "integers": lambda a: a.astype(np.int64),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "fortran": np.asfortranarray,
    "list": lambda a: a.tolist(),
    "frame": pandas.DataFrame,
    "nullable frame": lambda a: pandas.DataFrame(a).astype("Float64"),
    "csr": scipy.sparse.csr_array,
    "longdouble": lambda a: a.astype(np.longdouble),
}


@pytest.mark.parametrize("own", [False, True], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("kind", [*FAR_KINDS, "mapped", "blocks"])
def test_far_from_zero_by_every_way(
    kind: str, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits from each container, in one piece, in blocks and in batches."""
    plain = np.floor(FAR) if kind == "integers" else FAR
    x = mapped(tmp_path / "x", plain) if kind == "mapped" else plain
    x = FAR_KINDS[kind](plain) if kind in FAR_KINDS else x
    more = [Same()] if own else []
    net, other = standardizing(*more), standardizing(*copy.deepcopy(more))
    whole: dict[str, Any] = {"validation_data": (plain, LABELS), "verbose": 0}
    other_history = other.fit(plain, LABELS, **whole)
    other.fit(plain, LABELS, validation_split=0.5, verbose=0)
    if kind == "blocks":
        monkeypatch.setattr(data, "_WHOLE", 1000)
    history = net.fit(x, LABELS, validation_data=(x, LABELS), verbose=0)
    assert history["val_loss"] == pytest.approx(other_history["val_loss"], rel=1e-9)
    net.fit(x, LABELS, validation_split=0.5, verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    np.testing.assert_array_equal(net.predict(x), other.predict(plain))
    by_batches = [
        (plain[i : i + 100], LABELS[i : i + 100]) for i in range(0, 1000, 100)
    ]
    assert other.evaluate(by_batches) == pytest.approx(net.evaluate(x, LABELS))
    net.fit(by_batches, verbose=0)
    for rows, labels in by_batches:
        other.train_on_batch(rows, labels)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    net.gradients(plain, LABELS)
    other.gradients(plain[:500], LABELS[:500], weight=0.5)
    other.gradients(plain[500:], LABELS[500:], weight=0.5, accumulate=True)
    np.testing.assert_allclose(net.gradient, other.gradient, 1e-4, 1e-6)
    mean = net.predict(plain, samples=2)[0]
    np.testing.assert_allclose(mean, net.predict(plain), 1e-6)


def test_far_from_zero_is_seen_by_a_subclass_too() -> None:
    class Named(lm.Standardize):
        """Adds nothing to what is computed."""

    net = lm.Sequential([Named(), lm.Dense(2, "softmax")], seed=0)
    other = standardizing()
    for each in (net, other):
        each.fit(FAR, LABELS, verbose=0)
    np.testing.assert_allclose(net.predict(FAR), other.predict(FAR), 1e-6)
    assert len(np.unique(net.predict(FAR)[:, 0])) > 900


def test_far_from_zero_is_kept(tmp_path: Path) -> None:
    net = standardizing()
    net.fit(FAR, LABELS, verbose=0)
    net.save(tmp_path / "net")
    for again in (
        lm.load(tmp_path / "net"),
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net),
    ):
        np.testing.assert_array_equal(again.predict(FAR), net.predict(FAR))


def test_columns_near_zero_keep_their_bits() -> None:
    """Of version 0.1.0: float64 is rounded first where that changes nothing to see."""
    x = np.random.default_rng(1).normal(5, 2, size=(90, 4))
    net, other = trained(x, Y), trained(x.astype(np.float32), Y)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    assert net.layers[0].mean.dtype == np.float32  # type: ignore[attr-defined]


# Batches ------------------------------------------------------------------------------


def batches_of(x: Any, y: Any, size: int = 32) -> list[Any]:
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def batches(size: int = 32) -> list[Any]:
    return batches_of(X, Y, size)


class Loader:
    """Batches that can be gone through again and again."""

    def __iter__(self) -> Any:
        return iter(batches())


def learnt() -> lm.Sequential:
    net = classifier()
    net.build(4)
    net.layers[0].learn(X)  # type: ignore[attr-defined]
    return net


@pytest.mark.parametrize("kind", [list, lambda b: Loader()])
def test_batches(kind: Any) -> None:
    net, other = learnt(), classifier()
    history = net.fit(kind(batches()), epochs=2, validation_data=batches(), verbose=0)
    expected = other.fit(
        X, Y, epochs=2, shuffle=False, validation_data=(X, Y), verbose=0
    )
    np.testing.assert_array_equal(net.parameters, other.parameters)
    for name in expected:
        assert history[name] == pytest.approx(expected[name], rel=1e-12)
    assert net.evaluate(batches()) == pytest.approx(other.evaluate(X, Y), rel=1e-12)


def test_an_endless_generator() -> None:
    def endless() -> Any:
        while True:
            yield from batches()

    net, other = learnt(), learnt()
    net.fit(endless(), epochs=3, steps_per_epoch=2, verbose=0)
    other.fit([*batches(), *batches()], verbose=0)
    np.testing.assert_array_equal(net.parameters, other.parameters)


def forever() -> Any:
    while True:
        yield X[:30], Y[:30]


def test_validation_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, or goes on from epoch to epoch."""
    net = learnt()
    monkeypatch.setattr(data, "_ENDLESS", 50)
    for batches, name, call in (
        (forever(), "x", lambda b: net.evaluate(b)),
        (forever(), "validation_data", lambda b: net.fit(X, Y, validation_data=b)),
    ):
        with pytest.raises(ValueError, match=f"{name} must end, or come with .*steps"):
            call(batches)
    with pytest.raises(ValueError, match=r"gone through 2 times, .* validation_steps"):
        net.fit(X, Y, epochs=2, validation_data=forever())
    given = iter([*batches_of(X, Y), *batches_of(X + 1, Y), None])
    history = net.fit(
        X, Y, epochs=2, validation_data=given, validation_steps=3, verbose=0
    )
    assert next(given) is None
    assert net.evaluate(X + 1, Y)["loss"] == pytest.approx(history["val_loss"][1])
    found = net.evaluate(iter(batches_of(X, Y)), steps=1)
    assert found == pytest.approx(net.evaluate(X[:32], Y[:32]))
    many = [(X[:1], Y[:1])] * 60  # which know how many they are
    assert net.evaluate(many) == pytest.approx(net.evaluate(X[:1], Y[:1]))
    with pytest.raises(ValueError, match="x must give 9 batches in each epoch, got 3"):
        net.evaluate(iter(batches_of(X, Y)), steps=9)


def test_batches_as_lists_are_no_pair() -> None:
    """`list(DataLoader)` holds lists: two or three of them resemble (x, y, weights)."""
    net = learnt()
    net.fit(X, Y, verbose=0)
    some = [[X[i : i + 30], Y[i : i + 30]] for i in (0, 30, 60)]
    weighted = [[x, y, np.ones(30)] for x, y in some]
    listed = [(x.tolist(), y.tolist()) for x, y in some]
    framed = [(pandas.DataFrame(x), pandas.Series(y)) for x, y in some]

    def scores(value: Any) -> Any:
        again = copy.deepcopy(net)
        return again.fit(X, Y, validation_data=value, verbose=0)["val_loss"]

    for batches in (some, weighted, listed, tuple(listed), framed):
        for n in (1, 2, 3):
            rows = slice(0, 30 * n)
            expected = pytest.approx(scores((X[rows], Y[rows])))
            assert scores(batches[:n]) == expected
    for n in (2, 3):  # rows that are as many as a batch has parts
        x, y = X[:n], Y[:n]
        for pair in ((x.tolist(), y.tolist()), [x.tolist(), y], (list(x), y, [1] * n)):
            assert scores(pair) == pytest.approx(scores((x, y)))
        assert scores((tuple(map(tuple, x)), tuple(y))) == pytest.approx(scores((x, y)))


def test_a_generator_ends_too_soon() -> None:
    net = learnt()
    message = "x must give 2 batches in each epoch, got 1 and then no more"
    with pytest.raises(ValueError, match=message):
        net.fit(iter(batches()), epochs=3, steps_per_epoch=2, verbose=0)
    assert net.epoch == 1
    net.fit(X, Y, verbose=0)


def test_weights_in_batches() -> None:
    net, other = learnt(), learnt()
    weights = np.linspace(0, 2, len(X))
    class_weight = {1: 3.0}
    net.fit([(X, Y, weights)], class_weight=class_weight, verbose=0)
    other.fit(
        X,
        Y,
        batch_size=90,
        shuffle=False,
        sample_weight=weights * (1 + 2 * (Y == 1)),
        verbose=0,
    )
    np.testing.assert_allclose(net.parameters, other.parameters, 1e-6)  # rounded twice
    net.fit([(X[Y == 0], Y[Y == 0])], class_weight=class_weight, verbose=0)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"x": iter(batches()), "epochs": 2}, ValueError, "x must be an iterable .* 2 tim"),
    ({"x": []}, ValueError, "x must give a batch at least, got none"),
    ({"x": [X]}, TypeError, r"x must give batches \(x, y\) or .* got ndarray"),
    ({"x": X}, TypeError, "y must be given, unless x gives batches"),
    ({"x": [(X[:, :3], Y)]}, ValueError, "x: batch 0: x must have 4 features, got 3"),
    ({"x": [(X, Y + 1)]}, ValueError, "x: batch 0: y must hold labels from 0 to 2"),
    ({"x": [(X, Y, -X[:, 0])]}, ValueError, "batch 0: weights must be finite and >= 0"),
    (
        {"x": batches(), "validation_split": 0.1},
        ValueError,
        "validation_split must come",
    ),
    (
        {"x": batches(), "sample_weight": Y},
        ValueError,
        "sample_weight must come with ar",
    ),
    (
        {"x": batches(), "class_weight": "balanced"},
        ValueError,
        "class_weight must be a d",
    ),
    (
        {"x": X, "y": Y, "steps_per_epoch": 2},
        ValueError,
        "steps_per_epoch must come wi",
    ),
    (
        {"x": batches(), "steps_per_epoch": 0},
        ValueError,
        "steps_per_epoch must be an in",
    ),
    (
        {"x": X, "y": Y, "validation_data": (X, Y), "validation_steps": 2},
        ValueError,
        "validation_steps must come with validation_data that gives batches",
    ),
    (
        {"x": X, "y": Y, "validation_data": batches(), "validation_steps": 0},
        ValueError,
        "validation_steps must be an integer >= 1, got 0",
    ),
    (
        {"x": X, "y": Y, "sample_weight": scipy.sparse.csr_array(X[:, :1])},
        TypeError,
        "sample_weight must hold real numbers, got dtype object with csr_array",
    ),
    (
        {"x": X, "y": Y, "validation_data": [X]},
        TypeError,
        "validation_data must give b",
    ),
    (
        {"x": pandas.DataFrame(X).assign(a="b"), "y": Y},
        TypeError,
        "others in columns 'a'",
    ),
    (
        {"x": scipy.sparse.csr_array(X * 1j), "y": Y},
        TypeError,
        "sparse array of complex",
    ),
    (
        {
            "x": pandas.DataFrame(X.astype(np.float32)).astype("Float32").mask(X > 4),
            "y": Y,
        },
        ValueError,
        "x must be finite",
    ),
    (
        {"x": scipy.sparse.csr_array(X * np.inf), "y": Y},
        ValueError,
        r"x\[0:90\] must be fi",
    ),
    (
        {"x": X, "y": Y, "sample_weight": Y[:5]},
        ValueError,
        r"sample_weight must have sh",
    ),
    (
        {"x": X, "y": Y, "sample_weight": -Y},
        ValueError,
        "sample_weight must be finite ",
    ),
    (
        {"x": X, "y": Y, "sample_weight": X[:, 0] * np.nan},
        ValueError,
        ">= 0, got nan in",
    ),
    (
        {"x": X, "y": Y, "class_weight": {0: -1}},
        ValueError,
        r"class_weight\[0\] must be",
    ),
    (
        {"x": X, "y": Y, "class_weight": "equal"},
        ValueError,
        "class_weight must be a dic",
    ),
    (
        {"x": X, "y": Y, "callbacks": [3]},
        TypeError,
        r"callbacks\[0\] must be a Callback",
    ),
    (
        {"x": X, "y": Y, "callbacks": 3},
        TypeError,
        "callbacks must be a list of callbac",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_errors_change_nothing(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    net = learnt()
    before = net.parameters.copy()
    with pytest.raises(error, match=message):
        net.fit(**arguments, verbose=0)
    np.testing.assert_array_equal(net.parameters, before)
    assert (net.epoch, net.loss, net.optimizer) == (0, None, None)


def test_standardize_cannot_learn_from_batches() -> None:
    net = classifier()
    with pytest.raises(
        ValueError, match=r"Standardize must have learnt .*build\(4\) an"
    ):
        net.fit(batches(), verbose=0)
    assert net.features == 0


def test_a_value_in_a_file_that_is_not_finite(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(3 << 18, 8))
    x[400_000, 3] = np.nan
    with pytest.raises(ValueError, match=r"x\[393216:524288\] .* row 6784, column 3"):
        classifier().fit(x, np.zeros(len(x), int), verbose=0)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_row_of_weight_two_counts_as_two(size: int) -> None:
    rng = np.random.default_rng(3)
    x, weights = rng.normal(5, 2, (1000, 3)), rng.integers(0, 4, 1000)
    x[:, 2] = np.where(weights > 0, 1.0, 9.0)  # constant where anything counts
    blocks = (x[i : i + size] for i in range(0, 1000, size))
    mean, scale = data.moments(blocks, weights)
    repeated = np.repeat(x, weights, axis=0)
    # float64 sums in another order.
    np.testing.assert_allclose(mean, repeated.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(scale[:2], repeated.std(axis=0)[:2], rtol=1e-12)
    assert scale[2] == 1


def test_rows_that_were_checked_are_not_checked_again() -> None:
    x = np.arange(12.0).reshape(4, 3)
    table = data.inputs("x", x, np.dtype(np.float32))
    assert data.inputs("x", table, np.dtype(np.float32), 3) is table
    double = data.inputs("x", table, np.dtype(np.float64))
    assert double.take(slice(None)).dtype == np.float64
    with pytest.raises(ValueError, match="x must have 4 features, got 3"):
        data.inputs("x", table, np.dtype(np.float32), 4)
