"""Ripening: how long labels take, as the share of rows that have one by the age of their pane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from monitor.window import format_duration

POINTS = 24
"""Points of a curve at most."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became known of a pane at one checkpoint: rows, and labels (less those taken back)."""

    pane: datetime
    known_at: datetime
    rows: int
    labelled: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Share of rows with a label by age, from a pane's end to the checkpoint that knew of it.

    Of panes that are old enough, so that young ones do not look like labels that never come.
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
    rows: dict[datetime, int] = {}
    for item in arrivals:
        rows[item.pane] = rows.get(item.pane, 0) + item.rows
    held = [item for item in arrivals if item.labelled]
    if not held or not sum(rows.values()):
        return None
    ages = sorted({item.known_at - item.pane - pane for item in held})
    shares, best = [], 0.0
    for age in ages:
        old = {start for start in rows if until - start - pane >= age}
        total = sum(rows[start] for start in old)
        came = sum(item.labelled for item in held
                   if item.pane in old and item.known_at - item.pane - pane <= age)
        best = max(best, min(came / total, 1.0) if total else 0.0)
        shares.append(round(best, 4))
    return Curve(sum(rows.values()), tuple(ages), tuple(shares))
