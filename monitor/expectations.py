"""Expectations: what a person declared that a column may hold, and how a window breaks it.

Bins made under a declaration have cells of their own for what is not allowed. Older bins have not:
then only whole cells that lie beyond it count, which is a lower bound and said to be one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.bins import CategoryBins, FeatureBins, NumericBins
from monitor.config import Expect
from monitor.norms import values_of

Counts = npt.NDArray[np.int64]

FEWEST = 10
"""Rows from which on one value only is more than an accident, where it was declared to vary."""


@dataclass(frozen=True, slots=True)
class Breach:
    """How a window breaks a declaration."""

    check: str
    message: str
    value: float
    limit: float


def canonical(value: bool | int | float | str) -> str:
    """The text form that every engine gives: integers without a point, floats at their shortest."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if math.isfinite(value) and value == math.floor(value) and abs(value) < 2.0**53:
        return str(int(value))
    return repr(float(value)).lower()


def allowed(expect: Expect) -> tuple[str, ...]:
    """The declared values as texts, in the order of the declaration."""
    return tuple(dict.fromkeys(canonical(value) for value in expect.values or ()))


def breaches(feature: FeatureBins, counts: Counts, expect: Expect) -> Iterator[Breach]:
    """Everything declared of the column that the window's counts break."""
    rows = int(counts.sum())
    if rows == 0:
        return
    nulls = int(counts[0])
    if expect.nulls is not None and nulls / rows > expect.nulls:
        yield Breach("null_rate", f"{feature.name}: {nulls} of {rows} rows are null "
                     f"({nulls / rows:.1%}, declared is at most {expect.nulls:.1%})",
                     nulls / rows, expect.nulls)
    yield from _possible(feature, counts, expect)
    yield from _constancy(feature, counts, expect)


def _possible(feature: FeatureBins, counts: Counts, expect: Expect) -> Iterator[Breach]:
    """Values beyond the declared range or list."""
    beyond, least = _beyond(feature, counts, expect)
    held = int(values_of(feature, counts).sum()) + (
        beyond if isinstance(feature, NumericBins) and feature.declared else 0)
    if not beyond or beyond <= expect.tolerance * held:
        return
    ranged = expect.values is None
    words = "lie beyond the declared range" if ranged else "hold a value that was not declared"
    yield Breach("declared_range" if ranged else "declared_values",
                 f"{feature.name}: {least}{beyond} of {held} rows {words} ({beyond / held:.2%}"
                 + (f", tolerated are {expect.tolerance:.2%})" if expect.tolerance else ")"),
                 beyond / held, expect.tolerance)


def _beyond(feature: FeatureBins, counts: Counts, expect: Expect) -> tuple[int, str]:
    """How many rows at least, and the words that say when it may be more."""
    if isinstance(feature, CategoryBins):
        if expect.values is None:
            return 0, ""
        names = set(allowed(expect))
        fine = names <= {*feature.categories, *feature.known}
        wrong = sum(int(counts[feature.first + place])
                    for place, name in enumerate(feature.categories) if name not in names)
        return wrong + (int(counts[2]) if fine else 0), "" if fine else "at least "
    if expect.min is None and expect.max is None:
        return 0, ""
    if (feature.least, feature.most) == (expect.min, expect.max):
        return int(counts[feature.impossible]), ""
    return _outer(feature, counts, expect), "at least "


def _outer(feature: NumericBins, counts: Counts, expect: Expect) -> int:
    """Rows of the cells that lie beyond the declared range as a whole."""
    low, high = edges(feature)
    wrong = np.zeros(low.size, dtype=bool)
    if expect.min is not None:
        wrong |= high < expect.min
    if expect.max is not None:
        wrong |= low > expect.max
    return int(values_of(feature, counts)[wrong].sum())


def edges(feature: NumericBins) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The lowest and highest value of every cell that holds values, in the profile's order."""
    inner = feature.low + np.arange(feature.cells + 1) * (
        (feature.high - feature.low) / max(feature.cells, 1))
    if feature.transform == "asinh":
        inner = feature.center + feature.scale * np.sinh(inner)
    if not feature.cells:
        inner = np.array([feature.center])
    exact = np.array(feature.exact, dtype=float)
    return (np.concatenate([[-np.inf], inner, exact]), np.concatenate([inner, [np.inf], exact]))


def _constancy(feature: FeatureBins, counts: Counts, expect: Expect) -> Iterator[Breach]:
    cells = values_of(feature, counts)
    held = int(cells.sum())
    if expect.constant is False and held >= FEWEST and cells.max() == held:
        yield Breach("constant", f"{feature.name}: all {held} rows hold (nearly) one value, "
                     "declared was a column that varies", 1.0, 1.0)
    if expect.constant and isinstance(feature, NumericBins) and feature.cells == 0:
        moved = int(cells[:2].sum())
        if moved:
            yield Breach("constant", f"{feature.name}: {moved} of {held} rows hold another value "
                         "than the one of the reference, declared was a constant", moved / held,
                         0.0)
    elif expect.constant and held > cells.max():
        yield Breach("constant", f"{feature.name}: {held - int(cells.max())} of {held} rows hold "
                     "another value than the rest, declared was a constant",
                     1 - cells.max() / held, 0.0)
