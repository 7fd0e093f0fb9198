"""Whether the smallest shift that `baseline` promises to find in four of five windows is found so.

Columns of seven kinds are cut from a latent level that moves from window to window. Fresh windows
are shifted by exactly what was promised, in the promise's own units, and judged.
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
from monitor.bins import CategoryBins
from monitor.profile import Profile
from tests.benchmarks.tools import HoldfastTool, profiles
from tests.benchmarks.windowed import Windows, cut

Floats = npt.NDArray[np.float64]
PROMISED = 0.8
REFERENCE, REFERENCES = 60, 5
"""Windows of a reference, and references that power is averaged over."""


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

    def moved(self, key: str, count: int, shift: dict[str, Any], *, rarest: str, seed: int
              ) -> pd.Series:
        """Fresh windows of a column with the shift that was promised to be found."""
        column = self.column(key, count, shift=0.0, seed=seed)
        rng = np.random.default_rng(seed + 1)
        if shift["unit"] == "share":
            turned = rng.random(len(column)) < shift["found"]
            return column.where(~turned, rarest)
        if key == "whole":  # rounded at random, as whole numbers move by less than one
            return np.floor(column + shift["by"] + rng.random(len(column)))
        if key == "spiked":  # a value that holds much of the reference stays
            return column.where(column == 0, column + shift["by"])
        return column + shift["by"]


def _only(baseline: Baseline, key: str) -> Any:
    return type(baseline.bins)((baseline.bins.by_key[key],))


def _rarest(baseline: Baseline, key: str) -> str:
    """The rarest category that the reference names."""
    feature = baseline.bins.by_key[key]
    counts = baseline.reference.counts[baseline.bins.slices[key]]
    if not isinstance(feature, CategoryBins):
        return ""
    return feature.categories[int(np.argmin(counts[feature.first:]))]


def found(world: World, baseline: Baseline, key: str) -> float:
    """The share of fresh windows with the promised shift of one column in which it is found."""
    count, shift = 500, baseline.promise["detectable_shift"][key]
    calm = profiles(world.calm(count, 1000), baseline.bins)
    column = world.moved(key, count, shift, rarest=_rarest(baseline, key), seed=7)
    moved = cut(column.to_frame(), world.rows)
    hits = 0
    for quiet, loud in zip(calm, profiles(moved, _only(baseline, key)), strict=True):
        counts = quiet.counts.copy()
        counts[baseline.bins.slices[key]] = loud.counts
        hits += any(result.drifted and result.feature == key
                    for result in baseline.compare(Profile(world.rows, counts)))
    return hits / count


def measure(quick: bool) -> dict[str, Any]:
    """Per volume, spread and column: the share of windows in which the promised shift is found,
    on average over references."""
    told: dict[str, Any] = {}
    for rows in (200, 1000):
        for spread in (0.0,) if quick else (0.0, 0.1):
            world, shares = World(rows, spread), dict.fromkeys(SHAPES, 0.0)
            references = 2 if quick else REFERENCES
            for seed in range(references):
                tool = HoldfastTool(minimum_effect={})
                tool.fit(world.calm(REFERENCE, 100_000 * seed))
                assert tool.baseline is not None
                for key in SHAPES:
                    shares[key] += found(world, tool.baseline, key) / references
            told[f"{rows} rows, spread {spread}"] = {
                key: round(share, 4) for key, share in shares.items()}
    return told


def worst(told: dict[str, Any]) -> float:
    """The largest difference between the measured power and the promised one."""
    return float(max(abs(share - PROMISED) for shares in told.values()
                     for share in shares.values()))
