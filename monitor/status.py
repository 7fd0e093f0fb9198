"""Status: what a person wants to know of every model, from stored state alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from monitor import audit, fidelity, shadow
from monitor.canonical import dumps
from monitor.clearance import Untended
from monitor.config import Config, Model
from monitor.memo import memo
from monitor.ripening import ripening
from monitor.secrets import clean, masks, redact, redacted
from monitor.store import Store, Tick, Trouble
from monitor.together import together
from monitor.window import isoformat

SHOWN = 5
"""Acknowledgements that are told, the newest ones."""
LOOKED_AT = timedelta(days=28)
"""Event time, beside what may still be revised, whose labels tell how long labels take."""
RECENT = 60
"""Verdicts looked through for the newest judged performance: labels come later than rows."""


def overview(config: Config, store: Store) -> dict[str, Any]:
    """Plain values for every configured model: phase, newest verdict, what waits, troubles."""
    return {"models": together(store, _works(config, store))}


def published(config: Config, store: Store) -> str:
    """The overview as JSON, secrets masked; of models that nothing was written about, as before.

    ``store`` in it says why the newest write was not kept, and is null where it was.
    """
    def text(store: Store, work: Callable[[Store], dict[str, Any]]) -> str:
        told = work(store)
        made = dumps(told)
        return made if clean(made) else dumps(redacted(told))

    texts = memo(store).get(("status", id(config), masks()), {
        model.name: partial(text, work=work)
        for model, work in zip(config.models, _works(config, store), strict=True)})
    return f'{{"models":[{",".join(texts)}],"store":{dumps(redacted(store.refusal or None))}}}'


def _works(config: Config, store: Store) -> list[Callable[[Store], dict[str, Any]]]:
    """What reads the overview of each model."""
    troubles, ticks, failing = store.troubles(), store.ticks(), store.failing()

    def told(store: Store, model: Model) -> dict[str, Any]:
        return _model(model.name, store, troubles.get(model.name), ticks.get(model.name)) | {
            "labels": labels(model, store), "upkeep": _untended(failing.get(model.name))}

    return [partial(told, model=model) for model in config.models]


def labels(model: Model, store: Store) -> dict[str, Any] | None:
    """How long labels take, by what is counted of the newest champion; None before any came."""
    adopted = store.adoptions(model.name)[-1:]
    counted = store.counted(model.name, adopted[0].key) if adopted else None
    if counted is None or not model.log.labelled:
        return None
    calendar = model.calendar
    since = counted[0] - calendar.horizon - LOOKED_AT
    curve = ripening(store.arrivals(model.name, adopted[0].key, since), pane=calendar.pane,
                     until=counted[0])
    source = model.log.labels
    timed = source is not None and source.timestamp is not None
    if curve is None:
        return None
    return curve.to_dict() | {"arrival": "logged" if timed else "assumed"}


def _untended(why: Untended | None) -> dict[str, Any] | None:
    """Why the model's old rows are not seen to; None where they are."""
    return None if why is None else {
        "reason": redact(why.reason), "since": isoformat(why.first), "last": isoformat(why.last),
        "times": why.times}


def _model(name: str, store: Store, trouble: Trouble | None, tick: Tick | None
           ) -> dict[str, Any]:
    recorded = store.recorded(name)
    state = recorded.state
    newest = store.verdicts(name, segment="", newest=1)
    pending, row = store.pending(name), store.open_request(name)
    return {
        "model": name,
        "ticked": isoformat(tick.at) if tick else None,
        "phase": state.phase,
        "since": isoformat(state.since) if state.since else None,
        "champion": state.champion,
        "challenger": state.challenger,
        "episode": state.episode,
        "judged_to": isoformat(recorded.folded_to) if recorded.folded_to else None,
        "newest": newest[-1].line if newest else None,
        "performance": _measured([row.line for row in store.briefs(name, RECENT)],
                                 state.champion),
        "estimated": newest[-1].line.get("estimated") if newest else None,
        "shadow": shadow.newest(store, name), "compression": fidelity.newest(store, name),
        "audit": audit.newest(store, name),
        "pending": pending.decision.reason if pending else None,
        "request": row.request.request_id if row else None,
        "trouble": redact(trouble.message) if trouble else None,
        "acknowledged": [{"start": isoformat(row.span.start), "end": isoformat(row.span.end),
                          "as": row.said, "rebaseline": row.rebaseline, "note": redact(row.note)}
                         for row in store.in_force(name)[-SHOWN:]],
    }


def _measured(lines: list[dict[str, Any]], champion: str | None) -> dict[str, Any] | None:
    """The newest deciding metric of the champion: labels come later than rows."""
    known = [(line, line["performance"][0]) for line in lines
             if line["version"] == champion and line["performance"]
             and line["performance"][0]["value"] is not None]
    if not known:
        return None
    line, item = max(known, key=lambda pair: (pair[0]["end"], pair[0]["known_at"]))
    return {**item, "end": line["end"]}


def words(report: dict[str, Any]) -> str:
    """The overview as a person reads it."""
    return "\n".join(_lines(model) for model in report["models"])


def _lines(model: dict[str, Any]) -> str:
    head = f"{model['model']}: {model['phase'].replace('_', ' ')}"
    if model["since"]:
        head += f" since {model['since']}"
    lines = [head]
    champion = model["champion"]
    if champion:
        lines.append(f"  champion    version {champion}")
    elif model["ticked"] is None:
        lines.append("  champion    not looked at yet: `holdfast once CONFIG` does")
    elif not model["trouble"]:
        lines.append("  champion    none: alias `champion` is not set in MLflow (`holdfast retrain "
                     "--bootstrap` trains one), or the log does not hold a whole reference yet")
    newest = model["newest"]
    if newest:
        lines.append(f"  newest      {newest['start'][:16]} to {newest['end'][:16]}, "
                     f"n={newest['n']}: {newest['verdict']}")
        lines.append(f"              {newest['reason']}")
    lines += [*_stale(newest or {}), *_quality(model)]
    if model["episode"]:
        lines.append(f"  alarm       open since {model['episode'].rpartition('/')[2]}")
    if model["phase"] == "awaiting_promotion":
        lines.append(f"  waits       for a person: version {model['challenger']} is the challenger")
    lines += [f"  {key:<11} {model[key]['words']}" for key in ("shadow", "compression")
              if model[key]]
    lines += [f"  said        {item['start'][:16]} to {item['end'][:16]} is "
              + ("a fault" if item["as"] == "fault" else "expected")
              + (", the reference starts anew there" if item["rebaseline"] else "")
              + (f": {item['note']}" if item["note"] else "") for item in model["acknowledged"]]
    for key, label in (("pending", "pending"), ("request", "request"), ("trouble", "trouble")):
        if model[key]:
            lines.append(f"  {label:<11} {model[key]}")
    if model["upkeep"]:
        lines.append(f"  upkeep      fails since {model['upkeep']['since'][:16]}: "
                     f"{model['upkeep']['reason']}")
    return "\n".join(lines)


def _quality(model: dict[str, Any]) -> Iterator[str]:
    """What is measured, what is estimated, and how long labels take."""
    if model["performance"]:
        yield f"  performance {_performance(model['performance'])}"
    if model["estimated"] and model["estimated"]["performance"]:
        yield f"  estimated   {_estimated(model['estimated'])}"
    if model["labels"]:
        yield f"  labels      {ripe(model['labels'])}"
    if model["audit"]:
        yield from (f"  golden set  {line}" for line in audit.words(model["audit"]))


def ripe(told: dict[str, Any]) -> str:
    """How long labels take, in words."""
    known = [f"{words} within {told[key]}" for key, words in (("half", "half"), ("most", "90 %"))
             if told[key]]
    come = ", ".join(known) or "fewer than half have come"
    return (f"{come}; {100 * told['final']:.0f} % in the end"
            + (" (arrival is assumed)" if told["arrival"] == "assumed" else ""))


def _estimated(told: dict[str, Any]) -> str:
    """The estimate of the newest window, and whether labels bear such estimates out."""
    item, check = told["performance"][0], told["check"]
    if item["value"] is None:
        return f"not known: {item['reason']}"
    words = (f"{item['metric']} {item['value']:.3f} ({item['low']:.3f} to {item['high']:.3f}) "
             f"without labels, on {item['n']} rows")
    state = check["state"] if check else "unknown"
    return words + {"valid": "; newest labels bear such estimates out",
                    "invalid": "; NOT VALID: newest labels refute such estimates",
                    "unknown": "; no labels have borne such estimates out yet"}[state]


def _stale(line: dict[str, Any]) -> list[str]:
    fresh = line.get("freshness")
    if not fresh or not fresh["stale"]:
        return []
    since = f"since {fresh['newest'][:16]}" if fresh["newest"] else "for longer than is looked back"
    return [f"  log         stale: no row {since}"]


def _performance(item: dict[str, Any]) -> str:
    interval = (f" ({item['low']:.3f} to {item['high']:.3f})"
                if item["low"] is not None and item["high"] is not None else "")
    return (f"{item['metric']} {item['value']:.3f}{interval}, {item['n']} labels up to "
            f"{item['end'][:16]}")
