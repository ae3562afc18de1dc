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

EVERY = timedelta(minutes=1)
"""How often a log is looked at."""

ALL_AGAIN = timedelta(days=1)
"""How often all of it is."""

REMEMBERED = timedelta(days=30)
"""For how long it is told that a log has got an entry that was changed before it was chained; the entry says so for
ever."""

SLICE = 5000
"""Entries that are looked at in one go, which takes a tenth of a second."""

_UNFINISHED = and_(AuditVerification.again_from.is_not(None), AuditVerification.broken_at.is_(None))
_DUE = (
    select(Tenant.id)  # not only those with a head, which may have been removed
    .outerjoin(AuditVerification, AuditVerification.tenant_id == Tenant.id)
    .where(or_(AuditVerification.at.is_(None), AuditVerification.at < bindparam("before"), _UNFINISHED))
)

Keys = Mapping[str, PublicKey]
"""Public keys by their names."""


@dataclass(frozen=True)
class Verified:
    """How far a log is verified: all up to `head`, and of a second look what is below `again_from`."""

    head: Head = field(default_factory=Head)
    again_from: int | None = None
    is_all: bool = False  #: a second look has just reached the end


@dataclass(frozen=True)
class LastVerification:
    """What the verification of all logs together has come to, for metrics."""

    logs: int  #: tenants that have one
    broken: int  #: of which so many are not whole, or have lately got an entry that is not as it was written
    height: int  #: entries of all logs
    verified_height: int  #: of which so many are verified
    oldest_at: datetime | None  #: when the log was looked at whose turn is the longest ago


def verify_due(database: Database, keys: Sequence[PublicKey]) -> None:
    """Look at a part of each log whose turn it is, write down what was found, and log what is broken."""
    by_name = {key.key_id: key for key in keys}
    with database.read() as session:
        tenants = _due(session)
    for tenant_id in tenants:
        verify_some(database, tenant_id, by_name)


def verify_some(database: Database, tenant_id: uuid.UUID, keys: Keys) -> None:
    """Look at the next part of one log, and write down what was found."""
    found: Verified | Broken
    with database.read() as session:
        row = session.get(AuditVerification, tenant_id)
        before = Verified(Head(row.height, row.sha256), row.again_from) if row is not None else Verified()
        try:
            found = look(session, tenant_id, before, keys, most=SLICE)
        except Broken as broken:
            found = broken
    with database.write() as session:
        _record(session, tenant_id, before, found)


def last_verification(session: Session) -> LastVerification:
    """What is known of all logs."""
    is_broken = select(AuditVerification.tenant_id).where(AuditVerification.broken_at.is_not(None))
    is_altered = select(AuditHead.tenant_id).where(AuditHead.altered_at > clock(session) - REMEMBERED)
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
    """Look at all of a log at once; its head.

    Raises:
        Broken: something is not as it was written.
    """
    found = look(session, tenant_id, Verified(), keys, most=SLICE)
    while found.head != audit_log.head(session, tenant_id):
        found = look(session, tenant_id, found, keys, most=SLICE)
    return found.head


def find(session: Session, tenant_id: uuid.UUID) -> AuditVerification | None:
    """What is known of one log; nothing if nobody has looked yet."""
    return session.get(AuditVerification, tenant_id)


def look(session: Session, tenant_id: uuid.UUID, before: Verified, keys: Keys, *, most: int) -> Verified:
    """Look at the next entries: at those that are new, and at those whose turn it is to be looked at again.

    Raises:
        Broken: something is not as it was written.
    """
    # In this order: what is added meanwhile makes the head the last to grow.
    newest = checkpoints.latest(session, tenant_id)
    last = session.scalar(select(func.max(AuditEntry.height)).where(AuditEntry.tenant_id == tenant_id)) or 0
    end = audit_log.head(session, tenant_id)
    if last > end.height:
        raise Broken(end.height + 1, "entries stand behind the head")
    if end.height < max(before.head.height, newest.height if newest else 0):
        raise Broken(end.height + 1, "the end of the log is missing")
    if newest is not None:
        _check(newest, {newest.height: _known(session, tenant_id, newest.height).sha256}, keys)
    head = _follow(session, tenant_id, before.head, min(end.height, before.head.height + most), keys)
    if head.height == end.height and head != end:
        raise Broken(end.height, "the head is not that of the last entry")
    if before.again_from is None:
        return replace(before, head=head)
    # Up to what is verified and no further: the second look ends however fast the log grows meanwhile.
    start = _known(session, tenant_id, before.again_from)
    again = _follow(session, tenant_id, start, min(head.height, start.height + most), keys)
    if again.height == head.height and again != head:
        raise Broken(head.height, "the entry is not as it was when it was verified")
    is_all = again.height == head.height
    return Verified(head, None if is_all else again.height, is_all=is_all)


def _follow(session: Session, tenant_id: uuid.UUID, start: Head, last: int, keys: Keys) -> Head:
    """From a head that was verified to the entry at `last`; the head there.

    Raises:
        Broken: something is not as it was written.
    """
    if start.height and _known(session, tenant_id, start.height) != start:
        raise Broken(start.height, "the entry is not as it was when it was verified")
    head, hashes = start, {start.height: start.sha256}
    for head in follow(start, tenant_id, audit_log.entries(session, tenant_id, start.height + 1, last)):
        hashes[head.height] = head.sha256
    if head.height < last:
        raise Broken(head.height + 1, "the entry is missing")
    first = start.height + 1 if start.height else -(1 << 62)  # a height below zero is one that somebody has changed
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


def _known(session: Session, tenant_id: uuid.UUID, height: int) -> Head:
    if height == 0:
        return Head()
    entry = session.get(AuditEntry, (tenant_id, height))
    return Head(height, entry.sha256 if entry is not None else GENESIS)


def _due(session: Session) -> list[uuid.UUID]:
    return list(session.scalars(_DUE, {"before": clock(session) - EVERY}))


def _record(session: Session, tenant_id: uuid.UUID, before: Verified, found: Verified | Broken) -> None:
    now = clock(session)
    row = session.get(AuditVerification, tenant_id, with_for_update=True)
    if row is None:
        if before != Verified():
            return
        row = AuditVerification(tenant_id=tenant_id, height=0, sha256=GENESIS, again_from=None)
        session.add(row)
    elif (row.height, row.again_from) != (before.head.height, before.again_from):
        return  # another process has looked meanwhile
    row.at = now
    if isinstance(found, Broken):
        if row.broken_at is None:
            row.broken_at, row.broken_height, row.broken = now, found.height, str(found)
            audit_log.append(session, tenant_id, "audit_log.broken", height=found.height)
            logger.error("the audit log of tenant %s is broken at height %d: %s", tenant_id, found.height, found)
        return
    row.height, row.sha256, row.again_from = found.head.height, found.head.sha256, found.again_from
    if found.is_all:
        row.full_at = now
        if row.broken_at is not None:
            row.broken_at = row.broken_height = row.broken = None
            audit_log.append(session, tenant_id, "audit_log.whole_again", height=found.head.height)
    elif row.again_from is None and (row.broken_at is not None or row.full_at is None or row.full_at < now - ALL_AGAIN):
        row.again_from = 0
