"""The key that wraps all other keys and secrets. It lies outside of the database, which alone decrypts nothing."""

import hmac
import os
import secrets
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.registry.crypto.key_files import create_once
from service.registry.errors import RegistryError
from service.registry.settings import RegistrySettings

_KEY_BYTES = 32
_NONCE_BYTES = 12  # bytes, random: a master key may wrap some billions of keys (NIST SP 800-38D, section 8.3)


class MasterKeyUnusable(RegistryError):
    """Nothing can be decrypted: STRUCTGUARD_MASTER_KEY_FILE must name a file with 64 hexadecimal digits."""


class OtherMasterKey(RegistryError):
    """It cannot be decrypted: this is not the master key of when it was stored; restore it, then retry."""


class MasterKey:
    """The master key: the configured one, or one in the data folder, which is created if there is none.

    Raises:
        MasterKeyUnusable: the file cannot be read, or holds something else.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        file = settings.master_key_file or create_once(settings.data_dir / "master.key", _generate)
        try:
            self._secret = bytes.fromhex(file.read_text())
        except (OSError, ValueError):
            raise MasterKeyUnusable from None
        if len(self._secret) != _KEY_BYTES:
            raise MasterKeyUnusable

    def wrap(self, key: bytes, owner: uuid.UUID) -> bytes:
        """The key encrypted with AES-256-GCM, 28 bytes longer, for the database; bound to its `owner`, a row."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._secret).encrypt(nonce, key, owner.bytes)

    def unwrap(self, wrapped: bytes, owner: uuid.UUID) -> bytes:
        """The inverse of `wrap`.

        Raises:
            OtherMasterKey: another master key wrapped it, or for another owner.
        """
        try:
            return AESGCM(self._secret).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], owner.bytes)
        except InvalidTag:
            raise OtherMasterKey from None

    @property
    def audit_key(self) -> bytes:
        """A derived key, 32 bytes, for the MACs of `service.registry.audit.row_macs`."""
        return hmac.digest(self._secret, b"audit entries", "sha256")


def _generate() -> bytes:
    return f"{secrets.token_hex(_KEY_BYTES)}\n".encode()
