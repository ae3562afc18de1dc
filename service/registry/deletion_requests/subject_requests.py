"""OpenDSR requests: accepting, finding and withdrawing them."""

import uuid
from collections.abc import Collection, Iterable

from sqlalchemy import delete, exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload

from service.registry.audit import audit_log
from service.registry.deletion_requests import lifecycle
from service.registry.errors import NotPending, SubjectRequestNotFound, SubjectRequestReused
from service.registry.job_queue import jobs
from service.registry.states import ENDED, DeliveryState, RequestStatus
from service.registry.storage.database import clock
from service.registry.tables import (
    DeletionRequest,
    Erasure,
    StatusCallback,
    SubjectIdentity,
    SubjectRequest,
    WebhookDelivery,
    WebhookEndpoint,
)


def find_repeated(
    session: Session, tenant_id: uuid.UUID, subject_request_id: uuid.UUID, fingerprint: str
) -> SubjectRequest | None:
    """The request that was accepted under this identifier before; `None` if there is none.

    Raises:
        SubjectRequestReused: the fingerprint of its body is another one.
    """
    row = _find(session, tenant_id, subject_request_id)
    if row is not None and row.fingerprint != fingerprint:
        raise SubjectRequestReused
    return row


def accept(
    session: Session,
    tenant_id: uuid.UUID,
    *,
    subject_request_id: uuid.UUID,
    fingerprint: str,
    domain: str,
    regulation: str,
    subjects: Collection[bytes],
    callbacks: Iterable[str],
) -> SubjectRequest | None:
    """Store a request with its subjects' HMACs and its callback URLs; `None` if it is stored already."""
    now = clock(session)
    row = SubjectRequest(
        tenant_id=tenant_id,
        subject_request_id=subject_request_id,
        fingerprint=fingerprint,
        domain=domain,
        status=RequestStatus.PENDING,
        received_at=now,
        due_at=lifecycle.due_at(regulation, now),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return None
    # Callbacks are signed with the processor's key, so the endpoints need none of their own.
    endpoints = [
        WebhookEndpoint(
            tenant_id=tenant_id, url=url, events=[], description="", secret=b"", private_key=b"", created_at=now
        )
        for url in callbacks
    ]
    session.add_all(endpoints)
    session.flush()
    session.add_all(StatusCallback(endpoint_id=endpoint.id, request_id=row.id) for endpoint in endpoints)
    session.add_all(SubjectIdentity(request_id=row.id, hmac=subject) for subject in subjects)
    session.flush()
    audit_log.append(session, tenant_id, "subject_request.received", about=row.id, identities=len(subjects))
    return find(session, tenant_id, subject_request_id)


def add_erasure(session: Session, subject_request: SubjectRequest, request: DeletionRequest) -> None:
    """Record that a deletion request serves an OpenDSR request."""
    session.add(Erasure(deletion_request_id=request.id, request_id=subject_request.id))
    session.flush()


def find(
    session: Session, tenant_id: uuid.UUID, subject_request_id: uuid.UUID, *, lock: bool = False
) -> SubjectRequest:
    """A tenant's request with its tenant and its deletion requests, as it is now.

    With `lock` its row is locked until the transaction ends.

    Raises:
        SubjectRequestNotFound: there is none.
    """
    row = _find(session, tenant_id, subject_request_id, lock=lock)
    if row is None:
        raise SubjectRequestNotFound
    return row


def withdraw(session: Session, subject_request: SubjectRequest) -> SubjectRequest:
    """Withdraw all of its deletion requests, and read it again. Idempotent.

    Raises:
        NotPending: one of them has begun.
    """
    # In the order of the models, against deadlocks; that of the jobs may change while this waits.
    for request in sorted(subject_request.deletion_requests, key=lambda request: (request.model_id, request.id)):
        jobs.lock_job_of(session, request)  # so that none begins from here on
    subject_request = find(session, subject_request.tenant_id, subject_request.subject_request_id, lock=True)
    if subject_request.cancelled_at is None:
        if subject_request.status is not RequestStatus.PENDING:
            raise NotPending
        for request in subject_request.deletion_requests:
            if request.state not in ENDED:
                lifecycle.withdraw(session, request)
        subject_request.cancelled_at = clock(session)
        audit_log.append(session, subject_request.tenant_id, "subject_request.withdrawn", about=subject_request.id)
    return find(session, subject_request.tenant_id, subject_request.subject_request_id)


def failed_callbacks(session: Session, subject_request: SubjectRequest) -> int:
    """Number of callbacks that failed for good and are still kept, which is for 30 days."""
    failed = (
        select(func.count())
        .select_from(WebhookDelivery)
        .join(StatusCallback, StatusCallback.endpoint_id == WebhookDelivery.endpoint_id)
        .where(StatusCallback.request_id == subject_request.id, WebhookDelivery.state == DeliveryState.FAILED)
    )
    return session.scalar(failed) or 0


def delete_unneeded_callbacks(session: Session) -> None:
    """Delete the callback endpoints of ended requests that have no deliveries left."""
    ended = (RequestStatus.COMPLETED, RequestStatus.CANCELLED)
    unneeded = (
        select(StatusCallback.endpoint_id)
        .join(SubjectRequest, SubjectRequest.id == StatusCallback.request_id)
        .where(SubjectRequest.status.in_(ended))
        .where(~exists().where(WebhookDelivery.endpoint_id == StatusCallback.endpoint_id))
    )
    session.execute(
        delete(WebhookEndpoint).where(WebhookEndpoint.id.in_(unneeded)).execution_options(synchronize_session=False)
    )


def _find(
    session: Session, tenant_id: uuid.UUID, subject_request_id: uuid.UUID, *, lock: bool = False
) -> SubjectRequest | None:
    conditions = (SubjectRequest.tenant_id == tenant_id, SubjectRequest.subject_request_id == subject_request_id)
    rows = select(SubjectRequest).where(*conditions).execution_options(populate_existing=True)
    rows = rows.options(
        joinedload(SubjectRequest.tenant),
        selectinload(SubjectRequest.deletion_requests).joinedload(DeletionRequest.model),
    )
    return session.scalar(rows.with_for_update(of=SubjectRequest, key_share=True) if lock else rows)
