"""Thresholds that keep an alarm budget, on simulated and on real streams."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from monitor.baseline import Baseline, calibrate
from monitor.binning import make_bins
from monitor.importance import Importances
from monitor.outcomes import SUMS, Outcomes, coarsened
from monitor.power import levels
from monitor.profile import Profile
from monitor.window import Window
from tests.data import stream
from tests.monitor.counted import model, summaries, windows

ALL = ["psi", "js", "ks", "wasserstein", "chi2"]
NOT_INPUTS = {"timestamp", "date"}


def watch(frame: pd.DataFrame, until: str, **policy: Any) -> tuple[Baseline, list]:
    """A baseline of the frame's daily windows before ``until``, and the windows after it."""
    settings = model(policy=policy)
    before = frame[frame["timestamp"] < until]
    bins, _ = make_bins(summaries(before, [name for name in frame if name not in NOT_INPUTS]),
                        settings)
    panes = [profile for _, profile in windows(before, bins)]
    baseline = calibrate("1", bins, panes, Outcomes(), model=settings)
    return baseline, windows(frame[frame["timestamp"] >= until], bins)


def drifted(baseline: Baseline, profile: Profile) -> set[str]:
    return {result.feature for result in baseline.compare(profile) if result.drifted}


def within_budget(baseline: Baseline, later: list) -> None:
    """The alarms are no more than the budget's, or not significantly so (exact Poisson, 95 %)."""
    alarms = sum(bool(drifted(baseline, profile)) for _, profile in later)
    expected = baseline.promise["level_per_window"] * len(later)
    lowest = stats.chi2.ppf(0.05, 2 * alarms) / 2 if alarms else 0.0
    assert lowest / expected <= 1, (alarms, expected)


@pytest.mark.parametrize("statistics", [["psi"], ALL])
def test_the_shuffled_market_raises_no_more_alarms_than_its_budget(statistics: list[str]) -> None:
    within_budget(*watch(stream("control_elec2_shuffled"), "1996-12-01", statistics=statistics))


@pytest.mark.parametrize("statistics", [["psi"], ALL])
def test_car_loans_before_their_drift_keep_the_budget(statistics: list[str]) -> None:
    frame = stream("car_loan")[:75_000]
    within_budget(*watch(frame, "2018-07-01", statistics=statistics))


def test_car_loans_after_their_drift_are_found_the_same_day() -> None:
    baseline, later = watch(stream("car_loan")[:76_000], "2018-07-01")
    after = [profile for start, profile in later if start >= datetime(2019, 4, 1, tzinfo=UTC)]
    assert all("car_value" in drifted(baseline, profile) for profile in after[:5])


def test_the_joined_market_is_found_the_same_day() -> None:
    baseline, later = watch(stream("elec2")[:20_000], "1996-12-01")
    days = {start.date().isoformat(): drifted(baseline, profile) for start, profile in later}
    assert days["1997-05-04"] >= {"vicprice", "vicdemand", "transfer"}
    assert not any({"vicprice", "vicdemand", "transfer"} & found
                   for day, found in days.items() if day < "1997-05-04")


def stream_of(days: int, rows: int, seed: int, *, memory: float = 0.0) -> pd.DataFrame:
    """Days of rows whose mean wanders with this memory from day to day."""
    rng = np.random.default_rng(seed)
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = memory * level[day - 1] + rng.normal(0, 0.5 * (memory > 0))
    stamps = pd.Timestamp("2026-01-01") + pd.to_timedelta(
        np.repeat(np.arange(days), rows) * 86_400 + 60, unit="s")
    return pd.DataFrame({
        "timestamp": stamps, "x": rng.normal(np.repeat(level, rows), 1),
        "c": rng.choice(list("abcde"), days * rows, p=[0.5, 0.3, 0.1, 0.08, 0.02])})


def test_a_wandering_stream_keeps_the_budget_because_its_reference_wandered() -> None:
    baseline, later = watch(stream_of(700, 60, 3, memory=0.6), "2026-05-01",
                            alarm_budget="1 per 30d")
    assert baseline.promise["dispersion"]["x"]["psi"] > 0.01
    within_budget(baseline, later)


@pytest.mark.parametrize("rows", [20, 300])
def test_short_references_keep_the_budget_on_average(rows: int) -> None:
    alarms = expected = 0.0
    for seed in range(6):
        baseline, later = watch(stream_of(90, rows, seed), "2026-01-15", alarm_budget="1 per 15d",
                                minimum_effect={"psi": 0.0})
        alarms += sum(bool(drifted(baseline, profile)) for _, profile in later)
        expected += baseline.promise["level_per_window"] * len(later)
    assert stats.chi2.ppf(0.05, 2 * alarms) / 2 <= expected if alarms else True


def test_thresholds_fall_with_rows_and_with_a_larger_budget() -> None:
    frame = stream_of(60, 100, 0)
    baseline, _ = watch(frame, "2026-02-15")
    generous, _ = watch(frame, "2026-02-15", alarm_budget="1 per 10d")
    values = [baseline.threshold("x", "psi", n) for n in (5, 20, 100, 500, 1000)]
    assert values == sorted(values, reverse=True)
    assert generous.threshold("x", "psi", 100) < baseline.threshold("x", "psi", 100)
    assert baseline.threshold("x", "js", 100) == float("inf")


def test_a_small_but_certain_shift_is_under_the_minimum_effect() -> None:
    frame = stream_of(60, 5000, 0)
    quiet, later = watch(frame, "2026-02-15", minimum_effect={"psi": 0.1})
    sharp, _ = watch(frame, "2026-02-15", minimum_effect={"psi": 0.0})
    n = later[0][1].n
    assert sharp.threshold("x", "psi", n) < 0.05
    assert 0.1 <= quiet.threshold("x", "psi", n) < 0.12


def test_a_broken_day_in_the_reference_does_not_set_the_limit() -> None:
    frame = stream_of(120, 100, 1)
    clean, _ = watch(frame, "2026-04-20")
    frame.loc[frame["timestamp"].dt.date == pd.Timestamp("2026-02-02").date(), "x"] += 50
    dirty, _ = watch(frame, "2026-04-20")
    assert dirty.threshold("x", "psi", 100) < 1.5 * clean.threshold("x", "psi", 100)


def test_what_a_baseline_promises_is_plain_and_in_words() -> None:
    baseline, _ = watch(stream_of(60, 100, 0), "2026-02-15")
    promise = baseline.promise
    assert promise["alarm_budget"] == "1 per 90d"
    assert promise["level_per_window"] == pytest.approx(1 / 90, rel=1e-3)
    assert promise["smallest_budget_without_tail"] == "1 per 45d"
    assert promise["parametric_tail"] is True
    assert baseline.interval_level == pytest.approx(1 - 1 / 90)
    assert 0.2 < promise["detectable_shift"]["x"]["found"] < 1
    assert promise["detectable_shift"]["x"]["unit"] == "sd"
    assert promise["detectable_shift"]["c"]["unit"] == "share"
    assert [words.split(":")[0] for words in promise["unknown_cycles"]] == ["year"]


@pytest.mark.parametrize(("alarms", "drift", "interval"), [
    (["degraded", "drifted"], 0.5, 1), (["drifted"], 1, 1), (["degraded"], 0.5, 2)])
def test_what_alarms_alone_has_the_whole_budget(alarms: list[str], drift: float, interval: int
                                                ) -> None:
    told = levels(model(log={"prediction": "p", "label": "y"}, policy={"alarm_on": alarms}))
    assert told["drift"] == pytest.approx(drift / 90)
    assert told["interval"] == pytest.approx(1 - interval / 90)


def test_json_round_trips_and_stays_small() -> None:
    rng = np.random.default_rng(0)
    frame = stream_of(48, 100, 0)
    for index in range(28):
        frame[f"number_{index}"] = rng.lognormal(0, 1, len(frame)) * 1000
    for index in range(10):
        frame[f"word_{index}"] = rng.choice([f"value {item}" for item in range(60)], len(frame))
    baseline, _ = watch(frame, "2026-02-15", statistics=["psi", "js", "chi2"])
    span = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 15, tzinfo=UTC))
    worth = Importances("surrogate", "x", 9, {"size": (0.2, 0.01)}, 0.8)
    baseline = replace(baseline, performance=coarsened(outcomes(1000)), window=span,
                       importance=worth)
    text = baseline.to_json()
    assert Baseline.from_json(text) == baseline
    assert Baseline.from_json(text).to_json() == text
    assert len(text) < 300_000


def outcomes(blocks: int) -> Outcomes:
    """An hourly block each, with every pair of classes and 20 score cells."""
    cells = {(3600 * block, guess, label, 5 * cell): 1 + (block + cell) % 3
             for block in range(blocks) for guess in "ab" for label in "ab" for cell in range(20)}
    sums: dict[int, tuple[float, ...]] = {}
    for (block, *_), count in cells.items():
        before = sums.get(block, (0.0,) * len(SUMS))
        sums[block] = (before[0] + count, *before[1:-1], before[-1] + count)
    return Outcomes(cells, sums)


def test_many_outcomes_are_kept_in_longer_blocks() -> None:
    many = outcomes(1000)
    fewer = coarsened(many)
    assert len(fewer.cells) <= 8_000 < len(many.cells)
    assert fewer.n == many.n
    assert sum(fewer.cells.values()) == sum(many.cells.values())


def test_a_reference_without_rows_still_makes_a_baseline() -> None:
    frame = stream_of(20, 30, 0)
    bins, _ = make_bins(summaries(frame, ["x", "c"]), model())
    baseline = calibrate("1", bins, [], Outcomes(), model=model())
    assert baseline.compare(Profile.empty(bins)) == ()
    assert Baseline.from_json(baseline.to_json()) == baseline
