"""Calibration: nulls and tails against scipy, one limit for all tests, slow drift, modes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats
from statsmodels.stats.multitest import multipletests

from monitor.baseline import Baseline, calibrate
from monitor.bins import Bins, CategoryBins, NumericBins
from monitor.limits import widened
from monitor.modes import SEASON, WEEK, YEAR, held_out, members, seconds, spans_of
from monitor.null import Null, surprise, unsurprising
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.ruler import ruler
from monitor.tail import extremal_index, scale_of, tail_of
from monitor.window import Window
from tests.monitor.counted import model

DAY = timedelta(days=1)
START = datetime(2026, 1, 5, tzinfo=UTC)


def test_surprise_is_scipy_s_gamma_tail_where_the_null_is_certain() -> None:
    values = np.array([0.1, 1.0, 4.0, 9.0, 30.0, 90.0])
    found = surprise(values, np.full(6, 9.0), np.full(6, np.sqrt(18)), np.full(6, 1e9))
    assert found == pytest.approx(-stats.chi2.logsf(values, 9), rel=1e-4, abs=1e-6)


def test_surprise_is_an_f_tail_where_few_windows_tell_the_null() -> None:
    ratio = np.array([0.5, 1.0, 2.0, 5.0, 50.0])
    found = surprise(3 * ratio, np.full(5, 3.0), np.full(5, 3 / np.sqrt(2.0)), np.full(5, 12.0))
    assert found == pytest.approx(-stats.f.logsf(ratio, 4, 48), rel=1e-9)


@given(some.floats(0.05, 60), some.floats(0.01, 100), some.floats(0.2, 2),
       some.floats(8, 1e6))
def test_the_threshold_has_the_surprise_that_it_was_asked_for(
        level: float, mean: float, unevenness: float, known: float) -> None:
    arguments = np.array([mean]), np.array([mean * unevenness]), np.array([known])
    value = unsurprising(np.array([level]), *arguments)
    assert surprise(value, *arguments) == pytest.approx(level, rel=1e-3, abs=1e-3)


def test_a_null_that_does_not_vary_is_beyond_surprise() -> None:
    nothing = np.zeros(2)
    found = surprise(np.array([0.0, 0.3]), nothing, nothing, np.full(2, 1e6))
    assert found.tolist() == [0.0, 1e6]


def test_the_null_of_psi_is_the_scaled_chi_squared_of_its_two_samples() -> None:
    feature = CategoryBins("c", "feature", "categorical", tuple("abcdefgh"))
    counts = np.array([0, 0, 0, 0, *[2000] * 8])
    mean, spread = Null(ruler(counts, feature), 0.0, 1.0).moments("psi", 500, seed=0)
    scale = 1 / 500 + 1 / 16_000
    assert mean == pytest.approx(7 * scale, rel=0.06)
    assert spread == pytest.approx(np.sqrt(14) * scale, rel=0.12)


def test_scale_is_the_likelihood_estimate_with_the_largest_unknown() -> None:
    excess = np.sort(np.random.default_rng(0).exponential(2.0, 4000))
    plain, weight = scale_of(excess, 0)
    assert weight == 4004
    assert plain == pytest.approx(stats.expon.fit(excess, floc=0)[1], rel=1e-3)
    spoilt = np.append(excess[:-40], np.full(40, 1e6))
    assert scale_of(spoilt, 40)[0] == pytest.approx(2.0, rel=0.06)


def test_the_tail_s_level_is_that_of_an_exponential() -> None:
    values = np.random.default_rng(1).exponential(1.0, 20_000)
    tail = tail_of(values)
    for rate in (1e-2, 1e-3, 1e-4):
        assert tail.level(rate) == pytest.approx(-np.log(rate), rel=0.05)
        assert tail.beyond(tail.level(rate)) == pytest.approx(rate, rel=0.05)


def test_neighbours_above_the_threshold_are_one_cluster() -> None:
    rng = np.random.default_rng(2)
    alone = rng.exponential(1.0, 4000)
    threefold = np.maximum.reduce([alone, np.roll(alone, 1), np.roll(alone, 2)])
    assert extremal_index(np.flatnonzero(alone > 3)) == pytest.approx(1.0, abs=0.05)
    assert extremal_index(np.flatnonzero(threefold > 4)) == pytest.approx(1 / 3, abs=0.07)
    assert tail_of(threefold).rate < 0.6 * tail_of(alone).rate


def test_windows_are_summed_over_whole_cycles() -> None:
    assert spans_of(DAY, 400) == (1, 7, 28)
    assert spans_of(DAY, 60) == (1, 7)
    assert spans_of(DAY, 30) == (1,)
    assert spans_of(timedelta(hours=1), 24 * 70) == (1, 24, 168)
    assert spans_of(7 * DAY, 26) == (1, 8)
    assert spans_of(7 * DAY, 23) == (1,)


def test_modes_choose_the_hour_of_the_week_the_season_or_what_came_last() -> None:
    starts = seconds([START + place * DAY for place in range(800)])
    at = seconds([START + 800 * DAY])[0]

    def chosen(mode: Any) -> np.ndarray:
        return starts[members(mode, starts, at, length=86_400.0, gap=28) > 0]

    assert set((at - chosen("same_hour_of_week")) % WEEK) == {0.0}
    assert (at - chosen("trailing")).min() == 29 * 86_400
    assert chosen("trailing").size == 28
    ages = at - chosen("same_season_last_year")
    off = np.abs(ages - YEAR * np.round(ages / YEAR))
    assert off.max() <= SEASON
    assert ages.min() > YEAR / 2
    assert chosen("fixed").size == 800


def test_a_window_is_never_held_against_itself_or_its_neighbourhood() -> None:
    starts = seconds([START + place * DAY for place in range(400)])
    for mode in ("fixed", "same_hour_of_week", "same_season_last_year", "trailing"):
        weights = held_out(mode, starts, 200, length=86_400.0, span=7)  # type: ignore[arg-type]
        assert weights[194:201].sum() == 0
        assert weights.sum() > 0


def windows(days: int, rows: int, seed: int, *, shift: float = 0.0, weekly: float = 0.0,
            ) -> list[Profile]:
    """Daily counts of a number in 10 cells whose level follows the day of the week."""
    rng = np.random.default_rng(seed)
    made = []
    for day in range(days):
        level = shift + weekly * (day % 7 >= 5)
        cells = np.clip(np.floor(rng.normal(level, 1, rows) * 2 + 5), -1, 10).astype(int) + 5
        made.append(Profile(rows, np.bincount(cells, minlength=16).astype(np.int64)))
    return made


BINS = Bins((NumericBins("x", "feature", "numeric", "linear", 0.0, 1.0, -2.5, 2.5, 10),))


def based(panes: list[Profile], **keys: Any) -> Baseline:
    window = Window(START, START + len(panes) * DAY)
    return calibrate("1", BINS, panes, Outcomes(), model=model(**keys), window=window)


def alarms(baseline: Baseline, live: list[Profile], first: datetime) -> list[int]:
    """Days on which the column drifted, each judged with those before it."""
    found = []
    for place, profile in enumerate(live):
        earlier = [(first + index * DAY, live[index]) for index in range(max(place - 27, 0), place)]
        results = baseline.compare(profile, window=(first + place * DAY, earlier))
        if any(item.drifted for item in results):
            found.append(place)
    return found


@pytest.fixture(scope="module")
def year() -> list[Profile]:
    return windows(364, 200, 0)


def test_a_drift_too_slow_for_any_window_is_found_over_several(year: list[Profile]) -> None:
    policy = {"minimum_effect": {"psi": 0.0}}
    scan = based(year, policy=policy)
    single = based(year, policy=policy | {"slow_drift": False})
    live, first = windows(60, 200, 5, shift=0.15), START + 364 * DAY
    assert scan.spans == (1, 7, 28)
    assert single.spans == (1,)
    assert len(alarms(scan, live, first)) > 25
    assert len(alarms(single, live, first)) < 15
    assert alarms(scan, windows(60, 200, 6), first) == []


def test_one_bad_day_is_told_once(year: list[Profile]) -> None:
    baseline = based(year, policy={"minimum_effect": {"psi": 0.0}})
    live = windows(40, 200, 7)
    live[20] = windows(1, 200, 8, shift=3.0)[0]
    assert alarms(baseline, live, START + 364 * DAY) == [20]


def test_the_day_of_the_week_is_compared_with_itself() -> None:
    panes, live = windows(182, 400, 1, weekly=1.0), windows(35, 400, 2, weekly=1.0)
    fixed = based(panes)
    weekly = based(panes, reference={"mode": "same_hour_of_week"})
    assert weekly.past is not None
    assert len(weekly.past.starts) == 7
    assert weekly.threshold("x", "psi", 400) < fixed.threshold("x", "psi", 400) / 3
    start = START + 182 * DAY
    assert alarms(weekly, live, start) == []
    swapped = [live[5], *live[1:5], live[0], live[6]]  # Saturday's rows on a Monday
    assert alarms(weekly, swapped, start) == [0, 5]
    assert alarms(fixed, swapped, start) == []


@pytest.mark.parametrize("mode", ["trailing", "same_season_last_year"])
def test_a_reference_that_moves_is_judged_and_kept(mode: str) -> None:
    baseline = based(windows(420, 200, 3), reference={"mode": mode})
    again = Baseline.from_json(baseline.to_json())
    assert again.to_json() == baseline.to_json()
    live, first = windows(70, 200, 4), START + 420 * DAY
    assert alarms(again, live, first) == []
    moved = live[:60] + windows(3, 200, 9, shift=2.0)
    assert alarms(again, moved, first) == [60, 61, 62]


def test_many_features_that_move_a_little_are_found_together() -> None:
    names = [f"x{place}" for place in range(12)]
    bins = Bins(tuple(NumericBins(name, "feature", "numeric", "linear", 0.0, 1.0, -2.5, 2.5, 10)
                      for name in names))

    def wide(days: int, seed: int, shift: float) -> list[Profile]:
        columns = [windows(days, 200, seed + place, shift=shift) for place in range(12)]
        return [Profile(200, np.concatenate([item.counts for item in day]))
                for day in zip(*columns, strict=True)]

    settings = model(policy={"slow_drift": False, "minimum_effect": {"psi": 0.0}})
    baseline = calibrate("1", bins, wide(180, 0, 0.0), Outcomes(), model=settings)
    moved = [{item.feature for item in baseline.compare(day) if item.drifted}
             for day in wide(20, 500, 0.18)]
    assert sum(bool(found) for found in moved) >= 16
    assert sum("all features" in found for found in moved) >= 10
    assert sum(bool(found - {"all features"}) for found in moved) <= 10
    calm = [any(item.drifted for item in baseline.compare(day)) for day in wide(20, 900, 0.0)]
    assert sum(calm) <= 1
    floored = calibrate("1", bins, wide(180, 0, 0.0), Outcomes(), model=model())
    assert not any(item.feature == "all features" and item.drifted
                   for day in wide(20, 500, 0.18) for item in floored.compare(day))


def test_fewer_reference_rows_widen_the_null() -> None:
    n = np.array([100.0])
    assert widened(n, np.array([50.0]), np.array([1e9])) == pytest.approx(3.0, rel=1e-6)
    assert widened(n, np.array([1e9]), np.array([1e9])) == pytest.approx(1.0)


@pytest.mark.parametrize(("control", "method"), [("holm", "holm"),
                                                 ("benjamini_hochberg", "fdr_bh")])
def test_procedures_are_those_of_statsmodels(control: str, method: str) -> None:
    bins = Bins(tuple(NumericBins(f"x{place}", "feature", "numeric", "linear", 0.0, 1.0, -2.5,
                                  2.5, 10) for place in range(8)))

    def wide(days: int, seed: int, shift: float) -> list[Profile]:
        columns = [windows(days, 200, seed + place, shift=shift * place) for place in range(8)]
        return [Profile(200, np.concatenate([item.counts for item in day]))
                for day in zip(*columns, strict=True)]

    settings = model(policy={"control": control, "slow_drift": False,
                             "alarm_budget": "10 per 90d", "minimum_effect": {"psi": 0.0}})
    baseline = calibrate("1", bins, wide(90, 0, 0.0), Outcomes(), model=settings)
    assert baseline.limits is not None
    part = baseline.part(["feature"])
    assert part is not None
    for seed in range(100, 130):
        day = wide(1, seed, 0.06)[0]
        sample = part.rule.sample(day.counts)
        from monitor.drift import MEASURES

        value = MEASURES["psi"](part.rule, sample)
        chance = np.exp(-baseline.limits.surprise(0, 0, value, sample.rows, part.rule.rows))
        expected = multipletests(chance, baseline.limits.level, method=method)[0]
        drifted = [item.drifted for item in baseline.compare(day) if item.statistic == "psi"]
        assert drifted == expected.tolist()


def test_other_tools_rules_are_there_by_name(year: list[Profile]) -> None:
    evidently = based(year, policy={"thresholds": "evidently"})
    nannyml = based(year, policy={"thresholds": "nannyml"})
    day = windows(1, 200, 11, shift=0.5)[0]
    told = {item.statistic: item.threshold for item in evidently.compare(day) if item.threshold}
    assert told == {"wasserstein": 0.1}
    assert [item.statistic for item in nannyml.compare(day) if item.drifted] == ["js"]
    rule = ruler(sum(pane.counts for pane in year), BINS.features[0])
    from monitor.drift import MEASURES

    values = MEASURES["js"](rule, rule.sample(np.stack([pane.counts for pane in year])))[:, 0]
    assert nannyml.preset is not None
    assert nannyml.preset.rules["x"].limit == pytest.approx(values.mean() + 3 * values.std())
    assert Baseline.from_json(nannyml.to_json()) == nannyml


def test_evidently_tests_small_references_by_p_value() -> None:
    baseline = based(windows(10, 60, 0), policy={"thresholds": "evidently"})
    rng = np.random.default_rng(0)
    over = 0
    for seed in range(400):
        day = windows(1, 60, int(rng.integers(1e9)) + seed)[0]
        over += any(item.drifted for item in baseline.compare(day))
    assert 0.01 < over / 400 < 0.09  # the nominal 5 %, cells make it a little less
