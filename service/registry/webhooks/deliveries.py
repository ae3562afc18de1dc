"""What was sent to endpoints, or will be: listed, sent again, and removed once it is old."""

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

KEPT = timedelta(days=30)
"""How long messages are kept, with all that became of them."""


def list_deliveries(
    session: Session, endpoint: WebhookEndpoint, *, cursor: str | None, limit: int
) -> Page[WebhookDelivery]:
    """Everything that was sent to an endpoint, or will be, newest first."""
    return paginate(
        session,
        _with_everything().where(WebhookDelivery.endpoint_id == endpoint.id),
        newest=WebhookDelivery.created_at,
        identity=WebhookDelivery.id,
        listing=f"webhooks/{endpoint.id.hex}/deliveries",
        cursor=cursor,
        limit=limit,
    )


def replay(session: Session, endpoint: WebhookEndpoint, delivery_id: uuid.UUID) -> WebhookDelivery:
    """Begin again, now and with all attempts. The message is the same, and so is its identifier.

    Raises:
        DeliveryNotFound: the endpoint has no such delivery.
        WebhookDisabled: nothing is sent to it.
    """
    found = _with_everything().where(WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == endpoint.id)
    delivery = session.scalar(found.with_for_update(of=WebhookDelivery))
    if delivery is None:
        raise DeliveryNotFound
    if endpoint.disabled_at is not None:
        raise WebhookDisabled
    delivery.state, delivery.tries, delivery.next_at = DeliveryState.PENDING, 0, clock(session)
    outbox.announce_due(session)
    return delivery


def forget_old(session: Session) -> None:
    """Remove messages that are older than anybody looks for, with their deliveries and attempts."""
    session.execute(delete(WebhookMessage).where(WebhookMessage.created_at < clock(session) - KEPT))


def _with_everything() -> Select[WebhookDelivery]:
    return select(WebhookDelivery).options(joinedload(WebhookDelivery.message), selectinload(WebhookDelivery.attempts))
