"""Ruler: the reference counts of one or many features, laid out for measuring.

Cells follow the order of their values, feature after feature, and are joined to coarse groups.
Everything is kept in flat arrays with the first index of each feature, so that a thousand
features cost a handful of array operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.bins import CategoryBins, FeatureBins, NumericBins

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

GROUPS = 10
"""Groups of near-equal reference mass that the cells of a number are joined to."""
OWN_GROUP = 0.1
"""An exact value with this share of the reference is a group of its own."""
LARGEST = 1e150
"""What lies beyond counts as this in a standard deviation: squares of it are still numbers."""
RARE = 5.0
"""Chi-squared joins groups with fewer reference rows than this to the smallest other group, or to
one of their own where there is only one other."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which cells of a feature hold values, in order; shapes ``(m,)``.

    ``values`` are the cells' representatives (NaN for categories), ``halves`` the largest
    distance of a value in the cell from it, ``spans`` marks interval cells and ``pierced``
    those with an exact value inside.
    """

    order: Places
    values: Floats
    halves: Floats
    spans: Flags
    pierced: Flags


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


@dataclass(frozen=True, eq=False)
class Plan:
    """The fixed part of a ruler: where each feature's cells lie in a vector of counts.

    ``order`` picks the ``m`` value cells of all features from a vector; ``first`` is the first
    of each of the ``f`` features, ``starts`` the first cell of each of the ``g`` groups.
    """

    features: tuple[FeatureBins, ...]
    order: Places
    first: Places
    starts: Places
    values: Floats
    halves: Floats
    spans: Flags
    pierced: Flags

    @cached_property
    def cell_of(self) -> Places:
        """The feature of each cell."""
        return np.repeat(np.arange(self.first.size), np.diff(self.first, append=self.order.size))

    @cached_property
    def group_first(self) -> Places:
        """The first group of each feature."""
        return np.searchsorted(self.starts, self.first)

    @cached_property
    def group_of(self) -> Places:
        """The feature of each group."""
        return self.cell_of[self.starts]

    @cached_property
    def category(self) -> Flags:
        """Which features hold names rather than amounts."""
        return np.array([isinstance(item, CategoryBins) for item in self.features], dtype=bool)

    @cached_property
    def steps(self) -> Floats:
        """Distance from each cell's representative to the next of the same feature, else 0."""
        steps = np.diff(self.values, append=0.0)
        steps[np.append(self.first[1:], self.order.size) - 1] = 0.0
        return np.nan_to_num(steps)

    def per_feature(self, cells: Floats) -> Floats:
        """Sums over the cells of each feature, ``(…, m) -> (…, f)``."""
        return np.asarray(np.add.reduceat(cells, self.first, axis=-1))

    def per_group_feature(self, groups: Floats) -> Floats:
        """Sums over the groups of each feature, ``(…, g) -> (…, f)``."""
        return np.asarray(np.add.reduceat(groups, self.group_first, axis=-1))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Ordered cells, their groups and the rows per feature, shapes ``(…, m), (…, g), (…, f)``."""

    cells: Floats
    groups: Floats
    rows: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Ruler:
    """The reference counts over a plan: ``cells`` ordered, ``groups`` joined.

    ``rows`` are reference rows with a value per feature; ``spread`` the standard deviation that
    Wasserstein is divided by, and ``slack`` how far that of the rows may lie from it. Chi-squared
    counts the groups marked ``rare`` with the group ``host`` of their feature.
    """

    plan: Plan
    cells: Floats
    groups: Floats
    rows: Floats
    spread: Floats
    slack: Floats
    rare: Flags
    host: Places

    def sample(self, counts: npt.NDArray[Any]) -> Sample:
        """Counts of one window ``(size,)`` or many ``(…, size)``, ordered and grouped."""
        return self.arranged(counts[..., self.plan.order].astype(np.float64))

    def arranged(self, cells: Floats) -> Sample:
        """Counts that already follow the order of ``cells``."""
        return self.grouped(np.add.reduceat(cells, self.plan.starts, axis=-1), cells)

    def grouped(self, groups: Floats, cells: Floats | None = None) -> Sample:
        """Counts per group; enough for the statistics in ``drift.COARSE``."""
        return Sample(groups if cells is None else cells, groups,
                      self.plan.per_group_feature(groups))

    def against(self, counts: npt.NDArray[Any]) -> Ruler:
        """The same cells and groups over other reference counts, ``(…, size)``."""
        sample = self.sample(counts)
        spread, slack = _spread(sample.cells, sample.rows, self.plan)
        return replace(self, cells=sample.cells, groups=sample.groups, rows=sample.rows,
                       spread=spread, slack=slack)


def rulers(counts: Sequence[Counts], features: Sequence[FeatureBins], *,
           starts: Sequence[Places | None] | None = None) -> Ruler:
    """The features' reference counts made ready; ``starts`` keeps given groups of a feature."""
    plans = [layout(feature) for feature in features]
    cells = [part[plan.order].astype(np.float64)
             for part, plan in zip(counts, plans, strict=True)]
    sizes = np.array([part.size for part in cells])
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
    offsets = np.concatenate([[0], np.cumsum([item.size for item in features])[:-1]])
    groups = [_starts(*item) for item in zip(
        features, plans, cells, starts or [None] * len(plans), strict=True)]
    plan = Plan(
        tuple(features),
        np.concatenate([item.order + offset for item, offset in zip(plans, offsets, strict=True)]),
        first,
        np.concatenate([item + start for item, start in zip(groups, first, strict=True)]),
        *(np.concatenate([getattr(item, name) for item in plans])
          for name in ("values", "halves", "spans", "pierced")))
    ordered = np.concatenate(cells)
    joined = np.add.reduceat(ordered, plan.starts)
    rows = plan.per_feature(ordered)
    spread, slack = _spread(ordered, rows, plan)
    rare, host = _rare(joined, plan)
    return Ruler(plan, ordered, joined, rows, spread, slack, rare, host)


def ruler(reference: Counts, feature: FeatureBins, *, starts: Places | None = None) -> Ruler:
    """The reference counts ``(size,)`` of one feature made ready."""
    return rulers([reference], [feature], starts=[starts])


def _starts(feature: FeatureBins, plan: Layout, cells: Floats, given: Places | None) -> Places:
    if given is not None:
        return given
    if isinstance(feature, CategoryBins):
        return np.arange(plan.order.size)
    return coarse(cells, plan)


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


def _rare(groups: Floats, plan: Plan) -> tuple[Flags, Places]:
    """Groups that chi-squared joins, and the group of each feature that they are joined to."""
    rare = groups < RARE
    host = np.zeros(plan.first.size, dtype=np.intp)
    edges = np.append(plan.group_first, groups.size)
    for place, (start, end) in enumerate(pairwise(edges)):
        own, part = rare[start:end], groups[start:end]
        alone = np.count_nonzero(~own) < 2  # joined to the only other group they would vanish
        chosen = int(np.argmax(own) if alone else np.argmin(np.where(own, np.inf, part)))
        own[chosen] = False
        host[place] = start + chosen
    return rare, host


def _spread(cells: Floats, rows: Floats, plan: Plan) -> tuple[Floats, Floats]:
    """Standard deviation of the representatives, and how far the clipped rows' may lie from it."""
    of, values = plan.cell_of, np.clip(np.nan_to_num(plan.values), -LARGEST, LARGEST)
    share = cells / np.maximum(rows, 1.0)[..., of]
    mean = plan.per_feature(share * values)
    deviation = np.sqrt(plan.per_feature(share * (values - mean[..., of]) ** 2))
    width = np.maximum.reduceat(values, plan.first) - np.minimum.reduceat(values, plan.first)
    flat = deviation <= 1e-12 * np.maximum(width, np.abs(mean))
    known = (rows > 0) & ~plan.category
    spread = np.where(known, np.where(flat, np.where(width > 0, width / 2, 1.0), deviation), 1.0)
    slack = np.where(known & ~flat, np.sqrt(plan.per_feature(share * plan.halves**2)), 0.0)
    return spread, slack
