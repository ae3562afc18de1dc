"""How a file system, SQLite and PostgreSQL say that a disk is full, each in words of its own."""

import errno
import sqlite3

_DISK_FULL = "53100"  # PostgreSQL's code


def is_disk_full(error: BaseException) -> bool:
    """Has this gone wrong for want of room on a disk?

    What was raised last need not say so: SQLite gives up the whole transaction, and then a savepoint is missed.
    """
    return _is_disk_full(error) or (error.__context__ is not None and is_disk_full(error.__context__))


def _is_disk_full(error: BaseException) -> bool:
    match error:
        case OSError(errno=number):
            return number in (errno.ENOSPC, errno.EDQUOT)
        case sqlite3.OperationalError():
            return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(error, "sqlstate", None) == _DISK_FULL
