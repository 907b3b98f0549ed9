"""The package as a whole: version, configuration, examples, C API, import."""

import doctest
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pickle
import pkgutil
import pydoc
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
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


MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(lm.__path__, "lamina.")
    if name not in ("lamina._core", "lamina.kernels", "lamina.__main__")
]


@pytest.mark.parametrize("name", ["lamina", *MODULES])
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_examples_in_docstrings_of_activations() -> None:
    runner = doctest.DocTestRunner()
    for name in _core.__all__:
        doc = getattr(lm, name).__doc__
        assert "Parameters\n----------" in doc
        test = doctest.DocTestParser().get_doctest(doc, {}, name, None, None)
        assert test.examples
        assert runner.run(test).failed == 0


def test_code_in_the_readme_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
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


def test_a_compiled_function_is_like_its_declaration() -> None:
    assert list(inspect.signature(lm.dropout).parameters) == [
        *("x", "rate", "seed", "offset", "mode", "out")
    ]
    assert "dropout(x: " in pydoc.plain(pydoc.render_doc(lm.dropout))
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
    source.write_text(
        "# cython: language_level=3\n"
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

    x, y, dx = rng.normal(size=(3, 37)).astype(np.float32)
    mask = np.empty(5, np.uint8)
    mine.dropout(x, y, mask, dx)
    np.testing.assert_array_equal(y, lm.dropout(x, 0.25, seed=7, offset=5))
    np.testing.assert_array_equal(dx, y)


def test_a_function_of_numba_calls_the_kernels() -> None:
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
