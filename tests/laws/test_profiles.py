"""Laws of profiles and statistics: what must hold of any counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from scipy import stats

from monitor.bins import Bins, CategoryBins, FeatureBins, NumericBins
from monitor.drift import MEASURES, STATISTICS, error_bound
from monitor.profile import Profile
from monitor.ruler import ruler, rulers
from tests.monitor.counted import count, feature_of

DISTANCES = ("psi", "js", "hellinger", "tv", "ks", "wasserstein")
SYMMETRIC = ("js", "hellinger", "tv")

FEATURES: tuple[FeatureBins, ...] = (
    CategoryBins("c", "feature", "categorical", ("a", "b", "d", "e")),
    CategoryBins("b", "feature", "boolean", ("false", "true")),
    CategoryBins("one", "feature", "categorical", ("a",)),
    NumericBins("x", "feature", "numeric", "linear", 0.0, 1.0, -3.0, 3.0, 8, (0.0, 1.5)),
    NumericBins("y", "feature", "numeric", "asinh", 2.0, 0.5, -2.0, 4.0, 8, (-90.0,)),
    NumericBins("k", "feature", "numeric", "linear", 5.0, 1.0, 0.0, 1.0, 0, (5.0,)),
)


@some.composite
def counted(draw: some.DrawFn) -> tuple[FeatureBins, np.ndarray, np.ndarray]:
    """A feature with two count vectors, each holding at least one value."""
    feature = draw(some.sampled_from(FEATURES))
    pair = [draw(arrays.arrays(np.int64, feature.size, elements=some.integers(0, 5000)))
            for _ in range(2)]
    for counts in pair:
        counts[draw(some.integers(4 if isinstance(feature, CategoryBins) else 5,
                                  feature.size - 1))] += 1
    return feature, pair[0], pair[1]


@given(counted())
def test_identity_is_zero_and_distances_are_not_negative(
        case: tuple[FeatureBins, np.ndarray, np.ndarray]) -> None:
    feature, reference, current = case
    for name in (*DISTANCES, "chi2"):
        assert STATISTICS[name](reference, reference, feature) == pytest.approx(0, abs=1e-7)
        assert STATISTICS[name](reference, current, feature) >= 0
    for name in ("js", "hellinger", "tv", "ks"):
        assert STATISTICS[name](reference, current, feature) <= 1 + 1e-9
    for name in ("null_rate", "unseen_rate"):
        assert STATISTICS[name](reference, reference, feature) == 0
        assert -1 <= STATISTICS[name](reference, current, feature) <= 1


@given(counted())
def test_symmetric_on_the_same_cells(case: tuple[FeatureBins, np.ndarray, np.ndarray]) -> None:
    feature, reference, current = case
    starts = np.arange(ruler(reference, feature).plan.order.size)
    there, back = (ruler(counts, feature, starts=starts) for counts in (reference, current))
    for name in (*SYMMETRIC, "psi"):
        assert MEASURES[name](there, there.sample(current)) == pytest.approx(
            MEASURES[name](back, back.sample(reference)), rel=1e-9, abs=1e-9)
    assert STATISTICS["ks"](reference, current, feature) == pytest.approx(
        STATISTICS["ks"](current, reference, feature), abs=1e-12)


@given(counted(), some.integers(2, 20))
def test_shares_count_not_rows(case: tuple[FeatureBins, np.ndarray, np.ndarray], times: int
                               ) -> None:
    feature, reference, current = case
    for name in ("js", "hellinger", "tv", "ks", "wasserstein", "null_rate", "unseen_rate"):
        assert STATISTICS[name](reference, times * current, feature) == pytest.approx(
            STATISTICS[name](reference, current, feature), abs=1e-9)


@given(counted(), some.randoms(use_true_random=False))
def test_the_order_of_categories_does_not_matter(
        case: tuple[FeatureBins, np.ndarray, np.ndarray], random: object) -> None:
    feature, reference, current = case
    if not isinstance(feature, CategoryBins):
        return
    order = np.concatenate([np.arange(feature.first), feature.first + np.random.default_rng(
        random.randint(0, 99)).permutation(len(feature.categories))])  # type: ignore[attr-defined]
    for name in (*DISTANCES, "null_rate", "unseen_rate"):
        assert STATISTICS[name](reference[order], current[order], feature) == pytest.approx(
            STATISTICS[name](reference, current, feature), abs=1e-9)


@given(counted())
def test_many_windows_at_once_are_each_by_itself(
        case: tuple[FeatureBins, np.ndarray, np.ndarray]) -> None:
    feature, reference, current = case
    rule = ruler(reference, feature)
    for name, measure in MEASURES.items():
        together = measure(rule, rule.sample(np.stack([current, reference])))[:, 0]
        assert together[0] == pytest.approx(STATISTICS[name](reference, current, feature))
        assert together[1] == pytest.approx(0, abs=1e-7)


@given(some.lists(counted(), min_size=1, max_size=5))
def test_many_features_at_once_are_each_by_itself(
        cases: list[tuple[FeatureBins, np.ndarray, np.ndarray]]) -> None:
    features, references, currents = zip(*cases, strict=True)
    rule = rulers(references, features)
    sample = rule.sample(np.concatenate(currents))
    for name, measure in MEASURES.items():
        expected = [STATISTICS[name](reference, current, feature)
                    for feature, reference, current in cases]
        assert measure(rule, sample) == pytest.approx(expected, abs=1e-9)
        again = measure(rule.against(np.concatenate(currents)), sample)
        assert again == pytest.approx(0, abs=1e-7)


@given(some.lists(some.floats(-1e6, 1e6, allow_subnormal=False), min_size=40, max_size=300),
       some.lists(some.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1,
                  max_size=100))
@settings(max_examples=60, deadline=None)
def test_ks_lies_within_its_bound_of_the_rows(before: list[float], after: list[float]) -> None:
    raw = pd.Series(before, name="x") + 0.0, pd.Series(after, name="x") + 0.0
    feature = number_of(raw[0])
    rule = ruler(count(raw[0], feature), feature)
    sample = rule.sample(count(raw[1], feature))
    value = MEASURES["ks"](rule, sample)[0]
    assert abs(value - stats.ks_2samp(*raw).statistic) <= error_bound("ks", rule, sample)[0] + 1e-9


def number_of(column: pd.Series) -> FeatureBins:
    """The column's cells as a score, which is never set aside."""
    from monitor.binning import make_bins
    from tests.monitor.counted import model, summary

    bins, _ = make_bins({"score:x": summary(column)}, model())
    return bins.features[0]


@pytest.mark.parametrize("transform", [lambda x: x, lambda x: -x, np.exp, np.floor])
def test_a_larger_shift_is_a_larger_distance(transform: object) -> None:
    base = np.random.default_rng(0).normal(0, 1, 20_000)
    reference = pd.Series(transform(base), name="x")  # type: ignore[operator]
    feature = feature_of(reference)
    counts = count(reference, feature)
    for name in (*DISTANCES, "chi2"):
        values = [STATISTICS[name](counts, count(pd.Series(
            transform(base + shift), name="x"), feature), feature)  # type: ignore[operator]
            for shift in (0.0, 0.1, 0.3, 0.9)]
        assert values == sorted(values), name
        assert values[1] > 0


@given(some.lists(some.integers(0, 200), min_size=3, max_size=3),
       some.lists(some.integers(0, 200), min_size=3, max_size=3))
def test_profiles_add_and_subtract_exactly(one: list[int], two: list[int]) -> None:
    first, second = (Profile(sum(counts), np.array(counts, dtype=np.int64), 1, 0)
                     for counts in (one, two))
    assert first + second == second + first
    assert first + second - second == first
    assert Profile.unpack((first + second).pack()) == first + second


def test_no_row_and_one_row() -> None:
    bins = Bins(FEATURES)
    empty = Profile.empty(bins)
    for key, part in bins.slices.items():
        feature, full = bins.by_key[key], np.arange(1, bins.by_key[key].size + 1)
        one = np.zeros(feature.size, dtype=np.int64)
        one[-1] = 1
        for name in DISTANCES:
            assert np.isnan(STATISTICS[name](full, empty.counts[part], feature))
            assert np.isfinite(STATISTICS[name](full, one, feature))
            assert np.isfinite(STATISTICS[name](one, full, feature))


def test_extreme_counts_stay_finite() -> None:
    for feature in FEATURES:
        reference = np.full(feature.size, 10**12)
        current = np.zeros(feature.size, dtype=np.int64)
        current[-1] = 10**12
        for name in (*DISTANCES, "chi2"):
            assert np.isfinite(STATISTICS[name](reference, current, feature))
