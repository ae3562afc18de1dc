"""Creating once, however often the same request arrives (the IETF's `Idempotency-Key` draft).

The answer is stored in the transaction that creates, so that there is never one without the other.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.errors import CreationInFlight, KeyReused
from service.registry.storage.database import clock
from service.registry.tables import Creation

KEPT = timedelta(hours=24)
"""How long an answer can be had again."""

RESERVED = timedelta(seconds=10)
"""How long a try keeps others away whose process no longer says that it works on it."""


_FRESH = {"populate_existing": True}


@dataclass(frozen=True)
class Once:
    """This try at creating something."""

    tenant_id: uuid.UUID
    operation: str
    key: str
    attempt: uuid.UUID


@dataclass(frozen=True)
class Answered:
    """What the first try was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes
    expires_at: datetime


def begin(session: Session, once: Once, fingerprint: str) -> Answered | None:
    """Reserve the key for this try, or give the answer that there is already.

    Raises:
        KeyReused: the key was used for something else.
        CreationInFlight: another try with it has not ended.
    """
    now = clock(session)
    row = Creation(
        tenant_id=once.tenant_id,
        operation=once.operation,
        key=once.key,
        fingerprint=fingerprint,
        attempt=once.attempt,
        in_flight_until=now + RESERVED,
        headers={},
        expires_at=now + KEPT,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return _known(session, once, fingerprint, now)
    return None


def _known(session: Session, once: Once, fingerprint: str, now: datetime) -> Answered | None:
    row = session.scalar(select(Creation).where(_is(once)).with_for_update(), execution_options=_FRESH)
    if row is None:  # the other try failed between the two statements
        return begin(session, once, fingerprint)
    if row.expires_at > now:
        if row.fingerprint != fingerprint:
            raise KeyReused
        if row.status is not None and row.body is not None:
            return Answered(row.status, dict(row.headers), row.body, row.expires_at)
        if row.in_flight_until > now:
            raise CreationInFlight
    row.fingerprint, row.attempt, row.status, row.body, row.headers = fingerprint, once.attempt, None, None, {}
    row.in_flight_until, row.expires_at = now + RESERVED, now + KEPT
    return None


def finish(session: Session, once: Once, *, status: int, headers: dict[str, str], body: bytes) -> None:
    """Store the answer, in the transaction that creates what it tells of.

    Raises:
        CreationInFlight: this try took so long that another one has begun; nothing may be created.
    """
    stored = session.scalar(
        update(Creation)
        .where(_is(once), Creation.attempt == once.attempt, Creation.status.is_(None))
        .values(status=status, headers=headers, body=body)
        .returning(Creation.key)
        .execution_options(synchronize_session=False)
    )
    if stored is None:
        raise CreationInFlight


def renew(session: Session, once: Once) -> None:
    """This try is still worked on. If it has lost its key to another try, it does not get it back."""
    mine = update(Creation).where(_is(once), Creation.attempt == once.attempt, Creation.status.is_(None))
    until = clock(session) + RESERVED
    session.execute(mine.values(in_flight_until=until).execution_options(synchronize_session=False))


def abandon(session: Session, once: Once) -> None:
    """The try failed: the key is free again."""
    session.execute(delete(Creation).where(_is(once), Creation.attempt == once.attempt, Creation.status.is_(None)))


def forget_expired(session: Session) -> None:
    """Remove answers that can no longer be had."""
    session.execute(delete(Creation).where(Creation.expires_at < clock(session)))


def _is(once: Once) -> ColumnElement[bool]:
    return and_(Creation.tenant_id == once.tenant_id, Creation.operation == once.operation, Creation.key == once.key)
