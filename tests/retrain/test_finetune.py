"""Training: in the league of boosted trees, repeatable, and unharmed by a kill."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.contract import class_codes
from retrain.finetune import Network, encode, probabilities, train
from retrain.trainer import Options, Split
from tests.retrain.real import ELEC, bikes, elec, elec_champion, elec_split, insects


class Killed(Exception):
    pass


def accuracy(fitted: Network, frame: pd.DataFrame) -> float:
    said = probabilities(fitted, frame).argmax(axis=1)
    return float(np.mean(said == class_codes(frame["_label"], fitted.spec.classes)))


def same_weights(a: Network, b: Network) -> bool:
    left, right = a.module.state_dict(), b.module.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def test_from_scratch_is_in_the_league_of_boosted_trees() -> None:
    """elec2 before and after the market was joined: within two points of HistGradientBoosting."""
    data, fitted = elec_split(), elec_champion()
    rows = pd.concat([data.train, data.validation])
    inputs = list(fitted.encoder.names)
    trees = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(
        rows[inputs], rows["_label"])
    for start, end in (("1996-12-28", "1997-02-13"), ("1998-09-02", "1998-12-05")):
        later = elec(start, end)
        assert accuracy(fitted, later) > trees.score(later[inputs], later["_label"]) - 0.02


def test_fine_tuning_beats_training_from_scratch_on_few_rows() -> None:
    few = Split(elec("1997-01-01", "1997-01-08"), elec("1997-01-08", "1997-01-12"),
                elec("1997-01-12", "1997-02-09"))
    tuned = train(few, ELEC, start=elec_champion())
    scratch = train(few, ELEC)
    assert accuracy(tuned, few.holdout) > accuracy(scratch, few.holdout)


def test_fine_tuning_learns_a_column_that_was_constant_before() -> None:
    after = Split(elec("1997-05-04", "1997-07-01"), elec("1997-07-01", "1997-07-15"),
                  elec("1997-07-15", "1997-08-15"))
    tuned = train(after, ELEC, start=elec_champion())
    scales = {column.name: column.scale for column in tuned.encoder.numeric}
    assert scales["vicprice"] > 0
    assert accuracy(tuned, after.holdout) > accuracy(elec_champion(), after.holdout) + 0.03


def replace_train(data: Split, rows: pd.DataFrame) -> Split:
    return Split(rows, data.validation, data.holdout)


@pytest.mark.parametrize("kind", ["scratch", "tune"])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(tmp_path: Path, kind: str) -> None:
    data = replace_train(elec_split(), elec_split().train.tail(2000))
    options = replace(ELEC, widths=(16, 32), epochs=5, patience=5)
    start = elec_champion() if kind == "tune" else None
    whole = train(data, options, start=start)
    epochs: list[int] = []

    def dies_twice(step: int, total: int, metrics: dict[str, float]) -> None:
        epochs.append(step)
        if len(epochs) in {2, 4}:
            raise Killed

    again = None
    while again is None:
        with suppress(Killed):
            again = train(data, options, start=start, checkpoints=Checkpoints(tmp_path),
                          progress=dies_twice)
    assert len(epochs) > 4
    assert same_weights(whole, again)
    assert whole.history == again.history


def test_a_checkpoint_of_other_rows_is_not_taken(tmp_path: Path) -> None:
    kept, options = Checkpoints(tmp_path), replace(ELEC, widths=(16,), epochs=2)
    data = elec_split()
    train(replace_train(data, data.train.head(500)), options, checkpoints=kept)
    fresh_run = train(replace_train(data, data.train.tail(500)), options)
    assert same_weights(
        train(replace_train(data, data.train.tail(500)), options, checkpoints=kept), fresh_run)


def test_rows_without_a_usable_label_are_left_out() -> None:
    frame = elec_split().train.head(10).copy()
    frame.loc[:3, "_label"] = None
    frame.loc[4, "_label"] = "SIDEWAYS"
    assert len(encode(elec_champion(), frame)) == 5
    with pytest.raises(HoldfastError, match="usable label"):
        encode(elec_champion(), frame.head(5))


def test_one_class_is_too_few() -> None:
    data = elec_split()
    flat = data.train[data.train["_label"] == "UP"].reset_index(drop=True)
    with pytest.raises(HoldfastError, match="at least two"):
        train(replace_train(data, flat), ELEC)


def test_many_classes() -> None:
    data = insects()
    classes = (2, 3, 4, 5, 11, 12)  # the oldest rows hold no 4
    fitted = train(data, Options("multiclass", classes=classes, widths=(32,), epochs=8))
    assert fitted.spec.classes == classes
    assert accuracy(fitted, data.holdout) > 0.5  # chance is 0.17


def test_values() -> None:
    data = bikes()
    fitted = train(data, Options("regression", categorical=("hr", "weekday"), widths=(64,),
                                 epochs=12))
    error = np.abs(probabilities(fitted, data.validation) - data.validation["_label"]).mean()
    flat = np.abs(data.train["_label"].median() - data.validation["_label"]).mean()
    assert error < 0.6 * flat
