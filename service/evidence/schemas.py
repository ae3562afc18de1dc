"""Bodies of answers about certificates, the keys that they are checked with, and yearly figures."""

from typing import Self

from pydantic import BaseModel, Field

from service.registry.crypto.signing_keys import PublicKey
from service.web.fields import Answer


class Signature(BaseModel):
    """A signature, and the key that made it."""

    keyid: str = Field(description="SHA-256 of the public key's SubjectPublicKeyInfo, in hex.")
    sig: str = Field(description="Ed25519 (RFC 8032), in base64, over DSSE's pre-authentication encoding.")


class CertificateAnswer(BaseModel):
    """A DSSE envelope that holds an in-toto Statement v1. Keep it byte for byte: that is what is verified."""

    payload: str = Field(description="The statement: JSON in base64.")
    payloadType: str = Field(description="Always `application/vnd.in-toto+json`.")  # noqa: N815  (as DSSE has it)
    signatures: list[Signature]


class SigningKeyAnswer(BaseModel):
    """A public key that certificates are checked with."""

    id: str = Field(description="SHA-256 of its SubjectPublicKeyInfo, in hex; the `keyid` of what it has signed.")
    algorithm: str
    is_current: bool = Field(description="Whether it signs now. The others signed before it.")
    pem: str

    @classmethod
    def of(cls, key: PublicKey, current: PublicKey) -> Self:
        """Build the answer from a key and the one that signs now."""
        return cls(id=key.key_id, algorithm="Ed25519", is_current=key == current, pem=key.pem)


class YearlyFigures(Answer):
    """Requests received in a year and what became of them; one that OpenDSR spread over several models counts once."""

    regulation: str
    year: int
    received: int
    complied: int = Field(description="Everything that was asked for has passed the quality gate.")
    denied: int = Field(description="A person declined them.")
    withdrawn: int = Field(description="Taken back by whoever asked.")
    open: int = Field(description="All others: under way, failed, or in need of review.")
    median_days: float | None = Field(description="From receipt to the end, of those complied with or denied.")
    mean_days: float | None
    late: int = Field(description="Not complied with, denied or withdrawn in time, open ones included.")
