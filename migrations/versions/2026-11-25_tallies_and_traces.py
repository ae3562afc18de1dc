"""What metrics count, runs in a row that the gate objected to, and where requests belong in distributed traces"""

import sqlalchemy as sa
from alembic import op

revision = "b7d41f08c2e9"
down_revision = "a94e17c3b6d2"
branch_labels = None
depends_on = None

_UNSENT = "ix_webhook_deliveries_unsent"


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("counted", sa.String(length=30), nullable=False),
        sa.Column("label", sa.String(length=30), nullable=False),
        sa.Column("bucket", sa.Double(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tallies")),
    )
    with op.batch_alter_table("models") as batch:
        batch.add_column(sa.Column("gate_failures", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("deletion_requests") as batch:
        batch.add_column(sa.Column("traceparent", sa.String(length=55), nullable=True))
    unsent = sa.text("state <> 'succeeded'")
    op.create_index(
        _UNSENT, "webhook_deliveries", ["state", "created_at"], sqlite_where=unsent, postgresql_where=unsent
    )
    # What has happened so far counts, too. How long the phases of earlier runs took is not looked for.
    ended = "('completed', 'needs_review', 'failed', 'rejected', 'cancelled')"
    op.execute(f"""
        INSERT INTO tallies (counted, label, count, total)
        SELECT 'requests_ended', after, count(*), 0 FROM transitions WHERE after IN {ended} GROUP BY after
    """)  # noqa: S608
    op.execute(f"""
        INSERT INTO tallies (counted, label, count, total)
        SELECT 'jobs_ended', state, count(*), 0 FROM jobs WHERE state IN {ended} GROUP BY state
    """)  # noqa: S608
    op.execute("""
        INSERT INTO tallies (counted, label, count, total)
        SELECT 'deliveries_ended', state, count(*), 0 FROM webhook_deliveries WHERE state <> 'pending' GROUP BY state
    """)


def downgrade() -> None:
    op.drop_index(_UNSENT, "webhook_deliveries")
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_column("traceparent")
    with op.batch_alter_table("models") as batch:
        batch.drop_column("gate_failures")
    op.drop_table("tallies")
