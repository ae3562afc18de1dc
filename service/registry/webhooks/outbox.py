"""The outbox of webhooks: deliveries are stored in the transaction of the event, and sent and retried later.

Success, retries and giving up follow Standard Webhooks 1.0.0
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

#: The delay of each attempt after the one before it.
SCHEDULE = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)

LEASE = timedelta(minutes=2)
"""How long a sender holds a claimed delivery: longer than any attempt takes, name resolution included."""

IS_REGISTERED = ~WebhookEndpoint.status_callback.has()
"""A condition on `WebhookEndpoint`: registered by the tenant, not the callback of an OpenDSR request."""

_DUE = "deliveries are due"  # key of a session's `info`
_JITTER = 0.1  # share of a delay, so that deliveries that failed together are not retried together
_MAX_RETRY_AFTER = SCHEDULE[-1]


def _claimable() -> Select[WebhookDelivery]:
    """The first due delivery of each endpoint that no sender holds a delivery of."""
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


# Built once: every deletion request runs them, and building a statement takes longer than running it.
_CLAIMABLE = _claimable()
_IS_ENABLED = and_(
    WebhookEndpoint.tenant_id == bindparam("tenant_id"), WebhookEndpoint.disabled_at.is_(None), IS_REGISTERED
)

#: Whether a tenant has an enabled endpoint that `announce` may queue deliveries for.
HAS_ENDPOINTS = exists().where(_IS_ENABLED)

_ENABLED = (
    select(WebhookEndpoint)
    .where(_IS_ENABLED)
    # An endpoint that is deleted at this moment must not make a transition fail: the lock waits, and skips it.
    .with_for_update(read=True, key_share=True)
)


@dataclass(frozen=True)
class DeliveryClaim:
    """A delivery that a sender has claimed, with everything it needs to send it."""

    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID
    at: datetime
    lease_until: datetime
    message_id: str
    body: str
    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)  #: as they are stored: `endpoints.unwrap_key` unwraps them
    private_key: bytes = field(repr=False)
    is_status_callback: bool  #: of an OpenDSR request, signed with the processor's key


@dataclass(frozen=True, kw_only=True)
class DeliveryOutcome:
    """The result of one attempt: an HTTP status, or an error where there was no response."""

    milliseconds: int
    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx; redirects are not followed, and count as failures."""
        return self.status is not None and 200 <= self.status < 300


def announce(session: Session, requests: Sequence[DeletionRequest], *, at: datetime) -> None:
    """Queue a message for the tenant's subscribed endpoints about each request, all of one model and in one new state.

    It holds the state and a link; the rest is read from the API.
    """
    kind = f"deletion_request.{requests[0].state}"
    endpoints = session.scalars(_ENABLED, {"tenant_id": requests[0].tenant_id})
    subscribed = [endpoint for endpoint in endpoints if not endpoint.events or kind in endpoint.events]
    for request in requests if subscribed else ():
        data = {
            "id": str(request.id),
            "model": session.get_one(Model, request.model_id).name,
            "state": request.state,
            "links": {"self": f"/v1/deletion-requests/{request.id}"},
        }
        enqueue_event(session, subscribed, kind, data, at=at)


def enqueue_event(
    session: Session, endpoints: Iterable[WebhookEndpoint], kind: str, data: dict[str, Any], *, at: datetime
) -> list[WebhookDelivery]:
    """Queue a message with the payload of Standard Webhooks (type, timestamp, data) for each of these endpoints."""
    payload = {"type": kind, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data}
    return enqueue(session, endpoints, kind, json.dumps(payload, ensure_ascii=False, separators=(",", ":")), at=at)


def enqueue(
    session: Session, endpoints: Iterable[WebhookEndpoint], kind: str, body: str, *, at: datetime
) -> list[WebhookDelivery]:
    """Queue a message with this body, byte for byte, for each of these endpoints."""
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
    mark_due(session)
    return deliveries


def mark_due(session: Session) -> None:
    """Note in the session that it makes deliveries due."""
    session.info[_DUE] = True


def has_due_deliveries(session: Session) -> bool:
    """Whether this session has made deliveries due, so that the sender is woken after the commit."""
    return _DUE in session.info


def claim(session: Session, *, limit: int) -> list[DeliveryClaim]:
    """Claim the first due delivery of each endpoint without a claimed one, so that none delays the others."""
    now = clock(session)
    return [_lease(delivery, now) for delivery in session.scalars(_CLAIMABLE, {"now": now, "limit": limit})]


def _lease(delivery: WebhookDelivery, now: datetime) -> DeliveryClaim:
    delivery.lease_until = now + LEASE
    endpoint = delivery.endpoint
    signing_secrets = [endpoint.secret]
    until = endpoint.previous_secret_until
    if endpoint.previous_secret is not None and until is not None and until > now:
        signing_secrets.append(endpoint.previous_secret)
    return DeliveryClaim(
        delivery_id=delivery.id,
        endpoint_id=endpoint.id,
        at=now,
        lease_until=delivery.lease_until,
        message_id=delivery.message_id,
        body=delivery.message.body,
        url=endpoint.url,
        secrets=tuple(signing_secrets),
        private_key=endpoint.private_key,
        is_status_callback=endpoint.status_callback is not None,
    )


def record(session: Session, claim: DeliveryClaim, outcome: DeliveryOutcome) -> None:
    """Store an attempt, and end the delivery or schedule the next one; does nothing if the claim's lease was lost."""
    # In the order in which deleting an endpoint takes its locks.
    endpoint = session.get(WebhookEndpoint, claim.endpoint_id, with_for_update={"key_share": True})
    delivery = session.get(WebhookDelivery, claim.delivery_id, with_for_update=True)
    if endpoint is None or delivery is None or delivery.lease_until != claim.lease_until:
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
    """Send nothing to an endpoint until it is enabled again, which resumes its pending deliveries."""
    if endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = at, reason


def _delay(tries: int, retry_after: timedelta | None) -> timedelta:
    delay = SCHEDULE[tries] * (1 + _JITTER * secrets.SystemRandom().random())
    return max(delay, min(retry_after or timedelta(0), _MAX_RETRY_AFTER))
