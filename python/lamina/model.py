"""`Sequential`, the class that users meet, and `load`."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike, DTypeLike

from lamina import exchange, losses, optimizers, training
from lamina._checks import Array
from lamina.callbacks import Callback
from lamina.callbacks.progress import say
from lamina.history import History
from lamina.layers.dense import fold
from lamina.layers.dropout import convert_dropout
from lamina.network import Network, Precision

__all__ = ["Sequential", "from_onnx", "load"]


class Sequential(Network):
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
    parameters, gradient : 1-d arrays
        All parameters one after the other, and the gradient of the last step. The
        layers hold views into them; what is assigned to them is copied in. Empty before
        the net is built.
    epoch, steps : int
        Numbers of epochs and of steps trained so far.
    rate_factor : float
        By which learning rates are multiplied; 1 at first.
    loss, optimizer : Loss, Optimizer or None
        Those of the last training; not to be assigned.
    history : History or None
        Of the last `fit`; where an exception ended it, of the epochs before.
    told : Told or None
        What the last `fit` was told: epochs, batch size, weights, validation split.

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
        validation_steps: int | None = None,
        verbose: int = 1,
        metrics: training.Metrics = (),
        train_metrics: bool = False,
        precision: Precision = None,
        ema: float | None = None,
    ) -> History:
        """Train. A second call goes on from where the first stopped.

        Ctrl-C ends the training after the running steps, a tenth of a second at most
        unless one step takes longer; the net keeps what it has learnt, and the history
        is returned. An epoch that was broken off is not counted: the next call begins
        it again. A second Ctrl-C raises KeyboardInterrupt.

        Parameters
        ----------
        x : (n, features) array_like, or iterable of batches
            Any real dtype; finite. Also tables of pandas and polars, memory maps, which
            are converted block by block, and sparse matrices of SciPy. A first `Dense`,
            also after `Dropout` and ``Standardize(center=False)``, multiplies what
            there is of these; for other first layers they are made dense, block by
            block.
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
            mean squared error for none. Names of other libraries for the same, such as
            "mse", do as well.
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
        validation_steps : int, optional
            The same for `validation_data` that are an iterable. Without it, one that
            knows no length may give 100 000 batches at most.
        verbose : {0, 1}
            1 prints a line for each epoch.
        metrics : iterable or dict of str and functions, optional
            Further scores of the validation data, or of the training data where there
            are none, at the end of each epoch: names, which scikit-learn must be
            installed for (see `lamina.metrics`), or functions ``(y, outputs) ->
            float``, called once with all rows: `y` as labels (n,) or in the shape of
            the outputs, `outputs` as `predict` gives them. A dict has them by the names
            that their scores get. Weights do not count in them.
        train_metrics : bool
            Also those of the training data, which are gone through once more for them.
        precision : {"float32", "bf16", "auto"}, optional
            "bf16": the products of dense layers take both factors rounded to bfloat16
            (8 bits of significand) while training, up to twice as fast; their sums and
            all else, the parameters too, stay in float32. "auto": the same for layers
            and batches that gain by it, where machine and net can. Else, and by
            default, in the net's dtype.
        ema : float, optional
            In [0, 1). Average the parameters over the steps, ``average += (1 - ema) *
            (parameters - average)`` after each, from those at the beginning (as Keras'
            ``ema_momentum``, timm's ``model_ema_decay``). While an epoch's steps run
            the net has the parameters that learn; from the end of each epoch on, for
            validation, metrics, callbacks at its end and after the fit, the average,
            also in what `callbacks.EarlyStopping` restores and what is saved. A later
            fit with `ema` goes on from where both were, bit for bit, unless parameters
            were changed meanwhile; one without learns from the average. What
            `BatchNorm` keeps is not averaged. Sensible values forget, ``ema**steps``,
            the first steps long before the last.

        Returns
        -------
        History
            "loss" and, for classifiers, "accuracy": means over the epoch, as measured
            while training. "val_loss" and "val_accuracy", if there are validation data:
            at the end of the epoch. Losses include the layers' penalties; where a layer
            has some, "loss_without_penalty" does not. Weights do not count in
            accuracies. A sigmoid's accuracy counts outputs and targets on
            the same side of one half, grey values too. Metrics, those of validation
            data with "val_" before their names. "learning_rate": that of the epoch's
            last step, unless the optimizer is your own.

        Raises
        ------
        TypeError, ValueError
            Arguments or data that cannot be used. The net is then as before, unless it
            is a later batch of an iterable than the first, or the rate that a schedule
            gives a later step.
        FloatingPointError
            A norm to clip by is not finite: the training diverged. What was learnt up
            to the step before stays, or what `callbacks.EarlyStopping` restores.
        RuntimeError
            Another `fit` of this net runs, around this one or in another thread.
        ImportError
            A named metric without scikit-learn.
        BaseException
            What an iterable, a callback, or a layer, loss or optimizer of your own
            raises; KeyboardInterrupt at a second Ctrl-C. The net keeps what it has
            learnt, and `history` the epochs before.
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
            validation_steps=validation_steps,
            verbose=verbose,
            metrics=metrics,
            train_metrics=train_metrics,
            precision=precision,
            ema=ema,
        )

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        steps: int | None = None,
        metrics: training.Metrics = (),
    ) -> dict[str, float]:
        """Loss (with penalties), accuracy (for classifiers), and metrics.

        Parameters
        ----------
        x, y, sample_weight, metrics
            As in `fit`.
        steps : int, optional
            The number of batches to take from an iterable. Without it, one that knows
            no length may give 100 000 at most.

        Returns
        -------
        dict
            "loss", where a layer has penalties "loss_without_penalty" and, for
            classifiers, "accuracy": the share of rows whose largest output is that of
            the label (softmax), or of outputs on the right side of one half (sigmoid).
            Then the metrics.

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError, ValueError
            Arguments or data that cannot be used.
        ImportError
            A named metric without scikit-learn.

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(1)], seed=0)
        >>> net.build(1)
        >>> net.parameters = [2, 0]
        >>> def worst(y, outputs):
        ...     return np.abs(y - outputs).max()
        >>> net.evaluate([[1], [2], [3]], [2, 4, 7], metrics=[worst])
        {'loss': 0.3333333333333333, 'worst': 1.0}
        """
        return training.evaluate(self, x, y, sample_weight, steps, metrics)

    def diagnose(
        self,
        x: Any,
        y: Any = None,
        validation: Any = None,
        trials: bool = True,
        *,
        optimizer: str | optimizers.Optimizer | None = None,
        loss: str | losses.Loss | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
    ) -> Any:
        """Why the net does not learn, or that nothing is wrong; before or after `fit`.

        The net stays as it is. At most 4096 rows are looked at; copies of the net are
        trained on them for a moment, at other rates, with inputs scaled and so on,
        wherever something looks wrong: what the report recommends has been tried.

        Parameters
        ----------
        x, y
            As in `fit`; after it, what was given to it.
        validation : (x, y), (x, y, weights) or iterable of batches, optional
            Rows that the net was not trained on. After a fit with `validation_split`
            by default those held out.
        trials : bool
            False: judge by what can be read alone.
        optimizer, loss, epochs, batch_size, sample_weight, class_weight
            As in `fit`, for a net that is yet to be trained. By default what the last
            fit was told.

        Returns
        -------
        Report
            Printed, it is a headline with the number that shows it, a remedy as a line
            of code, and a table by layer. `Report.verdicts` holds what is wrong, causes
            first; it is empty for a healthy net.

        Raises
        ------
        TypeError, ValueError
            Arguments or data that cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> x = np.random.default_rng(0).normal(size=(200, 5))
        >>> y = (x[:, 0] > 0).astype(int)
        >>> net = lm.Sequential([lm.Dense(16, "relu"), lm.Dense(2, "softmax")], seed=0)
        >>> report = net.diagnose(x, y, optimizer=lm.SGD(1e-6))
        >>> report.verdicts[0].name
        'rate too low'
        """
        # What is done with nets is loaded when it is wanted.
        from lamina import diagnosis

        return diagnosis.diagnose(
            self,
            x,
            y,
            validation,
            trials,
            optimizer=optimizer,
            loss=loss,
            epochs=epochs,
            batch_size=batch_size,
            sample_weight=sample_weight,
            class_weight=class_weight,
        )

    def _watcher_names(self) -> tuple[str, ...]:
        from lamina.diagnosis import Watcher

        return Watcher.names

    def _watcher(self, x: Array, y: Array, weights: Array | None, total: int) -> Any:
        """What looks at this net while it trains, for `callbacks.Watch`."""
        from lamina.diagnosis import Sample, Watcher

        return Watcher(self, Sample(x, y, weights, total))

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
            say(f"{name:<{widths[0]}}  {output:>{widths[1]}}  {size:>{widths[2]}}")

    def convert_dropout(self, mode: Literal["classic", "inverted"]) -> Sequential:
        """A copy with classic dropout where this net has inverted, or the reverse.

        With the probability keep = 1 - T / 65536, T = round(65536 rate), a classic
        layer gives x m in training (m being 1 where kept, else 0) and keep x in
        prediction (Srivastava et al. 2014, section 4, where keep is called p), an
        inverted one x m / keep and x. What follows is ``h @ kernel`` either way:
        ``(keep x) @ kernel = x @ (keep kernel)`` and ``(x m) @ kernel = (x m / keep) @
        (keep kernel)``. So the kernel of the `Dense` after each converted layer is
        multiplied by its keep where classic becomes inverted, divided by it where
        inverted becomes classic, and both nets compute the same, in prediction and in
        training. Each weight is rounded once; where keep is a power of two (rates 1/2,
        3/4, ...) nothing is, and predictions agree bit for bit.

        Layers of alpha dropout, and those of that mode already, stay as they are.
        Penalties on converted kernels are those of the new weights, and the optimizer
        begins anew.

        Parameters
        ----------
        mode : {"classic", "inverted"}
            That of the copy.

        Returns
        -------
        Sequential

        Raises
        ------
        RuntimeError
            The net is not built.
        ValueError
            Another mode; a dropout to convert that is not right before a `Dense`
            layer, or drops everything (a rate that rounds to 1).

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> x = np.eye(3)
        >>> net = lm.Sequential([lm.Dropout(0.5, "classic"), lm.Dense(2)], seed=0)
        >>> net.build(3)
        >>> inverted = net.convert_dropout("inverted")
        >>> bool((inverted.predict(x) == net.predict(x)).all())
        True
        """
        self._require_built("convert_dropout")
        net = copy.deepcopy(self)
        convert_dropout(net.layers, mode)
        net.reset_optimizer()
        return net

    def fold(self) -> Sequential:
        """A copy that predicts the same by fewer layers.

        What multiplies each feature and adds to it in prediction, a `BatchNorm` or a
        `Scale`, becomes part of the kernel and the bias of the `Dense` right after it,
        or right before it if that has no activation; dropout and noise go likewise.
        What has no such neighbour stays. Kernels are computed in float64 and rounded
        once: predictions differ by roundings. The copy is made to predict: it has
        neither penalties on those kernels nor what an optimizer knows.

        Returns
        -------
        Sequential

        Raises
        ------
        RuntimeError
            The net is not built.

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> net = lm.Sequential(
        ...     [lm.Dense(4), lm.BatchNorm(), lm.Activation("relu"), lm.Dropout(0.5),
        ...      lm.Dense(1)]
        ... )
        >>> net.build(3)
        >>> net.fold().layers
        (Dense(4, 'identity'), Activation('relu'), Dense(1, 'identity'))
        """
        self._require_built("fold")
        layers = fold(copy.deepcopy(self.layers))
        net = Sequential(layers, seed=self.seed, dtype=self.dtype)
        net.build(self.features)
        net.loss = self.loss
        return net

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the net to a file, from which `lamina.load` makes it again.

        One safetensors file with everything that prediction and further training need:
        layers, weights, what `Standardize` has learnt, loss, optimizer and its state,
        seed and counters. Its tensors ("1.kernel", "1.bias" ...) can be read by any
        safetensors library. The same net gives the same bytes. The file is written
        beside the old one, then put in its place: if that fails, the old one is as it
        was.

        An initializer that is a function of your own is left out: the loaded layer has
        the default one, which matters only for a `clone` of it. Layers, losses and
        optimizers of your own can be saved (see `Layer.config`), and are passed to
        `lamina.load` as ``custom``.

        Parameters
        ----------
        path : str or path
            With any suffix; ".safetensors" is usual.

        Raises
        ------
        OSError
            The file cannot be written.
        TypeError
            A layer of your own does not define `config`, or something in a description
            is neither a number nor a string, nor an object of Lamina.
        ValueError
            A description holds NaN.
        ImportError
            safetensors is not installed: ``pip install lamina[files]``.
        """
        exchange.files.save(self, path)

    def to_onnx(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        opset: int = 15,
        dtype: DTypeLike | None = None,
        labels: Sequence[int] | Sequence[str] | None = None,
    ) -> Any:
        """The net as an ONNX graph, for other runtimes to predict by.

        Its input is "x" (n, features), its output "predictions" (n, outputs), any
        number n of rows: what `predict` returns, but for roundings. Dropout and noise
        are left out, as in prediction. ``net.fold().to_onnx(path)`` has fewer nodes.
        A `Standardize` that centres before rounding takes "x" in float64.

        Parameters
        ----------
        path : str or path, optional
            Of a file to write, whole or not at all; ".onnx" is usual.
        opset : int
            The version of ONNX's operators, from 14 to that of the installed onnx.
        dtype : {"float32", "float64"}, optional
            By default the net's. Nodes are such as ONNX Runtime has in either.
        labels : sequence of int or str, optional
            Those of the classes, two for a net of one output. A second output,
            "labels" (n,), then has that of the largest output, or of a single output
            the second where it is above one half.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError
            A layer of your own.
        ValueError
            gelu in float64; another opset or dtype; other labels than there are
            classes.
        OSError
            The file cannot be written.
        ImportError
            onnx is not installed: ``pip install lamina[onnx]``.

        Examples
        --------
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(8, "relu"), lm.Dense(2, "softmax")], seed=0)
        >>> net.build(features=4)
        >>> model = net.to_onnx(labels=["cat", "dog"])
        >>> [node.op_type for node in model.graph.node][:4]
        ['Gemm', 'Relu', 'Gemm', 'Softmax']
        """
        self._require_built("to_onnx")
        return exchange.to_onnx.write(self, path, opset, dtype, labels)

    def clone(self, *, seed: int | None = None) -> Sequential:
        """A net of the same layers that has learnt nothing and is not built.

        `copy.deepcopy` copies what was learnt, too. `sklearn.base.clone` calls this.

        Parameters
        ----------
        seed : int, optional
            By default that of this net.
        """
        layers = copy.deepcopy(self.layers)
        for layer in layers:
            layer.features = 0  # build starts anew
            layer._parameters, layer._gradients = {}, {}
        return Sequential(
            layers, seed=self.seed if seed is None else seed, dtype=self.dtype
        )

    __sklearn_clone__ = clone

    def get_weights(self) -> list[Array]:
        """Copies of all parameters, layer by layer: kernel, bias, kernel ...

        That is the order of Keras, too: mean and variance of a `BatchNorm` come after
        its gamma and beta. What `Standardize` learns is not among them.

        Raises
        ------
        RuntimeError
            The net is not built.
        """
        self._require_built("get_weights")
        return [array.copy() for array in exchange.arrays.weights(self)]

    def set_weights(self, weights: Iterable[ArrayLike]) -> None:
        """Set all parameters, from a list as `get_weights` returns it.

        Also as ``get_weights()`` of a Keras model of dense layers does, or, from
        scikit-learn, ``[a for ab in zip(mlp.coefs_, mlp.intercepts_) for a in ab]``.
        PyTorch has other shapes: `load_state_dict`. The optimizer's state stays.

        Parameters
        ----------
        weights : iterable of array_like
            Converted to the net's dtype.

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError, ValueError
            Another number of arrays, a wrong shape, no real numbers. The net is then as
            before.

        Examples
        --------
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(2)])
        >>> net.build(features=3)
        >>> net.set_weights([[[1, 2], [3, 4], [5, 6]], [0.5, -0.5]])
        >>> net.predict([[1, 0, 1]])
        array([[6.5, 7.5]], dtype=float32)
        """
        self._require_built("set_weights")
        exchange.arrays.set_weights(self, weights)

    def state_dict(self) -> dict[str, Array]:
        """The weights of the layers as PyTorch names and lays them out.

        Names are those of the same net as a ``torch.nn.Sequential``, where activations
        are modules of their own: "0.weight" (outputs, inputs), "0.bias", "2.weight" ...
        For PyTorch: ``{k: torch.from_numpy(a) for k, a in net.state_dict().items()}``.
        `LayerNorm`, `BatchNorm` and `PReLU` have theirs, too, for modules that are made
        with the same epsilon. `Standardize`, `Residual` and `Add` are not counted.

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError
            The net has other layers.

        Examples
        --------
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(3, "relu"), lm.Dropout(0.5), lm.Dense(1)])
        >>> net.build(features=2)
        >>> {name: array.shape for name, array in net.state_dict().items()}
        {'0.weight': (3, 2), '0.bias': (3,), '3.weight': (1, 3), '3.bias': (1,)}
        """
        self._require_built("state_dict")
        return exchange.arrays.state_dict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the weights from those of PyTorch's layers of the same kinds.

        Parameters
        ----------
        state : mapping of str to array_like or tensor
            As of ``torch.nn.Module.state_dict()``. Names before ".weight" and the like
            only order the layers: as they come, but by number where they differ in
            numbers alone.

        Raises
        ------
        RuntimeError
            The net is not built.
        TypeError, ValueError
            Other layers, wrong shapes, missing or surplus entries. The net is then as
            before.
        """
        self._require_built("load_state_dict")
        exchange.arrays.load_state_dict(self, state)


def load(
    path: str | os.PathLike[str], *, custom: Mapping[str, type] | None = None
) -> Sequential:
    """Read a net that `Sequential.save` wrote.

    It predicts, and goes on training, with the same bits as the net that was saved. A
    file from elsewhere can do no harm beyond wrong numbers: nothing in it is run, and
    memory is taken for what it holds alone. (The classes in `custom` are trusted.)

    Parameters
    ----------
    path : str or path
    custom : mapping of str to class, optional
        Your own layers, losses and optimizers by the names of their classes. They are
        made anew from what their method `config` returned, or from their fields if they
        are dataclasses without one. Sequences come back as tuples.

    Returns
    -------
    Sequential

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no net, was damaged, comes from a newer Lamina, or names a class that
        is not in `custom`.
    TypeError
        `custom` holds no class, or one of the name of a class of Lamina.
    ImportError
        safetensors is not installed: ``pip install lamina[files]``.

    Examples
    --------
    >>> import os, tempfile
    >>> import lamina as lm
    >>> net = lm.Sequential([lm.Dense(3, "relu"), lm.Dense(1)], seed=0)
    >>> net.build(features=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     net.save(path)
    ...     again = lm.load(path)
    >>> bool((again.parameters == net.parameters).all())
    True
    """
    return exchange.files.load(path, Sequential, custom)


def from_onnx(path: str | os.PathLike[str]) -> Sequential:
    """Read a dense net from an ONNX file, as PyTorch, Keras, scikit-learn (skl2onnx)
    and `Sequential.to_onnx` write them.

    Layers are those of Lamina: `Dense`, activations by what their nodes compute,
    `Standardize` (what is done with the inputs), `BatchNorm`, `LayerNorm`, `PReLU`,
    `Scale`, `Mixed` and `Residual`; ``from_onnx(path).fold()`` has fewer. What turns
    outputs into labels is left out. The net is float64 if its kernels are, else
    float32; its seed is 0. It has been compared with ONNX's own evaluator.

    Parameters
    ----------
    path : str or path
        Weights may be in a file of a plain name beside it.

    Returns
    -------
    Sequential

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It was damaged, or holds what is no dense net; the message names the node.
    ImportError
        onnx is not installed: ``pip install lamina[onnx]``.

    Examples
    --------
    >>> import os, tempfile
    >>> import lamina as lm
    >>> net = lm.Sequential([lm.Dense(3, "relu"), lm.Dense(1)], seed=0)
    >>> net.build(features=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.onnx")
    ...     model = net.to_onnx(path)
    ...     again = lm.from_onnx(path)
    >>> bool((again.parameters == net.parameters).all())
    True
    """
    return exchange.from_onnx.read(path, Sequential)
