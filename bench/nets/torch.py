"""PyTorch: eager, with its own layers, autograd and fused Adam.

Calls leave the inference mode that `peers.torch` may have entered. Compiled nets
(torch.compile) are not among the forms.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from peers import Array, Call

Weights = tuple[tuple[Array, Array], ...]


def net(weights: Weights, rate: float = 0.0) -> nn.Sequential:
    modules: list[nn.Module] = []
    for kernel, bias in weights:
        linear = nn.Linear(*kernel.shape, dtype=torch.from_numpy(bias).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(kernel.T))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, nn.ReLU(inplace=True)]
        modules += [nn.Dropout(rate)] if rate else []
    while not isinstance(modules[-1], nn.Linear):
        modules.pop()
    return nn.Sequential(*modules)


def training(
    weights: Weights, rate: float, *, narrow: bool = False
) -> Callable[[Tensor, Tensor], float]:
    made = net(weights, rate)
    optimizer = torch.optim.Adam(made.parameters(), fused=True)
    cross_entropy = nn.functional.cross_entropy

    def step(x: Tensor, labels: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            loss = cross_entropy(made(x), labels)
        loss.backward()
        optimizer.step()
        value: float = loss.item()
        return value

    return step


def training_step(
    weights: Weights, x: Array, labels: Array, rate: float, *, narrow: bool = False
) -> Call:
    with torch.inference_mode(False):
        step = training(weights, rate, narrow=narrow)
        rows, classes = torch.tensor(x), torch.tensor(labels)

    def call() -> float:
        with torch.inference_mode(False):
            return step(rows, classes)

    return call


def narrow_training_step(
    weights: Weights, x: Array, labels: Array, rate: float
) -> Call:
    return training_step(weights, x, labels, rate, narrow=True)


def epoch(weights: Weights, x: Array, labels: Array, rate: float, batch: int) -> Call:
    with torch.inference_mode(False):
        step = training(weights, rate)
        rows, classes = torch.tensor(x), torch.tensor(labels)

    def call() -> float:
        with torch.inference_mode(False):
            loss = 0.0
            for at in torch.randperm(len(x)).split(batch):
                loss += step(rows[at], classes[at]) * len(at)
            return loss / len(x)

    return call


def predict(weights: Weights, x: Array) -> Call:
    """Without modules, which cost more to call, into tensors made beforehand."""
    with torch.inference_mode():
        rows = torch.tensor(x)
        layers = [
            (
                torch.tensor(bias),
                torch.tensor(kernel),
                rows.new_empty(len(x), len(bias)),
            )
            for kernel, bias in weights
        ]
    *hidden, (offset, weight, logits) = layers
    out = torch.empty_like(logits)

    def call() -> Tensor:
        with torch.inference_mode():
            y = rows
            for bias, kernel, z in hidden:
                y = torch.addmm(bias, y, kernel, out=z).relu_()
            torch.addmm(offset, y, weight, out=logits)
            return torch.softmax(logits, 1, out=out)

    return call
