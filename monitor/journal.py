"""Journal: verdicts, decisions and phases as log lines, once they are kept."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from monitor.request import Request
from monitor.state import Decision, ModelState
from monitor.store import Folded
from monitor.window import isoformat

log = structlog.get_logger()


def folded(lines: Sequence[Folded], before: ModelState) -> None:
    """What a checkpoint brought: verdicts on all rows, and what they led to."""
    phase = str(before.phase)
    for verdict, after, episode, decision in lines:
        told = {"model": verdict.model, "version": verdict.version,
                "window": f"{isoformat(verdict.window.start)}/{isoformat(verdict.window.end)}"}
        if not verdict.segment:
            calm = verdict.kind in {"stable", "unknown"}
            (log.debug if calm else log.info)(
                "verdict", **told, revision=verdict.revision, verdict=verdict.kind,
                known_at=isoformat(verdict.known_at), episode=episode, reason=verdict.reason)
        if decision.action != "none":
            log.info("decision", **told, action=decision.action, reason=decision.reason)
        if after != phase:
            log.info("phase", **told, before=phase, after=after, reason=verdict.reason)
        phase = after


def moved(model: str, before: ModelState, after: ModelState, *, decision: Decision | None,
          cause: str) -> None:
    """What the outside world brought: another phase, a decision."""
    told = {"model": model, "version": after.champion}
    if decision is not None and decision.action != "none":
        log.info("decision", **told, action=decision.action, reason=decision.reason)
    if after.phase != before.phase:
        log.info("phase", **told, before=before.phase, after=after.phase, reason=cause)


def requested(request: Request) -> None:
    """A request that is a row from now on."""
    log.info("request made", model=request.model, version=request.champion,
             request_id=request.request_id, kind=request.kind, reason=request.reason)
