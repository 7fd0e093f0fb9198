"""Whether the smallest shift that `baseline` promises to find in four of five windows is found so.

Columns of seven kinds are cut from a latent level. A shift of that level is sized so that the
statistic lies, on average, as far above its null as promised; then fresh windows with that shift
are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from monitor.baseline import Baseline
from monitor.drift import MEASURES
from monitor.profile import Profile
from tests.benchmarks.tools import HoldfastTool, profiles
from tests.benchmarks.windowed import Windows, cut

Floats = npt.NDArray[np.float64]
PROMISED = 0.8
REFERENCE = 60


def _cut(count: int) -> Callable[[Floats], pd.Series]:
    share = (np.arange(count) + 1.0) ** -0.8
    edges = stats.norm.ppf(np.cumsum(share / share.sum())[:-1])
    names = [f"v{index}" for index in range(count)]
    return lambda level: pd.Series(pd.Categorical.from_codes(np.searchsorted(edges, level), names))


SHAPES: dict[str, Callable[[Floats], pd.Series]] = {
    "normal": lambda level: pd.Series(level),
    "skewed": lambda level: pd.Series(np.exp(level)),
    "whole": lambda level: pd.Series(np.round(8 * np.exp(level / 2))),
    "spiked": lambda level: pd.Series(np.maximum(level - 0.3, 0.0)),
    "two": _cut(2),
    "five": _cut(5),
    "twenty": _cut(20),
}


@dataclass(frozen=True, slots=True)
class World:
    """Windows of ``rows`` rows whose level moves from window to window by ``spread``."""

    rows: int
    spread: float

    def column(self, key: str, count: int, *, shift: float, seed: int) -> pd.Series:
        """``count`` windows of one column, one after the other."""
        rng = np.random.default_rng(seed)
        level = np.repeat(rng.normal(0, self.spread, count), self.rows)
        return SHAPES[key](level + rng.normal(size=level.size) + shift).rename(key)

    def calm(self, count: int, seed: int) -> Windows:
        """``count`` windows of all columns without a shift."""
        columns = {key: self.column(key, count, shift=0.0, seed=seed + place)
                   for place, key in enumerate(SHAPES)}
        return cut(pd.DataFrame(columns), self.rows)

    def values(self, baseline: Baseline, key: str, statistic: str, shift: float) -> Floats:
        """The statistic of many windows with this shift; the same noise for every shift."""
        windows = cut(self.column(key, 400, shift=shift, seed=99).to_frame(), self.rows)
        counts = np.stack([each.counts for each in profiles(windows, _only(baseline, key))])
        rule = baseline.rulers[key]
        return np.asarray(MEASURES[statistic](rule, rule.sample(counts)))


def _only(baseline: Baseline, key: str) -> Any:
    return type(baseline.bins)((baseline.bins.by_key[key],))


def shift_for(world: World, baseline: Baseline, key: str, statistic: str) -> float:
    """The shift of the level at which the statistic's mean is as far up as promised."""
    promised = baseline.promise["detectable_shift"][key][statistic]
    wanted = world.values(baseline, key, statistic, 0.0).mean() + promised
    low, high = 0.0, 4.0
    for _ in range(12):
        middle = (low + high) / 2
        found = world.values(baseline, key, statistic, middle).mean()
        low, high = (middle, high) if found < wanted else (low, middle)
    return (low + high) / 2


def found(world: World, baseline: Baseline, key: str, shift: float) -> float:
    """The share of fresh windows with this shift of one column in which it is found."""
    count = 500
    calm = profiles(world.calm(count, 1000), baseline.bins)
    moved = cut(world.column(key, count, shift=shift, seed=7).to_frame(), world.rows)
    hits = 0
    for quiet, loud in zip(calm, profiles(moved, _only(baseline, key)), strict=True):
        counts = quiet.counts.copy()
        counts[baseline.bins.slices[key]] = loud.counts
        hits += any(result.drifted and result.feature == key
                    for result in baseline.compare(Profile(world.rows, counts)))
    return hits / count


def measure(quick: bool) -> dict[str, Any]:
    """Per volume, spread and column: the share of windows in which the promised shift is found."""
    told: dict[str, Any] = {}
    for rows in (200, 1000):
        for spread in (0.0,) if quick else (0.0, 0.1):
            world, tool = World(rows, spread), HoldfastTool(minimum_effect={})
            tool.fit(world.calm(REFERENCE, 0))
            assert tool.baseline is not None
            shifts = tool.baseline.promise["detectable_shift"]
            told[f"{rows} rows, spread {spread}"] = {
                key: found(world, tool.baseline, key,
                           shift_for(world, tool.baseline, key, statistic))
                for key in SHAPES for statistic in shifts[key]}
    return told


def worst(told: dict[str, Any]) -> float:
    """The largest difference between the measured power and the promised one."""
    return float(max(abs(share - PROMISED) for shares in told.values()
                     for share in shares.values()))
