"""What Evidently 0.7 and NannyML 0.13 say by default, re-implemented to judge thousands of windows.

From their published definitions: for a reference of up to 1,000 rows Evidently tests (KS,
chi-squared or Z at .05), beyond that it measures (Wasserstein-1 over the reference's standard
deviation, or Jensen-Shannon in nats, at .1); a data set drifts when half of its columns do.
NannyML measures Jensen-Shannon (base 2) over Doane's histogram of the reference, or its
categories, and alarms beyond mean + 3 standard deviations over the reference's chunks.
``tests/contracts/test_peers.py`` holds both to the packages.

A strength is 1 at the tool's own threshold and rises with the evidence, so that a factor on it
sets any alarm rate. A column without a value in the window (Evidently raises) has strength 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from tests.benchmarks.windowed import Windows

Floats = npt.NDArray[np.float64]

SMALL = 1000
"""Reference rows up to which Evidently tests rather than measures."""
FEW = 5
"""Distinct values up to which Evidently takes a number for categories."""
INTEGERS = 10
"""Distinct values up to which Evidently's column types call an integer a category."""
LEVEL, DISTANCE = 0.05, 0.1
"""Evidently's default p-value and distance."""


class Evidently:
    """Evidently's default drift tests; an alarm when ``share`` of the columns drift (0: any)."""

    def __init__(self, name: str, share: float) -> None:
        self.name, self.share = name, share
        self._reference = pd.DataFrame()

    def fit(self, reference: Windows) -> None:
        self._reference = reference.frame

    def scores(self, windows: Windows) -> Floats:
        strength = _strengths(self._reference, windows)
        needed = max(int(np.ceil(self.share * len(strength))), 1)
        return np.asarray(strength[needed - 1])


_NEWEST: list[tuple[pd.DataFrame, Windows, Floats]] = []


def _strengths(reference: pd.DataFrame, windows: Windows) -> Floats:
    """Strengths of all columns, the largest first, ``(columns, windows)``.

    The newest are kept: the two ways to count drifted columns ask for the same ones.
    """
    if not (_NEWEST and _NEWEST[0][0] is reference and _NEWEST[0][1] is windows):
        found = np.stack([evidently_strength(reference[name], column, windows)
                          for name, column in windows.frame.items()])
        _NEWEST[:] = [(reference, windows, np.sort(found, axis=0)[::-1])]
    return _NEWEST[0][2]


def evidently_strength(reference: pd.Series, column: pd.Series, windows: Windows) -> Floats:
    """How strongly Evidently finds the column to have drifted, per window."""
    value, below = evidently_drift(reference, column, windows)
    testing = np.log(np.maximum(value, 1e-300)) / np.log(LEVEL)
    strength = np.where(below, testing, value / DISTANCE)
    return np.nan_to_num(strength, nan=0.0)


def evidently_drift(reference: pd.Series, column: pd.Series, windows: Windows
                    ) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Evidently's drift score per window, and where it is a p-value; NaN without values."""
    reference = reference.replace([np.inf, -np.inf], np.nan) if _number(reference) else reference
    reference = reference.dropna()
    small = len(reference) <= SMALL
    category = not _number(reference) or (
        reference.dtype.kind == "i" and reference.nunique() <= INTEGERS)
    if not category and reference.nunique() > FEW:
        value = (_ks if small else _wasserstein)(_floats(reference), column, windows)
        return value, np.full(len(windows), small)
    before, counts = _tallies(reference, column, windows)
    distinct = ((before > 0) | (counts > 0)).sum(axis=1)
    value = _tested(before, counts, distinct) if small else _jensen(before, counts, np.e)
    wide = ~np.full(len(windows), category) & (distinct > FEW)
    if wide.any():
        moved = (_ks if small else _wasserstein)(_floats(reference), column, windows)
        value = np.where(wide, moved, value)
    return value, np.full(len(windows), small)


class NannyML:
    """NannyML's univariate Jensen-Shannon drift; an alarm when any column is beyond its limit."""

    name = "nannyml"

    def __init__(self) -> None:
        self._measures: dict[str, Callable[[pd.Series, Windows], Floats]] = {}
        self._limits: dict[str, float] = {}

    def fit(self, reference: Windows) -> None:
        for name, column in reference.frame.items():
            self._measures[str(name)] = nannyml_distance(column)
            own = self._measures[str(name)](column, reference)
            self._limits[str(name)] = float(np.nanmean(own) + 3 * np.nanstd(own))

    def scores(self, windows: Windows) -> Floats:
        strength = [self._measures[str(name)](column, windows)
                    / max(self._limits[str(name)], 1e-9)
                    for name, column in windows.frame.items()]
        return np.nan_to_num(np.stack(strength), nan=0.0).max(axis=0)


def nannyml_distance(reference: pd.Series) -> Callable[[pd.Series, Windows], Floats]:
    """Jensen-Shannon distance (base 2) of every window of a column to the reference."""
    if not _number(reference):
        return lambda column, windows: _jensen(*_known(reference, column, windows), 2.0)
    values = _floats(reference.dropna())
    edges = np.histogram_bin_edges(values, bins="doane")
    before = np.append(np.histogram(values, edges)[0], 0)

    def distance(column: pd.Series, windows: Windows) -> Floats:
        held = column.notna().to_numpy()
        found = _floats(column[held])
        cell = np.searchsorted(edges, found, side="right") - 1
        cell[found == edges[-1]] = edges.size - 2
        cell[(cell < 0) | (cell > edges.size - 2)] = edges.size - 1
        return _jensen(before, _spread(cell, windows.owner[held], len(windows), before.size), 2.0)

    return distance


def _number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _floats(column: pd.Series) -> Floats:
    return column.to_numpy(dtype=np.float64)


def _spread(cell: npt.NDArray[np.intp], owner: npt.NDArray[np.intp], count: int, size: int
            ) -> Floats:
    """Rows per window and cell, shape ``(count, size)``."""
    flat = np.bincount(owner * size + cell, minlength=count * size)
    return flat.reshape(count, size).astype(np.float64)


def _tallies(reference: pd.Series, column: pd.Series, windows: Windows) -> tuple[Floats, Floats]:
    """Rows per value in the reference and in each window, over the union of their values."""
    both = pd.concat([reference.astype(object), column.astype(object)]) if (
        _number(reference)) else pd.concat([reference, column])
    codes, names = pd.factorize(both)
    before, after = codes[:len(reference)], codes[len(reference):]
    held = after >= 0
    return (np.bincount(before[before >= 0], minlength=len(names)).astype(np.float64),
            _spread(after[held], windows.owner[held], len(windows), len(names)))


def _known(reference: pd.Series, column: pd.Series, windows: Windows) -> tuple[Floats, Floats]:
    """As ``_tallies`` over the reference's values; all others share one last cell."""
    before, counts = _tallies(reference, column, windows)
    seen = before > 0
    rest = counts[:, ~seen].sum(axis=1, keepdims=True)
    return np.append(before[seen], 0.0), np.hstack([counts[:, seen], rest])


def _jensen(before: Floats, counts: Floats, base: float) -> Floats:
    """Jensen-Shannon distance of each row of ``counts`` to ``before``; NaN for an empty row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first = before / before.sum()
        second = counts / counts.sum(axis=1, keepdims=True)
        middle = (first + second) / 2
        left = np.where(first > 0, first * np.log(first / middle), 0.0)
        right = np.where(second > 0, second * np.log(second / middle), 0.0)
        total = (left + np.where(np.isnan(second), np.nan, right)).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(total, 0) / np.log(base) / 2))


def _ranked(column: pd.Series, windows: Windows) -> tuple[Floats, npt.NDArray[np.intp],
                                                          npt.NDArray[np.intp], Floats]:
    """Finite values sorted within windows, their windows, places within them, and rows of each."""
    values = _floats(column)
    held = np.isfinite(values)
    values, owner = values[held], windows.owner[held]
    order = np.lexsort((values, owner))
    sizes = np.bincount(owner, minlength=len(windows))
    place = np.arange(values.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return values[order], owner, place, sizes.astype(np.float64)


def _wasserstein(reference: Floats, column: pd.Series, windows: Windows) -> Floats:
    """Wasserstein-1 over the reference's standard deviation.

    The integral over u of |Q(u) - q(u)|: the window's quantile function q is a constant on each
    of its rows' stretches of u, and Q's integral is known, so a row costs one search.
    """
    ordered = np.sort(reference)
    total = np.concatenate([[0.0], np.cumsum(ordered)]) / ordered.size
    values, owner, place, sizes = _ranked(column, windows)
    low, high = place / sizes[owner], (place + 1) / sizes[owner]
    met = np.clip(np.searchsorted(ordered, values) / ordered.size, low, high)

    def area(share: Floats) -> Floats:
        whole = np.minimum((share * ordered.size + 1e-9).astype(np.intp), ordered.size - 1)
        return np.asarray(total[whole] + (share - whole / ordered.size) * ordered[whole])

    middle = area(met)
    moved = (values * (2 * met - low - high) + area(low) + area(high) - 2 * middle)
    summed = np.bincount(owner, weights=moved, minlength=len(windows))
    summed[summed < 1e-9 * max(float(np.abs(ordered).max()), 1e-12)] = 0.0  # rounding, no shift
    norm = max(float(np.std(reference)), 0.001)
    return np.where(sizes > 0, summed / norm, np.nan)


def _ks(reference: Floats, column: pd.Series, windows: Windows) -> Floats:
    """The p-value of ``scipy.stats.ks_2samp`` per window; one call for each value of D."""
    ordered = np.sort(reference)
    values, owner, _, _ = _ranked(column, windows)
    result = np.full(len(windows), np.nan)
    starts = np.searchsorted(owner, np.arange(len(windows) + 1))
    for index in range(len(windows)):
        own = values[starts[index]:starts[index + 1]]
        if own.size:
            both = np.concatenate([ordered, own])
            gap = (np.searchsorted(own, both, "right") / own.size
                   - np.searchsorted(ordered, both, "right") / ordered.size)
            key = (ordered.size, own.size,
                   round(float(np.abs(gap).max()) * ordered.size * own.size))
            if key not in _P_VALUES:
                _P_VALUES[key] = float(stats.ks_2samp(ordered, own).pvalue)
            result[index] = _P_VALUES[key]
    return result


_P_VALUES: dict[tuple[int, int, int], float] = {}


def _tested(before: Floats, counts: Floats, distinct: npt.NDArray[np.intp]) -> Floats:
    """p-values of chi-squared, or of Z where only two values are held."""
    rows = counts.sum(axis=1, keepdims=True)
    expected = before * rows / before.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where((before > 0) | (counts > 0), (counts - expected) ** 2 / expected, 0.0)
        squared = gap.sum(axis=1)
        chi = stats.chi2.sf(squared, np.maximum(distinct - 1, 1))
        first = int(np.argmax(before > 0))
        old, new = 1 - before[first] / before.sum(), 1 - counts[:, first] / rows[:, 0]
        pooled = (old * before.sum() + new * rows[:, 0]) / (before.sum() + rows[:, 0])
        spread = np.sqrt(pooled * (1 - pooled) * (1 / before.sum() + 1 / rows[:, 0]))
        ratio = 2 * stats.norm.sf(np.abs(old - new) / spread)
    ratio = np.where(distinct < 2, 1.0, ratio)
    return np.where(rows[:, 0] > 0, np.where(distinct > 2, chi, ratio), np.nan)
