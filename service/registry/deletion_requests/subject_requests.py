"""OpenDSR requests: accepting one once, finding it, withdrawing it."""

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


def repeated(
    session: Session, tenant_id: uuid.UUID, subject_request_id: uuid.UUID, fingerprint: str
) -> SubjectRequest | None:
    """The request that was accepted under this identifier before; nothing if there is none.

    Raises:
        SubjectRequestReused: it was another one.
    """
    known = _find(session, tenant_id, subject_request_id)
    if known is not None and known.fingerprint != fingerprint:
        raise SubjectRequestReused
    return known


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
    """Store a request, with whom it names and who is told of it; nothing if somebody was faster."""
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
    # Signed with the processor's key, they need none of their own.
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


def serve(session: Session, whole: SubjectRequest, request: DeletionRequest) -> None:
    """Make a deletion request part of what an OpenDSR request comes to."""
    session.add(Erasure(deletion_request_id=request.id, request_id=whole.id))
    session.flush()


def find(
    session: Session, tenant_id: uuid.UUID, subject_request_id: uuid.UUID, *, lock: bool = False
) -> SubjectRequest:
    """A tenant's request with its tenant and its deletion requests, as it is now.

    With `lock` nobody else changes it until the transaction ends.

    Raises:
        SubjectRequestNotFound: there is none.
    """
    found = _find(session, tenant_id, subject_request_id, lock=lock)
    if found is None:
        raise SubjectRequestNotFound
    return found


def withdraw(session: Session, whole: SubjectRequest) -> SubjectRequest:
    """Withdraw all of its deletion requests, and look at it again. Doing it again changes nothing.

    Raises:
        NotPending: one of them has begun.
    """
    # Two of us take them in one order, which is that of the models: jobs may change while we wait.
    for request in sorted(whole.deletion_requests, key=lambda request: (request.model_id, request.id)):
        jobs.lock_of(session, request)  # so that none begins from here on
    whole = find(session, whole.tenant_id, whole.subject_request_id, lock=True)
    if whole.cancelled_at is None:
        if whole.status is not RequestStatus.PENDING:
            raise NotPending
        for request in whole.deletion_requests:
            if request.state not in ENDED:
                lifecycle.withdraw(session, request)
        whole.cancelled_at = clock(session)
        audit_log.append(session, whole.tenant_id, "subject_request.withdrawn", about=whole.id)
    return find(session, whole.tenant_id, whole.subject_request_id)


def failed_callbacks(session: Session, whole: SubjectRequest) -> int:
    """How many callbacks of the last 30 days were given up."""
    failed = (
        select(func.count())
        .select_from(WebhookDelivery)
        .join(StatusCallback, StatusCallback.endpoint_id == WebhookDelivery.endpoint_id)
        .where(StatusCallback.request_id == whole.id, WebhookDelivery.state == DeliveryState.FAILED)
    )
    return session.scalar(failed) or 0


def forget_callbacks(session: Session) -> None:
    """Remove the callbacks of requests that have ended and of which all deliveries are forgotten."""
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
    mine = (SubjectRequest.tenant_id == tenant_id, SubjectRequest.subject_request_id == subject_request_id)
    rows = select(SubjectRequest).where(*mine).execution_options(populate_existing=True)
    rows = rows.options(
        joinedload(SubjectRequest.tenant),
        selectinload(SubjectRequest.deletion_requests).joinedload(DeletionRequest.model),
    )
    return session.scalar(rows.with_for_update(of=SubjectRequest, key_share=True) if lock else rows)
