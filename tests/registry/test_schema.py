from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.registry import schema
from service.registry.database import Database, clock
from service.registry.tables import Base


def test_the_migrations_make_the_tables_of_the_code(database):
    """Nothing is left for Alembic to find."""
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    assert schema.is_current(database)


def test_upgrading_again_changes_nothing(database):
    """Every start may do it."""
    schema.upgrade(database)
    assert schema.is_current(database)


def test_an_empty_database_is_not_current(tmp_path):
    """Until it is upgraded."""
    database = Database(f"sqlite:///{tmp_path}/a.sqlite")
    assert not schema.is_current(database)
    schema.upgrade(database)
    assert schema.is_current(database)
    database.close()


def test_sqlite_keeps_its_guarantees(sqlite):
    """Durable commits, foreign keys, and a wait for the other writer."""
    with sqlite.read() as session:
        found = [session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert found == ["wal", 2, 1]


def test_writers_wait_for_each_other(database):
    """Twenty read-modify-write transactions from eight threads: none is lost, none fails."""
    with database.write() as session:
        session.execute(text("CREATE TABLE counters (n INTEGER)"))
        session.execute(text("INSERT INTO counters VALUES (0)"))
    lock = "" if database.engine.dialect.name == "sqlite" else " FOR UPDATE"

    def add(_):
        with database.write() as session:
            n = session.scalar(text(f"SELECT n FROM counters{lock}"))
            session.execute(text("UPDATE counters SET n = :n"), {"n": n + 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(20)))
    with database.write() as session:
        assert session.scalar(text("SELECT n FROM counters")) == 20
        session.execute(text("DROP TABLE counters"))


def test_the_clock_is_aware_and_moves(database):
    """Also within one transaction, or a long one would stamp its own past."""
    with database.write() as session:
        first, second = clock(session), clock(session)
    assert first.utcoffset().total_seconds() == 0
    assert first < second


def test_errors_do_not_show_values(database):
    """What somebody sent must not reach a log."""
    with database.read() as session, pytest.raises(DBAPIError) as caught:
        session.execute(text("SELECT x FROM nowhere WHERE y = :canary"), {"canary": "jane-doe"})
    assert "jane-doe" not in str(caught.value)
