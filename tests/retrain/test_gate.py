"""The gate: words and numbers, no version forgotten, and compression only when it is proven."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monitor.conditions import Gate
from retrain.checks import Rules
from retrain.contract import default
from retrain.evaluate import Answers, Scores, answer, score, session
from retrain.export import to_onnx
from retrain.finetune import train
from retrain.gate import choose, gate
from retrain.prune import prune
from retrain.quantize import quantize
from retrain.trainer import Split
from tests.data import stream
from tests.retrain.real import ELEC, elec, elec_champion, elec_split
from tests.retrain.test_export import elec_contract


def scored(name: str, right: float, rows: int = 1400, seed: int = 0) -> Scores:
    """Four weeks of answers of which this share is right; the same rows for everyone."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(rows) < 0.5, "UP", "DOWN")
    times = pd.date_range("2026-01-01", periods=rows, freq=f"{28 * 86400 // rows}s")
    frame = pd.DataFrame({"_label": labels, "_timestamp": times})
    wrong = np.random.default_rng(seed).random(rows) >= right
    said = np.where(wrong, np.where(labels == "UP", "DOWN", "UP"), labels)
    return score(name, Answers(said, None, ("DOWN", "UP")), frame, contract=elec_contract(),
                 metrics=("accuracy",))


def test_a_better_candidate_passes_and_the_words_hold_the_numbers() -> None:
    result = gate(scored("new", 0.9), scored("version 3", 0.8), [scored("version 1", 0.7)],
                  rules=Rules("accuracy", 0.01))
    assert result.passed
    assert result.reason.startswith("Passed on the newest 1400 holdout rows.")
    assert "0.906 is 0.114 better than the 0.791 of version 3, the champion" in result.reason
    assert "0.687 of version 1, an earlier version" in result.reason
    assert [row["against"] for row in result.table] == ["version 3", "version 1"]


def test_average_precision_may_decide() -> None:
    """Real answers about bookings against the same, blurred; the table tells scikit-learn's
    numbers."""
    frame = stream("hotel_booking").iloc[30000:36000]
    share, truth = frame["y_pred_proba"].to_numpy(float), frame["is_canceled"].to_numpy()
    rows = pd.DataFrame({"_label": np.where(truth == 1, "UP", "DOWN"), "_timestamp": pd.date_range(
        "2026-01-01", periods=6000, freq="7min")})
    blurred = np.clip(share + np.random.default_rng(0).normal(0, 0.3, 6000), 0, 1)
    new, old = (score(name, Answers(np.where(given > 0.5, "UP", "DOWN"), np.stack(
        [1 - given, given], axis=1), ("DOWN", "UP")), rows, contract=elec_contract(),
        metrics=("average_precision",)) for name, given in (("new", share), ("old", blurred)))
    rules = Rules("average_precision", 0.01, Gate(ece_budget=None, log_loss_budget=None))
    passed, refused = gate(new, old, [], rules=rules), gate(old, new, [], rules=rules)
    assert passed.passed
    assert not refused.passed
    expected = [average_precision_score(truth, given) for given in (share, blurred)]
    assert [passed.table[0]["value"], passed.table[0]["other"]] == pytest.approx(expected)
    assert f"average_precision of {expected[0]:.3f}" in passed.reason


def test_a_candidate_that_gains_too_little_over_the_champion_is_refused() -> None:
    new, champion = scored("new", 0.83), scored("version 3", 0.80)
    refused = gate(new, champion, [], rules=Rules("accuracy", 0.1))
    assert not refused.passed
    assert "at least 0.100 better is asked" in refused.reason
    assert gate(new, champion, [], rules=Rules("accuracy", 0.01)).passed
    assert not gate(champion, new, [], rules=Rules("accuracy")).passed


def test_a_loss_that_is_borne_is_refused_where_it_surely_is_larger() -> None:
    """By the one-sided 95 % interval of the difference; without a loss that is borne by chance
    nobody is let pass."""
    champion, rules = scored("version 3", 0.80), Rules("accuracy", borne=0.02)
    little, much = scored("new", 0.77, seed=1), scored("new", 0.70, seed=1)
    passed, refused = (gate(item, champion, [], rules=rules) for item in (little, much))
    assert passed.table[0]["difference"] > 0.02
    assert passed.table[0]["low"] <= 0.02
    assert passed.passed
    assert passed.table[0]["level"] == pytest.approx(0.9)
    assert "the champion, not surely more than the 0.020 that is borne of newer" in passed.reason
    assert refused.table[0]["low"] > 0.02
    assert not refused.passed
    assert "the champion, surely more than the 0.020 that is borne" in refused.reason
    assert not gate(little, champion, [], rules=Rules("accuracy", 0.0)).passed


def test_nothing_worse_than_an_earlier_version_passes() -> None:
    result = gate(scored("new", 0.80), scored("version 3", 0.70),
                  [scored("version 2", 0.75), scored("version 1", 0.82)],
                  rules=Rules("accuracy", 0.01))
    assert not result.passed
    assert "version 1" in result.reason
    assert "version 2" not in result.reason


def test_few_rows_judge_nobody() -> None:
    result = gate(scored("new", 1.0, 50), scored("old", 0.1, 50), [],
                  rules=Rules("accuracy", 0.01))
    assert not result.passed
    assert "50 labelled rows" in result.reason


def test_without_a_champion_there_is_nobody_to_beat() -> None:
    assert gate(scored("new", 0.8), None, [], rules=Rules("accuracy", 0.01)).passed


def test_without_logged_scores_accuracy_decides_and_that_is_said() -> None:
    result = gate(scored("new", 0.9), scored("old", 0.8), [], rules=Rules("log_loss", 0.01))
    assert result.passed
    assert "log_loss needs scores that are not logged" in result.reason


def judged(folder: Path, day: str) -> dict[str, Scores]:
    """Answers about the newest four weeks at ``day`` by the very first version, one promoted in
    another season, and a candidate trained on the sixteen weeks before."""
    end = pd.Timestamp(day)

    def weeks(start: int, stop: int) -> pd.DataFrame:
        return elec(str(end - pd.Timedelta(weeks=start)), str(end - pd.Timedelta(weeks=stop)))

    versions = {"version 1": elec_champion(), "candidate": train(
        Split(weeks(20, 6), weeks(6, 4), weeks(4, 0)), ELEC)}
    promoted = Split(elec("1997-07-01", "1997-10-15"), elec("1997-10-15", "1997-11-01"),
                     elec("1997-11-01", "1997-12-01"))
    versions["version 2"] = train(promoted, ELEC)
    found = {}
    for name, fitted in versions.items():
        path = to_onnx(fitted, elec_contract(), folder / f"{name}.onnx")
        found[name] = score(name, answer(session(path), weeks(4, 0), elec_contract()),
                            weeks(4, 0), contract=elec_contract(), metrics=("accuracy",))
    return found


@pytest.mark.parametrize("day", ["1998-06-01", "1998-07-01", "1998-08-01"])
def test_on_elec2_no_candidate_worse_than_an_earlier_version_passes(
        tmp_path: Path, day: str) -> None:
    """In the winter of 1998 the season of the first training is back."""
    found = judged(tmp_path, day)
    values = {name: float(item.quality["accuracy"].value or 0) for name, item in found.items()}
    result = gate(found["candidate"], found["version 2"], [found["version 1"]],
                  rules=Rules("accuracy", 0.005))
    worse = values["candidate"] < max(values["version 1"], values["version 2"] + 0.005)
    assert result.passed == (not worse)
    assert values["version 1"] > values["candidate"], "the first model is best again"
    assert "version 1, an earlier version" in result.reason


def test_on_bikes_the_better_model_passes_with_its_groups_and_its_season() -> None:
    """Hours of rented bikes: boosted trees against a line, hour of the day as groups."""
    rows = stream("bike_sharing").rename(columns={"timestamp": "_timestamp", "cnt": "_label"})
    rows = rows.drop(columns=["casual", "registered"]).select_dtypes("number").assign(
        _timestamp=pd.to_datetime(rows["_timestamp"], utc=True), _label=rows["_label"])
    inputs = [name for name in rows if not str(name).startswith("_")]
    old, new = rows.iloc[:6000], rows.iloc[6000:6672].reset_index(drop=True)
    contract = default(new, "regression")

    def scores(name: str, made: Any) -> Scores:
        said = made.fit(old[inputs], old["_label"]).predict(new[inputs])
        return score(name, Answers(said, None, ()), new, contract=contract,
                     metrics=("mae", "rmse", "r2"))

    line = scores("version 1", make_pipeline(StandardScaler(), LinearRegression()))
    trees = scores("new", HistGradientBoostingRegressor(random_state=0))
    groups = {"workingday": new["workingday"].astype(str).to_numpy(object)}
    rules = Rules("mae", 0.05, Gate.model_validate({"season": "1d", "confidence": 0.95}), groups)
    passed = gate(trees, line, [], rules=rules)
    assert passed.passed, passed.reason
    assert "blocks of 1d" in passed.reason
    assert [row["where"] for row in passed.table if row["role"] == "slice"] == [
        "workingday=0", "workingday=1"]
    refused = gate(line, trees, [], rules=rules)
    assert not refused.passed
    assert [row["passed"] for row in refused.table] == [False, False, False]


def points(folder: Path, rows: pd.DataFrame) -> list[Scores]:
    found = []
    for share in (0.0, 0.3, 0.85):
        fitted = prune(elec_champion(), share)
        path = to_onnx(fitted, elec_contract(), folder / f"{share}.onnx")
        small = quantize(path, folder / f"{share}-int8.onnx", calibration=elec_split().train)
        for name, artifact in ((f"pruned {share}", path), (f"pruned {share} int8", small)):
            plain = score(name, answer(session(artifact), rows, elec_contract()), rows,
                          contract=elec_contract(), metrics=("accuracy",))
            found.append(plain.measured(size_bytes=artifact.stat().st_size, latency={}))
    return found


def test_the_cheapest_point_within_the_budget_is_taken(tmp_path: Path) -> None:
    found = points(tmp_path, elec_split().validation)
    choice = choose(found, reference=found[0], rules=Rules("accuracy"), budget=0.01)
    assert choice.scores.name == "pruned 0.0 int8"  # pruning without recovery costs too much
    assert "times smaller" in choice.reason
    assert [row["within"] for row in choice.table][-2:] == [False, False]


def test_too_few_rows_keep_it_uncompressed_and_that_is_said(tmp_path: Path) -> None:
    found = points(tmp_path, elec_split().validation.head(250))
    choice = choose(found, reference=found[0], rules=Rules("accuracy"), budget=0.01)
    assert choice.scores is found[0]
    assert "250 validation rows are too few" in choice.reason
    assert "300 are needed" in choice.reason


def test_no_budget_no_compression() -> None:
    one = scored("fp32", 0.9)
    assert choose([one], reference=one, rules=Rules("accuracy"), budget=0.0).scores is one


def sized(name: str, size: int, milliseconds: float) -> Scores:
    """The same answers, at this size and latency."""
    return replace(scored(name, 0.9), size_bytes=size, latency={1: milliseconds / 1000})


@pytest.mark.parametrize(("asked", "taken"), [
    ({}, "int8"), ({"max_latency": {1: 0.8}}, "pruned"), ({"max_size": 300}, "int8"),
    ({"max_latency": {1: 1.2}, "max_size": 1000}, "pruned"),
    ({"max_latency": {1: 0.1}}, "int8"), ({"max_latency": {1: 0.4}}, "tiny")])
def test_what_an_edge_asks_for_is_kept_before_what_is_cheapest(asked: dict[str, Any], taken: str
                                                             ) -> None:
    """Int8 is the cheapest and slower than before; where nothing is fast enough it is taken."""
    found = [sized("fp32", 1000, 1.0), sized("pruned", 500, 0.8), sized("int8", 200, 1.3),
             sized("tiny", 4000, 0.4)]
    rules = Rules("accuracy", asked=Gate.model_validate(asked))
    assert choose(found, reference=found[0], rules=rules, budget=0.01).scores.name == taken


def test_the_uncompressed_one_stays_where_it_alone_keeps_what_is_asked() -> None:
    found = [sized("fp32", 1000, 1.0), sized("int8", 200, 1.3)]
    rules = Rules("accuracy", asked=Gate.model_validate({"max_latency": {1: 1.1}}))
    choice = choose(found, reference=found[0], rules=rules, budget=0.01)
    assert choice.scores is found[0]
    assert choice.reason.endswith("keeps what is asked of size and latency.")
