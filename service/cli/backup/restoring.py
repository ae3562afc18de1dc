"""Restoring a backup: extracted and checked in a folder beside the data folder, which it then replaces atomically."""

import os
import secrets
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO

from service.cli.backup.archive import Damaged, extract
from service.cli.backup.taking import DATABASE, MASTER_KEY, database_file
from service.cli.exits import CommandError
from service.registry.crypto.key_files import flush
from service.registry.crypto.master_key import MasterKey
from service.registry.errors import RegistryError
from service.registry.settings import RegistrySettings
from service.registry.storage import schema
from service.registry.storage.database import Database

_WAITING = (
    "SELECT count(*), count(samples_key) FROM deletion_requests WHERE state IN "
    "('received', 'awaiting_approval', 'queued', 'running')"
)


def restore(settings: RegistrySettings, source: BinaryIO, *, master_key: Path | None) -> dict[str, Any]:
    """Restore a backup to the data folder, which is new or empty; a summary for the user.

    Raises:
        CommandError: the folder holds something, the backup is not whole, or a newer release made it.
    """
    database_file(settings)
    folder = settings.data_dir.resolve()
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    draft.mkdir(mode=0o700)
    try:
        manifest = extract(source, draft)
        waiting, encrypted = _check_database(draft / DATABASE)
        (draft / "samples").mkdir(exist_ok=True)  # without it a worker takes the disk to be missing, and waits
        if master_key is not None:
            _copy_master_key(master_key, draft / MASTER_KEY)
        for path, _, _ in os.walk(draft):
            flush(Path(path))
        with suppress(FileNotFoundError):
            shutil.copymode(folder, draft)
        os.replace(draft, folder)  # noqa: PTH105  (over an empty folder, or none)
        flush(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    has_key = bool(master_key or settings.master_key_file)
    return manifest | {"data_dir": str(folder), "waiting": waiting, "sealed": encrypted, "has_master_key": has_key}


def _check_free(folder: Path) -> None:
    if folder.is_mount():
        advice = "Restore to a new folder below it with --data, and have STRUCTGUARD_DATA_DIR name that."
        raise CommandError(f"{folder} is a mount point, which nothing can take the place of.", advice)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        advice = "Nothing was touched. Name a new folder with --data, or move this one away."
        raise CommandError(f"{folder} is not empty.", advice)


def _check_database(file: Path) -> tuple[int, int]:
    """The number of unfinished requests, and of those among them with encrypted images."""
    if not file.is_file():
        raise Damaged("It holds no database.")
    with closing(Database(f"sqlite:///{file}")) as database:
        if schema.status(database) in ("ahead", "empty"):
            raise CommandError("A newer release has made this backup.", "Restore it with that release.")
    with closing(sqlite3.connect(file)) as connection:
        try:
            if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise Damaged("Its database is not consistent.")
            waiting: tuple[int, int] = connection.execute(_WAITING).fetchone()
        except sqlite3.DatabaseError as error:
            raise Damaged(f"Its database cannot be read: {error}.") from error
    return waiting


def _copy_master_key(key: Path, target: Path) -> None:
    """Copy the master key, for its owner only, if it is one."""
    try:
        MasterKey(RegistrySettings.model_construct(master_key_file=key))
    except RegistryError as error:
        raise CommandError(f"{key} is no master key.", error.detail) from error
    with open(target, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(key.read_text())
        file.flush()
        os.fsync(file.fileno())
