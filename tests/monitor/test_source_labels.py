"""The source on answers and labels: the same joint counts and losses on every backend."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from monitor.bins import SCORE_CELLS, AnswerBins, Bins
from monitor.config import Limits
from monitor.outcomes import SUMS, total
from monitor.profile import Profile
from monitor.source import Source
from tests.monitor.logs import Logs
from tests.monitor.sourced import (
    BINS,
    DAY,
    LATER,
    START,
    category,
    cells,
    counted,
    exact,
    full,
    keyed,
    logs,
    model,
    number,
    rows,
    times,
    whole,
)

__all__ = ["exact", "logs"]


def test_outcomes_hold_joint_counts_and_losses(logs: Logs) -> None:
    data = rows()
    with Source(full(logs.add(data)), Limits()) as source:
        outcomes = total(item.outcomes for item in counted(source, BINS))
    truth, score = data["y"] == "UP", data["s"]
    assert outcomes.n == 400
    right = sum(count for (_, said, was, _), count in outcomes.cells.items() if said == was)
    assert right == int((data["p"] == data["y"]).sum())
    losses = np.sum(list(outcomes.sums.values()), axis=0)
    expected = -np.log(np.clip(np.where(truth, score, 1 - score), 1e-15, 1)).sum()
    assert losses[1] == pytest.approx(expected, rel=1e-9)
    assert losses[2] == pytest.approx(((score - truth) ** 2).sum(), rel=1e-9)
    assert losses[-1] == 400


JOINT = AnswerBins("p", ("s",), ("DOWN", "UP"), "UP", False)


def answers(profile: Profile, bins: Bins) -> np.ndarray:
    """Answers by score cell; the last cell is for no score."""
    assert bins.answers is not None
    return profile.counts[bins.columns:].reshape(len(bins.answers.names), SCORE_CELLS + 1)


def test_answers_and_scores_are_counted_together_whether_labelled_or_not(logs: Logs) -> None:
    data = rows(300)
    data["p"] = [None if place < 5 else "MAYBE" if place < 12 else name
                 for place, name in enumerate(data["p"])]
    data["s"] = pa.array([None if place % 50 == 0 else 1.5 if place % 50 == 1 else 1.0
                          if place % 50 == 2 else value for place, value in enumerate(data["s"])])
    data["y"] = [name if place % 3 else None for place, name in enumerate(data["y"])]
    bins = Bins(BINS.features, JOINT)
    with Source(full(logs.add(data), segments=["c"]), Limits()) as source:
        increments = counted(source, bins)
        plain = counted(source, BINS)
    expected = np.zeros((4, SCORE_CELLS + 1), dtype=int)
    for name, value in zip(data["p"], data["s"].to_pylist(), strict=True):
        fine = value is not None and value <= 1
        expected[JOINT.place(name or ""), min(int(value * 100), 99) if fine else 100] += 1
    assert answers(whole(increments, bins), bins).tolist() == expected.tolist()
    assert sum(item.profile.counts[bins.columns:].sum() for item in increments
               if item.segment == "c=a") == (np.array(data["c"]) == "a").sum()
    assert whole(plain, BINS) == Profile(300, whole(increments, bins).counts[:bins.columns])
    labelled = total(item.outcomes for item in increments if not item.segment)
    for (_, guess, _, cell), count in labelled.cells.items():
        assert expected[JOINT.place(guess), cell] >= count


def test_answers_of_several_classes_stand_beside_the_score_of_the_class(exact: Logs) -> None:
    data = rows(300)
    data["p"] = np.array(list("abc"))[np.arange(300) % 3]
    for place, name in enumerate("abc"):
        data[f"s_{name}"] = np.full(300, .105 + .2 * place)
    item = AnswerBins("p", ("s_a", "s_b"), ("a", "b"), None, True)
    bins = Bins((), item)
    mapped = model(exact.add(data), prediction="p", label="y", task="multiclass",
                   score={"a": "s_a", "b": "s_b"})
    with Source(mapped, Limits()) as source:
        found = answers(whole(counted(source, bins), bins), bins)
    assert {(int(row), int(cell)): int(found[row, cell]) for row, cell in np.argwhere(found)} == {
        (2, 10): 100, (3, 30): 100, (1, 30): 100}  # of a class without a score: the largest one


def test_corrected_labels_take_the_old_value_back(logs: Logs) -> None:
    log = logs.add({"ts": times(.5, .6), "id": ["a", "b"], "p": ["UP", "UP"], "x": [0.0, 1.0]})
    labels = logs.add({"id": ["a", "a", "b", "z"], "value": ["UP", "DOWN", "UP", "UP"],
                       "when": times(1.5, 3.5, 1.5, 1.5)}, "labels")
    config = model(log, id="id", prediction="p", labels={
        **labels, "id": "id", "value": "value", "timestamp": "when"})
    bins = Bins((category("value", ("UP", "DOWN"), role="label"),))
    with Source(config, Limits()) as source:
        first = counted(source, bins, until=START + 3 * DAY)
        then = counted(source, bins, since=START + 3 * DAY, until=LATER)
        again = counted(source, bins)
    assert cells(whole(first, bins), bins, "label:value") == [0, 0, 0, 0, 2, 0]
    assert cells(whole(then, bins), bins, "label:value") == [0, 0, 0, 0, -1, 1]
    assert keyed(first + then) == keyed(again)
    told = total(item.outcomes for item in again)
    assert sorted(told.cells.values()) == [1, 1]
    assert told.n == 2


def test_errors_of_a_regression_are_summed(logs: Logs) -> None:
    rng = np.random.default_rng(2)
    truth, guess = rng.normal(100, 30, 300).round(3), rng.normal(100, 30, 300).round(3)
    source = logs.add({"ts": times(*rng.uniform(0, 9, 300)), "p": guess, "y": truth})
    config = model(source, task="regression", prediction="p", label="y")
    bins = Bins((number("y", role="label", low=0.0, high=200.0), number(
        "p", role="prediction", low=0.0, high=200.0, transform="asinh", scale=10.0)))
    with Source(config, Limits()) as opened:
        increments = counted(opened, bins)
    told = total(item.outcomes for item in increments)
    error = guess - truth
    sums = dict(zip(SUMS, np.sum(list(told.sums.values()), axis=0), strict=True))
    expected = {"n": 300, "error": error.sum(), "absolute": abs(error).sum(),
                "squared": (error ** 2).sum(), "label": truth.sum(),
                "label_squared": (truth ** 2).sum(), "relative": abs(error / truth).sum()}
    assert {name: sums[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert sum(cells(whole(increments, bins), bins, "label:y")) == 300


def test_several_classes_have_a_score_each(logs: Logs) -> None:
    rng = np.random.default_rng(3)
    chance = rng.dirichlet([1, 1, 1], 200).round(6)
    truth = rng.choice(["a", "b", "c"], 200)
    said = np.array(["a", "b", "c"])[chance.argmax(axis=1)]
    source = logs.add({"ts": times(*rng.uniform(0, 9, 200)), "p": said, "y": truth,
                       "pa": chance[:, 0], "pb": chance[:, 1], "pc": chance[:, 2]})
    config = model(source, task="multiclass", prediction="p", label="y",
                   score={"a": "pa", "b": "pb", "c": "pc"})
    with Source(config, Limits()) as opened:
        assert opened.features() == []
        told = total(item.outcomes for item in counted(opened, Bins((number("pa"),))))
    hit = chance[np.arange(200), ["abc".index(name) for name in truth]]
    losses = dict(zip(SUMS, np.sum(list(told.sums.values()), axis=0), strict=True))
    wanted = np.eye(3)[["abc".index(name) for name in truth]]
    assert losses["log_loss"] == pytest.approx(-np.log(np.clip(hit, 1e-15, 1)).sum(), rel=1e-9)
    assert losses["brier"] == pytest.approx(((chance - wanted) ** 2).sum(), rel=1e-9)
    assert sum(cell * n for (*_, cell), n in told.cells.items()) == int(
        np.floor(chance.max(axis=1) * 100 + 1e-9).sum())


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_come_and_change_at_random_add_up(exact: Logs, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [f"r{index}" for index in range(60)]
    seen, late = rng.uniform(0, 6, 60).round(4), rng.exponential(.5, 60).round(4)
    log = exact.add({"ts": times(*seen), "at": times(*(seen + late)), "id": ids, "x": seen})
    of, when = rng.integers(0, 70, 150), rng.uniform(0, 20, 150).round(4)
    value = rng.choice(["UP", "DOWN"], 150)
    labels = exact.add({"id": [f"r{index}" for index in of], "value": value,
                        "when": times(*when)}, "labels")
    config = model(log, id="id", ingested_at="at", prediction="id", labels={
        **labels, "id": "id", "value": "value", "timestamp": "when"})
    bins = Bins((category("value", ("UP", "DOWN"), role="label"),))
    with Source(config, Limits()) as source:
        steps = [counted(source, bins, since=START + (day - 1) * DAY, until=START + day * DAY)
                 for day in range(30)]
        assert keyed([item for step in steps for item in step]) == keyed(counted(source, bins))
    for day in (5, 9, 22):
        known = START + (day - 1) * DAY + timedelta(hours=1)
        newest = {}
        for index in np.argsort(when, kind="stable"):
            if START + when[index] * DAY < known and of[index] < 60:
                newest[of[index]] = value[index]
        newest = {index: label for index, label in newest.items()
                  if START + (seen + late)[index] * DAY < known
                  and START + (int(seen[index]) + 1) * DAY < known}
        told = total(item.outcomes for step in steps[:day + 1] for item in step
                     if item.known_at <= known)
        assert {said: label for (_, said, label, _) in told.cells} == {
            f"r{index}": str(label) for index, label in newest.items()}
