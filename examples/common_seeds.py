"""Why settings are compared on the same seeds: the differences scatter far less.

Two rates of dropout learn scikit-learn's digits, on five folds with many seeds. Prints
the variance of the difference of their losses: by pairs of the same fold and seed, as
`lamina.compare` takes them; of the same fold and other seeds; of other folds, too.
"""

import numpy as np
from sklearn.datasets import load_digits

import lamina as lm


def build(dropout, seed):
    return lm.Sequential(
        [lm.Dense(64, "relu"), lm.Dropout(dropout), lm.Dense(10, "softmax")], seed=seed
    )


def main(seeds=20, epochs=40):
    """How many times larger the variance is with other seeds, and other folds, too."""
    x, y = load_digits(return_X_y=True)
    table = lm.compare(
        build,
        x / 16,
        y,
        vary={"dropout": [0.3, 0.4]},
        fit={"epochs": epochs, "optimizer": lm.Adam(1e-3)},
        folds=5,
        seeds=seeds,
        diagnose=False,
    )
    print(table)
    # Losses of each setting, a row for each fold and a column for each seed.
    one, other = (table.values("loss", place).reshape(5, seeds) for place in (0, 1))
    paired = one - other
    by_seed = [one - np.roll(other, k, axis=1) for k in range(1, seeds)]
    by_both = [
        one - np.roll(other, (i, k), axis=(0, 1))
        for i in range(1, 5)
        for k in range(1, seeds)
    ]
    print("variance of the difference:")
    variances = []
    for name, gaps in {
        "same fold, same seed": [paired],
        "same fold, another seed": by_seed,
        "another fold and seed": by_both,
    }.items():
        variances.append(np.var(gaps))
        print(f"    {name:24} {variances[-1]:.2e}  {variances[-1] / variances[0]:5.1f}")
    return variances[1] / variances[0], variances[2] / variances[0]


if __name__ == "__main__":
    main()
