"""Losses: how rarely a change is seen that is none, and how soon one that is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitor.config import Model
from monitor.degradation import degraded
from monitor.losses import changed, stream
from monitor.outcomes import SUMS, Outcomes, coarsened
from monitor.performance import measure
from monitor.window import EPOCH

DAY = timedelta(days=1)
SECONDS = 86_400
PAST = 28


def model(task: str = "binary", **policy: Any) -> Model:
    return Model.model_validate({
        "name": "m", "task": task, "log": {"source": "x", "timestamp": "t", "prediction": "p",
                                           "label": "y", "positive_label": "1"},
        "policy": {"alarm_budget": "1 per 30d", **policy}})


def days(rates: np.ndarray, per: int, rng: np.random.Generator, *, values: bool = False
         ) -> Outcomes:
    """Labelled rows a day, wrong with the day's rate; or off by that much on average."""
    made = Outcomes()
    for day, rate in enumerate(np.clip(rates, 0.001, None)):
        row = {"n": float(per)}
        if values:
            errors = rng.normal(0, rate * np.sqrt(np.pi / 2), per)
            row |= {"absolute": float(np.abs(errors).sum()), "squared": float((errors**2).sum())}
            made.cells[(day * SECONDS, "", "", -1)] = per
        else:
            wrong = int(rng.binomial(per, min(rate, 1.0)))
            made.cells[(day * SECONDS, "1", "0", -1)] = wrong
            made.cells[(day * SECONDS, "1", "1", -1)] = per - wrong
        made.sums[day * SECONDS] = tuple(row.get(name, 0.0) for name in SUMS)
    return made


def between(outcomes: Outcomes, first: int, last: int) -> Outcomes:
    return Outcomes({key: n for key, n in outcomes.cells.items()
                     if first * SECONDS <= key[0] < last * SECONDS},
                    {block: row for block, row in outcomes.sums.items()
                     if first * SECONDS <= block < last * SECONDS})


def wandering(count: int, rng: np.random.Generator, memory: float, spread: float) -> np.ndarray:
    found = np.zeros(count)
    for day in range(1, count):
        found[day] = memory * found[day - 1] + spread * np.sqrt(1 - memory**2) * rng.normal()
    return found


def findings(outcomes: Outcomes, settings: Model, last: int) -> list[bool]:
    """What is found at the end of each day after the reference, over 28 days at most."""
    reference = between(outcomes, 0, PAST)
    found = []
    for day in range(PAST + 1, last):
        newest = between(outcomes, max(PAST, day - 28), day)
        result = changed(reference, newest, settings, until=EPOCH + day * DAY, share=0.5)
        found.append(result is not None and result.found)
    return found


@pytest.mark.parametrize(("values", "memory"), [(False, 0.0), (False, 0.7), (True, 0.7)])
def test_false_findings_stay_within_the_budget(values: bool, memory: float) -> None:
    rng = np.random.default_rng(3)
    settings, opened, looked = model("regression" if values else "binary"), 0, 0
    for _ in range(6):
        rates = (0.2 + wandering(148, rng, memory, 0.02)) * (5 if values else 1)
        found = findings(days(rates, 100, rng, values=values), settings, 148)
        looked += len(found)
        opened += sum(now and not any(found[max(day - 3, 0):day])  # as episodes close
                      for day, now in enumerate(found))
    assert looked / 60 == pytest.approx(11.9, abs=0.1), "findings that the budget allows"
    assert opened <= 11


def test_a_change_is_found_sooner_than_by_the_pool() -> None:
    rng, settings = np.random.default_rng(4), model()
    stream_days, pool_days = [], []
    for _ in range(10):
        rates = 0.2 + wandering(60, rng, 0.5, 0.01)
        rates[35:] += 0.06
        outcomes = days(rates, 200, rng)
        stream_days.append(findings(outcomes, settings, 60).index(True) + PAST + 1 - 35)
        reference = measure(between(outcomes, 0, PAST), "accuracy", positive="1", block=DAY,
                            level=0.97)
        pool_days.append(next(day - 35 for day in range(36, 60) if degraded(
            measure(between(outcomes, day - 7, day), "accuracy", positive="1", block=DAY,
                    level=0.97), reference, metric="accuracy", drop=0.03)[0]))
    assert np.median(stream_days) <= np.median(pool_days)
    assert min(stream_days) > 0


def test_it_says_since_when_and_how_much() -> None:
    rng, settings = np.random.default_rng(5), model()
    rates = np.full(50, 0.2)
    rates[40:] = 0.35
    outcomes = days(rates, 300, rng)
    found = changed(between(outcomes, 0, PAST), between(outcomes, PAST, 50), settings,
                    until=EPOCH + 50 * DAY, share=0.5)
    assert found is not None
    assert found.found
    assert abs((found.since - EPOCH) / DAY - 40) <= 1
    assert found.value == pytest.approx(0.35, abs=0.03)
    assert found.reference == pytest.approx(0.2, abs=0.02)
    assert found.limit == 60
    assert found.words.startswith("error drift since 1970-02-1")


def test_the_newest_block_counts_once_it_is_whole() -> None:
    outcomes = days(np.full(10, 0.2), 100, np.random.default_rng(6))
    whole, part = (stream(outcomes, model(), until=EPOCH + span) for span in (
        10 * DAY, 10 * DAY - timedelta(hours=1)))
    assert whole is not None
    assert part is not None
    assert (len(whole.rows), len(part.rows)) == (10, 9)


def test_a_reference_in_longer_blocks_is_not_taken_for_a_calmer_one() -> None:
    rng, settings = np.random.default_rng(7), model()
    rates = 0.2 + wandering(140, rng, 0.0, 0.05)
    outcomes = days(rates, 500, rng)
    weekly = coarsened(between(outcomes, 0, 112), most=40)
    assert len(weekly.sums) <= 17
    newest = between(outcomes, 112, 140)
    fine, coarse = (changed(part, newest, settings, until=EPOCH + 140 * DAY, share=0.5)
                    for part in (between(outcomes, 0, 112), weekly))
    assert fine is not None
    assert coarse is not None
    assert not fine.found
    assert not coarse.found


def test_without_enough_nothing_is_said() -> None:
    outcomes = days(np.full(40, 0.2), 100, np.random.default_rng(8))
    few = between(outcomes, 0, 5)
    assert changed(few, outcomes, model(), until=EPOCH + 40 * DAY, share=0.5) is None
    assert changed(outcomes, Outcomes(), model(), until=EPOCH + 40 * DAY, share=0.5) is None
