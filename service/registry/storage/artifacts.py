"""Large files: checkpoints, samples, anchors. A file is either whole and durable under its key, or not there."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.exc import OperationalError

from service.registry.crypto.key_files import flush
from service.registry.errors import StorageFull
from service.registry.storage.disk_full import is_disk_full

CHUNK = 1 << 20  # bytes


@dataclass
class StagedFile:
    """A temporary file that is being written. It is deleted with its block unless it is kept and the block succeeds.

    A kept file also stays if the block raises `OperationalError`: it is unknown then whether the COMMIT succeeded.
    """

    path: Path
    _root: Path
    _aside: ThreadPoolExecutor
    _kept: list[Path] = field(default_factory=list)

    def fill(self, source: BinaryIO) -> None:
        """Copy everything from `source`."""
        with self.path.open("wb") as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)

    def keep(self, key: str) -> None:
        """Make the file durable under `key`: flushed to the disk, then renamed, and the folder's entry flushed too."""
        final = self._root / key
        final.parent.mkdir(parents=True, exist_ok=True)
        flush(self.path)
        os.replace(self.path, final)  # noqa: PTH105  (`os.replace` is documented as atomic)
        self._kept.append(final)
        flush(final.parent)

    @contextmanager
    def keeping(self, key: str) -> Iterator[None]:
        """`keep` in another thread while the block runs, so that flushing adds no latency.

        The block must not COMMIT: if it raises, the file is deleted.
        """
        future = self._aside.submit(self.keep, key)
        try:
            yield
        except BaseException:
            wait([future])
            self.discard()
            raise
        future.result()

    def digest(self) -> tuple[str, int]:
        """The file's SHA-256 in hex and its size in bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size

    def discard(self) -> None:
        """Delete the temporary file, and those that were kept."""
        for path in (self.path, *self._kept):
            path.unlink(missing_ok=True)


class Artifacts:
    """A folder of immutable files under keys such as `checkpoints/….safetensors`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staging = root / "staging"
        self._staging.mkdir(parents=True, exist_ok=True)
        self._aside = ThreadPoolExecutor(thread_name_prefix="disk")  # it starts no thread before there is work

    @contextmanager
    def stage(self) -> Iterator[StagedFile]:
        """Create a temporary file to write to; see `StagedFile`.

        Raises:
            StorageFull: the disk has no room; nothing is left behind.
        """
        handle, name = tempfile.mkstemp(dir=self._staging)
        os.close(handle)
        staged = StagedFile(Path(name), self._root, self._aside)
        try:
            yield staged
        except OperationalError:
            # The connection may have broken after the COMMIT: then a row names what was kept.
            staged.path.unlink(missing_ok=True)
            raise
        except OSError as error:
            staged.discard()
            if is_disk_full(error):
                raise StorageFull from error
            raise
        except BaseException:
            staged.discard()
            raise
        staged.path.unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """The path of the file under this key."""
        return self._root / key

    def delete(self, key: str) -> None:
        """Delete the file if it exists."""
        self.path(key).unlink(missing_ok=True)

    def keys_written(self, folder: str, *, after: datetime, before: datetime) -> Iterator[str]:
        """The keys of the folder's files whose modification time is between `after` and `before`."""
        first, last = after.timestamp(), before.timestamp()
        with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:  # the folder may not be there yet
            for entry in entries:
                with suppress(FileNotFoundError):  # another process may delete it
                    if entry.is_file(follow_symlinks=False) and first < entry.stat().st_mtime < last:
                        yield f"{folder}/{entry.name}"

    def check_writable(self) -> None:
        """Raise `OSError` or `StorageFull` when a file cannot be written and removed."""
        with self.stage() as staged:
            staged.path.write_bytes(b"structguard")
