"""Hindsight: what alarms were worth, once every label is known. Pure functions of timelines.

A **degradation** is a stretch of days at which the newest rows (pooled as the judge pools them:
a week at least, until ``rows`` are held, four weeks at most) were worse than the reference by
``drop`` and beyond doubt, on all labels, whenever they came. Pools that share days are one
stretch. It starts where the excess loss of the first such pool sums highest to its end, and ends
where that of the last one does from its start (the change point of a cumulative sum, Page 1954).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from monitor.course import Alarm
from monitor.degradation import degraded
from monitor.fold import POOL, SEASON
from monitor.outcomes import Outcomes, total
from monitor.performance import (
    HIGHER_IS_BETTER,
    METRICS,
    RELATIVE,
    Performance,
    measure,
    tabulate,
)
from monitor.window import EPOCH

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """What counts as a loss: ``drop`` below ``reference``, in ``metric``, at ``level``."""

    metric: str
    reference: Performance
    drop: float
    rows: int
    positive: str | None
    level: float

    @property
    def least(self) -> float:
        """The smallest change that counts, in the metric's units."""
        return self.drop * abs(self.reference.value or 0.0) if self.metric in RELATIVE \
            else self.drop

    def measure(self, outcomes: Outcomes) -> Performance:
        """The metric of the outcomes, with its interval from days."""
        return measure(outcomes, self.metric, positive=self.positive, block=DAY, level=self.level)

    def worse(self, value: float) -> float:
        """How much worse than the reference the value is; negative where it is better."""
        assert self.reference.value is not None
        gap = value - self.reference.value
        return -gap if self.metric in HIGHER_IS_BETTER else gap


@dataclass(frozen=True, slots=True)
class Loss:
    """A degradation ``[start, end)`` and the metric over it; ``words`` are those of its worst
    pool."""

    start: datetime
    end: datetime
    value: float | None
    n: int
    words: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """A loss, and the first alarm or retrain that covered it, if any."""

    loss: Loss
    fate: Literal["noticed", "missed", "undecided"]
    at: datetime | None = None
    by: Literal["alarm", "retrain", ""] = ""

    @property
    def delay(self) -> timedelta | None:
        """From the start of the loss to its notice; zero where an alarm was open already."""
        return None if self.at is None else self.at - self.loss.start


Days = Mapping[datetime, Outcomes]
"""Labelled rows of each day, by its start; days without rows are absent."""
Worth = Literal["true", "false", "undecided"]


@dataclass(frozen=True, slots=True)
class _Pool:
    """Days ``first`` to ``last`` (places) that are worse than the reference, by how much."""

    first: int
    last: int
    worse: float
    words: str


def losses(days: Days, rule: Rule) -> list[Loss]:
    """Every degradation among these days, oldest first."""
    if rule.reference.value is None:
        return []
    starts = sorted(days)
    bad = []
    for place in range(len(starts)):
        first = _first(days, starts, place, rule)
        if first is None:
            continue
        found = rule.measure(total(days[day] for day in starts[first : place + 1]))
        worse, words = degraded(found, rule.reference, metric=rule.metric, drop=rule.drop)
        if worse and found.value is not None:
            bad.append(_Pool(first, place, rule.worse(found.value), words))
    return [_loss(run, days, starts, rule) for run in _runs(bad)]


def _first(days: Days, starts: Sequence[datetime], place: int, rule: Rule) -> int | None:
    """The first day of the pool that ends with this one; None where a week is not held yet."""
    rows, first, week = 0, place, SEASON // DAY
    for index in range(place, -1, -1):
        if starts[place] - starts[index] >= POOL:
            break
        rows, first = rows + days[starts[index]].n, index
        if rows >= rule.rows and place - index + 1 >= week:
            break
    return first if place - first + 1 >= week else None


def _runs(bad: Sequence[_Pool]) -> list[list[_Pool]]:
    """Pools that share days belong together."""
    runs: list[list[_Pool]] = []
    for pool in bad:
        if runs and pool.first <= runs[-1][-1].last:
            runs[-1].append(pool)
        else:
            runs.append([pool])
    return runs


def _loss(run: Sequence[_Pool], days: Days, starts: Sequence[datetime], rule: Rule) -> Loss:
    """From the change point of the first pool to that of the last."""
    head, tail = run[0], run[-1]
    before = [_excess(days[day], rule) for day in starts[head.first : head.last + 1]]
    after = [_excess(days[day], rule) for day in starts[tail.first : tail.last + 1]]
    onset = head.last - int(np.argmax(np.cumsum(before[::-1])))
    last = max(tail.first + int(np.argmax(np.cumsum(after))), onset)
    found = rule.measure(total(days[day] for day in starts[onset : last + 1]))
    worst = max(run, key=lambda pool: pool.worse)
    return Loss(starts[onset], starts[last] + DAY, found.value, found.n, worst.words)


def _excess(outcomes: Outcomes, rule: Rule) -> float:
    """Rows times how much worse the day was than half of what counts; 0 where it cannot be told."""
    table = tabulate(outcomes, rule.positive, 86400)
    if not len(table):
        return 0.0
    value = float(METRICS[rule.metric](table.pooled())[0])
    return (rule.worse(value) - rule.least / 2) * outcomes.n if np.isfinite(value) else 0.0


def noticed(found: Sequence[Loss], alarms: Sequence[Alarm], retrains: Sequence[datetime], *,
            within: timedelta, until: datetime) -> list[Noticed]:
    """What covered each loss: an alarm open, or a retrain made, within so long from its start.

    One that nothing covered is missed, or undecided where ``until`` came before that time was
    over.
    """
    told = []
    for loss in found:
        last = loss.start + within
        covers: list[tuple[datetime, Literal["alarm", "retrain"]]] = [
            (max(alarm.opened, loss.start), "alarm") for alarm in alarms
            if alarm.opened < last and (alarm.closed is None or alarm.closed > loss.start)]
        covers += [(at, "retrain") for at in retrains if loss.start <= at < last]
        if covers:
            at, by = min(covers)
            told.append(Noticed(loss, "noticed", at, by))
        else:
            told.append(Noticed(loss, "undecided" if last > until else "missed"))
    return told


def worth(alarm: Alarm, found: Sequence[Loss], *, within: timedelta, until: datetime) -> Worth:
    """Whether a loss came with the alarm: one that touches the time from a week before the first
    window that it is about until so long after it was opened, or until it was closed if later.

    ``found`` are the losses of the rows as served, and of the version that served then, had it
    gone on: an alarm that led to a better version is no false one.
    """
    soon = alarm.opened + within
    last = max(soon, alarm.closed or until)
    if any(loss.start < last and loss.end > alarm.about - SEASON for loss in found):
        return "true"
    return "undecided" if soon > until else "false"


def alarmed(alarms: Sequence[Alarm], start: datetime, end: datetime) -> float:
    """The share of the time in which an alarm was open."""
    spans = [min(alarm.closed or end, end) - max(alarm.opened, start) for alarm in alarms]
    open_for = sum((max(span, timedelta(0)) for span in spans), timedelta(0))
    return open_for / (end - start)


def by_day(parts: Iterable[Outcomes]) -> dict[datetime, Outcomes]:
    """The outcomes by day of UTC, however long the panes were that they were counted in."""
    days = {}
    for part in total(parts).blocks(86_400):
        block = min([key[0] for key in part.cells] + list(part.sums))
        days[EPOCH + block // 86_400 * DAY] = part
    return days
