"""The activation functions: one callable per entry of the core's list.

Each is an `ActivationFunction`: called like a NumPy ufunc, with its `backward`,
`derivative`, `ufunc`, `name`, `formula`, `saves`, `parameters` and `using`.
"""

import functools
import inspect
from typing import Any

from lamina import _checks
from lamina._core import *
from lamina._core import ActivationFunction, get_activation
from lamina._core import __all__ as names

# What other libraries call the same, and what they have besides.
_MEANT = {
    "hardsilu": "hard_swish",
    "linear": "identity",
    "logistic": "sigmoid",
    "none": "identity",
    "swish": "silu",
}
_NEAREST = {
    "prelu": "lm.PReLU(), a layer",
    "rrelu": "'leaky_relu'",
    **dict.fromkeys(["geglu", "glu", "swiglu"], "'silu'"),
}


def get(activation: str | ActivationFunction | None) -> ActivationFunction:
    """Return the activation of that name; None is identity.

    Names of other libraries for the same, and names in another case, do as well.

    Parameters
    ----------
    activation : str, ActivationFunction or None

    Returns
    -------
    ActivationFunction

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    TypeError
        If it is neither a name nor an activation.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.activations.get("tanh").saves
    'output'
    >>> lm.activations.get("ReLU").name, lm.activations.get("swish").name
    ('relu', 'silu')
    """
    if isinstance(activation, str):
        activation = _checks.named("activation", activation, names, _MEANT, _NEAREST)
    return get_activation(activation)


def _restore(path: str, parameter: float | None) -> Any:
    """Rebuild a pickled activation, or its derivative or backward; those of the list
    stay one object."""
    name, *parts = path.split(".")
    activation = get(name)
    values = activation.parameters
    if values and list(values.values()) != [parameter]:
        activation = activation.using(**dict.fromkeys(values, parameter))
    return functools.reduce(getattr, parts, activation)


def _signature(
    inputs: int, parameter: str | None, default: float | None, by_row: bool
) -> inspect.Signature:
    """That of an activation, its derivative or its backward: a ufunc's."""
    kinds = inspect.Parameter
    given = [
        kinds(name, kinds.POSITIONAL_ONLY)
        for name in (["x"] if inputs == 1 else ["dy", "saved"])
    ]
    if parameter is not None:
        given.append(kinds(parameter, kinds.POSITIONAL_OR_KEYWORD, default=default))
    given.append(kinds("out", kinds.POSITIONAL_OR_KEYWORD, default=None))
    options: dict[str, Any] = {"axis": -1} if by_row else {"where": True}
    options |= {"casting": "same_kind", "order": "K", "dtype": None, "subok": True}
    options |= {"signature": None}
    given += [kinds(n, kinds.KEYWORD_ONLY, default=v) for n, v in options.items()]
    return inspect.Signature(given)


__all__ = [*names, "ActivationFunction", "get", "names"]
