"""Courses: the streams that are lived through day by day, as their first version meets them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from monitor.config import Model
from tests.data import stream


@dataclass(frozen=True, slots=True)
class Course:
    """A stream: its metric, what the first version learns from, and when the world changes."""

    stream: str
    task: str
    metric: str
    label: str
    drop: tuple[str, ...]
    first: int
    """Rows of the first version; the rest is lived through."""
    onset: int | None
    positive: Any = None
    categorical: tuple[str, ...] = ()
    every: timedelta | None = None
    """Event time between rows, where the stream's own times are made up."""
    scored: str = ""
    """What the table tells, where it is not what decides."""


COURSES = {
    "elec2": Course("elec2", "binary", "accuracy", "class", ("date",), 10_000, 17_424, "UP",
                    ("day",)),
    "bike_sharing": Course("bike_sharing", "regression", "r2", "cnt",
                           ("casual", "registered", "yr"), 4344, 8645),
    "insects_gradual": Course("insects_gradual", "multiclass", "accuracy", "class", (), 6037,
                              14_028, every=timedelta(minutes=30)),
    "hotel_booking": Course("hotel_booking", "binary", "roc_auc", "is_canceled",
                            ("y_pred", "y_pred_proba"), 12_900, 35_000, 1,
                            scored="average_precision"),
    "control_elec2_shuffled": Course("control_elec2_shuffled", "binary", "accuracy", "class",
                                     ("date",), 10_000, None, "UP", ("day",)),
}


def framed(course: Course) -> pd.DataFrame:
    """The stream's rows: `_timestamp`, `_label`, `_place`, and the columns that a model may see."""
    frame = stream(course.stream).rename(columns={"timestamp": "_timestamp",
                                                  course.label: "_label"})
    frame = frame.drop(columns=list(course.drop))
    if course.every is not None:
        frame["_timestamp"] = pd.Timestamp("2024-01-01") + np.arange(len(frame)) * course.every
    frame["_timestamp"] = pd.to_datetime(frame["_timestamp"]).dt.tz_localize("UTC")
    for column in frame.select_dtypes(["category", "string"]).columns:
        frame[column] = frame[column].astype(object)
    return frame.reset_index(drop=True).assign(_place=np.arange(len(frame)))


def defaults(course: Course) -> Model:
    """The committed defaults, for a log with this stream's columns."""
    return Model.model_validate({
        "name": course.stream.replace("_", "-"), "task": course.task,
        "log": {"source": "x.parquet", "timestamp": "_timestamp", "prediction": "p",
                "label": "_label"},
        "reference": {"from": datetime(1990, 1, 1, tzinfo=UTC).isoformat(),
                      "to": datetime(1990, 2, 1, tzinfo=UTC).isoformat()},
        "policy": {"performance": {"metric": course.metric}},
        "training": {"kind": "sklearn"}})
