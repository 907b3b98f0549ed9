"""`lamina.sklearn` beside scikit-learn's own nets: a Markdown table of medians.

Both sides take turns in one process, on the same rows with the same settings; before
that they must predict the same, by `exact=True`. Fits have a fixed number of epochs, so
that both take as many steps. Exits with 1 where a ratio is below its floor.

    python bench/estimators.py [--threads default] [--rounds 7] [-k NAME]
"""

import argparse
import contextlib
import sys
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import sklearn.neural_network
import threadpoolctl
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV

import lamina as lm
import lamina.sklearn

Work = Callable[[], Any]


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


def seconds(work: Work) -> float:
    """Of a call, from as many as take a hundredth of a second."""
    calls, spent = 0, 0.0
    start = time.perf_counter()
    while spent < 0.01:
        work()
        calls, spent = calls + 1, time.perf_counter() - start
    return spent / calls


def shown(value: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1:
            return f"{value * scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", choices=["1", "default"], default="1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-k", default="", help="part of a name")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of convergence
    require_same_predictions()
    missed = 0
    with contextlib.ExitStack() as stack:
        if options.threads == "1":
            lm.set_num_threads(1)
            stack.enter_context(threadpoolctl.threadpool_limits(1))
        print("| | scikit-learn | Lamina | ratio | floor |\n|---|---|---|---|---|")
        for case in CASES:
            if options.k not in case.name:
                continue
            works = case.make(sklearn.neural_network), case.make(lamina.sklearn)
            for work in works:
                work()
            turns = [[seconds(work) for work in works] for _ in range(options.rounds)]
            theirs, mine = (median(side) for side in zip(*turns, strict=True))
            ratio = median(a / b for a, b in turns)
            missed += ratio < case.floor
            star = " *" if ratio < case.floor else ""
            print(
                f"| {case.name} | {shown(theirs)} | {shown(mine)} | {ratio:.1f}{star} "
                f"| {case.floor} |",
                flush=True,
            )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
