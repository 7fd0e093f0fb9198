"""Ripening: how long labels take, without taking the young for the unlabelled."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from monitor.ripening import Arrival, ripening
from monitor.window import parse_time

DAY = timedelta(days=1)
START = parse_time("2026-01-01")


def arrivals(days: int, delays: np.ndarray, until: int) -> list[Arrival]:
    """A hundred rows a day; their labels come after these delays, in days."""
    found = []
    for day in range(days):
        pane = START + day * DAY
        found.append(Arrival(pane, pane + DAY, 100, 0))
        for delay, count in zip(*np.unique(delays, return_counts=True), strict=True):
            if day + 1 + int(delay) <= until:
                found.append(Arrival(pane, pane + DAY + int(delay) * DAY, 0, int(count)))
    return found


def test_shares_by_age_are_those_of_panes_that_are_old_enough() -> None:
    delays = np.repeat([1, 2, 5, 9], [30, 30, 25, 10])  # five rows never get one
    curve = ripening(arrivals(30, delays, 30), pane=DAY, until=START + 30 * DAY)
    assert curve is not None
    assert curve.rows == 3000
    assert dict(zip(curve.ages, curve.shares, strict=True)) == {
        1 * DAY: 0.3, 2 * DAY: 0.6, 5 * DAY: 0.85, 9 * DAY: 0.95}
    assert (curve.reached(0.5), curve.reached(0.9), curve.reached(0.96)) == (2 * DAY, 9 * DAY, None)
    told = curve.to_dict()
    assert (told["half"], told["most"], told["final"]) == ("2d", "9d", 0.95)
    assert told["curve"] == [["1d", 0.3], ["2d", 0.6], ["5d", 0.85], ["9d", 0.95]]


def test_labels_that_are_taken_back_and_given_anew_count_once() -> None:
    items = [Arrival(START, START + DAY, 10, 5), Arrival(START, START + 3 * DAY, 0, -5),
             Arrival(START, START + 3 * DAY, 0, 5), Arrival(START, START + 4 * DAY, 0, 4)]
    curve = ripening(items, pane=DAY, until=START + 9 * DAY)
    assert curve is not None
    assert curve.shares == (0.5, 0.5, 0.9)


@pytest.mark.parametrize("items", [[], [Arrival(START, START + DAY, 10, 0)]])
def test_without_labels_there_is_no_curve(items: list[Arrival]) -> None:
    assert ripening(items, pane=DAY, until=START + DAY) is None
