"""aliases and tags"""

import sqlalchemy as sa
from alembic import op

revision = "d3a9c1f4b807"
down_revision = "c51e07a9d3b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "aliases",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("follows_gate", sa.Boolean(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_aliases_model_id")),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_aliases_version_id")),
        sa.PrimaryKeyConstraint("model_id", "name", name=op.f("pk_aliases")),
    )
    op.create_index(op.f("ix_aliases_version_id"), "aliases", ["version_id"])
    op.add_column("versions", sa.Column("tags", sa.JSON(), nullable=True))
    op.execute("UPDATE versions SET tags = '{}'")
    with op.batch_alter_table("versions") as batch:
        batch.alter_column("tags", existing_type=sa.JSON(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("versions") as batch:
        batch.drop_column("tags")
    op.drop_table("aliases")
