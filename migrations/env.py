"""Runs the migrations against the database that the settings name, or the connection that a caller passes in."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, Enum, text

from service.registry.settings import RegistrySettings
from service.registry.storage import schema
from service.registry.storage.database import Database
from service.registry.tables import Base, UtcDateTime

# Two processes that start together must not both migrate; the number only has to be the same everywhere.
_LOCK = 4_107_215_001


def _render(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """A migration must not change its meaning when our own column types do."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, Enum):
        return f"sa.String(length={item.length})"
    return False


def _run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=_render,
    )
    context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    settings = RegistrySettings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with schema.migration_transaction(Database(settings.resolved_database_url())) as connection:
        _run(connection)
