"""What becomes of versions: kept, quarantined or deleted"""

import sqlalchemy as sa
from alembic import op

revision = "b71f3a9d2c60"
down_revision = "7a90c4e2d1b5"
branch_labels = None
depends_on = None

_UNFINISHED = sa.text("disposition = 'deleted' AND deleted_at IS NULL")


def upgrade() -> None:
    with op.batch_alter_table("versions") as batch:
        batch.add_column(sa.Column("disposition", sa.String(length=20), server_default="kept", nullable=False))
        batch.add_column(sa.Column("disposed_at", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
        batch.create_index("ix_versions_to_destroy", ["id"], sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)


def downgrade() -> None:
    with op.batch_alter_table("versions") as batch:
        batch.drop_index("ix_versions_to_destroy")
        batch.drop_column("deleted_at")
        batch.drop_column("disposed_at")
        batch.drop_column("disposition")
