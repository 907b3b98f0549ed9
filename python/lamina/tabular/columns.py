"""What the columns of a table are, and the numbers that a net gets of them.

Frames are read through narwhals, which scikit-learn brings along: those of pandas,
polars, pyarrow and others alike.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import numbers
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

import narwhals.stable.v2 as nw
import numpy as np

from lamina._checks import Array

__all__ = [
    "CLIP",
    "DAY",
    "FAR",
    "Column",
    "Columns",
    "Frame",
    "Kinds",
    "has_codes",
    "is_gap",
]

Kind = Literal["number", "boolean", "category", "date", "unused"]

_MOST_HOT = 8  # values of a category that become a column each; above, a learnt vector
_NUMERALS = 20  # texts that read like numbers are numbers if there are more than these
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
DAY = 86_400e6  # microseconds
CLIP = 3.0
FAR = 1e150  # its square is finite


@dataclasses.dataclass
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
    kind : {"number", "boolean", "category", "date", "unused"}
    values : list of str
        Those of a category, by their codes. Others are unknown: of more than eight
        those that came once, and what comes at prediction.
    gaps : bool
        Whether it had some; they are then known by a column or a code of their own.
    note : str
        Why it is unused.
    """

    name: str
    kind: Kind
    values: list[str] = dataclasses.field(default_factory=list)
    gaps: bool = False
    note: str = ""
    parts: list[int] = dataclasses.field(default_factory=list)  # of a date, those used

    def __str__(self) -> str:
        about = self.note
        if self.kind == "category":
            some = ", ".join(self.values[:4]) + (" ..." if len(self.values) > 4 else "")
            about = f"{len(self.values)} values: {some}"
        gaps = ", with gaps" if self.gaps else ""
        return f"{self.name}: {self.kind}{gaps}{about and f' ({about})'}"


class Frame:
    """Columns of a table as arrays: of float64 with NaN for gaps, or of text with None.

    Parameters
    ----------
    table : DataFrame or array
    learnt : sequence of Column
        At prediction, what its columns were: what a category holds is text then, and
        no row's meaning goes by the other rows.
    named : bool
        Whether columns of a frame go by the names of `learnt`.

    Attributes
    ----------
    names : list of str or None
        None for an array, whose columns go by their places.
    kinds : list of {"number", "boolean", "date", "text"}
    columns : list of (n,) arrays
        Dates are microseconds since 1970.
    rows : int
    """

    def __init__(
        self, table: Any, learnt: Sequence[Column] = (), named: bool = False
    ) -> None:
        self.names: list[str] | None = None
        if nw.dependencies.is_into_dataframe(table):
            frame = nw.from_native(table, eager_only=True)
            self.names = [str(name) for name in frame.columns]
            counts = collections.Counter(self.names)
            twice = {name for name in counts if counts[name] > 1}
            if twice:
                raise ValueError(
                    f"X must have different columns, got {min(twice)!r} twice"
                )
            self.rows = len(frame)
            places = list(range(len(self.names)))
            if named:
                places = _places(self.names, [column.name for column in learnt])
            self.names = [self.names[i] for i in places]
            given = [frame[:, i] for i in places]
            read = list(map(_of_series, self.names, given, _texts_of(learnt, given)))
        else:
            array = np.asarray(table)
            self.rows = len(array)
            given = list(array.T)
            names = [f"x{i}" for i in range(len(given))]
            read = [
                (_of_array if as_text else _of_values)(name, values)
                for name, values, as_text in zip(
                    names, given, _texts_of(learnt, given), strict=True
                )
            ]
        self.kinds = [kind for kind, _ in read]
        self.columns = [values for _, values in read]


def _places(names: list[str], wanted: Sequence[str]) -> list[int]:
    places = {name: i for i, name in enumerate(names)}
    missing = [name for name in wanted if name not in places]
    if missing:
        raise ValueError(
            "X must have the columns that were learnt from, got none named "
            f"{', '.join(map(repr, missing))}"
        )
    return [places[name] for name in wanted]


def _texts_of(learnt: Sequence[Column], given: list[Any]) -> list[bool]:
    """Which columns are text whatever they look like."""
    return [c.kind == "category" for c in learnt] or [False] * len(given)


def is_gap(value: Any) -> bool:
    """None, NaN, NaT, or NA of pandas, which has no truth value."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _of_array(name: str, values: Array) -> tuple[str, Array]:
    """As text."""
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]")
    return "text", _texts(name, values.tolist(), others=True)


def _of_series(name: str, series: Any, as_text: bool) -> tuple[str, Array]:
    dtype = series.dtype
    if as_text or dtype in (nw.Categorical, nw.Enum):
        return "text", _texts(name, series.to_list(), others=True)
    if dtype.is_numeric() or dtype == nw.Boolean:
        kind = "boolean" if dtype == nw.Boolean else "number"
        return kind, _finite(
            name, np.asarray(series.cast(nw.Float64).to_numpy(), float)
        )
    if dtype in (nw.Datetime, nw.Date):
        return "date", np.asarray(
            series.dt.timestamp("us").cast(nw.Float64).to_numpy(), float
        )
    if dtype == nw.Duration:
        spans = series.to_numpy().astype("timedelta64[us]")
        return "number", _microseconds(spans)
    return _of_values(name, series.to_list())


def _of_values(name: str, values: Any) -> tuple[str, Array]:
    """Values of Python, or an array of NumPy."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufmM":
        if values.dtype.kind == "M":
            return "date", _microseconds(values.astype("datetime64[us]"))
        if values.dtype.kind == "m":
            return "number", _microseconds(values.astype("timedelta64[us]"))
        kind = "boolean" if values.dtype.kind == "b" else "number"
        return kind, _finite(name, values.astype(np.float64))
    if isinstance(values, np.ndarray):
        values = values.tolist()
    gaps = np.array(list(map(is_gap, values)), bool)
    there = [value for value, gap in zip(values, gaps, strict=True) if not gap]
    read = _alike(name, there)
    if read is None:
        return "text", _texts(name, values)
    kind, found = read
    full = np.full(len(values), np.nan)
    full[~gaps] = found
    return kind, _finite(name, full)


def _texts(name: str, values: list[Any], others: bool = False) -> Array:
    def read(value: Any) -> str | None:
        return None if is_gap(value) else _text(name, value, others)

    return np.array([v if type(v) is str else read(v) for v in values], object)


def _alike(name: str, values: list[Any]) -> tuple[str, Any] | None:
    """What values are that are all of one kind; None: text."""
    kinds = set(map(type, values))
    if not kinds:
        return "number", []
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return "boolean", np.array(values, np.float64)
    if all(issubclass(kind, numbers.Real | decimal.Decimal) for kind in kinds):
        try:
            return "number", np.array(values, np.float64)
        except OverflowError as error:
            raise ValueError(
                f"column {name!r} of X must hold numbers of float64, got one beyond"
            ) from error
    if all(issubclass(kind, datetime.timedelta) for kind in kinds):
        return "number", _microseconds(np.array(values, "timedelta64[us]"))
    if all(issubclass(kind, datetime.date) for kind in kinds):
        naive = [
            v.astimezone(datetime.UTC).replace(tzinfo=None)
            if isinstance(v, datetime.datetime) and v.tzinfo
            else v
            for v in values
        ]
        return "date", _microseconds(np.array(naive, "datetime64[us]"))
    if not all(issubclass(kind, str) for kind in kinds):
        return None
    if all(map(_DATE.fullmatch, values)):
        try:
            return "date", _microseconds(np.array(values, "datetime64[us]"))
        except ValueError:  # a thirteenth month
            return None
    if len(set(values)) > _NUMERALS:
        try:
            return "number", [float(value) for value in values]
        except ValueError:
            return None
    return None


def _text(name: str, value: Any, others: bool) -> str:
    """`others`: what is neither text, number nor date as Python writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.date):
        return value.isoformat()
    if others or isinstance(value, numbers.Number | np.generic | datetime.time | bytes):
        return str(value)
    raise TypeError(
        f"column {name!r} of X: argument must be a string or a number, got "
        f"{type(value).__name__}"
    )


def _microseconds(values: Array) -> Array:
    made = values.astype(np.int64).astype(np.float64)
    made[np.isnat(values)] = np.nan
    return made


def _finite(name: str, values: Array) -> Array:
    if np.isinf(values).any():
        raise ValueError(
            f"X must not contain infinity, got {values[np.isinf(values)][0]} in column "
            f"{name!r}"
        )
    return values


@dataclasses.dataclass(frozen=True)
class Kinds:
    """Of the columns that a net gets: first come `amounts`, numbers that have an order,
    then flags, and last codes, of those `sizes`."""

    features: int
    amounts: int
    sizes: list[int]


class Columns:
    """Learns what columns are, and makes rows of numbers of them.

    The rows have, in this order, numbers that lie in (-3, 3), flags, which are scaled
    alike, and codes of categories of more than eight values, with -1 for the unknown.
    Numbers are those of Holzmüller et al. 2024 (RealMLP): ``u = (x - median) / (q75 -
    q25)``, then ``u / sqrt(1 + (u / 3)**2)``; where the quartiles are equal, half the
    range takes their place. Gaps are 0, the median, with a column that says so.
    Categories of up to eight values have a column for each, of two values one.

    Parameters
    ----------
    frame : Frame
    weights : (n,) array or None
        Of the rows, all above 0.

    Attributes
    ----------
    columns : list of Column
    centre, scale : (p,) arrays
        Of the columns of numbers.
    """

    def __init__(self, frame: Frame, weights: Array | None) -> None:
        names = frame.names or [f"x{i}" for i in range(len(frame.columns))]
        self.named = frame.names is not None
        self.columns = list(map(_learn, names, frame.kinds, frame.columns))
        found = [_quantiles(column, weights) for column in self._numbers(frame)]
        self.centre, self.scale = np.array(found).reshape(-1, 2).T

    @property
    def kinds(self) -> Kinds:
        """What the columns of `rows` are."""
        sizes = [len(c.values) + c.gaps for c in self.columns if has_codes(c)]
        amounts = sum(
            len(c.parts) if c.kind == "date" else c.kind == "number"
            for c in self.columns
        )
        return Kinds(max(1, len(self.centre) + len(sizes)), amounts, sizes)

    def check(self) -> None:
        """Raise ValueError where parts read from a file do not fit together."""
        for column in self.columns:
            if column.kind not in get_args(Kind):
                raise ValueError(f"kinds must be {get_args(Kind)}, got {column.kind!r}")
        empty = Frame(np.empty((0, len(self.columns))), self.columns)
        shape = (len(self._numbers(empty)),)
        if not self.centre.shape == self.scale.shape == shape:
            raise ValueError(
                f"centre and scale must have shape {shape}, got {self.centre.shape} "
                f"and {self.scale.shape}"
            )

    @property
    def names(self) -> list[str] | None:
        """By which columns go, if not by their places."""
        return [column.name for column in self.columns] if self.named else None

    def rows(self, frame: Frame) -> Array:
        """Its rows, in float32; it has the columns learnt, in their order."""
        numbers, codes = self._numbers(frame), self._codes(frame)
        made = np.zeros((frame.rows, self.kinds.features), np.float32)
        for i, column in enumerate(numbers):
            with np.errstate(over="ignore"):  # infinity is as far away
                u = (column - self.centre[i]) * self.scale[i]
            u = np.clip(u, -FAR, FAR)
            u /= np.sqrt(1 + np.square(u / CLIP))
            made[:, i] = np.nan_to_num(u, copy=False, nan=0.0)
        for i, column in enumerate(codes, len(numbers)):
            made[:, i] = column
        return made

    def _numbers(self, frame: Frame) -> list[Array]:
        """Columns of numbers, with NaN for gaps: amounts, then flags."""
        amounts, flags = list[Array](), list[Array]()
        for column, kind, values in zip(
            self.columns, frame.kinds, frame.columns, strict=True
        ):
            if column.kind == "category" and not has_codes(column):
                codes = _codes(column, values)
                two = len(column.values) == 2 and not column.gaps
                hot = range(1 if two else len(column.values) + column.gaps)
                unknown = 0.5 if two else 0.0
                flags += [np.where(codes < 0, unknown, codes == i) for i in hot]
            elif column.kind not in ("unused", "category"):
                values = _as_numbers(column, kind, values)
                if column.kind == "date":
                    parts = _parts(values)
                    amounts += [parts[i] for i in column.parts]
                else:
                    (flags if column.kind == "boolean" else amounts).append(values)
                if column.gaps:
                    flags.append(np.isnan(values).astype(np.float64))
        return amounts + flags

    def _codes(self, frame: Frame) -> list[Array]:
        every = zip(self.columns, frame.columns, strict=True)
        return [_codes(*each) for each in every if has_codes(each[0])]


def has_codes(column: Column) -> bool:
    """Whether a net gets its codes, and not a flag for each value."""
    return column.kind == "category" and len(column.values) > _MOST_HOT


def _learn(name: str, kind: str, values: Array) -> Column:
    if kind != "text":
        gaps = np.isnan(values)
        there = values[~gaps]
        column = Column(name, kind, gaps=bool(gaps.any()))  # type: ignore[arg-type]
        if not len(there):
            return Column(name, "unused", note="empty")
        if not column.gaps and (there == there[0]).all():
            return Column(name, "unused", note="one value")
        if kind == "date":
            parts = _parts(there)
            column.parts = [i for i, part in enumerate(parts) if np.ptp(part) > 0]
        return column
    gaps = np.array([value is None for value in values], bool)
    if gaps.all():
        return Column(name, "unused", note="empty")
    counts = collections.Counter(values[~gaps])
    found = sorted(counts)
    if len(found) == 1 and not gaps.any():
        return Column(name, "unused", note="one value")
    often = found if len(found) <= _MOST_HOT else [v for v in found if counts[v] > 1]
    if not often:
        return Column(name, "unused", note=f"text, {len(found)} values that come once")
    return Column(name, "category", often, bool(gaps.any()))


def _codes(column: Column, values: Array) -> Array:
    """Those of a category: the last of a gap, -1 of the unknown."""
    known: dict[str | None, int] = {v: i for i, v in enumerate(column.values)}
    if column.gaps:
        known[None] = len(known)
    return np.array([known.get(value, -1) for value in values], np.int64)


def _as_numbers(column: Column, kind: str, values: Array) -> Array:
    if kind == "text" and column.kind != "date":
        try:
            found = [np.nan if v is None else float(v) for v in values]
        except ValueError:
            pass
        else:
            return _finite(column.name, np.array(found))
    if (kind == "date") == (column.kind == "date") and kind != "text":
        return values
    got = {"text": "text", "date": "dates"}.get(kind, "numbers")
    if kind == "number" and np.isnan(values).all():
        return values
    raise ValueError(
        f"column {column.name!r} of X must hold {column.kind}s, as in fit, got {got}"
    )


def _parts(microseconds: Array) -> list[Array]:
    """The day with its fraction, month, day of the month, day of the week, hour."""
    known = np.nan_to_num(microseconds)
    when = known.astype("datetime64[us]")
    days = when.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    parts = [
        microseconds / DAY,
        months.astype(np.int64) % 12,
        (days - months).astype(np.int64),
        (days.astype(np.int64) + 3) % 7,
        (when - days).astype("timedelta64[h]").astype(np.int64),
    ]
    return [np.where(np.isnan(microseconds), np.nan, part) for part in parts]


def _quantiles(column: Array, weights: Array | None) -> tuple[float, float]:
    """Centre and factor."""
    there = ~np.isnan(column)
    values = column[there]
    if not len(values):
        return 0.0, 0.0
    # A method by which a weight of 2 is a row that comes twice.
    low, centre, high = np.quantile(
        values,
        [0.25, 0.5, 0.75],
        weights=None if weights is None else weights[there],
        method="inverted_cdf",
    )
    spread = high - low or np.ptp(values) / 2
    return float(centre), float(1 / spread) if spread > 0 else 0.0
