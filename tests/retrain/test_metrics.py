"""Metrics of weighted rows agree with scikit-learn's on real answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as known

from retrain.metrics import METRICS, Judged
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
    ("r2", known.r2_score)])
def test_values(name: str, reference: Callable[..., float]) -> None:
    label = stream("bike_sharing")["cnt"].to_numpy(float)[:2000]
    answer = label + RNG.normal(0, 20, len(label))
    weights = RNG.integers(1, 4, len(label)).astype(float)
    judged = Judged(label, answer, None, 0, None)
    assert METRICS[name](judged)(weights) == pytest.approx(
        reference(label, answer, sample_weight=weights), rel=1e-9)


def test_a_label_that_is_none_of_the_classes_is_an_error() -> None:
    judged = Judged(np.array([0, -1]), np.array([0, -2]), None, 2, 1)
    assert METRICS["accuracy"](judged)(np.ones(2)) == 0.5
