"""Importance by permutation: what a metric loses when one input's values are shuffled among rows.

Breiman (2001), as scikit-learn's ``permutation_importance``: the input is permuted within the
holdout rows, the artifact answers again, and the drop of the metric is averaged over repeats.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from monitor.importance import REPEATS, Importances, told
from retrain.contract import Contract
from retrain.evaluate import answer, judged, scored
from retrain.metrics import LOWER_IS_BETTER, METRICS, NEEDS_SHARES

ROWS = 2000
"""Rows that are answered again for every input and repeat; the newest ones."""
MOST = 300
"""Inputs beyond which nothing is permuted: it would take longer than training."""


def permuted(artifact: Any, frame: pd.DataFrame, contract: Contract, *, metric: str,
             seed: int = 0) -> Importances | None:
    """What each input of the session is worth on labelled rows; None with too many inputs.

    A drop is positive where the metric gets worse. From 50 inputs on there are two repeats. Where
    the metric needs scores that are not there, or is undefined, such as ``roc_auc`` of rows of one
    class, accuracy (or the mean absolute error) takes its place.
    """
    if len(contract.inputs) > MOST:
        return None
    frame = frame.tail(ROWS).reset_index(drop=True)
    plain = "mae" if contract.task == "regression" else "accuracy"
    for name in (metric, plain) if metric not in NEEDS_SHARES or scored(contract) else (plain,):
        drops = _drops(artifact, frame, contract, metric=name, seed=seed)
        if all(math.isfinite(drop) for drop, _ in drops.values()):
            return Importances("permutation", name, len(frame), drops)
    return None


def _drops(artifact: Any, frame: pd.DataFrame, contract: Contract, *, metric: str, seed: int
           ) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(seed)
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    even = np.ones(len(frame))

    def worth(rows: pd.DataFrame) -> float:
        return METRICS[metric](judged(answer(artifact, rows, contract), frame, contract))(even)

    names = list(contract.inputs)
    before, drops = worth(frame), {}
    for name in names:
        lost = []
        for _ in range(REPEATS if len(names) < 50 else 2):
            order = rng.permutation(len(frame))
            shuffled = frame.assign(**{name: frame[name].take(order).set_axis(frame.index)})
            lost.append(sign * (worth(shuffled) - before))
        drops[name] = told(lost)
    return drops
