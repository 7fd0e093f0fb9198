"""Act: the newest pending decision -> its effect, once.

Every effect is written down before it happens (a request row, an intent row) and is
safe to repeat, so that a crash between the two is healed by the next tick.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from monitor import audit, decide, fidelity, journal, shadow
from monitor.allowance import overdue, withheld
from monitor.config import Model
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.follow import move, start
from monitor.registry import CHAMPION
from monitor.report import Subject
from monitor.request import Kind, Request
from monitor.soundness import broken
from monitor.store import Pending
from monitor.window import Window, isoformat, parse_time

log = structlog.get_logger()

UNSEEN = timedelta(days=30)
"""How long a promoted version may stay unseen in the log until its probation ends regardless."""


def act(model: Model, deps: Deps, now: datetime) -> None:
    """Carry out what waits: a candidate, a comparison, a promotion or a rollback."""
    if deps.store.pending(model.name) is None and not deps.store.intents(model.name):
        _probation(model, deps, now)
    pending = deps.store.pending(model.name)
    if pending is not None:
        _carry_out(pending, model, deps, now)
    quiet = pending is None and not deps.store.intents(model.name)
    _finish_intents(model, deps)
    report(model, deps)
    if quiet and deps.launcher is not None and deps.store.open_request(model.name) is None:
        _score(model, deps, now)
    row = deps.store.open_request(model.name)
    if row is None:
        return
    if not row.request.purpose:
        move(model, deps.store, now, f"request {row.request.request_id}",
             lambda state: decide.requested(state, row.request, now))
    if deps.launcher is not None and row.attempts == 0:
        start(row.request, deps, attempt=1)


def request_for(kind: Kind, model: Model, deps: Deps, known_at: datetime, *, reason: str,
                evidence: dict[str, object] | None = None) -> Request:
    """The request that a decision at ``known_at`` leads to: its id follows from both, and from the
    deployment."""
    state = deps.store.recorded(model.name).state
    earlier = [item.version for item in reversed(deps.store.adoptions(model.name)) if item.version]
    predecessors = tuple(dict.fromkeys(item for item in earlier if item != state.champion))
    deployment = deps.store.deployment()
    return Request(
        request_id=Request.identity(model.name, kind, known_at, deployment),
        kind=kind, model=model.name, config=deps.path, known_at=known_at, reason=reason,
        champion=state.champion, predecessors=predecessors, evidence=dict(evidence or {}),
        options={"deployment": deployment}, exclude=broken(model, deps, known_at))


def _fitted(model: Model, deps: Deps) -> list[tuple[datetime, bool]]:
    """When weights were fitted, and whether a version came of it."""
    return [(row.request.known_at, (row.outcome or {}).get("version") is not None)
            for row in deps.store.requests(model.name)
            if ((row.outcome or {}).get("result") or {}).get("trained")]


def _informed(request: Request, model: Model, deps: Deps) -> Request:
    """The request with what a training has to know beside its reason: until when weights rest,
    versions that it may not propose, and a compression that left its limits, so that new ranges
    are tried first."""
    options, told = dict(request.options), dict(request.evidence)
    state = deps.store.recorded(model.name).state
    since = [item.at for item in deps.store.adoptions(model.name)]
    options |= withheld(_fitted(model, deps), min(since, default=request.known_at),
                               request.known_at, model)
    barred = decide.barred(state, request.known_at, model)
    if barred:
        options["barred"] = list(barred)
    found = told.get("compression") or fidelity.evidence(fidelity.newest(deps.store, model.name))
    if found:
        options["evidence"], told["compression"] = "compression", found
    elif told.get("reweigh"):
        late = overdue(_fitted(model, deps), request.known_at, model)
        options["evidence"] = "follow_up" if late else "reweigh"
    elif told.get("follow_up"):
        options["evidence"] = "follow_up"
    return replace(request, options=options, evidence=told)


def _score(model: Model, deps: Deps, now: datetime) -> None:
    """Ask for the scoring that is due; it waits on nothing and nothing waits long on it."""
    asked = shadow.due(model, deps.store) or fidelity.due(model, deps.store, deps.registry)
    if asked is not None:
        request = request_for("score", model, deps, asked.known_at, reason=asked.reason)
        request = replace(
            request, options=request.options | asked.options | {"purpose": asked.purpose},
            request_id=Request.identity(model.name, asked.purpose, asked.known_at,
                                        request.deployment))
    else:
        reason = audit.due(model, deps.store, now)
        if reason is None:
            return
        request = audit_of(model, deps, now, reason)
    if deps.store.request(request):
        journal.requested(request)


def audit_of(model: Model, deps: Deps, now: datetime, reason: str) -> Request:
    """The request that holds the versions of this moment against the golden sets."""
    request = request_for("score", model, deps, now, reason=reason)
    return replace(request, options=request.options | audit.options(model, deps.registry),
                   request_id=Request.identity(model.name, audit.PURPOSE, now, request.deployment))


def _probation(model: Model, deps: Deps, now: datetime) -> None:
    """Ask for a comparison, or end the probation, when its time has come."""
    recorded = deps.store.recorded(model.name)
    state = recorded.state
    adoptions = deps.store.adoptions(model.name)
    if state.phase != "probation" or not adoptions or state.adopted_at is None:
        return
    known, key = recorded.folded_to or now, adoptions[-1].key
    logged = (state.champion or "") if model.log.model_version else ""
    since = model.calendar.pane_of(state.adopted_at)
    began = deps.store.first_pane(model.name, key, version=logged, since=since)
    if began is None and known < state.adopted_at + UNSEEN:
        return
    matured = deps.store.labelled(model.name, key, version=logged, since=since, until=known)
    decision = decide.probation(state, matured, known, model,
                                since=max(began or since, state.adopted_at))
    if decision.action == "acquit":
        move(model, deps.store, now, decision.reason, lambda old: decide.acquitted(old, now))
    elif decision.action == "compare":
        move(model, deps.store, known, decision.reason, lambda old: (old, decision))


def _carry_out(pending: Pending, model: Model, deps: Deps, now: datetime) -> None:
    decision = pending.decision
    if decision.action in {"retrain", "compare"}:
        open_one = deps.store.open_request(model.name)
        if open_one is not None and open_one.request.purpose:
            return  # it ends soon, and this goes on at a later tick
        kind: Kind = "train" if decision.action == "retrain" else "score"
        request = request_for(kind, model, deps, pending.known_at, reason=decision.reason,
                              evidence=decision.evidence)
        if kind == "train":
            request = _informed(request, model, deps)
        if not deps.store.request(request, pending.id):
            _refuse(pending, model, deps, "another request of this model is open")
        else:
            journal.requested(request)
    elif decision.action in {"promote", "roll_back"}:
        state = deps.store.recorded(model.name).state
        target, meant = str(decision.evidence["to"]), decision.evidence.get("from")
        if meant != state.champion:
            _refuse(pending, model, deps, f"version {state.champion} was promoted meanwhile")
            return
        deps.store.intend(model.name, CHAMPION, target, state.champion, now, decision.reason)
        deps.store.settle(pending.id, "done", f"alias {CHAMPION} is to name version {target}")
    else:
        deps.store.settle(pending.id, "done", f"announced at {isoformat(now)}")


def _refuse(pending: Pending, model: Model, deps: Deps, reason: str) -> None:
    deps.store.settle(pending.id, "refused", reason)
    log.info("decision refused", model=model.name, action=pending.decision.action, reason=reason)


def _finish_intents(model: Model, deps: Deps) -> None:
    """Move aliases as intended, unless a person moved them first: then theirs stays."""
    for intent in deps.store.intents(model.name):
        deps.assure()
        moved = deps.registry.move_alias(model.registered, intent.alias, to=intent.to,
                                         expected=intent.expected)
        result = "moved" if moved else "somebody else moved it first"
        deps.store.finish_intent(intent.id, result)
        log.info("alias moved", model=model.name, version=intent.to, alias=intent.alias,
                 to=intent.to, expected=intent.expected, result=result)


def report(model: Model, deps: Deps) -> None:
    """Make the report of the newest verdict on all rows, when it is worth one and has none."""
    newest = deps.store.verdicts(model.name, segment="", newest=1)
    if deps.reporter is None or not newest or newest[0].line["verdict"] in {"stable", "unknown"}:
        return
    row = newest[0]
    made = deps.store.reports(model.name, 1)
    if not row.line["n"] or (made and made[0].verdict_id == row.id):
        return
    window = Window(parse_time(row.line["start"]), parse_time(row.line["end"]))
    subject = Subject(model.name, window, parse_time(row.line["known_at"]),
                      heading=row.line["reason"], version="")
    folder = Path(deps.config.folder) / "reports"
    try:
        path = deps.reporter.write(subject, folder)
        deps.assure()
        uri = deps.registry.log_report(model.name, path, version=row.line["version"],
                                       deployment=deps.store.deployment())
    except HoldfastError as error:
        log.warning("no report", model=model.name, reason=str(error))
        return
    deps.store.save_report(model.name, row.id, uri, str(path))
    log.info("reported", model=model.name, version=row.line["version"], uri=uri,
             window=f"{row.line['start']}/{row.line['end']}")
