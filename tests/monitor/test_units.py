"""Columns that come in another unit, told apart from columns that drift."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitor.binning import make_bins
from monitor.bins import Bins, NumericBins
from monitor.config import Limits
from monitor.faults import Fault
from monitor.norms import learn
from monitor.profile import Profile
from monitor.source import Source
from monitor.units import QUANTILES, Suspect, abrupt, suspects, unit_fault
from tests.data import stream
from tests.monitor.counted import model, profile, summaries, windows
from tests.monitor.sourced import DAY, SPAN, exact, number, times
from tests.monitor.test_faults import GRID, Reference

__all__ = ["exact"]


def frame(days: int = 60, rows: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = days * rows
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.repeat(np.arange(days), rows), unit="D")
    return pd.DataFrame({"timestamp": at, "weight": rng.normal(70, 9, size),
                         "price": rng.lognormal(3, 0.8, size), "celsius": rng.normal(14, 7, size)})


@lru_cache
def learned(rows: int = 400) -> Reference:
    return known(frame(rows=rows), ["weight", "price", "celsius"])


def known(rows: pd.DataFrame, columns: list[str], every: str = "1D") -> Reference:
    bins, _ = make_bins(summaries(rows, columns), model())
    panes = [pane for _, pane in windows(rows, bins, every)]
    return Reference(bins, sum(panes, Profile.empty(bins)),
                     learn(bins, panes, grid=GRID, level=1e-4))


def told(day: pd.DataFrame, normal: Reference, *before: Profile) -> dict[str, Fault]:
    """Unit faults of a day against the reference and a day before, as the source confirms them."""
    found: dict[str, Fault] = {}
    for suspect in suspects(profile(day, normal.bins), normal):
        feature = normal.bins.by_key[suspect.key]
        assert isinstance(feature, NumericBins)
        values = day[suspect.key].dropna().to_numpy(dtype=float)
        if suspect.low is not None and suspect.high is not None:
            values = values[(values < suspect.low) | (values >= suspect.high)]
        fault = unit_fault(suspect, feature, np.quantile(values, QUANTILES).tolist(), len(values),
                           bases=[counted.counts[normal.bins.slices[suspect.key]]
                                  for counted in (normal.reference, *before)])
        if fault is not None:
            found.setdefault(suspect.key, fault)
    return found


@pytest.mark.parametrize("factor", [10, 1000, 1e6, 0.01, 0.001, 60, 3600, 24, 1 / 60])
@pytest.mark.parametrize("column", ["weight", "price"])
def test_a_large_factor_is_named_on_a_day_of_rows(column: str, factor: float) -> None:
    day = frame(1, 400, 3)
    assert told(day, learned()) == {}
    day[column] *= factor
    fault = told(day, learned())[column]
    assert (fault.check, fault.severity) == ("unit", "fault")
    assert fault.value == pytest.approx(factor)


@pytest.mark.parametrize("factor", [2.54, 1.609344, 0.45359237, 1 / 0.3048, 7])
def test_a_small_factor_is_named_where_rows_are_many(factor: float) -> None:
    day = frame(1, 20_000, 3)
    day["weight"] *= factor
    assert told(day, learned())["weight"].value == pytest.approx(factor)
    for near in (1.07, 0.93):
        assert "weight" not in told(day.assign(weight=day["weight"] * near), learned())


@pytest.mark.parametrize(("factor", "offset", "words"), [
    (1.8, 32, "Fahrenheit, not Celsius"), (1, 273.15, "Kelvin, not Celsius")])
def test_temperatures_change_their_scale(factor: float, offset: float, words: str) -> None:
    day = frame(1, 400, 3)
    day["celsius"] = day["celsius"] * factor + offset
    assert words in told(day, learned())["celsius"].message


def test_drift_of_any_size_is_no_unit() -> None:
    for change in (lambda x: x + 40, lambda x: 3 * x, lambda x: 35 * x, lambda x: x**2,
                   lambda x: 10 * x.mean() + (x - x.mean()), lambda x: x * 0 + 700.0):
        day = frame(1, 400, 3)
        day["weight"] = change(day["weight"])
        assert told(day, learned()) == {}


def test_a_part_of_the_rows_warns() -> None:
    day = frame(1, 400, 3)
    day.loc[::3, "weight"] *= 1000
    fault = told(day, learned())["weight"]
    assert fault.severity == "warning"
    assert "10^3 times" in fault.message
    assert "137 rows far out of range" in fault.message


def test_what_came_bit_by_bit_is_not_abrupt() -> None:
    normal = learned()
    feature, part = normal.bins.features[0], normal.bins.slices["weight"]
    whole, half = (profile(frame(1, 400, 3).assign(weight=lambda rows, s=shift: rows["weight"] + s),
                           normal.bins).counts[part] for shift in (60, 12))
    assert abrupt(feature, whole, [])
    assert abrupt(feature, whole, [whole, half])
    assert not abrupt(feature, whole, [half, half])


@pytest.mark.parametrize(("name", "columns", "end", "every"), [
    ("car_loan", ["car_value", "debt_to_income_ratio", "driver_tenure"], "2018-06-01", "1D"),
    ("elec2", ["nswprice", "nswdemand", "vicprice", "transfer"], "1997-05-06", "1D"),
    ("metro_traffic", ["temp", "rain_1h", "clouds_all"], "2013-10-01", "1D"),
    ("beijing_air", ["PM2.5", "O3", "TEMP", "PRES", "DEWP"], "2014-03-01", "7D")])
def test_no_real_stream_changes_its_units(name: str, columns: list[str], end: str,
                                          every: str) -> None:
    rows = stream(name)[["timestamp", *columns]]
    normal = known(rows[rows["timestamp"] < end], columns, every)
    later = rows[rows["timestamp"] >= end]
    for _, day in later.groupby(later["timestamp"].dt.floor(every)):
        assert told(day, normal) == {}


def test_real_kelvin_that_turn_to_celsius_are_found_at_once() -> None:
    rows = stream("metro_traffic")[["timestamp", "temp"]]
    normal = known(rows[rows["timestamp"] < "2013-10-01"], ["temp"])
    week = rows[(rows["timestamp"] >= "2016-07-01") & (rows["timestamp"] < "2016-07-08")]
    before = profile(rows[rows["timestamp"].dt.date.astype(str) == "2016-06-30"], normal.bins)
    faults = [told(day.assign(temp=day["temp"] - 273.15), normal, before)
              for _, day in week.groupby(week["timestamp"].dt.date)]
    assert all("in Celsius, not Kelvin" in found["temp"].message for found in faults)


def test_the_source_tells_exact_quantiles_of_what_had_arrived(exact: Any) -> None:
    at = [0.1 * place for place in range(40)]
    values = [float(place) for place in range(38)] + [float("nan"), None]
    source = exact.add({"ts": times(*at), "seen": times(*[1.5] * 20, *[3.5] * 20), "x": values})
    settings = model(log={**source, "timestamp": "ts", "ingested_at": "seen"})
    with Source(settings, Limits()) as opened:
        whole, part = Suspect("x"), Suspect("x", 5.0, 30.0)
        found = opened.quantiles([whole, part], SPAN, known_by=SPAN.end)
        early = opened.quantiles([whole], SPAN, known_by=SPAN.start + 2 * DAY)
    assert found[whole] == (38, pytest.approx(tuple(np.quantile(values[:38], QUANTILES))))
    assert found[part][0] == 13
    assert early[whole] == (20, pytest.approx(tuple(np.quantile(values[:20], QUANTILES))))


def test_few_rows_and_constants_are_not_asked_about(tmp_path: Path) -> None:
    bins = Bins((number("x"), number("y", cells=0)))
    empty = Reference(bins, Profile.empty(bins), learn(bins, [], grid=GRID, level=1e-4))
    assert suspects(Profile(5, np.ones(bins.size, dtype=np.int64)), empty) == []
