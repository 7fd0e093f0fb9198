"""Partitions: which folders are looked into, and that nothing near is missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from monitor.partitions import Layout, Near, Object, period
from monitor.relation import to_micros

DAY = timedelta(days=1)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Shelf:
    """A place in memory that remembers what was asked of it."""

    paths: list[str]
    by_prefix: bool = True
    asked: list[str] = field(default_factory=list)

    def names(self, folder: str) -> list[str]:
        self.asked.append(folder)
        below = [path.removeprefix(folder + "/") for path in self.paths
                 if path.startswith(folder + "/")]
        return sorted({path.partition("/")[0] for path in below if "/" in path})

    def files(self, folder: str, rest: Sequence[str], prefix: str = "") -> list[Object]:
        self.asked.append(f"{folder}/{prefix}*")
        found = [path for path in self.paths if path.startswith(f"{folder}/{prefix}")]
        if len(rest) == 1 and not prefix:
            found = [path for path in found if path.count("/") == folder.count("/") + 1]
        return [Object(path, 1, "") for path in found]


LAYOUTS = {
    "b/log/dt=*/*.parquet": "b/log/dt={:%Y-%m-%d}/a.parquet",
    "b/log/day=*/*.parquet": "b/log/day={:%Y%m%d}/a.parquet",
    "b/log/{date}/*.parquet": "b/log/{:%Y-%m-%d}/a.parquet",
    "b/{year}/{month}/{day}/**/*.parquet": "b/{:%Y/%m/%d}/00/x/a.parquet",
    "b/year=*/month=*/day=*/*.parquet": "b/year={0:%Y}/month={0.month}/day={0.day}/a.parquet",
    "b/region=*/date=*/hour=*/*.parquet": "b/region=eu/date={:%Y-%m-%d}/hour=3/a.parquet",
    "b/log/{year}{month}/*.parquet": "b/log/{:%Y%m}/{0:%d}.parquet",
    "b/log-{date}-*.parquet": "b/log-{:%Y-%m-%d}-1.parquet",
    "b/{year}{month}{day}.parquet": "b/{:%Y%m%d}.parquet",
}


def shelf(pattern: str, days: int = 1000, *, by_prefix: bool = True) -> Shelf:
    text = LAYOUTS[pattern].replace("{:%Y%m}/{0:", "{0:%Y%m}/{0:")
    return Shelf(sorted({text.format(FIRST + index * DAY) for index in range(days)}),
                 by_prefix=by_prefix)


def near(first: int, days: int) -> Near:
    return to_micros(FIRST + first * DAY), to_micros(FIRST + (first + days) * DAY)


def paths(layout: Layout, place: Shelf, when: Near | None, *, newest: bool = False) -> list[str]:
    return [item.path for part in layout.walk(place, when, newest=newest) for item in part]


@pytest.mark.parametrize("by_prefix", [True, False])
@pytest.mark.parametrize("pattern", LAYOUTS)
def test_a_day_of_a_thousand_is_found_without_listing_a_year(pattern: str, by_prefix: bool
                                                             ) -> None:
    place, layout = shelf(pattern, by_prefix=by_prefix), Layout.of(pattern)
    everything = paths(layout, place, None)
    place.asked.clear()
    found = paths(layout, place, near(500, 1))
    assert len(everything) == len(set(everything)) == 1000
    assert 1 <= len(found) <= (62 if "{month}/*" in pattern else 5)
    assert set(found) <= set(everything)
    assert any(f"{FIRST + 500 * DAY:%d}" in path for path in found)
    assert len(place.asked) <= 12


@pytest.mark.parametrize("pattern", LAYOUTS)
@settings(deadline=None, max_examples=40)
@given(first=some.integers(-40, 1040), days=some.integers(0, 90))
def test_nothing_near_is_missed_and_nothing_far_is_found(pattern: str, first: int, days: int
                                                         ) -> None:
    layout = Layout.of(pattern)
    when = near(first, days)
    found = set(paths(layout, shelf(pattern), when))
    assert found == {path for path in shelf(pattern).paths if layout.near(path, when)}
    text = LAYOUTS[pattern].replace("{:%Y%m}/{0:", "{0:%Y%m}/{0:")
    exact = {text.format(FIRST + index * DAY) for index in range(first, first + days)
             if 0 <= index < 1000}
    assert exact <= found


@pytest.mark.parametrize("pattern", [pattern for pattern in LAYOUTS if pattern.count("/") > 1])
def test_the_oldest_and_newest_folders_come_first_when_asked_for(pattern: str) -> None:
    place, layout = shelf(pattern), Layout.of(pattern)
    oldest = next(part for part in layout.walk(place, None) if part)
    newest = next(part for part in layout.walk(place, None, newest=True) if part)
    assert place.paths[0] in {item.path for item in oldest} or "month=" in pattern
    dated = [path for path in place.paths if layout.near(path, near(999, 0))]
    assert {item.path for item in newest} & set(dated)
    assert len(place.asked) < 12


def test_a_folder_whose_name_is_no_date_is_never_left_out() -> None:
    place = Shelf(["b/dt=2024-05-01/a.csv", "b/dt=unknown/a.csv", "b/dt=2020-01-01/a.csv"])
    found = paths(Layout.of("b/dt=*/*.csv"), place, near(120, 2))
    assert sorted(found) == ["b/dt=2024-05-01/a.csv", "b/dt=unknown/a.csv"]


def test_folders_below_two_stars_are_discovered_by_their_names() -> None:
    pattern = "b/year=*/month=*/day=*/*.parquet"
    place = shelf(pattern)
    layout = Layout.of("b/**/*.parquet").discovered(place)
    assert layout.dated
    assert sorted(paths(layout, place, None)) == sorted(place.paths)
    assert len(paths(layout, place, near(500, 1))) <= 4
    beside = Shelf([*place.paths, "b/stray.parquet"])
    assert not Layout.of("b/**/*.parquet").discovered(beside).dated


def test_without_dates_a_glob_is_what_it_was() -> None:
    place = Shelf(["b/a.csv", "b/x/b.csv", "b/.c.csv", "b/d.txt"])
    assert paths(Layout.of("b/*.csv"), place, None) == ["b/a.csv"]
    assert sorted(paths(Layout.of("b/**/*.csv"), place, None)) == ["b/a.csv", "b/x/b.csv"]
    assert paths(Layout.of("b/[a-c].csv"), place, near(0, 1)) == ["b/a.csv"]
    assert not Layout.of("b/dt=*/*.csv", by_date=False).dated


@pytest.mark.parametrize(("parts", "days"), [
    ({"date": "2024-02-29"}, 1), ({"date": "20240229"}, 1), ({"year": "2024"}, 366),
    ({"year": "2024", "month": "2"}, 29), ({"year": "2024", "month": "12"}, 31),
    ({"year": "2024", "month": "12", "day": "31"}, 1)])
def test_a_period_is_a_day_a_month_or_a_year(parts: dict[str, str | None], days: int) -> None:
    dates = period(parts)
    assert dates is not None
    assert dates[1] - dates[0] == days * DAY
    assert period({"date": "2024-13-45"}) is None


@pytest.mark.parametrize("name", ["9999-12-31", "9999-12-30", "0001-01-01"])
def test_a_folder_of_what_has_no_date_is_left_out(name: str) -> None:
    """As warehouses name it; its day before or after is in no calendar."""
    layout = Layout.of("b/log/dt=*/*.parquet")
    near = (to_micros(FIRST), to_micros(FIRST + DAY))
    assert not layout.near(f"b/log/dt={name}/a.parquet", near)
    assert not Layout.of("b/year=*/*.parquet").near(f"b/year={name[:4]}/a.parquet", near)
    assert layout.near(f"b/log/dt={FIRST:%Y-%m-%d}/a.parquet", near)
