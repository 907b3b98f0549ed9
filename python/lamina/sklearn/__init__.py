"""scikit-learn's nets by Lamina: change the import, and all else stays.

`MLPClassifier` and `MLPRegressor` have the parameters, attributes and methods of those
in ``sklearn.neural_network``, and what was asked for there: dropout, any activation,
losses, class weights, validation data, callbacks. Needs scikit-learn: ``pip install
lamina[sklearn]``; ``import lamina`` does not load this module.
"""

try:
    from lamina.sklearn.estimators import MLPClassifier, MLPRegressor
except ModuleNotFoundError as error:
    raise ImportError(
        "lamina.sklearn needs scikit-learn; use pip install lamina[sklearn]"
    ) from error

__all__ = ["MLPClassifier", "MLPRegressor"]
