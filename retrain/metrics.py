"""Metrics of answers about labelled rows, each a function of row weights.

Weights are what a block bootstrap varies: the metric of a resample is the metric of the same rows
with the weight of each row's block. Undefined values are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


Metric = Callable[[Judged, Floats], float]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _mean(values: NDArray[Any], weights: Floats) -> float:
    return _ratio(float(values @ weights), float(weights.sum()))


def _accuracy(rows: Judged, weights: Floats) -> float:
    return _mean((rows.label == rows.answer).astype(float), weights)


def _balanced(rows: Judged, weights: Floats) -> float:
    hit = rows.label == rows.answer
    shares = [_mean(hit[rows.label == code].astype(float), weights[rows.label == code])
              for code in range(rows.classes)]
    return _macro(shares)


def _precision(rows: Judged, weights: Floats) -> float:
    return _per_class(rows, weights, lambda hit, said, is_: _ratio(hit, said))


def _recall(rows: Judged, weights: Floats) -> float:
    return _per_class(rows, weights, lambda hit, said, is_: _ratio(hit, is_))


def _f1(rows: Judged, weights: Floats) -> float:
    return _per_class(rows, weights, lambda hit, said, is_: _ratio(2 * hit, said + is_))


def _per_class(rows: Judged, weights: Floats,
               formula: Callable[[float, float, float], float]) -> float:
    """Of the positive class, or the mean over classes where there are more than two."""
    values = []
    for code in (range(rows.classes) if rows.positive is None else [rows.positive]):
        said, is_ = rows.answer == code, rows.label == code
        values.append(formula(float(weights[said & is_].sum()), float(weights[said].sum()),
                              float(weights[is_].sum())))
    return _macro(values)


def _macro(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _log_loss(rows: Judged, weights: Floats) -> float:
    return _mean(-np.log(np.clip(_true_share(rows), FLOOR, 1.0)), weights)


def _true_share(rows: Judged) -> Floats:
    assert rows.share is not None
    known = rows.label >= 0
    share = rows.share[np.arange(len(rows.label)), np.where(known, rows.label, 0)]
    return np.where(known, share, 0.0)


def _brier(rows: Judged, weights: Floats) -> float:
    assert rows.share is not None
    if rows.positive is not None:
        return _mean((rows.share[:, rows.positive] - (rows.label == rows.positive)) ** 2, weights)
    truth = rows.label[:, None] == np.arange(rows.classes)
    return _mean(((rows.share - truth) ** 2).sum(axis=1), weights)


def _roc_auc(rows: Judged, weights: Floats) -> float:
    assert rows.share is not None
    codes = range(rows.classes) if rows.positive is None else [rows.positive]
    return _macro([_auc(rows.share[:, code], rows.label == code, weights) for code in codes])


def _auc(score: Floats, truth: NDArray[np.bool_], weights: Floats) -> float:
    """Weighted Mann-Whitney share of (positive, negative) pairs in order; ties count half."""
    _, place = np.unique(score, return_inverse=True)
    ups = np.bincount(place, weights * truth)
    downs = np.bincount(place, weights * ~truth)
    below = np.cumsum(downs) - downs
    return _ratio(float(ups @ (below + downs / 2)), float(ups.sum() * downs.sum()))


def _mae(rows: Judged, weights: Floats) -> float:
    return _mean(np.abs(rows.answer - rows.label), weights)


def _rmse(rows: Judged, weights: Floats) -> float:
    return float(np.sqrt(_mean((rows.answer - rows.label) ** 2, weights)))


def _r2(rows: Judged, weights: Floats) -> float:
    spread = _mean((rows.label - _mean(rows.label, weights)) ** 2, weights)
    return 1.0 - _ratio(_mean((rows.answer - rows.label) ** 2, weights), spread)


METRICS: Mapping[str, Metric] = {
    "accuracy": _accuracy, "balanced_accuracy": _balanced, "precision": _precision,
    "recall": _recall, "f1": _f1, "roc_auc": _roc_auc, "log_loss": _log_loss, "brier": _brier,
    "mae": _mae, "rmse": _rmse, "r2": _r2}

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse"})

NEEDS_SHARES = frozenset({"log_loss", "brier", "roc_auc"})

CLASS_METRICS = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss", "brier")
VALUE_METRICS = ("mae", "rmse", "r2")
