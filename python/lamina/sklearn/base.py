"""What both estimators are: coefficients that are the state, and a net made of them."""

from __future__ import annotations

import copy
import operator
import types
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    is_classifier,
)
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from lamina import activations, data, losses, optimizers, schedules
from lamina._checks import Array
from lamina.interpreter import Interpreter
from lamina.layers import Layer, Standardize
from lamina.losses import PerWeight
from lamina.model import Sequential
from lamina.sklearn.nets import (
    Held,
    goal_of,
    hidden_sizes,
    parts_of,
    rates_of,
    rule_of,
)
from lamina.sklearn.solvers import Epochs, Objective, Validation, run_lbfgs

__all__ = ["LOSSES", "BaseMLP"]

_CHUNK = 1024
_ACTIVATIONS = {"logistic", "linear", "swish", *activations.names}
LOSSES = set(losses.known().split(", "))
# With names that are checked by Lamina beside the types.
_CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [
        StrOptions(_ACTIVATIONS),
        activations.ActivationFunction,
        list,
        tuple,
    ],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [
        StrOptions({"constant", "invscaling", "adaptive"}),
        schedules.Schedule,
    ],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [
        Interval(Integral, 1, None, closed="left"),
        Options(Real, {np.inf}),
    ],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "out_activation": [StrOptions(_ACTIVATIONS), activations.ActivationFunction, None],
    "dropout": [Interval(Real, 0, 1, closed="both"), "array-like"],
    "l1": [Interval(Real, 0, None, closed="left")],
    "max_norm": [Interval(Real, 0, None, closed="neither"), None],
    "standardize": ["boolean"],
    "scoring": [str, callable, None],
    "restore_best": ["boolean"],
    "metrics": [list, tuple, dict],
    "callbacks": [list, tuple],
    "optimizer": [str, optimizers.Optimizer, None],
    "width": [Interval(Integral, 1, None, closed="left"), None],
    "depth": [Interval(Integral, 1, None, closed="left"), None],
    "exact": ["boolean"],
}


class BaseMLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The coefficients are the state: what a user puts into them counts."""

    _parameter_constraints = _CONSTRAINTS
    _held: Held | None = None
    _best: Array | None = None  # parameters to restore
    _random_state: np.random.RandomState

    def _hold(self, given: dict[str, Any]) -> None:
        """Store the constructor's arguments, as they are."""
        names = type(self)._get_param_names()
        self.__dict__.update((name, given[name]) for name in names)

    # Training -------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        epochs: int = 0,
        held_out: tuple[Any, Any, Any] = (None, None, None),
        classes: Any = None,
    ) -> Self:
        """Train; `epochs` are those of `partial_fit`. What fails changes nothing."""
        before = self.__dict__.copy()
        held = None if self._held is None else self._network()
        saved: Any = None
        if held is not None:
            net = held.net
            saved = held.state(), net.parameters.copy(), net.optimizer, net.loss
        try:
            plain = epochs == 1 and sample_weight is None and self._is_like_before(X)
            targets = self._plain_targets(X, y, classes) if plain else None
            if held is not None and targets is not None:
                held.regularize(self.alpha, self.l1, self.max_norm)
                Epochs(self, held, goal_of(self, self.n_outputs_)).once(X, targets)
            else:
                self._train(X, y, sample_weight, epochs, held_out, classes)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            if held is not None:
                state, held.net.parameters, rule, held.net.loss = saved
                held.restore(state, rule)
            raise
        return self

    def _is_like_before(self, X: Any) -> bool:
        """Whether these rows, as they are, can be a batch for `partial_fit` in one call
        of the core, with nothing to say. False says nothing: scikit-learn's validation
        of such a batch takes ten times as long as to learn from it."""
        held = self._held
        if held is None or held.net.optimizer is None or type(X) is not np.ndarray:
            return False
        size = self.batch_size
        fits = len(X) <= 200 if isinstance(size, str) else len(X) == size
        options = self.early_stopping, self.verbose, self.exact, self.callbacks
        return bool(
            fits
            and self.solver != "lbfgs"
            and self.loss != "poisson"
            and not any((*options, self.metrics))
            and getattr(self, "best_loss_", None) is not None
            and not hasattr(self, "feature_names_in_")
            and X.dtype == held.net.dtype
            and X.flags.c_contiguous
            and X.shape == (len(X), self.n_features_in_)
            and len(X) > 0
            and np.isfinite(X).all()
        )

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        epochs: int,
        held_out: tuple[Any, Any, Any],
        classes: Any,
    ) -> None:
        incremental = epochs > 0
        sizes = hidden_sizes(self)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        self._learn_classes(y, classes, incremental)
        X, y = self._validate_rows(X, y, reset=first)
        self._compare_classes(y, incremental)
        y = self._encode(y)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        weights = self._weights(X, y, sample_weight, incremental)
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if self.solver == "lbfgs":
            self._refuse_for_lbfgs(held_out[0] is not None)
        elif self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        rates_of(self, len(sizes))  # raises where they do not fit
        if first:
            self._begin([X.shape[1], *sizes, y.shape[1]], X.dtype)
        held = self._network()
        held.regularize(self.alpha, self.l1, self.max_norm)
        rest = None
        if held_out[0] is not None:
            rest = self._validate_held_out(*held_out)
        elif self.early_stopping and self.solver != "lbfgs":
            X, y, weights, *rest = self._split(X, y, weights)
        if first:
            self._learn_scales(held, X, y, weights)
        goal: Any = held.net._goal(goal_of(self, self.n_outputs_))
        if self.solver == "lbfgs":
            self._train_at_once(held, goal, X, y, weights)
            return
        self._begin_curves(first, rest is not None)
        rows, watch = self._rows(held, goal, X, y, weights), None
        if rest is not None:
            others = self._rows(held, goal, *rest)
            watch = Validation(others, self._scorer(held, others, *rest))
        Epochs(self, held, goal).run(
            rows, watch, self._random_state, epochs or self.max_iter, incremental
        )

    def _begin(self, widths: list[int], dtype: Any) -> None:
        """Start anew."""
        for name in ("loss_curve_", "validation_scores_", "history_", "_best"):
            self.__dict__.pop(name, None)
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(widths)
        self.out_activation_ = self._out_activation()
        self._parts = parts_of(self, len(widths) - 2)
        held = self._held = Held.of(self._parts, widths, dtype, self._seed())
        held.draw(self, self._random_state)
        self.coefs_, self.intercepts_ = list(held.coefs), list(held.intercepts)

    def _seed(self) -> int:
        """Of the net. In exact mode what scikit-learn draws comes first."""
        random = self._random_state
        random = copy.deepcopy(random) if self.exact else random
        return int.from_bytes(random.bytes(8), "little")

    def _begin_curves(self, first: bool, validates: bool) -> None:
        if first or not hasattr(self, "loss_curve_"):
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_: list[float] | None = [] if validates else None
            self.validation_loss_curve_: list[float] | None = [] if validates else None
            self.best_validation_score_ = -np.inf if validates else None
            if self.early_stopping:
                self._best = self._network().net.parameters.copy()
        self.__dict__.setdefault("history_", {})
        if validates and self.best_validation_score_ is None:
            self.best_validation_score_ = -np.inf
        if not self.early_stopping and self.best_loss_ is None:
            self.best_loss_ = np.inf

    def _learn_classes(self, y: Any, classes: Any, incremental: bool) -> None:
        """From what `partial_fit` is told at first."""

    def _compare_classes(self, y: Array, incremental: bool) -> None:
        """Learn them, or raise ValueError where others must not come."""

    def _encode(self, y: Array) -> Array:
        return y

    def _validate_rows(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=not is_classifier(self),
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _learn_scales(self, held: Held, X: Any, y: Array, weights: Any) -> None:
        first = held.net.layers[0]
        if isinstance(first, Standardize):
            table = data.inputs("X", X, first.dtype)
            first.adopt(*data.standardization(table, weights=weights))

    def _split(self, X: Any, y: Array, weights: Any) -> list[Any]:
        """Rows to train on, then those held out."""
        seed = self._network().net.seed
        parts = train_test_split(
            *((X, y) if weights is None else (X, y, weights)),
            random_state=self._random_state if self.exact else seed % 2**32,
            test_size=self.validation_fraction,
            stratify=y if is_classifier(self) and self.n_outputs_ == 1 else None,
        )
        parts += [None, None] if weights is None else []
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return [*parts[::2], *parts[1::2]]

    def _validate_held_out(self, X: Any, y: Any, weights: Any) -> list[Any]:
        if y is None:
            raise ValueError("y_val must come with X_val, got None")
        X, y = self._validate_rows(X, y, reset=False)
        y = self._encode(y)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        if weights is not None:
            weights = _check_sample_weight(weights, X)
        return [X, y, weights]

    def _weights(self, X: Any, y: Array, weights: Any, incremental: bool) -> Any:
        return None if weights is None else _check_sample_weight(weights, X)

    def _rows(
        self, held: Held, goal: PerWeight, X: Any, y: Array, weights: Any
    ) -> data.Rows:
        names = "X", "y", "sample_weight"
        targets = self._targets(y, goal)
        return held.net._rows(goal, X, targets, weights, names=names, signed=True)

    def _scorer(
        self, held: Held, rows: data.Rows, X: Any, y: Array, weights: Any
    ) -> Callable[[float], float]:
        if self.scoring == "loss":
            return operator.neg
        if self.scoring is None:
            return lambda _: self._score(held.net.predict(X), rows)
        scorer, labels = check_scoring(self, self.scoring), self._labels(y)
        options = {} if weights is None else {"sample_weight": weights}
        nameless = object.__new__(type(self))  # the rows are an array now
        nameless.__dict__.update(self.__dict__)
        nameless.__dict__.pop("feature_names_in_", None)
        return lambda _: float(scorer(nameless, X, labels, **options))

    def _refuse_for_lbfgs(self, has_held_out: bool) -> None:
        given = {
            "X_val": has_held_out,
            "callbacks": bool(self.callbacks),
            "dropout": bool(np.any(self.dropout)),
            "learning_rate": isinstance(self.learning_rate, schedules.Schedule),
            "max_norm": self.max_norm is not None,
            "optimizer": self.optimizer is not None,
        }
        for name, there in given.items():
            if there:
                raise ValueError(
                    f"{name} must not be given with solver='lbfgs', which takes all "
                    "rows at once"
                )

    def _train_at_once(
        self, held: Held, goal: PerWeight, X: Any, y: Array, weights: Any
    ) -> None:
        """By L-BFGS, in float64 for the sake of its line search."""
        twin = self._made_of_coefs(np.float64, held.net.seed)
        twin.standardize_as(held)
        rows = self._rows(twin, goal, X, y, weights)
        run_lbfgs(self, Objective(self, twin, goal, rows))
        held.net.parameters, held.net.loss = twin.net.parameters, goal

    def _loss_grad_lbfgs(
        self, packed: Array, X: Any, y: Array, sample_weight: Any, *_: Any
    ) -> tuple[float, Array]:
        """As scikit-learn calls what L-BFGS goes by."""
        goal = goal_of(self, self.n_outputs_)
        twin = self._made_of_coefs(np.float64, 0)
        rows = self._rows(twin, goal, X, np.asarray(y), sample_weight)
        return Objective(self, twin, goal, rows)(packed)

    @property
    def _optimizer(self) -> types.SimpleNamespace:
        """As scikit-learn calls it, with the rate that it would have now."""
        return types.SimpleNamespace(learning_rate=self._rate)

    # State ----------------------------------------------------------------------------

    @property
    def net_(self) -> Sequential:
        """The fitted net, to serve predictions: it checks less, and so is faster."""
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)  # raises
        return self._network().net

    def _network(self) -> Held:
        """The net of the coefficients, as they are now."""
        held = self._held
        if held is not None and held.shows(self.coefs_, self.intercepts_):
            return held
        self.coefs_, self.intercepts_ = list(self.coefs_), list(self.intercepts_)
        if held is None:
            double = self.coefs_[0].dtype != np.float32
            dtype = np.float64 if double else np.float32
            state = self.__dict__.pop("_training", None)
            held = self._made_of_coefs(dtype, 0 if state is None else state["seed"])
            held.regularize(self.alpha, self.l1, self.max_norm)
            if state is not None:
                held.restore(state, rule_of(self) if state["updates"] else None)
                held.net.loss = goal_of(self, self.n_outputs_)
            self._held = held
        held.take(self.coefs_, self.intercepts_)
        return held

    def _made_of_coefs(self, dtype: Any, seed: int) -> Held:
        widths = [len(self.coefs_[0]), *(coef.shape[1] for coef in self.coefs_)]
        # Parameters that were set since the net was made wait for the next one.
        parts = getattr(self, "_parts", None) or parts_of(self, len(widths) - 2)
        held = Held.of(parts, widths, dtype, seed)
        held.take(list(self.coefs_), list(self.intercepts_))
        return held

    def __getstate__(self) -> dict[str, Any]:
        """Parameters, arrays and numbers: the net is made anew of them."""
        state = dict(super().__getstate__())
        held = state.pop("_held", None)
        if held is not None:
            state["_training"] = held.state()
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _names(self) -> dict[str, Any]:
        """Of the columns, for a graph's metadata."""
        names = getattr(self, "feature_names_in_", None)
        return {} if names is None else {"feature_names": [*names]}

    # Prediction -----------------------------------------------------------------------

    def _validated(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)

    def _outputs(self, X: Any) -> Array:
        X = self._validated(X)
        outputs: Array = self._network().net.predict(X)
        return outputs

    def _sampled(self, X: Any, samples: int) -> tuple[Array, Array]:
        """Mean and standard deviation of passes with dropout."""
        X, net = self._validated(X), self._network().net
        if not np.any(self.dropout):
            raise ValueError("return_std must come with dropout, got a net without")
        mean, deviation = net.predict(X, samples=samples, seed=net.seed)
        return mean, deviation

    def _through(self, layers: Sequence[Layer], X: Any, logits: bool = False) -> Array:
        """What comes out of these layers."""
        net = self._network().net
        some = Interpreter(layers, net.parameters, net.gradient)
        table = net._inputs(X, finite=False)
        return np.concatenate(
            [
                some.forward(table.take(slice(i, i + _CHUNK)), logits=logits)
                for i in range(0, len(table), _CHUNK)
            ]
        )

    def transform(self, X: Any, layer: int = -1) -> Array:
        """The outputs of a hidden layer: features that the net has learnt.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        layer : int
            0 is the first hidden layer, -1 the last.

        Returns
        -------
        ndarray of shape (n_samples, units of that layer)
        """
        X, hidden = self._validated(X), len(self.coefs_) - 1
        if not -hidden <= layer < hidden:
            raise ValueError(
                f"layer must be the number of one of {hidden} hidden layers, got "
                f"{layer}"
            )
        return self._through(self._network().before(range(hidden)[layer]), X)

    @property
    def _n_features_out(self) -> int:
        return int(self.coefs_[-1].shape[0])
