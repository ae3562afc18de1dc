"""Whether the database has the tables of this code, and how it gets them."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from service.registry.database import Database


def upgrade(database: Database) -> None:
    """Bring the schema up to this code; safe to run from several processes at once, and when there is nothing to do."""
    config = _config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(database: Database) -> bool:
    """Is the schema the one of this code?"""
    with database.read() as session:
        return set(MigrationContext.configure(session.connection()).get_current_heads()) == _heads()


@cache
def _heads() -> set[str]:
    """Of this code, which does not change while it runs; every readiness check asks."""
    return set(ScriptDirectory.from_config(_config()).get_heads())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(migrations.__path__)))))
    return config
