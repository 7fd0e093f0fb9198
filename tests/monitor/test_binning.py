"""Cells made from what a reference column looks like."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from monitor.binning import make_bins
from monitor.bins import Bins, CategoryBins, NumericBins
from monitor.expectations import canonical
from tests.data import stream
from tests.monitor.counted import count, feature_of, model, summaries, summary

RNG = np.random.default_rng(7)


def column(values: object) -> pd.Series:
    return pd.Series(values, name="x")


def aside(values: object, **keys: object) -> str | None:
    _, why = make_bins({"x": summary(column(values))}, model(**keys))
    return why.get("x")


def test_a_bell_curve_gets_linear_cells_over_all_but_its_tails() -> None:
    feature = feature_of(column(RNG.normal(10, 2, 20_000)))
    assert isinstance(feature, NumericBins)
    assert (feature.transform, feature.cells, feature.exact) == ("linear", 64, ())
    assert feature.low == pytest.approx(10 - 2 * 2.576, abs=0.2)
    assert feature.high == pytest.approx(10 + 2 * 2.576, abs=0.2)


def test_a_long_tail_is_spread_by_asinh() -> None:
    values = column(RNG.lognormal(0, 3, 20_000))
    feature = feature_of(values)
    assert isinstance(feature, NumericBins)
    assert feature.transform == "asinh"
    assert count(values, feature).max() < 0.1 * len(values)


def test_small_integers_get_a_cell_each_and_frequent_ones_are_exact() -> None:
    feature = feature_of(column(RNG.integers(0, 24, 5000)))
    assert isinstance(feature, NumericBins)
    assert (feature.low, feature.high, feature.cells) == (-0.5, 23.5, 24)
    assert feature.exact == tuple(float(hour) for hour in range(24))


def test_heavy_values_are_exact_and_do_not_stretch_the_range() -> None:
    values = column(np.concatenate([np.full(5000, -999.0), RNG.normal(0, 1, 5000)]))
    feature = feature_of(values)
    assert isinstance(feature, NumericBins)
    assert feature.exact == (-999.0,)
    assert feature.low > -10
    assert count(values, feature)[-1] == 5000


def test_a_constant_is_one_value_and_any_other() -> None:
    feature = feature_of(column(np.full(100, 3.25)))
    assert isinstance(feature, NumericBins)
    assert (feature.cells, feature.center, feature.exact) == (0, 3.25, (3.25,))


def test_categories_under_min_count_are_never_named() -> None:
    values = ["a"] * 500 + ["b"] * 200 + ["secret"] * 9 + ["c"] * 10
    feature = feature_of(column(values), privacy={"min_count": 10})
    assert isinstance(feature, CategoryBins)
    assert feature.categories == ("a", "b", "c")
    assert not feature.known
    assert not feature.rest
    assert count(column(values), feature)[2] == 9
    assert "secret" not in str(Bins((feature,)).to_dict())


def test_beyond_fifty_categories_are_known_but_not_counted_apart() -> None:
    values = [f"v{index:03d}" for index in range(80) for _ in range(100 - index)]
    feature = feature_of(column(values))
    assert isinstance(feature, CategoryBins)
    assert len(feature.categories) == 50
    assert feature.categories[0] == "v000"
    assert feature.known == tuple(f"v{index:03d}" for index in range(50, 80))


def test_huge_cardinality_folds_known_and_unseen_into_one() -> None:
    values = stream("beijing_air")["timestamp"][: 12 * 12_000].astype(str).rename("x")
    feature = feature_of(values, log={"features": {"categorical": ["x"]}})
    assert isinstance(feature, CategoryBins)
    assert feature.rest
    assert not feature.known
    assert "free text" in str(aside(values))


def test_booleans_and_classes_are_categories() -> None:
    assert feature_of(column([True, False, True] * 20)).kind == "boolean"
    summaries = {key: summary(column([0, 1, 1] * 20)) for key in ("x", "prediction:x", "label:x")}
    bins, _ = make_bins(summaries, model(task="binary"))
    assert [feature.kind for feature in bins.features] == ["numeric", "categorical", "categorical"]
    assert bins.features[1].categories == ("1", "0")  # type: ignore[union-attr]
    bins, _ = make_bins(summaries, model(task="regression"))
    assert {feature.kind for feature in bins.features} == {"numeric"}


def test_what_names_rows_or_moments_is_set_aside_in_words() -> None:
    assert "identifier" in str(aside([f"id{index}" for index in range(500)]))
    assert "identifier" in str(aside(RNG.permutation(5000)))
    assert "monotone index" in str(aside(np.repeat(np.arange(300), 5) / 300))
    assert "free text" in str(aside([f"some words {index // 3}" for index in range(3000)]))
    assert "no values" in str(aside([None, None, None]))
    assert aside(RNG.normal(0, 1, 500)) is None


def test_configured_categories_win_over_what_a_column_looks_like() -> None:
    keys = {"log": {"features": {"categorical": ["x"]}}}
    assert aside(np.repeat(np.arange(300), 5), **keys) is None
    feature = feature_of(column([1.0, 2.0, 2.0] * 50), **keys)
    assert feature.categories == ("2", "1")  # type: ignore[union-attr]


def test_the_date_index_of_elec2_is_set_aside_alone() -> None:
    frame = stream("elec2")[:10_000]
    inputs = [name for name in frame if name != "timestamp"]
    bins, why = make_bins(summaries(frame, inputs), model())
    assert list(why) == ["date"]
    assert len(bins.features) == 8


def test_canonical_text() -> None:
    assert [canonical(value) for value in (3.0, -0.5, "a", 1e-7)] == ["3", "-0.5", "a", "1e-07"]
