"""Differences: columns that bins expect and a log lacks, or holds as another type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import ibis
import ibis.expr.datatypes as dt

from monitor.bins import Bins, FeatureBins
from monitor.cells import kind_of, number
from monitor.files import Facts, Files
from monitor.partitions import Near
from monitor.relation import MICRO, Need, from_micros, to_micros
from monitor.rows import LOG, compiled, field, filled, flattened
from monitor.tables import Tables
from monitor.window import Window

Found = tuple[Window, str, str]
_FITTING = {"numeric": ("numeric", "boolean"), "datetime": ("datetime",),
            "boolean": ("boolean",), "categorical": ("categorical", "boolean", "numeric",
                                                     "datetime")}


@dataclass(frozen=True, slots=True)
class Held:
    """The columns of one file, or of a table, and the event time that they hold for."""

    where: str
    window: Window
    relation: str
    columns: Mapping[str, dt.DataType]


def differences(tables: Tables, bins: Bins, span: Window) -> list[Found]:
    """Faults of columns within the span, oldest first; consecutive files share one fault."""
    faults = []
    expected = _expected(tables, bins)
    for held in _held(tables, span):
        new = sorted(_new(tables, held, expected, span))
        for name, kind in expected.items():
            message = _difference(tables, held, (name, kind), new)
            if message:
                faults.append((held.window, name, f"{held.where}: {message}"))
    return sorted(faults + _undated(tables, span), key=lambda item: (item[0], item[1], item[2]))


def _expected(tables: Tables, bins: Bins) -> dict[str, str]:
    """Column -> kind that the bins were made for ('' where any will do)."""
    elsewhere = tables.labels is not None
    expected: dict[str, str] = dict.fromkeys(tables.roles.columns, "")
    expected.update(dict.fromkeys(tables.model.log.segments, ""))
    expected.update({item.name: _kind(tables, item) for item in bins.features
                     if not (item.role == "label" and elsewhere)})
    expected.update({name: told.type or expected.get(name, "")
                     for name, told in tables.model.log.expect.items()})
    return expected


def _kind(tables: Tables, item: FeatureBins) -> str:
    free = {*tables.model.log.features.categorical, *tables.model.privacy.hash}
    return "" if item.name in free or item.role in ("prediction", "label") else item.kind


def _held(tables: Tables, span: Window) -> Iterable[Held]:
    if not isinstance(tables.log, Files):
        part = tables.log.part(Need(to_micros(span.start), to_micros(span.end)))
        if part is None:
            return
        columns = flattened(dict(part.columns))
        if tables.features is not None:
            columns = {**flattened(tables.features.columns()), **columns}
        yield Held(tables.model.log.table or "the query", span, part.relation, columns)
        return
    need = Need(to_micros(span.start), to_micros(span.end))
    others = flattened(tables.features.columns()) if tables.features is not None else {}
    for facts in tables.log.index(tables.near(need)):
        if facts.low is None or facts.high is None or not facts.matters(need, tables.log.clock):
            continue
        window = Window(max(span.start, from_micros(facts.low)),
                        min(span.end, from_micros(facts.high) + MICRO))
        yield Held(facts.path, window, tables.log.only(facts), {
            **others, **flattened(dict(facts.columns))})


def _difference(tables: Tables, held: Held, column: tuple[str, str], new: list[str]) -> str:
    name, expected = column
    if name in tables.model.privacy.drop:
        return ""
    table = ibis.table(dict(held.columns), name=LOG)
    found = held.columns.get(name)
    if found is None:
        value = field(table, name)
        if value is None:
            return _missing(name, new)
        found = value.type()
    kind = kind_of(found)
    told = tables.model.log.expect.get(name)
    declared = told is not None and told.type is not None
    if not expected or kind == expected or (kind in _FITTING[expected] and not declared):
        return ""
    if expected == "numeric" and kind == "categorical" and _converts(tables, held, name):
        return ""
    if expected == "datetime" and kind == "categorical":
        return ""
    source = "as declared" if declared else "as in the reference"
    return (f"column {name!r} is {kind} ({found}); right would be {expected}, {source}: "
            "values that do not convert are counted as invalid")


def _missing(name: str, new: list[str]) -> str:
    near = _similar(name, new)
    hint = f"; {near!r} is new and may be its new name" if near else ""
    return (f"column {name!r} is absent{hint}; right would be a column {name!r}: "
            "its rows are counted as null")


def _similar(name: str, new: list[str]) -> str | None:
    """The new column that is most likely the missing one under another name."""
    close = difflib.get_close_matches(name, new, 1, 0.6)
    holds = [other for other in new if name.lower() in other.lower()
             or other.lower() in name.lower()]
    return next(iter(close + holds), new[0] if len(new) == 1 else None)


def _new(tables: Tables, held: Held, expected: Mapping[str, str], span: Window) -> set[str]:
    """Columns that neither the bins nor all other files of the log know."""
    chosen = tables.model.log.features
    new = set(held.columns) - {*expected, *chosen.exclude, *tables.model.privacy.drop}
    if not isinstance(tables.log, Files):
        return new
    kinds = {item.columns for item in tables.log.index(_near(tables, span))}
    everywhere = set.intersection(*[{name for name, _ in columns} for columns in kinds])
    return new if len(kinds) == 1 else new - everywhere


def _converts(tables: Tables, held: Held, name: str) -> bool:
    """Whether every value of a text column is a number after all (CSV of one type too many)."""
    table = ibis.table({name: held.columns[name]}, name=LOG) if name in held.columns else None
    if table is None:
        return False
    wrong = table[name].notnull() & number(table[name]).isnull()
    sql = compiled(table.agg(wrong=wrong.sum(), n=table[name].count()), tables.engine.dialect)
    count, known = tables.engine.fetch(filled(sql, {LOG: held.relation}, {}))[0]
    text_format = held.where.endswith((".csv", ".tsv", ".json", ".jsonl", ".ndjson"))
    return not count and (text_format or not known)


def _near(tables: Tables, span: Window) -> Near:
    return tables.near(Need(to_micros(span.start), to_micros(span.end)))


def _undated(tables: Tables, span: Window) -> list[Found]:
    """Files whose rows have no event time: they can be in no pane, so every span is told."""
    if not isinstance(tables.log, Files) or tables.roles.timestamp is None:
        return []
    name = tables.roles.timestamp
    told = []
    for facts in tables.log.index(_near(tables, span)):
        if facts.blank:
            told.append((_around(facts, span), name, _undated_words(facts, name)))
    return told


def _undated_words(facts: Facts, name: str) -> str:
    if not any(column == name for column, _ in facts.columns):
        return (f"{facts.path}: column {name!r} (log.timestamp) is absent; right would be a column "
                f"{name!r}: its {facts.blank} rows are not counted")
    return (f"{facts.path}: {facts.blank} of {facts.rows} rows have no readable {name!r}; right "
            "would be times such as 2026-01-31T06:00:00Z: they are not counted")


def _around(facts: Facts, span: Window) -> Window:
    if facts.low is None or facts.high is None:
        return span
    low, high = from_micros(facts.low), from_micros(facts.high) + timedelta(microseconds=1)
    inside = low < span.end and high > span.start
    return Window(max(low, span.start), min(high, span.end)) if inside else span
