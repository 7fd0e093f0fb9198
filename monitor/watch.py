"""Watch: new rows and labels -> counts -> verdicts -> the model's state.

What is due comes from the store: counts are kept up to a watermark, verdicts are
folded checkpoint by checkpoint, and each step is one conditional transaction, so
that a crash anywhere leaves work to do and nothing to undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from monitor.baseline import Baseline
from monitor.config import Model
from monitor.fold import Epoch, epochs_of, fold
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.source import Increment, Source
from monitor.store import Store
from monitor.window import Window

log = structlog.get_logger()

CHUNK = 32
"""Checkpoints folded per load of counts: bounds memory in a long catch-up."""


def watch(model: Model, source: Source, store: Store, now: datetime) -> None:
    """Bring counts and verdicts of ``model`` up to the last checkpoint before ``now``."""
    calendar = model.calendar
    until = calendar.last_checkpoint(now)
    folded_to = store.recorded(model.name).folded_to
    if folded_to is not None and folded_to >= until:
        return
    epochs = epochs_of(model, store)
    if not epochs:
        return
    folded_to = folded_to or epochs[0].after
    for key in {epoch.key: None for epoch in epochs}:
        count([epoch for epoch in epochs if epoch.key == key], model, source, store, until=until)
    due = list(calendar.checkpoints(folded_to, until))
    for start in range(0, len(due), CHUNK):
        fold(due[start : start + CHUNK], epochs, model, source, store)


def count(epochs: Sequence[Epoch], model: Model, source: Source, store: Store, *,
          until: datetime) -> None:
    """Store what became known up to ``until`` under the epochs' common baseline; nothing twice."""
    calendar, key, bins = model.calendar, epochs[0].key, epochs[0].baseline.bins
    counted = store.counted(model.name, key)
    since, fingerprint = counted if counted else (None, None)
    last = epochs[-1].until
    if since is not None and (since >= until or (last and since > last + calendar.horizon)):
        return
    start = calendar.closing(epochs[0].after).start
    span = Window(calendar.pane_of(start), calendar.closing(until).end)
    oldest = max(span.start, (since or span.start) + calendar.pane - calendar.reach,
                 store.merged_to(model.name, key) or span.start)
    # before anything is counted: what comes while it is, is a change that the next tick sees
    change = source.changed(fingerprint, Window(oldest, until), since=since)
    increments = source.count(bins, span, since=since, until=until)
    if since is not None and change.span is not None:
        touched = Window(max(change.span.start, oldest),
                         min(change.span.end, calendar.closing(since).end))
        increments = merged([*increments, *corrections(
            touched, key, epochs[0].baseline, model, source, store, since=since)])
    store.save_counts(model.name, key, increments, until=until, fingerprint=change.fingerprint)
    log.debug("counted", model=model.name, version=epochs[-1].version, until=until,
              increments=len(increments))


def corrections(touched: Window, key: str, baseline: Baseline, model: Model, source: Source,
                store: Store, *, since: datetime) -> list[Increment]:
    """Recounted minus stored counts of panes that were closed already: rows that came unannounced.

    They become known at the first checkpoint after ``since``, the last one that missed them.
    """
    if touched.end <= touched.start:
        return []
    span = Window(model.calendar.pane_of(touched.start), touched.end)
    known_at = since + model.calendar.pane
    recounted = source.count(baseline.bins, span, since=None, until=since)
    stored = store.increments(model.name, key, span, until=since)
    nothing = Profile.empty(baseline.bins)
    return merged([*(replace(item, known_at=known_at) for item in recounted),
                   *(replace(item, known_at=known_at, profile=nothing - item.profile,
                             outcomes=Outcomes() - item.outcomes) for item in stored)])


def merged(increments: Sequence[Increment]) -> list[Increment]:
    """One increment per pane, checkpoint, version and segment; those that cancel are left out."""
    sums: dict[tuple[datetime, datetime, str, str], Increment] = {}
    for item in increments:
        place = (item.pane, item.known_at, item.version, item.segment)
        before = sums.get(place)
        sums[place] = item if before is None else replace(
            before, profile=before.profile + item.profile,
            outcomes=before.outcomes + item.outcomes)
    return [item for item in sums.values() if item.profile or item.outcomes]
