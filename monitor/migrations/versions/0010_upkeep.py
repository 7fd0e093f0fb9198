"""Verdicts are kept as a brief text and packed detail; old counts and verdicts are seen to."""

import sqlalchemy as sa
from alembic import op

from monitor.schema import Instant

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BULKY = sa.text("form < 2")


def upgrade() -> None:
    op.add_column("holdfast_verdict", sa.Column("detail", sa.LargeBinary))
    op.add_column("holdfast_verdict", sa.Column("form", sa.SmallInteger, nullable=False,
                                                server_default="0"))
    op.drop_index("ix_holdfast_verdict_kind", "holdfast_verdict")
    op.create_index("ix_holdfast_verdict_bulky", "holdfast_verdict", ["model", "known_at"],
                    sqlite_where=BULKY, postgresql_where=BULKY)
    op.add_column("holdfast_counted", sa.Column("merged", Instant))
    op.add_column("holdfast_counted", sa.Column("emptied", Instant))
    op.create_table(
        "holdfast_upkeep",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("merged", sa.BigInteger, nullable=False),
        sa.Column("thinned", sa.BigInteger, nullable=False),
        sa.Column("dropped", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_holdfast_upkeep"))


def downgrade() -> None:
    packed = op.get_bind().execute(sa.text("SELECT 1 FROM holdfast_verdict WHERE form > 0 LIMIT 1"))
    if packed.first() is not None:
        raise RuntimeError("verdicts are packed, which schema 0009 cannot read; right would be to "
                           "restore the copy of the store that was made before the upgrade")
    op.drop_table("holdfast_upkeep")
    op.drop_column("holdfast_counted", "emptied")
    op.drop_column("holdfast_counted", "merged")
    op.drop_index("ix_holdfast_verdict_bulky", "holdfast_verdict")
    op.create_index("ix_holdfast_verdict_kind", "holdfast_verdict", ["model", "segment", "kind"])
    op.drop_column("holdfast_verdict", "form")
    op.drop_column("holdfast_verdict", "detail")
