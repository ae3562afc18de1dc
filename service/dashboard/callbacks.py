"""The state of a tenant's webhooks, for their page."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from service.registry.states import DeliveryState
from service.registry.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from service.registry.webhooks.outbox import IS_REGISTERED

MAX_COUNT = 1000
"""Messages are counted up to this; pages show `1,000+` for more."""


@dataclass(frozen=True)
class EndpointHealth:
    """A webhook endpoint with the numbers of its pending and failed deliveries."""

    endpoint: WebhookEndpoint
    pending: int
    failed: int  #: given up
    next_at: datetime | None  #: when the next attempt is due
    last: WebhookAttempt | None  #: of the newest message that was tried


def health(session: Session, tenant_id: uuid.UUID) -> Sequence[EndpointHealth]:
    """All webhooks of a tenant, newest first. There are few: each was registered by hand."""
    endpoints = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant_id, IS_REGISTERED)
    return [
        _of(session, endpoint) for endpoint in session.scalars(endpoints.order_by(WebhookEndpoint.created_at.desc()))
    ]


def _of(session: Session, endpoint: WebhookEndpoint) -> EndpointHealth:
    def count(state: DeliveryState) -> int:
        rows = select(literal(1)).where(WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == state)
        return session.scalar(select(func.count()).select_from(rows.limit(MAX_COUNT + 1).subquery())) or 0

    is_pending = (WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == DeliveryState.PENDING)
    last_attempt = (
        select(WebhookAttempt)
        .join(WebhookDelivery, WebhookDelivery.id == WebhookAttempt.delivery_id)
        .where(WebhookDelivery.endpoint_id == endpoint.id)
        .order_by(WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc(), WebhookAttempt.id.desc())
        .limit(1)
    )
    return EndpointHealth(
        endpoint=endpoint,
        pending=count(DeliveryState.PENDING),
        failed=count(DeliveryState.FAILED),
        next_at=session.scalar(select(func.min(WebhookDelivery.next_at)).where(*is_pending)),
        last=session.scalar(last_attempt),
    )
