"""Each deletion request has the key that its images are encrypted with; those that are there stay as they are"""

import sqlalchemy as sa
from alembic import op

revision = "e58b2f90c1d7"
down_revision = "4be0d81c7a56"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("deletion_requests") as batch:
        batch.add_column(sa.Column("samples_key", sa.LargeBinary(length=60), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_column("samples_key")
