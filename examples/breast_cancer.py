"""A diagnosis of breast tissue from 30 measurements of cell nuclei (569 patients).

One sigmoid output; binary cross-entropy follows from it. Standardize learns the scales
of the measurements from the training rows alone. Prints the test accuracy of ten
stratified splits.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import RepeatedStratifiedKFold

import lamina as lm


def main(repeats=2):
    """Mean accuracy over 5 * `repeats` test sets."""
    x, y = load_breast_cancer(return_X_y=True)
    splits = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
    accuracies = []
    for seed, (train, test) in enumerate(splits.split(x, y)):
        net = lm.Sequential(
            [
                lm.Standardize(),
                lm.Dense(64, activation="relu"),
                lm.Dropout(0.5),
                lm.Dense(1, activation="sigmoid"),
            ],
            seed=seed,
        )
        net.fit(x[train], y[train], epochs=40, verbose=0)
        accuracies.append(net.evaluate(x[test], y[test])["accuracy"])
        print(f"split {seed}: test accuracy {accuracies[-1]:.4f}")
    mean = float(np.mean(accuracies))
    print(f"mean of {len(accuracies)}: {mean:.4f}")
    return mean


if __name__ == "__main__":
    main()
