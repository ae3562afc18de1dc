"""How a file system, SQLite and PostgreSQL say that a disk is full, each in words of its own."""

import errno
import sqlite3

_DISK_FULL = "53100"  # PostgreSQL's code


def ran_out(error: BaseException) -> bool:
    """Has this gone wrong for want of room on a disk?

    What was raised last need not say so: SQLite gives up the whole transaction, and then a savepoint is missed.
    """
    return _says_so(error) or (error.__context__ is not None and ran_out(error.__context__))


def _says_so(error: BaseException) -> bool:
    match error:
        case OSError(errno=number):
            return number in (errno.ENOSPC, errno.EDQUOT)
        case sqlite3.OperationalError():
            return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(error, "sqlstate", None) == _DISK_FULL
