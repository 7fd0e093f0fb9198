"""scikit-learn's estimators: fitted, further fitted, made smaller, and the same in ONNX."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier

from monitor.errors import ContractError, HoldfastError
from monitor.kinds import ESTIMATORS
from retrain import boosting, estimator
from retrain.contract import Contract, class_codes, default
from retrain.estimator import Pipeline
from retrain.runtime import columns, session
from retrain.scikit import Scikit
from retrain.trainer import WEIGHT, Options, Split, Unsupported
from tests.retrain.real import bikes, elec, elec_split, hotel, insects
from tests.retrain.shop import request, shop, work

NAMES = tuple(ESTIMATORS)
INSECTS = (2, 3, 4, 5, 11, 12)  # the oldest rows hold no 4
SCIKIT = Scikit()


def asked(task: str, name: str, **more: object) -> Options:
    small = {"hist_gradient_boosting": {"trees": 24}, "random_forest": {"trees": 12}}
    categorical = {"binary": ("day",), "regression": ("hr", "weekday"), "multiclass": ()}
    return Options(task, categorical[task], settings={  # type: ignore[arg-type]
        "estimator": name, **small.get(name, {})}, **more)  # type: ignore[arg-type]


def few() -> Split:
    data = elec_split()
    return Split(data.train.tail(3000).reset_index(drop=True), data.validation, data.holdout)


@cache
def fitted(name: str) -> Pipeline:
    return SCIKIT.fresh(few(), asked("binary", name))


def accuracy(made: Pipeline, frame: pd.DataFrame) -> float:
    said = made.answer(frame).argmax(axis=1)
    return float(np.mean(said == class_codes(frame["_label"], made.classes)))


def agrees(made: Pipeline, contract: Contract, rows: pd.DataFrame, folder: Path) -> None:
    """The artifact answers these rows as scikit-learn does, nulls and the unseen included."""
    got = columns(session(SCIKIT.export(made, contract, folder / "m.onnx")), rows)
    expected = made.answer(rows)
    if made.task == "regression":
        np.testing.assert_allclose(got["prediction"], expected, rtol=1e-4, atol=0.1)
    elif made.task == "binary":
        np.testing.assert_allclose(got["probability"], expected[:, 1], atol=1e-5)
    else:
        shares = np.stack([got[f"probability_{value}"] for value in made.classes], axis=1)
        np.testing.assert_allclose(shares, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_and_a_category_of_numbers_in_onnx(tmp_path: Path, name: str) -> None:
    rows = elec("1998-06-01", "1998-07-01")  # two years on, joined market
    rows["nswprice"] = rows["nswprice"].mask(np.arange(len(rows)) % 5 == 0)
    rows["transfer"] = rows["transfer"].mask(np.arange(len(rows)) % 9 == 0, np.inf)
    rows["day"] = rows["day"].astype("int32").mask(np.arange(len(rows)) % 3 == 0, 99)
    agrees(fitted(name), default(few().train, "binary", classes=("DOWN", "UP")), rows, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_text_with_nulls_and_the_unseen_in_onnx(tmp_path: Path, name: str) -> None:
    data = hotel()
    made = SCIKIT.fresh(data, replace(asked("binary", name), categorical=()))
    rows = data.holdout
    rows.loc[::5, "country"] = "Atlantis"
    rows.loc[::4, "meal"] = None
    agrees(made, default(data.train, "binary", classes=(0, 1)), rows, tmp_path)
    assert made.loss < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_many_classes_one_of_them_absent(tmp_path: Path, name: str) -> None:
    data = insects(1500)
    made = SCIKIT.fresh(data, replace(asked("multiclass", name), classes=INSECTS))
    assert made.classes == INSECTS
    assert made.answer(data.holdout)[:, 2].max() < 0.05
    assert accuracy(made, data.holdout) > 0.5  # chance is 0.17
    turned = default(data.train, "multiclass", classes=INSECTS[::-1])
    agrees(made, turned, data.holdout, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_values(tmp_path: Path, name: str) -> None:
    data = bikes()
    made = SCIKIT.fresh(data, asked("regression", name))
    assert made.loss < 0.7  # 1 is the error of a constant
    agrees(made, default(data.train, "regression"), data.holdout, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_repeatable_to_the_last_byte(tmp_path: Path, name: str) -> None:
    contract = default(few().train, "binary", classes=("DOWN", "UP"))
    again = SCIKIT.fresh(few(), asked("binary", name))
    first = SCIKIT.export(fitted(name), contract, tmp_path / "a.onnx")
    second = SCIKIT.export(again, contract, tmp_path / "b.onnx")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_answers_the_same_and_can_go_on(tmp_path: Path, name: str) -> None:
    loaded = SCIKIT.load(SCIKIT.save(fitted(name), tmp_path / SCIKIT.file))
    rows = few().holdout
    np.testing.assert_array_equal(loaded.answer(rows), fitted(name).answer(rows))
    assert loaded.inputs == fitted(name).inputs
    contract = default(few().train, "binary", classes=("DOWN", "UP"))
    SCIKIT.export(loaded, contract, tmp_path / "m.onnx")  # tried on rows made up
    options = asked("binary", name)
    one, other = (SCIKIT.tuned(item, few(), options) for item in (loaded, fitted(name)))
    np.testing.assert_array_equal(one.answer(rows), other.answer(rows))


def test_a_saved_file_with_other_types_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / SCIKIT.file
    path.write_bytes(skops.io.dumps({"about": "{}", "estimator": Split(None, None, None)}))
    with pytest.raises(HoldfastError, match="is not loaded"):
        SCIKIT.load(path)


@pytest.mark.parametrize("name", NAMES)
def test_further_fitting_leaves_the_start_and_helps_on_newer_rows(name: str) -> None:
    newer = Split(elec("1997-06-01", "1997-07-15"), elec("1997-07-15", "1997-08-01"),
                  elec("1997-08-01", "1997-09-01"))
    before = fitted(name).answer(newer.holdout)
    tuned = SCIKIT.tuned(fitted(name), newer, asked("binary", name))
    np.testing.assert_array_equal(fitted(name).answer(newer.holdout), before)
    assert accuracy(tuned, newer.holdout) > accuracy(fitted(name), newer.holdout)


def test_boosting_goes_on_from_what_its_old_trees_really_say() -> None:
    """Zero new trees are the start itself; the first new tree lowers its loss on the new rows."""
    newer = elec("1997-06-01", "1997-07-15")
    start = fitted("hist_gradient_boosting")
    rows = estimator.rows(start.design, newer, task="binary", classes=start.classes)
    more = boosting.further(start.estimator, rows, rows, 1)
    kept = boosting.first(more, start.estimator.n_iter_)
    np.testing.assert_array_equal(kept.predict_proba(rows.matrix),
                                  start.estimator.predict_proba(rows.matrix))
    assert estimator.loss(more, rows) < estimator.loss(start.estimator, rows)


def test_boosting_stops_where_the_validation_rows_say() -> None:
    made = fitted("hist_gradient_boosting")
    data = few()
    chosen = estimator.rows(made.design, data.validation, task="binary", classes=made.classes)
    given = estimator.rows(made.design, data.train, task="binary", classes=made.classes)
    with estimator.one_thread():
        plain = HistGradientBoostingClassifier(max_iter=24, random_state=0, early_stopping=False
                                               ).fit(given.matrix, given.target)
    losses = [estimator.lost(said, chosen) for said in plain.staged_predict_proba(chosen.matrix)]
    assert made.loss == pytest.approx(min(losses[:made.estimator.n_iter_ + 12]), abs=1e-9)


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "random_forest"])
def test_a_share_of_the_trees_goes(tmp_path: Path, name: str) -> None:
    contract = default(few().train, "binary", classes=("DOWN", "UP"))
    small = SCIKIT.pruned(fitted(name), 0.5, few(), options=asked("binary", name))
    whole = SCIKIT.export(fitted(name), contract, tmp_path / "whole.onnx").stat().st_size
    assert SCIKIT.export(small, contract, tmp_path / "s.onnx").stat().st_size < 0.7 * whole
    assert accuracy(small, few().validation) > accuracy(fitted(name), few().validation) - 0.05


def test_what_a_kind_cannot_do_it_says(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no inner units"):
        SCIKIT.pruned(fitted("linear"), 0.5, few(), options=asked("binary", "linear"))
    with pytest.raises(Unsupported, match="no int8 form"):
        SCIKIT.quantized(tmp_path / "a", tmp_path / "b", calibration=few().train)
    with pytest.raises(Unsupported, match="cannot go on as"):
        SCIKIT.tuned(fitted("linear"), few(), asked("binary", "random_forest"))


@pytest.mark.parametrize("name", NAMES)
def test_once_more_on_all_rows_takes_as_many_rounds(name: str) -> None:
    """With validation rows among the training rows nothing else would stop it."""
    data, options = few(), asked("binary", name)
    whole = Split(pd.concat([data.train, data.validation]), data.validation, data.holdout)
    first = fitted(name)
    again = SCIKIT.fresh(whole, SCIKIT.capped(options, first))
    tuned = SCIKIT.tuned(first, data, options)
    more = SCIKIT.tuned(first, whole, SCIKIT.capped(options, tuned, first))

    def rounds(made: Pipeline) -> float:
        it = made.estimator
        return {"linear": lambda: it.C, "random_forest": lambda: len(it.estimators_),
                "hist_gradient_boosting": lambda: it.n_iter_}[name]()

    assert rounds(again) == rounds(first)
    assert rounds(tuned) <= rounds(more) <= rounds(tuned) + 1


@pytest.mark.parametrize("name", NAMES)
def test_weights_count_rows(name: str) -> None:
    data = few()
    up = (data.train["_label"] == "UP").to_numpy()
    heavy = replace(data, train=data.train.assign(**{WEIGHT: np.where(up, 20.0, 1.0)}))
    weighed = SCIKIT.fresh(heavy, asked("binary", name))
    plain = fitted(name).answer(data.holdout)[:, 1].mean()
    assert weighed.answer(data.holdout)[:, 1].mean() > plain + 0.1


def test_an_artifact_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    """Categorical splits convert silently wrong; here they are smuggled in."""
    made = replace(fitted("hist_gradient_boosting"))
    data = few()
    rows = estimator.rows(made.design, data.train, task="binary", classes=made.classes)
    steps = np.clip(np.floor(rows.matrix * 3 + 10), 0, 50)
    with estimator.one_thread():
        made.estimator = HistGradientBoostingClassifier(
            max_iter=3, categorical_features=[0, 1, 2], random_state=0).fit(steps, rows.target)
    path = tmp_path / "m.onnx"
    with pytest.raises(ContractError, match="otherwise than scikit-learn"):
        SCIKIT.export(made, default(data.train, "binary", classes=("DOWN", "UP")), path)
    assert not list(tmp_path.iterdir())


def test_neighbouring_single_floats_fall_on_the_right_side() -> None:
    """Between such there is no room: a threshold must not be rounded up to the larger one."""
    low = np.nextafter(np.float32(1.5), np.float32(2))
    high = np.nextafter(low, np.float32(2))
    rows = np.array([[low], [high]] * 20, dtype=np.float32)
    with estimator.one_thread():
        made = HistGradientBoostingClassifier(min_samples_leaf=1).fit(rows, [0, 1] * 20)
        before = made.predict_proba(rows)
        assert np.float32((float(low) + float(high)) / 2) == high  # so it would be
        estimator.settled(made)
        np.testing.assert_array_equal(made.predict_proba(rows), before)
    assert made._predictors[0][0].nodes["num_threshold"][0] == low


def test_settings_are_checked_in_words() -> None:
    with pytest.raises(HoldfastError, match="did you mean 'trees'"):
        SCIKIT.fresh(few(), Options("binary", settings={"treees": 3}))
    with pytest.raises(HoldfastError, match="'svm' is none"):
        SCIKIT.fresh(few(), Options("binary", settings={"estimator": "svm"}))




def test_a_whole_job_goes_on_from_the_champions_trees(tmp_path: Path) -> None:
    path = shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", kind="sklearn", ladder=["tune"],
                settings={"trees": 20})
    first, second = (request(path, "bootstrap", options={"report": False}),
                     request(path, "train", champion="1", options={"report": False}))
    assert work(first, tmp_path).version == "1"
    work(second, tmp_path)
    said = [(tmp_path / item.request_id / "log.txt").read_text() for item in (first, second)]
    assert "has no int8 form" in said[0]
    assert "version 1 fine-tuned on the rows of" in said[1]
