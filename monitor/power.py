"""Power: what limits promise, and what they cannot see; plain values for `holdfast baseline`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from monitor.bins import CategoryBins, NumericBins
from monitor.calibration import History
from monitor.config import Model
from monitor.drift import COARSE, MEASURES
from monitor.limits import Limits
from monitor.null import Null
from monitor.ruler import Ruler, ruler
from monitor.tail import tail_of
from monitor.window import format_duration

Floats = npt.NDArray[np.float64]

DRAWS = 600
"""Simulated windows per size of a shift."""
POWER = 0.8
"""A detectable shift is found in this share of windows."""
RESAMPLES = 400
"""Resamples of the reference's windows, in blocks, behind the interval of the promised rate."""
STEPS = 14
"""Halvings in the search for the smallest shift: to 1/4,000 of a standard deviation."""
WHOLE = 0.5
"""Share of the rows on whole numbers with cells of their own from which on those move too."""
FEWEST = 3
"""Fewest such numbers: one that holds much is a spike, which stays."""
LARGEST = {"sd": 4.0, "share": 1.0}
"""Largest shift that is looked at."""


def levels(model: Model) -> dict[str, float]:
    """The chance of a false alarm: per checkpoint, of drift per checkpoint, and of intervals.

    A model with labels may alarm for drift and for degradation: half the budget is drift's, unless
    ``policy.alarm_on`` names one of them alone. Degradation is judged on pools of at least a week,
    so its part is shared among days.
    """
    budget = model.policy.alarm_budget
    checkpoints = budget.per / model.calendar.pane
    level = min(budget.alarms / checkpoints, 0.5)
    days = budget.per / max(model.calendar.pane, timedelta(days=1))
    named = set(model.policy.alarm_on)
    whole = {"interval": "drifted" not in named, "drift": named == {"drifted"}}
    if not model.log.labelled:
        whole["drift"] = True
    return {"interval": 1 - min((1 + whole["interval"]) * budget.alarms / days, 0.05),
            "checkpoint": level, "drift": level if whole["drift"] else level / 2}


def promise(history: History, limits: Limits | None, largest: Floats, *, model: Model
            ) -> dict[str, Any]:
    """What the limits promise, and what this reference cannot know.

    ``largest`` is the largest surprise of each reference window.
    """
    length, budget, level = model.calendar.length, model.policy.alarm_budget, levels(model)
    count = history.windows
    span, windows = count * length, budget.per / model.calendar.pane
    rows = {key: float(np.median(history.counts[:, part].sum(axis=1)))
            for key, part in history.bins.slices.items() if count}
    return {
        "alarm_budget": f"{budget.alarms:g} per {format_duration(budget.per)}",
        "level_per_window": _round(level["drift"]),
        "tests": limits.tests if limits else 0,
        "spans": list(limits.spans) if limits else [1],
        "interval_level": level["interval"],
        "reference_windows": count,
        "reference_alarms": _runs(largest > limits.alarm) if limits else 0,
        "alarms_per_budget_period": _interval(largest, limits, windows) if limits else None,
        "smallest_budget_without_tail": f"1 per {format_duration(span)}" if count else None,
        "parametric_tail": bool(level["drift"] * (count + 1) < 1),
        "typical_rows": _round(float(np.median(list(rows.values())))) if rows else 0,
        "detectable_shift": {key: detectable(history, limits, key)
                             for key in limits.keys} if limits else {},
        "dispersion": {key: {name: _round(float(limits.dispersion[place, 0, column]))
                             for place, name in enumerate(limits.statistics)}
                       for column, key in enumerate(limits.keys)} if limits else {},
        "unknown_cycles": _cycles(span, model),
    }


def _runs(over: npt.NDArray[np.bool_]) -> int:
    """Alarms that the reference's own windows would have raised; neighbours count once."""
    return int((over & ~np.concatenate([[False], over[:-1]])).sum()) if over.size else 0


def _interval(largest: Floats, limits: Limits, windows: float) -> list[float]:
    """Drift alarms per budget period: as set, and a 95 % interval of what they may turn out to be.

    Moving-block bootstrap of the reference's windows, all columns together (Künsch 1989): the
    rate above the limit under each resample's tail.
    """
    rng, size = np.random.default_rng(0), largest.size
    block = max(round(size ** (1 / 3)), 1)
    starts = rng.integers(0, max(size - block + 1, 1), (RESAMPLES, -(-size // block)))
    places = (starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :size]
    rates = [tail_of(largest[np.minimum(row, size - 1)]).beyond(limits.alarm) for row in places]
    low, high = np.quantile(rates, [0.025, 0.975])
    return [_round(value * windows) for value in (limits.level, low, high)]


def detectable(history: History, limits: Limits, key: str) -> dict[str, Any]:
    """The smallest shift that four of five windows of usual size show, by simulation.

    For numbers a move of all values, in standard deviations (whole numbers are rounded at random)
    and in units (``by``); for names and constants the share of rows that turn to the rarest
    value. ``found`` is None where even the largest is not seen.
    """
    part, column = history.bins.slices[key], limits.keys.index(key)
    rule = ruler(history.counts[:, part].sum(axis=0), history.bins.by_key[key])
    rows = float(np.median(history.counts[:, part][:, rule.plan.order].sum(axis=1)))
    unit = "share" if _named(rule) else "sd"
    low, high = 0.0, LARGEST[unit]
    chance = _Chance(rule, limits, column, max(round(rows), 1))
    if chance.of(shifted(rule, high, unit)) < POWER:
        return {"found": None, "unit": unit}
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = ((low, middle) if chance.of(shifted(rule, middle, unit)) >= POWER
                     else (middle, high))
    told: dict[str, Any] = {"found": _round(high), "unit": unit}
    return told if unit == "share" else told | {"by": _round(high * float(rule.spread[0]))}


def _named(rule: Ruler) -> bool:
    feature = rule.plan.features[0]
    return isinstance(feature, CategoryBins) or feature.cells == 0


def shifted(rule: Ruler, size: float, unit: str) -> Floats:
    """The reference's shares of cells after a shift of this size."""
    share = np.asarray(rule.cells / rule.rows[0])
    if unit == "share":
        rare = rule.groups.copy()
        rare[rare == 0] = np.inf  # a value never seen would be no shift but a fault
        target = rule.plan.starts[int(np.argmin(rare))]
        moved = (1 - size) * share
        moved[target] += size
        return moved
    return _moved(rule, share, size * float(rule.spread[0]))


def _moved(rule: Ruler, share: Floats, by: float) -> Floats:
    """Shares when every value grows by ``by``; values with cells of their own stay, but for whole
    numbers that hold most of the rows: they are rounded at random."""
    feature = rule.plan.features[0]
    assert isinstance(feature, NumericBins)
    if feature.transform == "linear" and feature.high - feature.low == feature.cells:
        return _stepped(rule, share, by, feature)
    plan = rule.plan
    inner = np.flatnonzero(plan.spans & (plan.halves > 0))
    below, above = np.flatnonzero(plan.spans)[[0, -1]]
    edges = np.append((plan.values - plan.halves)[inner], (plan.values + plan.halves)[inner[-1]])
    # smooth within cells (monotone cubic, Fritsch and Carlson 1980), what is below at the edge
    smooth = PchipInterpolator(edges, np.append(0.0, np.cumsum(share[inner])))
    reached = smooth(np.clip(edges - by, edges[0], edges[-1]))
    reached = reached + np.where(edges - by >= edges[0], share[below], 0.0)
    alone = np.flatnonzero(~plan.spans)
    values = plan.values[alone]
    stay = (alone.size < FEWEST or share[alone].sum() < WHOLE
            or not np.array_equal(values, np.floor(values)))
    moved = np.where(plan.spans | ~np.array(stay), 0.0, share)
    moved[inner] = np.diff(reached)
    moved[below] = reached[0]
    moved[above] = share[above] + share[inner].sum() + share[below] - reached[-1]
    home = {float(value): int(place) for value, place in zip(values, alone, strict=True)}
    rank = np.array([below, *inner, above])
    for place in () if stay else alone:
        for step, part in ((np.floor(by), 1 - by % 1), (np.floor(by) + 1, by % 1)):
            value = float(plan.values[place] + step)
            target = rank[int(np.searchsorted(edges, value, side="right"))]
            moved[home.get(value, int(target))] += part * share[place]
    return moved


def _stepped(rule: Ruler, share: Floats, by: float, feature: NumericBins) -> Floats:
    """Shares of whole numbers that grow by ``by``, rounded at random."""
    plan = rule.plan
    numbers = np.round(np.clip(plan.values, feature.low - 0.5, feature.high + 0.5)).astype(int)
    first = numbers.min()
    mass = np.bincount(numbers - first, weights=share)
    whole, part = int(by), by - int(by)
    longer = np.append(mass, np.zeros(whole + 1))
    moved = np.asarray((1 - part) * np.roll(longer, whole) + part * np.roll(longer, whole + 1),
                       dtype=np.float64)
    moved[mass.size - 1] = moved[mass.size - 1:].sum()
    found = np.zeros(share.size)
    home: dict[int, int] = {number: place for place, number in enumerate(numbers.tolist())}
    home |= {int(numbers[place]): int(place) for place in np.flatnonzero(~plan.spans)}
    for number, place in home.items():
        found[place] = moved[number - first]
    return found


class _Chance:
    """How likely a window of these shares is to exceed any tested threshold of the column."""

    def __init__(self, rule: Ruler, limits: Limits, column: int, rows: int) -> None:
        self.rule, self.limits, self.rows = rule, limits.columns([limits.keys[column]]), rows
        self.many = np.full(DRAWS, rows)

    def of(self, shares: Floats) -> float:
        over = np.zeros(DRAWS, dtype=bool)
        for place, name in enumerate(self.limits.statistics):
            coarse = name in COARSE
            null = Null(self.rule, float(self.limits.dispersion[place, 0, 0]), float(self.rows))
            known = np.add.reduceat(shares, self.rule.plan.starts) if coarse else shares
            sample = null.sample(self.many, np.random.default_rng(1), coarse=coarse, shares=known)
            value = MEASURES[name](self.rule, sample)
            over |= (value > self.limits.thresholds(place, 0, sample.rows, self.rule.rows))[:, 0]
        return float(over.mean())


def _cycles(span: timedelta, model: Model) -> list[str]:
    """Cycles that the reference does not hold twice, and that its mode does not take out."""
    unknown = []
    if span < timedelta(days=14):
        unknown.append("week: the reference is shorter than two weeks")
    if span < timedelta(days=730):
        words = "year: the reference is shorter than two years"
        if model.reference.mode == "same_season_last_year":
            words = ("year: seasons are compared, but how one year differs from the next is not "
                     "known from less than two")
        unknown.append(words)
    return unknown


def _round(value: float) -> float:
    return float(f"{value:.4g}")
