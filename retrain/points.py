"""Points: one candidate in several sizes: as trained, pruned, and each of them as int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.dataset import conform
from retrain.evaluate import Scores, compare, latency, session, size
from retrain.ground import Ground
from retrain.quantize import CALIBRATION_ROWS
from retrain.trainer import Fitted, Split, Unsupported

MEASURED_ROWS = 2000
"""Validation rows that latency is measured on ..."""
SECONDS = 0.1
"""... and CPU seconds of each measurement."""

WHOLE = "fp32"
"""Name of the candidate as trained, which the others are held against."""


@dataclass(frozen=True, slots=True)
class Point:
    """One size of the candidate: its weights, its artifact and how it did on validation."""

    fitted: Fitted | None
    artifact: Path
    scores: Scores
    parent: Path | None = None
    """The float artifact that this int8 one was made of."""
    share: float | None = None
    """Share of inner units that was removed."""


def points(ground: Ground, fitted: Fitted, data: Split, *, folder: Path) -> dict[str, Point]:
    """Every size by name; pruned ones up to the first within the accuracy budget."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {WHOLE: _point(ground, WHOLE, fitted, folder)}
    budget = ground.training.accuracy_budget
    for share in sorted(ground.training.prune, reverse=True):
        name = f"pruned-{share * 100:.0f}"
        try:
            student = ground.trainer.pruned(fitted, share, data, options=ground.options,
                                            checkpoints=Checkpoints(folder / name))
        except Unsupported as error:
            ground.note(f"{name}: {error}")
            break
        ground.stage(f"{folder.name}-{name}", student.history)
        point = replace(_point(ground, name, student, folder), share=share)
        lost = compare(point.scores, found[WHOLE].scores, ground.metric).difference
        ground.note(f"{name}: {ground.metric} worse by {lost:.4f}")
        found[name] = point
        if lost <= budget:
            break
    for name in list(found):
        try:
            found |= _int8(ground, name, found[name], data, folder)
        except HoldfastError as error:
            ground.note(f"{name} has no int8 form: {error}")
    return measured(found, data.validation)


def _int8(ground: Ground, name: str, point: Point, data: Split, folder: Path
          ) -> dict[str, Point]:
    small = ground.trainer.quantized(point.artifact, folder / f"{name}-int8.onnx",
                                     calibration=data.train.tail(CALIBRATION_ROWS))
    scores = ground.scored(f"{name}-int8", small, ground.validation)
    return {scores.name: Point(point.fitted, small, scores, point.artifact, point.share)}


def _point(ground: Ground, name: str, fitted: Fitted, folder: Path) -> Point:
    artifact = ground.trainer.export(fitted, ground.contract, folder / f"{name}.onnx")
    return Point(fitted, artifact, ground.scored(name, artifact, ground.validation))


def measured(found: dict[str, Point], frame: pd.DataFrame) -> dict[str, Point]:
    """The same points with their size on disk and their latency, measured in turn."""
    rows = frame.tail(MEASURED_ROWS)
    times = latency({name: session(point.artifact) for name, point in found.items()}, rows,
                    seconds=SECONDS)
    return {name: replace(point, scores=replace(
        point.scores, size_bytes=size(point.artifact), latency=times[name]))
        for name, point in found.items()}


def costed(ground: Ground, meeting: Mapping[str, Scores]) -> dict[str, Scores]:
    """The same scores with sizes, and of the champion with its latency, measured as a candidate's.

    What is no ONNX is not run here: it has no latency, and its size is that of all its files.
    """
    found = dict(meeting)
    for player in ground.everyone:
        if player.name not in found:
            continue
        times: Mapping[int, float] = {}
        whole = player.size if player.artifact is None else size(player.artifact)
        if player is ground.champion and player.artifact is not None:
            rows = conform(ground.validation, player.contract).tail(MEASURED_ROWS)
            times = latency({"it": session(player.artifact)}, rows, seconds=SECONDS)["it"]
        found[player.name] = found[player.name].measured(size_bytes=whole, latency=times)
    return found
