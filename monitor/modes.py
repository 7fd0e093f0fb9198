"""Modes: which earlier windows are the reference of a window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from monitor.window import EPOCH

Mode = Literal["fixed", "trailing", "same_hour_of_week", "same_season_last_year"]
Seconds = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]

WEEK, YEAR = 7 * 86_400.0, 365.25 * 86_400.0
SEASON = 21 * 86_400.0
"""How far from the same day of the year a window may lie."""
NEIGHBOURS = 7 * 86_400.0
"""Windows of the reference's own season that are too near to be held against each other."""
TRAILING = 28
"""Windows of a trailing reference."""
ENOUGH = 0.9
"""A span is tested only with more than this share of its windows: a cycle must be whole."""
FOLDS = 5
"""Stretches of the reference that a window is held out with."""


def seconds(instants: Sequence[datetime]) -> Seconds:
    """Seconds since the Unix epoch."""
    return np.array([(item - EPOCH).total_seconds() for item in instants], dtype=np.float64)


def members(mode: Mode, starts: Seconds, at: float, *, length: float, gap: int) -> Weights:
    """Which of the windows at ``starts`` are the reference of the window at ``at``: 0 or 1 each.

    A trailing reference ends ``gap`` windows before, so that slow drift is not its own reference.
    The same season is that of earlier years.
    """
    if mode == "same_hour_of_week" and length < WEEK:
        return (np.abs(_around(starts - at, WEEK)) < length / 2).astype(np.float64)
    if mode == "same_season_last_year":
        near = np.abs(_around(starts - at, YEAR)) <= max(SEASON, 1.5 * length)
        return (near & (starts < at - YEAR / 2)).astype(np.float64)
    if mode == "trailing":
        last = at - gap * length
        return ((starts < last - length / 2)
                & (starts >= last - (TRAILING + 0.5) * length)).astype(np.float64)
    return np.ones(starts.size)


def held_out(mode: Mode, starts: Seconds, place: int, *, length: float, span: int) -> Weights:
    """The reference of a reference window ``place``, without its neighbourhood.

    Of a span of several windows, every one brings its own. Left out are the fifth of the
    reference that surrounds the window, or a week on both sides where seasons are compared, and
    always the span itself.
    """
    first = max(place - span + 1, 0)
    own = range(first, place + 1) if mode == "same_hour_of_week" else [place]
    weights = np.zeros(starts.size)
    for index in own:
        if mode == "same_season_last_year":
            gap = np.abs(_around(starts - starts[index], YEAR))
            weights += gap <= max(SEASON, 1.5 * length)
        else:
            weights += members(mode, starts, starts[index], length=length, gap=span)
    weights = weights / max(float(weights.max(initial=0.0)), 1.0)
    if mode == "same_season_last_year":
        away = (starts > starts[first] - NEIGHBOURS) & (starts < starts[place] + NEIGHBOURS)
    elif mode == "trailing":
        away = np.arange(starts.size) >= first
    else:
        edges = fold_edges(starts.size)
        away = np.zeros(starts.size, dtype=bool)
        away[edges[0][place] : edges[1][place]] = True
    away[first : place + 1] = True
    return np.where(away, 0.0, weights)


def fold_edges(windows: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The first window of each window's fold, and the one after its last."""
    folds = np.array_split(np.arange(windows), FOLDS)
    sizes = [len(fold) for fold in folds]
    ends = np.cumsum(sizes)
    return np.repeat(ends - sizes, sizes), np.repeat(ends, sizes)


def _around(gap: Seconds, cycle: float) -> Seconds:
    """The signed distance on a circle of this length."""
    return np.asarray(gap - cycle * np.round(gap / cycle))


def spans_of(length: timedelta, windows: int) -> tuple[int, ...]:
    """Numbers of newest windows that are judged together: one, then days, weeks, four weeks.

    Whole cycles, so that the hour of the day and the day of the week cancel out; no more than an
    eighth of the reference, at most three, each at least four times the one before. Of windows of
    a week or more, which hold whole cycles already, eight and no more than a third.
    """
    spans, times = [1], 8
    cycles = [timedelta(days=1), timedelta(days=7), timedelta(days=28)]
    if length >= timedelta(days=7):
        cycles, times = [8 * length], 3
    for cycle in cycles:
        span = cycle // length
        if span >= 4 * spans[-1] and times * span <= windows and len(spans) < 3:
            spans.append(span)
    return tuple(spans)
