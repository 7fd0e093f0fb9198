"""Changes: fingerprints of a log and the event time that moved since an earlier one."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from datetime import datetime

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


def change(tables: Tables, previous: str | None, span: Window | None = None, *,
           since: datetime | None = None) -> Change:
    """The log's fingerprint now and the panes that may hold other rows or labels than before.

    Folders with dates are looked at near ``span`` alone. ``since`` is the checkpoint that counts
    are complete up to: where arrival is logged, what arrived later is counted anyway.
    """
    near = (to_micros(span.start), to_micros(span.end)) if span else None
    relations = {"log": tables.log, "labels": tables.labels, "features": tables.features}
    now = {name: _mark(tables, relation, near) if relation and _matters(tables, name) else {}
           for name, relation in relations.items()}
    fingerprint = base64.b85encode(zlib.compress(json.dumps(now).encode())).decode()
    if fingerprint == previous:
        return Change(fingerprint, None)
    before = _unpack(previous)
    if before is None:
        return Change(fingerprint, held(tables))
    spans = [_moved(tables, name, _touched(
        now[name], _nearby(relations[name], before.get(name, {}), near)), since) for name in now]
    moved = [item for item in spans if item is not None]
    if not moved:
        return Change(fingerprint, None)
    return Change(fingerprint, Window(min(item.start for item in moved),
                                      max(item.end for item in moved)))


def _timed(tables: Tables, name: str) -> bool:
    """Whether a table says when its rows arrived, labels in the log itself among them."""
    roles, labels = tables.roles, tables.model.log.labels
    if name == "labels":
        return labels is not None and labels.timestamp is not None
    return roles.arrival is not None and roles.label is None


def _matters(tables: Tables, name: str) -> bool:
    """Whether earlier rows of a table can change without being told by its times."""
    relation = {"log": tables.log, "labels": tables.labels, "features": tables.features}[name]
    return isinstance(relation, Files) or not (_timed(tables, "log") and _timed(tables, name))


def _touched(now: dict[str, Mark], before: dict[str, Mark]) -> list[Mark]:
    """Marks that came, went or changed."""
    return [marks[path] for marks, others in ((now, before), (before, now))
            for path in marks if marks[path] != others.get(path)]


def _moved(tables: Tables, name: str, touched: list[Mark], since: datetime | None
           ) -> Window | None:
    """The panes that these files or tables can have changed."""
    relation = {"log": tables.log, "labels": tables.labels, "features": tables.features}[name]
    if not isinstance(relation, Files):
        return held(tables) if touched else None
    if since is not None and _timed(tables, name) and name != "features":
        place = 4 if name == "log" else 2
        touched = [mark for mark in touched
                   if mark[place] is None or int(str(mark[place])) < to_micros(since)]
    if name == "log":  # what has no event time is in no pane
        touched = [mark for mark in touched if mark[2] is not None]
    if not touched:
        return None
    if name == "labels" or any(mark[2] is None for mark in touched):
        return held(tables)
    margin = 0 if name == "log" else 86_400_000_000
    return _panes(tables, min(int(str(mark[2])) for mark in touched) - margin,
                  max(int(str(mark[3])) for mark in touched) + margin)


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
    """Per file: size, ETag or modification time, range, first arrival; for a table count and range.
    """
    if isinstance(relation, Files):
        return {facts.path: [facts.version.size, facts.version.stamp, facts.low, facts.high,
                             facts.arrival_low]
                for facts in relation.index(near)}
    low, high, arrival, count = _range(tables, relation)
    return {"": [count, arrival, low, high]}


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
