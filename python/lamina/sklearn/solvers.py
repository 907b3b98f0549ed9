"""What `fit` runs: epochs of steps, with scikit-learn's rules of when to stop, or
L-BFGS through SciPy."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
from scipy.special import xlogy
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import shuffle
from sklearn.utils.optimize import _check_optimize_result

from lamina import data, training
from lamina._checks import Array
from lamina.history import History
from lamina.initializers import SHUFFLE, permutation, stream
from lamina.losses import PerWeight
from lamina.sklearn.nets import Held, rule_of

__all__ = ["Epochs", "Objective", "Validation", "run_lbfgs"]

_SMALLEST_RATE = 1e-6  # of "adaptive"


@dataclasses.dataclass
class Validation:
    """Rows held out, and how their predictions are scored: higher is better."""

    rows: data.Rows
    score: Callable[[float], float]  # of the loss


class Epochs:
    """Training by epochs, and what is watched after each.

    Lists and numbers of the estimator change at the end of `run` alone, but for what a
    scorer needs.
    """

    def __init__(self, est: Any, held: Held, goal: PerWeight) -> None:
        self.est, self.net, self.goal = est, held.net, goal
        # scikit-learn's value of squares is half the mean over outputs, though their
        # gradient is that of the sum.
        self.value = 0.5 if est.loss == "squared_error" else goal.factor
        self.losses: list[float] = []
        self.val_losses: list[float] = []
        self.scores: list[float] = []
        self.least = math.inf  # what restore_best goes by
        self.stopped = False  # by the rules, not by max_iter

    def run(
        self,
        rows: data.Rows,
        validation: Validation | None,
        random: np.random.RandomState,
        epochs: int,
        incremental: bool,
    ) -> None:
        est, net = self.est, self.net
        self._choose_rule(incremental)
        told = training._told(est.callbacks, 0)
        asked = training._asked(net, self.goal.loss, est.metrics)
        history = net.history = History()
        numbers = np.arange(len(rows))
        est.n_iter_ = 0
        with net._fitting():
            size = self._batch_size(len(rows))
            # A batch of all rows needs no order, but to draw as scikit-learn does.
            shuffles = est.shuffle and (est.exact or size < len(rows))
            run = training._Run(net, self.goal, told, history, size)
            try:
                with training._interrupts() as run.interrupted:
                    for callback in told:
                        first = net.epoch + 1
                        callback.on_train_begin(net, range(first, first + epochs))
                    for _ in range(epochs):
                        if shuffles and est.exact:
                            numbers = shuffle(numbers, random_state=random)
                        elif shuffles:
                            bits = stream(SHUFFLE, step=net.epoch)
                            numbers = permutation(len(rows), net.seed, bits)
                        means = run.epoch(rows, numbers if shuffles else None)
                        if means is None:
                            break
                        means = self._loss(means, rows, numbers, size)
                        if validation is not None:
                            means |= self._validate(validation, asked)
                        run.end_epoch(means)
                        if self._ends(validation, len(rows)) or history.stopped:
                            break
                    for callback in told:
                        callback.on_train_end(net, history)
            except BaseException as error:
                for callback in told:
                    callback.on_exception(net, history, error)
                raise
        self._end(history, epochs, incremental)

    def once(self, x: Array, y: Array) -> None:
        """One batch of all rows, as `run` would take it where nobody is told."""
        est, net = self.est, self.net
        net._require_own("partial_fit")
        est.n_iter_ = 0
        sums = net._steps(self.goal, x, y, None, None, len(x))
        _require_finite(net.parameters)
        means = self._loss(net._scores(self.goal, *sums), None, np.empty(0), 0)
        net.epoch += 1
        self._ends(None, len(x))
        est.loss_ = means["loss"]
        est.loss_curve_.append(means["loss"])
        rate = net._last_rate()
        for name, value in (means | {"learning_rate": rate}).items():
            est.history_.setdefault(name, []).append(value)

    def _choose_rule(self, incremental: bool) -> None:
        est, net = self.est, self.net
        rule = net.optimizer if incremental else None
        if rule is None:
            rule = rule_of(est)
            est._rate = est.learning_rate_init
            net.optimizer, net.rate_factor = None, 1.0
        net.loss = self.goal
        net._adopt(rule)
        if not incremental:
            net.reset_optimizer()

    def _batch_size(self, n: int) -> int:
        size = self.est.batch_size
        if isinstance(size, str):
            return min(200, n)
        if size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going "
                "to be clipped",
                stacklevel=2,
            )
        return int(min(size, n))

    def _loss(
        self, means: dict[str, float], rows: data.Rows | None, order: Array, size: int
    ) -> dict[str, float]:
        """The epoch's means with the loss as scikit-learn has it."""
        loss = means["loss"]
        penalty = loss - means.pop("loss_without_penalty", loss)
        loss = (loss - penalty) * (self.value / self.goal.factor) + penalty
        if self.est.loss == "poisson":
            assert rows is not None
            constant, weights = _of_counts(rows)
            starts = np.arange(0, len(order), size)
            sums = np.add.reduceat((weights * constant)[order], starts)
            totals = np.add.reduceat(weights[order], starts)
            sizes = np.diff(np.append(starts, len(order)))
            loss += float((sums / totals * sizes).sum()) / len(order)
        self.losses.append(loss)
        self.est.n_iter_ += 1
        if self.est.verbose:
            print(f"Iteration {self.est.n_iter_}, loss = {loss:.8f}")
        return means | {"loss": loss}

    def _validate(self, validation: Validation, asked: Any) -> dict[str, float]:
        """Scores of the rows held out; the loss is without penalties."""
        rows, est = validation.rows, self.est
        found = training._measure(self.net, self.goal.loss, rows, None, asked)
        loss = found.pop("loss_without_penalty", found["loss"]) * self.value
        if rows.weights is not None:
            loss *= len(rows) / float(rows.weights.sum(dtype=np.float64))
        if est.loss == "poisson":
            constant, weights = _of_counts(rows)
            loss += float(np.average(constant, weights=weights))
        self.val_losses.append(loss)
        score = validation.score(loss)
        self.scores.append(score)
        if est.verbose:
            print(f"Validation score: {score:f}")
        named = {f"val_{name}": value for name, value in found.items()}
        return named | {"val_loss": loss, "val_score": score}

    def _ends(self, validation: Validation | None, n: int) -> bool:
        """Count what did not improve, and say whether that was the last epoch."""
        est = self.est
        est.t_ += n
        if validation is not None:
            score = self.scores[-1]
            if est.early_stopping:
                worse = score < est.best_validation_score_ + est.tol
                est._no_improvement_count = (
                    est._no_improvement_count + 1 if worse else 0
                )
            if score > est.best_validation_score_:
                est.best_validation_score_ = score
                if est.early_stopping:
                    est._best = self.net.parameters.copy()
        if not est.early_stopping:
            loss = self.losses[-1]
            worse = loss > est.best_loss_ - est.tol
            est._no_improvement_count = est._no_improvement_count + 1 if worse else 0
            est.best_loss_ = min(loss, est.best_loss_)
            watched = loss if validation is None else self.val_losses[-1]
            if est.restore_best and watched < self.least:
                self.least = watched
                est._best = self.net.parameters.copy()
        by_strings = est.solver == "sgd" and est.optimizer is None
        if by_strings and est.learning_rate == "invscaling":
            self._set_rate(est.learning_rate_init / (est.t_ + 1) ** est.power_t)
        if est._no_improvement_count <= est.n_iter_no_change:
            return False
        what = "Validation score" if est.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={est.tol:f} for "
            f"{est.n_iter_no_change} consecutive epochs."
        )
        if by_strings and est.learning_rate == "adaptive":
            if est._rate > _SMALLEST_RATE:
                self._set_rate(est._rate / 5)
                if est.verbose:
                    print(f"{message} Setting learning rate to {est._rate:f}")
                est._no_improvement_count = 0
                return False
            message += " Learning rate too small."
        if est.verbose:
            print(f"{message} Stopping.")
        self.stopped = True
        return True

    def _set_rate(self, rate: float) -> None:
        """scikit-learn's velocities hold the rate that they were made with."""
        est, net = self.est, self.net
        if rate > 0:
            net._state *= est._rate / rate
        est._rate, net.rate_factor = rate, rate / est.learning_rate_init

    def _end(self, history: History, epochs: int, incremental: bool) -> None:
        est, net = self.est, self.net
        if est._best is not None and not incremental:
            net.parameters = est._best
        _require_finite(net.parameters)
        if history.stopped == "interrupt":
            warnings.warn("Training interrupted by user.", stacklevel=2)
        elif not (incremental or self.stopped or history.stopped):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.losses:
            est.loss_ = self.losses[-1]
        est.loss_curve_.extend(self.losses)
        if self.scores:
            est.validation_scores_ = [*(est.validation_scores_ or []), *self.scores]
            curve = est.validation_loss_curve_ or []
            est.validation_loss_curve_ = [*curve, *self.val_losses]
        for name, values in history.items():
            est.history_.setdefault(name, []).extend(values)


def _require_finite(parameters: Array) -> None:
    if not np.isfinite(parameters).all():
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain "
            "large values and need to be preprocessed."
        )


def _of_counts(rows: data.Rows) -> tuple[Array, Array]:
    """What the deviance of each row has beyond the loss, and the weights."""
    y = rows.y.take(slice(None), "y").astype(np.float64)
    weights = np.ones(len(y)) if rows.weights is None else rows.weights
    return (xlogy(y, y) - y).sum(axis=1), weights.astype(np.float64)


class Objective:
    """The loss and its gradient by all coefficients, in float64, as SciPy asks for
    them: kernels one after the other, then biases."""

    def __init__(self, est: Any, held: Held, goal: PerWeight, rows: data.Rows) -> None:
        self.held, self.goal, self.rows = held, goal.loss, rows
        self.total = float(len(rows))
        self.constant = 0.0
        if rows.weights is not None:
            self.total = float(rows.weights.sum(dtype=np.float64))
        if est.loss == "poisson":
            constant, weights = _of_counts(rows)
            self.constant = float(np.average(constant, weights=weights))
        self.factor = goal.factor
        self.value = 0.5 if est.loss == "squared_error" else goal.factor
        # The line search needs the value whose gradient it gets; scikit-learn's is
        # another one where there are several outputs.
        self.searched = self.value if est.exact else goal.factor
        self.clipped = est.exact and est.loss == "log_loss"
        # Penalties are multiplied as the losses.
        share = goal.factor * len(rows) / self.total
        held.regularize(
            est.alpha / share / self.total, est.l1 / share / self.total, None
        )

    def __call__(self, packed: Array) -> tuple[float, Array]:
        loss, penalty = self._fill(packed)
        arrays = [layer.gradients for layer in self.held.dense]
        gradient = np.concatenate(
            [a[k].ravel() for k in ("kernel", "bias") for a in arrays]
        )
        return loss * self.searched + penalty + self.constant, gradient

    def reported(self, packed: Array) -> float:
        loss, penalty = self._fill(packed)
        return loss * self.value + penalty + self.constant

    def packed(self) -> Array:
        arrays = [*self.held.coefs, *self.held.intercepts]
        return np.concatenate([array.ravel() for array in arrays])

    def unpack(self, packed: Array) -> None:
        start = 0
        for array in [*self.held.coefs, *self.held.intercepts]:
            array.reshape(-1)[...] = packed[start : start + array.size]
            start += array.size

    def _fill(self, packed: Array) -> tuple[float, float]:
        """Fill the gradient; the mean loss by weights, and the penalty."""
        self.unpack(packed)
        net, rows, first = self.held.net, self.rows, 0
        loss = penalty = 0.0
        whole = rows.whole
        batches = rows.batches(rows.at_once(1)) if whole is None else iter([whole])
        for x, y, weights in batches:
            weight = self.factor * len(x) / self.total
            sums = net._fill(self.goal, x, y, weights, weight, first, first > 0)
            first += len(x)
            if self.clipped:
                loss += _clipped(net.predict(x), y, weights) / self.value
            else:
                loss += sums[0] - sums[2]
            penalty += sums[2] * self.factor / self.total
        return loss / self.total, penalty


def _clipped(p: Array, y: Array, weights: Array | None) -> float:
    """The sum over rows of scikit-learn's log-loss, whose probabilities are at least
    2e-16: a line search that tries too long a step sees it."""
    smallest = np.finfo(p.dtype).eps
    p = np.clip(p, smallest, 1 - smallest)
    if y.ndim == 1:
        of_row = np.log(p[np.arange(len(y)), y])
    else:
        of_row = (xlogy(y, p) + xlogy(1 - y, 1 - p)).sum(axis=1)
    return -float(of_row.sum() if weights is None else weights @ of_row)


def run_lbfgs(est: Any, objective: Objective) -> None:
    """Until the gradient is below `tol`; the coefficients are then in the net."""
    done = scipy.optimize.minimize(
        objective,
        objective.packed(),
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": est.max_fun, "maxiter": est.max_iter, "gtol": est.tol},
    )
    est.n_iter_ = _check_optimize_result("lbfgs", done, est.max_iter)
    _require_finite(done.x)
    est.loss_ = objective.reported(done.x)
    objective.unpack(done.x)
