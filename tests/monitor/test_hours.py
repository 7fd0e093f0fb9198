"""Hours: one stretch a day on people's clocks, whatever is done to those."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monitor.errors import ConfigError
from monitor.hours import within
from tests.monitor.stored import configuration

MINUTE = timedelta(minutes=1)
BERLIN = [
    # in spring 02:00 becomes 03:00 at 01:00 UTC, in autumn 03:00 becomes 02:00 at the same
    ("22:00-07:00", "2026-03-28T21:00Z", "2026-03-29T05:00Z"),
    ("22:00-07:00", "2026-10-24T20:00Z", "2026-10-25T06:00Z"),
    ("01:30-02:30", "2026-03-29T00:30Z", "2026-03-29T01:30Z"),  # an hour, until 03:30
    ("02:30-04:00", "2026-03-29T01:30Z", "2026-03-29T02:00Z"),  # from 03:30 on
    ("22:00-02:30", "2026-10-24T20:00Z", "2026-10-25T01:30Z"),  # until the second 02:30
    ("02:30-07:00", "2026-10-25T00:30Z", "2026-10-25T06:00Z"),  # from the first 02:30 on
]


@pytest.mark.parametrize(("span", "start", "end"), BERLIN)
def test_a_night_in_which_the_clocks_change(span: str, start: str, end: str) -> None:
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    told = [within(span, "Europe/Berlin", first + step) for step in
            (-MINUTE, 0 * MINUTE, last - first - MINUTE, last - first)]
    assert told == [False, True, True, False]


@pytest.mark.parametrize("span", ["22:00-07:00", "00:30-06:15", "01:15-02:45", "12:00-12:30"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo",
                                  "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"])
def test_it_is_what_the_clock_shows_and_one_stretch_a_day(span: str, zone: str) -> None:
    there, (start, end) = ZoneInfo(zone), span.split("-")
    for month in (3, 4, 10, 11):  # the clocks of all of them change in these, or never
        at, told = datetime(2026, month, 1, tzinfo=UTC), []
        for _ in range(0, 28 * 24 * 4):
            local = at.astimezone(there)
            told.append(within(span, zone, at))
            shown = f"{local:%H:%M}"
            if (local - timedelta(hours=6)).utcoffset() == (
                    local + timedelta(hours=12)).utcoffset() == (
                    local - timedelta(hours=18)).utcoffset():
                assert told[-1] == (start <= shown < end if start <= end
                                    else shown >= start or shown < end), at
            at += 15 * MINUTE
        begun = sum(1 for before, after in pairwise(told) if after > before)
        assert begun in (27, 28)


def test_a_zone_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"quiet_zone.*Mars.*IANA name"):
        configuration(tmp_path, "m", notify={"urls_env": "P", "quiet_zone": "Mars"})
