"""Relations: the part of a log that a call has to read, as text that may follow FROM."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import ibis.expr.datatypes as dt

from monitor.engine import NANOSECONDS, Columns, DuckDB, Engine, quoted
from monitor.errors import SourceError
from monitor.partitions import Near
from monitor.window import EPOCH

MICRO = timedelta(microseconds=1)
FAR = 2 ** 61
FIRST, LAST = (int((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) / MICRO) for year in (2, 9800))
"""Logs hold times such as 9999-12-31T23:59:59 for what never ends, or a unit's thousandfold: what
lies beyond these years is taken for them, so that a century more is still in the calendar."""


def to_micros(instant: datetime) -> int:
    """Microseconds since the Unix epoch."""
    return (instant - EPOCH) // MICRO


def from_micros(value: int) -> datetime:
    """The instant that ``to_micros`` came from, between the first and the last year."""
    return EPOCH + timedelta(microseconds=min(max(value, FIRST), LAST))


@dataclass(frozen=True, slots=True)
class Need:
    """Which rows a call can need, in microseconds: a superset that only saves reading.

    Rows with ``start <= event < end`` and ``arrival < before``, and, of these, those with
    ``event >= event_from`` or ``arrival >= arrival_from``. ``near``: folders with dates outside of
    it hold none of them.
    """

    start: int = -FAR
    end: int = FAR
    before: int = FAR
    event_from: int = -FAR
    arrival_from: int = -FAR
    near: Near | None = None


EVERYTHING = Need()


@dataclass(frozen=True, slots=True)
class Clock:
    """The columns that say when: names, and the time zone of values that carry none."""

    timestamp: str | None
    arrival: str | None
    timezone: str


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be read: a relation, its columns, and the number of its rows where known.

    ``extent``: first and last event time, where every row of it is needed.
    """

    relation: str
    columns: tuple[tuple[str, dt.DataType], ...]
    rows: int | None
    extent: tuple[int, int] | None = None


class Relation(Protocol):
    """A log, label or feature table: files or a table of a database."""

    def columns(self) -> Columns:
        """Columns of the whole, without those that privacy drops."""

    def part(self, need: Need) -> Part | None:
        """What has to be read; None when nothing can matter."""


@dataclass(frozen=True)
class Table:
    """A table or query of a database."""

    engine: Engine
    source: str
    name: str
    clock: Clock
    hidden: frozenset[str]

    def columns(self) -> Columns:
        columns = self.engine.columns(self.name)
        return {name: dtype for name, dtype in columns.items() if name not in self.hidden}

    def part(self, need: Need) -> Part:
        columns = self.columns()
        names = ", ".join(quoted(name) for name in columns)
        where = filters(need, self.clock, columns)
        relation = f"(SELECT {names} FROM {exact(self.name, columns)}{where})"  # noqa: S608
        return Part(relation, tuple(columns.items()), None)


def table_of(engine: Engine, source: str, clock: Clock, *, name: str | None,
             query: str | None = None, hidden: Collection[str] = ()) -> Table:
    """The relation of a database source; ``SourceError`` when neither table nor query is given."""
    if query is not None:
        text = f"({query.strip().rstrip(';')}) AS holdfast_query"
        if isinstance(engine, DuckDB):
            engine.attach(source.partition("://")[2], default=True)
        return Table(engine, source, text, clock, frozenset(hidden))
    if name is None:
        raise SourceError(f"{source.split('://')[0]}://…: a database needs `table` or `query`")
    text = ".".join(quoted(part) for part in name.split("."))
    if isinstance(engine, DuckDB):
        text = f"{engine.attach(source.partition('://')[2])}.{text}"
    return Table(engine, source, text, clock, frozenset(hidden))


def exact(relation: str, columns: Columns) -> str:
    """The relation with instants in microseconds, all that DuckDB can compare and count with."""
    cast = ", ".join(f"{quoted(name)}::TIMESTAMPTZ AS {quoted(name)}"
                     for name, dtype in columns.items() if dtype == NANOSECONDS)
    return f"(SELECT * REPLACE ({cast}) FROM {relation})" if cast else relation  # noqa: S608


def filters(need: Need, clock: Clock, columns: Columns) -> str:
    """A WHERE clause that the engine can use to skip rows; '' where there is none."""
    event = columns.get(clock.timestamp or "")
    arrival = columns.get(clock.arrival or "")
    conditions = [_compare(clock.timestamp, event, ">=", need.start, clock),
                  _compare(clock.timestamp, event, "<", need.end, clock)]
    newer = [_compare(clock.timestamp, event, ">=", need.event_from, clock)]
    if arrival is not None and clock.arrival:
        early = _compare(clock.arrival, arrival, "<", need.before, clock)
        conditions.append(early and f"({early} OR {quoted(clock.arrival)} IS NULL)")
        newer.append(_compare(clock.arrival, arrival, ">=", need.arrival_from, clock))
    if all(newer):
        conditions.append("(" + " OR ".join(str(part) for part in newer) + ")")
    kept = [condition for condition in conditions if condition]
    return " WHERE " + " AND ".join(kept) if kept else ""


def _compare(name: str | None, dtype: dt.DataType | None, operator: str, bound: int,
             clock: Clock) -> str | None:
    """``column >= instant`` in the column's own type; None where it says nothing or cannot."""
    if name is None or dtype is None or abs(bound) >= FAR:
        return None
    if not -(10 ** 15) * 50 < bound < 10 ** 17:
        return None
    instant = from_micros(bound)
    if not isinstance(dtype, dt.Timestamp):
        return None
    if dtype.timezone:
        return f"{quoted(name)} {operator} TIMESTAMPTZ '{instant:%Y-%m-%d %H:%M:%S.%f}+00'"
    if clock.timezone != "UTC":
        instant += timedelta(days=1) if operator == "<" else timedelta(days=-1)
    return f"{quoted(name)} {operator} TIMESTAMP '{instant:%Y-%m-%d %H:%M:%S.%f}'"
