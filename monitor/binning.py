"""Binning: the cells of a version's columns, made once from what the reference looks like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from monitor.bins import (
    AnswerBins,
    Bins,
    CategoryBins,
    ColumnSummary,
    FeatureBins,
    NumericBins,
    Role,
)
from monitor.config import Expect, Model
from monitor.expectations import allowed, canonical

Floats = npt.NDArray[np.float64]

CELLS = 64
"""Interval cells of a number, and the longest range of integers with a cell each."""
EXACT, EXACT_SHARE = 32, 0.01
"""Most values with cells of their own, and the share of the reference that each must exceed."""
NAMED, KNOWN = 50, 10_000
"""Categories with cells of their own, and values that are told apart from unseen ones."""
CLASSES = 20
"""Classes that answers and scores are counted by together; rarer ones are taken as one."""
UNIQUE, COVERED = 0.95, 0.05
"""Distinct values per row that make an identifier; share of rows in named categories below
which a text is free text."""
LINEAR = 0.25
"""Nats of entropy that a curved transform must gain over equal-width cells."""
NOTHING = Expect()
"""Of a column of which nothing is declared."""
STEPS = 20
"""A column that never falls and takes more values than this is an index of time."""


def make_bins(summaries: Mapping[str, ColumnSummary], model: Model) -> tuple[Bins, dict[str, str]]:
    """The cells of every column, and ``{column: why}`` for those that are set aside.

    ``summaries`` are keyed like bins: ``name``, ``prediction:name``, ``score:name``,
    ``label:name``. Outputs are never set aside as identifiers; columns configured as
    categorical are not either.
    """
    features: list[FeatureBins] = []
    aside: dict[str, str] = {}
    for key, summary in summaries.items():
        role = role_of(key)
        expect = model.log.expect.get(summary.name, NOTHING)
        listed = role == "feature" and expect.values is not None and summary.kind != "boolean"
        named = role == "feature" and summary.name in model.log.features.categorical
        classes = role in {"prediction", "label"} and model.task != "regression"
        why = _unusable(summary)
        if why is None and role == "feature" and not (named or listed):
            why = _indexes(summary) or _text(summary, model.privacy.min_count)
        if why is not None:
            aside[summary.name] = why
        elif summary.kind == "boolean":
            features.append(CategoryBins(summary.name, role, "boolean", ("false", "true")))
        elif listed:
            features.append(_listed(summary, allowed(expect)))
        elif summary.kind == "categorical" or named or classes:
            features.append(_category(summary, role, model.privacy.min_count))
        else:
            features.append(_number(summary, role, expect))
    return Bins(tuple(features), _answers(features, model)), aside


def role_of(key: str) -> Role:
    """The role that a key of the bins names; a plain name is a feature."""
    prefix = key.partition(":")[0]
    roles: dict[str, Role] = {"prediction": "prediction", "score": "score", "label": "label"}
    return roles.get(prefix, "feature") if ":" in key else "feature"


def _answers(features: list[FeatureBins], model: Model) -> AnswerBins | None:
    """The joint cells of answers and scores; None without classes, scores or labels."""
    log = model.log
    outputs = [item for item in features if isinstance(item, CategoryBins)
               and item.role in {"prediction", "label"}]
    if model.task == "regression" or not log.score or len(outputs) < 2:
        return None
    ranked = [item.categories[place:place + 1] for place in range(CLASSES) for item in outputs]
    classes = tuple(sorted(list(dict.fromkeys(name for part in ranked for name in part))[:CLASSES]))
    positive = log.positive_label or (classes[-1] if len(classes) == 2 else None)
    columns = tuple(log.score.values()) if isinstance(log.score, dict) else (log.score,)
    own = len(columns) > 1 and not (model.task == "binary" and log.positive_label in log.score)
    if not own and positive not in classes:
        return None
    return AnswerBins(str(log.prediction), columns, classes, None if own else positive, own)


def _unusable(summary: ColumnSummary) -> str | None:
    if summary.nulls >= summary.rows or summary.distinct == 0:
        return "no values in the reference"
    if summary.kind in {"numeric", "datetime"} and not np.isfinite(summary.quantiles).any():
        return "no finite values in the reference"
    return None


def _indexes(summary: ColumnSummary) -> str | None:
    """Why the column names rows or moments rather than describing them; None if it does not."""
    held = summary.rows - summary.nulls
    if summary.rises and summary.distinct > STEPS and summary.kind != "categorical":
        return (f"a monotone index: it never falls along event time and takes "
                f"{summary.distinct} values")
    whole = summary.kind == "numeric" and summary.integral
    if (whole or summary.kind == "categorical") and summary.distinct > UNIQUE * held > UNIQUE:
        return (f"identifier-like: {summary.distinct} distinct values in {held} rows")
    return None


def _text(summary: ColumnSummary, min_count: int) -> str | None:
    if summary.kind != "categorical":
        return None
    held = summary.rows - summary.nulls
    covered = sum(count for _, count in summary.top[:NAMED] if count >= min_count)
    if covered >= COVERED * held:
        return None
    return (f"free text: {summary.distinct} distinct values, and the {NAMED} most frequent ones "
            f"with at least {min_count} rows hold {covered / held:.1%} of the rows")


def _category(summary: ColumnSummary, role: Role, min_count: int) -> CategoryBins:
    """Categories by count; values under ``min_count`` are never named and fall in ``unseen``."""
    ranked = sorted(summary.top, key=lambda item: (-item[1], canonical(item[0])))
    named = [canonical(value) for value, count in ranked if count >= min_count]
    # names beyond those listed may be as frequent: nothing tells them from unseen ones
    cut = summary.distinct > len(summary.top) and bool(ranked) and ranked[-1][1] >= min_count
    rest = summary.distinct > KNOWN or cut
    known = () if rest else tuple(sorted(named[NAMED:KNOWN]))
    return CategoryBins(summary.name, role, "categorical", tuple(named[:NAMED]), known, rest)


def _listed(summary: ColumnSummary, names: tuple[str, ...]) -> CategoryBins:
    """Declared values by count: whatever else comes is unseen."""
    counts = {canonical(value): count for value, count in summary.top}
    ranked = sorted(names, key=lambda name: -counts.get(name, 0))
    return CategoryBins(summary.name, "feature", "categorical", tuple(ranked[:NAMED]),
                        tuple(sorted(ranked[NAMED:KNOWN])))


def _number(summary: ColumnSummary, role: Role, expect: Expect) -> NumericBins:
    kind: Literal["numeric", "datetime"] = (
        "datetime" if summary.kind == "datetime" else "numeric")
    points = np.array([value for value in summary.quantiles if math.isfinite(value)])
    lowest = -math.inf if expect.min is None else expect.min
    highest = math.inf if expect.max is None else expect.max
    possible = points[(points >= lowest) & (points <= highest)]
    points = possible if possible.size else points
    exact = tuple(value for value in _spikes(summary) if lowest <= value <= highest)

    def bins(transform: tuple[float, float] | None, low: float, high: float,
             cells: int) -> NumericBins:
        center, scale = transform or (0.0, 1.0)
        return NumericBins(summary.name, role, kind, "asinh" if transform else "linear",
                           center, scale, low, high, cells, exact, expect.min, expect.max)

    smallest, largest = float(points[0]), float(points[-1])
    if summary.integral and 0 < largest - smallest < CELLS:
        return bins(None, smallest - 0.5, largest + 0.5, round(largest - smallest) + 1)
    inner = points[~np.isin(points, exact)]
    if inner.size < 2 or np.ptp(inner) == 0:
        inner = points
    low, high = _range(points, inner, exact)
    if not _apart(low, high):
        low, high = smallest, largest
    if not _apart(low, high):
        value = exact[0] if exact else smallest
        return NumericBins(summary.name, role, kind, "linear", value, 1.0, 0.0, 1.0, 0, (value,),
                           expect.min, expect.max)
    transform = max(_transforms(inner), key=lambda item: _evenness(item, inner, low, high))
    first, last = (float(value) for value in _move(np.array([low, high]), transform))
    return bins(transform, first, last, CELLS)


def _spikes(summary: ColumnSummary) -> tuple[float, ...]:
    """Values that hold much of the reference, smallest first."""
    held = summary.rows - summary.nulls
    values = [float(value) for value, count in summary.top if count > EXACT_SHARE * held]
    return tuple(sorted(value + 0.0 for value in values[:EXACT] if math.isfinite(value)))


def _range(points: Floats, inner: Floats, exact: tuple[float, ...]) -> tuple[float, float]:
    """The 0.5 and 99.5 % quantiles; down or up to a spike that lies right at the edge."""
    outer = inner[1:-1] if inner.size >= points.size - 2 and inner.size > 4 else inner
    if inner.size < points.size - 2:
        outer = inner[1 if inner[0] == points[0] else 0:
                      -1 if inner[-1] == points[-1] else None]
        outer = outer if outer.size > 1 else inner
    low, high = float(outer[0]), float(outer[-1])
    near = 0.1 * (high - low)
    low = max((value for value in exact if low - near <= value < low), default=low)
    high = min((value for value in exact if high < value <= high + near), default=high)
    return low, high


def _apart(low: float, high: float) -> bool:
    """Whether cells of a 64th of the range are wider than what doubles can tell apart."""
    return high - low > 1e-11 * max(abs(low), abs(high))


def _transforms(inner: Floats) -> Iterator[tuple[float, float] | None]:
    """Linear first, then asinh around the median and the lower end, at three scales."""
    yield None
    low, median, high = np.quantile(inner, [0.25, 0.5, 0.75])
    width = high - low or np.quantile(inner, 0.95) - np.quantile(inner, 0.05)
    if width <= 0:
        return
    for center in (float(median), float(inner[0])):
        for share in (1.0, 0.1, 0.01):
            yield center, float(width) * share


def _move(values: Floats, transform: tuple[float, float] | None) -> Floats:
    if transform is None:
        return values
    return np.asarray(np.arcsinh((values - transform[0]) / transform[1]))


def _evenness(transform: tuple[float, float] | None, inner: Floats, low: float,
              high: float) -> float:
    """Entropy of the cells' reference shares in nats; linear is preferred when it is close."""
    first, last = _move(np.array([low, high]), transform)
    edges = np.linspace(first, last, CELLS + 1)
    moved = np.maximum.accumulate(_move(inner, transform))
    share = np.diff(np.interp(edges, moved, np.linspace(0, 1, inner.size)))
    share = share[share > 0]
    return float(-(share * np.log(share)).sum()) + (LINEAR if transform is None else 0.0)
