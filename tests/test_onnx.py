"""Nets as ONNX graphs and back, judged by ONNX's checker, its reference evaluator and
ONNX Runtime."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx.checker
import onnx.reference
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import lamina as lm
from lamina import layers
from lamina.sklearn import MLPClassifier, MLPRegressor
from lamina.tabular import TableClassifier, TableRegressor

try:
    import onnxruntime
except ImportError:  # not for every Python
    onnxruntime = None

RNG = np.random.default_rng(0)
TYPES = {1: np.float32, 11: np.float64}  # ONNX's numbers
CLOSE: Any = {"rtol": 1e-6, "atol": 1e-6}  # roundings in float32, of outputs about 1


def run(model: Any, x: np.ndarray) -> list[list[Any]]:
    (given,) = model.graph.input
    rows = x.astype(TYPES[given.type.tensor_type.elem_type])
    return evaluated(model, {given.name: rows})


def evaluated(
    model: Any, rows: dict[str, np.ndarray], shapes: bool = True
) -> list[list[Any]]:
    """The outputs by the reference and by ONNX Runtime, once the checker is content."""
    onnx.checker.check_model(model, full_check=shapes)
    sessions: list[Any] = [onnx.reference.ReferenceEvaluator(model)]
    if onnxruntime is not None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        content = model.SerializeToString()
        sessions.append(onnxruntime.InferenceSession(content, options))
    return [list(each.run(None, rows)) for each in sessions]


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


# Estimators ---------------------------------------------------------------------------

COLUMNS = 5 + 3 * RNG.normal(size=(150, 4))
TARGETS: dict[str, Any] = {
    "strings": np.array(["no", "yes", "maybe"])[RNG.integers(0, 3, 150)],
    "two strings": np.where(COLUMNS[:, 0] > 5, "yes", "no").astype(object),
    "integers": RNG.integers(0, 3, 150) * 10 - 7,
    "two integers": (COLUMNS[:, 1] > 5) * 1,
    "bools": COLUMNS[:, 1] > 5,
    "floats": np.where(COLUMNS[:, 0] > 5, 1.0, -2.0),
    "one class": np.full(150, "only"),
    "multilabel": (COLUMNS[:, :3] > 5) * 1,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", TARGETS)
def test_classifiers_say_the_same_of_raw_columns(kind: str, dtype: str) -> None:
    x, y = COLUMNS.astype(dtype), TARGETS[kind]
    if kind == "integers":
        x = pd.DataFrame(x, columns=["a", "b", "c", "d"])
    net = MLPClassifier(8, max_iter=20, standardize=True, random_state=0).fit(x, y)
    model = net.to_onnx()
    for labels, p in run(model, np.asarray(x)):
        wanted = net.predict(x)
        assert np.asarray(labels).tolist() == wanted.tolist()
        assert labels.shape == wanted.shape
        assert p.dtype == dtype
        np.testing.assert_allclose(p, net.predict_proba(x), **CLOSE)
    names = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert names == ({"feature_names": list("abcd")} if kind == "integers" else {})


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_regressors_predict_the_same_of_raw_columns(outputs: int, dtype: str) -> None:
    x, y = COLUMNS.astype(dtype), 500 + 50 * COLUMNS[:, :outputs]
    options: Any = {"max_iter": 20, "standardize": True, "random_state": 0}
    scaled = MLPRegressor(scale_target=True, **options)
    for net in scaled, MLPRegressor("poisson", activation="gelu_tanh", **options):
        net.fit(x, y[:, 0] if outputs == 1 else y)
        for (found,) in run(net.to_onnx(), x):
            wanted = net.predict(x)
            assert found.shape == wanted.shape and found.dtype == dtype
            # What exp makes of a rounding, and of the scale of all outputs.
            np.testing.assert_allclose(found, wanted, 3e-6, 1e-6 * wanted.max())
    with pytest.raises(NotFittedError):
        MLPRegressor().to_onnx()


def table(rows: int, seed: int) -> pd.DataFrame:
    """Columns of every kind, with gaps, and with values that only some rows have."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": rng.normal(1000, 50, rows),
            "labels": rng.integers(0, 5, rows).astype(float),  # as an output is called
            "flag": rng.random(rows) > 0.5,
            "two": rng.choice(["a", "b"], rows),
            "few": rng.choice(["x", "y", "z"], rows),
            "many": rng.choice([f"v{i}" for i in range(15 + seed)], rows),
            "day": pd.to_datetime("1890-01-01")
            + pd.to_timedelta(rng.integers(0, 90_000 * 24, rows), "h"),
            "constant": 1.0,
        }
    )
    for name in "labels", "few", "many", "day":
        frame.loc[rng.random(rows) < 0.2, name] = None
    if seed:
        frame.loc[:3, "two"] = "unknown"
    return frame


def fed(model: Any, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns as the docstring has them."""
    given = {}
    for each in model.graph.input:
        column = frame[each.name]
        if each.type.tensor_type.elem_type == 8:
            values = column.astype(object).where(column.notna(), "").to_numpy(object)
        elif column.dtype.kind == "M":
            values = column.to_numpy("datetime64[us]").astype(np.int64).astype(float)
            values[column.isna()] = np.nan
        else:
            values = column.to_numpy(float)
        given[each.name] = values.reshape(-1, 1)
    return given


@pytest.mark.parametrize("kind", ["strings", "two integers", "multilabel"])
def test_classifiers_of_tables_say_the_same_of_raw_columns(kind: str) -> None:
    train, new = table(150, 0), table(80, 1)
    est = TableClassifier("fast").fit(train, TARGETS[kind])
    model = est.to_onnx()
    for labels, p in evaluated(model, fed(model, new)):
        assert np.asarray(labels).tolist() == est.predict(new).tolist()
        np.testing.assert_allclose(p, est.predict_proba(new), **CLOSE)
    dates = [
        *pd.date_range("1899-12-25", "1900-03-05"),
        *pd.date_range("2000-02-25", "2001-03-05"),
    ]
    new = pd.concat([new] * 6)[: len(dates)].assign(day=dates)
    for _, p in evaluated(model, fed(model, new)):
        np.testing.assert_allclose(p, est.predict_proba(new), **CLOSE)


def test_regressors_of_tables_predict_the_same_of_raw_columns() -> None:
    train, new = table(150, 0), table(80, 1)
    y = train["number"].to_numpy() / 10
    quantiles: Any = {"loss": "quantile", "quantiles": [0.9, 0.1, 0.5]}
    for target, options in (y, {}), (np.stack([y, -y], 1), {}), (y, quantiles):
        est = TableRegressor("fast", **options).fit(train, target)
        model = est.to_onnx()
        for (found,) in evaluated(model, fed(model, new)):
            np.testing.assert_allclose(found, est.predict(new), atol=1e-4)  # of 100
    est = TableRegressor("fast").fit(COLUMNS, COLUMNS[:, 0])
    for (found,) in run(est.to_onnx(), COLUMNS):  # numbers without names: a matrix
        np.testing.assert_allclose(found, est.predict(COLUMNS), atol=1e-5)  # of 10


# Reading ------------------------------------------------------------------------------

RECORDED = Path(__file__).parent / "data" / "onnx"
SAVED = "Standardize(), Dense(6, 'relu'), Dense(5, 'relu'), "
NETS = {
    "skl_binary": "Standardize(), Dense(6, 'tanh'), Dense(5, 'tanh'), "
    "Dense(1, 'sigmoid')",
    "skl_multiclass": SAVED + "Dense(3, 'softmax')",
    "skl_multilabel": "Dense(6, 'relu'), Dense(5, 'relu'), Dense(3, 'sigmoid')",
    "skl_regressor": SAVED + "Dense(1, 'identity')",
    "torch_dynamo_mlp": "Dense(6, 'relu'), Dense(5, 'tanh'), BatchNorm(), "
    "Dense(4, 'relu'), Dense(3, 'softmax')",
    "torch_script_mlp": "Dense(6, 'relu'), Dense(5, 'tanh'), BatchNorm(), "
    "Dense(4, 'identity'), BatchNorm(), Activation('relu'), Dense(3, 'softmax')",
    "torch_dynamo_image": "Dense(2, 'identity')",
    "torch_dynamo_residual": "Dense(6, 'relu'), Residual(), LayerNorm(), "
    "Dense(5, 'identity'), PReLU(), Dense(6, 'identity'), Add(), "
    "Dense(2, 'log_softmax')",
}
KERAS_START = "Standardize(), Dense(6, 'tanh'), BatchNorm(), "
NETS["keras_tensorflow_mlp"] = KERAS_START + (
    "Dense(5, 'identity'), LayerNorm(), Activation('relu'), Dense(3, 'softmax')"
)
NETS["keras_torch_mlp"] = KERAS_START + "Dense(5, 'relu'), Dense(3, 'softmax')"
NETS["keras_torch_residual"] = NETS["keras_tensorflow_residual"] = (
    "Dense(6, 'relu'), Residual(), Dense(5, 'identity'), PReLU(), "
    "Dense(6, 'identity'), Add(), Dense(2, 'identity')"
)
NETS["skl_binary_arrays"] = NETS["skl_binary"]
NETS["torch_script_image"] = NETS["torch_dynamo_image"]
NETS["torch_script_residual"] = NETS["torch_dynamo_residual"]


@pytest.mark.parametrize("name", sorted(NETS))
def test_nets_of_other_libraries_predict_as_their_graphs_do(name: str) -> None:
    """Recorded graphs (tests/data/onnx): both exporters of PyTorch, both backends of
    Keras, and skl2onnx with what scales the inputs and makes labels."""
    path = RECORDED / f"{name}.onnx"
    net = lm.from_onnx(path)
    assert ", ".join(map(repr, net.layers)) == NETS[name]
    x = RNG.normal(size=(40, net.features)).astype(np.float32)
    x = 3 * x + 5 if name[:3] == "skl" else x
    shape = (40, 2, 2, 2) if "image" in name else x.shape
    model = onnx.load(path)
    for node in [each for each in model.graph.node if each.op_type == "ZipMap"]:
        p = onnx.helper.make_tensor_value_info(node.input[0], 1, ["n", "m"])
        model.graph.output[-1].CopyFrom(p)  # which the reference does not have
        model.graph.node.remove(node)
    rows = {model.graph.input[0].name: x.reshape(shape)}
    for *_, found in evaluated(model, rows, shapes="skl" not in name):  # which errs
        p = found[:, 1:] if "binary" in name else found
        np.testing.assert_allclose(net.predict(x), p, **CLOSE)


@pytest.mark.parametrize("exporter", ["script", "dynamo"])
def test_activations_of_pytorch_are_known_however_they_are_spelled(
    exporter: str,
) -> None:
    net = lm.from_onnx(RECORDED / f"torch_{exporter}_activations.onnx")
    parts: Any = net.layers
    found = [(each.activation.name, each.activation.parameters) for each in parts]
    assert found == [
        *[(name, {}) for name in ("sigmoid", "log_sigmoid", "tanh", "relu", "relu6")],
        ("leaky_relu", {"negative_slope": 0.2}),
        *[("elu", {"alpha": 0.7}), ("selu", {}), ("celu", {"alpha": 0.6})],
        *[("softplus", {"beta": 1.0}), ("softplus", {"beta": 2.0}), ("softsign", {})],
        *[(name, {}) for name in ("silu", "gelu", "gelu_tanh", "mish")],
        *[(name, {}) for name in ("hard_sigmoid", "hard_swish", "hard_tanh")],
        *[("tanh_shrink", {}), ("soft_shrink", {"threshold": 0.3})],
        *[
            ("hard_shrink", {"threshold": 0.3}),
            ("leaky_relu", {"negative_slope": 0.25}),
        ],
    ]


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_activations_of_keras_are_known_however_they_are_spelled(backend: str) -> None:
    net = lm.from_onnx(RECORDED / f"keras_{backend}_activations.onnx")
    parts: Any = net.layers
    assert [each.activation.name for each in parts] == [
        *("elu", "selu", "softplus", "softsign", "silu", "mish", "hard_sigmoid"),
        *("hard_swish", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink"),
        *("squareplus", "leaky_relu", "relu6", "log_sigmoid", "sigmoid", "tanh"),
    ]
    assert parts[13].activation.parameters == {"negative_slope": 0.2}  # Keras' default
    assert parts[12].activation.parameters == {"b": 4.0}


def model_of(
    *nodes: tuple[Any, ...],
    weights: dict[str, np.ndarray],
    width: Any = 3,
    opset: int = 17,
    outputs: tuple[str, ...] = ("y",),
    kind: int = 1,
) -> Any:
    """A graph from "x" (n, width): nodes are (op, inputs, output, attributes)."""
    helper = onnx.helper
    made = []
    for i, (op, inputs, output, *attributes) in enumerate(nodes):
        options = attributes[0] if attributes else {}
        domain = "ai.onnx.ml" if op in ("Scaler", "ZipMap") else ""
        made.append(
            helper.make_node(
                op, inputs.split(), [output], f"{op}{i}", domain=domain, **options
            )
        )
    x = helper.make_tensor_value_info("x", kind, ["n", width])
    graph = helper.make_graph(
        made,
        "test",
        [x],
        [helper.make_tensor_value_info(name, kind, ["n", "m"]) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def read(model: Any, path: Path) -> lm.Sequential:
    path = path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return lm.from_onnx(path)


def assert_read(model: Any, path: Path, *wanted: str) -> lm.Sequential:
    """These layers, which predict what the reference evaluator does."""
    net = read(model, path)
    assert [*map(repr, net.layers)] == [*wanted]
    x = RNG.normal(size=(30, net.features))
    x = x.astype(TYPES[model.graph.input[0].type.tensor_type.elem_type])
    evaluator: Any = onnx.reference.ReferenceEvaluator(model)
    (found,) = evaluator.run(None, {"x": x})
    np.testing.assert_allclose(net.predict(x), found, **CLOSE)
    return net


def numbers(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("bias", [None, (), (1,), (4,), (1, 4)])
@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_with_every_flag(bias: Any, turned: int, tmp_path: Path) -> None:
    weights = {"w": numbers(4, 3) if turned else numbers(3, 4)}
    inputs = "x w"
    if bias is not None:
        weights["b"], inputs = np.asarray(numbers(*bias)), "x w b"
    options = {"alpha": 0.5, "beta": 3.0, "transB": turned, "transA": 0}
    model = model_of(("Gemm", inputs, "y", options), weights=weights)
    net = assert_read(model, tmp_path, "Dense(4, 'identity')")
    layer: Any = net.layers[0]
    assert layer.use_bias == (bias is not None)


KERAS: dict[str, tuple[list[tuple[Any, ...]], list[str]]] = {
    "no bias": ([("Relu", "z", "y")], ["Dense(3, 'relu')"]),
    "bias": ([("Add", "z row", "y")], ["Dense(3, 'identity')"]),
    "bias first": ([("Add", "vector z", "y")], ["Dense(3, 'identity')"]),
    "BatchNorm folded": (
        [("Mul", "z vector", "a"), ("Add", "a row", "b"), ("Tanh", "b", "y")],
        ["Dense(3, 'tanh')"],
    ),
    "BatchNorm after an activation": (
        [("Relu", "z", "a"), ("Mul", "a vector", "b"), ("Add", "b row", "y")],
        ["Dense(3, 'relu')", "BatchNorm()"],
    ),
    "hard_tanh": (
        [("Min", "z one", "a"), ("Max", "a less", "y")],
        ["Dense(3, 'hard_tanh')"],
    ),
    "hard_sigmoid": (
        [("Add", "z three", "a"), ("Clip", "a zero six", "b"), ("Mul", "b sixth", "y")],
        ["Dense(3, 'hard_sigmoid')"],
    ),
    "leaky_relu": (
        [("LeakyRelu", "z", "y", {"alpha": 0.3})],
        ["Dense(3, 'leaky_relu')"],
    ),
    "softplus of twice": (
        [("Mul", "z three", "a"), ("Softplus", "a", "b"), ("Div", "b three", "y")],
        ["Dense(3, 'softplus')"],
    ),
    "two functions": (
        [
            ("Sigmoid", "z", "a"),
            ("Mul", "z a", "b"),
            ("Neg", "b", "c"),
            ("Sub", "one c", "d"),
            ("Softsign", "d", "y"),
        ],
        ["Dense(3, 'silu')", "BatchNorm()", "Activation('softsign')"],
    ),
    "PRelu by feature": ([("PRelu", "z vector", "y")], ["Dense(3, 'identity')"]),
    "shapes": (
        [
            ("Identity", "z", "a"),
            ("Dropout", "a", "b"),
            ("Cast", "b", "c", {"to": 1}),
            ("Flatten", "c", "d"),
            ("Reshape", "d shape", "y"),
        ],
        ["Dense(3, 'identity')"],
    ),
    "a constant of constants": (
        [
            ("Neg", "vector", "a"),
            ("Unsqueeze", "a zero_axis", "b"),
            ("Sub", "z b", "y"),
        ],
        ["Dense(3, 'identity')"],
    ),
}
KERAS["PRelu by feature"][1].append("PReLU()")


@pytest.mark.parametrize("name", KERAS)
def test_nodes_as_keras_has_them(name: str, tmp_path: Path) -> None:
    after, layers = KERAS[name]
    weights = {
        "w": numbers(3, 3),
        "row": numbers(1, 3),
        "vector": numbers(3),
        "shape": np.array([-1, 3]),
        "zero_axis": np.array([0]),
    }
    scalars = {"one": 1, "less": -1, "three": 3, "zero": 0, "six": 6, "sixth": 1 / 6}
    weights |= {name: np.array(value, "f") for name, value in scalars.items()}
    model = model_of(("MatMul", "x w", "z"), *after, weights=weights)
    assert_read(model, tmp_path, *layers)


def test_what_is_done_with_inputs_is_standardize(tmp_path: Path) -> None:
    weights = {"w": numbers(3, 2), "m": numbers(3), "s": 1 + numbers(3) ** 2}
    weights["c"] = np.float32(1 / 255)
    dense = "MatMul", "b w", "y"
    layers = "Standardize()", "Dense(2, 'identity')"
    for nodes in (
        [("Sub", "x m", "a"), ("Div", "a s", "b")],
        [("Sub", "x m", "a"), ("Mul", "a s", "b")],
        [("Mul", "x s", "a"), ("Add", "a m", "b")],
        [("Mul", "x c", "b")],
    ):
        assert_read(model_of(*nodes, dense, weights=weights), tmp_path, *layers)
    options = {"offset": weights["m"].tolist(), "scale": weights["s"].tolist()}
    scaler = "Scaler", "x", "b", options
    net = assert_read(model_of(scaler, dense, weights=weights), tmp_path, *layers)
    first: Any = net.layers[0]
    np.testing.assert_array_equal(first.mean, weights["m"])
    assert first.learnt


def test_residual_blocks_of_which_one_begins_with_an_activation(tmp_path: Path) -> None:
    nodes = [("Gemm", "x w b", "h"), ("Relu", "h", "r"), ("Gemm", "r w b", "g")]
    nodes += [("Gemm", "g w b", "f"), ("Add", "f h", "z"), ("Tanh", "z", "y")]
    model = model_of(*nodes, weights={"w": numbers(3, 3), "b": numbers(3)})
    dense = "Dense(3, 'identity')"
    wanted = [dense, "Residual()", "Activation('relu')", dense, dense, "Add()"]
    assert_read(model, tmp_path, *wanted, "Activation('tanh')")


def test_weights_in_half_and_in_double_precision(tmp_path: Path) -> None:
    dense = ("Gemm", "x w b", "z"), ("Relu", "z", "y")
    weights = {"w": numbers(3, 2, dtype=np.float64), "b": numbers(2, dtype=np.float64)}
    net = assert_read(
        model_of(*dense, weights=weights, kind=11), tmp_path, "Dense(2, 'relu')"
    )
    assert net.dtype == np.float64
    half = {name: array.astype(np.float16) for name, array in weights.items()}
    net = read(model_of(*dense, weights=half, kind=10), tmp_path)
    assert net.dtype == np.float32
    np.testing.assert_array_equal(net.layers[0].parameters["kernel"], half["w"])


def test_initializers_that_are_inputs_and_widths_without_a_number(
    tmp_path: Path,
) -> None:
    model = model_of(("Gemm", "x w", "y"), weights={"w": numbers(3, 2)}, width="unk__8")
    info = onnx.helper.make_tensor_value_info("w", 1, [3, 2])
    model.graph.input.append(info)
    model.ir_version = 3
    assert_read(model, tmp_path, "Dense(2, 'identity')")


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    model = model_of(("Gemm", "x w", "y"), weights={"w": numbers(3, 2)})
    wanted = read(model, tmp_path)
    onnx.save_model(
        onnx.ModelProto.FromString(model.SerializeToString()),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="net.onnx.data",
        size_threshold=0,
    )
    assert len((tmp_path / "net.onnx.data").read_bytes()) == 24
    net = lm.from_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(net.parameters, wanted.parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", lm.activations.names)
def test_what_was_written_is_read_with_the_same_bits(
    name: str, dtype: str, tmp_path: Path
) -> None:
    if (name, dtype) == ("gelu", "float64"):
        return
    x, found = RNG.normal(size=(50, 5)), lm.activations.get(name)
    for activation in (found, *(found.using(**{k: 0.7}) for k in found.parameters)):
        net = dense(activation, dtype, use_bias=activation is found)
        net.to_onnx(tmp_path / "net.onnx")
        again = lm.from_onnx(tmp_path / "net.onnx")
        read_as: Any = again.layers[0]
        if (name, activation) != ("celu", found):  # which is elu
            assert read_as.activation.name == name
            assert read_as.activation.parameters == activation.parameters
        np.testing.assert_array_equal(again.predict(x), net.predict(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["Standardize", "RobustScale", "Scale", *HIDDEN])
def test_layers_that_were_written_are_read_with_the_same_bits(
    name: str, dtype: str, tmp_path: Path
) -> None:
    net = trained(FIRST.get(name, []), HIDDEN.get(name, []), dtype)
    net.to_onnx(tmp_path / "net.onnx", labels=["a", "b"])
    again = lm.from_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(again.predict(TABLE), net.predict(TABLE))
    if name == "RobustScale":
        assert [*map(repr, again.layers[:2])] == [
            *("Standardize()", "Activation('smooth_clip')")
        ]
    elif name != "Activation":  # which is the one of the layer before
        assert repr(again.layers) == repr(net.layers)
    again.fit(TABLE, net.predict(TABLE), verbose=0)


def test_a_mean_in_float64_is_read_as_such(tmp_path: Path) -> None:
    x = 1.7e9 + RNG.uniform(0, 60, size=(300, 2))
    net = lm.Sequential([lm.Standardize(), lm.Dense(1, "sigmoid")], seed=0)
    net.fit(x, x[:, 0] > 1.7e9 + 30, verbose=0)
    net.to_onnx(tmp_path / "net.onnx", labels=[0, 1])
    again = lm.from_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(again.predict(x), net.predict(x))


W = {"w": numbers(3, 3), "b": numbers(3), "i": np.array([0, 2]), "k": numbers(2, 3, 1)}
W["two"] = np.float32(2)
REFUSED: list[tuple[str, list[tuple[Any, ...]], str]] = [
    (
        "convolution",
        [("Unsqueeze", "x i", "a"), ("Conv", "a k", "y")],
        "'Conv1' (Conv): it is no",
    ),
    ("columns", [("Gather", "x i", "y", {"axis": 1})], "'Gather0' (Gather): it is no"),
    ("products", [("MatMul", "x x", "y")], "does not multiply rows by a constant"),
    ("columns as rows", [("Gemm", "x w", "y", {"transA": 1})], "does not multiply"),
    ("3-d kernel", [("MatMul", "x k", "y")], "does not multiply rows"),
    ("widths", [("Gemm", "x w", "a"), ("Gemm", "a v", "y")], "3 features meet 2 rows"),
    ("function", [("Gemm", "x w", "a"), ("Exp", "a", "y")], "'Exp1' (Exp): it ends a"),
    ("clip", [("Gemm", "x w", "a"), ("Clip", "a b0 two", "y")], "(Clip): it ends a"),
    ("columns' softmax", [("Softmax", "x", "y", {"axis": 0})], "its axis is 0"),
    ("bias of rows", [("Gemm", "x w column", "y")], "shape (3, 1) meets 3 features"),
    (
        "two branches",
        [("Gemm", "x w", "a"), ("Gemm", "x w b", "c"), ("Add", "a c", "y")],
        "'Add2' (Add): it adds two values of which neither",
    ),
    (
        "gates",
        [("Gemm", "x w", "a"), ("Sigmoid", "a", "c"), ("Mul", "x c", "y")],
        "'Mul2' (Mul): it takes more than one value",
    ),
    (
        "training",
        [("BatchNormalization", "x b b b b", "y m v", {"training_mode": 1})],
        "",
    ),
]


@pytest.mark.parametrize(
    ("nodes", "message"), [each[1:] for each in REFUSED], ids=[e[0] for e in REFUSED]
)
def test_what_is_no_dense_net_is_said(
    nodes: list[tuple[Any, ...]], message: str, tmp_path: Path
) -> None:
    weights = W | {"v": numbers(2, 2), "b0": np.float32(0), "column": numbers(3, 1)}
    with pytest.raises(ValueError, match=r"net\.onnx must hold a dense net") as raised:
        read(model_of(*nodes, weights=weights), tmp_path)
    assert message in str(raised.value)
    assert "\n" not in message


def test_several_inputs_or_outputs_are_refused(tmp_path: Path) -> None:
    """As of Keras' Normalization, whose mean is written as an input."""
    nodes = ("Sub", "x mean", "a"), ("Gemm", "a w", "h"), ("Tanh", "h", "y")
    model = model_of(*nodes, weights=W, outputs=("y", "h"))
    mean = onnx.helper.make_tensor_value_info("mean", 1, [3])
    model.graph.input.append(mean)
    with pytest.raises(ValueError, match=r"one input, got \['x', 'mean'\]"):
        read(model, tmp_path)
    del model.graph.input[1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(numbers(3), "mean"))
    with pytest.raises(ValueError, match=r"one output, got those of \['y', 'h'\]"):
        read(model, tmp_path)


def test_an_operator_of_another_domain_is_named(tmp_path: Path) -> None:
    model = model_of(("Gemm", "x w", "y"), weights=W)
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ValueError, match=r"com\.microsoft\.Gemm"):
        read(model, tmp_path)


def test_damaged_files_raise_value_errors(tmp_path: Path) -> None:
    """Cut off, with bytes that were changed, and with parts of other graphs."""
    path = tmp_path / "net.onnx"
    rng = np.random.default_rng(5)
    refused = 0
    for source in sorted(RECORDED.glob("*_mlp.onnx")):
        content = source.read_bytes()
        for i in range(150):
            damaged = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            path.write_bytes(
                damaged[: rng.integers(len(content))] if i % 5 else damaged
            )
            try:
                lm.from_onnx(path)
            except ValueError as error:
                refused += str(error).startswith(f"{path} must hold a dense net: ")
    assert refused > 250


def test_hostile_graphs_raise_value_errors(tmp_path: Path) -> None:
    nodes = ("Gemm", "x w b", "h"), ("Relu", "h", "y")
    weights = {"w": numbers(3, 3), "b": numbers(3)}

    def changed(change: Any) -> Any:
        model = model_of(*nodes, weights=weights)
        change(model.graph)
        return model

    def extents(graph: Any) -> None:
        graph.initializer[0].dims[0] = 2**40

    def negative(graph: Any) -> None:
        graph.initializer[0].dims[:] = [-3, -3]

    def integers(graph: Any) -> None:
        graph.initializer[1].CopyFrom(
            onnx.numpy_helper.from_array(np.arange(3), name="b")
        )

    def cycle(graph: Any) -> None:
        graph.node[0].input[0] = "y"

    def wide(graph: Any) -> None:
        del graph.node[0]
        graph.node[0].input[0] = "x"
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**50

    def nobody(graph: Any) -> None:
        graph.node[1].input[0] = "nobody"

    def deep(graph: Any) -> None:
        del graph.node[:]
        for i in range(3000):
            name = "y" if i == 2999 else f"h{i}"
            node = onnx.helper.make_node(
                "Identity", [f"h{i - 1}" if i else "x"], [name]
            )
            graph.node.append(node)

    for change in extents, negative, integers, cycle, wide, nobody, deep:
        with pytest.raises(ValueError, match="must hold a dense net: "):
            read(changed(change), tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="must hold a dense net: "):
        lm.from_onnx(tmp_path / "net.onnx")
    with pytest.raises(OSError, match="folder"):
        lm.from_onnx(tmp_path)
    with pytest.raises(FileNotFoundError):
        lm.from_onnx(tmp_path / "missing.onnx")


@pytest.mark.parametrize(("op", "inputs"), [("Concat", 3), ("Max", 9)])
def test_graphs_that_take_a_value_many_times_are_refused_at_last(
    op: str, inputs: int, tmp_path: Path
) -> None:
    """Forty nodes that take the one before have more paths than can be gone."""
    options = {"axis": 1} if op == "Concat" else {}
    names = ["l", *(f"h{i}" for i in range(40))]
    nodes: list[tuple[Any, ...]] = [
        (op, " ".join([before] * inputs), name, options)
        for before, name in itertools.pairwise(names)
    ]
    first = ("Gemm", "x w", "p"), ("ArgMax", "p", "l", {"axis": 1})
    model = model_of(*first, *nodes, ("Concat", "h39 l", "y", {"axis": 1}), weights=W)
    if op == "Concat":
        assert len(read(model, tmp_path).layers) == 1
    else:
        with pytest.raises(ValueError, match="must hold a dense net: "):
            read(model, tmp_path)


def test_a_net_is_compared_where_a_column_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"offset": [1.0, 2.0, 3.0], "scale": [1.0, 0.0, 2.0]}
    model = model_of(("Scaler", "x", "s", options), ("Gemm", "s w", "y"), weights=W)
    read(model, tmp_path)
    predict = lm.Sequential.predict
    monkeypatch.setattr(lm.Sequential, "predict", lambda net, x: predict(net, x) + 1)
    with pytest.raises(ValueError, match="predicts otherwise than the graph"):
        read(model, tmp_path)


def test_a_graph_that_predicts_no_numbers_is_refused(tmp_path: Path) -> None:
    weights = {"w": np.full((3, 4), np.nan, np.float32)}
    with pytest.raises(ValueError, match="must predict finite numbers"):
        read(model_of(("Gemm", "x w", "y"), weights=weights), tmp_path)


def test_weights_from_elsewhere_are_not_read(tmp_path: Path) -> None:
    """Outside of the folder, through a link, or beyond the end of a file."""
    (tmp_path / "secret").write_bytes(bytes(36))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "short").write_bytes(bytes(30))
    (folder / "link").symlink_to(tmp_path / "secret")
    for location, message in {
        "../secret": "in a file beside it",
        str(tmp_path / "secret"): "in a file beside it",
        "link": "in a file beside it",
        "": "in a file beside it",
        "missing": "in a file beside it",
        "short": "within 'short'",
    }.items():
        model = model_of(("Gemm", "x w", "y"), weights={"w": numbers(3, 3)})
        tensor = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, location, 0, 36)
        tensor.ClearField("raw_data")
        with pytest.raises(ValueError, match=message):
            read(model, folder)


def test_deep_nets_are_read(tmp_path: Path) -> None:
    net = lm.Sequential([lm.Dense(3, "tanh") for _ in range(400)], seed=0)
    net.build(3)
    net.to_onnx(tmp_path / "net.onnx")
    assert repr(lm.from_onnx(tmp_path / "net.onnx").layers) == repr(net.layers)
