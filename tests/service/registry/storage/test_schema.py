from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import DBAPIError

from service.registry.access import api_keys
from service.registry.storage import schema
from service.registry.storage.database import Database, clock
from service.registry.tables import Base, Tenant


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


def test_a_postgresql_that_vanished_is_noticed(postgresql):
    """A heartbeat must not wait for it as long as the kernel would."""
    with postgresql.engine.connect() as connection:
        given = connection.connection.dbapi_connection.info.get_parameters()
    assert (given["connect_timeout"], given["tcp_user_timeout"], given["keepalives_count"]) == ("5", "20000", "2")


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


def test_a_session_that_reads_cannot_write(postgresql):
    """It has no transaction that would be rolled back."""
    with postgresql.read() as session, pytest.raises(DBAPIError, match="read-only"):
        session.execute(delete(Tenant))


def test_whoever_is_frozen_in_a_transaction_does_not_keep_its_locks(postgresql, monkeypatch):
    """Nor does a machine without power: the server waits for it for a while, and then ends the transaction."""
    monkeypatch.setattr("service.registry.storage.database._IDLE_TRANSACTION_TIMEOUT", 200)
    database = Database(postgresql.engine.url.render_as_string(hide_password=False))
    with postgresql.write() as session:
        api_keys.ensure_tenant(session, "acme")
    locked = select(Tenant).with_for_update()

    def freeze():
        with database.write() as frozen:
            assert frozen.scalars(locked).one()
            with postgresql.write() as other:
                assert other.scalars(locked).one()

    with pytest.raises(DBAPIError):  # its COMMIT
        freeze()
    database.close()


def test_a_server_that_was_restarted_is_not_noticed(postgresql, monkeypatch):
    """Connections that lay idle are asked before they are used: here all of them have been closed by the server."""
    monkeypatch.setattr("service.registry.storage.database._PING_AFTER", 0)
    who = text("SELECT pg_backend_pid()")
    database = Database(postgresql.engine.url.render_as_string(hide_password=False))
    with database.write() as session, database.read() as reader:
        closed = [session.scalar(who), reader.scalar(who)]
    with postgresql.write() as server:
        for process in closed:
            assert server.scalar(select(func.pg_terminate_backend(process, 5000)))
    for opened in (database.write, database.read):
        with opened() as session:
            assert session.scalar(who) not in closed
    database.close()


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
