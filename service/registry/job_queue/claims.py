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
from service.registry.job_queue.batching import Batching, need_not_wait
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
    """Somebody withdrew a request while its job was running."""


def take(
    session: Session,
    *,
    worker: str,
    lease: timedelta,
    job_id: uuid.UUID | None = None,
    batching: Batching = Batching(),  # noqa: B008  (it is immutable)
    pools: Collection[str] | None = None,
) -> Claim | None:
    """Take the oldest job that may run, or the named one; `None` when there is none or somebody was faster.

    With `pools` only jobs of models that name one of these.

    Jobs of one model run one after the other, in the order in which they came: each builds on the version before. The
    first attempt at a job takes along what else waits for its model, as far as `batching` lets it.
    """
    now = clock(session)
    other = aliased(Job)
    earlier = or_(other.created_at < Job.created_at, (other.created_at == Job.created_at) & (other.id < Job.id))
    of_the_model = other.model_id == Job.model_id
    # Two questions that an index answers. As one, PostgreSQL asks it of all who wait, for each who waits.
    blocked = (
        exists().where(of_the_model, other.state == State.RUNNING),
        exists().where(of_the_model, other.state == State.QUEUED, earlier),
    )
    free = select(Job.id).where(Job.state == State.QUEUED, *(~is_so for is_so in blocked))
    if job_id is not None:
        free = free.where(Job.id == job_id)
    if pools is not None:
        free = free.where(exists().where(Model.id == Job.model_id, Model.pool.in_(pools)))
    if batching.window:
        free = free.where(need_not_wait(batching, now))
    chosen = session.scalar(free.order_by(Job.created_at, Job.id).limit(1).with_for_update(skip_locked=True))
    if chosen is None:
        return None
    started = state_machine.start(session, chosen, worker=worker, lease=lease, at=now, images=batching.images)
    if started is None:
        return None
    fence, attempt = started
    return Claim(job_id=chosen, fence=fence, attempt=attempt)


def heartbeat(session: Session, claim: Claim, lease: timedelta) -> None:
    """Keep the lease for another while.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    held(session, claim).lease_until = clock(session) + lease


def watch(session: Session, claim: Claim) -> tuple[Phase | None, int, int]:
    """How far the job is: phase, step, and of how many steps. Takes no lock.

    Raises:
        FenceLost: the job is no longer this worker's.
        CancelRequested: it should stop.
    """
    found = session.execute(
        select(Job.phase, Job.step, Job.total_steps, Job.cancel_requested).where(
            Job.id == claim.job_id, Job.fence == claim.fence, Job.state == State.RUNNING
        )
    ).one_or_none()
    if found is None:
        raise FenceLost
    if found.cancel_requested:
        raise CancelRequested
    return found.phase, found.step, found.total_steps


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


def drop(session: Session, claim: Claim, request_id: uuid.UUID, *, reason: Reason) -> None:
    """Fail one request, and go on with the others. With the last one the job itself has failed.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = held(session, claim)
    request = session.get_one(DeletionRequest, request_id, populate_existing=True)
    state_machine.move_one(session, job, request, State.FAILED, reason=reason)


def stop_withdrawn(session: Session, claim: Claim) -> None:
    """Stop, because a request was withdrawn: it is cancelled, and the others of the run begin anew.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    state_machine.cancel(session, held(session, claim))


def report_failure(session: Session, claim: Claim, *, reason: Reason) -> None:
    """The run has failed, and with it its request; of several each is tried by itself.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    state_machine.fail(session, held(session, claim), reason=reason)


def hand_back(session: Session, claim: Claim, *, reason: Reason) -> None:
    """The worker was asked to stop, and the job has done nothing wrong: queue it again, which costs no attempt.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    state_machine.hand_back(session, held(session, claim), reason=reason)


def give_back(session: Session, claim: Claim, *, reason: Reason, max_attempts: int) -> None:
    """The worker's child died: queue the job again, or fail it when it has had all its attempts.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = held(session, claim)
    counters.add(session, CounterName.ATTEMPTS_LOST, Loss.PROCESS_DIED)
    state_machine.return_to_queue(session, job, reason=reason, max_attempts=max_attempts)


def reap(session: Session, *, max_attempts: int) -> int:
    """Return jobs whose lease has run out; how many there were."""
    expired = session.scalars(
        select(Job)
        .where(Job.state == State.RUNNING, Job.lease_until < clock(session))
        .with_for_update(skip_locked=True)
    ).all()
    for job in expired:
        counters.add(session, CounterName.ATTEMPTS_LOST, Loss.LEASE_EXPIRED)
        state_machine.return_to_queue(session, job, reason=Reason(ReasonCode.WORKER_LOST), max_attempts=max_attempts)
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
