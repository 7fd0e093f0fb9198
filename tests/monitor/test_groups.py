"""Gaps between groups against Fairlearn's numbers, and their intervals by coverage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from statsmodels.stats.proportion import confint_proportions_2indep

from monitor.groups import MEASURES, compare, holm, lay_out, measures, rates
from monitor.outcomes import SUMS, Outcomes
from tests.data import stream

DAY = timedelta(days=1)
SECONDS = 86_400


def counted(frame: pd.DataFrame) -> Outcomes:
    """Labelled rows with the columns day, guess and label."""
    made = Outcomes()
    for (day, guess, label), n in frame.groupby(["day", "guess", "label"]).size().items():
        made.cells[(int(day) * SECONDS, str(guess), str(label), -1)] = int(n)
    for day, n in frame.groupby("day").size().items():
        made.sums[int(day) * SECONDS] = tuple(float(n) if name == "n" else 0.0 for name in SUMS)
    return made


def by(frame: pd.DataFrame, column: str) -> dict[str, Outcomes]:
    return {str(name): counted(part) for name, part in frame.groupby(column, observed=True)}


@pytest.fixture(scope="module")
def census() -> pd.DataFrame:
    frame = stream("employment_ma")
    return pd.DataFrame({"day": (frame.timestamp - pd.Timestamp("1970-01-01")).dt.days,
                         "guess": frame.prediction, "label": frame.employed,
                         "sex": frame.SEX.astype(str), "race": frame.RAC1P.astype(str)})


# fairlearn 0.15.0 with scikit-learn 1.9.1 on employment_ma.parquet (race 4, 6 rows, left out):
# demographic_parity_difference(employed, prediction, sensitive_features=SEX) and so on
FAIRLEARN = {
    "sex": {"demographic_parity_difference": 0.0038290103816206456,
            "demographic_parity_ratio": 0.9928831768493463,
            "equal_opportunity_difference": 0.011342134641243673,
            "equalized_odds_difference": 0.05394302909364493},
    "race": {"demographic_parity_difference": 0.14407362472669705,
             "demographic_parity_ratio": 0.7386609706726923,
             "equal_opportunity_difference": 0.09597187786253847,
             "equalized_odds_difference": 0.09597187786253847},
}


@pytest.mark.parametrize("column", ["sex", "race"])
def test_gaps_equal_fairlearn_s(census: pd.DataFrame, column: str) -> None:
    groups = lay_out(column, by(census, column), positive="1", block=DAY)
    for measure, expected in FAIRLEARN[column].items():
        found = compare(groups, measure)
        assert found.value == pytest.approx(expected, rel=1e-12)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high


def test_the_sexes_are_as_far_apart_as_published_for_another_model(census: pd.DataFrame) -> None:
    groups = lay_out("sex", by(census, "sex"), positive="1", block=DAY)
    found = compare(groups, "accuracy_difference")
    assert found.value == pytest.approx(0.846 - 0.812, abs=2e-3)
    assert (found.lowest, found.highest) == ("2", "1")
    assert found.p is not None
    assert found.p < 1e-6


def test_rates_are_those_of_the_rows_and_ordered_as_published(census: pd.DataFrame) -> None:
    groups = lay_out("race", by(census, "race"), positive="1", block=DAY)
    selected = []
    for race in "129":
        part = census[census.race == race]
        one, two, three = rates(race, groups)
        assert one.value == pytest.approx(part.guess.mean(), abs=1e-12)
        assert two.value == pytest.approx(sk.recall_score(part.label, part.guess))
        assert three.value == pytest.approx(1 - sk.recall_score(1 - part.label, 1 - part.guess))
        selected.append(one.value)
    assert selected == sorted(selected, reverse=True)


def test_a_group_with_few_rows_is_left_out_by_name(census: pd.DataFrame) -> None:
    groups = lay_out("race", by(census, "race"), positive="1", block=DAY)
    found = compare(groups, "equal_opportunity_difference")
    assert "4" not in found.n_by_group
    assert found.reason == "left out for fewer than 30 rows of the positive class: 4 (3)"
    alone = compare(lay_out("race", {"4": by(census, "race")["4"]}, positive="1", block=DAY),
                    "demographic_parity_ratio")
    assert alone.value is None
    assert "fewer than two groups" in alone.reason


def rows(rng: np.random.Generator, selected: Sequence[float], *, days: int = 28, per: int = 60,
         shock: float = 0.0) -> dict[str, Outcomes]:
    """Groups that are selected at these rates, shifted by a common shock of each day."""
    common = np.zeros(days)
    for day in range(1, days):
        common[day] = 0.5 * common[day - 1] + shock * rng.normal()
    made = {}
    for place, rate in enumerate(selected):
        day = np.repeat(np.arange(days), per)
        guess = (rng.random(days * per) < np.clip(rate + common[day], 0, 1)).astype(int)
        made[f"g{place}"] = counted(pd.DataFrame({"day": day, "guess": guess,
                                                  "label": np.tile([0, 1], days * per // 2)}))
    return made


def test_intervals_of_two_groups_cover_what_they_promise() -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(200):
        groups = lay_out("g", rows(rng, (0.5, 0.4), shock=0.08), positive="1", block=DAY)
        found = compare(groups, "demographic_parity_difference")
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.1 <= found.high
    assert 0.91 <= covered / 200 <= 0.99


def test_intervals_of_many_groups_cover_together_and_no_gap_is_seen_where_none_is() -> None:
    rng, covered, seen = np.random.default_rng(6), 0, 0
    for _ in range(100):
        groups = lay_out("g", rows(rng, (0.4,) * 6, per=30), positive="1", block=DAY)
        found = compare(groups, "demographic_parity_ratio")
        assert found.high is not None
        assert found.p is not None
        covered += found.high >= 1 - 1e-12
        seen += found.p < 0.05
    assert covered >= 92
    assert seen <= 8


def test_a_common_shock_cancels() -> None:
    calm = rows(np.random.default_rng(7), (0.5, 0.4))
    shaken = rows(np.random.default_rng(7), (0.5, 0.4), shock=0.1)
    widths = []
    for part in (calm, shaken):
        found = compare(lay_out("g", part, positive="1", block=DAY),
                        "demographic_parity_difference")
        assert found.high is not None
        assert found.low is not None
        widths.append(found.high - found.low)
    alone, _, _ = rates("g0", lay_out("g", shaken, positive="1", block=DAY))
    assert alone.high is not None
    assert alone.low is not None
    assert widths[1] < 1.5 * widths[0] < alone.high - alone.low


def test_few_blocks_fall_back_to_newcombe_s_interval_of_rows() -> None:
    found = compare(lay_out("g", rows(np.random.default_rng(8), (0.5, 0.3), days=2, per=200),
                            positive="1", block=DAY), "demographic_parity_difference")
    counts = [sum(n for key, n in part.cells.items() if key[1] == "1")
              for part in rows(np.random.default_rng(8), (0.5, 0.3), days=2, per=200).values()]
    low, high = confint_proportions_2indep(counts[0], 400, counts[1], 400, method="newcomb")
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert "take rows as independent" in found.reason


def test_regression_compares_the_error_and_nothing_that_needs_classes() -> None:
    made = {}
    for name, loss in (("a", 1.0), ("b", 1.5)):
        made[name] = Outcomes({(day * SECONDS, "", "", -1): 20 for day in range(10)}, {
            day * SECONDS: tuple({"n": 20.0, "absolute": 20 * loss * (1 + day % 3 / 10)}.get(key, 0)
                                 for key in SUMS) for day in range(10)})
    assert measures("regression", "mae") == ("mae_difference",)
    groups = lay_out("g", made, positive=None, block=DAY)
    found = compare(groups, "mae_difference")
    assert found.value == pytest.approx(0.5 * np.mean([1 + day % 3 / 10 for day in range(10)]))
    assert found.low is not None
    assert found.low > 0.4
    assert "positive class" in compare(groups, "equalized_odds_difference").reason


def test_equal_groups_have_no_gap_whatever_their_order() -> None:
    one = rows(np.random.default_rng(9), (0.5,))["g0"]
    for measure in MEASURES:
        first, second = (compare(lay_out("g", {names[0]: one, names[1]: one}, positive="1",
                                         block=DAY), measure) for names in ("ab", "ba"))
        assert first.value == second.value == (1.0 if measure.endswith("ratio") else 0.0)
        assert first.low == second.low


def test_holm_keeps_the_share_of_false_findings() -> None:
    assert holm([0.01, 0.02, None, 0.04]) == [True, True, False, True]
    assert holm([0.02, 0.02, 0.04]) == [False, False, False]
