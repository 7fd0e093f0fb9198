"""Contrast: one window's counts, and those of the windows before it, against a reference.

The newest window is measured by itself and together with the windows before it, so that a drift
too slow for any single window is seen too (a window-limited scan, Lai 1995). A window that alone
stands out is left out of such sums: one bad day is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from monitor.bins import CategoryBins, FeatureBins
from monitor.drift import MEASURES, Comparison, DriftResult, error_bound, null_rate, unseen_rate
from monitor.limits import Limits
from monitor.modes import ENOUGH, Mode, members, seconds
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
    chosen = Chosen(part, baseline, earlier)
    rule = chosen.rule([] if at is None else [at])
    sample = rule.sample(newest)
    limits = None if baseline.preset else part.limits
    tests = [] if limits is None else _tests(limits, rule, sample)
    scanned = ([] if limits is None or at is None
               else list(_scan(limits, chosen, newest, at, rule=rule)))
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


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What the mode chooses as reference, for any window or run of windows."""

    part: Part
    baseline: Against
    earlier: Earlier

    def rule(self, ats: Sequence[datetime]) -> Ruler:
        """The ruler for the sum of the windows that start at ``ats``."""
        if self._fixed or not ats:
            return self.part.rule
        counts = self._counts(ats)
        return self.part.rule.against(counts) if counts.any() else self.part.rule

    def each(self, ats: Sequence[datetime], newest: Ruler) -> Ruler:
        """One reference per window where the mode tells them apart, else that of the newest."""
        if self._fixed or self.baseline.mode != "same_hour_of_week":
            return newest
        return self.part.rule.against(np.array([self._counts([at]) for at in ats]))

    def span(self, at: datetime, windows: int, newest: Ruler) -> Ruler:
        """The ruler for the ``windows`` up to the one at ``at``."""
        if self._fixed or self.baseline.mode != "same_hour_of_week":
            return newest
        step = timedelta(seconds=self.baseline.length)
        return self.rule([at - place * step for place in range(windows)])

    @property
    def _fixed(self) -> bool:
        return (self.baseline.mode == "fixed" or self.baseline.past is None
                or self.part.limits is None)

    def _counts(self, ats: Sequence[datetime]) -> Floats:
        """Counts of the windows that are chosen; a time of the week only looks at the reference."""
        past, limits = self.baseline.past, self.part.limits
        assert past is not None
        assert limits is not None
        live = () if self.baseline.mode == "same_hour_of_week" else self.earlier
        starts = np.concatenate([past.starts, seconds([start for start, _ in live])])
        weights = sum((members(self.baseline.mode, starts, at, length=self.baseline.length,
                               gap=max(limits.spans)) for at in seconds(ats)),
                      np.zeros(starts.size))
        weights = weights / max(float(weights.max(initial=0.0)), 1.0)
        held = past.starts.size
        counts = weights[:held] @ past.counts[:, self.part.places].astype(np.float64)
        for weight, (_, profile) in zip(weights[held:], live, strict=True):
            if weight:
                counts = counts + weight * profile.counts[self.part.places]
        return np.asarray(counts)


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


def _scan(limits: Limits, chosen: Chosen, newest: npt.NDArray[np.int64], at: datetime, *,
          rule: Ruler) -> Iterator[Tested]:
    """Tests over several newest windows; a column's only window that stands out is left out."""
    length, places = chosen.baseline.length, chosen.part.places
    near = [(start, profile.counts[places]) for start, profile in chosen.earlier
            if 0 < (at - start).total_seconds() < max(limits.spans) * length]
    if not near or len(limits.spans) == 1:
        return
    starts = [*(start for start, _ in near), at]
    ages = np.array([(at - start).total_seconds() for start in starts])
    each = chosen.each(starts, rule)
    every = each.sample(np.array([*(counts for _, counts in near), newest]))
    loud = np.zeros(every.rows.shape, dtype=bool)
    for place, name in enumerate(limits.statistics):
        highest = limits.thresholds(place, 0, every.rows, each.rows)
        loud |= np.nan_to_num(MEASURES[name](each, every)) > highest
    for place, span in enumerate(limits.spans[1:], 1):
        held = (every.rows > 0) & (ages <= (span - 0.5) * length)[:, None]
        kept = held & ~(loud & ((held & loud).sum(axis=0) == 1))
        summed = np.where(kept[:, rule.plan.cell_of], every.cells, 0.0).sum(axis=0)
        enough = kept.sum(axis=0) > ENOUGH * span
        over = chosen.span(at, span, rule)
        for found in _tests(limits, over, over.arranged(summed), place):
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
