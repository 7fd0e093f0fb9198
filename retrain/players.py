"""Players: a job's versions and rows as the ground that the ladder stands on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from monitor.baseline import Baseline
from monitor.config import Model
from monitor.errors import HoldfastError
from monitor.performance import measure
from monitor.registry import FOLDER, Version
from monitor.window import parse_time
from retrain.barred import why
from retrain.contest import Contest
from retrain.contract import Contract
from retrain.evaluate import DAY, Answers, logged
from retrain.ground import Ground, Player, metrics
from retrain.kept import kept, single
from retrain.metrics import LOWER_IS_BETTER
from retrain.rivals import Rival, same_answers
from retrain.trainer import Fitted, Options, Split, Trainer
from retrain.trainers import trainer
from retrain.work import Work

LEARNED = "holdfast.learned_until"
"""Tag of a version: the newest event time that its weights were fitted on."""

PARENT = "parent.onnx"
"""Artifact of a run: the float form of a version that was registered quantized."""

UNCOMPRESSED = "uncompressed.onnx"
"""Artifact of a run: a version that was registered without some of its units, as it was before."""


def ground(work: Work, found: Contest, splits: Sequence[tuple[str, Split]]) -> Ground:
    """Everything that rungs work with; weights of versions are read where they still fit."""
    made = trainer(work.model.training.kind)
    standing = Ground(
        made, options(work.model, found.contract), found.contract, work.model.metric,
        metrics(work.model.task, work.model.metric), work.model.training, tuple(splits),
        None if found.champion is None else _player(work, made, found.champion, found),
        tuple(_player(work, made, item, found) for item in found.predecessors),
        work.folder, work.steps.note, work.record.stage, kept(work))
    with suppress(HoldfastError):  # a champion that cannot be asked is told of by who asks it
        if standing.deciding != standing.metric:
            work.steps.note(f"{standing.metric} needs scores that are not there; accuracy decides")
        return replace(standing, metric=standing.deciding)
    return standing


def options(model: Model, contract: Contract) -> Options:
    """How the model's configuration says to train, for the classes of the contract."""
    training = model.training
    settings = {"estimator": training.estimator} if training.kind == "sklearn" else {}
    return Options(model.task, tuple(model.log.features.categorical), contract.classes,
                   seed=training.seed, epochs=training.epochs, widths=tuple(training.widths),
                   settings=settings | training.settings)


def _player(work: Work, made: Trainer, item: Rival, found: Contest) -> Player:
    theirs = item.contract or found.contract
    by_log = item is found.champion and not item.runnable and item.contract is not None
    return Player(item.name, theirs, item.artifact if item.contract else None,
                  weights_of(work, made, item.version, found.contract),
                  _form(work, item.version, PARENT),
                  _by_the_log(theirs) if by_log else None, item.why,
                  learned_until(item.version), why(work, item.version), single(item.version.tags),
                  item.version.blend, item.version.size,
                  _form(work, item.version, UNCOMPRESSED))


def learned_until(version: Version) -> datetime | None:
    """The newest event time that the version's weights were fitted on, where its tag tells."""
    told = version.tags.get(LEARNED)
    return None if told is None else parse_time(told)


def _by_the_log(contract: Contract) -> Callable[[pd.DataFrame], Answers]:
    return lambda frame: logged(frame, contract)


def _form(work: Work, version: Version, name: str) -> Path | None:
    """Another form of the version than the one that is served, where it was kept."""
    content = work.registry.artifact_bytes(version.run_id, f"{FOLDER}/{name}") \
        if version.trained else None
    if content is None:
        return None
    path = work.folder / "versions" / version.version / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def weights_of(work: Work, made: Trainer, version: Version, contract: Contract) -> Fitted | None:
    """The model of a version that holdfast trained; None where it no longer fits."""
    content = work.registry.artifact_bytes(version.run_id, f"{FOLDER}/{made.file}") \
        if version.trained else None
    if content is None:
        return None
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        path = Path(folder) / made.file
        path.write_bytes(content)
        fitted = made.load(path)
    fits = set(fitted.inputs) <= set(contract.inputs) and same_answers(
        replace(contract, classes=fitted.classes), contract)
    return fitted if fits else None


def promised(work: Work, found: Contest, metric: str) -> float | None:
    """The most that the champion's own baseline or the first version's promises of the deciding
    metric; None where unknown."""
    if found.champion is None:
        return None
    told = [_promise(work, item.version, metric)
            for item in (found.champion, *found.predecessors[-1:])]
    known = [value for value in told if value is not None]
    most = min if metric in LOWER_IS_BETTER else max
    return most(known, default=None)


def _promise(work: Work, version: Version, metric: str) -> float | None:
    try:
        text = work.registry.baseline(version)
        return None if text is None else measure(
            Baseline.from_json(text).performance, metric,
            positive=work.model.log.positive_label, block=DAY).value
    except HoldfastError:
        return None
