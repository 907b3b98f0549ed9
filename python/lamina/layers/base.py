"""What every layer is: the protocol, and the base to derive own layers from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lamina import _checks, _core, data, initializers
from lamina._checks import Array

__all__ = ["Core", "Layer", "Settings", "described", "factors"]

Core = tuple[str, dict[str, Any]]  # a kind of the core's, and its settings by name
Settings = Mapping[str, Callable[[str, Any], Any]]  # (name, value) -> checked value


class Layer:
    """One step of a net: the protocol, and the base to derive own layers from.

    A layer maps (rows, features) to (rows, outputs). It is built once, when the number
    of features is known, alone or by the `Sequential` that owns it. A layer of your own
    derives from this class and defines

    ``__init__`` (if it has settings)
        calls ``super().__init__()``, checks and stores them; no arrays yet.
    ``outputs(features)`` (if the width changes)
        the width of the output.
    ``initial()`` (if it learns)
        returns the parameters' first values by name; `features`, `dtype` and `draw`
        serve for it. They become `parameters`, beside which `gradients` holds as many
        arrays of the same shapes.
    ``forward(x, training=False)``
        first ``x = self.take(x)``; in training ``self.keep(x, training, ...)`` saves
        what backward needs. Returns a new array, or `x` where nothing changes: `x` is
        not to be written to.
    ``backward(dy, *, input_gradient=True)``
        first ``dy, x, ... = self.recall(dy)``. Writes every array of `gradients`, by
        ``[...]`` or ``out=``: sums over the rows, not means, since `dy` has been
        divided by their number. Returns the gradient by `x`. `dy` is not to be written
        to.
    ``factors()`` (if its arrays are to learn at other rates than the net's)
        returns by name the factors of the learning rate and of the weight decay.
    ``penalty(weight=0.0)`` (if it adds to the loss)
        returns that number, and adds `weight` times its gradient to `gradients`, which
        backward has filled before.

    A net with such a layer trains as any other, the layer's methods being called from
    Python. Everything is in two dimensions, C-contiguous and of the layer's `dtype`:
    `take` and `recall` see to that.

    >>> import lamina as lm
    >>> class Gain(lm.Layer):
    ...     def initial(self):
    ...         return {"factor": np.ones(self.features)}
    ...
    ...     def forward(self, x, training=False):
    ...         x = self.take(x)
    ...         self.keep(x, training)
    ...         return x * self.parameters["factor"]
    ...
    ...     def backward(self, dy, *, input_gradient=True):
    ...         dy, x = self.recall(dy)
    ...         self.gradients["factor"][...] = (dy * x).sum(axis=0)
    ...         return dy * self.parameters["factor"]
    >>> Gain().forward([[1.0, 2.0]])
    array([[1., 2.]])
    >>> x = np.arange(12.0).reshape(6, 2) / 6
    >>> net = lm.Sequential([Gain(), lm.Dense(1)], seed=0)
    >>> history = net.fit(x, x.sum(axis=1), epochs=50, optimizer=lm.SGD(0.1), verbose=0)
    >>> history["loss"][-1] < history["loss"][0]
    True

    ``examples/own_layer.py`` trains a maxout layer made so.

    Attributes
    ----------
    features : int
        Width of the input; 0 before the layer is built.
    dtype : dtype
        float32 or float64, of inputs, outputs and parameters.
    seed, index : int
        The layer's source of random bits: the net's seed and the place in the net.
    parameters, gradients : dict of str to array
        What is learnt, and what the last `backward` made of it. In a net these are
        views into `Sequential.parameters` and `Sequential.gradient`: write into them
        with ``[...]``.
    trainable : bool
        False freezes the layer: a net's training leaves its parameters as they are, and
        their gradient is 0. May be set at any time.
    kept : tuple of str
        Of the class: names of what else training changes, attributes that hold an
        array, a number or a flag once the layer is built. They are saved with the net.
    """

    kept: ClassVar[tuple[str, ...]] = ()
    # Checks of settings, whenever they are set; and what a built layer cannot change.
    _settings: ClassVar[Settings] = {}
    _fixed: ClassVar[tuple[str, ...]] = ()
    trainable: bool = True
    learnt: bool = True  # what it learns from rows before it trains, by learn(x)

    def __init__(self) -> None:
        self.features = 0
        self.dtype = np.dtype(np.float32)
        self.seed = self.index = 0
        self._parameters: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        self._saved: tuple[Any, ...] | None = None
        self._net: list[Any] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._settings:
            value = self._settings[name](name, value)
        if name in self._fixed and self.__dict__.get("features"):
            now = getattr(self, name)
            if value != now:
                raise ValueError(
                    f"{name} must stay {now!r} in a layer that is built, got {value!r}"
                )
        super().__setattr__(name, value)
        compiled = self.__dict__.get("_net")
        if compiled and name not in ("seed", "step", "first_row", "_saved"):
            compiled.clear()  # the net's list, too

    def core(self) -> Core | None:
        """What the compiled net is told; None if only Python knows the layer."""
        return None

    @property
    def _sparse(self) -> str:
        """What the core does with sparse rows that come to the layer: it "takes" them
        as they are, or "keeps" them sparse for the next. Else they are made dense."""
        return ""

    @property
    def parameters(self) -> Mapping[str, Array]:
        return MappingProxyType(self._parameters)

    @property
    def gradients(self) -> Mapping[str, Array]:
        return MappingProxyType(self._gradients)

    def outputs(self, features: int) -> int:
        """Width of the output for that width of the input."""
        return features

    def initial(self) -> dict[str, Array]:
        """Start anew: return arrays with the initial values of the parameters."""
        return {}

    def draw(
        self,
        initializer: str | Callable[..., Any],
        shape: tuple[int, ...],
        number: int = 0,
    ) -> Array:
        """First values for a parameter, from the layer's random bits.

        Parameters
        ----------
        initializer : str, Initializer or function (shape, dtype) -> array
            See `lamina.initializers`.
        shape : tuple of int
        number : int
            Of the parameter: each number has bits of its own.

        Raises
        ------
        TypeError, ValueError
            An unknown initializer, or a function that returns another shape.
        """
        bits = initializers.stream(initializers.WEIGHTS, self.index, number)
        return initializers.draw(
            initializers.get(initializer), shape, self.dtype, self.seed, bits
        )

    def config(self) -> dict[str, Any]:
        """The arguments that make this layer anew, for `Sequential.save`.

        Numbers, strings, None, sequences of them, activations and initializers.

        Raises
        ------
        TypeError
            The class does not say.
        """
        raise TypeError(
            f"{type(self).__name__} must define config(), its constructor's arguments, "
            "to be saved"
        )

    def affine(self) -> tuple[Any, Any] | None:
        """Where prediction is ``x * factor + shift``, feature by feature: these, in
        float64, for `Sequential.fold`."""
        return None

    def shapes(self, features: int) -> dict[str, tuple[int, ...]] | None:
        """Those of the parameters, and of the arrays in `kept`, for that width.

        None where only building the layer tells: `lamina.load` then builds it without
        having compared its size with that of the file.
        """
        return {} if type(self).initial is Layer.initial else None

    def factors(self) -> Mapping[str, tuple[float, float]]:
        """Of the learning rate and of the weight decay, for the parameters of these
        names; 1 for others.

        An array of factors r and d takes the steps of an optimizer whose rate is r and
        whose weight decay is d times as large, as a group of PyTorch's does.
        """
        return {}

    def penalty(self, weight: float = 0.0) -> float:
        """What the layer adds to the loss.

        Parameters
        ----------
        weight : float
            That many times its gradient is added to `gradients`, which `backward` has
            filled before; 0 leaves them as they are.
        """
        return 0.0

    def build(
        self,
        features: int,
        dtype: DTypeLike = "float32",
        *,
        seed: int | None = None,
        index: int = 0,
    ) -> int:
        """Make the parameters, and return the width of the output.

        A layer that is built already keeps what it has learnt.

        Raises
        ------
        ValueError
            `features` < 1, a dtype other than float32 and float64, or a layer that is
            built for others.
        """
        features = _checks.count("features", features)
        dtype = _checks.float_dtype(dtype)
        if self.features and (features, dtype) != (self.features, self.dtype):
            raise ValueError(
                f"{self!r} is built for {self.features} features in {self.dtype}, "
                f"got {features} in {dtype}"
            )
        self.seed, self.index = _checks.seed(seed), _checks.unsigned("index", index)
        self._saved = None
        if not self.features:
            self.features, self.dtype = features, dtype
            made = self.initial()
            self._parameters = {
                k: np.array(v, dtype, order="C") for k, v in made.items()
            }
            self._gradients = {k: np.zeros_like(v) for k, v in self._parameters.items()}
        return self.outputs(features)

    def forward(self, x: ArrayLike, training: bool = False) -> Array:
        """The output for `x`; in training, what `backward` needs is kept.

        Parameters
        ----------
        x : (rows, features) array_like
            Converted to the layer's dtype. The first input builds the layer.
        training : bool

        Returns
        -------
        (rows, outputs) array
            May be `x` itself where the layer changes nothing.

        Raises
        ------
        ValueError
            `x` is not 2-d or has another number of features.
        TypeError
            `x` holds no real numbers.
        """
        x, step, first_row = self.take(x), self._place("step"), self._place("first_row")
        self.keep(x, training, step, first_row)
        if training and hasattr(self, "step"):
            self.step = step + 1
        net, _ = self._alone()
        return net.forward(x, training, step, first_row, None)

    def backward(self, dy: ArrayLike, *, input_gradient: bool = True) -> Array | None:
        """Fill `gradients`, and return the gradient by the input.

        Parameters
        ----------
        dy : (rows, outputs) array_like
            Gradient by the output of the last ``forward(x, training=True)``.
        input_gradient : bool
            False: the caller does not need the result, which may then be None.

        Raises
        ------
        RuntimeError
            No training pass came before.
        ValueError
            `dy` has another shape than that output.
        """
        net, gradient = self._alone()
        dy, x, step, first_row = self.recall(dy)
        place = True, step, first_row
        return self._descend(net, gradient, x, dy, place, input_gradient)

    def _descend(
        self,
        net: _core.Network,
        gradient: Array,
        x: Array,
        dy: Array,
        place: tuple[bool, int, int],
        input_gradient: bool,
    ) -> Array | None:
        """The backward of a pass at that place, by what `_alone` returned."""
        dx = net.backward(x, dy, *place, True, False, input_gradient, None)
        for array in self._gradients.values():
            array[...] = gradient[: array.size].reshape(array.shape)
            gradient = gradient[array.size :]
        return dx

    def _place(self, name: str) -> int:
        """Where random bits begin; 0 for a layer that draws none."""
        return int(getattr(self, name, 0))

    def _alone(self) -> tuple[_core.Network, Array]:
        """The layer as the core runs it, with copies of its parameters, and where it
        writes their gradients."""
        core = described(self)
        if core is None:
            raise NotImplementedError(
                f"{type(self).__name__} must define forward(x, training=False), and "
                "backward(dy, *, input_gradient=True) to be trained"
            )
        arrays = map(np.ravel, self._parameters.values())
        flat = np.concatenate([np.empty(0, self.dtype), *arrays])
        gradient = np.empty_like(flat)
        place = self.features, self.seed, flat, gradient, self.index
        return _core.Network([core], *place), gradient

    def take(self, x: ArrayLike) -> Array:
        """`x` checked and converted; builds the layer if it is not built yet."""
        if not self.features:
            array = np.asarray(x)
            dtype = np.float64 if array.dtype == np.float64 else np.float32
            array = _checks.rows("x", array, np.dtype(dtype))
            self.build(array.shape[1], dtype)
            return array
        return _checks.rows("x", x, self.dtype, self.features)

    def _rows_to_learn(self, x: Any, sparse: bool = False) -> data.Table:
        """What `learn` is given, checked; builds the layer if it is not built yet."""
        held = data.held("x", x)
        if held.ndim == 2 and 0 in held.shape:
            raise ValueError(
                f"x must have a row and a feature at least, got {held.shape}"
            )
        if not self.features and held.ndim == 2:
            double = held.dtype == np.float64
            self.build(held.shape[1], np.float64 if double else np.float32)
        return data.inputs("x", held, self.dtype, self.features, sparse=sparse)

    def keep(self, x: Array, training: bool, *saved: Any) -> None:
        """In training, save `x` and more for `recall`."""
        if training:
            self._saved = (x, *saved)

    def recall(self, dy: ArrayLike) -> tuple[Array, *tuple[Any, ...]]:
        """`dy` checked and converted, and what `keep` saved."""
        if self._saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward must come after "
                "forward(x, training=True)"
            )
        gradient = _checks.rows("dy", dy, self.dtype, self.outputs(self.features))
        if len(gradient) != len(self._saved[0]):
            raise ValueError(
                f"dy must have {len(self._saved[0])} rows like x, got {len(gradient)}"
            )
        return gradient, *self._saved

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_net": None, "_saved": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(_writable(state))


def _writable(value: Any) -> Any:
    """A copy of an array that lies in a file or in another's buffer."""
    if isinstance(value, np.ndarray):
        return np.require(value, requirements=["C", "W"])
    if type(value) is dict:
        return {name: _writable(each) for name, each in value.items()}
    return value


def is_known(layer: Layer) -> bool:
    """Whether the compiled net has its class, or only Python."""
    return "core" in vars(type(layer))


def described(layer: Layer) -> Core | None:
    """What the compiled net is told of a layer; None if only Python knows its class."""
    core = layer.core() if is_known(layer) else None
    own = {"trainable": bool(layer.trainable), "factors": factors(layer)}
    return core and (core[0], core[1] | own)


def factors(layer: Layer) -> list[tuple[float, float]]:
    """What `Layer.factors` says, for each array of parameters in order."""
    given = layer.factors()
    return [given.get(name, (1.0, 1.0)) for name in layer.parameters]
