"""Contrast: one window's counts, and those of the windows before it, against a reference.

The newest window is measured by itself and together with the windows before it, so that a drift
too slow for any single window is seen too (a window-limited scan, Lai 1995). Windows that
stand out by themselves are left out of such sums: one bad day is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from monitor.bins import CategoryBins, FeatureBins
from monitor.drift import MEASURES, Comparison, DriftResult, error_bound, null_rate, unseen_rate
from monitor.limits import Limits
from monitor.modes import Mode, members, seconds
from monitor.presets import Preset
from monitor.profile import Profile
from monitor.ruler import Ruler, Sample

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Earlier = Sequence[tuple[datetime, Profile]]
"""Windows before the one that is judged, with their starts, oldest first."""

REPORTED = ("psi", "js", "ks", "wasserstein", "chi2")
"""Measures that every verdict carries (KS and Wasserstein for numbers)."""
ORDERED = ("ks", "wasserstein")
"""Those of them that say nothing more of names."""
TOGETHER = "all features"
"""The name of all features taken as one."""
EASED = 0.8
"""Share of the minimum effect under which a column counts as calm again."""
ENOUGH = 0.5
"""Share of a span's windows that must be left for it to be tested."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """Reference windows by themselves, for modes that choose among them."""

    starts: Floats
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The columns of some roles: their places in a profile, their ruler and their limits."""

    keys: tuple[str, ...]
    features: tuple[FeatureBins, ...]
    slices: tuple[slice, ...]
    places: npt.NDArray[np.intp]
    reference: tuple[npt.NDArray[np.int64], ...]
    rule: Ruler
    limits: Limits | None


class Against(Protocol):
    """What a comparison needs of a baseline."""

    @property
    def mode(self) -> Mode: ...
    @property
    def length(self) -> float: ...
    @property
    def past(self) -> Past | None: ...
    @property
    def preset(self) -> Preset | None: ...
    @property
    def control(self) -> str: ...


Before = tuple[datetime, Earlier]
"""When a window starts, and the windows before it."""


def compare(part: Part, baseline: Against, profile: Profile, *, segment: str = "",
            window: Before | None = None) -> Comparison:
    """The columns of ``part`` in this profile; ``window`` tells its start and what came before."""
    rule, sample, tests, scanned = _all(part, baseline, profile, window)
    limits = None if baseline.preset or baseline.control != "joint" else part.limits
    joint = [] if limits is None else list(_together(part, limits, [*tests, *scanned]))
    results = tuple(_single(part, rule, sample, profile, segment, tests, baseline.preset))
    slow = tuple(item for found in scanned for item in _drifted(part, found, segment))
    if baseline.preset is not None:
        return baseline.preset.told(results)
    every = [*tests, *scanned, *joint]
    alone = any(item.drifted for item in results + slow)
    weak = () if alone else tuple(  # what single columns tell needs no sum
        DriftResult(TOGETHER, segment, f"mean surprise of {item.statistic}",
                    float(item.value[0]), float(item.threshold[0]), 0.0, int(item.n[0]), True,
                    item.windows) for item in joint if item.drifted[0])
    return Comparison(results + slow + weak, _severest(every), all(item.calm for item in every))


def severity(part: Part, baseline: Against, profile: Profile, *, window: Before | None = None
             ) -> float | None:
    """The severity alone of what ``compare`` tells."""
    if baseline.preset is not None:
        return compare(part, baseline, profile, window=window).severity
    _, _, tests, scanned = _all(part, baseline, profile, window)
    joint = ([] if part.limits is None or baseline.control != "joint"
             else _together(part, part.limits, [*tests, *scanned]))
    return _severest([*tests, *scanned, *joint])


def _all(part: Part, baseline: Against, profile: Profile, window: Before | None
         ) -> tuple[Ruler, Sample, list[Tested], list[Tested]]:
    """What the window is measured with, and its tests: alone, and with those before it."""
    at, earlier = window if window is not None else (None, ())
    newest = profile.counts[part.places]
    rule = _rule(part, baseline, at, earlier)
    sample = rule.sample(newest)
    limits = None if baseline.preset else part.limits
    tests = [] if limits is None else _tests(limits, rule, sample)
    scanned = [] if limits is None or at is None else list(
        _scan(limits, rule, _near(part, newest, at, earlier, longest=max(limits.spans)
                                  * baseline.length), baseline.length))
    if limits is not None and baseline.control != "joint":
        tests = _controlled(tests, baseline.control, limits)
    return rule, sample, tests, scanned


def _severest(tests: Sequence[Tested]) -> float | None:
    found = [item.severity for item in tests]
    return max((item for item in found if item is not None), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """One statistic over one span for all columns; NaN where it was not tested."""

    statistic: str
    windows: int
    value: Floats
    threshold: Floats
    eased: Floats
    surprise: Floats
    n: Floats
    drifted: Flags

    @property
    def severity(self) -> float | None:
        known = np.isfinite(self.surprise)
        if not known.any():
            return None
        return float(np.max(self.value[known] / np.maximum(self.threshold[known], 1e-12)))

    @property
    def calm(self) -> bool:
        return not bool((self.value > self.eased)[np.isfinite(self.surprise)].any())


def _together(part: Part, limits: Limits, tests: Sequence[Tested]) -> Iterator[Tested]:
    """All features as one test: many that move a little, none of them enough by itself.

    It drifts only where the statistics lie above their nulls by the minimum effect on average.
    """
    inputs = np.array([feature.role == "feature" for feature in part.features])
    for item in tests:
        known = inputs & np.isfinite(item.surprise)
        place, span = limits.statistics.index(item.statistic), limits.spans.index(item.windows)
        if known.sum() < 2 or not np.isfinite(limits.together[:, place, span]).all():
            continue
        mean = np.array([item.surprise[known].mean()])
        least = limits.least(place, span, item.n)[known].mean()
        found = np.array([limits.joint(place, span, float(mean[0]))])
        large = bool(item.value[known].mean() >= least)
        high, eased = (np.array([limits.joint_threshold(place, span, level)])
                       for level in (limits.alarm, limits.calm))
        if not large:
            found = np.array([np.nan])
        yield Tested(item.statistic, item.windows, mean, high, eased, found,
                     np.array([item.n[known].mean()]), (found > limits.alarm))


def _rule(part: Part, baseline: Against, at: datetime | None, earlier: Earlier) -> Ruler:
    """The ruler over the reference that the mode chooses for a window at ``at``."""
    if baseline.mode == "fixed" or baseline.past is None or at is None or part.limits is None:
        return part.rule
    starts = np.concatenate([baseline.past.starts, seconds([start for start, _ in earlier])])
    gap = max(part.limits.spans)
    weights = members(baseline.mode, starts, seconds([at])[0], length=baseline.length, gap=gap)
    held = baseline.past.starts.size
    counts = weights[:held] @ baseline.past.counts[:, part.places].astype(np.float64)
    for weight, (_, profile) in zip(weights[held:], earlier, strict=True):
        if weight:
            counts = counts + profile.counts[part.places]
    return part.rule if not counts.any() else part.rule.against(counts)


def _tests(limits: Limits, rule: Ruler, sample: Sample, span: int = 0) -> list[Tested]:
    """Every tested statistic over one span."""
    found = []
    for place, name in enumerate(limits.statistics):
        value = MEASURES[name](rule, sample)
        surprise = limits.surprise(place, span, value, sample.rows, rule.rows)
        threshold = limits.thresholds(place, span, sample.rows, rule.rows)
        eased = limits.thresholds(place, span, sample.rows, rule.rows, level=limits.calm,
                                  easing=EASED)
        drifted = np.isfinite(surprise) & (value > threshold)
        found.append(Tested(name, limits.spans[span], value, threshold, eased, surprise,
                            sample.rows, drifted))
    return found


def _near(part: Part, newest: npt.NDArray[np.int64], at: datetime, earlier: Earlier, *,
          longest: float) -> tuple[npt.NDArray[np.int64], Floats]:
    """Counts of the windows up to ``longest`` seconds back, the newest last, and their ages."""
    near = [((at - start).total_seconds(), profile.counts[part.places])
            for start, profile in earlier if 0 < (at - start).total_seconds() < longest]
    return (np.array([*(counts for _, counts in near), newest]),
            np.array([*(age for age, _ in near), 0.0]))


def _scan(limits: Limits, rule: Ruler, near: tuple[npt.NDArray[np.int64], Floats],
          length: float) -> Iterator[Tested]:
    """Tests over several newest windows; a column's windows that stand out alone are left out."""
    counts, ages = near
    if len(counts) == 1 or len(limits.spans) == 1:
        return
    every = rule.sample(counts)
    quiet = every.rows > 0
    for place, name in enumerate(limits.statistics):
        highest = limits.thresholds(place, 0, every.rows, rule.rows)
        quiet &= ~(np.nan_to_num(MEASURES[name](rule, every)) > highest)
    for place, span in enumerate(limits.spans[1:], 1):
        kept = quiet & (ages <= (span - 0.5) * length)[:, None]
        summed = np.where(kept[:, rule.plan.cell_of], every.cells, 0.0).sum(axis=0)
        enough = kept.sum(axis=0) > ENOUGH * span
        for found in _tests(limits, rule, rule.arranged(summed), place):
            yield replace(found, surprise=np.where(enough, found.surprise, np.nan),
                          drifted=found.drifted & enough)


def _controlled(tests: list[Tested], control: str, limits: Limits) -> list[Tested]:
    """Single-window tests rejected by Holm's or Benjamini and Hochberg's procedure.

    They share the level with the scan: a test counts for every span.
    """
    chance = np.exp(-np.concatenate([np.nan_to_num(item.surprise, nan=0.0) for item in tests]))
    number = chance.size * len(limits.spans)
    order = np.argsort(chance, kind="stable")
    rank = np.empty(chance.size)
    rank[order] = np.arange(chance.size)
    if control == "holm":
        fine = chance[order] <= limits.level / (number - np.arange(chance.size))
        last = int(np.argmin(fine)) if not fine.all() else chance.size
    else:
        fine = chance[order] <= limits.level * (np.arange(chance.size) + 1) / number
        last = int(np.flatnonzero(fine)[-1]) + 1 if fine.any() else 0
    rejected = (rank < last).reshape(len(tests), -1)
    return [replace(item, drifted=np.isfinite(item.surprise) & found & (
        item.value >= limits.least(place, 0, item.n)))
        for place, (item, found) in enumerate(zip(tests, rejected, strict=True))]


def _single(part: Part, rule: Ruler, sample: Sample, profile: Profile, segment: str,
            tests: Sequence[Tested], preset: Preset | None) -> Iterator[DriftResult]:
    """Every statistic of the newest window, column by column."""
    names = list(dict.fromkeys([*(item.statistic for item in tests), *REPORTED]))
    tested = {} if preset else {item.statistic: item for item in tests}
    values = np.array([MEASURES[name](rule, sample) for name in names]).T.tolist()
    bounds = np.array([error_bound(name, rule, sample) for name in names]).T
    rows = np.where(rule.rows > 0, sample.rows, 0).astype(int).tolist()
    rates = _rates(part, profile)
    limits = [_told(tested.get(name), len(part.keys)) for name in names]
    kept = np.isfinite(bounds) & ~(rule.plan.category[:, None] & np.array(
        [name in ORDERED and name not in tested for name in names]))
    for column, key in enumerate(part.keys):
        total, null, unseen = rates[column]
        if total:
            yield DriftResult(key, segment, "null_rate", null, None, 0.0, total)
        n = rows[column]
        if not n:
            continue
        if unseen is not None:
            yield DriftResult(key, segment, "unseen_rate", unseen, None, 0.0, n)
        for place in np.flatnonzero(kept[column]).tolist():
            threshold, drifted = limits[place][column]
            yield DriftResult(key, segment, names[place], values[column][place], threshold,
                              float(bounds[column, place]), n, drifted)


def _told(found: Tested | None, columns: int) -> list[tuple[float | None, bool]]:
    """(threshold, drifted) per column; nothing where the statistic is not tested."""
    if found is None:
        return [(None, False)] * columns
    return [(threshold if known else None, drifted) for threshold, known, drifted in zip(
        found.threshold.tolist(), np.isfinite(found.surprise).tolist(), found.drifted.tolist(),
        strict=True)]


def _rates(part: Part, profile: Profile) -> list[tuple[int, float, float | None]]:
    """(rows, null rate, unseen rate) per column; None where there is nothing unseen to tell."""
    found = []
    for feature, where, reference in zip(part.features, part.slices, part.reference, strict=True):
        counts = profile.counts[where]
        total = int(counts.sum())
        null = null_rate(reference, counts, feature) if total else 0.0
        named = isinstance(feature, CategoryBins)
        found.append((total, null, unseen_rate(reference, counts, feature) if named else None))
    return found


def _drifted(part: Part, found: Tested, segment: str) -> Iterator[DriftResult]:
    for column in np.flatnonzero(found.drifted):
        yield DriftResult(part.keys[column], segment, found.statistic, float(found.value[column]),
                          float(found.threshold[column]), 0.0, int(found.n[column]), True,
                          found.windows)
