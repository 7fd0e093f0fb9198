"""Acknowledgements: what people said of windows, and what that changes in a verdict.

A person says that a stretch of event time is a **fault** (its rows teach nothing) or was
**expected** (what was found there counts no more). Each saying is a row with the instant at which
it became known, so that verdicts follow it in that order and a replay repeats it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from monitor.faults import JUMP, Fault, ordered
from monitor.window import EPOCH, Calendar, Window, isoformat

Said = Literal["fault", "expected", "undone"]
LEARNED = frozenset({"null_rate", "unseen", "range", "constant", "volume", "unit", "labels"})
"""Checks that a reference teaches: while a new one is gathered they have nothing to say."""
ALIKE = 1.65
"""Factor within which a number of rows or a length of time counts as the same again."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What was said of a stretch at ``at``; ``faults`` are those that its verdicts had then.

    ``rebaseline``: the reference of the inputs starts anew with the stretch.
    """

    span: Window
    said: Said
    rebaseline: bool
    note: str
    at: datetime
    faults: tuple[tuple[str, str, float | None], ...] = ()

    @property
    def words(self) -> str:
        return f"acknowledged as {self.said}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Spoken:
    """What people said as far as one verdict is concerned.

    ``here`` is about its window; ``expected`` holds everything whose faults may come again;
    ``gathering`` says how far a new reference has come while there is none.
    """

    here: Acknowledgement | None = None
    expected: tuple[Acknowledgement, ...] = ()
    gathering: str = ""


NOTHING = Spoken()


def in_force(rows: Iterable[Acknowledgement], at: datetime) -> list[Acknowledgement]:
    """The last word on every stretch as known at ``at``, oldest first; what was undone is gone."""
    newest: dict[Window, Acknowledgement] = {}
    for row in sorted(rows, key=lambda row: row.at):
        if row.at < at:
            newest[row.span] = row
    return sorted((row for row in newest.values() if row.said != "undone"),
                  key=lambda row: row.at)


def faulty_spans(rows: Iterable[Acknowledgement], at: datetime | None = None) -> list[Window]:
    """Stretches whose rows teach nothing, as known at ``at`` (default: now)."""
    known = list(rows)
    last = max((row.at for row in known), default=EPOCH) + timedelta(microseconds=1)
    return [row.span for row in in_force(known, at or last) if row.said == "fault"]


def news(rows: Iterable[Acknowledgement], since: datetime, at: datetime) -> list[Window]:
    """Stretches of which something became known in ``[since, at)``."""
    return [row.span for row in rows if since <= row.at < at]


def touched(spans: Sequence[Window], calendar: Calendar, within: Window) -> set[Window]:
    """Windows that end within the bounds and lie in one of the stretches by half at least."""
    found: set[Window] = set()
    for span in spans:
        start = max(span.start, within.start) - calendar.length
        for pane in calendar.panes(Window(start, min(span.end, within.end))):
            found |= {window for window in calendar.windows_of(pane) if covers(span, window)}
    return {window for window in found if within.start < window.end <= within.end}


def covers(span: Window, window: Window) -> bool:
    """Whether the stretch holds at least half of the window."""
    common = min(span.end, window.end) - max(span.start, window.start)
    return common >= window.length / 2


def about(window: Window, rows: Sequence[Acknowledgement]) -> Acknowledgement | None:
    """The newest word on the window, of those in force."""
    return next((row for row in reversed(rows) if covers(row.span, window)), None)


def renewal(rows: Sequence[Acknowledgement], before: datetime | None) -> Acknowledgement | None:
    """The newest stretch that a new reference starts with, where the present one ends before it."""
    asked = [row for row in rows if row.rebaseline and row.said == "expected"
             and (before is None or before <= row.span.start)]
    return asked[-1] if asked else None


def spared(faults: Sequence[Fault], spoken: Spoken) -> tuple[Fault, ...]:
    """The faults, those that count no more as acknowledged."""
    here = spoken.here is not None and spoken.here.said == "expected"
    return ordered(replace(fault, severity="acknowledged")
                   if here or (spoken.gathering and fault.check in LEARNED)
                   or any(_again(fault, item) for row in spoken.expected for item in row.faults)
                   else fault for fault in faults)


def _again(fault: Fault, known: tuple[str, str, float | None]) -> bool:
    """Whether a fault looks like an acknowledged one: as large at most, or the same factor."""
    check, column, value = known
    if (fault.check, fault.column) != (check, column):
        return False
    if value is None or fault.value is None:
        return True
    if check == "unit":
        return abs(fault.value - value) <= 0.01 * abs(value)
    if max(abs(value), abs(fault.value)) > 1:
        return value / ALIKE <= fault.value <= value * ALIKE
    return fault.value <= value + JUMP


def faults_of(lines: Iterable[dict[str, Any]]) -> tuple[tuple[str, str, float | None], ...]:
    """The largest fault of every check and column in these verdict lines."""
    largest: dict[tuple[str, str], float | None] = {}
    for line in lines:
        for item in line["faults"]:
            place = (item["check"], item["column"])
            value = item["value"]
            before = largest.get(place)
            largest[place] = value if before is None else max(before, value or before)
    return tuple((check, column, value) for (check, column), value in sorted(
        largest.items(), key=lambda pair: pair[0]))


def gathering(row: Acknowledgement, window: Window, length: timedelta, windows: int) -> str:
    """How far the new reference has come once the window has closed; '' before it starts."""
    if window.start < row.span.start:
        return ""
    held = min((window.end - row.span.start) // length, windows)
    return (f"a new reference for the inputs, from {isoformat(row.span.start)} on, is being "
            f"gathered ({held} of {windows} windows)")
