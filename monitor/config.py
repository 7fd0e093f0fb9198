"""The configuration: YAML in, frozen and validated settings out.

Every key is documented under itself; the JSON schema in ``config/schema.json``
and ``docs/configuration.md`` are generated from here. Relative paths are
relative to the folder of the configuration file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from monitor.conditions import Audit, Benchmark
from monitor.deployment import Launch, Leader, Logs, Notify, Retention, Traces
from monitor.errors import ConfigError
from monitor.fields import Duration, Instant, Section, require
from monitor.mapping import Expect, Features, FeatureTable, Labels, Log
from monitor.mistakes import mistakes
from monitor.parsing import read
from monitor.policy import AlarmBudget, Policy, Training
from monitor.secrets import resolve, told
from monitor.surface import Http
from monitor.window import EPOCH, Calendar, Window, format_duration, isoformat

__all__ = ["AlarmBudget", "Audit", "Benchmark", "Config", "Expect", "FeatureTable", "Features",
           "Http", "Labels", "Launch", "Leader", "Limits", "Loaded", "Log", "Logs", "MLflow",
           "Maturity", "Model", "Policy", "Privacy", "Reference", "Retention", "Schedule", "Traces",
           "Training", "WindowConfig", "load"]


FILES = {"folder", "template", "certificate", "private_key", "client_ca", "token_file", "hash_file",
         "session_key_file", "mlflow_secret_file"}
"""Keys whose values are files."""


class MLflow(Section):
    """Where models are tracked and registered."""

    tracking_uri: str = "sqlite:///mlflow.db"
    """MLflow tracking server, or an embedded SQLite file."""
    registry_uri: str | None = None
    """Model registry, when it is not the tracking server."""


class Schedule(Section):
    """When the daemon wakes up; what is due comes from the store, not from here."""

    every: Duration = Field(default=timedelta(hours=1), ge=timedelta(seconds=1))
    """How often every model is looked at."""
    jitter: Duration = timedelta(minutes=1)
    """Random delay added to each wake-up, so that many daemons do not wake at once."""


class Limits(Section):
    """What one call to a log source may cost."""

    memory: str = Field(default="2GB", pattern=r"^\d+(\.\d+)?\s*(KB|MB|GB|TB)$")
    """Memory that the query engine may use before it spills or stops."""
    deadline: Duration = timedelta(minutes=10)
    """Longest time that one call may take; the engine is then told to cancel."""
    threads: int = Field(default=2, ge=1)
    """Threads of the query engine."""


class Maturity(Section):
    """When a window has enough labels to be judged on them."""

    ratio: float = Field(default=0.9, gt=0, le=1)
    """Mature once this share of its rows has a label ..."""
    delay: Duration = timedelta(days=7)
    """... or once this long has passed since its end."""


class Reference(Section):
    """The rows that the model is known to be right about."""

    from_: Instant | None = Field(default=None, alias="from")
    """Start of the reference period in the log."""
    to: Instant | None = None
    """End of the reference period (not included)."""
    exclude: list[tuple[Instant, Instant]] = []
    """Periods within it that are left out, as [from, to] pairs."""
    source: str | None = None
    """A file with the reference rows, in place of a period of the log."""
    mode: Literal["fixed", "trailing", "same_hour_of_week", "same_season_last_year"] = "fixed"
    """Which windows a window is held against: all of the reference (`fixed`), the 28 windows
    before the newest four weeks (`trailing`: slow drift is forgotten), those of the same hour of
    the week, or those within three weeks of the same day in earlier years."""

    @model_validator(mode="after")
    def _consistent(self) -> Reference:
        period = self.from_ is not None or self.to is not None
        require(not (period and self.source), "source", "beside from/to", "one of the two")
        if period:
            require(
                self.from_ is not None and self.to is not None,
                "from/to",
                "only one of them",
                "both, or neither",
            )
            assert self.from_
            assert self.to
            require(self.from_ < self.to, "to", isoformat(self.to), "a time after `from`")
        return self

    @property
    def window(self) -> Window | None:
        return Window(self.from_, self.to) if self.from_ and self.to else None


class WindowConfig(Section):
    """The stretches of event time that get a verdict each."""

    length: Duration = timedelta(days=1)
    """Length of a window."""
    step: Duration | None = None
    """Time between the starts of windows; default: the length, so that they do not overlap."""
    offset: Duration = timedelta(0)
    """How long after midnight UTC a window starts (weeks: after a Thursday's): ``5h`` for days of
    New York in winter, ``4d`` for weeks from Monday on."""
    lateness: Duration = timedelta(hours=1)
    """How long after its end a window waits for late rows."""
    revise_for: Duration = timedelta(days=30)
    """How long after its end late rows and labels still revise a window."""

    @model_validator(mode="after")
    def _consistent(self) -> WindowConfig:
        step = self.step or self.length
        require(step.total_seconds() >= 1, "length", format_duration(step), "at least 1s")
        require(
            self.length % step == timedelta(0),
            "step",
            format_duration(step),
            f"a divisor of the length {format_duration(self.length)}",
        )
        require(self.offset < step, "offset", format_duration(self.offset),
                f"less than the step {format_duration(step)}")
        return self


class Privacy(Section):
    """What may never be read, stored or shown."""

    drop: list[str] = []
    """Columns that are never read."""
    hash: list[str] = []
    """Columns whose values are replaced by a salted hash inside the query engine."""
    salt: str = ""
    """Salt of the hash; write ${env:NAME} or ${file:PATH}."""
    min_count: int = Field(default=10, ge=1)
    """A category is named only when the reference holds at least this many rows of it."""


class Model(Section):
    """One deployed model."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    """Name in metrics, verdicts and on the status page."""
    registered_model: str | None = None
    """Name in the MLflow registry; default: the name."""
    task: Literal["binary", "multiclass", "regression"] = "binary"
    """What the model predicts."""
    log: Log
    """The prediction log."""
    maturity: Maturity = Maturity()
    """When a window has enough labels."""
    reference: Reference = Reference()
    """The rows that the model is known to be right about."""
    window: WindowConfig = WindowConfig()
    """The stretches of event time that get a verdict each."""
    privacy: Privacy = Privacy()
    """What may never be read, stored or shown."""
    policy: Policy = Policy()
    """What to do about verdicts."""
    training: Training = Training()
    """How a candidate is made."""
    benchmarks: list[Benchmark] = []
    """Golden benchmark sets: labelled rows that versions are held against and never learn from."""
    audit: Audit = Audit()
    """When champion and challenger are held against them."""

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        metric = self.policy.performance.metric
        errors = {"mae", "rmse", "mape", "r2"}
        if metric is not None:
            require(
                (metric in errors) == (self.task == "regression"),
                "policy.performance.metric",
                metric,
                "mae, rmse, mape or r2 for regression, another metric for classes",
            )
            require(
                self.task != "multiclass" or metric not in {"roc_auc", "average_precision"},
                "policy.performance.metric",
                metric,
                "a metric of all classes, such as balanced_accuracy: it speaks of one of two",
            )
        alarms = self.policy.alarm_on
        require(
            "drifted" in alarms or (bool(alarms) and self.log.labelled),
            "policy.alarm_on",
            ", ".join(alarms) or "empty",
            "drifted among them: without labels nothing else can alarm"
            if not self.log.labelled else "at least one of degraded, estimated, drifted",
        )
        if self.training.kind != "none":
            require(
                self.log.labelled,
                "log.label",
                "absent",
                "a label column or table: training needs labels (or training: {kind: none})",
            )
        self._conditions()
        for name in {*self.privacy.drop, *self.privacy.hash} & set(self.log.expect):
            known = self.log.expect[name].model_dump(exclude_defaults=True).keys() <= {"nulls"}
            require(
                known and name not in self.privacy.drop,
                f"log.expect.{name}",
                "a column that privacy hides",
                "nulls alone for a hashed column, nothing for a dropped one",
            )
        return self

    def _conditions(self) -> None:
        """Groups are declared, measures fit the task, and benchmarks are told apart."""
        for place, rule in enumerate(self.training.gate.fairness):
            where = f"training.gate.fairness[{place}]"
            require(rule.column in self.log.segments, f"{where}.column", rule.column,
                    "one of log.segments")
            require(self.task == "binary" or rule.measure == "performance_difference",
                    f"{where}.measure", rule.measure, f"performance_difference for {self.task}")
        names = [item.name for item in self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, "benchmarks", ", ".join(twice), "names that differ")
        for place, item in enumerate(self.benchmarks):
            require(item.label is not None or self.log.labelled, f"benchmarks[{place}].label",
                    "absent, as log.label is", "the column that holds the truth")
        require(self.audit.every is None or bool(self.benchmarks), "audit.every",
                "without benchmarks", "at least one of benchmarks")

    def golden(self, rule: Benchmark) -> Model:
        """This model with a golden set in place of its reference file."""
        label = rule.label or self.log.label or (self.log.labels.value if self.log.labels else None)
        log = self.log.model_copy(update={"label": label, "labels": None, "features_from": None})
        return self.model_copy(update={"log": log, "reference": Reference(source=rule.source)})

    @property
    def registered(self) -> str:
        return self.registered_model or self.name

    @property
    def metric(self) -> str:
        """The metric that decides."""
        default = "mae" if self.task == "regression" else "accuracy"
        return self.policy.performance.metric or default

    @property
    def calendar(self) -> Calendar:
        window = self.window
        return Calendar(
            window.length,
            window.step or window.length,
            window.lateness,
            max(window.revise_for, self.maturity.delay + window.length),
            EPOCH + window.offset,
        )


class Config(Section):
    """The whole file."""

    mlflow: MLflow = MLflow()
    """Where models are tracked and registered."""
    store: str = "sqlite:///holdfast.db"
    """holdfast's own database: ``sqlite:///FILE`` or ``postgresql+psycopg://…``."""
    folder: str = "holdfast-files"
    """Where files of work live: requests, logs and checkpoints of children, reports."""
    schedule: Schedule = Schedule()
    """When the daemon wakes up."""
    http: Http = Http()
    """Where metrics, health, pages and API are served, and to whom."""
    limits: Limits = Limits()
    """What one call to a log source may cost."""
    leader: Leader | None = None
    """Which of several daemons on one store acts; absent: there is one."""
    launch: Launch = Launch()
    """Where retrains run."""
    notify: Notify | None = None
    """Who is told of decisions; absent: nobody."""
    retention: Retention = Retention()
    """How long the store keeps what it knows in full."""
    log: Logs = Logs()
    """What is written on standard error."""
    traces: Traces | None = None
    """Where spans are sent; absent: nowhere."""
    reports: bool = True
    """Evidently's reports, of windows that are not stable and of what retrains were judged on: a
    process of its own each, of about ten seconds. Off: none are made."""
    models: list[Model] = Field(min_length=1)
    """The deployed models."""

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        names = [model.name for model in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, "models", ", ".join(twice), "names that differ")
        return self

    def model(self, name: str) -> Model:
        """The model called ``name``."""
        for model in self.models:
            if model.name == name:
                return model
        raise ConfigError(
            [
                f"--model: {name!r} is not configured; configured are "
                + ", ".join(model.name for model in self.models)
            ]
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and the file that it came from."""

    config: Config
    path: Path


def load(path: str | Path) -> Loaded:
    """Read and validate the file; ``ConfigError`` lists every mistake with its path."""
    path = Path(path).resolve()
    raw = read(path)
    found: list[str] = []
    raw = _anchored(resolve(raw, path.parent, found), path.parent)
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        found += mistakes(error.errors(include_url=False), raw, Config)
    if found:
        raise ConfigError(found)
    told(name for model in config.models for name in (model.name, model.registered))
    return Loaded(config, path)


def _anchored(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same settings with relative files made absolute from ``folder``."""

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: walk(item, str(name)) for name, item in value.items()}
        if isinstance(value, list):
            return [walk(item, key) for item in value]
        return _absolute(value, key, folder)

    anchored: dict[str, Any] = walk(raw)
    anchored.setdefault("folder", str(folder / "holdfast-files"))
    anchored.setdefault("store", _absolute("sqlite:///holdfast.db", "store", folder))
    mlflow = anchored.setdefault("mlflow", {})
    if isinstance(mlflow, dict):
        mlflow.setdefault("tracking_uri", _absolute("sqlite:///mlflow.db", "tracking_uri", folder))
    return anchored


def _absolute(value: Any, key: str, folder: Path) -> Any:
    if not isinstance(value, str):
        return value
    if key in {"store", "tracking_uri", "registry_uri"}:
        match = re.fullmatch(r"(sqlite:///)(?!/|:memory:)(.+)", value)
        return f"{match[1]}{folder / match[2]}" if match else value
    if value and key in FILES:
        return str(folder / value)
    if key == "source":
        scheme, _, rest = value.partition("://")
        if not rest:
            return str(folder / value)
        if scheme == "duckdb":
            return f"duckdb://{folder / rest}"
    return value
