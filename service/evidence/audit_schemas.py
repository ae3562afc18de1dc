"""What the service tells of an audit log."""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from service.registry import tables
from service.registry.audit.hash_chain import Head, Link
from service.registry.crypto import signing_keys


class HeadAnswer(BaseModel):
    """The end of the chain."""

    height: int = Field(description="Of the last entry; 0 while there is none.")
    sha256: str = Field(description="Hash of the last entry, in hex; zeros while there is none.")

    @classmethod
    def of(cls, head: Head) -> Self:
        """As the registry has it."""
        return cls(height=head.height, sha256=head.sha256.hex())


class CheckpointAnswer(BaseModel):
    """A head that was signed."""

    height: int
    sha256: str
    at: datetime
    key_id: str = Field(description="SHA-256 of the public key's SubjectPublicKeyInfo, in hex.")
    signature: str = Field(
        description="Ed25519, in hex, over the canonical JSON (RFC 8785) of `at` (with microseconds and `Z`), "
        '`height`, `sha256`, `tenant`, `"type":"structguard.audit.checkpoint"` and `"v":1`.'
    )

    @classmethod
    def of(cls, row: tables.AuditCheckpoint) -> Self:
        """From its row."""
        return cls(
            height=row.height, sha256=row.sha256.hex(), at=row.at, key_id=row.key_id, signature=row.signature.hex()
        )


class VerificationAnswer(BaseModel):
    """What the scheduled verification has come to."""

    height: int = Field(description="All entries up to here were as they were written when they were looked at.")
    at: datetime = Field(description="When the log was last looked at.")
    full_at: datetime | None = Field(description="When all of it was last looked at again, from the beginning.")
    broken_at: datetime | None = Field(description="When it was found that the log is not whole; `null` if it is.")
    broken_height: int | None = Field(description="Of the first entry that is not as it was written.")
    broken: str | None = Field(description="What is wrong there.")

    @classmethod
    def of(cls, row: tables.AuditVerification) -> Self:
        """From its row."""
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields})


class PublicKeyAnswer(BaseModel):
    """A key that checkpoints are signed with, or were."""

    key_id: str
    pem: str

    @classmethod
    def of(cls, key: signing_keys.PublicKey) -> Self:
        """As the registry has it."""
        return cls(key_id=key.key_id, pem=key.pem)


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

    @classmethod
    def of(
        cls,
        tenant_id: uuid.UUID,
        head: Head,
        altered_at: datetime | None,
        checkpoint: tables.AuditCheckpoint | None,
        verification: tables.AuditVerification | None,
        keys: Sequence[signing_keys.PublicKey],
    ) -> Self:
        """From the rows, where there are any."""
        here = "/v1/audit"
        return cls(
            tenant=tenant_id,
            head=HeadAnswer.of(head),
            altered_at=altered_at,
            checkpoint=CheckpointAnswer.of(checkpoint) if checkpoint else None,
            verification=VerificationAnswer.of(verification) if verification else None,
            keys=[PublicKeyAnswer.of(key) for key in keys],
            links={
                "self": here,
                "entries": f"{here}/entries",
                "checkpoints": f"{here}/checkpoints",
                "export": f"{here}/export",
            },
        )


class EntryAnswer(BaseModel):
    """One entry of the audit log."""

    height: int
    previous: str = Field(description="Hash of the entry before, in hex; zeros before the first one.")
    entry: str = Field(description="Canonical JSON (RFC 8785), byte for byte as it was hashed.")
    sha256: str = Field(description="SHA-256, in hex, over the bytes of `previous` and of `entry`.")
    content: dict[str, Any] = Field(description="What `entry` says: `at`, `event`, `about`, `by`, `facts`.")

    @classmethod
    def of(cls, link: Link) -> Self:
        """As the registry has it."""
        return cls(
            height=link.height,
            previous=link.previous.hex(),
            entry=link.entry,
            sha256=link.sha256.hex(),
            content=json.loads(link.entry),
        )


class Heights(BaseModel):
    """Some items of the log, in the order of their heights."""

    next: int | None = Field(description="`after` of the next ones, if there may be any.")


class EntriesAnswer(Heights):
    """Some entries, oldest first."""

    items: list[EntryAnswer]


class CheckpointsAnswer(Heights):
    """Some signed heads, oldest first."""

    items: list[CheckpointAnswer]
