"""Forecast: estimates beside what is realized, refuted by newer labels, degraded only for sure."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from monitor.baseline import Baseline, calibrate
from monitor.bins import Bins
from monitor.decide import step
from monitor.forecast import Forecast, Proof, forecast, refute
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.state import ModelState
from tests.benchmarks import estimation
from tests.benchmarks.estimation import ITEM, Rows
from tests.monitor.counted import model
from tests.monitor.stored import verdict
from tests.monitor.test_estimate import rows

DAYS = timedelta(days=7)
MODEL = model(task="binary", log={"prediction": "guess", "score": "score", "label": "label",
                                  "positive_label": "1"},
              policy={"retrain": {"on": ["estimated"]}})
RNG = np.random.default_rng(8)


def answered(part: Rows) -> Profile:
    return Profile(len(part), estimation.answers(part))


def proof(part: Rows) -> Proof:
    return Proof(estimation.outcomes(part), answered(part), DAYS)


def learned(reference: Rows) -> Baseline:
    return calibrate("1", Bins((), ITEM), [answered(reference)], estimation.outcomes(reference),
                     model=MODEL)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return learned(rows(6000, RNG, level=1.0))


def told(baseline: Baseline, window: Rows, newest: Rows | None) -> Forecast:
    check = None if newest is None else refute(proof(newest), baseline, MODEL)
    return forecast(answered(window), check, baseline, first=baseline, model=MODEL)


def test_the_deciding_metric_leads_and_everything_is_marked_as_estimated(baseline: Baseline
                                                                         ) -> None:
    found = told(baseline, rows(500, RNG, level=1.0), rows(1500, RNG, level=1.0))
    assert found.quality == "stable"
    assert [item.metric for item in found.performance][:2] == ["accuracy", "balanced_accuracy"]
    assert all(item.estimated and item.span == "1d" for item in found.performance)
    assert found.check is not None
    assert (found.check.state, found.check.span) == ("valid", "7d")
    assert "without labels" in found.reason


def test_what_is_travelling_with_the_baseline_estimates_the_same(baseline: Baseline) -> None:
    again = Baseline.from_json(baseline.to_json())
    window = rows(500, RNG)
    assert told(again, window, None) == told(baseline, window, None)


def test_inputs_that_move_where_the_model_is_unsure_are_estimated_degradation(baseline: Baseline
                                                                              ) -> None:
    unsure = rows(1500, RNG, level=0.0)
    found = told(baseline, unsure, rows(1500, RNG, level=1.0))
    assert found.quality == "stable"  # a little worse, and no more than chance allows
    hard = unsure.part(0, len(unsure))
    middle = np.abs(hard.score - 0.5) < 0.3
    hard = Rows(*(getattr(hard, name)[middle] for name in ("label", "guess", "score", "at")))
    found = told(baseline, hard, rows(1500, RNG, level=1.0))
    assert found.quality == "degraded"
    assert "worse by" in found.reason
    assert told(baseline, hard, None).quality == "degraded"


def test_labels_refute_estimates_until_they_agree_again(baseline: Baseline) -> None:
    turned, fine = rows(1500, RNG, level=1.0, turned=0.4), rows(1500, RNG, level=1.0)
    window = rows(800, RNG, level=1.0)
    found = told(baseline, window, turned)
    assert found.quality == "invalid"
    assert "estimates do not hold" in found.reason
    assert "concept drift" in found.reason
    assert found.performance[0].value is not None
    assert told(baseline, window, fine).quality == "stable"


def test_without_mature_labels_nothing_is_refuted(baseline: Baseline) -> None:
    empty = Proof(Outcomes(), Profile.empty(baseline.bins), timedelta(0))
    check = refute(empty, baseline, MODEL)
    assert check is not None
    assert (check.state, check.reason) == ("unknown", "no labels have matured yet")


def test_why_there_are_no_estimates_is_said() -> None:
    none = calibrate("1", Bins(()), [], Outcomes(), model=MODEL)
    assert none.estimator is None
    assert refute(Proof(Outcomes(), Profile.empty(Bins(())), DAYS), none, MODEL) is None
    bare = forecast(Profile.empty(Bins(())), None, none, first=none, model=MODEL)
    assert "no labelled answers" in bare.reason
    odd = model(task="binary", log={"prediction": "guess", "label": "label"})
    assert "scores" in forecast(Profile.empty(Bins(())), None, none, first=none, model=odd).reason


def test_estimated_degradation_opens_an_episode_and_may_start_a_retrain() -> None:
    state = ModelState(phase="stable", champion="3", inputs="stable", quality="stable")
    worse = verdict("m", 1, estimate=Forecast("degraded", reason="worse"), reason="worse")
    known, decision = step(state, worse, model())
    assert (known.phase, decision.action) == ("suspect", "alarm")
    again, decision = step(known, verdict("m", 2, estimate=Forecast("degraded")), model())
    assert (again.calm, decision.action) == (0, "none")
    able = MODEL.model_copy(update={"training": MODEL.training.model_copy(
        update={"kind": "torch"})})
    assert step(state, worse, able)[1].action == "retrain"
    refuted = verdict("m", 1, estimate=Forecast("invalid"))
    assert step(state, refuted, able)[1].action == "none"
