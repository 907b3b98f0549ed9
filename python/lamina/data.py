"""What nets learn from: rows of arrays of many kinds, or batches that come one by one.

Nothing that may be larger than the memory is copied or converted as a whole: neither a
memory map nor an array whose copy would take more than 256 MB, whose rows are converted
block by block, whenever they are needed. Nor is a sparse matrix made dense, but for a
net whose first layer cannot do without: then it is, block by block.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core, losses
from lamina._checks import Array

__all__ = [
    "Batches",
    "Centred",
    "Rows",
    "SparseRows",
    "Table",
    "dense",
    "gives_batches",
    "gives_pair",
    "inputs",
    "moments",
    "quartiles",
    "rows",
    "sample",
    "standardization",
]

_WHOLE = 1 << 28  # bytes of a copy
_ENDLESS = 100_000  # batches that nobody validates by
_BLOCK = 1 << 20  # values looked at together, a few MB
_SAMPLE = 100_000  # rows whose quantiles are those of all
_NAMES = "; for names of classes, labels = np.unique(y, return_inverse=True)[1]"
Batch = tuple[Array, Array, Array | None]  # x, y and the weights of the rows


class Centred(np.ndarray):
    """Rows less the mean of a `Standardize` layer, which then subtracts nothing: done
    before they were rounded to the net's dtype. Parts of such an array are such, too.
    """


@dataclasses.dataclass(frozen=True)
class SparseRows:
    """Rows of which only some elements are there, as the core takes them.

    Attributes
    ----------
    data, indices, indptr : arrays
        As of SciPy's ``csr_array``: row i has the values ``data[e]`` in the columns
        ``indices[e]``, e from ``indptr[i]`` to ``indptr[i + 1] - 1``. A column may come
        more than once in a row: its values add up.
    shape : (int, int)
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]
    ndim = 2

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Array) -> SparseRows:
        """Those rows; a slice of step 1 copies nothing that is large."""
        width = self.shape[1]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                indptr = self.indptr[start : max(start, stop) + 1]
                shape = len(indptr) - 1, width
                return SparseRows(self.data, self.indices, indptr, shape)
            rows = np.arange(start, stop, step)
        starts, counts = self.indptr[:-1][rows], np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        entries = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        shape = len(counts), width
        return SparseRows(self.data[entries], self.indices[entries], indptr, shape)

    def entries(self) -> tuple[Array, Array, Array]:
        """Row, column and value of each element that is there, once for each."""
        part = slice(self.indptr[0], self.indptr[-1])
        rows = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        columns, values = self.indices[part].astype(np.int64), self.data[part]
        places = rows * self.shape[1] + columns
        if (places[1:] > places[:-1]).all():
            return rows, columns, values
        places, group = np.unique(places, return_inverse=True)
        sums = np.bincount(group, values, len(places)).astype(self.dtype)
        return places // self.shape[1], places % self.shape[1], sums

    def toarray(self) -> Array:
        made = np.zeros(self.shape, self.dtype)
        rows, columns, values = self.entries()
        made[rows, columns] = values
        return made

    def tocsr(self) -> SparseRows:
        return self


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that become C-contiguous arrays when they are asked for.

    Attributes
    ----------
    held : array or sparse matrix
    dtype : dtype
        Of those arrays.
    convert : function (name, rows of `held`) -> array
        Raises an error that begins with the name where rows cannot be used.
    whole : array, SparseRows or None
        All rows, where they are there without a copy that may be too large.
    """

    held: Any
    dtype: np.dtype[Any]
    convert: Callable[[str, Array], Array]
    whole: Any = None

    def __len__(self) -> int:
        return int(self.held.shape[0])

    def take(self, rows: slice | Array, name: str = "x") -> Any:
        if self.whole is not None:
            return self.whole[rows]
        return self.convert(name, dense(self.held[rows]))

    def centred(self, mean: Array) -> Table:
        """The same rows for a net whose first layer has that mean."""
        return inputs("x", self.held, self.dtype, mean=mean)

    def blocks(self, rows: Array | None = None) -> Iterator[Any]:
        """The rows of those numbers, or all of them, some at a time."""
        n, shape = len(self) if rows is None else len(rows), self.held.shape[1:]
        if isinstance(self.whole, SparseRows):
            shape = (len(self.whole.data) // len(self) + 1,)
        for part in _parts((n, *shape)):
            yield self.take(part if rows is None else rows[part])


@dataclasses.dataclass(frozen=True)
class Rows:
    """Inputs, targets and, if they differ, weights of rows that have numbers."""

    x: Table
    y: Table
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def features(self) -> int:
        return int(self.x.held.shape[1])

    @property
    def whole(self) -> Batch | None:
        """All rows, if they are there."""
        if self.x.whole is None or self.y.whole is None:
            return None
        return self.x.whole, self.y.whole, self.weights

    def take(self, rows: slice | Array) -> Batch:
        some = None if self.weights is None else self.weights[rows]
        return self.x.take(rows), self.y.take(rows, "y"), some

    def batches(self, size: int, rows: Array | None = None) -> Iterator[Batch]:
        """The rows of those numbers, or all of them, `size` at a time."""
        for start in range(0, len(self) if rows is None else len(rows), size):
            part = slice(start, start + size)
            yield self.take(part if rows is None else rows[part])

    def at_once(self, multiple: int) -> int:
        """How many rows to take together, where they must be converted first."""
        return max(1, _BLOCK // self.features // multiple) * multiple

    def weighted(
        self,
        class_weight: Mapping[int, float] | str,
        dtype: np.dtype[Any],
        rows: Array | None = None,
    ) -> Rows:
        """With the weights of their classes, too: all, or `rows` by their numbers."""
        labels = np.concatenate([_labels(block) for block in self.y.blocks(rows)])
        factors = _checks.weights(
            "class_weight",
            losses.class_weights(labels, class_weight),
            np.empty(len(labels), dtype),
        )
        weights = (
            np.ones(len(self), dtype) if self.weights is None else self.weights.copy()
        )
        weights[slice(None) if rows is None else rows] *= factors
        return dataclasses.replace(self, weights=weights)

    def weighted_batch(
        self, class_weight: Mapping[int, float], dtype: np.dtype[Any]
    ) -> Rows:
        """The same for a batch, which need not hold every class."""
        present = dict.fromkeys(np.unique(_labels(self.y.take(slice(None)))), 1.0)
        return self.weighted({**present, **class_weight}, dtype)


class Batches:
    """Batches (x, y) or (x, y, weights) of an iterable, checked as they come.

    The first one is taken at once, since it tells the number of features; the first
    epoch begins with it. An epoch has `length` of them; where that is None, all, but
    where `endless` names the argument that gives a length, no more than 100 000 of an
    iterable that does not know how many they are.
    """

    def __init__(
        self,
        name: str,
        batches: Iterable[Any],
        check: Callable[[tuple[str, str, str], Any], Rows],
        length: int | None = None,
        endless: str = "",
    ) -> None:
        self.name, self.check, self.length = name, check, length
        self.endless = "" if hasattr(batches, "__len__") else endless
        self.iterable, self.begun = batches, iter(batches)
        try:
            self.first: Any = next(self.begun)
        except StopIteration:
            raise ValueError(f"{name} must give a batch at least, got none") from None
        self.features = self._rows(self.first, 0).features

    def peek(self) -> Batch:
        """The first one, before the first epoch."""
        return self._rows(self.first, 0).take(slice(None))

    def batches(self) -> Iterator[Batch]:
        """Those of one epoch."""
        if self.first is not None:
            begun: Iterator[Any] = itertools.chain([self.first], self.begun)
            self.first = None
        else:
            begun = iter(self.iterable)
        number = 0
        for number, batch in enumerate(itertools.islice(begun, self.length), 1):
            if self.length is None and self.endless and number > _ENDLESS:
                raise ValueError(
                    f"{self.name} must end, or come with {self.endless}, got more than "
                    f"{_ENDLESS} batches"
                )
            yield self._rows(batch, number - 1).take(slice(None))
        if number < (self.length or 1):
            raise ValueError(
                f"{self.name} must give {self.length or 'more'} batches in each epoch, "
                f"got {number} and then no more"
            )

    def _rows(self, batch: Any, number: int) -> Rows:
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise TypeError(
                f"{self.name} must give batches (x, y) or (x, y, weights) where no y "
                f"is given, got {type(batch).__name__}"
            )
        at = f"{self.name}: batch {number}"
        return self.check((f"{at}: x", f"{at}: y", f"{at}: weights"), batch)


def inputs(
    name: str,
    value: Any,
    dtype: np.dtype[Any],
    features: int = 0,
    finite: bool = True,
    mean: Array | None = None,
    sparse: bool = False,
) -> Table:
    """The rows of `value`, real numbers (rows, features), all of them checked.

    A `mean` is subtracted from what `dtype` would round; it is `Centred` then. What is
    a `Table` has been checked before. Sparse rows stay so if they may be `sparse`.
    """
    if isinstance(value, Table):
        fits = features in (0, value.held.shape[1])
        stays = sparse and not isinstance(value.held, np.ndarray)
        fits &= isinstance(value.whole, SparseRows) == stays
        if fits and value.dtype == dtype and mean is None:
            return value
        value = value.held
    rows = held(name, value)
    empty = np.empty([min(n, 1) for n in rows.shape], rows.dtype)
    if rows.ndim != 2 or features not in (0, rows.shape[1]):
        _checks.rows(name, np.broadcast_to(empty, rows.shape), dtype, features)
    integers = rows.dtype.kind in "biu"  # finite in either dtype
    rounded = not np.can_cast(rows.dtype, dtype)

    def convert(name: str, block: Array) -> Array:
        if mean is not None and rounded:
            block = _centre(block, mean, dtype)
        else:
            block = _checks.convert(block, dtype)
        if finite and not integers:
            _checks.finite(name, block)
        return block

    if sparse and not isinstance(rows, np.ndarray):
        return Table(rows, dtype, convert, _sparse(name, rows, dtype, finite))
    return _table(name, rows, dtype, convert)


def _sparse(name: str, rows: Any, dtype: np.dtype[Any], finite: bool) -> SparseRows:
    """Checked, and in that dtype."""
    values = _checks.convert(rows.data, dtype)
    made = SparseRows(values, rows.indices, rows.indptr, tuple(rows.shape))
    _core.check_sparse(name, made)
    if finite and rows.dtype.kind == "f":
        for start in range(0, len(values), _BLOCK):
            bad = ~np.isfinite(values[start : start + _BLOCK])
            if bad.any():
                entry = start + int(bad.argmax())
                row = int(np.searchsorted(rows.indptr, entry, "right")) - 1
                raise ValueError(
                    f"{name} must be finite in {dtype}, got {values[entry]} in row "
                    f"{row}, column {rows.indices[entry]}"
                )
    return made


def _centre(array: Array, mean: Array, dtype: np.dtype[Any]) -> Centred:
    made = np.empty(array.shape, dtype)
    wide = np.result_type(array, mean, np.float64)
    with np.errstate(over="ignore"):  # as `_checks.convert`
        np.subtract(array, mean, out=made, dtype=wide, casting="unsafe")
    return made.view(Centred)


def rows(
    goal: losses.Loss,
    x: Any,
    y: Any,
    sample_weight: ArrayLike | None,
    dtype: np.dtype[Any],
    width: Callable[[int], int],
    features: int,
    names: Sequence[str],
    signed: bool = False,
    mean: Array | None = None,
    sparse: bool = False,
) -> Rows:
    """Inputs, targets and weights, all checked; `width` is that of the outputs, and
    weights may be negative if they are `signed`."""
    if y is None:
        raise TypeError(f"{names[1]} must be given, unless {names[0]} gives batches")
    table = inputs(names[0], x, dtype, features, mean=mean, sparse=sparse)
    require_rows(names[0], table)
    outputs = width(table.held.shape[1])

    def convert(name: str, block: Array) -> Array:
        return goal.targets(block, outputs, dtype, name)

    targets = _table(names[1], held(names[1], y, _NAMES), dtype, convert)
    if len(table) != len(targets):
        raise ValueError(
            f"{names[1]} must have as many rows as {names[0]}, {len(table)}, "
            f"got {len(targets)}"
        )
    if sample_weight is None:
        return Rows(table, targets)
    weights = _weights(names[2], sample_weight, len(table), dtype, signed)
    return Rows(table, targets, weights)


def require_rows(name: str, table: Table) -> None:
    """Raise ValueError if there is nothing in it."""
    if 0 in table.held.shape:
        raise ValueError(
            f"{name} must have a row and a feature at least, got {table.held.shape}"
        )


def _weights(
    name: str, value: Any, n: int, dtype: np.dtype[Any], signed: bool
) -> Array:
    """`value` as the (n,) weights of rows: finite, and not negative unless signed."""
    array = _checks.numeric(name, held(name, value))
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    array = _checks.convert(array, dtype)
    bad = ~(np.isfinite(array) & (signed | (array >= 0)))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{name} must be finite{'' if signed else ' and >= 0'}, got {array[row]} "
            f"in row {row}"
        )
    return array


def gives_batches(value: Any) -> bool:
    """Whether it is no table of any kind, but an iterable."""
    return isinstance(value, Iterable) and not _is_table(value)


def gives_pair(value: Any) -> bool:
    """Whether it is (x, y) or (x, y, weights), and no batches of these.

    Their number does not tell, but the dimensions do: `x` has two of them.
    """
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        return False
    first = value[0]
    batch = isinstance(first, tuple | list) and len(first) in (2, 3)
    return not (batch and _dimensions(first[0]) >= 2)


def _dimensions(value: Any) -> int:
    if not isinstance(value, tuple | list):
        return len(value.shape) if hasattr(value, "shape") else np.ndim(value)
    return 1 + max(map(_dimensions, value[:1]), default=0)


def _is_table(value: Any) -> bool:
    kinds = "__array__", "__array_interface__", "to_numpy", "tocsr"
    return any(hasattr(value, each) for each in kinds)


def _labels(targets: Array) -> Array:
    """The classes of the rows."""
    if targets[:1].size == 1:
        return targets.reshape(-1)
    losses.class_weights(targets, {})  # raises where a row has not one class
    labels: Array = targets.argmax(axis=1)
    return labels


def sample(table: Table, rows: Array | None = None) -> Array:
    """These rows, or all: of more than 100 000 as many, spread evenly but at no period,
    as lines of a quasi-random sequence."""
    n = len(table) if rows is None else len(rows)
    if n > _SAMPLE:
        i = np.arange(_SAMPLE)
        places = (i + i * (math.sqrt(5) / 2 - 0.5) % 1) * (n / _SAMPLE)
        places = places.astype(np.int64)
        rows = places if rows is None else rows[places]
    return dense(table.take(slice(None) if rows is None else rows))


def standardization(
    table: Table, rows: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Mean and scale of the columns of these rows, or of all, by their weights.

    The mean has the table's dtype, but float64 where a column lies so far from zero
    that rounding it to this dtype could move what is standardized by 2**-20 or more.
    """
    mean, scale = moments(table.blocks(rows), weights)
    far = np.abs(mean) * np.finfo(table.dtype).eps >= 2.0**-19 * scale
    if not far.any() or np.can_cast(table.held.dtype, table.dtype):
        return mean.astype(table.dtype), scale
    sparse = isinstance(table.whole, SparseRows)
    double = inputs("x", table.held, np.dtype(np.float64), sparse=sparse)
    return moments(double.blocks(rows), weights)


def quartiles(table: Table, rows: Array | None = None) -> tuple[Array, Array]:
    """Median and spread of the columns of these rows, or of all.

    The spread is the distance of the quartiles, or where that is 0 half the range, or
    where that is 0 infinity. Quartiles are those of a `sample`, the range is that of
    all rows. The median is as fine as the mean of `standardization`.
    """
    rounded = not np.can_cast(table.held.dtype, table.dtype)
    exact = inputs("x", table.held, np.dtype(np.float64)) if rounded else table
    values = sample(exact, rows).astype(np.float64)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    spread = high - low
    if not spread.all():
        ends = [(block.min(axis=0), block.max(axis=0)) for block in exact.blocks(rows)]
        least, most = (np.array(each, np.float64) for each in zip(*ends, strict=True))
        half = most.max(axis=0) / 2 - least.min(axis=0) / 2
        spread = np.where(spread > 0, spread, np.where(half > 0, half, np.inf))
    far = np.abs(median) * np.finfo(table.dtype).eps >= 2.0**-19 * spread
    return median if rounded and far.any() else median.astype(table.dtype), spread


def moments(
    blocks: Iterable[Array], weights: Array | None = None
) -> tuple[Array, Array]:
    """Mean and scale of the columns, in float64, from one pass over blocks of rows,
    where a row of weight 2 counts as two.

    The scale is the standard deviation, or 1 for a constant column. Blocks are joined
    by the formula of Chan, Golub and LeVeque (Technical Report 222, Yale, 1979), which
    cancels nothing.

    Raises
    ------
    ValueError
        A spread that is not finite.
    """
    n, mean, squares = 0.0, np.zeros(()), np.zeros(())
    rest = None if weights is None else weights.astype(np.float64)
    low, high = np.array(np.inf), np.array(-np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks:
            own = None
            if rest is not None:
                own, rest = rest[: len(block)], rest[len(block) :]
                block, own = block[own > 0], own[own > 0]
                if not len(own):
                    continue
            count = float(len(block)) if own is None else own.sum()
            if isinstance(block, SparseRows):
                centre, spread, least, most = _sparse_moments(block, own, count)
            else:
                least, most = block.min(axis=0), block.max(axis=0)
                if own is None:
                    centre = block.mean(axis=0, dtype=np.float64)
                    spread = np.square(block - centre).sum(axis=0)
                else:
                    centre = own @ block / count
                    spread = own @ np.square(block - centre)
            shift, total = centre - mean, n + count
            mean = mean + shift * (count / total)
            squares = squares + spread + shift**2 * (n * count / total)
            low, high = np.minimum(low, least), np.maximum(high, most)
            n = total
        scale = np.sqrt(squares / n)
    if not np.isfinite(scale).all():
        column = int(np.isfinite(scale).argmin())
        raise ValueError(f"x must have a finite spread, got {column=} without")
    constant = low == high
    return np.where(constant, low, mean), np.where(constant, 1, scale)


def _sparse_moments(
    block: SparseRows, weights: Array | None, count: float
) -> tuple[Array, Array, Array, Array]:
    """Of the columns: means, sums of squares about them, the least and the largest."""
    rows, columns, values = block.entries()
    width = block.shape[1]
    own = np.ones(len(values)) if weights is None else weights[rows]
    centre = np.bincount(columns, own * values, width) / count
    spread = np.bincount(columns, own * np.square(values - centre[columns]), width)
    missing = count - np.bincount(columns, own, width)
    spread = spread + missing * np.square(centre)
    full = np.bincount(columns, minlength=width) == len(block)
    least, most = (np.where(full, bound, 0.0) for bound in (np.inf, -np.inf))
    np.minimum.at(least, columns, values)
    np.maximum.at(most, columns, values)
    return centre, spread, least, most


def held(name: str, value: Any, hint: str = "") -> Any:
    """`value` as an array of real numbers or a sparse matrix with rows; no copy."""
    if hasattr(value, "tocsr") and hasattr(value, "toarray"):
        if value.ndim != 2 or value.dtype.kind not in "biuf":
            raise TypeError(
                f"{name} must be 2-d and hold real numbers, got a sparse array of "
                f"{value.dtype} and shape {value.shape}"
            )
        return value.tocsr()
    if hasattr(value, "to_numpy"):
        value = _frame(name, value, hint)
    return _checks.numeric(name, value, hint)


def _frame(name: str, frame: Any, hint: str) -> Array:
    """A table or a column of pandas, polars or the like as an array; missing values
    become NaN."""
    dtypes: Any = getattr(frame, "dtypes", None)
    if hasattr(dtypes, "items"):  # pandas: names may come twice
        columns = list(dtypes.items())
    elif isinstance(dtypes, list):  # polars
        columns = list(zip(frame.columns, dtypes, strict=True))
    else:
        columns = []
    others = [f"{c!r} ({dtype})" for c, dtype in columns if not _real(dtype)]
    if others:
        more = f" and {len(others) - 8} more" if len(others) > 8 else ""
        raise TypeError(
            f"{name} must hold real numbers, got others in columns "
            f"{', '.join(others[:8])}{more}{hint}"
        )
    array = np.asarray(frame.to_numpy())
    if array.dtype != object or not (columns or _real(getattr(frame, "dtype", None))):
        return array
    if hasattr(frame, "iloc"):  # pandas, whose missing value is an object
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    return array.astype(np.float64)


def _real(dtype: Any) -> bool:
    """Whether a column of that type of pandas or polars holds real numbers."""
    if hasattr(dtype, "kind"):
        return dtype.kind in tuple("biuf")
    numeric = getattr(dtype, "is_numeric", lambda: False)
    return bool(numeric()) or str(dtype) == "Boolean"


def _table(
    name: str,
    held: Any,
    dtype: np.dtype[Any],
    convert: Callable[[str, Array], Array],
) -> Table:
    """All rows checked, and converted if they may be."""
    column = math.prod(held.shape[1:]) <= 1  # no larger than the order of the rows
    ready = isinstance(held, np.ndarray)
    large = dtype.itemsize * held.size > _WHOLE
    if ready and (column or not (large or _mapped(held))):
        return Table(held, dtype, convert, convert(name, held))
    for part in _parts(held.shape):
        block = dense(held[part])
        made = convert(f"{name}[{part.start}:{part.stop}]", block)
        ready = ready and np.may_share_memory(made, block)
    return Table(held, dtype, convert, np.asarray(held) if ready else None)


def dense(rows: Any) -> Array:
    """Sparse rows as an array; an array as it is."""
    made: Array = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return made


def _parts(shape: tuple[int, ...]) -> Iterator[slice]:
    size = max(1, _BLOCK // max(1, math.prod(shape[1:])))
    return (slice(i, min(i + size, shape[0])) for i in range(0, shape[0], size))


def _mapped(array: Any) -> bool:
    """Whether the values lie in a file."""
    while array is not None:
        if isinstance(array, np.memmap | mmap.mmap):
            return True
        array = getattr(array, "base", None)
    return False
