"""What changed is known by model, and verdicts are counted as they are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holdfast_touched",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_holdfast_touched"))
    op.create_table(
        "holdfast_tally",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("model", "kind", name="pk_holdfast_tally"))
    op.execute("INSERT INTO holdfast_tally (model, kind, made) SELECT model, kind, count(*) "
               "FROM holdfast_verdict WHERE segment = '' GROUP BY model, kind")


def downgrade() -> None:
    op.drop_table("holdfast_tally")
    op.drop_table("holdfast_touched")
