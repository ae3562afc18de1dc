"""The job table is the queue: claim, lease, fence, publish.

A worker claims a job with one conditional UPDATE that bumps `fence`. Everything it writes later names that fence, and
is void once another worker has claimed the job. So a job may run twice, but it has its effect once.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, joinedload

from service.registry.database import clock
from service.registry.errors import FenceLost, JobNotFound
from service.registry.models import add_version
from service.registry.options import Options
from service.registry.pages import Page, paginate
from service.registry.states import ENDED, Phase, State, check_move
from service.registry.tables import DeletionRequest, Job, Model, StepMetric, Transition, Version


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a job."""

    job_id: uuid.UUID
    fence: int
    attempt: int


class CancelRequested(Exception):
    """Somebody withdrew the request while its job was running."""


def enqueue(session: Session, model: Model, options: Options) -> Job:
    """Put a job into the queue."""
    job = Job(
        model_id=model.id,
        state=State.QUEUED,
        options=options.model_dump(mode="json"),
        metrics={},
        seconds={},
        created_at=clock(session),
    )
    session.add(job)
    session.flush()
    return job


def claim(session: Session, *, worker: str, lease: timedelta, job_id: uuid.UUID | None = None) -> Claim | None:
    """Take the oldest job that may run, or the named one; `None` when there is none or somebody was faster.

    Jobs of one model run one after the other, in the order in which they came: each builds on the version before.
    """
    other = aliased(Job)
    earlier = or_(other.created_at < Job.created_at, (other.created_at == Job.created_at) & (other.id < Job.id))
    blocked = exists().where(
        other.model_id == Job.model_id,
        or_(other.state == State.RUNNING, (other.state == State.QUEUED) & earlier),
    )
    free = select(Job.id).where(Job.state == State.QUEUED, ~blocked)
    if job_id is not None:
        free = free.where(Job.id == job_id)
    chosen = session.scalar(free.order_by(Job.created_at, Job.id).limit(1).with_for_update(skip_locked=True))
    if chosen is None:
        return None
    now = clock(session)
    try:
        with session.begin_nested():
            taken = session.execute(
                update(Job)
                .where(Job.id == chosen, Job.state == State.QUEUED)
                .values(
                    state=State.RUNNING,
                    reason=None,
                    attempt=Job.attempt + 1,
                    fence=Job.fence + 1,
                    lease_until=now + lease,
                    worker=worker,
                    phase=Phase.LOAD,
                    step=0,
                    total_steps=0,
                    started_at=func.coalesce(Job.started_at, now),
                )
                .returning(Job.id, Job.fence, Job.attempt)
            ).one_or_none()
    except IntegrityError:  # another job of the model began to run in between
        return None
    if taken is None:
        return None
    for request in requests_of(session, chosen):
        move_request(session, request, State.RUNNING, at=now)
    return Claim(job_id=taken.id, fence=taken.fence, attempt=taken.attempt)


def heartbeat(session: Session, claim: Claim, lease: timedelta) -> None:
    """Keep the lease for another while.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    held(session, claim).lease_until = clock(session) + lease


def progress(
    session: Session,
    claim: Claim,
    *,
    phase: Phase,
    step: int = 0,
    total: int = 0,
    points: Sequence[tuple[int, dict[str, Any]]] = (),
) -> None:
    """Record how far the job is, and points (step, values) of its curves.

    Raises:
        FenceLost: the job is no longer this worker's.
        CancelRequested: it should stop.
    """
    job = held(session, claim)
    if job.cancel_requested:
        raise CancelRequested
    job.phase, job.step, job.total_steps = phase, step, total
    for at, values in points:  # the last step of a run may be measured a second time, after its line search
        session.merge(StepMetric(job_id=claim.job_id, fence=claim.fence, step=at, values=values))


def publish(
    session: Session,
    claim: Claim,
    *,
    model: Model,
    parent: Version,
    parent_metrics: dict[str, Any],
    objections: Sequence[str],
    results: dict[str, Any],
    **columns: Any,
) -> Version:
    """The commit point: version, metrics and the end of the request become visible together, or not at all.

    `objections` are the quality gate's; `results` are columns of the job, `columns` those of the version. An uploaded
    parent that was never measured gets `parent_metrics`.

    Raises:
        FenceLost: the job is no longer this worker's, and nothing was written.
        CancelRequested: it was withdrawn in time, and nothing was written.
    """
    job = held(session, claim)
    if job.cancel_requested:
        raise CancelRequested
    version = add_version(
        session,
        model,
        parent_id=parent.id,
        job_id=job.id,
        architecture=parent.architecture,
        classes=parent.classes,
        preprocessing=parent.preprocessing,
        attributes=parent.attributes,
        gate="needs_review" if objections else "passed",
        **columns,
    )
    for name, value in results.items():
        setattr(job, name, value)
    job.base_number = parent.number
    measured = session.get_one(Version, parent.id)
    measured.metrics = measured.metrics or parent_metrics
    move(session, job, State.NEEDS_REVIEW if objections else State.COMPLETED, reason="; ".join(objections) or None)
    return version


def stop(session: Session, claim: Claim, state: State, *, reason: str) -> None:
    """End the job without a version, as failed or cancelled.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    move(session, held(session, claim), state, reason=reason)


def give_back(session: Session, claim: Claim, *, reason: str, max_attempts: int) -> None:
    """The worker's child died: queue the job again, or fail it when it has had all its attempts.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    _return_to_queue(session, held(session, claim), reason=reason, max_attempts=max_attempts)


def reap(session: Session, *, max_attempts: int) -> int:
    """Return jobs whose lease has run out; how many there were."""
    expired = session.scalars(
        select(Job)
        .where(Job.state == State.RUNNING, Job.lease_until < clock(session))
        .with_for_update(skip_locked=True)
    ).all()
    for job in expired:
        _return_to_queue(session, job, reason="the worker stopped answering", max_attempts=max_attempts)
    return len(expired)


def to_announce(session: Session, every: timedelta) -> list[uuid.UUID]:
    """Waiting jobs that no worker was told of for a while; they count as announced from here on."""
    now = clock(session)
    return list(
        session.scalars(
            update(Job)
            .where(Job.state == State.QUEUED, or_(Job.rung_at.is_(None), Job.rung_at < now - every))
            .values(rung_at=now)
            .returning(Job.id)
        )
    )


def next_in_line(session: Session, job_id: uuid.UUID) -> uuid.UUID | None:
    """The job that waits for this one, because it is of the same model."""
    model_id = select(Job.model_id).where(Job.id == job_id).scalar_subquery()
    waiting = select(Job.id).where(Job.model_id == model_id, Job.state == State.QUEUED)
    return session.scalar(waiting.order_by(Job.created_at, Job.id).limit(1))


def find(session: Session, job_id: uuid.UUID) -> Job:
    """A job with its model and the version it published.

    Raises:
        JobNotFound: there is none.
    """
    job = session.scalar(_with_everything().where(Job.id == job_id))
    if job is None:
        raise JobNotFound
    return job


def list_jobs(session: Session, *, cursor: str | None, limit: int) -> Page[Job]:
    """All jobs, newest first."""
    return paginate(
        session,
        _with_everything(),
        newest=Job.created_at,
        identity=Job.id,
        listing="jobs",
        cursor=cursor,
        limit=limit,
    )


def curve(session: Session, job: Job) -> list[StepMetric]:
    """The points of the job's latest attempt, in order."""
    return list(
        session.scalars(
            select(StepMetric)
            .where(StepMetric.job_id == job.id, StepMetric.fence == job.fence)
            .order_by(StepMetric.step)
        )
    )


def requests_of(session: Session, job_id: uuid.UUID) -> list[DeletionRequest]:
    """The deletion requests that a job serves, as they are now: a session may have read them before it had the lock."""
    requests = select(DeletionRequest).where(DeletionRequest.job_id == job_id)
    return list(session.scalars(requests, execution_options={"populate_existing": True}))


def lock(session: Session, job_id: uuid.UUID) -> Job:
    """The job's row, locked until the transaction ends."""
    return session.get_one(Job, job_id, with_for_update=True, populate_existing=True)


def held(session: Session, claim: Claim) -> Job:
    """The claimed job's row, locked until the transaction ends.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = lock(session, claim.job_id)
    if job.fence != claim.fence or job.state is not State.RUNNING:
        raise FenceLost
    return job


def move(session: Session, job: Job, after: State, *, reason: str | None = None) -> None:
    """Move a job, and with it every request that it serves."""
    check_move(job.state, after)
    now = clock(session)
    job.state, job.reason, job.lease_until = after, reason, None
    if after is not State.RUNNING:
        job.worker = job.phase = None
    if after in ENDED:
        job.finished_at = now
    elif after is State.QUEUED:
        job.rung_at = job.finished_at = None
        job.cancel_requested = False
    for request in requests_of(session, job.id):
        move_request(session, request, after, at=now, reason=reason)


def move_request(
    session: Session, request: DeletionRequest, after: State, *, at: datetime, reason: str | None = None
) -> None:
    """Move one request and write the move down."""
    check_move(request.state, after)
    session.add(Transition(request_id=request.id, at=at, before=request.state, after=after, reason=reason))
    request.state, request.reason = after, reason
    request.ended_at = at if after in ENDED else None


def _return_to_queue(session: Session, job: Job, *, reason: str, max_attempts: int) -> None:
    if job.cancel_requested:
        move(session, job, State.CANCELLED, reason="withdrawn")
    elif job.attempt < max_attempts:
        move(session, job, State.QUEUED, reason=reason)
    else:
        move(session, job, State.FAILED, reason=f"{reason}, {job.attempt} times")


def _with_everything() -> Select[Job]:
    return select(Job).options(joinedload(Job.model), joinedload(Job.version))
