"""Metrics of weighted rows agree with scikit-learn's on real answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from sklearn import metrics as known

from monitor.performance import HIGHER_IS_BETTER, METRICS_OF
from monitor.policy import PerformancePolicy
from retrain.metrics import LOWER_IS_BETTER, METRICS, Judged
from tests.data import stream

RNG = np.random.default_rng(0)


def bookings() -> tuple[Judged, np.ndarray, np.ndarray]:
    """A real model's logged answers about cancellations, and weights."""
    frame = stream("hotel_booking").iloc[30000:34000]
    score = frame["y_pred_proba"].to_numpy(float).clip(1e-3, 1 - 1e-3)
    judged = Judged(frame["is_canceled"].to_numpy(), (score > 0.3).astype(int),
                    np.stack([1 - score, score], axis=1), 2, 1)
    return judged, score, RNG.integers(1, 4, len(frame)).astype(float)


@pytest.mark.parametrize(("name", "reference", "scored"), [
    ("accuracy", known.accuracy_score, False),
    ("balanced_accuracy", known.balanced_accuracy_score, False),
    ("precision", known.precision_score, False), ("recall", known.recall_score, False),
    ("f1", known.f1_score, False), ("roc_auc", known.roc_auc_score, True),
    ("average_precision", known.average_precision_score, True),
    ("log_loss", known.log_loss, True), ("brier", known.brier_score_loss, True)])
def test_binary(name: str, reference: Callable[..., float], scored: bool) -> None:
    judged, score, weights = bookings()
    expected = reference(judged.label, score if scored else judged.answer, sample_weight=weights)
    assert METRICS[name](judged)(weights) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("name", "reference", "options"), [
    ("precision", known.precision_score, {"average": "macro"}),
    ("recall", known.recall_score, {"average": "macro"}),
    ("f1", known.f1_score, {"average": "macro"}),
    ("roc_auc", known.roc_auc_score, {"multi_class": "ovr"}),
    ("log_loss", known.log_loss, {})])
def test_many_classes(name: str, reference: Callable[..., float], options: dict[str, Any]) -> None:
    label = RNG.integers(0, 4, 500)
    share = RNG.dirichlet(np.ones(4), 500)
    judged = Judged(label, share.argmax(axis=1), share, 4, None)
    given = share if name in {"roc_auc", "log_loss"} else judged.answer
    assert METRICS[name](judged)(np.ones(500)) == pytest.approx(
        reference(label, given, **options), rel=1e-9)


@pytest.mark.parametrize(("name", "reference"), [
    ("mae", known.mean_absolute_error), ("rmse", known.root_mean_squared_error),
    ("mape", known.mean_absolute_percentage_error), ("r2", known.r2_score)])
def test_values(name: str, reference: Callable[..., float]) -> None:
    label = stream("bike_sharing")["cnt"].to_numpy(float)[:2000]
    answer = label + RNG.normal(0, 20, len(label))
    weights = RNG.integers(1, 4, len(label)).astype(float)
    judged = Judged(label, answer, None, 0, None)
    assert METRICS[name](judged)(weights) == pytest.approx(
        reference(label, answer, sample_weight=weights), rel=1e-9)


def test_ties_share_their_precision_and_zeros_have_no_relative_error() -> None:
    label, score = RNG.integers(0, 2, 300), RNG.integers(0, 5, 300) / 5
    judged = Judged(label, label, np.stack([1 - score, score], axis=1), 2, 1)
    without = (np.arange(300) % 3 > 0).astype(float)
    assert METRICS["average_precision"](judged)(without) == pytest.approx(
        known.average_precision_score(label, score, sample_weight=without))
    assert np.isnan(METRICS["average_precision"](judged)((label == 0).astype(float)))
    values = Judged(np.array([0.0, 10.0]), np.array([5.0, 8.0]), None, 0, None)
    assert METRICS["mape"](values)(np.ones(2)) == pytest.approx(0.1)


def test_whatever_may_decide_can_be_held_against_another_version() -> None:
    """And the monitor and the gate agree which of them should be small."""
    deciding = get_args(get_args(PerformancePolicy.model_fields["metric"].annotation)[0])
    assert set(deciding) <= set(METRICS)
    assert set(deciding) <= {name for names in METRICS_OF.values() for name in names}
    assert {name for name in deciding if name not in HIGHER_IS_BETTER} == (
        LOWER_IS_BETTER & set(deciding))


def test_a_label_that_is_none_of_the_classes_is_an_error() -> None:
    judged = Judged(np.array([0, -1]), np.array([0, -2]), None, 2, 1)
    assert METRICS["accuracy"](judged)(np.ones(2)) == 0.5
