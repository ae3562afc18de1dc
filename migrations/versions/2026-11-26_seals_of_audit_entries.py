"""Seals of what is not chained yet, and when an audit log was last found to hold something that was changed before"""

import sqlalchemy as sa
from alembic import op

revision = "3f9b6c21d84e"
down_revision = "5c1e8b7d3f20"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("audit_events", "transitions"):
        op.add_column(table, sa.Column("seal", sa.LargeBinary(length=32), nullable=True))
    op.add_column("audit_heads", sa.Column("altered_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("audit_heads") as batch:
        batch.drop_column("altered_at")
    for table in ("transitions", "audit_events"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("seal")
