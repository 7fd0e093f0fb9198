"""How near estimates without labels come to what the labels said, beside CBPE as NannyML has it.

Run as `python -m tests.benchmarks.detection --only estimation`. Both tools learn from the same
first rows of a stream and estimate the same later windows; what is realized is scikit-learn's
metric of the rows. ``Cbpe`` is NannyML 0.13.1's definition on raw rows; a test holds it to the
numbers of the package.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedShuffleSplit

from monitor.bins import SCORE_CELLS, AnswerBins
from monitor.estimate import Estimator, estimator
from monitor.outcomes import SUMS, Outcomes, coarsened
from tests import data

METRICS = ("accuracy", "roc_auc", "average_precision", "f1")
ITEM = AnswerBins("guess", ("score",), ("0", "1"), "1", False)
FEWEST = 30
"""Rows of each class that a window must hold."""


@dataclass(frozen=True)
class Stream:
    """A stream with predictions: its columns, the rows used, those of the reference."""

    name: str
    label: str
    guess: str
    score: str
    rows: int | None
    reference: int
    window: int


STREAMS = (
    Stream("car_loan", "repaid", "y_pred", "y_pred_proba", 75_000, 25_000, 100),
    Stream("employment_ma", "employed", "prediction", "predicted_probability", None, 69_000, 200),
    Stream("hotel_booking", "is_canceled", "y_pred", "y_pred_proba", None, 13_000, 1_500),
)


@dataclass(frozen=True)
class Rows:
    """Labels, predicted classes and scores in the order of time; ``at`` in seconds."""

    label: np.ndarray
    guess: np.ndarray
    score: np.ndarray
    at: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def part(self, start: int, stop: int) -> Rows:
        return Rows(*(getattr(self, name)[start:stop] for name in self.__dataclass_fields__))


class Cbpe:
    """Confidence-based performance estimation: calibrated rows -> expected matrix -> metric."""

    def __init__(self, rows: Rows) -> None:
        split = StratifiedShuffleSplit(n_splits=10, test_size=0.1, random_state=42)
        parts = [(rows.label[test], rows.score[test],
                  _isotonic(rows.score[train], rows.label[train]).predict(rows.score[test]))
                 for train, test in split.split(rows.score, rows.label)]
        label, score, calibrated = (np.concatenate(part) for part in zip(*parts, strict=True))
        self.calibrates = bool(_gap(label, score) > _gap(label, calibrated))
        self._curve = _isotonic(rows.score, rows.label)

    def estimate(self, rows: Rows) -> dict[str, float]:
        chance = self._curve.predict(rows.score) if self.calibrates else rows.score
        said = rows.guess == 1
        hits, missed = chance[said].sum(), chance[~said].sum()
        ranked = chance[np.argsort(rows.score)[::-1]]
        found = np.cumsum(ranked)
        false = np.arange(1, len(ranked) + 1) - found
        recall = np.r_[0, found] / found[-1]
        return {
            "accuracy": float(np.where(said, chance, 1 - chance).mean()),
            "f1": float(2 * hits / (hits + missed + said.sum())),
            "roc_auc": float(np.trapezoid(recall, np.r_[0, false] / false[-1])),
            "average_precision": float(
                (np.diff(recall) * found / np.arange(1, len(ranked) + 1)).sum()),
        }


def _isotonic(score: np.ndarray, label: np.ndarray) -> IsotonicRegression:
    return IsotonicRegression(out_of_bounds="clip").fit(score, label)


def _gap(label: np.ndarray, score: np.ndarray, count: int = 10) -> float:
    """Expected calibration error over equally filled bins."""
    order = np.argsort(score)
    edges = np.arange(0, len(score) + 1, len(score) // count)
    edges[-1] = len(score)
    return sum(abs((label[order[a:b]] - score[order[a:b]]).sum())
               for a, b in itertools.pairwise(edges)) / len(score)


def load(stream: Stream) -> Rows:
    """The stream's rows up to ``rows``."""
    frame = data.stream(stream.name).iloc[:stream.rows]
    at = (frame["timestamp"] - pd.Timestamp(0)).dt.total_seconds()
    return Rows(frame[stream.label].to_numpy().astype(int), frame[stream.guess].to_numpy(),
                frame[stream.score].to_numpy().astype(float), at.to_numpy())


def outcomes(rows: Rows, every: int = 3600) -> Outcomes:
    """The rows as a source would count them."""
    cell = np.minimum(np.floor(rows.score * SCORE_CELLS), SCORE_CELLS - 1).astype(int)
    hit = np.clip(np.where(rows.label == 1, rows.score, 1 - rows.score), 1e-15, 1 - 1e-15)
    frame = pd.DataFrame({"block": (rows.at // every * every).astype(int), "guess": rows.guess,
                          "label": rows.label, "cell": cell, "log_loss": -np.log(hit),
                          "brier": (rows.label - rows.score) ** 2, "n": 1, "scored": 1})
    cells = frame.groupby(["block", "guess", "label", "cell"])["n"].sum()
    sums = frame.groupby("block")[["n", "log_loss", "brier", "scored"]].sum()
    return Outcomes(
        {(int(block), str(guess), str(label), int(place)): int(count)
         for (block, guess, label, place), count in cells.items()},
        {int(block): tuple(float(row.get(name, 0)) for name in SUMS)
         for block, row in sums.iterrows()})


def answers(rows: Rows) -> np.ndarray:
    """Joint counts of answer and score cell."""
    cell = np.minimum(np.floor(rows.score * SCORE_CELLS), SCORE_CELLS - 1).astype(int)
    counts = np.zeros((len(ITEM.names), SCORE_CELLS + 1), dtype=np.int64)
    np.add.at(counts, (rows.guess + 2, cell), 1)
    return counts.ravel()


def realized(rows: Rows) -> dict[str, float]:
    return {"accuracy": float(sk.accuracy_score(rows.label, rows.guess)),
            "roc_auc": float(sk.roc_auc_score(rows.label, rows.score)),
            "average_precision": float(sk.average_precision_score(rows.label, rows.score)),
            "f1": float(sk.f1_score(rows.label, rows.guess))}


def taught(rows: Rows) -> Estimator:
    """What holdfast learns from a reference."""
    found = estimator(ITEM, coarsened(outcomes(rows)))
    assert found is not None
    return found


def windows(stream: Stream, *, most: int | None = None) -> pd.DataFrame:
    """One row per window and metric: what both tools estimated, and what came out."""
    rows = load(stream)
    reference = rows.part(0, stream.reference)
    ours, theirs = taught(reference), Cbpe(reference)
    starts = range(stream.reference, len(rows) - stream.window + 1, stream.window)
    found = []
    for start in starts[:: max(1, len(starts) // most) if most else 1]:
        part = rows.part(start, start + stream.window)
        if min(part.label.sum(), len(part) - part.label.sum()) < FEWEST:
            continue
        real, other = realized(part), theirs.estimate(part)
        for item in ours.estimate(answers(part), METRICS):
            found.append({"stream": stream.name, "metric": item.metric, "holdfast": item.value,
                          "low": item.low, "high": item.high, "realized": real[item.metric],
                          "nannyml_cbpe": other[item.metric]})
    return pd.DataFrame(found)


def errors(found: pd.DataFrame) -> dict[str, Any]:
    """Mean absolute errors of both tools, their difference and its 95 % interval."""
    ours = (found["holdfast"] - found["realized"]).abs().to_numpy()
    theirs = (found["nannyml_cbpe"] - found["realized"]).abs().to_numpy()
    gap = ours - theirs
    half = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    return {"holdfast": round(float(ours.mean()), 6),
            "nannyml_cbpe": round(float(theirs.mean()), 6),
            "difference": [round(float(gap.mean() + shift), 6) for shift in (0, -half, half)],
            "windows": len(gap)}


def covered(found: pd.DataFrame) -> float:
    inside = (found["low"] <= found["realized"]) & (found["realized"] <= found["high"])
    return round(float(inside.mean()), 4)


def measure(quick: bool = False) -> dict[str, Any]:
    """``estimation`` per stream and metric, and the ``interval_coverage`` of all windows."""
    found = pd.concat([windows(stream, most=20 if quick else None) for stream in STREAMS])
    estimation: dict[str, Any] = {}
    for name, part in found.groupby("stream", sort=False):
        per = {str(metric): errors(rows) for metric, rows in part.groupby("metric", sort=False)}
        estimation[str(name)] = {
            tool: round(float(np.mean([item[tool] for item in per.values()])), 6)
            for tool in ("holdfast", "nannyml_cbpe")} | {"metrics": per}
    pooled = {str(metric): covered(rows) for metric, rows in found.groupby("metric", sort=False)}
    return {"estimation": estimation, "interval_coverage": {
        "windows": len(found) // len(METRICS), **pooled,
        "streams": {str(name): {str(metric): covered(rows)
                                for metric, rows in part.groupby("metric", sort=False)}
                    for name, part in found.groupby("stream", sort=False)}}}
