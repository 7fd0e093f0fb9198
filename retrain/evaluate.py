"""Artifacts side by side on the same rows: quality with block intervals, size and latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.outcomes import Outcomes
from retrain.contract import Contract

if TYPE_CHECKING:
    from monitor.performance import Performance


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says about rows: classes or values ``[n]``, and probabilities.

    ``probability`` is ``[n, classes]`` in the order of ``classes``, or None.
    """

    predictions: NDArray[Any]
    probability: NDArray[np.float64] | None
    classes: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """One artifact on the evaluation rows; ``latency`` is {batch: median CPU seconds a call}."""

    name: str
    answers: Answers
    labels: NDArray[Any]
    timestamps: pd.Series
    outcomes: Outcomes
    quality: Mapping[str, Performance]
    size_bytes: int | None = None
    latency: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paired:
    """Mean difference ``a - b`` of losses on the same rows, with a block-resampled interval."""

    difference: float
    low: float
    high: float
    blocks: int
    n: int


def session(path: Path) -> Any:
    """An ONNX Runtime session on one CPU thread."""
    raise NotImplementedError


def answer(artifact: Any, frame: pd.DataFrame, contract: Contract) -> Answers:
    """What the session (or its path) says about the rows of the frame."""
    raise NotImplementedError


def logged(frame: pd.DataFrame, contract: Contract) -> Answers:
    """What the log says that its model answered (``_prediction``, ``_score``)."""
    raise NotImplementedError


def score(name: str, answers: Answers, frame: pd.DataFrame, *, contract: Contract,
          metrics: tuple[str, ...]) -> Scores:
    """Quality of answers about labelled rows (``_label``, ``_timestamp``)."""
    raise NotImplementedError


def latency(artifacts: Mapping[str, Any], frame: pd.DataFrame, *, batches: tuple[int, ...] = (1, 256),
            seconds: float = 0.5) -> dict[str, dict[int, float]]:
    """{name: {batch: median CPU seconds per call}}, the artifacts measured in turn."""
    raise NotImplementedError


def paired(a: NDArray[np.float64], b: NDArray[np.float64], timestamps: pd.Series, *,
           block: timedelta | None = None, level: float = 0.95) -> Paired:
    """The mean of ``a - b`` with a bootstrap interval over time blocks, never over rows."""
    raise NotImplementedError


def compare(a: Scores, b: Scores, metric: str, *, block: timedelta | None = None,
            level: float = 0.95) -> Paired:
    """How much worse ``a`` is than ``b`` in the metric's units (positive: worse), paired by row."""
    raise NotImplementedError
