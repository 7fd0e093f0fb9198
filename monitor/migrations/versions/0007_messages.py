"""What people are told is written down before it is sent."""

import sqlalchemy as sa
from alembic import op

from monitor.schema import Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holdfast_message",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created", Instant, nullable=False),
        sa.Column("sent", Instant),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_message"),
        sa.UniqueConstraint("model", "key", "place", name="uq_holdfast_message"))


def downgrade() -> None:
    op.drop_table("holdfast_message")
