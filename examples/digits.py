"""Handwritten digits: a relu net with dropout learns scikit-learn's 1797 small images.

Five stratified splits: every image is in one test set. Prints the accuracy on each and
the pair most often confused; draws the misread digits as ``out/digits.png``.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

import lamina as lm


def draw(images, truth, read, path):
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    wrong = np.flatnonzero(read != truth)
    for cell, i in zip(figure.subplots(2, 12).flat, wrong, strict=False):
        cell.imshow(images[i].reshape(8, 8), cmap="gray_r")
        cell.set_title(f"{truth[i]} as {read[i]}", fontsize=9)
    for cell in figure.axes:
        cell.axis("off")
    figure.suptitle(f"{len(wrong)} of {len(truth)} test digits are misread")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def main(epochs=30):
    """Mean test accuracy."""
    x, y = load_digits(return_X_y=True)
    x, read, accuracies = x / 16, y.copy(), []
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(x, y)
    for seed, (train, test) in enumerate(folds):
        first = lm.Dense(256, activation="relu"), lm.Dropout(0.4)
        second = lm.Dense(128, activation="relu"), lm.Dropout(0.3)
        net = lm.Sequential([*first, *second, lm.Dense(10, "softmax")], seed=seed)
        shown = int(seed == 0)
        net.fit(
            x[train], y[train], epochs=epochs, optimizer=lm.Adam(2e-3), verbose=shown
        )
        net.fit(x[train], y[train], epochs=10, optimizer=lm.Adam(3e-4), verbose=shown)
        read[test] = net.predict(x[test]).argmax(axis=1)
        accuracies.append(net.evaluate(x[test], y[test])["accuracy"])
        print(f"split {seed}: test accuracy {accuracies[-1]:.4f}")
    print(f"mean of 5: {np.mean(accuracies):.4f}")
    pairs, counts = np.unique(
        np.sort([y, read], 0)[:, y != read], axis=1, return_counts=1
    )
    a, b = pairs[:, counts.argmax()]
    print(f"most often confused: {a} and {b}, {counts.max()} times of {counts.sum()}")
    draw(x, y, read, Path("out", "digits.png"))
    print("misread digits: out/digits.png")
    return float(np.mean(accuracies))


if __name__ == "__main__":
    main()
