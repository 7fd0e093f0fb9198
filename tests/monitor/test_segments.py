"""Segments: a group's own reference, what it costs, and how often its drift is seen falsely."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitor.binning import make_bins
from monitor.bins import Bins
from monitor.config import Model
from monitor.daemon import tick
from monitor.outcomes import SUMS, Outcomes
from monitor.profile import Profile
from monitor.segments import Scatter, Segments, chosen, learn, level
from monitor.simulate import START
from tests.data import stream
from tests.monitor.counted import model, summaries, windows
from tests.story.deployment import DAY, deploy


def rows(days: int, per: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng, n = np.random.default_rng(seed), days * per
    day = np.repeat(np.arange(days), per)
    wander = rng.normal(0, 0.1, days)[day]
    return pd.DataFrame({
        "timestamp": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(
            day * 86_400 + np.tile(np.arange(per) * (86_400 // per), days), unit="s"),
        "size": rng.normal(shift, 1, n) + wander, "kind": rng.choice(list("abcd"), n)})


def own(frame: pd.DataFrame, settings: Model) -> tuple[Segments, Bins, list[Profile]]:
    bins, _ = make_bins(summaries(frame.head(len(frame) // 2), ["size", "kind"]), settings)
    panes = [item for _, item in windows(frame, bins)]
    half = panes[:len(panes) // 2]
    return (learn({"g=1": half}, {}, {"g=1": sum(item.n for item in half)}, bins=bins,
                  model=settings), bins, panes[len(panes) // 2:])


def test_a_group_is_found_moved_as_rarely_as_the_budget_says() -> None:
    settings = model(policy={"minimum_effect": {"psi": 0.0}, "alarm_budget": "1 per 50d"})
    tests, found = 0, 0
    for seed in range(8):
        segments, bins, later = own(rows(120, 100, seed), settings)
        for window in later:
            results = list(segments.drift("g=1", window, bins, roles=("feature",), model=settings))
            assert all(item.threshold is not None for item in results)
            tests += len(results)
            found += sum(item.drifted for item in results)
    expected = tests * level(settings, 2)
    assert expected == pytest.approx(9.6, abs=0.2)
    assert 2 <= found <= 2.5 * expected


def test_a_real_shift_of_one_group_is_found() -> None:
    settings = model()
    segments, bins, _ = own(rows(60, 100, 1), settings)
    moved = [item for _, item in windows(rows(3, 100, 2, shift=1.0), bins)]
    for window in moved:
        drifted = {item.feature for item in segments.drift("g=1", window, bins, roles=("feature",),
                                                           model=settings) if item.drifted}
        assert drifted == {"size"}


def test_a_threshold_falls_with_rows_down_to_what_does_not_vanish_with_them() -> None:
    calm, lively = Scatter(1.0, 4.5, 100.0), Scatter(3.0, 1.0, 100.0)
    for one in (calm, lively):
        at = [one.threshold(n, 10_000, 9, level=1e-4, effect=0.0) for n in (50, 200, 1000, 10_000)]
        assert at == sorted(at, reverse=True)
    far = [one.threshold(1e6, 1e6, 9, level=1e-4, effect=0.0) for one in (calm, lively)]
    assert far[0] < 0.01 < far[1]
    assert calm.threshold(1e6, 1e6, 9, level=1e-4, effect=0.1) == pytest.approx(0.1, abs=1e-3)


def test_references_are_kept_for_the_largest_groups_and_rare_values_are_not_named() -> None:
    settings = model(policy={"segments": {"min_rows": 50, "most": 2}}, privacy={"min_count": 10})
    counts = {"g=a": 500, "g=b": 60, "g=c": 80, "g=d": 40, "g=e": 9}
    assert chosen(counts, settings) == ["g=a", "g=c"]
    frame = rows(10, 50, 3)
    bins, _ = make_bins(summaries(frame, ["size"]), settings)
    panes = [item for _, item in windows(frame, bins)]
    made = learn({"g=a": panes, "g=c": panes}, {}, counts, bins=bins, model=settings)
    assert made.small == {"g=d": 40}
    assert made.more == 2, "one beyond the cap, one too rare to be named"


def test_what_is_kept_is_read_back_unchanged_and_is_small() -> None:
    settings = model(log={"prediction": "answer", "label": "y"})
    frame = rows(90, 200, 4)
    bins, _ = make_bins(summaries(frame, ["size", "kind"]), settings)
    panes = [item for _, item in windows(frame, bins)]
    outcomes = Outcomes()
    for hour in range(90 * 24):
        for cell in range(20):
            outcomes.cells[(hour * 3600, "yes", "no", 5 * cell)] = 1
        outcomes.sums[hour * 3600] = tuple(20.0 if name == "n" else 0.5 for name in SUMS)
    made = learn({"g=a": panes}, {"g=a": outcomes}, {"g=a": 18_000}, bins=bins, model=settings)
    text = json.dumps(made.to_dict(), allow_nan=False)
    assert Segments.from_dict(json.loads(text)) == made
    assert len(text) < 12_000
    assert made.held["g=a"].performance.n == 20 * 90 * 24
    assert {cell for _, _, _, cell in made.held["g=a"].performance.cells} == {-1}


def test_the_sexes_of_the_census_drift_no_more_often_than_the_budget_says() -> None:
    frame = stream("employment_ma").iloc[::4]
    names = ["AGEP", "SCHL", "MAR", "RAC1P", "CIT"]
    settings = model(window={"length": "7d"})
    frame[names[1:]] = frame[names[1:]].astype(str)
    bins, _ = make_bins(summaries(frame[frame.timestamp < "2016-01-01"], names), settings)
    weeks = {f"SEX={sex}": [item for _, item in windows(part, bins, "7D")]
             for sex, part in frame.groupby(frame.SEX.astype(str))}
    counts = {sex: sum(item.n for item in panes) for sex, panes in weeks.items()}
    segments = learn({sex: panes[:52] for sex, panes in weeks.items()}, {}, counts, bins=bins,
                     model=settings)
    results = [item for sex, panes in weeks.items() for week in panes[52:]
               for item in segments.drift(sex, week, bins, roles=("feature",), model=settings)]
    allowed = (len(weeks["SEX=1"]) - 52) * 7 / 90
    assert len(results) > 1500
    assert sum(item.drifted for item in results) <= allowed


def test_segments_of_a_log_are_judged_against_themselves(tmp_path: Path, mlflow_uri: str
                                                         ) -> None:
    made = deploy(tmp_path, mlflow_uri, policy={
        "performance": {"rows": 200}, "retrain": {"minimum_rows": 100},
        "segments": {"min_rows": 15}})
    with made.deps() as deps:
        tick(deps.config.models[0], deps, START + 36 * DAY)
        lines = [row.line for row in deps.store.verdicts("deliveries")]
    parts = [line for line in lines if line["segment"]]
    assert {line["segment"] for line in parts} >= {"vehicle=bike", "vehicle=car"}
    assert {line["verdict"] for line in parts} & {"stable", "drifted", "degraded"}
    measured = [line for line in lines if not line["segment"] and line["groups"]]
    assert measured
    gaps = {gap["measure"]: gap for gap in measured[-1]["groups"]}
    assert gaps["accuracy_difference"]["column"] == "vehicle"
    assert set(gaps["demographic_parity_difference"]["n_by_group"]) <= {"bike", "car", "scooter"}
    told = {item["metric"] for line in parts for item in line["performance"]}
    assert {"selection_rate", "true_positive_rate", "false_positive_rate"} <= told
