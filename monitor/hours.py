"""Hours: a span of the day on people's clocks, also on the days on which those are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


def within(span: str, zone: str, now: datetime) -> bool:
    """Whether ``now`` lies in the hours ``22:00-07:00`` of the zone: one stretch a day, half-open.

    Where the clock is put back, it lasts from the first time that the clock shows the start to the
    last that it shows the end. A time that is left out where the clock is put forward is that of a
    clock that nobody changed.
    """
    start, end = (time.fromisoformat(item) for item in span.split("-"))
    there = ZoneInfo(zone)
    today = now.astimezone(there).date()
    for day in (today - DAY, today, today + DAY):
        last = day if start <= end else day + DAY
        if _first(day, start, there) <= now < _last(last, end, there):
            return True
    return False


def _first(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def _last(day: date, at: time, zone: ZoneInfo) -> datetime:
    local = datetime.combine(day, at, zone)
    return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
