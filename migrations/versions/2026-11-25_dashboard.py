"""Whoever is signed in to the dashboard, who looked at images, and what has ended last"""

import sqlalchemy as sa
from alembic import op

revision = "9c5e27a1d640"
down_revision = "b7d41f08c2e9"
branch_labels = None
depends_on = None

_ENDED = "ended_at IS NOT NULL"


def upgrade() -> None:
    op.create_table(
        "dashboard_sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_dashboard_sessions_key_id")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_dashboard_sessions")),
    )
    op.create_index(op.f("ix_dashboard_sessions_expires_at"), "dashboard_sessions", ["expires_at"])
    op.create_table(
        "image_views",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["deletion_requests.id"], name=op.f("fk_image_views_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_views")),
    )
    op.create_index(op.f("ix_image_views_request_id"), "image_views", ["request_id"])
    with op.batch_alter_table("deletion_requests") as batch:
        batch.create_index(
            op.f("ix_deletion_requests_ended"),
            ["tenant_id", "ended_at"],
            sqlite_where=sa.text(_ENDED),
            postgresql_where=sa.text(_ENDED),
        )


def downgrade() -> None:
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_index(op.f("ix_deletion_requests_ended"))
    op.drop_table("image_views")
    op.drop_table("dashboard_sessions")
