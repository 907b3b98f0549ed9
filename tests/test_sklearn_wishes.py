"""What users of scikit-learn's nets have asked for, and what they put them into.

Numbers are those of the threads where it was asked for first.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_classification,
    make_multilabel_classification,
)
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.metrics import brier_score_loss, recall_score, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    cross_val_predict,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import lamina as lm
from lamina.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
BINARY = Y > 0
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
DIABETES = DIABETES / DIABETES.std(axis=0)
DIGITS = load_digits(return_X_y=True)


def classifier(**options: Any) -> MLPClassifier:
    usual = {"hidden_layer_sizes": 16, "random_state": 0, "learning_rate_init": 0.01}
    return MLPClassifier(**usual | options)


def regressor(**options: Any) -> MLPRegressor:
    usual = {"hidden_layer_sizes": 16, "random_state": 0, "learning_rate_init": 0.01}
    return MLPRegressor(**usual | {"scale_target": True} | options)


def kinds(net: lm.Sequential) -> list[str]:
    return [repr(layer) for layer in net.layers]


# Layers and losses --------------------------------------------------------------------


def test_dropout_after_every_layer_or_by_layer() -> None:
    """6175"""
    one = classifier(hidden_layer_sizes=(8, 4), dropout=0.25, max_iter=1).fit(X, Y)
    assert kinds(one.net_)[1::2] == ["Dropout(0.25)", "Dropout(0.25)"]
    each = classifier(hidden_layer_sizes=(8, 4), dropout=[0.1, 0, 0.5]).fit(X, Y)
    assert kinds(each.net_) == [
        "Dropout(0.1)",
        "Dense(8, 'relu')",
        "Dense(4, 'relu')",
        "Dropout(0.5)",
        "Dense(3, 'softmax')",
    ]
    assert each.score(X, Y) > 0.9
    # Prediction drops nothing.
    np.testing.assert_array_equal(each.predict_proba(X), each.predict_proba(X))


@pytest.mark.parametrize("name", ["leaky_relu", "gelu", "mish", "swish", "selu"])
def test_other_activations_by_name(name: str) -> None:
    """11952, 26912, 30199"""
    clf = classifier(activation=name, max_iter=100).fit(X, Y)
    assert clf.score(X, Y) > 0.9


def test_an_activation_with_a_parameter() -> None:
    """10665"""
    slope = lm.leaky_relu.using(negative_slope=0.3)
    clf = classifier(activation=slope, max_iter=2).fit(X, Y)
    hidden = X @ clf.coefs_[0] + clf.intercepts_[0]
    expected = np.where(hidden > 0, hidden, 0.3 * hidden)
    np.testing.assert_allclose(clf.transform(X), expected, rtol=1e-12, atol=1e-14)


def test_an_activation_for_each_layer() -> None:
    """10097"""
    clf = classifier(hidden_layer_sizes=(8, 4), activation=["tanh", "relu"]).fit(X, Y)
    assert kinds(clf.net_)[:2] == ["Dense(8, 'tanh')", "Dense(4, 'relu')"]
    with pytest.raises(ValueError, match="one for each hidden layer, got 1"):
        classifier(hidden_layer_sizes=(8, 4), activation=["tanh"]).fit(X, Y)


def test_regression_within_bounds() -> None:
    """6094, 31235"""
    y = 1 / (1 + np.exp(-DIABETES[:, 2]))
    reg = regressor(scale_target=False, out_activation="sigmoid").fit(DIABETES, y)
    far = reg.predict(DIABETES * 100)
    assert far.min() >= 0 and far.max() <= 1
    assert reg.out_activation_ == "sigmoid"
    assert reg.score(DIABETES, y) > 0.9


def test_absolute_error_is_less_moved_by_outliers() -> None:
    """14571"""
    y = DIABETES[:, 2].copy()
    y[::10] += 100
    options: Any = {"scale_target": False, "max_iter": 500, "learning_rate_init": 0.01}
    wrong = {}
    for loss in ("squared_error", "mean_absolute_error", lm.losses.huber):
        reg = regressor(loss=loss, **options).fit(DIABETES, y)
        error = np.abs(reg.predict(DIABETES) - DIABETES[:, 2])
        wrong[str(loss)] = np.median(error)
    squared = wrong.pop("squared_error")
    assert max(wrong.values()) < squared / 3


class Pinball(lm.losses.Loss):
    def value(self, outputs: Any, targets: Any) -> Any:
        error = targets - outputs
        losses = np.maximum(0.9 * error, -0.1 * error).mean(axis=1)
        return losses, np.where(error > 0, -0.9, 0.1)


def test_quantiles_by_a_loss_of_ones_own() -> None:
    """8303"""
    rng = np.random.default_rng(0)
    x, y = rng.random((600, 1)), rng.normal(size=600)
    options: Any = {"loss": Pinball(), "learning_rate_init": 0.01, "max_iter": 60}
    reg = regressor(scale_target=False, **options).fit(x, y)
    # Of 600 rows, 9 in 10 are below it: a standard error of 1.2 %.
    assert 0.85 < (y < reg.predict(x)).mean() < 0.95


def test_uncertainty_by_monte_carlo_dropout() -> None:
    """8303"""
    reg = regressor(dropout=0.2).fit(DIABETES, PROGRESS)
    mean, deviation = reg.predict(DIABETES, return_std=True, samples=200)
    assert mean.shape == deviation.shape == PROGRESS.shape
    usual = reg.predict(DIABETES)
    # Two hundred samples: the mean to a fourteenth of a deviation.
    assert np.abs(mean - usual).mean() < deviation.mean()
    assert (deviation > 0).all() and deviation.mean() > 0.01 * PROGRESS.std()
    p, spread = classifier(dropout=0.2).fit(X, Y).predict_proba(X, return_std=True)
    assert p.shape == spread.shape == (150, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    with pytest.raises(ValueError, match="return_std must come with dropout"):
        regressor(max_iter=1).fit(DIABETES, PROGRESS).predict(DIABETES, True)


# Weights ------------------------------------------------------------------------------


def test_class_weights_find_the_rare_class() -> None:
    """9113"""
    rows, y = make_classification(600, weights=[0.95], class_sep=0.5, random_state=0)
    options: Any = {"max_iter": 40}
    plain = recall_score(y, classifier(**options).fit(rows, y).predict(rows))
    balanced = classifier(class_weight="balanced", **options).fit(rows, y)
    assert recall_score(y, balanced.predict(rows)) > plain + 0.2
    n = np.bincount(y)
    named = {k: len(y) / (2 * n[k]) for k in (0, 1)}
    same = classifier(class_weight=named, **options).fit(rows, y)
    np.testing.assert_array_equal(same.coefs_[0], balanced.coefs_[0])
    with pytest.raises(ValueError, match="class_weight must be a dict in partial_fit"):
        balanced.partial_fit(rows, y)


def test_class_weights_of_strings_multiply_sample_weights() -> None:
    """11723"""
    names = np.array(["a", "b", "c"])[Y]
    w = np.random.default_rng(0).random(150)
    mine = classifier(class_weight={"a": 2.0, "b": 1.0, "c": 0.5}, max_iter=5)
    mine.fit(X, names, sample_weight=w)
    same = classifier(max_iter=5).fit(X, Y, w * np.array([2, 1, 0.5])[Y])
    np.testing.assert_array_equal(mine.coefs_[0], same.coefs_[0])


def test_a_row_of_weight_two_is_two_rows() -> None:
    """25646"""
    w = np.arange(150) % 3
    for solver in ("adam", "lbfgs"):
        options: Any = {"solver": solver, "batch_size": 150, "max_iter": 10}
        weighted = classifier(standardize=True, **options).fit(X, Y, w)
        options["batch_size"] = w.sum()
        rows = np.repeat(np.arange(150), w)
        repeated = classifier(standardize=True, **options).fit(X[rows], Y[rows])
        np.testing.assert_allclose(
            weighted.coefs_[0], repeated.coefs_[0], rtol=1e-6, atol=1e-9
        )


# Stopping -----------------------------------------------------------------------------


def test_the_validation_loss_of_every_epoch() -> None:
    """18507"""
    clf = classifier(early_stopping=True, max_iter=30).fit(X, Y)
    assert clf.validation_loss_curve_ is not None
    assert len(clf.validation_loss_curve_) == len(clf.loss_curve_) == clf.n_iter_
    assert clf.history_["val_loss"] == clf.validation_loss_curve_
    assert clf.history_["val_score"] == clf.validation_scores_
    both = classifier(max_iter=5, alpha=1.0).fit(X, Y, X_val=X, y_val=Y)
    p = both.predict_proba(X)[np.arange(150), Y]
    assert both.history_["val_loss"][-1] == pytest.approx(-np.log(p).mean())


def test_further_scores_of_every_epoch() -> None:
    """18507"""
    options: Any = {"max_iter": 4, "metrics": ["roc_auc", "log_loss"]}
    clf = classifier(**options).fit(X, BINARY, X_val=X, y_val=BINARY)
    p = clf.predict_proba(X)[:, 1]
    assert clf.history_["val_roc_auc"][-1] == pytest.approx(roc_auc_score(BINARY, p))
    assert len(clf.history_["val_log_loss"]) == 4


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "loss"])
def test_early_stopping_by_any_score(scoring: str) -> None:
    """24411"""
    clf = classifier(early_stopping=True, scoring=scoring, max_iter=50)
    clf.fit(X, BINARY)
    assert clf.best_validation_score_ == max(clf.history_["val_score"])
    if scoring == "roc_auc":
        assert 0 < clf.history_["val_score"][-1] <= 1
    else:
        losses = np.array(clf.history_["val_loss"])
        scores = clf.history_["val_score"]
        np.testing.assert_allclose(scores, -losses, rtol=1e-10)


def test_early_stopping_by_validation_data_of_ones_own() -> None:
    """18748"""
    rows = np.arange(150) % 5 > 0
    clf = classifier(early_stopping=True, max_iter=60)
    clf.fit(X[rows], Y[rows], X_val=X[~rows], y_val=Y[~rows])
    assert clf.t_ == clf.n_iter_ * rows.sum()  # no share of them was held out
    assert clf.best_validation_score_ == clf.score(X[~rows], Y[~rows])
    with pytest.raises(ValueError, match="y_val must come with X_val"):
        clf.fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="classes not in"):
        clf.fit(X, BINARY, X_val=X, y_val=Y)


def test_the_best_epoch_also_without_early_stopping() -> None:
    """keras 3400, skorch 808"""
    rows, y = make_classification(120, flip_y=0.4, random_state=0)
    options: Any = {"max_iter": 300, "learning_rate_init": 0.01, "tol": 0.0}
    clf = classifier(restore_best=True, n_iter_no_change=np.inf, **options)
    clf.fit(rows[:60], y[:60], X_val=rows[60:], y_val=y[60:])
    p = clf.predict_proba(rows[60:])[np.arange(60), y[60:]]
    curve = clf.history_["val_loss"]
    assert -np.log(p).mean() == pytest.approx(min(curve))
    assert min(curve) < curve[-1] / 2


def test_schedules_for_adam() -> None:
    """15596"""
    schedule = lm.schedules.Cosine(0.01, steps=20)
    clf = classifier(learning_rate=schedule, max_iter=20).fit(X, Y)
    np.testing.assert_allclose(
        clf.history_["learning_rate"], schedule(np.arange(1, 21)), rtol=1e-12
    )


@pytest.mark.parametrize("labels", [["x", "y", "z"], [10, 20, 30], [1.0, 2.0, 4.0]])
def test_early_stopping_with_any_labels(labels: list[Any]) -> None:
    """33760"""
    y = np.array(labels)[Y]
    clf = classifier(early_stopping=True, max_iter=30).fit(X, y)
    assert np.isfinite(clf.validation_scores_).all()
    assert set(clf.predict(X)) <= set(labels)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # R^2 of large numbers
def test_a_diverging_score_is_nan_and_does_not_count() -> None:
    """29504"""
    reg = regressor(
        scale_target=False,
        solver="sgd",
        activation="identity",
        learning_rate_init=10.0,
        early_stopping=True,
        max_iter=30,
    ).fit(DIABETES, PROGRESS)
    assert np.isnan(reg.validation_scores_[-1])
    assert np.isfinite(reg.predict(DIABETES)).all()


# Going on -----------------------------------------------------------------------------


def test_warm_starts_take_max_iter_further_epochs() -> None:
    """24764"""
    clf = classifier(warm_start=True, max_iter=3).fit(X, Y)
    first = clf.loss_
    clf.set_params(max_iter=5).fit(X, Y)
    assert (clf.n_iter_, len(clf.loss_curve_), clf.t_) == (5, 8, 8 * 150)
    assert clf.loss_ < first


def test_warm_starts_hold_out_the_same_rows() -> None:
    """16661"""
    seen = []

    def scored(est: Any, rows: Any, y: Any) -> float:
        seen.append(rows.copy())
        return 0.5

    clf = MLPClassifier(early_stopping=True, scoring=scored, warm_start=True)
    clf.set_params(max_iter=1).fit(X, Y).fit(X, Y)
    np.testing.assert_array_equal(seen[0], seen[1])


def test_epochs_of_partial_fit() -> None:
    """12505"""
    options: Any = {"batch_size": 50, "max_iter": 6}
    parts = classifier(**options)
    parts.partial_fit(X, Y, classes=[0, 1, 2], epochs=6)
    whole = classifier(**options, n_iter_no_change=np.inf).fit(X, Y)
    np.testing.assert_array_equal(parts.coefs_[0], whole.coefs_[0])
    assert len(parts.loss_curve_) == parts.n_iter_ == 6
    with pytest.raises(ValueError, match="epochs must be an integer >= 1, got 0"):
        parts.partial_fit(X, Y, epochs=0)


def test_partial_fit_shuffles_anew_at_every_call() -> None:
    """26452: with an integer as random_state scikit-learn's order is the same."""
    options: Any = {"batch_size": 30, "solver": "sgd", "momentum": 0.0}
    seen = []
    for shuffle in (True, False):
        clf = classifier(shuffle=shuffle, **options)
        for _ in range(2):
            clf.partial_fit(X, Y, classes=[0, 1, 2])
        seen.append(clf.loss_curve_)
    assert seen[0] != seen[1]


def test_the_same_seed_gives_the_same_net() -> None:
    """15266"""
    seeds = [0, np.random.RandomState(0)]
    first, second = (classifier(random_state=s, max_iter=3).fit(X, Y) for s in seeds)
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])
    other = classifier(random_state=1, max_iter=3).fit(X, Y)
    assert not np.array_equal(first.coefs_[0], other.coefs_[0])


# Searching, scaling, looking inside ---------------------------------------------------


def test_a_search_over_width_and_depth() -> None:
    """15568, scikit-optimize 697"""
    grid = {"width": [4, 8], "depth": [1, 2]}
    search = GridSearchCV(classifier(max_iter=20), grid, cv=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    best = search.best_params_
    widths = [coef.shape[1] for coef in search.best_estimator_.coefs_[:-1]]
    assert widths == [best["width"]] * best["depth"]


def test_alpha_is_divided_by_the_rows_as_it_was() -> None:
    """6780"""
    clf = classifier(alpha=30.0, max_iter=1, batch_size=150).fit(X, Y)
    plain = classifier(alpha=0.0, max_iter=1, batch_size=150).fit(X, Y)
    again = classifier(alpha=0.0, max_iter=1, batch_size=150)
    again.partial_fit(X, Y, classes=[0, 1, 2])
    start = clf.loss_curve_[0] - plain.loss_curve_[0]
    fresh = MLPClassifier(16, random_state=0, max_iter=1, learning_rate_init=1e-12)
    fresh.fit(X, Y)  # as the weights were in the first step
    squares = sum(np.square(coef).sum() for coef in fresh.coefs_)
    assert start == pytest.approx(0.5 * 30.0 * squares / 150, rel=1e-6)


def test_l1_max_norm_and_clipping() -> None:
    """3939"""
    options: Any = {"max_iter": 200, "learning_rate_init": 0.01}
    sparse = classifier(l1=2.0, **options).fit(X, Y)
    plain = classifier(**options).fit(X, Y)
    small = [np.mean(np.abs(each.coefs_[0]) < 0.01) for each in (sparse, plain)]
    assert small[0] > small[1] + 0.2
    limited = classifier(max_norm=0.5, **options).fit(X, Y)
    for coef in limited.coefs_:
        assert np.linalg.norm(coef, axis=0).max() <= 0.5 * (1 + 1e-12)
    rule = lm.AdamW(0.01, global_clip_norm=1.0)
    clipped = classifier(optimizer=rule).fit(X, Y)
    assert clipped.net_.optimizer == rule
    assert clipped.score(X, Y) > 0.9


def test_inputs_and_targets_scaled_inside() -> None:
    """17925"""
    far = DIABETES * 1e4 + 1e6
    reg = regressor(standardize=True).fit(far, PROGRESS * 1e3)
    plain = regressor().fit(StandardScaler().fit_transform(far), PROGRESS * 1e3)
    # The same scaling: float64 columns, 1e6 away, whose moments are rounded.
    np.testing.assert_allclose(
        reg.predict(far), plain.predict(StandardScaler().fit_transform(far)), rtol=1e-6
    )
    assert reg.score(far, PROGRESS * 1e3) > 0.4
    with pytest.raises(ValueError, match="scale_target must be False with"):
        regressor(loss="poisson").fit(DIABETES, PROGRESS)


def test_several_targets_are_scaled_one_by_one() -> None:
    y = np.stack([PROGRESS, PROGRESS * 1e6], axis=1)
    reg = regressor(max_iter=300).fit(DIABETES, y)
    assert reg.score(DIABETES, y) > 0.4


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_tables(solver: str) -> None:
    """5971"""
    rows = scipy.sparse.random(200, 3000, 0.01, "csr", random_state=0)
    y = np.asarray(rows[:, :1500].sum(axis=1) > rows[:, 1500:].sum(axis=1)).ravel()
    clf = classifier(solver=solver, max_iter=60).fit(rows, y)
    assert clf.score(rows, y) > 0.95
    np.testing.assert_array_equal(clf.predict(rows), clf.predict(rows.toarray()))


def test_the_features_that_a_hidden_layer_has_learnt() -> None:
    """8291"""
    clf = classifier(hidden_layer_sizes=(8, 3), activation="tanh").fit(X, Y)
    first = np.tanh(X @ clf.coefs_[0] + clf.intercepts_[0])
    np.testing.assert_allclose(clf.transform(X, layer=0), first, rtol=1e-12)
    last = np.tanh(first @ clf.coefs_[1] + clf.intercepts_[1])
    np.testing.assert_allclose(clf.transform(X), last, rtol=1e-12)
    names = clf.get_feature_names_out().tolist()
    assert names == ["mlpclassifier0", "mlpclassifier1", "mlpclassifier2"]
    with pytest.raises(ValueError, match="one of 2 hidden layers, got 2"):
        clf.transform(X, layer=2)


def test_logits() -> None:
    """5718"""
    for y, options in [(Y, {}), (BINARY, {}), (Y, {"standardize": True})]:
        clf = classifier(max_iter=20, **options).fit(X, y)
        logits, p = clf.decision_function(X), clf.predict_proba(X)
        if y is BINARY:
            np.testing.assert_allclose(1 / (1 + np.exp(-logits)), p[:, 1], rtol=1e-12)
        else:
            odds = np.exp(logits)
            odds /= odds.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(odds, p, rtol=1e-12)


def test_attributes_are_there_whatever_the_options() -> None:
    """11038"""
    for early in (False, True):
        clf = classifier(early_stopping=early, max_iter=2).fit(X, Y)
        values = clf.best_loss_, clf.best_validation_score_, clf.validation_scores_
        assert [value is None for value in values] == [early, not early, not early]
        assert hasattr(clf, "loss_curve_") and hasattr(clf, "validation_loss_curve_")


def test_several_labels_at_once() -> None:
    rows, y = make_multilabel_classification(200, n_classes=4, random_state=0)
    clf = classifier(standardize=True, class_weight=None, max_iter=300).fit(rows, y)
    assert clf.score(rows, y) > 0.8
    assert clf.decision_function(rows).shape == y.shape


def test_callbacks_are_told(tmp_path: Any) -> None:
    log = lm.callbacks.CSVLogger(tmp_path / "log.csv")
    plateau = lm.callbacks.ReduceOnPlateau(patience=1, min_delta=1e9)
    clf = classifier(callbacks=[log, plateau], max_iter=6).fit(X, Y)
    table = pd.read_csv(tmp_path / "log.csv")
    assert table["loss"].tolist() == pytest.approx(clf.loss_curve_)
    rates = clf.history_["learning_rate"]
    assert rates[-1] < rates[0]
    stop = lm.callbacks.LambdaCallback(on_epoch_end=lambda net, epoch, _: epoch == 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # it was meant to stop
        assert classifier(callbacks=[stop]).fit(X, Y).n_iter_ == 2


# What they are put into ---------------------------------------------------------------


def test_in_a_pipeline_of_columns() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.choice(["x", "y"], 200)})
    y = (frame["a"] > 0) == (frame["b"] == "x")
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), ["a"]), ("names", OneHotEncoder(), ["b"])]
    )
    model = make_pipeline(columns, classifier(max_iter=400, learning_rate_init=0.01))
    assert model.fit(frame, y).score(frame, y) > 0.95


def test_in_searches() -> None:
    grid = {"dropout": [0.0, 0.2], "alpha": [1e-4, 1e-2]}
    search = GridSearchCV(classifier(max_iter=60), grid, cv=3, n_jobs=2).fit(X, Y)
    assert search.best_score_ > 0.9
    halving = HalvingRandomSearchCV(
        classifier(),
        {"width": [4, 8, 16, 32]},
        resource="max_iter",
        max_resources=40,
        min_resources=10,
        factor=2,
        cv=2,
        random_state=0,
    ).fit(X, Y)
    assert halving.best_score_ > 0.7


def test_calibrated() -> None:
    rows, y = load_breast_cancer(return_X_y=True)
    model = CalibratedClassifierCV(classifier(standardize=True, max_iter=40), cv=3)
    p = model.fit(rows, y).predict_proba(rows)[:, 1]
    assert brier_score_loss(y, p) < 0.04


def test_in_ensembles() -> None:
    clf = classifier(max_iter=40)
    bagged = BaggingClassifier(clf, 3, random_state=0).fit(X, Y)
    assert bagged.score(X, Y) > 0.85
    stacked = StackingClassifier([("net", clf), ("tree", DecisionTreeClassifier())])
    assert stacked.fit(X, Y).score(X, Y) > 0.9


def test_with_transformed_targets() -> None:
    y = np.exp(PROGRESS / 100)
    net = regressor(standardize=True)
    model = TransformedTargetRegressor(net, func=np.log, inverse_func=np.exp)
    assert model.fit(DIABETES, y).regressor_.score(DIABETES, np.log(y)) > 0.4


def test_inspected_and_cross_validated() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([X[:, 2], rng.normal(size=150)])
    clf = classifier(max_iter=300).fit(rows, Y)
    importance = permutation_importance(clf, rows, Y, random_state=0)
    assert importance.importances_mean[0] > 0.4 > 0.1 > importance.importances_mean[1]
    p = cross_val_predict(clf, X, Y, cv=3, method="predict_proba")
    assert (p.argmax(axis=1) == Y).mean() > 0.9
    sizes, _, scores = learning_curve(
        classifier(max_iter=100),
        X,
        Y,
        train_sizes=[0.2, 1.0],
        cv=3,
        shuffle=True,
        random_state=0,
    )
    assert scores[1].mean() > 0.9 and sizes.tolist() == [20, 100]


def test_features_as_a_frame() -> None:
    clf = classifier(hidden_layer_sizes=2, max_iter=2).set_output(transform="pandas")
    frame = clf.fit(X, Y).transform(X)
    assert frame.columns.tolist() == ["mlpclassifier0", "mlpclassifier1"]
    np.testing.assert_array_equal(
        frame.to_numpy(), clf.set_output(transform="default").transform(X)
    )


def test_weights_are_routed_through_a_pipeline() -> None:
    w = np.where(Y == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        net = classifier(max_iter=60).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = make_pipeline(scaler, net).fit(X, Y, sample_weight=w)
    alone = classifier(max_iter=60).fit(model[:-1].transform(X), Y, sample_weight=w)
    np.testing.assert_array_equal(model[-1].coefs_[0], alone.coefs_[0])
    assert (model.predict(X)[Y == 0] != 0).mean() > 0.5
