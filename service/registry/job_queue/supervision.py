"""What the supervisor of a run asks the job table, and tells it, beside its heartbeats."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.errors import FenceLost
from service.registry.job_queue.claims import CancelRequested, Claim, held
from service.registry.job_queue.jobs import cancel_withdrawn, move
from service.registry.states import Phase, State
from service.registry.tables import Job


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


def hand_back(session: Session, claim: Claim, *, reason: str) -> None:
    """The worker was asked to stop, and the job has done nothing wrong: queue it again, which costs no attempt.

    Raises:
        FenceLost: the job is no longer this worker's.
    """
    job = held(session, claim)
    if job.cancel_requested:
        cancel_withdrawn(session, job)
    else:
        job.attempt -= 1
        move(session, job, State.QUEUED, reason=reason)
