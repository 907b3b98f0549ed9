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

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.neural_network import MLPClassifier

import lamina as lm
from duels import Duel, Work, run

try:
    import torch
except ImportError:
    torch = None

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

    def sides(theirs: Work, mine: Work) -> Callable[[], tuple[Work, Work]]:
        return lambda: (theirs, mine)

    def mine() -> Any:
        return net.predict(x)

    name = f"predict, {case.name}"
    yield Duel(name, "scikit-learn", 1.2, sides(lambda: est.predict_proba(x), mine))
    own = sides(product, lambda: first.predict(x))
    yield Duel(f"dense, {case.name}", "SciPy", 1.2, own)
    if torch is not None:
        batch, peer = Torch.batch(x), Torch(net)
        yield Duel(name, "PyTorch", 0, sides(lambda: peer.predict(batch), mine))
    for rule, floor in (("adam", 8), ("sgd", 10)):
        trained = ours(case, lm.Adam(1e-3) if rule == "adam" else lm.SGD(1e-3))
        other = learned(case, rule, trained)
        name, steps = f"step of {rule}, {case.name}", case.steps
        fit = partial(trained.fit, x, case.y, batch_size=BATCH, verbose=0)
        theirs = partial(other.partial_fit, x, case.y)
        yield Duel(name, "scikit-learn", floor, sides(theirs, fit), steps)
        if torch is not None:
            epoch = Torch(trained, rule).epoch(case)
            yield Duel(name, "PyTorch", 2, sides(epoch, fit), steps)


def all_duels() -> Iterator[Duel]:
    for case in (data(4000, 20_000, 60), data(10_000, 100_000, 100)):
        agree(case)
        yield from duels(case)


if __name__ == "__main__":
    sys.exit(run(__doc__, all_duels()))
