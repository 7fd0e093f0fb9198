"""Quantiles: where the numbers of one window lie, exactly. Asked of the few columns whose counts
are suspicious; one aggregate query per column, and no row leaves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import ibis

from monitor.cells import double, number
from monitor.relation import Need, to_micros
from monitor.rows import Frame, Shape, compiled, filled, kept, slot
from monitor.tables import Tables
from monitor.units import QUANTILES, Suspect
from monitor.window import Window

Answer = tuple[int, tuple[float, ...]]
"""How many numbers there are, and their quantiles (none where there are no numbers)."""


_SQL: dict[tuple[object, ...], str] = {}
"""Compiled questions; compiling costs more than asking a small window."""
KEPT = 512


def quantiles(tables: Tables, suspects: Sequence[Suspect], span: Window, *, known_by: datetime
              ) -> dict[Suspect, Answer]:
    """What each suspect's finite numbers are, of the rows that had arrived before ``known_by``."""
    bounds = {"start": to_micros(span.start), "end": to_micros(span.end),
              "until": to_micros(known_by)}
    read = tables.read(Need(bounds["start"], bounds["end"], bounds["until"]), span)
    if read is None:
        return {}
    found = {}
    for suspect in suspects:
        (row,) = tables.engine.fetch(filled(_sql(read.shape, suspect), read.relations, bounds))
        n = int(row[0] or 0)
        found[suspect] = n, tuple(float(value) for value in row[1]) if n else ()
    return found


def _sql(shape: Shape, suspect: Suspect) -> str:
    key = (shape.model.log.model_dump_json(), shape.model.privacy.model_dump_json(), shape.dialect,
           shape.log, shape.features, shape.zone, suspect)
    return kept(_SQL, key, lambda: compiled(_asked(shape, suspect), shape.dialect), most=KEPT)


def _asked(shape: Shape, suspect: Suspect) -> Frame:
    rows = shape.rows([suspect.key])
    rows = rows.filter(rows.holdfast_ts >= slot("start"), rows.holdfast_ts < slot("end"),
                       ibis.coalesce(rows.holdfast_at, rows.holdfast_ts) < slot("until"))
    rows = rows.select(value=number(rows[suspect.key]))
    value = rows["value"]
    rows = rows.filter(value.notnull(), ~value.isnan(), ~value.isinf())
    if suspect.low is not None and suspect.high is not None:
        rows = rows.filter((rows["value"] < double(suspect.low))
                           | (rows["value"] >= double(suspect.high)))
    return rows.agg(n=rows.count(), inner=rows["value"].quantile(list(QUANTILES)))
