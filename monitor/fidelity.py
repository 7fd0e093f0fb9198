"""Fidelity: is a compressed champion still what its uncompressed form is, on rows that come now?

A short-lived process asks both (``retrain.fidelity``). What it found is kept as rows; a crossing of
the limits that the version brought along is evidence for a retrain, which then tries new ranges
first, and asks for one itself where ``policy.retrain.on`` says so. Verdicts know nothing of it.
"""

from __future__ import annotations

from typing import Any

from monitor.config import Model
from monitor.deps import Deps
from monitor.registry import Outcome, Registry
from monitor.request import Request
from monitor.shadow import Asked
from monitor.store import Score, Store
from monitor.versions import Version
from monitor.window import Window, isoformat, parse_time

FORM = "uncompressed form"
"""What the champion is compared with."""
MEASURES = ("disagreement", "outside")


def due(model: Model, store: Store, registry: Registry) -> Asked | None:
    """The look at the compressed champion that is due; None while there is none."""
    rule, recorded = model.policy.compression, store.recorded(model.name)
    champion, known_at = recorded.state.champion, recorded.folded_to
    if not rule.rows or champion is None or known_at is None:
        return None
    last = store.scored(model.name, "compression")
    if last is not None and last.request.champion == champion:
        ended = (last.outcome or {}).get("result") or {}
        if ended.get("again") is False or known_at - last.request.known_at < rule.every:
            return None
    version = registry.version(model.registered, champion)
    if version is None or not version.trained or _whole(version):
        return None
    until = model.calendar.closing(known_at).end
    since = model.calendar.pane_of(until - max(rule.span, model.calendar.length))
    return Asked("compression", known_at, f"version {champion} beside its uncompressed form",
                 {"rows": rule.rows, "since": isoformat(since), "until": isoformat(until)})


def _whole(version: Version) -> bool:
    """Whether its tags say that it is as it was trained, and so has no other form."""
    return version.blend or version.tags.get("holdfast.compression") == "fp32"


def keep(model: Model, deps: Deps, request: Request, outcome: Outcome) -> None:
    """Write down what the process found; to be repeated after a kill."""
    result = outcome.result
    if outcome.status == "done" and result:
        span = Window(parse_time(result["since"]), parse_time(result["until"]))
        deps.store.save_scores(model.name, "compression", (result["version"], FORM), [
            Score(span, request.known_at, result | {"words": outcome.reason})])


def newest(store: Store, model: str) -> dict[str, Any] | None:
    """What was found of the champion last; None where nothing is known of it."""
    champion = store.recorded(model).state.champion
    found = store.scores(model, "compression", (champion, FORM), newest=1) if champion else []
    return found[0].line | {"known_at": isoformat(found[0].known_at)} if found else None


def evidence(line: dict[str, Any] | None) -> dict[str, Any] | None:
    """The numbers of a crossing, for a request; None where no limit is crossed."""
    if line is None or not crossed(line):
        return None
    return {"reason": line["words"], "version": line["version"], "n": line["n"],
            "window": [line["since"], line["until"]],
            **{name: line[name] for name in MEASURES if line[name] is not None},
            "segments": [item for item in line["segments"] if item["crossed"]],
            "features": line["features"]}


def crossed(line: dict[str, Any]) -> bool:
    """Whether all rows or a group of them lie beyond a limit, with the whole interval."""
    return any(line[name] is not None and line[name]["crossed"] for name in MEASURES) or any(
        item["crossed"] for item in line["segments"])
