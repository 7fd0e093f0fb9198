"""Alarms about a fresh version's own answers, where it was fitted to most of its reference.

A model learns from 20 days, has four more that it never saw, and is watched over the next 28, in
which nothing changes but the weather and the weekday. Its baseline is the one that a candidate
brings along (``retrain.baseline.own``), days are judged as the daemon judges them, and only
predictions and scores count. ``holdfast``: as it is; ``unseen alone``: the rows that the version
was fitted to do not tell by how much answers vary; ``as if unseen``: they count as if it had never
seen them. Then the same days with answers that broke: one answer to all of the rows, or to a half
of them, drawn by chance.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monitor.baseline import Baseline
from monitor.bins import Role
from monitor.config import Limits, Model
from monitor.faults import find
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.reference import panes_of
from monitor.source import Source
from monitor.window import Window
from retrain import baseline
from retrain.evaluate import Answers
from tests.benchmarks.counting import episodes, lowest
from tests.benchmarks.tools import BUDGET
from tests.data import stream

LEARNED, UNSEEN, WATCHED = timedelta(days=20), timedelta(days=4), timedelta(days=28)
STARTS = 8
ANSWERS: tuple[Role, ...] = ("prediction", "score")
Flags = npt.NDArray[np.bool_]
DAY = timedelta(days=1)
STREAMS = {"elec2": ("class", "date"), "bike_sharing": ("cnt", "casual", "registered", "yr"),
           "metro_traffic": ("traffic_volume",)}
"""Stream -> its label, and columns that no model sees."""
CLASSES = {"elec2": "UP"}
"""Streams of classes, and the positive one."""
BROKEN = (1.0, 0.5)
"""Shares of the rows whose answers break."""
WAYS = ("holdfast", "unseen alone", "as if unseen")


@dataclass(frozen=True, slots=True)
class Case:
    """One version: the model that is watched, its rows with answers, and when they begin."""

    model: Model
    rows: pd.DataFrame
    classes: tuple[str, ...]
    start: datetime


def measure(quick: bool) -> dict[str, Any]:
    """{stream: {way: alarms, what the budget expects, days that alarm, days found broken, by drift
    or by a warning}}."""
    found: dict[str, Any] = {}
    for name in STREAMS:
        counts: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
            for case in cases(name, 2 if quick else STARTS, Path(folder)):
                for way in WAYS:
                    counts[way].append(_counted(case, way, Path(folder)))
        found[name] = {way: _pooled(items) for way, items in counts.items()}
    return found


def cases(name: str, starts: int, folder: Path) -> Iterator[Case]:
    """Versions of two kinds, from starts that lie evenly over the stream; not where a day has no
    rows at all."""
    label, *hidden = STREAMS[name]
    frame = stream(name).drop(columns=hidden).rename(columns={label: "truth"})
    frame["at"] = pd.to_datetime(frame.pop("timestamp"), utc=True)
    for column in frame.select_dtypes(["category", "string"]).columns:
        frame[column] = frame[column].astype(str).astype(object)
    frame = frame.sort_values("at", kind="stable").reset_index(drop=True)
    first, last = frame["at"].min().ceil("D"), frame["at"].max()
    room = last - first - (LEARNED + UNSEEN + WATCHED)
    for place in range(starts):
        start = (first + room * ((place + .5) / starts)).floor("D").to_pydatetime()
        end = start + LEARNED + UNSEEN + WATCHED
        rows = frame[(frame["at"] >= start) & (frame["at"] < end)].reset_index(drop=True)
        whole = rows["at"].dt.floor("D").nunique() == (end - start).days
        for trees in (True, False) if whole else ():
            yield _answered(name, rows, start, trees=trees, path=folder / "log.parquet")


def _answered(name: str, rows: pd.DataFrame, start: datetime, *, trees: bool, path: Path) -> Case:
    """The rows as a model of the first of them answers all."""
    inputs = [column for column in rows if column not in {"at", "truth"}]
    coded = pd.get_dummies(rows[inputs], dtype=float)
    known = (rows["at"] < start + LEARNED).to_numpy()
    positive, classes = CLASSES.get(name), ()
    if positive is None:
        fitted = HistGradientBoostingRegressor(max_iter=40, random_state=0) if trees else (
            make_pipeline(StandardScaler(), Ridge()))
        answers = {"answer": fitted.fit(coded[known], rows["truth"][known]).predict(coded)}
    else:
        fitted = HistGradientBoostingClassifier(max_iter=40, random_state=0) if trees else (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)))
        shares = fitted.fit(coded[known], rows["truth"][known]).predict_proba(coded)
        classes = tuple(fitted.classes_)
        answers = {"answer": fitted.classes_[shares.argmax(axis=1)],
                   "score": shares[:, classes.index(positive)]}
    model = Model.model_validate({
        "name": "m", "task": "regression" if positive is None else "binary",
        "maturity": {"delay": "1d"}, "policy": {"alarm_budget": f"1 per {BUDGET}d"}, "log": {
            "source": str(path), "timestamp": "at", "prediction": "answer", "label": "truth",
            "features": {"include": inputs},
            **({"score": "score", "positive_label": positive} if positive else {})}})
    return Case(model, rows.assign(**answers), classes, start)


def _counted(case: Case, way: str, folder: Path) -> dict[str, Any]:
    """Days that alarm or warn: as they are, and with broken answers."""
    made, end = brought(case, way, folder), case.start + LEARNED + UNSEEN
    span = Window(end, end + WATCHED)
    drifted, warned = days(case, made, span, case.rows)
    told = {"days": len(drifted), "alarms": len(episodes(drifted)), "loud": int(drifted.sum()),
            "warned": int(warned.sum())}
    for share in BROKEN:
        drifted, warned = days(case, made, span, broken(case, share))
        told |= {f"drifted_{share:g}": int(drifted.sum()),
                 f"told_{share:g}": int((drifted | warned).sum())}
    return told


def brought(case: Case, way: str, folder: Path) -> Baseline:
    """The baseline that the version brings along."""
    rows, end = case.rows, case.start + LEARNED + UNSEEN
    known = (rows["at"] < end).to_numpy()
    inputs = list(case.model.log.features.include)
    frame = rows.loc[known, inputs].assign(_timestamp=rows["at"], _label=rows["truth"])
    answers = rows["answer"].to_numpy()[known]
    shares = None
    if "score" in rows:
        score = rows["score"].to_numpy()[known]
        place = case.classes.index(str(case.model.log.positive_label))
        shares = np.stack([score if at == place else 1 - score for at in (0, 1)], axis=1)
    unseen = case.start if way == "as if unseen" else case.start + LEARNED
    rule = (lambda *_: False) if way == "unseen alone" else baseline.few_unseen
    with mock.patch.object(baseline, "few_unseen", rule):
        return baseline.own(case.model, Limits(), frame, span=Window(case.start, end),
                            answers=Answers(answers, shares, case.classes),
                            outcomes=Outcomes(), folder=folder, unseen=unseen)


def broken(case: Case, share: float) -> pd.DataFrame:
    """The rows with one answer where they break: the rarer class, or the largest number."""
    rows, hit = case.rows.copy(), np.random.default_rng(0).random(len(case.rows)) < share
    positive = case.model.log.positive_label
    rows.loc[hit, "answer"] = rows["answer"].max() if positive is None else positive
    if "score" in rows:
        rows.loc[hit, "score"] = 0.99
    return rows


def days(case: Case, made: Baseline, span: Window, rows: pd.DataFrame) -> tuple[Flags, Flags]:
    """Whether each day's answers moved beyond their limits, judged with the days before it, and
    whether they are warned of."""
    rows.to_parquet(str(case.model.log.source), index=False)
    with Source(case.model, Limits()) as source:
        found = source.count(made.bins, span, since=None, until=span.end + 1000 * DAY)
    earlier: list[tuple[datetime, Profile]] = []
    drifted, warned = [], []
    first = min(item.pane for item in found)
    for place, profile in enumerate(panes_of(found, DAY, Profile.empty(made.bins))):
        at = first + place * DAY
        near = [each for each in earlier if each[0] >= at - made.reach]
        told = made.compared(profile, roles=ANSWERS, window=(at, near))
        drifted.append(any(result.drifted for result in told.results))
        warned.append(any(fault.column for fault in find(profile, made, roles=ANSWERS)))
        earlier.append((at, profile))
    return np.array(drifted), np.array(warned)


def _pooled(items: list[dict[str, Any]]) -> dict[str, Any]:
    whole = {key: sum(item[key] for item in items) for key in items[0]}
    expected = whole["days"] / BUDGET
    return {"versions": len(items), "expected": round(expected, 2), **whole,
            "ratio": round(lowest(whole["alarms"]) / expected, 4)}
