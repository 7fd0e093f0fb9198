"""Event time: the grid of panes and checkpoints follows from the configuration alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import HoldfastError
from monitor.window import (
    EPOCH,
    LONGEST,
    Calendar,
    Window,
    format_duration,
    given_time,
    isoformat,
    parse_duration,
    parse_time,
)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DAILY = Calendar(DAY, DAY, HOUR, 30 * DAY)
LOCAL = Calendar(DAY, DAY, HOUR, 30 * DAY, EPOCH + 5 * HOUR)
SLIDING = Calendar(7 * DAY, DAY, HOUR, 30 * DAY)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return parse_time(text)


@pytest.mark.parametrize(("text", "span"), [
    ("90s", timedelta(seconds=90)), ("15m", timedelta(minutes=15)), ("7d", 7 * DAY),
    ("2w", 14 * DAY), ("1.5h", timedelta(minutes=90)),
])
def test_durations_are_read_and_written(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize("text", ["", "d", "1 dya", "-3h", "1h30m"])
def test_what_is_no_duration_says_what_would_be(text: str) -> None:
    with pytest.raises(HoldfastError, match="write a number and a unit"):
        parse_duration(text)


def test_what_no_calendar_holds_is_refused_in_words() -> None:
    with pytest.raises(HoldfastError, match="right would be such as 90d"):
        parse_duration("411810351687.9d")
    for text in ("36501d", "99999w", "999999999d"):
        with pytest.raises(HoldfastError, match="right would be"):
            parse_duration(text)
    assert parse_duration("36500d") == LONGEST
    for text in ("0001-01-01", "9999-12-31", "2200-01-01"):
        with pytest.raises(HoldfastError, match="the years 1700 to 2199"):
            given_time(text)
    with pytest.raises(HoldfastError, match="beyond the calendar"):
        parse_time("0001-01-01T00:00:00+23:00")


def test_times_without_an_offset_are_utc() -> None:
    assert isoformat(at("2026-01-31T06:00:00+02:00")) == "2026-01-31T04:00:00Z"
    assert isoformat(at("2026-01-31")) == "2026-01-31T00:00:00Z"


def test_a_window_is_half_open() -> None:
    window = Window(at("2026-01-01"), at("2026-01-02"))
    assert at("2026-01-01") in window
    assert at("2026-01-02") not in window


def test_a_row_that_came_in_time_is_known_when_its_pane_closes() -> None:
    pane = at("2026-01-01")
    assert DAILY.known_at(at("2026-01-01T05:00"), pane) == at("2026-01-02T01:00")


def test_a_row_that_comes_exactly_at_a_checkpoint_is_known_at_the_next() -> None:
    pane = at("2026-01-01")
    assert DAILY.known_at(at("2026-01-02T00:59:59"), pane) == at("2026-01-02T01:00")
    assert DAILY.known_at(at("2026-01-02T01:00"), pane) == at("2026-01-03T01:00")


@pytest.mark.parametrize("calendar", [DAILY, LOCAL])
@given(arrival=TIMES, instant=TIMES)
def test_nothing_is_known_before_it_came_nor_before_its_pane_closes(
    calendar: Calendar, arrival: datetime, instant: datetime
) -> None:
    pane = calendar.pane_of(instant)
    known_at = calendar.known_at(arrival, pane)
    assert known_at > arrival
    assert known_at >= calendar.closes(pane)
    assert calendar.last_checkpoint(known_at) == known_at


def test_windows_start_where_the_offset_says() -> None:
    assert LOCAL.pane_of(at("2026-01-05T04:59")) == at("2026-01-04T05:00")
    monday = Calendar(7 * DAY, 7 * DAY, HOUR, 30 * DAY, EPOCH + 4 * DAY)
    assert monday.pane_of(at("2026-01-07")) == at("2026-01-05")
    assert monday.pane_of(at("2026-01-07")).weekday() == 0


@given(instant=TIMES)
def test_every_window_of_a_pane_holds_it(instant: datetime) -> None:
    pane = SLIDING.pane_of(instant)
    windows = list(SLIDING.windows_of(pane))
    assert len(windows) == 7
    assert all(window.start <= pane and pane + DAY <= window.end for window in windows)


def test_checkpoints_follow_each_other_without_gap_or_repeat() -> None:
    start, middle, end = at("2026-01-01T00:30"), at("2026-01-05T07:00"), at("2026-01-09")
    whole = list(DAILY.checkpoints(start, end))
    parts = [*DAILY.checkpoints(start, middle), *DAILY.checkpoints(middle, end)]
    assert whole == parts
    assert all((point - HOUR - EPOCH) % DAY == timedelta(0) for point in whole)
