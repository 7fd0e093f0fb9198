"""Calibration: what a statistic is while nothing changes, for any number of rows.

The null is Dirichlet-multinomial. Its over-dispersion is fitted to the reference's own
windows, each measured against the reference without its neighbourhood, so that season and
autocorrelation inside the reference count; the tail beyond the simulation is a gamma
distribution by moments. See ``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.drift import COARSE, MEASURES, Ruler, ruler

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

DRAWS = {True: 1000, False: 300}
"""Simulated windows per number of rows, for statistics of groups (True) and of cells."""
POWER = {"psi": 1, "chi2": 1, "js": 2, "hellinger": 2, "tv": 2, "ks": 2, "wasserstein": 2}
"""The power of a statistic that is near a scaled chi-squared, and so near a gamma variable."""
FOLDS = 5
"""Stretches of the reference that a window is held out with."""
PRIOR = 1.0
"""Row spread over all cells before the reference is seen (a Perks prior)."""
WORST = 0.9
"""Largest over-dispersion that is looked for."""
STRETCHED = 40
"""Fewest reference windows whose own tail is looked at."""
FEWEST = 5
"""Fewest reference windows that over-dispersion is fitted to."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The null of one statistic of one feature on a grid of row counts.

    ``mean`` and ``spread`` are the null's moments, ``quantile`` the value that it exceeds at
    the level asked for, ``dispersion`` the fitted over-dispersion (0: independent rows).
    """

    dispersion: float
    effect: float
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    quantile: tuple[float, ...]

    def threshold(self, grid: Sequence[float], n: float) -> float:
        """The larger of the null's quantile and its mean plus the minimum effect at ``n`` rows."""
        return max(between(grid, self.quantile, n), between(grid, self.mean, n) + self.effect)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Limit:
        return cls(row["dispersion"], row["effect"], tuple(row["mean"]), tuple(row["spread"]),
                   tuple(row["quantile"]))


def between(grid: Sequence[float], values: Sequence[float], n: float) -> float:
    """Interpolation of ``values`` that is linear in the logarithms; flat beyond the grid."""
    n = min(max(n, grid[0]), grid[-1])
    place = max(int(np.searchsorted(grid, n)), 1)
    low, high = grid[place - 1], grid[place]
    weight = np.log(n / low) / np.log(high / low)
    before, after = max(values[place - 1], 1e-12), max(values[place], 1e-12)
    return float(before ** (1 - weight) * after**weight)


def row_grid(rows: Sequence[int]) -> tuple[float, ...]:
    """Numbers of rows to calibrate at: from 2 to well beyond the largest reference window."""
    return tuple(float(value) for value in
                 np.unique(np.geomspace(2, 8 * max([125, *rows]), 12).round()))


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The reference's own windows of one feature: counts ``(w, size)``, oldest first."""

    rule: Ruler
    windows: Counts

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Rows with a value per window, shape ``(w,)``."""
        return np.asarray(self.windows[:, self.rule.layout.order].sum(axis=1))

    def observed(self, statistic: str) -> Floats:
        """The statistic of each window against the reference without the window's fold.

        NaN where a window holds no values.
        """
        values = np.full(len(self.windows), np.nan)
        total = self.windows.sum(axis=0)
        for fold in np.array_split(np.arange(len(self.windows)), FOLDS):
            rest = ruler(total - self.windows[fold].sum(axis=0), self.rule.feature,
                         starts=self.rule.starts)
            held = fold[self.rows[fold] > 0]
            if rest.rows and held.size:
                values[held] = MEASURES[statistic](rest, rest.sample(self.windows[held]))
        return values


def limit(history: History, statistic: str, grid: Sequence[float], *, level: float,
          effect: float, seed: int) -> Limit:
    """The null of ``statistic`` at every number of rows in ``grid``."""
    dispersion = dispersed(history, statistic, seed=seed)
    draws = DRAWS[statistic in COARSE]
    null = Null(history.rule, statistic, dispersion, float(np.mean(history.rows)))
    means, spreads, quantiles = [], [], []
    for rows in grid:
        values = null.draw(np.full(draws, int(rows)), np.random.default_rng(seed))
        means.append(float(values.mean()))
        spreads.append(float(values.std()))
        quantiles.append(tail(values, level, POWER[statistic]))
    table = Limit(dispersion, effect, tuple(means), tuple(spreads), tuple(quantiles))
    further = stretch(history, statistic, table, grid, level=level)
    return Limit(_short(dispersion), effect, _shorts(means), _shorts(spreads),
                 _shorts([further * value for value in quantiles]))


def _shorts(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(_short(value) for value in values)


def _short(value: float) -> float:
    """Five significant digits, so that a baseline stays small."""
    return float(f"{value:.5g}")


def tail(values: Floats, level: float, power: int) -> float:
    """What the null exceeds with probability ``level``, beyond what the draws reach.

    The largest of a gamma quantile by moments, an exponential tail above the draws' 90 %
    quantile, and the draws' own quantile.
    """
    powered = values**power
    mean, variance = float(powered.mean()), float(powered.var())
    if variance <= 1e-24 * max(mean, 1e-12) ** 2:
        return float(values.max())
    fitted = float(special.gammainccinv(mean**2 / variance, level)) * variance / mean
    reached = float(np.quantile(powered, 1 - max(level, 3 / values.size)))
    start = float(np.quantile(powered, 0.9))
    above = powered[powered > start]
    excess = float((above - start).mean()) if above.size else 0.0
    beyond = start + excess * float(np.log(max(0.1 / level, 1.0)))
    return float(max(fitted, beyond, reached) ** (1 / power))


def stretch(history: History, statistic: str, table: Limit, grid: Sequence[float], *,
            level: float) -> float:
    """By how much the reference's own windows lie further out than the null's tail; at least 1.

    An exponential tail through the 90 and 97.5 % quantiles of their values over the null's
    quantile: what lies beyond, such as a broken day, has no say. 1 with few windows.
    """
    observed, rows, power = history.observed(statistic), history.rows, POWER[statistic]
    held = np.isfinite(observed) & (rows >= grid[0])
    if held.sum() < STRETCHED:
        return 1.0
    highest = np.array([between(grid, table.quantile, float(n)) for n in rows[held]])
    ratio = (observed[held] / np.maximum(highest, 1e-12)) ** power
    start, upper = (float(value) for value in np.quantile(ratio, [0.9, 0.975]))
    beyond = start + (upper - start) / np.log(4) * np.log(max(0.1 / level, 1.0))
    return float(max(beyond, 1.0) ** (1 / power))


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """A source of windows without drift, for one statistic and one over-dispersion."""

    rule: Ruler
    statistic: str
    dispersion: float
    typical: float

    def draw(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """The statistic of one simulated window per entry of ``rows``."""
        known = self.rule.groups if self.statistic in COARSE else self.rule.cells
        inflation = 1 + (self.typical - 1) * self.dispersion
        prior = known / max(inflation, 1.0) + PRIOR / known.size
        share = _dirichlet(np.broadcast_to(prior, (rows.size, known.size)), rng)
        if self.dispersion > 0:
            share = _dirichlet(share * (1 - self.dispersion) / self.dispersion, rng)
        counts = rng.multinomial(rows, share).astype(np.float64)
        sample = (self.rule.grouped(counts) if self.statistic in COARSE
                  else self.rule.arranged(counts))
        return MEASURES[self.statistic](self.rule, sample)


def _dirichlet(shape: Floats, rng: np.random.Generator) -> Floats:
    """One Dirichlet draw per row of ``shape``; a row that underflows falls on one cell."""
    drawn = rng.standard_gamma(shape)
    total = drawn.sum(axis=1, keepdims=True)
    lost = total[:, 0] <= 0
    if lost.any():
        drawn[lost, np.argmax(shape[lost], axis=1)] = 1.0
        total = drawn.sum(axis=1, keepdims=True)
    share = drawn / total
    # multinomial refuses probabilities whose sum exceeds 1 by rounding
    return np.asarray(share / np.maximum(share.sum(axis=1, keepdims=True), 1.0) * (1 - 1e-12))


def dispersed(history: History, statistic: str, *, seed: int) -> float:
    """The smallest over-dispersion whose windows lie as far out as the reference's own do.

    Compares the mean (plus its standard error) and, where there are windows enough, the 90 and
    95 % quantiles; what lies beyond the largest fiftieth is clipped, so that a single broken
    day does not set the limit. 0 with fewer than ``FEWEST`` windows.
    """
    observed, rows = history.observed(statistic), history.rows
    held = np.isfinite(observed) & (rows > 0)
    if held.sum() < FEWEST:
        return 0.0
    rows = rows[held]
    power = POWER[statistic]
    weight = np.ones(rows.size) if statistic == "chi2" else rows.astype(np.float64)
    target = _marks(weight * observed[held] ** power, error=1.0)
    many = np.tile(rows, -(-DRAWS[statistic in COARSE] // rows.size))
    weights = np.ones(many.size) if statistic == "chi2" else many.astype(np.float64)
    count = target.size

    def reaches(dispersion: float) -> bool:
        null = Null(history.rule, statistic, dispersion, float(rows.mean()))
        values = weights * null.draw(many, np.random.default_rng(seed)) ** power
        return bool((_marks(values, error=0.0, count=count) >= target).all())

    return _smallest(reaches)


def _smallest(reaches: Any) -> float:
    """The smallest argument in [0, WORST] for which ``reaches`` holds, to 12 %."""
    if reaches(0.0):
        return 0.0
    low, high = np.log(1e-5), np.log(WORST)
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(float(np.exp(middle))) else (middle, high)
    return float(np.exp(high))


def _marks(values: Floats, *, error: float, count: int | None = None) -> Floats:
    """Mean plus ``error`` standard errors, then quantiles that so many values can tell."""
    if count is None:
        count = 1 + (values.size >= 20) + (values.size >= 60)
    if values.size >= 50:
        values = np.minimum(values, np.quantile(values, 0.98))
    mean = values.mean() + error * values.std(ddof=1) / np.sqrt(values.size)
    return np.array([mean, *np.quantile(values, [0.9, 0.95])])[:count]
