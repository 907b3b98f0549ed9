"""`TableClassifier`: the classes of a table's rows."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from lamina import losses
from lamina._checks import Array
from lamina.exchange.to_onnx import plain
from lamina.tabular import graphs, scores
from lamina.tabular.base import BaseTable, rows_of
from lamina.tabular.recipe import Part, Task

__all__ = ["TableClassifier"]


class TableClassifier(ClassifierMixin, BaseTable):
    """The classes of a table's rows, by nets that need no tuning.

    Columns may be numbers, truth values, categories, text of few values, dates, with
    gaps in any of them; `columns_` tells what each was taken for. The nets are
    RealMLP's (Holzmüller et al. 2024) in Lamina's layers; `docs/tabular.md` has what
    differs and how good they are beside boosted trees.

    Parameters
    ----------
    preset : {"default", "fast", "best"}
        How much time good answers may take.
    class_weight : dict or "balanced", optional
        Factors of the rows of each class.
    time_limit : float, optional
        Seconds that `fit` may take, about; what fits into them depends on the machine,
        and so then do the bits of the result.
    random_state : int, RandomState or None
        The same number gives the same nets, bit for bit, on any machine.
    verbose : bool
        Show a bar for each net, where tqdm is installed.

    Attributes
    ----------
    classes_ : array
    columns_ : list of Column
        Name, kind, values and gaps of each column.
    history_ : list of History
        Of each net, by epoch; "val_loss", where the rate is in a valley, is what
        the best of them was taken by.
    scores_ : dict
        Of the rows held out, each answered by one net, which chose epochs and
        temperature; all nets together are better. "accuracy",
        "log_loss", "roc_auc" of two classes, "calibration_error", which is the expected
        one (Guo et al. 2017). Empty where there were less than ten different rows: all
        were learnt from.
    temperature_ : float
        By what logits are divided, so that the probabilities of rows held out fit best.
        An average of nets is less sure than each: how much less is judged by rows that
        two nets held out.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from lamina.tabular import TableClassifier
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> clf = TableClassifier("fast").fit(X[::2], y[::2])
    >>> clf.score(X[1::2], y[1::2]) > 0.9
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **BaseTable._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
        preset: str = "default",
        *,
        class_weight: Any = None,
        time_limit: float | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.preset = preset
        self.class_weight = class_weight
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from rows and their classes.

        Parameters
        ----------
        X : table of pandas, polars or pyarrow, or array-like (n_samples, n_features)
        y : (n_samples,) labels of any kind, or (n_samples, n_outputs) of 0 and 1
        sample_weight : (n_samples,) array-like, optional

        Returns
        -------
        self
        """
        x, y, weights = self._read(X, y, sample_weight)
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y of several outputs must hold 0 and 1; for several classes in each: "
                "sklearn.multioutput.MultiOutputClassifier(TableClassifier())"
            )
        if self.class_weight is not None:
            factors = compute_sample_weight(self.class_weight, y)
            weights = factors if weights is None else weights * factors
        self._answers, self.temperature_, self.scores_ = y, 1.0, {}
        self._several = kind.startswith("multilabel")
        if self._several:
            self.classes_ = np.arange(y.shape[1])
            task = _task(y.shape[1], "sigmoid", losses.binary_crossentropy)
            held = self._learn(x, y.astype(np.float32), weights, [task])
        else:
            self.classes_, codes = np.unique(
                column_or_1d(y, warn=True), return_inverse=True
            )
            count = len(self.classes_)
            task = _task(count, "softmax", losses.categorical_crossentropy)
            held = self._learn(x, codes, weights, [task] if count > 1 else [])
        if held is not None:
            self._calibrate(*held)
        return self

    def _calibrate(self, rows: Part, p: Array) -> None:
        """Divide the logits of all nets by the temperature."""
        found = scores.temperature(p, rows.y, rows.weights)
        once = len(self._held)  # what follows are other nets' answers to the first
        first = rows.take(np.arange(once))
        q = scores.tempered(p[:once], first.y, found)
        self.scores_ = scores.of_classes(q, first.y, first.weights)
        twice = len(p) - once
        if twice:
            same = rows.take(np.r_[:twice, once : len(p)])
            each, other = p[:twice], p[once:]
            alone = scores.temperature(np.r_[each, other], same.y, same.weights)
            same = rows.take(np.arange(twice))
            both = scores.shared_temperature([each, other], same.y, same.weights)
            # What averaging takes from it goes as the variance of a mean does.
            less = np.clip(1 - both / alone, 0, 0.25)
            found *= float(1 - 2 * less * (1 - 1 / len(self.nets_)))
        for net in self.nets_:
            for array in net.layers[-1].parameters.values():
                array /= found
        self.temperature_ = found

    def predict_proba(self, X: Any) -> Array:
        """The probabilities of the classes, calibrated on the rows held out.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            Columns go by their names where `fit` got names: their order does not
            matter, and further ones are passed over.

        Returns
        -------
        (n_samples, n_classes) array
            Of several outputs, the probability of 1 of each.
        """
        found = self._outputs(X)
        return found[0] if found else np.ones((rows_of(X), 1))

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, or 0 and 1 of each output.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)

        Returns
        -------
        (n_samples,) or (n_samples, n_outputs) array
        """
        p = self.predict_proba(X)
        if self._several:
            return (p > 0.5).astype(np.int64)
        found: Array = self.classes_[p.argmax(axis=1)]
        return found

    def to_onnx(
        self, path: str | os.PathLike[str] | None = None, *, opset: int = 15
    ) -> Any:
        """The classifier as an ONNX graph of the table's columns.

        Every column is an input of its name, (n, 1): float64 for numbers, truth values
        (0 and 1) and dates (microseconds since 1970), with NaN for a gap; text for
        categories, with "" for a gap. A table of numbers without names is one input
        "x" (n, features). Outputs are "labels", what `predict` returns, and
        "probabilities". A name that is taken has an underscore after it.

        Parameters
        ----------
        path : str or path, optional
            Of a file to write.
        opset : int

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ValueError
            All rows were of one class.
        ImportError
            onnx is not installed: ``pip install lamina[onnx]``.
        """
        check_is_fitted(self)
        if not self._groups:
            raise ValueError("there is no net to write: all rows were of one class")
        graph, (p,) = graphs.begin(self, opset)
        count = len(self.classes_)
        if self._several:
            labels = graph.add("Cast", graph.add("Greater", p, graph.number(0.5)), to=7)
            graph.output("labels", labels, np.int64, [count])
        else:
            classes = plain(self.classes_)
            graph.output("labels", graph.choose(p, count, classes), classes.dtype, [])
        graph.output("probabilities", p, np.float32, [count])
        return graph.save(path)

    def _parameters(self) -> dict[str, Any]:
        weight = self.class_weight
        several = weight if isinstance(weight, list) else [weight]
        pairs = [list(w.items()) if isinstance(w, dict) else w for w in several]
        written = pairs if isinstance(weight, list) else pairs[0]
        return super()._parameters() | {"class_weight": written}

    def _set_parameters(self, found: dict[str, Any]) -> None:
        weight = found["class_weight"]
        if isinstance(weight, list):  # of pairs, or of lists of pairs
            one = all(not isinstance(pair[0], list) for pair in weight)
            weight = dict(weight) if one else [dict(pairs) for pairs in weight]
        super()._set_parameters(found | {"class_weight": weight})

    def _widths(self) -> list[int]:
        """Of the answers of each group of nets."""
        count = len(self.classes_)
        return [count] if self._several or count > 1 else []

    def _state(self) -> dict[str, Any]:
        if self.classes_.dtype.kind not in "biufU" and not all(
            isinstance(label, str) for label in self.classes_
        ):
            raise TypeError(
                f"classes to save must be numbers or text, got {self.classes_!r:.200}"
            )
        return {
            "classes": self.classes_.tolist(),
            "dtype": self.classes_.dtype.str,
            "several": self._several,
            "temperature": self.temperature_,
            "scores": self.scores_,
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        dtype = np.dtype(state["dtype"])
        if dtype.kind not in "biufUO":
            raise ValueError(f"classes must be numbers or text, got {dtype}")
        self.classes_ = np.array(state["classes"], dtype)
        self._several = bool(state["several"])
        self.temperature_ = state["temperature"]
        self.scores_ = dict(state["scores"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _task(outputs: int, activation: str, loss: losses.Loss) -> Task:
    return Task(outputs, activation, loss, scores.refined)
