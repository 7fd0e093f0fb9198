"""The source: the same answers on every backend, to the bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitor.baseline import Baseline
from monitor.bins import Bins, NumericBins
from monitor.config import Limits
from monitor.errors import HoldfastError, SourceError
from monitor.reference import build, reference_span
from monitor.source import Source
from monitor.units import Suspect
from monitor.window import Window, parse_time
from tests.monitor.logs import Logs
from tests.monitor.sourced import (
    BINS,
    DAY,
    LATER,
    SPAN,
    START,
    category,
    cells,
    counted,
    exact,
    full,
    keyed,
    logs,
    model,
    number,
    rows,
    times,
    whole,
)

__all__ = ["exact", "logs"]


def test_counts_are_the_same_as_numpy_makes_them(logs: Logs) -> None:
    data = rows()
    with Source(full(logs.add(data)), Limits()) as source:
        profile = whole(counted(source, BINS), BINS)
    place = np.clip(np.floor((data["x"] + 2) * 8 / 4), -1, 8).astype(int)
    assert profile.n == 400
    assert cells(profile, BINS, "x") == [0, 0, 0, 0, *np.bincount(place + 1, minlength=10)]
    known = [int((data["c"] == name).sum()) for name in ("d e", "c", "a", "b")]
    assert cells(profile, BINS, "c") == [0, 0, *known]
    assert cells(profile, BINS, "b") == [0, 0, 0, int((~data["b"]).sum()), int(data["b"].sum())]
    assert cells(profile, BINS, "k")[-2:] == [int((data["k"] == point).sum()) for point in (0, 1)]


def test_impossible_numbers_have_a_cell_and_nan_is_none_of_them(exact: Logs) -> None:
    values = [0.5, 1e6, -1e6, float("nan"), float("inf"), None, 0.0, 1.0]
    bins = Bins((number("x", exact=(0.0,), least=-5.0, most=5.0),
                 number("y", exact=(1.0,), center=1.0, cells=0, least=None, most=5.0)))
    source = model(exact.add({"ts": times(*range(8)), "x": values, "y": values}))
    with Source(source, Limits()) as opened:
        profile = whole(counted(opened, bins), bins)
    found = cells(profile, bins, "x")
    assert (found[:4], found[-1], found[-2]) == ([1, 1, 1, 0], 2, 1)
    assert sum(found) == 8
    assert cells(profile, bins, "y") == [1, 1, 1, 0, 3, 0, 1, 1]


def test_panes_versions_and_segments_are_counted_apart(logs: Logs) -> None:
    data = rows()
    mapped = full(logs.add(data), segments=["c"], version_map={"1": "7"})
    with Source(mapped, Limits()) as source:
        increments = counted(source, BINS)
    day = np.array([(at.as_py() - START.replace(tzinfo=None)).days for at in data["ts"]])
    for item in increments:
        of = day == (item.pane - START) // DAY
        of &= np.array(data["v"]) == {"7": "1", "2": "2"}[item.version]
        if item.segment:
            of &= np.array(data["c"]) == item.segment.removeprefix("c=")
        if item.profile.n:
            assert item.profile.n == of.sum()
            assert item.known_at == item.pane + DAY + timedelta(hours=1)


def test_every_odd_value_has_a_cell_of_its_own(exact: Logs) -> None:
    nan, inf = float("nan"), float("inf")
    data = pa.table({"ts": times(*[.5] * 9), "x": pa.array(
        [None, nan, inf, -inf, -9.0, 9.0, 0.0, 1.0, 1.5], pa.float64()), "t": pa.array(
        [None, "nan", "inf", "oops", "-9", "9e0", " 0", "1", "1.5"])})
    bins = Bins((number("x", exact=(1.0,)), number("t", exact=(1.0,))))
    with Source(model(exact.add(data)), Limits()) as source:
        profile = whole(counted(source, bins), bins)
    assert cells(profile, bins, "x") == [1, 1, 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1]
    assert cells(profile, bins, "t") == [1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1]


def test_categories_have_one_text_on_every_engine(exact: Logs) -> None:
    data = pa.table({"ts": times(*[.5] * 6), "f": pa.array(
        [1.0, 2.5, 1e-7, None, float("nan"), 3.0]), "i": pa.array([1, 2, 3, None, 5, 6])})
    bins = Bins((category("f", ("1", "2.5", "1e-07", "3")), category("i", ("1", "2", "3"))))
    config = model(exact.add(data), features={"categorical": ["f", "i"]})
    with Source(config, Limits()) as source:
        profile = whole(counted(source, bins), bins)
    assert cells(profile, bins, "f") == [1, 1, 0, 0, 1, 1, 1, 1]
    assert cells(profile, bins, "i") == [1, 0, 2, 0, 1, 1, 1]


def test_increments_of_checkpoints_add_up_to_one_recount(logs: Logs) -> None:
    data = rows()
    rng = np.random.default_rng(1)
    late = rng.exponential(1, 400).round(5)
    data["at"] = pa.array([at.as_py() + delay * DAY for at, delay
                           in zip(data["ts"], late, strict=True)], pa.timestamp("us"))
    with Source(full(logs.add(data), ingested_at="at", segments=["c"]), Limits()) as source:
        once = counted(source, BINS)
        steps = [counted(source, BINS, since=START + step * DAY, until=START + (step + 1) * DAY)
                 for step in range(-1, 40)]
    assert keyed(once) == keyed([item for step in steps for item in step])
    assert len({item.known_at for item in once if item.pane == START}) > 1


def test_instants_in_nanoseconds_are_counted_as_in_microseconds(exact: Logs) -> None:
    """pandas 2 writes the former, pandas 3 the latter: one log may hold both."""
    plain = {name: item.cast(pa.timestamp("us", "UTC")) for name, item in (
        ("ts", times(.1, .6, 1.2)), ("at", times(.2, 1.7, 1.3)))} | {"x": pa.array([-1., 0., 1.])}
    finer = plain | {name: plain[name].cast(pa.timestamp("ns", "UTC")) for name in ("ts", "at")}
    exact.add(plain, "mixed")
    found = []
    for source in (exact.add(plain, "plain"), exact.add(finer, "finer"),
                   exact.add(finer, "mixed")):
        with Source(model(source, ingested_at="at"), Limits()) as opened:
            increments = counted(opened, Bins((number("x"),)))
            assert opened.sample(SPAN, known_by=LATER, limit=9)["x"].to_list()[::2][:1] == [-1]
        found.append([(item.pane, item.known_at, item.profile.n) for item in increments])
    assert [n for *_, n in found[0]] == [1, 1, 1]
    assert found[1] == found[0]
    assert found[2] == [(pane, known_at, 2 * n) for pane, known_at, n in found[0]]


def test_a_late_row_is_known_at_the_first_checkpoint_after_it_arrived(logs: Logs) -> None:
    at = pa.array([START + timedelta(hours=3), START + timedelta(days=2, hours=1),
                   START + timedelta(days=2, hours=0.5)], pa.timestamp("us"))
    source = logs.add({"ts": times(.1, .2, .3), "at": at, "x": [0.0, 0.0, 0.0]})
    with Source(model(source, ingested_at="at"), Limits()) as opened:
        increments = counted(opened, Bins((number("x"),)))
    known = [(item.known_at - START, item.profile.n) for item in increments]
    hour = timedelta(hours=1)
    assert known == [(DAY + hour, 1), (2 * DAY + hour, 1), (3 * DAY + hour, 1)]


def test_features_of_another_table_are_joined_by_id(logs: Logs) -> None:
    log = logs.add({"ts": times(.5, .6, .7), "id": [1, 2, 3], "p": ["UP", "UP", "DOWN"]})
    other = logs.add({"id": [1, 2, 1], "x": [0.5, 1.5, -1.5], "seen": times(.4, .5, .45)}, "inputs")
    config = model(log, id="id", prediction="p",
                   features_from={**other, "id": "id", "timestamp": "seen"})
    with Source(config, Limits()) as source:
        assert source.features() == ["x"]
        profile = whole(counted(source, Bins((number("x"),))), Bins((number("x"),)))
    assert cells(profile, Bins((number("x"),)), "x") == [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]


def test_repeated_ids_and_future_times_are_tallied(logs: Logs) -> None:
    data = {"ts": times(.1, .2, .3, 1.5, .4, .5), "id": ["a", "a", "b", "a", None, None],
            "at": times(.2, 1.2, .2, 1.6, .5, .6), "x": [0.0] * 6}
    with Source(model(logs.add(data), id="id", ingested_at="at"), Limits()) as source:
        once = counted(source, Bins((number("x"),)))
        late = counted(source, Bins((number("x"),)), since=START + 1.5 * DAY)
    assert [(item.profile.duplicates, item.profile.future) for item in once] == [
        (0, 1), (1, 0), (0, 0)]
    assert keyed(late) == keyed(once[1:])


def test_naive_times_are_in_the_configured_zone(logs: Logs) -> None:
    local = ["2026-03-28 23:30", "2026-03-29 00:30", "2026-03-29 03:30", "2026-10-25 02:30"]
    at = pa.array([datetime.fromisoformat(text) for text in local], pa.timestamp("us"))
    config = model(logs.add({"ts": at, "x": [0.0] * 4}), timezone="Europe/Berlin",
                   window={"length": "1h"})
    year = Window(parse_time("2026-01-01"), LATER)
    with Source(config, Limits()) as source:
        panes = [item.pane for item in counted(source, Bins((number("x"),)), span=year)]
    assert panes == [datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 28, 23, tzinfo=UTC),
                     datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 0, tzinfo=UTC)]


def test_hashed_columns_leave_as_digests_and_dropped_ones_not_at_all(logs: Logs) -> None:
    import hashlib

    config = full(logs.add(rows()), privacy={"hash": ["c"], "drop": ["x"], "salt": "pepper"})
    with Source(config, Limits()) as source:
        summary = source.describe(None)
        drawn = source.sample(SPAN, known_by=LATER, limit=50)
        assert "x" not in source.schema()
    digests = {hashlib.sha256(b"pepper" + name.encode()).hexdigest()[:16]
               for name in ("a", "b", "c", "d e")}
    assert {value for value, _ in summary["c"].top} == digests
    assert set(drawn["c"]) <= digests
    assert "x" not in drawn


def test_describe_tells_what_bins_need(logs: Logs) -> None:
    data = rows()
    data["row"] = np.arange(400.0)[np.argsort(np.argsort(np.array(data["ts"])))]
    with Source(full(logs.add(data)), Limits()) as source:
        told = source.describe(SPAN, [Window(START, START + DAY)])
    kept = np.array([at.as_py() >= (START + DAY).replace(tzinfo=None) for at in data["ts"]])
    x = data["x"][kept]
    assert told["x"].rows == kept.sum()
    assert told["x"].distinct == len(set(x))
    assert told["x"].quantiles == pytest.approx(np.quantile(x, np.arange(201) / 200), abs=1e-12)
    assert dict(told["k"].top) == {float(k): int((data["k"][kept] == k).sum()) for k in range(5)}
    assert told["row"].rises
    assert not told["x"].rises
    assert told["k"].integral
    assert told["b"].kind == "boolean"
    assert told["label:y"].kind == "categorical"
    assert told["score:s"].kind == "numeric"
    assert set(dict(told["c"].top)) == {"a", "b", "c", "d e"}


def test_a_sample_is_bounded_repeatable_and_keeps_to_what_was_known(logs: Logs) -> None:
    data = rows() | {"seen": times(*[1.5] * 400)}
    with Source(full(logs.add(data)), Limits()) as source:
        known = START + 5 * DAY
        first = source.sample(SPAN, known_by=known, limit=40, labelled=True, versions=["2"])
        again = source.sample(SPAN, known_by=known, limit=40, labelled=True, versions=["2"])
        everything = source.sample(SPAN, known_by=LATER, limit=1000)
    assert len(first) == 40
    assert first.equals(again)
    assert len(everything) == 400
    assert set(first["_version"]) == {"2"}
    assert first["_label"].notna().all()
    assert (first["_timestamp"] < known - DAY).all()
    assert list(first.columns[:4]) == ["x", "k", "c", "b"]
    assert (everything["seen"] == START + 1.5 * DAY).all()
    assert np.isclose(sorted(everything["x"]), sorted(data["x"])).all()


@pytest.mark.parametrize("n", [0, 1])
def test_an_empty_log_and_one_row_are_no_trouble(exact: Logs, n: int) -> None:
    table = pa.table(rows(3)).slice(0, n)
    with Source(full(exact.add(table)), Limits()) as source:
        assert (source.span() is None) == (n == 0)
        assert whole(counted(source, BINS), BINS).n == n
        assert len(source.sample(SPAN, known_by=LATER, limit=9)) == n
        told = source.describe(None)
    assert all(item.rows == n for item in told.values())


def test_only_a_changed_log_is_said_to_have_changed(logs: Logs) -> None:
    config = full(logs.add(rows()))
    with Source(config, Limits()) as source:
        first = source.changed(None)
        assert first.span == SPAN
        assert source.changed(first.fingerprint).span is None
        logs.add(pa.table(rows(5, days=1, seed=5)))
        second = source.changed(first.fingerprint)
    assert second.span is not None
    assert second.span.start == START
    assert second.fingerprint != first.fingerprint


def test_a_time_at_the_end_of_all_days_is_no_trouble(logs: Logs) -> None:
    """As logs hold it for what never ends: one such row would stop the model's ticks for good."""
    data = rows(5, days=1)
    data["ts"] = pa.array([*data["ts"].to_pylist()[:4], datetime(9999, 12, 31, 23, 59, 59)])
    config = full(logs.add(data), ingested_at="ts")
    with Source(config, Limits()) as source:
        span = source.span()
        assert span is not None
        assert (span.start, span.end.year) == (START, 9800)
        assert source.changed(None).span == span
        assert source.schema_faults(BINS, SPAN) == []
        assert whole(counted(source, BINS), BINS).n == 4
        assert len(source.sample(SPAN, known_by=LATER, limit=9)) == 4


def test_numbers_that_no_integer_holds_are_no_trouble(exact: Logs) -> None:
    """As the largest float of 32 or 64 bits, that stands for what is absent, or a hash."""
    data = rows(12, days=2)
    del data["id"]
    large = [1e19, -3.4028234663852886e38, 1.7976931348623157e308, 2.0**63]
    data["x"] = [*large, *data["x"][4:]]
    data["g"] = pa.array([7.0, *large[:3], 0.5, *[1e20] * 7])
    config = model(exact.add(data), prediction="p", features={"categorical": ["g"]})
    with Source(config, Limits()) as source:
        told = source.describe(None)
        drawn = source.sample(SPAN, known_by=LATER, limit=12)
    assert told["x"].quantiles[-1] == large[2]
    assert not told["x"].integral
    assert {"7", "0.5"} <= {name for name, _ in told["g"].top}
    assert sorted(drawn["x"])[-1] == large[2]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # its standard deviation is endless
def test_a_baseline_of_the_largest_floats_can_be_kept(tmp_path: Path) -> None:
    data = rows(900, days=30)
    data["x"] = [1.7976931348623157e308 if place % 3 else value
                 for place, value in enumerate(data["x"])]
    config = full(Logs("parquet", tmp_path).add(data),
                  reference={"from": START, "to": START + 30 * DAY}, window={"length": "1d"})
    with Source(config, Limits()) as source:
        made = build(config, source, "1")
    assert made is not None
    assert Baseline.from_json(made.to_json()).bins == made.bins
    assert made.promise["detectable_shift"]["x"]["found"] is not None


def test_unsigned_hashes_are_sampled(tmp_path: Path) -> None:
    data = rows(12, days=2)
    data["h"] = pa.array([2**63 + place for place in range(12)], pa.uint64())
    with Source(full(Logs("parquet", tmp_path).add(data)), Limits()) as source:
        assert source.describe(None)["h"].integral
        assert (source.sample(SPAN, known_by=LATER, limit=12)["h"] >= 2.0**63).all()


def test_a_reference_file_says_where_its_times_stand_for_none(tmp_path: Path) -> None:
    data = rows(5, days=1)
    data["ts"] = pa.array([*data["ts"].to_pylist()[:4], datetime(1, 1, 1)])
    train = Logs("parquet", tmp_path).add(data, "train")
    config = full(Logs("parquet", tmp_path).add(rows()), reference=train)
    with (Source(config, Limits(), reference=True) as source,
          pytest.raises(HoldfastError, match="holds times from 0002-01-01T00:00:00Z to ")):
        reference_span(config, source)


def test_what_is_wrong_is_said_with_what_would_be_right(logs: Logs) -> None:
    where = logs.add(rows(5))
    with (Source(model(where | {"timestamp": "when"}), Limits()) as source,
          pytest.raises(SourceError, match=r"no column 'when'.*right would be one of: ts")):
        source.span()


@pytest.mark.parametrize("days", [1, 10])
@pytest.mark.parametrize("n", [50, 2000])
def test_many_rows_are_counted_as_few_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          days: int, n: int) -> None:
    data = rows(n, days)
    data["x"] = pa.array([None, float("nan"), float("inf"), -float("inf"), 7.0, -7.0,
                          *data["x"][6:]], pa.float64())
    data["t"] = [f" {value}" if value else None for value in data["k"]]
    bins = Bins((*BINS.features, number("gone"), number("t", exact=(1.0,)), NumericBins(
        "x2", "feature", "numeric", "asinh", 0.1, 0.5, -3.0, 3.0, 64, (0.25,)), number(
        "n", exact=range(9), low=-.5, high=99.5, cells=100), number("k0", cells=0)))
    data |= {"x2": [value if value != 6 else None for value in data["k"] * 1.5],
             "n": data["k"] * 3 - 1, "k0": data["k"]}
    source = Logs("parquet", tmp_path).add(data)
    plain = model(source, features={"categorical": ["b"]})
    for config in (plain, full(source, segments=["c"])):
        with Source(config, Limits()) as opened:
            few = counted(opened, bins)
            monkeypatch.setattr("monitor.counting.WIDE_ROWS", 0)
            assert keyed(counted(opened, bins)) == keyed(few)
            monkeypatch.undo()
        assert whole(few, bins).n == n
    assert cells(whole(few, bins), bins, "gone")[0] == n


class Emptied(dict[Any, Any]):
    """Keeps nothing: as where another model's tick empties it between any two lines."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def test_what_is_kept_for_all_models_may_be_emptied_at_any_time(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks run side by side; one that makes room ends no other with a ``KeyError``."""
    data = rows()
    log = Logs("parquet", tmp_path)
    log.add({**data, "more": data["x"]})  # columns differ from file to file
    config = full(log.add(data))
    with Source(config, Limits()) as source:
        known = keyed(counted(source, BINS))
    for name in ("files._KNOWN", "files._UNIONS", "increments._PLANS", "quantiles._SQL",
                 "repeated._KEPT"):
        monkeypatch.setattr(f"monitor.{name}", Emptied())
    suspect = Suspect("x")
    with Source(config, Limits()) as source:
        assert keyed(counted(source, BINS)) == known
        assert source.quantiles([suspect], SPAN, known_by=LATER)[suspect][0] == 800


def test_a_reference_file_needs_neither_times_nor_every_role(tmp_path: Path) -> None:
    source = Logs("parquet", tmp_path).add(rows())
    data = rows(50)
    train = Logs("parquet", tmp_path).add({"x": data["x"], "c": data["c"], "y": data["y"]}, "train")
    config = full(source, reference=train, ingested_at="ts", segments=["k"])
    bins = Bins((number("x"), category("y", ("UP", "DOWN"), role="label")))
    with Source(config, Limits(), reference=True) as opened:
        assert opened.features() == ["x", "c"]
        assert set(opened.describe(None)) == {"x", "c", "label:y"}
        span = opened.span()
        assert span is not None
        profile = whole(counted(opened, bins, span=span), bins)
    assert profile.n == 50
    assert sum(cells(profile, bins, "label:y")) == 50
