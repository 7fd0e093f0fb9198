"""Surrogates: importances of versions that cannot be run, beside scikit-learn's."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance

from monitor.importance import Importances, surrogate
from tests.data import stream


def rows(n: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"strong": rng.normal(size=n), "weak": rng.exponential(size=n),
                          "name": rng.choice(["a", "b", "c"], n), "idle": rng.normal(size=n),
                          "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n), "h")})
    frame.loc[::17, "weak"] = np.nan
    frame["_score"] = 1 / (1 + np.exp(-2 * frame["strong"] - 0.5 * frame["weak"].fillna(0)
                                      - 1.0 * (frame["name"] == "a")))
    frame["_prediction"] = np.where(frame["_score"] > 0.5, "yes", "no")
    return frame


NAMES = ["strong", "weak", "name", "idle", "when"]


@pytest.mark.parametrize("answer", ["_score", "_prediction"])
def test_what_matters_is_told_from_what_does_not(answer: str) -> None:
    frame = rows().drop(columns={"_score", "_prediction"} - {answer})
    found = surrogate(frame, NAMES, "binary")
    assert found is not None
    assert found.kind == "surrogate"
    assert answer.removeprefix("_") in found.metric
    assert found.explained is not None
    assert found.explained > 0.5
    shares = found.shares
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert shares["strong"] > 0.7
    assert min(shares["weak"], shares["name"]) > 0.01 > max(shares["idle"], shares["when"])


def test_permutation_drops_are_twice_the_variance_of_what_a_feature_adds() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.integers(0, 4, 4000), "b": rng.integers(0, 4, 4000)})
    frame["_prediction"] = 3.0 * frame["a"] + 1.0 * frame["b"]
    found = surrogate(frame, ["a", "b"], "regression")
    assert found is not None
    whole = 9 * frame["a"].var() + frame["b"].var()
    for name, weight in (("a", 9), ("b", 1)):
        drop, error = found.drops[name]
        assert drop == pytest.approx(2 * weight * frame[name].var() / whole, rel=0.1)
        assert 0 < error < 0.1


def test_on_the_census_it_agrees_with_boosted_trees() -> None:
    frame = stream("employment_ma").iloc[::50].reset_index(drop=True)
    names = ["AGEP", "SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL", "SEX", "RAC1P"]
    frame = frame.rename(columns={"predicted_probability": "_score"})
    frame[names[1:]] = frame[names[1:]].astype(str)
    found = surrogate(frame[[*names, "_score"]], names, "binary")
    assert found is not None
    coded = frame[names].apply(lambda column: pd.Categorical(column).codes
                               if column.dtype == object or column.dtype == "str" else column)
    half = len(frame) // 2
    trees = HistGradientBoostingRegressor(random_state=0, max_iter=60).fit(
        coded[:half], frame["_score"][:half])
    theirs = permutation_importance(trees, coded[half:], frame["_score"][half:], n_repeats=3,
                                    random_state=0).importances_mean
    assert stats.spearmanr([found.drops[name][0] for name in names], theirs).statistic > 0.7
    best = max(found.drops, key=lambda name: found.drops[name][0])
    assert best in {names[place] for place in np.argsort(theirs)[-2:]}


def test_answers_that_it_cannot_repeat_have_no_importance() -> None:
    frame = rows()
    frame["_score"] = np.random.default_rng(2).random(len(frame))
    assert surrogate(frame, NAMES, "binary") is None
    assert surrogate(rows().head(100), NAMES, "binary") is None
    assert surrogate(rows().drop(columns=["_score", "_prediction"]), NAMES, "binary") is None
    assert surrogate(rows().assign(_score=1.0), NAMES, "binary") is None


def test_it_is_the_same_every_time_and_survives_json() -> None:
    found, again = surrogate(rows(), NAMES, "binary"), surrogate(rows(), NAMES, "binary")
    assert found == again
    assert found is not None
    assert Importances.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_many_columns_are_screened() -> None:
    frame = rows(1000)
    rng = np.random.default_rng(3)
    noise = pd.DataFrame(rng.normal(size=(1000, 300)), columns=[f"n{i}" for i in range(300)])
    found = surrogate(pd.concat([frame, noise], axis=1), [*NAMES, *noise], "binary")
    assert found is not None
    assert found.shares["strong"] > 0.5
    assert sum(share > 0 for share in found.shares.values()) <= 60


def test_gains_by_permutation_count_as_nothing() -> None:
    found = Importances("permutation", "accuracy", 100, {"a": (0.3, 0.01), "b": (-0.1, 0.02),
                                                         "c": (0.1, 0.01)})
    assert found.shares == {"a": 0.75, "b": 0.0, "c": 0.25}
