"""Shadow: while a challenger waits for a person it is scored beside the champion, again and again.

A short-lived process answers newer rows with both (``retrain.shadow``). What it found is kept as
rows and as tags of the challenger's version, and renewed as labels mature. None of it touches the
model's state: verdicts, phases and decisions are the same with it and without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitor.baseline import Baseline
from monitor.config import Model
from monitor.deps import Deps
from monitor.ledger import Ledger
from monitor.registry import Outcome
from monitor.request import Request
from monitor.store import Score, Store
from monitor.window import Window, isoformat, parse_time

LOOKED_THROUGH = 50
"""Newest requests among which the one that made the challenger is looked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be scored, for what, and why."""

    purpose: str
    known_at: datetime
    reason: str
    options: dict[str, Any] = field(default_factory=dict)


def due(model: Model, store: Store) -> Asked | None:
    """The comparison of the waiting challenger that is due; None while there is none."""
    rule, recorded = model.policy.shadow, store.recorded(model.name)
    state, known_at = recorded.state, recorded.folded_to
    if not rule.rows or state.phase != "awaiting_promotion" or known_at is None:
        return None
    last = store.scored(model.name, "shadow")
    if (last is not None and last.request.options.get("challenger") == state.challenger
            and known_at - last.request.known_at < rule.every):
        return None
    since, until = unseen(model, store), model.calendar.closing(known_at).end
    if since is None or until <= since:
        return None
    return Asked("shadow", known_at, f"version {state.challenger} waits beside version "
                                     f"{state.champion}",
                 {"challenger": state.challenger, "rows": rule.rows, "since": isoformat(since),
                  "until": isoformat(until)})


def unseen(model: Model, store: Store) -> datetime | None:
    """From when on rows are new to the challenger: the end of those that it was made and judged
    by."""
    state = store.recorded(model.name).state
    for row in store.requests(model.name, LOOKED_THROUGH):
        made = row.outcome or {}
        if row.request.kind == "train" and made.get("version") == state.challenger:
            window = (made.get("result") or {}).get("window")
            return (parse_time(window[1]) if window
                    else model.calendar.pane_of(row.request.known_at - model.maturity.delay))
    return None if state.since is None else model.calendar.pane_of(state.since)


def keep(model: Model, deps: Deps, request: Request, outcome: Outcome) -> None:
    """Write down what the process found; to be repeated after a kill."""
    result = outcome.result
    if outcome.status != "done" or not result:
        return
    if not result["estimated"].get("champion"):
        result["estimated"]["champion"] = _estimated(model, deps.store, request, result)
    pair = result["challenger"], result["champion"]
    windows = [_score(line, request.known_at) for line in result["windows"]]
    deps.store.save_scores(model.name, "shadow_window", pair, windows)
    whole = {key: value for key, value in result.items() if key != "windows"}
    whole |= {"start": result["since"], "end": result["until"], "words": outcome.reason}
    deps.store.save_scores(model.name, "shadow", pair, [_score(whole, request.known_at)])
    deps.assure()
    deps.registry.tag_version(model.registered, result["challenger"],
                              tags(result, request.known_at))


def _score(line: dict[str, Any], known_at: datetime) -> Score:
    return Score(Window(parse_time(line["start"]), parse_time(line["end"])), known_at, line)


def _estimated(model: Model, store: Store, request: Request, result: dict[str, Any]
               ) -> dict[str, Any]:
    """What is expected of the champion where it brings no baseline of its own: by the one that the
    daemon made, over all that was counted of the newest windows without mature labels."""
    span = Window(max(parse_time(result["since"]), model.calendar.pane_of(
        request.known_at - model.maturity.delay)), parse_time(result["until"]))
    adopted = next((item for item in reversed(store.adoptions(model.name))
                    if item.version == result["champion"]), None)
    stored = adopted and store.baseline(model.name, result["champion"], adopted.key)
    if not adopted or not stored or span.end <= span.start:
        return {}
    baseline = Baseline.from_json(stored[1])
    if baseline.estimator is None:
        return {}
    ledger = Ledger(model.calendar, baseline.bins, store.increments(
        model.name, adopted.key, span, until=request.known_at, segment=""))
    counts = ledger.outputs(span, request.known_at,
                            result["champion"] if model.log.model_version else "").counts
    found = baseline.estimator.estimate(counts, [model.metric])
    return {item.metric: {"value": item.value, "low": item.low, "high": item.high, "n": item.n}
            for item in found if item.value is not None}


def tags(result: dict[str, Any], known_at: datetime) -> dict[str, str]:
    """The scoreboard as tags of the challenger; what is unknown has none."""
    told: dict[str, Any] = {
        "champion": result["champion"], "metric": result["metric"], "rows": result["n"],
        "labelled": result["labelled"], "until": result["until"], "known_at": isoformat(known_at),
        "differing": result.get("differing"), "distance": result.get("distance")}
    for name in ("realized", "estimated"):
        for role, found in result[name].items():
            item = (found or {}).get(result["metric"])
            told[f"{name}_{role}"] = item and item["value"]
    gain = result["gain"]
    if gain is not None:
        told |= {"gain": gain["difference"], "gain_low": gain["low"], "gain_high": gain["high"]}
    return {f"holdfast.shadow.{name}": f"{value:.6g}" if isinstance(value, float) else str(value)
            for name, value in told.items() if value is not None}


def newest(store: Store, model: str) -> dict[str, Any] | None:
    """The scoreboard of the challenger that waits; None while nothing is known of it."""
    state = store.recorded(model).state
    if state.phase != "awaiting_promotion" or not state.challenger or not state.champion:
        return None
    found = store.scores(model, "shadow", (state.challenger, state.champion), newest=1)
    return found[0].line | {"known_at": isoformat(found[0].known_at)} if found else None
