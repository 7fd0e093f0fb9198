"""Reference: a version's baseline, built from the log or read from the registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from monitor import effects
from monitor.baseline import Baseline, calibrate
from monitor.binning import make_bins
from monitor.bins import Bins
from monitor.calibration import FEW
from monitor.config import Model
from monitor.effects import ROWS, VALUES, Losses
from monitor.errors import HoldfastError
from monitor.importance import surrogate
from monitor.outcomes import Outcomes, total
from monitor.profile import Profile
from monitor.segments import Segments, chosen, learn
from monitor.source import Increment, Source
from monitor.window import EPOCH, Window, isoformat

SAMPLED = 4000
"""Rows that importances are taken from where the version itself cannot be run."""
FIRST_WINDOWS = 28
"""Windows of the log that serve as reference where none is configured."""
LONGEST = timedelta(days=36_525)
"""Most event time of a reference file: what spans more holds times that stand for none."""
VERSION = "holdfast_version"
"""Column of a scratch log that says which rows a version was fitted to."""
FITTED = "holdfast:fitted"
"""What a log calls a version on rows that it was fitted to: such answers say by how much answers
vary from one window to the next, and not what they look like."""
LONG, PART = timedelta(days=20), 0.4
"""Rows that a version never saw are few below this time (and ``FEW`` windows), in which weekdays
and weather have not shown by how much answers vary, or below this share of all: a window is held
against the others without the fifth around it."""


def few_unseen(model: Model, span: Window, unseen: datetime) -> bool:
    """Whether the rows from ``unseen`` on are too few to tell alone by how much answers vary."""
    return span.end - unseen < max(FEW * model.calendar.length, LONG, PART * span.length)


def mapping_key(model: Model) -> str:
    """Changes whenever the log mapping, the segments or the privacy rules do: 12 hex digits."""
    elsewhere = {"source"}  # where a log lies, and with which password, is no part of the mapping
    log = model.log.model_dump(mode="json", exclude={
        "source": True, "query": True, "labels": elsewhere, "features_from": elsewhere,
        "expect": True, "freshness": True, "storage": True, "by_date": True})
    cells = {name: [told.min, told.max, told.values] for name, told in model.log.expect.items()
             if (told.min, told.max, told.values) != (None, None, None)}
    offset = [str(model.window.offset)] if model.window.offset else []
    plain = json.dumps([log | ({"expect": cells} if cells else {}),
                        model.privacy.model_dump(mode="json", exclude={"salt"}),
                        model.task, str(model.calendar.pane), *offset], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def reference_span(model: Model, source: Source) -> Window | None:
    """The reference period: configured, else the log's first windows; None while too short."""
    if model.reference.window is not None:
        return model.reference.window
    held = source.span()
    if held is None:
        return None
    if model.reference.source is not None:
        if held.length > LONGEST:
            raise HoldfastError(f"{model.name}: reference.source holds times from "
                                f"{isoformat(held.start)} to {isoformat(held.end)}; right would be "
                                "a file without times that stand for none")
        return held
    calendar = model.calendar
    start = calendar.pane_of(held.start)
    span = Window(start, start + FIRST_WINDOWS * calendar.length)
    if model.log.labelled and held.end < span.end + model.maturity.delay:
        return None
    return span if held.end >= span.end else None


def build(model: Model, source: Source, version: str, *, span: Window | None = None,
          outcomes: Outcomes | None = None, known_by: datetime | None = None,
          exclude: Sequence[Window] = ()) -> Baseline | None:
    """The baseline of ``version`` from ``span`` of the log (default: the reference period).

    ``outcomes`` are the version's labelled rows; by default those that it answered within the
    span. Of the log counts what had arrived by ``known_by`` (default: all of it), stretches in
    ``exclude`` left out. None while the log does not hold the span yet.
    """
    span = span or reference_span(model, source)
    if span is None:
        return None
    exclude = [*(Window(start, end) for start, end in model.reference.exclude), *exclude]
    summaries = source.describe(span, exclude, known_by)
    if not summaries or not any(summary.rows for summary in summaries.values()):
        raise HoldfastError(f"{model.name}: the reference {span} holds no rows; right would be a "
                            "period of the log, in reference.from and reference.to")
    bins, set_aside = make_bins(summaries, model)
    calendar = model.calendar
    known_by = known_by or span.end + calendar.horizon + calendar.lateness + calendar.pane
    whole = [item for item in source.count(bins, span, since=None, until=known_by)
             if not any(item.pane in away for away in exclude)]
    counted = [_muted(item, bins) for item in whole]
    increments = [item for item in counted if not item.segment]
    answered = _answered(counted, version if model.log.model_version else "", outcomes)
    if outcomes is None:
        outcomes = total(item.outcomes for item in answered if not item.segment)
    panes = panes_of(increments, calendar.length, Profile.empty(bins))
    varied = [] if counted == whole else panes_of(
        [item for item in whole if not item.segment], calendar.length, Profile.empty(bins))
    baseline = calibrate(version, bins, panes, outcomes, model=model, window=span,
                         set_aside=set_aside, varied=varied)
    return replace(baseline, segments=_segments(counted, answered, bins, model),
                   losses=_losses(model, source, bins, version, span=span, known_by=known_by))


def _muted(item: Increment, bins: Bins) -> Increment:
    """The increment without answers to rows that the version was fitted to."""
    if item.version != FITTED:
        return item
    counts = item.profile.counts.copy()
    for key, part in bins.slices.items():
        if bins.by_key[key].role in {"prediction", "score"}:
            counts[part] = 0
            counts[part.start] = item.profile.n  # as of rows that nobody answered
    return replace(item, profile=replace(item.profile, counts=counts))


def _losses(model: Model, source: Source, bins: Bins, version: str, *, span: Window,
            known_by: datetime) -> Losses | None:
    """What the version's labelled rows teach of a regression's errors."""
    if model.task != "regression" or not model.log.labelled or model.log.prediction is None:
        return None
    frame = source.sample(
        span, known_by=known_by, limit=min(ROWS, VALUES // max(len(bins.features), 1)),
        labelled=True, versions=[version] if model.log.model_version else None)
    for start, end in model.reference.exclude:
        frame = frame[(frame["_timestamp"] < start) | (frame["_timestamp"] >= end)]
    return effects.learn(frame, bins) if "_label" in frame and "_prediction" in frame else None


def _answered(counted: Sequence[Increment], logged: str, outcomes: Outcomes | None
              ) -> list[Increment]:
    """What the version answered; where its outcomes are given, from the first of them on."""
    first = EPOCH if not outcomes else EPOCH + timedelta(seconds=min(outcomes.sums))
    return [item for item in counted if item.version == logged and item.pane >= first]


def _segments(counted: Sequence[Increment], answered: Sequence[Increment], bins: Bins,
              model: Model) -> Segments:
    """The references of the declared groups, each over the windows of its own rows."""
    rows: dict[str, int] = {}
    for item in counted:
        if item.segment:
            rows[item.segment] = rows.get(item.segment, 0) + item.profile.n
    parts: dict[str, list[Increment]] = {name: [] for name in chosen(rows, model)}
    labelled: dict[str, list[Outcomes]] = {name: [] for name in parts}
    for item in counted:
        if item.segment in parts:
            parts[item.segment].append(item)
    for item in answered:
        if item.segment in parts:
            labelled[item.segment].append(item.outcomes)
    empty = Profile.empty(bins)
    return learn({name: panes_of(items, model.calendar.length, empty)
                  for name, items in parts.items()},
                 {name: total(items) for name, items in labelled.items()}, rows,
                 bins=bins, model=model)


def explained(baseline: Baseline | None, model: Model, source: Source) -> Baseline | None:
    """The baseline with importances by a surrogate of what the log says that the version answered.

    The surrogate sees the newest part of the reference that holds about ``SAMPLED`` rows.
    """
    if baseline is None or baseline.window is None or not (model.log.prediction or model.log.score):
        return baseline
    calendar, whole = model.calendar, baseline.window
    part = min(1.0, 4 * SAMPLED / max(baseline.reference.n, 1))
    newest = Window(max(whole.start, calendar.pane_of(whole.end - part * whole.length)), whole.end)
    frame = source.sample(
        newest, limit=SAMPLED, known_by=whole.end + calendar.horizon + calendar.pane,
        versions=[baseline.version] if model.log.model_version else None)
    names = [key for key, item in baseline.bins.by_key.items() if item.role == "feature"]
    return replace(baseline, importance=surrogate(frame, names, model.task))


def panes_of(increments: Sequence[Increment], length: timedelta, empty: Profile) -> list[Profile]:
    """One profile per tumbling window of the reference, oldest first; windows without rows too."""
    if not increments:
        return []
    origin = min(item.pane for item in increments)
    windows: dict[int, Profile] = {}
    for item in increments:
        place = (item.pane - origin) // length
        windows[place] = windows.get(place, empty) + item.profile
    return [windows.get(place, empty) for place in range(max(windows) + 1)]


def sealed(model: Model, baseline: Baseline) -> str:
    """The key of a baseline: of the log mapping it was made under, and of its content."""
    return f"{mapping_key(model)}-{hashlib.sha256(baseline.to_json().encode()).hexdigest()[:12]}"
