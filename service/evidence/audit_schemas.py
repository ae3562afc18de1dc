"""Bodies of answers about the audit log."""

import json
import uuid
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field

from service.registry.audit.hash_chain import Link
from service.web.fields import Answer

Hex = Annotated[str, BeforeValidator(bytes.hex)]


class HeadAnswer(Answer):
    """The end of the chain."""

    height: int = Field(description="Of the last entry; 0 while there is none.")
    sha256: Hex = Field(description="Hash of the last entry, in hex; zeros while there is none.")


class CheckpointAnswer(Answer):
    """A head that was signed."""

    height: int
    sha256: Hex
    at: datetime
    key_id: str = Field(description="SHA-256 of the public key's SubjectPublicKeyInfo, in hex.")
    signature: Hex = Field(
        description="Ed25519, in hex, over the canonical JSON (RFC 8785) of `at` (with microseconds and `Z`), "
        '`height`, `sha256`, `tenant`, `"type":"structguard.audit.checkpoint"` and `"v":1`.'
    )


class VerificationAnswer(Answer):
    """The result of the scheduled verification."""

    height: int = Field(description="All entries up to here were as they were written when they were looked at.")
    at: datetime = Field(description="When the log was last looked at.")
    full_at: datetime | None = Field(description="When all of it was last looked at again, from the beginning.")
    broken_at: datetime | None = Field(description="When it was found that the log is not whole; `null` if it is.")
    broken_height: int | None = Field(description="Of the first entry that is not as it was written.")
    broken: str | None = Field(description="What is wrong there.")


class PublicKeyAnswer(Answer):
    """A key that checkpoints are signed with, or were."""

    key_id: str
    pem: str


class AuditAnswer(BaseModel):
    """The audit log of the tenant: a hash chain, its signed heads, and what its verification found."""

    tenant: uuid.UUID = Field(description="As entries and checkpoints name it.")
    head: HeadAnswer
    checkpoint: CheckpointAnswer | None = Field(description="The latest one.")
    verification: VerificationAnswer | None = Field(description="`null` until the log was first looked at.")
    altered_at: datetime | None = Field(
        description="When something was last found to be changed or removed before it was chained; the entries say "
        '`"as_written":false`.'
    )
    keys: list[PublicKeyAnswer] = Field(description="The current one first.")
    links: dict[str, str]


class EntryAnswer(Answer):
    """One entry of the audit log."""

    height: int
    previous: Hex = Field(description="Hash of the entry before, in hex; zeros before the first one.")
    entry: str = Field(description="Canonical JSON (RFC 8785), byte for byte as it was hashed.")
    sha256: Hex = Field(description="SHA-256, in hex, over the bytes of `previous` and of `entry`.")
    content: dict[str, Any] = Field(description="What `entry` says: `at`, `event`, `about`, `by`, `facts`.")

    @classmethod
    def of(cls, link: Link) -> Self:
        """Build the answer from a link of the hash chain."""
        return cls.from_row(link, content=json.loads(link.entry))


class Heights(BaseModel):
    """A page of the log, in the order of the heights."""

    next: int | None = Field(description="`after` of the next ones, if there may be any.")


class EntriesAnswer(Heights):
    """A page of entries, oldest first."""

    items: list[EntryAnswer]


class CheckpointsAnswer(Heights):
    """A page of signed heads, oldest first."""

    items: list[CheckpointAnswer]
