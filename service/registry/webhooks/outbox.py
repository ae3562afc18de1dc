"""The outbox of callbacks: written in the transaction of what it tells of, sent later, as often as it takes.

What counts as success, when to try again and when to give up is as of Standard Webhooks 1.0.0
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Deliverability and
reliability").
"""

import json
import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from sqlalchemy import BindParameter, Select, and_, bindparam, exists, or_, select
from sqlalchemy.orm import Session, aliased, joinedload

from service.registry.states import DeliveryState
from service.registry.storage.database import clock
from service.registry.tables import (
    DeletionRequest,
    Model,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
)
from service.registry.telemetry import counters
from service.registry.telemetry.counters import CounterName

#: How long after the attempt before it each attempt comes.
SCHEDULE = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)

LEASE = timedelta(minutes=2)
"""How long a claimed delivery is its sender's: longer than any attempt takes, name resolution included."""

IS_REGISTERED = ~WebhookEndpoint.status_callback.has()
"""Of endpoints: the tenant has registered it, and no OpenDSR request brought it along."""

_DUE = "deliveries are due"  # key of a session's `info`
_JITTER = 0.1  # share of a delay, so that what failed together does not come back together
_MOST_PATIENCE = SCHEDULE[-1]


def _free() -> Select[WebhookDelivery]:
    """The first due delivery of each endpoint that nobody is sending to."""
    now: BindParameter[datetime] = bindparam("now")
    due = (
        WebhookDelivery.state == DeliveryState.PENDING,
        WebhookDelivery.next_at <= now,
        or_(WebhookDelivery.lease_until.is_(None), WebhookDelivery.lease_until <= now),
    )
    other, first = aliased(WebhookDelivery), aliased(WebhookDelivery)
    busy = exists().where(other.endpoint_id == WebhookEndpoint.id, other.lease_until > now)
    first_due = (
        select(first.id)
        .where(first.endpoint_id == WebhookEndpoint.id, first.state == DeliveryState.PENDING, first.next_at <= now)
        .order_by(first.next_at, first.id)
        .limit(1)
        .correlate(WebhookEndpoint)
        .scalar_subquery()
    )
    return (
        select(WebhookDelivery)
        .join(WebhookDelivery.endpoint)
        .where(WebhookEndpoint.disabled_at.is_(None), ~busy, WebhookDelivery.id == first_due, *due)
        .order_by(WebhookDelivery.next_at)
        .limit(bindparam("limit"))
        .options(
            joinedload(WebhookDelivery.endpoint).joinedload(WebhookEndpoint.status_callback),
            joinedload(WebhookDelivery.message),
        )
        .with_for_update(of=WebhookDelivery, skip_locked=True)
    )


# Every deletion request asks these: putting a statement together takes longer than running it.
_FREE = _free()
_IS_ENABLED = and_(
    WebhookEndpoint.tenant_id == bindparam("tenant_id"), WebhookEndpoint.disabled_at.is_(None), IS_REGISTERED
)

#: Has a tenant any endpoint that `announce` might tell?
SOMEBODY_LISTENS = exists().where(_IS_ENABLED)

_ENABLED = (
    select(WebhookEndpoint)
    .where(_IS_ENABLED)
    # An endpoint that is removed at this moment must not make a move fail: the lock waits, and leaves it out.
    .with_for_update(read=True, key_share=True)
)


@dataclass(frozen=True)
class DeliveryClaim:
    """A sender's hold on a delivery, and what it has to send."""

    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID
    at: datetime
    until: datetime
    message_id: str
    body: str
    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)  #: as they are stored: `webhooks.opened` opens them
    private_key: bytes = field(repr=False)
    is_status_callback: bool  #: of an OpenDSR request, signed with the processor's key


@dataclass(frozen=True, kw_only=True)
class DeliveryOutcome:
    """How one attempt ended: with a status, or with a word for why there is none."""

    milliseconds: int
    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """2xx and nothing else: a redirect is not followed."""
        return self.status is not None and 200 <= self.status < 300


def announce(session: Session, requests: Sequence[DeletionRequest], *, at: datetime) -> None:
    """Tell the tenant's endpoints of the state that requests of one model have moved to: the rest is found there."""
    kind = f"deletion_request.{requests[0].state}"
    endpoints = session.scalars(_ENABLED, {"tenant_id": requests[0].tenant_id})
    listening = [endpoint for endpoint in endpoints if not endpoint.events or kind in endpoint.events]
    for request in requests if listening else ():
        data = {
            "id": str(request.id),
            "model": session.get_one(Model, request.model_id).name,
            "state": request.state,
            "links": {"self": f"/v1/deletion-requests/{request.id}"},
        }
        queue(session, listening, kind, data, at=at)


def queue(
    session: Session, endpoints: Iterable[WebhookEndpoint], kind: str, data: dict[str, Any], *, at: datetime
) -> list[WebhookDelivery]:
    """Put one message of Standard Webhooks on its way to these endpoints."""
    payload = {"type": kind, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data}
    return send(session, endpoints, kind, json.dumps(payload, ensure_ascii=False, separators=(",", ":")), at=at)


def send(
    session: Session, endpoints: Iterable[WebhookEndpoint], kind: str, body: str, *, at: datetime
) -> list[WebhookDelivery]:
    """Put one body on its way to these endpoints, as it is."""
    message = WebhookMessage(id=f"msg_{uuid.uuid4().hex}", type=kind, body=body, created_at=at)
    deliveries = [
        WebhookDelivery(
            message=message,
            endpoint_id=endpoint.id,
            state=DeliveryState.PENDING,
            next_at=at,
            created_at=at,
            attempts=[],
        )
        for endpoint in endpoints
    ]
    session.add_all(deliveries)
    announce_due(session)
    return deliveries


def announce_due(session: Session) -> None:
    """This session makes deliveries due."""
    session.info[_DUE] = True


def are_due(session: Session) -> bool:
    """Has this session made deliveries due? Then a sender need not wait for its next turn."""
    return _DUE in session.info


def claim(session: Session, *, limit: int) -> list[DeliveryClaim]:
    """Take the first due delivery of each endpoint that nobody is sending to, so that none holds up the others."""
    now = clock(session)
    return [_lease(delivery, now) for delivery in session.scalars(_FREE, {"now": now, "limit": limit})]


def _lease(delivery: WebhookDelivery, now: datetime) -> DeliveryClaim:
    delivery.lease_until = now + LEASE
    endpoint = delivery.endpoint
    known = [endpoint.secret]
    until = endpoint.previous_secret_until
    if endpoint.previous_secret is not None and until is not None and until > now:
        known.append(endpoint.previous_secret)
    return DeliveryClaim(
        delivery_id=delivery.id,
        endpoint_id=endpoint.id,
        at=now,
        until=delivery.lease_until,
        message_id=delivery.message_id,
        body=delivery.message.body,
        url=endpoint.url,
        secrets=tuple(known),
        private_key=endpoint.private_key,
        is_status_callback=endpoint.status_callback is not None,
    )


def record(session: Session, claim: DeliveryClaim, outcome: DeliveryOutcome) -> None:
    """Write an attempt down, and decide what comes next. Nothing, if the delivery is no longer the sender's."""
    # In the order in which the removal of an endpoint takes its locks.
    endpoint = session.get(WebhookEndpoint, claim.endpoint_id, with_for_update={"key_share": True})
    delivery = session.get(WebhookDelivery, claim.delivery_id, with_for_update=True)
    if endpoint is None or delivery is None or delivery.lease_until != claim.until:
        return
    session.add(
        WebhookAttempt(
            delivery_id=delivery.id,
            at=claim.at,
            status=outcome.status,
            error=outcome.error,
            milliseconds=outcome.milliseconds,
        )
    )
    now = clock(session)
    delivery.tries += 1
    delivery.lease_until = None
    if outcome.is_success:
        delivery.state, delivery.next_at = DeliveryState.SUCCEEDED, None
    elif outcome.status == HTTPStatus.GONE:
        delivery.state, delivery.next_at = DeliveryState.FAILED, None
        disable(endpoint, "it answered 410 Gone", at=now)
    elif delivery.tries < len(SCHEDULE):
        delivery.next_at = now + _delay(delivery.tries, outcome.retry_after)
    else:
        delivery.state, delivery.next_at = DeliveryState.FAILED, None
        disable(endpoint, f"a delivery failed {delivery.tries} times", at=now)
    if delivery.state is not DeliveryState.PENDING:
        counters.add(session, CounterName.DELIVERIES_ENDED, delivery.state)


def disable(endpoint: WebhookEndpoint, reason: str, *, at: datetime) -> None:
    """Send it nothing more, until somebody enables it again; what waits for it then goes on."""
    if endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = at, reason


def _delay(tries: int, retry_after: timedelta | None) -> timedelta:
    delay = SCHEDULE[tries] * (1 + _JITTER * secrets.SystemRandom().random())
    return max(delay, min(retry_after or timedelta(0), _MOST_PATIENCE))
