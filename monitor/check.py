"""Check: everything that can be said of a configuration before it runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from monitor.binning import make_bins
from monitor.config import Config, Log, Model
from monitor.errors import HoldfastError
from monitor.reference import reference_span
from monitor.registry import Registry
from monitor.source import Source
from monitor.store import Store


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found: mistakes refuse the configuration, the rest is for people to know."""

    mistakes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    switched_off: list[str] = field(default_factory=list)
    set_aside: dict[str, dict[str, str]] = field(default_factory=dict)
    features: dict[str, list[str]] = field(default_factory=dict)


def check(config: Config) -> Findings:
    """Try every connection and every column; all findings at once."""
    findings = Findings()
    try:
        Store.open(config.store).close()
    except HoldfastError as error:
        findings.mistakes.append(f"store: {error}")
    registry = Registry(config.mlflow)
    for index, model in enumerate(config.models):
        where = f"models[{index}]"
        _champion(model, registry, where, findings)
        findings.switched_off.extend(f"{where} ({model.name}): {text}" for text in absent(model))
        try:
            with Source(model, config.limits) as source:
                _columns(model, source, where, findings)
        except HoldfastError as error:
            findings.mistakes.append(f"{where}.log: {error}")
    return findings


def absent(model: Model) -> Iterator[str]:
    """What each optional key that is absent switches off, in words."""
    log = model.log
    said = {
        "ingested_at": (log.ingested_at, "arrival is assumed to be the event time: late rows are "
                                         "found only by recounting changed files or tables"),
        "id": (log.id, "no duplicate check, and no labels or features from other tables"),
        "model_version": (log.model_version, "every row is taken as the champion's: versions "
                                             "cannot be told apart"),
        "prediction": (log.prediction, "predictions are not watched, performance is not judged"),
        "score": (log.score, "no ROC AUC, log loss, Brier score or calibration"),
        "label or labels": (log.label or log.labels, "performance is not judged and nothing is "
                                                     "trained"),
        "segments": (log.segments, "no groups are judged"),
    }
    for key, (value, words) in said.items():
        if not value and not (key == "score" and model.task == "regression"):
            yield f"log.{key} is absent: {words}"
    if model.reference.window is None and model.reference.source is None:
        yield "reference is absent: the log's first windows serve as reference"
    if model.training.kind == "none":
        yield "training.kind is none: holdfast only monitors"


def _champion(model: Model, registry: Registry, where: str, findings: Findings) -> None:
    try:
        champion = registry.champion(model.registered)
    except HoldfastError as error:
        findings.mistakes.append(f"mlflow: {error}")
        return
    if champion is None:
        findings.warnings.append(
            f"{where}.registered_model: {model.registered!r} has no alias `champion`: verdicts stay "
            "unknown until somebody sets it (or `holdfast retrain --bootstrap` trains one)")


def _columns(model: Model, source: Source, where: str, findings: Findings) -> None:
    logged = source.schema()
    for key, column in roles(model.log):
        if column not in logged:
            findings.mistakes.append(f"{where}.log.{key}: {column!r} is not a column of the log"
                                     + suggestion(column, list(logged)))
    if findings.mistakes:
        return
    features = source.features()
    findings.features[model.name] = features
    if not features and model.log.prediction is None:
        findings.mistakes.append(f"{where}.log.features: no column is left to watch; right would "
                                 "be a prediction column or at least one feature")
        return
    if not Path(model.reference.source or "/").exists() and "://" not in str(model.reference.source):
        findings.mistakes.append(f"{where}.reference.source: {model.reference.source!r} does not exist")
        return
    span = reference_span(model, source)
    if span is None:
        findings.warnings.append(f"{where}.reference: the log does not hold a reference yet")
        return
    summaries = source.describe(span)
    if not any(summary.rows for summary in summaries.values()):
        held = source.span()
        findings.mistakes.append(f"{where}.reference: {span} holds no rows; the log holds {held}")
        return
    findings.set_aside[model.name] = make_bins(summaries, model)[1]


def roles(log: Log) -> Iterator[tuple[str, str]]:
    """(key, column) of every column that the mapping names in the log itself."""
    single = {"timestamp": log.timestamp, "ingested_at": log.ingested_at, "id": log.id,
              "model_version": log.model_version, "prediction": log.prediction, "label": log.label}
    yield from ((key, column) for key, column in single.items() if column)
    if isinstance(log.score, dict):
        yield from ((f"score.{name}", column) for name, column in log.score.items())
    elif log.score:
        yield "score", log.score
    yield from ((f"segments[{index}]", column) for index, column in enumerate(log.segments))
    if log.features_from is None:
        for key, columns in (("include", log.features.include or []),
                             ("exclude", log.features.exclude),
                             ("categorical", log.features.categorical)):
            yield from ((f"features.{key}[{index}]", column)
                        for index, column in enumerate(columns))


def suggestion(column: str, known: list[str]) -> str:
    """The closest existing name, or a few of those that exist, as an end of a sentence."""
    close = difflib.get_close_matches(column, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(sorted(known)[:12])
    return f"; it has {shown}{', …' if len(known) > 12 else ''}"
