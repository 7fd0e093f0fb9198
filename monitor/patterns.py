"""Patterns: the SQL of one column, compiled once and adapted to every column of its form.

Compiling an expression costs more than counting a few thousand rows. Columns of one type whose
bins differ in numbers alone therefore share one compiled text, in which the numbers stand as
marks that occur nowhere else.
"""

from __future__ import annotations

import re

from monitor.bins import CategoryBins, FeatureBins, NumericBins
from monitor.engine import quoted

_NAME = "holdfast_column"
_PLACE = "0000"


def pattern(item: FeatureBins) -> FeatureBins:
    """Bins of the same form, with marks in place of the name and the numbers."""
    if isinstance(item, CategoryBins):
        return CategoryBins(_NAME, "feature", item.kind, ())
    exact = tuple(float(f"{place + 1}.25e-280") for place in range(_rounded(len(item.exact))))
    return NumericBins(_NAME, "feature", item.kind, item.transform, 1.5e-290, 2.5e-290, 3.5e-290,
                       4.5e-270, item.cells, exact, None if item.least is None else 5.5e-260,
                       None if item.most is None else 6.5e-250)


def adapted(sql: str, model: FeatureBins, item: FeatureBins, place: int) -> str:
    """The pattern's SQL for this column; ``place`` is a category's number in the lookup."""
    marks = {quoted(_NAME): quoted(item.name)}
    if isinstance(item, CategoryBins):
        marks |= {f"'{_PLACE}{sign}'": f"'{place:04d}{sign}'" for sign in ("", "=", "!")}
    elif isinstance(model, NumericBins):
        marks |= {f"'{mark!r}'": f"'{value!r}'" for mark, value
                  in zip(_numbers(model), _numbers(item), strict=True)}
    found = re.compile("|".join(re.escape(mark) for mark in marks))
    return found.sub(lambda match: marks[match[0]], sql)


def _numbers(bins: NumericBins) -> tuple[float, ...]:
    """Every constant of the column's expression that is not the number of its cells."""
    factor = bins.cells / (bins.high - bins.low)
    exact = bins.exact + bins.exact[-1:] * (_rounded(len(bins.exact)) - len(bins.exact))
    declared = [value for value in (bins.least, bins.most) if value is not None]
    return tuple(float(value) for value in (bins.center, bins.scale, bins.low, factor, *exact,
                                            *declared))


def _rounded(size: int) -> int:
    """The next multiple of eight from eight on: the last value is repeated, which hits nothing."""
    return size if size < 8 else -(-size // 8) * 8

