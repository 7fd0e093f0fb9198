"""Zones: a local time means what the tz database says, on either side of every change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from monitor.bins import Bins
from monitor.cells import micros, offsets
from monitor.config import Limits
from monitor.relation import to_micros
from monitor.rows import LOG, compiled, filled
from monitor.source import Source
from monitor.window import EPOCH, Window, parse_time
from tests.monitor.logs import Logs
from tests.monitor.sourced import LATER, counted, model, number

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
X = Bins((number("x"),))
ZONES = (
    "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe",  # half an hour
    "Asia/Kolkata", "Asia/Kathmandu", "Antarctica/Troll",  # two hours
    "Pacific/Apia",  # left out a whole day in 2011
    "Europe/Moscow", "America/Caracas", "Asia/Pyongyang", "America/Sao_Paulo",  # new rules
    "Africa/Casablanca", "Asia/Tehran", "UTC")


def edges(zone: str) -> list[datetime]:
    """Local times at which a zone changes its offset, and one at which it does not."""
    told = [EPOCH + timedelta(microseconds=local) for local, _ in offsets(zone, 2005, 2030)[1:]]
    return [*(moment.replace(tzinfo=None) for moment in told), datetime(2026, 1, 5)]


@pytest.mark.parametrize("zone", ZONES)
@settings(deadline=None, max_examples=15)
@given(data=some.data())
def test_local_times_are_read_as_the_tz_database_says(zone: str, data: some.DataObject) -> None:
    minutes = some.integers(-200, 200).map(lambda minute: timedelta(minutes=minute))
    near = some.builds(lambda edge, moved: edge + moved, some.sampled_from(edges(zone)), minutes)
    free = some.datetimes(datetime(2006, 1, 1), datetime(2029, 12, 31))
    moments = data.draw(some.lists(near | free, min_size=1, max_size=30))
    table = ibis.table({"ts": "timestamp"}, name=LOG)
    sql = compiled(table.select(told=micros(table.ts, offsets(zone, 2004, 2035), "duckdb")),
                   "duckdb")
    values = ", ".join(f"(TIMESTAMP '{moment}')" for moment in moments)
    given_rows = {LOG: f"(SELECT * FROM (VALUES {values}) AS g(ts))"}
    found = duckdb.sql(filled(sql, given_rows, {})).fetchall()
    told = [moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for moment in moments]
    assert [micro for micro, in found] == [to_micros(instant) for instant in told]


@pytest.mark.parametrize(("zone", "first", "hours"), [
    ("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25),
    ("Australia/Lord_Howe", "2026-04-05", 24.5), ("America/New_York", "2026-11-01", 25),
    ("Pacific/Apia", "2011-12-30", 0), ("Asia/Kolkata", "2026-03-29", 24)])
def test_a_clock_that_is_put_forward_or_back_loses_no_row(
    tmp_path: Path, zone: str, first: str, hours: float) -> None:
    day = datetime.fromisoformat(first)
    local = [day + index * timedelta(minutes=30) for index in range(-48, 96)]
    if zone == "Pacific/Apia":  # nobody's clock ever showed that day
        local = [moment for moment in local if moment.date() != day.date()]
    config = model(Logs("parquet", tmp_path).add(
        {"ts": pa.array(local, pa.timestamp("us")), "x": [0.0] * len(local)}), timezone=zone,
        window={"length": "30m"})
    with Source(config, Limits()) as source:
        span = source.span()
        assert span is not None
        told = counted(source, X, span=Window(span.start - DAY, span.end + DAY))
    assert sum(item.profile.n for item in told) == len(local)
    for item in told:
        assert item.profile.n <= 2
        of = item.pane.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert any(of <= moment < of + 2 * HOUR for moment in local)
    midnight = [day.replace(tzinfo=ZoneInfo(zone)), (day + DAY).replace(tzinfo=ZoneInfo(zone))]
    length = midnight[1].astimezone(UTC) - midnight[0].astimezone(UTC)
    assert length == hours * HOUR


def test_a_day_is_one_of_utc_unless_it_is_told_when_it_starts(tmp_path: Path) -> None:
    at = [parse_time(f"2026-01-{day:02d}T{hour:02d}:30Z") for day in (5, 6) for hour in range(24)]
    source = Logs("parquet", tmp_path).add({"ts": pa.array(at, pa.timestamp("us", "UTC")),
                                            "x": [0.0] * 48})
    found = []
    for offset in ("0h", "5h"):
        config = model(source, window={"length": "1d", "offset": offset})
        with Source(config, Limits()) as opened:
            found.append([(f"{item.pane:%d %H}", f"{item.known_at:%d %H}", item.profile.n)
                          for item in counted(opened, X, span=Window(at[0] - 2 * DAY, LATER))])
    assert found[0] == [("05 00", "06 01", 24), ("06 00", "07 01", 24)]
    assert found[1] == [("04 05", "05 06", 5), ("05 05", "06 06", 24), ("06 05", "07 06", 19)]
