"""Alarms counted as episodes, factors that give tools one alarm rate, and intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from monitor.decide import CALM

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NEVER = 1e9
"""The factor of a tool whose strength is 0 whenever nothing changes."""


def episodes(over: Flags, unsettled: Flags | None = None) -> list[tuple[int, int]]:
    """(first, last) alarming window of every episode, as ``decide.step`` opens and closes them.

    A window that is ``unsettled`` keeps an open episode open, but opens none.
    """
    kept = over if unsettled is None else over | unsettled
    found: list[tuple[int, int]] = []
    last = -CALM - 1
    for place in np.flatnonzero(kept):
        running = bool(found) and place - last <= CALM
        if over[place] and not running:
            found.append((int(place), int(place)))
        elif over[place]:
            found[-1] = found[-1][0], int(place)
        if running or over[place]:
            last = place
    return found


def lowest(alarms: int) -> float:
    """The exact lower end of the 95 % interval of a Poisson mean (Garwood 1936), two-sided."""
    return float(stats.chi2.ppf(0.025, 2 * alarms) / 2) if alarms else 0.0


def rate(runs: Sequence[Floats], factor: float) -> float:
    """Episodes per window over all runs when the strengths are multiplied by ``factor``."""
    opened = sum(len(episodes(run * factor >= 1)) for run in runs)
    return opened / max(sum(run.size for run in runs), 1)


def factor_for(runs: Sequence[Floats], wanted: float) -> float:
    """The largest factor at which the runs' alarm rate is at most ``wanted``.

    Looked for from mute upwards: far up, where every window alarms, episodes merge again. Where
    the strengths are all 0 any strength above it alarms.
    """
    values = np.unique(np.concatenate(runs))[::-1]
    values = values[values > 0]
    best = 0.99 / values[0] if values.size else NEVER
    for value in values:
        if rate(runs, 1 / value) > wanted:
            return float(best)
        best = 1 / value
    return NEVER


def interval(values: Floats, statistic: Callable[..., Floats], *, seed: int = 0,
             draws: int = 2000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a statistic of independent values."""
    places = np.random.default_rng(seed).integers(0, values.shape[0], (draws, values.shape[0]))
    low, high = np.quantile(statistic(values[places], axis=1), [0.025, 0.975])
    return float(low), float(high)
