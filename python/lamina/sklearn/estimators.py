"""The two estimators: what they are told, what they learn from, what they answer."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from lamina import _checks, activations, data, losses
from lamina._checks import Array
from lamina.exchange.to_onnx import begin, plain
from lamina.losses import PerWeight
from lamina.sklearn.base import LOSSES, BaseMLP
from lamina.sklearn.nets import Held, goal_of

__all__ = ["MLPClassifier", "MLPRegressor"]


def _is_stochastic(est: Any) -> bool:
    if est.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not "
            "stochastic."
        )
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier.

    The parameters up to `max_fun` are those of
    `sklearn.neural_network.MLPClassifier`, in its order and with its meanings; those
    after it are Lamina's, and change nothing by default. `docs/sklearn.md` says where
    the two differ.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int
    activation : str, activation or list
        scikit-learn's "identity", "logistic", "tanh", "relu", any other name of an
        activation (``lm.activations``), an object (``lm.elu.using(alpha=0.5)``), or a
        list of one for each hidden layer.
    solver : {"adam", "sgd", "lbfgs"}
    alpha : float
        Strength of the L2 penalty, which is divided by the rows of a batch.
    batch_size : int or "auto"
    learning_rate : {"constant", "invscaling", "adaptive"} or Schedule
        The strings are for "sgd" alone; a schedule (``lm.schedules``) is for "adam",
        too, and takes the place of `learning_rate_init`.
    learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose, \
warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, \
beta_2, epsilon, n_iter_no_change, max_fun
        As in scikit-learn.
    loss : str or Loss
        "log_loss", or any loss of ``lm.losses`` by name or as an object, which then
        learns from zeros and ones.
    out_activation : str or activation, optional
        By default softmax for several classes, else logistic.
    dropout : float or array-like
        The rate after each hidden layer; or several: first that of the inputs, then one
        for each hidden layer.
    l1 : float
        Strength of an L1 penalty, which is divided as `alpha`.
    max_norm : float, optional
        The largest norm that the weights of a unit may have.
    class_weight : dict or "balanced", optional
    standardize : bool
        Standardize the inputs, by mean and deviation of the rows that are trained on.
    scoring : str or callable, optional
        What `early_stopping` goes by: a scorer of scikit-learn, or "loss"; by default
        the accuracy.
    restore_best : bool
        Also without `early_stopping`, take back the coefficients of the epoch with the
        least loss, of the validation data where `fit` gets some.
    metrics : list or dict
        Further scores of validation data for `history_`: as in `Sequential.fit`.
    callbacks : list of Callback
    optimizer : str or Optimizer, optional
        In place of `solver`, its rates and momentums.
    width, depth : int, optional
        Units of each hidden layer, and their number: in place of `hidden_layer_sizes`,
        for searches.
    exact : bool
        Draw and shuffle as scikit-learn does: in float64 the coefficients are then its
        own, but for rounding. By default the random numbers are Lamina's, the same on
        every machine.

    Attributes
    ----------
    classes_, loss_, best_loss_, loss_curve_, validation_scores_, \
best_validation_score_, t_, coefs_, intercepts_, n_features_in_, feature_names_in_, \
n_iter_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn. What is put into the lists of coefficients counts.
    validation_loss_curve_ : list of float or None
        The loss, without penalties, of the validation data after each epoch.
    history_ : dict of str to list
        Scores by epoch: "loss", "learning_rate", "val_loss", "val_score", `metrics`.
    net_ : Sequential
        The net itself, for serving, saving and everything else.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from lamina.sklearn import MLPClassifier
    >>> X, y = make_classification(n_samples=200, random_state=0)
    >>> clf = MLPClassifier(dropout=0.2, max_iter=300, random_state=0)
    >>> clf.fit(X[:150], y[:150]).score(X[150:], y[150:]) > 0.85
    True
    """

    _parameter_constraints = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss", *LOSSES}), losses.Loss],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        out_activation: Any = None,
        dropout: Any = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        class_weight: Any = None,
        standardize: bool = False,
        scoring: Any = None,
        restore_best: bool = False,
        metrics: Any = (),
        callbacks: Any = (),
        optimizer: Any = None,
        width: int | None = None,
        depth: int | None = None,
        exact: bool = False,
    ) -> None:
        self._hold(locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Learn from rows and their classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
        X_val, y_val, sample_weight_val : likewise, optional
            Rows to validate by after each epoch: with `early_stopping` in place of a
            share of `X`, else for `history_` and `restore_best` alone.

        Returns
        -------
        self
        """
        held_out = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, held_out=held_out)

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        epochs: int = 1,
    ) -> Self:
        """Go on learning, from further rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like of shape (n_classes,), optional
            All classes; must come with the first call.
        epochs : int
            How often to go through these rows.

        Returns
        -------
        self
        """
        epochs = _checks.count("epochs", epochs)
        return self._fit(X, y, sample_weight, epochs=epochs, classes=classes)

    def predict(self, X: Any) -> Array:
        """The classes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._classes_of(self._outputs(X))

    def predict_proba(
        self, X: Any, return_std: bool = False, *, samples: int = 100
    ) -> Any:
        """The probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool
            Also the standard deviation, by Monte-Carlo dropout: that of `samples`
            passes with dropout as in training (Gal & Ghahramani 2016), whose mean the
            probabilities then are.
        samples : int

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            With `return_std` two of them.
        """
        if not return_std:
            return self._by_class(self._outputs(X))
        mean, deviation = self._sampled(X, samples)
        if self.n_outputs_ == 1:
            deviation = np.repeat(deviation, 2, axis=1)
        return self._by_class(mean), deviation

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`."""
        found = self.predict_proba(X)
        logarithms: Array = np.log(found, out=found)
        return logarithms

    def decision_function(self, X: Any) -> Array:
        """The logits: what the last activation gets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        X = self._validated(X)
        logits = self._through(self._network().net.layers, X, logits=True)
        return logits.ravel() if self.n_outputs_ == 1 else logits

    def to_onnx(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        opset: int = 15,
        dtype: Any = None,
    ) -> Any:
        """The classifier as an ONNX graph (see `lamina.Sequential.to_onnx`).

        Its input is "x" (n, features), the columns as `predict` takes them; its outputs
        are "labels", what `predict` returns, of integers, floats or strings, and
        "probabilities", what `predict_proba` returns.

        Parameters
        ----------
        path : str or path, optional
            Of a file to write.
        opset : int
        dtype : {"float32", "float64"}, optional
            By default that of the coefficients.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ImportError
            onnx is not installed: ``pip install lamina[onnx]``.
        """
        graph, p = begin(self.net_, opset, dtype)
        count = self.n_outputs_
        if self._label_binarizer.y_type_.startswith("multilabel"):
            labels = graph.add("Cast", graph.add("Greater", p, graph.number(0.5)), to=7)
            graph.output("labels", labels, np.int64, [count])
        else:
            classes = plain(np.resize(self.classes_, max(2, len(self.classes_))))
            labels = graph.choose(p, count, classes)
            graph.output("labels", labels, classes.dtype, [])
        if count == 1:
            p = graph.add("Concat", graph.add("Sub", graph.number(1), p), p, axis=1)
        graph.output("probabilities", p, graph.dtype, [max(2, count)])
        return graph.save(path, **self._names())

    def _by_class(self, outputs: Array) -> Array:
        if self.n_outputs_ > 1:
            return outputs
        return np.concatenate([1 - outputs, outputs], axis=1)

    def _classes_of(self, outputs: Array) -> Array:
        outputs = outputs.ravel() if self.n_outputs_ == 1 else outputs
        found: Array = self._label_binarizer.inverse_transform(outputs)
        return found

    def _learn_classes(self, y: Any, classes: Any, incremental: bool) -> None:
        if incremental and _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)

    def _compare_classes(self, y: Array, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and set(found := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the "
                f"previous call to fit. Previously got {self.classes_}, `y` has {found}"
            )

    def _encode(self, y: Array) -> Array:
        found = unique_labels(y)
        if len(np.setdiff1d(found, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. `self.classes_` has "
                f"{self.classes_}. 'y' has {found}."
            )
        return np.asarray(self._label_binarizer.transform(y).astype(bool))

    def _plain_targets(self, X: Array, y: Any, classes: Any) -> Array | None:
        known = self.classes_
        if (
            type(y) is not np.ndarray
            or y.shape != X.shape[:1]
            or y.dtype.kind not in "iub"
            or known.dtype.kind not in "iub"
            or self.class_weight is not None
            or self.warm_start
            or self._label_binarizer.y_type_.startswith("multilabel")
            or not (classes is None or np.array_equal(classes, known))
        ):
            return None
        codes = np.minimum(known.searchsorted(y), len(known) - 1)
        if not (known[codes] == y).all():
            return None
        goal = goal_of(self, self.n_outputs_)
        if "softmax" not in goal.activations:
            codes = codes[:, np.newaxis]
            if self.n_outputs_ > 1:
                codes = codes == np.arange(self.n_outputs_)
        return goal.targets(codes, self.n_outputs_, X.dtype)

    def _weights(self, X: Any, y: Array, weights: Any, incremental: bool) -> Any:
        weights = super()._weights(X, y, weights, incremental)
        if self.class_weight is None:
            return weights
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight must be a dict in partial_fit, which sees some of the "
                "rows, got 'balanced'; use compute_class_weight('balanced', "
                "classes=classes, y=y)"
            )
        factors = compute_sample_weight(self.class_weight, self._labels(y))
        return factors if weights is None else weights * factors

    def _labels(self, y: Array) -> Array:
        labels: Array = self._label_binarizer.inverse_transform(y)
        return labels

    def _targets(self, y: Array, goal: PerWeight) -> Array:
        if "softmax" in goal.activations:
            return np.asarray(y.argmax(axis=1))
        return y.astype(np.float32)  # zeros and ones

    def _out_activation(self) -> str:
        if self.out_activation is not None:
            return str(activations.get(self.out_activation).name)
        multiclass = self._label_binarizer.y_type_ == "multiclass"
        return "softmax" if multiclass else "logistic"

    def _score(self, outputs: Array, rows: data.Rows) -> float:
        """Accuracy: of labels, or of all outputs of a row at once."""
        y = rows.y.take(slice(None), "y")
        if self._label_binarizer.y_type_ == "multiclass":
            labels = y if y.ndim == 1 else y.argmax(axis=1)
            hits = outputs.argmax(axis=1) == labels
        else:
            hits = ((outputs > 0.5) == (y > 0.5)).all(axis=1)
        return float(np.average(hits, weights=rows.weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor.

    The parameters up to `max_fun` are those of `sklearn.neural_network.MLPRegressor`,
    in its order and with its meanings; those after it are Lamina's, and change nothing
    by default. `MLPClassifier` describes what both have.

    Parameters
    ----------
    loss : str or Loss
        "squared_error" and "poisson" as in scikit-learn, or any loss of ``lm.losses``
        by name or as an object.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, \
learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose, \
warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, \
beta_2, epsilon, n_iter_no_change, max_fun
        As in `MLPClassifier`.
    out_activation : str or activation, optional
        By default none: "sigmoid" bounds predictions to [0, 1], "softplus" from below.
    scale_target : bool
        Learn targets of mean 0 and deviation 1; predictions are scaled back. What
        `net_` predicts, losses and `metrics` are those of scaled targets.
    dropout, l1, max_norm, standardize, scoring, restore_best, metrics, callbacks, \
optimizer, width, depth, exact
        As in `MLPClassifier`; the default of `scoring` is R^2.

    Attributes
    ----------
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, t_, \
coefs_, intercepts_, n_features_in_, feature_names_in_, n_iter_, n_layers_, \
n_outputs_, out_activation_, validation_loss_curve_, history_, net_
        As in `MLPClassifier`. After "poisson", `net_` predicts the logarithms.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from lamina.sklearn import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = MLPRegressor(
    ...     hidden_layer_sizes=20, standardize=True, scale_target=True,
    ...     early_stopping=True, random_state=0,
    ... )
    >>> reg.fit(X, y).score(X, y) > 0.4
    True
    """

    _parameter_constraints = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", *LOSSES}), losses.Loss],
        "scale_target": ["boolean"],
    }
    # Of the targets, where they are scaled.
    _target_mean: Array | float = 0.0
    _target_scale: Array | float = 1.0

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        out_activation: Any = None,
        scale_target: bool = False,
        dropout: Any = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        standardize: bool = False,
        scoring: Any = None,
        restore_best: bool = False,
        metrics: Any = (),
        callbacks: Any = (),
        optimizer: Any = None,
        width: int | None = None,
        depth: int | None = None,
        exact: bool = False,
    ) -> None:
        self._hold(locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Learn from rows and their targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
        X_val, y_val, sample_weight_val : likewise, optional
            As in `MLPClassifier.fit`.

        Returns
        -------
        self
        """
        held_out = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, held_out=held_out)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, epochs: int = 1
    ) -> Self:
        """Go on learning, from further rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        epochs : int
            How often to go through these rows.

        Returns
        -------
        self
        """
        epochs = _checks.count("epochs", epochs)
        return self._fit(X, y, sample_weight, epochs=epochs)

    def predict(self, X: Any, return_std: bool = False, *, samples: int = 100) -> Any:
        """The targets of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool
            Also the standard deviation, by Monte-Carlo dropout: that of `samples`
            passes with dropout as in training (Gal & Ghahramani 2016), whose mean the
            predictions then are.
        samples : int

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            With `return_std` two of them.
        """
        if not return_std:
            return self._unscaled(self._outputs(X))
        if self.out_activation_ == "exp":
            raise ValueError("return_std must be False with loss='poisson', got True")
        mean, deviation = self._sampled(X, samples)
        scale = np.asarray(self._target_scale, mean.dtype)
        return self._unscaled(mean), _column(deviation * scale)

    def to_onnx(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        opset: int = 15,
        dtype: Any = None,
    ) -> Any:
        """The regressor as an ONNX graph (see `lamina.Sequential.to_onnx`).

        Its input is "x" (n, features), the columns as `predict` takes them; its output
        is "predictions", what `predict` returns.

        Parameters
        ----------
        path, opset, dtype
            As in `MLPClassifier.to_onnx`.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ImportError
            onnx is not installed: ``pip install lamina[onnx]``.
        """
        graph, y = begin(self.net_, opset, dtype)
        if self.out_activation_ == "exp":
            y = graph.add("Exp", y)
        if self.scale_target:
            y = graph.add("Mul", y, graph.weights("scale", self._target_scale))
            y = graph.add("Add", y, graph.weights("mean", self._target_mean))
        if self.n_outputs_ == 1:
            y = graph.add("Squeeze", y, graph.axes(1))
        shape = [] if self.n_outputs_ == 1 else [self.n_outputs_]
        graph.output("predictions", y, graph.dtype, shape)
        return graph.save(path, **self._names())

    def _unscaled(self, outputs: Array) -> Array:
        if self.out_activation_ == "exp":
            with np.errstate(over="ignore"):
                outputs = np.exp(outputs)
        if self.scale_target:
            scale = np.asarray(self._target_scale, outputs.dtype)
            outputs = outputs * scale + np.asarray(self._target_mean, outputs.dtype)
        return _column(outputs)

    def _plain_targets(self, X: Array, y: Any, classes: Any) -> Array | None:
        if type(y) is not np.ndarray or y.shape != X.shape[:1] or self.n_outputs_ > 1:
            return None
        if y.dtype.kind not in "iuf" or not np.isfinite(y).all():
            return None
        goal = goal_of(self, self.n_outputs_)
        return goal.targets(self._targets(y[:, np.newaxis], goal), 1, X.dtype)

    def _learn_scales(self, held: Held, X: Any, y: Array, weights: Any) -> None:
        super()._learn_scales(held, X, y, weights)
        if not self.scale_target:
            return
        if self.out_activation_ == "exp":
            raise ValueError(
                "scale_target must be False with loss='poisson', whose counts have no "
                "other zero, got True"
            )
        self._target_mean, self._target_scale = data.moments([y], weights)

    def _labels(self, y: Array) -> Array:
        return _column(y)

    def _targets(self, y: Array, goal: PerWeight) -> Array:
        if not self.scale_target:
            return y
        return np.asarray((y - self._target_mean) / self._target_scale)

    def _out_activation(self) -> str:
        if self.out_activation is not None:
            return str(activations.get(self.out_activation).name)
        return (
            "exp"
            if isinstance(self.loss, str) and self.loss == "poisson"
            else "identity"
        )

    def _score(self, outputs: Array, rows: data.Rows) -> float:
        """R^2; NaN where predictions are not finite."""
        if self.out_activation_ == "exp":
            with np.errstate(over="ignore"):
                outputs = np.exp(outputs)
        if not np.isfinite(outputs).all():
            return float("nan")
        y = rows.y.take(slice(None), "y")
        return float(r2_score(y, outputs, sample_weight=rows.weights))


def _column(outputs: Array) -> Array:
    return outputs.ravel() if outputs.shape[1] == 1 else outputs
