"""API: what Prometheus, Kubernetes and programs read. Nothing here changes anything.

Every answer below ``/api`` is JSON and declared in ``/api/openapi.json``, errors too: an object
with ``error``, in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import AwareDatetime, BeforeValidator

from monitor import audit, contours, fidelity, fleet, replies, shadow
from monitor.config import Config, Model
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.need import Level
from monitor.secrets import redact, redacted
from monitor.state import Phase
from monitor.status import published
from monitor.store import Store

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": replies.Problem, "description": words} for status, words in {
        400: "The request is malformed", 401: "Credentials are needed",
        403: "These credentials do not open this", 404: "No such model is configured",
        408: "The body took too long to arrive", 413: "The body is larger than http.limits.body",
        421: "No name of this server's (http.hosts)",
        422: "A parameter is not what it should be", 429: "Too many requests",
        500: "Nobody foresaw this; the log tells it under the request id",
        503: "The store does not answer"}.items()}
"""Errors of every route, as declared."""
DEEPEST = 10_000
"""Items that can be skipped at most."""

Limit = Annotated[int, Query(ge=1, le=200, description="Items of an answer at most")]
Offset = Annotated[int, Query(ge=0, le=DEEPEST, description="Items to skip")]
def _written(value: object) -> object:
    """A time in words; numbers, which could be seconds or milliseconds, are refused."""
    if isinstance(value, str) and "T" not in value.upper() and " " not in value:
        raise ValueError("write a time such as 2026-01-31T06:00:00Z")
    return value


Until = Annotated[AwareDatetime, BeforeValidator(_written)]
Text = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f]*$")]


def machines(store: Store, snapshot: Snapshot) -> APIRouter:
    """What Prometheus and Kubernetes read; no JSON, hence no part of the OpenAPI."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        body, kind = snapshot.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": kind})

    @router.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("alive\n")

    @router.get("/readyz")
    def readyz() -> Response:
        try:
            store.ready()
        except HoldfastError as error:
            return PlainTextResponse(f"{redact(str(error))}\n", 503)
        if store.refusal:  # people are to find the pages, which say so too
            return PlainTextResponse("ready to show what is known; nothing new is kept: "
                                     f"{redact(store.refusal)}\n")
        return PlainTextResponse("ready\n")

    return router


def told(store: Store, config: Config) -> APIRouter:
    """What programs read, as JSON."""
    router = APIRouter(prefix="/api", responses=ERRORS)
    _fleet(router, store, config)
    _model(router, store, config)
    _past(router, store, config)
    return router


def _fleet(router: APIRouter, store: Store, config: Config) -> None:

    @router.get("/status", tags=["fleet"], response_model=dict[str, Any])
    def status() -> Response:
        """Everything that `holdfast status --json` prints, of all models at once. `store` says why
        the daemon's newest write was not kept, and is null where it was."""
        return Response(published(config, store), media_type="application/json")

    @router.get("/models", tags=["fleet"])
    def models(limit: Limit = 50, offset: Offset = 0, phase: Phase | None = None,
               needs: Level | None = None, text: Text = "") -> replies.Fleet:
        """The models, those first that need a person most; `text` is looked for in their names
        and in the newest reason."""
        made = fleet.entries(store, config)
        kept = [item for item in made
                if fleet.Filter(phase or "", needs or "", text).keeps(item)]
        shown = kept[offset : offset + limit]
        told = fleet.performances(store, shown)
        after = offset + limit
        return replies.Fleet(
            items=[replies.Brief(**_brief(item, told.get(item.model.name))).masked()
                   for item in shown],
            next=after if after < min(len(kept), DEEPEST + 1) else None, total=len(made),
            found=len(kept))


def _brief(item: fleet.Entry, told: dict[str, Any] | None) -> dict[str, Any]:
    state, line = item.recorded.state, item.newest.line if item.newest else {}
    return {
        "name": item.model.name, "registered": item.model.registered, "task": item.model.task,
        "phase": state.phase, "needs": {"level": item.need.level, "words": item.need.words},
        "champion": state.champion, "challenger": state.challenger,
        "verdict": line.get("verdict"), "reason": item.reason,
        "severity": line.get("severity"), "performance": told,
        "trouble": item.trouble.message if item.trouble else None,
        "since": state.since, "judged_to": item.recorded.folded_to}


def _model(router: APIRouter, store: Store, config: Config) -> None:

    @router.get("/models/{name}", tags=["model"])
    def model(name: str) -> replies.Detail:
        """The model as it stands now."""
        found = fleet.entry(store, config, named(config, name))
        state, tick = found.recorded.state, found.tick
        asked, told = store.open_request(name), fleet.performances(store, [found])
        waits = found.pending
        return replies.Detail(
            **_brief(found, told.get(name)), predecessor=state.predecessor,
            adopted_at=state.adopted_at, cooldown_until=state.cooldown_until,
            ticked=tick.at if tick else None,
            newest=found.newest.line if found.newest else None,
            pending=None if waits is None else replies.Waiting(
                known_at=waits.known_at, action=waits.decision.action,
                reason=waits.decision.reason),
            request=asked.request.request_id if asked else None).masked()

    @router.get("/models/{name}/versions", tags=["model"])
    def versions(name: str) -> replies.Versions:
        """Who serves and who waits, the challenger beside the champion, and golden sets."""
        named(config, name)
        state = store.recorded(name).state
        pair = state.challenger or "", state.champion or ""
        return replies.Versions(
            champion=state.champion, challenger=state.challenger, predecessor=state.predecessor,
            adoptions=[replies.Adoption.model_validate(item) for item in store.adoptions(name)],
            shadow=redacted(shadow.newest(store, name)),
            windows=redacted([row.line for row in store.scores(name, "shadow_window", pair,
                                                               newest=100)]),
            compression=redacted(fidelity.newest(store, name)),
            audits=redacted(audit.history(store, name)))

    @router.get("/models/{name}/features", tags=["model"])
    def features(name: str, limit: Limit = 50, offset: Offset = 0
                 ) -> replies.Some[replies.Distribution]:
        """Columns by how far they moved, times what they are worth, with their distributions in
        the reference and in the newest window."""
        named(config, name)
        newest = store.verdicts(name, segment="", newest=1)
        found = contours.ranked(newest[-1].line) if newest else []
        shown = found[offset : offset + limit]
        drawn = (contours.contours(store, config.model(name), newest[-1].line, shown)
                 if shown else [])
        return replies.Some(items=[replies.Distribution(**redacted(item.to_dict()))
                                   for item in drawn],
                            next=_next(offset + limit, len(found) > offset + limit))


def _past(router: APIRouter, store: Store, config: Config) -> None:

    @router.get("/models/{name}/verdicts", tags=["history"])
    def verdicts(name: str, limit: Limit = 50,
                 offset: Annotated[int, Query(ge=0, le=100 * DEEPEST)] = 0, segment: Text = "",
                 known_until: Until | None = None) -> replies.Some[replies.Verdict]:
        """Verdicts on all rows, or on a segment, newest first. With `known_until` nothing that
        became known later: pages then stay as they are while new verdicts come."""
        named(config, name)
        rows = store.told(name, segment, until=known_until, skip=offset, most=limit + 1)
        return replies.Some(items=[_verdict(row.line) for row in rows[:limit]],
                            next=_next(offset + limit, len(rows) > limit, 100))

    pages: Sequence[tuple[str, type[replies.Reply], Callable[[str, int], Sequence[Any]], str]] = (
        ("episodes", replies.Episode, store.episodes,
         "Stretches of drift or degradation, newest first."),
        ("decisions", replies.Decision, store.decisions,
         "Decisions that had to be carried out, newest first."),
        ("transitions", replies.Transition, store.transitions,
         "Changes of phase, newest first."),
        ("requests", replies.Request, lambda name, most: [
            _request(row) for row in store.requests(name, most)],
         "Retrains and other work that was asked for, newest first."),
        ("reports", replies.Report, lambda name, most: [
            replies.Report(id=row.id, verdict_id=row.verdict_id, uri=row.uri,
                           created=row.created, href=f"/reports/{row.id}")
            for row in store.reports(name, most)],
         "Reports of verdicts, newest first."),
        ("acknowledgements", replies.Acknowledgement, lambda name, most: [
            replies.Acknowledgement(start=row.span.start, end=row.span.end, said=row.said,
                                    rebaseline=row.rebaseline, note=row.note, at=row.at)
            for row in store.acknowledgements(name)[::-1][:most]],
         "What people said of windows, newest first."),
        ("troubles", replies.Trouble, store.past_troubles,
         "Errors of the model's ticks, newest first."))
    for path, kind, read, words in pages:
        _paged(router, config, (path, kind, words), read)


def _paged(router: APIRouter, config: Config, told: tuple[str, type[replies.Reply], str],
           read: Callable[[str, int], Sequence[Any]]) -> None:
    """A route that tells a part of what ``read`` reads, newest first."""
    path, kind, words = told

    def part(name: str, limit: Limit = 50, offset: Offset = 0) -> Any:
        named(config, name)
        rows = read(name, offset + limit + 1)
        items = [kind.model_validate(row).masked() for row in rows[offset : offset + limit]]
        return {"items": items, "next": _next(offset + limit, len(rows) > offset + limit)}

    router.add_api_route(f"/models/{{name}}/{path}", part, name=path, description=words,
                         summary=path.capitalize(), tags=["history"],
                         response_model=replies.Some[kind])  # type: ignore[valid-type]


def named(config: Config, name: str) -> Model:
    """The model of that name; raises what is answered with 404 where none is configured."""
    for model in config.models:
        if model.name == name:
            return model
    raise HTTPException(404, f"No model called {name} is configured.")


def _next(after: int, more: bool, factor: int = 1) -> int | None:
    return after if more and after <= factor * DEEPEST else None


def _verdict(line: dict[str, Any]) -> replies.Verdict:
    return replies.Verdict.model_validate(line).masked()


def _request(row: Any) -> replies.Request:
    asked = row.request
    return replies.Request(
        request_id=asked.request_id, kind=asked.kind, known_at=asked.known_at,
        reason=asked.reason, status=row.status, attempts=row.attempts, created=row.created,
        finished=row.finished, outcome=row.outcome)
