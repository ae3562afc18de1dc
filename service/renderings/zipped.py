"""A zip that is sent while it is written, and is the same bytes for the same files."""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator

from service.registry.canonical import canonical

_EPOCH = (1980, 1, 1, 0, 0, 0)  # as early as a zip can have it: when it was asked for is no part of it


def zipped(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The zip, a file at a time, with their SHA-256 in `manifest.json` at its end."""
    sink = _Sink()
    digests: dict[str, str] = {}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            digests[name] = hashlib.sha256(content).hexdigest()
            _add(archive, name, content)
            yield sink.taken()
        _add(archive, "manifest.json", canonical({"sha256": digests}))
    yield sink.taken()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


class _Sink(io.RawIOBase):
    """What was written since it was last asked for. A zip is written to it without seeking."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: "memoryview | bytes") -> int:  # type: ignore[override]
        self._waiting += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken
