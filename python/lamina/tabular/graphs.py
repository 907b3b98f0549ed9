"""An estimator of tables as an ONNX graph of the raw columns."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lamina.exchange.to_onnx import Graph
from lamina.tabular.columns import CLIP, DAY, FAR, Column, Columns, has_codes

__all__ = ["begin"]


def begin(est: Any, opset: int) -> tuple[Graph, list[str]]:
    """A graph of the columns, and the mean answers of each group of nets."""
    graph = Graph("float32", opset)
    rows = _rows(graph, est._columns, est.n_features_in_)
    answers = []
    for i, nets in enumerate(est._groups):
        found = [graph.net(net, rows, scope=f"{i}.{k}.") for k, net in enumerate(nets)]
        total = functools.reduce(lambda a, b: graph.add("Add", a, b), found)
        answers.append(graph.add("Div", total, graph.number(len(found))))
    return graph, answers


def _rows(g: Graph, columns: Columns, features: int) -> str:
    """What `Columns.rows` makes, from an input for each column, or from one for all
    where they are numbers without names."""
    used = [column for column in columns.columns if column.kind != "unused"]
    matrix = not columns.named and all(c.kind != "category" for c in used)
    table = g.input("x", np.float64, features) if matrix else ""
    amounts, flags, codes = list[str](), list[str](), list[str]()
    for i, column in enumerate(columns.columns):
        if column.kind == "unused":
            continue
        if column.kind == "category":
            code = _code(g, column)
            if has_codes(column):
                codes.append(g.add("Cast", code, to=1))
            else:
                flags.append(_hot(g, column, code))
            continue
        values = (
            g.columns(table, [i]) if matrix else g.input(column.name, np.float64, 1)
        )
        if column.kind == "date":
            amounts += _parts(g, values, column.parts)
        else:
            (flags if column.kind == "boolean" else amounts).append(values)
        if column.gaps:
            flags.append(g.add("Cast", g.add("IsNaN", values), to=11))
    rows = [_scaled(g, columns, amounts + flags)] if amounts + flags else []
    return g.add("Concat", *rows, *codes, axis=1)


def _scaled(g: Graph, columns: Columns, parts: list[str]) -> str:
    u = g.add("Concat", *parts, axis=1)
    u = g.add("Sub", u, g.array("centre", columns.centre))
    u = g.add("Mul", u, g.array("factor", columns.scale))
    u = g.add("Where", g.add("IsNaN", u), _double(g, 0), u)
    u = g.add("Max", g.add("Min", u, _double(g, FAR)), _double(g, -FAR))
    square = g.add("Div", u, _double(g, CLIP))
    square = g.add("Mul", square, square)
    root = g.add("Sqrt", g.add("Add", square, _double(g, 1)))
    return g.add("Cast", g.add("Div", u, root), to=1)


def _code(g: Graph, column: Column) -> str:
    """That of a text; "" is a gap unless it is a value."""
    values = list(column.values)
    values += [""] if column.gaps and "" not in values else []
    return g.add(
        "LabelEncoder",
        g.input(column.name, str, 1),
        domain="ai.onnx.ml",
        keys_strings=values,
        values_int64s=range(len(values)),
        default_int64=-1,
    )


def _hot(g: Graph, column: Column, code: str) -> str:
    two = len(column.values) == 2 and not column.gaps
    count = 1 if two else len(column.values) + column.gaps
    wanted = g.array("codes", np.arange(count, dtype=np.int64))
    flags = g.add("Cast", g.add("Equal", code, wanted), to=11)
    if not two:
        return flags
    unknown = g.add("Less", code, g.array("none", np.array(0, np.int64)))
    return g.add("Where", unknown, _double(g, 0.5), flags)


def _parts(g: Graph, microseconds: str, wanted: list[int]) -> list[str]:
    """Those of a date: the day with its fraction, month, day of the month, day of the
    week, hour. Months are those of the proleptic Gregorian calendar, counted from March
    (Hinnant, "chrono-compatible low-level date algorithms")."""

    def by(op: str, a: str, number: float) -> str:
        return g.add(op, a, _double(g, number))

    def whole(a: str, number: float) -> str:
        return g.add("Floor", by("Div", a, number))

    def rest(a: str, number: float) -> str:
        return g.add("Sub", a, by("Mul", whole(a, number), number))

    exact = by("Div", microseconds, DAY)
    day = g.add("Floor", exact)
    of_era = rest(by("Add", day, 719468), 146097)
    leaps = g.add("Sub", whole(of_era, 36524), whole(of_era, 1460))
    leaps = g.add("Sub", leaps, whole(of_era, 146096))
    year = whole(g.add("Add", of_era, leaps), 365)
    before = g.add("Sub", whole(year, 4), whole(year, 100))
    before = g.add("Add", by("Mul", year, 365), before)
    of_year = g.add("Sub", of_era, before)
    month = whole(by("Add", by("Mul", of_year, 5), 2), 153)  # from March
    start = whole(by("Add", by("Mul", month, 153), 2), 5)
    parts = [
        exact,
        rest(by("Add", month, 2), 12),
        g.add("Sub", of_year, start),
        rest(by("Add", day, 3), 7),
        whole(g.add("Sub", microseconds, by("Mul", day, DAY)), DAY / 24),
    ]
    return [parts[i] for i in wanted]


def _double(g: Graph, value: float) -> str:
    return g.number(value, np.float64)
