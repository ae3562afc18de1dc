"""Webhook deliveries: listing, replay and retention."""

import uuid
from datetime import timedelta

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session, joinedload, selectinload

from service.registry.errors import DeliveryNotFound, WebhookDisabled
from service.registry.states import DeliveryState
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import WebhookDelivery, WebhookEndpoint, WebhookMessage
from service.registry.webhooks import outbox

RETENTION = timedelta(days=30)
"""How long messages are kept, with their deliveries and attempts."""


def list_deliveries(
    session: Session, endpoint: WebhookEndpoint, *, cursor: str | None, limit: int
) -> Page[WebhookDelivery]:
    """All deliveries to an endpoint, sent or pending, newest first."""
    return paginate(
        session,
        _with_relations().where(WebhookDelivery.endpoint_id == endpoint.id),
        newest=WebhookDelivery.created_at,
        identity=WebhookDelivery.id,
        listing=f"webhooks/{endpoint.id.hex}/deliveries",
        cursor=cursor,
        limit=limit,
    )


def replay(session: Session, endpoint: WebhookEndpoint, delivery_id: uuid.UUID) -> WebhookDelivery:
    """Send a delivery again, due now and with its attempts counted from 0. The message keeps its identifier.

    Raises:
        DeliveryNotFound: the endpoint has no such delivery.
        WebhookDisabled: the endpoint is disabled.
    """
    rows = _with_relations().where(WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == endpoint.id)
    delivery = session.scalar(rows.with_for_update(of=WebhookDelivery))
    if delivery is None:
        raise DeliveryNotFound
    if endpoint.disabled_at is not None:
        raise WebhookDisabled
    delivery.state, delivery.tries, delivery.next_at = DeliveryState.PENDING, 0, clock(session)
    outbox.mark_due(session)
    return delivery


def delete_old(session: Session) -> None:
    """Delete messages older than `RETENTION`, with their deliveries and attempts."""
    session.execute(delete(WebhookMessage).where(WebhookMessage.created_at < clock(session) - RETENTION))


def _with_relations() -> Select[WebhookDelivery]:
    return select(WebhookDelivery).options(joinedload(WebhookDelivery.message), selectinload(WebhookDelivery.attempts))
