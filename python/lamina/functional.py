"""Dense products and dropout on plain arrays.

Arrays of float32, float16, bool and integers of up to 16 bits are computed in float32;
any float64 or wider integer among the arguments makes it float64, as NumPy promotes.
"""

# What is `compiled` is declared here and defined in csrc/bindings/functional.cpp: a
# frame of Python would take longer than the kernel on a small array.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamina import _checks, _core
from lamina._checks import Mode
from lamina._core import ActivationFunction, PackedKernel


@_core.compiled
def matmul(a: ArrayLike, b: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Matrix product of two-dimensional arrays.

    Parameters
    ----------
    a : array_like, shape (rows, depth)
    b : array_like, shape (depth, columns)
        Transposed views (``a.T``, ``b.T``) are read in place, not copied.
    out : ndarray, shape (rows, columns), optional
        Where the result goes; it may share memory with `a` or `b`.

    Returns
    -------
    ndarray, shape (rows, columns)
        float32 or float64.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If an array does not hold real numbers, or `out` has another dtype.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]])
    """


@_core.compiled
def dense(
    x: Any,
    kernel: ArrayLike | PackedKernel,
    bias: ArrayLike | None = None,
    activation: str | ActivationFunction | None = None,
    *,
    out: NDArray[Any] | None = None,
    dropout: float = 0.0,
    seed: int | None = None,
    offset: int = 0,
    return_saved: bool = False,
) -> Any:
    """Dense layer in one call: ``dropout(activation(x @ kernel + bias))``.

    Parameters
    ----------
    x : array_like or sparse matrix, shape (batch, features)
        SciPy's are multiplied as they are, by an array, in the order of their entries;
        a column that comes twice in a row adds up.
    kernel : array_like or PackedKernel, shape (features, units)
        One that `pack` made computes in its precision, with `x` and `bias` of float32.
    bias : array_like, shape (units,), optional
    activation : str or activation, optional
        Identity by default; ``lm.elu.using(alpha=0.5)`` sets a parameter.
    out : ndarray, shape (batch, units), optional
        Where the result goes.
    dropout : float, default 0.0
        Fraction of the outputs to drop; kept ones are scaled by 1 / (1 - dropout).
    seed, offset : int, optional
        As in `dropout`.
    return_saved : bool, default False
        Also return what `dense_backward` needs.

    Returns
    -------
    y : ndarray, shape (batch, units)
    saved : ndarray, shape (batch, units)
        Only with `return_saved`: y itself where the derivative follows from y and
        nothing is dropped, else an array of its own.

    Raises
    ------
    ValueError
        If shapes do not fit, the activation is unknown, the rate is not in [0, 1], or
        `return_saved` comes with dropout and no seed, or with a packed kernel.
    TypeError
        If an array does not hold real numbers, `out` has another dtype, or float64
        meets a packed kernel.

    Examples
    --------
    >>> import lamina as lm
    >>> lm.dense([[1.0, -2.0]], [[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5], activation="relu")
    array([[1.5, 0. ]])
    """


@_core.compiled
def pack(
    kernel: ArrayLike, precision: Literal["bf16", "float32", "auto"]
) -> PackedKernel:
    """Copy the kernel of a dense layer into the form that inference reads fastest.

    `dense` takes it in the place of the array. Products are then of bfloat16, the upper
    half of a float32 (8 bits of significand), summed in float32: twice as fast, from
    half the memory. Later changes of `kernel` do not change what was packed, and
    `set_target` does not change how it is computed.

    Parameters
    ----------
    kernel : array_like, shape (features, units)
        Of float32, or what becomes float32.
    precision : {"bf16", "float32", "auto"}
        "bf16" is an error where there is none: it takes a processor with avx512_bf16
        and the target avx512 (``show_config()["bf16"]`` tells). "auto" is "float32"
        there, which gives the bits of the array itself; its speed, too, but where the
        kernel is beyond 1 MiB and the rows few: up to 1.4 times that.

    Returns
    -------
    PackedKernel

    Raises
    ------
    ValueError
        If `kernel` is not two-dimensional, `precision` is unknown, or not to be had
        here.
    TypeError
        If `kernel` does not hold real numbers, or holds float64.

    Notes
    -----
    Elements of `x` and `kernel` are rounded to nearest, ties to even: a relative error
    of 2**-8 each at most. The product's is at most ``2**-7 + 2**-16 + features *
    2**-23`` times ``abs(x) @ abs(kernel)``; with independent numbers around zero its
    root mean square is 0.0025 of that of the product. NaN and infinities stay;
    subnormal numbers, of arguments or of sums, become zero; above 3.3961e38 arguments
    become infinite. A kernel of up to eight columns stays
    in float32, which is as fast there, and so does one of more than 32768 features.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> packed = lm.pack(np.eye(2, dtype=np.float32), "auto")
    >>> lm.dense(np.array([[1.0, -2.0]], np.float32), packed, activation="relu")
    array([[1., 0.]], dtype=float32)
    """


@_core.compiled
def dense_backward(
    dy: ArrayLike,
    x: Any,
    kernel: ArrayLike,
    saved: ArrayLike,
    activation: str | ActivationFunction | None = None,
    *,
    dropout: float = 0.0,
    seed: int | None = None,
    offset: int = 0,
    input_gradient: bool = True,
    out: tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]
    | None = None,
) -> tuple[NDArray[Any] | None, NDArray[Any], NDArray[Any]]:
    """Gradients of `dense`.

    Parameters
    ----------
    dy : array_like, shape (batch, units)
        Gradient of the loss with respect to the output.
    x, kernel, activation, dropout, offset
        As given to `dense`.
    saved : array_like, shape (batch, units)
        What `dense` returned with ``return_saved=True``.
    seed : int
        The seed given to `dense`; required if something was dropped.
    input_gradient : bool, default True
        False leaves out dx, which a first layer does not need.
    out : tuple (dx, dkernel, dbias), optional
        Arrays to write into; an entry may be None.

    Returns
    -------
    dx : ndarray, shape (batch, features), or None
    dkernel : ndarray, shape (features, units)
    dbias : ndarray, shape (units,)

    Raises
    ------
    ValueError
        If shapes do not fit, or something was dropped and no seed is given.
    TypeError
        If an array does not hold real numbers, or an output has another dtype.

    Examples
    --------
    >>> import lamina as lm
    >>> x, kernel = [[1.0, 2.0]], [[1.0], [1.0]]
    >>> y, saved = lm.dense(x, kernel, activation="tanh", return_saved=True)
    >>> dx, dkernel, dbias = lm.dense_backward([[1.0]], x, kernel, saved, "tanh")
    >>> dkernel.shape
    (2, 1)
    """


@_core.compiled
def dropout(
    x: ArrayLike,
    rate: float,
    *,
    seed: int | None = None,
    offset: int = 0,
    mode: Mode = "inverted",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Set a random fraction of the elements to zero (or, for selu, to its limit).

    Element i of the flattened array is dropped where 16 bits of Philox4x32-10, keyed by
    `seed` and numbered ``offset + i``, lie below ``round(rate * 65536)``. The bits do
    not depend on dtype, threads or processor; what is dropped at one rate is dropped at
    every higher one. ``rate=1`` gives zeros, ``rate=0`` the values of x.

    Parameters
    ----------
    x : array_like, any shape
    rate : float
        Fraction to drop, in [0, 1].
    seed : int, optional
        From 0 to 2**64 - 1; drawn from the operating system if None.
    offset : int, default 0
        Number of the first element: an array may be handled in parts.
    mode : {"inverted", "classic", "alpha"}
        "inverted" multiplies what is kept by 1 / (1 - rate), exactly
        65536 / (65536 - round(rate * 65536)); "classic" leaves it, as first published,
        and weights are scaled at prediction. "alpha" is for nets of selu: dropped
        elements go to its lower limit, and all are scaled and shifted so that mean 0
        and variance 1 stay.
    out : ndarray of the shape of x, optional
        Where the result goes; may be x itself.

    Returns
    -------
    ndarray of the shape of x

    Raises
    ------
    ValueError
        If `rate` is not in [0, 1], or `seed` or `offset` not in [0, 2**64).
    TypeError
        If x does not hold real numbers, or `out` has another dtype.

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from
    overfitting". Klambauer et al. (2017), "Self-normalizing neural networks" (alpha).
    Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> lm.dropout(np.ones(8, np.float32), 0.5, seed=7)
    array([0., 2., 0., 0., 2., 0., 0., 0.], dtype=float32)
    """


@_core.compiled
def dropout_backward(
    dy: ArrayLike,
    rate: float,
    *,
    seed: int | None = None,
    offset: int = 0,
    mask: NDArray[np.uint8] | None = None,
    mode: Mode = "inverted",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Gradient of `dropout`: its mask and scale applied to dy.

    Parameters
    ----------
    dy : array_like, any shape
    rate, offset, mode, out
        As given to `dropout`.
    seed : int
        The seed given to `dropout`, from which the mask is made again.
    mask : ndarray of uint8, optional
        The bits from `dropout_mask`, instead of a seed: five times as fast.

    Returns
    -------
    ndarray of the shape of dy

    Raises
    ------
    ValueError
        If neither or both of `seed` and `mask` are given, or `mask` has another size.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> lm.dropout_backward(np.ones(4), 0.5, seed=7)
    array([0., 2., 0., 0.])
    """


def dropout_mask(
    shape: int | tuple[int, ...],
    rate: float,
    *,
    seed: int,
    offset: int = 0,
    packed: bool = True,
) -> NDArray[Any]:
    """What `dropout` keeps, one bit an element.

    Parameters
    ----------
    shape : int or tuple of int
        Of the array that the mask is for.
    rate, seed, offset
        As for `dropout`.
    packed : bool, default True
        Bits, which `dropout_backward` takes, or an array of bool.

    Returns
    -------
    ndarray of uint8, shape (ceil(size / 8),)
        Bit ``i % 8`` of byte ``i // 8`` is 1 where element i of the flattened array is
        kept. Not `packed`: an ndarray of bool, of that shape.

    Raises
    ------
    ValueError
        If `rate` is not in [0, 1], or an extent is negative or beyond memory.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> lm.dropout_mask((2, 4), 0.5, seed=7)
    array([18], dtype=uint8)
    >>> lm.dropout_mask((2, 4), 0.5, seed=7, packed=False)
    array([[False,  True, False, False],
           [ True, False, False, False]])
    """
    packed = _checks.flag("packed", packed)
    extents = _checks.extents("shape", shape)
    size = math.prod(extents)
    bits = _core.dropout_mask(size, rate, seed, offset)
    if packed:
        return bits
    kept = np.unpackbits(bits, count=size, bitorder="little")
    return kept.view(np.bool_).reshape(extents)
