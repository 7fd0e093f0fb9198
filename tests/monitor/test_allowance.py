"""Allowance: how often weights are fitted, and how long they rest."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.allowance import withheld
from monitor.config import Model
from monitor.window import isoformat, parse_time

DAY = timedelta(days=1)
START = parse_time("2026-03-01")


def model(**retrain: Any) -> Model:
    return Model.model_validate({
        "name": "m", "log": {"source": "x", "timestamp": "t", "prediction": "p", "label": "y"},
        "policy": {"retrain": retrain}, "training": {"kind": "torch"}})


@pytest.mark.parametrize(("fitted", "until"), [
    ([], {}),
    ([(-40, True)], {}),
    ([(-10, True)], {"rest": 20}),
    ([(-10, False)], {"vain": 20}),
    ([(-40, False)], {}),
    ([(-200, True), (-50, False), (-10, False)], {"vain": 20}),
    ([(-700, True), (-40, True), (-39, True), (-38, True)], {"spent": 20})])
def test_weights_rest_and_are_fitted_as_often_as_is_allowed(
        fitted: list[tuple[int, bool]], until: dict[str, int]) -> None:
    rules = model(**{"rest": "30d", "trainings": "1 per 60d"})
    times = [(START + days * DAY, came) for days, came in fitted]
    found = withheld(times, START - 800 * DAY, START, rules)
    assert found == {name: isoformat(START + days * DAY) for name, days in until.items()}


def test_an_allowance_of_none_is_never_there() -> None:
    never = model(**{"trainings": "0 per 360d"})
    assert "spent" in withheld([], START - 800 * DAY, START, never)


@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=60))
def test_no_stretch_holds_more_trainings_than_are_saved_and_come(
        asked: list[tuple[int, bool]]) -> None:
    rules = model(**{"rest": "1d", "trainings": {"times": 1, "per": "60d", "saved": 2}})
    fitted: list[tuple[datetime, bool]] = []
    for days, came in sorted(asked):
        if "spent" not in withheld(fitted, START, START + days * DAY, rules):
            fitted.append((START + days * DAY, came))
    for place, (first, _) in enumerate(fitted):
        for n, (last, _) in enumerate(fitted[place:], start=1):
            assert n <= 2 + (last - first) / (60 * DAY) + 1e-9
