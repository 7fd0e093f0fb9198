"""Page: what the status pages say, as plain values; the templates only lay it out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from monitor import audit, fidelity, shadow
from monitor.acknowledgement import Acknowledgement
from monitor.clearance import Untended
from monitor.config import Config, Model
from monitor.exporter import TOP, ruling, severity
from monitor.memo import memo
from monitor.store import (
    Episode,
    Pending,
    Recorded,
    Report,
    RequestRow,
    Row,
    Settled,
    Store,
    Tick,
    Transition,
    Trouble,
)
from monitor.window import isoformat, parse_time

WORDS = {
    "unknown": ("Unknown", "not enough is known to judge it", "unknown"),
    "stable": ("Stable", "inputs and quality are as the reference promises", "good"),
    "suspect": ("Suspect", "something moved; an episode is open", "warn"),
    "faulty": ("Faulty data", "the newest data is broken; it is not judged and never trained on",
               "bad"),
    "retraining": ("Retraining", "a candidate is being made", "busy"),
    "awaiting_promotion": ("Waiting for a person", "a challenger passed the gate", "busy"),
    "probation": ("On probation", "a new champion is watched and compared with the last one",
                  "busy"),
    "rolled_back": ("Rolled back", "the last promotion was undone", "warn"),
}
"""Phase -> its name, what it means, and its tone."""

TONES = {"stable": "good", "drifted": "warn", "degraded": "bad", "faulty": "bad",
         "unknown": "unknown"}
"""Verdict -> tone."""

STRIP = 30
"""Windows in the strip of a model's recent verdicts."""
ROLES = ("champion", "challenger")
MOVED = 5
"""Features named on the front page."""
FARTHEST = {"psi": 40.0, "js": 1.0, "ks": 1.0}
"""What these statistics stay below (psi: of fewer than ten million rows a window)."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a model version is in MLflow; ``url`` None where MLflow has no address to open."""

    text: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Card:
    """One model on the front page."""

    name: str
    phase: tuple[str, str, str]
    recorded: Recorded
    newest: Row | None
    moved: list[dict[str, Any]]
    more: int
    performance: list[dict[str, Any]]
    measured: Row | None
    estimated: dict[str, Any] | None
    strip: list[dict[str, Any]]
    episode: Episode | None
    pending: Pending | None
    request: RequestRow | None
    champion: Link | None
    challenger: Link | None
    trouble: Trouble | None
    untended: Untended | None
    reports: list[Report]
    tick: Tick | None
    gaps: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    shadow: dict[str, Any] | None
    shadows: list[dict[str, Any]]
    compression: dict[str, Any] | None
    audits: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Past:
    """What happened to one model, newest first."""

    verdicts: list[dict[str, Any]]
    transitions: list[Transition]
    episodes: list[Episode]
    decisions: list[Settled]
    requests: list[RequestRow]
    reports: list[Report]
    troubles: list[Trouble]
    said: list[Acknowledgement]


def cards(store: Store, config: Config, models: Sequence[Model] | None = None) -> list[Card]:
    """These models, else every configured one, in their order."""
    known, troubles, ticks = memo(store), store.troubles(), store.ticks()
    failing = store.failing()
    return known.get(("card", id(config)), {model.name: partial(
        card, config=config, model=model, trouble=troubles.get(model.name),
        tick=ticks.get(model.name), untended=failing.get(model.name))
        for model in (config.models if models is None else models)})


def card(store: Store, config: Config, model: Model, *, trouble: Trouble | None,
         tick: Tick | None, untended: Untended | None) -> Card:
    """The model as it stands now."""
    recorded = store.recorded(model.name)
    state = recorded.state
    newest = next(iter(store.verdicts(model.name, segment="", newest=1)), None)
    features = sorted((item for item in newest.line["features"]
                       if item["threshold"] or item["drifted"]), key=severity,
                      reverse=True) if newest else []
    drifted = [item for item in features if item["drifted"]]
    measured = store.measured(model.name, state.champion) if state.champion else None
    episode = next(iter(store.episodes(model.name, 1)), None) if state.episode else None
    return Card(
        name=model.name, phase=WORDS[state.phase], recorded=recorded, newest=newest,
        moved=[_bar(item) for item in (drifted or features)[:MOVED]],
        more=max(0, len(drifted) - MOVED),
        performance=_told(measured), measured=measured, estimated=_expected(newest),
        strip=_strip(store.strip(model.name, 3 * STRIP)), episode=episode,
        pending=store.pending(model.name), request=store.open_request(model.name),
        champion=_link(config, model, state.champion),
        challenger=_link(config, model, state.challenger),
        trouble=trouble, untended=untended, reports=store.reports(model.name, 3), tick=tick,
        gaps=[gap for gap in measured.line.get("groups", []) if gap["value"] is not None]
        if measured else [],
        segments=_segments(store, measured or newest), shadow=shadow.newest(store, model.name),
        shadows=_shadows(store, model.name), compression=fidelity.newest(store, model.name),
        audits=_audits(store, model.name))


def past(store: Store, name: str, newest: int = 100) -> Past:
    """The model's history, at most ``newest`` rows of each kind."""
    rows = store.briefs(name, newest)
    return Past(
        verdicts=[{**row.line, "id": row.id, "tone": TONES[row.line["verdict"]],
                   "performance": _told(row)} for row in reversed(rows)],
        transitions=store.transitions(name, newest), episodes=store.episodes(name, newest),
        decisions=store.decisions(name, newest), requests=store.requests(name, newest),
        reports=store.reports(name, newest), troubles=store.past_troubles(name, newest),
        said=store.acknowledgements(name)[::-1][:newest])


def _segments(store: Store, row: Row | None) -> list[dict[str, Any]]:
    """The verdicts on segments beside the newest measured one, the largest segments first."""
    parts = [part.line for part in store.beside(row.line)] if row else []
    return [{**part, "tone": TONES[part["verdict"]], "told": [
        item for item in ruling(part) if item["value"] is not None]}
        for part in sorted(parts, key=lambda part: (-part["n"], part["segment"]))[:TOP]]


def _shadows(store: Store, model: str) -> list[dict[str, Any]]:
    """The waiting challenger beside the champion, window by window, the newest first."""
    state = store.recorded(model).state
    if state.phase != "awaiting_promotion" or not state.challenger or not state.champion:
        return []
    pair = state.challenger, state.champion
    return [row.line | {"sides": {role: beside(row.line, role) for role in ROLES}}
            for row in store.scores(model, "shadow_window", pair, newest=STRIP)]


def beside(line: dict[str, Any], role: str) -> dict[str, Any] | None:
    """The deciding metric of one side: measured, else estimated, else None."""
    for kind in ("realized", "estimated"):
        item = (line[kind].get(role) or {}).get(line["metric"])
        if item is not None:
            return {**item, "metric": line["metric"], "estimated": kind == "estimated"}
    return None


def _audits(store: Store, model: str) -> list[dict[str, Any]]:
    """Versions on the golden sets, a line per set and version, newest audit first."""
    return [{**row, "at": found["at"], "gain": next((
        gain for gain in found["gains"] if gain["benchmark"] == row["benchmark"]
        and row["role"] == "challenger"), None)}
        for found in audit.history(store, model) for row in audit.deciding(found)]


def _told(row: Row | None) -> list[dict[str, Any]]:
    return [item for item in row.line["performance"] if item["value"] is not None] if row else []


def _expected(newest: Row | None) -> dict[str, Any] | None:
    """The estimates of the newest window, what labels say of them, and how that is to be seen."""
    told = newest.line.get("estimated") if newest else None
    if not told or not any(item["value"] is not None for item in told["performance"]):
        return None
    known = [item for item in told["performance"] if item["value"] is not None]
    state = told["check"]["state"] if told["check"] else "unknown"
    words = {"valid": "the newest labels bear such estimates out",
             "unknown": "no labels have borne such estimates out yet",
             "invalid": told["reason"]}[state]
    return {"performance": known, "state": state, "words": words}


def _strip(rows: list[tuple[datetime, str]]) -> list[dict[str, Any]]:
    """The last word on each of the newest windows, oldest first."""
    return [{"start": isoformat(start), "verdict": verdict, "tone": TONES[verdict]}
            for start, verdict in sorted(dict(rows).items())[-STRIP:]]


def _bar(item: dict[str, Any]) -> dict[str, Any]:
    """The feature with the lengths of its bar and of its threshold's mark, in percent."""
    value, threshold = item["value"] or 0.0, item["threshold"] or 0.0
    if _endless(threshold, item["statistic"]):
        threshold = 0.0
    scale = 1.15 * max(value, threshold) or 1.0
    return {**item, "bar": round(100 * value / scale, 1),
            "mark": round(100 * threshold / scale, 1) if threshold else None}


def _link(config: Config, model: Model, version: str | None) -> Link | None:
    if version is None:
        return None
    text = f"{model.registered} version {version}"
    parts = urlsplit(config.mlflow.registry_uri or config.mlflow.tracking_uri)
    if parts.scheme not in {"http", "https"}:
        return Link(text, None)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="",
                          path=parts.path.rstrip("/") + "/")
    where = f"#/models/{quote(model.registered, safe='')}/versions/{quote(version, safe='')}"
    return Link(text, urlunsplit(bare) + where)


def instant(value: datetime | str | None) -> str:
    """An instant for people: ``2026-03-14 01:00`` (UTC), seconds only where there are some."""
    if value is None:
        return "–"
    at = parse_time(value).astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}" if at.second else f"{at:%Y-%m-%d %H:%M}"


def limit(threshold: float | None, statistic: str | None) -> str:
    """A limit for people: ``any`` where no value can lie beyond it, as after a short reference."""
    return "any" if _endless(threshold, statistic) else number(threshold)


def _endless(threshold: float | None, statistic: str | None) -> bool:
    return threshold is not None and threshold >= FARTHEST.get(statistic or "", math.inf)


def number(value: float | None) -> str:
    """A number for people: three significant digits, thousands apart."""
    if value is None:
        return "–"
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
