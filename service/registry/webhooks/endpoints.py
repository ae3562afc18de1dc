"""Endpoints that a tenant wants to be called back at."""

import secrets
import uuid
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.crypto.master_key import MasterKey
from service.registry.errors import Fault, InvalidInput, WebhookDisabled, WebhookNotFound
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import WebhookDelivery, WebhookEndpoint
from service.registry.webhooks import outbox

MOST = 20
"""Endpoints of one tenant: every move of a request makes a row for each."""

GRACE = timedelta(hours=24)
"""How long a rotated secret still signs, beside the new one."""

TEST = "webhook.test"
"""The type of a message that tells of nothing."""

_SECRET_BYTES = 32  # the specification asks for 24 to 64; and it is the size of an Ed25519 key, which is any 32 bytes


_IS_PLAIN = or_(
    *(
        func.length(column) == _SECRET_BYTES
        for column in (WebhookEndpoint.secret, WebhookEndpoint.previous_secret, WebhookEndpoint.private_key)
    )
)


class Event(StrEnum):
    """What an endpoint may hear of: a deletion request has moved to this state."""

    AWAITING_APPROVAL = "deletion_request.awaiting_approval"
    QUEUED = "deletion_request.queued"
    RUNNING = "deletion_request.running"
    COMPLETED = "deletion_request.completed"
    NEEDS_REVIEW = "deletion_request.needs_review"
    FAILED = "deletion_request.failed"
    REJECTED = "deletion_request.rejected"
    CANCELLED = "deletion_request.cancelled"


def create(
    session: Session,
    tenant_id: uuid.UUID,
    master_key: MasterKey,
    *,
    url: str,
    events: Sequence[Event],
    description: str,
) -> WebhookEndpoint:
    """Register an endpoint, with a new secret and a new key pair.

    Raises:
        InvalidInput: the tenant has as many as it may have.
    """
    mine = select(func.count()).select_from(WebhookEndpoint).where(*_of(tenant_id))
    if (session.scalar(mine) or 0) >= MOST:
        raise InvalidInput(Fault("#", f"a tenant has at most {MOST} webhooks"))
    webhook_id = uuid.uuid4()
    endpoint = WebhookEndpoint(
        id=webhook_id,
        tenant_id=tenant_id,
        url=url,
        events=list(events),
        description=description,
        secret=_new_secret(webhook_id, master_key),
        private_key=_new_secret(webhook_id, master_key),
        created_at=clock(session),
    )
    session.add(endpoint)
    session.flush()
    audit_log.append(session, tenant_id, "webhook.registered", about=endpoint.id)
    return endpoint


def find(session: Session, tenant_id: uuid.UUID, webhook_id: uuid.UUID, *, lock: bool = False) -> WebhookEndpoint:
    """One endpoint of a tenant; with `lock` nobody else changes it until the transaction ends.

    Raises:
        WebhookNotFound: there is none.
    """
    rows = select(WebhookEndpoint).where(*_of(tenant_id), WebhookEndpoint.id == webhook_id)
    endpoint = session.scalar(rows.with_for_update(key_share=True) if lock else rows)
    if endpoint is None:
        raise WebhookNotFound
    return endpoint


def list_webhooks(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[WebhookEndpoint]:
    """All endpoints of a tenant, newest first."""
    return paginate(
        session,
        select(WebhookEndpoint).where(*_of(tenant_id)),
        newest=WebhookEndpoint.created_at,
        identity=WebhookEndpoint.id,
        listing="webhooks",
        cursor=cursor,
        limit=limit,
    )


def change(
    session: Session,
    endpoint: WebhookEndpoint,
    *,
    url: str | None,
    events: Sequence[Event] | None,
    description: str | None,
    enabled: bool | None,
) -> WebhookEndpoint:
    """Change what is given. What waited for a disabled endpoint goes on when it is enabled."""
    if url is not None:
        endpoint.url = url
    if events is not None:
        endpoint.events = list(events)
    if description is not None:
        endpoint.description = description
    if enabled is True:
        endpoint.disabled_at = endpoint.disabled_reason = None
        outbox.announce_due(session)
    elif enabled is False:
        outbox.disable(endpoint, "its owner disabled it", at=clock(session))
    audit_log.append(
        session,
        endpoint.tenant_id,
        "webhook.changed",
        about=endpoint.id,
        url_changed=url is not None,
        events_changed=events is not None,
        enabled=enabled,
    )
    return endpoint


def remove(session: Session, tenant_id: uuid.UUID, webhook_id: uuid.UUID) -> None:
    """Remove an endpoint with all its deliveries.

    Raises:
        WebhookNotFound: there is none.
    """
    mine = (*_of(tenant_id), WebhookEndpoint.id == webhook_id)
    if session.scalar(delete(WebhookEndpoint).where(*mine).returning(WebhookEndpoint.id)) is None:
        raise WebhookNotFound
    audit_log.append(session, tenant_id, "webhook.removed", about=webhook_id)


def rotate_secret(session: Session, endpoint: WebhookEndpoint, master_key: MasterKey) -> WebhookEndpoint:
    """A new secret. The old one signs as well for a while; the one before that no longer does."""
    endpoint.previous_secret, endpoint.previous_secret_until = endpoint.secret, clock(session) + GRACE
    endpoint.secret = _new_secret(endpoint.id, master_key)
    audit_log.append(session, endpoint.tenant_id, "webhook.secret_rotated", about=endpoint.id)
    return endpoint


def send_test(session: Session, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Send a message to this endpoint, whatever it listens to.

    Raises:
        WebhookDisabled: nothing is sent to it.
    """
    if endpoint.disabled_at is not None:
        raise WebhookDisabled
    data = {"id": str(endpoint.id), "links": {"self": f"/v1/webhooks/{endpoint.id}"}}
    [delivery] = outbox.queue(session, [endpoint], TEST, data, at=clock(session))
    session.flush()
    return delivery


def opened(stored: bytes, webhook_id: uuid.UUID, master_key: MasterKey) -> bytes:
    """A secret or private key of a webhook. What an earlier release has stored as it was is told by its length.

    Raises:
        OtherMasterKey: it was stored under another one.
    """
    return stored if len(stored) == _SECRET_BYTES else master_key.unwrap(stored, webhook_id)


def seal_plain(session: Session, master_key: MasterKey) -> None:
    """Wrap what an earlier release has stored as it was."""
    for endpoint in session.scalars(select(WebhookEndpoint).where(_IS_PLAIN).with_for_update()):
        endpoint.secret = _sealed(endpoint.secret, endpoint.id, master_key)
        endpoint.private_key = _sealed(endpoint.private_key, endpoint.id, master_key)
        if endpoint.previous_secret is not None:
            endpoint.previous_secret = _sealed(endpoint.previous_secret, endpoint.id, master_key)


def are_plain(session: Session) -> bool:
    """Is there something to seal?"""
    return session.scalar(select(WebhookEndpoint.id).where(_IS_PLAIN).limit(1)) is not None


def forget_previous_secrets(session: Session) -> None:
    """Remove rotated secrets that no longer sign."""
    over = WebhookEndpoint.previous_secret_until < clock(session)
    session.execute(update(WebhookEndpoint).where(over).values(previous_secret=None, previous_secret_until=None))


def _new_secret(webhook_id: uuid.UUID, master_key: MasterKey) -> bytes:
    return master_key.wrap(secrets.token_bytes(_SECRET_BYTES), webhook_id)


def _sealed(stored: bytes, webhook_id: uuid.UUID, master_key: MasterKey) -> bytes:
    return master_key.wrap(opened(stored, webhook_id, master_key), webhook_id)


def _of(tenant_id: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
    return (WebhookEndpoint.tenant_id == tenant_id, outbox.IS_REGISTERED)
