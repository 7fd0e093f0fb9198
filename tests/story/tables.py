"""What stands in a dashboard's tables: its queries' rows, joined, named and in units as it says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

LONG = 110
"""Characters of a cell that are shown."""

Row = dict[str, Any]
Cells = list[list[str]]


def asked_rows(database: str, text: str, model: str) -> list[Row]:
    """A statement's answer, with its variables filled in for one model and all times."""
    until = (int(time.time()) + 86_400) * 10**9
    told = text.replace("${model:sqlstring}", f"'{model}'").replace(
        "$__unixEpochNanoFrom()", "0").replace("$__unixEpochNanoTo()", str(until))
    with psycopg.connect(database, row_factory=psycopg.rows.dict_row) as session:
        return session.execute(sql.SQL(told)).fetchall()


def table(shown: Mapping[str, Any], frames: Sequence[Sequence[Row]]) -> tuple[list[str], Cells]:
    """(columns, cells) after the panel's own transformations."""
    rows = [row for frame in frames for row in frame]
    left_out: Mapping[str, bool] = {}
    renamed: Mapping[str, str] = {}
    for step in shown.get("transformations", []):
        if step["id"] == "joinByField":
            rows = _joined(shown, frames, step["options"]["byField"])
        elif step["id"] == "organize":
            left_out, renamed = (step["options"][key] for key in ("excludeByName", "renameByName"))
    names = [name for name in dict.fromkeys(key for row in rows for key in row)
             if not left_out.get(name)]
    heads = [renamed.get(name, name) for name in names]
    units = [_unit(shown, head) for head in heads]
    return heads, [[cell(row.get(name), unit) for name, unit in zip(names, units, strict=True)]
                   for row in rows]


def _joined(shown: Mapping[str, Any], frames: Sequence[Sequence[Row]], field: str) -> list[Row]:
    """One row of each value of a column; values are told apart by their query's letter."""
    found: dict[str, Row] = {}
    for target, frame in zip(shown["targets"], frames, strict=True):
        for row in frame:
            found.setdefault(row[field], {}).update({
                f"Value #{target['refId']}" if key == "Value" else key: value
                for key, value in row.items()})
    return list(found.values())


def _unit(shown: Mapping[str, Any], column: str) -> str:
    for override in shown["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == column:
            for told in override["properties"]:
                if told["id"] == "unit":
                    return str(told["value"])
    return str(shown["fieldConfig"]["defaults"].get("unit"))


def cell(value: Any, unit: str) -> str:
    """One cell; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%H:%M:%S}"
    if isinstance(value, float | Decimal):
        return in_unit(unit, float(value))
    return said(str(value))


def said(text: str) -> str:
    """As much of a text as there is room for, cut between words."""
    return text if len(text) <= LONG else f"{text[:LONG].rpartition(' ')[0]} …"


def in_unit(unit: str, value: float) -> str:
    """A number as Grafana shows it."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 1e6:,.0f} MB" if value >= 1e7 else f"{value / 1e6:.1f} MB"
    if unit == "dateTimeAsIso":
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    return f"{value:,.4g}"
