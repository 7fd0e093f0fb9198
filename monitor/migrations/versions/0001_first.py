"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _id() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _evidence()
    _fold()
    _errands()
    _daemon()


def downgrade() -> None:
    for name in (
        "holdfast_verdict",
        "holdfast_trouble",
        "holdfast_transition",
        "holdfast_tick",
        "holdfast_request",
        "holdfast_report",
        "holdfast_model",
        "holdfast_intent",
        "holdfast_increment",
        "holdfast_episode",
        "holdfast_decision",
        "holdfast_counted",
        "holdfast_change",
        "holdfast_baseline",
        "holdfast_adoption",
    ):
        op.drop_table(name)


def _evidence() -> None:
    op.create_table(
        "holdfast_adoption",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=True),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_adoption"),
        sa.UniqueConstraint("model", "at", name="uq_holdfast_adoption"),
    )
    op.create_table(
        "holdfast_baseline",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_baseline"),
        sa.UniqueConstraint("model", "version", "key", name="uq_holdfast_baseline"),
    )
    op.create_table(
        "holdfast_counted",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "key", name="pk_holdfast_counted"),
    )
    op.create_table(
        "holdfast_increment",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("pane", sa.BigInteger(), nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("labelled", sa.BigInteger(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("outcomes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_increment"),
        sa.UniqueConstraint(
            "model", "key", "pane", "known_at", "version", "segment", name="uq_holdfast_increment"
        ),
    )
    op.create_index(
        "ix_holdfast_increment_labelled",
        "holdfast_increment",
        ["model", "key", "pane", "known_at", "version", "labelled"],
        unique=False,
        sqlite_where=sa.text("segment = '' AND labelled <> 0"),
        postgresql_where=sa.text("segment = '' AND labelled <> 0"),
    )


def _fold() -> None:
    op.create_table(
        "holdfast_decision",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_decision"),
    )
    op.create_index(
        "ix_holdfast_decision_model_id", "holdfast_decision", ["model", "id"], unique=False
    )
    op.create_index(
        "ix_holdfast_decision_open",
        "holdfast_decision",
        ["model"],
        unique=True,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "holdfast_episode",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("opened", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_episode"),
        sa.UniqueConstraint("model", "name", "opened", name="uq_holdfast_episode"),
    )
    op.create_index(
        "ix_holdfast_episode_open",
        "holdfast_episode",
        ["model"],
        unique=True,
        sqlite_where=sa.text("closed IS NULL"),
        postgresql_where=sa.text("closed IS NULL"),
    )
    op.create_table(
        "holdfast_model",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("folded_to", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_holdfast_model"),
    )
    op.create_table(
        "holdfast_transition",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.String(length=40), nullable=False),
        sa.Column("after", sa.String(length=40), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_transition"),
    )
    op.create_index(
        "ix_holdfast_transition_model_id", "holdfast_transition", ["model", "id"], unique=False
    )
    op.create_table(
        "holdfast_verdict",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("measured", sa.Boolean(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_verdict"),
        sa.UniqueConstraint(
            "model", "segment", "version", "start", "end", "revision", name="uq_holdfast_verdict"
        ),
    )
    op.create_index(
        "ix_holdfast_verdict_kind", "holdfast_verdict", ["model", "segment", "kind"], unique=False
    )
    op.create_index(
        "ix_holdfast_verdict_order",
        "holdfast_verdict",
        ["model", "segment", "known_at", "end", "revision"],
        unique=False,
    )


def _errands() -> None:
    op.create_table(
        "holdfast_intent",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("expected", sa.String(length=200), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_intent"),
    )
    op.create_index("ix_holdfast_intent_model_id", "holdfast_intent", ["model", "id"], unique=False)
    op.create_index(
        "ix_holdfast_intent_open",
        "holdfast_intent",
        ["model", "alias"],
        unique=True,
        sqlite_where=sa.text("result IS NULL"),
        postgresql_where=sa.text("result IS NULL"),
    )
    op.create_table(
        "holdfast_report",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("verdict_id", sa.BigInteger(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_report"),
        sa.UniqueConstraint("verdict_id", name="uq_holdfast_report"),
    )
    op.create_index("ix_holdfast_report_model_id", "holdfast_report", ["model", "id"], unique=False)
    op.create_table(
        "holdfast_request",
        sa.Column("id", _id(), nullable=False),
        sa.Column("request_id", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_request"),
        sa.UniqueConstraint("request_id", name="uq_holdfast_request"),
    )
    op.create_index(
        "ix_holdfast_request_model_id", "holdfast_request", ["model", "id"], unique=False
    )
    op.create_index(
        "ix_holdfast_request_open",
        "holdfast_request",
        ["model"],
        unique=True,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )


def _daemon() -> None:
    op.create_table(
        "holdfast_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_change"),
    )
    op.create_table(
        "holdfast_tick",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("fine_at", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("fine", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_holdfast_tick"),
    )
    op.create_table(
        "holdfast_trouble",
        sa.Column("id", _id(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("where", sa.String(length=200), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("cleared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_trouble"),
    )
    op.create_index(
        "ix_holdfast_trouble_model_id", "holdfast_trouble", ["model", "id"], unique=False
    )
