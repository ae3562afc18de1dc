"""The schema that the migrations make is the one that the code expects, on both databases."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from service.registry.storage import schema
from service.registry.storage.database import Database


@pytest.fixture
def config(database: Database):
    config = Config(toml_file=Path(__file__).parents[2] / "pyproject.toml")
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        yield config


def test_the_migrations_make_the_tables_that_the_code_has(config: Config) -> None:
    command.check(config)


def test_the_migrations_can_be_taken_back_and_made_again(database: Database, config: Config) -> None:
    command.downgrade(config, "base")
    connection = config.attributes["connection"]
    assert inspect(connection).get_table_names() == ["alembic_version"]
    command.upgrade(config, "head")
    command.check(config)


def test_a_database_that_is_behind_is_noticed(database: Database) -> None:
    assert schema.is_current(database)
    with database.write() as session:
        session.execute(text("DELETE FROM alembic_version"))
    try:
        assert not schema.is_current(database)
    finally:
        with database.engine.begin() as connection:
            config = Config(toml_file=Path(__file__).parents[2] / "pyproject.toml")
            config.attributes["connection"] = connection
            command.stamp(config, "head")


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    schema.upgrade(database)
    schema.upgrade(database)
    assert schema.is_current(database)
