"""The baseline that a candidate brings along: its own answers on its own newest rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from monitor.baseline import Baseline
from monitor.bins import Bins
from monitor.config import Features, Limits, Log, Model, Reference
from monitor.errors import HoldfastError
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.reference import FITTED, VERSION, build, few_unseen
from monitor.sampling import SEGMENT
from monitor.source import Source
from monitor.window import Window
from retrain.contract import class_text
from retrain.evaluate import Answers
from retrain.work import Work

EVER = timedelta(days=36500)
OWN = "own"
"""What a scratch log calls the version on rows that it never saw."""


def own(model: Model, limits: Limits, frame: pd.DataFrame, *, answers: Answers, span: Window,
        outcomes: Outcomes, folder: Path, unseen: datetime) -> Baseline:
    """Bins, reference profile and thresholds of a candidate, by the code that watches the log.

    ``frame`` are its rows as sampled, ``answers`` what it says of them, ``outcomes`` those of the
    rows it never saw. Rows before ``unseen`` it was fitted to, and of those it is surer than it
    will be again: they say what the inputs look like, not what the answers do. Where those that it
    never saw are few, both tell by how much answers vary from one window to the next. The rows go
    through a scratch log in ``folder``, removed afterwards.
    """
    path = folder / "scratch-log.parquet"
    few = few_unseen(model, span, unseen)
    try:
        _as_logged(model, frame, answers, unseen, fitted=few).to_parquet(path)
        scratch = _scratch(model, path, frame, span, versions=few)
        with Source(scratch, limits) as source:
            baseline = build(scratch, source, OWN if few else "", span=span, outcomes=outcomes)
    finally:
        path.unlink(missing_ok=True)
    if baseline is None:
        raise HoldfastError(f"{model.name}: no baseline can be made of {span}")
    return replace(baseline, version="")


def counted(work: Work, frame: pd.DataFrame, answers: Answers, *, bins: Bins, span: Window
            ) -> dict[datetime, Profile]:
    """Rows as a version answers them, counted by pane over its bins, as the daemon counts logs."""
    path = work.folder / "scratch-log.parquet"
    model, rows = work.model, frame
    if "_label" not in rows or rows["_label"].isna().all():
        kind = "float64" if model.task == "regression" else "string"
        rows = rows.assign(_label=pd.Series([None] * len(rows), index=rows.index, dtype=kind))
    try:
        _as_logged(model, rows, answers, rows["_timestamp"].min()).to_parquet(path)
        with Source(_scratch(model, path, rows, span), work.config.limits) as source:
            found = source.count(bins, span, since=None, until=span.end + EVER)
    finally:
        path.unlink(missing_ok=True)
    panes: dict[datetime, Profile] = {}
    for item in found:
        if not item.segment:
            panes[item.pane] = panes.get(item.pane, Profile.empty(bins)) + item.profile
    return panes


def _as_logged(model: Model, frame: pd.DataFrame, answers: Answers, unseen: datetime, *,
               fitted: bool = False) -> pd.DataFrame:
    """The rows under the names that the log uses, unseen ones answered by the candidate; with
    ``fitted`` the others too, under another version's name."""
    never_seen = (frame["_timestamp"] >= unseen).to_numpy()
    fresh = never_seen | fitted
    columns = {name: frame[name] for name in _features(frame)}
    columns[model.log.timestamp] = frame["_timestamp"]
    columns[_label(model)] = frame["_label"]
    if model.log.prediction is not None:
        columns[model.log.prediction] = pd.Series(answers.predictions, index=frame.index
                                                  ).where(fresh)
    for name in model.log.segments:
        if f"{SEGMENT}{name}" in frame:
            columns[name] = frame[f"{SEGMENT}{name}"]
    if fitted:
        columns[VERSION] = pd.Series(np.where(never_seen, OWN, FITTED), index=frame.index)
    for column, share in _scores(model, answers).items():
        columns[column] = pd.Series(share, index=frame.index).where(fresh)
    return pd.DataFrame(columns)


def _scores(model: Model, answers: Answers) -> dict[str, np.ndarray]:
    score, shares = model.log.score, answers.probability
    if score is None or shares is None:
        return {}
    places = {class_text(value): index for index, value in enumerate(answers.classes)}
    if isinstance(score, str):
        positive = model.log.positive_label
        place = len(places) - 1 if positive is None else places[class_text(positive)]
        return {score: shares[:, place]}
    return {column: shares[:, places[class_text(name)]] for name, column in score.items()
            if class_text(name) in places}


def _scratch(model: Model, path: Path, frame: pd.DataFrame, span: Window, *,
             versions: bool = False) -> Model:
    """The same model over the scratch log; privacy was applied when the rows were sampled."""
    log, features = model.log, _features(frame)
    return model.model_copy(update={
        "log": Log(source=str(path), timestamp=log.timestamp, prediction=log.prediction,
                   score=log.score, positive_label=log.positive_label, label=_label(model),
                   model_version=VERSION if versions else None,
                   segments=[name for name in log.segments
                             if name in features or f"{SEGMENT}{name}" in frame],
                   features=Features(include=features, categorical=[
                       name for name in log.features.categorical if name in features]),
                   expect={name: told for name, told in log.expect.items() if name in features}),
        "privacy": model.privacy.model_copy(update={"drop": [], "hash": []}),
        "reference": Reference.model_validate({"from": span.start, "to": span.end})})


def _features(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns if not str(name).startswith("_")]


def _label(model: Model) -> str:
    if model.log.labels is not None:
        return model.log.labels.value
    assert model.log.label is not None
    return model.log.label
