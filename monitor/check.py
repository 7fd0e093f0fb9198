"""Check: everything that can be said of a configuration before it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monitor.binning import make_bins
from monitor.bins import ColumnSummary
from monitor.certificates import Certificates
from monitor.config import Config, FeatureTable, Http, Labels, Limits, Log, Model, Privacy
from monitor.courier import mistakes
from monitor.credentials import Credentials, mlflow_secret, session_key
from monitor.errors import ConfigError, HoldfastError
from monitor.expectations import canonical
from monitor.jobs import template
from monitor.kinds import EXTRAS, importable
from monitor.mistakes import closest
from monitor.partitions import Layout
from monitor.reference import reference_span
from monitor.registry import Registry
from monitor.secrets import redact
from monitor.source import Source
from monitor.store import Store
from monitor.tables import TableKey
from monitor.window import Window

Columns = Mapping[str, str]
PARTS: tuple[TableKey, ...] = ("log", "labels", "features_from")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found: mistakes refuse the configuration, the rest is for people to know."""

    mistakes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    switched_off: list[str] = field(default_factory=list)
    set_aside: dict[str, dict[str, str]] = field(default_factory=dict)
    features: dict[str, list[str]] = field(default_factory=dict)


def words(findings: Findings) -> Iterator[tuple[str, bool]]:
    """Lines as a person reads them, and whether they tell of a mistake."""
    for mistake in findings.mistakes:
        yield f"mistake: {redact(mistake)}", True
    for warning in findings.warnings:
        yield f"warning: {redact(warning)}", False
    for line in findings.switched_off:
        yield f"note: {line}", False
    for model, columns in findings.features.items():
        aside = findings.set_aside.get(model, {})
        kept = [column for column in columns if column not in aside]
        count = f"{len(kept)} feature{'s' if len(kept) != 1 else ''}"
        yield f"{model}: watches {count}: {', '.join(kept)}", False
        for column, why in aside.items():
            yield f"{model}: sets {column} aside: {why}", False
    if not findings.mistakes:
        yield "the configuration is fine", False


def check(config: Config) -> Findings:
    """Try every connection and every column; all findings at once."""
    findings = Findings()
    try:
        Store.open(config.store).close()
    except HoldfastError as error:
        findings.mistakes.append(f"store: {str(error).removeprefix('store: ')}")
    if not _writable(Path(config.folder)):
        findings.mistakes.append(f"folder: {config.folder} cannot be written to; right would be a "
                                 "folder for requests, checkpoints and reports")
    if config.launch.kubernetes is not None:
        try:
            template(config.launch.kubernetes)
        except ConfigError as error:
            findings.mistakes.extend(error.mistakes)
    if config.notify is not None:
        findings.mistakes.extend(mistakes(config.notify))
    _surface(config.http, findings)
    _champions(config, findings)
    for index, model in enumerate(config.models):
        where = f"models[{index}]"
        findings.switched_off.extend(f"{where} ({model.name}): {text}" for text in absent(model))
        wrong = [*_misplaced(model, config, where), *_golden(model, config, where)]
        findings.mistakes.extend(wrong)
        if not wrong:
            try:
                with Source(model, config.limits) as source:
                    _reference(model, source, where, findings, limits=config.limits)
            except HoldfastError as error:
                findings.mistakes.append(f"{where}.log: {error}")
    return findings


def _surface(http: Http, findings: Findings) -> None:
    """Secrets and certificates have to be there, and secrets should not travel in the clear."""
    for part in (lambda: Credentials(http), lambda: session_key(http),
                 lambda: mlflow_secret(http),
                 lambda: Certificates(http.tls) if http.tls else None):
        try:
            part()
        except ConfigError as error:
            findings.mistakes.extend(error.mistakes)
    far = http.host not in {"127.0.0.1", "::1", "localhost"}
    if far and http.tls is None and (http.tokens or http.users):
        findings.warnings.append(
            f"http.tls: absent, and credentials come to {http.host} in the clear; right would be "
            "TLS here, or in a proxy on the way that nobody can pass by")


def absent(model: Model) -> Iterator[str]:
    """What each optional key that is absent switches off, in words."""
    log, label = model.log, "log.label or log.labels"
    said = {
        "log.ingested_at": (log.ingested_at, "arrival is assumed to be the event time: late rows "
                            "are found only by recounting changed files or tables"),
        "log.id": (log.id, "no duplicate check, and no labels or features from other tables"),
        "log.model_version": (log.model_version, "every row is taken as the champion's: versions "
                              "cannot be told apart"),
        "log.prediction": (log.prediction, "predictions are not watched, performance is not "
                           "judged"),
        "log.score": (log.score, "no ROC AUC, log loss, Brier score or calibration"),
        "log.positive_label": (log.positive_label, "nobody knows which class the score speaks of: "
                               "no ROC AUC, log loss or Brier score, and precision, recall and F1 "
                               "are means over the classes"),
        label: (log.labelled, "performance is not judged and nothing is trained"),
        "log.segments": (log.segments, "no groups are judged"),
    }
    beside = {"log.score": model.task != "regression",
              "log.positive_label": model.task == "binary" and isinstance(log.score, str)}
    for key, (value, words) in said.items():
        if not value and beside.get(key, True):
            yield f"{key} is absent: {words}"
    if log.labels is not None and log.labels.timestamp is None:
        yield ("log.labels.timestamp is absent: labels are taken as known maturity.delay after "
               "their prediction")
    if model.reference.window is None and model.reference.source is None:
        yield "reference is absent: the log's first windows serve as reference"
    if model.training.kind == "none":
        yield "training.kind is none: holdfast only monitors"


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _champions(config: Config, findings: Findings) -> None:
    registry = Registry(config.mlflow)
    for index, model in enumerate(config.models):
        try:
            champion = registry.champion(model.registered)
        except HoldfastError as error:
            findings.mistakes.append(f"mlflow: {error}")
            return
        if champion is None:
            findings.warnings.append(
                f"models[{index}].registered_model: {model.registered!r} has no alias `champion`: "
                "nothing is judged until somebody sets it (or `holdfast retrain --bootstrap` "
                "trains one)")


def _misplaced(model: Model, config: Config, where: str) -> Iterator[str]:
    """Tables that cannot be read, and columns that are named and not there."""
    log, reference = model.log, model.reference.source
    yield from _trainer(model, where)
    plain_glob = "/".join(Layout.of(reference or "", by_date=False).segments)
    if reference and "://" not in reference and not list(Path("/").glob(plain_glob.lstrip("/"))):
        yield f"{where}.reference.source: {reference}: no file matches; right would be a file"
    held: dict[str, Columns] = {}
    plain = model.model_copy(update={"privacy": Privacy()})  # to see what privacy.drop names
    with Source(plain, config.limits) as source:
        for part in PARTS:
            key = part if part == "log" else f"log.{part}"
            try:
                held[key] = source.columns(part)
            except HoldfastError as error:
                yield f"{where}.{key}: {error}"
    if "log" not in held:
        return
    for key, column in roles(log):
        yield from _there(f"{where}.log.{key}", column, held["log"])
    kind = held["log"].get(log.timestamp, "datetime")
    if kind in {"boolean", "other"}:
        yield (f"{where}.log.timestamp: {log.timestamp!r} is {kind}; right would be a column of "
               "instants, ISO 8601 text or Unix times")
    for key, second in (("log.labels", log.labels), ("log.features_from", log.features_from)):
        if second is not None and key in held:
            for name, column in keys(second):
                yield from _there(f"{where}.{key}.{name}", column, held[key])
    every = {**held["log"], **held.get("log.features_from", {})}
    if log.features_from is None or "log.features_from" in held:
        for key, column in inputs(model):
            yield from _there(f"{where}.{key}", column, every)


def _trainer(model: Model, where: str) -> Iterator[str]:
    module, _, name = model.training.kind.partition(":")
    if name and not importable(module):
        yield (f"{where}.training.kind: no module {module!r} can be imported here; right would be "
               "an installed one, or its folder in PYTHONPATH")
    if lacking := [name for name in EXTRAS.get(module, ()) if not importable(name)]:
        yield (f"{where}.training.kind: {module} needs {' and '.join(lacking)}; right would be: "
               "pip install 'holdfast[retrain,transformers]'")


def _golden(model: Model, config: Config, where: str) -> Iterator[str]:
    """Golden sets that cannot be read, or that lack their label or a column that is named."""
    for place, rule in enumerate(model.benchmarks):
        key, plain = f"{where}.benchmarks[{place}]", model.golden(rule)
        try:
            with Source(plain.model_copy(update={"privacy": Privacy()}), config.limits,
                        reference=True) as source:
                held = source.columns("log")
        except HoldfastError as error:
            yield f"{key}.source: {error}"
            continue
        yield from _there(f"{key}.label", plain.log.label or "", held)
        for name in model.log.features.include or []:
            yield from _there(f"{key}.source: log.features.include", name, held)


def _there(where: str, column: str, held: Columns) -> Iterator[str]:
    if column not in held:
        yield f"{where}: {column!r} is not a column; {closest(column, sorted(held))}"


def _reference(model: Model, source: Source, where: str, findings: Findings, *, limits: Limits
               ) -> None:
    """What is watched, and what of it the reference can calibrate."""
    features = findings.features[model.name] = source.features()
    if not features and model.log.prediction is None:
        findings.mistakes.append(f"{where}.log.features: no column is left to watch; right would "
                                 "be a prediction column or at least one feature")
        return
    held = source.span()
    if held is None:
        findings.mistakes.append(f"{where}.log.timestamp: no row has an instant in "
                                 f"{model.log.timestamp!r}, if there are rows; right would be the "
                                 "column that says when the prediction was made: times, numbers "
                                 "since 1970, or texts such as 2026-01-31T06:00:00Z")
        return
    exclude = [Window(start, end) for start, end in model.reference.exclude]
    if model.reference.source is not None:
        with Source(model, limits, reference=True) as file:
            summaries = file.describe(file.span(), exclude)
    else:
        span = reference_span(model, source)
        if span is None:
            findings.warnings.append(
                f"{where}.reference: the log holds {held}, too little for a reference; verdicts "
                "stay unknown until it has grown")
            return
        summaries = source.describe(span, exclude)
    if not any(summary.rows for summary in summaries.values()):
        findings.mistakes.append(f"{where}.reference: holds no rows; the log holds {held}, and "
                                 "right would be a period within it")
        return
    findings.set_aside[model.name] = make_bins(summaries, model)[1]
    _classes(model, summaries, where, findings)
    _declared(model, summaries, where, findings)


def _declared(model: Model, summaries: Mapping[str, ColumnSummary], where: str,
              findings: Findings) -> None:
    """What is declared of a column must be something that can be counted of it."""
    for name, told in model.log.expect.items():
        key = f"{where}.log.expect.{name}"
        kind = next((item.kind for item in summaries.values() if item.name == name), None)
        ranged = told.min is not None or told.max is not None
        if ranged and kind in {"categorical", "boolean"}:
            findings.mistakes.append(f"{key}: min or max of a column that is {kind}; right would "
                                     "be values")
        why = findings.set_aside[model.name].get(name)
        if kind is None or why is not None:
            findings.warnings.append(f"{key}: only its presence and type are checked: it is "
                                     + (f"set aside ({why})" if why else "not watched"))


def _classes(model: Model, summaries: Mapping[str, ColumnSummary], where: str,
             findings: Findings) -> None:
    """The positive class has to be one that occurs, and labels are written as answers are."""
    held = {role: [canonical(value) for value, _ in summary.top]
            for key, summary in summaries.items()
            if (role := key.partition(":")[0]) in {"label", "prediction"} and summary.top}
    positive = model.log.positive_label
    if positive is not None and held and not any(positive in classes for classes in held.values()):
        findings.mistakes.append(f"{where}.log.positive_label: {positive!r} is no class of the "
                                 "reference; right would be one as the log writes it: "
                                 + _few(max(held.values(), key=len)))
    labels, answers = held.get("label", []), held.get("prediction", [])
    if model.task != "regression" and len(labels) > 1 and answers and not {*labels} & {*answers}:
        findings.mistakes.append(f"{where}.log.label: labels are {_few(labels)}, answers are "
                                 f"{_few(answers)}: each of them would count as wrong; right would "
                                 "be labels written as answers are")


def _few(classes: Sequence[str]) -> str:
    return ", ".join(sorted(classes[:5])) + (" …" if len(classes) > 5 else "")


def roles(log: Log) -> Iterator[tuple[str, str]]:
    """(key, column) of every role that the mapping gives to a column of the log itself."""
    single = {"timestamp": log.timestamp, "ingested_at": log.ingested_at, "id": log.id,
              "model_version": log.model_version, "prediction": log.prediction, "label": log.label}
    yield from ((key, column) for key, column in single.items() if column)
    if isinstance(log.score, dict):
        yield from ((f"score.{name}", column) for name, column in log.score.items())
    elif log.score:
        yield "score", log.score


def inputs(model: Model) -> Iterator[tuple[str, str]]:
    """(key, column) of every input that is named one by one, wherever it is logged."""
    features, privacy = model.log.features, model.privacy
    for key, columns in (("log.features.include", features.include or []),
                         ("log.features.exclude", features.exclude),
                         ("log.features.categorical", features.categorical),
                         ("log.segments", model.log.segments),
                         ("privacy.drop", privacy.drop), ("privacy.hash", privacy.hash)):
        yield from ((f"{key}[{index}]", column) for index, column in enumerate(columns))
    yield from ((f"log.expect.{column}", column) for column in model.log.expect)


def keys(table: Labels | FeatureTable) -> Iterator[tuple[str, str]]:
    """(key, column) of a table that is joined."""
    yield "id", table.id
    if isinstance(table, Labels):
        yield "value", table.value
    if table.timestamp:
        yield "timestamp", table.timestamp
