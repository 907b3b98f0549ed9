"""Sparse rows beside scikit-learn, SciPy and PyTorch: a Markdown table of medians.

Two matrices, 4 000 x 20 000 with 60 entries a row and 10 000 x 100 000 with 100, and a
net of 64 units of relu and one of sigmoid, in float32. All sides take turns in one
process; before that they must compute the same. Steps are those of an epoch in batches
of 64 rows, as each library trains: Lamina's `fit`, scikit-learn's `partial_fit`, a loop
over batches that are ready for PyTorch, whose best form is an ``EmbeddingBag`` with
weights, by `SparseAdam` or `SGD`: it moves the rows that a batch meets, and no others.
PyTorch is left out where it is not installed. Exits with 1 where a ratio is below its
floor.

    python bench/sparse.py [--threads default] [--rounds 5] [-k NAME]
"""

import argparse
import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import threadpoolctl
from sklearn.neural_network import MLPClassifier

import lamina as lm

try:
    import torch
except ImportError:
    torch = None

Work = Callable[[], Any]
BATCH, UNITS = 64, 64


class Data(NamedTuple):
    name: str
    x: Any
    y: Any

    @property
    def steps(self) -> int:
        return -(-len(self.y) // BATCH)


def data(n: int, features: int, each: int) -> Data:
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, features, (n, each), np.int32), axis=1).ravel()
    starts = np.arange(0, n * each + 1, each, dtype=np.int32)
    values = rng.random(n * each, np.float32)
    x = scipy.sparse.csr_matrix((values, columns, starts), (n, features))
    return Data(f"{n:,} x {features:,}".replace(",", " "), x, rng.integers(0, 2, n))


def ours(case: Data, rule: Any = "sgd") -> lm.Sequential:
    layers = [lm.Dense(UNITS, "relu"), lm.Dense(1, "sigmoid")]
    net = lm.Sequential(layers, seed=0)
    net.fit(case.x[:BATCH], case.y[:BATCH], optimizer=rule, verbose=0)
    return net


def learned(case: Data, solver: str, net: lm.Sequential) -> MLPClassifier:
    """scikit-learn's, with the weights of that net."""
    est = MLPClassifier(
        (UNITS,), solver=solver, batch_size=BATCH, alpha=0.0, momentum=0.0,
        nesterovs_momentum=False, learning_rate_init=1e-3,
    )  # fmt: skip
    est.partial_fit(case.x[:BATCH], case.y[:BATCH], classes=[0, 1])
    arrays = [array.copy() for array in net.get_weights()]
    est.coefs_, est.intercepts_ = arrays[::2], arrays[1::2]
    return est


class Torch:
    """The same net as an embedding of words with weights."""

    def __init__(self, net: lm.Sequential, rule: str = "sgd") -> None:
        kernel, bias, last, shift = map(torch.tensor, net.get_weights())
        self.words = torch.nn.EmbeddingBag.from_pretrained(
            kernel, freeze=False, mode="sum", sparse=True, include_last_offset=True
        )
        self.bias = torch.nn.Parameter(bias)
        self.last, self.shift = torch.nn.Parameter(last), torch.nn.Parameter(shift)
        words, rest = [self.words.weight], [self.bias, self.last, self.shift]
        self.rules: list[Any] = [torch.optim.SGD([*words, *rest], lr=1e-3)]
        if rule == "adam":
            self.rules = [
                torch.optim.SparseAdam(words),
                torch.optim.Adam(rest, fused=True),
            ]
        self.loss = torch.nn.BCEWithLogitsLoss()

    @staticmethod
    def batch(x: Any) -> tuple[Any, ...]:
        return tuple(map(torch.tensor, (x.indices, x.indptr, x.data)))

    def logits(self, columns: Any, starts: Any, values: Any) -> Any:
        sums = self.words(columns, starts, per_sample_weights=values)
        return torch.relu(sums + self.bias) @ self.last + self.shift

    def predict(self, batch: Any) -> Any:
        with torch.inference_mode():
            return torch.sigmoid(self.logits(*batch))

    def step(self, batch: Any, y: Any) -> None:
        for rule in self.rules:
            rule.zero_grad(set_to_none=True)
        self.loss(self.logits(*batch), y).backward()
        for rule in self.rules:
            rule.step()

    def epoch(self, case: Data) -> Work:
        batches = []
        for start in range(0, len(case.y), BATCH):
            part = slice(start, start + BATCH)
            y = torch.tensor(case.y[part, None].astype(np.float32))
            batches.append((self.batch(case.x[part]), y))

        def run() -> None:
            for batch, y in batches:
                self.step(batch, y)

        return run


def agree(case: Data) -> None:
    """All predict the same, and plain steps end at the same weights."""
    net = ours(case, lm.SGD(1e-3))
    expected = net.predict(case.x)
    kernel, bias, last, shift = net.get_weights()
    hidden = np.maximum(case.x @ kernel + bias, 0)
    by_hand = 1 / (1 + np.exp(-(hidden @ last + shift)))
    others = [by_hand, learned(case, "sgd", net).predict_proba(case.x)[:, 1:]]
    if torch is not None:
        peer = Torch(net)
        others.append(peer.predict(Torch.batch(case.x)).numpy())
        peer.epoch(case)()
        net.fit(case.x, case.y, batch_size=BATCH, shuffle=False, verbose=0)
        mine, theirs = net.get_weights()[0], peer.words.weight.detach().numpy()
        np.testing.assert_allclose(mine, theirs, 1e-4, 1e-6)
    for other in others:
        np.testing.assert_allclose(other, expected, 1e-4, 1e-6)


class Duel(NamedTuple):
    name: str
    peer: str
    floor: float
    theirs: Work
    mine: Work
    steps: int  # that the times are divided by


def duels(case: Data) -> Iterator[Duel]:
    net, x = ours(case), case.x
    kernel, bias, *_ = net.get_weights()
    est, first = learned(case, "sgd", net), lm.Sequential([lm.Dense(UNITS, "relu")])
    first.build(x.shape[1])
    first.set_weights([kernel, bias])

    def product() -> Any:
        y = x @ kernel
        y += bias
        return np.maximum(y, 0, out=y)

    name = f"predict, {case.name}"
    mine = lambda: net.predict(x)  # noqa: E731
    yield Duel(name, "scikit-learn", 1.2, lambda: est.predict_proba(x), mine, 1)
    yield Duel(
        f"dense, {case.name}", "SciPy", 1.2, product, lambda: first.predict(x), 1
    )
    if torch is not None:
        batch, peer = Torch.batch(x), Torch(net)
        yield Duel(name, "PyTorch", 0, lambda: peer.predict(batch), mine, 1)
    for rule, floor in (("adam", 8), ("sgd", 10)):
        trained = ours(case, lm.Adam(1e-3) if rule == "adam" else lm.SGD(1e-3))
        est = learned(case, rule, trained)
        name, steps = f"step of {rule}, {case.name}", case.steps
        options: dict[str, Any] = {"batch_size": BATCH, "verbose": 0}
        mine = lambda: trained.fit(x, case.y, **options)  # noqa: B023, E731
        theirs = lambda: est.partial_fit(x, case.y)  # noqa: B023, E731
        yield Duel(name, "scikit-learn", floor, theirs, mine, steps)
        if torch is not None:
            run = Torch(trained, rule).epoch(case)
            yield Duel(name, "PyTorch", 2, run, mine, steps)


def seconds(work: Work) -> float:
    """Of a call, from as many as take a hundredth of a second."""
    calls, spent = 0, 0.0
    start = time.perf_counter()
    while spent < 0.01:
        work()
        calls, spent = calls + 1, time.perf_counter() - start
    return spent / calls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", choices=["1", "default"], default="1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-k", default="", help="part of a name")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of convergence
    missed = 0
    with contextlib.ExitStack() as stack:
        if options.threads == "1":
            lm.set_num_threads(1)
            stack.enter_context(threadpoolctl.threadpool_limits(1))
            if torch is not None:
                torch.set_num_threads(1)
        print(
            "| | peer | its ms | Lamina's | ratio | floor |\n|---|---|---|---|---|---|"
        )
        for case in (data(4000, 20_000, 60), data(10_000, 100_000, 100)):
            agree(case)
            for duel in duels(case):
                if options.k not in f"{duel.name} {duel.peer}":
                    continue
                duel.theirs(), duel.mine()
                turns = [
                    (seconds(duel.theirs), seconds(duel.mine))
                    for _ in range(options.rounds)
                ]
                theirs, mine = (
                    1e3 * median(side) / duel.steps for side in zip(*turns, strict=True)
                )
                ratio = median(a / b for a, b in turns)
                missed += ratio < duel.floor
                star = " *" if ratio < duel.floor else ""
                print(
                    f"| {duel.name} | {duel.peer} | {theirs:.3g} | {mine:.3g} "
                    f"| {ratio:.2f}{star} | {duel.floor or ''} |",
                    flush=True,
                )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
