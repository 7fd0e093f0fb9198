"""What a person declared of a column, and windows that break it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitor.binning import make_bins
from monitor.bins import Bins, CategoryBins, NumericBins
from monitor.config import Expect
from monitor.expectations import breaches, edges
from monitor.faults import Fault, find
from monitor.norms import fault_level, learn
from monitor.profile import Profile
from monitor.reference import mapping_key
from monitor.ruler import layout
from tests.data import stream
from tests.monitor.command import configured, holdfast
from tests.monitor.counted import model, profile, summaries, windows
from tests.monitor.test_faults import GRID, Reference, frame

COLUMNS = ["amount", "price", "fixed", "word"]


def reference(rows: pd.DataFrame, columns: list[str], **expect: Any) -> Reference:
    declared = model(log={"expect": expect})
    bins, _ = make_bins(summaries(rows, columns), declared)
    panes = [pane for _, pane in windows(rows, bins)]
    return Reference(bins, sum(panes, Profile.empty(bins)),
                     learn(bins, panes, grid=GRID, level=1e-4))


def found(rows: pd.DataFrame, **expect: Any) -> dict[str, Fault]:
    """Faults of a window under the declaration, by check."""
    normal = reference(frame(), COLUMNS, **expect)
    told = model(log={"expect": expect}).log.expect
    return {item.check: item for item in find(profile(rows, normal.bins), normal, expect=told)}


def test_one_row_beyond_a_declared_range_is_a_fault_and_none_is_not() -> None:
    day = frame(1, 100, 2)
    assert found(day, price={"min": 0, "max": 12}) == {}
    day.loc[3, "price"] = -1.0
    fault = found(day, price={"min": 0, "max": 12})["declared_range"]
    assert (fault.severity, fault.column, fault.value) == ("fault", "price", 0.01)
    assert "1 of 100 rows lie beyond the declared range" in fault.message
    assert found(day, price={"min": 0, "max": 12, "tolerance": 0.02}) == {}


def test_values_that_were_not_declared_are_a_fault_and_declared_ones_that_are_new_are_not() -> None:
    day = frame(1, 100, 2)
    day.loc[:59, "word"] = "new"
    assert found(day, word={"values": ["a", "b", "d", "new"]}) == {}
    day.loc[0, "word"] = "wrong"
    fault = found(day, word={"values": ["a", "b", "d", "new"]})["declared_values"]
    assert (fault.severity, fault.value) == ("fault", 0.01)
    assert "wrong" not in fault.message


def test_numbers_with_declared_values_are_counted_by_value() -> None:
    day = frame(1, 100, 2).assign(fixed=2.0)
    assert found(day, fixed={"values": [2, 3.5]}) == {}
    day.loc[0, "fixed"] = 3.0
    assert found(day, fixed={"values": [2, 3.5]})["declared_values"].value == 0.01


def test_a_declared_share_of_nulls_takes_the_place_of_the_learned_one() -> None:
    day = frame(1, 100, 2)
    day.loc[:29, "amount"] = np.nan
    assert found(day)["null_rate"].severity == "fault"
    assert found(day, amount={"nulls": 0.5}) == {}
    assert "declared is at most 1.0%" in found(day, amount={"nulls": 0.01})["null_rate"].message


def test_constancy_warns_and_is_a_fault_where_it_was_declared() -> None:
    day = frame(1, 100, 2)
    moved, still = day.assign(fixed=3.0), day.assign(price=5.0)
    assert found(moved)["constant"].severity == "warning"
    assert found(moved, fixed={"constant": True})["constant"].severity == "fault"
    assert found(moved, fixed={"constant": False})["constant"].severity == "fault"
    assert found(still)["constant"].severity == "warning"
    assert found(still, price={"constant": False})["constant"].severity == "fault"


def test_impossible_values_are_no_part_of_the_distribution() -> None:
    rows = frame()
    rows.loc[::50, "price"] = 1e6
    bins = reference(rows, ["price"], price={"max": 20}).bins.features[0]
    assert isinstance(bins, NumericBins)
    assert bins.high < 20
    assert bins.size == bins.impossible + 1
    assert bins.impossible not in layout(bins).order
    assert Bins.from_dict(Bins((bins,)).to_dict()) == Bins((bins,))


def test_bins_made_before_the_declaration_count_whole_cells_only() -> None:
    older = reference(frame(), ["price", "word"])
    low, high = edges(older.bins.features[0])  # type: ignore[arg-type]
    day = frame(1, 100, 2)
    day.loc[:9, "price"] = 99.0
    part = profile(day, older.bins).counts[older.bins.slices["price"]]
    assert list(breaches(older.bins.features[0], part, Expect(max=50))) == []
    (breach,) = breaches(older.bins.features[0], part, Expect(max=float(low[-1]) - 0.5))
    assert "at least" in breach.message
    assert breach.value >= 0.1
    assert (low <= high).all()


def test_the_fault_budget_sets_the_level_and_belongs_to_no_drift() -> None:
    bins = reference(frame(), COLUMNS).bins
    usual, rare = model(), model(policy={"fault_budget": "1 per 900d"})
    assert fault_level(usual, bins) == pytest.approx(10 * fault_level(rare, bins), rel=1e-2)
    assert usual.policy.alarm_budget == rare.policy.alarm_budget
    tight, loose = (learn(bins, [pane for _, pane in windows(frame(), bins)], grid=GRID,
                          level=level) for level in (1e-6, 1e-2))
    assert tight.limit("amount", "null", 100) > loose.limit("amount", "null", 100)


def test_only_what_changes_cells_changes_the_mapping() -> None:
    plain = mapping_key(model())
    assert mapping_key(model(log={"expect": {"a": {"nulls": 0.1, "type": "numeric"}}})) == plain
    assert mapping_key(model(log={"expect": {"a": {"min": 0}}})) != plain


def test_zero_kelvin_and_nine_metres_of_rain_in_real_traffic() -> None:
    rows = stream("metro_traffic")
    expect = {"temp": {"min": 200, "max": 330}, "rain_1h": {"min": 0, "max": 300},
              "weather_main": {"values": sorted(rows["weather_main"].unique())}}
    told = model(log={"expect": expect}).log.expect
    first = rows[rows["timestamp"] < "2013-10-01"]
    normal = reference(first, ["temp", "rain_1h", "weather_main"], **expect)
    assert isinstance(normal.bins.by_key["weather_main"], CategoryBins)
    days = {day.date().isoformat(): [item.column for item in find(pane, normal, expect=told)
                                     if item.check.startswith("declared")]
            for day, pane in windows(rows, normal.bins)}
    assert {day: columns for day, columns in days.items() if columns} == {
        "2014-01-31": ["temp"], "2014-02-02": ["temp"], "2016-07-11": ["rain_1h"]}


def test_check_names_what_cannot_be_declared(tmp_path: Path) -> None:
    rows = frame(40, 24).assign(serial=range(960), answer=["x", "y"] * 480)
    rows.to_parquet(tmp_path / "log.parquet")
    log = {"source": "log.parquet", "timestamp": "timestamp", "prediction": "answer"}

    def said(**expect: Any) -> Any:
        file = configured(tmp_path, {"name": "a", "log": log | {"expect": expect}})
        return holdfast("check", file, "--json").json

    told = said(pryce={"min": 0}, word={"min": 1}, serial={"nulls": 0})
    assert told["mistakes"] == ["models[0].log.expect.pryce: 'pryce' is not a column; did you mean "
                                "'price'?"]
    told = said(word={"min": 1}, serial={"nulls": 0})
    assert "min or max of a column that is categorical" in told["mistakes"][0]
    assert "models[0].log.expect.serial: only its presence and type" in " ".join(told["warnings"])
    for wrong, words in (({"price": {"min": 2, "max": 1}}, "price.max: 1 is not above min"),
                         ({"price": {"nulls": 2}}, "price.nulls: 2; right would be at most 1"),
                         ({"price": {"least": 2}}, "price.least: unknown key"),
                         ({"answer": {"values": ["x"]}}, "expect.answer.values: values of an ans")):
        assert words in " ".join(said(**wrong)["mistakes"]), wrong
