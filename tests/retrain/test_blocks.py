"""Intervals by blocks of time: as long as a season, and as wide as they say."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from monitor.errors import HoldfastError
from retrain.blocks import CERTAIN, estimate, of_rows, of_time
from retrain.evaluate import difference
from retrain.metrics import Floats, Judged, Weighted


def hours(days: float) -> pd.Series:
    return pd.Series(pd.date_range("2026-01-01", periods=int(days * 24), freq="h", tz="UTC"))


def mean(values: Floats) -> Weighted:
    return lambda weights: float(values @ weights / weights.sum())


def test_a_declared_season_is_the_block_where_the_rows_span_two_of_it() -> None:
    season = timedelta(days=3)
    assert (of_time(hours(12), season).count, of_time(hours(12), season).length) == (4, "3d")
    short = of_time(hours(5), season)
    assert short.short
    assert short.length == "1d"


def test_a_short_remainder_belongs_to_the_last_block() -> None:
    assert of_time(hours(29)).count == 4
    assert of_time(hours(33)).count == 5, "five of seven days are a block of their own"


def test_long_spans_have_blocks_of_several_seasons() -> None:
    years = of_time(hours(3 * 365))
    assert (years.length, years.count) == ("3w", 52)


def test_rows_of_one_instant_are_dealt_to_blocks() -> None:
    once = pd.Series(pd.to_datetime(["2026-01-01"] * 300, utc=True))
    found = of_time(once)
    assert (found.count, found.length) == (50, "rows")
    assert np.bincount(found.place).tolist() == [6] * 50


def test_blocks_of_a_slice_are_those_of_the_whole() -> None:
    blocks = of_time(hours(28))
    late = np.arange(28 * 24) >= 14 * 24
    assert blocks.of(late).count == 2
    assert blocks.of(late).place.tolist() == [0] * 168 + [1] * 168


def test_equal_blocks_give_student_s_interval_of_their_means() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0.3, 1, 28 * 24) + np.repeat(rng.normal(0, 1, 4), 7 * 24)
    found = estimate(mean(values), of_time(hours(28)), level=0.9)
    means = values.reshape(4, -1).mean(axis=1)
    low, high = stats.t.interval(0.9, 3, means.mean(), stats.sem(means))
    assert (found.low, found.high) == pytest.approx((low, high))
    against = stats.ttest_1samp(means, 0, alternative="less").pvalue
    assert found.sure == pytest.approx(1 - against)
    assert found.lowest(0.05) == pytest.approx(low)


def test_no_difference_is_no_better() -> None:
    found = estimate(mean(np.zeros(28 * 24)), of_time(hours(28)))
    assert (found.low, found.high, found.sure) == (0.0, 0.0, 0.5)
    assert estimate(mean(np.full(28 * 24, -1.0)), of_time(hours(28))).sure == CERTAIN


def test_one_row_is_refused_in_words() -> None:
    with pytest.raises(HoldfastError, match="1 rows to compare on, too few"):
        estimate(mean(np.ones(1)), of_rows(1))


def covered(blocks: int, level: float, *, kept: float = 0.0) -> tuple[float, float]:
    """How often 0 lies within the interval of losses shared by the rows of a block (blocks of
    unequal size, correlated by ``kept``): ours, and that of a percentile bootstrap."""
    rng, runs = np.random.default_rng(blocks), 1500
    draws = rng.multinomial(blocks, np.full(blocks, 1 / blocks), 400)
    ours = percentile = 0
    for _ in range(runs):
        held, shared = rng.integers(15, 45, blocks), np.zeros(blocks)
        for block in range(blocks):
            before = shared[block - 1] if block else rng.normal()
            shared[block] = kept * before + np.sqrt(1 - kept**2) * rng.normal()
        place = np.repeat(np.arange(blocks), held)
        values = shared[place] + rng.normal(0, 3, len(place))
        found = estimate(mean(values), of_time(pd.Series(
            pd.Timestamp("2026-01-01") + place * pd.Timedelta(days=7)), timedelta(days=7)),
            level=level)
        ours += found.low <= 0 <= found.high
        sums = np.bincount(place, values)
        low, high = np.quantile((draws @ sums) / (draws @ held), ((1 - level) / 2, (1 + level) / 2))
        percentile += low <= 0 <= high
    return ours / runs, percentile / runs


@pytest.mark.parametrize("blocks", [3, 4, 8, 13])
def test_intervals_cover_what_they_say(blocks: int) -> None:
    """Three standard errors of the simulation either way, and a point for unequal blocks."""
    ours, _ = covered(blocks, 0.95)
    assert ours == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 1500) + 0.01)


def test_intervals_of_average_precision_cover_too() -> None:
    """Two equally good scores in 8 blocks that share how many labels are positive; the metric is no
    mean of rows."""
    rng, runs, held = np.random.default_rng(2), 600, 0
    times = pd.Series(pd.Timestamp("2026-01-01") + np.arange(8 * 60) * pd.Timedelta(hours=2.8))
    for _ in range(runs):
        rate = np.repeat(rng.beta(4, 12, 8), 60)
        label = (rng.random(len(rate)) < rate).astype(int)
        shared = rng.normal(0, 1, len(rate))
        one, other = (Judged(label, label, np.stack([-score, score], axis=1), 2, 1) for score in (
            1.5 * label + shared + rng.normal(0, 1, len(rate)) for _ in range(2)))
        found = estimate(difference(one, other, "average_precision"),
                         of_time(times, timedelta(days=7)))
        held += found.low <= 0 <= found.high
    assert held / runs == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / runs))


def test_a_percentile_bootstrap_of_four_blocks_promises_too_much() -> None:
    ours, percentile = covered(4, 0.95)
    assert percentile < 0.85 < 0.92 < ours


def test_a_smaller_error_rate_is_kept_too() -> None:
    """What the ladder's later rungs ask for."""
    assert covered(4, 0.99)[0] == pytest.approx(0.99, abs=0.015)


def test_blocks_that_go_together_cover_less_and_that_is_known() -> None:
    """The limit of the method: a block has to be longer than what its rows share."""
    assert 0.8 < covered(8, 0.95, kept=0.3)[0] < 0.93
