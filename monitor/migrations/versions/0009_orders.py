"""What people and programs order by page, API or webhook is a row before it is done."""

import sqlalchemy as sa
from alembic import op

from monitor.schema import Instant

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WAITING = sa.text("status = 'asked' AND action = 'retrain'")


def upgrade() -> None:
    op.create_table(
        "holdfast_order",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("finished", Instant),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_order"),
        sa.UniqueConstraint("model", "key", name="uq_holdfast_order"))
    op.create_index("ix_holdfast_order_status_action", "holdfast_order", ["status", "action"])
    op.create_index("ix_holdfast_order_waiting", "holdfast_order", ["model"], unique=True,
                    sqlite_where=WAITING, postgresql_where=WAITING)


def downgrade() -> None:
    op.drop_table("holdfast_order")
