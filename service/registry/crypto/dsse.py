"""Signed statements: an in-toto Statement v1 in a DSSE envelope (DSSE 1.0.2), signed by one Ed25519 key.

Only the canonical encoding of an envelope is accepted, byte for byte: base64 and JSON would otherwise leave bytes that
can be changed unnoticed. The key identifier, which DSSE does not sign, must be that of the key.
"""

import json
from typing import Any

from service.registry.crypto.canonical_json import canonical
from service.registry.crypto.signing_keys import PublicKey, SignatureInvalid, Signer
from service.registry.errors import RegistryError

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class NotAnEnvelope(RegistryError):
    """This is not a certificate of ours, byte for byte: it was changed, or is something else."""


class OtherKey(RegistryError):
    """It says that another key has signed it."""


def sign(statement: dict[str, Any], signer: Signer) -> bytes:
    """The signed envelope of a statement.

    Raises:
        ValueError: it is not an in-toto Statement.
    """
    from securesystemslib.dsse import Envelope  # noqa: PLC0415
    from securesystemslib.signer import Signature  # type: ignore[attr-defined]  # noqa: PLC0415

    payload = canonical(statement)
    _check_statement(payload)
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    signature = signer.sign(envelope.pae())
    envelope.signatures[signer.key_id] = Signature(signer.key_id, signature.hex())
    return canonical(envelope.to_dict())


def verify(content: bytes, key: PublicKey) -> dict[str, Any]:
    """The statement of an envelope, after verifying that the key has signed it.

    Raises:
        NotAnEnvelope: it is none, or not encoded as by `sign`.
        OtherKey: it names another key.
        SignatureInvalid: the key has not signed this.
    """
    envelope = _envelope(content)
    (signature,) = envelope.signatures.values()
    if signature.keyid != key.key_id:
        raise OtherKey
    try:
        raw = bytes.fromhex(signature.signature)
    except ValueError:
        raise SignatureInvalid from None
    key.verify(raw, envelope.pae())
    return _statement(envelope.payload)


def read(content: bytes) -> dict[str, Any]:
    """The statement without verification of the signature; for envelopes from our own database.

    Raises:
        NotAnEnvelope: it is none.
    """
    return _statement(_envelope(content).payload)


def key_id(content: bytes) -> str:
    """The identifier of the key that the envelope names; unverified.

    Raises:
        NotAnEnvelope: it is none.
    """
    identifier: str = next(iter(_envelope(content).signatures))
    return identifier


def _envelope(content: bytes) -> Any:
    from securesystemslib.dsse import Envelope  # noqa: PLC0415
    from securesystemslib.exceptions import FormatError  # noqa: PLC0415

    try:
        envelope = Envelope.from_dict(json.loads(content))
        is_exact = canonical(envelope.to_dict()) == content and envelope.payload_type == PAYLOAD_TYPE
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError):
        raise NotAnEnvelope from None
    if not is_exact or len(envelope.signatures) != 1:
        raise NotAnEnvelope
    return envelope


def _statement(payload: bytes) -> dict[str, Any]:
    try:
        statement: dict[str, Any] = json.loads(payload)
        _check_statement(payload)
        is_canonical = canonical(statement) == payload
    except ValueError:
        raise NotAnEnvelope from None
    if not is_canonical:
        raise NotAnEnvelope
    return statement


def _check_statement(payload: bytes) -> None:
    """Raise `ValueError` unless it is a Statement by in-toto's own definition."""
    from google.protobuf.json_format import Parse, ParseError  # noqa: PLC0415
    from in_toto_attestation.v1.statement import Statement  # noqa: PLC0415
    from in_toto_attestation.v1.statement_pb2 import Statement as Message  # noqa: PLC0415

    try:
        message = Parse(payload, Message())
    except ParseError as error:
        raise ValueError("not an in-toto Statement") from error
    Statement.copy_from_pb(message).validate()
