"""Limits: what every statistic of every column stays below while nothing changes.

A test is a statistic of a column over the newest window or several. Its value becomes a
**surprise**: minus the logarithm of the chance of so much under the column's own null, over the
``stretch`` by which the reference's windows lie further out than that null says. The window's
largest surprise, over all tests, is held against one limit for the whole model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.null import POWER, surprise, unsurprising

Floats = npt.NDArray[np.float64]

FEWEST_ROWS = 2
"""Windows with fewer values than this are measured, not tested."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """The nulls of all tests: ``s`` statistics, ``l`` spans of windows, ``f`` columns.

    ``grid`` ``(p,)`` are numbers of rows; ``mean`` and ``spread`` ``(s, f, p)`` moments of the
    statistic's power while rows are independent, against a reference of ``rows`` ``(f,)`` rows.
    ``dispersion`` ``(s, l, f)`` is by how much real windows vary beyond that, ``unevenness``
    the relative variance of that part, ``known`` from how many independent windows that is known,
    ``stretch`` what is left in the tail. ``together`` ``(4, s, l)`` are mean, spread, known
    windows and stretch of the mean surprise of all features, NaN where it is not tested.
    ``alarm`` is the surprise that opens an episode, ``calm`` the one under which it can close;
    ``level`` the chance of an alarm per window.
    """

    keys: tuple[str, ...]
    statistics: tuple[str, ...]
    spans: tuple[int, ...]
    effects: tuple[float, ...]
    grid: Floats
    mean: Floats
    spread: Floats
    dispersion: Floats
    unevenness: Floats
    known: Floats
    stretch: Floats
    rows: Floats
    together: Floats
    alarm: float
    calm: float
    level: float

    @property
    def tests(self) -> int:
        return len(self.keys) * len(self.statistics) * len(self.spans)

    def moments(self, statistic: int, span: int, n: Floats, reference: Floats
                ) -> tuple[Floats, Floats]:
        """Mean and spread of the statistic's power at ``n`` rows, ``(…, f)``.

        ``reference`` rows may be fewer than those that the null was drawn against: variances
        add, so that both grow with ``1/n + 1/reference``.
        """
        mean, spread = (interpolated(self.grid, table[statistic], n)
                        for table in (self.mean, self.spread))
        factor = (np.ones(np.shape(n)) if self.statistics[statistic] == "chi2"
                  else widened(n, reference, self.rows))
        mean, spread = dispersed(mean, spread, n, self.dispersion[statistic, span],
                                 self.unevenness[statistic, span])
        return mean * factor, spread * factor

    def surprise(self, statistic: int, span: int, value: Floats, n: Floats,
                 reference: Floats) -> Floats:
        """How surprising the statistic is, stretched; NaN where it is not tested."""
        mean, spread = self.moments(statistic, span, n, reference)
        found = surprise(np.nan_to_num(value) ** POWER[self.statistics[statistic]], mean, spread,
                         self.known[statistic, span])
        tested = np.isfinite(value) & (n >= max(FEWEST_ROWS, self.grid[0]))
        return np.where(tested, found / self.stretch[statistic, span], np.nan)

    def thresholds(self, statistic: int, span: int, n: Floats, reference: Floats, *,
                   level: float | None = None, easing: float = 1.0) -> Floats:
        """What the statistic stays below at ``n`` rows: its value at the alarm's surprise, and
        at least the null's mean plus the minimum effect (or a share of it)."""
        mean, spread = self.moments(statistic, span, n, reference)
        power = POWER[self.statistics[statistic]]
        level = self.alarm if level is None else level
        value = unsurprising(level * np.minimum(self.stretch[statistic, span], 1e3), mean, spread,
                             self.known[statistic, span])
        return np.maximum(value ** (1 / power),
                          mean ** (1 / power) + easing * self.effects[statistic])

    def least(self, statistic: int, span: int, n: Floats) -> Floats:
        """The null's mean plus the minimum effect."""
        mean, _ = self.moments(statistic, span, n, self.rows)
        return mean ** (1 / POWER[self.statistics[statistic]]) + self.effects[statistic]

    def joint(self, statistic: int, span: int, mean: float) -> float:
        """How surprising this mean surprise of all features is; NaN where it is not tested."""
        null = self.together[:, statistic, span]
        if not np.isfinite(null).all() or not np.isfinite(mean):
            return float("nan")
        one = [np.array([value]) for value in (mean, *null[:3])]
        return float(surprise(*one)[0] / null[3])

    def joint_threshold(self, statistic: int, span: int, level: float) -> float:
        """The mean surprise of all features that is so surprising."""
        null = self.together[:, statistic, span]
        return float(unsurprising(*(np.array([value]) for value in (
            level * null[3], *null[:3])))[0])

    def columns(self, keys: Sequence[str]) -> Limits:
        """The limits of these columns; a column that is unknown here is never surprising."""
        places = [self.keys.index(key) if key in self.keys else -1 for key in keys]
        unknown = np.array(places) < 0
        stretch = self.stretch[..., places].copy()
        stretch[..., unknown] = np.inf
        return replace(
            self, keys=tuple(keys), mean=self.mean[:, places], spread=self.spread[:, places],
            dispersion=self.dispersion[..., places], unevenness=self.unevenness[..., places],
            known=self.known[..., places], stretch=stretch, rows=self.rows[places])

    def to_dict(self) -> dict[str, Any]:
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: _plain(value) if isinstance(value, np.ndarray) else value
                for name, value in plain.items()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Limits:
        arrays = {"grid", "mean", "spread", "dispersion", "unevenness", "known", "stretch",
                  "rows", "together"}
        tuples = {"keys", "statistics", "spans", "effects"}
        made: dict[str, Any] = {
            name: np.array(value, dtype=np.float64) if name in arrays
            else tuple(value) if name in tuples else value for name, value in row.items()}
        statistics, keys = len(made["statistics"]), len(made["keys"])
        for name in ("mean", "spread"):
            made[name] = made[name].reshape(statistics, keys, -1)
        for name in ("dispersion", "unevenness", "known", "stretch"):
            made[name] = made[name].reshape(statistics, len(made["spans"]), keys)
        made["together"] = made["together"].reshape(4, statistics, len(made["spans"]))
        return cls(**made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


def interpolated(grid: Floats, table: Floats, n: Floats) -> Floats:
    """``table`` ``(f, p)`` on ``grid`` at ``n`` ``(…, f)`` rows, linear in the logarithms."""
    logs, points = np.log(np.maximum(table, 1e-12)), np.log(grid)
    at = np.clip(np.log(np.maximum(n, 1.0)), points[0], points[-1])
    place = np.clip(np.searchsorted(points, at), 1, points.size - 1)
    weight = (at - points[place - 1]) / (points[place] - points[place - 1])
    column = np.arange(len(table))
    return np.asarray(np.exp(logs[column, place - 1] * (1 - weight)
                             + logs[column, place] * weight))


def dispersed(mean: Floats, spread: Floats, n: Floats, dispersion: Floats, unevenness: Floats
              ) -> tuple[Floats, Floats]:
    """Moments with over-dispersion: those of a non-central chi-squared whose centre varies.

    ``(n - 1) * dispersion`` is the mean of the centre in units of the plain mean, ``unevenness``
    its relative variance: that of a Dirichlet-multinomial is the plain statistic's own.
    """
    centre = np.maximum(n - 1, 0.0) * dispersion
    variance = spread**2 * (1 + 2 * centre) + unevenness * (centre * mean) ** 2
    return mean * (1 + centre), np.sqrt(variance)


def widened(n: Floats, reference: Floats, usual: Floats) -> Floats:
    """By how much a null widens against ``reference`` rows in place of the ``usual`` ones."""
    n = np.maximum(n, 1.0)
    return np.asarray((1 / n + 1 / np.maximum(reference, 1.0))
                      / (1 / n + 1 / np.maximum(usual, 1.0)))


def short(values: Floats) -> Floats:
    """Five significant digits, so that a baseline stays small."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = 10.0 ** (4 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * digits) / digits
    return np.where(np.isfinite(rounded) & (values != 0), rounded, values)


def _plain(values: Floats) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.ravel()]
