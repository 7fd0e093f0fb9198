"""Points: one candidate in several sizes: as trained, pruned, and each of them as int8."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from monitor.config import Model
from monitor.errors import HoldfastError
from monitor.registry import FOLDER, Version
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract
from retrain.evaluate import Scores, answer, compare, latency, score, session
from retrain.metrics import METRICS
from retrain.quantize import CALIBRATION_ROWS
from retrain.rivals import same_answers
from retrain.trainer import Fitted, Options, Split
from retrain.trainers import trainer
from retrain.work import Work

STARTS = 4
"""Versions that fine-tuning starts from at most; the one that ends best on validation is taken."""

MEASURED_ROWS = 2000
"""Validation rows that latency is measured on."""


@dataclass(frozen=True, slots=True)
class Point:
    """One size of the candidate: its weights, its artifact and how it did on validation."""

    fitted: Fitted
    artifact: Path
    scores: Scores


def fit(work: Work, data: Split, contract: Contract, versions: Sequence[Version]) -> Fitted:
    """The best fine-tuned one of ``versions`` (champion first), or a model from scratch.

    Where a season comes back an earlier version is often the better start: the two newest
    predecessors and the very first are tried. Metrics go to stage `train`.
    """
    known = [(item, weights_of(work, item, contract))
             for item in dict.fromkeys([*versions[:STARTS - 1], *versions[-1:]])]
    starts = {item.version: weights for item, weights in known if weights is not None}
    work.steps.next(f"train: {len(data.train)} rows, "
                    + (f"from version {', '.join(starts)}" if starts else "from scratch"))
    made, asked = trainer(work.model.training.kind), options(work.model, contract)
    checkpoints = Checkpoints(work.folder / "train")
    fitted = min((made.tuned(start, data, asked, name=f"tune-{number}", checkpoints=checkpoints)
                  for number, start in starts.items()), key=lambda item: item.loss,
                 default=None) or made.fresh(data, asked, checkpoints=checkpoints)
    work.record.stage("train", fitted.history)
    return fitted


def weights_of(work: Work, champion: Version, contract: Contract) -> Fitted | None:
    """The model of a version that holdfast trained; None where it no longer fits."""
    made = trainer(work.model.training.kind)
    content = work.registry.artifact_bytes(champion.run_id, f"{FOLDER}/{made.file}") \
        if champion.trained else None
    if content is None:
        return None
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        path = Path(folder) / made.file
        path.write_bytes(content)
        fitted = made.load(path)
    fits = set(fitted.inputs) <= set(contract.inputs) and same_answers(
        replace(contract, classes=fitted.classes), contract)
    return fitted if fits else None


def options(model: Model, contract: Contract) -> Options:
    """How the model's configuration says to train, for the classes of the contract."""
    training = model.training
    return Options(model.task, tuple(model.log.features.categorical), contract.classes,
                   seed=training.seed, epochs=training.epochs, widths=tuple(training.widths))


def points(work: Work, fitted: Fitted, data: Split, contract: Contract) -> dict[str, Point]:
    """Every size by name; pruned ones up to the first within the accuracy budget."""
    work.steps.next("compress: prune, distil, quantize")
    made = trainer(work.model.training.kind)
    found = {"fp32": _point(work, "fp32", fitted, data=data, contract=contract)}
    for share in sorted(work.model.training.prune, reverse=True):
        name = f"pruned-{share * 100:.0f}"
        student = made.pruned(fitted, share, data, options=options(work.model, contract),
                              checkpoints=Checkpoints(work.folder / name))
        work.record.stage(name, student.history)
        point = _point(work, name, student, data=data, contract=contract)
        lost = compare(point.scores, found["fp32"].scores, work.model.metric).difference
        work.steps.note(f"{name}: {work.model.metric} worse by {lost:.4f}")
        found[name] = point
        if lost <= work.model.training.accuracy_budget:
            break
    for name in list(found):
        try:
            small = made.quantized(found[name].artifact, work.folder / f"{name}-int8.onnx",
                                   calibration=data.train.tail(CALIBRATION_ROWS))
            found[f"{name}-int8"] = _scored(work, f"{name}-int8", found[name].fitted,
                                            artifact=small, data=data, contract=contract)
        except HoldfastError as error:
            work.steps.note(f"{name} has no int8 form: {error}")
    return _measured(found, data.validation)


def _point(work: Work, name: str, fitted: Fitted, *, data: Split, contract: Contract) -> Point:
    artifact = trainer(work.model.training.kind).export(fitted, contract,
                                                        work.folder / f"{name}.onnx")
    return _scored(work, name, fitted, artifact=artifact, data=data, contract=contract)


def _scored(work: Work, name: str, fitted: Fitted, *, artifact: Path, data: Split,
            contract: Contract) -> Point:
    answers = answer(session(artifact), data.validation, contract)
    return Point(fitted, artifact, score(name, answers, data.validation, contract=contract,
                                         metrics=metrics(work.model)))


def _measured(found: dict[str, Point], frame: pd.DataFrame) -> dict[str, Point]:
    """The same points with their size on disk and their latency, measured in turn."""
    rows = frame.tail(MEASURED_ROWS)
    times = latency({name: session(point.artifact) for name, point in found.items()}, rows,
                    seconds=0.1)
    return {name: replace(point, scores=replace(
        point.scores, size_bytes=point.artifact.stat().st_size, latency=times[name]))
        for name, point in found.items()}


def metrics(model: Model) -> tuple[str, ...]:
    """What is measured beside the metric that decides."""
    asked = {"binary": ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss"),
             "multiclass": ("accuracy", "balanced_accuracy", "log_loss"),
             "regression": ("mae", "rmse", "r2")}[model.task]
    return tuple(dict.fromkeys((model.metric, *(name for name in asked if name in METRICS))))
