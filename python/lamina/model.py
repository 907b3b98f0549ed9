"""`Sequential`: layers in a row, and their training."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lamina import _checks, data, losses, optimizers, sources, training
from lamina._checks import Array
from lamina.callbacks import Callback
from lamina.history import History
from lamina.layers import Activation, Dense, Layer, Standardize

__all__ = ["Sequential"]

_CHUNK = 1024  # rows at a time where nothing is learnt: activations stay in the cache


class Sequential:
    """Layers in a row.

    Parameters
    ----------
    layers : iterable of Layer
        Each belongs to this net alone. `Standardize` can only be the first.
    seed : int, optional
        In [0, 2**64). Decides weights, dropout, shuffling and validation split: the
        same seed gives the same net, bit for bit. None draws one from the operating
        system.
    dtype : {"float32", "float64"}
        Of parameters and computation; inputs are converted.

    Attributes
    ----------
    layers : tuple of Layer
    seed : int
    parameters, gradients : 1-d arrays
        All parameters one after the other, and the gradients of the last step. The
        layers hold views into them. Empty before the net is built.
    epoch, steps : int
        Numbers of epochs and of steps trained so far.
    rate_factor : float
        By which learning rates are multiplied; 1 at first.
    loss, optimizer : Loss, Optimizer or None
        Those of the last `fit`.

    Raises
    ------
    TypeError, ValueError
        No layers, one that is not a `Layer` or belongs to another net, a wrong seed or
        dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = lm.Sequential(
    ...     [lm.Dense(8, activation="tanh"), lm.Dense(1, activation="sigmoid")], seed=1
    ... )
    >>> history = net.fit(x, y, epochs=300, optimizer=lm.Adam(0.05), verbose=0)
    >>> net.predict(x).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, got {layers!r}")
        self.layers = tuple(layers)
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{i}] must be a Layer, got {layer!r}")
            if not hasattr(layer, "owned"):
                raise TypeError(
                    f"layers[{i}] must call super().__init__() in its __init__, got "
                    f"{type(layer).__name__} without"
                )
            if layer.owned or layer in self.layers[:i]:
                raise ValueError(
                    f"layers[{i}] must not be in a net already, got {layer!r}; "
                    "use copy.deepcopy(layer)"
                )
            if i > 0 and isinstance(layer, Standardize):
                raise ValueError(f"Standardize must be the first layer, got it as {i}")
        self.seed = _checks.seed(seed)
        self.dtype = _checks.float_dtype(dtype)
        self.features = self.epoch = self.steps = 0
        self.rate_factor = 1.0
        self.loss: losses.Loss | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self._state = np.empty((0, 0), self.dtype)  # the optimizer's
        self._updates = 0  # steps that this state has seen
        for layer in self.layers:
            layer.owned = True
        self._link()

    def _link(self) -> None:
        """Move the layers' parameters and gradients into the two flat buffers."""
        for attribute in ("parameters", "gradients"):
            built = self.layers if self.features else ()
            tables = [getattr(layer, f"_{attribute}") for layer in built]
            arrays = [array.ravel() for table in tables for array in table.values()]
            flat = np.concatenate([np.empty(0, self.dtype), *arrays])
            setattr(self, attribute, flat)
            start = 0
            for table in tables:
                for name, array in table.items():
                    stop = start + array.size
                    table[name] = flat[start:stop].reshape(array.shape)
                    start = stop

    parameters: Array
    gradients: Array

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["parameters"], state["gradients"]  # the layers hold them
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for layer in self.layers:
            layer.owned = True
        self._link()

    def __copy__(self) -> Sequential:
        return copy.deepcopy(self)  # two nets cannot share layers

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return f"Sequential([{inside}], seed={self.seed}, dtype='{self.dtype}')"

    def build(self, features: int) -> None:
        """Make the parameters for inputs of that width; `fit` does it by itself.

        Raises
        ------
        ValueError
            features < 1, or the net is already built for another width.
        """
        features = _checks.count("features", features)
        if self.features:
            if features != self.features:
                raise ValueError(
                    f"features must be {self.features}, for which the net is built, "
                    f"got {features}"
                )
            return
        before = [layer.__dict__.copy() for layer in self.layers]
        width = features
        try:
            for i, layer in enumerate(self.layers):
                width = layer.build(width, self.dtype, seed=self.seed, index=i)
        except BaseException:
            for layer, state in zip(self.layers, before, strict=True):
                layer.__dict__.update(state)
            raise
        self.features = features
        self._link()

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        optimizer: str | optimizers.Optimizer | None = None,
        loss: str | losses.Loss | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        callbacks: Iterable[Callback] = (),
        steps_per_epoch: int | None = None,
        verbose: int = 1,
    ) -> History:
        """Train. A second call goes on from where the first stopped.

        Ctrl-C ends the training after the running steps, a tenth of a second at most
        unless one step takes longer; the net keeps what it has learnt, and the history
        is returned. An epoch that was broken off is not counted: the next call begins
        it again. A second Ctrl-C raises KeyboardInterrupt.

        Parameters
        ----------
        x : (n, features) array_like, or iterable of batches
            Any real dtype; finite. Also tables of pandas, sparse matrices of SciPy and
            memory maps; these two are converted, and made dense, block by block.
            Without `y` an iterable of batches ``(x, y)`` or ``(x, y, weights)``, each a
            step: it is gone through in every epoch.
        y : array_like
            Softmax: integer labels (n,) or (n, 1), or probabilities (n, classes).
            Sigmoid: 0 and 1, (n,) for one output or (n, outputs). Otherwise numbers,
            likewise.
        epochs, batch_size : int
            The last batch of an epoch may be smaller.
        optimizer : str or Optimizer, optional
            By default that of the last fit, at first ``Adam(1e-3)``. Its state goes on
            unless the kind of optimizer changes; another one sets `rate_factor` to 1.
        loss : str or Loss, optional
            By default that of the last fit, at first what the last activation implies:
            categorical cross-entropy for softmax, binary cross-entropy for sigmoid,
            mean squared error for none.
        sample_weight : (n,) array_like, optional
            Factors, >= 0, of the losses of the rows, whose mean is still that over the
            number of rows; also of rows that `validation_split` holds out.
        class_weight : dict or "balanced", optional
            Further factors, by the class of a row (see `losses.class_weights`), while
            training only.
        validation_split : float
            The share of the rows, in [0, 1), that is held out: drawn at random by the
            seed, the same rows in every fit on as many rows.
        validation_data : (x, y), (x, y, weights) or iterable of batches, optional
            In place of `validation_split`; of the same kinds as `x` and `y`.
        shuffle : bool
            Take the rows in a new random order in each epoch; batches come as they do.
        callbacks : iterable of Callback
            Told in their order (see `lamina.callbacks`).
        steps_per_epoch : int, optional
            The number of batches that an epoch takes from an iterable. An iterator,
            such as a generator, then goes on from epoch to epoch.
        verbose : {0, 1}
            1 prints a line for each epoch.

        Returns
        -------
        History
            "loss" and, for classifiers, "accuracy": means over the epoch, as measured
            while training. "val_loss" and "val_accuracy", if there are validation data:
            at the end of the epoch. Losses include the layers' penalties; weights do
            not count in accuracies.

        Raises
        ------
        TypeError, ValueError
            Arguments or data that cannot be used. The net is then as before, unless it
            is a later batch of an iterable than the first.
        """
        return training.fit(
            self,
            x,
            y,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            loss=loss,
            sample_weight=sample_weight,
            class_weight=class_weight,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            callbacks=callbacks,
            steps_per_epoch=steps_per_epoch,
            verbose=verbose,
        )

    def predict(
        self,
        x: Any,
        out: Array | None = None,
        batch_size: int | None = None,
    ) -> Array:
        """The outputs for `x`.

        Parameters
        ----------
        x : (n, features) array_like
            Of any kind that `fit` takes, but batches.
        out : (n, outputs) array of the net's dtype, optional
            Receives the result.
        batch_size : int, optional
            Rows at a time; by default as many as suit the cache. The result is the
            same.

        Returns
        -------
        (n, outputs) array of the net's dtype
            `out`, if given.

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError, ValueError
            `x` or `out` cannot be used.
        """
        self._require_built("predict")
        chunk = _checks.count(
            "batch_size", _CHUNK if batch_size is None else batch_size
        )
        table = data.inputs("x", x, self.dtype, self.features, finite=False)
        shape = len(table), self._outputs(self.features)
        if out is None:
            out = np.empty(shape, self.dtype)
        _checks.output(out, shape, self.dtype)
        if table.whole is not None and np.may_share_memory(table.whole, out):
            table = dataclasses.replace(table, whole=table.whole.copy())
        for start in range(0, len(table), chunk):
            rows = slice(start, start + chunk)
            out[rows] = self._forward(table.take(rows))
        return out

    def evaluate(
        self, x: Any, y: Any = None, *, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Loss (with penalties) and, for classifiers, accuracy.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.

        Returns
        -------
        dict
            "loss" and, for classifiers, "accuracy": the share of rows whose largest
            output is that of the label (softmax), or of outputs on the right side of
            one half (sigmoid).

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError, ValueError
            Data that cannot be used.
        """
        self._require_built("evaluate")
        goal = self._goal(None)
        return training.evaluate(
            self, goal, sources.of_evaluate(self, goal, x, y, sample_weight)
        )

    def summary(self) -> None:
        """Print the layers, the width of their outputs and their parameters."""
        rows = [("layer", "output", "parameters")]
        width = self.features
        for layer in self.layers:
            held = sum(array.size for array in layer.parameters.values())
            if self.features:
                width = layer.outputs(width)
                rows.append((repr(layer), str(width), f"{held:,}"))
            else:
                rows.append((repr(layer), "unbuilt", "unbuilt"))
        total = f"{self.parameters.size:,}" if self.features else "unbuilt"
        rows.append(("total", "", total))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for name, output, size in rows:
            print(f"{name:<{widths[0]}}  {output:>{widths[1]}}  {size:>{widths[2]}}")

    def _require_built(self, method: str) -> None:
        if not self.features:
            raise RuntimeError(
                f"{method} must come after fit or build(features): "
                "the number of features is not known yet"
            )

    def _outputs(self, features: int) -> int:
        for layer in self.layers:
            features = layer.outputs(features)
        return features

    def _goal(self, loss: str | losses.Loss | None) -> losses.Loss:
        """The loss: as given, of the last fit, or what the last layer implies."""
        last = self.layers[-1]
        activation = last.activation if _gives_logits(last) else None
        implied = activation.loss if activation is not None else None
        known = implied if self.loss is None else self.loss
        wanted = known if loss is None else loss
        if wanted is None:
            raise ValueError(
                f"loss must be given, since the last layer, {last!r}, implies none; "
                f"known are {losses.known()}"
            )
        goal = losses.get(wanted)
        name = activation.name if activation is not None else None
        if goal.activations and name not in goal.activations:
            raise ValueError(
                f"loss {goal.name!r} must follow {goal.activations[0]!r} as the last "
                f"activation, got {last!r}"
            )
        return goal

    def _rows(
        self,
        goal: losses.Loss,
        x: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        features: int = 0,
        names: Sequence[str] = ("x", "y", "sample_weight"),
    ) -> data.Rows:
        """Inputs, targets and weights of rows, all of them checked."""
        features = features or self.features
        return data.rows(
            goal, x, y, sample_weight, self.dtype, self._outputs, features, names
        )

    def _rule(self) -> str | optimizers.Optimizer:
        return "adam" if self.optimizer is None else self.optimizer

    def _adopt(self, rule: optimizers.Optimizer) -> None:
        """Take an optimizer, and start its state anew unless it suits the old one's."""
        shape = rule.slots, self.parameters.size
        if type(rule) is not type(self.optimizer) or self._state.shape != shape:
            self._state = np.zeros(shape, self.dtype)
            self._updates = 0
        self.optimizer = rule

    def _forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        for layer in self.layers[:-1]:
            x = layer.forward(x, training)
        last = self.layers[-1]
        if logits and _gives_logits(last):
            y = last.forward(x, training, logits=True)
        else:
            y = last.forward(x, training)
        return np.ascontiguousarray(y)

    def _backward(self, gradient: Array) -> None:
        """Fill `gradients` from the gradient by the outputs."""
        trained = [layer for layer in self.layers if layer.parameters]
        for layer in reversed(self.layers):
            if trained and layer is trained[0]:
                layer.backward(gradient, input_gradient=False)
                return
            dx = layer.backward(gradient)
            if dx is None:
                raise TypeError(f"{layer!r}.backward must return a gradient, got None")
            gradient = dx

    def _steps(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array | None,
        batch_size: int,
    ) -> tuple[float, float, int]:
        """Training steps over the rows of those numbers, or all, in batches.

        Arrays are C-contiguous and of the net's dtype, labels and numbers of rows
        int64. Returns sums over the rows of loss with penalties, and of hits, and how
        many rows they are.
        """
        assert self.loss is not None and self.optimizer is not None
        goal, rule = self.loss, self.optimizer
        if self.rate_factor != 1:
            rate = rule.learning_rate * self.rate_factor  # type: ignore[attr-defined]
            rule = dataclasses.replace(rule, learning_rate=rate)  # type: ignore[type-var]
        count = len(x) if rows is None else len(rows)
        sums = np.zeros(2)
        for start in range(0, count, batch_size):
            part: Any = slice(start, min(start + batch_size, count))
            if rows is not None:
                part = rows[part]
            own = None if weights is None else weights[part]
            outputs = self._forward(x[part], True, logits=bool(goal.activations))
            gradient = np.empty_like(outputs)
            loss, correct = _loss(goal, outputs, y[part], own, gradient)
            loss += self._penalty() * len(outputs)
            self._backward(gradient)
            self._updates += 1
            self.steps += 1
            rule.update(self.parameters, self.gradients, self._state, self._updates)
            sums += loss, correct
        return float(sums[0]), float(sums[1]), count

    def _penalty(self) -> float:
        return sum(layer.penalty() for layer in self.layers)

    def _evaluate(
        self, goal: losses.Loss, x: Array, y: Array, weights: Array | None
    ) -> tuple[float, float]:
        """Sums over the rows of loss with penalties, and of hits."""
        sums = np.zeros(2)
        for start in range(0, len(x), _CHUNK):
            rows = slice(start, start + _CHUNK)
            own = None if weights is None else weights[rows]
            outputs = self._forward(x[rows], logits=bool(goal.activations))
            sums += _loss(goal, outputs, y[rows], own)
        return float(sums[0]) + self._penalty() * len(x), float(sums[1])


def _gives_logits(layer: Layer) -> TypeGuard[Dense | Activation]:
    """Whether a loss can take in its activation: not if a subclass has its own way."""
    return type(layer).forward in (Dense.forward, Activation.forward)


def _loss(
    goal: losses.Loss,
    outputs: Array,
    targets: Array,
    weights: Array | None,
    gradient: Array | None = None,
) -> tuple[float, float]:
    """Sums over the rows of weighted loss and of hits; fills the mean's gradient."""
    values, width = np.empty(len(outputs), outputs.dtype), goal._width(outputs)
    scale = 1 / (len(outputs) * width)
    goal.kernel(outputs, targets, scale, losses=values, gradient=gradient)
    if weights is not None:
        values *= weights
        if gradient is not None:
            gradient *= weights[:, np.newaxis]
    return float(values.sum(dtype=np.float64)) / width, goal.correct(outputs, targets)
