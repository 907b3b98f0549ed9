"""The activation functions: one callable per entry of the core's list.

Each is an `ActivationFunction`: called like a NumPy ufunc, with its `backward`,
`derivative`, `ufunc`, `name`, `formula`, `saves`, `parameters` and `using`.
"""

from lamina._core import *
from lamina._core import ActivationFunction, get_activation
from lamina._core import __all__ as names


def get(activation: str | ActivationFunction | None) -> ActivationFunction:
    """Return the activation of that name; None is identity.

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
    """
    return get_activation(activation)


def _restore(name: str, parameter: float) -> ActivationFunction:
    """Rebuild a pickled activation; unparametrised ones stay one object."""
    activation = get(name)
    values = activation.parameters
    if not values or list(values.values()) == [parameter]:
        return activation
    return activation.using(**dict.fromkeys(values, parameter))


__all__ = [*names, "ActivationFunction", "get", "names"]
