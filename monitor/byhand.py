"""By hand: `holdfast retrain` and `holdfast acknowledge`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor import decide, journal
from monitor.acknowledgement import Acknowledgement, Said, covers, faults_of, in_force
from monitor.act import audit_of, request_for
from monitor.config import Model
from monitor.deps import Deps
from monitor.errors import ConfigError, HoldfastError, RefusedError
from monitor.follow import conclude, follow, move, start
from monitor.request import Kind, Request
from monitor.store import Store
from monitor.window import Calendar, Window, isoformat, parse_time

SCORING = 120.0
"""Seconds that a person's request waits for a scoring of versions that is under way."""


def ask(model: Model, deps: Deps, *, reason: str, bootstrap: bool, now: datetime, wait: bool
        ) -> dict[str, Any]:
    """The outcome of a request made by a person: status, reason, version, run.

    Refused as ``wanted`` says, and when another request of the model is open.
    """
    request = wanted(model, deps, reason=reason, bootstrap=bootstrap, now=now)
    _let_scoring_end(model, deps, now)
    if not deps.store.request(request, None):
        raise HoldfastError(in_the_way(
            model, deps.store, f"request {request.request_id} was made already"))
    move(model, deps.store, now, f"asked for by hand: {reason}",
         lambda state: decide.requested(state, request, now))
    assert deps.launcher is not None
    journal.requested(request)
    start(request, deps, attempt=1)
    while wait and deps.launcher.running(request.request_id):
        time.sleep(0.2)
    if wait:
        with deps.source(model) as source:
            follow(model, source, deps, now)
    for row in deps.store.requests(model.name):
        if row.request.request_id == request.request_id:
            outcome = row.outcome or {}
            status = "running" if row.status == "open" else row.status
            return {"request_id": request.request_id, "status": status,
                    "reason": outcome.get("reason", request.reason),
                    "version": outcome.get("version"), "run_id": outcome.get("run_id")}
    raise HoldfastError(f"request {request.request_id} is gone from the store")


def in_the_way(model: Model, store: Store, otherwise: str) -> str:
    """Why no further request can be written: the one that is open, else ``otherwise``."""
    row = store.open_request(model.name)
    return (f"request {row.request.request_id} of this model is open; wait for it" if row
            else otherwise)


def wanted(model: Model, deps: Deps, *, reason: str, bootstrap: bool, now: datetime) -> Request:
    """The request that a person asks for.

    ``ConfigError`` when the configuration trains nothing, ``RefusedError`` when the registry has a
    champion already, to bootstrap, or none to retrain.
    """
    if model.training.kind == "none":
        raise ConfigError([f"models.{model.name}.training.kind: none only monitors; right would be "
                           "torch"])
    champion = deps.registry.champion(model.registered)
    if bootstrap and champion is not None:
        raise RefusedError(f"{model.registered!r} has a champion already, version "
                           f"{champion.version}; leave --bootstrap out")
    if not bootstrap and champion is None:
        raise RefusedError(f"{model.registered!r} has no alias `champion`; add --bootstrap to "
                           "train a first one from the reference period")
    kind: Kind = "bootstrap" if bootstrap else "train"
    return request_for(kind, model, deps, now, reason=reason)


def _let_scoring_end(model: Model, deps: Deps, now: datetime) -> None:
    """Wait for a short-lived scoring of versions that is under way, and keep what it found."""
    row = deps.store.open_request(model.name)
    if row is None or not row.request.purpose or deps.launcher is None:
        return
    deadline = time.monotonic() + SCORING
    while deps.launcher.running(row.request.request_id) and time.monotonic() < deadline:
        time.sleep(0.2)
    with deps.source(model) as source:
        follow(model, source, deps, now)


def look(model: Model, deps: Deps, *, now: datetime, wait: bool) -> dict[str, Any]:
    """The outcome of an audit that a person asks for: status, reason, and what was found.

    ``ConfigError`` without golden sets, ``HoldfastError`` when another request is open.
    """
    if not model.benchmarks:
        raise ConfigError([f"models.{model.name}.benchmarks: empty; right would be at least one "
                           "golden set: {name: …, source: FILE}"])
    _let_scoring_end(model, deps, now)
    request = audit_of(model, deps, now, "asked for by hand")
    if not request.options["versions"]:
        raise HoldfastError(f"{model.registered!r} has no alias `champion` to be audited")
    if not deps.store.request(request, None):
        raise HoldfastError(in_the_way(
            model, deps.store, f"request {request.request_id} was made already"))
    assert deps.launcher is not None
    journal.requested(request)
    start(request, deps, attempt=1)
    while wait and deps.launcher.running(request.request_id):
        time.sleep(0.2)
    row = deps.store.open_request(model.name)
    if wait and row is not None:
        conclude(row, model, deps, now)
    [done] = [row for row in deps.store.requests(model.name)
              if row.request.request_id == request.request_id]
    outcome = done.outcome or {}
    return {"model": model.name, "request_id": request.request_id,
            "status": "running" if done.status == "open" else done.status,
            "reason": outcome.get("reason", request.reason), "run_id": outcome.get("run_id"),
            "result": outcome.get("result", {})}


MICRO, YEAR = timedelta(microseconds=1), timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Saying:
    """What a person says of a window: ``where`` is a time in it, or FROM/TO."""

    where: str
    said: Said
    rebaseline: bool = False
    note: str = ""


def stretch(model: Model, where: str) -> Window:
    """The window that starts at or holds a time, or the stretch FROM/TO in whole panes."""
    try:
        found = _stretch(model.calendar, where)
        _ = found.start - YEAR, found.end + YEAR  # whoever reads of it looks around it
    except OverflowError as error:
        raise ConfigError([f"--window: {where!r} lies at the end of the calendar"]) from error
    return found


def _stretch(calendar: Calendar, where: str) -> Window:
    start, _, end = where.partition("/")
    try:
        first = calendar.pane_of(parse_time(start))
        if not end:
            return Window(first, first + calendar.length)
        last = parse_time(end)
    except HoldfastError as error:
        raise ConfigError([f"--window: {error}"]) from error
    if last <= first:
        raise ConfigError([f"--window: {where!r} ends before it starts; right would be FROM/TO"])
    whole = calendar.pane_of(last)
    return Window(first, whole if whole == last else whole + calendar.pane)


def acknowledge(model: Model, store: Store, saying: Saying, now: datetime) -> dict[str, Any]:
    """Keep what a person says, and tell what follows from it; the same thing twice is no news."""
    span, calendar = stretch(model, saying.where), model.calendar
    folded = store.recorded(model.name).folded_to
    at = max(now, folded or now)
    if saying.rebaseline and saying.said != "expected":
        raise ConfigError(["--rebaseline: beside --as fault; right would be --as expected: broken "
                           "data is no reference"])
    standing = [row for row in in_force(store.acknowledgements(model.name), at + MICRO)
                if row.span == span]
    if saying.said == "undone" and not standing:
        raise RefusedError(f"{model.name}: nothing is acknowledged of {span}; `--list` tells what "
                           "is")
    lines = [row.line for row in store.verdicts(
        model.name, segment="", latest_revision=True,
        span=Window(span.start - calendar.length, span.end))
        if covers(span, Window(parse_time(row.line["start"]), parse_time(row.line["end"])))]
    fresh = store.acknowledge(model.name, Acknowledgement(
        span, saying.said, saying.rebaseline, saying.note, at, faults_of(lines)))
    return {"model": model.name, "start": isoformat(span.start), "end": isoformat(span.end),
            "as": saying.said, "rebaseline": saying.rebaseline, "note": saying.note,
            "news": fresh, "windows": len(lines),
            "follows": _follows(model, saying, lines, (span, at))}


def _follows(model: Model, saying: Saying, lines: list[dict[str, Any]],
             place: tuple[Window, datetime]) -> str:
    """What the saying changes, in a sentence."""
    span, at = place
    if saying.said == "undone":
        return "it counts again as it was found"
    if not lines:
        return "no window of it was judged yet; its verdict will say so"
    old = at - span.end > model.calendar.horizon
    told = ("it is older than window.revise_for, so that its verdict stays as it is; " if old else
            "its next revision says so; ")
    if saying.said == "fault":
        return told + "its rows leave training and the reference"
    return told + ("the reference of the inputs starts anew with it" if saying.rebaseline else
                   "its drift and faults count no more, nor the same faults again")


def acknowledged(model: str, store: Store, now: datetime) -> list[dict[str, Any]]:
    """Everything in force, oldest first, as plain values."""
    return [{"model": model, "start": isoformat(row.span.start), "end": isoformat(row.span.end),
             "as": row.said, "rebaseline": row.rebaseline, "note": row.note,
             "at": isoformat(row.at)}
            for row in in_force(store.acknowledgements(model), now)]

