"""Metrics against scikit-learn on the same rows, and intervals by their coverage."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from sklearn import metrics as sk

from monitor.outcomes import SCORE_CELLS, SUMS, Outcomes
from monitor.performance import (
    METRICS,
    METRICS_OF,
    Table,
    measure,
    measure_all,
    roc_auc_bound,
    tabulate,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RNG = np.random.default_rng(11)


def classes(guess: np.ndarray, label: np.ndarray, score: np.ndarray | None = None, *,
            positive: str = "1", every: int = 3600, per: int = 10) -> Outcomes:
    """Outcomes of rows in time order, ``per`` rows in a block of ``every`` seconds."""
    outcomes = Outcomes()
    for index, (one, two) in enumerate(zip(guess, label, strict=True)):
        block = index // per * every
        cell, loss, brier = -1, 0.0, 0.0
        if score is not None:
            hit = score[index] if str(two) == positive else 1 - score[index]
            cell = min(int(score[index] * SCORE_CELLS), SCORE_CELLS - 1)
            loss, brier = -np.log(hit), (1 - hit) ** 2
        key = (block, str(one), str(two), cell)
        outcomes.cells[key] = outcomes.cells.get(key, 0) + 1
        added = {"n": 1, "log_loss": loss, "brier": brier, "scored": score is not None}
        add(outcomes, block, added)
    return outcomes


def values(guess: np.ndarray, label: np.ndarray, *, every: int = 3600, per: int = 10) -> Outcomes:
    outcomes = Outcomes()
    for index, (one, two) in enumerate(zip(guess, label, strict=True)):
        block, error = index // per * every, one - two
        outcomes.cells[(block, "", "", -1)] = outcomes.cells.get((block, "", "", -1), 0) + 1
        add(outcomes, block, {"n": 1, "error": error, "absolute": abs(error), "squared": error**2,
                              "label": two, "label_squared": two**2,
                              "relative": abs(error / two)})
    return outcomes


def add(outcomes: Outcomes, block: int, row: dict[str, float]) -> None:
    before = outcomes.sums.get(block, (0.0,) * len(SUMS))
    outcomes.sums[block] = tuple(old + float(row.get(name, 0))
                                 for name, old in zip(SUMS, before, strict=True))


def value(outcomes: Outcomes, metric: str, positive: str | None = "1") -> float:
    found = measure(outcomes, metric, positive=positive, block=HOUR).value
    assert found is not None
    return found


LABEL = (RNG.random(800) < 0.4).astype(int)
SCORE = np.clip(RNG.beta(2, 3, 800) + 0.25 * LABEL, 0.01, 0.99)
GUESS = (SCORE > 0.5).astype(int)
BINARY = classes(GUESS, LABEL, SCORE)


def test_binary_metrics_equal_scikit_learn() -> None:
    assert value(BINARY, "accuracy") == pytest.approx(sk.accuracy_score(LABEL, GUESS))
    assert value(BINARY, "balanced_accuracy") == pytest.approx(
        sk.balanced_accuracy_score(LABEL, GUESS))
    assert value(BINARY, "precision") == pytest.approx(sk.precision_score(LABEL, GUESS))
    assert value(BINARY, "recall") == pytest.approx(sk.recall_score(LABEL, GUESS))
    assert value(BINARY, "f1") == pytest.approx(sk.f1_score(LABEL, GUESS))
    assert value(BINARY, "log_loss") == pytest.approx(sk.log_loss(LABEL, SCORE))
    assert value(BINARY, "brier") == pytest.approx(sk.brier_score_loss(LABEL, SCORE))


def test_rankings_equal_scikit_learn_on_the_cells_and_nearly_on_the_rows() -> None:
    cells = np.minimum((SCORE * SCORE_CELLS).astype(int), SCORE_CELLS - 1)
    assert value(BINARY, "roc_auc") == pytest.approx(sk.roc_auc_score(LABEL, cells))
    shuffled = [sk.average_precision_score(LABEL, cells + 0.9 * RNG.random(800))
                for _ in range(200)]
    error = np.std(shuffled) / np.sqrt(200)
    assert abs(value(BINARY, "average_precision") - np.mean(shuffled)) < 4 * error < 1e-3
    assert value(BINARY, "average_precision") == pytest.approx(
        sk.average_precision_score(LABEL, SCORE), abs=0.005)
    bound = roc_auc_bound(tabulate(BINARY, "1", 3600))
    assert abs(value(BINARY, "roc_auc") - sk.roc_auc_score(LABEL, SCORE)) <= bound < 0.02


def test_calibration_error_is_the_gap_between_score_and_rate() -> None:
    edges = np.minimum((SCORE * 10).astype(int), 9)
    expected = sum(abs((SCORE[edges == place] - LABEL[edges == place]).sum())
                   for place in range(10)) / len(LABEL)
    assert value(BINARY, "ece") == pytest.approx(expected, abs=0.005)


def test_multiclass_metrics_equal_scikit_learn_s_macro_averages() -> None:
    label = RNG.choice(list("abc"), 600, p=[0.6, 0.3, 0.1])
    guess = np.where(RNG.random(600) < 0.7, label, RNG.choice(list("abc"), 600))
    outcomes = classes(guess, label)
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score),
                           ("f1", sk.f1_score)):
        assert value(outcomes, name, None) == pytest.approx(function(label, guess,
                                                                     average="macro"))
    assert value(outcomes, "balanced_accuracy", None) == pytest.approx(
        sk.balanced_accuracy_score(label, guess))


def test_regression_metrics_equal_scikit_learn() -> None:
    label = RNG.normal(50, 10, 500)
    guess = label + RNG.normal(1, 3, 500)
    outcomes = values(guess, label)
    assert value(outcomes, "mae") == pytest.approx(sk.mean_absolute_error(label, guess))
    assert value(outcomes, "rmse") == pytest.approx(sk.root_mean_squared_error(label, guess))
    assert value(outcomes, "mape") == pytest.approx(
        sk.mean_absolute_percentage_error(label, guess))
    assert value(outcomes, "r2") == pytest.approx(sk.r2_score(label, guess))
    assert value(outcomes, "bias") == pytest.approx((guess - label).mean())


def test_the_value_lies_inside_its_interval_for_every_metric() -> None:
    for outcomes, task in ((BINARY, "binary"), (values(LABEL + SCORE, LABEL + 2.0), "regression")):
        for found in measure_all(outcomes, METRICS_OF[task], positive="1", block=HOUR, span="1d"):
            assert found.value is not None
            assert found.low is not None
            assert found.high is not None
            assert found.low <= found.value <= found.high
            assert found.span == "1d"


def test_what_rows_cannot_support_is_none_with_a_reason() -> None:
    few = classes(GUESS[:20], LABEL[:20])
    assert "20 labelled rows" in measure(few, "accuracy", positive="1", block=HOUR).reason
    ones = classes(np.ones(50, int), np.ones(50, int), np.full(50, 0.9))
    assert "one class" in measure(ones, "roc_auc", positive="1", block=HOUR).reason
    assert "one class" in measure(ones, "balanced_accuracy", positive="1", block=HOUR).reason
    unscored = classes(GUESS, LABEL)
    assert "score" in measure(unscored, "log_loss", positive="1", block=HOUR).reason
    assert "classes" in measure(values(SCORE, SCORE + 1), "accuracy", positive=None,
                                block=HOUR).reason
    assert measure(Outcomes(), "mae", positive=None, block=HOUR).value is None


def test_a_row_without_an_answer_is_wrong_but_no_class() -> None:
    guess = np.where(np.arange(100) < 10, "", LABEL[:100].astype(str))
    outcomes = classes(guess, LABEL[:100].astype(str))
    assert value(outcomes, "accuracy") == pytest.approx(0.9)
    assert value(outcomes, "precision") == 1.0


def test_few_blocks_fall_back_to_shorter_ones_then_to_wilson() -> None:
    short = measure(BINARY, "f1", positive="1", block=30 * DAY)
    assert "shorter blocks" in short.reason
    assert short.low is not None
    one = classes(GUESS[:100], LABEL[:100], per=100)
    wilson = measure(one, "accuracy", positive="1", block=DAY)
    assert "Wilson" in wilson.reason
    assert wilson.low is not None
    none = measure(one, "f1", positive="1", block=DAY)
    assert (none.low, none.high) == (None, None)
    assert "no interval" in none.reason


def test_all_correct_still_has_doubt() -> None:
    found = measure(classes(np.ones(200, int), np.ones(200, int)), "accuracy", positive="1",
                    block=HOUR)
    assert found.high == 1.0
    assert found.low == pytest.approx(0.981, abs=0.001)


def correlated(seed: int, days: int = 28, per: int = 24, memory: float = 0.9) -> np.ndarray:
    """Whether hourly rows are right, 80 % on average, with an autocorrelated difficulty."""
    rng = np.random.default_rng(seed)
    state, level = np.zeros(days * per), rng.normal()
    for index in range(state.size):
        level = memory * level + np.sqrt(1 - memory**2) * rng.normal()
        state[index] = level
    return (0.8**0.5 * state + 0.2**0.5 * rng.normal(size=state.size) < 0.8416).astype(int)


def test_intervals_cover_the_truth_on_autocorrelated_rows() -> None:
    """Nominal 95 %: blocks of a day keep it, rows would not (their interval covers about 60 %)."""
    covered = {"accuracy": 0, "mae": 0}
    runs = 200
    for seed in range(runs):
        right = correlated(seed)
        for metric, outcomes in (("accuracy", classes(right, np.ones_like(right), per=24,
                                                      every=86_400)),
                                 ("mae", values(2.0 - right, np.ones(right.size), per=24,
                                                every=86_400))):
            found = measure(outcomes, metric, positive="1", block=DAY)
            assert found.low is not None
            assert found.high is not None
            covered[metric] += found.low <= (0.8 if metric == "accuracy" else 0.2) <= found.high
    for count in covered.values():
        assert 0.91 <= count / runs <= 0.99


def test_metrics_of_many_blocks_are_each_by_itself() -> None:
    table = tabulate(BINARY, "1", 3600)
    left_out = table.without_each()
    for name in METRICS_OF["binary"]:
        alone = Table(left_out.sums[3:4], left_out.pairs[3:4], left_out.scores[3:4],
                      table.classes, table.positive)
        assert METRICS[name](left_out)[3] == pytest.approx(METRICS[name](alone)[0])
