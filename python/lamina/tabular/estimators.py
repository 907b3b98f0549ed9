"""Both estimators, and `load`, which makes either again from its file."""

from __future__ import annotations

import os
from typing import Any

from lamina.tabular import files
from lamina.tabular.classifier import TableClassifier
from lamina.tabular.regressor import TableRegressor

__all__ = ["TableClassifier", "TableRegressor", "load"]


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that its `save` wrote.

    It gives the same answers, bit for bit; nothing in the file is run. What only `fit`
    knows is not in it: `history_` is empty, `explain` must be given targets, a
    `random_state` that was a generator is None.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    TableClassifier or TableRegressor

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no estimator, or was damaged.
    ImportError
        safetensors is not installed: ``pip install lamina[files]``.
    """
    return files.load(path, [TableClassifier, TableRegressor])
