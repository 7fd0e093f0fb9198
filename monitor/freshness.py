"""Freshness: whether a log still grows, and whether its labels still come, at a window's close."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.config import Model
from monitor.faults import Fault
from monitor.norms import Norms
from monitor.window import Window, format_duration, isoformat

HALF = 0.5
"""Share of the reference's labelled rows under which labels are late beyond ``maturity.delay``."""
FEW = 20
"""Rows from which on the share of labelled ones says something."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the log was when the window closed: its newest pane with rows, and how long it may be
    silent. ``newest`` is None where no row was known for longer than is looked back."""

    newest: datetime | None
    limit: timedelta
    declared: bool
    age: timedelta | None

    @property
    def stale(self) -> bool:
        return self.age is None or self.age > self.limit


def freshness(model: Model, norms: Norms, window: Window, newest: datetime | None) -> Freshness:
    """``newest`` is the end of the newest pane with rows; silence is counted to the window's end.

    Without ``log.freshness`` the log may be silent for as long as the reference ever was, plus a
    window.
    """
    declared = model.log.freshness
    limit = declared or (norms.silence + 1) * model.calendar.length
    return Freshness(newest, limit, declared is not None,
                     None if newest is None else max(window.end - newest, timedelta(0)))


def staleness(fresh: Freshness) -> Iterator[Fault]:
    """A log that is silent for too long: a fault where that was declared, else a warning."""
    if not fresh.stale:
        return
    since = "for longer than is looked back" if fresh.newest is None else (
        f"since {isoformat(fresh.newest)}")
    source = "declared is" if fresh.declared else "the reference never was for more than"
    yield Fault("freshness", "", "fault" if fresh.declared else "warning",
                f"the log is stale: no row {since} ({source} {format_duration(fresh.limit)})",
                None if fresh.age is None else fresh.age.total_seconds(),
                fresh.limit.total_seconds())


def lateness(model: Model, window: Window, known_at: datetime, *, share: float | None,
             usual: float, rows: int) -> Iterator[Fault]:
    """Labels that are absent when ``maturity.delay`` has passed, as the reference's were not."""
    overdue = known_at >= window.end + model.maturity.delay
    if not overdue or share is None or rows < FEW or share >= HALF * min(usual, 1.0):
        return
    yield Fault("labels", "", "warning", f"{share:.1%} of the rows have a label "
                f"{format_duration(model.maturity.delay)} after the window, in the reference "
                f"{min(usual, 1.0):.1%}", share, HALF * min(usual, 1.0))
