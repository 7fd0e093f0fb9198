"""Watch: new rows and labels -> counts -> verdicts -> the model's state.

What is due comes from the store: counts are kept up to a watermark, verdicts are
folded checkpoint by checkpoint, and each step is one conditional transaction, so
that a crash anywhere leaves work to do and nothing to undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from operator import add, sub

from monitor.baseline import Baseline
from monitor.config import Model
from monitor.fold import Epoch, epochs_of, fold
from monitor.source import Increment, Source
from monitor.store import Store
from monitor.window import Window

CHUNK = 32
"""Checkpoints folded per load of counts: bounds memory in a long catch-up."""


def watch(model: Model, source: Source, store: Store, now: datetime) -> None:
    """Bring counts and verdicts of ``model`` up to the last checkpoint before ``now``."""
    calendar = model.calendar
    until = calendar.last_checkpoint(now)
    epochs = epochs_of(model, store)
    if not epochs:
        return
    folded_to = store.recorded(model.name).folded_to or epochs[0].after
    if folded_to >= until:
        return
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
    increments = source.count(bins, span, since=since, until=until)
    if model.log.ingested_at is None or (model.log.label is not None):
        change = source.changed(fingerprint)
        fingerprint = change.fingerprint
        if since is not None and change.span is not None:
            touched = Window(max(change.span.start, since - calendar.horizon, span.start),
                             min(change.span.end, calendar.closing(since).end))
            increments += corrections(touched, key, epochs[0].baseline, model, source, store,
                                      since=since)
    store.save_counts(model.name, key, increments, until=until, fingerprint=fingerprint or "")


def corrections(touched: Window, key: str, baseline: Baseline, model: Model, source: Source,
                store: Store, *, since: datetime) -> list[Increment]:
    """Recounted minus stored counts of panes that were closed already: rows that came unannounced.

    They become known at the first checkpoint after ``since``, the last one that missed them.
    """
    if touched.end <= touched.start:
        return []
    calendar = model.calendar
    span = Window(calendar.pane_of(touched.start), touched.end)
    differences: dict[tuple[datetime, str, str], Increment] = {}
    recounted = source.count(baseline.bins, span, since=None, until=since)
    stored = store.increments(model.name, key, span, until=since)
    for sign, items in ((1, recounted), (-1, stored)):
        for item in items:
            where = (item.pane, item.version, item.segment)
            before = differences.get(where)
            if before is None:
                before = replace(item, known_at=since + calendar.pane,
                                 profile=item.profile - item.profile,
                                 outcomes=item.outcomes - item.outcomes)
            fold = add if sign > 0 else sub
            differences[where] = replace(before, profile=fold(before.profile, item.profile),
                                         outcomes=fold(before.outcomes, item.outcomes))
    return [item for item in differences.values() if item.profile or item.outcomes]
