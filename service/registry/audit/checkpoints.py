"""Signed heads of audit logs: with one, a later shortening or rewriting of the log can be detected."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.audit.hash_chain import Broken, Head, rfc3339, statement
from service.registry.crypto.signing_keys import PublicKey, SignatureInvalid, Signer
from service.registry.storage.database import clock
from service.registry.tables import AuditCheckpoint, AuditHead

INTERVAL = timedelta(minutes=1)
"""How long a log may grow until its head is signed again."""


_latest = (
    select(AuditCheckpoint.tenant_id, func.max(AuditCheckpoint.height).label("height"), func.max(AuditCheckpoint.at))
    .group_by(AuditCheckpoint.tenant_id)
    .subquery()
)
_, _height, _at = _latest.c
_GROWN = (
    select(AuditHead.tenant_id)
    .outerjoin(_latest, _latest.c.tenant_id == AuditHead.tenant_id)
    .where(or_(_height.is_(None), (_height < AuditHead.height) & (_at < bindparam("before"))))
)


def sign(session: Session, tenant_id: uuid.UUID, signer: Signer) -> AuditCheckpoint:
    """The signed head of a tenant's log, as it is now."""
    head = audit_log.head(session, tenant_id)
    existing = session.get(AuditCheckpoint, (tenant_id, head.height))
    if existing is not None:
        return existing
    at = clock(session)
    signature = signer.sign(statement(tenant_id, head, at))
    row = AuditCheckpoint(
        tenant_id=tenant_id, height=head.height, sha256=head.sha256, at=at, key_id=signer.key_id, signature=signature
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was faster
        return session.get_one(AuditCheckpoint, (tenant_id, head.height))
    return row


def verify(row: AuditCheckpoint, key: PublicKey) -> None:
    """Raise `SignatureInvalid` unless this key has signed the head, and nobody has changed it since."""
    if row.key_id != key.key_id:
        raise SignatureInvalid
    key.verify(row.signature, statement(row.tenant_id, Head(row.height, row.sha256), row.at))


def check(row: AuditCheckpoint, head: Head, keys: Mapping[str, PublicKey]) -> None:
    """Raise `Broken` unless one of these keys, by their identifiers, has signed just this head."""
    if (row.height, row.sha256) != (head.height, head.sha256):
        raise Broken(head.height, "the checkpoint is not of the entry before it")
    if row.key_id not in keys:
        raise Broken(head.height, "the checkpoint is signed by a key that was not given")
    try:
        verify(row, keys[row.key_id])
    except SignatureInvalid:
        raise Broken(head.height, "the checkpoint is not as it was signed") from None


def to_document(row: AuditCheckpoint) -> dict[str, Any]:
    """A checkpoint as JSON, for exports and proofs."""
    return {
        "at": rfc3339(row.at),
        "height": row.height,
        "key_id": row.key_id,
        "sha256": row.sha256.hex(),
        "signature": row.signature.hex(),
    }


def from_document(document: Mapping[str, Any], tenant_id: uuid.UUID) -> AuditCheckpoint:
    """The inverse of `to_document`.

    Raises:
        LookupError, TypeError, ValueError: the document is not one of a checkpoint.
    """
    return AuditCheckpoint(
        tenant_id=tenant_id,
        height=document["height"],
        sha256=bytes.fromhex(document["sha256"]),
        at=datetime.fromisoformat(document["at"]),
        key_id=document["key_id"],
        signature=bytes.fromhex(document["signature"]),
    )


def due(session: Session) -> list[uuid.UUID]:
    """Tenants whose log has grown since its head was last signed, more than `INTERVAL` ago."""
    return list(session.scalars(_GROWN, {"before": clock(session) - INTERVAL}))


def between(
    session: Session, tenant_id: uuid.UUID, first: int, last: int | None = None, *, limit: int | None = None
) -> list[AuditCheckpoint]:
    """The checkpoints from one height to another, both included, or to the end, in order."""
    rows = select(AuditCheckpoint).where(AuditCheckpoint.tenant_id == tenant_id, AuditCheckpoint.height >= first)
    if last is not None:
        rows = rows.where(AuditCheckpoint.height <= last)
    ordered = rows.order_by(AuditCheckpoint.height).limit(limit)
    return list(session.scalars(ordered, execution_options={"populate_existing": True}))


def latest(session: Session, tenant_id: uuid.UUID) -> AuditCheckpoint | None:
    """The checkpoint of the greatest height; None if none was ever signed."""
    rows = select(AuditCheckpoint).where(AuditCheckpoint.tenant_id == tenant_id)
    return session.scalar(rows.order_by(AuditCheckpoint.height.desc()).limit(1))
