"""Ledger: what is known of one baseline's panes at any checkpoint.

Increments say what became known when; the ledger adds them up for a window as it
was known at a checkpoint, and tells which panes a checkpoint brought news of.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from monitor.bins import Bins, key_of
from monitor.increments import Known
from monitor.outcomes import Outcomes, total
from monitor.profile import Profile
from monitor.window import Calendar, Window


class Ledger:
    """Increments of one model and baseline, indexed by pane and by checkpoint."""

    def __init__(self, calendar: Calendar, bins: Bins, increments: Iterable[Known]) -> None:
        self._calendar = calendar
        self._bins = bins
        self._panes: dict[datetime, list[Known]] = defaultdict(list)
        self._parts: dict[tuple[datetime, str], list[Known]] = defaultdict(list)
        self._news: dict[datetime, list[Known]] = defaultdict(list)
        self._summed: dict[tuple[datetime, str, str, int], Outcomes] = {}
        for increment in increments:
            self._panes[increment.pane].append(increment)
            self._parts[increment.pane, increment.segment].append(increment)
            self._news[increment.known_at].append(increment)
        self._order = sorted(self._panes)

    def held(self, span: Window) -> Iterator[Window]:
        """The loaded panes that touch the span, newest first; a pool of four weeks is mostly made
        of others where panes are seconds long."""
        first = bisect_right(self._order, span.start - self._calendar.pane)
        for place in range(bisect_left(self._order, span.end), first, -1):
            start = self._order[place - 1]
            yield Window(start, start + self._calendar.pane)

    def _known(self, window: Window, at: datetime, segment: str) -> Iterable[Known]:
        for pane in self._calendar.panes(window):
            for increment in self._parts.get((pane, segment), ()):
                if increment.known_at <= at:
                    yield increment

    def inputs(self, window: Window, at: datetime, segment: str = "") -> Profile:
        """Counts of all traffic of the window, whichever version answered."""
        return sum((item.profile for item in self._known(window, at, segment)),
                   Profile.empty(self._bins))

    def outputs(self, window: Window, at: datetime, version: str, segment: str = "") -> Profile:
        """Counts of the rows that ``version`` answered."""
        return sum((item.profile for item in self._known(window, at, segment)
                    if item.version == version), Profile.empty(self._bins))

    def outcomes(self, window: Window, at: datetime, version: str, segment: str = "") -> Outcomes:
        """Labelled rows of the window that ``version`` answered.

        Those of one pane are kept: pools of a month ask for the same ones window by window. What
        is known of a pane only grows, so that the number of its increments says what it is.
        """
        known = [item for item in self._known(window, at, segment) if item.version == version]
        if not known or known[0].pane != known[-1].pane:
            return total(item.outcomes for item in known)
        place = known[0].pane, segment, version, len(known)
        if place not in self._summed:
            self._summed[place] = total(item.outcomes for item in known)
        return self._summed[place]

    def segments(self, window: Window, at: datetime) -> dict[str, int]:
        """Segments that the window's rows fall in, as known at a checkpoint, and their rows."""
        found: dict[str, int] = {}
        for pane in self._calendar.panes(window):
            for item in self._panes.get(pane, ()):
                if item.segment and item.known_at <= at:
                    found[item.segment] = found.get(item.segment, 0) + item.profile.n
        return dict(sorted(found.items()))

    def rows_changed(self, at: datetime) -> set[datetime]:
        """Panes whose row counts changed at the checkpoint."""
        return {item.pane for item in self._news.get(at, ()) if self._of_rows(item.profile)}

    def _of_rows(self, profile: Profile) -> bool:
        """Whether the counts say more than that labels arrived."""
        if any(profile.tallies):
            return True
        slices = self._bins.slices
        return any(profile.counts[slices[key_of(feature)]].any()
                   for feature in self._bins.features if feature.role != "label")

    def labels_changed(self, at: datetime) -> set[datetime]:
        """Panes whose labelled counts changed at the checkpoint."""
        return {item.pane for item in self._news.get(at, ()) if item.outcomes}

    def newest(self, at: datetime, before: datetime) -> datetime | None:
        """End of the newest loaded pane before ``before`` that held rows, as known at ``at``."""
        for pane in reversed(self._order[:bisect_left(self._order, before)]):
            if sum(item.profile.n for item in self._panes[pane]
                   if item.known_at <= at and not item.segment) > 0:
                return pane + self._calendar.pane
        return None

    def first_row(self, version: str) -> datetime | None:
        """Start of the oldest loaded pane that ``version`` answered rows in."""
        return min((item.pane for items in self._panes.values() for item in items
                    if item.version == version and item.profile.n > 0), default=None)
