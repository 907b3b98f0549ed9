"""A CSV of one's own as inputs and targets, and the nets of the command line."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina._checks import Array
from lamina.layers import Dense, Dropout, Layer, Standardize
from lamina.model import Sequential

__all__ = ["Data", "builder", "read"]

_MOST_CLASSES = 20


@dataclasses.dataclass(frozen=True)
class Data:
    """The columns of a file.

    Attributes
    ----------
    x : (n, features) array
    y : (n,) array
        Numbers, or those of the classes.
    features : list of str
    classes : list of str or None
        Names of the classes, in the order of their numbers; None: y is a quantity.
    """

    x: Array
    y: Array
    features: list[str]
    classes: list[str] | None

    def __str__(self) -> str:
        kind = (
            f"{len(self.classes)} classes ({', '.join(self.classes[:5])}"
            f"{' ...' if len(self.classes) > 5 else ''})"
            if self.classes
            else "numbers"
        )
        return f"{len(self.x)} rows, {len(self.features)} features; target: {kind}"


def read(path: str | os.PathLike[str], target: str) -> Data:
    """A file with a line of names, whose other columns hold numbers.

    The target is a class where it holds text, or at most twenty different whole
    numbers; otherwise a quantity.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        An unknown column, text, gaps, lines of other lengths, no rows.
    """
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = [line for line in csv.reader(file) if line]
    names = [name.strip() for name in lines[0]] if lines else []
    if target not in names:
        raise ValueError(
            f"target must be a column of {path} ({', '.join(names) or 'none'}), got "
            f"{target!r}"
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{path} must have different columns, got {twice[0]!r} twice")
    if len(names) < 2 or len(lines) < 2:
        raise ValueError(f"{path} must have a row and a column besides the target")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise ValueError(
                f"{path} must have {len(names)} values in each line, got {len(line)} "
                f"in line {number}"
            )
    columns = dict(zip(names, zip(*lines[1:], strict=True), strict=True))
    texts = [text.strip() for text in columns.pop(target)]
    if "" in texts:
        raise ValueError(
            f"{path} must have no gaps, got one in column {target!r}, line "
            f"{texts.index('') + 2}"
        )
    x = np.stack([_numbers(path, *column) for column in columns.items()], axis=1)
    y, classes = _target(texts)
    return Data(x, y, list(columns), classes)


def builder(data: Data) -> Callable[..., Sequential]:
    """A function that builds nets for those data."""

    def build(
        activation: str = "relu",
        depth: int = 2,
        width: int = 64,
        dropout: float = 0.0,
        l2: float = 0.0,
        kernel_initializer: str = "auto",
        standardize: bool = True,
        seed: int = 0,
    ) -> Sequential:
        layers: list[Layer] = [Standardize()] if standardize else []
        for _ in range(depth):
            layers += [
                Dense(width, activation, l2=l2, kernel_initializer=kernel_initializer),
                Dropout(dropout),
            ]
        last = Dense(1) if data.classes is None else _classifier(len(data.classes))
        return Sequential([*layers, last], seed=seed)

    return build


def _classifier(count: int) -> Dense:
    return Dense(1, "sigmoid") if count == 2 else Dense(count, "softmax")


def _numbers(path: Any, name: str, column: tuple[str, ...]) -> Array:
    found = np.empty(len(column))
    for i, text in enumerate(column):
        try:
            found[i] = float(text) if text.strip() else np.nan
        except ValueError:
            raise ValueError(
                f"{path} must hold numbers, got {text!r} in column {name!r}, line "
                f"{i + 2}"
            ) from None
        if not np.isfinite(found[i]):
            what = repr(text) if text.strip() else "a gap"
            raise ValueError(
                f"{path} must have no gaps, got {what} in column {name!r}, line {i + 2}"
            )
    return found


def _target(texts: list[str]) -> tuple[Array, list[str] | None]:
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        names, codes = np.unique(texts, return_inverse=True)
        return codes.astype(np.int64), names.tolist()
    if not np.isfinite(numbers).all():
        line = int(np.isfinite(numbers).argmin()) + 2
        raise ValueError(
            f"target must have no gaps, got {texts[line - 2]!r} in line {line}"
        )
    values, codes = np.unique(numbers, return_inverse=True)
    if len(values) <= _MOST_CLASSES and (values == values.round()).all():
        return codes.astype(np.int64), [f"{value:g}" for value in values]
    return numbers, None
