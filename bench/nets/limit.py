"""The machine's limit for whole nets: the multiplications of their products alone."""

from peers import Array, Call
from peers.limit import multiply

Weights = tuple[tuple[Array, Array], ...]


def predict(weights: Weights, x: Array) -> Call:
    return multiply(flops(weights, len(x)), x.itemsize)


def training_step(weights: Weights, x: Array, labels: Array, rate: float) -> Call:
    return multiply(training_flops(weights, len(x)), x.itemsize)


def epoch(weights: Weights, x: Array, labels: Array, rate: float, batch: int) -> Call:
    """The work grows with the rows, however they are cut into batches."""
    return multiply(training_flops(weights, len(x)), x.itemsize)


def training_flops(weights: Weights, rows: int) -> int:
    """Three products for each layer, but no gradient by the input of the net."""
    return 3 * flops(weights, rows) - flops(weights[:1], rows)


def flops(weights: Weights, rows: int) -> int:
    """Of one product for each layer."""
    return sum(2 * rows * kernel.size for kernel, _ in weights)
