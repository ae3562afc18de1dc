"""Real databases for the tests: SQLite always, PostgreSQL where one listens (and always when CI is set)."""

import os
import sqlite3
import uuid
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from benchmarks import cifar10
from service.registry import schema
from service.registry.database import Database
from service.registry.tables import Base

needs_cifar10 = pytest.mark.skipif(
    not cifar10.RESNET20.exists(), reason=f"CIFAR-10 is not at {cifar10.DATA}; STRUCTGUARD_DATA says where"
)

POSTGRES = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")


def pytest_sessionfinish(session, exitstatus):
    """In CI a test that was skipped is one that nobody ran."""
    skipped = session.config.pluginmanager.getplugin("terminalreporter").stats.get("skipped", [])
    if "CI" in os.environ and skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
