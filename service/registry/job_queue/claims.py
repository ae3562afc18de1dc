"""A worker's hold on a job: claim, lease, fence, and what its holder may do with it.

A worker claims a job with one conditional UPDATE that bumps `fence`. Everything it writes later names that fence, and
is void once another worker has claimed the job. So a job may run twice, but it has its effect once.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session, aliased

from service.registry.errors import FenceLost
from service.registry.job_queue import state_machine
from service.registry.job_queue.batching import Batching, batch_is_ready
from service.registry.job_queue.jobs import lock
from service.registry.reasons import Reason, ReasonCode
from service.registry.states import Phase, State
from service.registry.storage.database import clock
from service.registry.tables import DeletionRequest, Job, Model, StepMetric
from service.registry.telemetry import counters
from service.registry.telemetry.counters import CounterName, Loss


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a job."""

    job_id: uuid.UUID
    fence: int
    attempt: int

    @property
    def checkpoint(self) -> str:
        """Artifact key of what this attempt makes: no other one writes there."""
        return f"checkpoints/{self.job_id}-{self.fence}.safetensors"


class CancelRequested(Exception):
    """A request was withdrawn while its job was running."""


def take(
    session: Session,
    *,
    worker: str,
    lease: timedelta,
    job_id: uuid.UUID | None = None,
    batching: Batching = Batching(),  # noqa: B008  (it is immutable)
    pools: Collection[str] | None = None,
) -> Claim | None:
    """Claim the oldest job that may run, or the named one; `None` when there is none or another worker was faster.

    With `pools` only jobs whose model names one of these.

    Jobs of one model run one after the other, in the order in which they came: each builds on the version before. The
    first attempt at a job merges other waiting jobs of its model into it, as far as `batching` allows.
    """
    now = clock(session)
    other = aliased(Job)
    earlier = or_(other.created_at < Job.created_at, (other.created_at == Job.created_at) & (other.id < Job.id))
    of_the_model = other.model_id == Job.model_id
    # Two subqueries that an index answers. As one, PostgreSQL would scan all waiting jobs for each waiting job.
    blocked = (
        exists().where(of_the_model, other.state == State.RUNNING),
        exists().where(of_the_model, other.state == State.QUEUED, earlier),
    )
    claimable = select(Job.id).where(Job.state == State.QUEUED, *(~condition for condition in blocked))
    if job_id is not None:
        claimable = claimable.where(Job.id == job_id)
    if pools is not None:
        claimable = claimable.where(exists().where(Model.id == Job.model_id, Model.pool.in_(pools)))
    if batching.window:
        claimable = claimable.where(batch_is_ready(batching, now))
    chosen = session.scalar(claimable.order_by(Job.created_at, Job.id).limit(1).with_for_update(skip_locked=True))
    if chosen is None:
        return None
    started = state_machine.start(session, chosen, worker=worker, lease=lease, at=now, images=batching.images)
    if started is None:
        return None
    fence, attempt = started
    return Claim(job_id=chosen, fence=fence, attempt=attempt)


def heartbeat(session: Session, claim: Claim, lease: timedelta) -> None:
    """Extend the lease: it ends `lease` from now.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
    """
    lock_claimed_job(session, claim).lease_until = clock(session) + lease


def read_progress(session: Session, claim: Claim) -> tuple[Phase | None, int, int]:
    """The job's phase, step and number of steps, read without a lock.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
        CancelRequested: a request of the job was withdrawn; the run has to stop.
    """
    row = session.execute(
        select(Job.phase, Job.step, Job.total_steps, Job.cancel_requested).where(
            Job.id == claim.job_id, Job.fence == claim.fence, Job.state == State.RUNNING
        )
    ).one_or_none()
    if row is None:
        raise FenceLost
    if row.cancel_requested:
        raise CancelRequested
    return row.phase, row.step, row.total_steps


def record_progress(
    session: Session,
    claim: Claim,
    *,
    phase: Phase,
    step: int = 0,
    total: int = 0,
    points: Sequence[tuple[int, dict[str, Any]]] = (),
) -> None:
    """Write the job's phase, step and number of steps, and new points (step, values) of its curves.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
        CancelRequested: a request of the job was withdrawn; the run has to stop.
    """
    job = lock_claimed_job(session, claim)
    if job.cancel_requested:
        raise CancelRequested
    job.phase, job.step, job.total_steps = phase, step, total
    for measured_step, values in points:  # the last step of a run may be measured a second time, after its line search
        session.merge(StepMetric(job_id=claim.job_id, fence=claim.fence, step=measured_step, values=values))


def fail_request(session: Session, claim: Claim, request_id: uuid.UUID, *, reason: Reason) -> None:
    """Fail one request of the job, which goes on with the others; with its last request the job has failed.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
    """
    job = lock_claimed_job(session, claim)
    request = session.get_one(DeletionRequest, request_id, populate_existing=True)
    state_machine.move_one(session, job, request, State.FAILED, reason=reason)


def stop_withdrawn(session: Session, claim: Claim) -> None:
    """End a run that has to stop: its withdrawn requests are cancelled, and the others are queued again.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
    """
    state_machine.cancel(session, lock_claimed_job(session, claim))


def report_failure(session: Session, claim: Claim, *, reason: Reason) -> None:
    """End a run that failed: its only request fails; several are queued again, each with a job of its own.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
    """
    state_machine.fail(session, lock_claimed_job(session, claim), reason=reason)


def release(session: Session, claim: Claim, *, reason: Reason) -> None:
    """Queue the job again because its worker shuts down, which costs it no attempt.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
    """
    state_machine.requeue_interrupted(session, lock_claimed_job(session, claim), reason=reason)


def report_crash(session: Session, claim: Claim, *, reason: Reason, max_attempts: int) -> None:
    """Queue the job again because the process that ran it died, or fail it after `max_attempts` attempts.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
    """
    job = lock_claimed_job(session, claim)
    counters.add(session, CounterName.ATTEMPTS_LOST, Loss.PROCESS_DIED)
    state_machine.return_to_queue(session, job, reason=reason, max_attempts=max_attempts)


def reap(session: Session, *, max_attempts: int) -> int:
    """Queue jobs whose lease has run out again, or fail them after `max_attempts` attempts; returns their number."""
    expired = session.scalars(
        select(Job)
        .where(Job.state == State.RUNNING, Job.lease_until < clock(session))
        .with_for_update(skip_locked=True)
    ).all()
    for job in expired:
        counters.add(session, CounterName.ATTEMPTS_LOST, Loss.LEASE_EXPIRED)
        state_machine.return_to_queue(session, job, reason=Reason(ReasonCode.WORKER_LOST), max_attempts=max_attempts)
    return len(expired)


def lock_claimed_job(session: Session, claim: Claim) -> Job:
    """The claimed job's row, locked until the transaction ends.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs.
    """
    job = lock(session, claim.job_id)
    if job.fence != claim.fence or job.state is not State.RUNNING:
        raise FenceLost
    return job
