"""Creating once, however often the same request arrives (draft-ietf-httpapi-idempotency-key-header).

The response is stored in the transaction that creates, so that there is never one without the other.
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

RESPONSE_RETENTION = timedelta(hours=24)
"""How long a stored response is replayed."""

RESERVATION_LEASE = timedelta(seconds=10)
"""How long a reservation holds without being renewed."""


_RELOAD = {"populate_existing": True}


@dataclass(frozen=True)
class Reservation:
    """One attempt at a creating request, which holds its idempotency key."""

    tenant_id: uuid.UUID
    operation: str
    key: str
    attempt: uuid.UUID


@dataclass(frozen=True)
class StoredResponse:
    """The response to the first attempt."""

    status: int
    headers: dict[str, str]
    body: bytes
    expires_at: datetime


def begin(session: Session, reservation: Reservation, fingerprint: str) -> StoredResponse | None:
    """Reserve the key for this attempt; the stored response if the request has been answered already.

    Raises:
        KeyReused: the key was used with another request.
        CreationInFlight: another attempt with it has not ended.
    """
    now = clock(session)
    row = Creation(
        tenant_id=reservation.tenant_id,
        operation=reservation.operation,
        key=reservation.key,
        fingerprint=fingerprint,
        attempt=reservation.attempt,
        in_flight_until=now + RESERVATION_LEASE,
        headers={},
        expires_at=now + RESPONSE_RETENTION,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return _take_over(session, reservation, fingerprint, now)
    return None


def _take_over(session: Session, reservation: Reservation, fingerprint: str, now: datetime) -> StoredResponse | None:
    row = session.scalar(select(Creation).where(_matches(reservation)).with_for_update(), execution_options=_RELOAD)
    if row is None:  # the other attempt failed between the two statements
        return begin(session, reservation, fingerprint)
    if row.expires_at > now:
        if row.fingerprint != fingerprint:
            raise KeyReused
        if row.status is not None and row.body is not None:
            return StoredResponse(row.status, dict(row.headers), row.body, row.expires_at)
        if row.in_flight_until > now:
            raise CreationInFlight
    row.fingerprint, row.attempt, row.status, row.body, row.headers = fingerprint, reservation.attempt, None, None, {}
    row.in_flight_until, row.expires_at = now + RESERVATION_LEASE, now + RESPONSE_RETENTION
    return None


def finish(session: Session, reservation: Reservation, *, status: int, headers: dict[str, str], body: bytes) -> None:
    """Store the response, in the transaction that creates what it describes.

    Raises:
        CreationInFlight: the reservation expired and another attempt took it over; roll back.
    """
    updated_key = session.scalar(
        update(Creation)
        .where(_held_by(reservation))
        .values(status=status, headers=headers, body=body)
        .returning(Creation.key)
        .execution_options(synchronize_session=False)
    )
    if updated_key is None:
        raise CreationInFlight


def renew(session: Session, reservation: Reservation) -> None:
    """Extend the reservation. One that another attempt has taken over stays lost."""
    statement = update(Creation).where(_held_by(reservation))
    deadline = clock(session) + RESERVATION_LEASE
    session.execute(statement.values(in_flight_until=deadline).execution_options(synchronize_session=False))


def abandon(session: Session, reservation: Reservation) -> None:
    """Release the key after the attempt failed."""
    session.execute(delete(Creation).where(_held_by(reservation)))


def forget_expired(session: Session) -> None:
    """Delete stored responses that have expired."""
    session.execute(delete(Creation).where(Creation.expires_at < clock(session)))


def _matches(reservation: Reservation) -> ColumnElement[bool]:
    return and_(
        Creation.tenant_id == reservation.tenant_id,
        Creation.operation == reservation.operation,
        Creation.key == reservation.key,
    )


def _held_by(reservation: Reservation) -> ColumnElement[bool]:
    return and_(_matches(reservation), Creation.attempt == reservation.attempt, Creation.status.is_(None))
