"""Who is next for a model is found without looking at everybody who waits"""

from alembic import op

revision = "5c1e8b7d3f20"
down_revision = "9c5e27a1d640"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_line", "jobs", ["model_id", "state", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_jobs_line", "jobs")
