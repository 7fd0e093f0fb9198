"""Judged rows as Outcomes: the counts that the monitor compares versions by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.outcomes import SCORE_CELLS, Outcomes
from retrain.contract import Contract, class_text
from retrain.metrics import FLOOR, Floats, Judged, true_share

BLOCK_SECONDS = 86400


def outcomes(judged: Judged, timestamps: pd.Series, contract: Contract) -> Outcomes:
    """Counts and sums of losses per day; see ``monitor.outcomes`` for their meaning."""
    return outcomes_of(judged, timestamps, contract.classes)


def outcomes_of(judged: Judged, timestamps: pd.Series, classes: Sequence[Any]) -> Outcomes:
    """The same of answers with these classes; none of them for regression."""
    epoch = pd.Timestamp(0, tz=timestamps.dt.tz)
    blocks = (((timestamps - epoch) // pd.Timedelta(seconds=BLOCK_SECONDS)).to_numpy()
              * BLOCK_SECONDS)
    keys = pd.DataFrame({"block": blocks, "prediction": _texts(judged.answer, classes),
                         "label": _texts(judged.label, classes), "score": _cells(judged)})
    counted = keys.value_counts().sort_index().reset_index()
    cells = {(int(block), str(prediction), str(label), int(score)): int(count)
             for block, prediction, label, score, count in counted.to_numpy()}
    sums = pd.DataFrame(_sums(judged, not classes)).groupby(blocks).sum()
    return Outcomes(cells, {int(block): tuple(map(float, row))
                            for block, row in zip(sums.index, sums.to_numpy(), strict=True)})


def _texts(codes: NDArray[Any], classes: Sequence[Any]) -> NDArray[Any]:
    if not classes:
        return np.full(len(codes), "", dtype=object)
    texts = np.array([*map(class_text, classes), "", ""], dtype=object)
    return np.asarray(texts[codes])  # -1 and -2: none of the classes


def _score(judged: Judged) -> Floats | None:
    """The positive class's probability, or that of the predicted class where there are many."""
    if judged.share is None:
        return None
    if judged.positive is not None:
        return judged.share[:, judged.positive]
    places = np.maximum(judged.answer, 0)
    return np.asarray(judged.share[np.arange(len(places)), places])


def _cells(judged: Judged) -> NDArray[np.int64]:
    score = _score(judged)
    if score is None:
        return np.full(len(judged.label), -1, dtype=np.int64)
    return np.clip(score * SCORE_CELLS, 0, SCORE_CELLS - 1).astype(np.int64)


def _sums(judged: Judged, regression: bool) -> dict[str, Floats]:
    """One column per name of ``monitor.outcomes.SUMS``, in that order."""
    n = len(judged.label)
    nothing = np.zeros(n)
    log_loss, brier, scored = nothing, nothing, nothing
    error, label = nothing, nothing
    if regression:
        error, label = judged.answer - judged.label, judged.label
    elif judged.share is not None:
        log_loss = -np.log(np.clip(true_share(judged), FLOOR, 1.0))
        scored = np.ones(n)
        truth = judged.label[:, None] == np.arange(judged.classes)
        brier = ((judged.share - truth) ** 2).sum(axis=1) / (1 + (judged.positive is not None))
    relative = np.abs(np.divide(error, label, out=np.zeros(n), where=label != 0))
    return {"n": np.ones(n), "log_loss": log_loss, "brier": brier, "error": error,
            "absolute": np.abs(error), "squared": error**2, "label": label,
            "label_squared": label**2, "relative": relative, "scored": scored}
