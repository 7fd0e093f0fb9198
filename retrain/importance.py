"""Importance by permutation: what a metric loses when one input's values are shuffled among rows.

Breiman (2001), as scikit-learn's ``permutation_importance``: the input is permuted within the
holdout rows, the artifact answers again, and the drop of the metric is averaged over repeats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from monitor.importance import REPEATS, Importances, told
from retrain.contract import Contract
from retrain.evaluate import answer, judged
from retrain.metrics import LOWER_IS_BETTER, METRICS

ROWS = 2000
"""Rows that are answered again for every input and repeat; the newest ones."""
MOST = 300
"""Inputs beyond which nothing is permuted: it would take longer than training."""


def permuted(artifact: Any, frame: pd.DataFrame, contract: Contract, *, metric: str,
             seed: int = 0) -> Importances | None:
    """What each input of the session is worth on labelled rows; None with too many inputs.

    A drop is positive where the metric gets worse. From 50 inputs on there are two repeats.
    """
    names = list(contract.inputs)
    if len(names) > MOST:
        return None
    frame = frame.tail(ROWS).reset_index(drop=True)
    rng = np.random.default_rng(seed)
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    even = np.ones(len(frame))

    def worth(rows: pd.DataFrame) -> float:
        return METRICS[metric](judged(answer(artifact, rows, contract), frame, contract))(even)

    before, drops = worth(frame), {}
    for name in names:
        lost = []
        for _ in range(REPEATS if len(names) < 50 else 2):
            order = rng.permutation(len(frame))
            shuffled = frame.assign(**{name: frame[name].take(order).set_axis(frame.index)})
            lost.append(sign * (worth(shuffled) - before))
        drops[name] = told(lost)
    return Importances("permutation", metric, len(frame), drops)
