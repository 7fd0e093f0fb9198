"""Units: numbers that look like the reference's in another unit of measure.

A suspicion is raised by counts alone: most of a column's mass left its cells, or much of it left
the range. The window's quantiles, which the source is then asked for, are held against what a
canonical factor would make of earlier counts. See ``docs/statistics.md`` for the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.bins import FeatureBins, NumericBins, key_of
from monitor.expectations import edges
from monitor.faults import JUMP, Expected, Fault
from monitor.norms import hits_of, strayed, values_of
from monitor.profile import Profile

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

QUANTILES = tuple(round(0.1 * place, 1) for place in range(1, 10))
"""Quantiles of a window that are compared."""
MOVED = 0.3
"""Total variation between window and reference from which on another unit is thought of."""
ALIKE = 0.5
"""Total variation up to which two windows are of one kind."""
FEWEST = 20
"""Rows with a value that quantiles say something from; of a part of them ``PART``."""
PART = 30
BEYOND = 3.0
"""Times the far end of the range at which the middle of a part must lie."""
CLOSE = 0.02
"""Share by which every quantile may miss what the factor makes of the reference's."""
LARGE = 2.0
"""Natural logarithm of a factor from which on drift hardly looks like it: then sampling error
and ``WANDER`` are allowed for."""
WANDER = 0.04
"""Share of the factor's logarithm by which quantiles may differ from one window to the next."""
CLEAR = 0.25
"""Share of the shift that the place of a quantile may be uncertain by, to say anything."""
TELLING = 5
"""Quantiles that have to say something, and ``APART`` places that they have to lie at."""
APART = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """A change of unit: logged = factor * value + offset.

    ``low`` to ``high`` are the values that it is thought of for; ``give`` is the share of the
    shift that quantiles may miss, and ``loose`` whether sampling error is allowed for as well.
    """

    name: str
    factor: float
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    give: float = CLOSE
    loose: bool = False


def _plain(name: str, factor: float) -> Unit:
    size = abs(math.log(factor))
    return Unit(name, factor, loose=size >= LARGE,
                give=max(CLOSE, WANDER * size) if size >= LARGE else CLOSE)


_PLAIN: Mapping[str, float] = {
    **{f"10^{power}": 10.0**power for power in range(1, 7)},
    "60 (minutes, hours)": 60.0, "3600 (seconds, hours)": 3600.0, "86400 (seconds, days)": 86400.0,
    "24 (hours, days)": 24.0, "7 (days, weeks)": 7.0,
    "3.6 (m/s, km/h)": 3.6, "2.54 (cm, inches)": 2.54, "1/0.3048 (feet, metres)": 1 / 0.3048,
    "1/0.4536 (pounds, kg)": 1 / 0.45359237, "1.609 (km, miles)": 1.609344,
}
UNITS: tuple[Unit, ...] = (
    *(_plain(f"{name} times", factor) for name, factor in _PLAIN.items()),
    *(_plain(f"1/({name}) of", 1 / factor) for name, factor in _PLAIN.items()),
    Unit("in Fahrenheit, not Celsius:", 1.8, 32.0, -90, 100, 0.06, True),
    Unit("in Celsius, not Fahrenheit:", 1 / 1.8, -32 / 1.8, -130, 212, 0.06, True),
    Unit("in Celsius, not Kelvin:", 1.0, -273.15, 180, 375, WANDER, True),
    Unit("in Kelvin, not Celsius:", 1.0, 273.15, -90, 100, WANDER, True),
)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A column to be asked about: all of its numbers, or those beyond ``low`` and ``high``."""

    key: str
    low: float | None = None
    high: float | None = None

    @property
    def partial(self) -> bool:
        return self.low is not None


def suspects(profile: Profile, baseline: Expected, *, only: str | None = None) -> list[Suspect]:
    """Columns whose counts could be those of another unit, as a whole or in part.

    A whole column lies further from the reference than any reference window did.
    """
    bins, norms = baseline.bins, baseline.norms
    found = []
    for key in bins.slices if only is None else [only]:
        part = bins.slices[key]
        feature, counts = bins.by_key[key], profile.counts[part]
        if not _measured(feature) or values_of(feature, counts).sum() < FEWEST:
            continue
        assert isinstance(feature, NumericBins)
        gone = strayed(feature, counts, baseline.reference.counts[part])
        if gone > max(MOVED, norms.strays.get(key, 1.0)):
            found.append(Suspect(key))
        out, held = hits_of("outside", feature, counts)
        usual, of = hits_of("outside", feature, baseline.reference.counts[part])
        if out >= PART and out / held > usual / max(of, 1) + 2 * JUMP:
            low, high = edges(feature)
            found.append(Suspect(key, float(high[0]), float(low[feature.cells + 1])))
    return found


def _measured(feature: FeatureBins) -> bool:
    return (isinstance(feature, NumericBins) and feature.role == "feature" and feature.cells > 0
            and feature.kind == "numeric")


def abrupt(feature: FeatureBins, counts: Counts, between: Sequence[Counts]) -> bool:
    """Whether the windows since the last usual one look like this one, but for a mixed one."""
    return sum(strayed(feature, counts, item) > ALIKE for item in between) <= 1


def unit_fault(suspect: Suspect, feature: NumericBins, quantiles: Sequence[float], n: int, *,
               bases: Sequence[Counts]) -> Fault | None:
    """The unit that explains these quantiles of ``n`` rows from one of the earlier counts."""
    if suspect.partial and not _far(suspect, quantiles):
        return None
    units = [unit for unit in UNITS if not suspect.partial or (
        unit.offset == 0 and math.log(unit.factor) >= LARGE)]
    fits = sorted((gap, unit.name, unit.factor) for base in bases for unit in units
                   if (gap := misfit(unit, suspect, feature, base, seen=(quantiles, n)))
                   is not None)
    if not fits:
        return None
    factor, name = fits[0][2], key_of(feature)
    names = " or ".join(list(dict.fromkeys(fit[1] for fit in fits))[:3])
    if suspect.partial:
        return Fault("unit", name, "warning", f"{name}: {n} rows far out of range look like "
                     f"{names} the usual values, as if a part of the rows came in another unit",
                     factor)
    return Fault("unit", name, "fault", f"{name}: the {n} rows look like {names} the usual values "
                 f"in every quantile from {QUANTILES[0]:.0%} to {QUANTILES[-1]:.0%}", factor)


def _far(suspect: Suspect, quantiles: Sequence[float]) -> bool:
    """Whether a part lies so far out of the range that no usual extreme is meant."""
    far = max(abs(suspect.low or 0.0), abs(suspect.high or 0.0))
    return abs(quantiles[len(quantiles) // 2]) > BEYOND * far


def misfit(unit: Unit, suspect: Suspect, feature: NumericBins, base: Counts, *,
           seen: tuple[Sequence[float], int]) -> float | None:
    """Mean distance of the quantiles from what the unit makes of ``base``; None: it does not fit.

    A quantile of ``base`` lies somewhere in a cell, so the unit's place for it is an interval.
    """
    quantiles, n = np.asarray(seen[0], dtype=float), seen[1]
    cells = _converted(unit, suspect, feature, base)
    if cells is None or n < FEWEST:
        return None
    low, high, mass = cells
    slack = 1.36 * math.sqrt(1 / n + 1 / float(base.sum())) if unit.loose else 0.0  # 95 % of KS
    cdf = np.cumsum(mass) / mass.sum()
    levels = np.array(QUANTILES)
    first = np.searchsorted(cdf, np.maximum(levels - slack, 0) + 1e-9)
    last = np.minimum(np.searchsorted(cdf, np.minimum(levels + slack, 1) - 1e-9), mass.size - 1)
    spans = low[np.minimum(first, mass.size - 1)], high[last]
    return (_shifted if unit.offset else _scaled)(unit, quantiles, spans)


def _converted(unit: Unit, suspect: Suspect, feature: NumericBins, base: Counts
               ) -> tuple[Floats, Floats, Floats] | None:
    """Cells of ``base`` in the other unit, by value: lowest and highest value and mass."""
    low, high = edges(feature)
    mass = values_of(feature, base).astype(float)
    foreign = (np.isfinite(low) & (low < unit.low)) | (np.isfinite(high) & (high > unit.high))
    if not mass.sum() or mass[foreign].sum() > CLOSE * mass.sum():
        return None
    low, high = low * unit.factor + unit.offset, high * unit.factor + unit.offset
    if suspect.low is not None and suspect.high is not None:
        with np.errstate(invalid="ignore"):
            middle = np.where(np.isinf(low), high, np.where(np.isinf(high), low, (low + high) / 2))
        out = (middle < suspect.low) | (middle > suspect.high)
        low, high, mass = low[out], high[out], mass[out]
    kept = mass > 0
    order = np.lexsort((high[kept], low[kept]))
    if not order.size:
        return None
    return low[kept][order], high[kept][order], mass[kept][order]


def _scaled(unit: Unit, quantiles: Floats, spans: tuple[Floats, Floats]) -> float | None:
    """For a factor alone: distances are logarithms, and zero says nothing."""
    low, high = spans
    if np.any((quantiles == 0) & ((low > 0) | (high < 0))):
        return None
    size = abs(math.log(unit.factor))
    positive, negative = (low > 0) & (quantiles > 0), (high < 0) & (quantiles < 0)
    wrong = ((low > 0) & (quantiles < 0)) | ((high < 0) & (quantiles > 0))
    if wrong.any():
        return None
    signed = positive | negative
    near = np.where(signed, np.where(negative, -high, low), 1.0)
    far = np.where(signed, np.where(negative, -low, high), 1.0)
    value = np.log(np.where(signed, np.abs(quantiles), 1.0))
    bottom, top = np.log(near), np.log(far)
    outside = signed & ((value < bottom - unit.give) | (value > top + unit.give))
    outside |= ~signed & ((quantiles < low - unit.give * np.abs(low))
                          | (quantiles > high + unit.give * np.abs(high)))
    telling = signed & (top - bottom <= CLEAR * size)
    return _told(value - (bottom + np.where(telling, top, bottom)) / 2, quantiles, telling, outside)


def _shifted(unit: Unit, quantiles: Floats, spans: tuple[Floats, Floats]) -> float | None:
    """For a factor and an offset: distances are shares of the shift."""
    low, high = spans
    middle = (low + high) / 2
    with np.errstate(invalid="ignore"):
        shift = np.abs(middle - (middle - unit.offset) / unit.factor)
        outside = (quantiles < low - unit.give * shift) | (quantiles > high + unit.give * shift)
        telling = np.isfinite(shift) & (high - low <= CLEAR * shift)
        distance = (quantiles - middle) / shift
    few = telling.sum() < quantiles.size - 2
    return _told(distance, quantiles, telling, outside | few)


def _told(distance: Floats, quantiles: Floats, telling: npt.NDArray[np.bool_],
          outside: npt.NDArray[np.bool_]) -> float | None:
    if outside.any() or telling.sum() < TELLING or len(set(quantiles[telling])) < APART:
        return None
    return float(np.abs(distance[telling]).mean())

