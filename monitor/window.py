"""Event time: half-open UTC windows, panes and checkpoints.

A **pane** is the tumbling stretch of event time that rows are counted in; a
**window** is a sum of panes. A **checkpoint** is an instant on the grid
``k * pane + lateness`` at which verdicts are made: what had arrived strictly
before it is known at it. The grid depends on the configuration alone, never on
when a tick happens, so that hourly ticks, one catch-up tick and a replay judge
the same windows with the same knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from monitor.errors import HoldfastError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS = 1700, 2200
"""Years within which people's instants lie, and ``LONGEST`` a length of theirs: sums of such stay
within the calendar, and within that of pandas."""
LONGEST = timedelta(days=36_500)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*")


def parse_duration(text: str | timedelta) -> timedelta:
    """The length of time that ``text`` names: ``90s``, ``15m``, ``1h``, ``7d``, ``2w``."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(str(text))
    if match is None:
        raise HoldfastError(
            f"{text!r} is not a duration; write a number and a unit, such as 90s, 15m, 1h, 7d or 2w"
        )
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > LONGEST.total_seconds():
        raise HoldfastError(f"{text[:40]!r} is too long for the calendar; right would be such as "
                            f"90d, {format_duration(LONGEST)} at most")
    return timedelta(seconds=seconds)


def format_duration(span: timedelta) -> str:
    """The shortest exact spelling of ``span`` that ``parse_duration`` reads back."""
    seconds = int(span.total_seconds())
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0 and (unit != "w" or seconds > _UNITS["w"]):
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def parse_time(text: str | datetime) -> datetime:
    """An aware UTC instant; a time without an offset is taken as UTC."""
    if not isinstance(text, datetime):
        try:
            text = datetime.fromisoformat(str(text))
        except ValueError as error:
            raise HoldfastError(
                f"{text!r} is not a time; write 2026-01-31 or 2026-01-31T06:00:00Z"
            ) from error
    try:
        return text.replace(tzinfo=UTC) if text.tzinfo is None else text.astimezone(UTC)
    except OverflowError as error:
        raise HoldfastError(f"{text.isoformat()!r} lies beyond the calendar") from error


def isoformat(instant: datetime) -> str:
    """``instant`` as ``2026-01-31T06:00:00Z``."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def given_time(text: str | datetime) -> datetime:
    """An instant that a person gives: one with room before and after it in the calendar."""
    found = parse_time(text)
    if not YEARS[0] <= found.year < YEARS[1]:
        raise HoldfastError(f"{isoformat(found)!r} lies too far away; right would be a time of the "
                            f"years {YEARS[0]} to {YEARS[1] - 1}")
    return found


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open stretch ``[start, end)`` of event time, both aware UTC."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def __str__(self) -> str:
        return f"{isoformat(self.start)} to {isoformat(self.end)}"

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Calendar:
    """The grid of panes, windows and checkpoints of one model.

    ``length`` is a window's length, ``pane`` the pane's (windows start at every
    pane), ``lateness`` how long after a pane's end its first checkpoint waits,
    ``horizon`` how long after its end a window may still be revised, and
    ``origin`` an instant at which a pane starts.
    """

    length: timedelta
    pane: timedelta
    lateness: timedelta
    horizon: timedelta
    origin: datetime = EPOCH

    @property
    def reach(self) -> timedelta:
        """How long after the start of its pane a row or label still counts: no revision is later.
        """
        return self.length + self.lateness + self.horizon

    def pane_of(self, instant: datetime) -> datetime:
        """The start of the pane that holds ``instant``."""
        return self.origin + ((instant - self.origin) // self.pane) * self.pane

    def panes(self, span: Window) -> Iterator[datetime]:
        """Starts of the panes that touch ``span``, oldest first."""
        start = self.pane_of(span.start)
        while start < span.end:
            yield start
            start += self.pane

    def closes(self, pane: datetime) -> datetime:
        """The first checkpoint at which the pane is judged."""
        return pane + self.pane + self.lateness

    def known_at(self, arrival: datetime, pane: datetime) -> datetime:
        """The first checkpoint that knows a row of ``pane`` which arrived at ``arrival``."""
        after = self.pane_of(arrival - self.lateness) + self.pane + self.lateness
        return max(self.closes(pane), after)

    def last_checkpoint(self, now: datetime) -> datetime:
        """The newest checkpoint that is not after ``now``."""
        return self.pane_of(now - self.lateness) + self.lateness

    def checkpoints(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Checkpoints in ``(after, until]``, oldest first."""
        checkpoint = self.last_checkpoint(after) + self.pane
        while checkpoint <= until:
            yield checkpoint
            checkpoint += self.pane

    def closing(self, checkpoint: datetime) -> Window:
        """The window whose revision 0 falls due at ``checkpoint``."""
        end = checkpoint - self.lateness
        return Window(end - self.length, end)

    def windows_of(self, pane: datetime) -> Iterator[Window]:
        """Every window that the pane is part of, oldest first."""
        end = pane + self.pane
        while end - self.length <= pane:
            yield Window(end - self.length, end)
            end += self.pane
