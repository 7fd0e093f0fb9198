"""Drift: how far a window's counts lie from the reference's, one number per statistic.

A ``Ruler`` is a feature's reference laid out for measuring: cells in the order of their values
and coarse groups of them. PSI, Jensen-Shannon, Hellinger, total variation and chi-squared of
numbers are taken on the groups, KS and Wasserstein on the cells. Formulas, sources and limits
are in ``docs/statistics.md``. Nulls are no part of a distribution: they have ``null_rate``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from monitor.bins import CategoryBins, FeatureBins, NumericBins

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

GROUPS = 10
"""Groups of near-equal reference mass that the cells of a number are joined to."""
OWN_GROUP = 0.1
"""An exact value with this share of the reference is a group of its own."""
RARE = 5.0
"""Chi-squared joins groups with fewer reference rows than this to the smallest other group, or to
one of their own where there is only one other."""


@dataclass(frozen=True, slots=True)
class DriftResult:
    """One statistic of one feature in one window; ``n`` rows had a value.

    ``value`` is exact for the counted cells and lies within ``error_bound`` of the raw rows'
    value. ``threshold`` is None where the statistic informs only.
    """

    feature: str
    segment: str
    statistic: str
    value: float
    threshold: float | None
    error_bound: float
    n: int
    drifted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which cells hold values, in order; shapes ``(m,)``.

    ``values`` are the cells' representatives (NaN for categories), ``halves`` the largest
    distance of a value in the cell from it, ``spans`` marks interval cells and ``pierced``
    those with an exact value inside.
    """

    order: Places
    values: Floats
    halves: Floats
    spans: npt.NDArray[np.bool_]
    pierced: npt.NDArray[np.bool_]


@lru_cache(maxsize=4096)
def layout(feature: FeatureBins) -> Layout:
    """The order of the feature's cells and what each of them stands for."""
    if isinstance(feature, NumericBins):
        return _ordered(feature)
    order = np.arange(2, feature.size)
    no = np.zeros(order.size, dtype=bool)
    return Layout(order, np.full(order.size, np.nan), np.zeros(order.size), no, no)


def _ordered(bins: NumericBins) -> Layout:
    exact = np.array(bins.exact, dtype=float)
    if bins.cells == 0:
        values = np.array([bins.center - 1.0, bins.center + 1.0, *exact])
        inner, halves, pierced = 2, np.zeros(values.size), np.zeros(values.size, dtype=bool)
    else:
        edges = bins.low + np.arange(bins.cells + 1) * ((bins.high - bins.low) / bins.cells)
        place = np.floor((_moved(exact, bins) - bins.low) * bins.cells / (bins.high - bins.low))
        if bins.transform == "asinh":
            edges = bins.center + bins.scale * np.sinh(edges)
        widths = np.diff(edges) / 2
        values = np.concatenate([edges[:1], edges[:-1] + widths, edges[-1:], exact])
        halves = np.concatenate([[0.0], widths, [0.0], np.zeros(exact.size)])
        inner = bins.cells + 2
        pierced = np.zeros(values.size, dtype=bool)
        pierced[np.clip(place, -1, bins.cells).astype(int) + 1] = True
    # below, cells and above lie at 4 … above in the profile; the exact values follow
    cells = np.arange(bins.first - 1, bins.impossible)
    by_value = np.argsort(values, kind="stable")
    spans = np.arange(values.size) < inner
    return Layout(cells[by_value], values[by_value], halves[by_value], spans[by_value],
                  pierced[by_value])


def _moved(values: Floats, bins: NumericBins) -> Floats:
    if bins.transform == "linear":
        return values
    return np.arcsinh((values - bins.center) / bins.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Ruler:
    """A feature's reference counts, ordered (``cells``) and grouped (``groups``).

    ``starts`` are the first cells of the groups; ``rows`` is the number of reference rows with
    a value; ``spread`` the standard deviation that Wasserstein is divided by, and ``slack`` how
    far that of the rows may lie from it. Chi-squared counts the groups marked ``rare`` with
    group ``host``.
    """

    feature: FeatureBins
    layout: Layout
    starts: Places
    cells: Floats
    groups: Floats
    rows: float
    spread: float
    slack: float
    rare: npt.NDArray[np.bool_]
    host: int

    def sample(self, counts: npt.NDArray[np.integer]) -> Sample:
        """Counts of one window ``(size,)`` or many ``(…, size)``, ordered and grouped."""
        return self.arranged(counts[..., self.layout.order].astype(np.float64))

    def arranged(self, cells: Floats) -> Sample:
        """Counts that already follow the order of ``cells``."""
        return self.grouped(np.add.reduceat(cells, self.starts, axis=-1), cells)

    def grouped(self, groups: Floats, cells: Floats | None = None) -> Sample:
        """Counts per group; enough for the statistics in ``COARSE``."""
        rows = groups.sum(axis=-1, keepdims=True)
        return Sample(groups if cells is None else cells, groups, rows)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Ordered cells, their groups and the number of rows, shapes ``(…, m), (…, g), (…, 1)``."""

    cells: Floats
    groups: Floats
    rows: Floats


def ruler(reference: Counts, feature: FeatureBins, *, starts: Places | None = None) -> Ruler:
    """The reference counts ``(size,)`` made ready; ``starts`` keeps the groups of another."""
    plan = layout(feature)
    cells = reference[plan.order].astype(np.float64)
    if starts is None:
        starts = (np.arange(plan.order.size) if isinstance(feature, CategoryBins)
                  else coarse(cells, plan))
    rows = float(cells.sum())
    spread, slack = _spread(cells, rows, plan)
    groups = np.add.reduceat(cells, starts)
    rare = groups < RARE
    alone = np.count_nonzero(~rare) < 2  # joined to the only other group they would vanish
    host = int(np.argmax(rare) if alone else np.argmin(np.where(rare, np.inf, groups)))
    rare[host] = False
    return Ruler(feature, plan, starts, cells, groups, rows, spread, slack, rare, host)


def coarse(cells: Floats, plan: Layout) -> Places:
    """First cells of about ``GROUPS`` groups of near-equal mass; heavy exact values stand alone."""
    starts, mass, left = [0], 0.0, GROUPS
    remaining = float(cells.sum())
    heavy = ~plan.spans & (cells >= max(OWN_GROUP * remaining, 1.0))
    for place in range(1, cells.size):
        mass += cells[place - 1]
        full = mass > 0 and left > 1 and mass + cells[place] / 2 >= remaining / left
        if full or heavy[place] or heavy[place - 1]:
            starts.append(place)
            remaining, mass, left = remaining - mass, 0.0, max(left - 1, 1)
    return np.array(starts, dtype=np.intp)


def _spread(cells: Floats, rows: float, plan: Layout) -> tuple[float, float]:
    """Standard deviation of the representatives, and how far the clipped rows' may lie from it."""
    if rows == 0 or np.isnan(plan.values).any():
        return 1.0, 0.0
    share = cells / rows
    mean = float(share @ plan.values)
    deviation = float(np.sqrt(share @ (plan.values - mean) ** 2))
    width = float(plan.values[-1] - plan.values[0])
    if deviation <= 1e-12 * max(width, abs(mean)):
        return width / 2 or 1.0, 0.0
    return deviation, float(np.sqrt(share @ plan.halves**2))


def _shares(rule: Ruler, sample: Sample) -> tuple[Floats, Floats]:
    return rule.groups / rule.rows, sample.groups / sample.rows


def _psi(rule: Ruler, sample: Sample) -> Floats:
    """Population stability index; a share counts as no less than half a row of the smaller side."""
    floor = 0.5 / np.minimum(rule.rows, sample.rows)
    reference, current = (np.maximum(share, floor) for share in _shares(rule, sample))
    return np.asarray(((reference - current) * np.log(reference / current)).sum(axis=-1))


def _js(rule: Ruler, sample: Sample) -> Floats:
    """Jensen-Shannon distance, base 2: ``scipy.spatial.distance.jensenshannon(p, q, 2)``."""
    reference, current = _shares(rule, sample)
    middle = (reference + current) / 2
    bits = _bits(reference, middle) + _bits(current, middle)
    return np.asarray(np.sqrt(np.maximum(bits, 0) / 2))


def _bits(share: Floats, middle: Floats) -> Floats:
    ratio = np.divide(share, middle, out=np.ones(middle.shape), where=(middle > 0) & (share > 0))
    return np.asarray((share * np.log2(ratio)).sum(axis=-1))


def _hellinger(rule: Ruler, sample: Sample) -> Floats:
    """Hellinger distance ``sqrt(1 - sum sqrt(p q))``."""
    reference, current = _shares(rule, sample)
    gap = (np.sqrt(reference) - np.sqrt(current)) ** 2
    return np.asarray(np.sqrt(gap.sum(axis=-1) / 2))


def _tv(rule: Ruler, sample: Sample) -> Floats:
    """Total variation distance ``sum |p - q| / 2``."""
    reference, current = _shares(rule, sample)
    return np.asarray(np.abs(reference - current).sum(axis=-1) / 2)


def _chi2(rule: Ruler, sample: Sample) -> Floats:
    """Two-sample chi-squared: ``scipy.stats.chi2_contingency(…, correction=False)``."""
    reference, current = _joined(rule.groups, rule), _joined(sample.groups, rule)
    both = reference + current
    ratio = np.sqrt(sample.rows / rule.rows)
    gap = (ratio * reference - current / ratio) ** 2
    return np.asarray(np.divide(gap, both, out=np.zeros(gap.shape), where=both > 0).sum(axis=-1))


def _joined(groups: Floats, rule: Ruler) -> Floats:
    kept = np.where(rule.rare, 0.0, groups)
    kept[..., rule.host] += groups[..., rule.rare].sum(axis=-1)
    return np.asarray(kept)


def _ks(rule: Ruler, sample: Sample) -> Floats:
    """Kolmogorov-Smirnov at the cells' edges; the total variation where values have no order."""
    if isinstance(rule.feature, CategoryBins):
        return _tv(rule, sample)
    return np.asarray(np.abs(_gap(rule, sample)).max(axis=-1))


def _wasserstein(rule: Ruler, sample: Sample) -> Floats:
    """Wasserstein-1 over the reference's standard deviation; total variation of categories."""
    if isinstance(rule.feature, CategoryBins):
        return _tv(rule, sample)
    steps = np.diff(rule.layout.values) / rule.spread
    return np.asarray(np.abs(_gap(rule, sample)[..., :-1]) @ steps)


def _gap(rule: Ruler, sample: Sample) -> Floats:
    return np.cumsum(rule.cells / rule.rows - sample.cells / sample.rows, axis=-1)


Measure = Callable[[Ruler, Sample], Floats]

MEASURES: dict[str, Measure] = {
    "psi": _psi,
    "js": _js,
    "hellinger": _hellinger,
    "tv": _tv,
    "chi2": _chi2,
    "ks": _ks,
    "wasserstein": _wasserstein,
}
"""Distances of distributions, for one window or many at once."""

COARSE = frozenset({"psi", "js", "hellinger", "tv", "chi2"})
"""Measures that look at groups only."""


def error_bound(statistic: str, rule: Ruler, sample: Sample) -> float:
    """How far the raw rows' value may lie from the counted one (of rows clipped to the range)."""
    plan = rule.layout
    if statistic not in {"ks", "wasserstein"} or isinstance(rule.feature, CategoryBins):
        return 0.0
    reference, current = rule.cells / rule.rows, sample.cells / sample.rows
    if statistic == "ks":
        error = np.where(plan.pierced, np.maximum(reference, current),
                         np.minimum(reference, current))
        return float(np.max(error, where=plan.spans, initial=0.0))
    moved = float((reference + current) @ plan.halves) / rule.spread
    value = float(_wasserstein(rule, sample))
    if rule.slack >= rule.spread:
        return float("inf")
    return (moved + value) / (1 - rule.slack / rule.spread) - value


def null_rate(reference: Counts, current: Counts, feature: FeatureBins) -> float:
    """Share of nulls in the window minus that in the reference, in [-1, 1]."""
    return float(current[0] / current.sum() - reference[0] / reference.sum())


def unseen_rate(reference: Counts, current: Counts, feature: FeatureBins) -> float:
    """Share of values in no named category minus that in the reference; 0 for numbers."""
    if not isinstance(feature, CategoryBins) or not current[2:].any():
        return 0.0
    before = reference[2] / reference[2:].sum() if reference[2:].any() else 0.0
    return float(current[2] / current[2:].sum() - before)


def _on_counts(measure: Measure) -> Callable[[Counts, Counts, FeatureBins], float]:
    def statistic(reference: Counts, current: Counts, feature: FeatureBins) -> float:
        rule = ruler(reference, feature)
        sample = rule.sample(current)
        return float(measure(rule, sample)) if rule.rows and sample.rows[0] else float("nan")

    statistic.__doc__ = measure.__doc__
    return statistic


STATISTICS: dict[str, Callable[[Counts, Counts, FeatureBins], float]] = {
    **{name: _on_counts(measure) for name, measure in MEASURES.items()},
    "null_rate": null_rate,
    "unseen_rate": unseen_rate,
}
"""Every statistic of two count vectors of one feature; NaN where a side holds no values."""
