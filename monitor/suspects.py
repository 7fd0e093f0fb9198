"""Suspects: columns that may be broken, told from all counts at once.

Most columns of most windows are fine. What can make a fault is checked for all of them in a few
array operations; only the suspects are then looked at one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from monitor.bins import Bins, CategoryBins
from monitor.profile import Counts

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Where each column's special cells lie in a vector of counts.

    ``starts`` are first cells; ``values`` pairs of first and last + 1 value cell, flattened;
    ``broken`` ``(f, 3)`` cells of values that are none, ``strange`` ``(f, 2)`` those beyond what
    the reference names or its range; a cell that a column lacks is its null cell, marked in
    ``lacks``. ``constant`` are numbers with one value.
    """

    starts: Places
    values: Places
    broken: Places
    strange: Places
    lacks: Flags
    constant: Flags


@lru_cache(maxsize=64)
def marks(bins: Bins) -> Marks:
    """The places of the special cells of these bins."""
    values, broken, strange = [], [], []
    for key, part in bins.slices.items():
        feature, start = bins.by_key[key], part.start
        if isinstance(feature, CategoryBins):
            values += [start + 2, part.stop]
            broken.append([1, 0, 0])
            strange.append([0 if feature.rest else 2, 0])
        else:
            values += [start + feature.first - 1, start + feature.impossible]
            broken.append([1, 2, 3])
            strange.append([feature.first - 1, feature.above])
    starts = np.array([part.start for part in bins.slices.values()], dtype=np.intp)
    flat = np.array([[*first, *second] for first, second in zip(broken, strange, strict=True)],
                    dtype=np.intp)
    constant = np.array([not isinstance(item, CategoryBins) and item.cells == 0
                         for item in bins.by_key.values()])
    return Marks(starts, np.array(values, dtype=np.intp), starts[:, None] + flat[:, :3],
                 starts[:, None] + flat[:, 3:], flat == 0, constant)


def suspects(counts: Counts, reference: Counts, bins: Bins, *, rise: float) -> list[str]:
    """Columns that a fault or a warning can be about; the others are certainly fine.

    A share of nulls, unseen or out-of-range values more than ``rise`` above the reference's,
    values that are none where the reference had none (or so many more), a constant, or a window
    that holds one value.
    """
    if not bins.features:
        return []
    places = marks(bins)
    now, before = _shares(counts, places), _shares(reference, places)
    doubtful = (now > before + rise).any(axis=1) | ((now[:, 1:4] > 0) & (before[:, 1:4] == 0)
                                                    ).any(axis=1)
    padded = np.append(counts, 0)
    held = np.add.reduceat(padded, places.values)[::2]
    largest = np.maximum.reduceat(padded, places.values)[::2]
    doubtful |= (largest == held) | places.constant
    counted = np.add.reduceat(padded, places.starts) > 0
    keys = list(bins.slices)
    return [keys[place] for place in np.flatnonzero(doubtful & counted)]


def _shares(counts: Counts, places: Marks) -> Floats:
    """Shares of nulls, of three kinds of broken values, and of strange ones, ``(f, 5)``."""
    padded = np.append(counts, 0)
    total = np.maximum(np.add.reduceat(padded, places.starts), 1).astype(np.float64)
    held = np.maximum(np.add.reduceat(padded, places.values)[::2], 1).astype(np.float64)
    broken = np.where(places.lacks[:, :3], 0, padded[places.broken])
    strange = np.where(places.lacks[:, 3:], 0, padded[places.strange]).sum(axis=1)
    return np.column_stack([padded[places.starts] / total, broken / total[:, None],
                            strange / held])
