"""The artifact store: whether it can be written to, holds every file that a row names, and has free space."""

import os
import shutil
import tempfile
from collections.abc import Iterator

from sqlalchemy import func, select

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.errors import StorageFull
from service.registry.operations.orphaned_files import NAMED_BY
from service.registry.states import Disposition
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import Version
from service.settings import ServiceSettings

_LOW_SHARE = 0.1  # of a disk
_LOW_INODES = 10_000
_MIB = 1 << 20


def writable(settings: ServiceSettings) -> Finding:
    """Whether a file can be written to the store, and removed."""
    folder = settings.data_dir.resolve()
    mend = "Mount it, and let the user of the service and of the workers write there; STRUCTGUARD_DATA_DIR names it."
    if not folder.is_dir():
        return problem("store", f"{folder} is no folder", mend)
    try:
        Artifacts(folder).check_writable()
    except StorageFull:
        return problem("store", f"{folder}: the disk is full", "Make room on it.")
    except OSError as error:
        return problem("store", f"{folder}: {error.strerror}", mend)
    return ok("store", f"{folder} takes files")


def complete(settings: ServiceSettings, database: Database) -> Finding:
    """Whether every file that a row names exists."""
    artifacts, total, missing = Artifacts(settings.data_dir), 0, dict.fromkeys(NAMED_BY, 0)
    for folder, column in NAMED_BY.items():
        if column is None:
            continue
        with database.read() as session:
            keys = select(column).where(column.is_not(None))
            if column is Version.checkpoint:
                keys = keys.where(Version.disposition != Disposition.DELETED)
            for key in session.scalars(keys):
                total += 1
                missing[folder] += not artifacts.path(str(key)).is_file()
    if any(missing.values()):
        lost = ", ".join(f"{count} of {folder}" for folder, count in missing.items() if count)
        mend = "Restore the data folder from the same backup as the database, or mount the right one."
        return problem("files", f"missing: {lost}", mend)
    return ok("files", f"all {total} that the database names are there")


def room(settings: ServiceSettings, database: Database) -> Iterator[Finding]:
    """Whether the next run can store its version, and the next upload its files."""
    with database.read() as session:
        largest = session.scalar(select(func.max(Version.size))) or 0
    disk, system = shutil.disk_usage(settings.data_dir), os.statvfs(settings.data_dir)
    says = f"{disk.free / _MIB:,.0f} MiB free, {disk.free / disk.total:.0%} of the disk under the data folder"
    mend = "Make room on it, or move the data folder to a larger disk."
    if disk.free < 2 * largest + 64 * _MIB:
        yield problem("disk", f"{says}; the next version may not fit", mend)
    elif disk.free / disk.total < _LOW_SHARE and disk.free < 10 * settings.max_upload_bytes:
        yield warning("disk", says, mend)
    elif system.f_files and system.f_favail < _LOW_INODES:
        yield warning("disk", f"room for {system.f_favail} more files only", mend)
    else:
        yield ok("disk", says)
    temporary = tempfile.gettempdir()
    if (free := shutil.disk_usage(temporary).free) < settings.max_upload_bytes:
        most = settings.max_upload_bytes / _MIB
        says = f"{free / _MIB:,.0f} MiB free in {temporary}, and an upload may have {most:,.0f}"
        yield warning("disk", says, "Name a folder with more room as TMPDIR, or lower STRUCTGUARD_MAX_UPLOAD_BYTES.")
