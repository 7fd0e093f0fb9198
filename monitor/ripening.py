"""Ripening: how long labels take, as the share of rows that have one by the age of their pane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from monitor.window import EPOCH, format_duration

MICRO = timedelta(microseconds=1)
DAY = timedelta(days=1) // MICRO
POINTS = 24
"""Points of a curve at most."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became known of a day's panes at one age: rows, and labels (less those taken back).

    ``day`` is counted from the epoch, ``newest`` the start of the last of these panes and ``age``
    the time from a pane's start to the checkpoint that knew, both in microseconds.
    """

    day: int
    newest: int
    age: int
    rows: int
    labelled: int


def summed(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """One per day and age, in order."""
    found: dict[tuple[int, int], Arrival] = {}
    for item in arrivals:
        held = found.get((item.day, item.age), Arrival(item.day, item.newest, item.age, 0, 0))
        found[item.day, item.age] = Arrival(
            item.day, max(item.newest, held.newest), item.age, item.rows + held.rows,
            item.labelled + held.labelled)
    return [found[key] for key in sorted(found)]


@dataclass(frozen=True, slots=True)
class Curve:
    """Share of rows with a label by age, from a pane's end to the checkpoint that knew of it.

    Of days whose panes are all old enough, so that young ones do not look like labels that never
    come.
    """

    rows: int
    ages: tuple[timedelta, ...]
    shares: tuple[float, ...]

    def reached(self, share: float) -> timedelta | None:
        """The age by which so many rows have their label; None where that was never seen."""
        return next((age for age, held in zip(self.ages, self.shares, strict=True)
                     if held >= share), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ages as durations; at most ``POINTS`` of them."""
        kept = sorted(set(np.linspace(0, len(self.ages) - 1, POINTS).round().astype(int).tolist()))
        half, most = self.reached(0.5), self.reached(0.9)
        return {"rows": self.rows, "half": half and format_duration(half),
                "most": most and format_duration(most), "final": self.shares[-1],
                "curve": [[format_duration(self.ages[place]), self.shares[place]]
                          for place in kept]}


def ripening(arrivals: Sequence[Arrival], *, pane: timedelta, until: datetime) -> Curve | None:
    """The curve of what was known up to ``until``; None where no row has a label yet."""
    rows: dict[int, int] = {}
    ends: dict[int, int] = {}
    length, last = pane // MICRO, (until - EPOCH) // MICRO
    for item in arrivals:
        rows[item.day] = rows.get(item.day, 0) + item.rows
        ends[item.day] = max(ends.get(item.day, 0), item.newest + length)
    held = [item for item in arrivals if item.labelled]
    if not held or not sum(rows.values()):
        return None
    ages = sorted({item.age - length for item in held})
    shares, best = [], 0.0
    for age in ages:
        old = {day for day, end in ends.items() if last - end >= age}
        total = sum(rows[day] for day in old)
        came = sum(item.labelled for item in held if item.day in old and item.age - length <= age)
        best = max(best, min(came / total, 1.0) if total else 0.0)
        shares.append(round(best, 4))
    return Curve(sum(rows.values()), tuple(age * MICRO for age in ages), tuple(shares))
