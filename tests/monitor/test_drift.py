"""Statistics against scipy and Evidently, on the same counts and on raw real columns."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial import distance

from monitor.bins import CategoryBins, NumericBins
from monitor.drift import STATISTICS, error_bound
from monitor.ruler import ruler
from tests.data import stream
from tests.monitor.counted import count, feature_of

CATEGORY = CategoryBins("c", "feature", "categorical", ("a", "b", "d"))
CONSTANT = NumericBins("k", "feature", "numeric", "linear", 5.0, 1.0, 0.0, 1.0, 0, (5.0,))

NUMBERS = [("elec2", "nswprice"), ("elec2", "nswdemand"), ("elec2", "transfer"),
           ("metro_traffic", "rain_1h"), ("metro_traffic", "temp"), ("metro_traffic", "snow_1h"),
           ("beijing_air", "RAIN"), ("beijing_air", "SO2"), ("beijing_air", "WSPM")]
CONSTANTS = {("elec2", "transfer"), ("metro_traffic", "snow_1h")}
CATEGORIES = [("metro_traffic", "weather_main"), ("beijing_air", "wd"), ("elec2", "class"),
              ("metro_traffic", "weather_description")]


def halves(name: str, column: str) -> tuple[pd.Series, pd.Series]:
    """A quarter of the stream as reference and a later tenth as current."""
    values = stream(name)[column]
    rows = len(values)
    return values[: rows // 4], values[rows // 2: rows // 2 + rows // 10]


def vector(*counts: int) -> np.ndarray:
    return np.array(counts, dtype=np.int64)


REFERENCE, CURRENT = vector(7, 0, 2, 30, 400, 300, 268), vector(3, 0, 5, 4, 20, 31, 40)


def shares() -> tuple[np.ndarray, np.ndarray]:
    return REFERENCE[2:] / REFERENCE[2:].sum(), CURRENT[2:] / CURRENT[2:].sum()


def test_categories_equal_scipy_on_the_same_counts() -> None:
    p, q = shares()
    assert STATISTICS["js"](REFERENCE, CURRENT, CATEGORY) == pytest.approx(
        distance.jensenshannon(p, q, 2), abs=1e-12)
    assert STATISTICS["tv"](REFERENCE, CURRENT, CATEGORY) == pytest.approx(
        distance.cityblock(p, q) / 2, abs=1e-12)
    assert STATISTICS["hellinger"](REFERENCE, CURRENT, CATEGORY) == pytest.approx(
        distance.euclidean(np.sqrt(p), np.sqrt(q)) / np.sqrt(2), abs=1e-12)


def test_chi_squared_is_scipy_s_once_rare_groups_are_joined() -> None:
    joined = np.array([REFERENCE[3:].copy(), CURRENT[3:].copy()])
    joined[:, 0] += [2, 5]
    expected = stats.chi2_contingency(joined, correction=False).statistic
    assert STATISTICS["chi2"](REFERENCE, CURRENT, CATEGORY) == pytest.approx(expected, abs=1e-9)


def test_psi_is_the_textbook_s_where_no_share_is_under_half_a_row() -> None:
    p, q = shares()
    p = np.maximum(p, 0.5 / 100)
    assert STATISTICS["psi"](REFERENCE, CURRENT, CATEGORY) == pytest.approx(
        ((p - q) * np.log(p / q)).sum(), abs=1e-12)


def test_rates_are_differences_from_the_reference() -> None:
    assert STATISTICS["null_rate"](REFERENCE, CURRENT, CATEGORY) == pytest.approx(
        3 / 103 - 7 / 1007)
    assert STATISTICS["unseen_rate"](REFERENCE, CURRENT, CATEGORY) == pytest.approx(
        5 / 100 - 2 / 1000)


@pytest.mark.parametrize(("name", "column"), CATEGORIES)
def test_real_categories_equal_evidently(name: str, column: str) -> None:
    psi, shannon = evidently()
    reference, current = (part.dropna().astype(str) for part in halves(name, column))
    common = set(reference.value_counts().loc[lambda n: n > 400].index) & set(current)
    reference, current = (part[part.isin(common)].rename("c") for part in (reference, current))
    feature = feature_of(reference)
    counts = count(reference, feature), count(current, feature)
    assert STATISTICS["psi"](*counts, feature) == pytest.approx(
        psi(reference, current), abs=1e-9)
    assert STATISTICS["js"](*counts, feature) * np.sqrt(np.log(2)) == pytest.approx(
        shannon(reference, current), abs=1e-9)


def evidently() -> tuple:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import jensenshannon_stat_test, psi_stat_test
        from evidently.legacy.core import ColumnType
    return tuple(lambda a, b, test=test: test.func(a, b, ColumnType.Categorical, 0.1)[0]
                 for test in (psi_stat_test, jensenshannon_stat_test))


@pytest.mark.parametrize(("name", "column"), NUMBERS)
def test_ks_of_real_columns_is_within_its_bound(name: str, column: str) -> None:
    raw_reference, raw_current = (part.dropna().astype(float) for part in halves(name, column))
    feature = feature_of(raw_reference)
    rule = ruler(count(raw_reference, feature), feature)
    sample = rule.sample(count(raw_current, feature))
    raw = stats.ks_2samp(raw_reference, raw_current).statistic
    value = STATISTICS["ks"](count(raw_reference, feature), count(raw_current, feature), feature)
    assert abs(value - raw) <= error_bound("ks", rule, sample)[0] + 1e-9
    assert abs(value - raw) < 0.05


@pytest.mark.parametrize(("name", "column"), [pair for pair in NUMBERS if pair not in CONSTANTS])
def test_wasserstein_of_real_columns_is_within_its_bound(name: str, column: str) -> None:
    """Against Evidently's formula on the rows clipped to the reference's range."""
    raw = [part.dropna().astype(float) for part in halves(name, column)]
    feature = feature_of(raw[0])
    assert isinstance(feature, NumericBins)
    reference, current = (clipped(part, feature) for part in raw)
    rule = ruler(count(raw[0], feature), feature)
    sample = rule.sample(count(raw[1], feature))
    expected = stats.wasserstein_distance(reference, current) / np.std(reference)
    value = STATISTICS["wasserstein"](count(raw[0], feature), count(raw[1], feature), feature)
    assert abs(value - expected) <= error_bound("wasserstein", rule, sample)[0] + 1e-9
    assert abs(value - expected) < 0.03 * max(expected, 1)


def clipped(values: pd.Series, bins: NumericBins) -> np.ndarray:
    edges = np.array([bins.low, bins.high])
    if bins.transform == "asinh":
        edges = bins.center + bins.scale * np.sinh(edges)
    return np.where(values.isin(bins.exact), values, values.clip(*edges))


def test_a_constant_that_moves_is_seen_by_every_statistic() -> None:
    reference, moved = vector(0, 0, 0, 0, 0, 0, 1000), vector(0, 0, 0, 0, 10, 40, 50)
    for name in ("psi", "js", "hellinger", "tv", "ks", "wasserstein", "chi2"):
        assert STATISTICS[name](reference, reference, CONSTANT) == 0
        assert STATISTICS[name](reference, moved, CONSTANT) > 0.3
    assert error_bound("ks", ruler(reference, CONSTANT), ruler(reference, CONSTANT).sample(moved)
                       ) == 0


def test_a_constant_of_real_data_moves_with_the_market() -> None:
    frame = stream("elec2")
    before, after = frame["vicprice"][:10_000], frame["vicprice"][17_424:17_472]
    feature = feature_of(before)
    assert feature.size == 7
    assert STATISTICS["psi"](count(before, feature), count(after, feature), feature) > 5


def test_a_window_without_values_has_no_distance() -> None:
    nulls = vector(50, 0, 0, 0, 0, 0, 0)
    assert np.isnan(STATISTICS["psi"](REFERENCE, nulls, CATEGORY))
    assert STATISTICS["null_rate"](REFERENCE, nulls, CATEGORY) == pytest.approx(1 - 7 / 1007)


def test_one_row_of_a_new_category_is_not_a_shift() -> None:
    reference, current = vector(0, 0, 0, 0, 5000, 3000, 2000), vector(0, 0, 1, 0, 24, 14, 9)
    assert STATISTICS["psi"](reference, current, CATEGORY) < 0.02


def test_heavy_values_are_groups_of_their_own() -> None:
    values = np.concatenate([np.zeros(9000), np.random.default_rng(0).gamma(2, 1, 1000)])
    column = pd.Series(values, name="x")
    feature = feature_of(column)
    rule = ruler(count(column, feature), feature)
    assert 9000 in rule.groups
    assert rule.groups.sum() == 10_000
