"""How many rows an increment holds is told beside its counts; older ones are unpacked for it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("holdfast_increment", sa.Column("rows", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("holdfast_increment", "rows")
