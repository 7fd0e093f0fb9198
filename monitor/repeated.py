"""Repeated ids: rows that carry an id which their pane already has."""

from __future__ import annotations

from collections.abc import Mapping

import ibis

from monitor.engine import Engine, Row
from monitor.rows import Frame, Shape, compiled, filled, kept, slot
from monitor.tables import Read

_KEPT: dict[tuple[object, ...], tuple[str, str]] = {}
KEPT = 64
"""Statements that are kept: another shape of a log has others."""


def repeats(engine: Engine, read: Read, bounds: Mapping[str, int]) -> list[Row]:
    """(group…, rows) that repeat an id; the first row of an id in its pane is no repetition."""
    shape = read.shape
    key = (shape.model.model_dump_json(), shape.roles, shape.dialect, shape.log, shape.zone)
    found = kept(_KEPT, key, lambda: (compiled(_any(shape), shape.dialect),
                                      compiled(_rows(shape), shape.dialect)), most=KEPT)
    check, count = (filled(sql, read.relations, bounds) for sql in found)
    if not engine.fetch(check)[0][0]:
        return []
    return engine.fetch(count)


def _known(shape: Shape) -> Frame:
    rows = shape.paned(shape.rows(shape.roles.segments))
    return rows.filter(rows.pane >= slot("start"), rows.pane < slot("end"),
                       rows.known <= slot("until"), rows.holdfast_id.notnull())


def _any(shape: Shape) -> Frame:
    rows = _known(shape)
    if shape.roles.segments:
        rows = rows.filter(rows.segment == "")
    grouped = rows.group_by(["pane", "holdfast_id"]).agg(n=rows.count())
    return grouped.filter(grouped.n > 1).limit(1).count()


def _rows(shape: Shape) -> Frame:
    rows = _known(shape)
    same = ["pane", "holdfast_id"] + (["segment"] if shape.roles.segments else [])
    counted = rows.group_by(same).agg(times=rows.count())
    counted = counted.filter(counted.times > 1).drop("times")
    rows = rows.select("pane", "holdfast_id", "known", "version",
                       *(["segment"] if shape.roles.segments else []))
    rows = rows.semi_join(counted, same)
    order = ibis.window(group_by=[rows[name] for name in same],
                        order_by=[rows.known, rows.version])
    rows = rows.mutate(place=ibis.row_number().over(order))
    rows = rows.filter(rows.place > 0, rows.known > slot("since"))
    return rows.group_by(shape.keys).agg(n=rows.count())
