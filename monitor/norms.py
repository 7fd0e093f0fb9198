"""Norms: what is normal in a reference's windows, so that what is not is a fault.

Shares of nulls, unseen and out-of-range values have limits for every number of rows, at the level
that the fault budget allows; the number of rows has limits of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.bins import Bins, CategoryBins, FeatureBins, NumericBins
from monitor.config import Model
from monitor.profile import Profile

Counts = npt.NDArray[np.int64]

FEW = 20
"""Rows from which on a window's distance from the reference says something."""
FAR = 6.0
"""Robust standard deviations of log volume beyond which a window is unusually large or small."""


@dataclass(frozen=True, slots=True)
class Norms:
    """What is normal, learned from the reference's windows.

    ``volume`` is the (lowest, median, highest) number of rows that is not remarked on; ``rates``
    hold, per key and kind (null, unseen, outside), the highest normal share on ``grid`` rows;
    ``stuck``, per key, the most rows that a window held in one cell and in no other; ``strays``,
    per number, how far a window lay from the reference at most (total variation). ``level`` is the
    chance of a false finding per window and check, ``silence`` the longest run of windows without
    rows.
    """

    grid: tuple[float, ...]
    volume: tuple[float, float, float]
    duplicates: float
    future: float
    rates: Mapping[str, Mapping[str, tuple[float, ...]]]
    stuck: Mapping[str, int] = field(default_factory=dict)
    strays: Mapping[str, float] = field(default_factory=dict)
    level: float = 1e-4
    silence: int = 0

    def limit(self, key: str, kind: str, n: float) -> float:
        """The highest normal share at ``n`` rows; 1 where none was learned."""
        learned = self.rates.get(key, {}).get(kind)
        return 1.0 if learned is None else float(np.interp(n, self.grid, learned))

    def to_dict(self) -> dict[str, Any]:
        return {"grid": list(self.grid), "volume": list(self.volume),
                "duplicates": self.duplicates, "future": self.future,
                "rates": {key: {kind: list(limits) for kind, limits in kinds.items()}
                          for key, kinds in self.rates.items()},
                "stuck": dict(self.stuck), "strays": dict(self.strays), "level": self.level,
                "silence": self.silence}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Norms:
        """The norms that ``to_dict`` wrote, by this holdfast or an earlier one."""
        low, median, high = row["volume"]
        return cls(tuple(row["grid"]), (low, median, high), row["duplicates"], row["future"],
                   {key: {kind: tuple(limits) for kind, limits in kinds.items()}
                    for key, kinds in row["rates"].items()},
                   row.get("stuck", {}), row.get("strays", {}), row.get("level", 1e-4),
                   row.get("silence", 0))


def fault_level(model: Model, bins: Bins) -> float:
    """The chance of a false finding per window and check that the fault budget allows.

    Šidák over every check with a learned limit: nulls, unseen, range and constancy of each input.
    """
    budget = model.policy.fault_budget
    level = min(budget.alarms * (model.calendar.pane / budget.per), 0.5)
    checks = sum(len(kinds(feature)) + 1 for feature in bins.features if feature.role == "feature")
    return float(-np.expm1(np.log1p(-level) / max(checks, 1)))


def learn(bins: Bins, windows: Sequence[Profile], *, grid: Sequence[float],
          level: float) -> Norms:
    """What is normal in the reference's windows, at ``level`` false findings per window."""
    held = [window for window in windows if window.n > 0]
    rows = np.array([window.n for window in held], dtype=np.float64)
    rates: dict[str, dict[str, tuple[float, ...]]] = {}
    for key, part in bins.slices.items():
        feature = bins.by_key[key]
        for kind in kinds(feature):
            hits = [hits_of(kind, feature, window.counts[part]) for window in held]
            hit = np.array([pair[0] for pair in hits], dtype=np.float64)
            of = np.array([pair[1] for pair in hits], dtype=np.float64)
            rates.setdefault(key, {})[kind] = _limits(hit, of, grid, level)
    return Norms(tuple(grid), _volume(rows),
                 max((window.duplicates / window.n for window in held), default=0.0),
                 max((window.future / window.n for window in held), default=0.0), rates,
                 {key: _stuck(bins.by_key[key], [window.counts[part] for window in held])
                  for key, part in bins.slices.items()}, _strays(bins, held), level,
                 max((len(run) for run in "".join("-" if window.n > 0 else "o"
                                                  for window in windows).split("-")), default=0))


def values_of(feature: FeatureBins, counts: Counts) -> Counts:
    """The cells that hold values, without null, NaN and what does not convert."""
    start = 2 if isinstance(feature, CategoryBins) else feature.first - 1
    end = feature.size if isinstance(feature, CategoryBins) else feature.impossible
    return counts[start:end]


def _strays(bins: Bins, windows: Sequence[Profile]) -> dict[str, float]:
    """How far windows with a few rows at least lie from all of them, per number."""
    whole = sum(windows, Profile.empty(bins)).counts
    numbers = {key: part for key, part in bins.slices.items()
               if isinstance(bins.by_key[key], NumericBins)}
    return {key: float(f"{max(far):.4g}") for key, part in numbers.items()
            if (far := [strayed(bins.by_key[key], window.counts[part], whole[part])
                        for window in windows if window.n >= FEW])}


def _stuck(feature: FeatureBins, windows: Sequence[Counts]) -> int:
    """The most rows that one window held in one cell while all others were empty."""
    cells = [values_of(feature, counts) for counts in windows]
    return max((int(held.sum()) for held in cells if held.any() and held.max() == held.sum()),
               default=0)


def kinds(feature: FeatureBins) -> tuple[str, ...]:
    """The shares of a column that have a limit."""
    if isinstance(feature, CategoryBins):
        return ("null",) if feature.rest else ("null", "unseen")
    return ("null", "outside")


def hits_of(kind: str, feature: FeatureBins, counts: Counts) -> tuple[int, int]:
    """How many rows of how many are null, unseen or out of range."""
    if kind == "null":
        return int(counts[0]), int(counts.sum())
    if isinstance(feature, CategoryBins):
        return int(counts[2]), int(counts[2:].sum())
    first = feature.first - 1
    return int(counts[first] + counts[feature.above]), int(counts[first:].sum())


def _limits(hit: npt.NDArray[np.float64], of: npt.NDArray[np.float64], grid: Sequence[float],
            level: float) -> tuple[float, ...]:
    """Shares that a beta-binomial of the windows' own over-dispersion exceeds at ``level``.

    Gamma quantile by moments, and one row on top because counts are whole.
    """
    share = (hit.sum() + 0.5) / (of.sum() + 1)
    noise = share * (1 - share)
    ratio = ((hit - of * share) ** 2).sum() / max((of * noise).sum(), 1e-12)
    typical = (of**2).sum() / max(of.sum(), 1.0)
    dispersion = float(np.clip((ratio - 1) / max(typical - 1, 1.0), 0.0, 0.9))
    rows = np.asarray(grid, dtype=np.float64)
    variance = noise * ((1 + (rows - 1) * dispersion) / rows + 1 / (of.sum() + 1))
    shape = share**2 / variance
    high = special.gammainccinv(shape, level) * variance / share + 1 / rows
    return tuple(float(f"{value:.4g}") for value in np.minimum(high, 1.0))


def _volume(rows: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    if rows.size == 0:
        return 0.0, 0.0, float(2**53)
    logs = np.log(rows)
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), np.log(1.2) / 2)
    low = min(middle - FAR * spread, float(logs.min()) - 0.5)
    high = max(middle + FAR * spread, float(logs.max()) + 0.5)
    return tuple(float(f"{np.exp(value):.6g}") for value in (low, middle, high))  # type: ignore[return-value]


def strayed(feature: FeatureBins, counts: Counts, other: Counts) -> float:
    """Total variation between two windows of one column; 0 where one holds no values."""
    one, two = (values_of(feature, item).astype(float) for item in (counts, other))
    if not one.sum() or not two.sum():
        return 0.0
    return float(np.abs(one / one.sum() - two / two.sum()).sum() / 2)
