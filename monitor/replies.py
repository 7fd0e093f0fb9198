"""Replies: the JSON that programs are told, as types; the API's OpenAPI is made from them.

Verdicts are kept as JSON for years: what a line of an earlier holdfast does not say has a default
here, and what a later one says beside it is left out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

from monitor.acknowledgement import Said
from monitor.judge import Kind
from monitor.need import Level
from monitor.secrets import redacted
from monitor.state import Action, Phase

Item = TypeVar("Item")


class Reply(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)

    def masked(self) -> Self:
        """The same, secrets masked in all but fixed words and times: a secret may read ``stable``,
        and programs go by those."""
        return self.model_copy(update={
            name: _masked(getattr(self, name)) for name, field in type(self).model_fields.items()
            if not any(get_origin(kind) is Literal
                       for kind in (field.annotation, *get_args(field.annotation)))})


def _masked(value: Any) -> Any:
    if isinstance(value, Reply):
        return value.masked()
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return redacted(value)


class Problem(Reply):
    """Why there is no answer."""

    error: str
    """What is wrong, and what would be right."""
    request_id: str | None = None
    """What the daemon's log calls the request, where it went no further than the guard."""


class Some(Reply, Generic[Item]):
    """A part of a longer list."""

    items: list[Item]
    """At most ``limit`` of them."""
    next: int | None
    """The ``offset`` of the items that follow; null where these are the last."""


class Need(Reply):
    """What a person should do."""

    level: Level
    """How soon: at once, soon, not while holdfast is at it, or not at all."""
    words: str
    """What for."""


class Measured(Reply):
    """One metric with its interval."""

    metric: str
    value: float | None
    """Null where the rows cannot support it."""
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Labelled rows."""
    estimated: bool = False
    span: str = ""
    """Event time that is pooled, such as ``7d``."""
    reason: str = ""
    """Why there is no value, or how the interval was taken."""


class Promise(Reply):
    """What the reference promises of the deciding metric."""

    metric: str
    value: float
    limit: float
    """From which value on it is missed."""
    lost: float = 0.0
    """How much of it is gone, in drops that count."""


class Feature(Reply):
    """One statistic of one column against its threshold."""

    name: str
    """Columns that are no inputs start with ``prediction:``, ``score:`` or ``label:``."""
    statistic: str
    value: float | None
    threshold: float | None
    """Null where the statistic informs only."""
    error_bound: float | None = None
    drifted: bool
    windows: int = 1
    """Newest windows that it is taken over."""
    importance: float | None = None
    """Share of what all features are worth to the version."""


class Fault(Reply):
    """One thing that is wrong with the window's rows."""

    check: str
    column: str
    """Empty where it is the whole window."""
    severity: str
    message: str
    value: float | None = None
    limit: float | None = None


class Asked(Reply):
    """What the verdict led to."""

    action: Action
    reason: str


class Verdict(Reply):
    """What was known of one window, version and segment at one checkpoint."""

    model: str
    version: str
    segment: str
    """Empty for all rows."""
    start: datetime
    end: datetime
    revision: int
    """0 when the window closes; more when late rows or labels changed it."""
    known_at: datetime
    verdict: Kind
    inputs: str
    quality: str
    reason: str
    n: int
    """Rows of the window."""
    label_maturity: float | None
    """Share of its rows that have a label."""
    severity: float | None = None
    """The largest statistic over its threshold."""
    phase: Phase
    episode: str | None = None
    features: list[Feature] = []
    performance: list[Measured] = []
    """The first one decides."""
    estimated: dict[str, Any] | None = None
    """Performance without labels, and whether labels bear it out."""
    promised: Promise | None = None
    faults: list[Fault] = []
    groups: list[dict[str, Any]] = []
    """The widest gaps between declared groups."""
    segments: list[dict[str, Any]] = []
    """Segments with a verdict of their own that is worth telling."""
    freshness: dict[str, Any] | None = None
    acknowledged: str | None = None
    decision: Asked


class Brief(Reply):
    """A model in one line of the fleet."""

    name: str
    registered: str
    """Its name in MLflow."""
    task: str
    phase: Phase
    since: datetime | None
    needs: Need
    champion: str | None
    challenger: str | None
    verdict: Kind | None
    """The newest one; null before the first."""
    reason: str
    judged_to: datetime | None
    severity: float | None
    performance: Measured | None
    """The champion's newest measured deciding metric."""
    trouble: str | None
    """The error that stands."""


class Fleet(Some[Brief]):
    """Models, those first that need a person most."""

    total: int
    """Models that are configured."""
    found: int
    """Models that the filter leaves."""


class Waiting(Reply):
    """A decision that is not carried out yet."""

    known_at: datetime
    action: Action
    reason: str


class Detail(Brief):
    """A model as it stands now."""

    predecessor: str | None
    adopted_at: datetime | None
    cooldown_until: datetime | None
    ticked: datetime | None
    """When it was last looked at."""
    newest: Verdict | None
    pending: Waiting | None
    request: str | None
    """The request that is being worked on."""


class Episode(Reply):
    """A stretch of drift or degradation."""

    name: str
    opened: datetime
    closed: datetime | None
    """Null while it lasts."""
    reason: str
    peak: float | None
    """The largest severity of its drift."""
    peak_at: datetime | None


class Decision(Reply):
    """A decision that had to be carried out."""

    id: int
    known_at: datetime
    action: Action
    reason: str
    status: str
    """``pending``, ``superseded``, or what became of it."""
    note: str


class Transition(Reply):
    """A change of phase."""

    at: datetime
    before: Phase
    after: Phase
    cause: str


class Request(Reply):
    """A piece of work for a process of its own, and what became of it."""

    request_id: str
    kind: Literal["train", "bootstrap", "score"]
    known_at: datetime
    reason: str
    status: str
    """``open``, or how it ended."""
    attempts: int
    created: datetime
    finished: datetime | None
    outcome: dict[str, Any] | None
    """As the process told it; null while it is open."""


class Report(Reply):
    """An HTML report of a verdict."""

    id: int
    verdict_id: int
    uri: str
    """Where MLflow keeps it."""
    created: datetime
    href: str
    """Where it is read here."""


class Acknowledgement(Reply):
    """What a person said of a stretch of event time."""

    start: datetime
    end: datetime
    said: Said
    rebaseline: bool
    """Whether the reference of the inputs starts anew with it."""
    note: str
    at: datetime


class Trouble(Reply):
    """An error of the model's ticks."""

    where: str
    message: str
    first: datetime
    last: datetime
    times: int
    cleared: bool


class Order(Reply):
    """What a person or a program ordered, and what became of it."""

    order: int
    model: str
    action: Literal["retrain", "snooze", "acknowledge"]
    by: str
    """Who, and how."""
    at: datetime
    arguments: dict[str, Any]
    status: Literal["asked", "done", "refused", "joined"]
    note: str
    """What follows from it, or why it was refused."""
    finished: datetime | None


class Answer(Reply):
    """What became of one alert."""

    alert: str
    model: str | None
    status: int
    """As of HTTP: 202 where a retrain was asked for."""
    words: str
    order: int | None = None


class Heard(Reply):
    """What became of the alerts of a notification."""

    alerts: list[Answer]


class Adoption(Reply):
    """From ``at`` on, ``version`` was the champion."""

    version: str | None
    at: datetime


class Versions(Reply):
    """Who serves, who waits, and how they do on the same rows."""

    champion: str | None
    challenger: str | None
    predecessor: str | None
    adoptions: list[Adoption]
    """Every change of champion, oldest first."""
    shadow: dict[str, Any] | None
    """The waiting challenger beside the champion, over all newer rows."""
    windows: list[dict[str, Any]]
    """The same window by window, the newest first."""
    compression: dict[str, Any] | None
    """A compressed champion beside its uncompressed form."""
    audits: list[dict[str, Any]]
    """Versions on the golden benchmark sets, the newest audit first."""


class Cell(Reply):
    """Some values of a column, and how many rows had them, as shares of one."""

    label: str
    reference: float
    current: float
    missing: bool
    """Whether it stands for rows without a usable value."""


class Distribution(Reply):
    """A column in the reference and in the newest window."""

    name: str
    statistic: str | None
    """The one that lies farthest beyond its threshold."""
    value: float | None
    threshold: float | None
    drifted: bool
    importance: float | None
    rank: float | None
    """Value over threshold, times the importance where that is known."""
    reference_rows: int
    current_rows: int
    cells: list[Cell] = Field(max_length=60)
