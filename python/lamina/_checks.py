"""Checks of arguments: each returns the value in the form that the caller needs, or
raises an error that names the argument, what was expected and what came."""

from __future__ import annotations

import math
import numbers
import operator
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamina import _core

Array = NDArray[Any]
Mode = Literal["inverted", "classic", "alpha"]
T = TypeVar("T")


def real(
    name: str, value: object, expected: str, valid: Callable[[float], bool]
) -> float:
    """`value` as a float, if it is a real number and `valid`."""
    message = f"{name} must be {expected}, got {value!r}"
    if not isinstance(value, numbers.Real):
        raise TypeError(message)
    try:
        number = float(value)
    except OverflowError:  # an integer beyond any float, valid nowhere
        number = np.nan
    if not valid(number):
        raise ValueError(message)
    return number


def scores(values: Mapping[Any, object], giver: str = "") -> dict[str, float]:
    """Real numbers by name, as floats; `giver` is who may have added them."""
    added = f", added by {giver}" if giver else ""
    found = {}
    for name, value in values.items():
        if not isinstance(name, str) or name == "epoch":
            raise TypeError(
                "the name of a score must be a string, other than 'epoch', got "
                f"{name!r}{added}"
            )
        if type(value) is float:  # as nearly always
            found[name] = value
            continue
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        try:
            if not isinstance(value, numbers.Real | np.bool_):
                raise TypeError
            found[name] = float(value)
        except (TypeError, OverflowError):
            raise TypeError(
                f"score {name!r} must be a number, got {value!r}{added}"
            ) from None
    return found


def fraction(name: str, value: object) -> float:
    return real(name, value, "a number in [0, 1]", lambda v: 0 <= v <= 1)


def nonnegative(name: str, value: object) -> float:
    return real(name, value, "a finite number >= 0", lambda v: 0 <= v < np.inf)


def finite_number(name: str, value: object) -> float:
    return real(name, value, "a finite number", math.isfinite)


def below_one(name: str, value: object) -> float:
    return real(name, value, "a number in [0, 1)", lambda v: 0 <= v < 1)


def positive(name: str, value: object) -> float:
    return real(name, value, "a finite number > 0", lambda v: 0 < v < np.inf)


def count(name: str, value: Any) -> int:
    """`value` as an int, if it is a whole number of at least 1 that int64 can hold."""
    message = f"{name} must be an integer >= 1, got {value!r}"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(message) from None
    if number < 1:
        raise ValueError(message)
    if number >= 2**63:
        raise ValueError(f"{name} must be an integer < 2**63, got {value!r}")
    return number


def at_most(name: str, value: Any, most: int) -> int:
    """A whole number from 1 to `most`."""
    number = count(name, value)
    if number > most:
        raise ValueError(f"{name} must be at most {most}, got {value!r}")
    return number


def counts(name: str, value: Any) -> int | tuple[int, ...]:
    """A whole number of at least 1, or a sequence of such."""
    if isinstance(value, Sequence | np.ndarray) and np.ndim(value) == 1 and len(value):
        return tuple(count(name, each) for each in value)
    return count(name, value)


def columns(name: str, value: Any) -> tuple[int, ...]:
    """Numbers of columns, each once."""
    each = value if isinstance(value, Iterable) else [value]
    found = tuple(unsigned(name, number, 63) for number in each)
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"{name} must be numbers of columns, at least one and each once, got "
            f"{value!r}"
        )
    return found


def some_columns(name: str, value: Any) -> tuple[int, ...] | None:
    """Those, or None for all."""
    return None if value is None else columns(name, value)


def within(
    name: str, columns: tuple[int, ...] | None, features: int
) -> tuple[int, ...]:
    """The numbers of the columns, all of them for None, if there are such."""
    if columns is None:
        return tuple(range(features))
    if max(columns) >= features:
        raise ValueError(
            f"{name} must be less than {features}, the number of features, got "
            f"{max(columns)}"
        )
    return columns


def fields(instance: object, **checks: Callable[[str, Any], Any]) -> None:
    """Check these fields of a frozen dataclass, and keep what the checks return."""
    for name, check in checks.items():
        object.__setattr__(instance, name, check(name, getattr(instance, name)))


def extents(name: str, shape: Any) -> tuple[int, ...]:
    """Those of an array of that shape."""
    message = f"{name} must be an extent or a tuple of them, each >= 0, got {shape!r}"
    try:
        found = tuple(operator.index(n) for n in np.atleast_1d(shape).tolist())
    except (TypeError, ValueError):
        raise TypeError(message) from None
    if any(extent < 0 for extent in found):
        raise ValueError(message)
    largest = np.iinfo(np.intp).max
    if max(found, default=0) > largest or math.prod(found) > largest:
        raise ValueError(f"{name} must not exceed the memory, got {shape!r}")
    return found


def mode(value: Any) -> Mode:
    if value not in ("inverted", "classic", "alpha"):
        raise ValueError(
            f"mode must be 'inverted', 'classic' or 'alpha', got {value!r}"
        )
    return cast("Mode", value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def unsigned(name: str, value: Any, bits: int = 64) -> int:
    """`value` as an int of that many bits."""
    message = f"{name} must be an integer in [0, 2**{bits}), got {value!r}"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(message) from None
    if not 0 <= number < 2**bits:
        raise ValueError(message)
    return number


def seed(value: Any) -> int:
    """`value` as 64 bits; None draws them."""
    return _core.random_seed() if value is None else unsigned("seed", value)


def float_dtype(value: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(object if value is None else value)
    except TypeError:
        dtype = np.dtype(object)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {value!r}")
    return dtype


def choice(
    kind: str,
    value: object,
    known: Mapping[str, T],
    wanted: type[T],
    meant: Mapping[str, str],
    nearest: Mapping[str, str],
) -> T:
    """The object itself, or the known one of that name."""
    if isinstance(value, wanted):
        return value
    if isinstance(value, str):
        return known[named(kind, value, sorted(known), meant, nearest)]
    own = isinstance(value, type) and issubclass(value, wanted)
    hint = f"; use {value.__name__}()" if own else ""  # type: ignore[attr-defined]
    raise TypeError(
        f"unknown {kind} {value!r}; known are {', '.join(sorted(known))}{hint}"
    )


def named(
    kind: str,
    value: str,
    known: Sequence[str],
    meant: Mapping[str, str],
    nearest: Mapping[str, str],
) -> str:
    """The one of the known names that `value` means, in any case and with any marks.

    Names that other libraries have for the same are in `meant`, those for something
    else in `nearest`: as `_plain` writes them, with the known name or what to say.
    """
    if value in known:
        return value
    plain = {_plain(name): name for name in known} | dict(meant)
    if _plain(value) in plain:
        return plain[_plain(value)]
    hint = nearest.get(_plain(value))
    if hint is None:
        import difflib  # takes a millisecond

        close = difflib.get_close_matches(_plain(value), plain, n=1, cutoff=0.75)
        hint = f"{plain[close[0]]!r}" if close else None
    said = "" if hint is None else f"; nearest is {hint}"
    raise ValueError(f"unknown {kind} {value!r}; known are {', '.join(known)}{said}")


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def numeric(name: str, value: ArrayLike, hint: str = "") -> Array:
    """`value` as an array of bools, integers or real numbers; `hint` is for strings."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            f"{name} must have rows of one length, got an inhomogeneous sequence"
        ) from None
    if array.dtype.kind not in "biuf":
        found = _instead(array, hint)
        raise TypeError(f"{name} must hold real numbers, got dtype {found}")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be masked; fill or drop the missing values")
    return array


def _instead(array: Array, hint: str) -> str:
    """What there is in place of real numbers."""
    if array.dtype != object:
        return f"{array.dtype}{hint if array.dtype.kind in 'TU' else ''}"
    for value in array.flat:
        if not isinstance(value, numbers.Real | np.bool_):
            kind = type(value).__name__
            return f"object with {kind}{hint if isinstance(value, str) else ''}"
    return "object; use astype(float)"


def rows(name: str, value: ArrayLike, dtype: np.dtype[Any], features: int = 0) -> Array:
    """`value` as a C-contiguous (rows, features) array; 0 allows any width."""
    array = numeric(name, value)
    if array.ndim != 2:
        hint = {
            0: "",
            1: "; use reshape(-1, 1) for one feature, reshape(1, -1) for one row",
        }.get(array.ndim, "; use reshape(len(x), -1)")
        raise ValueError(
            f"{name} must be 2-d (rows, features), got shape {array.shape}{hint}"
        )
    if features and array.shape[1] != features:
        raise ValueError(f"{name} must have {features} features, got {array.shape[1]}")
    return convert(array, dtype)


def convert(array: Array, dtype: np.dtype[Any]) -> Array:
    """`array` itself where it already is C-contiguous and of `dtype`, else a copy."""
    with np.errstate(over="ignore"):  # becomes infinite, which finite() reports
        return np.ascontiguousarray(array, dtype)


def weights(name: str, value: ArrayLike, like: Array) -> Array:
    """`value` as an array of the shape and dtype of `like`, which holds its numbers."""
    given = numeric(name, value)
    if given.shape != like.shape:
        raise ValueError(f"{name} must have shape {like.shape}, got {given.shape}")
    made = convert(given, like.dtype).reshape(like.shape)
    lost = np.isinf(made) & np.isfinite(given)
    if lost.any():
        raise ValueError(
            f"{name} must hold what {like.dtype} can, got {given[lost].flat[0]}"
        )
    return made


def assign(name: str, value: ArrayLike, array: Array) -> None:
    """Copy the numbers of `value` into `array`, of the same shape."""
    array[...] = weights(name, value, array)


def file(name: str, path: str) -> None:
    """Raise OSError where there is something that is no file: a pipe could block."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        folder = stat.S_ISDIR(mode)
        kind = IsADirectoryError if folder else OSError
        found = "folder" if folder else "pipe or device"
        raise kind(f"{name} must be that of a file, got the {found} {path!r}")


def output(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise unless `out` is a writable array of that shape and dtype."""
    expected = f"out must be a writable {dtype} array {shape}, got "
    if not isinstance(out, np.ndarray):
        raise TypeError(expected + repr(out))
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        kind = "" if out.flags.writeable else "read-only "
        raise ValueError(f"{expected}{kind}{out.dtype} {out.shape}")


def finite(name: str, array: Array) -> None:
    """Raise ValueError unless all values of the (rows, columns) `array` are finite."""
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} must be finite in {array.dtype}, got {bad.sum()} that are not, "
            f"the first ({array[row, column]}) in row {row}, column {column}"
        )
