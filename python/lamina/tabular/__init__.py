"""From a table to nets, without a knob that must be turned.

`TableClassifier` and `TableRegressor` take frames of pandas, polars or pyarrow, or
arrays. Needs scikit-learn: ``pip install lamina[tabular]``; ``import lamina`` does not
load this module.
"""

try:
    from lamina.tabular.estimators import TableClassifier, TableRegressor, load
except ModuleNotFoundError as error:
    raise ImportError(
        "lamina.tabular needs scikit-learn; use pip install lamina[tabular]"
    ) from error

__all__ = ["TableClassifier", "TableRegressor", "load"]
