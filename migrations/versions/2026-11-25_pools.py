"""Models name the pool of workers that runs their jobs"""

import sqlalchemy as sa
from alembic import op

revision = "7a90c4e2d1b5"
down_revision = "e6dff4f26198"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("pool", sa.String(40), server_default="default", nullable=False))


def downgrade() -> None:
    op.drop_column("models", "pool")
