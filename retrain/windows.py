"""Windows: which rows to train on. Candidates share validation and holdout; validation chooses.

After a drift the newest rows are right and few, all rows are many and partly wrong, and the
reference keeps what comes back. Which is best nobody knows beforehand.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.config import Model
from monitor.request import Request
from monitor.window import format_duration, isoformat
from retrain.contract import class_text
from retrain.dataset import LEAST, began_at
from retrain.trainer import WEIGHT, Split

RECENT = 1 / 3
"""Share of the training rows' time that is its most recent part."""

FLOOR = 0.1
"""Least that an old row counts against a new one: what comes back is not forgotten."""


def windows(split: Split, older: pd.DataFrame, *, request: Request, model: Model
            ) -> list[tuple[str, Split]]:
    """Splits by name, all rows of the window first; each has the rows that it trains on.

    ``older`` are rows of the reference period with the same columns. Windows with too few rows,
    with one class, or with the rows of one before them are left out.
    """
    training, end = model.training, split.validation["_timestamp"].min()
    found: list[tuple[str, pd.DataFrame]] = []
    for kind in dict.fromkeys(["all", *training.windows]):
        if kind == "all":
            found.append((f"the last {format_duration(training.window)}", split.train))
        elif kind == "since" and (began := began_at(request)) is not None:
            found.append((f"since {isoformat(began)}", _from(split.train, began)))
        elif kind == "recent":
            span = end - split.train["_timestamp"].min()
            found.append(("the most recent third", _from(split.train, end - span * RECENT)))
        elif kind == "reference" and len(older):
            rows = pd.concat([older[split.train.columns], split.train], ignore_index=True)
            weight = fading(rows["_timestamp"], end, training.half_life or training.window / 2)
            found.append(("the reference and the last "
                          f"{format_duration(training.window)}", rows.assign(**{WEIGHT: weight})))
    if "all" not in training.windows and len(found) > 1 and any(
            _fit(rows, model) for _, rows in found[1:]):
        found = found[1:]
    kept: dict[int, tuple[str, pd.DataFrame]] = {}
    for name, rows in found:
        if rows is split.train or _fit(rows, model):
            kept.setdefault(len(rows), (name, rows))
    return [(name, Split(_balanced(rows, model), split.validation, split.holdout))
            for name, rows in kept.values()]


def fading(times: pd.Series, end: datetime, half_life: timedelta) -> NDArray[np.float64]:
    """``max(2 ** (-age / half_life), FLOOR)``: how much rows of these times count at ``end``."""
    age = (pd.Timestamp(end) - times).dt.total_seconds() / half_life.total_seconds()
    return np.asarray(np.maximum(np.exp2(-age.to_numpy(np.float64)), FLOOR))


def _from(frame: pd.DataFrame, start: datetime | pd.Timestamp) -> pd.DataFrame:
    return frame[frame["_timestamp"] >= start].reset_index(drop=True)


def _fit(rows: pd.DataFrame, model: Model) -> bool:
    """Whether the rows are enough to train on: in number, and of two classes at least."""
    return len(rows) >= LEAST["train"] and (
        model.task == "regression" or rows["_label"].nunique() > 1)


def _balanced(rows: pd.DataFrame, model: Model) -> pd.DataFrame:
    """The rows with weights under which all classes count the same, where that is asked for."""
    if model.task == "regression" or model.training.class_balance == "none":
        return rows
    before = rows[WEIGHT].to_numpy(np.float64) if WEIGHT in rows else np.ones(len(rows))
    _, place = np.unique(rows["_label"].map(class_text).to_numpy(str), return_inverse=True)
    sums = np.bincount(place, before)
    return rows.assign(**{WEIGHT: before * (before.sum() / len(sums) / sums)[place]})
