"""OpenDSR requests, whom they name, what serves them, and who is told of them"""

import sqlalchemy as sa
from alembic import op

revision = "c93e5ab17f42"
down_revision = "b84c7e15d2f0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subject_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("subject_request_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending", "in_progress", "completed", "cancelled", name="requeststatus", native_enum=False, length=20
            ),
            nullable=False,
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_subject_requests_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject_requests")),
        sa.UniqueConstraint(
            "tenant_id", "subject_request_id", name=op.f("uq_subject_requests_tenant_id_subject_request_id")
        ),
    )
    op.create_table(
        "subject_identities",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("hmac", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["subject_requests.id"], name=op.f("fk_subject_identities_request_id")),
        sa.PrimaryKeyConstraint("request_id", "hmac", name=op.f("pk_subject_identities")),
    )
    op.create_table(
        "erasures",
        sa.Column("deletion_request_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deletion_request_id"], ["deletion_requests.id"], name=op.f("fk_erasures_deletion_request_id")
        ),
        sa.ForeignKeyConstraint(["request_id"], ["subject_requests.id"], name=op.f("fk_erasures_request_id")),
        sa.PrimaryKeyConstraint("deletion_request_id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_request_id"), "erasures", ["request_id"])
    op.create_table(
        "status_callbacks",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_status_callbacks_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["request_id"], ["subject_requests.id"], name=op.f("fk_status_callbacks_request_id")),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_status_callbacks")),
    )
    op.create_index(op.f("ix_status_callbacks_request_id"), "status_callbacks", ["request_id"])


def downgrade() -> None:
    for table in ("status_callbacks", "erasures", "subject_identities", "subject_requests"):
        op.drop_table(table)
