"""Follow: what happens outside (aliases that people move, requests that end) -> state.

The MLflow alias ``champion`` is the truth about what should serve. A person's move
always wins: holdfast only ever reacts to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from monitor import decide, fidelity, journal, shadow
from monitor.acknowledgement import faulty_spans
from monitor.baseline import Baseline
from monitor.config import Model
from monitor.deps import Deps
from monitor.reference import build, explained, mapping_key, sealed
from monitor.renewal import renew
from monitor.request import Request
from monitor.soundness import tainted
from monitor.source import Source
from monitor.state import Decision, ModelState
from monitor.store import RequestRow, Store
from monitor.traces import span
from monitor.versions import Outcome, Version
from monitor.window import EPOCH, isoformat

log = structlog.get_logger()

ATTEMPTS = 3
"""Times that a request's process may end without an outcome while the daemon looks on."""
STARTS = 30
"""Times that a request is started at all: a process that dies with its daemon is not to blame."""
PATIENCE = timedelta(days=30)
"""How long a challenger waits for a person before it expires."""


def follow(model: Model, source: Source, deps: Deps, now: datetime) -> None:
    """Fold the outside world into the model's state: aliases first, then the open request."""
    adopt(model, source, deps, now)
    renew(model, source, deps, now)
    row = deps.store.open_request(model.name)
    if row is not None:
        conclude(row, model, deps, now)
    expire(model, deps, now)


def adopt(model: Model, source: Source, deps: Deps, now: datetime) -> None:
    """Adopt the version that alias ``champion`` points at, with its own baseline."""
    champion = deps.registry.champion(model.registered)
    known = deps.store.adoptions(model.name)
    if champion is None:
        if known and known[-1].version is not None:
            deps.store.adopt(model.name, None, now, key="")
        move(model, deps.store, now, "alias champion is gone",
             lambda state: decide.adopted(state, None, now, model))
        return
    if not (known and known[-1].version == champion.version
            and known[-1].key.startswith(mapping_key(model))):
        baseline = baseline_of(champion, model, source, deps)
        if baseline is None:
            return
        key = sealed(model, baseline)
        deps.store.save_baseline(model.name, champion.version, key, baseline.to_json())
        folded = deps.store.recorded(model.name).folded_to
        at = max(now, folded or now) if known else first_checkpoint(model, baseline, now)
        if deps.store.adopt(model.name, champion.version, at, key=key):
            log.info("adopted", model=model.name, version=champion.version, at=at)
    if deps.store.recorded(model.name).state.champion != champion.version:  # the tag comes first:
        deps.assure()
        deps.registry.tag_version(model.registered, champion.version,  # a kill between repeats it
                                  {"holdfast.promoted_at": isoformat(now)})
    move(model, deps.store, now, f"alias champion points at version {champion.version}",
         lambda state: decide.adopted(state, champion.version, now, model,
                                      blend=champion.blend))


def baseline_of(version: Version, model: Model, source: Source, deps: Deps) -> Baseline | None:
    """The version's own baseline, or one built from the reference; None while there is no data."""
    stored = deps.store.baseline(model.name, version.version)
    if stored is not None and stored[0].startswith(mapping_key(model)):
        return Baseline.from_json(stored[1])
    text = deps.registry.baseline(version)
    if text is not None:  # a version copied from another registered model has a number of its own
        return replace(Baseline.from_json(text), version=version.version)
    if model.reference.source is not None:
        with deps.source(model, reference=True) as reference:
            return explained(build(model, reference, version.version), model, reference)
    broken = faulty_spans(deps.store.acknowledgements(model.name))
    return explained(build(model, source, version.version, exclude=broken), model, source)


def first_checkpoint(model: Model, baseline: Baseline, now: datetime) -> datetime:
    """Just before the first checkpoint that can be judged: the first window past the reference."""
    calendar = model.calendar
    if baseline.window is None or model.reference.source is not None:
        return now
    return baseline.window.end + calendar.length + calendar.lateness - timedelta(seconds=1)


def conclude(row: RequestRow, model: Model, deps: Deps, now: datetime) -> None:
    """Fold the open request's outcome; start it again when its process died without one."""
    request = row.request  # asked before the outcome is: a child writes that and then ends
    at_work = deps.launcher is None or deps.launcher.running(request.request_id)
    outcome = deps.registry.outcome(request.request_id)
    if outcome is None or outcome.status == "running":
        if at_work or deps.launcher is None:
            return
        failures = deps.launcher.failures(request.request_id)
        ended = deps.launcher.ended(request.request_id)
        if not ended and failures < ATTEMPTS and row.attempts < STARTS:
            start(request, deps, attempt=row.attempts + 1)
            return
        outcome = Outcome(request.request_id, "failed", None, ended or
                          f"its process ended {max(failures, row.attempts)} times without an "
                          "outcome", "")
    told = _sound(outcome, request, model, deps, now=now)
    if request.purpose == "shadow":
        shadow.keep(model, deps, request, told)
    if request.purpose == "compression":
        _doubt(model, deps, request, told)
    move(model, deps.store, now, f"request {told.status}: {told.reason}",
         lambda state: settle(state, request, told, model, now))
    deps.store.conclude(request.request_id, told.status,
                        {"version": told.version, "reason": told.reason,
                         "run_id": told.run_id, "result": told.result})
    log.info("request ended", model=model.name, request_id=request.request_id, kind=request.kind,
             status=told.status, version=told.version, reason=told.reason)


def start(request: Request, deps: Deps, *, attempt: int) -> None:
    """Have somebody work on the request; the attempt is written down before it happens."""
    assert deps.launcher is not None
    deps.store.attempt(request.request_id)
    deps.assure()
    with span("launch", model=request.model, request_id=request.request_id):
        deps.launcher.start(request)
    log.info("request started", model=request.model, request_id=request.request_id,
             kind=request.kind, attempt=attempt)


def _sound(outcome: Outcome, request: Request, model: Model, deps: Deps, *, now: datetime
           ) -> Outcome:
    """The outcome; refused where the candidate learned from what turned out to be faulty."""
    why = tainted(request, outcome.result, model, deps, now=now) if (
        request.kind == "train" and outcome.status == "registered") else ""
    return replace(outcome, status="refused", version=None,
                   reason=f"version {outcome.version} is withdrawn: {why}") if why else outcome


def _doubt(model: Model, deps: Deps, request: Request, ended: Outcome) -> None:
    """Keep what was found of a compressed champion, and fold it in where it left its limits."""
    fidelity.keep(model, deps, request, ended)
    found = fidelity.evidence(fidelity.newest(deps.store, model.name))
    if found is None or not deps.store.adoptions(model.name):
        return
    at = request.known_at
    labelled = matured(model, deps.store, at)
    move(model, deps.store, at, "compression",
         lambda state: decide.doubted(state, found, labelled, at, model=model))


def matured(model: Model, store: Store, at: datetime) -> int:
    """Labelled rows since the champion's reference that had matured at that instant."""
    adoptions = store.adoptions(model.name)
    if not adoptions:
        return 0
    baseline = store.baseline(model.name, adoptions[-1].version or "", adoptions[-1].key)
    since = Baseline.from_json(baseline[1]).window_end if baseline else None
    return store.labelled(model.name, adoptions[-1].key, since=since or EPOCH, until=at)


def settle(state: ModelState, request: Request, outcome: Outcome, model: Model, now: datetime
           ) -> Step:
    """What an ended request changes; nothing when the state has moved on without it."""
    if state.request != request.request_id or request.purpose:
        return state
    if request.kind == "score":
        told = {"champion": request.champion, "reason": outcome.reason} | outcome.result
        return decide.compared(state, told, now, model)
    challenger = outcome.version if outcome.status == "registered" else None
    return decide.concluded(state, challenger, now, model)


def expire(model: Model, deps: Deps, now: datetime) -> None:
    """Give up a challenger that nobody promoted in time, or whose rows turned out to be faulty."""
    state = deps.store.recorded(model.name).state
    if state.phase != "awaiting_promotion" or state.since is None:
        return
    why = _taint(state.challenger, model, deps, now)
    if why:
        cause = f"version {state.challenger} is withdrawn: {why}"
    elif now - state.since > PATIENCE:
        cause = f"nobody promoted version {state.challenger} within {PATIENCE.days} days"
    else:
        return
    move(model, deps.store, now, cause, lambda state: decide.expired(state, now))


def _taint(challenger: str | None, model: Model, deps: Deps, now: datetime) -> str:
    """Why a challenger that waits may not stay, by the request that made it; '' where it may."""
    for row in deps.store.requests(model.name):
        told = row.outcome or {}
        if row.request.kind == "train" and told.get("version") == challenger:
            return tainted(row.request, told.get("result") or {}, model, deps, now=now)
    return ""


Step = ModelState | tuple[ModelState, Decision]


def move(model: Model, store: Store, now: datetime, cause: str,
         fold: Callable[[ModelState], Step]) -> bool:
    """Whether ``fold`` changed the state; ``ConflictError`` if somebody else moved it meanwhile."""
    recorded = store.recorded(model.name)
    step = fold(recorded.state)
    state, decision = step if isinstance(step, tuple) else (step, None)
    if state == recorded.state and decision is None:
        return False
    store.advance(model.name, recorded.number, state, decision=decision, at=now, cause=cause)
    journal.moved(model.name, recorded.state, state, decision=decision, cause=cause)
    return True
