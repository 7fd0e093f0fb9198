"""Importances of versions that can be run, against scikit-learn's on the same rows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance

from monitor.importance import Importances
from retrain.contract import class_codes
from retrain.evaluate import answer, session
from retrain.export import to_onnx
from retrain.importance import permuted
from tests.retrain.real import elec, elec_champion
from tests.retrain.test_export import elec_contract


class Served(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The artifact as scikit-learn sees a classifier."""

    def __init__(self, artifact: object = None) -> None:
        self.artifact = artifact
        self.classes_ = np.array([0, 1])

    def fit(self, rows: pd.DataFrame, labels: np.ndarray) -> Served:
        return self

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        contract = elec_contract()
        return class_codes(pd.Series(answer(self.artifact, rows, contract).predictions),
                           contract.classes)


def test_drops_of_accuracy_equal_scikit_learn_s(tmp_path: Path) -> None:
    rows = elec("1996-12-28", "1997-02-13").tail(1500).reset_index(drop=True)
    contract = elec_contract()
    artifact = session(to_onnx(elec_champion(), contract, tmp_path / "model.onnx"))
    found = permuted(artifact, rows, contract, metric="accuracy")
    assert found is not None
    assert (found.kind, found.rows) == ("permutation", 1500)
    labels = class_codes(rows["_label"], contract.classes)
    theirs = permutation_importance(Served(artifact), rows[list(contract.inputs)], labels,
                                    n_repeats=8, random_state=3)
    for place, name in enumerate(contract.inputs):
        mean, error = found.drops[name]
        doubt = np.hypot(error, theirs.importances_std[place] / np.sqrt(8))
        assert mean == pytest.approx(theirs.importances_mean[place], abs=4 * doubt + 1e-3)
    best = list(contract.inputs)[int(np.argmax(theirs.importances_mean))]
    assert found.shares[best] == max(found.shares.values())


def test_a_loss_rises_where_accuracy_falls(tmp_path: Path) -> None:
    rows = elec("1996-12-28", "1997-01-13").tail(400).reset_index(drop=True)
    contract = elec_contract()
    artifact = session(to_onnx(elec_champion(), contract, tmp_path / "model.onnx"))
    found = permuted(artifact, rows, contract, metric="log_loss")
    assert found is not None
    assert max(drop for drop, _ in found.drops.values()) > 0


def test_accuracy_takes_the_place_of_what_is_undefined(tmp_path: Path) -> None:
    """One input that is no number would make all of them none, and no window could be told."""
    rows = elec("1996-12-28", "1997-01-13").tail(400).reset_index(drop=True)
    contract = elec_contract()
    artifact = session(to_onnx(elec_champion(), contract, tmp_path / "model.onnx"))
    one = rows[rows["_label"] == "UP"].reset_index(drop=True)
    found = permuted(artifact, one, contract, metric="roc_auc")
    assert found is not None
    assert found.metric == "accuracy"
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-3)
    classes = replace(contract, outputs={"prediction": contract.outputs["prediction"]},
                      probabilities={})
    assert permuted(artifact, rows, classes, metric="log_loss") == permuted(
        artifact, rows, contract, metric="accuracy")
    held = Importances("permutation", "roc_auc", 9, {"a": (math.nan, 0.0), "b": (0.1, 0.0)})
    assert held.shares == {"a": 0.0, "b": 1.0}, "as versions of before keep it"
