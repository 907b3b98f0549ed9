"""`lamina.sklearn` in place of scikit-learn's own: its tests, checks and numbers."""

import copy
import functools
import inspect
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import (
    load_digits,
    load_iris,
    make_classification,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import lamina as lm
from lamina.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
IRIS = load_iris(return_X_y=True)
DIGITS = load_digits(n_class=3, return_X_y=True)
REGRESSION = make_regression(120, 5, noise=5.0, random_state=0)
BOTH = [MLPClassifier, MLPRegressor]


def theirs(kind: type) -> Any:
    return getattr(sklearn.neural_network, kind.__name__)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


# What scikit-learn asks for -----------------------------------------------------------


def test_scikit_learns_own_tests_pass_with_the_import_replaced(tmp_path: Path) -> None:
    folder = Path(sklearn.neural_network.__file__).parent / "tests"
    text = (folder / "test_mlp.py").read_text()
    text, count = re.subn(
        "from sklearn.neural_network import", "from lamina.sklearn import", text
    )
    assert count == 1
    (tmp_path / "test_mlp.py").write_text(text)
    options = ["-q", "-p", "sklearn.conftest", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir=.", "test_mlp.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    found = re.search(r"(\d+) passed", done.stdout)
    # 1.8 is what free-threaded Python 3.13 has.
    least = 58 if sklearn.__version__.startswith("1.8.") else 59
    assert found is not None and int(found[1]) >= least, done.stdout[-500:]
    assert "skipped" not in done.stdout.splitlines()[-1]


# Where rows of weight 2 are to do as two: dropout masks differ from row to row.
WEIGHTS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "a mask for each row"
    for kind in ("dense", "sparse")
}
# scikit-learn's own fails in it, too: a probability is rounded to 1.
ROUNDED = {
    "check_classifiers_multilabel_output_format_predict_proba": "rounded to 1",
}
CHECKED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "default": ({}, {}),
    "exact": ({"exact": True}, {}),
    "standardize": ({"standardize": True}, {}),
    "dropout": ({"dropout": 0.1}, WEIGHTS),
    "lbfgs": ({"solver": "lbfgs"}, ROUNDED),
}


@functools.cache
def their_checks(kind: type) -> set[str]:
    found = check_estimator(theirs(kind)(), on_skip=None, on_fail=None)
    return {each["check_name"] for each in found}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", CHECKED)
def test_check_estimator(kind: type, name: str) -> None:
    options, known = CHECKED[name]
    found = check_estimator(
        kind(**options), expected_failed_checks=known, on_skip=None, on_fail=None
    )
    bad = [each for each in found if each["status"] not in ("passed", "xfail")]
    assert [each["check_name"] for each in bad] == ["check_array_api_input"], bad
    assert bad[0]["status"] == "skipped"  # without SCIPY_ARRAY_API
    names = {each["check_name"] for each in found}
    assert names > their_checks(kind)
    assert "check_transformer_general" in names


@pytest.mark.parametrize("kind", BOTH)
def test_check_estimator_with_the_array_api(kind: type) -> None:
    done = run(
        "import warnings; warnings.simplefilter('ignore')\n"
        "from sklearn.utils.estimator_checks import check_estimator\n"
        f"from lamina.sklearn import {kind.__name__} as kind\n"
        "print({each['status'] for each in check_estimator(kind())})",
        SCIPY_ARRAY_API="1",
    )
    assert done.stdout == "{'passed'}\n", done.stderr[-2000:]


@pytest.mark.parametrize("kind", BOTH)
def test_parameters_are_theirs_in_their_order_and_then_ours(kind: type) -> None:
    mine = inspect.signature(kind).parameters
    known = inspect.signature(theirs(kind)).parameters
    assert [(p.name, p.default, p.kind) for p in known.values()] == [
        (p.name, p.default, p.kind) for p in list(mine.values())[: len(known)]
    ]
    for name in known:
        rule = theirs(kind)._parameter_constraints.get(name)
        assert rule is None or kind._parameter_constraints[name], name  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", BOTH)
def test_every_public_attribute_and_method_of_theirs_is_there(kind: type) -> None:
    for solver in ("adam", "sgd", "lbfgs"):
        for early in (False, True):
            options: Any = {"solver": solver, "early_stopping": early, "max_iter": 3}
            mine = kind(**options).fit(*IRIS)
            known = theirs(kind)(**options).fit(*IRIS)
            public = {name for name in dir(known) if not name.startswith("_")}
            assert public <= set(dir(mine)), public - set(dir(mine))
            for name in vars(known):
                value, own = getattr(known, name), getattr(mine, name, None)
                if name.endswith("_") and not name.startswith("_"):
                    numbers = isinstance(own, float) and isinstance(value, float)
                    assert numbers or type(own) is type(value), (name, own, value)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "soft"},
        {"alpha": -1},
        {"batch_size": 0},
        {"hidden_layer_sizes": -1},
        {"learning_rate": "fast"},
        {"max_iter": 0},
        {"momentum": 2},
        {"solver": "hadoken"},
        {"validation_fraction": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", BOTH)
def test_what_they_refuse_is_refused_with_their_error(
    kind: type, options: dict[str, Any]
) -> None:
    (name,) = options
    with pytest.raises(ValueError) as known:  # noqa: PT011
        theirs(kind)(**options).fit(*IRIS)
    with pytest.raises(
        type(known.value), match=f"The '{name}' parameter of {kind.__name__}"
    ):
        kind(**options).fit(*IRIS)


def test_import_lamina_does_not_load_scikit_learn() -> None:
    done = run("import sys, lamina; sys.exit('sklearn' in sys.modules)")
    assert done.returncode == 0


def test_without_scikit_learn_the_import_says_what_to_install() -> None:
    done = run("import sys; sys.modules['sklearn'] = None\nimport lamina.sklearn")
    assert "pip install lamina[sklearn]" in done.stderr


# Their numbers ------------------------------------------------------------------------


def problem(name: str, n: int, seed: int) -> Any:
    if name == "binary":
        return make_classification(n, 6, random_state=seed)
    if name == "classes":
        return make_classification(
            n, 6, n_informative=4, n_classes=3, random_state=seed
        )
    if name == "labels":
        return make_multilabel_classification(n, 5, random_state=seed)
    outputs = {"numbers": 1, "outputs": 3, "poisson": 1}[name]
    X, y = make_regression(n, 5, n_targets=outputs, random_state=seed)
    y = y / y.std()
    return X, np.floor(np.exp(np.minimum(y, 2))) if name == "poisson" else y


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple)
common = {
    "hidden_layer_sizes": sizes,
    "alpha": st.sampled_from([0.0, 1e-4, 0.01, 1.0]),
    "random_state": st.integers(0, 2**32 - 1),
    "tol": st.sampled_from([0.0, 1e-4, 1e-2]),
    "early_stopping": st.booleans(),
}
stochastic = st.fixed_dictionaries(
    common
    | {
        "activation": st.sampled_from(["identity", "logistic", "tanh", "relu"]),
        "solver": st.sampled_from(["sgd", "adam"]),
        "batch_size": st.one_of(st.just("auto"), st.integers(1, 60)),
        "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
        "learning_rate_init": st.sampled_from([1e-3, 1e-2]),
        "power_t": st.floats(0, 1),
        "max_iter": st.integers(1, 40),
        "shuffle": st.booleans(),
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "nesterovs_momentum": st.booleans(),
        "validation_fraction": st.sampled_from([0.1, 0.3]),
        "beta_1": st.sampled_from([0.0, 0.5, 0.9]),
        # At 0 a step divides a gradient by its own size, whose rounding it shows.
        "beta_2": st.sampled_from([0.9, 0.99, 0.999]),
        "epsilon": st.sampled_from([1e-8, 1e-3]),
        "n_iter_no_change": st.integers(1, 11),
    }
)
at_once = st.fixed_dictionaries(
    common
    | {
        # A line search remembers roundings: 1e-16 grows to 1e-8 within ten steps
        # through a layer of one unit, and at the kink of relu it may turn elsewhere.
        "hidden_layer_sizes": st.lists(st.integers(4, 12), min_size=1, max_size=2),
        "activation": st.sampled_from(["identity", "logistic", "tanh"]),
        "solver": st.just("lbfgs"),
        "max_iter": st.integers(1, 10),
        "alpha": st.sampled_from([1e-3, 0.01, 1.0]),
    }
)
PROBLEMS = ["binary", "classes", "labels", "numbers", "outputs", "poisson"]


def differences(name: str, options: Any, seed: int, weighted: bool) -> tuple[Any, Any]:
    X, y = problem(name, 60, seed)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    kind = MLPClassifier if name in PROBLEMS[:3] else MLPRegressor
    if name == "poisson":
        options = options | {"loss": "poisson"}
    w = np.random.default_rng(seed).random(60) + 0.1 if weighted else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            known = theirs(kind)(**options).fit(X, y, sample_weight=w)
        except ValueError as error:  # a class of one row cannot be split
            with pytest.raises(ValueError, match=re.escape(str(error))):
                kind(**options, exact=True).fit(X, y, sample_weight=w)
            assume(False)
        mine = kind(**options, exact=True).fit(X, y, sample_weight=w)
    method = "predict_proba" if kind is MLPClassifier else "predict"
    assert mine.n_iter_ == known.n_iter_
    return getattr(mine, method)(X), getattr(known, method)(X)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(PROBLEMS), stochastic, st.integers(0, 999), st.booleans())
def test_exact_predictions_are_theirs(
    name: str, options: Any, seed: int, weighted: bool
) -> None:
    mine, known = differences(name, options, seed, weighted)
    # float64, the same sums in another order.
    np.testing.assert_allclose(mine, known, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(PROBLEMS), at_once, st.integers(0, 999), st.booleans())
def test_exact_predictions_by_lbfgs_are_theirs(
    name: str, options: Any, seed: int, weighted: bool
) -> None:
    mine, known = differences(name, options, seed, weighted)
    np.testing.assert_allclose(mine, known, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", BOTH)
def test_exact_curves_and_counts_are_theirs(kind: type, solver: str) -> None:
    options: Any = {"solver": solver, "random_state": 3, "max_iter": 60}
    options |= {"early_stopping": True, "learning_rate": "adaptive", "tol": 1e-2}
    X, y = IRIS[0], IRIS[1] % 2
    mine, known = (
        kind(**options, exact=True).fit(X, y),
        theirs(kind)(**options).fit(X, y),
    )
    for name in ("loss_curve_", "validation_scores_", "coefs_", "intercepts_"):
        for own, value in zip(getattr(mine, name), getattr(known, name), strict=True):
            np.testing.assert_allclose(own, value, rtol=1e-11, atol=1e-12)
    for name in ("n_iter_", "t_", "best_validation_score_", "_no_improvement_count"):
        assert getattr(mine, name) == pytest.approx(getattr(known, name), rel=1e-12)
    assert mine._optimizer.learning_rate == pytest.approx(
        known._optimizer.learning_rate if solver == "sgd" else 1e-3
    )


@pytest.mark.parametrize("kind", BOTH)
def test_exact_batches_of_partial_fit_are_theirs(kind: type) -> None:
    options: Any = {"solver": "sgd", "random_state": 1, "learning_rate": "invscaling"}
    mine, known = kind(**options, exact=True), theirs(kind)(**options)
    classes = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    for start in range(0, 150, 30):
        rows = slice(start, start + 30)
        mine.partial_fit(IRIS[0][rows], IRIS[1][rows], **classes)
        known.partial_fit(IRIS[0][rows], IRIS[1][rows], **classes)
    np.testing.assert_allclose(mine.coefs_[0], known.coefs_[0], rtol=1e-12)
    np.testing.assert_allclose(mine.loss_curve_, known.loss_curve_, rtol=1e-12)
    assert mine.t_ == known.t_ == 150


def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads() -> None:
    def fitted() -> Any:
        return MLPClassifier((64, 64), random_state=5, max_iter=3).fit(*DIGITS)

    once = fitted()
    with lm.threads(4):
        again = fitted()
    for one, other in zip(once.coefs_, again.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


# Data and state -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("convert", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_sparse_rows_are_as_dense_ones(kind: type, solver: str, convert: Any) -> None:
    X, y = DIGITS[0][:90], DIGITS[1][:90]
    options: Any = {"solver": solver, "random_state": 0, "max_iter": 5}
    for extra in ({}, {"standardize": True}):
        dense = kind(**options, **extra).fit(X, y)
        sparse = kind(**options, **extra).fit(convert(X), y)
        # L-BFGS adds up blocks of rows.
        np.testing.assert_allclose(sparse.predict(convert(X)), dense.predict(X), 1e-6)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_float32_stays_float32(kind: type, solver: str) -> None:
    X = IRIS[0].astype(np.float32)
    est = kind(solver=solver, max_iter=3, random_state=0).fit(X, IRIS[1])
    assert {a.dtype for a in est.coefs_ + est.intercepts_} == {np.dtype(np.float32)}
    outputs = est.predict_proba(X) if kind is MLPClassifier else est.predict(X)
    assert outputs.dtype == est.transform(X).dtype == np.float32


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_and_their_names_are_known(library: str) -> None:
    frames = pytest.importorskip(library)
    names = ["sepal", "width", "petal", "depth"]
    frame = frames.DataFrame(dict(zip(names, IRIS[0].T, strict=True)))
    labels = np.array(["setosa", "versicolor", "virginica"], object)[IRIS[1]]
    clf = MLPClassifier(random_state=0, max_iter=300).fit(frame, labels)
    assert clf.feature_names_in_.tolist() == names
    assert set(clf.predict(frame)) <= set(labels)
    assert clf.score(frame, labels) > 0.6
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        clf.predict(IRIS[0])


@pytest.mark.parametrize("kind", BOTH)
def test_what_is_put_into_the_coefficients_counts(kind: type) -> None:
    est = kind(random_state=0, max_iter=2).fit(*IRIS)
    before = est.net_.predict(IRIS[0])
    est.coefs_[0][...] = 0  # in place
    est.coefs_[1] = np.zeros_like(est.coefs_[1])  # another array
    est.intercepts_ = [np.zeros_like(each) for each in est.intercepts_]  # another list
    after = est.net_.predict(IRIS[0])
    assert not np.array_equal(before, after)
    assert np.ptp(after) < 1e-7  # softmax of zeros, or zeros
    est.partial_fit(*IRIS)
    assert np.any(est.intercepts_[-1])


SAVED: list[dict[str, Any]] = [
    {},
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"dropout": 0.3, "standardize": True},
    {"optimizer": lm.Lion(0.001)},
]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("options", SAVED, ids=str)
@pytest.mark.parametrize("way", ["pickle", "deepcopy", "joblib", "memory-mapped"])
def test_a_loaded_estimator_predicts_and_goes_on_as_the_saved_one(
    kind: type, options: dict[str, Any], way: str, tmp_path: Path
) -> None:
    est = kind(random_state=0, max_iter=3, **options).fit(*IRIS)
    if way == "pickle":
        loaded = pickle.loads(pickle.dumps(est))
    elif way == "deepcopy":
        loaded = copy.deepcopy(est)
    else:
        joblib.dump(est, tmp_path / "est")
        mode: Any = "r" if way == "memory-mapped" else None
        loaded = joblib.load(tmp_path / "est", mmap_mode=mode)
    np.testing.assert_array_equal(loaded.predict(IRIS[0]), est.predict(IRIS[0]))
    for each in (est, loaded):
        each.partial_fit(*IRIS)
    for own, value in zip(loaded.coefs_, est.coefs_, strict=True):
        np.testing.assert_array_equal(own, value)


def test_parameters_set_after_a_fit_wait_for_the_next() -> None:
    est = MLPClassifier(max_iter=2, standardize=True, activation="tanh").fit(*IRIS)
    before = est.predict_proba(IRIS[0])
    est.set_params(standardize=False, activation="relu", dropout=0.5)
    for each in (est, pickle.loads(pickle.dumps(est))):
        np.testing.assert_array_equal(each.predict_proba(IRIS[0]), before)


def test_a_pickle_holds_arrays_and_parameters() -> None:
    """No class of Lamina but the estimator's, so that a later version can read it."""
    est = MLPClassifier(max_iter=2, dropout=0.2, standardize=True).fit(*IRIS)
    named: set[str] = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            named.add(f"{module}.{name}")
            return super().find_class(module, name)

    Reader(io.BytesIO(pickle.dumps(est))).load()
    ours = {name for name in named if name.startswith("lamina")}
    assert ours == {"lamina.sklearn.estimators.MLPClassifier"}


def test_an_estimator_works_in_another_process() -> None:
    est = MLPRegressor(max_iter=2, dropout=0.1, random_state=0).fit(*IRIS)
    jobs = [joblib.delayed(est.predict)(IRIS[0])] * 2
    for found in joblib.Parallel(n_jobs=2)(jobs):
        np.testing.assert_array_equal(found, est.predict(IRIS[0]))


def interrupt(net: Any, epoch: int, scores: Any) -> None:
    if epoch == 2:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_what_was_learnt() -> None:
    told = [lm.callbacks.LambdaCallback(on_epoch_end=interrupt)]
    est = MLPClassifier(callbacks=told, random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est.fit(*IRIS)
    assert (est.n_iter_, len(est.loss_curve_)) == (2, 2)
    same = MLPClassifier(max_iter=2, random_state=0).fit(*IRIS)
    np.testing.assert_array_equal(est.coefs_[0], same.coefs_[0])


def test_the_net_can_be_saved_for_serving(tmp_path: Path) -> None:
    est = MLPClassifier(max_iter=5, random_state=0).fit(*IRIS)
    est.net_.save(tmp_path / "net.safetensors")
    served = lm.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(served.predict(IRIS[0]), est.predict_proba(IRIS[0]))


def shown(est: Any) -> set[str]:
    return {name for name in vars(est) if not name.startswith("_")}


def refuse(net: Any, epoch: int, scores: Any) -> None:
    raise ZeroDivisionError


FAILURES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"alpha": -1}, {}),
    ({"dropout": [0.1]}, {}),
    ({"callbacks": [lm.callbacks.LambdaCallback(on_epoch_end=refuse)]}, {}),
    ({"metrics": ["r3"]}, {}),
    ({"solver": "lbfgs", "dropout": 0.5}, {}),
    ({"early_stopping": True, "validation_fraction": 0.001}, {}),
    ({"solver": "sgd", "learning_rate_init": 1e200, "activation": "identity"}, {}),
    ({}, {"sample_weight": np.ones(3)}),
    ({}, {"X_val": IRIS[0]}),
    ({}, {"X_val": IRIS[0][:, :2], "y_val": IRIS[1]}),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(("wrong", "data"), FAILURES)
def test_a_failed_fit_leaves_the_estimator_as_it_was(
    kind: type, warm: bool, wrong: dict[str, Any], data: dict[str, Any]
) -> None:
    est = kind(random_state=0, max_iter=3, warm_start=warm).fit(*IRIS)
    usual, before = est.get_params(), copy.deepcopy(est)
    with pytest.raises((ValueError, ZeroDivisionError)):
        est.set_params(**wrong).fit(*IRIS, **data)
    est.set_params(**usual)
    assert shown(est) == shown(before)
    np.testing.assert_array_equal(est.predict(IRIS[0]), before.predict(IRIS[0]))
    assert (est.n_iter_, est.t_, est.loss_curve_) == (3, 450, before.loss_curve_)
    for each in (est, before):  # the optimizer, too
        each.partial_fit(*IRIS)
    np.testing.assert_array_equal(est.coefs_[0], before.coefs_[0])


@pytest.mark.parametrize("kind", BOTH)
def test_a_failed_first_fit_leaves_it_unfitted(kind: type) -> None:
    est = kind(dropout=[0.5])
    with pytest.raises(ValueError, match="dropout must be one rate, or 2"):
        est.fit(*IRIS)
    with pytest.raises(NotFittedError):
        est.net_  # noqa: B018
    assert not [name for name in vars(est) if name.endswith("_")]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_plain_batch_of_partial_fit_is_any_batch(kind: type, dtype: Any) -> None:
    """What one call of the core learns is what the long way round does."""
    X, y = IRIS[0].astype(dtype), IRIS[1]
    for options in ({}, {"solver": "sgd"}, {"alpha": 0.1, "dropout": 0.2}):
        quick = kind(random_state=0, **options).fit(X, y)
        slow = copy.deepcopy(quick)
        for i in range(0, 90, 30):
            rows = slice(i, i + 30)
            quick.partial_fit(X[rows], y[rows])
            slow.partial_fit(X[rows].tolist(), y[rows].tolist())
        for own, value in zip(quick.coefs_, slow.coefs_, strict=True):
            np.testing.assert_array_equal(own, value)
        assert quick.loss_curve_ == slow.loss_curve_
        assert quick.history_ == slow.history_
        assert (quick.t_, quick.n_iter_) == (slow.t_, slow.n_iter_)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.full((3, 4), np.nan), [0, 1, 2], "contains NaN"),
        (np.ones((3, 4)), np.array([0, 1, 7]), "classes not in `self.classes_`"),
        (np.ones((3, 5)), [0, 1, 2], "expecting 4 features"),
        (np.ones((3, 4)), np.array([0, 1]), "inconsistent numbers of samples"),
        (np.ones((0, 4)), np.array([], int), "minimum of 1 is required"),
    ],
)
def test_a_wrong_batch_is_refused_as_theirs(X: Any, y: Any, message: str) -> None:
    est = MLPClassifier(random_state=0, max_iter=2).fit(*IRIS)
    before = est.coefs_[0].copy()
    with pytest.raises(ValueError, match=message):
        est.partial_fit(X, y)
    np.testing.assert_array_equal(est.coefs_[0], before)


def test_lbfgs_of_several_outputs_searches_by_the_value_of_its_gradient() -> None:
    """scikit-learn's line search sees half the mean and goes by the sum."""
    X, y = make_regression(200, 6, n_targets=4, random_state=0)
    X, y = X / X.std(axis=0), y / y.std(axis=0)
    options: Any = {"solver": "lbfgs", "random_state": 0, "max_iter": 300, "alpha": 0.0}
    reg = MLPRegressor(**options).fit(X, y)
    error = 0.5 * np.mean((reg.predict(X) - y) ** 2)
    assert reg.loss_ == pytest.approx(error, rel=1e-9)
    assert error < 1e-3


def test_clones_have_the_same_parameters_and_nothing_learnt() -> None:
    est = MLPClassifier(activation=["relu", lm.elu], dropout=[0, 0.1, 0.2], width=3)
    est.set_params(callbacks=[lm.callbacks.TerminateOnNaN()], depth=2).fit(*IRIS)
    copied = clone(est)
    assert copied.get_params().keys() == est.get_params().keys()
    assert not hasattr(copied, "coefs_")
    assert copied.fit(*IRIS).coefs_[0].shape == (4, 3)


def test_training_that_does_not_converge_warns_as_theirs() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(*IRIS)
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        MLPClassifier(batch_size=1000, max_iter=2).fit(*IRIS)


def test_code_in_the_guide_runs() -> None:
    guide = Path(__file__).resolve().parent.parent / "docs" / "sklearn.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), re.S)
    assert len(blocks) == 2
    done = run("\n".join(blocks))
    assert done.returncode == 0, done.stderr
    assert "width" in done.stdout
