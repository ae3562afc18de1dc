"""The key that wraps the keys of images. It lies outside of the database, which therefore opens no image by itself."""

import os
import secrets
import uuid
from contextlib import suppress
from pathlib import Path

from service.registry.artifacts import flush
from service.registry.errors import RegistryError
from service.registry.settings import RegistrySettings

# cryptography is imported where it is used, as in `service.registry.sealed_files`.

_BYTES = 32
_NONCE = 12  # bytes, random: a master key may wrap some billions of keys (NIST SP 800-38D, section 8.3)


class MasterKeyUnusable(RegistryError):
    """The images cannot be decrypted: STRUCTGUARD_MASTER_KEY_FILE must name a file with 64 hexadecimal digits."""


class OtherMasterKey(RegistryError):
    """The images cannot be decrypted: this is not the master key of when they were stored; restore it, then retry."""


class MasterKey:
    """The configured one, or one of our own, which is made when there is none.

    Raises:
        MasterKeyUnusable: the file cannot be read, or holds something else.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        file = settings.master_key_file or _own(settings.data_dir / "master.key")
        try:
            self._secret = bytes.fromhex(file.read_text())
        except (OSError, ValueError):
            raise MasterKeyUnusable from None
        if len(self._secret) != _BYTES:
            raise MasterKeyUnusable

    def wrap(self, key: bytes, owner: uuid.UUID) -> bytes:
        """What may be kept in the database; it is of use to its owner only."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._secret).encrypt(nonce, key, owner.bytes)

    def unwrap(self, wrapped: bytes, owner: uuid.UUID) -> bytes:
        """The key itself.

        Raises:
            OtherMasterKey: this one has not wrapped it, or for somebody else.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        try:
            return AESGCM(self._secret).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], owner.bytes)
        except InvalidTag:
            raise OtherMasterKey from None


def _own(path: Path) -> Path:
    """A file with a key, made if there is none; for all processes the same one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with open(draft, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster: its key counts
            os.link(draft, path)
        draft.unlink()
        flush(path.parent)  # a key that a power cut takes would take the images with it
    return path
