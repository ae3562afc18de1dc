"""A backup of the embedded mode, while the service runs: a snapshot of the database, and the files of its data folder.

The files of the artifact store never change, and a file is there before a row names it. So whatever is copied after the
snapshot holds all that the snapshot names. Only the images of a request go when it ends, and so they are held on to by
hard links first, until they are in the archive.

The master key is left out. What is sealed stays sealed in a backup, for whoever has only the backup.
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
_LEFT_OUT = {"staging", "logs", _IMAGES}  # folders; of the images only what is sealed and still needed is taken
_TRIES = 20

_SEALED = "SELECT samples FROM deletion_requests WHERE samples IS NOT NULL AND samples_key IS NOT NULL"
_WITH_IMAGES = "SELECT samples FROM deletion_requests WHERE samples IS NOT NULL"

#: What says the SHA-256 of a file, in every release so far.
_DIGESTS = (
    "SELECT samples, sha256 FROM evaluation_sets UNION SELECT anchors, sha256 FROM anchor_sets "
    "UNION SELECT checkpoint, sha256 FROM versions"
)
_OF_ALL_BUT_DELETED = " WHERE disposition <> 'deleted'"


def back_up(settings: RegistrySettings, target: BinaryIO, *, with_images: bool) -> dict[str, Any]:
    """Write everything to one archive; what there is to say about it.

    Raises:
        CommandError: there is no embedded installation here.
    """
    folder, file = settings.data_dir.resolve(), database_file(settings)
    if not file.is_file():
        raise CommandError(f"There is nothing to back up in {folder}.", "Name the data folder with --data.")
    (folder / "staging").mkdir(exist_ok=True)
    with ExitStack() as stack:
        draft = folder / "staging" / f"backup-{secrets.token_hex(8)}"  # what a kill leaves there is swept within a day
        stack.callback(draft.unlink, missing_ok=True)
        images = _snapshot_with_images(file, draft, folder, stack)
        if not with_images and images:
            images = {}
            _forget_keys(draft)
        archive = Writer(target)
        archive.add(DATABASE, draft)
        for name, path in images.items():
            archive.add(name, path)
        for path in _files(folder, {file, settings.master_key_file and settings.master_key_file.resolve()}):
            archive.add(path.relative_to(folder).as_posix(), path)
        named = dict(_query(draft, _DIGESTS + (_OF_ALL_BUT_DELETED if _has(draft, "versions", "disposition") else "")))
        taken = {name: told["sha256"] for name, told in archive.files.items()}
        facts = {
            "structguard": version("structguard"),
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "images": len(images),
            "images_left_out": len(_query(draft, _WITH_IMAGES)) - len(images),
            "missing": sorted(named.keys() - taken.keys()),
            "altered": sorted(name for name in named.keys() & taken.keys() if taken[name] != named[name]),
        }
        archive.close(facts)
        return facts | {"files": len(archive.files), "bytes": sum(it["size"] for it in archive.files.values())}


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
    """Copy the database to `draft`, as it is at one moment; the sealed images that this copy names, held on to."""
    for again in range(_TRIES):
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(draft)) as copy:
            draft.chmod(0o600)
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        held: dict[str, Path] = {}
        missing = False
        for at, (name,) in enumerate(_query(draft, _SEALED) if _encrypts(draft) else []):
            link = draft.with_name(f"{draft.name}-{again}-{at}")
            try:
                os.link(folder / name, link)
            except FileNotFoundError:  # its request has ended since the snapshot: that takes another one
                missing = True
                continue
            stack.callback(link.unlink, missing_ok=True)
            held[name] = link
        if not missing:
            break
    return held


def _encrypts(draft: Path) -> bool:
    """Whether the release that made these tables did: images that lie open are nothing for a backup."""
    return _has(draft, "deletion_requests", "samples_key")


def _has(draft: Path, table: str, column: str) -> bool:
    return any(known[1] == column for known in _query(draft, f"PRAGMA table_info({table})"))


def _forget_keys(draft: Path) -> None:
    """Overwrite the keys of the images in the copy."""
    with closing(sqlite3.connect(draft)) as copy, copy:
        copy.execute("PRAGMA secure_delete=ON")
        copy.execute("UPDATE deletion_requests SET samples_key = NULL")


def _query(draft: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(draft)) as copy:
        return copy.execute(statement).fetchall()


def _files(folder: Path, without: set[Path | None]) -> Iterator[Path]:
    """What else is in the data folder, keys that others know us by among it; not the master key."""
    beside = {f"{DATABASE}{suffix}" for suffix in ("-wal", "-shm", "-journal")} | {MASTER_KEY}
    for path in sorted(folder.rglob("*")):
        top = path.relative_to(folder).parts[0]
        is_ours = top not in _LEFT_OUT | beside and not top.startswith(f"{MASTER_KEY}.")
        if is_ours and path.is_file() and not path.is_symlink() and path not in without:
            yield path
