"""The scheduled verification of audit logs: new entries within a minute, and every day all of them again."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log, checkpoints
from service.registry.audit.hash_chain import GENESIS, Broken, Head, follow
from service.registry.crypto.signing_keys import PublicKey, SignatureInvalid
from service.registry.storage.database import Database, clock
from service.registry.tables import AuditCheckpoint, AuditEntry, AuditHead, AuditVerification, Tenant

logger = logging.getLogger(__name__)

INTERVAL = timedelta(minutes=1)
"""How often the new entries of a log are verified."""

FULL_INTERVAL = timedelta(days=1)
"""How often all entries are verified."""

ALTERATION_REPORTED_FOR = timedelta(days=30)
"""How long metrics report a log as broken after an altered event was chained; the entry says so for ever."""

SLICE = 5000
"""Entries verified in one go, which takes a tenth of a second."""

_UNFINISHED = and_(AuditVerification.again_from.is_not(None), AuditVerification.broken_at.is_(None))
_DUE = (
    select(Tenant.id)  # not only those with a head, which may have been removed
    .outerjoin(AuditVerification, AuditVerification.tenant_id == Tenant.id)
    .where(or_(AuditVerification.at.is_(None), AuditVerification.at < bindparam("before"), _UNFINISHED))
)

Keys = Mapping[str, PublicKey]
"""Public keys by their identifiers."""


@dataclass(frozen=True)
class Progress:
    """How far a log is verified: up to `head`; in a full verification that is under way, again up to `again_from`."""

    head: Head = field(default_factory=Head)
    again_from: int | None = None
    is_all: bool = False  #: a full verification has just reached the end


@dataclass(frozen=True)
class LastVerification:
    """The state of verification over all logs, for metrics."""

    logs: int  #: tenants that have one
    broken: int  #: of these, logs that are broken, or got an altered entry within `ALTERATION_REPORTED_FOR`
    height: int  #: entries of all logs
    verified_height: int  #: of these, entries that are verified
    oldest_at: datetime | None  #: the oldest of the times at which each log was last verified


def verify_due(database: Database, keys: Sequence[PublicKey]) -> None:
    """Verify a slice of each log that is due; store the result, and log what is broken."""
    by_name = {key.key_id: key for key in keys}
    with database.read() as session:
        tenants = _due(session)
    for tenant_id in tenants:
        verify_next(database, tenant_id, by_name)


def verify_next(database: Database, tenant_id: uuid.UUID, keys: Keys) -> None:
    """Verify the next slice of one log, and store the result."""
    result: Progress | Broken
    with database.read() as session:
        row = session.get(AuditVerification, tenant_id)
        progress = Progress(Head(row.height, row.sha256), row.again_from) if row is not None else Progress()
        try:
            result = verify_slice(session, tenant_id, progress, keys, limit=SLICE)
        except Broken as broken:
            result = broken
    with database.write() as session:
        _record(session, tenant_id, progress, result)


def last_verification(session: Session) -> LastVerification:
    """The state of verification over all logs."""
    is_broken = select(AuditVerification.tenant_id).where(AuditVerification.broken_at.is_not(None))
    is_altered = select(AuditHead.tenant_id).where(AuditHead.altered_at > clock(session) - ALTERATION_REPORTED_FOR)
    rows = select(
        func.count(AuditHead.tenant_id),
        # Also of a log whose head was removed.
        select(func.count()).select_from(is_broken.union(is_altered).subquery()).scalar_subquery(),
        func.coalesce(func.sum(AuditHead.height), 0),
        func.coalesce(func.sum(AuditVerification.height), 0),
        func.min(AuditVerification.at),
    ).outerjoin(AuditVerification, AuditVerification.tenant_id == AuditHead.tenant_id)
    return LastVerification(*session.execute(rows).one())


def verify_all(session: Session, tenant_id: uuid.UUID, keys: Keys) -> Head:
    """Verify all of a log at once; its head.

    Raises:
        Broken: the log does not verify.
    """
    progress = verify_slice(session, tenant_id, Progress(), keys, limit=SLICE)
    while progress.head != audit_log.head(session, tenant_id):
        progress = verify_slice(session, tenant_id, progress, keys, limit=SLICE)
    return progress.head


def find(session: Session, tenant_id: uuid.UUID) -> AuditVerification | None:
    """The state of verification of one log; None if it was never verified."""
    return session.get(AuditVerification, tenant_id)


def verify_slice(session: Session, tenant_id: uuid.UUID, progress: Progress, keys: Keys, *, limit: int) -> Progress:
    """Verify at most `limit` new entries, and as many of the full verification if one is under way.

    Raises:
        Broken: the log does not verify.
    """
    # In this order, as the head is read last: what is added meanwhile only makes it higher.
    newest = checkpoints.latest(session, tenant_id)
    last = session.scalar(select(func.max(AuditEntry.height)).where(AuditEntry.tenant_id == tenant_id)) or 0
    end = audit_log.head(session, tenant_id)
    if last > end.height:
        raise Broken(end.height + 1, "entries stand behind the head")
    if end.height < max(progress.head.height, newest.height if newest else 0):
        raise Broken(end.height + 1, "the end of the log is missing")
    if newest is not None:
        _check(newest, {newest.height: _stored_head(session, tenant_id, newest.height).sha256}, keys)
    head = _follow(session, tenant_id, progress.head, min(end.height, progress.head.height + limit), keys)
    if head.height == end.height and head != end:
        raise Broken(end.height, "the head is not that of the last entry")
    if progress.again_from is None:
        return replace(progress, head=head)
    # Only up to `head`: the full verification ends however fast the log grows meanwhile.
    start = _stored_head(session, tenant_id, progress.again_from)
    rechecked = _follow(session, tenant_id, start, min(head.height, start.height + limit), keys)
    if rechecked.height == head.height and rechecked != head:
        raise Broken(head.height, "the entry is not as it was when it was verified")
    is_all = rechecked.height == head.height
    return Progress(head, None if is_all else rechecked.height, is_all=is_all)


def _follow(session: Session, tenant_id: uuid.UUID, start: Head, last: int, keys: Keys) -> Head:
    """Verify from the verified head `start` to the entry at `last`; the head there.

    Raises:
        Broken: the log does not verify.
    """
    if start.height and _stored_head(session, tenant_id, start.height) != start:
        raise Broken(start.height, "the entry is not as it was when it was verified")
    head, hashes = start, {start.height: start.sha256}
    for head in follow(start, tenant_id, audit_log.entries(session, tenant_id, start.height + 1, last)):
        hashes[head.height] = head.sha256
    if head.height < last:
        raise Broken(head.height + 1, "the entry is missing")
    first = start.height + 1 if start.height else -(1 << 62)  # also altered rows with a height below zero
    for checkpoint in checkpoints.between(session, tenant_id, first, last):
        _check(checkpoint, hashes, keys)
    return head


def _check(checkpoint: AuditCheckpoint, hashes: Mapping[int, bytes], keys: Keys) -> None:
    key = keys.get(checkpoint.key_id)
    if key is None:
        raise Broken(checkpoint.height, "the checkpoint is signed by a key that is not known")
    try:
        checkpoints.verify(checkpoint, key)
    except SignatureInvalid:
        raise Broken(checkpoint.height, "the checkpoint is not as it was signed") from None
    if hashes.get(checkpoint.height) != checkpoint.sha256:
        raise Broken(checkpoint.height, "the entry is not the one that the checkpoint has signed")


def _stored_head(session: Session, tenant_id: uuid.UUID, height: int) -> Head:
    if height == 0:
        return Head()
    entry = session.get(AuditEntry, (tenant_id, height))
    return Head(height, entry.sha256 if entry is not None else GENESIS)


def _due(session: Session) -> list[uuid.UUID]:
    return list(session.scalars(_DUE, {"before": clock(session) - INTERVAL}))


def _record(session: Session, tenant_id: uuid.UUID, progress: Progress, result: Progress | Broken) -> None:
    now = clock(session)
    row = session.get(AuditVerification, tenant_id, with_for_update=True)
    if row is None:
        if progress != Progress():
            return
        row = AuditVerification(tenant_id=tenant_id, height=0, sha256=GENESIS, again_from=None)
        session.add(row)
    elif (row.height, row.again_from) != (progress.head.height, progress.again_from):
        return  # another process was faster
    row.at = now
    if isinstance(result, Broken):
        if row.broken_at is None:
            row.broken_at, row.broken_height, row.broken = now, result.height, str(result)
            audit_log.append(session, tenant_id, "audit_log.broken", height=result.height)
            logger.error("the audit log of tenant %s is broken at height %d: %s", tenant_id, result.height, result)
        return
    row.height, row.sha256, row.again_from = result.head.height, result.head.sha256, result.again_from
    if result.is_all:
        row.full_at = now
        if row.broken_at is not None:
            row.broken_at = row.broken_height = row.broken = None
            audit_log.append(session, tenant_id, "audit_log.whole_again", height=result.head.height)
    elif row.again_from is None and (
        row.broken_at is not None or row.full_at is None or row.full_at < now - FULL_INTERVAL
    ):
        row.again_from = 0
