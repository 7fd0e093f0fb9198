"""Timeline: a model's windows as a picture: severity, performance, alarms, versions, retrains.

Only places are computed here, in the units of the picture; the template draws them as SVG.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor.store import RequestRow, Store
from monitor.window import parse_time

WINDOWS = 120
"""Windows that a picture shows at most, the newest ones."""
LEFT, RIGHT = 46.0, 748.0
"""Where lanes begin and end in the template's picture."""
DRIFT, QUALITY = (30.0, 110.0), (146.0, 226.0)
"""Upper and lower edge of its lanes."""
HIGHEST = 10.0
"""Severity that the lane reaches to at most: beyond, one window would flatten all others."""
TICKS = 5
"""Dates below the picture; with the time of day where days would repeat."""

Line = dict[str, Any]
At = Callable[[datetime], float]


@dataclass(frozen=True, slots=True)
class Dot:
    """A window in a lane; ``low`` and ``high`` are the ends of its interval, where it has one."""

    x: float
    y: float
    words: str
    tone: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened; a stretch where ``width`` is not 0."""

    x: float
    words: str
    label: str = ""
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """What a lane reaches from and to, and where its limit lies (None: it has none)."""

    low: float
    high: float
    limit: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that is drawn."""

    windows: int
    start: datetime
    end: datetime
    metric: str
    drift: tuple[Dot, ...]
    severity: Scale
    quality: tuple[Dot, ...]
    runs: tuple[str, ...]
    bands: tuple[str, ...]
    measured: Scale | None
    alarms: tuple[Mark, ...]
    versions: tuple[Mark, ...]
    retrains: tuple[Mark, ...]
    ticks: tuple[Mark, ...]


def timeline(store: Store, model: str) -> Timeline | None:
    """The newest windows of the model; None before there are two."""
    rows = store.briefs(model, 3 * WINDOWS)
    last = {row.line["start"]: row.line for row in rows}
    lines = [line for _, line in sorted(last.items())[-WINDOWS:]]
    if len(lines) < 2:
        return None
    start, end = parse_time(lines[0]["start"]), parse_time(max(line["end"] for line in lines))
    latest = max(end, parse_time(max(line["known_at"] for line in lines)))

    def at(instant: datetime) -> float:
        share = (instant - start) / (latest - start)
        return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 1)

    top = min(HIGHEST, max([2.0, *(line.get("severity") or 0.0 for line in lines)]))
    severity = Scale(0.0, top, _place(1.0, (0.0, top), DRIFT))
    drift = tuple(_moved(line, at, top) for line in lines
                  if line.get("severity") is not None)
    metric = next((line["performance"][0]["metric"] for line in reversed(lines)
                   if line["performance"]), "")
    known = _known(lines, metric)
    measured = _measured(known)
    quality = tuple(_dot(line, item, at, measured) for line, item in known) if measured else ()
    runs = _runs([line for line, _ in known], quality)
    return Timeline(
        len(lines), start, latest, metric, drift, severity, quality,
        tuple(" ".join(f"{dot.x},{dot.y}" for dot in run) for run in runs),
        tuple(_band(run) for run in runs), measured, _alarms(store, model, start, at),
        _versions(store, model, start, latest, at),
        tuple(_retrain(row, at) for row in reversed(store.requests(model, WINDOWS))
              if row.request.kind in {"train", "bootstrap"}
              and start <= row.request.known_at <= latest), _ticks(start, latest, at))


def _known(lines: Sequence[Line], metric: str) -> list[tuple[Line, Line]]:
    """The deciding metric where it is measured: over the stretch that decides, or else, while no
    such stretch is full, over each window."""
    measured = [(line, [item for item in line["performance"]
                        if item["metric"] == metric and item["value"] is not None])
                for line in lines]
    deciding = [(line, items[0]) for line, items in measured
                if items and items[0] == line["performance"][0]]
    return deciding or [(line, items[0]) for line, items in measured if items]


def _place(value: float, ends: tuple[float, float], lane: tuple[float, float]) -> float:
    share = (value - ends[0]) / (ends[1] - ends[0])
    return round(lane[1] - (lane[1] - lane[0]) * min(max(share, 0.0), 1.0), 1)


def _middle(line: Line, at: At) -> float:
    return round((at(parse_time(line["start"])) + at(parse_time(line["end"]))) / 2, 1)


def _moved(line: Line, at: At, top: float) -> Dot:
    value = line["severity"]
    tone = "warn" if value > 1 else "unknown"
    return Dot(_middle(line, at), _place(value, (0.0, top), DRIFT),
               f"{line['start'][:16]}: {value:.3g} times the limit, {line['verdict']}", tone)


def _measured(known: Sequence[tuple[Line, Line]]) -> Scale | None:
    """From the lowest to the highest value, interval and limit, with a little air."""
    if not known:
        return None
    limits = [line["promised"]["limit"] for line, item in known if line.get("promised")
              and line["promised"]["metric"] == item["metric"]]
    values = [value for _, item in known for value in (item["value"], item["low"], item["high"])
              if value is not None] + limits[-1:]
    air = 0.08 * (max(values) - min(values)) or 0.01
    ends = min(values) - air, max(values) + air
    return Scale(*ends, _place(limits[-1], ends, QUALITY) if limits else None)


def _dot(line: Line, item: Line, at: At, scale: Scale) -> Dot:
    ends = scale.low, scale.high
    sides = [None if item[key] is None else _place(item[key], ends, QUALITY)
             for key in ("low", "high")]
    between = "" if None in sides else f" ({item['low']:.3g} to {item['high']:.3g})"
    return Dot(_middle(line, at), _place(item["value"], ends, QUALITY),
               f"{line['start'][:16]}: {item['metric']} {item['value']:.3g}{between}",
               "bad" if line["quality"] == "degraded" else "busy", *sides)


def _runs(lines: Sequence[Line], dots: Sequence[Dot]) -> list[list[Dot]]:
    """Windows of one version each: a line never joins two versions."""
    runs: list[list[Dot]] = []
    for place, (line, dot) in enumerate(zip(lines, dots, strict=True)):
        if place == 0 or lines[place - 1]["version"] != line["version"]:
            runs.append([])
        runs[-1].append(dot)
    return runs


def _band(run: Sequence[Dot]) -> str:
    """The outline of the intervals: along their upper ends, and back along the lower ones."""
    sure = [dot for dot in run if dot.low is not None and dot.high is not None]
    return " ".join([*(f"{dot.x},{dot.high}" for dot in sure),
                     *(f"{dot.x},{dot.low}" for dot in reversed(sure))])


def _alarms(store: Store, model: str, start: datetime, at: At) -> tuple[Mark, ...]:
    found = []
    for item in reversed(store.episodes(model, WINDOWS)):
        if item.closed is None or item.closed > start:
            left = at(parse_time(item.name.rpartition("/")[2]))
            right = RIGHT if item.closed is None else at(item.closed)
            until = f"until {item.closed:%Y-%m-%d %H:%M}" if item.closed else "still open"
            found.append(Mark(left, f"Alarm of {item.opened:%Y-%m-%d %H:%M}, {until}: "
                                    f"{item.reason}", width=round(max(right - left, 2.0), 1)))
    return tuple(found)


def _versions(store: Store, model: str, start: datetime, end: datetime, at: At
              ) -> tuple[Mark, ...]:
    """Changes of champion within the picture."""
    found: list[Mark] = []
    serving = None
    for item in store.adoptions(model):
        if item.version is not None and item.version != serving and start <= item.at <= end:
            found.append(Mark(at(item.at), f"{item.at:%Y-%m-%d %H:%M}: version {item.version} "
                                           "became champion", f"v{item.version}"))
        serving = item.version or serving
    return tuple(found)


def _retrain(row: RequestRow, at: At) -> Mark:
    asked = row.request
    return Mark(at(asked.known_at), f"{asked.known_at:%Y-%m-%d %H:%M}: retrain, {row.status}")


def _ticks(start: datetime, end: datetime, at: At) -> tuple[Mark, ...]:
    instants = [start + (end - start) * place / (TICKS - 1) for place in range(TICKS)]
    form = "%Y-%m-%d" if end - start >= TICKS * timedelta(days=1) else "%m-%d %H:%M"
    return tuple(Mark(at(instant), "", f"{instant:{form}}") for instant in instants)
