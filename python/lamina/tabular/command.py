"""`python -m lamina fit` and `predict`: nets of a table without a line of Python."""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.tabular.estimators import TableClassifier, TableRegressor, load

__all__ = ["fit", "predict"]

_MOST_CLASSES = 20
_DECIMAL = re.compile(r"-?\d+(,\d+)?")


def fit(
    path: str,
    target: str,
    save: str,
    preset: str,
    kind: str | None,
    limit: float | None,
) -> None:
    """Read, learn, print what came of it, save."""
    table = _read(path)
    if target not in table.columns:
        raise ValueError(
            f"target must be a column of {path} ({_some(table.columns)}), got "
            f"{target!r}"
        )
    _require_writable(save)
    importlib.import_module("safetensors")
    y = table.pop(target)
    if not len(table) or not len(table.columns):
        raise ValueError(f"{path} must have a row and a column besides the target")
    gaps = y.isna().to_numpy()
    if gaps.any():
        raise ValueError(
            f"{path} must have no gaps in the target {target!r}, got one in row "
            f"{int(gaps.argmax()) + 1}"
        )
    chosen: Any = TableClassifier if _classifies(y, kind) else TableRegressor
    if chosen is TableRegressor and not _is_number(y):
        raise ValueError(f"target {target!r} of {path} must hold numbers, got text")
    est = chosen(preset, time_limit=limit, verbose=True)
    est.fit(table, y.to_numpy())
    est.save(save)
    print(f"{path}: {len(table)} rows, {len(est.columns_)} columns")
    for column in est.columns_:
        print(f"  {column}")
    classes = getattr(est, "classes_", None)
    what = "numbers" if classes is None else f"{len(classes)} classes, {_some(classes)}"
    print(f"{target}: {what}")
    for name, value in est.scores_.items():
        print(f"  {name.replace('_', ' '):18} {value:.4g}")
    if est.scores_:
        print("  (of rows held out, which chose the epochs)")
    print(f"saved in {save}")


def predict(net: str, path: str, save: str | None) -> None:
    """Read nets and table, and write a column of answers, of classes also how probable
    each is."""
    if save is not None:
        _require_writable(save)
    est = load(net)
    table = _read(path, [c.name for c in est.columns_ if c.kind == "category"])
    pandas = importlib.import_module("pandas")
    found = np.asarray(est.predict(table))
    columns = {"prediction": found} if found.ndim == 1 else {}
    if found.ndim == 2:
        columns = {f"prediction {i}": found[:, i] for i in range(found.shape[1])}
    if isinstance(est, TableClassifier):
        p = est.predict_proba(table)
        columns |= {f"p({c})": p[:, i] for i, c in enumerate(est.classes_)}
    answers = pandas.DataFrame(columns)
    answers.to_csv(sys.stdout if save is None else save, index=False)
    if save is not None:
        print(f"{len(answers)} rows in {save}")


def _read(path: str, texts: Sequence[str] = ()) -> Any:
    """A frame; the columns `texts` as they are written."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise ImportError(
            "a CSV file needs pandas; use pip install lamina[tabular]"
        ) from error
    with open(path, "rb") as file:  # raises what Python raises for a missing file
        names = file.readline()
    mark = max(",;\t", key=lambda mark: names.count(mark.encode()))
    read = functools.partial(
        pandas.read_csv, path, sep=mark, skipinitialspace=True, index_col=False
    )
    try:
        with warnings.catch_warnings():  # of rows with a mark too many
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            first = read(header=None, nrows=1, dtype=str).iloc[0]
            header = [
                f"Unnamed: {i}" if name != name else str(name).strip()
                for i, name in enumerate(first)
            ]
            twice = {name for name in header if header.count(name) > 1}
            if twice:
                raise ValueError(f"it has two columns {min(twice)!r}")
            read = functools.partial(
                read,
                header=0,
                names=header,
                dtype={name: str for name in texts if name in header},
                low_memory=False,  # a column is text in all rows or in none
            )
            table = read()
            others = table.drop(columns=list(texts), errors="ignore")
            if mark == ";" and any(map(_has_commas, others.items())):
                table = read(decimal=",")
    except (ValueError, pandas.errors.ParserWarning) as error:
        raise ValueError(f"{path} must be a CSV file: {str(error).strip()}") from error
    return table


def _has_commas(column: tuple[str, Any]) -> bool:
    """Whether it holds numbers whose fractions come after a comma."""
    there = column[1].dropna()
    return bool(len(there)) and all(
        isinstance(v, str) and _DECIMAL.fullmatch(v.strip()) for v in there
    )


def _classifies(y: Any, kind: str | None) -> bool:
    if kind is not None:
        return kind == "classes"
    if not _is_number(y) or y.dtype.kind == "b":
        return True
    return bool((y == y.round()).all()) and y.nunique() <= _MOST_CLASSES


def _is_number(y: Any) -> bool:
    return getattr(y.dtype, "kind", "O") in "biuf"


def _some(names: Any) -> str:
    found = [str(name) for name in names]
    return ", ".join(found[:8]) + (" ..." if len(found) > 8 else "")


def _require_writable(path: str) -> None:
    """Raise before the training rather than after it."""
    if Path(path).is_dir():
        raise OSError(f"save must name a file, got the folder {path}")
    folder = Path(path).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"save must be in a folder that can be written, got {path}")
