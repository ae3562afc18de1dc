"""The schema of the database: comparing it with this code, and migrating it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from service.registry.storage.database import Database


def upgrade(database: Database) -> None:
    """Bring the schema up to this code; safe to run from several processes at once, and when there is nothing to do."""
    config = _config()
    with migration_transaction(database) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def migration_transaction(database: Database) -> Iterator[Connection]:
    """A transaction in which tables may be changed.

    Most changes on SQLite create a new table and drop the old one, which deletes its rows, and with `ON DELETE CASCADE`
    those that refer to them. So foreign keys are disabled there, and checked before the COMMIT.

    Raises:
        IntegrityError: a row refers to a missing one; the transaction is rolled back.
    """
    with database.engine.connect() as connection:
        if connection.dialect.name != "sqlite":
            with connection.begin():
                yield connection
            return
        connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")  # no transaction has begun, or it would not
        try:
            with connection.begin():
                yield connection
                if violation := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise IntegrityError(None, None, sqlite3.IntegrityError(f"a row of {violation[0]} refers to none"))
        finally:
            connection.connection.cursor().execute("PRAGMA foreign_keys=ON")


def is_current(database: Database) -> bool:
    """Whether the schema is the one of this code."""
    return revisions(database) == heads()


def status(database: Database) -> Literal["current", "behind", "ahead", "empty"]:
    """How the schema compares with the one of this code; "ahead": it has migrations that this code does not know."""
    applied = revisions(database)
    if applied == heads():
        return "current"
    all_revisions = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return "empty" if not applied else "behind" if applied <= all_revisions else "ahead"


def revisions(database: Database) -> set[str]:
    """The current revisions of the database."""
    with database.read() as session:
        return set(MigrationContext.configure(session.connection()).get_current_heads())


@cache
def heads() -> set[str]:
    """The head revisions of this code; cached, because every readiness check compares with them."""
    return set(ScriptDirectory.from_config(_config()).get_heads())


def _config() -> Config:
    # Found by name: migrations import the registry, and an import here would close a circle.
    package = find_spec("migrations")
    assert package is not None
    assert package.submodule_search_locations is not None
    config = Config()
    config.set_main_option("script_location", next(iter(package.submodule_search_locations)))
    return config
