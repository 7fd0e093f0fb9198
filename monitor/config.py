"""The configuration: YAML in, frozen and validated settings out.

Every key is documented under itself; the JSON schema in ``config/schema.json``
and ``docs/configuration.md`` are generated from here. Relative paths are
relative to the folder of the configuration file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from monitor.errors import ConfigError, HoldfastError
from monitor.secrets import resolve
from monitor.window import Calendar, Window, format_duration, isoformat, parse_duration, parse_time


def _duration(value: Any) -> timedelta:
    try:
        return parse_duration(value)
    except HoldfastError as error:
        raise ValueError(str(error)) from error


def _instant(value: Any) -> datetime:
    try:
        return parse_time(value)
    except HoldfastError as error:
        raise ValueError(str(error)) from error


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?[smhdw]$"}),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(isoformat),
    WithJsonSchema({"type": "string", "description": "a date or an ISO 8601 time"}),
]


def _require(fine: bool, key: str, value: str, right: str) -> None:
    if not fine:
        raise ValueError(f"{key}: {value}; right would be {right}")


class Section(BaseModel):
    """One block of the file: unknown keys are refused, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )


class MLflow(Section):
    """Where models are tracked and registered."""

    tracking_uri: str = "sqlite:///mlflow.db"
    """MLflow tracking server, or an embedded SQLite file."""
    registry_uri: str | None = None
    """Model registry, when it is not the tracking server."""


class Schedule(Section):
    """When the daemon wakes up; what is due comes from the store, not from here."""

    every: Duration = timedelta(hours=1)
    """How often every model is looked at."""
    jitter: Duration = timedelta(minutes=1)
    """Random delay added to each wake-up, so that many daemons do not wake at once."""


class Http(Section):
    """Where metrics, health and the status page are served."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8700, ge=0, le=65535)
    """Port to listen on; 0 picks a free one."""


class Limits(Section):
    """What one call to a log source may cost."""

    memory: str = Field(default="2GB", pattern=r"^\d+(\.\d+)?\s*(KB|MB|GB|TB)$")
    """Memory that the query engine may use before it spills or stops."""
    deadline: Duration = timedelta(minutes=10)
    """Longest time that one call may take; the engine is then told to cancel."""
    threads: int = Field(default=2, ge=1)
    """Threads of the query engine."""


class Labels(Section):
    """Labels that live in a table of their own and are joined by id."""

    source: str
    """Like ``log.source``."""
    table: str | None = None
    """Table in a database source."""
    id: str
    """Column that holds the id of the prediction."""
    value: str
    """Column that holds the label."""
    timestamp: str | None = None
    """When the label arrived; the newest one known counts. Without it labels are taken as
    known ``maturity.delay`` after the prediction."""


class FeatureTable(Section):
    """Features that are logged in a table of their own and are joined by id."""

    source: str
    """Like ``log.source``."""
    table: str | None = None
    """Table in a database source."""
    id: str
    """Column that holds the id of the prediction."""
    timestamp: str | None = None
    """Event time of the feature row, used to read no more than needed."""


class Features(Section):
    """Which columns are inputs of the model."""

    include: list[str] | None = None
    """Only these columns; nested fields are dotted. Default: all columns that have no other role."""
    exclude: list[str] = []
    """Never these columns."""
    categorical: list[str] = []
    """Columns of numbers that are names, not amounts."""


class Log(Section):
    """The prediction log and the role of each of its columns."""

    source: str
    """A glob of Parquet, CSV or JSON-lines files, ``duckdb://FILE`` or ``postgresql://…``."""
    table: str | None = None
    """Table of a database source."""
    query: str | None = None
    """A SELECT statement in place of a table."""
    timestamp: str
    """Event time: when the prediction was made."""
    timezone: str = "UTC"
    """Time zone of timestamps that carry none."""
    ingested_at: str | None = None
    """When the row arrived. Without it arrival is assumed to be the event time."""
    id: str | None = None
    """Identifies a prediction: joins labels and features, finds duplicates."""
    model_version: str | None = None
    """Which version answered. Without it every row is the champion's."""
    version_map: dict[str, str] = {}
    """Log value -> registry version, where they differ."""
    prediction: str | None = None
    """Predicted class or value."""
    score: str | dict[str, str] | None = None
    """Probability of the positive class, or {class: column}."""
    positive_label: str | None = None
    """The class that ``score`` speaks of (binary)."""
    label: str | None = None
    """True class or value, in the same table."""
    labels: Labels | None = None
    """True class or value, in a table of its own."""
    features: Features = Features()
    """Which columns are inputs."""
    features_from: FeatureTable | None = None
    """Features logged elsewhere."""
    segments: list[str] = []
    """Columns whose values are judged as groups of their own."""

    @model_validator(mode="after")
    def _consistent(self) -> Log:
        _require(
            self.timezone in available_timezones(),
            "timezone",
            self.timezone,
            "an IANA name such as Europe/Berlin",
        )
        _require(not (self.table and self.query), "query", "beside table", "one of the two")
        _require(not (self.label and self.labels), "labels", "beside label", "one of the two")
        if self.labels or self.features_from:
            _require(
                self.id is not None,
                "id",
                "absent",
                "the column that joins labels and features to predictions",
            )
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def labelled(self) -> bool:
        return self.label is not None or self.labels is not None


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

    @model_validator(mode="after")
    def _consistent(self) -> Reference:
        period = self.from_ is not None or self.to is not None
        _require(not (period and self.source), "source", "beside from/to", "one of the two")
        if period:
            _require(
                self.from_ is not None and self.to is not None,
                "from/to",
                "only one of them",
                "both, or neither",
            )
            assert self.from_ and self.to
            _require(self.from_ < self.to, "to", isoformat(self.to), "a time after `from`")
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
    lateness: Duration = timedelta(hours=1)
    """How long after its end a window waits for late rows."""
    revise_for: Duration = timedelta(days=30)
    """How long after its end late rows and labels still revise a window."""

    @model_validator(mode="after")
    def _consistent(self) -> WindowConfig:
        step = self.step or self.length
        _require(step.total_seconds() >= 1, "length", format_duration(step), "at least 1s")
        _require(
            self.length % step == timedelta(0),
            "step",
            format_duration(step),
            f"a divisor of the length {format_duration(self.length)}",
        )
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


class PerformancePolicy(Section):
    """What counts as too bad."""

    metric: (
        Literal[
            "accuracy",
            "balanced_accuracy",
            "f1",
            "precision",
            "recall",
            "roc_auc",
            "log_loss",
            "brier",
            "mae",
            "rmse",
            "r2",
        ]
        | None
    ) = None
    """Metric that decides. Default: accuracy, or mae for regression."""
    drop: float = Field(default=0.03, gt=0)
    """How much worse than the reference is too bad, in the metric's units (for errors such as
    mae and rmse: as a share of the reference value)."""
    rows: int = Field(default=1000, ge=30)
    """Newest matured windows are pooled until they hold this many rows (and a week)."""


class RetrainPolicy(Section):
    """When a retrain may start by itself."""

    on: list[Literal["degraded", "drifted"]] = ["degraded"]
    """Verdicts that may start one."""
    cooldown: Duration = timedelta(days=14)
    """Shortest time between two."""
    minimum_rows: int = Field(default=2000, ge=100)
    """Matured labelled rows needed since the reference period."""


class Probation(Section):
    """How a promoted version is watched."""

    length: Duration = timedelta(days=14)
    """How long it is watched after its first logged row."""
    rows: int = Field(default=500, ge=30)
    """Matured rows needed before it is compared with its predecessor."""


class AlarmBudget(Section):
    """How many false alarms people can bear."""

    alarms: float = Field(default=1.0, gt=0)
    """Alarms ..."""
    per: Duration = timedelta(days=90)
    """... in this much event time, while nothing changed."""

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s+per\s+(\d+(?:\.\d+)?[smhdw])\s*", value)
        if match is None:
            raise ValueError(f"{value!r} is not an alarm budget; write `1 per 90d`")
        return {"alarms": float(match[1]), "per": match[2]}


class Policy(Section):
    """What to do about verdicts."""

    alarm_budget: AlarmBudget = AlarmBudget()
    """Drift and degradation episodes to bear while nothing changed, as `1 per 90d`."""
    statistics: list[Literal["psi", "js", "ks", "wasserstein", "chi2"]] = ["psi"]
    """Statistics that may raise an alarm; the budget is shared among them."""
    minimum_effect: dict[Literal["psi", "js", "ks", "wasserstein", "chi2"], float] = {"psi": 0.1}
    """A shift smaller than this is never an alarm, however certain it is."""
    performance: PerformancePolicy = PerformancePolicy()
    """What counts as too bad."""
    retrain: RetrainPolicy = RetrainPolicy()
    """When a retrain may start by itself."""
    promotion: Literal["manual", "automatic"] = "manual"
    """Who moves the alias `champion` to a challenger that passed the gate."""
    rollback: Literal["manual", "automatic"] = "manual"
    """Whether a promotion that proves to be a mistake is undone or only announced."""
    probation: Probation = Probation()
    """How a promoted version is watched."""


class Training(Section):
    """How a candidate is made."""

    kind: Literal["none", "torch"] = "none"
    """`none` only monitors; `torch` trains a tabular network."""
    seed: int = 0
    """Makes a run repeatable."""
    window: Duration = timedelta(days=90)
    """How much of the newest matured event time is trained on."""
    max_rows: int = Field(default=200_000, ge=1000)
    """Most rows that leave the log for one training; more are hash-sampled."""
    holdout: Duration = timedelta(days=28)
    """Newest matured event time that only the gate sees."""
    epochs: int = Field(default=30, ge=1)
    """Most passes over the training rows."""
    widths: list[int] = [64, 128]
    """Hidden-layer widths tried when training from scratch."""
    accuracy_budget: float = Field(default=0.01, ge=0)
    """How much quality compression may cost, in the metric's units."""
    minimum_gain: float = Field(default=0.005, ge=0)
    """How much better than the champion a candidate must be on the holdout, in the metric's units
    (for mae and rmse: as a share)."""
    prune: list[float] = [0.7, 0.5, 0.3]
    """Shares of hidden units to try to remove, largest first."""
    deadline: Duration = timedelta(hours=1)
    """Longest time that one training may take."""


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

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        metric = self.policy.performance.metric
        errors = {"mae", "rmse", "r2"}
        if metric is not None:
            _require(
                (metric in errors) == (self.task == "regression"),
                "policy.performance.metric",
                metric,
                "mae, rmse or r2 for regression, another metric for classes",
            )
        if self.training.kind != "none":
            _require(
                self.log.labelled,
                "log.label",
                "absent",
                "a label column or table: training needs labels (or training: {kind: none})",
            )
        return self

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
    """Where metrics, health and the status page are served."""
    limits: Limits = Limits()
    """What one call to a log source may cost."""
    models: list[Model] = Field(min_length=1)
    """The deployed models."""

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        names = [model.name for model in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        _require(not twice, "models", ", ".join(twice), "names that differ")
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


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans (1.2): ``on`` is a key here."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and the file that it came from."""

    config: Config
    path: Path


def load(path: str | Path) -> Loaded:
    """Read and validate the file; ``ConfigError`` lists every mistake with its path."""
    path = Path(path).resolve()
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            [f"{path}: is not YAML: {str(error).splitlines()[-1].strip()}"]
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}: holds no mapping; it must start with keys such as `models:`"])
    mistakes: list[str] = []
    raw = resolve(raw, path.parent, mistakes)
    try:
        config = Config.model_validate(_anchored(raw, path.parent))
    except ValidationError as error:
        mistakes += [_mistake(item) for item in error.errors(include_url=False)]
    if mistakes:
        raise ConfigError(mistakes)
    return Loaded(config, path)


def _mistake(item: Any) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
    where = where.lstrip(".") or "file"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key; see docs/configuration.md for the keys that exist here"
    if item["type"] == "missing":
        return f"{where}: absent, and there is no default"
    given = item.get("input")
    shown = "" if isinstance(given, (dict, list)) or repr(given) in message else f"{given!r}: "
    return f"{where}: {shown}{message}"


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
    if key == "folder":
        return str(folder / value)
    if key == "source":
        scheme, _, rest = value.partition("://")
        if not rest:
            return str(folder / value)
        if scheme == "duckdb":
            return f"duckdb://{folder / rest}"
    return value
