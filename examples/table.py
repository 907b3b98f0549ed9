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
    x["mean radius"] = pd.cut(x["mean radius"], 12).astype(str).astype("category")
    x["mean texture"] = pd.qcut(x["mean texture"], 3, ["smooth", "usual", "rough"])
    x.loc[np.random.default_rng(0).random(len(x)) < 0.2, "mean area"] = np.nan
    return x, np.where(y == 1, "benign", "malignant")


def main(preset="default"):
    x, y = table()
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
    own = TableClassifier(preset)
    trees = HistGradientBoostingClassifier(random_state=0)
    aucs = []
    print(f"{'':22}accuracy     AUC  log-loss  seconds")
    for name, est in [(f"Lamina {preset}", own), ("HistGradientBoosting", trees)]:
        started = time.process_time()
        est.fit(x, y)
        seconds = time.process_time() - started
        p = est.predict_proba(x_test)
        right = est.score(x_test, y_test)
        aucs.append(roc_auc_score(y_test == "malignant", p[:, 1]))
        loss = log_loss(y_test, p)
        print(f"{name:22}{right:8.4f}{aucs[-1]:8.4f}{loss:10.4f}{seconds:9.2f}")
    print("columns:", *map(str, own.columns_[:4]), "...", sep="\n  ")
    print("what counts:", ", ".join(own.explain(x).ranked[:3]))
    return aucs


if __name__ == "__main__":
    main()
