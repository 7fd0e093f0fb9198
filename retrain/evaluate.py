"""Artifacts side by side on the same rows: quality with block intervals, size and latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import ContractError, HoldfastError
from monitor.outcomes import Outcomes
from monitor.performance import Performance
from retrain.blocks import DAY, WEEK, Blocks, Paired, block_length, estimate, of_time
from retrain.contract import Contract, class_codes, class_text
from retrain.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    NEEDS_SHARES,
    Floats,
    Judged,
    Weighted,
    bounded,
)
from retrain.runtime import columns, feed, session
from retrain.tally import outcomes

__all__ = ["DAY", "WEEK", "Answers", "Paired", "Scores", "answer", "block_length", "compare",
           "difference", "disagreement", "judged", "latency", "logged", "measure", "paired",
           "score", "scored", "session", "size"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says about rows: classes or values ``[n]``, and probabilities.

    ``probability`` is ``[n, classes]`` in the order of ``classes``, or None.
    """

    predictions: NDArray[Any]
    probability: Floats | None
    classes: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """One model on the evaluation rows; ``latency`` is {batch: median CPU seconds a call}."""

    name: str
    answers: Answers
    labels: NDArray[Any]
    judged: Judged
    timestamps: pd.Series
    outcomes: Outcomes
    quality: Mapping[str, Performance]
    size_bytes: int | None = None
    latency: Mapping[int, float] = field(default_factory=dict)
    golden: Mapping[str, Scores] = field(default_factory=dict)
    """The same model on the golden benchmark sets, by name."""

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def predictions(self) -> NDArray[Any]:
        return self.answers.predictions

    def measured(self, *, size_bytes: int | None, latency: Mapping[int, float]) -> Scores:
        """The same scores with what the artifact costs."""
        return replace(self, size_bytes=size_bytes, latency=latency)


def answer(artifact: Any, frame: pd.DataFrame, contract: Contract) -> Answers:
    """What the ONNX Runtime session says about the rows of the frame."""
    got = columns(artifact, frame)
    if contract.task == "regression":
        [name] = contract.outputs
        return Answers(got[name].astype(np.float64), None, ())
    share = _shares({value: got[name] for name, value in contract.probabilities.items()}, contract)
    if contract.prediction is not None:
        return Answers(got[contract.prediction], share, contract.classes)
    return Answers(_likeliest(share, contract), share, contract.classes)


def together(parts: Sequence[Answers]) -> Answers:
    """The answers to rows that follow one another."""
    shares = [item.probability for item in parts if item.probability is not None]
    return Answers(np.concatenate([item.predictions for item in parts]),
                   np.concatenate(shares) if shares else None, parts[0].classes)


def logged(frame: pd.DataFrame, contract: Contract) -> Answers:
    """What the log says that its model answered: ``_prediction``, ``_score`` (of the positive
    class) or ``_score_CLASS``."""
    if contract.task == "regression":
        return Answers(pd.to_numeric(frame["_prediction"]).to_numpy(np.float64), None, ())
    given = {value: frame[f"_score_{class_text(value)}"] for value in contract.classes
             if f"_score_{class_text(value)}" in frame}
    if "_score" in frame and contract.positive is not None:
        given = {contract.positive: frame["_score"]}
    share = _shares({value: pd.to_numeric(column).to_numpy(np.float64)
                     for value, column in given.items()}, contract)
    if "_prediction" in frame:
        return Answers(frame["_prediction"].to_numpy(), share, contract.classes)
    return Answers(_likeliest(share, contract), share, contract.classes)


def _shares(given: Mapping[Any, NDArray[Any]], contract: Contract) -> Floats | None:
    """Probabilities in the order of the classes; the other one of two is the complement."""
    if contract.task == "binary" and len(given) == 1:
        [(value, share)] = given.items()
        given = {other: share if other == value else 1.0 - share for other in contract.classes}
    if not given or any(value not in given for value in contract.classes):
        return None
    share = np.stack([given[value] for value in contract.classes], axis=1).astype(np.float64)
    return share if np.isfinite(share).all() else None


def scored(contract: Contract) -> bool:
    """Whether a model of this contract gives a probability of every class."""
    given = set(contract.probabilities.values())
    return given >= set(contract.classes) or (contract.task == "binary" and len(given) == 1)


def _likeliest(share: Floats | None, contract: Contract) -> NDArray[Any]:
    if share is None:
        raise ContractError("neither predictions nor scores of all classes are there; right would "
                            "be one of them")
    classes: NDArray[Any] = np.asarray(contract.classes, dtype=object)
    return np.asarray(classes[share.argmax(axis=1)])


def score(name: str, answers: Answers, frame: pd.DataFrame, *, contract: Contract,
          metrics: tuple[str, ...]) -> Scores:
    """Quality of answers about labelled rows (``_label``, ``_timestamp``), in their order."""
    found = judged(answers, frame, contract)
    timestamps = frame["_timestamp"].reset_index(drop=True)
    quality = {metric: measure(found, timestamps, metric) for metric in metrics}
    labels = (found.label if contract.task == "regression"
              else frame["_label"].map(class_text).to_numpy(object))
    return Scores(name, answers, labels, found, timestamps,
                  outcomes(found, timestamps, contract), quality)


def judged(answers: Answers, frame: pd.DataFrame, contract: Contract) -> Judged:
    """The answers beside the labels of the frame, as numbers."""
    if contract.task == "regression":
        label = pd.to_numeric(frame["_label"]).to_numpy(np.float64)
        return Judged(label, answers.predictions.astype(np.float64), None, 0, None)
    positive = None if contract.positive is None else contract.classes.index(contract.positive)
    said = class_codes(pd.Series(answers.predictions), contract.classes)
    return Judged(class_codes(frame["_label"], contract.classes),
                  np.where(said < 0, -2, said), answers.probability,
                  len(contract.classes), positive)


def measure(judged: Judged, timestamps: pd.Series, metric: str, *, level: float = 0.95
            ) -> Performance:
    """The metric with an interval from resampled time blocks; None, and why, where undefined."""
    n = len(timestamps)
    if metric in NEEDS_SHARES and judged.share is None:
        return Performance(metric, None, None, None, n, reason="no score of every class is logged")
    found = estimate(METRICS[metric](judged), of_time(timestamps), level=level)
    if not np.isfinite(found.difference):
        return Performance(metric, None, None, None, n, reason="undefined on these rows")
    low, high = bounded(metric, found.low, found.high)
    return Performance(metric, found.difference, low, high, n, span=found.block)


def paired(a: Floats, b: Floats, timestamps: pd.Series, *, block: timedelta | None = None,
           level: float = 0.95) -> Paired:
    """The mean of ``a - b`` (losses a row) with an interval over time blocks, never rows.

    Blocks are weeks where the span holds four of them, else days, else a quarter of the span.
    """
    losses = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return estimate(lambda weights: float(losses @ weights / weights.sum()),
                    _blocks(timestamps, block), level=level)


def compare(a: Scores, b: Scores, metric: str, *, block: timedelta | None = None,
            level: float = 0.95) -> Paired:
    """How much worse ``a`` is than ``b`` in the metric's units, paired by row.

    ``HoldfastError`` where the rows differ or a side has no probabilities that the metric needs.
    """
    if not np.array_equal(a.labels, b.labels):
        raise HoldfastError(f"{a.name} and {b.name} were scored on different rows; score both on "
                            "the same ones")
    if metric in NEEDS_SHARES and (a.judged.share is None or b.judged.share is None):
        raise HoldfastError(f"{metric} needs the score of every class of both {a.name} and "
                            f"{b.name}; take accuracy instead")
    return estimate(difference(a.judged, b.judged, metric), _blocks(a.timestamps, block),
                    level=level)


def difference(a: Judged, b: Judged, metric: str) -> Weighted:
    """How much worse ``a`` is than ``b`` on the same rows, as a function of their weights."""
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    first, second = METRICS[metric](a), METRICS[metric](b)
    return lambda weights: sign * (first(weights) - second(weights))


def _blocks(timestamps: pd.Series, block: timedelta | None) -> Blocks:
    if not len(timestamps):
        raise HoldfastError("there are no rows to compare on; widen the window")
    return of_time(timestamps, block)


def disagreement(a: Scores, b: Scores) -> float:
    """Share of rows that the two answer with different classes: no accuracy differs by more."""
    return float(np.mean(a.judged.answer != b.judged.answer))


def size(path: Path) -> int:
    """Bytes of the artifact on disk."""
    return path.stat().st_size


def latency(artifacts: Mapping[str, Any], frame: pd.DataFrame, *,
            batches: tuple[int, ...] = (1, 256), seconds: float = 0.04
            ) -> dict[str, dict[int, float]]:
    """{name: {batch: median CPU seconds per call}}; the artifacts take turns, ``seconds`` each.

    An artifact is a session, fed raw columns, or anything callable with a frame that gives the call
    to be measured. Feeding is not counted.
    """
    found: dict[str, dict[int, float]] = {name: {} for name in artifacts}
    for batch in batches:
        rows = pd.concat([frame] * -(-batch // max(1, len(frame)))).iloc[:batch]
        calls = {name: _call(artifact, rows) for name, artifact in artifacts.items()}
        for name, value in _in_turn(calls, seconds).items():
            found[name][batch] = value
    return found


def _call(artifact: Any, rows: pd.DataFrame) -> Callable[[], object]:
    if not hasattr(artifact, "get_inputs"):
        call: Callable[[], object] = artifact(rows)
        return call
    fed = feed(artifact, rows)
    return lambda: artifact.run(None, fed)


def _in_turn(calls: Mapping[str, Callable[[], object]], seconds: float, rounds: int = 15
             ) -> dict[str, float]:
    repeats = {}
    for name, call in calls.items():
        call()
        began = time.process_time()
        for _ in range(5):
            call()
        once = max((time.process_time() - began) / 5, 1e-6)
        repeats[name] = max(1, int(seconds / rounds / once))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.process_time()
            for _ in range(repeats[name]):
                call()
            taken[name].append((time.process_time() - began) / repeats[name])
    return {name: statistics.median(values) for name, values in taken.items()}
