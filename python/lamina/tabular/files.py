"""An estimator of tables in one safetensors file.

The tensors of net i are named as those of a net's own file with "i/" before them; all
else is JSON, in the entry "lamina_table" of the metadata: parameters of the estimator,
its columns, and the nets' descriptions. As for nets, nothing in a file is run.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina import _checks
from lamina._checks import Array
from lamina.exchange import descriptions
from lamina.exchange import files as nets
from lamina.model import Sequential
from lamina.tabular.columns import Column, Columns

__all__ = ["load", "save"]

_ENTRY, _VERSION = "lamina_table", 1


def save(est: Any, path: str | os.PathLike[str]) -> None:
    """What `save` of an estimator does."""
    package = nets._package()
    columns: Columns = est._columns
    described = {
        "version": _VERSION,
        "class": type(est).__name__,
        "parameters": est._parameters(),
        "state": est._state(),
        "features": est.n_features_in_,
        "named": columns.named,
        "columns": [dataclasses.asdict(column) for column in columns.columns],
        "centre": columns.centre.tolist(),
        "scale": columns.scale.tolist(),
        "groups": [[nets._describe(net) for net in group] for group in est._groups],
    }
    tensors = {
        f"{i}/{name}": np.ascontiguousarray(array)
        for i, net in enumerate(est.nets_)
        for name, array in nets._tensors(net).items()
    }
    metadata = {_ENTRY: json.dumps(described, separators=(",", ":"), default=_plain)}
    nets.replace(os.fsdecode(path), package.save(tensors, metadata))


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as those of Python."""
    return value.tolist()


def load(path: str | os.PathLike[str], kinds: Sequence[type]) -> Any:
    """What `lamina.tabular.load` does; one of the classes `kinds`."""
    name = os.fsdecode(path)
    nets._package()
    _checks.file("path", name)
    with open(name, "rb"):  # raises what Python raises for a missing file
        pass
    try:
        with nets._blaming(name):
            opened = importlib.import_module("safetensors").safe_open(
                name, framework="np", backend="pread"
            )
            with opened as file:
                return _read(file, {kind.__name__: kind for kind in kinds})
    except (KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{name} must hold an estimator: {error!r}") from error


def _read(file: Any, kinds: dict[str, type]) -> Any:
    text = (file.metadata() or {}).get(_ENTRY)
    if text is None:
        raise ValueError(
            "there is no estimator of tables in it; a net of Sequential.save is for "
            "lamina.load"
        )
    found = descriptions.parse(text)
    if found["version"] != _VERSION:
        raise ValueError(
            f"its version must be {_VERSION}, got {found['version']!r}: it was written "
            "by another Lamina"
        )
    est = kinds[found["class"]]()
    est._set_parameters(dict(found["parameters"]))
    est._set_state(found["state"])
    est.n_features_in_ = _checks.count("features", found["features"])
    columns: Columns = Columns.__new__(Columns)
    columns.named = _checks.flag("named", found["named"])
    columns.columns = [Column(**each) for each in found["columns"]]
    columns.centre = np.array(found["centre"], np.float64)
    columns.scale = np.array(found["scale"], np.float64)
    columns.check()
    if est.n_features_in_ != len(columns.columns):
        raise ValueError(
            f"features must be {len(columns.columns)}, got {est.n_features_in_}"
        )
    est._columns, est.columns_ = columns, columns.columns
    if columns.named:
        est.feature_names_in_ = np.array([c.name for c in columns.columns], object)
    numbers = itertools.count()
    est._groups = [
        [_net(file, next(numbers), described) for described in group]
        for group in found["groups"]
    ]
    count = next(numbers)
    known = {str(i) for i in range(count)}
    others = [name for name in file.keys() if name.partition("/")[0] not in known]  # noqa: SIM118
    if others:
        raise ValueError(f"tensors must be those of {count} nets, got {others!r:.200}")
    rows = np.zeros((1, columns.kinds.features), np.float32)
    widths = [{net.predict(rows).shape[1] for net in nets} for nets in est._groups]
    if widths != (wanted := [{width} for width in est._widths()]):
        raise ValueError(f"answers of the nets must be {wanted} wide, got {widths}")
    return est


def _net(file: Any, number: int, described: Any) -> Sequential:
    return nets._read(_Part(file, number, described), Sequential, descriptions.CLASSES)


class _Part:
    """The tensors of one net of a file, as if they were all."""

    def __init__(self, file: Any, number: int, described: Any) -> None:
        self.file, self.prefix, self.described = file, f"{number}/", described

    def metadata(self) -> dict[str, str]:
        return {"lamina": json.dumps(self.described)}

    def keys(self) -> list[str]:
        names = [n for n in self.file.keys() if n.startswith(self.prefix)]  # noqa: SIM118
        return [name.removeprefix(self.prefix) for name in names]

    def get_slice(self, name: str) -> Any:
        return self.file.get_slice(self.prefix + name)

    def get_tensor(self, name: str) -> Array:
        found: Array = self.file.get_tensor(self.prefix + name)
        return found
