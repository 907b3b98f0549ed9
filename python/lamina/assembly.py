"""`Assembly`: what a net is made of and what it holds, but for what it computes.

Layers in a row, their parameters and gradients in two flat buffers, the state of their
optimizer, the core's form of them, and who trains them now.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lamina import _checks, _core, data, interpreter, losses, optimizers
from lamina._checks import Array
from lamina.history import History, Told
from lamina.interpreter import Interpreter
from lamina.layers import Dense, Dropout, Layer, Standardize
from lamina.layers.base import described, is_known
from lamina.layers.residual import blocks, in_a_row
from lamina.schedules import Schedule

__all__ = ["Assembly", "Snapshot"]

_AHEAD = 256  # steps whose rates are computed together
_Ahead = tuple[optimizers.Optimizer | None, int, Array, Array | None]
# What a copy or a pickle makes anew: the layers hold the buffers.
_MADE_ANEW = {"_parameters", "_gradient", "_compiled", "_ahead", "_ready", "_fit"}
_MADE_ANEW |= {"_following"}
# The first calls of a net, of several threads, make its buffers and state once.
_first_use = threading.RLock()
if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_first_use._at_fork_reinit)  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What training changes, as it was: learning goes on from there."""

    parameters: Array
    kept: list[dict[str, Any]]  # of each layer
    state: Array  # the optimizer's
    updates: int
    averaged: Array | None


class Assembly:
    """A net without what it does: `Network`."""

    history: History | None = None
    told: Told | None = None
    # Process and thread of a fit that runs: its loss, optimizer and counts are its own.
    _fit: tuple[int, int] | None = None
    # Known once compiled: whether a layer can add to the loss, and those that drop by a
    # schedule, by their places.
    _penalizes = False
    _scheduled: Mapping[int, Dropout] = {}
    # While a fit averages parameters: their mean, and what a step leaves of it.
    _following: tuple[Array | None, float] = None, 0.0
    # What such a fit left: that mean, and the parameters that training goes on from.
    _averaged: Array | None = None
    # Rates of steps to come: the optimizer's, from that update on.
    _ahead: _Ahead = None, 0, np.empty(0), None
    # Whether other ranks have parts of the parameters and of the optimizer's state.
    _parted = False
    # What the last step on a batch was computed by and called with, and the bounds of
    # its targets, if the core can check the rows of the next one.
    _ready: tuple[tuple[Any, ...], Any] = (), None

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        # First, for repr() of a net whose layers are refused.
        self.layers: tuple[Layer, ...] = ()
        self.seed = _checks.seed(seed)
        self.dtype = _checks.float_dtype(dtype)
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, got {layers!r}")
        self.layers = tuple(in_a_row(layers))
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{i}] must be a Layer, got {layer!r}")
            if not hasattr(layer, "_net"):
                raise TypeError(
                    f"layers[{i}] must call super().__init__() in its __init__, got "
                    f"{type(layer).__name__} without"
                )
            if layer._net is not None or layer in self.layers[:i]:
                raise ValueError(
                    f"layers[{i}] must not be in a net already, got {layer!r}; "
                    "use copy.deepcopy(layer)"
                )
            if i > 0 and isinstance(layer, Standardize):
                name = type(layer).__name__
                raise ValueError(f"{name} must be the first layer, got it as {i}")
        for end, begin in blocks(self.layers).items():
            self.layers[end].beginning = self.layers[begin]
            self.layers[begin].layers = ()
        self.features = self.epoch = self.steps = 0
        self.rate_factor = 1.0
        self.loss: losses.Loss | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self._state = np.empty((0, 0), self.dtype)  # the optimizer's
        self._updates = 0  # steps that this state has seen
        self._link(0)

    def __getstate__(self) -> dict[str, Any]:
        self._require_whole("a copy")
        state = self.__dict__.copy()
        for name in _MADE_ANEW:
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.pop("_one_rate", None)  # version 0.1.0 kept it
        self._link(self.features)

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # two nets cannot share layers

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return (
            f"{type(self).__name__}([{inside}], seed={self.seed}, dtype='{self.dtype}')"
        )

    @property
    def parameters(self) -> Array:
        return self._parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        self._require_built("parameters")
        _checks.assign("parameters", values, self._parameters)

    @property
    def rate_factor(self) -> float:
        return self.__dict__["rate_factor"]  # type: ignore[no-any-return]

    @rate_factor.setter
    def rate_factor(self, value: float) -> None:
        self.__dict__["rate_factor"] = _checks.nonnegative("rate_factor", value)

    @property
    def gradient(self) -> Array:
        return self._gradient

    @gradient.setter
    def gradient(self, values: ArrayLike) -> None:
        self._require_built("gradient")
        _checks.assign("gradient", values, self._gradient)

    def build(self, features: int) -> None:
        """Make the parameters for inputs of that width; `fit` does it by itself.

        Raises
        ------
        ValueError
            features < 1, or the net is already built for another width.
        """
        features = _checks.count("features", features)
        if not self.features:
            with _first_use:
                if not self.features:
                    self._build(features)
        if features != self.features:
            raise ValueError(
                f"features must be {self.features}, for which the net is built, "
                f"got {features}"
            )

    def _build(self, features: int) -> None:
        before = [layer.__dict__.copy() for layer in self.layers]
        width, begun = features, blocks(self.layers)
        try:
            for i, layer in enumerate(self.layers):
                wanted = self.layers[begun[i]].features if i in begun else width
                if width != wanted:
                    raise ValueError(
                        f"layers[{i}], {layer!r}, must get the {wanted} features of "
                        f"layers[{begun[i]}], its Residual, got {width}"
                    )
                width = layer.build(width, self.dtype, seed=self.seed, index=i)
        except BaseException:
            for layer, state in zip(self.layers, before, strict=True):
                layer.__dict__.update(state)
            raise
        self._link(features)

    def release_memory(self) -> None:
        """Give back the memory that steps of large batches were computed in.

        What `gradients` and `train_on_batch` took is kept for the next step, however
        large; `fit` calls this at its end. Up to 64 MiB stay with the net.

        Examples
        --------
        >>> import numpy as np
        >>> import lamina as lm
        >>> net = lm.Sequential([lm.Dense(1)], seed=0)
        >>> scores = net.train_on_batch(np.ones((9, 2)), np.ones(9), loss="huber")
        >>> net.release_memory()
        """
        for net in self._compiled:
            if isinstance(net, _core.Network):
                net.release()

    def _link(self, features: int) -> None:
        """Move the layers' parameters and gradients into the two flat buffers."""
        self._compiled: list[Any] = []  # what computes, if known; layers share the list
        for layer in self.layers:
            layer._net = self._compiled
        self._state = np.require(self._state, requirements=["C", "W"])
        built = self.layers if features else ()
        self._parameters = self._flat([layer._parameters for layer in built])
        self._gradient = self._flat([layer._gradients for layer in built])
        self.features = features  # last: other threads now find a whole net

    def _flat(self, tables: Iterable[dict[str, Array]]) -> Array:
        """One buffer for these arrays, which become views into it."""
        tables = list(tables)
        arrays = [array.ravel() for table in tables for array in table.values()]
        flat = _at_border(sum(array.size for array in arrays), self.dtype)
        np.concatenate([flat[:0], *arrays], out=flat)
        start = 0
        for table in tables:
            for name, array in table.items():
                stop = start + array.size
                table[name] = flat[start:stop].reshape(array.shape)
                start = stop
        return flat

    def _compile(self, method: str) -> list[Any]:
        """What computes, with rows and with those that are `Centred`: the core, unless
        there is a layer that it does not know."""
        self._require_built(method)
        cores = [described(layer) for layer in self.layers]
        known = [core for core in cores if core is not None]
        net: _core.Network | Interpreter = self._interpreter()
        if len(known) == len(cores):
            width, buffers = self.features, (self.parameters, self.gradient)
            net = _core.Network(known, width, self.seed, *buffers)
        nets: list[Any] = [net]
        if isinstance(net, _core.Network) and self._mean() is not None:
            kind, settings = known[0]
            known[0] = kind, settings | {"mean": np.zeros_like(settings["mean"])}
            nets.append(_core.Network(known, width, self.seed, *buffers))
        self._penalizes = any(map(_penalizes, self.layers))
        self._scheduled = {
            i: layer
            for i, layer in enumerate(self.layers)
            if isinstance(layer, Dropout) and isinstance(layer.rate, Schedule)
        }
        self._compiled[:] = nets  # last: other threads then know the rest, too
        return nets

    def _net(self, method: str, x: Array | None) -> Any:
        """What computes with these rows."""
        nets = self._compiled[:] or self._compile(method)
        return nets[-1] if isinstance(x, data.Centred) else nets[0]

    def _interpreter(self) -> Interpreter:
        return Interpreter(self.layers, self.parameters, self.gradient)

    def _runner(
        self,
        method: str,
        goal: losses.Loss,
        rule: optimizers.Optimizer | None = None,
        x: Array | None = None,
    ) -> tuple[Any, Any, Any]:
        """What computes with `x`, and how it calls the loss and the optimizer."""
        net = self._net(method, x)
        known = goal.core is not None and (rule is None or rule.core is not None)
        if known and type(net) is _core.Network:
            return net, goal.core, None if rule is None else rule.core
        return self._interpreter(), goal, rule

    def _require_built(self, method: str) -> None:
        if not self.features:
            raise RuntimeError(
                f"{method} must come after fit or build(features): "
                "the number of features is not known yet"
            )

    def _outputs(self, features: int) -> int:
        return interpreter.outputs(self.layers, features)

    def _takes_sparse(self) -> bool:
        """Whether the core multiplies sparse rows as they are."""
        first = next((each for each in self.layers if each._sparse != "keeps"), None)
        known = all(map(is_known, self.layers))
        return known and first is not None and first._sparse == "takes"

    def _mean(self) -> Array | None:
        """What is subtracted from inputs that the net's dtype would round."""
        first = self.layers[0]
        if not isinstance(first, Standardize) or not first.features:
            return None
        if type(first).forward is not Standardize.forward:  # it subtracts its own
            return None
        return first.exact_mean()

    def _rule(
        self, optimizer: str | optimizers.Optimizer | None
    ) -> optimizers.Optimizer:
        """The optimizer: as given, or of the last training."""
        known = "adam" if self.optimizer is None else self.optimizer
        return optimizers.get(known if optimizer is None else optimizer)

    def _adopt(self, rule: optimizers.Optimizer) -> None:
        """Take an optimizer, and start its state anew unless it suits the old one's."""
        with _first_use:
            shape = rule.slots, self.parameters.size
            if _meaning(rule) != _meaning(self.optimizer) or self._state.shape != shape:
                self._state = np.zeros(shape, self.dtype)
                self._updates = 0
            if self.optimizer not in (None, rule):
                self.rate_factor = 1.0
            self.optimizer = rule

    def reset_optimizer(self) -> None:
        """Start the optimizer's state anew: moments, and the count of steps by which
        schedules and Adam's corrections go. The optimizer stays what it is.

        Raises
        ------
        RuntimeError
            A `fit` of this net runs in another thread.
        """
        self._require_own("reset_optimizer")
        self._state = np.zeros_like(self._state)
        self._updates = 0

    def _forget_optimizer(self) -> None:
        """As before the first training: a net that is for answers from now on."""
        self._require_own("forget_optimizer")
        self._averaged, self.rate_factor = None, 1.0
        self.optimizer, self._state = None, np.empty((0, 0), self.dtype)
        self._updates = 0

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            self.parameters.copy(),
            [
                {name: copy.copy(getattr(layer, name)) for name in layer.kept}
                for layer in self.layers
            ],
            self._state.copy(),
            self._updates,
            copy.copy(self._averaged),
        )

    def _restore(self, snapshot: Snapshot) -> None:
        """Be as at that time of the same fit."""
        self.parameters[...] = snapshot.parameters
        for layer, kept in zip(self.layers, snapshot.kept, strict=True):
            for name, value in kept.items():
                setattr(layer, name, copy.copy(value))
        self._state[...] = snapshot.state
        self._updates = snapshot.updates
        self._averaged = copy.copy(snapshot.averaged)

    @contextlib.contextmanager
    def _averaging(self, ema: float | None) -> Iterator[None]:
        """Steps that parameters are averaged over, whose mean they are afterwards.

        They go on from where the last such steps ended, and so does the mean, unless
        parameters have changed since.
        """
        if ema is None:
            self._averaged = None
            yield
            return
        now = self.parameters
        if self._averaged is not None and np.array_equal(self._averaged[0], now):
            now[...] = self._averaged[1]
        else:
            self._averaged = np.array([now, now])
        self._following = self._averaged[0], ema
        try:
            yield
        finally:
            self._following = None, 0.0
            self._averaged[1] = now
            now[...] = self._averaged[0]

    @contextlib.contextmanager
    def _fitting(self) -> Iterator[None]:
        """A fit: no other one of this net, and no training in another thread."""
        self._require_whole("fit")
        here = os.getpid(), threading.get_ident()
        with _first_use:
            running = self._fit  # which may end meanwhile
            if running is not None and running[0] == here[0]:
                raise RuntimeError(
                    "fit must wait until the fit of this net that runs has ended; "
                    "use copy.deepcopy(net) to train another net meanwhile"
                )
            self._fit = here
        try:
            yield
        finally:
            self.release_memory()
            self._fit = None

    def _require_own(self, method: str) -> None:
        """Raise RuntimeError while a fit runs in another thread."""
        self._require_whole(method)
        running = self._fit  # which may end meanwhile
        if running is None or running[1] == threading.get_ident():
            return
        if running[0] != os.getpid():  # a fork left that thread behind
            self._fit = None
            return
        raise RuntimeError(
            f"{method} must wait until the fit of this net in another thread has ended"
        )

    def _require_whole(self, method: str) -> None:
        """Raise RuntimeError where other ranks have parts of the net."""
        if self._parted:
            raise RuntimeError(
                f"{method} must wait until the steps of all ranks are done, each of "
                "which has a part of the net; where they failed, load the last file of "
                "a ModelCheckpoint"
            )

    def _require_same(self, rule: optimizers.Optimizer) -> None:
        """Raise RuntimeError while a fit runs with another optimizer."""
        if self._fit is not None and rule != self.optimizer:
            raise RuntimeError(
                f"optimizer must be that of the fit that runs, {self.optimizer!r}, got "
                f"{rule!r}"
            )

    def _last_rate(self) -> float | None:
        """The learning rate of the last step; None if only the optimizer knows it."""
        rule = self.optimizer
        if rule is None or rule.core is None or self._updates == 0:
            return None
        known, first, rates, _ = self._ahead
        at = self._updates - 1 - first
        if known is not rule or not 0 <= at < len(rates):
            rates, at = rule.rates(self._updates, 1), 0
        return float(rates[at]) * self.rate_factor

    def _steps_to_come(
        self, rule: optimizers.Optimizer, state: Array, updates: int, count: int
    ) -> tuple[int, tuple[Array, Array | None], Array | None]:
        """How many updates that state of the rule has seen, rates and decays of the
        next `count`, and what layers drop in them.

        A signal's handler may train this net while they are asked for: by the same
        state, which has seen more updates then, or by another, which it leaves in place
        of this one.
        """
        while True:
            if self._state is state:
                updates = self._updates
            rates, shares = self._rates(rule, updates, count), self._shares(count)
            if self._state is not state or self._updates == updates:
                return updates, rates, shares

    def _rates(
        self, rule: optimizers.Optimizer, updates: int, count: int
    ) -> tuple[Array, Array | None]:
        """Rates of the steps after so many, and decays if they change; a rule of the
        user's own knows them itself."""
        if rule.core is None:
            return np.ones(count), None
        if count <= _AHEAD and optimizers.is_foreseen(rule):
            rates, decays = self._next_rates(rule, updates, count)
        else:
            steps = updates + 1, count
            rates, decays = rule.rates(*steps), rule.decays(*steps)
        return (rates if self.rate_factor == 1 else rates * self.rate_factor), decays

    def _shares(self, count: int = 1) -> Array | None:
        """What layers with a schedule drop in the steps to come, by their places."""
        if not self._scheduled:
            return None
        shares = np.zeros((count, len(self.layers)))
        for i, layer in self._scheduled.items():
            shares[:, i] = layer.rates(self.steps, count)
        return shares

    def _next_rates(
        self, rule: optimizers.Optimizer, updates: int, count: int
    ) -> tuple[Array, Array | None]:
        """Asked for together with those of many more steps."""
        known, first, rates, decays = self._ahead
        at = updates - first
        if known is not rule or not 0 <= at <= len(rates) - count:
            first, at = updates, 0
            steps = first + 1, _AHEAD
            try:
                with np.errstate(all="ignore"):  # of steps that may never come
                    rates, decays = rule.rates(*steps), rule.decays(*steps)
            except ValueError:  # one of them cannot be: one of these, perhaps
                return rule.rates(first + 1, count), rule.decays(first + 1, count)
            self._ahead = rule, first, rates, decays
        now = slice(at, at + count)
        return rates[now], None if decays is None else decays[now]


def _at_border(size: int, dtype: np.dtype[Any]) -> Array:
    """An array from a border of cache lines on: rows of a kernel that are read one by
    one then share none, which is a fifth of the time of sparse rows."""
    room = np.empty(size * dtype.itemsize + 64, np.uint8)
    start = -room.__array_interface__["data"][0] % 64
    return room[start : start + size * dtype.itemsize].view(dtype)


def _penalizes(layer: Layer) -> bool:
    """Whether it can add to the loss."""
    penalty = type(layer).penalty
    if isinstance(layer, Dense) and penalty is Dense.penalty:
        return layer.l1 > 0 or layer.l2 > 0
    return penalty is not Layer.penalty


def _meaning(rule: optimizers.Optimizer | None) -> tuple[Any, ...]:
    """Rules that mean the same by their state have the same."""
    return type(rule), getattr(rule, "centered", None)
