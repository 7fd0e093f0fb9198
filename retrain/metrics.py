"""Metrics of answers about labelled rows, as functions of row weights.

Weights are what a block bootstrap varies: the metric of a resample is the metric of the same rows
with the weight of each row's block. What does not depend on weights is worked out once. Undefined
values are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 1e-6
"""Probabilities are held this far from 0 and 1 in logarithms."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers beside labels, as numbers.

    Classes are codes (-1: none of the classes); ``share`` is ``[n, classes]`` or None; for
    regression ``label`` and ``answer`` are values. ``positive`` is the code of the positive class,
    None with more than two.
    """

    label: NDArray[Any]
    answer: NDArray[Any]
    share: Floats | None
    classes: int
    positive: int | None


Weighted = Callable[[Floats], float]
"""Row weights -> the metric."""

Metric = Callable[[Judged], Weighted]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _macro(values: Iterable[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _mean(values: NDArray[Any]) -> Weighted:
    """The weighted mean of a loss that each row has by itself."""
    losses = np.asarray(values, dtype=np.float64)
    return lambda weights: _ratio(float(losses @ weights), float(weights.sum()))


def _accuracy(rows: Judged) -> Weighted:
    return _mean(rows.label == rows.answer)


def _codes(rows: Judged) -> Iterable[int]:
    """The positive class, or every class where there are more than two."""
    return range(rows.classes) if rows.positive is None else [rows.positive]


def _counted(formula: Callable[[float, float, float], float], rows: Judged,
             codes: Iterable[int]) -> Weighted:
    """The mean over classes of a formula of hits, answers and labels."""
    masks = [np.stack([(rows.answer == code) & (rows.label == code), rows.answer == code,
                       rows.label == code]).astype(np.float64) for code in codes]
    return lambda weights: _macro(formula(*(mask @ weights)) for mask in masks)


def _precision(rows: Judged) -> Weighted:
    return _counted(lambda hit, said, true: _ratio(hit, said), rows, _codes(rows))


def _recall(rows: Judged) -> Weighted:
    return _counted(lambda hit, said, true: _ratio(hit, true), rows, _codes(rows))


def _f1(rows: Judged) -> Weighted:
    return _counted(lambda hit, said, true: _ratio(2 * hit, said + true), rows, _codes(rows))


def _balanced(rows: Judged) -> Weighted:
    return _counted(lambda hit, said, true: _ratio(hit, true), rows, range(rows.classes))


def _log_loss(rows: Judged) -> Weighted:
    return _mean(-np.log(np.clip(true_share(rows), FLOOR, 1.0)))


def true_share(rows: Judged) -> Floats:
    """The probability that each row's true class was given; 0 where it is none of the classes."""
    assert rows.share is not None
    known = rows.label >= 0
    share = rows.share[np.arange(len(rows.label)), np.where(known, rows.label, 0)]
    return np.where(known, share, 0.0)


def _brier(rows: Judged) -> Weighted:
    assert rows.share is not None
    if rows.positive is not None:
        return _mean((rows.share[:, rows.positive] - (rows.label == rows.positive)) ** 2)
    truth = rows.label[:, None] == np.arange(rows.classes)
    return _mean(((rows.share - truth) ** 2).sum(axis=1))


def _ece(rows: Judged) -> Weighted:
    """Expected calibration error in ten equal cells of the score of the positive class, or of the
    predicted one where there are more than two."""
    assert rows.share is not None
    place = np.maximum(rows.answer, 0) if rows.positive is None else rows.positive
    score = rows.share[np.arange(len(rows.label)), place]
    hit = rows.label == (rows.answer if rows.positive is None else rows.positive)
    cell = np.clip((score * 10).astype(int), 0, 9)
    gap = score - hit
    return lambda weights: _ratio(float(np.abs(np.bincount(cell, gap * weights)).sum()),
                                  float(weights.sum()))


def _roc_auc(rows: Judged) -> Weighted:
    assert rows.share is not None
    parts = [_auc(rows.share[:, code], rows.label == code) for code in _codes(rows)]
    return lambda weights: _macro(part(weights) for part in parts)


def _auc(score: Floats, truth: NDArray[np.bool_]) -> Weighted:
    """Weighted Mann-Whitney share of (positive, negative) pairs in order; ties count half."""
    _, place = np.unique(score, return_inverse=True)

    def value(weights: Floats) -> float:
        ups = np.bincount(place, weights * truth)
        downs = np.bincount(place, weights * ~truth)
        below = np.cumsum(downs) - downs
        return _ratio(float(ups @ (below + downs / 2)), float(ups.sum() * downs.sum()))

    return value


def _average_precision(rows: Judged) -> Weighted:
    assert rows.share is not None
    parts = [_precision_of(rows.share[:, code], rows.label == code) for code in _codes(rows)]
    return lambda weights: _macro(part(weights) for part in parts)


def _precision_of(score: Floats, truth: NDArray[np.bool_]) -> Weighted:
    """Weighted mean, over the positives, of the precision of all rows with their score or more."""
    _, place = np.unique(-score, return_inverse=True)

    def value(weights: Floats) -> float:
        ups = np.bincount(place, weights * truth)
        named = np.cumsum(np.bincount(place, weights))
        precision = np.divide(np.cumsum(ups), named, out=np.zeros_like(named), where=named > 0)
        return _ratio(float(ups @ precision), float(ups.sum()))

    return value


def _mae(rows: Judged) -> Weighted:
    return _mean(np.abs(rows.answer - rows.label))


def _rmse(rows: Judged) -> Weighted:
    squared = _mean((rows.answer - rows.label) ** 2)
    return lambda weights: float(np.sqrt(squared(weights)))


def _mape(rows: Judged) -> Weighted:
    """Rows with a label of 0 count as 0."""
    gap = np.abs(rows.answer - rows.label)
    known = rows.label != 0
    return _mean(np.divide(gap, np.abs(rows.label), out=np.zeros(len(gap)), where=known))


def _r2(rows: Judged) -> Weighted:
    squared, middle = _mean((rows.answer - rows.label) ** 2), _mean(rows.label)
    square = _mean(rows.label.astype(np.float64) ** 2)

    def value(weights: Floats) -> float:
        return 1.0 - _ratio(squared(weights), square(weights) - middle(weights) ** 2)

    return value


METRICS: Mapping[str, Metric] = {
    "accuracy": _accuracy, "balanced_accuracy": _balanced, "precision": _precision,
    "recall": _recall, "f1": _f1, "roc_auc": _roc_auc, "average_precision": _average_precision,
    "log_loss": _log_loss, "brier": _brier, "ece": _ece, "mae": _mae, "rmse": _rmse, "mape": _mape,
    "r2": _r2}

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "mae", "rmse", "mape"})

NEEDS_SHARES = frozenset({"log_loss", "brier", "ece", "roc_auc", "average_precision"})

ENDLESS = frozenset({"log_loss", "brier", "mae", "rmse", "mape"})
"""Metrics that are 0 at best and have no worst value; all others are 1 at most."""


def bounded(metric: str, low: float, high: float) -> tuple[float, float]:
    """An interval without the values that the metric cannot take."""
    if metric in ENDLESS:
        return max(low, 0.0), high
    return low if metric == "r2" else max(low, 0.0), min(high, 1.0)

CLASS_METRICS = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss", "brier")
VALUE_METRICS = ("mae", "rmse", "r2")
