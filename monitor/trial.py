"""Trial: one policy lived through with trainings and promotions, beside others on the same rows.

What policies have in common is done once: the rows are read once, the first champion is trained
once and answers every row once. Each policy then goes on from a copy of that MLflow with a store
and a log of its own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import yaml

from monitor.baseline import Baseline
from monitor.bins import Bins
from monitor.byhand import ask
from monitor.config import Limits, Loaded, Log, Model, load
from monitor.course import Course, course
from monitor.daemon import tick
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.hindsight import by_day
from monitor.launch import LocalProcess
from monitor.outcomes import Outcomes
from monitor.playback import LABEL_ARRIVAL, Stage
from monitor.policies import Variant
from monitor.reference import (
    FITTED,
    VERSION,
    build,
    few_unseen,
    reference_span,
    sealed,
)
from monitor.registry import Registry
from monitor.rehearsal import HANDOVER, rows_of, settings
from monitor.request import Request
from monitor.sampling import SEGMENT
from monitor.source import Source
from monitor.store import Store
from monitor.window import Window, isoformat

LABEL, FIRST = "_label", "1"
Days = dict[datetime, Outcomes]
Progress = Callable[[str], None]


class Unreported(LocalProcess):
    """A launcher whose trainings make no Evidently report: nobody would read it."""

    def start(self, request: Request) -> None:
        super().start(replace(request, options={**request.options, "report": False}))


@dataclass(frozen=True, slots=True)
class Opening:
    """What all policies of one model start from; everything lies in ``folder``.

    ``answers`` are those of the first champion to every row of ``frame``, ``baseline`` its own.
    """

    folder: Path
    frame: pd.DataFrame
    reference: Window
    live: Window
    baseline: Baseline
    answers: pd.DataFrame
    minutes: float


@dataclass(slots=True)
class Trial:
    """What came of one policy: its course, the rows as they were answered, and every version's
    answers had it served them all, by day."""

    course: Course
    served: Days
    versions: dict[str, Days]


def opening(model: Model, loaded: Loaded, folder: Path, span: Window, progress: Progress
            ) -> Opening:
    """Rows read and a first champion trained; ``HoldfastError`` where either cannot be."""
    if model.reference.source is not None:
        raise HoldfastError(f"{model.name}: reference.source is a file beside the log; right would "
                            "be a period of it, in reference.from and reference.to")
    with Source(model, loaded.config.limits) as source:
        reference = reference_span(model, source)
        if reference is None or reference.end >= span.end:
            raise HoldfastError(f"{model.name}: the log does not hold a whole reference before "
                                f"{isoformat(span.end)}")
        live = Window(max(span.start, reference.end), span.end)
        frame = rows_of(model, source, Window(reference.start, span.end))
    progress(f"{len(frame)} rows read; a first champion is trained on the reference")
    with stage(model, folder, frame, reference, progress) as scene:
        began = datetime.now().astimezone()
        scene.prepare(reference)
        minutes = (datetime.now().astimezone() - began) / timedelta(minutes=1)
        champion = scene.deps.registry.champion(model.name)
        text = champion and scene.deps.registry.baseline(champion)
        if not text:
            raise HoldfastError(f"{model.name}: the first champion has no baseline")
        return Opening(folder, frame, reference, live,
                       replace(Baseline.from_json(text), version=FIRST), scene.answers[FIRST],
                       minutes)


@contextmanager
def stage(model: Model, folder: Path, frame: pd.DataFrame, reference: Window, progress: Progress
          ) -> Iterator[Stage]:
    """A stage in ``folder`` whose children end with it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump(settings(model, frame, reference), sort_keys=False))
    config = load(path).config
    launcher = Unreported(Path(config.folder) / "requests")
    try:
        with Store.open(config.store) as store:
            deps = Deps(config, str(path), store, Registry(config.mlflow), launcher, None)
            yield Stage(config.models[0], deps, folder, frame, LABEL, progress)
    finally:
        launcher.stop(HANDOVER)


def trial(variant: Variant, begun: Opening, folder: Path, progress: Progress) -> Trial:
    """Live through the span under one policy."""
    _copy(begun.folder, folder)
    with stage(variant.model, folder, begun.frame, begun.reference, progress) as scene:
        scene.answers[FIRST] = begun.answers
        if not variant.same:
            baseline = recalibrated(begun, scene.model, scene.deps.config.limits)
            scene.deps.store.save_baseline(scene.model.name, FIRST, sealed(scene.model, baseline),
                                           baseline.to_json())
        scene.follow_alias(begun.reference.start)
        calendar = variant.every if variant.model.training.kind != "none" else None
        due = begun.live.start + calendar if calendar else None
        for now in scene.play(begun.live):
            progress(f"{now:%Y-%m-%d} {scene.deps.store.recorded(scene.model.name).state.phase}")
            if calendar and due and now >= due:
                due += calendar
                _scheduled(scene, variant, now)
        told = course(scene.deps.store, scene.model.name, scene.model.metric)
        wanted = {FIRST, *(alarm.version for alarm in told.alarms)}
        return Trial(told, _served(scene, begun.live), {
            version: answered(begun, scene.model, scene.answers[version], folder,
                              limits=scene.deps.config.limits)
            for version in scene.answers if version in wanted})


def _copy(origin: Path, folder: Path) -> None:
    """The reference's log and labels, the rows, and the MLflow with its one version.

    Artifacts stay where they are: the database names them by their path.
    """
    folder.mkdir(parents=True)
    for name in ("log", "labels"):
        shutil.copytree(origin / name, folder / name)
    os.link(origin / "rows.parquet", folder / "rows.parquet")
    with closing(sqlite3.connect(origin / "mlflow.db")) as old, \
            closing(sqlite3.connect(folder / "mlflow.db")) as new:
        old.backup(new)


def _scheduled(scene: Stage, variant: Variant, now: datetime) -> None:
    """A training by the calendar, through the same gate; none beside one that is under way."""
    store, name = scene.deps.store, scene.model.name
    if store.open_request(name) is None:
        ask(scene.model, scene.deps, reason=variant.words, bootstrap=False, now=now, wait=True)
        tick(scene.model, scene.deps, now)  # promotes at once what passed, as after other requests
        scene.follow_alias(now)


def recalibrated(begun: Opening, model: Model, limits: Limits) -> Baseline:
    """The first champion's baseline under another policy, from the same reference rows.

    Rows that it was fitted to keep saying no more of its answers than in its own baseline: as many
    of the newest ones have one; where those are few, the others tell by how much answers vary.
    """
    frame, own = begun.frame, begun.baseline
    times = frame["_timestamp"]
    rows = frame[(times >= begun.reference.start) & (times < begun.reference.end)]
    share = 1.0
    for key, part in own.bins.slices.items():
        if own.bins.by_key[key].role == "prediction":
            counts = own.reference.counts[part]
            share = 1 - float(counts[0] / max(counts.sum(), 1))
    newest = rows.index[len(rows) - max(round(share * len(rows)), 1):]
    path = begun.folder / "recalibrated.parquet"
    if few_unseen(model, begun.reference, times.loc[newest[0]].to_pydatetime()):
        versions = pd.Series(FIRST, index=rows.index).where(rows.index.isin(newest), FITTED)
        scratch = _flat_log(model, rows.assign(**{VERSION: versions}),
                            begun.answers.loc[rows.index], path)
    else:
        scratch = _flat_log(model, rows, begun.answers.loc[newest].reindex(rows.index), path)
    with Source(scratch, limits) as source:
        baseline = build(scratch, source, FIRST, span=begun.reference, outcomes=own.performance)
    path.unlink()
    if baseline is None:
        raise HoldfastError(f"{model.name}: no baseline can be made of {begun.reference}")
    return replace(baseline, importance=own.importance)


def answered(begun: Opening, model: Model, answers: pd.DataFrame, folder: Path, *,
             limits: Limits) -> Days:
    """Outcomes by day, had one version answered every row of the span."""
    times = begun.frame["_timestamp"]
    rows = begun.frame[(times >= begun.live.start) & (times < begun.live.end)]
    path = folder / "answered.parquet"
    scratch = _flat_log(model, rows, answers.loc[rows.index], path)
    with Source(scratch, limits) as source:
        return outcomes_of(source, begun.live)


def _flat_log(model: Model, rows: pd.DataFrame, answers: pd.DataFrame, path: Path) -> Model:
    """The model over rows, answers and labels in one file."""
    answered = {name: answers[name] for name in ("prediction", "score") if name in answers}
    groups = {f"{SEGMENT}{name}": name for name in model.log.segments if f"{SEGMENT}{name}" in rows}
    rows.assign(**answered).drop(columns=[LABEL_ARRIVAL]).rename(columns=groups).to_parquet(
        path, index=False)
    log = Log(source=str(path), timestamp=model.log.timestamp, prediction="prediction",
              score="score" if "score" in answered else None, label=LABEL,
              positive_label=model.log.positive_label, segments=[
                  name for name in model.log.segments if name in rows or name in groups.values()],
              model_version=VERSION if VERSION in rows else None,
              features=model.log.features.model_copy(
                  update={"exclude": ["request_id", "received_at", *groups.values()]}))
    return model.model_copy(update={"log": log})


def _served(scene: Stage, span: Window) -> Days:
    """The rows as they were answered, with the labels that the span was too short for."""
    calendar = scene.model.calendar
    scene.reveal(calendar.pane_of(span.end - timedelta(microseconds=1)) + calendar.pane)
    with scene.deps.source(scene.model) as source:
        return outcomes_of(source, span)


def outcomes_of(source: Source, span: Window) -> Days:
    """Labelled rows of the span by day, whoever answered, with every label that ever came."""
    ever = span.end + timedelta(days=36500)
    found = source.count(Bins(()), span, since=None, until=ever)
    return by_day(item.outcomes for item in found if not item.segment)


