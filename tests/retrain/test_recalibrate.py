"""Recalibration: curves as scikit-learn fits them, and graphs that answer by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from monitor.errors import HoldfastError
from retrain.contract import default
from retrain.evaluate import Scores, answer, score
from retrain.export import to_onnx
from retrain.finetune import Network, train
from retrain.recalibrate import Curve, bent, curve
from retrain.runtime import session
from retrain.trainer import Options
from tests.retrain.real import bikes, elec, elec_champion, insects
from tests.retrain.test_export import elec_contract


def scored(path: Path, frame: pd.DataFrame, contract, *metrics: str) -> Scores:  # type: ignore[no-untyped-def]
    return score("it", answer(session(path), frame, contract), frame, contract=contract,
                 metrics=metrics)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return to_onnx(elec_champion(), elec_contract(), tmp_path_factory.mktemp("x") / "it.onnx")


def test_two_classes_are_platts_scaling(champion: Path) -> None:
    """The same slope and intercept as scikit-learn's logistic regression on the log-odds."""
    frame = elec("1997-06-01", "1998-06-01")
    scores = scored(champion, frame, elec_contract(), "log_loss")
    found = curve(scores)
    share = np.clip(scores.judged.share, 1e-7, None)
    odds = np.log(share[:, 1] / share[:, 0])
    theirs = LogisticRegression(C=1e9, tol=1e-8).fit(odds[:, None], scores.judged.label)
    assert found.slope == pytest.approx(float(theirs.coef_[0, 0]), abs=0.01)
    assert found.bias[1] - found.bias[0] == pytest.approx(float(theirs.intercept_[0]), abs=0.01)


def test_the_bent_graph_answers_by_the_curve_even_twice(champion: Path, tmp_path: Path) -> None:
    frame, contract = elec("1997-06-01", "1997-07-01"), elec_contract()
    before = scored(champion, frame, contract, "log_loss")
    once = bent(champion, Curve(0.5, (0.3, -0.3)), contract, tmp_path / "once.onnx")
    twice = bent(once, Curve(2.0, (-0.6, 0.6)), contract, tmp_path / "twice.onnx")
    after = scored(once, frame, contract, "log_loss").judged.share
    logs = 0.5 * np.log(before.judged.share) + np.array([0.3, -0.3])
    wanted = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after, wanted, atol=1e-5)
    back = scored(twice, frame, contract, "log_loss")
    np.testing.assert_allclose(back.judged.share, before.judged.share, atol=1e-4)
    assert (back.predictions == before.predictions).mean() > 0.999


def test_a_moved_class_mix_is_corrected(tmp_path: Path) -> None:
    """Insects whose two commonest classes are thinned out: recalibration finds the new mix."""
    data = insects(6000)
    fitted = train(data, Options("multiclass", widths=(64,), epochs=8))
    contract = default(data.train, "multiclass", classes=fitted.classes)
    path = to_onnx(fitted, contract, tmp_path / "it.onnx")
    rare = data.validation["_label"].isin(sorted(set(data.validation["_label"]))[:2])
    keep = ~rare | (np.arange(len(rare)) % 8 == 0)
    frame = data.validation[keep].reset_index(drop=True)
    before = scored(path, frame, contract, "log_loss", "accuracy")
    found = curve(before)
    bent(path, found, contract, tmp_path / "bent.onnx")
    after = scored(tmp_path / "bent.onnx", frame, contract, "log_loss", "accuracy")
    assert after.quality["log_loss"].value < before.quality["log_loss"].value
    assert after.quality["accuracy"].value >= before.quality["accuracy"].value


def test_a_line_follows_values_that_grew(tmp_path: Path) -> None:
    data = bikes()
    fitted: Network = train(data, Options("regression", widths=(32,), epochs=6))
    contract = default(data.train, "regression")
    path = to_onnx(fitted, contract, tmp_path / "it.onnx")
    frame = data.validation.assign(_label=data.validation["_label"] * 1.65 + 20)
    found = curve(scored(path, frame, contract, "rmse"))
    bent(path, found, contract, tmp_path / "bent.onnx")
    before = scored(path, frame, contract, "rmse").quality["rmse"].value
    assert scored(tmp_path / "bent.onnx", frame, contract, "rmse").quality["rmse"].value < before
    assert found.slope > 1.2


def test_too_few_rows_are_said(champion: Path) -> None:
    with pytest.raises(HoldfastError, match="48 labelled rows are too few"):
        curve(scored(champion, elec("1997-06-01", "1997-06-02"), elec_contract(), "accuracy"))
