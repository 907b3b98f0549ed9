"""What is varied: the settings of an experiment, and how each becomes a net's training.

A setting has values, which are used, and labels, numbers and strings, which are
printed, saved, and found again in a file of an earlier run.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lamina import losses, optimizers
from lamina.layers import Layer
from lamina.model import Sequential

__all__ = [
    "FIT",
    "Setting",
    "check_names",
    "digest",
    "label",
    "product",
    "resolve",
    "shown",
    "source",
]

# What `fit` may be given besides the data.
FIT = [
    name
    for name in inspect.signature(Sequential.fit).parameters
    if name not in ("self", "x", "y", "verbose")
]
_PARTS: dict[str, Callable[[Any], Any]]
_PARTS = {"optimizer": optimizers.get, "loss": losses.get}
_DEFAULT = {"optimizer": "adam"}


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """One choice of the values that are varied."""

    values: dict[str, Any]

    @functools.cached_property
    def labels(self) -> dict[str, Any]:
        return {name: label(value) for name, value in self.values.items()}

    @functools.cached_property
    def key(self) -> str:
        return json.dumps(self.labels, sort_keys=True)

    def __str__(self) -> str:
        return ", ".join(f"{name}={shown(v)}" for name, v in self.labels.items())


def product(vary: Any) -> list[Setting]:
    """All combinations of the values of a mapping, or the settings of a list."""
    if isinstance(vary, Mapping):
        for name, values in vary.items():
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise TypeError(
                    f"vary[{name!r}] must be a list of values, got {values!r}"
                )
        lists = [list(values) for values in vary.values()]
        found = [
            Setting(dict(zip(vary, values, strict=True)))
            for values in itertools.product(*lists)
        ]
    elif isinstance(vary, Iterable) and not isinstance(vary, str):
        given = list(vary)
        if not all(isinstance(each, Mapping) for each in given):
            raise TypeError(f"vary must be a dict, or a list of dicts, got {vary!r}")
        if len({tuple(each) for each in given}) > 1:
            raise ValueError("vary must name the same values in all settings")
        found = [Setting(dict(each)) for each in given]
    else:
        raise TypeError(f"vary must be a dict, or a list of dicts, got {vary!r}")
    if not found:
        raise ValueError(f"vary must give a setting at least, got {vary!r}")
    keys = [setting.key for setting in found]
    for i, key in enumerate(keys):
        if key in keys[:i]:
            raise ValueError(f"vary must give different settings, got {key} twice")
    return found


Parameters = Mapping[str, inspect.Parameter]  # of `build`


def check_names(
    parameters: Parameters, names: Iterable[str], fit: Mapping[str, Any]
) -> None:
    """Raise unless each name is a parameter of `build` or of `fit`."""
    for name in fit:
        if name not in FIT:
            raise ValueError(f"fit must name {', '.join(FIT)}, got {name!r}")
    known = [name for name in parameters if name != "seed"]
    for name in names:
        head, dot, _ = name.partition(".")
        right = head in _PARTS if dot else name in (*known, *FIT)
        if not right and not _takes_any(parameters):
            raise ValueError(
                f"vary must name parameters of build ({', '.join(known) or 'none'}) or "
                f"of fit ({', '.join(FIT)}, optimizer.learning_rate ...), got {name!r}"
            )
    if "seed" not in parameters and not _takes_any(parameters):
        raise TypeError("build must take seed=, which it passes to the net")


def resolve(
    parameters: Parameters, fit: Mapping[str, Any], setting: Setting
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of `build` and of `fit` in a setting."""
    own, rest = dict[str, Any](), dict(fit)
    for name, value in setting.values.items():
        if name in parameters or (_takes_any(parameters) and "." not in name):
            own[name] = value
        elif "." not in name:
            rest[name] = value
    for name, value in setting.values.items():  # parts of what may itself be varied
        head, dot, part = name.partition(".")
        if dot:
            whole = _PARTS[head](rest.get(head, _DEFAULT.get(head)))
            rest[head] = dataclasses.replace(whole, **{part: value})
    return own, rest


def label(value: Any) -> Any:
    """A value in numbers and strings that say what it is, in every run."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return f"array {digest(value)}"
    if isinstance(value, Mapping):
        return {str(key): label(each) for key, each in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        return [label(each) for each in value]
    if isinstance(value, Sequential):
        return [[label(layer) for layer in value.layers], str(value.dtype)]
    if isinstance(value, Layer):
        try:
            return [type(value).__name__, label(value.config())]
        except TypeError:  # one's own, which does not say
            return type(value).__qualname__
    if inspect.isroutine(value) or isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if " at 0x" in (text := repr(value)):
        return [type(value).__qualname__, label(vars(value))]
    return text


def shown(value: Any) -> str:
    """A label as it is printed."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def digest(*arrays: Any) -> str:
    """Of the bytes of arrays, sparse ones too."""
    made = hashlib.sha256()
    for array in arrays:
        parts = (
            [array.data, array.indices, array.indptr]
            if hasattr(array, "indptr")
            else [np.asarray(array)]
        )
        for part in parts:
            made.update(f"{part.dtype} {part.shape}".encode())
            made.update(np.ascontiguousarray(part).data)
    return made.hexdigest()[:16]


def source(build: Callable[..., Any]) -> str:
    """What tells one function from another: the digest of its text."""
    if inspect.ismethod(build):  # `clone` of a net
        text = json.dumps([build.__name__, label(build.__self__)])
    elif isinstance(build, functools.partial):
        text = json.dumps(
            [source(build.func), label(build.args), label(build.keywords)]
        )
    else:
        try:
            text = inspect.getsource(build)
        except (OSError, TypeError):  # typed in, or no function
            text = str(label(build))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _takes_any(parameters: Parameters) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values())
