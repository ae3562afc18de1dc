"""A zip that is sent while it is written, and is the same bytes for the same files."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_EPOCH = (1980, 1, 1, 0, 0, 0)  # as early as a zip can have it: when it was asked for is no part of it
_UNIX = 3  # also where it is written elsewhere


class NotZippedHere(Exception):
    """It is no zip, or another one than is written here of these files."""


def zipped(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The zip, a file at a time. Nothing is compressed: the same words are other bytes with another zlib."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, 0o644 << 16
            archive.writestr(entry, content)
            yield sink.taken()
    yield sink.taken()


def unzipped(content: bytes) -> dict[str, bytes]:
    """The files of a zip that was written here.

    A zip has many bytes that nobody looks at, so the files are zipped again: not one may be another.

    Raises:
        NotZippedHere: at least one is.
    """
    try:
        files = _read(content)
        rebuilt = b"".join(zipped(files))
    except Exception as error:  # whatever a stranger's bytes make of the reader
        raise NotZippedHere from error
    if rebuilt != content:
        raise NotZippedHere
    return dict(files)


def _read(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in entries.values()) > len(content):  # it would fill the memory
            return []
        return [(name, archive.read(entry)) for name, entry in entries.items()]


class _Sink(io.RawIOBase):
    """What was written since it was last asked for. A zip is written to it without seeking."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        self._waiting += data
        return memoryview(data).nbytes

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken
