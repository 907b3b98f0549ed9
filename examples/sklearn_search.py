"""A search over dropout and width on scikit-learn's digits, by scikit-learn itself.

`lamina.sklearn` in place of `sklearn.neural_network`: everything of scikit-learn works
on, and parameters that it does not have can be searched. Prints the best settings and
writes out/sklearn_search.png: accuracy by dropout for each width.
"""

import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split

from lamina.sklearn import MLPClassifier

RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
WIDTHS = [16, 64, 256]


def picture(search, path):
    scores = search.cv_results_["mean_test_score"].reshape(len(RATES), len(WIDTHS))
    errors = search.cv_results_["std_test_score"].reshape(scores.shape)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for column, width in enumerate(WIDTHS):
        axes.errorbar(
            RATES,
            scores[:, column],
            errors[:, column] / np.sqrt(search.n_splits_),
            marker="o",
            capsize=3,
            label=f"{width} units",
        )
    axes.set(xlabel="dropout", ylabel="accuracy, mean of the folds")
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(epochs=60, folds=5):
    """Accuracy on rows that the search has not seen."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
    net = MLPClassifier(
        depth=2, max_iter=epochs, learning_rate_init=3e-3, random_state=0
    )
    search = GridSearchCV(net, {"dropout": RATES, "width": WIDTHS}, cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all have as many epochs
        search.fit(x_train, y_train)
    accuracy = search.score(x_test, y_test)
    print(f"{len(search.cv_results_['params'])} settings, {folds} folds each")
    print(f"best: {search.best_params_}, {search.best_score_:.4f} in cross-validation")
    print(f"test accuracy {accuracy:.4f}")
    path = Path("out/sklearn_search.png")
    picture(search, path)
    print(f"picture in {path}")
    return accuracy


if __name__ == "__main__":
    main()
