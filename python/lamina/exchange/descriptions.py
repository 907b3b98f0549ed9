"""Objects of Lamina as JSON values, for model files.

``{"class": name}`` with the arguments of its constructor, ``{"activation": name}`` with
its parameter, or ``{"loss": name}`` with what differs from the loss known by that name.
A class is looked up in a table: a description cannot name anything else.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina import activations, initializers, layers, losses, optimizers, schedules

__all__ = ["CLASSES", "decode", "encode", "parse"]

CLASSES: dict[str, type] = {
    name: found
    for module in (layers, initializers, losses, optimizers, schedules)
    for name, found in vars(module).items()
    if isinstance(found, type)
    and found.__module__.startswith(module.__name__)
    and not name.startswith("_")
    and found is not layers.Layer
    and (issubclass(found, layers.Layer) or dataclasses.is_dataclass(found))
}


def encode(value: Any) -> Any:
    """`value` in JSON's types.

    Raises
    ------
    TypeError
        Neither a number, a string, a sequence, None, an object of Lamina, a dataclass,
        nor an object with a method `config`; a class of the user's with the name of one
        of Lamina's.
    ValueError
        NaN.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        if math.isnan(value):
            raise ValueError("a description to save must hold no NaN, got one")
        return float(value)
    if isinstance(value, list | tuple):
        return [encode(each) for each in value]
    if isinstance(value, activations.ActivationFunction):
        return {"activation": value.name, **value.parameters}
    if isinstance(value, losses.Loss) and (usual := _usual(value)) is not None:
        before = _fields(usual)
        changed = {k: v for k, v in _fields(value).items() if v != before[k]}
        return {"loss": value.name, **{k: encode(v) for k, v in changed.items()}}
    if callable(getattr(value, "config", None)):
        return _with_arguments(value, value.config())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _with_arguments(value, _fields(value))
    raise TypeError(
        "a net to save must hold numbers, strings, objects of Lamina, dataclasses and "
        f"objects with config(), got {value!r}"
    )


def _with_arguments(value: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    name = type(value).__name__
    if CLASSES.get(name, type(value)) is not type(value):
        raise TypeError(f"a class of your own must not be called {name!r} to be saved")
    encoded = {"class": name}
    for key, argument in arguments.items():
        if not isinstance(key, str) or key == "class":
            raise TypeError(
                f"{name}.config() must hold names of arguments, got {key!r}"
            )
        own = callable(argument) and not dataclasses.is_dataclass(argument)
        if own and key.endswith("_initializer"):
            continue  # a user's function: the class has a default
        encoded[key] = encode(argument)
    return encoded


def _usual(loss: losses.Loss) -> losses.Loss | None:
    """The loss known by that name, if it is of the same class."""
    try:
        usual = losses.get(loss.name)
    except ValueError:
        return None
    return usual if type(usual) is type(loss) else None


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}


def decode(value: Any, classes: Mapping[str, type]) -> Any:
    """What `encode` was given, with tuples for sequences.

    Raises
    ------
    TypeError, ValueError, OverflowError
        An unknown name, or arguments that a constructor refuses.
    """
    if isinstance(value, list):
        return tuple(decode(each, classes) for each in value)
    if not isinstance(value, dict):
        return value
    kind, name = next(iter(value.items()), (None, None))
    rest = {k: decode(v, classes) for k, v in list(value.items())[1:]}
    if kind == "activation" and isinstance(name, str):
        activation = activations.get(name)
        return activation.using(**rest) if rest else activation
    if kind == "loss" and isinstance(name, str) and all(map(_is_number, rest.values())):
        known: Any = losses.get(name)
        return dataclasses.replace(known, **rest)
    if kind == "class" and isinstance(name, str):
        if name not in classes:
            raise ValueError(
                f"unknown class {name!r}; pass custom={{{name!r}: the class}} if it is "
                "your own"
            )
        return classes[name](**rest)
    raise ValueError(f"unknown kind of object {kind!r}: {name!r}")


def _is_number(value: Any) -> bool:
    """Or several, or none: what a loss may be changed in."""
    if isinstance(value, tuple):
        return all(map(_is_number, value))
    return value is None or isinstance(value, int | float)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name must come once, got one that comes twice")
    return made


def _no_nan(constant: str) -> float:
    if constant == "NaN":
        raise ValueError("a description must hold no NaN, got one")
    return float(constant)


def parse(text: str) -> Any:
    """The values in JSON that holds neither NaN nor a name twice (else ValueError)."""
    return json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_nan)
