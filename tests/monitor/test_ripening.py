"""Ripening: how long labels take, without taking the young for the unlabelled."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from monitor.ripening import MICRO, Arrival, ripening, summed
from monitor.window import EPOCH, parse_time

DAY = timedelta(days=1)
START = parse_time("2026-01-01")


def came(pane: datetime, known_at: datetime, rows: int, labelled: int) -> Arrival:
    """What became known of one pane."""
    return Arrival((pane - EPOCH) // DAY, (pane - EPOCH) // MICRO, (known_at - pane) // MICRO,
                   rows, labelled)


def arrivals(days: int, delays: np.ndarray, until: int) -> list[Arrival]:
    """A hundred rows a day; their labels come after these delays, in days."""
    found = []
    for day in range(days):
        pane = START + day * DAY
        found.append(came(pane, pane + DAY, 100, 0))
        for delay, count in zip(*np.unique(delays, return_counts=True), strict=True):
            if day + 1 + int(delay) <= until:
                found.append(came(pane, pane + DAY + int(delay) * DAY, 0, int(count)))
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
    items = [came(START, START + DAY, 10, 5), came(START, START + 3 * DAY, 0, -5),
             came(START, START + 3 * DAY, 0, 5), came(START, START + 4 * DAY, 0, 4)]
    curve = ripening(items, pane=DAY, until=START + 9 * DAY)
    assert curve is not None
    assert curve.shares == (0.5, 0.5, 0.9)


def test_panes_of_a_day_are_old_enough_together() -> None:
    """Hours of three days; labels come six hours later, the last ones are not there yet."""
    hour = timedelta(hours=1)
    items, until = [], START + 3 * DAY
    for place in range(72):
        pane = START + place * hour
        items.append(came(pane, pane + hour, 10, 0))
        if pane + 7 * hour <= until:
            items.append(came(pane, pane + 7 * hour, 0, 8))
    whole = summed(items)
    assert len(whole) == 6
    curve = ripening(whole, pane=hour, until=until)
    assert curve == ripening(items, pane=hour, until=until)
    assert curve is not None
    assert (curve.rows, curve.ages, curve.shares) == (720, (6 * hour,), (0.8,))


@pytest.mark.parametrize("items", [[], [came(START, START + DAY, 10, 0)]])
def test_without_labels_there_is_no_curve(items: list[Arrival]) -> None:
    assert ripening(items, pane=DAY, until=START + DAY) is None
