"""A table of mixed columns: `lamina.tabular` beside scikit-learn's own estimators.

Trains on scikit-learn's breast cancer with some numbers made categories, and some
gaps, as tables have them. Prints a row of accuracy, AUC, log-loss and seconds for each,
as the board of `bench/tabular` has them, what counted most, and each column's kind.
"""

import time

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

from lamina.tabular import TableClassifier


def table():
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    x["mean radius"] = pd.cut(x["mean radius"], 12).astype(str)
    x["mean texture"] = pd.qcut(x["mean texture"], 3, ["smooth", "usual", "rough"])
    x.loc[np.random.default_rng(0).random(len(x)) < 0.2, "mean area"] = np.nan
    return x, np.where(y == 1, "benign", "malignant")


def main(preset="default"):
    x, y = table()
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
    estimators = {
        f"Lamina {preset}": TableClassifier(preset),
        "HistGradientBoosting": HistGradientBoostingClassifier(
            categorical_features="from_dtype", random_state=0
        ),
    }
    rows = {}
    print(f"{'':22}accuracy     AUC  log-loss  seconds")
    for name, est in estimators.items():
        started = time.process_time()
        frame = x.assign(**{"mean radius": x["mean radius"].astype("category")})
        est.fit(frame, y)
        seconds = time.process_time() - started
        test = x_test.assign(
            **{"mean radius": x_test["mean radius"].astype(frame["mean radius"].dtype)}
        )
        p = est.predict_proba(test)
        right = (est.classes_[p.argmax(axis=1)] == y_test).mean()
        auc = roc_auc_score(y_test == "malignant", p[:, 1])
        rows[name] = right, auc, log_loss(y_test, p), seconds
        print(f"{name:22}{right:8.4f}{auc:8.4f}{rows[name][2]:10.4f}{seconds:9.2f}")
    own = estimators[f"Lamina {preset}"]
    print("columns:", *map(str, own.columns_[:4]), "...", sep="\n  ")
    print("what counts:", ", ".join(own.explain(x).ranked[:3]))
    return rows


if __name__ == "__main__":
    main()
