"""tenants, API keys, idempotent creation, approval"""

import secrets
import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "c51e07a9d3b2"
down_revision = "8f2dc46422e6"
branch_labels = None
depends_on = None

_OWNED = ("models", "anchor_sets", "jobs", "deletion_requests")


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("pseudonym_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("prefix", sa.String(length=20), nullable=False),
        sa.Column("last_four", sa.String(length=4), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index(op.f("ix_api_keys_tenant_id_created_at_id"), "api_keys", ["tenant_id", "created_at", "id"])
    op.create_table(
        "creations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operation", sa.String(length=300), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Uuid(), nullable=False),
        sa.Column("in_flight_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_creations_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "operation", "key", name=op.f("pk_creations")),
    )
    op.create_index(op.f("ix_creations_expires_at"), "creations", ["expires_at"])

    for table in _OWNED:
        op.add_column(table, sa.Column("tenant_id", sa.Uuid(), nullable=True))
    op.add_column("models", sa.Column("approval_required", sa.Boolean(), nullable=True))
    op.add_column("deletion_requests", sa.Column("submitted_by", sa.String(length=200), nullable=True))
    op.add_column("deletion_requests", sa.Column("samples_hmac", sa.String(length=64), nullable=True))
    op.add_column("deletion_requests", sa.Column("duplicate_of_id", sa.Uuid(), nullable=True))
    _give_to_the_default_tenant()

    for table in _OWNED:
        with op.batch_alter_table(table) as batch:
            batch.alter_column("tenant_id", existing_type=sa.Uuid(), nullable=False)
            batch.create_foreign_key(op.f(f"fk_{table}_tenant_id"), "tenants", ["tenant_id"], ["id"])
    with op.batch_alter_table("models") as batch:
        batch.alter_column("approval_required", existing_type=sa.Boolean(), nullable=False)
        batch.drop_constraint("uq_models_name", type_="unique")
        batch.create_unique_constraint(op.f("uq_models_tenant_id_name"), ["tenant_id", "name"])
        batch.drop_index("ix_models_created_at_id")
        batch.create_index(op.f("ix_models_tenant_id_created_at_id"), ["tenant_id", "created_at", "id"])
    with op.batch_alter_table("anchor_sets") as batch:
        batch.drop_constraint("uq_anchor_sets_cache_key", type_="unique")
        batch.create_unique_constraint(op.f("uq_anchor_sets_tenant_id_cache_key"), ["tenant_id", "cache_key"])
        batch.drop_index("ix_anchor_sets_created_at_id")
        batch.create_index(op.f("ix_anchor_sets_tenant_id_created_at_id"), ["tenant_id", "created_at", "id"])
    with op.batch_alter_table("jobs") as batch:
        batch.drop_index("ix_jobs_created_at_id")
        batch.create_index(op.f("ix_jobs_tenant_id_created_at_id"), ["tenant_id", "created_at", "id"])
    with op.batch_alter_table("deletion_requests") as batch:
        batch.alter_column("submitted_by", existing_type=sa.String(length=200), nullable=False)
        batch.alter_column("samples_hmac", existing_type=sa.String(length=64), nullable=False)
        batch.create_foreign_key(
            op.f("fk_deletion_requests_duplicate_of_id"), "deletion_requests", ["duplicate_of_id"], ["id"]
        )
        batch.drop_index("ix_deletion_requests_received_at_id")
        batch.create_index(op.f("ix_deletion_requests_tenant_id_received_at_id"), ["tenant_id", "received_at", "id"])
        batch.create_index(op.f("ix_deletion_requests_model_id_samples_hmac"), ["model_id", "samples_hmac"])


def _give_to_the_default_tenant() -> None:
    """What was there before there were tenants."""
    connection = op.get_bind()
    tables = {name: sa.table(name, sa.column("id"), sa.column("tenant_id", sa.Uuid())) for name in _OWNED}
    if not any(connection.scalar(sa.select(table.c.id).limit(1)) for table in tables.values()):
        return
    tenants = sa.table(
        "tenants",
        sa.column("id", sa.Uuid()),
        sa.column("name", sa.String()),
        sa.column("pseudonym_key", sa.LargeBinary()),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )
    default = uuid.uuid4()
    row = {"id": default, "name": "default", "pseudonym_key": secrets.token_bytes(32), "created_at": datetime.now(UTC)}
    connection.execute(tenants.insert().values(row))
    for table in tables.values():
        connection.execute(table.update().values(tenant_id=default))
    connection.execute(sa.text("UPDATE models SET approval_required = false"))
    # Nobody knows any more who asked, nor for which images.
    connection.execute(sa.text("UPDATE deletion_requests SET submitted_by = '', samples_hmac = ''"))


def downgrade() -> None:
    """Only where no two tenants use the same name for a model: constraints refuse it otherwise, and nothing is lost."""
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_index(op.f("ix_deletion_requests_model_id_samples_hmac"))
        batch.drop_index(op.f("ix_deletion_requests_tenant_id_received_at_id"))
        batch.create_index("ix_deletion_requests_received_at_id", ["received_at", "id"])
        batch.drop_constraint(op.f("fk_deletion_requests_duplicate_of_id"), type_="foreignkey")
        for column in ("duplicate_of_id", "samples_hmac", "submitted_by"):
            batch.drop_column(column)
    with op.batch_alter_table("jobs") as batch:
        batch.drop_index(op.f("ix_jobs_tenant_id_created_at_id"))
        batch.create_index("ix_jobs_created_at_id", ["created_at", "id"])
    with op.batch_alter_table("anchor_sets") as batch:
        batch.drop_index(op.f("ix_anchor_sets_tenant_id_created_at_id"))
        batch.create_index("ix_anchor_sets_created_at_id", ["created_at", "id"])
        batch.drop_constraint(op.f("uq_anchor_sets_tenant_id_cache_key"), type_="unique")
        batch.create_unique_constraint("uq_anchor_sets_cache_key", ["cache_key"])
    with op.batch_alter_table("models") as batch:
        batch.drop_index(op.f("ix_models_tenant_id_created_at_id"))
        batch.create_index("ix_models_created_at_id", ["created_at", "id"])
        batch.drop_constraint(op.f("uq_models_tenant_id_name"), type_="unique")
        batch.create_unique_constraint("uq_models_name", ["name"])
        batch.drop_column("approval_required")
    for table in _OWNED:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"fk_{table}_tenant_id"), type_="foreignkey")
            batch.drop_column("tenant_id")
    for table in ("creations", "api_keys", "tenants"):
        op.drop_table(table)
