"""The job table, which is the queue: finding and locking jobs, their deletion requests, and jobs to be announced."""

import uuid
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import Select, bindparam, exists, literal, or_, select, update
from sqlalchemy.orm import Session, joinedload

from service.registry.errors import JobNotFound, QueueFull
from service.registry.states import State
from service.registry.storage.database import batches, clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import DeletionRequest, Job, Model, StepMetric
from service.registry.webhooks import opendsr_status


def check_queue_limit(session: Session, tenant_id: uuid.UUID, max_waiting: int) -> None:
    """Check that fewer than `max_waiting` jobs of the tenant wait; 0 means that there is no limit.

    It takes no lock: requests that arrive at the same moment may pass the limit by a few.

    Raises:
        QueueFull: `max_waiting` jobs wait already.
    """
    if max_waiting and session.scalar(select(QUEUE_IS_FULL), {"tenant_id": tenant_id, "max_waiting": max_waiting}):
        raise QueueFull


def take_unannounced(session: Session, every: timedelta) -> dict[uuid.UUID, str]:
    """Waiting jobs that were not announced for `every`, by identifier with their pools; marks them as announced."""
    now = clock(session)
    pool = select(Model.pool).where(Model.id == Job.model_id).scalar_subquery()
    rows = session.execute(
        update(Job)
        .where(Job.state == State.QUEUED, or_(Job.rung_at.is_(None), Job.rung_at < now - every))
        .values(rung_at=now)
        .returning(Job.id, pool)
    )
    return dict(rows.all())


def mark_unannounced(session: Session, job_ids: Iterable[uuid.UUID]) -> None:
    """Mark jobs as not announced, because the broker did not take their messages: the next sweep does it again."""
    for batch in batches(job_ids):
        session.execute(update(Job).where(Job.id.in_(batch), Job.state == State.QUEUED).values(rung_at=None))


def find(session: Session, tenant_id: uuid.UUID, job_id: uuid.UUID) -> Job:
    """A tenant's job with its model and the version it published.

    Raises:
        JobNotFound: there is none.
    """
    job = session.scalar(_with_relations().where(Job.id == job_id))
    if job is None or job.tenant_id != tenant_id:
        raise JobNotFound
    return job


def read(session: Session, job_id: uuid.UUID) -> Job:
    """A job with its model and the version it published, for the worker that holds it."""
    return session.scalars(_with_relations().where(Job.id == job_id)).one()


def list_jobs(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[Job]:
    """All jobs of a tenant, newest first."""
    return paginate(
        session,
        _with_relations().where(Job.tenant_id == tenant_id),
        newest=Job.created_at,
        identity=Job.id,
        listing="jobs",
        cursor=cursor,
        limit=limit,
    )


def curve(session: Session, job: Job) -> list[StepMetric]:
    """The points of the job's latest attempt, in order."""
    return curve_after(session, job, fence=job.fence, step=-1)


def curve_after(session: Session, job: Job, *, fence: int, step: int) -> list[StepMetric]:
    """The points of the job's latest attempt, in order; of the attempt `fence` only those after `step`."""
    points = select(StepMetric).where(StepMetric.job_id == job.id, StepMetric.fence == job.fence)
    if fence == job.fence:
        points = points.where(StepMetric.step > step)
    return list(session.scalars(points.order_by(StepMetric.step)))


def requests_of(session: Session, job_id: uuid.UUID) -> list[DeletionRequest]:
    """The deletion requests that a job serves, as they are now: a session may have read them before it had the lock."""
    requests = select(DeletionRequest).where(DeletionRequest.job_id == job_id)
    oldest_first = requests.order_by(DeletionRequest.received_at, DeletionRequest.id)
    return list(session.scalars(oldest_first, execution_options={"populate_existing": True}))


def requests_to_move(session: Session, job_id: uuid.UUID) -> list[DeletionRequest]:
    """The deletion requests of a locked job. Of several, the OpenDSR requests are locked first, against deadlocks."""
    requests = requests_of(session, job_id)
    if len(requests) > 1:
        opendsr_status.lock_subject_requests(session, requests)
    return requests


def lock(session: Session, job_id: uuid.UUID) -> Job:
    """The job's row, locked until the transaction ends."""
    return session.get_one(Job, job_id, with_for_update=True, populate_existing=True)


def lock_job_of(session: Session, request: DeletionRequest) -> Job:
    """The job that serves a request, locked until the transaction ends. It may be another one than `request.job_id`."""
    current = select(DeletionRequest.job_id).where(DeletionRequest.id == request.id)
    job_id = request.job_id
    while True:
        job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
        job_id = session.scalars(current).one()  # a request changes its job only under the lock of the old one
        if job is not None and job.id == job_id:
            return job


def _with_relations() -> Select[Job]:
    return select(Job).options(joinedload(Job.model), joinedload(Job.version))


#: Whether a tenant has `max_waiting` waiting jobs. It looks for the last of these; a count would read all of them.
QUEUE_IS_FULL = exists(
    select(literal(1))
    .where(Job.tenant_id == bindparam("tenant_id"), Job.state.in_((State.QUEUED, State.AWAITING_APPROVAL)))
    .offset(bindparam("max_waiting") - 1)
    .limit(1)
)
