"""One file that holds many: a tar that is written and read from front to back.

Its last member, the manifest, has size and SHA-256 of all others. An archive without it is incomplete.
"""

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from service.cli.exits import CommandError

MANIFEST = "manifest.json"
FORMAT = 1
_CHUNK = 1 << 20  # bytes


class Damaged(CommandError):
    """The archive is incomplete or altered."""

    def __init__(self, detail: str) -> None:
        super().__init__("This is no whole backup.", detail)


class Writer:
    """Writes an archive to a file that need not be seekable. It is whole once `close` has returned."""

    def __init__(self, target: BinaryIO) -> None:
        forward: Any = _Counting(target)
        self._tar = tarfile.TarFile(fileobj=forward, mode="w", format=tarfile.PAX_FORMAT)
        self.files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, path: Path) -> None:
        """Append a file under this name, with mode 0600."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            hashing = _Hashing(file)
            self._append(name, status.st_size, status.st_mtime, hashing)
        self.files[name] = {"sha256": hashing.digest(), "size": status.st_size}

    def close(self, facts: dict[str, Any]) -> None:
        """Append the manifest: these facts, and size and SHA-256 of each file."""
        content = json.dumps({"format": FORMAT} | facts | {"files": self.files}, indent=1).encode()
        self._append(MANIFEST, len(content), time.time(), io.BytesIO(content))
        self._tar.close()

    def _append(self, name: str, size: int, mtime: float, source: Any) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, int(mtime), 0o600
        self._tar.addfile(info, source)


def extract(source: BinaryIO, folder: Path) -> dict[str, Any]:
    """Write an archive's files below an empty folder, durably, and check each; the manifest.

    Raises:
        Damaged: something is missing, altered, or was not put there by `Writer`.
    """
    files: dict[str, dict[str, Any]] = {}
    manifest = None
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for member, content in _members(tar):
                if member.name == MANIFEST:
                    manifest = json.load(content)
                else:
                    files[member.name] = _write(content, _below(folder, member.name), member.mtime)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Damaged(f"It cannot be read to its end: {error}.") from error
    if manifest is None:
        raise Damaged("Its end is missing.")
    if manifest.get("format") != FORMAT:
        raise CommandError("A newer release has made this backup.", "Restore it with that release.")
    if manifest["files"] != files:
        names = sorted(name for name in manifest["files"] | files if manifest["files"].get(name) != files.get(name))
        raise Damaged(f"{len(names)} files are missing or altered, among them {names[0]}.")
    return dict(manifest)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for member in tar:
        content = tar.extractfile(member) if member.isfile() else None
        if content is None:
            raise Damaged(f"It holds something that is no file: {member.name}.")
        yield member, content


def _below(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise Damaged(f"It holds a file that would lie elsewhere: {name}.")
    return folder / parts


def _write(content: IO[bytes], path: Path, mtime: float) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    hashing, size = _Hashing(content), 0
    with open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as target:
        while chunk := hashing.read(_CHUNK):
            size += target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    os.utime(path, (mtime, mtime))
    return {"sha256": hashing.digest(), "size": size}


class _Counting:
    """A file for `tarfile` to write to: it calls `tell`, which pipes do not support."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._written = 0

    def write(self, data: bytes) -> int:
        self._written += self._target.write(data)
        return len(data)

    def tell(self) -> int:
        return self._written


class _Hashing:
    """Reads a file and computes the SHA-256 of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._hash.update(chunk)
        return chunk

    def digest(self) -> str:
        return self._hash.hexdigest()
