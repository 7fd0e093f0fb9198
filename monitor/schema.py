"""The tables of the store. ``monitor/migrations`` makes them; a test holds both together.

Every name starts with ``holdfast_``, so that the store may share a database with
other things. Instants are integers: microseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

from monitor.window import EPOCH

PREFIX = "holdfast_"
VERSION_TABLE = "holdfast_schema"
LABELLED = "segment = '' AND labelled <> 0"
"""Increments on all rows that bring labels: counted often, hence with an index of their own."""

BULKY = "form < 2"
"""Verdicts that have their detail."""

metadata = MetaData(naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s",
    "pk": "pk_%(table_name)s",
})


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant, stored as microseconds since the Unix epoch."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


def _id() -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)


def _name(name: str = "model", **more: Any) -> Column[str]:
    return Column(name, String(200), nullable=False, **more)


def _one_open(name: str, columns: list[str], condition: str) -> Index:
    """At most one row for which ``condition`` holds per value of ``columns``."""
    return Index(name, *columns, unique=True, sqlite_where=text(condition),
                 postgresql_where=text(condition))


changes = Table(
    f"{PREFIX}change", metadata,
    Column("id", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

touched = Table(
    f"{PREFIX}touched", metadata,
    _name("model", primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""The change number of the newest write about each model; '' is one about anything else."""

deployments = Table(
    f"{PREFIX}deployment", metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(20), nullable=False),
)
"""One row: what tells this store's requests from those of others that share its MLflow."""

tallies = Table(
    f"{PREFIX}tally", metadata,
    _name("model", primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("made", BigInteger, nullable=False),
)
"""How many verdicts on all rows were made, counted as they are kept."""

leaders = Table(
    f"{PREFIX}leader", metadata,
    Column("id", Integer, primary_key=True),
    Column("token", BigInteger, nullable=False),
    _name("name"),
)

models = Table(
    f"{PREFIX}model", metadata,
    _name("name", primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("folded_to", Instant),
)

baselines = Table(
    f"{PREFIX}baseline", metadata,
    _id(), _name(), _name("version"), _name("key"),
    Column("text", Text, nullable=False),
    UniqueConstraint("model", "version", "key"),
)

adoptions = Table(
    f"{PREFIX}adoption", metadata,
    _id(), _name(),
    Column("version", String(200)),
    _name("key"),
    Column("at", Instant, nullable=False),
    UniqueConstraint("model", "at"),
)

increments = Table(
    f"{PREFIX}increment", metadata,
    _id(), _name(), _name("key"),
    Column("pane", Instant, nullable=False),
    Column("known_at", Instant, nullable=False),
    _name("version"),
    Column("segment", Text, nullable=False),
    Column("labelled", BigInteger, nullable=False),
    Column("profile", LargeBinary, nullable=False),
    Column("outcomes", LargeBinary, nullable=False),
    Column("rows", BigInteger),
    UniqueConstraint("model", "key", "pane", "known_at", "version", "segment"),
    Index("ix_holdfast_increment_labelled", "model", "key", "pane", "known_at", "version",
          "labelled", sqlite_where=text(LABELLED), postgresql_where=text(LABELLED)),
)

counted = Table(
    f"{PREFIX}counted", metadata,
    _name("model", primary_key=True), _name("key", primary_key=True),
    Column("until", Instant, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("merged", Instant),
    Column("emptied", Instant),
)
"""How far counts are complete; those of panes before ``merged`` were merged into days, and of
those before ``emptied`` only the numbers of rows and labels are left."""

verdicts = Table(
    f"{PREFIX}verdict", metadata,
    _id(), _name(), Column("segment", Text, nullable=False), _name("version"),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("known_at", Instant, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("measured", Boolean, nullable=False),
    Column("line", Text, nullable=False),
    Column("detail", LargeBinary),
    Column("form", SmallInteger, nullable=False, server_default="0"),
    UniqueConstraint("model", "segment", "version", "start", "end", "revision"),
    Index("ix_holdfast_verdict_order", "model", "segment", "known_at", "end", "revision"),
    Index("ix_holdfast_verdict_bulky", "model", "known_at", sqlite_where=text(BULKY),
          postgresql_where=text(BULKY)),
)
"""``monitor.lines`` says what ``line``, ``detail`` and ``form`` hold."""

upkeep = Table(
    f"{PREFIX}upkeep", metadata,
    _name("model", primary_key=True),
    Column("at", Instant, nullable=False),
    Column("merged", BigInteger, nullable=False),
    Column("thinned", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
)
"""When a model's old rows were last seen to, and how many there have been."""

untended = Table(
    f"{PREFIX}untended", metadata,
    _name("model", primary_key=True),
    Column("reason", Text, nullable=False),
    Column("first", Instant, nullable=False),
    Column("last", Instant, nullable=False),
    Column("times", BigInteger, nullable=False),
)
"""Why they could not be, since when, and how often that failed; gone once they are seen to."""

transitions = Table(
    f"{PREFIX}transition", metadata,
    _id(), _name(),
    Column("number", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("before", String(40), nullable=False),
    Column("after", String(40), nullable=False),
    Column("cause", Text, nullable=False),
    Index(None, "model", "id"),
)

episodes = Table(
    f"{PREFIX}episode", metadata,
    _id(), _name(), Column("name", Text, nullable=False),
    Column("opened", Instant, nullable=False),
    Column("closed", Instant),
    Column("reason", Text, nullable=False),
    Column("peak", Float),
    Column("peak_at", Instant),
    UniqueConstraint("model", "name", "opened"),
    _one_open("ix_holdfast_episode_open", ["model"], "closed IS NULL"),
)

decisions = Table(
    f"{PREFIX}decision", metadata,
    _id(), _name(),
    Column("known_at", Instant, nullable=False),
    Column("action", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("status", String(40), nullable=False),
    Column("note", Text, nullable=False),
    Column("token", BigInteger),
    Index(None, "model", "id"),
    _one_open("ix_holdfast_decision_open", ["model"], "status = 'pending'"),
)

requests = Table(
    f"{PREFIX}request", metadata,
    _id(), _name("request_id", unique=True), _name(),
    Column("kind", String(20), nullable=False),
    Column("json", Text, nullable=False),
    Column("status", String(40), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created", Instant, nullable=False),
    Column("finished", Instant),
    Column("outcome", Text),
    Index(None, "model", "id"),
    _one_open("ix_holdfast_request_open", ["model"], "status = 'open'"),
)

intents = Table(
    f"{PREFIX}intent", metadata,
    _id(), _name(), _name("alias"), _name("target"),
    Column("expected", String(200)),
    Column("at", Instant, nullable=False),
    Column("why", Text, nullable=False),
    Column("result", Text),
    Index(None, "model", "id"),
    _one_open("ix_holdfast_intent_open", ["model", "alias"], "result IS NULL"),
)

scores = Table(
    f"{PREFIX}score", metadata,
    _id(), _name(),
    Column("kind", String(20), nullable=False),
    _name("version"), _name("other"),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("known_at", Instant, nullable=False),
    Column("line", Text, nullable=False),
    UniqueConstraint("model", "kind", "version", "other", "start", "end"),
)

reports = Table(
    f"{PREFIX}report", metadata,
    _id(), _name(),
    Column("verdict_id", BigInteger, nullable=False, unique=True),
    Column("uri", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("created", Instant, nullable=False),
    Index(None, "model", "id"),
)

acknowledgements = Table(
    f"{PREFIX}acknowledgement", metadata,
    _id(), _name(),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("said", String(20), nullable=False),
    Column("rebaseline", Boolean, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("faults", Text, nullable=False),
    UniqueConstraint("model", "start", "end", "ordinal"),
)

troubles = Table(
    f"{PREFIX}trouble", metadata,
    _id(), _name(), _name("where"),
    Column("message", Text, nullable=False),
    Column("first", Instant, nullable=False),
    Column("last", Instant, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("cleared", Boolean, nullable=False),
    Index(None, "model", "id"),
)

ticks = Table(
    f"{PREFIX}tick", metadata,
    _name("model", primary_key=True),
    Column("at", Instant, nullable=False),
    Column("fine_at", Instant),
    Column("seconds", Float, nullable=False),
    Column("fine", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
)

messages = Table(
    f"{PREFIX}message", metadata,
    _id(), _name(), _name("key"),
    Column("place", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Instant, nullable=False),
    Column("sent", Instant),
    Column("failures", Integer, nullable=False),
    UniqueConstraint("model", "key", "place"),
)

orders = Table(
    f"{PREFIX}order", metadata,
    _id(), _name(), _name("key"),
    Column("action", String(20), nullable=False),
    _name("by"),
    Column("at", Instant, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("note", Text, nullable=False),
    Column("finished", Instant),
    UniqueConstraint("model", "key"),
    Index("ix_holdfast_order_status_action", "status", "action"),
    _one_open("ix_holdfast_order_waiting", ["model"], "status = 'asked' AND action = 'retrain'"),
)
