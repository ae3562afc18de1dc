"""The life of deletion requests: submit, withdraw, approve, reject, retry."""

import uuid
from datetime import datetime, timedelta

from dateutil.relativedelta import relativedelta
from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session, aliased, joinedload, load_only
from sqlalchemy.orm.attributes import set_committed_value

from service.registry.audit import audit_log
from service.registry.errors import (
    DeletionRequestNotFound,
    ImagesDestroyed,
    ModelNotFound,
    NotAwaitingApproval,
    NotRetriable,
    OwnRequest,
    PastCommitPoint,
    QueueFull,
    VersionMissing,
)
from service.registry.job_queue import jobs, state_machine
from service.registry.models.versions import may_be_built_on
from service.registry.options import Options
from service.registry.reasons import Reason, ReasonCode
from service.registry.states import State
from service.registry.storage.database import clock_with, insert_new
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import DeletionRequest, Job, Model, Transition, Version
from service.registry.telemetry import traces
from service.registry.webhooks import outbox

#: Time to answer, counted from receipt: GDPR Art. 12(3); 11 CCR § 7021. Thirty days for any other regulation.
_TIME_TO_ANSWER = {"gdpr": relativedelta(months=1), "ccpa": timedelta(days=45)}
_DEFAULT_TIME_TO_ANSWER = timedelta(days=30)


def due_at(regulation: str, received_at: datetime) -> datetime:
    """When the person must have an answer."""
    due: datetime = received_at + _TIME_TO_ANSWER.get(regulation.lower(), _DEFAULT_TIME_TO_ANSWER)
    return due


def submit(
    session: Session,
    model: Model,
    *,
    request_id: uuid.UUID,
    regulation: str,
    samples: str,
    samples_key: bytes | None,
    sample_count: int,
    samples_hmac: str,
    submitted_by: str,
    options: Options,
) -> DeletionRequest:
    """Store a request and the job that will serve it. The caller has checked that the model has a version."""
    parameters = {"tenant_id": model.tenant_id, "model_id": model.id, "samples_hmac": samples_hmac}
    now, (earliest, has_endpoints) = clock_with(session, _EARLIEST, outbox.HAS_ENDPOINTS, parameters=parameters)
    job = state_machine.enqueue(session, model, options, at=now)
    request = DeletionRequest(
        id=request_id,
        tenant_id=model.tenant_id,
        model_id=model.id,
        job_id=job.id,
        state=job.state,
        regulation=regulation,
        received_at=now,
        due_at=due_at(regulation, now),
        samples=samples,
        samples_key=samples_key,
        sample_count=sample_count,
        samples_hmac=samples_hmac,
        duplicate_of_id=earliest,
        submitted_by=submitted_by,
        withdrawn=False,
        traceparent=traces.traceparent(),
    )
    insert_new(session, request)
    set_committed_value(request, "model", model)
    set_committed_value(request, "job", job)
    state_machine.receive(session, request, at=now)
    if has_endpoints:
        outbox.announce(session, [request], at=now)
    return request


def find(session: Session, tenant_id: uuid.UUID, request_id: uuid.UUID) -> DeletionRequest:
    """A tenant's request with its model, its job and the version that the job published.

    Raises:
        DeletionRequestNotFound: there is none.
    """
    request = session.scalar(_BY_ID, {"id": request_id})
    if request is None or request.tenant_id != tenant_id or request.record_removed_at is not None:
        raise DeletionRequestNotFound
    return request


def read(session: Session, request_id: uuid.UUID) -> DeletionRequest:
    """A request of any tenant, which must exist, with its model, its job and the version that the job published."""
    return session.execute(_BY_ID, {"id": request_id}, execution_options={"populate_existing": True}).scalar_one()


def list_requests(
    session: Session, tenant_id: uuid.UUID, *, model: Model | None, state: State | None, cursor: str | None, limit: int
) -> Page[DeletionRequest]:
    """Requests of a tenant, newest first; only of a model or in a state, where given."""
    rows = _with_relations().where(DeletionRequest.tenant_id == tenant_id, DeletionRequest.record_removed_at.is_(None))
    if model is not None:
        rows = rows.where(DeletionRequest.model_id == model.id)
    if state is not None:
        rows = rows.where(DeletionRequest.state == state)
    return paginate(
        session,
        rows,
        newest=DeletionRequest.received_at,
        identity=DeletionRequest.id,
        listing=f"deletion-requests/{model.id.hex if model else ''}/{state or ''}",
        cursor=cursor,
        limit=limit,
    )


def transitions(session: Session, request_id: uuid.UUID, *, after: int = 0) -> list[Transition]:
    """The transitions of a request whose identifier is greater than `after`, oldest first."""
    rows = select(Transition).where(Transition.request_id == request_id, Transition.id > after)
    return list(session.scalars(rows.order_by(Transition.id)))


def withdraw(session: Session, request: DeletionRequest) -> DeletionRequest:
    """Withdraw a request, and read it again. A running job stops at its next step.

    Raises:
        PastCommitPoint: it has ended.
    """
    job = jobs.lock_job_of(session, request)
    request = read(session, request.id)
    if job.state is State.RUNNING:
        job.cancel_requested = request.withdrawn = True
    elif job.state in (State.QUEUED, State.AWAITING_APPROVAL):
        state_machine.move_one(session, job, request, State.CANCELLED, reason=Reason(ReasonCode.WITHDRAWN))
    else:
        raise PastCommitPoint
    audit_log.append(session, request.tenant_id, "deletion_request.withdrawn", about=request.id)
    return read(session, request.id)


def approve(session: Session, request: DeletionRequest, *, by: str) -> DeletionRequest:
    """Approve a request, which is queued. Whoever submitted it may not approve it.

    Raises:
        NotAwaitingApproval: it is in another state.
        OwnRequest: `by` submitted it.
    """
    job = _awaiting_approval(session, request, by=by)
    state_machine.move(session, job, State.QUEUED, reason=Reason(ReasonCode.APPROVED))
    audit_log.append(session, request.tenant_id, "deletion_request.approved", about=request.id, by=by)
    return read(session, request.id)


def reject(session: Session, request: DeletionRequest, *, by: str, reason: str) -> DeletionRequest:
    """Reject a request. Whoever submitted it withdraws it instead.

    Raises:
        NotAwaitingApproval: it is in another state.
        OwnRequest: `by` submitted it.
    """
    job = _awaiting_approval(session, request, by=by)
    state_machine.move(session, job, State.REJECTED, reason=Reason(ReasonCode.DECLINED, None, {"text": reason}))
    audit_log.append(session, request.tenant_id, "deletion_request.rejected", about=request.id, by=by)
    return read(session, request.id)


def _awaiting_approval(session: Session, request: DeletionRequest, *, by: str) -> Job:
    job = jobs.lock_job_of(session, request)
    if job.state is not State.AWAITING_APPROVAL:
        raise NotAwaitingApproval
    if request.submitted_by == by:
        raise OwnRequest
    return job


def retry(session: Session, request: DeletionRequest) -> DeletionRequest:
    """Queue a failed request again, under the same identifier and with its attempts counted from 0, and read it again.

    Its job serves no other request, so that a second failure affects none.

    Raises:
        NotRetriable: it has not failed.
        ImagesDestroyed: its images were destroyed after their retention.
    """
    job = jobs.lock_job_of(session, request)
    if job.state is not State.FAILED:
        raise NotRetriable
    if any(served.samples is None for served in jobs.requests_of(session, job.id)):
        raise ImagesDestroyed
    job.attempt, job.alone = 0, True
    state_machine.move(session, job, State.QUEUED, reason=Reason(ReasonCode.RETRIED))
    audit_log.append(session, request.tenant_id, "deletion_request.retried", about=request.id)
    return read(session, request.id)


def _with_relations() -> Select[DeletionRequest]:
    return select(DeletionRequest).options(
        joinedload(DeletionRequest.model), joinedload(DeletionRequest.job).joinedload(Job.version)
    )


_BY_ID = _with_relations().where(DeletionRequest.id == bindparam("id"))

#: The first request for the same images of this model that has not failed and was not rejected or cancelled.
_EARLIEST = (
    select(DeletionRequest.id)
    .where(
        DeletionRequest.model_id == bindparam("model_id"),
        DeletionRequest.samples_hmac == bindparam("samples_hmac"),
        DeletionRequest.state.not_in((State.FAILED, State.REJECTED, State.CANCELLED)),
    )
    .order_by(DeletionRequest.received_at)
    .limit(1)
    .scalar_subquery()
)


_newest = aliased(Version)


_TO_UNLEARN = (
    select(Model, Version, jobs.QUEUE_IS_FULL)
    .where(Model.tenant_id == bindparam("tenant_id"), Model.name == bindparam("name"))
    .outerjoin(
        Version,
        Version.id
        == select(_newest.id)
        .where(_newest.model_id == Model.id, *may_be_built_on(_newest))
        .order_by(_newest.number.desc())
        .limit(1)
        .correlate(Model)
        .scalar_subquery(),
    )
    .options(load_only(Version.model_id, Version.number, Version.parent_id, Version.classes))
)


def find_model_to_unlearn(
    session: Session, tenant_id: uuid.UUID, name: str, *, max_waiting: int = 0
) -> tuple[Model, Version]:
    """The tenant's model of this name, with the version that the next run would start from.

    With `max_waiting` above 0 it also does, in the same statement, what `jobs.check_queue_limit` does.

    Raises:
        ModelNotFound: there is none.
        VersionMissing: it has no version yet.
        QueueFull: `max_waiting` jobs of the tenant wait already.
    """
    parameters = {"tenant_id": tenant_id, "name": name, "max_waiting": max(max_waiting, 1)}
    row = session.execute(_TO_UNLEARN, parameters).one_or_none()
    if row is None:
        raise ModelNotFound
    model, version, queue_is_full = row
    if version is None:
        raise VersionMissing
    if max_waiting and queue_is_full:
        raise QueueFull
    return model, version
