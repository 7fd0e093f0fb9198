"""What is known of panes at any checkpoint, asked for in any order."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.archive import Packed
from monitor.bins import Bins, NumericBins
from monitor.increments import Increment
from monitor.ledger import Ledger
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.window import Calendar, Window, parse_time

HOUR = timedelta(hours=1)
START = parse_time("2026-03-01")
BINS = Bins((NumericBins("x", "feature", "numeric", "linear", 0.0, 1.0, 0.0, 1.0, 4, ()),))
PANE = Window(START, START + HOUR)


def labels(n: int, known: int, version: str = "1") -> Increment:
    """Labels of the first pane that became known so many hours later."""
    at = int(START.timestamp())
    return Increment(START, START + known * HOUR, version, "", Profile.empty(BINS), Outcomes(
        {(at, "yes", "yes", 3): n}, {at: (float(n), *[0.0] * 9)}))


def test_labels_are_those_known_at_the_checkpoint_whatever_was_asked_before() -> None:
    held = [labels(5, 1), labels(2, 24), labels(7, 24, "2"), labels(-1, 48)]
    expected = {0: 0, 1: 5, 23: 5, 24: 7, 47: 7, 48: 6}
    for order in (list(expected), list(reversed(expected))):
        ledger = Ledger(Calendar(HOUR, HOUR, timedelta(0), 7 * 24 * HOUR), BINS, held)
        for hours in [*order, *order]:
            found = ledger.outcomes(PANE, START + hours * HOUR, "1")
            assert found.n == sum(found.cells.values()) == expected[hours]
            assert ledger.outcomes(PANE, START + hours * HOUR, "2").n == (7 if hours >= 24 else 0)
            assert ledger.outcomes(PANE, START + hours * HOUR, "3") == Outcomes()


def test_what_a_store_holds_is_unpacked_when_it_is_asked_for() -> None:
    item, bad = labels(5, 1), b"no counts"
    packed = Packed(item.pane, item.known_at, "1", "", (bad, item.outcomes.pack()))
    ledger = Ledger(Calendar(HOUR, HOUR, timedelta(0), 7 * 24 * HOUR), BINS, [packed])
    assert ledger.outcomes(PANE, START + HOUR, "1") == item.outcomes
    assert packed.outcomes is packed.outcomes
    with pytest.raises(zlib.error):
        ledger.inputs(PANE, START + HOUR)


def test_only_panes_that_hold_something_are_gone_through() -> None:
    starts = [START + hours * HOUR for hours in (0, 1, 500)]
    ledger = Ledger(Calendar(HOUR, HOUR, timedelta(0), 7 * 24 * HOUR), BINS,
                    [replace(labels(5, 1), pane=start) for start in starts])

    def held(start: float, end: float) -> list[float]:
        return [(pane.start - START) / HOUR for pane in ledger.held(
            Window(START + start * HOUR, START + end * HOUR))]

    assert held(-99, 999) == [500, 1, 0]
    assert held(1, 500) == [1], "half-open"
    assert held(1.5, 500.5) == [500, 1], "panes that the span cuts through are part of it"
    assert held(2, 500) == []
