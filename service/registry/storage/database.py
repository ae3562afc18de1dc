"""The engine, and the only place where a transaction begins and ends."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any, Self, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Select,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session, make_transient_to_detached
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from service.registry.crypto.master_key import MasterKey
from service.registry.settings import RegistrySettings

T = TypeVar("T")

AUDIT_KEY = "audit key"  # of a session's `info`

_CLOCK = func.clock_timestamp()
_SELECT_CLOCK = select(_CLOCK)
_IDLE_TRANSACTION_TIMEOUT = 30_000  # milliseconds; a transaction that handles a file takes seconds
_PING_AFTER = 1.0  # seconds for which a connection counts as alive
_CONNECTION_TIMEOUTS = {
    # A server that vanished without closing the connection is noticed within 20 seconds, not after the kernel's quarter
    # of an hour or two: meanwhile heartbeats would wait for it, and leases run out.
    "connect_timeout": "5",  # seconds
    "keepalives_idle": "10",  # seconds
    "keepalives_interval": "5",  # seconds
    "keepalives_count": "2",
    "tcp_user_timeout": "20000",  # milliseconds
}
_BATCH = 1000  # a statement takes 32,766 parameters at most on SQLite, 65,535 on PostgreSQL


class Database:
    """Opens sessions on PostgreSQL or SQLite with the same guarantees.

    On SQLite a writing session takes the write lock when it begins (`BEGIN IMMEDIATE`): a reader that turns writer
    half-way would otherwise fail at once with "database is locked" instead of waiting its turn.

    `audit_key` is the key of the MACs in `service.registry.audit.row_macs`; a database without one writes none.
    """

    def __init__(self, url: str, *, audit_key: bytes | None = None) -> None:
        self._info = {AUDIT_KEY: audit_key}
        # `hide_parameters`: errors in the log must not show values from requests.
        parsed_url = make_url(url)
        if parsed_url.get_backend_name() == "postgresql":
            parsed_url = parsed_url.update_query_dict(_CONNECTION_TIMEOUTS | dict(parsed_url.query))
        self.engine = create_engine(parsed_url, hide_parameters=True)
        self._readers: Engine
        if self.engine.dialect.name == "sqlite":
            self._readers = self.engine.execution_options(read_only=True)
            _prepare_sqlite(self.engine)
        else:
            # Each statement sees what is committed when it begins, as in a transaction of READ COMMITTED, and the
            # server is spared a BEGIN and a ROLLBACK.
            self._readers = create_engine(parsed_url, hide_parameters=True, isolation_level="AUTOCOMMIT")
            _end_forgotten_transactions(self.engine)
            _forbid_writing(self._readers)
            for engine in (self.engine, self._readers):
                _check_idle_connections(engine)

    @classmethod
    def of(cls, settings: RegistrySettings) -> Self:
        """The database of these settings, with the audit key.

        Raises:
            MasterKeyUnusable: the audit key cannot be derived.
        """
        return cls(settings.resolved_database_url(), audit_key=MasterKey(settings).audit_key)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits when the block ends, and rolls back when it raises."""
        with Session(self.engine, expire_on_commit=False, info=self._info) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that takes no lock and writes nothing."""
        with Session(self._readers, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()
        self._readers.dispose()


def clock(session: Session) -> datetime:
    """The time by the database's clock, in UTC, which is the same for processes on several machines."""
    if session.get_bind().dialect.name == "postgresql":
        now: datetime = session.execute(_SELECT_CLOCK).scalar_one()
        return now.astimezone(UTC)
    return datetime.now(UTC)  # a SQLite file has one machine


def clock_with(
    session: Session, *columns: ColumnElement[Any], parameters: dict[str, Any]
) -> tuple[datetime, Sequence[Any]]:
    """The clock, and the values of these columns, in one round trip."""
    if session.get_bind().dialect.name == "postgresql":
        now, *values = session.connection().execute(_select(_CLOCK, *columns), parameters).one()
        return now.astimezone(UTC), values
    return clock(session), session.connection().execute(_select(*columns), parameters).one()


# Building a statement takes longer than running it, so those of every deletion request are cached.


@cache
def _select(*columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns)


def insert_new(session: Session, row: DeclarativeBase) -> None:
    """INSERT a row and attach it to the session. Attributes that are not set become NULL: defaults do not apply.

    It takes half the time of a flush, which determines first what to write, and in which order.
    """
    for column in inspect(row).unloaded & _columns(type(row)):
        setattr(row, column, None)
    session.connection().execute(_insert(type(row)), {column: getattr(row, column) for column in _columns(type(row))})
    make_transient_to_detached(row)
    session.add(row)


@cache
def _insert(table: type[DeclarativeBase]) -> Insert:
    return insert(table)


@cache
def _columns(table: type[DeclarativeBase]) -> frozenset[str]:
    return frozenset(inspect(table).column_attrs.keys())


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of at most 1,000, which fit the parameters of one statement."""
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _end_forgotten_transactions(engine: Engine) -> None:
    """End transactions of machines that are cut off or frozen, so that these do not hold locks for hours."""

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_TRANSACTION_TIMEOUT}")
        connection.commit()


def _forbid_writing(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET default_transaction_read_only = on")


def _check_idle_connections(engine: Engine) -> None:
    """As `pool_pre_ping`, but without a ping for connections that were returned less than `_PING_AFTER` ago."""

    @event.listens_for(engine, "checkin")
    def returned(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info["returned"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def taken(connection: DBAPIConnection, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        if time.monotonic() - record.info.get("returned", math.inf) < _PING_AFTER:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool takes a new one


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # pysqlite must not begin transactions of its own
        with closing(connection.cursor()) as cursor:
            # `secure_delete`: deleted content, such as keys, is overwritten.
            pragmas = (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "busy_timeout=20000",
                "secure_delete=ON",
            )
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        if not connection.get_execution_options().get("read_only", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
