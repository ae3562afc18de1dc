"""A worker's hold on a job: claim, lease, fence, publish.

A worker claims a job with one conditional UPDATE that bumps `fence`. Everything it writes later names that fence, and
is void once another worker has claimed the job. So a job may run twice, but it has its effect once.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from service.registry.audit import audit_log
from service.registry.errors import FenceLost
from service.registry.job_queue import jobs
from service.registry.job_queue.batching import Batching, gather, need_not_wait
from service.registry.job_queue.jobs import lock, move, move_requests, part, requests_to_move
from service.registry.job_queue.reaper import return_to_queue
from service.registry.models import aliases, dispositions
from service.registry.models.models import add_version
from service.registry.states import Phase, State
from service.registry.storage.database import clock
from service.registry.tables import DeletionRequest, Job, Model, StepMetric, Version
from service.registry.telemetry import counters
from service.registry.telemetry.counters import Counted, Loss


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


class GateObjected(Exception):
    """The quality gate objects to what came of several requests. It may be because of one of them."""


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
                .returning(Job.fence, Job.attempt, Job.alone, Job.model_id, Job.options)
            ).one_or_none()
    except IntegrityError:  # another job of the model began to run in between
        return None
    if taken is None:
        return None
    if batching.images and taken.attempt == 1 and not taken.alone:
        gather(session, chosen, taken.model_id, taken.options, images=batching.images)
    move_requests(session, requests_to_move(session, chosen), State.RUNNING, at=now)
    return Claim(job_id=chosen, fence=taken.fence, attempt=taken.attempt)


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
    own_metrics: Mapping[uuid.UUID, dict[str, Any]] | None = None,
    **columns: Any,
) -> Version:
    """The commit point: version, metrics and the end of the request become visible together, or not at all.

    `objections` are the quality gate's; `results` are columns of the job, `columns` those of the version. An uploaded
    parent that was never measured gets `parent_metrics`, and each request of several its `own_metrics`.

    Raises:
        FenceLost: the job is no longer this worker's, and nothing was written.
        CancelRequested: it was withdrawn in time, and nothing was written.
        GateObjected: the job serves several requests, and nothing was written.
    """
    job = held(session, claim)
    if job.cancel_requested:
        raise CancelRequested
    requests = requests_to_move(session, job.id)
    if objections and len(requests) > 1:
        raise GateObjected("; ".join(objections))
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
    for phase, seconds in job.seconds.items():
        counters.add(session, Counted.PHASE_SECONDS, phase, seconds=seconds)
    in_a_row = Model.gate_failures + 1 if objections else 0
    session.execute(update(Model).where(Model.id == job.model_id).values(gate_failures=in_a_row))
    for request in requests:
        request.metrics = (own_metrics or {}).get(request.id)
    job.base_number = parent.number
    audit_log.append(
        session,
        model.tenant_id,
        "version.published",
        about=version.id,
        by=f"job:{job.id}",
        model=str(model.id),
        number=version.number,
        parent=parent.number,
        sha256=version.sha256,
        gate=version.gate,
        requests=[str(request.id) for request in requests],
    )
    measured = session.get_one(Version, parent.id)
    measured.metrics = measured.metrics or parent_metrics
    if not objections:
        aliases.move_on(session, model, parent, version)
        dispositions.follow_policy(session, model, measured, by=f"job:{job.id}")
    move(session, job, State.NEEDS_REVIEW if objections else State.COMPLETED, reason="; ".join(objections) or None)
    return version


def drop(session: Session, claim: Claim, request_id: uuid.UUID, *, reason: str) -> None:
    """Fail one request, and go on with the others. With the last one the job itself has failed.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = held(session, claim)
    request = session.get_one(DeletionRequest, request_id, populate_existing=True)
    move(session, part(session, job, request), State.FAILED, reason=reason)


def cancel(session: Session, claim: Claim) -> None:
    """Stop, because a request was withdrawn: it is cancelled, and the others of the run begin anew.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    jobs.cancel_withdrawn(session, held(session, claim))


def fail(session: Session, claim: Claim, *, reason: str) -> None:
    """The run has failed, and with it its request; of several each is tried by itself.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    jobs.fail(session, held(session, claim), reason=reason)


def give_back(session: Session, claim: Claim, *, reason: str, max_attempts: int) -> None:
    """The worker's child died: queue the job again, or fail it when it has had all its attempts.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = held(session, claim)
    counters.add(session, Counted.ATTEMPTS_LOST, Loss.PROCESS_DIED)
    return_to_queue(session, job, reason=reason, max_attempts=max_attempts)


def held(session: Session, claim: Claim) -> Job:
    """The claimed job's row, locked until the transaction ends.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = lock(session, claim.job_id)
    if job.fence != claim.fence or job.state is not State.RUNNING:
        raise FenceLost
    return job
