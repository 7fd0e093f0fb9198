"""Renewal: a reference that starts anew where a person said so, for the same version.

The new baseline takes its inputs from the first windows of the acknowledged stretch on, and keeps
what the version promised of its quality. It is adopted as of the checkpoint that closes the last of
them, from what was known at it, so that it is the same whenever the tick happens.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.acknowledgement import Acknowledgement, in_force, renewal
from monitor.baseline import Baseline
from monitor.config import Model
from monitor.deps import Deps
from monitor.reference import FIRST_WINDOWS, build, sealed
from monitor.source import Source
from monitor.store import Adoption
from monitor.window import Window

MICRO = timedelta(microseconds=1)


def renew(model: Model, source: Source, deps: Deps, now: datetime) -> None:
    """Adopt the baseline that an acknowledgement asks for, or take it back once it is undone."""
    adoptions = deps.store.adoptions(model.name)
    if not adoptions or adoptions[-1].version is None:
        return
    said = in_force(deps.store.acknowledgements(model.name), now)
    standing = _baseline(model, deps, adoptions[-1])
    if standing is None or _returned(model, deps, adoptions, said, now):
        return
    row = renewal(said, standing.window_end)
    if row is None:
        return
    at = ready(model, row)
    if now < at:
        return
    renewed = build(model, source, standing.version, span=span_of(model, row),
                    outcomes=standing.performance, known_by=at,
                    exclude=[item.span for item in said if item.said == "fault"])
    if renewed is None:
        return
    key = sealed(model, renewed)
    deps.store.save_baseline(model.name, standing.version, key, renewed.to_json())
    deps.store.adopt(model.name, standing.version, max(at, adoptions[-1].at + MICRO), key=key)


def span_of(model: Model, row: Acknowledgement) -> Window:
    """The windows that the new reference is made of."""
    start = model.calendar.pane_of(row.span.start)
    return Window(start, start + FIRST_WINDOWS * model.calendar.length)


def ready(model: Model, row: Acknowledgement) -> datetime:
    """The checkpoint that closes them, or the first one after the acknowledgement."""
    calendar = model.calendar
    return max(span_of(model, row).end + calendar.lateness,
               calendar.last_checkpoint(row.at) + calendar.pane)


def _returned(model: Model, deps: Deps, adoptions: list[Adoption], said: list[Acknowledgement],
              now: datetime) -> bool:
    """Whether the standing baseline was renewed for a stretch that is undone: back to the last."""
    rows = deps.store.acknowledgements(model.name)
    undone = {span_of(model, row) for row in rows if row.rebaseline} - {
        span_of(model, row) for row in said if row.rebaseline}
    standing = _baseline(model, deps, adoptions[-1])
    if standing is None or standing.window not in undone:
        return False
    for adoption in reversed(adoptions[:-1]):
        before = _baseline(model, deps, adoption)
        if adoption.version == standing.version and before and before.window not in undone:
            last = max(row.at for row in rows if row.said == "undone" and row.at < now)
            at = max(model.calendar.last_checkpoint(last) + model.calendar.pane,
                     adoptions[-1].at + MICRO)
            deps.store.adopt(model.name, standing.version, at, key=adoption.key)
            return True
    return False


def _baseline(model: Model, deps: Deps, adoption: Adoption) -> Baseline | None:
    stored = adoption.version and deps.store.baseline(model.name, adoption.version, adoption.key)
    return Baseline.from_json(stored[1]) if stored else None
