"""The file with a manifest's URIs is encrypted, with a key of its own that is wrapped by the master key"""

import sqlalchemy as sa
from alembic import op

revision = "c40d8e1b6f97"
down_revision = "b71f3a9d2c60"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("manifests") as batch:
        batch.add_column(sa.Column("uris_key", sa.LargeBinary(length=60), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("manifests") as batch:
        batch.drop_column("uris_key")
