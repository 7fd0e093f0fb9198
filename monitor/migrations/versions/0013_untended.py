"""Why a model's old rows could not be seen to, since when, and how often that failed."""

import sqlalchemy as sa
from alembic import op

from monitor.schema import Instant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holdfast_untended",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("first", Instant, nullable=False),
        sa.Column("last", Instant, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_holdfast_untended"))


def downgrade() -> None:
    op.drop_table("holdfast_untended")
