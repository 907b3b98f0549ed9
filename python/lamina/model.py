"""`Sequential`: layers in a row, and their training."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lamina import _checks, losses, optimizers
from lamina._checks import Array
from lamina.history import History, bar, line
from lamina.initializers import SHUFFLE, SPLIT, permutation, stream
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
    epoch : int
        Number of epochs trained so far.
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
        self.features = self.epoch = 0
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
        x: ArrayLike,
        y: ArrayLike,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        optimizer: str | optimizers.Optimizer | None = None,
        loss: str | losses.Loss | None = None,
        validation_split: float = 0.0,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        shuffle: bool = True,
        verbose: int = 1,
    ) -> History:
        """Train. A second call goes on from where the first stopped.

        Parameters
        ----------
        x : (n, features) array_like
            Any real dtype; finite.
        y : array_like
            Softmax: integer labels (n,) or (n, 1), or probabilities (n, classes).
            Sigmoid: 0 and 1, (n,) for one output or (n, outputs). Otherwise numbers,
            likewise.
        epochs, batch_size : int
            The last batch of an epoch may be smaller.
        optimizer : str or Optimizer, optional
            By default that of the last fit, at first ``Adam(1e-3)``. Its state goes on
            unless the kind of optimizer changes.
        loss : str or Loss, optional
            By default that of the last fit, at first what the last activation implies:
            categorical cross-entropy for softmax, binary cross-entropy for sigmoid,
            mean squared error for none.
        validation_split : float
            The share of the rows, in [0, 1), that is held out: drawn at random by the
            seed, the same rows in every fit on as many rows.
        validation_data : (x, y), optional
            In place of `validation_split`.
        shuffle : bool
            Take the rows in a new random order in each epoch.
        verbose : {0, 1}
            1 prints a line for each epoch.

        Returns
        -------
        History
            "loss" and, for classifiers, "accuracy": means over the epoch, as measured
            while training. "val_loss" and "val_accuracy", if there are validation data:
            at the end of the epoch. Losses include the layers' penalties.

        Raises
        ------
        TypeError, ValueError
            Arguments or data that cannot be used. The net is then as before.
        """
        epochs = _checks.count("epochs", epochs)
        batch_size = _checks.count("batch_size", batch_size)
        rule = optimizers.get(self._rule() if optimizer is None else optimizer)
        goal = self._goal(loss)
        x, y = self._data(goal, x, y)
        train, held_out = np.arange(len(x)), None
        share = _checks.below_one("validation_split", validation_split)
        if validation_data is not None:
            if share:
                raise ValueError(
                    "validation_data must not come together with validation_split"
                )
            held_out = self._validation(goal, validation_data, x.shape[1])
        elif share:
            train, rest = self._split(len(x), share)
            held_out = x[rest], y[rest]

        self.build(x.shape[1])
        self.loss = goal
        self._adopt(rule)
        first = self.layers[0]
        if isinstance(first, Standardize) and not first.learnt:
            first.learn(x if len(train) == len(x) else x[train])

        history = History()
        last = self.epoch + epochs
        while self.epoch < last:
            started = time.perf_counter()
            order = train
            if shuffle:
                bits = stream(SHUFFLE, step=self.epoch)
                order = train[permutation(len(train), self.seed, bits)]
            starts: Iterable[int] = range(0, len(order), batch_size)
            if verbose:
                starts = bar(starts, f"epoch {self.epoch + 1}/{last}")
            sums = np.zeros(2)
            for start in starts:
                rows = order[start : start + batch_size]
                sums += self._step(goal, rule, x.take(rows, axis=0), y.take(rows, 0))
            values = _scores(goal, sums, len(order))
            if held_out is not None:
                scores = self._evaluate(goal, *held_out)
                values |= {f"val_{name}": score for name, score in scores.items()}
            self.epoch += 1
            history.add(self.epoch, values)
            if verbose:
                print(line(self.epoch, last, values, time.perf_counter() - started))
        return history

    def predict(
        self,
        x: ArrayLike,
        out: Array | None = None,
        batch_size: int | None = None,
    ) -> Array:
        """The outputs for `x`.

        Parameters
        ----------
        x : (n, features) array_like
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
        x = _checks.rows("x", x, self.dtype, self.features)
        shape = len(x), self._outputs(self.features)
        if out is None:
            out = np.empty(shape, self.dtype)
        _checks.output(out, shape, self.dtype)
        if np.may_share_memory(x, out):
            x = x.copy()
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            out[rows] = self._forward(x[rows])
        return out

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """Loss (with penalties) and, for classifiers, accuracy.

        Parameters
        ----------
        x, y
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
        return self._evaluate(goal, *self._data(goal, x, y))

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

    def _data(
        self,
        goal: losses.Loss,
        x: ArrayLike,
        y: ArrayLike,
        features: int = 0,
        names: tuple[str, str] = ("x", "y"),
    ) -> tuple[Array, Array]:
        """Inputs and targets, checked and converted."""
        x = _checks.rows(names[0], x, self.dtype, features or self.features)
        if not x.size:
            raise ValueError(
                f"{names[0]} must have a row and a feature at least, got {x.shape}"
            )
        _checks.finite(names[0], x)
        y = goal.targets(y, self._outputs(x.shape[1]), self.dtype, names[1])
        if len(x) != len(y):
            raise ValueError(
                f"{names[1]} must have as many rows as {names[0]}, {len(x)}, "
                f"got {len(y)}"
            )
        return x, y

    def _validation(
        self, goal: losses.Loss, data: Any, features: int
    ) -> tuple[Array, Array]:
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise TypeError(f"validation_data must be (x, y), got {type(data)}")
        names = "validation_data[0]", "validation_data[1]"
        return self._data(goal, data[0], data[1], features, names)

    def _split(self, n: int, share: float) -> tuple[Array, Array]:
        """Numbers of the rows to train on, in order, and of those held out."""
        held_out = round(n * share)
        if not 0 < held_out < n:
            raise ValueError(
                "validation_split must leave rows to train on and to hold out, got "
                f"{share} of {n} rows"
            )
        order = permutation(n, self.seed, stream(SPLIT))
        return np.sort(order[held_out:]), np.sort(order[:held_out])

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

    def _step(
        self, goal: losses.Loss, rule: optimizers.Optimizer, x: Array, y: Array
    ) -> tuple[float, float]:
        """One update from a batch; returns its sum of losses and number of hits."""
        outputs = self._forward(x, training=True, logits=bool(goal.activations))
        gradient = np.empty_like(outputs)
        loss, correct = goal(outputs, y, gradient=gradient)
        penalty = self._penalty()
        self._backward(gradient)
        self._updates += 1
        rule.update(self.parameters, self.gradients, self._state, self._updates)
        return loss + penalty * len(x), correct

    def _penalty(self) -> float:
        return sum(layer.penalty() for layer in self.layers)

    def _evaluate(self, goal: losses.Loss, x: Array, y: Array) -> dict[str, float]:
        sums = np.zeros(2)
        for start in range(0, len(x), _CHUNK):
            rows = slice(start, start + _CHUNK)
            outputs = self._forward(x[rows], logits=bool(goal.activations))
            sums += goal(outputs, y[rows])
        sums[0] += self._penalty() * len(x)
        return _scores(goal, sums, len(x))


def _gives_logits(layer: Layer) -> TypeGuard[Dense | Activation]:
    """Whether a loss can take in its activation: not if a subclass has its own way."""
    return type(layer).forward in (Dense.forward, Activation.forward)


def _scores(goal: losses.Loss, sums: Array, n: int) -> dict[str, float]:
    loss, accuracy = (sums / n).tolist()
    return {"loss": loss, "accuracy": accuracy} if goal.classifies else {"loss": loss}
