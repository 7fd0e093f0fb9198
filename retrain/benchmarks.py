"""Benchmarks: golden sets of labelled rows, read as the log is and never learnt from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.conditions import Benchmark
from monitor.config import Limits, Model
from monitor.errors import HoldfastError, SourceError
from monitor.source import Source
from retrain.contract import class_text

MOST = 50_000
"""Rows of a benchmark at most: all of them must be known to be kept out of training."""

FOREVER = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class Golden:
    """One benchmark set: its rule and its labelled rows, in one order."""

    rule: Benchmark
    frame: pd.DataFrame

    @property
    def name(self) -> str:
        return self.rule.name


def read(model: Model, limits: Limits) -> tuple[Golden, ...]:
    """Every benchmark set of the model, through its privacy rules; ``HoldfastError`` in words."""
    return tuple(Golden(rule, _rows(rule, model, limits)) for rule in model.benchmarks)


def _rows(rule: Benchmark, model: Model, limits: Limits) -> pd.DataFrame:
    plain = model.golden(rule)
    try:
        with Source(plain, limits, reference=True) as source:
            span = source.span()
            frame = pd.DataFrame() if span is None else source.sample(
                span, known_by=span.end + FOREVER, limit=MOST + 1, labelled=True)
    except SourceError as error:
        raise HoldfastError(f"benchmark {rule.name!r} cannot be read: {error}") from error
    if "_label" not in frame or not len(frame):
        raise HoldfastError(f"benchmark {rule.name!r} holds no labelled row in {rule.source}; "
                            f"right would be rows of the log with a value in {plain.log.label!r}")
    if len(frame) > MOST:
        raise HoldfastError(f"benchmark {rule.name!r} holds more than {MOST} rows; right would be "
                            "a smaller one")
    return frame


def without(frame: pd.DataFrame, sets: Iterable[Golden]) -> pd.DataFrame:
    """The rows that lie in no benchmark set: by id where both have one, else by content.

    Content is the inputs and the time; the inputs and the label where a set carries no time.
    """
    held = np.zeros(len(frame), dtype=bool)
    for golden in sets:
        held |= _within(frame, golden.frame)
    return frame[~held].reset_index(drop=True) if held.any() else frame


def _within(frame: pd.DataFrame, golden: pd.DataFrame) -> NDArray[np.bool_]:
    named = "_id" in frame and "_id" in golden and golden["_id"].notna().all()
    if named:
        return np.asarray(frame["_id"].isin(set(golden["_id"])), dtype=bool)
    inputs = sorted(name for name in map(str, golden) if name in frame and name[0] != "_")
    timed = golden["_timestamp"].nunique() > 1
    columns = [*inputs, "_timestamp" if timed else "_label"]
    if not inputs:
        return np.zeros(len(frame), dtype=bool)
    return np.isin(_hashes(frame, columns), _hashes(golden, columns))


def _hashes(frame: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.uint64]:
    """One number per row of its values, however they are typed in the one file or the other."""
    plain = pd.DataFrame({name: _canonical(frame[name]) for name in columns})
    return np.asarray(pd.util.hash_pandas_object(plain, index=False).to_numpy())


def _canonical(column: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.astype("int64").astype(object).map(str)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        column = column.astype("float64")
    return column.astype(object).map(class_text, na_action="ignore").fillna("").map(str)

