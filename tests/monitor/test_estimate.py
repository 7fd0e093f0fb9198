"""Estimates without labels: right where chances hold, honest about doubt, refuted where not."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from scipy import special

from monitor.bins import SCORE_CELLS, AnswerBins, Bins
from monitor.chances import Tally, choose, tally
from monitor.estimate import ESTIMATED, Estimator, estimator
from monitor.outcomes import SUMS, Outcomes
from monitor.performance import measure
from tests.benchmarks import estimation
from tests.benchmarks.estimation import Rows

HOUR = timedelta(hours=1)
CHANCE = estimation.ITEM


def rows(n: int, rng: np.random.Generator, *, level: float = 0.0, bent: float = 1.0,
         turned: float = 0.0) -> Rows:
    """Rows of a model whose scores are bent: the chance is a function of the score.

    ``level`` moves the inputs, ``turned`` is the share of labels that became random.
    """
    truth = rng.normal(level, 2.0, n)
    label = (rng.random(n) < special.expit(truth)).astype(int)
    label = np.where(rng.random(n) < turned, rng.integers(0, 2, n), label)
    score = special.expit(bent * truth + (bent - 1))
    return Rows(label, (score > 0.5).astype(int), score, np.arange(n) * 60.0)


def learned(reference: Rows) -> Estimator:
    return estimation.taught(reference)


def test_cbpe_is_what_the_package_computes() -> None:
    """Numbers of NannyML 0.13.1: CBPE fitted to the first rows, the next chunks estimated."""
    pinned = {
        ("car_loan", 25_000, 1000): {
            "roc_auc": [0.9713994, 0.9716037], "f1": [0.9345649, 0.9474249],
            "accuracy": [0.938152, 0.9463476], "average_precision": [0.9637453, 0.9658878]},
        ("hotel_booking", 13_000, 1500): {
            "roc_auc": [0.8307117, 0.8599676], "f1": [0.1714568, 0.1767005],
            "accuracy": [0.8601424, 0.852824], "average_precision": [0.1691109, 0.1766218]},
    }
    streams = {stream.name: stream for stream in estimation.STREAMS}
    for (name, reference, size), expected in pinned.items():
        held = estimation.load(streams[name])
        cbpe = estimation.Cbpe(held.part(0, reference))
        assert cbpe.calibrates
        for index in range(2):
            start = reference + index * size
            found = cbpe.estimate(held.part(start, start + size))
            for metric, values in expected.items():
                assert found[metric] == pytest.approx(values[index], abs=5e-6)


def test_estimates_are_near_what_is_realized_and_as_near_as_cbpe_on_rows() -> None:
    found = estimation.windows(estimation.STREAMS[0], most=50)
    assert len(found) >= 4 * 50
    for _, part in found.groupby("metric"):
        error = estimation.errors(part)
        assert error["holdfast"] < 0.03
        assert error["difference"][0] < 0.02 * error["nannyml_cbpe"]


def test_the_interval_covers_what_is_realized() -> None:
    rng = np.random.default_rng(1)
    ours = learned(rows(6000, rng, bent=0.5))
    inside = dict.fromkeys(CLASSES, 0)
    for _ in range(150):
        window = rows(150, rng, bent=0.5, level=rng.normal(0, 0.5))
        real = outcomes_of(window)
        for item in ours.estimate(estimation.answers(window), CLASSES):
            truth = measure(real, item.metric, positive="1", block=HOUR).value
            assert item.estimated
            assert item.low is not None
            assert item.high is not None
            assert item.low <= item.value <= item.high
            inside[item.metric] += bool(item.low <= truth <= item.high)
    assert all(0.89 <= count / 150 <= 0.995 for count in inside.values()), inside


NONE = np.zeros(0, dtype=np.int64)
CLASSES = ESTIMATED[False]
outcomes_of = estimation.outcomes


def test_scores_are_calibrated_where_that_helps() -> None:
    rng = np.random.default_rng(2)
    window = rows(20_000, rng, bent=0.3, level=0.4)
    real = float((window.label == window.guess).mean())
    bent = learned(rows(6000, rng, bent=0.3))
    assert bent.curve != "score"
    assert bent.estimate(estimation.answers(window), ["accuracy"])[0].value == pytest.approx(
        real, abs=0.012)
    raw = np.where(window.guess == 1, window.score, 1 - window.score).mean()
    assert abs(raw - real) > 0.05  # what the scores themselves would have said
    few = tally(outcomes_of(rows(300, rng)), CHANCE)
    assert choose(few) in {"score", "logistic"}


def test_a_wider_level_is_a_wider_interval_and_the_same_counts_the_same_one() -> None:
    rng = np.random.default_rng(3)
    ours, counts = learned(rows(3000, rng)), estimation.answers(rows(300, rng))
    plain, sure = (ours.estimate(counts, ["accuracy"], level=level)[0] for level in (0.95, 0.999))
    assert sure.low < plain.low < plain.value == sure.value < plain.high < sure.high
    assert ours.estimate(counts, ["accuracy"])[0] == plain
    more = ours.estimate(counts * 20, ["accuracy"])[0]
    assert more.high - more.low < 0.4 * (plain.high - plain.low)


def test_what_cannot_be_estimated_is_unknown_with_the_reason() -> None:
    rng = np.random.default_rng(4)
    ours = learned(rows(3000, rng))
    few, = ours.estimate(estimation.answers(rows(29, rng)), ["accuracy"])
    assert (few.value, few.low, few.n) == (None, None, 29)
    assert "at least 30" in few.reason
    odd, = ours.estimate(estimation.answers(rows(100, rng)), ["ece"])
    assert odd.value is None
    assert "not estimated" in odd.reason
    sure = rows(200, rng, level=-30.0)
    auc, right = ours.estimate(estimation.answers(sure), ["roc_auc", "accuracy"])
    assert auc.value is None
    assert "one class" in auc.reason
    assert right.value > 0.97
    assert estimator(CHANCE, Outcomes()) is None
    assert estimator(None, outcomes_of(sure)) is None


def test_labels_that_no_longer_follow_the_scores_refute_the_estimate() -> None:
    rng = np.random.default_rng(5)
    ours = learned(rows(5000, rng))
    wrong = 0
    for trial in range(60):
        turned = 0.4 if trial >= 40 else 0.0
        pool = outcomes_of(rows(1000, rng, level=0.3, turned=turned))
        real = measure(pool, "accuracy", positive="1", block=HOUR)
        check = ours.check(pool, NONE, real, level=0.99)
        assert check.low < check.high
        if trial >= 40:
            assert check.state == "invalid"
            assert "concept drift" in check.reason
        else:
            wrong += check.state == "invalid"
    assert wrong <= 2
    odd = ours.check(pool, NONE, measure(pool, "ece", positive="1", block=HOUR), level=0.99)
    assert odd.state == "unknown"


def several(n: int, rng: np.random.Generator, mix: float = 1.0) -> tuple[Outcomes, np.ndarray]:
    """Outcomes and joint counts of three classes, each with a score of its own."""
    logits = rng.normal(0, 1.5, (n, 3)) + np.array([mix, 0, 0])
    chance = special.softmax(logits, axis=1)
    label = (rng.random((n, 1)) > np.cumsum(chance, axis=1)).sum(axis=1).clip(0, 2)
    score = special.softmax(0.6 * logits, axis=1)
    guess = score.argmax(axis=1)
    cell = np.minimum((score.max(axis=1) * SCORE_CELLS).astype(int), SCORE_CELLS - 1)
    found, counts = Outcomes(), np.zeros((5, SCORE_CELLS + 1), dtype=np.int64)
    np.add.at(counts, (guess + 2, cell), 1)
    for index in range(n):
        key = (index // 50 * 3600, "abc"[guess[index]], "abc"[label[index]], int(cell[index]))
        found.cells[key] = found.cells.get(key, 0) + 1
        before = found.sums.get(key[0], (0.0,) * len(SUMS))
        found.sums[key[0]] = (before[0] + 1, *before[1:])
    return found, counts.ravel()


def test_several_classes_are_estimated_by_macro_averages() -> None:
    rng = np.random.default_rng(6)
    item = AnswerBins("p", ("a", "b", "c"), ("a", "b", "c"), None, True)
    ours = estimator(item, several(6000, rng)[0])
    assert ours is not None
    inside = dict.fromkeys(ESTIMATED[True], 0)
    for _ in range(80):
        real, counts = several(300, rng, mix=rng.uniform(0, 2))
        for found in ours.estimate(counts, ESTIMATED[True]):
            truth = measure(real, found.metric, positive=None, block=HOUR).value
            inside[found.metric] += bool(found.low <= truth <= found.high)
    assert all(count >= 68 for count in inside.values()), inside
    loss, = ours.estimate(counts, ["log_loss"])
    assert loss.value is None


def test_rows_without_a_score_or_an_answer_take_the_usual_chance() -> None:
    rng = np.random.default_rng(7)
    held = outcomes_of(rows(4000, rng))
    for place in range(400):
        key = (place * 3600, "1", str(int(place % 4 == 0)), -1)
        held.cells[key] = held.cells.get(key, 0) + 1
    ours = estimator(CHANCE, held)
    assert ours is not None
    counts = np.zeros((4, SCORE_CELLS + 1), dtype=np.int64)
    counts[CHANCE.place("1"), SCORE_CELLS] = 2000
    found, auc = ours.estimate(counts.ravel(), ["accuracy", "roc_auc"])
    assert found.value == pytest.approx(0.25, abs=0.03)
    assert auc.value is None
    counts[:] = 0
    counts[0, 10] = 500
    assert ours.estimate(counts.ravel(), ["accuracy"])[0].value == 0.0


def test_cells_of_answers_travel_with_the_bins_and_are_no_column() -> None:
    bins = Bins((), CHANCE)
    assert Bins.from_dict(bins.to_dict()) == bins
    assert (bins.columns, bins.size) == (0, 4 * (SCORE_CELLS + 1))
    assert not bins.slices


def test_errors_beyond_chance_are_found_once_for_the_same_reference(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick reads its baseline anew; what the reference shows stays what it was."""
    reference, other = (rows(3000, np.random.default_rng(seed), bent=1.1) for seed in (51, 52))
    found, looked = learned(reference).excess, []
    fresh = Estimator._excess

    def look(self: Estimator, tally: Tally) -> list[float]:
        looked.append(tally)
        return fresh(self, tally)

    monkeypatch.setattr(Estimator, "_excess", look)
    assert learned(reference).excess == found
    assert not looked
    assert learned(other).excess != found
    assert looked
