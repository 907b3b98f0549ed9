"""One fit in a process of its own: a line of JSON.

python -m tabular.job LEARNER TABLE SEED
"""

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    roc_auc_score,
    root_mean_squared_error,
)

from tabular.learners import LEARNERS
from tabular.tables import REGRESSIONS, split


def run(learner: str, table: str, seed: int) -> dict[str, Any]:
    """Scores on the fifth held back, and seconds of the processor."""
    regression = table in REGRESSIONS
    rows = split(table, seed)
    model = LEARNERS[learner][0](regression, seed)
    start = time.process_time()
    model.fit(rows.x, rows.y)
    fitted = time.process_time()
    answer = (model.predict if regression else model.predict_proba)(rows.x_test)
    ended = time.process_time()
    key = {"learner": learner, "table": table, "seed": seed}
    spent = {"fit": fitted - start, "predict": ended - fitted}
    return key | scores(regression, rows.y_test, answer) | spent


def scores(regression: bool, y: Any, answer: Any) -> dict[str, float]:
    if regression:
        return {"rmse": root_mean_squared_error(y, np.ravel(answer))}
    p = np.asarray(answer, np.float64)
    p = np.clip(p, 1e-7, 1)  # an honest forest says 0, whose logarithm has no end
    p /= p.sum(axis=1, keepdims=True)
    binary = p.shape[1] == 2
    return {
        "accuracy": accuracy_score(y, p.argmax(axis=1)),
        "auc": roc_auc_score(y, p[:, 1] if binary else p, multi_class="ovr"),
        "log_loss": log_loss(y, p),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(run(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
