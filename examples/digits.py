"""Handwritten digits: a relu net with dropout learns scikit-learn's 1 797 small images.

Five stratified 80/20 splits with five seeds; prints the accuracy of each on its test
rows, the pair of digits most often confused, and the speed of a few kernels against
NumPy. Saves learning curves and test digits with predictions as ``out/digits.png``.
"""

from pathlib import Path
from statistics import median
from time import perf_counter

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lamina as lm

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def train(x, y, seed, epochs=40, verbose=0):
    """A net, its history, and the test rows that it has not seen."""
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=seed
    )
    net = lm.Sequential(
        [
            lm.Dense(256, activation="relu"),
            lm.Dropout(0.5),
            lm.Dense(128, activation="relu"),
            lm.Dropout(0.3),
            lm.Dense(10, activation="softmax"),
        ],
        seed=seed,
    )
    history = net.fit(
        x_train,
        y_train,
        epochs=epochs,
        optimizer=lm.Adam(2e-3),
        validation_data=(x_test, y_test),
        verbose=verbose,
    )
    return net, history, x_test, y_test


def worst_pair(truth, predicted):
    """The two digits most often taken for each other, and how often each way."""
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (truth, predicted), 1)
    np.fill_diagonal(confusion, 0)
    both = np.triu(confusion + confusion.T)
    a, b = np.unravel_index(both.argmax(), both.shape)
    return a, b, confusion[a, b], confusion[b, a]


def race(ours, theirs, rounds=200):
    """Median microseconds of two functions, called in turn."""
    times = [], []
    for _ in range(rounds):
        for function, taken in zip((ours, theirs), times, strict=True):
            start = perf_counter()
            function()
            taken.append(perf_counter() - start)
    return [median(taken) * 1e6 for taken in times]


def kernel_speed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=16384).astype(np.float32)
    y, mask, zero = np.empty_like(x), np.empty_like(x), np.zeros_like(x)
    batch, kernel = (
        rng.normal(size=s).astype(np.float32) for s in ((32, 64), (64, 64))
    )
    bias, out = np.ones(64, np.float32), np.empty((32, 64), np.float32)

    def numpy_sigmoid():
        np.negative(x, out=y)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        np.reciprocal(y, out=y)

    def numpy_dropout():
        rng.random(dtype=np.float32, out=mask)
        np.multiply(x, np.float32(2), out=y)
        np.multiply(y, mask >= np.float32(0.5), out=y)

    def numpy_dense():
        np.matmul(batch, kernel, out=out)
        np.add(out, bias, out=out)
        np.maximum(out, 0, out=out)

    rows = {
        "tanh, 16 384": (lambda: lm.tanh(x, out=y), lambda: np.tanh(x, out=y)),
        "relu, 16 384": (lambda: lm.relu(x, out=y), lambda: np.maximum(x, zero, out=y)),
        "sigmoid, 16 384": (lambda: lm.sigmoid(x, out=y), numpy_sigmoid),
        "dropout, 16 384": (lambda: lm.dropout(x, 0.5, seed=1, out=y), numpy_dropout),
        "dense relu, 32 x 64 x 64": (
            lambda: lm.dense(batch, kernel, bias, "relu", out=out),
            numpy_dense,
        ),
    }
    print("\nNumPy as one would write it (`make bench` compares with its best forms)")
    print(f"{'float32':26}{'lamina':>10}{'NumPy':>10}{'ratio':>8}")
    for name, pair in rows.items():
        ours, theirs = race(*pair)
        print(f"{name:26}{ours:7.1f} us{theirs:7.1f} us{theirs / ours:8.1f}")


def draw(histories, images, truth, predicted, path):
    figure = plt.figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.2, 1])
    axes = left.subplots()
    for number, history in enumerate(histories):
        label = ("training, with dropout", "test") if number == 0 else (None, None)
        axes.plot(
            history.epochs, history["loss"], color="C0", alpha=0.5, label=label[0]
        )
        axes.plot(
            history.epochs, history["val_loss"], color="C1", alpha=0.5, label=label[1]
        )
    axes.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title="Five splits")
    axes.legend()
    wrong = np.flatnonzero(predicted != truth)[:8]
    shown = np.concatenate([wrong, np.flatnonzero(predicted == truth)])[:24]
    for cell, i in zip(right.subplots(4, 6).flat, shown, strict=True):
        cell.imshow(images[i].reshape(8, 8), cmap="gray_r")
        cell.set_title(predicted[i], color="C3" if i in wrong else "black", fontsize=9)
        cell.axis("off")
    right.suptitle("Predictions, wrong ones red")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)


def main(splits=5, epochs=40):
    x, y = load_digits(return_X_y=True)
    x = x / 16  # pixels from 0 to 1
    histories, accuracies, truths, predictions = [], [], [], []
    for seed in range(splits):
        net, history, x_test, y_test = train(x, y, seed, epochs, verbose=int(seed == 0))
        if seed == 0:
            print()
            net.summary()
            print()
        histories.append(history)
        accuracies.append(net.evaluate(x_test, y_test)["accuracy"])
        truths.append(y_test)
        predictions.append(net.predict(x_test).argmax(axis=1))
        print(f"split {seed}: test accuracy {accuracies[-1]:.4f}")
    print(f"mean of {splits}: {np.mean(accuracies):.4f}")
    a, b, one_way, other_way = worst_pair(
        np.concatenate(truths), np.concatenate(predictions)
    )
    print(
        f"worst pair: {a} taken for {b} {one_way} times, {b} for {a} {other_way} times"
    )
    kernel_speed()
    path = Path("out") / "digits.png"
    draw(histories, x_test, truths[-1], predictions[-1], path)
    print(f"\nlearning curves and test digits: {path}")
    return float(np.mean(accuracies))


if __name__ == "__main__":
    main()
