"""Models side by side: real answers, honest intervals, counts that the monitor understands."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from monitor.errors import HoldfastError
from monitor.performance import METRICS as MONITORS
from monitor.performance import measure as counted
from monitor.performance import tabulate
from retrain.contract import Contract, default
from retrain.evaluate import (
    Answers,
    Scores,
    answer,
    block_length,
    compare,
    disagreement,
    latency,
    logged,
    paired,
    score,
    session,
)
from retrain.export import to_onnx
from retrain.prune import prune
from tests.data import stream
from tests.retrain.real import bikes, eager, elec, elec_champion
from tests.retrain.test_export import elec_contract

METRICS = ("accuracy", "roc_auc", "log_loss", "brier")


def champion_scores(folder: Path, rows: pd.DataFrame, share: float = 0.0) -> Scores:
    path = to_onnx(prune(elec_champion(), share), elec_contract(), folder / "model.onnx")
    return score(f"pruned {share}", answer(session(path), rows, elec_contract()), rows,
                 contract=elec_contract(), metrics=METRICS)


def bookings(rows: int = 4000) -> tuple[pd.DataFrame, Contract]:
    """A real log: features, a foreign model's score and the label."""
    frame = stream("hotel_booking").iloc[30000:30000 + rows].reset_index(drop=True)
    frame = frame.rename(columns={"timestamp": "_timestamp", "is_canceled": "_label",
                                  "y_pred": "_prediction", "y_pred_proba": "_score"})
    return frame, default(frame, "binary", classes=(0, 1))


def test_quality_of_an_artifact_with_intervals(tmp_path: Path) -> None:
    rows = elec("1996-12-28", "1997-02-13")
    scores = champion_scores(tmp_path, rows)
    found = scores.quality["accuracy"]
    assert found.value is not None
    assert found.value == pytest.approx(np.mean(scores.predictions == rows["_label"]))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.span == "7d"


def test_the_log_answers_for_a_model_that_cannot_be_run() -> None:
    frame, contract = bookings()
    scores = score("logged", logged(frame, contract), frame, contract=contract, metrics=METRICS)
    assert scores.quality["accuracy"].value == pytest.approx(
        np.mean(frame["_prediction"] == frame["_label"]))
    assert scores.quality["roc_auc"].value == pytest.approx(
        stats.mannwhitneyu(frame["_score"][frame["_label"] == 1],
                           frame["_score"][frame["_label"] == 0]).statistic
        / ((frame["_label"] == 1).sum() * (frame["_label"] == 0).sum()), abs=1e-6)


def test_without_scores_what_needs_them_is_unknown_and_said() -> None:
    frame, contract = bookings()
    answers = logged(frame.drop(columns="_score"), contract)
    found = score("x", answers, frame, contract=contract, metrics=METRICS).quality
    assert found["log_loss"].value is None
    assert "score" in found["log_loss"].reason
    assert found["accuracy"].value is not None


def test_outcomes_are_those_that_the_monitor_counts() -> None:
    frame, contract = bookings()
    scores = score("x", logged(frame, contract), frame, contract=contract, metrics=METRICS)
    assert scores.outcomes.n == len(frame)
    for metric in ("accuracy", "log_loss", "brier"):
        same = counted(scores.outcomes, metric, positive="1", block=timedelta(days=1))
        assert same.value == pytest.approx(scores.quality[metric].value, abs=1e-9)
    table = tabulate(scores.outcomes, "1", 86400).pooled()
    assert MONITORS["roc_auc"](table)[0] == pytest.approx(scores.quality["roc_auc"].value, abs=0.02)


def test_outcomes_of_values() -> None:
    rows = bikes().holdout
    contract = default(rows, "regression")
    answers = Answers(rows["_label"].to_numpy(float) + 3.0, None, ())
    scores = score("x", answers, rows, contract=contract, metrics=("mae", "rmse", "r2"))
    for metric in ("mae", "rmse", "r2"):
        same = counted(scores.outcomes, metric, positive=None, block=timedelta(days=1))
        assert same.value == pytest.approx(scores.quality[metric].value, abs=1e-9)


def test_blocks_are_weeks_then_days() -> None:
    def span(days: int) -> pd.Series:
        return pd.Series(pd.date_range("2026-01-01", periods=days * 24, freq="h", tz="UTC"))

    assert block_length(span(28)) == timedelta(days=7)
    assert block_length(span(20)) == timedelta(days=1)
    assert block_length(span(2)) < timedelta(days=1)


def test_intervals_by_blocks_are_as_wide_as_days_that_go_together() -> None:
    """Losses shared by all rows of a day: the standard error is that of days, not of rows."""
    days, rows = 40, 100
    rng = np.random.default_rng(1)
    losses = np.repeat(rng.normal(0.1, 1.0, days), rows)
    times = pd.Series(pd.date_range("2026-01-01", periods=days, freq="D").repeat(rows))
    found = paired(losses, np.zeros(days * rows), times, block=timedelta(days=1))
    by_days = 2 * 1.96 * losses.std() / np.sqrt(days)
    assert found.blocks == days
    assert found.high - found.low == pytest.approx(by_days, rel=0.25)


def test_compare_is_positive_where_the_first_is_worse(tmp_path: Path) -> None:
    rows = elec("1996-12-28", "1997-02-13")
    whole, broken = champion_scores(tmp_path, rows), champion_scores(tmp_path, rows, 0.85)
    for metric in METRICS:
        found = compare(broken, whole, metric)
        assert found.difference > 0
        assert compare(whole, broken, metric).difference == pytest.approx(-found.difference)
        assert compare(whole, whole, metric).high == 0
    assert 0 < compare(broken, whole, "accuracy").difference <= disagreement(broken, whole)


def test_compare_refuses_other_rows_and_missing_scores(tmp_path: Path) -> None:
    frame, contract = bookings()
    one = score("one", logged(frame, contract), frame, contract=contract, metrics=())
    half = frame.head(2000)
    with pytest.raises(HoldfastError, match="different rows"):
        compare(one, score("two", logged(half, contract), half, contract=contract, metrics=()),
                "accuracy")
    mute = score("mute", logged(frame.drop(columns="_score"), contract), frame, contract=contract,
                 metrics=())
    with pytest.raises(HoldfastError, match="take accuracy instead"):
        compare(one, mute, "log_loss")


def test_a_champion_with_classes_in_another_order_is_comparable() -> None:
    frame, contract = bookings()
    turned = default(frame, "binary", classes=(1, 0), positive=1)
    one, two = (score("x", logged(frame, c), frame, contract=c, metrics=METRICS)
                for c in (contract, turned))
    for metric in METRICS:
        assert compare(one, two, metric).difference == pytest.approx(0, abs=1e-12)


def test_latency_of_every_artifact_and_batch_in_one_run(tmp_path: Path) -> None:
    path = to_onnx(elec_champion(), elec_contract(), tmp_path / "model.onnx")
    days = elec("1996-12-01", "1996-12-03")  # fewer rows than the batch
    found = latency({"onnx": session(path),
                     "eager": eager(elec_champion())}, days, seconds=0.01)
    assert set(found) == {"onnx", "eager"}
    assert all(set(times) == {1, 256} and min(times.values()) > 0 for times in found.values())
