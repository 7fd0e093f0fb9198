"""Mixtures: weights as statsmodels and scikit-learn fit them, and graphs that answer by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from monitor.errors import HoldfastError
from retrain.contract import Contract, default
from retrain.evaluate import Scores, answer, score
from retrain.mixture import PRIOR, Mixture, answered, joined, mixture
from retrain.recalibrate import Curve, bent
from retrain.runtime import session
from retrain.scikit import Scikit
from retrain.trainer import Options, Split
from tests.retrain.real import bikes, elec, insects


def scored(path: Path, frame: pd.DataFrame, contract: Contract) -> Scores:
    return score("it", answer(session(path), frame, contract), frame, contract=contract,
                 metrics=("r2" if contract.task == "regression" else "accuracy",))


def counted(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Half as much a week earlier."""
    days = (frame["_timestamp"].max() - frame["_timestamp"]).dt.total_seconds() / 86400
    return np.asarray(.5 ** (days / 7))


def models(data: Split, task: str, folder: Path, shares: Sequence[tuple[float, float]]
           ) -> tuple[list[Path], Contract]:
    """One small model for each stretch of the training rows."""
    classes = () if task == "regression" else tuple(sorted(data.train["_label"].unique()))
    contract = default(data.train, task, classes=classes,
                       positive=classes[-1] if task == "binary" else None)
    options, rows = Options(task, (), classes, settings={"trees": 15}), len(data.train)
    made = []
    for place, (start, end) in enumerate(shares):
        part = data.train.iloc[int(start * rows):int(end * rows)].reset_index(drop=True)
        fitted = Scikit().fresh(replace(data, train=part), options)
        made.append(Scikit().export(fitted, contract, folder / f"{place}.onnx"))
    return made, contract


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Contract, pd.DataFrame]:
    data = Split(elec("1997-01-01", "1997-05-01"), elec("1997-05-01", "1997-05-15"),
                 elec("1997-05-15", "1997-06-15"))
    paths, contract = models(data, "binary", tmp_path_factory.mktemp("market"),
                             [(0, .4), (.3, .7), (.6, 1)])
    return paths, contract, data.holdout


def test_two_classes_are_a_ridged_logistic_regression(
        market: tuple[list[Path], Contract, pd.DataFrame]) -> None:
    """The same weights as statsmodels, with the prior as its offset and penalty."""
    paths, contract, frame = market
    parts = [scored(path, frame, contract) for path in paths[1:]]
    found = mixture(parts, 2)
    assert min(found.weights) > 0  # inside, where no bound holds
    odds = np.stack([np.log(np.maximum(item.judged.share, 1e-3)) @ [-1, 1] for item in parts], 1)
    n, columns = len(frame), np.column_stack([odds, np.ones(len(frame))])
    theirs = sm.GLM(parts[0].judged.label, columns, family=sm.families.Binomial(),
                    offset=odds @ [.5, .5], freq_weights=counted(frame)).fit_regularized(
        L1_wt=0, alpha=np.array([PRIOR, PRIOR, PRIOR / 2]) / n)
    np.testing.assert_allclose(np.array(found.weights) - .5, theirs.params[:2], atol=2e-3)
    assert found.bias[1] - found.bias[0] == pytest.approx(theirs.params[2], abs=2e-3)


def test_values_are_a_ridge_regression(tmp_path: Path) -> None:
    data = bikes()
    paths, contract = models(data, "regression", tmp_path, [(0, .6), (.4, 1)])
    parts = [scored(path, data.validation, contract) for path in paths]
    found = mixture(parts, 2)
    label = parts[0].judged.label
    said = np.stack([item.judged.answer for item in parts], 1) / label.std()
    theirs = Ridge(alpha=PRIOR, fit_intercept=False).fit(
        said, label / label.std() - said @ [.5, .5], counted(data.validation)).coef_ + .5
    assert theirs.min() > 0
    np.testing.assert_allclose(found.weights, theirs, atol=1e-6)
    path = joined(paths, found, contract, tmp_path / "mixture.onnx")
    np.testing.assert_allclose(scored(path, data.holdout, contract).judged.answer, answered(
        found, [scored(item, data.holdout, contract) for item in paths], contract).predictions,
        rtol=1e-5)


def test_the_graph_answers_as_its_models_weighed(
        market: tuple[list[Path], Contract, pd.DataFrame], tmp_path: Path) -> None:
    """One of them is bent, and one has no weight and is left out."""
    paths, contract, frame = market
    curved = bent(paths[0], Curve(.5, (.2, -.2)), contract, tmp_path / "bent.onnx")
    sources, found = [curved, paths[1], paths[2]], Mixture((.7, 0., .4), (-.1, .1))
    path = joined(sources, found, contract, tmp_path / "mixture.onnx")
    told, wanted = scored(path, frame, contract), answered(
        found, [scored(item, frame, contract) for item in sources], contract)
    np.testing.assert_allclose(told.judged.share, wanted.probability, atol=1e-5)
    assert (told.predictions == wanted.predictions).mean() > .999
    assert "part1/" not in str(onnx.load(str(path)).graph)
    assert path.read_bytes() == joined(sources, found, contract,
                                       tmp_path / "again.onnx").read_bytes()


def test_many_classes_and_no_more_models_than_asked_for(tmp_path: Path) -> None:
    data = insects(3000)
    paths, contract = models(data, "multiclass", tmp_path, [(0, .5), (.2, .7), (.5, 1), (0, 1)])
    parts = [scored(path, data.validation, contract) for path in paths]
    found = mixture(parts, 2)
    assert len(found.taken) <= 2
    path = joined(paths, found, contract, tmp_path / "mixture.onnx")
    np.testing.assert_allclose(scored(path, data.validation, contract).judged.share,
                               answered(found, parts, contract).probability, atol=1e-5)


def test_a_wrong_model_gets_next_to_no_weight(
        market: tuple[list[Path], Contract, pd.DataFrame]) -> None:
    paths, contract, frame = market
    good = scored(paths[2], frame, contract)
    share = np.random.default_rng(0).permuted(good.judged.share[:, ::-1], axis=0)
    bad = replace(good, judged=replace(good.judged, share=1 - good.judged.share))
    found = mixture([good, bad], 8)
    assert found.weights[0] > 20 * found.weights[1]
    noise = replace(good, judged=replace(good.judged, share=share))
    found = mixture([good, noise], 8)
    assert found.weights[0] > 2 * found.weights[1]


def test_what_cannot_be_mixed_says_why(market: tuple[list[Path], Contract, pd.DataFrame],
                                       tmp_path: Path) -> None:
    paths, contract, frame = market
    few = [scored(path, frame.head(39), contract) for path in paths]
    with pytest.raises(HoldfastError, match="39 labelled rows are too few to weigh models by"):
        mixture(few, 8)
    silent = replace(few[0], name="version 4", judged=replace(few[0].judged, share=None))
    with pytest.raises(HoldfastError, match="version 4 give no probability of every class"):
        mixture([silent], 8)
    model = onnx.load(str(paths[0]))
    model.opset_import[0].version = 17
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(HoldfastError, match=r"foreign.onnx cannot stand beside other models"):
        joined([tmp_path / "foreign.onnx"], Mixture((1.,), (0., 0.)), contract, tmp_path / "x")
