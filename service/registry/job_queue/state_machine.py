"""The state machine of jobs and of the deletion requests that they serve: nothing else changes the state of either.

When to move is decided by its callers: a worker that holds the job (`claims`), a person
(`deletion_requests.lifecycle`), the commit point of a run (`deletion_requests.publication`).
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from service.registry.audit import row_macs
from service.registry.job_queue.batching import merge_waiting_jobs, split, split_off
from service.registry.job_queue.jobs import requests_to_move
from service.registry.options import Options
from service.registry.reasons import Reason, ReasonCode
from service.registry.states import ENDED, Phase, State
from service.registry.storage.database import clock, insert_new
from service.registry.tables import DeletionRequest, Job, Model, Transition
from service.registry.telemetry import counters
from service.registry.telemetry.counters import CounterName
from service.registry.webhooks import opendsr_status, outbox


class IllegalMove(ValueError):
    """The state machine has no such move."""


_MOVES: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.AWAITING_APPROVAL, State.QUEUED, State.CANCELLED}),
    State.AWAITING_APPROVAL: frozenset({State.QUEUED, State.REJECTED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.COMPLETED, State.NEEDS_REVIEW, State.FAILED, State.CANCELLED}),
    State.NEEDS_REVIEW: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.COMPLETED: frozenset(),
    State.REJECTED: frozenset(),
    State.CANCELLED: frozenset(),
}


def may_move(before: State, after: State) -> bool:
    """Is `before -> after` a legal move?"""
    return after in _MOVES[before]


def check_move(before: State, after: State) -> None:
    """Raise `IllegalMove` unless `before -> after` is legal."""
    if not may_move(before, after):
        raise IllegalMove(f"{before} -> {after}")


def enqueue(session: Session, model: Model, options: Options, *, at: datetime) -> Job:
    """Create a queued job; of a model that requires approval, one that awaits it."""
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


def receive(session: Session, request: DeletionRequest, *, at: datetime) -> None:
    """Record the first two transitions of a new request: it was received, and moved to the state of its job."""
    moves = (
        _transition(session, request, None, State.RECEIVED, at=at),
        _transition(session, request, State.RECEIVED, request.state, at=at),
    )
    session.connection().execute(_INSERT, moves)


def start(
    session: Session, job_id: uuid.UUID, *, worker: str, lease: timedelta, at: datetime, images: int
) -> tuple[int, int] | None:
    """Move a waiting job to running; returns its fence and attempt number, or `None` when another worker was faster.

    Its first attempt serves other waiting requests for its model, too, up to `images` images; with 0 none.
    """
    try:
        with session.begin_nested():
            started = session.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == State.QUEUED)
                .values(
                    state=State.RUNNING,
                    reason_code=None,
                    reason_phase=None,
                    reason_parameters=None,
                    reason_text=None,
                    attempt=Job.attempt + 1,
                    fence=Job.fence + 1,
                    lease_until=at + lease,
                    worker=worker,
                    phase=Phase.LOAD,
                    step=0,
                    total_steps=0,
                    started_at=func.coalesce(Job.started_at, at),
                )
                .returning(Job.fence, Job.attempt, Job.alone, Job.model_id, Job.options)
            ).one_or_none()
    except IntegrityError:  # another job of the model began to run in between
        return None
    if started is None:
        return None
    if images and started.attempt == 1 and not started.alone:
        merge_waiting_jobs(session, job_id, started.model_id, started.options, images=images)
    _move_requests(session, requests_to_move(session, job_id), State.RUNNING, at=at)
    return started.fence, started.attempt


def return_to_queue(session: Session, job: Job, *, reason: Reason, max_attempts: int) -> None:
    """Queue a running job again whose attempt was lost, or fail it after `max_attempts` attempts."""
    if job.cancel_requested:
        cancel(session, job)
    elif job.attempt < max_attempts:
        move(session, job, State.QUEUED, reason=reason)
    else:
        fail(session, job, reason=reason.in_each_of(job.attempt))


def requeue_interrupted(session: Session, job: Job, *, reason: Reason) -> None:
    """Queue a running job again that its worker gave up, which costs it no attempt."""
    if job.cancel_requested:
        cancel(session, job)
    else:
        _requeue_uncharged(session, job, reason=reason)


def cancel(session: Session, job: Job) -> None:
    """Cancel the withdrawn requests of a running job; the others are queued again, which costs them no attempt."""
    requests = requests_to_move(session, job.id)
    withdrawn = [request for request in requests if request.withdrawn] or requests
    for request in withdrawn:
        move_one(session, job, request, State.CANCELLED, reason=Reason(ReasonCode.WITHDRAWN))
    if len(withdrawn) < len(requests):
        _requeue_uncharged(session, job, reason=Reason(ReasonCode.RUN_WITHDRAWN))


def fail(session: Session, job: Job, *, reason: Reason) -> None:
    """Fail the only request of a running job. Of several, any may be the cause: each gets a job of its own."""
    requests = requests_to_move(session, job.id)
    if len(requests) == 1:
        move(session, job, State.FAILED, reason=reason)
    elif job.cancel_requested:
        cancel(session, job)
    else:
        split_reason = Reason(ReasonCode.RUN_SPLIT, None, {"requests": len(requests), "cause": reason.stored()})
        now = clock(session)
        split(session, job, requests[1:], alone=True)
        _move_requests(session, requests[1:], State.QUEUED, at=now, reason=split_reason)
        job.alone, job.attempt = True, 0
        move(session, job, State.QUEUED, reason=split_reason)


def move_one(session: Session, job: Job, request: DeletionRequest, after: State, *, reason: Reason) -> None:
    """Move one request of a locked job; the others stay with the job, in their state."""
    move(session, split_off(session, job, request), after, reason=reason)


def move(session: Session, job: Job, after: State, *, reason: Reason | None = None) -> None:
    """Move a locked job, and with it every request that it serves.

    Raises:
        IllegalMove: the state machine has no move from its state to this one.
    """
    check_move(job.state, after)
    now = clock(session)
    job.state, job.why, job.lease_until = after, reason, None
    if after is not State.RUNNING:
        job.worker = job.phase = None
    if after in ENDED:
        job.finished_at = now
        counters.add(session, CounterName.JOBS_ENDED, after)
    elif after is State.QUEUED:
        job.rung_at = job.finished_at = None
        job.cancel_requested = False
    _move_requests(session, requests_to_move(session, job.id), after, at=now, reason=reason)


def _requeue_uncharged(session: Session, job: Job, *, reason: Reason) -> None:
    job.attempt -= 1
    move(session, job, State.QUEUED, reason=reason)


def _move_requests(
    session: Session, requests: Sequence[DeletionRequest], after: State, *, at: datetime, reason: Reason | None = None
) -> None:
    """Move requests of one job, record the transitions, and announce them to webhooks and OpenDSR callbacks.

    The number of statements does not grow with the number of requests.
    """
    moves = []
    for request in requests:
        check_move(request.state, after)
        moves.append(_transition(session, request, request.state, after, at=at, reason=reason))
        request.state, request.why = after, reason
        request.ended_at = at if after in ENDED else None
        request.withdrawn = False
    session.connection().execute(_INSERT, moves)
    if after in ENDED:
        counters.add(session, CounterName.REQUESTS_ENDED, after, times=len(requests))
    outbox.announce(session, requests, at=at)
    opendsr_status.update_statuses(session, requests, at=at)


def _transition(
    session: Session,
    request: DeletionRequest,
    before: State | None,
    after: State,
    *,
    at: datetime,
    reason: Reason | None = None,
) -> dict[str, Any]:
    text = None if reason is None else str(reason)
    return {
        "request_id": request.id,
        "at": at,
        "before": before,
        "after": after,
        "reason": text,
        "seal": row_macs.of_move(session, request, request.id, at, before, after, text),
    }


_INSERT = insert(Transition)
