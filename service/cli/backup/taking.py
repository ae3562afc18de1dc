"""A backup of the embedded mode, while the service runs: a snapshot of the database, and the files of its data folder.

The files of the artifact store never change, and a file is there before a row names it. So whatever is copied after the
snapshot holds all that the snapshot names. Only the images of a request are deleted when it ends, and so hard links
keep them until they are in the archive.

The master key is left out, so that a backup alone decrypts nothing.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from service.cli.backup.archive import Writer
from service.cli.exits import CommandError
from service.registry.settings import RegistrySettings

DATABASE = "registry.sqlite"
MASTER_KEY = "master.key"
_IMAGES = "samples"
_LEFT_OUT = {"staging", "logs", _IMAGES}  # folders; of the images only encrypted ones that are needed are taken
_MAX_SNAPSHOTS = 20

_ENCRYPTED_IMAGES = "SELECT samples FROM deletion_requests WHERE samples IS NOT NULL AND samples_key IS NOT NULL"
_ALL_IMAGES = "SELECT samples FROM deletion_requests WHERE samples IS NOT NULL"

#: The expected SHA-256 of files, by columns that every release so far has.
_DIGESTS = (
    "SELECT samples, sha256 FROM evaluation_sets UNION SELECT anchors, sha256 FROM anchor_sets "
    "UNION SELECT checkpoint, sha256 FROM versions"
)
_UNLESS_DELETED = " WHERE disposition <> 'deleted'"


def back_up(settings: RegistrySettings, target: BinaryIO, *, with_images: bool) -> dict[str, Any]:
    """Write database and data folder to one archive; a summary for the user.

    Raises:
        CommandError: there is no embedded installation here.
    """
    folder, file = settings.data_dir.resolve(), database_file(settings)
    if not file.is_file():
        raise CommandError(f"There is nothing to back up in {folder}.", "Name the data folder with --data.")
    (folder / "staging").mkdir(exist_ok=True)
    with ExitStack() as stack:
        # If this process is killed, the service deletes the draft within a day.
        draft = folder / "staging" / f"backup-{secrets.token_hex(8)}"
        stack.callback(draft.unlink, missing_ok=True)
        images = _snapshot_with_images(file, draft, folder, stack)
        if not with_images and images:
            images = {}
            _erase_image_keys(draft)
        archive = Writer(target)
        archive.add(DATABASE, draft)
        for name, path in images.items():
            archive.add(name, path)
        for path in _files(folder, {file, settings.master_key_file and settings.master_key_file.resolve()}):
            archive.add(path.relative_to(folder).as_posix(), path)
        unless_deleted = _UNLESS_DELETED if _has_column(draft, "versions", "disposition") else ""
        expected = dict(_query(draft, _DIGESTS + unless_deleted))
        digests = {name: entry["sha256"] for name, entry in archive.files.items()}
        facts = {
            "structguard": version("structguard"),
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "images": len(images),
            "images_left_out": len(_query(draft, _ALL_IMAGES)) - len(images),
            "missing": sorted(expected.keys() - digests.keys()),
            "altered": sorted(name for name in expected.keys() & digests.keys() if digests[name] != expected[name]),
        }
        archive.close(facts)
        return facts | {"files": len(archive.files), "bytes": sum(entry["size"] for entry in archive.files.values())}


def database_file(settings: RegistrySettings) -> Path:
    """The SQLite file of an embedded installation.

    Raises:
        CommandError: the database is on a server.
    """
    if settings.database_url is not None:
        advice = "The database and the data folder of this installation are backed up apart: see docs/operations.md."
        raise CommandError("This is for the embedded mode, and STRUCTGUARD_DATABASE_URL names a database.", advice)
    return settings.data_dir.resolve() / DATABASE


def _snapshot_with_images(file: Path, draft: Path, folder: Path, stack: ExitStack) -> dict[str, Path]:
    """Copy the database to `draft` consistently; hard links to the encrypted images that it names, by key."""
    for attempt in range(_MAX_SNAPSHOTS):
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(draft)) as copy:
            draft.chmod(0o600)
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        links: dict[str, Path] = {}
        is_missing = False
        for index, (name,) in enumerate(_query(draft, _ENCRYPTED_IMAGES) if _encrypts(draft) else []):
            link = draft.with_name(f"{draft.name}-{attempt}-{index}")
            try:
                os.link(folder / name, link)
            except FileNotFoundError:  # its request has ended since the snapshot: that takes another one
                is_missing = True
                continue
            stack.callback(link.unlink, missing_ok=True)
            links[name] = link
        if not is_missing:
            break
    return links


def _encrypts(draft: Path) -> bool:
    """Whether the release that made these tables encrypted images: unencrypted ones are not backed up."""
    return _has_column(draft, "deletion_requests", "samples_key")


def _has_column(draft: Path, table: str, column: str) -> bool:
    return any(row[1] == column for row in _query(draft, f"PRAGMA table_info({table})"))


def _erase_image_keys(draft: Path) -> None:
    """Overwrite the keys of the images in the copy."""
    with closing(sqlite3.connect(draft)) as copy, copy:
        copy.execute("PRAGMA secure_delete=ON")
        copy.execute("UPDATE deletion_requests SET samples_key = NULL")


def _query(draft: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(draft)) as copy:
        return copy.execute(statement).fetchall()


def _files(folder: Path, excluded: set[Path | None]) -> Iterator[Path]:
    """The other files of the data folder, signing keys included, the master key excluded."""
    database_and_key = {f"{DATABASE}{suffix}" for suffix in ("-wal", "-shm", "-journal")} | {MASTER_KEY}
    for path in sorted(folder.rglob("*")):
        top = path.relative_to(folder).parts[0]
        is_included = top not in _LEFT_OUT | database_and_key and not top.startswith(f"{MASTER_KEY}.")
        if is_included and path.is_file() and not path.is_symlink() and path not in excluded:
            yield path
