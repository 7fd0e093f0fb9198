"""Faults and warnings from counts alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from monitor.binning import make_bins
from monitor.bins import Bins
from monitor.faults import JUMP, UNTOLD, Fault, _column, find
from monitor.norms import Norms, learn
from monitor.profile import Profile
from monitor.suspects import suspects
from tests.data import stream
from tests.monitor.counted import model, profile, summaries, windows

GRID = (5.0, 50.0, 500.0, 5000.0)


@dataclass(frozen=True)
class Reference:
    bins: Bins
    reference: Profile
    norms: Norms


def frame(days: int = 60, rows: int = 100, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = days * rows
    amount = rng.normal(0, 1, size)
    return pd.DataFrame({
        "timestamp": pd.Timestamp("2026-01-01") + pd.to_timedelta(
            np.repeat(np.arange(days), rows) * 86_400, unit="s"),
        "amount": np.where(rng.random(size) < 0.03, np.nan, amount),
        "price": rng.normal(5, 1, size), "fixed": np.full(size, 2.0),
        "word": rng.choice(["a", "b", "d"], size)})


def learned() -> Reference:
    rows = frame()
    bins, _ = make_bins(summaries(rows, ["amount", "price", "fixed", "word"]), model())
    panes = [pane for _, pane in windows(rows, bins)]
    return Reference(bins, sum(panes, Profile.empty(bins)),
                     learn(bins, panes, grid=GRID, level=1e-4))


NORMAL = learned()


def checked(rows: pd.DataFrame, **tallies: int) -> dict[str, Fault]:
    counted = replace(profile(rows, NORMAL.bins), **tallies)
    return {fault.check: fault for fault in find(counted, NORMAL)}


def test_windows_like_the_reference_are_fine() -> None:
    later = frame(days=40, seed=1)
    for _, pane in windows(later, NORMAL.bins):
        assert find(pane, NORMAL) == []


def test_an_empty_window_is_a_fault_and_nothing_else() -> None:
    found = find(Profile.empty(NORMAL.bins), NORMAL)
    assert [(fault.check, fault.severity) for fault in found] == [("empty", "fault")]
    assert "100" in found[0].message


def test_schema_faults_come_from_the_source_and_silence_the_column() -> None:
    rows = frame(1, 100, 2)
    rows["amount"] = np.nan
    found = find(profile(rows, NORMAL.bins), NORMAL, broken=[("amount", "amount is missing")])
    assert [(fault.check, fault.column) for fault in found] == [("schema", "amount")]


def test_all_null_and_a_jump_of_nulls_are_faults() -> None:
    rows = frame(1, 100, 2)
    rows.loc[:39, "amount"] = np.nan
    rows["price"] = np.nan
    found = checked(rows)
    assert (found["null_rate"].column, found["null_rate"].severity) == ("amount", "fault")
    assert (found["all_null"].column, found["all_null"].severity) == ("price", "fault")
    assert "of 100 rows" in found["null_rate"].message


def test_a_limit_allows_for_few_rows() -> None:
    limits = [NORMAL.norms.limit("amount", "null", n) for n in (5, 50, 500, 5000)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > 0.2
    assert limits[-1] < 0.1


def cells(key: str, **moved: int) -> Profile:
    """A normal window with rows of ``key`` moved into special cells by index."""
    base = profile(frame(1, 100, 2), NORMAL.bins)
    counts = base.counts.copy()
    part = counts[NORMAL.bins.slices[key]]
    for cell, count in moved.items():
        part[np.argmax(part)] -= count
        part[int(cell[1:])] += count
    return replace(base, counts=counts)


@pytest.mark.parametrize(("cell", "check"), [("_1", "nan"), ("_2", "infinite"), ("_3", "type")])
@pytest.mark.parametrize(("count", "severity"), [(1, "warning"), (9, "fault")])
def test_values_that_are_none(cell: str, check: str, count: int, severity: str) -> None:
    found = {fault.check: fault for fault in find(cells("price", **{cell: count}), NORMAL)}
    assert found[check].severity == severity


def test_new_categories_warn_and_nothing_but_new_ones_is_a_fault() -> None:
    some = {fault.check: fault for fault in find(cells("word", _2=30), NORMAL)}
    assert some["unseen"].severity == "warning"
    rows = frame(1, 100, 2).assign(word="z")
    assert checked(rows)["unseen"].severity == "fault"
    assert "z" not in checked(rows)["unseen"].message.split()


def test_a_constant_that_moves_and_a_range_that_shifts_are_warnings() -> None:
    found = checked(frame(1, 100, 2).assign(fixed=3.0, price=1000.0))
    assert (found["constant"].column, found["constant"].severity) == ("fixed", "warning")
    assert (found["range"].column, found["range"].severity) == ("price", "warning")


def test_duplicates_and_future_times() -> None:
    rows = frame(1, 100, 2)
    assert checked(rows, duplicates=3)["duplicates"].severity == "warning"
    assert checked(rows, future=30)["future"].severity == "fault"
    assert checked(rows, duplicates=1, future=1) == {}


def test_unusual_volume_is_a_warning() -> None:
    assert checked(frame(1, 20, 2))["volume"].severity == "warning"
    assert checked(frame(1, 2000, 2))["volume"].severity == "warning"
    assert "volume" not in checked(frame(1, 80, 2))


def test_norms_round_trip() -> None:
    assert Norms.from_dict(NORMAL.norms.to_dict()) == NORMAL.norms


def test_the_only_faults_of_real_days_are_real_outages() -> None:
    rows = stream("beijing_air")[: 12 * 24 * 365]
    inputs = [name for name in rows if name != "timestamp"]
    bins, _ = make_bins(summaries(rows, inputs), model())
    panes = [pane for _, pane in windows(rows, bins)]
    reference, later = panes[:200], panes[200:]
    normal = Reference(bins, sum(reference, Profile.empty(bins)),
                       learn(bins, reference, grid=GRID, level=1e-4))
    faults = [fault for pane in later for fault in find(pane, normal)
              if fault.severity == "fault"]
    assert len(faults) < 10
    assert all(fault.check == "null_rate" and (fault.value or 0) > 0.25 for fault in faults)


@given(arrays.arrays(np.int64, NORMAL.bins.size, elements=some.sampled_from(
    [0, 0, 0, 1, 3, 40, 4000])))
def test_a_column_that_is_no_suspect_is_fine(counts: np.ndarray) -> None:
    chosen = set(suspects(counts, NORMAL.reference.counts, NORMAL.bins, rise=JUMP))
    wrong = {key for key, part in NORMAL.bins.slices.items()
             if [*_column(NORMAL.bins.by_key[key], counts[part], NORMAL, UNTOLD)]}
    assert wrong <= chosen


def test_most_columns_are_no_suspects() -> None:
    for _, pane in windows(frame(days=5, seed=4), NORMAL.bins):
        assert suspects(pane.counts, NORMAL.reference.counts, NORMAL.bins, rise=JUMP) == ["fixed"]
