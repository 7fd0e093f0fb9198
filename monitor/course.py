"""Course: what happened to a model under one policy, read from the store that it left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from monitor.performance import HIGHER_IS_BETTER
from monitor.store import RequestRow, Store
from monitor.window import parse_time

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An episode: ``opened`` at a checkpoint by a window that starts at ``about``.

    ``closed`` is None while it lasts; ``version`` is the one that served when it was opened.
    """

    about: datetime
    opened: datetime
    closed: datetime | None
    version: str
    reason: str
    peak: datetime
    height: str


@dataclass(frozen=True, slots=True)
class Retrain:
    """A request for a candidate, and what became of it.

    ``fitted`` tells whether weights were fitted; a recall proposes an earlier version instead of
    the candidate that was. ``rows`` are the labelled rows that it read, ``minutes`` the wall-clock
    minutes of its process.
    """

    at: datetime
    why: str
    ended: Literal["registered", "recalled", "refused", "failed", "open"]
    version: str | None
    reason: str
    fitted: bool
    rows: int
    minutes: float


@dataclass(frozen=True, slots=True)
class Move:
    """A change of champion at a checkpoint."""

    at: datetime
    version: str
    kind: Literal["first", "promotion", "rollback"]


@dataclass(frozen=True, slots=True)
class Course:
    """Everything that happened, oldest first. ``asked`` are retrains that nobody carried out;
    ``comparison_minutes`` those of the processes that compared versions on probation."""

    windows: int
    alarms: tuple[Alarm, ...] = ()
    retrains: tuple[Retrain, ...] = ()
    moves: tuple[Move, ...] = ()
    asked: tuple[tuple[datetime, str], ...] = ()
    comparison_minutes: float = 0.0


def course(store: Store, model: str, metric: str) -> Course:
    """The model's course; ``metric`` is the one that decides, and that peaks are told in."""
    lines = [row.line for row in store.verdicts(model, segment="")]
    moves = _moves(store, model)
    requests = list(reversed(store.requests(model)))
    asked = tuple((item.known_at, item.reason) for item in reversed(store.decisions(model))
                  if item.action == "retrain" and item.status not in {"requested", "refused"})
    return Course(
        windows=sum(line["revision"] == 0 for line in lines),
        alarms=_alarms(store, model, lines, moves, metric=metric),
        retrains=_retrains([row for row in requests if row.request.kind == "train"], moves),
        moves=moves,
        asked=asked,
        comparison_minutes=sum(_minutes(row) for row in requests if row.request.kind == "score"))


def _alarms(store: Store, model: str, lines: Sequence[Line], moves: Sequence[Move], *,
            metric: str) -> tuple[Alarm, ...]:
    found = []
    for item in reversed(store.episodes(model)):
        inside = [line for line in lines if line["episode"] == item.name
                  and item.opened <= parse_time(line["known_at"])
                  and (item.closed is None or parse_time(line["known_at"]) < item.closed)]
        about = parse_time(item.name.rpartition("/")[2])
        peak, height = _peak(inside, metric) or (item.peak_at or about, "")
        serving = [move.version for move in moves if move.at <= item.opened]
        found.append(Alarm(about, item.opened, item.closed, serving[-1] if serving else "",
                           item.reason, peak, height))
    return tuple(found)


def _peak(lines: Sequence[Line], metric: str) -> tuple[datetime, str] | None:
    """The worst window of an episode: of its degraded ones, else the one that drifted furthest."""
    measured = [(line, item["value"]) for line in lines if line["quality"] == "degraded"
                for item in line["performance"][:1] if item["value"] is not None]
    if measured:
        sign = 1 if metric in HIGHER_IS_BETTER else -1
        line, value = min(measured, key=lambda item: sign * float(item[1]))
        return parse_time(line["start"]), f"{metric} {value:.3g}"
    moved = [(line, item) for line in lines for item in line["features"]
             if item["drifted"] and item["threshold"] is not None]
    if not moved:
        return None
    line, item = max(moved, key=lambda pair: (
        pair[0]["severity"] or 0.0, pair[1]["value"] / max(pair[1]["threshold"], 1e-12)))
    return parse_time(line["start"]), f"{item['name']} {item['statistic']} {item['value']:.3g}"


def _moves(store: Store, model: str) -> tuple[Move, ...]:
    undone = [item.known_at for item in store.decisions(model)
              if item.action == "roll_back" and item.status == "done"]
    found: list[Move] = []
    for item in store.adoptions(model):
        if item.version is None or (found and found[-1].version == item.version):
            continue
        since = found[-1].at if found else None
        back = since is not None and any(since < at <= item.at for at in undone)
        kind: Literal["first", "promotion", "rollback"] = "promotion"
        if since is None or back:
            kind = "first" if since is None else "rollback"
        found.append(Move(item.at, item.version, kind))
    return tuple(found)


def _retrains(rows: Sequence[RequestRow], moves: Sequence[Move]) -> tuple[Retrain, ...]:
    found = []
    for row in rows:
        outcome = row.outcome or {}
        result, version = outcome.get("result") or {}, outcome.get("version")
        served = {move.version for move in moves if move.at <= row.request.known_at}
        ended: Any = "recalled" if row.status == "registered" and version in served else row.status
        found.append(Retrain(
            row.request.known_at, row.request.reason, ended, version, outcome.get("reason", ""),
            fitted="points" in result, rows=sum((result.get("rows") or {}).values()),
            minutes=_minutes(row)))
    return tuple(found)


def _minutes(row: RequestRow) -> float:
    return 0.0 if row.finished is None else (row.finished - row.created) / timedelta(minutes=1)
