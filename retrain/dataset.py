"""Dataset: matured labelled rows as they were known, split by time for three uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from monitor.config import Limits, Model
from monitor.errors import HoldfastError
from monitor.request import Request
from monitor.source import Source
from monitor.window import Window, format_duration, parse_time
from retrain.benchmarks import read, without
from retrain.contract import Contract, class_values
from retrain.trainer import Split

LEAST = {"train": 200, "validation": 50, "holdout": 50}
"""Fewest labelled rows of each part; with fewer there is nothing to choose or to gate on."""

VALIDATION = 0.2
"""Share of the time before the holdout that choices are made on."""

GATE_ROWS = 250
"""Newest rows that a holdout keeps however lately a drift began: the gate asks for 200 of them."""

CHOICE_ROWS = 100
"""Rows before those that choices are made on, likewise."""

STRATA = 8
"""Stretches of a log with too many rows that are sampled each by itself: none vanishes."""

OLDER = 0.25
"""Share of ``training.max_rows`` that rows of the reference period may be, beside the newest."""

BOOTSTRAP_HOLDOUT = 0.2
"""Share of the reference period that a first champion never sees: what it promises is measured
there, and everything that follows is held against it."""


class Refusal(HoldfastError):
    """The request cannot lead to a candidate; the reason is recorded, nothing is registered."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows by time, the event time they span, and a hash of their content.

    ``older`` are rows of the reference period from before the window, to train on beside it.
    """

    split: Split
    window: Window
    content_hash: str
    older: pd.DataFrame
    whole: pd.DataFrame
    """All rows of the window, with those that the embargo leaves out of every part."""

    @property
    def rows(self) -> int:
        return sum(len(part) for part in (self.split.train, self.split.validation,
                                          self.split.holdout))


def assemble(request: Request, model: Model, limits: Limits) -> Dataset:
    """The rows of a request; the same log and request give the same rows in the same order.

    A retrain takes the newest ``training.window`` + ``training.holdout`` of matured event time,
    a bootstrap the reference period; stretches that the request excludes are left out. ``Refusal``
    where that is too little.
    """
    training = model.training
    file = request.kind == "bootstrap" and model.reference.source is not None
    with Source(model, limits, reference=file) as source:
        window = _reference(model, source) if request.kind == "bootstrap" else _newest(
            request.known_at, model)
        known_by = window.end + timedelta(days=36500) if file else request.known_at
        frame = _sampled(source, window, known_by, training.max_rows)
        older = _sampled(source, before, known_by, int(training.max_rows * OLDER)) if (
            before := _before(window, request, model)) else frame.iloc[:0]
    sets = read(model, limits)
    frame, older = (without(_learnable(part, request, model), sets) for part in (frame, older))
    if len(frame) > 1 and frame["_timestamp"].nunique() == 1:
        raise Refusal("the rows carry no time, so that they cannot be split by it; right would be "
                      f"a column {model.log.timestamp!r} in them")
    split = by_time(frame, window, lengths(frame, window, request, model))
    _enough(split, model)
    return Dataset(split, window, content_hash(pd.concat([older, frame])), older, frame)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much event time the newest parts hold, and how much is left out before each."""

    holdout: timedelta
    validation: timedelta
    embargo: timedelta = timedelta(0)


def by_time(frame: pd.DataFrame, window: Window, lengths: Lengths) -> Split:
    """The newest rows for the gate, those before for choices, and what lies before for training.

    The last ``embargo`` of training and of validation rows is left out, so that rows are not
    judged by their neighbours in time; never more than a quarter of the validation part.
    """
    opened = window.end - lengths.holdout
    chosen = opened - lengths.validation
    gap = min(lengths.embargo, lengths.validation / 4)
    time = frame["_timestamp"]
    parts = [frame[time < chosen - gap], frame[(time >= chosen) & (time < opened - gap)],
             frame[time >= opened]]
    return Split(*(part.reset_index(drop=True) for part in parts))


def lengths(frame: pd.DataFrame, window: Window, request: Request, model: Model) -> Lengths:
    """How the window is parted.

    A bootstrap keeps a fifth for the gate, a retrain ``training.holdout``; of a log that does not
    reach back over the whole window as large a share of what there is. A drift that began lately
    is shared out: two fifths of it for the gate (a quarter of the usual length at least, and
    ``GATE_ROWS``), half of the rest for choices, so that there is something of it to learn from.
    """
    holdout, embargo = model.training.holdout, model.training.embargo
    if request.kind == "bootstrap":
        holdout = window.length * BOOTSTRAP_HOLDOUT
    elif len(frame):
        covered = window.end - max(window.start, frame["_timestamp"].min().to_pydatetime())
        holdout = holdout * min(1.0, covered / window.length)
    validation = (window.length - holdout) * VALIDATION
    began = began_at(request)
    if began is None or not window.start < began < window.end:
        return Lengths(holdout, validation, embargo)
    stretch = window.end - began
    small = min(holdout, max(stretch * 0.4, holdout / 4, _spanned(
        frame, window.end, GATE_ROWS)))
    rest = (window.length - small) * VALIDATION
    least = max(small / 2, _spanned(frame, window.end - small, CHOICE_ROWS))
    return Lengths(small, max(min(rest, (stretch - small) / 2), least), embargo)


def _spanned(frame: pd.DataFrame, end: datetime, rows: int) -> timedelta:
    """How long before ``end`` the newest so many rows before it began to come."""
    times = frame["_timestamp"][frame["_timestamp"] < end].nlargest(rows)
    return end - times.min().to_pydatetime() if len(times) else timedelta(0)


def began_at(request: Request) -> datetime | None:
    """When the drift began that the request is about, where its evidence says so."""
    told = request.evidence.get("since")
    try:
        return None if told is None else parse_time(told)
    except HoldfastError:
        return None


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows by time; rows of one instant by their content, so that the order is one."""
    order = pd.DataFrame({"time": frame["_timestamp"].to_numpy(), "row": _row_hashes(frame)})
    place = order.sort_values(["time", "row"], kind="stable").index
    return frame.iloc[place].reset_index(drop=True)


def content_hash(frame: pd.DataFrame) -> str:
    """A SHA-256 of the rows' values, whatever their order."""
    digest = hashlib.sha256(repr([(name, str(frame[name].dtype)) for name in
                                  sorted(frame.columns)]).encode())
    digest.update(np.sort(_row_hashes(frame)).tobytes())
    return digest.hexdigest()


def usable(frame: pd.DataFrame, contracts: Iterable[Contract]) -> pd.DataFrame:
    """The rows that every one of these models can be served with.

    An integer or boolean input that is null cannot reach a model at all.
    """
    strict = {name for contract in contracts for name, kind in contract.inputs.items()
              if kind in {"long", "integer", "boolean"} and name in frame.columns}
    if not strict:
        return frame
    return frame[frame[sorted(strict)].notna().all(axis=1)].reset_index(drop=True)


def conform(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Exactly the contract's inputs, in its types, beside the columns with a leading underscore.

    ``Refusal`` where an input is not in the log, or not of a type that converts.
    """
    absent = [name for name in contract.inputs if name not in frame.columns]
    if absent:
        raise Refusal(f"the champion takes {', '.join(absent)}, which the log does not hold; right "
                      "would be to log every input, or another log.features.include")
    columns = {name: _typed(frame[name], kind) for name, kind in contract.inputs.items()}
    hidden = [name for name in frame.columns if str(name).startswith("_")]
    return pd.DataFrame(columns | {name: frame[name] for name in hidden})


def _typed(column: pd.Series, kind: str) -> pd.Series:
    try:
        if kind == "string":
            return column.astype(object).map(str, na_action="ignore").astype(object)
        if kind == "binary":
            return column.astype(object)
        if kind in {"double", "float"}:
            width = np.float64 if kind == "double" else np.float32
            return pd.Series(column.to_numpy(dtype=width, na_value=np.nan), index=column.index)
        plain: Any = {"long": np.int64, "integer": np.int32, "boolean": np.bool_}[kind]
        return pd.Series(column.to_numpy(dtype=plain), index=column.index)
    except (TypeError, ValueError, KeyError) as error:
        raise Refusal(f"column {column.name!r} is logged as {column.dtype} and cannot be served as "
                      f"{kind}; right would be the type that the champion takes") from error


def _sampled(source: Source, window: Window, known_by: datetime, limit: int) -> pd.DataFrame:
    """The labelled rows, or at most ``limit`` of them: by hash, as many from each eighth of the
    window, so that a time with few rows is not lost among one with many."""
    frame = source.sample(window, known_by=known_by, limit=limit, labelled=True)
    if len(frame) < limit:
        return frame
    edges = [window.start + window.length * part / STRATA for part in range(STRATA + 1)]
    parts = [source.sample(Window(start, end), known_by=known_by, limit=limit // STRATA,
                           labelled=True) for start, end in pairwise(edges)]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _before(window: Window, request: Request, model: Model) -> Window | None:
    """The part of the reference period that lies before the window; None where there is none."""
    reference = model.reference.window
    if request.kind == "bootstrap" or reference is None or reference.start >= window.start:
        return None
    return Window(reference.start, min(reference.end, window.start))


def _learnable(frame: pd.DataFrame, request: Request, model: Model) -> pd.DataFrame:
    """The rows without the stretches that nothing may be learned from, in one order."""
    return ordered(_without(frame, [*model.reference.exclude, *(
        (parse_time(start), parse_time(end)) for start, end in request.exclude)]))


def _newest(known_at: datetime, model: Model) -> Window:
    """The newest event time whose labels are mature, in whole panes."""
    end = model.calendar.pane_of(known_at - model.maturity.delay)
    start = end - model.training.holdout - model.training.window
    return Window(model.calendar.pane_of(start), end)


def _reference(model: Model, source: Source) -> Window:
    window = model.reference.window or (
        source.span() if model.reference.source is not None else None)
    if window is None:
        raise Refusal("there is no reference period to train a first champion on; right would be "
                      "reference: {from: …, to: …} or {source: …}")
    return window


def _without(frame: pd.DataFrame, periods: Sequence[tuple[datetime, datetime]]) -> pd.DataFrame:
    for start, end in periods:
        frame = frame[(frame["_timestamp"] < start) | (frame["_timestamp"] >= end)]
    return frame.reset_index(drop=True)


def _enough(split: Split, model: Model) -> None:
    counts = {name: len(getattr(split, name)) for name in LEAST}
    short = [f"{name} holds {counts[name]} labelled rows of at least {least}"
             for name, least in LEAST.items() if counts[name] < least]
    if short:
        raise Refusal(f"too few rows: {'; '.join(short)}; right would be a longer training.window "
                      f"({format_duration(model.training.window)}) or to wait for labels")
    if model.task != "regression" and len(class_values(split.train["_label"])) < 2:
        raise Refusal("the training rows hold one class only; right would be a longer "
                      "training.window that holds two")


def _row_hashes(frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    named = frame[sorted(frame.columns)]
    return np.asarray(pd.util.hash_pandas_object(named, index=False).to_numpy())
