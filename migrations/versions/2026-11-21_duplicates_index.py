"""The first request for the same images is found by an index that also knows which one was first"""

from alembic import op

revision = "d17a4c60e8b3"
down_revision = "c93e5ab17f42"
branch_labels = None
depends_on = None

_OLD = "ix_deletion_requests_model_id_samples_hmac"
_NEW = "ix_deletion_requests_model_id_samples_hmac_received_at"


def upgrade() -> None:
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_index(op.f(_OLD))
        batch.create_index(op.f(_NEW), ["model_id", "samples_hmac", "received_at"])


def downgrade() -> None:
    with op.batch_alter_table("deletion_requests") as batch:
        batch.drop_index(op.f(_NEW))
        batch.create_index(op.f(_OLD), ["model_id", "samples_hmac"])
