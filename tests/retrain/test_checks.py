"""What the gate asks beside the gain: laws, real groups, and words that hold their numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from monitor.conditions import Benchmark, Fairness, Gate
from retrain.checks import HARM, Check, Rules
from retrain.contract import Contract, default
from retrain.evaluate import Answers, Scores, score
from retrain.gate import ERROR, error_rate, gate, spent
from tests.data import stream

WEEKS = 8


def rows(n: int = 1600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "_label": rng.integers(0, 2, n), "x": rng.random(n),
        "_timestamp": pd.date_range("2026-01-01", periods=n, freq=f"{WEEKS * 7 * 24 * 60 // n}min",
                                    tz="UTC")})


ROWS = rows()
CONTRACT = default(ROWS, "binary", classes=(0, 1), positive=1)
GROUPS = np.array(["a", "b"], dtype=object)[np.arange(len(ROWS)) % 2]


def version(name: str, wrong: np.ndarray[Any, Any], frame: pd.DataFrame = ROWS,
            contract: Contract = CONTRACT, trust: float = 0.9) -> Scores:
    """Answers that are wrong on these rows, each told with this probability."""
    label = frame["_label"].to_numpy()
    said = np.where(wrong, 1 - label, label)
    share = np.where(said == 1, trust, 1 - trust)
    return score(name, Answers(said, np.stack([1 - share, share], axis=1), (0, 1)), frame,
                 contract=contract, metrics=("accuracy", "log_loss", "ece"))


def noise(share: float, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random(len(ROWS)) < share


def of(result: Any, role: str) -> list[dict[str, Any]]:
    return [row for row in result.table if row["role"] == role]


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 99), gain=st.floats(1e-15, 0.5),
       metric=st.sampled_from(["accuracy", "log_loss", "roc_auc", "ece"]))
def test_a_candidate_equal_to_the_champion_never_passes(share: float, seed: int, gain: float,
                                                        metric: str) -> None:
    one = version("new", noise(share, seed))
    assert not gate(one, replace(one, name="old"), [], rules=Rules(metric, gain)).passed


@settings(max_examples=30, deadline=None)
@given(ours=st.integers(0, 99), theirs=st.integers(0, 99), harm=st.floats(0, 0.6),
       columns=st.lists(st.integers(2, 5), min_size=1, max_size=4))
def test_one_more_declared_column_never_lets_a_refused_one_pass(
        ours: int, theirs: int, harm: float, columns: list[int]) -> None:
    hurt = noise(0.2, ours) | ((GROUPS == "a") & noise(harm, ours + 1))
    new, old = version("new", hurt & ~noise(0.1, 7)), version("old", noise(0.3, theirs))
    groups: dict[str, Any] = {"first": GROUPS}
    for place, kinds in enumerate(columns):
        groups[f"more {place}"] = np.array([str(n % kinds) for n in range(len(ROWS))], dtype=object)
    passed = [gate(new, old, [], rules=Rules("accuracy", 0.0, Gate(slice_budget=0.02),
                                             dict(list(groups.items())[:k]))).passed
              for k in range(len(groups) + 1)]
    assert passed == sorted(passed, reverse=True)


def test_a_group_that_is_surely_worse_refuses_the_rest() -> None:
    old = version("version 1", noise(0.3, 1))
    new = version("new", np.where(GROUPS == "a", noise(0.45, 2), noise(0.01, 3)))
    result = gate(new, old, [], rules=Rules("accuracy", 0.01, groups={"zone": GROUPS}))
    assert not result.passed
    assert of(result, "the champion")[0]["passed"]
    bad, good = of(result, "slice")
    assert (bad["where"], bad["passed"], good["where"], good["passed"]) == (
        "zone=a", False, "zone=b", True)
    assert "On zone=a (800 rows) its accuracy of 0.5" in result.reason
    assert bad["low"] > 0.05
    assert bad["level"] == pytest.approx(1 - 2 * HARM / 2 / 2)


def test_a_group_that_might_be_worse_does_not() -> None:
    """Four blocks of noise: the point is beyond the budget, the evidence is not."""
    old = version("old", noise(0.3, 1))
    week = ROWS["_timestamp"].dt.dayofyear.to_numpy() // 7
    hurt = np.where(week % 4 == 0, noise(0.9, 2), noise(0.2, 2))
    new = version("new", np.where(GROUPS == "a", hurt, noise(0.1, 3)))
    [row] = [row for row in of(gate(new, old, [], rules=Rules(
        "accuracy", 0.0, groups={"zone": GROUPS})), "slice") if row["where"] == "zone=a"]
    assert row["difference"] > row["allowed"] > row["low"]
    assert row["passed"]


def test_small_groups_are_told_and_not_judged() -> None:
    groups = GROUPS.copy()
    groups[:40] = "rare"
    result = gate(version("new", noise(0.1, 1)), version("old", noise(0.3, 2)), [],
                  rules=Rules("accuracy", 0.01, groups={"zone": groups}))
    assert result.passed
    assert "Kept: 2 slices, 1 calibration." in result.reason
    assert "Not judged: zone (1 groups hold fewer than 100 rows)." in result.reason


def test_the_rung_s_error_rate_widens_intervals_and_decides_where_confidence_is_asked() -> None:
    """On rows that are a little better: sure enough at first, not for a later look."""
    new, old = version("new", noise(0.29, 12)), version("old", noise(0.33, 32))
    sure = of(gate(new, old, [], rules=Rules("accuracy", 0.01)), "the champion")[0]["sure"]
    assert 0.9 < sure < 0.999
    asked = Rules("accuracy", 0.01, Gate(confidence=0.8))
    total = error_rate(asked.asked)
    assert total == pytest.approx(0.2)
    first = gate(new, old, [], rules=asked, level=spent(total, 1))
    late = gate(new, old, [], rules=asked, level=spent(total, 9))
    assert first.passed
    assert not late.passed
    assert "sure to be better, 99.96% is asked" in late.reason
    wide, wider = (of(item, "the champion")[0] for item in (first, late))
    assert wider["high"] - wider["low"] > wide["high"] - wide["low"]
    assert sum(spent(ERROR, rung) for rung in range(1, 60)) == pytest.approx(ERROR)


def test_few_blocks_are_said_to_be_few() -> None:
    month = ROWS["_timestamp"] < pd.Timestamp("2026-01-29", tz="UTC")
    frame = ROWS[month].reset_index(drop=True)
    new, old = (version(name, noise(share, 3)[month], frame) for name, share in
                (("new", 0.1), ("old", 0.2)))
    result = gate(new, old, [], rules=Rules("accuracy", 0.01))
    assert "4 blocks are few" in result.reason
    assert "4 blocks of 7d" in result.reason


# -- fairness

CENSUS = stream("employment_ma").head(30_000)


def census(name: str, said: np.ndarray[Any, Any]) -> Scores:
    frame = pd.DataFrame({"_label": CENSUS["employed"].to_numpy(), "_timestamp": pd.to_datetime(
        CENSUS["timestamp"], utc=True), "x": 0.0})
    contract = default(frame, "binary", classes=(0, 1), positive=1)
    return score(name, Answers(said, None, (0, 1)), frame, contract=contract, metrics=("accuracy",))


def rate(said: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> float:
    return float(said[mask].mean())


def test_gaps_are_those_that_fairlearn_defines() -> None:
    """The largest rate of a group less the smallest, by scikit-learn's counts."""
    said, sex = CENSUS["prediction"].to_numpy(), CENSUS["SEX"].astype(str).to_numpy(object)
    found, true = {}, {}
    for group in set(sex):
        (tn, fp), (fn, tp) = confusion_matrix(CENSUS["employed"][sex == group], said[sex == group])
        found[group], true[group] = (tp + fp) / (tn + fp + fn + tp), tp / (tp + fn)
    rules = Rules("accuracy", 0.0, Gate(fairness=[
        Fairness(column="SEX", ceiling=0.5),
        Fairness(column="SEX", measure="equal_opportunity_difference", ceiling=0.5)]),
        {"SEX": sex}, positive="1")
    parity, opportunity = of(gate(census("new", said), None, [], rules=rules), "fairness")
    assert parity["value"] == pytest.approx(max(found.values()) - min(found.values()), abs=1e-12)
    assert opportunity["value"] == pytest.approx(max(true.values()) - min(true.values()), abs=1e-12)


def test_a_gap_may_neither_exceed_its_ceiling_nor_grow() -> None:
    said, sex = CENSUS["prediction"].to_numpy(), CENSUS["SEX"].astype(str).to_numpy(object)
    better = CENSUS["employed"].to_numpy()
    unfair = np.where(sex == "1", np.maximum(said, better), np.minimum(said, better))
    rule = Fairness(column="SEX", ceiling=0.1, growth=0.02)
    rules = Rules("accuracy", 0.01, Gate(fairness=[rule]), {"SEX": sex}, positive="1")
    result = gate(census("new", unfair), census("version 1", said), [], rules=rules)
    assert of(result, "the champion")[0]["passed"]
    assert [row["passed"] for row in of(result, "fairness")] == [False, False]
    assert "demographic parity difference between the groups of SEX is 0." in result.reason
    assert "larger than that of version 1, at most 0.020 is allowed." in result.reason
    assert gate(census("new", better), census("version 1", said), [], rules=replace(
        rules, asked=Gate(fairness=[Fairness(column="SEX", ceiling=0.5)]))).passed


def test_a_declared_gap_that_cannot_be_measured_is_not_kept() -> None:
    rules = Rules("accuracy", 0.0, Gate(fairness=[Fairness(column="sex", ceiling=0.1)]),
                  {"sex": np.full(len(ROWS), "one", dtype=object)})
    result = gate(version("new", noise(0.1, 1)), None, [], rules=rules)
    assert not result.passed
    assert "between the groups of sex cannot be measured (fewer than two groups" in result.reason


# -- calibration, benchmarks, costs

def test_a_candidate_that_is_right_but_knows_less_well_how_sure_it_is_is_refused() -> None:
    old = version("version 1", noise(0.1, 1), trust=0.9)
    new = version("new", noise(0.05, 2), trust=0.6)
    result = gate(new, old, [], rules=Rules("accuracy", 0.01))
    assert not result.passed
    assert "Its calibration error of 0.3" in result.reason
    assert gate(new, old, [], rules=Rules("accuracy", 0.01, Gate(ece_budget=None))).passed


def test_a_larger_calibration_error_is_borne_where_the_probabilities_are_worth_more() -> None:
    old = version("version 1", noise(0.1, 1), trust=0.9)
    new = version("new", noise(0.05, 2), trust=0.8)
    result = gate(new, old, [], rules=Rules("accuracy", 0.01))
    [row] = of(result, "calibration")
    assert row["difference"] > 0.1 > row["allowed"] - row["other"]
    assert row["passed"]
    assert result.passed


def test_a_benchmark_has_a_floor_and_a_budget() -> None:
    new, old = version("new", noise(0.1, 1)), version("version 1", noise(0.3, 2))
    hard = {"hard": version("new", noise(0.5, 3))}, {"hard": version("version 1", noise(0.4, 4))}
    new, old = replace(new, golden=hard[0]), replace(old, golden=hard[1])
    rules = Rules("accuracy", 0.01, benchmarks=(Benchmark(name="hard", source="h", floor=0.7),))
    result = gate(new, old, [], rules=rules)
    assert [row["passed"] for row in of(result, "benchmark")] == [False, False]
    assert "On benchmark hard its accuracy is 0.499, 0.700 is asked." in result.reason
    assert "at most 0.010 worse is allowed." in result.reason
    assert gate(replace(new, golden=hard[1]), old, [], rules=replace(rules, benchmarks=(
        Benchmark(name="hard", source="h", floor=0.5),))).passed
    unknown = gate(replace(new, golden={}), old, [], rules=rules)
    assert "Benchmark hard was not passed: it was not measured on it." in unknown.reason


def test_size_and_latency_are_at_most_what_is_allowed() -> None:
    new = version("new", noise(0.1, 1)).measured(size_bytes=300_000, latency={1: 0.002})
    tight = Gate.model_validate({"max_size": "200KB", "max_latency": {1: 1.5, 256: 9}})
    result = gate(new, version("old", noise(0.3, 2)), [], rules=Rules("accuracy", 0.01, tight))
    assert "Its size is 3e+05 bytes, at most 2e+05 is allowed." in result.reason
    assert "Its latency is 2 ms of CPU at batch 1, at most 1.5 is allowed." in result.reason
    assert "Its latency is not measured ms of CPU at batch 256" in result.reason
    loose = Gate.model_validate({"max_size": 300_000, "max_latency": {1: 2}})
    assert gate(new, version("old", noise(0.3, 2)), [], rules=Rules("accuracy", 0.01, loose)).passed


def test_unknown_numbers_are_no_json_nan() -> None:
    found = Check("slice", "new", "old", "accuracy")
    assert (found.low, found.high, found.sure) == (None, None, None)
