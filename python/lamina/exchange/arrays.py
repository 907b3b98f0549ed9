"""Weights to and from other libraries, as plain arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.layers import (
    Activation,
    Add,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    PReLU,
    Residual,
    Standardize,
)
from lamina.network import Network

__all__ = ["load_state_dict", "set_weights", "state_dict", "weights"]

# PyTorch's names of the arrays of a layer; those of `Dense` are transposed besides.
_NAMES: dict[type[Layer], dict[str, str]] = {
    BatchNorm: {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "mean",
        "running_var": "variance",
    },
    LayerNorm: {"weight": "gamma", "bias": "beta"},
    PReLU: {"weight": "slope"},
}


def assign(owned: Mapping[str, Array], given: Mapping[str, Any], source: str) -> None:
    """Copy `given` into the arrays of the same names, once all of them are checked."""
    ready = {}
    for name, array in owned.items():
        found = to_numpy(given[name])
        ready[name] = _checks.weights(f"{source}[{name}]", found, array)
    for name, array in owned.items():
        array[...] = ready[name]


def to_numpy(value: Any) -> Any:
    """`value`, or the array of a PyTorch tensor: known by its methods, not imported."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return value.detach().cpu().numpy()
    return value


def weights(net: Network) -> list[Array]:
    """The arrays of all layers in the order of Keras, the net's own."""
    return [
        array
        for layer in net.layers
        for array in (*layer.parameters.values(), *_moments(layer).values())
    ]


def _moments(layer: Layer) -> dict[str, Array]:
    """What a `BatchNorm` keeps."""
    if not isinstance(layer, BatchNorm):
        return {}
    return {name: getattr(layer, name) for name in layer.kept}


def set_weights(net: Network, arrays: Iterable[Any]) -> None:
    """What `Sequential.set_weights` does."""
    owned, given = weights(net), list(arrays)
    if len(given) != len(owned):
        raise ValueError(
            f"weights must be {len(owned)} arrays of shapes "
            f"{[array.shape for array in owned]}, got {len(given)}"
        )
    numbers = [str(i) for i in range(len(owned))]
    assign(
        dict(zip(numbers, owned, strict=True)),
        dict(zip(numbers, given, strict=True)),
        "weights",
    )


def state_dict(net: Network) -> dict[str, Array]:
    """What `Sequential.state_dict` returns."""
    return {
        f"{number}.{name}": np.array(array, order="C")
        for number, layer in _numbered(net)
        for name, array in _named(layer).items()
    }


def load_state_dict(net: Network, state: Mapping[str, Any]) -> None:
    """What `Sequential.load_state_dict` does."""
    groups = _groups(state)
    layers = [layer for _, layer in _numbered(net)]
    if len(groups) != len(layers):
        raise ValueError(
            f"state must hold the weights of {len(layers)} layers, got "
            f"{len(groups)}: {list(groups)}"
        )
    owned: dict[str, Array] = {}
    for prefix, layer in zip(groups, layers, strict=True):
        views = _named(layer)
        if groups[prefix] != set(views):
            raise ValueError(
                f"state must hold {sorted(views)} for {layer!r}, got "
                f"{sorted(groups[prefix])} under {prefix!r}"
            )
        owned |= {_key(prefix, name): view for name, view in views.items()}
    assign(owned, state, "state")


def _numbered(net: Network) -> list[tuple[int, Layer]]:
    """The layers with arrays there and their numbers in the same net as a
    `torch.nn.Sequential`, where an activation is a module of its own."""
    found: list[tuple[int, Layer]] = []
    number = 0
    for layer in net.layers:
        if isinstance(layer, Dense) and set(layer.parameters) <= {"kernel", "bias"}:
            found.append((number, layer))
            number += 1 if layer.activation.name == "identity" else 2
        elif type(layer) in _NAMES:
            found.append((number, layer))
            number += 1
        elif isinstance(layer, Activation | Dropout):
            number += 1
        elif not isinstance(layer, Standardize | Residual | Add):
            raise TypeError(
                "a state dict is for nets of Dense, Activation, Dropout, LayerNorm, "
                f"BatchNorm and PReLU, got {layer!r}"
            )
    return found


def _named(layer: Layer) -> dict[str, Array]:
    """Views of its arrays as PyTorch names and lays them out: (outputs, inputs)."""
    if type(layer) in _NAMES:
        own = dict(layer.parameters) | _moments(layer)
        return {theirs: own[ours] for theirs, ours in _NAMES[type(layer)].items()}
    names = {"weight": layer.parameters["kernel"].T}
    if "bias" in layer.parameters:
        names["bias"] = layer.parameters["bias"]
    return names


def _key(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _groups(state: Mapping[str, Any]) -> dict[str, set[str]]:
    """The names under each prefix, in the order of the layers.

    That is the order of the mapping, but for prefixes that differ in numbers alone,
    which follow their numbers: files sort "10.weight" before "2.weight".
    """
    groups: dict[str, set[str]] = {}
    for key in state:
        prefix, _, name = str(key).rpartition(".")
        if name != "num_batches_tracked":
            groups.setdefault(prefix, set()).add(name)
    alike: dict[str, list[str]] = {}
    for prefix in groups:
        alike.setdefault(re.sub(r"\d+", "#", prefix), []).append(prefix)
    for prefixes in alike.values():
        prefixes.sort(key=lambda p: [*map(int, re.findall(r"\d+", p))], reverse=True)
    order = [alike[re.sub(r"\d+", "#", prefix)].pop() for prefix in groups]
    return {prefix: groups[prefix] for prefix in order}
