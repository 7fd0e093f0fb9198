"""The store's own name has a table, beside the change numbers of models where it stood."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = op.create_table(
        "holdfast_deployment",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(20), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdfast_deployment"))
    connection = op.get_bind()
    found = connection.execute(sa.text(
        "SELECT model FROM holdfast_touched WHERE number = -1")).scalar()
    if found is not None:
        connection.execute(table.insert().values(id=1, name=str(found).removeprefix(":")))
        connection.execute(sa.text("DELETE FROM holdfast_touched WHERE number = -1"))


def downgrade() -> None:
    op.drop_table("holdfast_deployment")
