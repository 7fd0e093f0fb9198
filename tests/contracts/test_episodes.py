"""The benchmarks count alarms as the product's decisions do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitor.decide import step
from monitor.judge import Verdict
from monitor.state import ModelState
from monitor.window import Window
from tests.benchmarks.counting import episodes, factor_for, lowest, rate
from tests.monitor.counted import model

START, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)


def verdict(place: int, drifted: bool, settled: bool) -> Verdict:
    window = Window(START + place * DAY, START + (place + 1) * DAY)
    inputs = "drifted" if drifted else "stable"
    return Verdict("m", "1", "", window, 0, window.end, window.end, "logged", 100, None, inputs,
                   inputs, "unknown", "", news=("inputs",), settled=settled)


@pytest.mark.parametrize("seed", range(5))
def test_episodes_open_where_the_decisions_say_alarm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    over, unsettled = rng.random(200) < 0.15, rng.random(200) < 0.2
    state, opened = ModelState(champion="1"), []
    for place in range(over.size):
        settled = not (over[place] or unsettled[place])
        state, decision = step(state, verdict(place, bool(over[place]), settled), model())
        opened += [place] if decision.action == "alarm" else []
    assert [first for first, _ in episodes(over, unsettled)] == opened


def test_a_factor_gives_the_rate_that_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    runs = [rng.exponential(size=200) for _ in range(20)]
    assert 0.009 < rate(runs, factor_for(runs, 0.01)) <= 0.01


def test_the_lower_bound_is_garwoods() -> None:
    assert [round(lowest(count), 4) for count in (0, 1, 10)] == [0.0, 0.0253, 4.7954]
