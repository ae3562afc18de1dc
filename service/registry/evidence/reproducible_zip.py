"""Zip archives that are streamed, and have the same bytes for the same files."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip, so that the bytes do not depend on the clock
_UNIX = 3  # on every platform, so that the bytes do not depend on it


class NotZippedHere(Exception):
    """The bytes are not a zip as `zipped` writes it."""


def zipped(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The bytes of the zip, a file at a time. Nothing is compressed: other versions of zlib write other bytes."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, 0o644 << 16
            archive.writestr(entry, content)
            yield sink.drain()
    yield sink.drain()


def unzipped(content: bytes) -> dict[str, bytes]:
    """The files of a zip that `zipped` has written.

    A zip has many bytes that readers ignore, so the files are zipped again, and the bytes must be equal.

    Raises:
        NotZippedHere: they are not, or it is no zip.
    """
    try:
        files = _read(content)
        rebuilt = b"".join(zipped(files))
    except Exception as error:  # `zipfile` raises many things on malformed bytes
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
    """A write-only buffer that is drained by `drain`. It cannot seek."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        self._buffer += data
        return memoryview(data).nbytes

    def drain(self) -> bytes:
        content = bytes(self._buffer)
        self._buffer.clear()
        return content
