"""Episodes know their peak."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("holdfast_episode", sa.Column("peak", sa.Float))
    op.add_column("holdfast_episode", sa.Column("peak_at", sa.BigInteger))


def downgrade() -> None:
    with op.batch_alter_table("holdfast_episode") as table:
        table.drop_column("peak_at")
        table.drop_column("peak")
