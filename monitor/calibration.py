"""Calibration: the limits of a reference, from its own windows.

Every test gets a null for any number of rows (Dirichlet-multinomial, with the over-dispersion of
the reference's windows, each measured against the reference without its neighbourhood), then all
tests together get one limit: the tail of each window's largest surprise, features and spans
jointly, so that columns that move together count once. See ``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.bins import Bins
from monitor.drift import MEASURES
from monitor.limits import Limits, dispersed, interpolated, short, widened
from monitor.modes import ENOUGH, FOLDS, Mode, Seconds, fold_edges, held_out
from monitor.null import POWER, Null, surprise
from monitor.ruler import Counts, Ruler, ruler, rulers
from monitor.tail import BROKEN, scale_of, tail_of

Floats = npt.NDArray[np.float64]

POINTS = 14
"""Numbers of rows that a null is drawn at."""
WORST = 0.9
"""Largest over-dispersion."""
MOST_UNEVEN = 4.0
"""Largest relative variance of over-dispersion: 2 is that of one moving direction."""
CERTAIN = 1e6
"""Windows that a null rests on which the reference cannot tell to be over-dispersed."""
FEWEST = 5
"""Fewest reference windows that over-dispersion is fitted to."""
FEW = 20
"""With fewer reference windows the limit is at least that of independent tests (Šidák)."""
SHORT = 20.0
"""Windows over which the level is divided by 1 + SHORT / windows: a short reference tells the tail
of its own windows, which live ones exceed more often (measured, ``docs/statistics.md``)."""
BLOCK = 64
"""Columns measured at once."""
LOUD = 12.0
"""Surprise of a reference window, as of one in 160,000, that is left out of sums of windows."""
USUAL = 1.0
"""Surprise above which a test's own tail is looked at: the mean of a valid null's."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The reference's own windows: counts ``(w, size)``, their starts and length in seconds.

    ``varied`` are those by which over-dispersion is told, where there are others than ``counts``.
    """

    bins: Bins
    counts: Counts
    starts: Seconds
    length: float
    mode: Mode
    varied: Counts | None = None

    @property
    def windows(self) -> int:
        return len(self.counts)

    def held(self) -> list[str]:
        """Columns that hold values."""
        total = self.counts.sum(axis=0)
        return [key for key, part in self.bins.slices.items()
                if total[part][_first(self.bins, key):].any()]


def _first(bins: Bins, key: str) -> int:
    """The first cell of a column that holds a value (numbers: below; categories: unseen)."""
    feature = bins.by_key[key]
    return 2 if feature.kind in {"categorical", "boolean"} else feature.first - 1


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """The reference's windows over one span, measured against the rest of it.

    ``values`` ``(s, w, f)`` statistics, ``rows`` ``(w, f)`` rows of the windows, ``against``
    rows of what they were held against, ``usual`` ``(f,)`` those of the whole reference.
    """

    values: Floats
    rows: Floats
    against: Floats
    usual: Floats


def calibrated(history: History, statistics: Sequence[str], spans: Sequence[int], *,
               level: float, effects: Sequence[float], seed: int) -> tuple[Limits, Floats]:
    """The limits at ``level`` alarms per window, and the largest surprise of each window."""
    keys = history.held()
    grid = grid_of(history, max(spans))
    blocks = [_block(history, keys[start : start + BLOCK], statistics, spans, grid=grid, seed=seed)
              for start in range(0, len(keys), BLOCK)]
    fits = [np.concatenate([getattr(block, name) for block in blocks], axis=axis)
            for name, axis in (("mean", 1), ("spread", 1), ("dispersion", 2), ("unevenness", 2),
                               ("known", 2), ("stretch", 2), ("surprises", 2))]
    surprises = fits.pop()
    inputs = [place for place, key in enumerate(keys) if history.bins.by_key[key].role == "feature"]
    together, joint = _together(surprises[:, :, inputs], spans)
    largest = _largest(np.concatenate([surprises, joint[:, :, None]], axis=2))
    found = tail_of(largest)
    tests = len(keys) * len(statistics) * len(spans)
    wary = level / (1 + SHORT / max(history.windows, 1))
    alarm = found.level(wary)
    if history.windows < FEW:
        alarm = max(alarm, float(np.log(max(tests, 1) / level)))
    calm = min(max(found.level(min(10 * wary, 0.5)), 0.0), alarm)
    rows = np.concatenate([block.rows for block in blocks])
    mean, spread, dispersion, unevenness, known, stretch = (short(fit) for fit in fits)
    return Limits(tuple(keys), tuple(statistics), tuple(spans), tuple(effects), short(grid), mean,
                  spread, dispersion, unevenness, known, stretch, rows, short(together),
                  float(f"{alarm:.6g}"), float(f"{calm:.6g}"), level), largest


def _together(surprises: Floats, spans: Sequence[int]) -> tuple[Floats, Floats]:
    """The null of the mean surprise of all features, and its own surprise in each window.

    Mean, spread, the independent windows that tell them, and stretch, ``(4, s, l)``; cross-fitted
    surprises ``(s, l, w)``. Mean surprises are near a gamma variable, as sums of exponential ones.
    """
    statistics, number, features, windows = surprises.shape
    null = np.full((4, statistics, number), np.nan)
    found = np.full((statistics, number, windows), np.nan)
    if features < 2:
        return null, found
    for s in range(statistics):
        for place, span in enumerate(spans):
            known = np.isfinite(surprises[s, place]).sum(axis=0) >= 2
            mean = np.where(known, np.nansum(surprises[s, place], axis=0) / np.maximum(
                np.isfinite(surprises[s, place]).sum(axis=0), 1), np.nan)
            if np.isfinite(mean).sum() < 2 * FEWEST:
                continue
            own = np.full(windows, np.nan)
            for fold in np.array_split(np.arange(windows), FOLDS):
                own[fold] = _risen(mean[fold], _moments(np.delete(mean, fold), span))
            null[:3, s, place] = _moments(mean, span)
            null[3, s, place] = _stretch(own, span)
            found[s, place] = _stretched(own[:, None], span)[:, 0]
    return null, found


def _moments(values: Floats, span: int) -> tuple[float, float, float]:
    """Mean, spread and independent windows; the largest fiftieth is clipped."""
    held = values[np.isfinite(values)]
    if held.size < 2:
        return 1.0, 1.0, CERTAIN
    if held.size >= 50:
        held = np.minimum(held, np.quantile(held, 1 - BROKEN))
    return float(held.mean()), float(held.std(ddof=1)), max(held.size / span, 1.0)


def _risen(values: Floats, null: tuple[float, float, float]) -> Floats:
    mean, spread, known = (np.full(values.size, item) for item in null)
    return np.where(np.isfinite(values), surprise(np.nan_to_num(values), mean, spread, known),
                    np.nan)


def _largest(surprises: Floats) -> Floats:
    """The largest of all tests per window, ``(s, l, f, w) -> (w,)``; NaN where none is known."""
    flat = surprises.reshape(-1, surprises.shape[-1])
    known = np.isfinite(flat).any(axis=0)
    return np.where(known, np.max(np.nan_to_num(flat, nan=-1.0), axis=0, initial=-1.0), np.nan)


def grid_of(history: History, span: int) -> Floats:
    """Numbers of rows: from 2 to eight times the largest run of windows."""
    rows = history.counts.sum(axis=1) / max(len(history.bins.features), 1)
    return np.geomspace(2.0, 8 * span * max(125.0, float(rows.max(initial=0.0))), POINTS).round()


def observe(history: History, rule: Ruler, counts: Floats, *, statistics: Sequence[str],
            span: int) -> Observed:
    """Every run of ``span`` windows of these columns against the reference without it."""
    rest = rule.against(_rests(history, counts, span))
    sample = rule.sample(_summed(counts, span))
    whole = _summed((rule.sample(counts).rows > 0).astype(np.float64), span) > ENOUGH * span
    values = np.where(whole, [MEASURES[name](rest, sample) for name in statistics], np.nan)
    return Observed(values, sample.rows, rest.rows, rule.rows)


def _rests(history: History, counts: Floats, span: int) -> Floats:
    """What each window is held against, one vector per window."""
    windows = history.windows
    if history.mode != "fixed":
        found = np.zeros_like(counts)
        for place in range(windows):
            weights = held_out(history.mode, history.starts, place, length=history.length,
                               span=span)
            chosen = np.flatnonzero(weights)
            found[place] = weights[chosen] @ counts[chosen]
        return found
    summed = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, axis=0)])
    first, last = fold_edges(windows)
    first = np.minimum(first, np.maximum(np.arange(windows) - span + 1, 0))
    return np.asarray(summed[-1] - (summed[last] - summed[first]))


def _summed(counts: Floats, span: int) -> Floats:
    """Sums of ``span`` windows up to each; zero where so many are not there yet."""
    total = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, axis=0)])
    summed = np.zeros_like(counts)
    if len(counts) >= span:
        summed[span - 1 :] = total[span:] - total[:-span]
    return summed


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The nulls of some columns, as in ``Limits``, and the surprise of each test in each window,
    ``(s, l, f, w)``."""

    mean: Floats
    spread: Floats
    dispersion: Floats
    unevenness: Floats
    known: Floats
    stretch: Floats
    surprises: Floats
    rows: Floats


def _block(history: History, keys: Sequence[str], statistics: Sequence[str],
           spans: Sequence[int], *, grid: Floats, seed: int) -> Block:
    windows = history.counts if history.varied is None else history.varied
    counts = windows[:, np.concatenate(
        [np.arange(history.bins.size)[history.bins.slices[key]] for key in keys])].astype(float)
    total = history.counts.sum(axis=0)
    rule = rulers([total[history.bins.slices[key]] for key in keys],
                  [history.bins.by_key[key] for key in keys])
    plain = _plain(history, keys, statistics, grid=grid, seed=seed)
    shape = (len(statistics), len(spans), len(keys))
    fits, surprises = np.zeros((4, *shape)), np.full((*shape, history.windows), np.nan)
    for place, span in enumerate(spans):
        seen = observe(history, rule, counts, statistics=statistics, span=span)
        for s, name in enumerate(statistics):
            ratios = Ratios.of(seen, s, plain=(grid, plain[0, s], plain[1, s]), name=name,
                               span=span)
            found = _crossed(ratios)
            fits[:, s, place] = [*ratios.fit(np.ones(history.windows, dtype=bool)),
                                 _stretches(found, span)]
            surprises[s, place] = _stretched(found, span).T
        if span == 1:  # a window that stands out alone is told once, not in every sum
            loud = (np.nan_to_num(surprises[:, place]) > LOUD).any(axis=0)
            of = np.repeat(np.arange(len(keys)), [history.bins.by_key[key].size for key in keys])
            counts = np.where(loud.T[:, of], 0.0, counts)
    return Block(plain[0], plain[1], fits[0], fits[1], fits[2], fits[3], surprises, rule.rows)


def _plain(history: History, keys: Sequence[str], statistics: Sequence[str], *, grid: Floats,
           seed: int) -> Floats:
    """Mean and spread of each statistic's power while rows are independent, ``(2, s, f, p)``."""
    total = history.counts.sum(axis=0)
    found = np.zeros((2, len(statistics), len(keys), grid.size))
    for column, key in enumerate(keys):
        null = Null(ruler(total[history.bins.slices[key]], history.bins.by_key[key]), 0.0, 1.0)
        for s, name in enumerate(statistics):
            found[:, s, column] = np.array([null.moments(name, rows, seed) for rows in grid]).T
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Ratios:
    """One statistic over one span: its power over the plain null's mean, ``(w, f)``.

    ``relative`` is the plain null's variance over its squared mean; NaN where a window was not
    measured.
    """

    value: Floats
    relative: Floats
    rows: Floats
    span: int

    @classmethod
    def of(cls, seen: Observed, statistic: int, *, plain: tuple[Floats, Floats, Floats],
           name: str, span: int) -> Ratios:
        grid, mean, spread = plain
        rows, against = seen.rows, seen.against
        usual, deviation = interpolated(grid, mean, rows), interpolated(grid, spread, rows)
        factor = 1.0 if name == "chi2" else widened(rows, against, seen.usual)
        value = seen.values[statistic] ** POWER[name] / (usual * factor)
        held = np.isfinite(value) & (rows >= 2)
        return cls(np.where(held, value, np.nan), (deviation / usual) ** 2, rows, span)

    def fit(self, kept: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """Over-dispersion, its unevenness and the independent windows that tell them, per column.

        The first by the mean, the second by the shape of a gamma distribution (its likelihood's
        equation, solved by Minka 2002). The largest fiftieth is clipped: a broken day has no say.
        """
        value, rows = self.value[kept], self.rows[kept]
        held = np.isfinite(value)
        count = held.sum(axis=0)
        if value.shape[0] >= 50:
            with np.errstate(all="ignore"):
                value = np.minimum(value, np.nanquantile(
                    np.where(count > 0, value, 0.0), 1 - BROKEN, axis=0))
        few = count < FEWEST
        size = np.maximum(count, 1)
        mean = np.where(held, value, 0.0).sum(axis=0) / size
        typical = np.where(held, rows, 0.0).sum(axis=0) / size
        centre = np.where(few, 0.0, np.maximum(mean - 1, 0.0))
        dispersion = np.minimum(centre / np.maximum(typical - 1, 1.0), WORST)
        logs = np.where(held, np.log(np.maximum(value, 1e-6)), 0.0).sum(axis=0) / size
        gap = np.maximum(np.log(np.maximum(mean, 1e-6)) - logs, 1e-4)
        shape = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
        plain = np.nanmean(self.relative, axis=0)
        share = ((1 + centre) ** 2 / shape - plain * (1 + 2 * centre)) / np.maximum(
            centre, 0.05) ** 2
        unevenness = np.clip(np.where(few, plain, share), plain, MOST_UNEVEN)
        return dispersion, unevenness, np.where(few, CERTAIN, np.maximum(count / self.span, 1.0))

    def surprises(self, dispersion: Floats, unevenness: Floats, known: Floats) -> Floats:
        """The surprise of each window, ``(w, f)``."""
        ones = np.ones(self.value.shape)
        mean, spread = dispersed(ones, np.sqrt(self.relative), self.rows, dispersion, unevenness)
        return np.where(np.isfinite(self.value),
                        surprise(np.nan_to_num(self.value), mean, spread,
                                 known), np.nan)


def _crossed(ratios: Ratios) -> Floats:
    """The surprise of each window under what the other stretches of the reference say."""
    windows = len(ratios.value)
    found = np.full(ratios.value.shape, np.nan)
    for fold in np.array_split(np.arange(windows), FOLDS):
        kept = np.ones(windows, dtype=bool)
        if windows >= 2 * FEWEST:
            kept[fold] = False
        found[fold] = ratios.surprises(*ratios.fit(kept))[fold]
    return found


def _stretched(surprises: Floats, span: int) -> Floats:
    """The surprises over the stretch that the other parts of the reference say."""
    found = surprises.copy()
    for fold in np.array_split(np.arange(len(surprises)), FOLDS):
        found[fold] /= _stretches(np.delete(surprises, fold, axis=0), span)
    return found


def _stretches(surprises: Floats, span: int) -> Floats:
    """The stretch of each column, ``(w, f) -> (f,)``."""
    return np.array([_stretch(column, span) for column in surprises.T])


def _stretch(surprises: Floats, span: int) -> float:
    """By how much the reference's windows lie further out than the null says; at least 1."""
    known = np.isfinite(surprises)
    held = np.sort(surprises[known & (surprises > USUAL)]) - USUAL
    if held.size < FEWEST:
        return 1.0
    return max(scale_of(held, int(BROKEN * known.sum()), each=1 / span)[0], 1.0)
