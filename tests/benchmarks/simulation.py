"""Streams in which nothing changes, yet nothing is an independent draw either.

Every stream draws its own make-up: rows per day with the shape of a week and persistent ups and
downs; a few latent causes that move with the hour, the weekday and, from day to day, as AR(1)
processes; numeric columns (normal, skewed, heavy-tailed, whole numbers, with a spike at zero) and
categories of 2 to 30 values, all of them mixtures of the causes, so that they move together. The
process is stationary: a year of it holds no drift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from tests.benchmarks.windowed import Windows

Floats = npt.NDArray[np.float64]
LIVE_DAYS = 364
CAUSES = 3


@dataclass(frozen=True, slots=True)
class Simulated:
    """A stream of days: the first ``reference`` windows are the reference."""

    windows: Windows
    reference: int

    @property
    def parts(self) -> tuple[Windows, Windows]:
        """Reference and live windows."""
        return (self.windows.part(0, self.reference),
                self.windows.part(self.reference, len(self.windows)))


def simulate(seed: int) -> Simulated:
    """One stream: 8 to 26 weeks of reference and a year after it."""
    rng = np.random.default_rng([2025, seed])
    reference = 7 * int(rng.integers(8, 27))
    days = reference + LIVE_DAYS
    sizes = _volumes(days, rng)
    owner = np.repeat(np.arange(days), sizes)
    hours = _hours(int(sizes.sum()), rng)
    causes = (_wander(days, CAUSES, rng)[owner] + _weekly(CAUSES, rng)[owner % 7]
              + _daily(CAUSES, rng)[hours] + rng.normal(size=(owner.size, CAUSES)))
    columns: dict[str, pd.Series] = {}
    for place in range(int(rng.integers(3, 7))):
        columns[f"x{place}"] = pd.Series(_number(_mixture(causes, rng), rng))
    for place in range(int(rng.integers(1, 5))):
        columns[f"c{place}"] = _category(_mixture(causes, rng), rng)
    columns["hour"] = pd.Series(hours)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    return Simulated(Windows(pd.DataFrame(columns), edges), reference)


def ar1(days: int, memory: float, spread: float, rng: np.random.Generator) -> Floats:
    """A stationary AR(1) process with this standard deviation."""
    steps = rng.normal(0, spread * np.sqrt(1 - memory**2), days)
    level = np.empty(days)
    level[0] = rng.normal(0, spread)
    for day in range(1, days):
        level[day] = memory * level[day - 1] + steps[day]
    return level


def _volumes(days: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    usual = np.exp(rng.uniform(np.log(50), np.log(1500)))
    shape = np.exp(rng.normal(0, 0.1, 7))
    shape[5:] *= rng.uniform(0.3, 1.2)
    level = ar1(days, rng.uniform(0, 0.9), rng.uniform(0.03, 0.3), rng)
    expected = usual * shape[np.arange(days) % 7] / shape.mean() * np.exp(level)
    return np.maximum(rng.poisson(expected), 2).astype(np.intp)


def _hours(rows: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """The hour of every row; more of them by day than by night."""
    clock = 2 * np.pi * (np.arange(24) - rng.uniform(0, 24)) / 24
    weight = 1 + rng.uniform(0, 0.8) * np.cos(clock) + rng.uniform(0, 0.2) * np.cos(2 * clock)
    return rng.choice(24, rows, p=weight / weight.sum()).astype(np.intp)


def _wander(days: int, causes: int, rng: np.random.Generator) -> Floats:
    """Day effects of every cause, in standard deviations within a day."""
    return np.stack([ar1(days, rng.uniform(0, 0.9), np.exp(rng.uniform(np.log(0.02), np.log(0.3))),
                         rng) for _ in range(causes)], axis=1)


def _weekly(causes: int, rng: np.random.Generator) -> Floats:
    shape = rng.normal(0, 0.3, (7, causes))
    shape[5:] += rng.normal(0, 0.5, causes)
    return np.asarray(shape * np.exp(rng.uniform(np.log(0.1), 0, causes)))


def _daily(causes: int, rng: np.random.Generator) -> Floats:
    clock = 2 * np.pi * (np.arange(24)[:, None] - rng.uniform(0, 24, causes)) / 24
    return np.asarray(np.cos(clock) * rng.uniform(0, 0.7, causes))


def _mixture(causes: Floats, rng: np.random.Generator) -> Floats:
    """A column's own mixture of causes and noise, with a variance within days of about 1."""
    weight = rng.normal(size=causes.shape[1]) * rng.uniform(0.2, 1)
    own = rng.uniform(0.3, 1)
    mixed = causes @ weight + own * rng.normal(size=len(causes))
    return np.asarray(mixed / np.sqrt(weight @ weight + own**2))


def _number(level: Floats, rng: np.random.Generator) -> Floats:
    kind = rng.integers(0, 5)
    if kind == 0:
        return level
    if kind == 1:
        return np.exp(rng.uniform(0.5, 1.2) * level)
    if kind == 2:
        return np.sinh(rng.uniform(0.8, 1.5) * level)
    if kind == 3:
        return np.round(np.exp(0.5 * level) * rng.uniform(2, 30))
    return np.maximum(level - rng.uniform(-0.5, 0.8), 0.0)


def _category(level: Floats, rng: np.random.Generator) -> pd.Series:
    """Categories of unequal shares, cut from the level; their order says nothing."""
    count = int(np.exp(rng.uniform(np.log(2), np.log(31))))
    share = (np.arange(count) + 1.0) ** -rng.uniform(0.3, 1.3)
    edges = stats.norm.ppf(np.cumsum(rng.permutation(share / share.sum()))[:-1]) * level.std()
    codes = rng.permutation(count)[np.searchsorted(edges, level)]
    return pd.Series(pd.Categorical.from_codes(codes, [f"v{index}" for index in range(count)]))
