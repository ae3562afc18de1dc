"""The Ed25519 key that signs evidence (RFC 8032), and the public keys of it and its predecessors.

The identifier of a key is the SHA-256 of its SubjectPublicKeyInfo, in hex:
`openssl pkey -pubin -in key.pem -outform DER | sha256sum`.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from service.registry.crypto.key_files import create_once, replace
from service.registry.errors import RegistryError
from service.registry.settings import RegistrySettings


class SigningKeyUnusable(RegistryError):
    """Evidence cannot be signed: STRUCTGUARD_SIGNING_KEY_FILE must name a PEM file with an Ed25519 private key."""


class SigningKeyMissing(SigningKeyUnusable):
    """There is no signing key yet: the service makes one when it starts."""


class PublicKeyUnusable(RegistryError):
    """This is not a PEM file with an Ed25519 public key."""


class SignatureInvalid(RegistryError):
    """This signature is not of this key, or not of these bytes."""


@dataclass(frozen=True)
class PublicKey:
    """A public key, which verifies signatures."""

    key_id: str  #: 64 hexadecimal digits
    pem: str
    _key: Ed25519PublicKey = field(repr=False, compare=False)

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> Self:
        """The key with its identifier."""
        spki = PublicFormat.SubjectPublicKeyInfo
        name = hashlib.sha256(key.public_bytes(Encoding.DER, spki)).hexdigest()
        return cls(name, key.public_bytes(Encoding.PEM, spki).decode(), key)

    @classmethod
    def read(cls, pem: bytes) -> Self:
        """The key in a PEM file.

        Raises:
            PublicKeyUnusable: there is none, or one of another kind.
        """
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise PublicKeyUnusable from None
        if not isinstance(key, Ed25519PublicKey):
            raise PublicKeyUnusable
        return cls.of(key)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise `SignatureInvalid` unless the signature is of this key and these bytes."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalid from None


@dataclass(frozen=True)
class Signer:
    """The current private key."""

    public: PublicKey
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    @property
    def key_id(self) -> str:
        """The identifier of its public key."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._key.sign(message)


def signer(settings: RegistrySettings) -> Signer:
    """Load the current key; one is created if none is configured. Do not keep the result: the key may be rotated.

    Its public key is stored, and stays when the private key is rotated.

    Raises:
        SigningKeyUnusable: the file cannot be read, or holds something else.
    """
    if settings.signing_key_file is None:
        create_once(_private_key_file(settings), _generate_pem)
    current = _current(settings)
    _store_public_key(settings, current.public)
    return current


def public_keys(settings: RegistrySettings) -> list[PublicKey]:
    """The public keys of all keys that ever signed: the current one first, then its predecessors, latest first.

    Raises:
        SigningKeyMissing: none is configured, and none has been made; nor is one here.
        SigningKeyUnusable: the file cannot be read, or holds something else.
    """
    current = _current(settings).public
    paths = sorted(
        _public_keys_folder(settings).glob("*.pem"), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True
    )
    return [current, *(key for key in (PublicKey.read(path.read_bytes()) for path in paths) if key != current)]


def rotate(settings: RegistrySettings) -> PublicKey:
    """Replace the key by a new one, in all processes. The old private key is deleted, its public key kept.

    Raises:
        SigningKeyMissing: there is none to replace.
        SigningKeyUnusable: `signing_key_file` is set; such a key is rotated by replacing the file.
    """
    if settings.signing_key_file is not None:
        raise SigningKeyUnusable("The signing key is a file that the settings name: replace it there.")
    _store_public_key(settings, _current(settings).public)
    pem = _generate_pem()
    successor = _read(pem).public
    _store_public_key(settings, successor)
    replace(_private_key_file(settings), pem)
    return successor


def _current(settings: RegistrySettings) -> Signer:
    try:
        return _read((settings.signing_key_file or _private_key_file(settings)).read_bytes())
    except OSError as error:
        if settings.signing_key_file is None and isinstance(error, FileNotFoundError):
            raise SigningKeyMissing from None
        raise SigningKeyUnusable from None


def _read(pem: bytes) -> Signer:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # a TypeError says that it takes a password
        raise SigningKeyUnusable from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyUnusable
    return Signer(PublicKey.of(key.public_key()), key)


def _generate_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _store_public_key(settings: RegistrySettings, key: PublicKey) -> None:
    create_once(_public_keys_folder(settings) / f"{key.key_id}.pem", key.pem.encode)


def _folder(settings: RegistrySettings) -> Path:
    return settings.data_dir / "signing"


def _private_key_file(settings: RegistrySettings) -> Path:
    return _folder(settings) / "private.pem"


def _public_keys_folder(settings: RegistrySettings) -> Path:
    return _folder(settings) / "public"
