"""The engine, and the only place where a transaction begins and ends."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")

_NOW = select(func.clock_timestamp())
_BATCH = 1000  # a statement takes 32,766 parameters at most on SQLite, 65,535 on PostgreSQL


class Database:
    """Opens sessions on PostgreSQL or SQLite with the same guarantees.

    On SQLite a writing session takes the write lock when it begins (`BEGIN IMMEDIATE`): a reader that turns writer
    half-way would otherwise fail at once with "database is locked" instead of waiting its turn.
    """

    def __init__(self, url: str) -> None:
        # An error in the log must not show the values that somebody sent.
        self.engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
        self._read_only = self.engine.execution_options(read_only=True)
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits when the block ends, and rolls back when it raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that takes no lock and writes nothing."""
        with Session(self._read_only, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def clock(session: Session) -> datetime:
    """The database's idea of now: processes on several machines agree on it, their own clocks need not."""
    if session.get_bind().dialect.name == "postgresql":
        now: datetime = session.execute(_NOW).scalar_one()
        return now.astimezone(UTC)
    return datetime.now(UTC)  # a SQLite file has one machine


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items, as many at a time as one statement takes."""
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # pysqlite must not begin transactions of its own
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=20000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
