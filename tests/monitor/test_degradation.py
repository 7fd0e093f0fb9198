"""Degradation: worse by enough, and beyond doubt."""

from __future__ import annotations

import pytest

from monitor.degradation import change, degraded
from monitor.performance import Performance


def found(value: float, half: float, metric: str = "accuracy") -> Performance:
    return Performance(metric, value, value - half, value + half, 500, span="7d")


def test_degraded_asks_for_size_and_for_evidence() -> None:
    reference = found(0.9, 0.01)
    assert degraded(found(0.84, 0.02), reference, metric="accuracy", drop=0.03)[0]
    assert not degraded(found(0.88, 0.005), reference, metric="accuracy", drop=0.03)[0]
    worse, words = degraded(found(0.84, 0.08), reference, metric="accuracy", drop=0.03)
    assert not worse
    assert "doubt" in words
    assert not degraded(found(0.84, 0.03), found(0.9, 0.055), metric="accuracy", drop=0.03)[0]
    assert not degraded(found(0.95, 0.01), reference, metric="accuracy", drop=0.03)[0]


def test_errors_drop_by_a_share_of_the_reference() -> None:
    reference = found(200.0, 5, "mae")
    assert degraded(found(230.0, 10, "mae"), reference, metric="mae", drop=0.1)[0]
    assert not degraded(found(215.0, 2, "mae"), reference, metric="mae", drop=0.1)[0]


def test_degraded_without_a_value_says_why() -> None:
    nothing = Performance("accuracy", None, None, None, 3, reason="3 labelled rows")
    assert degraded(nothing, found(0.9, 0.01), metric="accuracy", drop=0.03) == (
        False, "accuracy cannot be compared: 3 labelled rows")


@pytest.mark.parametrize(("value", "half"), [
    (0.84, 0.02), (0.88, 0.005), (0.84, 0.08), (0.95, 0.01)])
def test_the_extent_of_a_change_is_one_where_it_begins_to_count(value: float, half: float) -> None:
    now, reference = found(value, half), found(0.9, 0.01)
    told = change(now, reference, metric="accuracy", drop=0.03)
    assert told is not None
    assert (told.extent > 1) == degraded(now, reference, metric="accuracy", drop=0.03)[0]


def test_a_change_without_an_interval_has_no_extent() -> None:
    alone = Performance("mae", 300.0, None, None, 500)
    told = change(alone, found(200.0, 5, "mae"), metric="mae", drop=0.1)
    assert told is not None
    assert (told.worse, told.extent) == (100.0, 0.0)
    assert change(Performance("mae", None, None, None, 3), alone, metric="mae", drop=0.1) is None
