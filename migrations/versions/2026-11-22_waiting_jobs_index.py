"""How many jobs of a tenant wait is found without looking at those that have ended"""

from alembic import op

revision = "4be0d81c7a56"
down_revision = "d17a4c60e8b3"
branch_labels = None
depends_on = None

_NAME = "ix_jobs_tenant_id_state"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.create_index(op.f(_NAME), ["tenant_id", "state"])


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.drop_index(op.f(_NAME))
