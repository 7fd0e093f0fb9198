"""Mapping: the sections of the configuration that say which column of the log is what."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from pydantic import model_validator

from monitor.fields import Section, require


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
    """Only these columns; nested fields are dotted. Default: all that have no other role."""
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
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def labelled(self) -> bool:
        return self.label is not None or self.labels is not None
