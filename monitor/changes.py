"""Changes: fingerprints of a log and the event time that moved since an earlier one."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass

import ibis
import ibis.expr.datatypes as dt

from monitor.files import Facts, Files, micros_of
from monitor.partitions import Near
from monitor.relation import EVERYTHING, Clock, Relation, from_micros, to_micros
from monitor.rows import LOG, compiled, filled
from monitor.tables import Tables
from monitor.window import EPOCH, Window

Mark = list[object]


@dataclass(frozen=True, slots=True)
class Change:
    """A fingerprint of the log, and the event time that changed since another one.

    ``span`` is None when nothing changed.
    """

    fingerprint: str
    span: Window | None


def held(tables: Tables) -> Window | None:
    """The event time that the log holds, from its first pane to the end of its last."""
    low, high, _, _ = _range(tables, tables.log)
    return _panes(tables, low, high)


def change(tables: Tables, previous: str | None, span: Window | None = None) -> Change:
    """The log's fingerprint now and the panes that may hold other rows or labels than before.

    Folders with dates are looked at near ``span`` alone.
    """
    near = (to_micros(span.start), to_micros(span.end)) if span else None
    relations = {"log": tables.log, "labels": tables.labels, "features": tables.features}
    now = {name: _mark(tables, relation, near) if relation else {}
           for name, relation in relations.items()}
    fingerprint = base64.b85encode(zlib.compress(json.dumps(now).encode())).decode()
    if fingerprint == previous:
        return Change(fingerprint, None)
    before = _unpack(previous)
    if before is not None:
        before = {name: _nearby(relations[name], marks, near) for name, marks in before.items()}
    if before is None or any(now[name] != before.get(name) for name in ("labels", "features")):
        return Change(fingerprint, held(tables))
    if now["log"] == before.get("log"):
        return Change(fingerprint, None)
    return Change(fingerprint, _moved(tables, before["log"], now["log"]))


def _unpack(fingerprint: str | None) -> dict[str, dict[str, Mark]] | None:
    if fingerprint is None:
        return None
    try:
        told: dict[str, dict[str, Mark]] = json.loads(
            zlib.decompress(base64.b85decode(fingerprint)))
    except (ValueError, zlib.error):
        return None
    return told


def _nearby(relation: Relation | None, marks: dict[str, Mark], near: Near | None
            ) -> dict[str, Mark]:
    """Earlier marks of the files that are looked at now: the others have not been removed."""
    if not isinstance(relation, Files):
        return marks
    return {path: mark for path, mark in marks.items() if relation.layout.near(path, near)}


def _mark(tables: Tables, relation: Relation, near: Near | None) -> dict[str, Mark]:
    """Per file: size, ETag or modification time, and range; for a table count and newest rows."""
    if isinstance(relation, Files):
        return {facts.path: [facts.version.size, facts.version.stamp, facts.low, facts.high]
                for facts in relation.index(near)}
    low, high, arrival, count = _range(tables, relation)
    return {"": [count, arrival, low, high]}


def _moved(tables: Tables, before: dict[str, Mark], now: dict[str, Mark]) -> Window | None:
    if isinstance(tables.log, Files):
        touched = [marks[path] for marks, others in ((now, before), (before, now))
                   for path in marks if marks[path] != others.get(path)]
        lows = [int(str(mark[2])) for mark in touched if mark[2] is not None]
        highs = [int(str(mark[3])) for mark in touched if mark[3] is not None]
        return _panes(tables, min(lows, default=None), max(highs, default=None))
    return held(tables)


def _range(tables: Tables, relation: Relation
           ) -> tuple[int | None, int | None, int | None, int]:
    """Earliest and latest event time, newest arrival, and the number of rows."""
    if isinstance(relation, Files):
        return _of_files(relation.edges())
    clock: Clock = relation.clock  # type: ignore[attr-defined]
    part = relation.part(EVERYTHING)
    assert part is not None
    table = ibis.table(dict(part.columns), name=LOG)
    dialect = tables.engine.dialect
    kinds = dict(part.columns)
    native = [name for name in (clock.timestamp, clock.arrival)
              if isinstance(kinds.get(name or ""), dt.Timestamp)]
    if clock.timestamp in native and (clock.arrival is None or clock.arrival in native):
        newest = table[clock.arrival or clock.timestamp].max()
        told = table.agg(first=table[clock.timestamp].min(), last=table[clock.timestamp].max(),
                         newest=newest, n=table.count())
        asked = told.select(low=micros_of(told, "first", clock, dialect),
                            high=micros_of(told, "last", clock, dialect),
                            arrival=micros_of(told, "newest", clock, dialect), n=told["n"])
    else:
        told = table.select(event=micros_of(table, clock.timestamp, clock, dialect),
                            arrival=micros_of(table, clock.arrival, clock, dialect))
        asked = told.agg(low=told.event.min(), high=told.event.max(),
                         arrival=told.arrival.max(), n=told.count())
    row = tables.engine.fetch(filled(compiled(asked, dialect), {LOG: part.relation}, {}))[0]
    return row[0], row[1], row[2], row[3]


def _of_files(index: list[Facts]) -> tuple[int | None, int | None, int | None, int]:
    lows = [facts.low for facts in index if facts.low is not None]
    highs = [facts.high for facts in index if facts.high is not None]
    late = [facts.arrival_high for facts in index if facts.arrival_high is not None]
    rows = sum(facts.rows for facts in index)
    return (min(lows, default=None), max(highs, default=None), max(late, default=None), rows)


def _panes(tables: Tables, low: int | None, high: int | None) -> Window | None:
    calendar = tables.model.calendar
    if tables.roles.timestamp is None:
        low = high = to_micros(EPOCH)
    if low is None or high is None:
        return None
    return Window(calendar.pane_of(from_micros(low)),
                  calendar.pane_of(from_micros(high)) + calendar.pane)
