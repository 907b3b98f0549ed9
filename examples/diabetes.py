"""Regression: the course of diabetes a year on, from ten measurements (442 patients).

Little of it can be foretold, and nearly all of that by a straight line: a small net
with an l2 penalty is compared with ridge regression whose penalty cross-validation
chooses. Prints R^2 of both, over the test sets of three times five splits.
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lamina as lm


def main(repeats=3):
    """Mean R^2 of the net and of ridge regression."""
    x, y = load_diabetes(return_X_y=True)
    splits = RepeatedKFold(n_splits=5, n_repeats=repeats, random_state=0)
    scores = []
    for seed, (train, test) in enumerate(splits.split(x)):
        net = lm.Sequential(
            [
                lm.Standardize(),
                lm.Dense(32, activation="relu", l2=0.1),
                lm.Dense(1, l2=0.1),
            ],
            seed=seed,
        )
        centre, scale = y[train].mean(), y[train].std()
        target = (y[train] - centre) / scale
        net.fit(x[train], target, epochs=30, optimizer=lm.Adam(3e-3), verbose=0)
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 20)))
        ridge.fit(x[train], y[train])
        guesses = net.predict(x[test]).ravel() * scale + centre, ridge.predict(x[test])
        scores.append([r2_score(y[test], guess) for guess in guesses])
    ours, theirs = map(float, np.mean(scores, axis=0))
    better = sum(a > b for a, b in scores)
    print(f"mean R^2 of {len(scores)} splits: net {ours:.3f}, ridge {theirs:.3f}")
    print(f"the net is better on {better} of {len(scores)}")
    return ours, theirs


if __name__ == "__main__":
    main()
