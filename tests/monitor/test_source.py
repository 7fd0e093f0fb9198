"""The source: the same answers on every backend, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitor.bins import SCORE_CELLS, AnswerBins, Bins, CategoryBins, NumericBins
from monitor.config import Limits, Model
from monitor.errors import SourceError
from monitor.outcomes import SUMS, total
from monitor.profile import Profile
from monitor.source import Increment, Source
from monitor.window import Window, parse_time
from tests.monitor.logs import BACKENDS, EXACT, Logs

DAY = timedelta(days=1)
START = parse_time("2026-03-01")
SPAN = Window(START, START + 10 * DAY)
LATER = parse_time("2027-01-01")


@pytest.fixture(params=BACKENDS)
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    return _logs(request, tmp_path)


@pytest.fixture(params=EXACT)
def exact(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    return _logs(request, tmp_path)


def _logs(request: pytest.FixtureRequest, folder: Path) -> Logs:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    bucket = request.getfixturevalue("bucket") if request.param == "s3" else None
    return Logs(request.param, folder, url, bucket)


def times(*days: float) -> pa.Array:
    return pa.array([START + day * DAY for day in days], pa.timestamp("us"))


def rows(n: int = 400, days: int = 10, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, days, n).round(5)
    score = rng.uniform(0, 1, n).round(4)
    return {"ts": times(*at), "id": [f"r{index}" for index in range(n)],
            "x": rng.normal(0, 1, n).round(6), "k": rng.integers(0, 5, n),
            "c": rng.choice(["a", "b", "c", "d e"], n), "b": rng.random(n) < .3,
            "v": rng.choice(["1", "2"], n), "p": np.where(score > .5, "UP", "DOWN"), "s": score,
            "y": np.where(rng.random(n) < score, "UP", "DOWN")}


def model(source: dict[str, str], **log: Any) -> Model:
    rest = {key: log.pop(key) for key in ("maturity", "privacy", "task", "window", "reference")
            if key in log}
    rest.setdefault("maturity", {"delay": "1d"})
    return Model.model_validate({"name": "m", "log": {"timestamp": "ts", **source, **log}, **rest})


def full(source: dict[str, str], **log: Any) -> Model:
    return model(source, **{"id": "id", "model_version": "v", "prediction": "p", "score": "s",
                            "positive_label": "UP", "label": "y"} | log)


def number(name: str, exact: Sequence[float] = (), **other: Any) -> NumericBins:
    fields = {"role": "feature", "kind": "numeric", "transform": "linear", "center": 0.0,
              "scale": 1.0, "low": -2.0, "high": 2.0, "cells": 8} | other
    return NumericBins(name=name, exact=tuple(exact), **fields)


def category(name: str, categories: Sequence[str], **other: Any) -> CategoryBins:
    fields = {"role": "feature", "kind": "categorical"} | other
    return CategoryBins(name=name, categories=tuple(categories), **fields)


BINS = Bins((
    number("x"), number("k", exact=(0, 1)), category("c", "ab", known=("c",)),
    category("b", ("true",), kind="boolean", known=("false",)), category("p", ("UP", "DOWN"),
    role="prediction"), number("s", role="score", low=0.0, high=1.0, cells=10),
    category("y", ("UP", "DOWN"), role="label")))


def counted(source: Source, bins: Bins, **other: Any) -> list[Increment]:
    return source.count(bins, **{"span": SPAN, "since": None, "until": LATER} | other)


def whole(increments: Sequence[Increment], bins: Bins) -> Profile:
    return sum((item.profile for item in increments if not item.segment), Profile.empty(bins))


def cells(profile: Profile, bins: Bins, key: str) -> list[int]:
    return [int(count) for count in profile.counts[bins.slices[key]]]


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


def keyed(increments: Sequence[Increment]) -> dict[Any, Any]:
    return {(item.pane, item.known_at, item.version, item.segment): (
        item.profile.tallies, item.profile.counts.tobytes(), item.outcomes.cells,
        item.outcomes.sums) for item in increments}


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


def test_outcomes_hold_joint_counts_and_losses(logs: Logs) -> None:
    data = rows()
    with Source(full(logs.add(data)), Limits()) as source:
        outcomes = total(item.outcomes for item in counted(source, BINS))
    truth, score = data["y"] == "UP", data["s"]
    assert outcomes.n == 400
    right = sum(count for (_, said, was, _), count in outcomes.cells.items() if said == was)
    assert right == int((data["p"] == data["y"]).sum())
    losses = np.sum(list(outcomes.sums.values()), axis=0)
    expected = -np.log(np.clip(np.where(truth, score, 1 - score), 1e-15, 1)).sum()
    assert losses[1] == pytest.approx(expected, rel=1e-9)
    assert losses[2] == pytest.approx(((score - truth) ** 2).sum(), rel=1e-9)
    assert losses[-1] == 400


JOINT = AnswerBins("p", ("s",), ("DOWN", "UP"), "UP", False)


def answers(profile: Profile, bins: Bins) -> np.ndarray:
    """Answers by score cell; the last cell is for no score."""
    assert bins.answers is not None
    return profile.counts[bins.columns:].reshape(len(bins.answers.names), SCORE_CELLS + 1)


def test_answers_and_scores_are_counted_together_whether_labelled_or_not(logs: Logs) -> None:
    data = rows(300)
    data["p"] = [None if place < 5 else "MAYBE" if place < 12 else name
                 for place, name in enumerate(data["p"])]
    data["s"] = pa.array([None if place % 50 == 0 else 1.5 if place % 50 == 1 else 1.0
                          if place % 50 == 2 else value for place, value in enumerate(data["s"])])
    data["y"] = [name if place % 3 else None for place, name in enumerate(data["y"])]
    bins = Bins(BINS.features, JOINT)
    with Source(full(logs.add(data), segments=["c"]), Limits()) as source:
        increments = counted(source, bins)
        plain = counted(source, BINS)
    expected = np.zeros((4, SCORE_CELLS + 1), dtype=int)
    for name, value in zip(data["p"], data["s"].to_pylist(), strict=True):
        fine = value is not None and value <= 1
        expected[JOINT.place(name or ""), min(int(value * 100), 99) if fine else 100] += 1
    assert answers(whole(increments, bins), bins).tolist() == expected.tolist()
    assert sum(item.profile.counts[bins.columns:].sum() for item in increments
               if item.segment == "c=a") == (np.array(data["c"]) == "a").sum()
    assert whole(plain, BINS) == Profile(300, whole(increments, bins).counts[:bins.columns])
    labelled = total(item.outcomes for item in increments if not item.segment)
    for (_, guess, _, cell), count in labelled.cells.items():
        assert expected[JOINT.place(guess), cell] >= count


def test_answers_of_several_classes_stand_beside_the_score_of_the_class(exact: Logs) -> None:
    data = rows(300)
    data["p"] = np.array(list("abc"))[np.arange(300) % 3]
    for place, name in enumerate("abc"):
        data[f"s_{name}"] = np.full(300, .105 + .2 * place)
    item = AnswerBins("p", ("s_a", "s_b"), ("a", "b"), None, True)
    bins = Bins((), item)
    mapped = model(exact.add(data), prediction="p", label="y", task="multiclass",
                   score={"a": "s_a", "b": "s_b"})
    with Source(mapped, Limits()) as source:
        found = answers(whole(counted(source, bins), bins), bins)
    assert {(int(row), int(cell)): int(found[row, cell]) for row, cell in np.argwhere(found)} == {
        (2, 10): 100, (3, 30): 100, (1, 30): 100}  # of a class without a score: the largest one


def test_corrected_labels_take_the_old_value_back(logs: Logs) -> None:
    log = logs.add({"ts": times(.5, .6), "id": ["a", "b"], "p": ["UP", "UP"], "x": [0.0, 1.0]})
    labels = logs.add({"id": ["a", "a", "b", "z"], "value": ["UP", "DOWN", "UP", "UP"],
                       "when": times(1.5, 3.5, 1.5, 1.5)}, "labels")
    config = model(log, id="id", prediction="p", labels={
        **labels, "id": "id", "value": "value", "timestamp": "when"})
    bins = Bins((category("value", ("UP", "DOWN"), role="label"),))
    with Source(config, Limits()) as source:
        first = counted(source, bins, until=START + 3 * DAY)
        then = counted(source, bins, since=START + 3 * DAY, until=LATER)
        again = counted(source, bins)
    assert cells(whole(first, bins), bins, "label:value") == [0, 0, 0, 0, 2, 0]
    assert cells(whole(then, bins), bins, "label:value") == [0, 0, 0, 0, -1, 1]
    assert keyed(first + then) == keyed(again)
    told = total(item.outcomes for item in again)
    assert sorted(told.cells.values()) == [1, 1]
    assert told.n == 2


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


def test_errors_of_a_regression_are_summed(logs: Logs) -> None:
    rng = np.random.default_rng(2)
    truth, guess = rng.normal(100, 30, 300).round(3), rng.normal(100, 30, 300).round(3)
    source = logs.add({"ts": times(*rng.uniform(0, 9, 300)), "p": guess, "y": truth})
    config = model(source, task="regression", prediction="p", label="y")
    bins = Bins((number("y", role="label", low=0.0, high=200.0), number(
        "p", role="prediction", low=0.0, high=200.0, transform="asinh", scale=10.0)))
    with Source(config, Limits()) as opened:
        increments = counted(opened, bins)
    told = total(item.outcomes for item in increments)
    error = guess - truth
    sums = dict(zip(SUMS, np.sum(list(told.sums.values()), axis=0), strict=True))
    expected = {"n": 300, "error": error.sum(), "absolute": abs(error).sum(),
                "squared": (error ** 2).sum(), "label": truth.sum(),
                "label_squared": (truth ** 2).sum(), "relative": abs(error / truth).sum()}
    assert {name: sums[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert sum(cells(whole(increments, bins), bins, "label:y")) == 300


def test_several_classes_have_a_score_each(logs: Logs) -> None:
    rng = np.random.default_rng(3)
    chance = rng.dirichlet([1, 1, 1], 200).round(6)
    truth = rng.choice(["a", "b", "c"], 200)
    said = np.array(["a", "b", "c"])[chance.argmax(axis=1)]
    source = logs.add({"ts": times(*rng.uniform(0, 9, 200)), "p": said, "y": truth,
                       "pa": chance[:, 0], "pb": chance[:, 1], "pc": chance[:, 2]})
    config = model(source, task="multiclass", prediction="p", label="y",
                   score={"a": "pa", "b": "pb", "c": "pc"})
    with Source(config, Limits()) as opened:
        assert opened.features() == []
        told = total(item.outcomes for item in counted(opened, Bins((number("pa"),))))
    hit = chance[np.arange(200), ["abc".index(name) for name in truth]]
    losses = dict(zip(SUMS, np.sum(list(told.sums.values()), axis=0), strict=True))
    wanted = np.eye(3)[["abc".index(name) for name in truth]]
    assert losses["log_loss"] == pytest.approx(-np.log(np.clip(hit, 1e-15, 1)).sum(), rel=1e-9)
    assert losses["brier"] == pytest.approx(((chance - wanted) ** 2).sum(), rel=1e-9)
    assert sum(cell * n for (*_, cell), n in told.cells.items()) == int(
        np.floor(chance.max(axis=1) * 100 + 1e-9).sum())


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_come_and_change_at_random_add_up(exact: Logs, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [f"r{index}" for index in range(60)]
    seen, late = rng.uniform(0, 6, 60).round(4), rng.exponential(.5, 60).round(4)
    log = exact.add({"ts": times(*seen), "at": times(*(seen + late)), "id": ids, "x": seen})
    of, when = rng.integers(0, 70, 150), rng.uniform(0, 20, 150).round(4)
    value = rng.choice(["UP", "DOWN"], 150)
    labels = exact.add({"id": [f"r{index}" for index in of], "value": value,
                        "when": times(*when)}, "labels")
    config = model(log, id="id", ingested_at="at", prediction="id", labels={
        **labels, "id": "id", "value": "value", "timestamp": "when"})
    bins = Bins((category("value", ("UP", "DOWN"), role="label"),))
    with Source(config, Limits()) as source:
        steps = [counted(source, bins, since=START + (day - 1) * DAY, until=START + day * DAY)
                 for day in range(30)]
        assert keyed([item for step in steps for item in step]) == keyed(counted(source, bins))
    for day in (5, 9, 22):
        known = START + (day - 1) * DAY + timedelta(hours=1)
        newest = {}
        for index in np.argsort(when, kind="stable"):
            if START + when[index] * DAY < known and of[index] < 60:
                newest[of[index]] = value[index]
        newest = {index: label for index, label in newest.items()
                  if START + (seen + late)[index] * DAY < known
                  and START + (int(seen[index]) + 1) * DAY < known}
        told = total(item.outcomes for step in steps[:day + 1] for item in step
                     if item.known_at <= known)
        assert {said: label for (_, said, label, _) in told.cells} == {
            f"r{index}": str(label) for index, label in newest.items()}
