"""training manifests, their records, and the suppression list"""

import sqlalchemy as sa
from alembic import op

revision = "b84c7e15d2f0"
down_revision = "a1f6d20c93e4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "manifests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("uris", sa.String(length=200), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("suppressed", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_manifests_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manifests")),
        sa.UniqueConstraint("version_id", "name", name=op.f("uq_manifests_version_id_name")),
    )
    op.create_index(op.f("ix_manifests_version_id_created_at_id"), "manifests", ["version_id", "created_at", "id"])
    op.create_table(
        "records",
        sa.Column("manifest_id", sa.Uuid(), nullable=False),
        sa.Column("sample_hmac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("subject_hmac", sa.LargeBinary(length=32), nullable=True),
        sa.Column("label", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["manifest_id"], ["manifests.id"], name=op.f("fk_records_manifest_id")),
        sa.PrimaryKeyConstraint("manifest_id", "sample_hmac", name=op.f("pk_records")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_records_manifest_id_subject_hmac"), "records", ["manifest_id", "subject_hmac"])
    op.create_table(
        "suppressions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("hmac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["deletion_requests.id"], name=op.f("fk_suppressions_request_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_suppressions_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppressions")),
    )
    op.create_index(op.f("ix_suppressions_request_id"), "suppressions", ["request_id"])
    op.create_index(op.f("ix_suppressions_tenant_id_hmac"), "suppressions", ["tenant_id", "hmac"])
    op.create_index(op.f("ix_suppressions_tenant_id_at_id"), "suppressions", ["tenant_id", "at", "id"])


def downgrade() -> None:
    for table in ("suppressions", "records", "manifests"):
        op.drop_table(table)
