"""Files encrypted with AES-256-GCM in chunks, by the STREAM construction, as in age; each with a key of its own.

The nonce of a chunk holds its number and whether it is the last, so that a chunk which is changed, moved, left out or
cut off does not decrypt. A nonce is never used twice, because a key never serves a second file.
"""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.registry.errors import RegistryError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

CHUNK = 1 << 16  # bytes of plaintext; one chunk is held in memory
_TAG = 16  # bytes of GCM tag that each encrypted chunk ends with


class SealBroken(RegistryError):
    """It cannot be decrypted: the file was altered; restore it from a backup, then retry."""


class EncryptedWriter(io.BufferedIOBase):
    """Encrypts one file with a new `key`, 32 bytes. The file is complete once the writer is closed."""

    def __init__(self, path: Path) -> None:
        self.key = AESGCM.generate_key(256)
        self._cipher = AESGCM(self.key)
        self._file = path.open("wb")
        self._buffer = bytearray()
        self._count = 0  # of chunks

    def writable(self) -> bool:
        """True. It can be neither read nor sought, which `zipfile` does without."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Write all of `data`. A full chunk is buffered until there is more, because it may be the last one."""
        self._buffer += data
        while len(self._buffer) > CHUNK:
            self._write_chunk(last=False)
        return memoryview(data).nbytes

    def close(self) -> None:
        """Write the last chunk."""
        if self.closed:
            return
        try:
            self._write_chunk(last=True)
        finally:
            self._file.close()
            super().close()

    def _write_chunk(self, *, last: bool) -> None:
        chunk = bytes(self._buffer[:CHUNK])
        del self._buffer[:CHUNK]
        self._file.write(self._cipher.encrypt(_nonce(self._count, last=last), chunk, None))
        self._count += 1


def open_encrypted(path: Path, key: bytes) -> BinaryIO:
    """Open a file of `EncryptedWriter` for reading, seekable; only authenticated bytes are returned.

    Raises:
        SealBroken: it was altered, or this is not its key; also raised by reads.
    """
    return io.BufferedReader(_DecryptingReader(path, key), CHUNK)


class _DecryptingReader(io.RawIOBase):
    def __init__(self, path: Path, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._file = path.open("rb")
        size = os.fstat(self._file.fileno()).st_size
        self._count = max(1, -(-size // (CHUNK + _TAG)))
        self._size = size - self._count * _TAG
        self._position = 0
        self._number, self._chunk = -1, b""  # what was read last
        try:
            self._read(self._count - 1)  # so that a file that was cut off raises when it is opened
        except SealBroken:
            self.close()
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self._position >= self._size:
            return 0
        target = memoryview(buffer).cast("B")
        number, start = divmod(self._position, CHUNK)
        part = self._read(number)[start : start + len(target)]
        target[: len(part)] = part
        self._position += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError("before the beginning")
        self._position = position
        return position

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read(self, number: int) -> bytes:
        if number != self._number:
            self._file.seek(number * (CHUNK + _TAG))
            nonce = _nonce(number, last=number == self._count - 1)
            try:
                self._chunk = self._cipher.decrypt(nonce, self._file.read(CHUNK + _TAG), None)
            except InvalidTag:
                raise SealBroken from None
            self._number = number
        return self._chunk


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([last])
