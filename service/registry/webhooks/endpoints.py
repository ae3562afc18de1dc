"""Webhook endpoints that tenants have registered, and their keys."""

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

MAX_ENDPOINTS = 20
"""Most endpoints of one tenant: every transition of a request stores a delivery for each."""

GRACE = timedelta(hours=24)
"""How long the previous secret signs beside the new one after a rotation."""

TEST_EVENT = "webhook.test"
"""The type of a test message."""

_SECRET_BYTES = (
    32  # Standard Webhooks asks for 24 to 64; an Ed25519 private key is any 32 bytes (RFC 8032, section 5.1.5)
)


_HAS_PLAINTEXT = or_(
    *(
        func.length(column) == _SECRET_BYTES
        for column in (WebhookEndpoint.secret, WebhookEndpoint.previous_secret, WebhookEndpoint.private_key)
    )
)


class Event(StrEnum):
    """Events that an endpoint may subscribe to: a deletion request has moved to this state."""

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
        InvalidInput: the tenant has `MAX_ENDPOINTS` already.
    """
    count = select(func.count()).select_from(WebhookEndpoint).where(*_endpoints_of(tenant_id))
    if (session.scalar(count) or 0) >= MAX_ENDPOINTS:
        raise InvalidInput(Fault("#", f"a tenant has at most {MAX_ENDPOINTS} webhooks"))
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
    """A registered endpoint of a tenant; with `lock` its row is locked until the transaction ends.

    Raises:
        WebhookNotFound: there is none.
    """
    rows = select(WebhookEndpoint).where(*_endpoints_of(tenant_id), WebhookEndpoint.id == webhook_id)
    endpoint = session.scalar(rows.with_for_update(key_share=True) if lock else rows)
    if endpoint is None:
        raise WebhookNotFound
    return endpoint


def list_webhooks(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[WebhookEndpoint]:
    """All registered endpoints of a tenant, newest first."""
    return paginate(
        session,
        select(WebhookEndpoint).where(*_endpoints_of(tenant_id)),
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
    """Change the attributes that are not `None`. Enabling an endpoint resumes its pending deliveries."""
    if url is not None:
        endpoint.url = url
    if events is not None:
        endpoint.events = list(events)
    if description is not None:
        endpoint.description = description
    if enabled is True:
        endpoint.disabled_at = endpoint.disabled_reason = None
        outbox.mark_due(session)
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
    conditions = (*_endpoints_of(tenant_id), WebhookEndpoint.id == webhook_id)
    if session.scalar(delete(WebhookEndpoint).where(*conditions).returning(WebhookEndpoint.id)) is None:
        raise WebhookNotFound
    audit_log.append(session, tenant_id, "webhook.removed", about=webhook_id)


def rotate_secret(session: Session, endpoint: WebhookEndpoint, master_key: MasterKey) -> WebhookEndpoint:
    """Replace the secret. The old one signs beside it for `GRACE`; the one before that no longer does."""
    endpoint.previous_secret, endpoint.previous_secret_until = endpoint.secret, clock(session) + GRACE
    endpoint.secret = _new_secret(endpoint.id, master_key)
    audit_log.append(session, endpoint.tenant_id, "webhook.secret_rotated", about=endpoint.id)
    return endpoint


def send_test(session: Session, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Queue a test message for this endpoint, whatever events it subscribes to.

    Raises:
        WebhookDisabled: the endpoint is disabled.
    """
    if endpoint.disabled_at is not None:
        raise WebhookDisabled
    data = {"id": str(endpoint.id), "links": {"self": f"/v1/webhooks/{endpoint.id}"}}
    [delivery] = outbox.enqueue_event(session, [endpoint], TEST_EVENT, data, at=clock(session))
    session.flush()
    return delivery


def unwrap_key(stored: bytes, webhook_id: uuid.UUID, master_key: MasterKey) -> bytes:
    """A secret or private key of a webhook, unwrapped. One that an earlier release stored unwrapped has 32 bytes.

    Raises:
        OtherMasterKey: it was wrapped by another master key.
    """
    return stored if len(stored) == _SECRET_BYTES else master_key.unwrap(stored, webhook_id)


def wrap_plaintext_secrets(session: Session, master_key: MasterKey) -> None:
    """Wrap the keys that an earlier release stored unwrapped."""
    for endpoint in session.scalars(select(WebhookEndpoint).where(_HAS_PLAINTEXT).with_for_update()):
        endpoint.secret = _wrapped(endpoint.secret, endpoint.id, master_key)
        endpoint.private_key = _wrapped(endpoint.private_key, endpoint.id, master_key)
        if endpoint.previous_secret is not None:
            endpoint.previous_secret = _wrapped(endpoint.previous_secret, endpoint.id, master_key)


def has_plaintext_secrets(session: Session) -> bool:
    """Whether an endpoint has keys that an earlier release stored unwrapped."""
    return session.scalar(select(WebhookEndpoint.id).where(_HAS_PLAINTEXT).limit(1)) is not None


def delete_expired_secrets(session: Session) -> None:
    """Remove previous secrets that no longer sign."""
    is_expired = WebhookEndpoint.previous_secret_until < clock(session)
    session.execute(update(WebhookEndpoint).where(is_expired).values(previous_secret=None, previous_secret_until=None))


def _new_secret(webhook_id: uuid.UUID, master_key: MasterKey) -> bytes:
    return master_key.wrap(secrets.token_bytes(_SECRET_BYTES), webhook_id)


def _wrapped(stored: bytes, webhook_id: uuid.UUID, master_key: MasterKey) -> bytes:
    return master_key.wrap(unwrap_key(stored, webhook_id, master_key), webhook_id)


def _endpoints_of(tenant_id: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
    return (WebhookEndpoint.tenant_id == tenant_id, outbox.IS_REGISTERED)
