"""What the panels of a dashboard would show: every query run by its own server, as a plain page.

There is no Grafana here. Numbers are those of the newest instant.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any

import psycopg
from psycopg import sql

from tests.data import ROOT
from tests.servers.prometheus import Prometheus

NAMES = ("fleet", "model", "retraining", "daemon", "history")
MOST = 6
"""Rows that are shown of a panel."""
STYLE = """body{font:14px sans-serif;color:#1d2329;margin:18px;width:1120px}h1{font-size:19px}
main{columns:2;column-gap:14px}section{break-inside:avoid;border:1px solid #ddd;border-radius:5px;
padding:7px 10px;margin:0 0 10px}h2{font-size:13px;margin:0 0 5px}td{font-size:11px;padding:1px 9px
1px 0;vertical-align:top;overflow-wrap:break-word}td:nth-child(n+6){
overflow-wrap:anywhere}.none{color:#7a828a;font-size:12px}"""


def answers(name: str, asked: Prometheus, database: str, model: str
            ) -> Iterator[tuple[str, list[list[str]]]]:
    """Panel by panel, its title and its rows."""
    board = json.loads((ROOT / "dashboards" / f"{name}.json").read_text())
    for panel in board["panels"]:
        rows: list[list[str]] = []
        for target in panel["targets"]:
            if "expr" in target:
                told = target["expr"].replace("$model", model).replace("$__rate_interval", "1m")
                rows += [_told(item) for item in asked.query(told)]
            else:
                rows += _rows(database, target["rawSql"], model)
        yield panel["title"], rows


def page(name: str, found: list[tuple[str, list[list[str]]]]) -> str:
    """The same as HTML."""
    parts = [f"<style>{STYLE}</style><h1>{escape(name.capitalize())}</h1><main>"]
    for title, rows in found:
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
                       for row in rows[:MOST])
        more = f"<span class=none>and {len(rows) - MOST} more</span>" if len(rows) > MOST else ""
        parts.append(f"<section><h2>{escape(title)}</h2>" + (
            f"<table>{body}</table>{more}" if rows else "<span class=none>nothing</span>")
            + "</section>")
    return "".join([*parts, "</main>"])


def _told(item: dict[str, Any]) -> list[str]:
    labels = {key: value for key, value in item["metric"].items()
              if key not in {"__name__", "job", "instance", "model"}}
    value = float(item["value"][1])
    return [", ".join(value[:90] for value in labels.values()), f"{value:,.5g}"]


def _rows(database: str, text: str, model: str) -> list[list[str]]:
    until = (int(time.time()) + 86_400) * 10**9
    told = text.replace("${model:sqlstring}", f"'{model}'").replace(
        "$__unixEpochNanoFrom()", "0").replace("$__unixEpochNanoTo()", str(until))
    with psycopg.connect(database) as session:
        return [[_cell(cell) for cell in row]
                for row in session.execute(sql.SQL(told)).fetchall()]


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%H:%M:%S}"
    return f"{value:,.5g}" if isinstance(value, float | Decimal) else str(value)[:60]
