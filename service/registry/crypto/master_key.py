"""The key that wraps what else is secret. It lies outside of the database, which therefore opens none by itself."""

import hmac
import os
import secrets
import uuid

from service.registry.crypto.key_files import made_once
from service.registry.errors import RegistryError
from service.registry.settings import RegistrySettings

# cryptography is imported where it is used, as in `service.registry.crypto.encrypted_files`.

_BYTES = 32
_NONCE = 12  # bytes, random: a master key may wrap some billions of keys (NIST SP 800-38D, section 8.3)


class MasterKeyUnusable(RegistryError):
    """Nothing can be decrypted: STRUCTGUARD_MASTER_KEY_FILE must name a file with 64 hexadecimal digits."""


class OtherMasterKey(RegistryError):
    """It cannot be decrypted: this is not the master key of when it was stored; restore it, then retry."""


class MasterKey:
    """The configured one, or one of our own, which is made when there is none.

    Raises:
        MasterKeyUnusable: the file cannot be read, or holds something else.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        file = settings.master_key_file or made_once(settings.data_dir / "master.key", _new)
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

    @property
    def audit_key(self) -> bytes:
        """A key of its own, which seals what is not in the audit log yet; see `service.registry.audit.row_macs`."""
        return hmac.digest(self._secret, b"audit entries", "sha256")


def _new() -> bytes:
    return f"{secrets.token_hex(_BYTES)}\n".encode()
