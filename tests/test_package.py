"""The package as a whole: version, configuration, examples, C API, import."""

import contextlib
import copy
import ctypes
import doctest
import gc
import importlib
import importlib.metadata
import importlib.util
import inspect
import operator
import os
import pickle
import pkgutil
import platform
import pydoc
import re
import subprocess
import sys
import sysconfig
import typing
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas
import pytest

import lamina as lm
from lamina import _core

ROOT = Path(__file__).resolve().parent.parent


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd="/",
    )


def test_version_is_that_of_the_metadata() -> None:
    assert lm.__version__ == importlib.metadata.version("lamina") == _core.__version__


def test_show_config_and_command() -> None:
    config = lm.show_config()
    assert config["target"] in config["targets_available"]
    assert set(config["targets_available"]) <= set(config["targets_built"])
    assert config["numpy"] == np.__version__
    assert config["bf16"] in (True, False)
    shown = subprocess.run(
        [sys.executable, "-m", "lamina"], capture_output=True, text=True, check=True
    ).stdout
    for word in ("lamina", "compiler", "targets built", "target ", "threads", "numpy"):
        assert re.search(f"^{word}", shown, re.MULTILINE), word


def test_target_from_the_environment() -> None:
    for name in lm.show_config()["targets_available"]:
        done = run(
            "import lamina; print(lamina.show_config()['target'])", LAMINA_TARGET=name
        )
        assert done.stdout.strip() == name
    done = run("import lamina", LAMINA_TARGET="mmx")
    assert "ImportError: LAMINA_TARGET must name a target" in done.stderr
    with pytest.raises(ValueError, match="got 'mmx'"):
        lm.set_target("mmx")


def test_import_changes_no_state_and_starts_nothing() -> None:
    done = run(
        "import os, sys, numpy\n"
        "threads = len(os.listdir('/proc/self/task'))\n"
        "import lamina\n"
        "assert sys.float_info.min / 2 != 0\n"
        "lamina.tanh(numpy.ones(100000)); assert sys.float_info.min / 2 != 0\n"
        "assert len(os.listdir('/proc/self/task')) == threads\n"
        "heavy = {'matplotlib', 'sklearn', 'tqdm', 'scipy', 'secrets'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="a Python with a GIL"
)
def test_a_free_threaded_python_stays_without_its_gil() -> None:
    """A module that does not declare that it bears it brings the GIL back."""
    done = run(
        "import sys, lamina, lamina.kernels\nassert not sys._is_gil_enabled()",
        PYTHONWARNINGS="error",
    )
    assert done.returncode == 0, done.stderr


def test_a_sub_interpreter_is_refused_and_does_not_hang() -> None:
    """As mod_wsgi makes them; whether or not the main one has imported Lamina."""
    if sys.version_info >= (3, 13):
        name, kinds = "_interpreters", "('isolated'), ('legacy')"
    else:
        name, kinds = "_xxsubinterpreters", "(isolated=True), (isolated=False)"
    inside = "".join(
        f"try:\n import {module}\nexcept ImportError as error:\n"
        " print(error, flush=True)\n"  # at exit Python 3.11 would end the main thread
        for module in ("lamina", "lamina._core", "lamina.kernels", "lamina")
    )
    for before in ("", "import lamina", "import numpy, lamina.kernels, lamina"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import {name} as interpreters\n{before}\n"
                f"for one in ({kinds.replace('(', 'interpreters.create(')}):\n"
                f"    interpreters.run_string(one, {inside!r})\n",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,  # a hang
        )
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
        assert len(said) == 8 and all("interpreters" in line for line in said), said


MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(lm.__path__, "lamina.")
    if name not in ("lamina._core", "lamina.kernels", "lamina.__main__")
]


@pytest.mark.parametrize("name", ["lamina", *MODULES])
def test_examples_in_docstrings(name: str) -> None:
    files = ("lamina.callbacks.files", "lamina.model")
    needed = {"lamina.optuna": "optuna"} | dict.fromkeys(files, "safetensors")
    if name in needed:
        pytest.importorskip(needed[name], reason="not on every Python")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_examples_in_docstrings_of_activations() -> None:
    runner = doctest.DocTestRunner()
    for name in _core.__all__:
        doc = getattr(lm, name).__doc__
        assert "Parameters\n----------" in doc
        test = doctest.DocTestParser().get_doctest(doc, {}, name, None, None)
        assert test.examples
        assert runner.run(test).failed == 0


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/deploy.md"])
def test_code_in_the_pages_runs(page: str, tmp_path: Path) -> None:
    if page != "README.md":
        pytest.importorskip("safetensors")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_public_names_are_documented() -> None:
    for name in lm.__all__:
        assert getattr(lm, name).__doc__, name


def public_objects() -> dict[str, Any]:
    """What the public modules export, by path, and what activations hold."""
    found: dict[str, Any] = {}

    def add(module: ModuleType) -> None:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if isinstance(value, ModuleType):
                add(value)
            elif not isinstance(value, str | list) and typing.get_origin(value) is None:
                found[f"{module.__name__}.{name}"] = value

    add(lm)
    for module in pkgutil.walk_packages(lm.__path__, "lamina."):
        if not module.name.split(".")[-1].startswith("_"):
            add(importlib.import_module(module.name))
    for name in _core.__all__:
        parts = ["ufunc", "backward", "backward.ufunc"]
        if "softmax" not in name:
            parts += ["derivative", "derivative.ufunc"]
        for part in parts:
            found[f"lamina.{name}.{part}"] = operator.attrgetter(part)(
                getattr(lm, name)
            )
    found["lamina._core.Function"] = _core.Function
    found["an activation with a parameter"] = lm.elu.using(alpha=0.5)
    found["its backward"] = lm.elu.using(alpha=0.5).backward
    found["a packed kernel"] = lm.pack(np.eye(3, dtype=np.float32), "float32")
    found["a schedule"] = lm.schedules.Cosine(0.1, 10)
    found["an optimizer"] = lm.Adam(lm.schedules.Step(0.1, 5, 0.5), clip_norm=1.0)
    found["a loss"] = lm.losses.huber.using(delta=2.0)
    found["a callback"] = lm.callbacks.EarlyStopping(patience=2)
    found["an initializer"] = lm.initializers.constant.using(value=2.0)
    found["a layer"] = lm.Dense(3, lm.celu.using(alpha=2.0), max_norm=1.0)
    net = lm.Sequential([lm.Dense(2, "tanh"), lm.Dropout(0.5), lm.Dense(1)], seed=1)
    found["a history"] = net.fit(np.eye(4), np.ones(4), loss="huber", verbose=0)
    found["a net"] = net
    return found


PUBLIC = public_objects()


@pytest.mark.parametrize("path", PUBLIC)
def test_everything_public_can_be_pickled_and_copied(path: str) -> None:
    value = PUBLIC[path]
    again = [pickle.loads(pickle.dumps(value, n)) for n in (2, pickle.HIGHEST_PROTOCOL)]
    for other in (*again, copy.copy(value), copy.deepcopy(value)):
        assert type(other) is type(value)
        if isinstance(value, type | FunctionType | np.ufunc):
            assert other is value
        elif "__eq__" in vars(type(value)):
            assert other == value
        else:
            assert re.sub(" at 0x.*", "", repr(other)) in repr(value)


@pytest.mark.parametrize("path", PUBLIC)
def test_everything_public_has_help_signature_and_type_hints(path: str) -> None:
    value = PUBLIC[path]
    assert isinstance(value.__doc__, str) and value.__doc__.strip()
    assert isinstance(getattr(value, "__module__", ""), str)
    assert value.__doc__.split("\n")[0] in pydoc.plain(pydoc.render_doc(value))
    pydoc.HTMLDoc().document(value, path)
    routines = [value] if callable(value) else []
    if inspect.isclass(value):
        held = [inspect.getattr_static(value, name) for name in dir(value)]
        held = [getattr(one, "__func__", getattr(one, "fget", one)) for one in held]
        routines += [f for f in held if isinstance(f, FunctionType)]
    for routine in routines:
        if not isinstance(routine, np.ufunc):  # those before NumPy 2.4 have none
            assert isinstance(inspect.signature(routine), inspect.Signature)
        if inspect.isroutine(routine) or inspect.isclass(routine):
            typing.get_type_hints(routine)


def test_help_of_the_modules() -> None:
    assert "leaky_relu" in pydoc.plain(pydoc.render_doc(lm.activations))

    def mine(a: lm.activations.ActivationFunction) -> None:
        """Of an activation."""

    assert "mine(a: " in pydoc.plain(pydoc.render_doc(mine))
    assert str(inspect.signature(lm.activations.get)).startswith("(activation: ")


@pytest.mark.parametrize("name", _core.__all__)
def test_signatures_of_activations_are_those_of_ufuncs(name: str) -> None:
    """What they list can be given, and in that way."""
    act = getattr(lm, name)
    x = np.ones((2, 3))
    functions = [(act, ["x"]), (act.backward, ["dy", "saved"])]
    if "softmax" not in name:
        functions.append((act.derivative, ["x"]))
    for function, arrays in functions:
        signature = inspect.signature(function)
        own = list(act.parameters)
        assert list(signature.parameters)[: len(arrays) + len(own) + 1] == [
            *(*arrays, *own, "out")
        ]
        inputs = [x] * len(arrays)
        keywords = {
            p.name: p.default
            for p in signature.parameters.values()
            if p.default is not p.empty and p.name != "signature"
        }
        signature.bind(*inputs, **keywords)
        np.testing.assert_array_equal(function(*inputs, **keywords), function(*inputs))
    assert str(inspect.signature(act.using)) == "(**parameter)"


def test_a_compiled_function_is_like_its_declaration() -> None:
    assert list(inspect.signature(lm.dropout).parameters) == [
        *("x", "rate", "seed", "offset", "mode", "out")
    ]
    shown = pydoc.plain(pydoc.render_doc(lm.dropout))
    assert re.search(r"dropout\(\s*x: ", shown)
    assert pickle.loads(pickle.dumps(lm.dropout)) is lm.dropout
    x = np.ones(3)
    out = np.empty(3)
    made = "".join(["o", "ut"])  # another object than the name in the declaration
    assert lm.dropout(x, rate=0.5, **{made: out}) is out
    bound: Any = type("Net", (), {"drop": lm.dropout})()
    assert bound.drop.__self__ is bound


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, x: f(x), "missing 1 required positional argument: 'rate'"),
        (lambda f, x: f(x, 0.5, 1), "takes 2 positional arguments but 3 were given"),
        (lambda f, x: f(x, 0.5, x=x), "multiple values for argument 'x'"),
        (lambda f, x: f(x, 0.5, sed=1), "unexpected keyword argument 'sed'"),
    ],
)
def test_calls_that_a_declaration_refuses(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(lm.dropout, np.ones(3))


def test_cimport_of_the_kernels(tmp_path: Path) -> None:
    """A user's Cython extension calls the kernels without the GIL, on raw pointers."""
    source = tmp_path / "mine.pyx"
    page = (ROOT / "docs" / "deploy.md").read_text()
    (served,) = re.findall(r"```cython\n(.*?)```", page, re.S)
    source.write_text(
        f"{served}\n"
        "from lamina.kernels cimport elu_f32, sigmoid_f64, softmax_f32\n"
        "from lamina.kernels cimport tanh_backward_f64, dense_f32, dense_backward_f32\n"
        "from lamina.kernels cimport dropout_f32, dropout_mask, dropout_backward_f32\n"
        "from lamina.kernels cimport GELU\n"
        "from libc.stdint cimport uint8_t\n"
        "def run(float[::1] x, double[::1] z, float[:, ::1] rows):\n"
        "    with nogil:\n"
        "        elu_f32(&x[0], &x[0], x.shape[0], 0.5)\n"
        "        sigmoid_f64(&z[0], &z[0], z.shape[0])\n"
        "        tanh_backward_f64(&z[0], &z[0], &z[0], z.shape[0])\n"
        "        softmax_f32(&rows[0, 0], &rows[0, 0], rows.shape[0], rows.shape[1])\n"
        "def dense(float[:, ::1] x, float[:, ::1] w, float[::1] b, float[:, ::1] y,\n"
        "          float[:, ::1] z, float[:, ::1] dx, float[:, ::1] dw,\n"
        "          float[::1] db):\n"
        "    cdef size_t n = x.shape[0], k = x.shape[1], m = w.shape[1]\n"
        "    with nogil:\n"
        "        dense_f32(&x[0, 0], &w[0, 0], &b[0], &y[0, 0], &z[0, 0], n, k, m,\n"
        "                  GELU, 0)\n"
        "        dense_backward_f32(&y[0, 0], &x[0, 0], &w[0, 0], &z[0, 0],\n"
        "                           &dx[0, 0], &dw[0, 0], &db[0], n, k, m, GELU, 0)\n"
        "def dropout(float[::1] x, float[::1] y, uint8_t[::1] mask, float[::1] dx):\n"
        "    dropout_f32(&x[0], &y[0], x.shape[0], 0.25, 7, 5)\n"
        "    dropout_mask(&mask[0], x.shape[0], 0.25, 7, 5)\n"
        "    dropout_backward_f32(&x[0], &mask[0], &dx[0], x.shape[0], 0.25)\n"
    )
    cython = [sys.executable, "-m", "cython", "-3", str(source)]
    subprocess.run(cython, check=True, cwd=tmp_path)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", include, "mine.c", "-o", f"mine{suffix}"],
        check=True,
        cwd=tmp_path,
    )
    spec = importlib.util.spec_from_file_location("mine", tmp_path / f"mine{suffix}")
    assert spec and spec.loader
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    x = np.linspace(-3, 3, 37, dtype=np.float32)
    z = np.linspace(-3, 3, 37)
    rows = x[:36].reshape(4, 9).copy()
    want = lm.elu(x, alpha=0.5), lm.sigmoid(z), lm.softmax(rows)
    mine.run(x, z, rows)
    np.testing.assert_array_equal(x, want[0])
    np.testing.assert_array_equal(z, lm.tanh.backward(want[1], want[1]))
    np.testing.assert_array_equal(rows, want[2])

    rng = np.random.default_rng(0)
    shapes = (4, 9), (9, 5), (5,), (4, 5), (4, 5), (4, 9), (9, 5), (5,)
    x, w, b, *results = (rng.normal(size=s).astype(np.float32) for s in shapes)
    mine.dense(x, w, b, *results)
    y, saved = lm.dense(x, w, b, "gelu", return_saved=True)
    gradients = lm.dense_backward(y, x, w, saved, "gelu")
    for got, expected in zip(results, (y, saved, *gradients), strict=True):
        np.testing.assert_array_equal(got, expected)

    net = lm.Sequential([lm.Dense(128, "relu"), lm.Dense(10, "softmax")], seed=0)
    net.build(64)
    x, y = rng.normal(size=(9, 64)).astype(np.float32), np.empty((9, 10), np.float32)
    mine.Served(net.get_weights()).rows(x, y)
    np.testing.assert_array_equal(y, net.predict(x))

    x, y, dx = rng.normal(size=(3, 37)).astype(np.float32)
    mask = np.empty(5, np.uint8)
    mine.dropout(x, y, mask, dx)
    np.testing.assert_array_equal(y, lm.dropout(x, 0.25, seed=7, offset=5))
    np.testing.assert_array_equal(dx, y)


def test_a_function_of_numba_calls_the_kernels() -> None:
    pytest.importorskip("numba", reason="not on every Python", exc_type=ImportError)
    import lamina.kernels as kernels

    assert doctest.testmod(kernels).attempted > 0
    assert doctest.testmod(kernels).failed == 0


def test_signatures_of_the_c_api_are_frozen() -> None:
    """Other people's binaries call through them."""
    import lamina.kernels as kernels

    text = {name: str(capsule) for name, capsule in kernels.__pyx_capi__.items()}
    assert len(text) == 4 * len(_core.__all__) + 9
    dense = "float const *, float const *, float const *, float *, float *, " + (
        "size_t, size_t, size_t, size_t, float"
    )
    assert f'"int ({dense})"' in text["dense_f32"]
    assert "uint64_t, uint64_t" in text["dropout_f64"]
    assert '"void (float const *, float *, size_t)"' in text["sigmoid_f32"]
    assert (
        '"void (double const *, double const *, double *, size_t, double)"'
        in text["elu_backward_f64"]
    )
    assert '"void (float const *, float *, size_t, size_t)"' in text["softmax_f32"]


# What calls leave ---------------------------------------------------------------------

# Right and wrong arguments of every kind, each the whole of a call.
CALLS = """
lm.elu(i8, alpha=0.5)
lm.elu(i8, 0.5)
lm.elu(i8, alpha=0.5, dtype=np.float64)
lm.elu(x, alpha=0.5, dtype="f")
lm.elu(x, alpha=0.5, signature="ff->f")
lm.elu([1.0, 2.0], alpha=0.5)
lm.elu(x, alpha="half")
lm.elu(x, alpha=1e300)
lm.celu(x, alpha=1e-300)
lm.elu(i8, alpha=1e300)
lm.elu(x, 0.5, alpha=0.5)
lm.elu(x, beta=0.5)
lm.elu(x, alpha=0.5, dtype="nonsense")
lm.elu(x, alpha=0.5, dtype=object)
lm.elu(x, alpha=0.5, signature=("x", None))
lm.elu()
lm.elu(x, alpha=10**400)
lm.elu(object(), alpha=0.5)
lm.elu.using(alpha=0.25)
lm.elu.using(beta=0.25)
lm.elu.using(0.25)
lm.elu.using(alpha=None)
lm.relu.using(alpha=1.0)
lm.elu.derivative(x, alpha=0.5, out=locked)
lm.elu.backward(x, x.T[:2], alpha=0.5)
lm.gelu(x, out=x)
lm.gelu(x, out=x64)
lm.gelu(x64, out=x, casting="no")
lm.gelu(x, out=locked)
lm.gelu(x, out=x[::-1])
lm.gelu(texts)
lm.gelu(objects)
lm.gelu(masked)
lm.gelu(x[::2, ::2])
lm.gelu(x, where=x > 0)
lm.gelu(x, nonsense=1)
lm.gelu(x, out=x, out2=x)
lm.softmax(x, axis=0)
lm.softmax(frame)
lm.softmax(frame, axis=9)
lm.softmax(x, x, x, x)
lm.softmax.backward(frame, frame)
lm.softmax(3.0)
lm.gelu.__doc__, lm.gelu.__signature__, lm.gelu.backward.__name__, repr(lm.elu.backward)
lm.gelu.parameters, lm.elu.parameters, lm.gelu.promises, lm.gelu.saves, lm.gelu.formula
lm.softmax.derivative
pickle.loads(pickle.dumps([lm.elu.using(alpha=2.0), lm.elu.backward, lm.elu.ufunc]))
lm.activations.get("nonsense")
lm.activations.get(3)
hash(lm.elu), lm.elu == lm.celu, lm.elu < lm.celu
lm.matmul(x, x)
lm.matmul(x, x64, out=x)
lm.matmul(x, x, out=x)
lm.matmul(x, x.T, out=x.T)
lm.matmul(x, x, out=locked)
lm.matmul(x, x[:2])
lm.matmul(x[0], x)
lm.matmul(texts, x)
lm.matmul(objects, x)
lm.matmul(masked, x)
lm.matmul(half, swapped)
lm.matmul(x, x, x, x)
lm.matmul(x, b=x, a=x)
lm.matmul(x, x, nonsense=1)
lm.matmul(x, x, out="x")
lm.dense(x, x, bias, "gelu", return_saved=True)
lm.dense(x, x, bias, "nonsense")
lm.dense(x, x, bias, lm.celu.using(alpha=1e-50))
lm.dense(x, x, x)
lm.dense(x, x, dropout=2.0)
lm.dense(x, x, dropout="x")
lm.dense(x, x, dropout=0.5, return_saved=True)
lm.dense(x, x, dropout=0.5, seed=-1)
lm.dense(x, x, dropout=0.5, seed=1.5)
lm.dense(x, packed, bias, "gelu", out=x)
lm.dense(x64, packed)
lm.dense(packed, x)
lm.dense_backward(x, x, x, x, "tanh", out=(None, x64, None))
lm.dense_backward(x, x, x, x, "tanh", out=(y, y, None))
lm.dense_backward(x, x, x, x, "tanh", out=(y, None, None))
lm.dense_backward(x, x, x, x, "tanh", out=[None])
lm.dense_backward(x, x, x, x, dropout=0.5)
lm.pack(x, "float32"), lm.pack(x, "nonsense")
lm.pack(x64, "float32")
packed.shape, packed.precision, packed.nbytes, repr(packed), pickle.dumps(packed)
lm.dropout(x, 0.5)
lm.dropout(x, 0.5, seed=2**64)
lm.dropout(x, 0.5, mode="nonsense")
lm.dropout(x, 0.5, mode=3)
lm.dropout(x, 0.5, out=locked)
lm.dropout_backward(x, 0.5, mask=x)
lm.dropout_backward(x, 0.5, seed=1, mask=mask)
lm.dropout_backward(x, 0.5, mask=mask[:1])
lm.dropout_mask(16, 0.5, seed=1, packed=False)
lm.dropout_mask(-1, 0.5, seed=1)
_core.gaussian_noise(x, 1e300, 1, 0)
_core.sorted_order(x)
_core.random_words(64, 1, 2)
_core.loss(huber, x, x, 1.0, None, y)
_core.loss(huber, x, x, 1.0, None, x)
_core.loss(huber, x, x[:2], 1.0)
_core.loss((1, 2), x, x, 1.0)
_core.loss(("huber", "a", 1.0), x, x, 1.0)
_core.loss(cross, x, labels, 1.0, bias, y)
_core.loss(cross, x, labels + 9, 1.0, bias, y)
_core.update(adam, x, y, x64, 0.1, 1)
_core.update(adam, locked, y, state, 0.1, 1)
_core.update((1,), x, y, state, 0.1, 1)
_core.update(("nonsense", *adam[1:]), x, y, state, 0.1, 1)
_core.update(tiny, y.copy(), y, state, 0.1, 1)
_core.update()
_core.update(adam, x, y, state, 0.1, 1, 1)
_core.loss(huber, x, x)
_core.loss(huber, x, x, scale=1.0)
_core.normal_quantile(x)
_core.clip(adam, y, [3])
_core.limit_norms(bias, 1.0)
_core.penalty(x, y, 1e300, 0.0, 1.0)
net.predict(x, out=y)
net.predict(x[:, :2])
net.predict(x, out=locked)
net.evaluate(x, x)
net.evaluate(x, labels)
net.gradients(x, x, sample_weight=bias)
net.gradients(x, x, sample_weight=bias[:2])
net.train_on_batch(x, x)
net.train_on_batch(x, x, optimizer=lm.Adam(epsilon=1e-50))
net.train_on_batch(objects, x)
bad.predict(x)
lm.set_num_threads(lm.get_num_threads())
lm.set_target("nonsense")
""".strip().splitlines()


def allocated_bytes() -> int:
    """Of the heap of C, which Python's does not count; 0 where it cannot be asked."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return 0
    fields = (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    )
    members = {"_fields_": [(name, ctypes.c_size_t) for name in fields.split()]}
    libc.mallinfo2.restype = type("mallinfo2", (ctypes.Structure,), members)
    found = libc.mallinfo2()
    return int(found.uordblks + found.hblkhd)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_leaves_no_reference_behind(call: str) -> None:
    """Neither to its arguments nor to what all share, whether it works or fails."""
    x = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    locked = x.copy()
    locked.flags.writeable = False
    values: dict[str, Any] = {
        "x": x,
        "y": x.copy(),
        "x64": x.astype(np.float64),
        "i8": x.astype(np.int8),
        "half": x.astype(np.float16),
        "swapped": x.astype(">f4"),
        "texts": x.astype(str),
        "objects": x.astype(object),
        "masked": np.ma.masked_less(x, 0),
        "locked": locked,
        "frame": pandas.DataFrame(x),
        "bias": x[0].copy(),
        "labels": np.arange(4),
        "mask": lm.dropout_mask(16, 0.5, seed=1),
        "packed": lm.pack(x, "float32"),
        "huber": lm.losses.huber.core,
        "cross": lm.losses.categorical_crossentropy.core,
        "adam": lm.Adam().core,
        "tiny": lm.Adam(epsilon=1e-50).core,
        "state": np.zeros(32, np.float32),
        "net": lm.Sequential([lm.Dense(4, lm.elu.using(alpha=0.5))], seed=0),
        "bad": lm.Sequential([lm.Dense(4, lm.celu.using(alpha=1e-50))], seed=0),
    }
    for net in (values["net"], values["bad"]):
        net.build(4)
    values["net"].train_on_batch(x, x, loss="huber", optimizer="sgd")
    shared = [
        *values.values(),
        *map(np.dtype, (np.float32, np.int8, np.float16, object)),
    ]
    if not call.startswith("net."):  # np.zeros(3) itself leaves one, with NumPy 2.4
        shared.append(np.dtype(np.float64))
    shared += [lm.elu, lm.gelu, lm.celu, lm.softmax, lm.elu.ufunc, lm.elu.backward]
    shared += [lm.activations.ActivationFunction, _core.Function, lm.PackedKernel]
    shared += ["alpha", "axis", "out", lm.dense, lm.matmul, lm.dropout]
    if sys.version_info < (3, 12):  # later they are immortal
        shared += [None, True, False, (), 0, 1, -1, ""]
    code = compile(call, "call", "eval")
    scope = {"np": np, "lm": lm, "_core": _core, "pickle": pickle, **values}

    def kept() -> tuple[list[int], int, int]:
        gc.collect()
        counts = [sys.getrefcount(value) for value in shared]
        return counts, sys.getallocatedblocks(), allocated_bytes()

    def repeat(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(Exception):
                eval(code, scope)

    count = 1000
    repeat(count)  # whatever is made once
    counts, blocks, size = kept()
    repeat(count)
    counts_after, blocks_after, size_after = kept()
    grown = [after - before for before, after in zip(counts, counts_after, strict=True)]
    assert [
        (repr(v)[:60], n) for v, n in zip(shared, grown, strict=True) if n > 99
    ] == []
    assert blocks_after - blocks < count / 2
    assert size_after - size < count * 16  # half of the smallest block of the heap


@pytest.mark.skipif(platform.machine() != "x86_64", reason="about its instructions")
def test_the_best_target_of_the_processor_is_chosen() -> None:
    """A build whose compiler cannot ask the processor would run on sse2 in silence."""
    flags = set(
        Path("/proc/cpuinfo").read_text().split("flags")[1].split("\n")[0].split()
    )
    best = "sse2"
    if {"avx2", "fma"} <= flags:
        best = "avx2"
        if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags:
            best = "avx512"
    text = "import lamina as lm; print(lm.show_config()['target'])"
    environment = {k: v for k, v in os.environ.items() if k != "LAMINA_TARGET"}
    chosen = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, check=True
    )
    assert chosen.stdout.decode().strip() == best
