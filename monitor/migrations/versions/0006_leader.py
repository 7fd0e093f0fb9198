"""Which daemon leads is known to the store, and decisions say who made them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holdfast_leader",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_leader"))
    op.execute("INSERT INTO holdfast_leader (id, token, name) VALUES (1, 0, '')")
    op.add_column("holdfast_decision", sa.Column("token", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("holdfast_decision", "token")
    op.drop_table("holdfast_leader")
