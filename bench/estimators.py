"""`lamina.sklearn` beside scikit-learn's own nets: a Markdown table of medians.

Both sides take turns in one process, on the same rows with the same settings; before
that they must predict the same, by `exact=True`. Fits have a fixed number of epochs, so
that both take as many steps. Exits with 1 where a ratio is below its floor.

    python bench/estimators.py [--threads default] [--rounds 7] [-k NAME]
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import sklearn.neural_network
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV

import lamina.sklearn
from duels import Duel, Work, run


class Case(NamedTuple):
    name: str
    floor: float  # of scikit-learn's time by ours
    make: Callable[[Any], Work]  # from a module of estimators


def rows(n: int, features: int, dtype: str = "float32") -> tuple[Any, Any]:
    X, y = make_classification(n, features, random_state=0)
    return X.astype(dtype), y


def digits(dtype: str = "float64") -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(dtype), y


def words() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    n, features, each = 4000, 20_000, 60
    columns = rng.integers(0, features, n * each)
    starts = np.arange(0, n * each + 1, each)
    values = np.ones(n * each, np.float32)
    X = scipy.sparse.csr_matrix((values, columns, starts), (n, features))
    return X, rng.integers(0, 2, n)


def classifier(module: Any, **options: Any) -> Any:
    usual = {"random_state": 0, "tol": 0.0, "n_iter_no_change": np.inf}
    return module.MLPClassifier(**usual | options)


def fit(data: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    X, y = data(*arguments)
    return lambda module: lambda: classifier(module, **options).fit(X, y)


def partial_fit(module: Any) -> Work:
    X, y = digits()
    est = classifier(module).partial_fit(X[:32], y[:32], classes=range(10))
    return lambda: est.partial_fit(X[:32], y[:32])


def predict(module: Any, served: bool = False) -> Work:
    X, y = digits()
    est = classifier(module, max_iter=2).fit(X, y)
    if served and module is lamina.sklearn:
        return lambda: est.net_.predict(X[:1])
    return lambda: est.predict(X[:1])


def search(module: Any) -> Work:
    X, y = digits("float32")
    grid = {
        "hidden_layer_sizes": [(32,), (64,)],
        "alpha": [1e-4, 1e-2],
        "learning_rate_init": [1e-3, 3e-3, 1e-2],
        "batch_size": [32, 200],
    }
    est = module.MLPClassifier(random_state=0)
    return lambda: GridSearchCV(est, grid, cv=3, n_jobs=2).fit(X, y)


# Float64 has half the peak of float32, at which both sides' products run.
CASES = [
    Case("fit, 20 000 x 10, float32", 10, fit(rows, 20_000, 10, max_iter=10)),
    Case("fit, digits, float32", 5, fit(digits, "float32", max_iter=100)),
    Case("fit, digits, float64", 3.5, fit(digits, max_iter=100)),
    Case("partial_fit, 32 digits", 10, partial_fit),
    Case("predict, 1 digit", 1, predict),
    Case("net_.predict, 1 digit", 40, lambda module: predict(module, served=True)),
    Case("fit, sparse, 4 000 x 20 000", 1, fit(words, max_iter=1)),
    Case("GridSearchCV, 24 settings, n_jobs=2", 8, search),
]


def require_same_predictions() -> None:
    X, y = digits()
    kinds = lamina.sklearn.MLPClassifier, sklearn.neural_network.MLPClassifier
    mine = kinds[0](exact=True, random_state=0, max_iter=5).fit(X, y)
    theirs = kinds[1](random_state=0, max_iter=5).fit(X, y)
    np.testing.assert_allclose(
        mine.predict_proba(X), theirs.predict_proba(X), rtol=1e-12, atol=1e-12
    )


def duels() -> Iterator[Duel]:
    require_same_predictions()
    for case in CASES:

        def sides(make: Callable[[Any], Work] = case.make) -> tuple[Work, Work]:
            return make(sklearn.neural_network), make(lamina.sklearn)

        yield Duel(case.name, "scikit-learn", case.floor, sides)


if __name__ == "__main__":
    sys.exit(run(__doc__, duels()))
