"""Model files: everything comes back, and a bad file is an error; weights of others."""

import copy
import errno
import inspect
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import safetensors.numpy
import sklearn.base
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina as lm
from lamina import initializers, losses, optimizers
from lamina.exchange import descriptions
from lamina.initializers import Initializer

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)) * 3 + 1
float32: Any = np.float32  # for a type checker no float
LABELS = RNG.integers(0, 3, 30)


def make(dtype: str = "float32", rate: float = 0.25) -> lm.Sequential:
    layers = [
        lm.Standardize(),
        lm.Dense(5, lm.elu.using(alpha=0.5), l2=1e-3),
        lm.Dropout(rate),
        lm.Dense(4, use_bias=False),
        lm.Activation("tanh"),
        lm.Dense(3, "softmax"),
    ]
    return lm.Sequential(layers, seed=2**64 - 1, dtype=dtype)


def train(net: lm.Sequential, epochs: int, **options: Any) -> lm.History:
    return net.fit(X, LABELS, epochs=epochs, batch_size=8, verbose=0, **options)


def through(net: lm.Sequential, folder: Path, **options: Any) -> lm.Sequential:
    net.save(folder / "net")
    return lm.load(folder / "net", **options)


def small(folder: Path) -> bytes:
    """A file with every kind of tensor and description in it."""
    net = lm.Sequential([lm.Standardize(), lm.Dropout(0.5), lm.Dense(2)], seed=1)
    net.fit(X[:, :2], X[:, :2], verbose=0, optimizer=lm.SGD(0.1, momentum=0.5))
    net.save(folder / "small")
    return (folder / "small").read_bytes()


def pieces(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The header, the description within it, and the data."""
    (n,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + n])
    return header, json.loads(header["__metadata__"]["lamina"]), content[8 + n :]


def join(header: Any, described: Any, data: bytes) -> bytes:
    if described is not None:
        text = described if isinstance(described, str) else json.dumps(described)
        header = {**header, "__metadata__": {"lamina": text}}
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer", [lm.Adam(0.01), lm.SGD(0.1, momentum=0.9, nesterov=True), lm.SGD()]
)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_loaded_net_goes_on_bit_for_bit(
    dtype: str, optimizer: Any, share: float, tmp_path: Path
) -> None:
    whole, first = make(dtype), make(dtype)
    expected = train(whole, 6, optimizer=optimizer, validation_split=share)
    train(first, 3, optimizer=optimizer, validation_split=share)
    net = through(first, tmp_path)
    assert repr(net) == repr(first)
    assert (net.optimizer, net.loss, net.epoch) == (optimizer, first.loss, 3)
    np.testing.assert_array_equal(net.predict(X), first.predict(X))
    assert net.predict(X).dtype == dtype
    history = train(net, 3, validation_split=share)
    assert history["loss"] == expected["loss"][3:]
    assert history.get("val_loss") == (expected["val_loss"][3:] if share else None)
    np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_a_loaded_net_owns_its_buffers(tmp_path: Path) -> None:
    first = make()
    train(first, 1)
    net = through(first, tmp_path)
    net.parameters[:] = 0
    assert not net.layers[1].parameters["kernel"].any()
    assert first.layers[1].parameters["kernel"].any()


def test_an_unbuilt_net_is_saved_too(tmp_path: Path) -> None:
    net = through(make(), tmp_path)
    assert net.features == 0
    other = make()
    train(net, 1)
    train(other, 1)
    np.testing.assert_array_equal(net.parameters, other.parameters)


OBJECTS = [
    *(getattr(lm, name) for name in lm.activations.names),
    lm.leaky_relu.using(negative_slope=-0.5),
    lm.elu.using(alpha=np.inf),
    *(value for value in vars(losses).values() if isinstance(value, losses.Loss)),
    *(v for v in vars(initializers).values() if isinstance(v, Initializer)),
    initializers.he_normal.using(truncated=True),
    lm.initializers.he_normal.using(gain=3.0, fan="mean"),
    lm.SGD(float32(0.1), momentum=0.5, nesterov=bool(np.True_)),
    lm.Adam(1, epsilon=1e-300),
]  # fmt: skip


@pytest.mark.parametrize("value", OBJECTS, ids=repr)
def test_descriptions_come_back_equal(value: Any) -> None:
    text = json.dumps(descriptions.encode(value))
    again = descriptions.decode(descriptions.parse(text), descriptions.CLASSES)
    assert again == value
    assert type(again) is type(value)


def test_every_class_of_lamina_can_be_in_a_file() -> None:
    for name in lm.__all__:
        found = getattr(lm, name)
        kinds = lm.Layer | optimizers.Optimizer
        if isinstance(found, type) and issubclass(found, kinds) and name != "Layer":
            assert descriptions.CLASSES[name] is found
            assert getattr(found, "config", None) is not lm.Layer.config


@pytest.mark.parametrize(
    "layer",
    [
        lm.Dense(3, lm.elu.using(alpha=2), use_bias=False, l1=0.5, l2=0.25),
        lm.Dense(3, "relu", kernel_initializer="lecun_uniform"),
        lm.Activation("gelu"),
        lm.Dropout(0.25, "classic"),
        lm.Standardize(),
    ],
    ids=repr,
)
def test_config_and_shapes_describe_a_layer(layer: lm.Layer) -> None:
    layer = copy.deepcopy(layer)
    text = json.dumps(descriptions.encode(layer))
    twin = descriptions.decode(descriptions.parse(text), descriptions.CLASSES)
    assert twin.config() == layer.config()
    arguments = inspect.signature(type(layer)).parameters
    assert set(layer.config()) <= set(arguments)
    for name in set(arguments) - set(layer.config()):  # left out as it is by itself
        assert getattr(layer, name) == arguments[name].default
    layer.build(7, seed=1)
    twin.build(7, seed=1)
    arrays = dict(layer.parameters)
    arrays |= {k: getattr(layer, k) for k in layer.kept if k in ("mean", "scale")}
    assert layer.shapes(7) == {k: array.shape for k, array in arrays.items()}
    for name, array in layer.parameters.items():
        np.testing.assert_array_equal(array, twin.parameters[name])


def test_loading_draws_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make()
    train(net, 1)
    net.save(tmp_path / "net")

    def draw(*_: Any) -> Any:
        raise AssertionError("drawn")

    monkeypatch.setattr("lamina._core.random_words", draw)
    assert lm.load(tmp_path / "net").layers[1].config() == net.layers[1].config()


class Gain(lm.Layer):
    kept = ("seen", "last")

    def __init__(self, start: float = 1.0, name: str | None = None) -> None:
        super().__init__()
        self.start, self.name = start, name

    def config(self) -> dict[str, Any]:
        return {"start": self.start, "name": self.name}

    def initial(self) -> dict[str, Any]:
        self.seen, self.last = 0, np.zeros(2, np.int64)
        return {"factor": np.full(self.features, self.start)}

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.take(x)
        self.keep(x, training)
        self.seen += training
        self.last[...] = x.shape
        return x * self.parameters["factor"]

    def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
        dy, x = self.recall(dy)
        self.gradients["factor"][...] = (dy * x).sum(axis=0)
        return dy * self.parameters["factor"]


def test_a_layer_of_ones_own(tmp_path: Path) -> None:
    net = lm.Sequential([Gain(2.0, "a\0b"), lm.Dense(3, "softmax")], seed=0)
    train(net, 2)
    again = through(net, tmp_path, custom={"Gain": Gain})
    layer: Any = again.layers[0]
    assert (layer.start, layer.name, layer.seen) == (2.0, "a\0b", 8)
    assert layer.last.tolist() == [6, 4]
    train(net, 1)
    train(again, 1)
    np.testing.assert_array_equal(net.parameters, again.parameters)
    with pytest.raises(ValueError, match=r"unknown class 'Gain'; pass custom=\{'Gai"):
        lm.load(tmp_path / "net")
    custom: Any
    for custom in ({"Gain": 3}, {"Dense": Gain}, [Gain], Gain, "Gain"):
        with pytest.raises(TypeError, match=r"^custom"):
            lm.load(tmp_path / "net", custom=custom)
    with pytest.raises(ValueError, match="unexpected keyword argument 'start'"):
        lm.load(tmp_path / "net", custom={"Gain": lm.Dropout})


def test_a_description_of_ones_own_class() -> None:
    class Plain(optimizers.Optimizer):
        def __init__(self, rates: tuple[float, ...]) -> None:
            self.rates_of_mine = rates

    class Described(Plain):
        def config(self) -> dict[str, Any]:
            return {"rates": list(self.rates_of_mine)}

    with pytest.raises(TypeError, match=r"objects with config\(\), got .*Plain"):
        descriptions.encode(Plain((0.1,)))
    encoded = descriptions.encode(Described((0.1, 0.2)))
    assert encoded == {"class": "Described", "rates": [0.1, 0.2]}
    classes = {"Described": Described}
    assert descriptions.decode(encoded, classes).rates_of_mine == (0.1, 0.2)


def test_a_function_of_ones_own_as_initializer_is_left_out(tmp_path: Path) -> None:
    def ones(shape: Any, dtype: Any) -> Any:
        return np.ones(shape, dtype)

    net = lm.Sequential([lm.Dense(2, "relu", kernel_initializer=ones)], seed=0)
    net.build(3)
    again = through(net, tmp_path)
    np.testing.assert_array_equal(again.parameters, net.parameters)
    assert again.layers[0].config()["kernel_initializer"] == initializers.he_normal


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    class Silent(lm.Layer):
        pass

    class Odd(lm.Dropout):
        def config(self) -> dict[str, Any]:
            return {"rate": open if self.rate else np.nan}

    class Broken(lm.Standardize):
        def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
            return {}

    namesake = type("Dense", (lm.Dense,), {})
    for layer, message in (
        (Silent(), r"Silent must define config\(\)"),
        (Odd(0.5), "a net to save must hold"),
        (namesake(3), "must not be called 'Dense'"),
        (Broken(), r"layers\[0\].shapes must name the arrays"),
    ):
        net = lm.Sequential([layer])
        if isinstance(layer, Broken):
            net.build(2)
        with pytest.raises(TypeError, match=message):
            net.save(tmp_path / "net")
    with pytest.raises(ValueError, match="no NaN"):
        lm.Sequential([Odd(0)]).save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


# Files


def test_a_file_is_safetensors_and_always_the_same_bytes(tmp_path: Path) -> None:
    net = make()
    train(net, 1)
    contents = set()
    for name in ("a.safetensors", "b.weights.h5", "c", "d d", "\N{SNOWMAN}"):
        net.save(str(tmp_path / name))
        contents.add((tmp_path / name).read_bytes())
    net.save(os.fsencode(tmp_path / "e"))  # type: ignore[arg-type]
    contents.add((tmp_path / "e").read_bytes())
    lm.load(os.fsencode(tmp_path / "e"))  # type: ignore[arg-type]
    assert len(contents) == 1
    tensors = safetensors.numpy.load_file(tmp_path / "c")
    np.testing.assert_array_equal(tensors["1.kernel"], net.get_weights()[0])
    np.testing.assert_array_equal(tensors["0.mean"], X.mean(axis=0).astype("float32"))
    assert tensors["optimizer"].shape == (2, net.parameters.size)


def test_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "net", tmp_path / "link"
    net = make()
    net.save(path)
    path.chmod(0o600)
    old = path.read_bytes()
    train(net, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            net.save(path)
    assert path.read_bytes() == old
    assert [each.name for each in tmp_path.iterdir()] == ["net"]
    link.symlink_to(path)
    net.save(link)
    assert link.is_symlink()
    assert path.read_bytes() != old
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OSError, match="path must be that of a file"):
        net.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "none" / "net")
    with pytest.raises(FileNotFoundError, match="none"):
        lm.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        lm.load(tmp_path)


def test_a_pipe_or_a_device_is_no_file(tmp_path: Path) -> None:
    """In a process of its own, which a pipe that nobody writes to would stop."""
    code = f"""
import os, lamina as lm
net = lm.Sequential([lm.Dense(1)])
net.build(2)
pipe, link, folder = (os.path.join({str(tmp_path)!r}, n) for n in ("p", "l", "f"))
os.mkfifo(pipe), os.symlink(pipe, link), os.mkdir(folder)
devices = ["/dev/zero", "/dev/null", "/dev/full", "/dev/fd/" + str(os.pipe()[0])]
for path in [pipe, link, folder, *devices]:
    for call in (net.save, lm.load):
        try:
            call(path)
        except OSError as error:
            assert "path must be that of a file, got the" in str(error), error
            assert repr(path) in str(error), error
        else:
            raise AssertionError(path)
assert sorted(os.listdir({str(tmp_path)!r})) == ["f", "l", "p"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_errors_name_the_path_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the file that is written beside it."""
    (tmp_path / "plain").touch()
    for path, kind in (
        (tmp_path / "none" / "net", FileNotFoundError),
        (tmp_path / "plain" / "net", NotADirectoryError),
    ):
        with pytest.raises(kind) as raised:
            make().save(path)
        assert raised.value.filename == str(path)
        assert ".lamina" not in str(raised.value)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left .*{tmp_path / 'net'}"):
        make().save(tmp_path / "net")


def test_what_layers_keep_may_be_wider(tmp_path: Path) -> None:
    """A mean far from zero is float64 in a net of float32."""
    net = lm.Sequential([lm.Standardize(), lm.Dense(1)], seed=0)
    net.fit([[1e9], [1e9 + 1]], [0.0, 1.0], verbose=0)
    net.save(tmp_path / "net")
    again = lm.load(tmp_path / "net")
    layer: Any = again.layers[0]
    assert (layer.mean, layer.mean.dtype) == (1e9 + 0.5, np.float64)
    assert again.predict([[1e9]]) == net.predict([[1e9]])


class Counting(lm.Layer):
    """Keeps an array that training changes in place."""

    kept = ("total",)

    def initial(self) -> dict[str, np.ndarray]:
        self.total = np.zeros(self.features)
        return {"factor": np.ones(self.features)}

    def forward(self, x: Any, training: bool = False) -> np.ndarray:
        x = self.take(x)
        self.keep(x, training)
        if training:
            self.total += x.sum(axis=0)
        return np.asarray(x * self.parameters["factor"])

    def backward(self, dy: Any, *, input_gradient: bool = True) -> np.ndarray:
        dy, x = self.recall(dy)
        self.gradients["factor"][...] = (dy * x).sum(axis=0)
        return np.asarray(dy * self.parameters["factor"])


def from_bytes(value: Any, folder: Path) -> Any:
    """As ray and dask hand it on: every array in a buffer that cannot be written to."""
    parts: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, 5, buffer_callback=parts.append)
    return pickle.loads(data, buffers=[bytes(part) for part in parts])


def from_mapped(value: Any, folder: Path) -> Any:
    joblib.dump(value, folder / "dumped")
    return joblib.load(folder / "dumped", mmap_mode="r")


read_only = pytest.mark.parametrize("read", [from_bytes, from_mapped])


@read_only
@pytest.mark.parametrize(
    "rule",
    [
        lm.SGD(0.1),
        lm.Adam(),
        lm.SGD(lm.schedules.Step(0.1, 3), momentum=0.9),
        lm.RMSprop(centered=True),
    ],
    ids=repr,
)
@pytest.mark.parametrize("own", [False, True], ids=["compiled", "interpreted"])
def test_a_net_from_read_only_buffers_goes_on(
    own: bool, rule: Any, read: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    layers = [lm.Standardize(), *([Counting()] if own else []), lm.Dense(3, "softmax")]
    net = lm.Sequential(layers, seed=0)
    net.fit(X, LABELS, optimizer=rule, verbose=0)
    again, other = read(net, tmp_path), copy.deepcopy(net)
    for each in (again, other):
        each.train_on_batch(X, LABELS)
        each.gradients(X, LABELS)
        each.apply_gradients()
        each.fit(X, LABELS, epochs=2, batch_size=7, verbose=0)
    np.testing.assert_array_equal(again.parameters, other.parameters)
    again.set_weights(net.get_weights())
    again.layers[0].learn(X + 1)
    np.testing.assert_allclose(again.layers[0].mean, X.mean(axis=0) + 1, 1e-6)
    again.parameters[...] = 0


@read_only
@pytest.mark.parametrize(
    "layer",
    [lm.Dense(4, l2=0.1), lm.Dropout(0.5), lm.Standardize(), Counting()],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_from_read_only_buffers_learns(
    layer: Any, read: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    layer = copy.deepcopy(layer)
    layer.build(4)
    alone = read(layer, tmp_path)
    alone.backward(alone.forward(X, training=True))
    for array in alone.parameters.values():
        array[...] = 1
    if isinstance(alone, lm.Standardize):
        alone.learn(X)
    net = lm.Sequential([alone, lm.Dense(3, "softmax")])
    net.fit(X, LABELS, verbose=0)


@read_only
def test_callbacks_from_read_only_buffers(
    read: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    stop = lm.callbacks.EarlyStopping("loss", patience=1, restore_best=True)
    net = lm.Sequential([lm.Dense(3, "softmax")], seed=0)
    net.fit(X, LABELS, epochs=3, callbacks=[stop], verbose=0)
    again = read(stop, tmp_path)
    net.fit(X, LABELS, epochs=3, callbacks=[again], verbose=0)
    assert again.best_epoch > 3


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    for call in (make().save, lm.load):
        with pytest.raises(ImportError, match=r"pip install lamina\[files\]"):
            call(tmp_path / "net")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "net"


def attempt(path: Path) -> lm.Sequential | None:
    """A sound net from a damaged file, or None for the one error that is allowed."""
    error = ""
    try:
        net = lm.load(path)
    except ValueError as found:
        error = str(found)
    if error:
        assert error.startswith(f"{path} must hold a net of Lamina: ")
        return None
    if net.features:
        assert net.predict(X[:, : net.features]).shape[0] == len(X)
        net.save(path.with_name("again"))
    return net


def test_every_byte_of_the_header_changed(content: bytes, scratch: Path) -> None:
    scratch.write_bytes(content)
    assert attempt(scratch) is not None
    header = 8 + struct.unpack("<Q", content[:8])[0]
    loaded = 0
    with scratch.open("r+b", buffering=0) as file:
        for i in range(header):
            os.pwrite(file.fileno(), bytes([content[i] ^ 1 << i % 8]), i)
            loaded += attempt(scratch) is not None
            os.pwrite(file.fileno(), content[i : i + 1], i)
    assert loaded < header / 5  # other digits, say; most of it cannot be else


def test_every_truncation(content: bytes, scratch: Path) -> None:
    scratch.write_bytes(content + b"\0")
    assert attempt(scratch) is None
    for size in reversed(range(len(content))):
        os.truncate(scratch, size)
        assert attempt(scratch) is None


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from([10**30, -1, 10**400, "Dense", "relu", "\0"])
)
WORDS = st.sampled_from(["class", "activation", "loss", "units", "name", "rate"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place within a JSON value: what holds it, and the index or key."""
    keys = range(len(value)) if isinstance(value, list) else list(value)
    here = [(value, key) for key in keys]
    inside = [value[key] for key in keys if isinstance(value[key], list | dict)]
    return here + [place for each in inside for place in places(each)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_anything_anywhere_in_a_description(
    data: st.DataObject, content: bytes, scratch: Path
) -> None:
    header, described, tensors = pieces(content)
    holder, key = data.draw(st.sampled_from(places(described)), "place")
    holder[key] = data.draw(VALUES, "value")
    scratch.write_bytes(join(header, described, tensors))
    attempt(scratch)


def change(*keys: Any, to: Any) -> Callable[[Any, Any], None]:
    def apply(_: Any, described: Any) -> None:
        for key in keys[:-1]:
            described = described[key]
        described[keys[-1]] = to

    return apply


def retype(name: str, **entry: Any) -> Callable[[Any, Any], None]:
    return lambda header, _: header[name].update(entry)


def rename(old: str, new: str) -> Callable[[Any, Any], None]:
    return lambda header, _: header.update({new: header.pop(old)})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            change("counts", "steps", to=2**64 - 1),  # after which there is no step
            r"steps must be an integer in \[0, 2\*\*62\), got 18446744073709551615",
        ),
        (change("counts", "updates", to=2**62), r"updates must be .* 2\*\*62\), got"),
        (change("counts", "epoch", to=2**62), r"epoch must be .* 2\*\*62\), got"),
        (change("version", to=2), "newer Lamina .version 2 of the format; .* reads 1"),
        (change("version", to="1"), "description must have"),
        (change("version", to=True), "version must be int"),
        (change("more", to=1), "description must have"),
        (change("dtype", to="float16"), "dtype must be float32 or float64"),
        (change("dtype", to="float64"), "tensor .* must be"),
        (change("seed", to=2**64), "seed must be an integer in"),
        (change("seed", to=-1), "seed must be an integer in"),
        (change("seed", to=None), "seed must be int"),
        (change("features", to=3), "tensors of layer 0 must be"),
        (change("features", to=-1), "features must be an integer >= 1"),
        (change("features", to=2**62), "tensors of layer 0 must be"),
        (change("features", to=0), "must have|missing or too many"),
        (change("layers", to=[]), "at least one layer"),
        (change("layers", 0, to=None), "must be a Layer"),
        (change("layers", 0, to={"class": "Adam"}), "must be a Layer"),
        (change("layers", 0, to={"class": "Layer"}), "unknown class 'Layer'"),
        (change("layers", 0, to={"class": "os.system"}), "unknown class"),
        (change("layers", 0, to={"class": ["Dense"]}), "unknown kind"),
        (change("layers", 0, to={}), "unknown kind"),
        (change("layers", 1, "class", to="Dense"), "unexpected keyword"),
        (change("layers", 1, "rate", to=2), "rate must be a number in"),
        (change("layers", 1, "rate", to=float("nan")), "no NaN"),
        (change("layers", 1, "mode", to="x\0"), "mode must be"),
        (change("layers", 2, "units", to=3), "tensors of layer 2 must be"),
        (change("layers", 2, "units", to=10**12), "tensors of layer 2 must be"),
        (change("layers", 2, "units", to=-1), "units must be an integer"),
        (change("layers", 2, "units", to=1e3), "units must be an integer"),
        (change("layers", 2, "l2", to=-1), "l2 must be"),
        (change("layers", 2, "l2", to=float("inf")), "l2 must be"),
        (change("layers", 2, "l2", to=10**400), "l2 must be a finite number"),
        (change("layers", 2, "use_bias", to=False), "tensors of layer 2 must be"),
        (change("layers", 2, "activation", "activation", to="x\0"), "unknown activ"),
        (change("layers", 2, "activation", "alpha", to=1), "no parameter"),
        (change("layers", 2, "kernel_initializer", "gain", to=-1), "gain must be"),
        (change("layers", 2, "kernel_initializer", "fan", to="x"), "fan must be"),
        (change("kept", to=[{}]), "kept must be 3, got 1"),
        (change("kept", 0, to={}), "must have .'learnt'."),
        (change("kept", 0, "learnt", to=1), "learnt must be True or False"),
        (change("counts", to=[]), "must have"),
        (change("counts", "epoch", to=-1), "epoch must be"),
        (change("counts", "epoch", to=2**64), "epoch must be"),
        (change("loss", to=3), "loss must be one"),
        (change("loss", to={"loss": "x"}), "unknown loss"),
        (change("loss", "name", to="x"), "unknown kind"),
        (change("loss", "activations", to=["relu"]), "unknown kind"),
        (change("loss", "loss", to="binary_crossentropy"), "must follow 'sigmoid'"),
        (change("optimizer", to={"class": "Dropout", "rate": 0}), "optimizer must be"),
        (change("optimizer", to=None), "missing or too many: .'optimizer'"),
        (change("optimizer", to={"class": "Adam"}), "tensor 'optimizer' must be"),
        (change("optimizer", "learning_rate", to=0), "learning_rate must be"),
        (change("optimizer", "learning_rate", to=float("inf")), "learning_rate must"),
        (change("optimizer", "momentum", to=1), "momentum must be"),
        (change("optimizer", "momentum", to=[0.5]), "momentum must be"),
        (rename("2.bias", "2.bias\0"), "tensors of layer 2 must be"),
        (rename("2.bias", "02.bias"), "tensors of layer 2 must be"),
        (rename("optimizer", "state"), "missing or too many"),
        (retype("2.kernel", shape=[4, 1]), "tensors of layer 2 must be"),
        (retype("2.kernel", shape=[4]), "tensors of layer 2 must be"),
        (retype("2.kernel", shape=[2**40, 2**40]), "overflow"),
        (retype("2.kernel", shape=[2, 2], dtype="I32"), "tensor '2.kernel' must be"),
        (retype("2.kernel", shape=[2, 4], dtype="BF16"), "tensors of layer 2 must be"),
        (retype("2.kernel", dtype="F33"), "invalid JSON in header: unknown variant"),
        (retype("2.kernel", data_offsets=[0, 16]), "invalid offset"),
        (retype("2.kernel", data_offsets=[-1, 16]), "invalid JSON"),
    ],
)  # fmt: skip
def test_what_a_hostile_file_says(
    edit: Any, message: str, content: bytes, tmp_path: Path
) -> None:
    header, described, data = pieces(content)
    edit(header, described)
    (tmp_path / "net").write_bytes(join(header, described, data))
    with pytest.raises(ValueError, match=f"must hold a net of Lamina: .*{message}"):
        lm.load(tmp_path / "net")


def test_hostile_headers(content: bytes, tmp_path: Path) -> None:
    header, described, data = pieces(content)
    text = json.dumps(described)
    deep = "[" * 10**5
    twice = text.replace('"version"', '"seed": 1, "version"', 1)
    wide = copy.deepcopy(described)
    wide["layers"] = [{"class": "Dense", "units": 2**40}] * 2
    extra = {**header, "3.bias": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    bad = [
        (b"", "header too small"),
        (struct.pack("<Q", 2**63) + content[8:], "header too large"),
        (struct.pack("<Q", 2**64 - 1) + content[8:], "header too large"),
        (struct.pack("<Q", 10**8) + content[8:], "header"),
        (join(b'{"a":' * 10**5, None, b""), "recursion limit"),
        (join(header, deep, data), "nested too deeply|Expecting value"),
        (join(header, '{"a":' * 10**5, data), "nested too deeply"),
        (join(header, f'{{"version":{deep}', data), "nested too deeply"),
        (join(header, twice, data), "a name must come once"),
        (join(header, text[:-1], data), "delimiter"),
        (join(header, "1" * 5000, data), "Exceeds the limit"),
        (join(header, "[1]", data), "description must have"),
        (join(header, wide, data), "tensors of layer 0 must be"),
        (join(extra, described, data), "missing or too many"),
        (join(b"\xff" * 9, None, b""), "UTF-8"),
        (join({"a": header["2.bias"]}, None, data), "header"),
        (safetensors.numpy.save({"a": np.ones(3)}), "weights alone"),
        (b"\x80\x04N.PK\x03\x04 pickled, zipped", "header too large"),
    ]
    for i, (each, message) in enumerate(bad):
        path = tmp_path / str(i)
        path.write_bytes(each)
        with pytest.raises(ValueError, match=f"must hold a net of Lamina: .*{message}"):
            lm.load(path)


def test_layers_without_weights_need_no_memory(tmp_path: Path) -> None:
    """Any number of features can be claimed where nothing is stored for each."""
    net = lm.Sequential([lm.Activation("relu")])
    net.build(3)
    net.save(tmp_path / "net")
    header, described, data = pieces((tmp_path / "net").read_bytes())
    described["features"] = 2**40
    (tmp_path / "net").write_bytes(join(header, described, data))
    assert lm.load(tmp_path / "net").features == 2**40


# Fresh copies


@pytest.mark.parametrize(
    "copied", [lambda net: net.clone(), sklearn.base.clone], ids=["clone", "sklearn"]
)
def test_a_clone_starts_fresh(copied: Any) -> None:
    net, untouched = make(), make()
    train(net, 2)
    before = net.predict(X)
    clone = copied(net)
    assert (clone.features, clone.epoch, clone.optimizer) == (0, 0, None)
    assert repr(clone) == repr(untouched)
    train(clone, 1)
    train(untouched, 1)
    np.testing.assert_array_equal(clone.parameters, untouched.parameters)
    np.testing.assert_array_equal(net.predict(X), before)


def test_a_clone_of_another_seed() -> None:
    net = make()
    clone = net.clone(seed=5)
    assert (clone.seed, net.seed) == (5, 2**64 - 1)
    train(net, 1)
    clone.build(4)
    net = net.clone(seed=5)
    net.build(4)
    np.testing.assert_array_equal(net.parameters, clone.parameters)
    with pytest.raises(ValueError, match="seed"):
        net.clone(seed=-1)


# Weights


def test_weights_are_copied_out_and_in() -> None:
    net, other = make(), make()
    net.build(4)
    other.build(4)
    weights = net.get_weights()
    assert [w.shape for w in weights] == [(4, 5), (5,), (5, 4), (4, 3), (3,)]
    weights[0][:] = 7
    assert not (net.parameters == 7).any()
    state = other.parameters.copy()
    other.set_weights(w.astype(np.float64) for w in weights)
    np.testing.assert_array_equal(other.layers[1].parameters["kernel"], weights[0])
    assert not np.array_equal(other.parameters, state)
    bad: Any
    for bad, kind, message in (
        (weights[:-1], ValueError, "must be 5 arrays .*, got 4"),
        (
            [*weights[:-1], weights[-1].reshape(3, 1)],
            ValueError,
            r"weights\[4\] must h",
        ),
        ([*weights[:-1], ["a", "b", "c"]], TypeError, "weights.4. must hold real"),
        ([*weights[:-1], [[1], [2, 3]]], ValueError, "inhomogeneous"),
    ):
        before = net.parameters.copy()
        with pytest.raises(kind, match=message):
            net.set_weights(bad)
        np.testing.assert_array_equal(net.parameters, before)


class Tensor:
    """As PyTorch's on another device and part of a graph."""

    def __init__(self, value: Any, steps: str = "") -> None:
        self.value, self.steps = np.array(value, np.float32), steps

    def detach(self) -> "Tensor":
        return Tensor(self.value, self.steps + "d")

    def cpu(self) -> "Tensor":
        return Tensor(self.value, self.steps + "c")

    def numpy(self) -> Any:
        assert self.steps == "dc"
        return self.value

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("call detach first")


# torch.nn.Sequential(Linear(3, 4), ReLU(), Dropout(), Linear(4, 2, bias=False), Tanh(),
# Linear(2, 1)) of PyTorch 2.13, its weights rounded to eighths, in eval mode.
STATE: dict[str, Any] = {
    "0.weight": [
        [0.0, 0.25, -0.5], [-0.375, -0.25, 0.125],
        [0.0, 0.5, 0.0], [0.125, -0.125, -0.125],
    ],
    "0.bias": [-0.5, -0.375, -0.25, 0.0],
    "3.weight": [[0.25, 0.25, -0.375, -0.25], [0.125, 0.375, -0.125, 0.375]],
    "5.weight": [[-0.125, 0.125]],
    "5.bias": [0.625],
}  # fmt: skip
INPUTS = [[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]]
OUTPUTS = [[0.6493275537557647], [0.6514553552766568]]  # in float64


def same_as_torch() -> lm.Sequential:
    net = lm.Sequential(
        [
            lm.Dense(4, "relu"),
            lm.Dropout(0.5),
            lm.Dense(2, "tanh", use_bias=False),
            lm.Dense(1),
        ],
        dtype="float64",
    )
    net.build(3)
    return net


@pytest.mark.parametrize(
    "given_as",
    [
        dict,
        lambda state: {k: Tensor(v) for k, v in state.items()},
        lambda state: {f"module.net.{k}": v for k, v in state.items()},
        lambda state: dict(sorted((f"1{k}", v) for k, v in state.items())),
        lambda state: {{"0": "9", "3": "10", "5": "100"}[k[0]] + k[1:]: v
                       for k, v in sorted(state.items(), reverse=True)},
    ],
)  # fmt: skip
def test_weights_of_pytorch(given_as: Any) -> None:
    net = same_as_torch()
    net.load_state_dict(given_as(STATE))
    # Two float64 libraries, each within a few units of the last place.
    np.testing.assert_allclose(net.predict(INPUTS), OUTPUTS, rtol=1e-14)
    state = net.state_dict()
    assert list(state) == list(STATE)
    for name, value in state.items():
        np.testing.assert_array_equal(value, STATE[name])
        assert value.flags.c_contiguous
        value[...] = 0
    assert net.parameters.any()


def test_names_that_say_nothing_keep_their_order() -> None:
    net = same_as_torch()
    names = {"0": "inner", "3": "fc2", "5": "fc1"}  # numbers decide: fc1 before fc2
    state = {names[k[0]] + k[1:]: np.array(v) for k, v in STATE.items()}
    with pytest.raises(ValueError, match=r"got \['bias', 'weight'\] under 'fc1'"):
        net.load_state_dict(state)
    names = {"0": "z", "3": "y", "5": "x"}
    net.load_state_dict({names[k[0]] + k[1:]: v for k, v in STATE.items()})
    np.testing.assert_allclose(net.predict(INPUTS), OUTPUTS, rtol=1e-14)


def test_states_that_do_not_fit() -> None:
    net = same_as_torch()
    before = net.parameters.copy()
    state: Any
    for state, kind, message in (
        ({}, ValueError, "weights of 3 layers, got 0"),
        ({**STATE, "7.weight": [[1.0]]}, ValueError, "of 3 layers, got 4"),
        ({**STATE, "5.running_mean": [0.0]}, ValueError, "'running_mean', 'weight'"),
        ({k: v for k, v in STATE.items() if k != "0.bias"}, ValueError, "'bias'"),
        (
            {**STATE, "0.weight": np.ones((3, 4))},
            ValueError,
            r"shape \(4, 3\), got \(3",
        ),
        ({**STATE, "5.bias": ["x"]}, TypeError, "5.bias. must hold real numbers"),
    ):
        with pytest.raises(kind, match=message):
            net.load_state_dict(state)
        np.testing.assert_array_equal(net.parameters, before)
    net = lm.Sequential([Gain(), lm.Dense(1)])
    net.build(2)
    for call in (net.state_dict, lambda: net.load_state_dict({})):
        with pytest.raises(
            TypeError, match=r"of Dense, Activation, Dropout, .* got <test_files.Gain"
        ):
            call()


def test_weights_need_a_built_net() -> None:
    net = make()
    calls: list[Callable[[], Any]] = [
        net.get_weights,
        net.state_dict,
        lambda: net.set_weights([]),
        lambda: net.load_state_dict({}),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=r"must come after fit or build"):
            call()


def test_what_a_file_may_name_is_listed() -> None:
    """A new class joins by itself; a base without arguments does not."""
    assert {"Dense", "SGD", "Adam", "Initializer"} <= set(descriptions.CLASSES)
    assert not {"Layer", "Optimizer", "Loss"} & set(descriptions.CLASSES)


def test_a_converted_net_can_be_saved(tmp_path: Path) -> None:
    net = make()
    train(net, 1)
    classic = net.convert_dropout("classic")
    again = through(classic, tmp_path)
    np.testing.assert_array_equal(again.parameters, classic.parameters)
