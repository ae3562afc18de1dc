"""Indexes by which duplicates, requests in one state, and images to destroy are found among millions of requests"""

import sqlalchemy as sa
from alembic import op

revision = "d17a4c60e8b3"
down_revision = "c93e5ab17f42"
branch_labels = None
depends_on = None

_DUPLICATES = "ix_deletion_requests_model_id_samples_hmac"
_FIRST_DUPLICATE = "ix_deletion_requests_model_id_samples_hmac_received_at"
_IN_STATE = "ix_deletion_requests_tenant_id_state_received_at_id"
_WITH_SAMPLES = "ix_deletion_requests_with_samples"


def upgrade() -> None:
    exists = sa.text("samples IS NOT NULL")
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_index(op.f(_DUPLICATES))
        batch.create_index(op.f(_FIRST_DUPLICATE), ["model_id", "samples_hmac", "received_at"])
        batch.create_index(op.f(_IN_STATE), ["tenant_id", "state", "received_at", "id"])
        batch.create_index(_WITH_SAMPLES, ["state"], sqlite_where=exists, postgresql_where=exists)


def downgrade() -> None:
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_index(_WITH_SAMPLES)
        batch.drop_index(op.f(_IN_STATE))
        batch.drop_index(op.f(_FIRST_DUPLICATE))
        batch.create_index(op.f(_DUPLICATES), ["model_id", "samples_hmac"])
