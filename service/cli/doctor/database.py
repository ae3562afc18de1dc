"""The database: whether it answers, takes writes and has the tables of this program, and what its clock says."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import false, func, make_url, select, update
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.settings import RegistrySettings
from service.registry.storage import schema
from service.registry.storage.database import Database, clock
from service.registry.tables import Tenant, Transition

_MAX_SKEW = 5.0  # seconds by which two clocks may differ without harm


def reachable(settings: RegistrySettings) -> Finding:
    """Whether the database answers. A missing SQLite file is reported, and not created."""
    try:
        address = make_url(settings.resolved_database_url())
    except ArgumentError:
        return problem("database", "its URL cannot be read", "Set STRUCTGUARD_DATABASE_URL to a URL of SQLAlchemy.")
    if address.get_backend_name() == "sqlite":
        name = f"SQLite, {address.database}"
        if not Path(address.database or "").is_file():
            mend = "Run `structguard up`, which makes one, or name another folder with --data or STRUCTGUARD_DATA_DIR."
            return problem("database", f"{name}: there is no such file", mend)
    else:
        name = f"PostgreSQL, {address.host or 'local'}:{address.port or 5432}/{address.database}"
    database = Database(settings.resolved_database_url())
    try:
        with database.read() as session:
            session.execute(select(1))
    except SQLAlchemyError as error:
        mend = "Start it, or put STRUCTGUARD_DATABASE_URL right."
        return problem("database", f"{name}: {_first_line(error)}", mend)
    finally:
        database.close()
    return ok("database", name)


def migrated(database: Database) -> Finding:
    """Whether the tables are those of this program."""
    match schema.status(database):
        case "current":
            return ok("migrations", "the tables are those of this program")
        case "ahead":
            mend = "Run the newer release, or restore a backup from before its migration (docs/upgrading.md)."
            return problem("migrations", "a newer release has changed the tables", mend)
        case "empty":
            return problem("migrations", "there are no tables", "Run `structguard migrate`.")
        case _:
            mend = "Make a backup, stop the service and its workers, and run `structguard migrate`."
            return problem("migrations", "the tables are those of an older release", mend)


def writable(database: Database) -> Finding:
    """Whether a row may be changed; none is."""
    try:
        with database.write() as session:
            session.execute(update(Tenant).where(false()).values(name=Tenant.name))
    except SQLAlchemyError as error:
        mend = "Give the user of the service the right to write there, and see that it is no read-only copy."
        return problem("writing", f"the database refuses it: {_first_line(error)}", mend)
    return ok("writing", "the database takes changes")


def clocks(database: Database) -> Finding:
    """Whether the local clock agrees with the database's, and that one with the newest transition."""
    with database.read() as session:
        before = time.time()
        database_time = clock(session)
        local_time = datetime.fromtimestamp((before + time.time()) / 2, UTC)
        newest = session.scalar(select(func.max(Transition.at)))
    mend = "Synchronise the clocks of all machines, with chrony or systemd-timesyncd."
    skew = (local_time - database_time).total_seconds()
    if newest is not None and newest > database_time + timedelta(seconds=_MAX_SKEW):
        return problem("clock", f"it is before what was written last, at {newest:%Y-%m-%d %H:%M:%S} UTC", mend)
    if abs(skew) > _MAX_SKEW:
        return warning("clock", f"it differs from the database's by {skew:+.0f} s", mend)
    return ok("clock", f"{local_time:%Y-%m-%d %H:%M:%S} UTC, as the database has it")


def _first_line(error: SQLAlchemyError) -> str:
    """The first line of the driver's message, which names the server and never a password."""
    return (str(getattr(error, "orig", None) or "").splitlines() or [type(error).__name__])[0]
