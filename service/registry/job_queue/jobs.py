"""The job table is the queue. What a job is, how it is found, and how it and its requests move from state to state."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, bindparam, exists, insert, literal, or_, select, update
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.orm.attributes import set_committed_value

from service.registry.audit import row_macs
from service.registry.errors import JobNotFound, QueueFull
from service.registry.options import Options
from service.registry.states import ENDED, State, check_move
from service.registry.storage.database import batches, clock, insert_new
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import DeletionRequest, Job, Model, StepMetric, Transition
from service.registry.telemetry import counters
from service.registry.telemetry.counters import Counted
from service.registry.webhooks import opendsr_status, outbox


def enqueue(session: Session, model: Model, options: Options, *, at: datetime) -> Job:
    """Put a job into the queue; where the model asks for approval, it waits outside until there is one."""
    job = Job(
        id=uuid.uuid4(),
        tenant_id=model.tenant_id,
        model_id=model.id,
        state=State.AWAITING_APPROVAL if model.approval_required else State.QUEUED,
        options=options.stored(),
        attempt=0,
        fence=0,
        cancel_requested=False,
        alone=False,
        step=0,
        total_steps=0,
        metrics={},
        seconds={},
        created_at=at,
    )
    insert_new(session, job)
    set_committed_value(job, "model", model)
    set_committed_value(job, "version", None)
    return job


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


def part(session: Session, job: Job, request: DeletionRequest) -> Job:
    """A job that serves this request of a locked one and no other; its only request keeps the job that it has.

    A new one is queued, whatever the state of its request, which the caller moves.
    """
    others = exists().where(DeletionRequest.job_id == job.id, DeletionRequest.id != request.id)
    if not session.scalar(select(others)):
        return job
    _part(session, job, [request], alone=False)
    return session.get_one(Job, request.job_id)


def _part(session: Session, job: Job, requests: Sequence[DeletionRequest], *, alone: bool) -> None:
    own = [
        Job(
            id=uuid.uuid4(),
            tenant_id=job.tenant_id,
            model_id=job.model_id,
            state=State.QUEUED,
            options=job.options,
            fence=job.fence,  # goes on growing, so that whoever follows the request can tell the attempts apart
            alone=alone,
            metrics={},
            seconds={},
            created_at=request.received_at,  # its place in the queue
        )
        for request in requests
    ]
    session.add_all(own)
    session.flush()
    for request, of_it in zip(requests, own, strict=True):
        request.job_id = of_it.id


def move(session: Session, job: Job, after: State, *, reason: str | None = None) -> None:
    """Move a job, and with it every request that it serves."""
    check_move(job.state, after)
    now = clock(session)
    job.state, job.reason, job.lease_until = after, reason, None
    if after is not State.RUNNING:
        job.worker = job.phase = None
    if after in ENDED:
        job.finished_at = now
        counters.add(session, Counted.JOBS_ENDED, after)
    elif after is State.QUEUED:
        job.rung_at = job.finished_at = None
        job.cancel_requested = False
    move_requests(session, requests_to_move(session, job.id), after, at=now, reason=reason)


def move_requests(
    session: Session, requests: Sequence[DeletionRequest], after: State, *, at: datetime, reason: str | None = None
) -> None:
    """Move requests of one job, write the moves down, and have those told of it who asked to be.

    It takes a few statements, however many there are.
    """
    moves = []
    for request in requests:
        check_move(request.state, after)
        seal = row_macs.of_move(session, request, request.id, at, request.state, after, reason)
        moves.append(
            {
                "request_id": request.id,
                "at": at,
                "before": request.state,
                "after": after,
                "reason": reason,
                "seal": seal,
            }
        )
        request.state, request.reason = after, reason
        request.ended_at = at if after in ENDED else None
        request.withdrawn = False
    session.connection().execute(_MOVES, moves)
    if after in ENDED:
        counters.add(session, Counted.REQUESTS_ENDED, after, times=len(requests))
    outbox.announce(session, requests, at=at)
    opendsr_status.follow(session, requests, at=at)


def cancel_withdrawn(session: Session, job: Job) -> None:
    """Cancel what was withdrawn of a running job; the others begin anew, which costs them no attempt."""
    requests = requests_to_move(session, job.id)
    withdrawn = [request for request in requests if request.withdrawn] or requests
    for request in withdrawn:
        move(session, part(session, job, request), State.CANCELLED, reason="withdrawn")
    if len(withdrawn) < len(requests):
        job.attempt -= 1
        move(session, job, State.QUEUED, reason="another request of its run was withdrawn")


def fail(session: Session, job: Job, *, reason: str) -> None:
    """Fail the only request of a running job. Of several nobody knows whose fault it was: each is tried by itself."""
    requests = requests_to_move(session, job.id)
    if len(requests) == 1:
        move(session, job, State.FAILED, reason=reason)
    elif job.cancel_requested:
        cancel_withdrawn(session, job)
    else:
        why = f"the run for {len(requests)} requests failed ({reason[:400]}); each is tried by itself"
        now = clock(session)
        _part(session, job, requests[1:], alone=True)
        move_requests(session, requests[1:], State.QUEUED, at=now, reason=why)
        job.alone, job.attempt = True, 0
        move(session, job, State.QUEUED, reason=why)


def _with_everything() -> Select[Job]:
    return select(Job).options(joinedload(Job.model), joinedload(Job.version))


_MOVES = insert(Transition)

#: Do as many of a tenant's jobs wait as may? It looks for the last of them; a count would go on to the end.
HAS_NO_ROOM = exists(
    select(literal(1))
    .where(Job.tenant_id == bindparam("tenant_id"), Job.state.in_((State.QUEUED, State.AWAITING_APPROVAL)))
    .offset(bindparam("most_waiting") - 1)
    .limit(1)
)
