"""A run serves several requests: each has metrics of its own, may be withdrawn by itself, or be tried by itself"""

import sqlalchemy as sa
from alembic import op

revision = "f36c81a7d924"
down_revision = "e58b2f90c1d7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("alone", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("deletion_requests") as batch:
        batch.add_column(sa.Column("withdrawn", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch.add_column(sa.Column("metrics", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_column("metrics")
        batch.drop_column("withdrawn")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("alone")
