"""Recognition of full disks in the errors of the file system, SQLite and PostgreSQL."""

import errno
import sqlite3

_DISK_FULL = "53100"  # PostgreSQL's code


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk caused this error, or one in its context.

    The last error need not say so: SQLite rolls the whole transaction back, and then a savepoint is missing.
    """
    return _is_disk_full(error) or (error.__context__ is not None and is_disk_full(error.__context__))


def _is_disk_full(error: BaseException) -> bool:
    match error:
        case OSError(errno=number):
            return number in (errno.ENOSPC, errno.EDQUOT)
        case sqlite3.OperationalError():
            return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(error, "sqlstate", None) == _DISK_FULL
