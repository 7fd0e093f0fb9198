"""Tail: how often a run of surprises lies above what, beyond the largest that was seen.

Peaks over a threshold (Davison and Smith 1990): excesses are taken as exponential, which minus
the logarithm of a p-value is when its null holds; the scale has a prior at that value. Values that
follow each other above it are one cluster, as an alarm is one episode: the extremal index
(Ferro and Segers 2003) says how many values make one. What is promised is the predictive rate,
averaged over what the reference leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BROKEN = 0.02
"""Share of the largest values that has no say in the scale: broken days."""
ODD = 0.05
"""The same of a series that knows longer spans too, in which one odd week lasts."""
PRIOR_PEAKS = 4.0
"""Peaks that the prior of the scale counts for."""
ABOVE = 0.2
"""Share of the values that are looked at as exceedances."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Clusters per value above ``start``, and the exponential ``scale`` of their excess.

    ``weight`` is the number of peaks that the scale rests on, prior included.
    """

    start: float
    rate: float
    scale: float
    weight: float

    def level(self, rate: float) -> float:
        """What is exceeded by so many clusters per value, in the predictive mean."""
        if rate >= self.rate:
            return self.start
        ratio = self.rate / rate
        return self.start + self.weight * self.scale * float(
            np.expm1(np.log(ratio) / self.weight))

    def beyond(self, level: float) -> float:
        """Clusters per value that exceed ``level``, at the scale as estimated."""
        return self.rate * float(np.exp(-max(level - self.start, 0.0) / self.scale))


def tail_of(values: Floats, *, broken: float = ODD) -> Tail:
    """The tail of a series in time order; NaN where a value is unknown."""
    held = values[np.isfinite(values)]
    if held.size == 0:
        return Tail(0.0, 1.0, 1.0, PRIOR_PEAKS)
    share = min(max(ABOVE, 8 / held.size), 0.5)
    start = float(np.quantile(held, 1 - share))
    above = np.flatnonzero(np.nan_to_num(values, nan=-np.inf) > start)
    if above.size == 0:
        return Tail(start, 0.5 / held.size, 1.0, PRIOR_PEAKS)
    index = extremal_index(above)
    excess = np.sort(values[above]) - start
    scale, weight = scale_of(excess, int(broken * held.size), each=index)
    return Tail(start, index * (above.size + 0.5) / (held.size + 1), scale, weight)


def extremal_index(places: npt.NDArray[np.intp]) -> float:
    """One over the mean size of clusters of exceedances at these places of a series.

    Ferro and Segers's intervals estimator (2003), in (0, 1]; 1 with fewer than three.
    """
    gaps = np.diff(places).astype(np.float64)
    if gaps.size < 2:
        return 1.0
    if gaps.max() <= 2:
        found = 2 * gaps.sum() ** 2 / (gaps.size * (gaps**2).sum())
    else:
        less = gaps - 1
        found = 2 * less.sum() ** 2 / (gaps.size * (less * (gaps - 2)).sum())
    return float(min(max(found, 1 / gaps.size), 1.0))


def scale_of(excess: Floats, censored: int, *, each: float = 1.0) -> tuple[float, float]:
    """The scale of sorted exponential excesses of which the largest ``censored`` only exceed the
    one before, and the number of values that it rests on (type-II censoring; Lawless 2003).

    ``each`` is how many independent values one excess counts for.
    """
    censored = min(censored, max(excess.size - 2, 0))
    kept = excess[: excess.size - censored]
    total = float(kept.sum() + censored * (kept[-1] if kept.size else 0.0)) * each
    weight = kept.size * each + PRIOR_PEAKS
    return (total + PRIOR_PEAKS) / weight, weight
