"""Merging: counts of panes become counts of days, once nobody asks for hours any more. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.outcomes import Outcomes, reblocked, total
from monitor.profile import Profile
from monitor.source import Increment
from monitor.window import Calendar

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of counts: ``labelled`` stays when its outcomes go."""

    id: int
    increment: Increment
    labelled: int


def day_of(instant: datetime, calendar: Calendar) -> datetime:
    """The start of the day that holds the instant; days begin where windows do. A pane that is
    longer than a day is its own."""
    if calendar.pane >= DAY:
        return calendar.pane_of(instant)
    return calendar.origin + (instant - calendar.origin) // DAY * DAY


def merged(rows: Sequence[Kept], calendar: Calendar, cuts: Sequence[datetime]
           ) -> Iterator[tuple[list[Kept], Kept]]:
    """What is replaced, and by what: the sum of a day's counts of one version and segment.

    The sum stands at its first pane, and is known when the last part of it was. No sum reaches
    over one of the ``cuts`` (in order), from which on people count rows and labels; what is
    alone already is left as it is.
    """
    groups: dict[tuple[datetime, int, str, str], list[Kept]] = {}
    for row in rows:
        item = row.increment
        place = (day_of(item.pane, calendar), bisect_right(cuts, item.pane), item.version,
                 item.segment)
        groups.setdefault(place, []).append(row)
    for held in groups.values():
        if len(held) > 1:
            yield held, _sum(held)


def _sum(rows: Sequence[Kept]) -> Kept:
    first, *others = (row.increment for row in rows)
    profile = sum((item.profile for item in others), first.profile)
    outcomes = reblocked(total(row.increment.outcomes for row in rows), int(DAY.total_seconds()))
    return Kept(0, Increment(min(row.increment.pane for row in rows),
                             max(row.increment.known_at for row in rows),
                             first.version, first.segment, profile, outcomes),
                sum(row.labelled for row in rows))


def emptied(rows: Sequence[Kept]) -> Iterator[tuple[list[Kept], Kept | None]]:
    """What is replaced, and by what: the numbers of rows and of labels of all rows; nothing of
    segments."""
    for row in rows:
        item = row.increment
        if item.segment:
            yield [row], None
            continue
        profile = item.profile
        bare = Profile(profile.n, profile.counts * 0, profile.duplicates, profile.future)
        if profile.counts.any() or item.outcomes:
            yield [row], replace(row, increment=replace(item, profile=bare, outcomes=Outcomes()))
