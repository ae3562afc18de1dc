"""The job table is the queue: who waits in it, how a job is found and locked, and which requests it serves."""

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


def check_room(session: Session, tenant_id: uuid.UUID, most: int) -> None:
    """Look whether one more job of the tenant may wait; with `most` = 0 it always may.

    No lock is taken for it: those that look at the same moment may pass the limit by a few.

    Raises:
        QueueFull: as many wait already.
    """
    if most and session.scalar(select(HAS_NO_ROOM), {"tenant_id": tenant_id, "most_waiting": most}):
        raise QueueFull


def to_announce(session: Session, every: timedelta) -> dict[uuid.UUID, str]:
    """Waiting jobs that no worker was told of for a while, with their pools; they count as announced from here on."""
    now = clock(session)
    pool = select(Model.pool).where(Model.id == Job.model_id).scalar_subquery()
    announced = session.execute(
        update(Job)
        .where(Job.state == State.QUEUED, or_(Job.rung_at.is_(None), Job.rung_at < now - every))
        .values(rung_at=now)
        .returning(Job.id, pool)
    )
    return dict(announced.all())


def not_announced(session: Session, job_ids: Iterable[uuid.UUID]) -> None:
    """No worker was told of these after all: they are to be announced at the next occasion, not a lease later."""
    for batch in batches(job_ids):
        session.execute(update(Job).where(Job.id.in_(batch), Job.state == State.QUEUED).values(rung_at=None))


def find(session: Session, tenant_id: uuid.UUID, job_id: uuid.UUID) -> Job:
    """A tenant's job with its model and the version it published.

    Raises:
        JobNotFound: there is none.
    """
    job = session.scalar(_with_everything().where(Job.id == job_id))
    if job is None or job.tenant_id != tenant_id:
        raise JobNotFound
    return job


def read(session: Session, job_id: uuid.UUID) -> Job:
    """A job with its model and the version it published, for the worker that holds it."""
    return session.scalars(_with_everything().where(Job.id == job_id)).one()


def list_jobs(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[Job]:
    """All jobs of a tenant, newest first."""
    return paginate(
        session,
        _with_everything().where(Job.tenant_id == tenant_id),
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
    """The deletion requests of a locked job; none of them waits for another job's while it moves."""
    requests = requests_of(session, job_id)
    if len(requests) > 1:
        opendsr_status.lock_behind(session, requests)
    return requests


def lock(session: Session, job_id: uuid.UUID) -> Job:
    """The job's row, locked until the transaction ends."""
    return session.get_one(Job, job_id, with_for_update=True, populate_existing=True)


def lock_of(session: Session, request: DeletionRequest) -> Job:
    """The job that serves a request, locked until the transaction ends. It may be another one than was read before."""
    serves = select(DeletionRequest.job_id).where(DeletionRequest.id == request.id)
    job_id = request.job_id
    while True:
        job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
        job_id = session.scalars(serves).one()  # whoever gives a request to another job has the lock of the one before
        if job is not None and job.id == job_id:
            return job


def _with_everything() -> Select[Job]:
    return select(Job).options(joinedload(Job.model), joinedload(Job.version))


#: Do as many of a tenant's jobs wait as may? It looks for the last of them; a count would go on to the end.
HAS_NO_ROOM = exists(
    select(literal(1))
    .where(Job.tenant_id == bindparam("tenant_id"), Job.state.in_((State.QUEUED, State.AWAITING_APPROVAL)))
    .offset(bindparam("most_waiting") - 1)
    .limit(1)
)
