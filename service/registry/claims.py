"""A worker's hold on a job: claim, lease, fence, publish.

A worker claims a job with one conditional UPDATE that bumps `fence`. Everything it writes later names that fence, and
is void once another worker has claimed the job. So a job may run twice, but it has its effect once.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from service.registry import aliases
from service.registry.database import clock
from service.registry.errors import FenceLost
from service.registry.jobs import lock, move, move_request, requests_of
from service.registry.models import add_version
from service.registry.states import Phase, State
from service.registry.tables import Job, Model, StepMetric, Version


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a job."""

    job_id: uuid.UUID
    fence: int
    attempt: int


class CancelRequested(Exception):
    """Somebody withdrew the request while its job was running."""


def take(session: Session, *, worker: str, lease: timedelta, job_id: uuid.UUID | None = None) -> Claim | None:
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
    if not objections:
        aliases.move_on(session, parent, version)
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


def held(session: Session, claim: Claim) -> Job:
    """The claimed job's row, locked until the transaction ends.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = lock(session, claim.job_id)
    if job.fence != claim.fence or job.state is not State.RUNNING:
        raise FenceLost
    return job


def _return_to_queue(session: Session, job: Job, *, reason: str, max_attempts: int) -> None:
    if job.cancel_requested:
        move(session, job, State.CANCELLED, reason="withdrawn")
    elif job.attempt < max_attempts:
        move(session, job, State.QUEUED, reason=reason)
    else:
        move(session, job, State.FAILED, reason=f"{reason}, {job.attempt} times")
