"""The panels of a dashboard, drawn from what its own queries are answered, laid out as it says.

There is no Grafana here: places, titles, units, colours of values, legends and tables' columns are
those of the dashboard; what stands in a panel comes from Prometheus (its newest instant, or the
time since the story began) and from PostgreSQL.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

from tests.data import ROOT
from tests.servers.prometheus import Prometheus
from tests.story.tables import Row, asked_rows, in_unit, said, table

NAMES = ("fleet", "model", "retraining", "daemon", "history")
SINCE = 150.0
"""Seconds of a story that lines show."""
TALL = 60
"""Rows of the grid that a picture shows."""
INKS = ("#3274d9", "#e0752d", "#56a64b", "#a352cc", "#e02f44", "#8f8a3b", "#3f9aa8", "#75808a")
STYLE = """body{font:12px sans-serif;color:#1d2329;background:#f4f5f5;margin:14px;width:1130px}
h1{font-size:17px;margin:0 0 10px}main{display:grid;grid-template-columns:repeat(24,1fr);gap:6px;
grid-auto-rows:23px}section{background:#fff;border:1px solid #dfe1e3;border-radius:3px;
padding:6px 9px;overflow:hidden;display:flex;flex-direction:column;min-width:0}h2{font-size:12px;
margin:0 0 4px;font-weight:600}.big{font-size:34px;font-weight:600;margin:auto}table{width:100%;
border-collapse:collapse}td{font-size:11px;padding:2px 8px 2px 0;border-bottom:1px solid #eceeef;
vertical-align:top}th{font-size:11px;text-align:left;padding:2px 8px 2px 0;color:#4c5660;
border-bottom:1px solid #cfd3d6}.none{color:#7a828a}svg{flex:1;min-height:0;
width:100%}.legend{font-size:10px;color:#4c5660;white-space:nowrap;overflow:hidden;
text-overflow:ellipsis}.legend i{
display:inline-block;width:9px;height:3px;margin:0 4px 2px 9px}
.bar{background:#e8eaec;height:11px;border-radius:2px}
.bar b{display:block;height:11px;border-radius:2px;background:#3274d9}.state{color:#fff;
padding:3px 6px;border-radius:2px;font-size:11px}"""

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class When:
    """The instant that is looked at (None: now), and the seconds before it that lines show."""

    at: float | None = None
    since: float = SINCE


NOW = When()


@dataclass
class Panel:
    """One panel: how it is shown, and what its queries were answered."""

    shown: dict[str, Any]
    frames: list[list[Row]] = field(default_factory=list)
    """One of each query: its rows, by column."""
    values: list[tuple[str, float]] = field(default_factory=list)
    lines: list[tuple[str, Points]] = field(default_factory=list)

    @property
    def told(self) -> bool:
        """Whether any query was answered with anything."""
        return any(self.frames)

    @property
    def unit(self) -> str:
        return str(self.shown["fieldConfig"]["defaults"].get("unit"))


def answers(name: str, asked: Prometheus, database: str, model: str, *, when: When = NOW
            ) -> Iterator[Panel]:
    """Panel by panel."""
    board = json.loads((ROOT / "dashboards" / f"{name}.json").read_text())
    for shown in board["panels"]:
        panel = Panel(shown)
        for target in shown["targets"]:
            if "rawSql" in target:
                panel.frames.append(asked_rows(database, target["rawSql"], model))
                if shown["type"] == "timeseries":
                    panel.lines += _series(panel.frames[-1])
                continue
            told = target["expr"].replace("$model", model).replace("$__rate_interval", "1m")
            found = asked.query(told, when.at)
            panel.frames.append([_row(item) for item in found])
            panel.values += [(_legend(target, item) or said(item["metric"].get("model", "")),
                              float(item["value"][1])) for item in found]
            if shown["type"] in {"timeseries", "state-timeline"}:
                panel.lines += [(_legend(target, item), _points(item))
                                for item in asked.over(told, when.since, when.at)]
        yield panel


def page(name: str, found: list[Panel], tall: int = TALL) -> str:
    """The same as HTML, as many rows of the grid as are wanted."""
    parts = [f"<style>{STYLE}</style><h1>{escape(name.capitalize())}</h1><main>"]
    for panel in found:
        at = panel.shown["gridPos"]
        if at["y"] + at["h"] > tall:
            continue
        parts.append(
            f'<section style="grid-column:{at["x"] + 1}/span {at["w"]};'
            f'grid-row:{at["y"] + 1}/span {at["h"]}"><h2>{escape(panel.shown["title"])}</h2>'
            f"{_body(panel)}</section>")
    return "".join([*parts, "</main>"])


def _body(panel: Panel) -> str:
    kind = panel.shown["type"]
    if not panel.told and not panel.lines:
        return "<span class=none>No data</span>"
    if kind == "stat" and panel.values:
        return f"<span class=big>{in_unit(panel.unit, panel.values[0][1])}</span>"
    if kind == "bargauge" and panel.values:
        most = max(abs(value) for _, value in panel.values) or 1
        return "<table>" + "".join(
            f"<tr><td>{escape(name)}</td><td style='width:55%'><div class=bar><b style='width:"
            f"{100 * abs(value) / most:.0f}%'></b></div></td>"
            f"<td>{in_unit(panel.unit, value)}</td></tr>"
            for name, value in sorted(panel.values, key=lambda item: -item[1])[:7]) + "</table>"
    if kind == "state-timeline" and panel.lines:
        return "".join(_states(panel, name, points) for name, points in panel.lines[:6])
    if kind == "timeseries" and panel.lines:
        return _drawn(panel)
    if kind != "table":
        return "<span class=none>No data</span>"
    columns, rows = table(panel.shown, panel.frames)
    heads = "".join(f"<th>{escape(name)}</th>" for name in columns)
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
                    for row in rows[: panel.shown["gridPos"]["h"] - 2])
    return f"<table><tr>{heads}</tr>{cells}</table>"


def _drawn(panel: Panel) -> str:
    """Lines over time, dashed where they are a limit or the end of an interval."""
    lines = [line for line in panel.lines if line[1]][:24]
    values = [value for _, points in lines for _, value in points]
    times = [at for _, points in lines for at, _ in points]
    high = max(values) or 1.0
    low = min(values) if min(values) < 0 or 0.4 * high < min(values) < high else 0.0
    start, end = min(times), max(times) or 1.0
    wide = 544 * panel.shown["gridPos"]["w"] / 12

    def place(at: float, value: float) -> str:
        return (f"{46 + (wide - 54) * (at - start) / ((end - start) or 1):.1f},"
                f"{128 - 118 * (value - low) / ((high - low) or 1):.1f}")

    drawn, legend = [], []
    inks: dict[str, str] = {}
    for name, points in lines:
        aside = re.search("threshold|limit|, low|, high|budget", name)
        whole = re.sub(", (low|high)$|(threshold|limit) of ", "", name)
        ink = "#75808a" if aside and whole == name else inks.setdefault(
            whole, INKS[len(inks) % (len(INKS) - 1)])
        way = " ".join(place(at, value) for at, value in points)
        dashes = 'stroke-dasharray="4 3" opacity=".6"' if aside else 'stroke-width="1.6"'
        drawn.append(f'<polyline points="{way}" fill="none" stroke="{ink}" {dashes}/>')
        if not aside or whole == name:
            legend.append(f'<i style="background:{ink}"></i>{escape(name)}')
    ticks = "".join(
        f'<line x1="46" x2="{wide - 6}" y1="{y}" y2="{y}" stroke="#eceeef"/>'
        f'<text x="42" y="{y + 3}" text-anchor="end" font-size="9" fill="#4c5660">'
        f"{in_unit(panel.unit, value)}</text>"
        for y, value in ((10, high), (69, (low + high) / 2), (128, low)))
    when = "".join(
        f'<text x="{x}" y="142" font-size="9" fill="#4c5660" text-anchor="middle">'
        f"{_moment(start + (end - start) * share, end - start)}</text>"
        for x, share in ((70, 0.05), (wide / 2 + 20, 0.5), (wide - 34, 0.95)))
    return (f'<svg viewBox="0 0 {wide} 146" preserveAspectRatio="none">{ticks}{when}'
            f'{"".join(drawn)}</svg><div class=legend>{"".join(legend[:9])}</div>')


def _moment(at: float, span: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):{'%m-%d' if span > 86_400 else '%H:%M:%S'}}"


def _states(panel: Panel, name: str, points: Points) -> str:
    """What held from when to when, in the words and colours that the dashboard maps values to."""
    words: dict[str, Any] = {}
    for mapping in panel.shown["fieldConfig"]["defaults"].get("mappings", []):
        words |= mapping.get("options", {})
    parts: list[tuple[str, int]] = []
    for _, value in points:
        key = f"{value:g}"
        if parts and parts[-1][0] == key:
            parts[-1] = key, parts[-1][1] + 1
        else:
            parts.append((key, 1))
    drawn = "".join(
        f'<span class=state style="flex:{length};background:{_ink(words.get(key, {}))}">'
        f"{escape(str(words.get(key, {}).get('text', key)))}</span>" for key, length in parts)
    return (f"<div class=none>{escape(name)}</div><div style='display:flex;gap:2px'>{drawn}</div>")


def _ink(words: dict[str, Any]) -> str:
    named = {"green": "#56a64b", "yellow": "#d9a513", "orange": "#e0752d", "red": "#e02f44",
             "blue": "#3274d9", "purple": "#a352cc", "text": "#75808a"}
    color = str(words.get("color", "text"))
    return color if color.startswith("#") else named.get(
        color.split("-")[-1], named["text"])


def _legend(target: dict[str, Any], item: dict[str, Any]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: str(item["metric"].get(found[1], "")),
                  target.get("legendFormat") or "").strip()


def _row(item: dict[str, Any]) -> Row:
    """A series at its instant, as Grafana makes a row of it."""
    return {**{key: value for key, value in item["metric"].items()
               if key not in {"__name__", "job", "instance"}}, "Value": float(item["value"][1])}


def _series(rows: list[Row]) -> list[tuple[str, Points]]:
    """Lines of rows that are (time, metric, value), by metric."""
    found: dict[str, Points] = {}
    for row in rows:
        found.setdefault(str(row["metric"]), []).append(
            (row["time"].timestamp(), float(row["value"])))
    return list(found.items())


def _points(item: dict[str, Any]) -> Points:
    return [(float(at), float(value)) for at, value in item["values"]
            if math.isfinite(float(value))]
