"""Certificates, what measurements rest on, and when the record of a request was removed"""

import sqlalchemy as sa
from alembic import op

revision = "a94e17c3b6d2"
down_revision = "c40d8e1b6f97"
branch_labels = None
depends_on = None

#: Index and column, each of the rows for which the condition holds.
_INDEXES = (
    ("ix_deletion_requests_records", "ended_at", sa.text("record_removed_at IS NULL")),
    ("ix_deletion_requests_uncertified", "state", sa.text("certified_at IS NULL")),
)


def upgrade() -> None:
    op.create_table(
        "certificates",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["deletion_requests.id"], name=op.f("fk_certificates_request_id")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_certificates")),
    )
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("provenance", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("deletion_requests") as batch:
        batch.add_column(sa.Column("certified_at", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("record_removed_at", sa.DateTime(timezone=True), nullable=True))
    for index, column, condition in _INDEXES:
        op.create_index(index, "deletion_requests", [column], sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for index, _, _ in _INDEXES:
        op.drop_index(index, table_name="deletion_requests")
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_column("record_removed_at")
        batch.drop_column("certified_at")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("provenance")
    op.drop_table("certificates")
