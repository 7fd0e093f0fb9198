"""Drift: how far a window's counts lie from the reference's, one number per statistic.

PSI, Jensen-Shannon, Hellinger, total variation and chi-squared of numbers are taken on the
groups of a ``Ruler``, KS and Wasserstein on its cells; all features of a ruler and any number of
windows at once. Formulas, sources and limits are in ``docs/statistics.md``. Nulls are no part of
a distribution: they have ``null_rate``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.bins import CategoryBins, FeatureBins
from monitor.ruler import Ruler, Sample, ruler

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DriftResult:
    """One statistic of one feature; ``n`` rows had a value.

    ``value`` is exact for the counted cells and lies within ``error_bound`` of the raw rows'
    value. ``threshold`` is None where the statistic informs only. ``windows`` is the number of
    newest windows that it is taken over: more than one where slow drift is looked for.
    ``importance`` is the feature's share of what all features are worth, where that is known.
    """

    feature: str
    segment: str
    statistic: str
    value: float
    threshold: float | None
    error_bound: float
    n: int
    drifted: bool = False
    windows: int = 1
    importance: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every statistic of every column; those over several windows only where they drifted.

    ``severity`` is the largest value over its threshold, None where nothing was tested;
    ``calm`` says that every tested value lies below what closes an episode.
    """

    results: tuple[DriftResult, ...]
    severity: float | None
    calm: bool


def _shares(rule: Ruler, sample: Sample) -> tuple[Floats, Floats]:
    """Shares of the groups in the reference and in the window; 0 where a side is empty."""
    of = rule.plan.group_of
    return (rule.groups / np.maximum(rule.rows, 1.0)[..., of],
            sample.groups / np.maximum(sample.rows, 1.0)[..., of])


def _psi(rule: Ruler, sample: Sample) -> Floats:
    """Population stability index; a share counts as no less than half a row of the smaller side."""
    floor = (0.5 / np.maximum(np.minimum(rule.rows, sample.rows), 1.0))[..., rule.plan.group_of]
    reference, current = (np.maximum(share, floor) for share in _shares(rule, sample))
    return rule.plan.per_group_feature((reference - current) * np.log(reference / current))


def _js(rule: Ruler, sample: Sample) -> Floats:
    """Jensen-Shannon distance, base 2: ``scipy.spatial.distance.jensenshannon(p, q, 2)``."""
    reference, current = _shares(rule, sample)
    middle = (reference + current) / 2
    bits = _bits(reference, middle) + _bits(current, middle)
    return np.asarray(np.sqrt(np.maximum(rule.plan.per_group_feature(bits), 0) / 2))


def _bits(share: Floats, middle: Floats) -> Floats:
    share, middle = np.broadcast_arrays(share, middle)
    ratio = np.divide(share, middle, out=np.ones(middle.shape), where=(middle > 0) & (share > 0))
    return np.asarray(share * np.log2(ratio))


def _hellinger(rule: Ruler, sample: Sample) -> Floats:
    """Hellinger distance ``sqrt(1 - sum sqrt(p q))``."""
    reference, current = _shares(rule, sample)
    gap = (np.sqrt(reference) - np.sqrt(current)) ** 2
    return np.asarray(np.sqrt(rule.plan.per_group_feature(gap) / 2))


def _tv(rule: Ruler, sample: Sample) -> Floats:
    """Total variation distance ``sum |p - q| / 2``."""
    reference, current = _shares(rule, sample)
    return rule.plan.per_group_feature(np.abs(reference - current)) / 2


def _chi2(rule: Ruler, sample: Sample) -> Floats:
    """Two-sample chi-squared: ``scipy.stats.chi2_contingency(…, correction=False)``."""
    of = rule.plan.group_of
    reference, current = _joined(rule.groups, rule), _joined(sample.groups, rule)
    both = reference + current
    ratio = np.sqrt(np.maximum(sample.rows, 1.0) / np.maximum(rule.rows, 1.0))[..., of]
    gap = (ratio * reference - current / ratio) ** 2
    both = np.broadcast_to(both, gap.shape)
    return rule.plan.per_group_feature(
        np.divide(gap, both, out=np.zeros(gap.shape), where=both > 0))


def _joined(groups: Floats, rule: Ruler) -> Floats:
    kept = np.where(rule.rare, 0.0, groups)
    kept[..., rule.host] += rule.plan.per_group_feature(np.where(rule.rare, groups, 0.0))
    return np.asarray(kept)


def _ks(rule: Ruler, sample: Sample) -> Floats:
    """Kolmogorov-Smirnov at the cells' edges; the total variation where values have no order."""
    numbers = np.maximum.reduceat(np.abs(_gap(rule, sample)), rule.plan.first, axis=-1)
    return _or_categories(numbers, rule, sample)


def _wasserstein(rule: Ruler, sample: Sample) -> Floats:
    """Wasserstein-1 over the reference's standard deviation; total variation of categories."""
    moved = rule.plan.per_feature(np.abs(_gap(rule, sample)) * rule.plan.steps)
    return _or_categories(moved / rule.spread, rule, sample)


def _or_categories(numbers: Floats, rule: Ruler, sample: Sample) -> Floats:
    if not rule.plan.category.any():
        return numbers
    return np.where(rule.plan.category, _tv(rule, sample), numbers)


def _gap(rule: Ruler, sample: Sample) -> Floats:
    """Difference of the cumulative shares after each cell, feature by feature."""
    plan, of = rule.plan, rule.plan.cell_of
    gap = (rule.cells / np.maximum(rule.rows, 1.0)[..., of]
           - sample.cells / np.maximum(sample.rows, 1.0)[..., of])
    summed = np.cumsum(gap, axis=-1)
    before = summed[..., plan.first] - gap[..., plan.first]
    return np.asarray(summed - before[..., of])


Measure = Callable[[Ruler, Sample], Floats]


def _held(measure: Measure) -> Measure:
    """The measure, NaN where a side holds no values."""

    def held(rule: Ruler, sample: Sample) -> Floats:
        return np.where((rule.rows > 0) & (sample.rows > 0), measure(rule, sample), np.nan)

    held.__doc__ = measure.__doc__
    return held


MEASURES: dict[str, Measure] = {
    "psi": _held(_psi),
    "js": _held(_js),
    "hellinger": _held(_hellinger),
    "tv": _held(_tv),
    "chi2": _held(_chi2),
    "ks": _held(_ks),
    "wasserstein": _held(_wasserstein),
}
"""Distances of distributions: one value per feature, of one window or many, ``(…, f)``."""

COARSE = frozenset({"psi", "js", "hellinger", "tv", "chi2"})
"""Measures that look at groups only."""


def error_bound(statistic: str, rule: Ruler, sample: Sample) -> Floats:
    """How far the raw rows' value may lie from the counted one (of rows clipped to the range).

    One bound per feature; infinite where nothing is known.
    """
    plan, of = rule.plan, rule.plan.cell_of
    if statistic not in {"ks", "wasserstein"}:
        return np.zeros(np.broadcast_shapes(rule.rows.shape, sample.rows.shape))
    reference = rule.cells / np.maximum(rule.rows, 1.0)[..., of]
    current = sample.cells / np.maximum(sample.rows, 1.0)[..., of]
    if statistic == "ks":
        error = np.where(plan.pierced, np.maximum(reference, current),
                         np.minimum(reference, current))
        return np.asarray(np.maximum.reduceat(np.where(plan.spans, error, 0.0), plan.first,
                                              axis=-1))
    value = np.nan_to_num(_wasserstein(rule, sample))
    moved = plan.per_feature((reference + current) * plan.halves) / rule.spread
    left = 1 - rule.slack / rule.spread
    bound = np.divide(moved + value, left, out=np.full(value.shape, np.inf),
                      where=np.broadcast_to(left > 0, value.shape)) - value
    return np.where(plan.category, 0.0, bound)


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
        return float(measure(rule, rule.sample(current))[0])

    statistic.__doc__ = measure.__doc__
    return statistic


STATISTICS: dict[str, Callable[[Counts, Counts, FeatureBins], float]] = {
    **{name: _on_counts(measure) for name, measure in MEASURES.items()},
    "null_rate": null_rate,
    "unseen_rate": unseen_rate,
}
"""Every statistic of two count vectors of one feature; NaN where a side holds no values."""

__all__ = ["COARSE", "MEASURES", "STATISTICS", "Comparison", "DriftResult", "error_bound",
           "null_rate", "unseen_rate"]
