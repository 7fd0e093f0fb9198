"""Hindsight: degradations, missed ones, false alarms and delays of timelines made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.course import Alarm
from monitor.hindsight import Loss, Rule, alarmed, by_day, losses, noticed, worth
from monitor.outcomes import SUMS, Outcomes, total
from monitor.performance import measure

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH = 30 * DAY


def day(number: int, right: int, rows: int = 100) -> Outcomes:
    """A day on which so many of its rows were answered right; half of the labels are yes."""
    block = int((START + number * DAY).timestamp())
    sums = [0.0] * len(SUMS)
    sums[SUMS.index("n")] = rows
    half, wrong = rows // 2, rows - right
    return Outcomes({(block, "yes", "yes", -1): half - wrong // 2,
                     (block, "no", "yes", -1): wrong // 2,
                     (block, "no", "no", -1): rows - half - (wrong - wrong // 2),
                     (block, "yes", "no", -1): wrong - wrong // 2}, {block: tuple(sums)})


def days(*right: int) -> dict[datetime, Outcomes]:
    return by_day(day(place, value) for place, value in enumerate(right))


def wavering(level: int, count: int) -> list[int]:
    """Days about a level, so that blocks differ and an interval can be taken."""
    return [level + place % 3 - 1 for place in range(count)]


REFERENCE = measure(total(day(place, right) for place, right in enumerate(wavering(90, 30))),
                    "accuracy", positive="yes", block=DAY)
RULE = Rule("accuracy", REFERENCE, drop=0.03, rows=500, positive="yes", level=0.95)


def alarm(opened: int, closed: int | None = None, about: int | None = None) -> Alarm:
    return Alarm(START + (opened - 1 if about is None else about) * DAY, START + opened * DAY,
                 None if closed is None else START + closed * DAY, "1", "moved", START, "")


def test_a_drop_is_one_loss_between_its_change_points() -> None:
    (found,) = losses(days(*wavering(90, 40), *wavering(75, 20), *wavering(90, 40)), RULE)
    assert (found.start, found.end) == (START + 40 * DAY, START + 60 * DAY)
    assert found.value == pytest.approx(0.75, abs=0.005)
    assert found.n == 2000
    assert "reference 0.9" in found.words


def test_days_are_days_whatever_they_were_counted_in() -> None:
    week = total(day(place, 90) for place in range(7))
    assert by_day([week]) == days(*[90] * 7)
    assert by_day([]) == {}


def test_nothing_is_lost_without_a_drop_that_counts() -> None:
    assert losses(days(*wavering(90, 60)), RULE) == []
    assert losses(days(*wavering(88, 60)), RULE) == [], "two points are less than the drop"
    assert losses(days(*wavering(60, 5)), RULE) == [], "less than a week tells nothing"
    assert losses({}, RULE) == []
    unknown = replace(REFERENCE, value=None)
    assert losses(days(*wavering(60, 60)), replace(RULE, reference=unknown)) == []


def test_two_drops_far_apart_are_two_losses() -> None:
    found = losses(days(*wavering(90, 30), *wavering(75, 10), *wavering(90, 30),
                        *wavering(75, 10)), RULE)
    assert [(item.start - START) // DAY for item in found] == [30, 70]
    assert found[0].end <= found[1].start


def test_an_error_that_grows_is_a_loss_too() -> None:
    def errors(level: float, place: int) -> Outcomes:
        block = int((START + place * DAY).timestamp())
        sums = dict.fromkeys(SUMS, 0.0) | {"n": 100.0, "absolute": 100 * level}
        return Outcomes({}, {block: tuple(sums[name] for name in SUMS)})

    levels = [1 + place % 2 / 50 for place in range(30)] + [1.5 + place % 2 / 50
                                                           for place in range(15)]
    parts = [errors(level, place) for place, level in enumerate(levels)]
    reference = measure(total(parts[:30]), "mae", positive=None, block=DAY)
    rule = Rule("mae", reference, drop=0.1, rows=500, positive=None, level=0.95)
    assert rule.least == pytest.approx(0.101)
    (found,) = losses(by_day(parts), rule)
    assert found.start == START + 30 * DAY


@given(st.lists(st.integers(50, 100), max_size=40))
def test_losses_lie_within_the_days_and_never_overlap(right: list[int]) -> None:
    found = losses(days(*right), RULE)
    for item in found:
        assert START <= item.start < item.end <= START + len(right) * DAY
        assert item.value is None or item.value < 0.9
    for one, other in pairwise(found):
        assert one.end <= other.start


LOSS = Loss(START + 40 * DAY, START + 60 * DAY, 0.75, 2000, "")


def test_an_alarm_within_the_time_notices_and_its_delay_counts_from_the_start() -> None:
    (found,) = noticed([LOSS], [alarm(10, 20), alarm(47)], [], within=MONTH,
                       until=START + 100 * DAY)
    assert (found.fate, found.by, found.delay) == ("noticed", "alarm", 7 * DAY)


def test_an_alarm_that_was_open_already_notices_at_once() -> None:
    (found,) = noticed([LOSS], [alarm(10, 41)], [], within=MONTH, until=START + 100 * DAY)
    assert (found.fate, found.delay) == ("noticed", timedelta(0))


def test_a_retrain_covers_as_an_alarm_does() -> None:
    (found,) = noticed([LOSS], [alarm(60)], [START + 30 * DAY, START + 45 * DAY], within=MONTH,
                       until=START + 100 * DAY)
    assert (found.by, found.delay) == ("retrain", 5 * DAY)


@pytest.mark.parametrize(("until", "fate"), [(100, "missed"), (69, "undecided")])
def test_what_nothing_covers_in_time_is_missed_once_the_time_is_over(until: int, fate: str
                                                                     ) -> None:
    (found,) = noticed([LOSS], [alarm(10, 40), alarm(70)], [START + 39 * DAY], within=MONTH,
                       until=START + until * DAY)
    assert (found.fate, found.at, found.delay) == (fate, None, None)


@pytest.mark.parametrize(("opened", "closed", "about", "until", "worth_"), [
    (20, 25, 19, 200, "true"),       # the loss follows within a month
    (9, 12, 8, 200, "false"),        # it comes later than that
    (9, 45, 8, 200, "true"),         # ... while the alarm still lasts
    (67, 70, 60, 200, "true"),       # the window that it is about touches the loss by its pool
    (75, 80, 68, 200, "false"),      # the loss was over a week before
    (80, None, 79, 100, "undecided"),  # the span ends too soon to tell
])
def test_what_an_alarm_is_worth(opened: int, closed: int | None, about: int, until: int,
                                worth_: str) -> None:
    assert worth(alarm(opened, closed, about), [LOSS], within=MONTH,
                 until=START + until * DAY) == worth_


def test_the_share_of_time_in_alarm() -> None:
    end = START + 100 * DAY
    assert alarmed([alarm(10, 20), alarm(70)], START, end) == pytest.approx(0.4)
    assert alarmed([], START, end) == 0
