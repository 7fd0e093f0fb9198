"""Soundness: which stretches nothing is learned from, and whether a candidate learned from one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitor.acknowledgement import faulty_spans
from monitor.config import Model
from monitor.deps import Deps
from monitor.request import Request
from monitor.window import Window, isoformat, parse_time


def broken(model: Model, deps: Deps, known_at: datetime, *, since: datetime | None = None
           ) -> tuple[tuple[str, str], ...]:
    """Stretches that nothing is learned from: faulty windows, and what people said is a fault.

    As known at ``known_at``; windows within reach of a training (or ``since`` then), in order,
    joined where they touch.
    """
    calendar, rule = model.calendar, model.training
    reach = rule.window + rule.holdout + model.maturity.delay + 2 * calendar.length
    last: dict[str, dict[str, Any]] = {}
    for row in deps.store.verdicts(model.name, segment="",
                                   span=Window(since or known_at - reach, known_at)):
        if parse_time(row.line["known_at"]) <= known_at:
            last[row.line["start"]] = row.line
    spans = [Window(parse_time(line["start"]), parse_time(line["end"]))
             for line in last.values() if line["inputs"] == "faulty"]
    spans += faulty_spans(deps.store.acknowledgements(model.name), known_at)
    joined: list[Window] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return tuple((isoformat(span.start), isoformat(span.end)) for span in joined)


def tainted(request: Request, result: Mapping[str, Any], model: Model, deps: Deps, *,
            now: datetime) -> str:
    """Why the candidate of a request may not stay, in words; '' where nothing speaks against it.

    What was known to be faulty was left out of its rows; what turned out so later was not.
    """
    if "window" not in result:
        return ""
    learned = Window(*map(parse_time, result["window"]))
    known = sorted(Window(parse_time(start), parse_time(end)) for start, end in request.exclude)
    for start, end in broken(model, deps, now, since=learned.start):
        first, last = max(parse_time(start), learned.start), min(parse_time(end), learned.end)
        if first < last and not _covered(first, last, known):
            return (f"it learned from rows of {Window(first, last)}, which turned out to be "
                    "faulty")
    return ""


def _covered(start: datetime, end: datetime, spans: list[Window]) -> bool:
    """Whether the spans, in order, leave nothing between the two."""
    for span in spans:
        if span.start <= start < span.end:
            start = span.end
    return start >= end
