"""Mapping: the sections of the configuration that say which column of the log is what."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, model_validator

from monitor.fields import Duration, Section, require


class Storage(Section):
    """How an object store is reached. Credentials come from the environment, never from here."""

    endpoint_url: str | None = None
    """Address of an S3-compatible store such as MinIO, or of a Google storage emulator; for Azure
    the host of the account."""
    region: str | None = None
    """Region of the bucket (S3)."""
    path_style: bool = False
    """Bucket in the path, not in the host name (S3-compatible stores without wildcard DNS)."""
    anonymous: bool = False
    """Read public objects without credentials."""
    project: str | None = None
    """Project that requests are billed to (Google)."""
    account: str | None = None
    """Storage account, where the URL does not name it (Azure)."""


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
    """Only these columns; nested fields are dotted. Default: all that have no other role and are
    not binary. A binary column (images) named here reaches the trainer; nothing is counted of it
    but whether it is there."""
    exclude: list[str] = []
    """Never these columns."""
    categorical: list[str] = []
    """Columns of numbers that are names, not amounts."""


class Expect(Section):
    """What one column may hold. What breaks it makes the window faulty, whatever the reference
    held."""

    type: Literal["numeric", "categorical", "boolean", "datetime"] | None = None
    """What the column is logged as."""
    min: float | None = None
    """Smallest possible number."""
    max: float | None = None
    """Largest possible number."""
    values: list[bool | int | float | str] | None = None
    """The only possible values; a column of numbers is then counted by value."""
    nulls: float | None = Field(default=None, ge=0, le=1)
    """Largest share of nulls; in place of the share that the reference teaches."""
    constant: bool | None = None
    """`true`: never another value than the reference's one; `false`: never one value only."""
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rows with a value that may lie beyond ``min``, ``max`` or ``values``."""

    @model_validator(mode="after")
    def _consistent(self) -> Expect:
        ranged = self.min is not None or self.max is not None
        require(not (ranged and self.values is not None), "values", "beside min or max",
                "one of the two")
        require(self.values is None or len(self.values) > 0, "values", "an empty list",
                "at least one value")
        require(self.min is None or self.max is None or self.min < self.max, "max",
                f"{self.max:g} is not above min" if self.max is not None else "", "more than min")
        require(not (ranged and self.type in {"categorical", "boolean"}), "type",
                f"{self.type} beside min or max", "numeric")
        return self


class Log(Section):
    """The prediction log and the role of each of its columns."""

    source: str
    """A glob of Parquet, CSV or JSON-lines files, also at ``s3://``, ``gs://``, ``az://`` or
    ``abfs://``; ``duckdb://FILE`` or ``postgresql://…``. Names of folders may hold dates:
    ``{date}``, ``{year}/{month}/{day}``, ``dt=*`` or ``year=*/month=*/day=*``."""
    storage: Storage = Storage()
    """How the object store is reached that the log, its labels and its features lie in."""
    by_date: bool = True
    """Look only into folders whose date is near the time that is needed: no later than
    ``window.revise_for`` after it. Off: list all folders always."""
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
    freshness: Duration | None = None
    """Longest time without a new row; a longer one is a fault. Default: as long as the reference
    was ever silent, plus a window; a longer one is a warning."""
    expect: dict[str, Expect] = {}
    """Column -> what it may hold."""

    @model_validator(mode="after")
    def _consistent(self) -> Log:
        require(
            self.timezone in available_timezones(),
            "timezone",
            self.timezone,
            "an IANA name such as Europe/Berlin",
        )
        require(not (self.table and self.query), "query", "beside table", "one of the two")
        require(not (self.label and self.labels), "labels", "beside label", "one of the two")
        if self.labels or self.features_from:
            require(
                self.id is not None,
                "id",
                "absent",
                "the column that joins labels and features to predictions",
            )
        self._expectations()
        return self

    def _expectations(self) -> None:
        """Labels may be late and have their own classes; of answers only numbers are declared."""
        label = self.label or (self.labels.value if self.labels else None)
        require(label not in self.expect, "expect", f"{label}, the label",
                "inputs, predictions or scores")
        scores = [self.score] if isinstance(self.score, str) else [*(self.score or {}).values()]
        for name in {self.prediction, *scores} & set(self.expect):
            require(self.expect[str(name)].values is None, f"expect.{name}.values",
                    "values of an answer", "min and max, or nothing")

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def labelled(self) -> bool:
        return self.label is not None or self.labels is not None
