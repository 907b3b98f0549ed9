"""Layers for the columns of a table beside PyTorch and NumPy: a Markdown table.

Each row is a pass forward and back of one layer, or a step with Adam of a net that
begins with it: Lamina's time, and that of others over it. Of PyTorch:
`torch.nn.Embedding`, and what rtdl_num_embeddings 0.0.12 has for numbers, with
autograd; of NumPy the same formulas, forward and back. All take turns in one process,
on one thread; before that they must compute the same. Needs
``pip install torch==2.13.0 rtdl_num_embeddings==0.0.12``.

    python bench/table_layers.py [--rounds 15] [-k NAME]
"""

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import rtdl_num_embeddings as rtdl
import torch
from numpy.typing import NDArray

import lamina as lm
from duels import Work, seconds

Array = NDArray[Any]
NUMBERS, CODES = 10, [40, 12, 7, 300, 1000]


class Case(NamedTuple):
    name: str
    rows: int
    make: Callable[[int], tuple[lm.Layer, torch.nn.Module, Array, Any]]


class Vectors(torch.nn.Module):  # type: ignore[misc]
    """What `lm.Embedding` does, of columns that are all codes."""

    def __init__(self, sizes: list[int], dims: int) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(n, dims) for n in sizes)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        each = enumerate(self.tables)
        return torch.cat([table(codes[:, k]) for k, table in each], dim=1)


class Flat(torch.nn.Module):  # type: ignore[misc]
    """As a matrix, with the columns themselves before it if they pass."""

    def __init__(self, inner: torch.nn.Module, passes: bool = False) -> None:
        super().__init__()
        self.inner, self.passes = inner, passes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x).flatten(1)
        return torch.cat([x, y], dim=1) if self.passes else y


class Cosines(torch.nn.Module):  # type: ignore[misc]
    """PBLD, as pytabkit computes it."""

    def __init__(self, features: int, waves: int, maps: int) -> None:
        super().__init__()
        shapes = (features, 1, waves), (features, 1, waves), (features, waves, maps)
        self.each = torch.nn.ParameterList(
            torch.zeros(shape) for shape in (*shapes, (features, 1, maps))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frequencies, phases, kernel, bias = self.each
        angles = 2 * torch.pi * x.T.unsqueeze(-1).matmul(frequencies) + phases
        return (torch.cos(angles).matmul(kernel) + bias).transpose(0, 1)


def numbers(rows: int) -> Array:
    return np.random.default_rng(0).normal(size=(rows, NUMBERS)).astype(np.float32)


def copy(values: Any, parameters: Any) -> None:
    for array, parameter in zip(values, parameters, strict=True):
        with torch.no_grad():
            parameter.copy_(torch.tensor(array).reshape(parameter.shape))


def embedding(rows: int) -> Any:
    x = np.random.default_rng(0).integers(0, CODES, (rows, len(CODES)))
    layer = lm.Embedding(range(len(CODES)), CODES, 8)
    layer.build(len(CODES), seed=0)
    theirs = Vectors(CODES, 8)
    copy((each[:-1] for each in layer.parameters.values()), theirs.parameters())
    return layer, theirs, x.astype(np.float32), torch.tensor(x)


def piecewise_linear(rows: int) -> Any:
    x = numbers(rows)
    layer = lm.PiecewiseLinear(48, 16)
    layer.build(NUMBERS, seed=0)
    layer.learn(numbers(10_000))
    bins = [torch.tensor(edges) for edges in layer.edges]
    theirs = rtdl.PiecewiseLinearEmbeddings(bins, 16, activation=False, version="A")
    copy(layer.parameters.values(), theirs.linear.parameters())
    return layer, Flat(theirs), x, torch.tensor(x)


def plr(rows: int) -> Any:
    x = numbers(rows)
    layer = lm.Periodic(24, 48, form="plr")
    layer.build(NUMBERS, seed=0)
    theirs = rtdl.PeriodicEmbeddings(
        NUMBERS, 24, n_frequencies=48, activation=False, lite=False
    )
    copy(layer.parameters.values(), theirs.parameters())
    return layer, Flat(theirs), x, torch.tensor(x)


def pbld(rows: int) -> Any:
    x = numbers(rows)
    layer = lm.Periodic(4, 16)
    layer.build(NUMBERS, seed=0)
    theirs = Cosines(NUMBERS, 16, 3)
    copy(layer.parameters.values(), theirs.parameters())
    return layer, Flat(theirs, passes=True), x, torch.tensor(x)


KINDS = {
    "Embedding, 5 columns of 8": embedding,
    "PiecewiseLinear(48, 16), 10 columns": piecewise_linear,
    "Periodic, PLR (24, 48), 10 columns": plr,
    "Periodic, PBLD (4, 16), 10 columns": pbld,
}
CASES = [
    Case(f"{name}, {rows} rows", rows, make)
    for name, make in KINDS.items()
    for rows in (256, 4096)
]


# NumPy: forward, and the gradients by the parameters ---------------------------------


def in_numpy(layer: Any, x: Array) -> Callable[[Array], tuple[Array, list[Array]]]:
    p = list(layer.parameters.values())
    if isinstance(layer, lm.Embedding):
        codes = x.astype(np.intp)

        def embed(dy: Array) -> tuple[Array, list[Array]]:
            y = np.concatenate([t[codes[:, k]] for k, t in enumerate(p)], axis=1)
            gradients = [np.zeros_like(table) for table in p]
            for k, gradient in enumerate(gradients):
                np.add.at(gradient, codes[:, k], dy[:, 8 * k : 8 * k + 8])
            return y, gradients

        return embed

    def maps(waves: Array, dy: Array) -> tuple[Array, Array, Array, Array]:
        """Products for each column, and the gradient by the waves."""
        kernel, bias = p[-2:]
        y = waves @ kernel + bias
        slopes = dy.reshape(len(x), len(kernel), -1).transpose(1, 0, 2)
        down = slopes @ kernel.transpose(0, 2, 1)
        y = y.transpose(1, 0, 2).reshape(len(x), -1)
        return y, down, waves.transpose(0, 2, 1) @ slopes, slopes.sum(1, keepdims=True)

    def encode(dy: Array) -> tuple[Array, list[Array]]:
        low, width = layer.edges[:, None, :-1], np.diff(layer.edges)[:, None]
        code = (x.T[:, :, None] - low) / width
        np.maximum(code[..., 1:], 0, out=code[..., 1:])
        np.minimum(code[..., :-1], 1, out=code[..., :-1])
        y, _, *gradients = maps(code, dy)
        return y, gradients

    def wave(dy: Array) -> tuple[Array, list[Array]]:
        turn = np.float32(2 * np.pi)
        angles = x.T[:, :, None] * p[0] * turn
        if layer.form == "plr":
            cosine, sine = np.cos(angles), np.sin(angles)
            y, down, *gradients = maps(np.concatenate([cosine, sine], axis=2), dy)
            half = down.shape[2] // 2
            slopes = down[..., half:] * cosine - down[..., :half] * sine
            own = []
        else:
            angles += p[1]
            y, down, *gradients = maps(np.cos(angles), dy[:, NUMBERS:])
            y = np.concatenate([x, y], axis=1)
            slopes = -down * np.sin(angles)
            own = [slopes.sum(axis=1, keepdims=True)]
        by = (slopes * x.T[:, :, None]).sum(axis=1, keepdims=True) * turn
        return y, [by, *own, *gradients]

    return encode if isinstance(layer, lm.PiecewiseLinear) else wave


# Taking turns -------------------------------------------------------------------------


def passes(case: Case) -> dict[str, Work]:
    layer, theirs, x, tensor = case.make(case.rows)
    net = lm.Sequential([layer])
    net.build(x.shape[1])
    shape = case.rows, layer.outputs(x.shape[1])
    dy = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    slopes, form = torch.tensor(dy), in_numpy(layer, x)

    def ours() -> Array:
        net.backward(x, dy)
        return net.gradient

    def torchs() -> list[Any]:
        theirs.zero_grad()
        theirs(tensor).backward(slopes)
        return [each.grad for each in theirs.parameters()]

    y, gradients = form(dy)
    np.testing.assert_allclose(net.predict(x), y, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(x), theirs(tensor), rtol=1e-3, atol=1e-4)
    ours()
    near: Any = {"rtol": 1e-3, "atol": 1e-4 * case.rows}
    for mine, numpys, other in zip(
        layer.gradients.values(), gradients, torchs(), strict=True
    ):
        np.testing.assert_allclose(mine, numpys, **near)
        wanted = mine[: len(other)] if isinstance(layer, lm.Embedding) else mine
        np.testing.assert_allclose(wanted, other.reshape(wanted.shape), **near)
    return {"Lamina": ours, "PyTorch": torchs, "NumPy": lambda: form(dy)}


def steps(case: Case) -> dict[str, Work]:
    """Of a net with a hidden layer of 256."""
    layer, theirs, x, tensor = case.make(case.rows)
    net = lm.Sequential([layer, lm.Dense(256, "relu"), lm.Dense(1)], seed=0)
    net.build(x.shape[1])
    y = np.random.default_rng(2).normal(size=(case.rows, 1)).astype(np.float32)
    wanted = torch.tensor(y)
    width = layer.outputs(x.shape[1])
    other = torch.nn.Sequential(
        theirs, torch.nn.Linear(width, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1)
    )
    rule = torch.optim.Adam(other.parameters(), 1e-3, fused=True)

    def torchs() -> None:
        rule.zero_grad()
        torch.nn.functional.mse_loss(other(tensor), wanted).backward()
        rule.step()

    adam = lm.Adam(1e-3)
    return {
        "Lamina": lambda: net.train_on_batch(
            x, y, loss="mean_squared_error", optimizer=adam
        ),
        "PyTorch": torchs,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("-k", default="")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    lm.set_num_threads(1)
    print("| | Lamina us | PyTorch | NumPy |\n|---|---|---|---|")
    for case in CASES:
        if chosen.k not in case.name:
            continue
        for what, make in (("forward and back", passes), ("step", steps)):
            works = make(case)
            rounds = [
                {name: seconds(work) for name, work in works.items()}
                for _ in range(chosen.rounds)
            ]
            ratios = [
                f"{median(r[name] / r['Lamina'] for r in rounds):.1f}"
                for name in list(works)[1:]
            ]
            own = 1e6 * median(r["Lamina"] for r in rounds)
            line = [f"{case.name}, {what}", f"{own:.0f}", *ratios]
            print("| " + " | ".join(line + [""] * (4 - len(line))) + " |", flush=True)


if __name__ == "__main__":
    main()
