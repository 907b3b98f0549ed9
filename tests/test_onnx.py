"""Nets as ONNX graphs and back, judged by ONNX's checker, its reference evaluator and
ONNX Runtime."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx.checker
import onnx.reference
import onnxruntime
import pytest

import lamina as lm
from lamina import layers

RNG = np.random.default_rng(0)
TYPES = {1: np.float32, 11: np.float64}  # ONNX's numbers
# Roundings of three layers in float32, of outputs up to 10; what the promise is.
CLOSE: Any = {"rtol": 1e-6, "atol": 1e-6}


def run(model: Any, x: np.ndarray) -> list[list[Any]]:
    """The outputs by ONNX Runtime and by the reference, once the checker is content."""
    onnx.checker.check_model(model, full_check=True)
    (given,) = model.graph.input
    rows = {given.name: x.astype(TYPES[given.type.tensor_type.elem_type])}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    reference = onnx.reference.ReferenceEvaluator(model)
    return [list(each.run(None, rows)) for each in (session, reference)]


def assert_predicts(net: lm.Sequential, x: np.ndarray, **options: Any) -> Any:
    model = net.to_onnx(**options)
    wanted = net.predict(x)
    for (found,) in run(model, x):
        assert found.dtype == options.get("dtype", net.dtype)
        np.testing.assert_allclose(found, wanted, **CLOSE)
    return model


def dense(activation: Any, dtype: str, **options: Any) -> lm.Sequential:
    parts = [lm.Dense(7, activation, **options), lm.Dense(3, **options)]
    net = lm.Sequential(parts, seed=0, dtype=dtype)
    net.build(5)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", lm.activations.names)
def test_each_activation_predicts_the_same_elsewhere(name: str, dtype: str) -> None:
    x = RNG.normal(size=(100, 5))
    found = lm.activations.get(name)
    for activation in (found, *(found.using(**{k: 0.7}) for k in found.parameters)):
        net = dense(activation, dtype)
        if (name, dtype) == ("gelu", "float64"):
            with pytest.raises(ValueError, match=r"without gelu.*dtype='float32'"):
                net.to_onnx()
            assert_predicts(net, x, dtype="float32")
        else:
            assert_predicts(net, x)
            net = dense(activation, dtype, use_bias=False)
            assert_predicts(net, x, opset=20)


# What comes first in a net, where its inputs are numbers and two columns of codes.
FIRST: dict[str, list[lm.Layer]] = {
    "RobustScale": [lm.RobustScale(limit=2.0)],
    "Standardize": [lm.Standardize()],
    "Standardize columns": [lm.Standardize(columns=[0, 3])],
    "Standardize center": [lm.Standardize(center=False)],
    "Embedding": [lm.Embedding([6, 4], [5, 4], [2, 3])],
    "PiecewiseLinear": [lm.PiecewiseLinear(5, 4, columns=[3, 0])],
    "PiecewiseLinear all": [lm.PiecewiseLinear(9, 2)],
    "PiecewiseLinear line": [lm.PiecewiseLinear(1, 2)],
    "Periodic": [lm.Periodic(frequency_init_scale=1, columns=[1, 2])],
    "Periodic plr": [lm.Periodic(6, 8, 0.5, form="plr", columns=[2, 0])],
    "Dropout": [lm.Dropout(0.3, "classic"), lm.GaussianNoise(0.1), lm.Dropout(0.5)],
    "Scale": [lm.Scale()],
}
HIDDEN: dict[str, list[lm.Layer]] = {
    "Activation": [lm.Activation("tanh")],
    "BatchNorm": [lm.BatchNorm(0.5, epsilon=0.01)],
    "LayerNorm": [lm.LayerNorm()],
    "PReLU": [lm.PReLU()],
    "Mixed": [lm.Mixed(lm.softplus.using(beta=2))],
    "Residual": [lm.Residual([lm.Dense(5, "relu"), lm.Residual([lm.Dense(5)])])],
}
HIDDEN["Residual"][0].layers += (lm.Dense(8),)  # type: ignore[attr-defined]
TABLE = np.concatenate(
    [RNG.normal(size=(200, 4)), RNG.integers(-1, 6, size=(200, 3))], axis=1
)


def trained(first: list[lm.Layer], hidden: list[lm.Layer], dtype: str) -> lm.Sequential:
    """With arrays that are not those at first."""
    parts = copy.deepcopy([*first, lm.Dense(8), *hidden, lm.Dense(2)])
    net = lm.Sequential(parts, seed=1, dtype=dtype)
    targets = np.sin(TABLE[:, :2])
    net.fit(TABLE, targets, epochs=3, optimizer=lm.Adam(0.02), verbose=0)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*FIRST, *HIDDEN])
def test_each_layer_predicts_the_same_elsewhere(name: str, dtype: str) -> None:
    net = trained(FIRST.get(name, []), HIDDEN.get(name, []), dtype)
    # Between the training rows, beyond them, and codes with fractions.
    for opset in 14, 15, 18:
        assert_predicts(net, np.concatenate([TABLE, 1.5 * TABLE]), opset=opset)


def test_no_layer_is_forgotten() -> None:
    tried = {type(layer) for part in (FIRST | HIDDEN).values() for layer in part}
    tried |= {lm.Dense, lm.Add}
    assert {*map(layers.__dict__.get, layers.__all__)} - {lm.Layer} == tried


def test_columns_far_from_zero_are_centred_before_they_are_rounded() -> None:
    """As `predict` has them: in float32 these times are all one number."""
    x = 1.7e9 + RNG.uniform(0, 60, size=(300, 2))
    net = lm.Sequential([lm.Standardize(), lm.Dense(2)], seed=0)
    net.fit(x, (x - 1.7e9) / 60, epochs=2, verbose=0)
    model = assert_predicts(net, x)
    assert model.graph.input[0].type.tensor_type.elem_type == 11


def test_a_float64_net_in_float32() -> None:
    net = trained(FIRST["Standardize"], HIDDEN["LayerNorm"], "float64")
    model = assert_predicts(net, TABLE, dtype="float32")
    assert {t.data_type for t in model.graph.initializer} <= {1, 7}


def test_names_and_the_number_of_rows() -> None:
    model = dense("relu", "float32").to_onnx()
    (x,), (y,) = model.graph.input, model.graph.output
    shapes = [
        [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (x, y)
    ]
    assert (x.name, y.name, shapes) == ("x", "predictions", [["n", 5], ["n", 3]])
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 15)]
    assert (model.ir_version, model.producer_name) == (8, "lamina")
    assert model.producer_version == lm.__version__
    assert {t.name for t in model.graph.initializer} == {
        *("0.kernel", "0.bias", "1.kernel", "1.bias")
    }
    for rows in 0, 1, 33:
        for (found,) in run(model, np.zeros((rows, 5))):
            assert found.shape == (rows, 3)


@pytest.mark.parametrize("labels", [["a", "b", "ü"], [30, 10, -20]])
def test_labels_are_those_of_the_largest_output(labels: list[Any]) -> None:
    net, x = dense("tanh", "float32"), RNG.normal(size=(50, 5))
    model = net.to_onnx(labels=labels)
    wanted = [labels[i] for i in net.predict(x).argmax(axis=1)]
    assert len(set(wanted)) == 3
    for _, found in run(model, x):
        assert found.tolist() == wanted


def test_labels_of_a_single_output_are_two() -> None:
    net = lm.Sequential([lm.Dense(1, "sigmoid")], seed=0)
    net.build(5)
    x = RNG.normal(size=(50, 5))
    wanted = ["yes" if p > 0.5 else "no" for p in net.predict(x).ravel()]
    assert len(set(wanted)) == 2
    for _, found in run(net.to_onnx(labels=["no", "yes"]), x):
        assert found.tolist() == wanted


def test_a_file_is_the_model(tmp_path: Path) -> None:
    net = dense("relu", "float32")
    model = net.to_onnx(tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == model.SerializeToString()
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    with pytest.raises(OSError, match="folder"):
        net.to_onnx(tmp_path)


def test_what_cannot_be_written_is_said() -> None:
    class Own(lm.Layer):
        pass

    net = dense("relu", "float32")
    for opset in 13, 10_000:
        with pytest.raises(ValueError, match="opset must be from 14 to"):
            net.to_onnx(opset=opset)
    with pytest.raises(ValueError, match="dtype"):
        net.to_onnx(dtype="float16")
    wrong: Any
    for wrong in ["a", "b"], [0.5, 1, 2], "abc":
        with pytest.raises(ValueError, match="labels must be 3"):
            net.to_onnx(labels=wrong)
    own = lm.Sequential([Own(), lm.Dense(1)])
    with pytest.raises(RuntimeError, match="after fit or build"):
        own.to_onnx()
    own.build(2)
    with pytest.raises(TypeError, match="Lamina's layers, got <"):
        own.to_onnx()


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    net = dense("relu", "float32")
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ImportError, match=r"pip install lamina\[onnx\]"):
        net.to_onnx()
