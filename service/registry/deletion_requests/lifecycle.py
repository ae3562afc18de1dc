"""Deletion requests: accepting them, withdrawing them, deciding on them, and trying again."""

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

#: How long a regulation gives, counted from receipt: GDPR Art. 12(3); 11 CCR § 7021. Others get thirty days.
_TIME_TO_ANSWER = {"gdpr": relativedelta(months=1), "ccpa": timedelta(days=45)}
_OTHERWISE = timedelta(days=30)


def due_at(regulation: str, received_at: datetime) -> datetime:
    """When the person must have an answer."""
    due: datetime = received_at + _TIME_TO_ANSWER.get(regulation.lower(), _OTHERWISE)
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
    """Store a request and the job that will serve it; after the commit it cannot be lost. The model has a version."""
    known = {"tenant_id": model.tenant_id, "model_id": model.id, "samples_hmac": samples_hmac}
    now, (earlier, somebody_listens) = clock_with(session, _EARLIEST, outbox.SOMEBODY_LISTENS, parameters=known)
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
        duplicate_of_id=earlier,
        submitted_by=submitted_by,
        withdrawn=False,
        traceparent=traces.traceparent(),
    )
    insert_new(session, request)
    set_committed_value(request, "model", model)
    set_committed_value(request, "job", job)
    state_machine.receive(session, request, at=now)
    if somebody_listens:
        outbox.announce(session, [request], at=now)
    return request


def find(session: Session, tenant_id: uuid.UUID, request_id: uuid.UUID) -> DeletionRequest:
    """A tenant's request with its model, its job and the version that came of it.

    Raises:
        DeletionRequestNotFound: there is none.
    """
    request = session.scalar(_BY_ID, {"id": request_id})
    if request is None or request.tenant_id != tenant_id or request.record_removed_at is not None:
        raise DeletionRequestNotFound
    return request


def read(session: Session, request_id: uuid.UUID) -> DeletionRequest:
    """A request with its model, its job and the version that came of it, whoever's it is; it is there."""
    return session.execute(_BY_ID, {"id": request_id}, execution_options={"populate_existing": True}).scalar_one()


def list_requests(
    session: Session, tenant_id: uuid.UUID, *, model: Model | None, state: State | None, cursor: str | None, limit: int
) -> Page[DeletionRequest]:
    """Requests of a tenant, newest first, of one model or in one state if named."""
    rows = _with_everything().where(DeletionRequest.tenant_id == tenant_id, DeletionRequest.record_removed_at.is_(None))
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
    """Every move of a request after the one with this number, oldest first."""
    moves = select(Transition).where(Transition.request_id == request_id, Transition.id > after)
    return list(session.scalars(moves.order_by(Transition.id)))


def withdraw(session: Session, request: DeletionRequest) -> DeletionRequest:
    """Withdraw a request, and look at it again. A running job hears of it at its next step.

    Raises:
        PastCommitPoint: it has ended.
    """
    job = jobs.lock_of(session, request)
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
    """Agree to a request of somebody else: it is queued.

    Raises:
        NotAwaitingApproval: it does not wait for that.
        OwnRequest: `by` asked for it.
    """
    job = _awaiting_approval(session, request, by=by)
    state_machine.move(session, job, State.QUEUED, reason=Reason(ReasonCode.APPROVED))
    audit_log.append(session, request.tenant_id, "deletion_request.approved", about=request.id, by=by)
    return read(session, request.id)


def reject(session: Session, request: DeletionRequest, *, by: str, reason: str) -> DeletionRequest:
    """Decline a request of somebody else.

    Raises:
        NotAwaitingApproval: it does not wait for that.
        OwnRequest: `by` asked for it, and may cancel it.
    """
    job = _awaiting_approval(session, request, by=by)
    state_machine.move(session, job, State.REJECTED, reason=Reason(ReasonCode.DECLINED, None, {"text": reason}))
    audit_log.append(session, request.tenant_id, "deletion_request.rejected", about=request.id, by=by)
    return read(session, request.id)


def _awaiting_approval(session: Session, request: DeletionRequest, *, by: str) -> Job:
    job = jobs.lock_of(session, request)
    if job.state is not State.AWAITING_APPROVAL:
        raise NotAwaitingApproval
    if request.submitted_by == by:
        raise OwnRequest
    return job


def retry(session: Session, request: DeletionRequest) -> DeletionRequest:
    """Queue a failed request again, under the same identifier and with all its attempts, and look at it again.

    It runs by itself: if it fails again, that is nobody else's affair.

    Raises:
        NotRetriable: it has not failed.
        ImagesDestroyed: it failed too long ago.
    """
    job = jobs.lock_of(session, request)
    if job.state is not State.FAILED:
        raise NotRetriable
    if any(served.samples is None for served in jobs.requests_of(session, job.id)):
        raise ImagesDestroyed
    job.attempt, job.alone = 0, True
    state_machine.move(session, job, State.QUEUED, reason=Reason(ReasonCode.RETRIED))
    audit_log.append(session, request.tenant_id, "deletion_request.retried", about=request.id)
    return read(session, request.id)


def _with_everything() -> Select[DeletionRequest]:
    return select(DeletionRequest).options(
        joinedload(DeletionRequest.model), joinedload(DeletionRequest.job).joinedload(Job.version)
    )


_BY_ID = _with_everything().where(DeletionRequest.id == bindparam("id"))

#: The first request for these images of this model that has not been given up.
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
    select(Model, Version, jobs.HAS_NO_ROOM)
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
    session: Session, tenant_id: uuid.UUID, name: str, *, most_waiting: int = 0
) -> tuple[Model, Version]:
    """The tenant's model of this name, with the version that the next run would start from.

    With `most_waiting` it also looks whether there is room for one more job, as `jobs.check_room` does by itself.

    Raises:
        ModelNotFound: there is none.
        VersionMissing: it has no version yet.
        QueueFull: as many jobs of the tenant wait already.
    """
    asked = {"tenant_id": tenant_id, "name": name, "most_waiting": max(most_waiting, 1)}
    row = session.execute(_TO_UNLEARN, asked).one_or_none()
    if row is None:
        raise ModelNotFound
    model, version, has_no_room = row
    if version is None:
        raise VersionMissing
    if most_waiting and has_no_room:
        raise QueueFull
    return model, version
