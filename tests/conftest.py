"""Real servers for the tests: SQLite always, PostgreSQL and Redis where they listen (and always when CI is set)."""

import logging
import os
import sqlite3
import uuid
from contextlib import contextmanager

import psycopg
import pytest
import redis
from psycopg import sql

from service.registry.storage import schema
from service.registry.storage.database import Database
from service.registry.tables import Base
from tests.skipping import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]  # pytest's hooks

POSTGRES = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/0")


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Some tests run the `main` of a process, which configures logging for good."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def pytest_collection_modifyitems(items):
    """What takes minutes comes first."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "registry.sqlite"
    database = Database(f"sqlite:///{path}")
    schema.upgrade(database)
    yield database
    database.close()


@contextmanager
def new_postgresql_database():
    """A migrated database of its own, for as long as the block lasts."""
    try:
        server = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        if "CI" in os.environ:
            raise
        pytest.skip("no PostgreSQL")
    name = f"structguard_test_{uuid.uuid4().hex}"
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database = Database(POSTGRES.replace("postgresql:", "postgresql+psycopg:").rpartition("/")[0] + f"/{name}")
    schema.upgrade(database)
    yield database
    database.close()
    server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    server.close()


@contextmanager
def connected_redis():
    """A client of the Redis that all tests share: queues need names of their own."""
    with redis.Redis.from_url(REDIS) as client:
        try:
            client.ping()
        except redis.ConnectionError:
            if "CI" in os.environ:
                raise
            pytest.skip("no Redis")
        yield client


@pytest.fixture
def broker():
    """The address of a Redis."""
    with connected_redis():
        return REDIS


@pytest.fixture(scope="session")
def _migrated_postgresql():
    with new_postgresql_database() as database:
        yield database


@pytest.fixture
def postgresql(_migrated_postgresql):
    """An empty PostgreSQL database."""
    yield _migrated_postgresql
    with _migrated_postgresql.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())


@pytest.fixture
def sqlite(_migrated_sqlite, tmp_path):
    """An empty SQLite database."""
    path = tmp_path / "registry.sqlite"
    with sqlite3.connect(_migrated_sqlite.engine.url.database) as source, sqlite3.connect(path) as target:
        source.backup(target)
    source.close()
    target.close()
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """An empty database, once of each kind."""
    return request.getfixturevalue(request.param)
