"""The activation functions: one callable per entry of the core's list.

Each is an `ActivationFunction`: called like a NumPy ufunc, with its `backward`,
`derivative`, `ufunc`, `name`, `formula`, `saves`, `parameters` and `using`.
"""

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
    **dict.fromkeys(["prelu", "rrelu"], "'leaky_relu'"),
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


def _restore(name: str, parameter: float) -> ActivationFunction:
    """Rebuild a pickled activation; unparametrised ones stay one object."""
    activation = get(name)
    values = activation.parameters
    if not values or list(values.values()) == [parameter]:
        return activation
    return activation.using(**dict.fromkeys(values, parameter))


__all__ = [*names, "ActivationFunction", "get", "names"]
