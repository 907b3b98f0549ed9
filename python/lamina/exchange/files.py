"""Model files: a net in one safetensors file.

The tensors are the parameters and what layers learn beside them ("0.mean", "1.kernel",
"1.bias": the layer's number, the array's name), "optimizer", its state, and "averaged",
what a fit with `ema` goes on from. Everything else is JSON, in the one entry "lamina"
of the metadata. The package safetensors checks the file; what it says is then compared
with the tensors in it before anything is built, so a file can ask for no more memory
than its own size. Classes are looked up among
Lamina's own and those that the caller names: nothing is imported or run.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import operator
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from lamina import _checks, initializers, losses, optimizers
from lamina._checks import Array
from lamina.exchange import descriptions
from lamina.layers import Layer
from lamina.network import Network

__all__ = ["load", "replace", "save"]

Net = TypeVar("Net", bound=Network)

_VERSION = 1  # of what the metadata say; a newer one is refused
# The numbers of a net that training changes, and their attributes.
_COUNTS = {
    "epoch": "epoch",
    "steps": "steps",
    "updates": "_updates",
    "rate_factor": "rate_factor",
}


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """What `Sequential.save` does."""
    net._require_whole("save")
    package = _package()
    described = json.dumps(_describe(net), separators=(",", ":"))
    tensors = {name: np.ascontiguousarray(a) for name, a in _tensors(net).items()}
    replace(os.fsdecode(path), package.save(tensors, {"lamina": described}))


def load(
    path: str | os.PathLike[str], make: type[Net], custom: Mapping[str, type] | None
) -> Net:
    """What `lamina.load` does, for a net of the class `make`."""
    classes = _classes(custom)
    name = os.fsdecode(path)
    _package()
    _checks.file("path", name)
    with open(name, "rb"):  # raises what Python raises for a missing file
        pass
    with _blaming(name):
        # Not mapped into memory: a file that shrinks must not end the process.
        opened = importlib.import_module("safetensors").safe_open(
            name, framework="np", backend="pread"
        )
        with opened as file:
            return _read(file, make, classes)


def _package() -> Any:
    try:
        return importlib.import_module("safetensors.numpy")
    except ImportError as error:
        raise ImportError(
            "model files need safetensors; use pip install lamina[files]"
        ) from error


def _classes(custom: Mapping[str, type] | None) -> dict[str, type]:
    if not isinstance(custom, Mapping | None):
        raise TypeError(f"custom must be a dict of names and classes, got {custom!r}")
    known = {} if custom is None else dict(custom)
    for name, own in known.items():
        if not isinstance(own, type):
            raise TypeError(f"custom[{name!r}] must be a class, got {own!r}")
        if name in descriptions.CLASSES:
            raise TypeError(f"custom must not name a class of Lamina, got {name!r}")
    return descriptions.CLASSES | known


@contextlib.contextmanager
def _blaming(path: str) -> Iterator[None]:
    """Turns what a bad file leads to into one kind of error that names the file."""
    wrong = importlib.import_module("safetensors").SafetensorError
    try:
        yield
    except (wrong, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path} must hold a net of Lamina: {error}") from error
    except RecursionError:
        raise ValueError(
            f"{path} must hold a net of Lamina: nested too deeply"
        ) from None


def _describe(net: Network) -> dict[str, Any]:
    kept = [_kept(layer) for layer in net.layers]
    for i, layer in enumerate(net.layers):
        arrays = dict(layer.parameters) | kept[i][0]
        shapes = layer.shapes(layer.features) if net.features else None
        if shapes not in (None, {name: array.shape for name, array in arrays.items()}):
            raise TypeError(
                f"layers[{i}].shapes must name the arrays of {layer!r}, got {shapes}"
            )
    return {
        "version": _VERSION,
        "dtype": str(net.dtype),
        "seed": net.seed,
        "features": net.features,
        "layers": [descriptions.encode(layer) for layer in net.layers],
        "kept": [
            {k: descriptions.encode(v) for k, v in values.items()} for _, values in kept
        ],
        "loss": descriptions.encode(net.loss),
        "optimizer": descriptions.encode(net.optimizer),
        "counts": _counts(net),
    }


def _counts(net: Network) -> dict[str, Any]:
    return {k: getattr(net, name) for k, name in _COUNTS.items() if hasattr(net, name)}


def _kept(layer: Layer) -> tuple[dict[str, Array], dict[str, Any]]:
    """What `Layer.kept` names: arrays, and numbers or flags."""
    found = {k: getattr(layer, k) for k in (layer.kept if layer.features else ())}
    arrays = {k: v for k, v in found.items() if isinstance(v, np.ndarray)}
    return arrays, {k: v for k, v in found.items() if k not in arrays}


def _tensors(net: Network) -> dict[str, Array]:
    """All arrays that belong in a file, by their names there: the net's own."""
    tensors = {}
    for i, layer in enumerate(net.layers if net.features else ()):
        for name, array in (dict(layer.parameters) | _kept(layer)[0]).items():
            tensors[f"{i}.{name}"] = array
    if net._state.size:
        tensors["optimizer"] = net._state
    if net._averaged is not None:
        tensors["averaged"] = net._averaged
    return tensors


def _read(file: Any, make: type[Net], classes: Mapping[str, type]) -> Net:
    described = (file.metadata() or {}).get("lamina")
    if described is None:
        raise ValueError(
            "there is no description of one in it; weights alone are for "
            "Sequential.load_state_dict"
        )
    found = descriptions.parse(described)
    version = found.get("version") if isinstance(found, dict) else None
    if isinstance(version, int) and version > _VERSION:
        raise ValueError(
            f"it was written by a newer Lamina (version {version} of the format; this "
            f"one reads {_VERSION})"
        )
    kinds = {"version": int, "dtype": str, "seed": int, "features": int}
    kinds |= {"layers": list, "kept": list}
    names = {*kinds, "loss", "optimizer", "counts"}
    if version != _VERSION or set(found) != names:
        raise ValueError(
            f"the description must have {sorted(names)}, got {found!r:.200}"
        )
    for name, kind in kinds.items():
        if type(found[name]) is not kind:
            raise ValueError(
                f"{name} must be {kind.__name__}, got {found[name]!r:.200}"
            )
    rule, goal = (
        descriptions.decode(found[name], classes) for name in ("optimizer", "loss")
    )
    if not isinstance(rule, optimizers.Optimizer | None):
        raise ValueError(f"optimizer must be one, got {rule!r}")
    if not isinstance(goal, losses.Loss | None):
        raise ValueError(f"loss must be one, got {goal!r}")

    if found["dtype"] not in ("float32", "float64"):  # as text has more spellings
        raise ValueError(f"dtype must be float32 or float64, got {found['dtype']!r}")
    net = make(
        descriptions.decode(found["layers"], classes),
        seed=found["seed"],
        dtype=found["dtype"],
    )
    net.loss = None if goal is None else net._goal(goal)
    if found["features"]:
        _build(net, _checks.count("features", found["features"]), file)
    if rule is not None:
        net._adopt(rule)
    if len(found["kept"]) != len(net.layers):
        raise ValueError(f"kept must be {len(net.layers)}, got {len(found['kept'])}")
    for layer, values in zip(net.layers, found["kept"], strict=True):
        _set(layer, {k: (k, v) for k, v in _kept(layer)[1].items()}, values)
    numbers = _counts(net)
    present = {k: (_COUNTS[k], v) for k, v in numbers.items()}
    _set(net, present, found["counts"], counts=True)
    _widen(net, file)
    if "averaged" in file.keys():  # noqa: SIM118 (no mapping)
        net._averaged = np.zeros((2, net.parameters.size), net.dtype)
    _fill(_tensors(net), file)
    return net


def _build(net: Network, features: int, file: Any) -> None:
    """Build the net, once its sizes are known to be those of the tensors."""
    present: dict[str, dict[str, tuple[int, ...]]] = {}
    for name in file.keys():  # noqa: SIM118 (no mapping)
        layer, _, array = name.partition(".")
        shape = tuple(file.get_slice(name).get_shape())
        present.setdefault(layer, {})[array] = shape
    width = features
    for i, layer in enumerate(net.layers):
        shapes, got = layer.shapes(width), present.get(str(i), {})
        if shapes is not None and shapes != got:
            raise ValueError(f"the tensors of layer {i} must be {shapes}, got {got}")
        width = layer.outputs(width)
    # No weights are drawn: they are in the file.
    drawn = [
        (layer, name, value)
        for layer in net.layers
        for name, value in vars(layer).items()
        if isinstance(value, initializers.Initializer)
    ]
    for layer, name, _ in drawn:
        setattr(layer, name, initializers.zeros)
    net.build(features)
    for layer, name, value in drawn:
        setattr(layer, name, value)


def _set(
    holder: object,
    present: Mapping[str, tuple[str, Any]],
    values: Any,
    *,
    counts: bool = False,
) -> None:
    """Set numbers and flags, each of the kind of the one that is there.

    `present` has the attribute and its value for each name in the file; counts are at
    least 0.
    """
    if not isinstance(values, dict) or set(values) != set(present):
        raise ValueError(f"{holder!r} must have {sorted(present)}, got {values!r:.200}")
    for name, (attribute, now) in present.items():
        if isinstance(now, bool | np.bool_):
            value: Any = _checks.flag(name, values[name])
        elif counts:
            value = (
                _checks.unsigned(name, values[name], 62)  # further steps have room
                if isinstance(now, int)
                else _checks.nonnegative(name, values[name])
            )
        else:
            value = _checks.real(name, values[name], "a number", lambda v: v == v)
            value = operator.index(values[name]) if isinstance(now, int) else value
        setattr(holder, attribute, value)


def _widen(net: Network, file: Any) -> None:
    """Layers may keep in float64 what is too fine for the net's dtype."""
    wide = {name for name in file.keys() if file.get_slice(name).get_dtype() == "F64"}  # noqa: SIM118
    for i, layer in enumerate(net.layers):
        for name, array in _kept(layer)[0].items():
            if f"{i}.{name}" in wide:
                setattr(layer, name, array.astype(np.float64))


def _fill(tensors: Mapping[str, Array], file: Any) -> None:
    """Copy every tensor of the file into the net's array of that name."""
    if set(file.keys()) != set(tensors):
        differing = sorted(set(file.keys()) ^ set(tensors))
        raise ValueError(f"tensors are missing or too many: {differing!r:.200}")
    for name, array in tensors.items():
        part = file.get_slice(name)
        got = part.get_dtype(), tuple(part.get_shape())
        wanted = f"{array.dtype.kind.upper()}{8 * array.itemsize}", array.shape
        if got != wanted:
            raise ValueError(f"tensor {name!r} must be {wanted}, got {got}")
    for name, array in tensors.items():
        array[...] = file.get_tensor(name)


def replace(path: str, content: bytes) -> None:
    """Write a file whole or not at all: beside the old one, then in its place."""
    _checks.file("path", path)
    real = os.path.realpath(path)  # the file that a link points to
    beside = os.path.join(os.path.dirname(real), f".lamina-{os.urandom(8).hex()}")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(real):
            # As shutil does, whose import takes long.
            os.chmod(beside, stat.S_IMODE(os.stat(real).st_mode))
        os.replace(beside, real)
    except OSError as error:  # by the name that the caller knows
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        with contextlib.suppress(OSError):  # it was moved, or could not be made
            os.unlink(beside)
