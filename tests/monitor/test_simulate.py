"""The simulated stream is what the demo says that it is."""

from __future__ import annotations

import pandas as pd
import pytest

from monitor.simulate import START, Plan, deliveries

PLAN = Plan(days=140, slow_from=56, abrupt_at=98)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return deliveries(PLAN)


def test_the_same_seed_gives_the_same_rows(frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(frame, deliveries(PLAN))


def test_rows_arrive_after_they_happen_and_labels_later_still(frame: pd.DataFrame) -> None:
    assert frame["timestamp"].is_monotonic_increasing
    assert (frame["received_at"] >= frame["timestamp"]).all()
    assert (frame["label_at"] > frame["timestamp"] + pd.Timedelta(hours=5)).all()
    assert frame["request_id"].is_unique


def test_there_are_seasons_and_missing_values(frame: pd.DataFrame) -> None:
    hourly = frame.groupby(frame["timestamp"].dt.hour).size()
    assert hourly.loc[18] > 3 * hourly.loc[4]
    weekly = frame.groupby(frame["timestamp"].dt.dayofweek).size()
    assert weekly.loc[5] > 1.3 * weekly.loc[0]
    assert 0.01 < frame["temperature_c"].isna().mean() < 0.05


def test_the_weather_of_neighbouring_hours_is_alike(frame: pd.DataFrame) -> None:
    hourly = frame.groupby(frame["timestamp"].dt.floor("h"))["rain_mm"].mean()
    assert hourly.autocorr(1) > 0.8


def test_the_slow_drift_is_slow_and_the_abrupt_one_is_not(frame: pd.DataFrame) -> None:
    day = (frame["timestamp"] - pd.Timestamp(START)).dt.days
    traffic = [frame.loc[day.between(a, a + 13), "traffic"].mean() for a in (42, 70, 98, 126)]
    assert traffic == sorted(traffic)
    scooters = [(frame.loc[day.between(a, a + 6), "vehicle"] == "scooter").mean() for a in (91, 98)]
    assert scooters[1] > scooters[0] + 0.2
