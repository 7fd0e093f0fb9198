"""Judge: counts against a baseline, as a verdict in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitor.baseline import Baseline, calibrate
from monitor.binning import make_bins
from monitor.config import Model
from monitor.importance import Importances
from monitor.judge import Evidence, Verdict, judge
from monitor.outcomes import SUMS, Outcomes
from monitor.policy import PerformancePolicy, SegmentPolicy
from monitor.profile import Profile
from monitor.segments import learn
from monitor.window import Window
from tests.monitor.counted import profile, summaries, windows

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = Model.model_validate({
    "name": "m", "log": {"source": "x", "timestamp": "t", "ingested_at": "at",
                         "prediction": "answer", "label": "y", "positive_label": "yes"}})


def rows(days: int, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = days * 200
    return pd.DataFrame({
        "timestamp": pd.Timestamp(START) + pd.to_timedelta(np.arange(n) * 432, unit="s"),
        "size": rng.normal(shift, 1, n), "zone": rng.choice(["a", "b", "c"], n)})


def outcomes(days: int, right: float, seed: int = 0) -> Outcomes:
    """Two hundred labelled rows a day in hourly blocks, of which this share is right."""
    rng = np.random.default_rng(seed)
    made = Outcomes()
    for hour in range(days * 24):
        block = int((START + hour * timedelta(hours=1)).timestamp())
        hits = int(rng.binomial(8, right))
        made.cells.update({(block, "yes", "yes", -1): hits, (block, "no", "yes", -1): 8 - hits})
        made.sums[block] = tuple(8.0 if name == "n" else 0.0 for name in SUMS)
    return made


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    frame = rows(40)
    bins, _ = make_bins(summaries(frame, ["size", "zone"]), MODEL)
    panes = [item for _, item in windows(frame, bins)]
    return calibrate("1", bins, panes, outcomes(40, 0.9), model=MODEL)


def seen(baseline: Baseline, frame: pd.DataFrame | None, model: Model = MODEL,
         **change: Any) -> Verdict:
    """The verdict on a day of these rows (None: an empty one)."""
    counts = Profile.empty(baseline.bins) if frame is None else profile(frame, baseline.bins)
    plain = Evidence(
        window=Window(START, START + DAY), segment="", revision=0, known_at=START + 2 * DAY,
        news=("inputs",), inputs=counts, outputs=counts, outcomes=Outcomes(), mature=False,
        maturity=None, pooled=Outcomes(), pooled_span=timedelta(0), broken=(), labelled=0,
        first=baseline)
    return judge(replace(plain, **change), baseline, model)


def labelled(right: float) -> dict[str, Any]:
    return {"mature": True, "maturity": 1.0, "news": ("labels",), "outcomes": outcomes(1, right),
            "pooled": outcomes(14, right, 3), "pooled_span": 14 * DAY}


def test_a_day_like_the_reference_is_stable(baseline: Baseline) -> None:
    verdict = seen(baseline, rows(1, seed=9))
    assert (verdict.kind, verdict.inputs, verdict.quality) == ("stable", "stable", "unknown")
    assert verdict.reason == "nothing moved beyond what the alarm budget allows"


def test_a_shift_is_named_with_its_numbers(baseline: Baseline) -> None:
    verdict = seen(baseline, rows(1, shift=1.5, seed=9))
    assert verdict.kind == "drifted"
    assert verdict.reason.startswith("moved: size (psi ")
    assert [item.feature for item in verdict.features if item.drifted] == ["size"]


def test_an_empty_day_is_faulty_and_not_drifted(baseline: Baseline) -> None:
    verdict = seen(baseline, None)
    assert verdict.kind == "faulty"
    assert "holds no rows" in verdict.reason


def test_a_lost_column_is_faulty_in_the_sources_words(baseline: Baseline) -> None:
    verdict = seen(baseline, rows(1, seed=9), broken=(("size", "size is not in day.parquet"),))
    assert verdict.kind == "faulty"
    assert "size is not in day.parquet" in verdict.reason


def test_bad_labels_are_degradation_beyond_doubt(baseline: Baseline) -> None:
    verdict = seen(baseline, rows(1, seed=9), **labelled(0.7))
    assert (verdict.kind, verdict.quality) == ("degraded", "degraded")
    assert "accuracy 0.7" in verdict.reason
    assert "reference 0.8953: worse by 0.195" in verdict.reason
    assert seen(baseline, rows(1, seed=9), **labelled(0.9)).kind == "stable"


def test_what_the_first_version_promised_is_not_forgotten(baseline: Baseline) -> None:
    weaker = replace(baseline, version="2", performance=outcomes(40, 0.7))
    verdict = seen(weaker, rows(1, seed=9), **labelled(0.7))
    assert verdict.quality == "stable"
    verdict = seen(weaker, rows(1, seed=9), **labelled(0.7), first=baseline)
    assert verdict.quality == "degraded"
    assert verdict.reason.endswith("as version 1 promised in the beginning")


def test_without_a_week_of_labels_nothing_is_said_of_quality(baseline: Baseline) -> None:
    few = labelled(0.1) | {"pooled": Outcomes(), "pooled_span": timedelta(0)}
    verdict = seen(baseline, rows(1, seed=9), **few)
    assert verdict.quality == "unknown"
    assert verdict.performance[0].reason == "this version has less than a week of matured labels"


def test_a_segment_without_a_reference_of_its_own_is_unknown(baseline: Baseline) -> None:
    verdict = seen(baseline, rows(1, seed=9), segment="zone=a")
    assert verdict.kind == "unknown"
    assert verdict.reason == "this segment has no reference of its own"
    assert verdict.features == ()


def test_error_drift_is_told_before_the_pool_is_bad_enough(baseline: Baseline) -> None:
    newest = outcomes(23, 0.9, 3) + later(outcomes(5, 0.8, 4), 23 * DAY)
    known = labelled(0.9) | {"pooled": newest, "stream": newest, "pooled_span": 28 * DAY,
                             "window": Window(START + 27 * DAY, START + 28 * DAY)}
    verdict = seen(baseline, rows(1, seed=9), **known)
    assert (verdict.quality, verdict.kind) == ("stable", "stable"), "it informs"
    assert "; error drift since 2026-01-2" in verdict.reason
    assert verdict.error_drift is not None
    assert verdict.error_drift.found
    alarming = MODEL.model_copy(update={"policy": MODEL.policy.model_copy(
        update={"performance": PerformancePolicy(error_drift="alarm")})})
    verdict = seen(baseline, rows(1, seed=9), alarming, **known)
    assert (verdict.quality, verdict.kind) == ("degraded", "degraded")
    assert verdict.reason.startswith("error drift since 2026-01-2")


def later(made: Outcomes, by: timedelta) -> Outcomes:
    move = int(by.total_seconds())
    return Outcomes({(block + move, *rest): n for (block, *rest), n in made.cells.items()},
                    {block + move: values for block, values in made.sums.items()})


def test_what_moved_is_told_with_what_it_is_worth(baseline: Baseline) -> None:
    worth = Importances("permutation", "accuracy", 500,
                        {"size": (0.06, 0.01), "zone": (0.02, 0.01)})
    verdict = seen(replace(baseline, importance=worth), rows(1, shift=1.5, seed=9))
    assert verdict.reason.startswith("moved: size (psi ")
    assert "matters: 75 %)" in verdict.reason
    picky = MODEL.model_copy(update={"policy": MODEL.policy.model_copy(
        update={"minimum_importance": 0.9})})
    verdict = seen(replace(baseline, importance=worth), rows(1, shift=1.5, seed=9), picky)
    assert verdict.kind == "stable"


@pytest.fixture(scope="module")
def grouped(baseline: Baseline) -> Baseline:
    """Zone b always was larger by 2 and was always answered worse."""
    frame = rows(40)
    frame["size"] += 2.0 * (frame["zone"] == "b")
    parts = {f"zone={zone}": [item for _, item in windows(frame[frame["zone"] == zone],
                                                          baseline.bins)] for zone in "ab"}
    own = learn(parts, {"zone=a": outcomes(40, 0.9), "zone=b": outcomes(40, 0.75, 1)},
                {name: sum(item.n for item in part) for name, part in parts.items()} |
                {"zone=c": 30}, bins=baseline.bins, model=MODEL)
    return replace(baseline, segments=own)


def zone(shift: float) -> pd.DataFrame:
    frame = rows(1, seed=9)
    return frame[frame["zone"] == "b"].assign(size=lambda part: part["size"] + shift)


def test_a_segment_that_always_was_different_has_not_drifted(grouped: Baseline) -> None:
    verdict = seen(grouped, zone(2.0), segment="zone=b")
    assert (verdict.kind, verdict.inputs) == ("stable", "stable")
    assert {item.feature for item in verdict.features} == {"size"}, "its own column is left out"
    moved = seen(grouped, zone(0.0), segment="zone=b")
    assert moved.kind == "drifted"
    assert moved.reason.startswith("moved: size (psi ")


def test_a_segment_is_as_bad_as_it_always_was_or_worse(grouped: Baseline) -> None:
    same = seen(grouped, zone(2.0), segment="zone=b", **labelled(0.75))
    assert (same.kind, same.quality) == ("stable", "stable")
    worse = seen(grouped, zone(2.0), segment="zone=b", **labelled(0.6))
    assert (worse.kind, worse.quality) == ("degraded", "degraded")
    assert "reference 0.7" in worse.reason
    few = seen(grouped, zone(2.0).head(20), segment="zone=b", **labelled(0.6))
    assert (few.kind, few.inputs, few.quality) == ("degraded", "unknown", "degraded")
    silent = seen(grouped, zone(2.0).head(20), segment="zone=b")
    assert (silent.kind, silent.reason) == ("unknown", "20 rows in this window, 50 are asked for")
    small = seen(grouped, zone(2.0), segment="zone=c")
    assert small.reason == "this segment has no reference of its own: it had 30 reference rows"


def test_the_verdict_on_all_rows_tells_of_segments(grouped: Baseline) -> None:
    worse = seen(grouped, zone(2.0), segment="zone=b", **labelled(0.6))
    calm = seen(grouped, zone(0.0), segment="zone=a", **labelled(0.9))
    whole = seen(grouped, rows(1, seed=9), findings=(calm, worse), **labelled(0.9))
    assert whole.kind == "stable", "segments inform"
    assert whole.reason.endswith("; of its segments: zone=b degraded")
    assert [(item.segment, item.verdict) for item in whole.segments] == [("zone=b", "degraded")]


def test_where_segments_alarm_all_rows_keep_half_of_the_budget(grouped: Baseline) -> None:
    sharing = MODEL.model_copy(update={"policy": MODEL.policy.model_copy(
        update={"segments": SegmentPolicy(alarm=True)})})
    widths = []
    for model in (MODEL, sharing):
        whole = seen(grouped, rows(1, seed=9), model=model, **labelled(0.9)).performance[0]
        assert whole.high is not None
        assert whole.low is not None
        widths.append(whole.high - whole.low)
    assert widths[1] > widths[0]
