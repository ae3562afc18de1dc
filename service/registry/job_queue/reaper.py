"""What becomes of jobs whose worker is lost."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.job_queue.jobs import cancel_withdrawn, fail, move
from service.registry.states import State
from service.registry.storage.database import clock
from service.registry.tables import Job
from service.registry.telemetry import counters
from service.registry.telemetry.counters import Counted, Loss


def reap(session: Session, *, max_attempts: int) -> int:
    """Return jobs whose lease has run out; how many there were."""
    expired = session.scalars(
        select(Job)
        .where(Job.state == State.RUNNING, Job.lease_until < clock(session))
        .with_for_update(skip_locked=True)
    ).all()
    for job in expired:
        counters.add(session, Counted.ATTEMPTS_LOST, Loss.LEASE_EXPIRED)
        return_to_queue(session, job, reason="the worker stopped answering", max_attempts=max_attempts)
    return len(expired)


def return_to_queue(session: Session, job: Job, *, reason: str, max_attempts: int) -> None:
    """Queue a running job again, or fail it when it has had all its attempts."""
    if job.cancel_requested:
        cancel_withdrawn(session, job)
    elif job.attempt < max_attempts:
        move(session, job, State.QUEUED, reason=reason)
    else:
        fail(session, job, reason=f"{reason}, {job.attempt} times")
