"""Which deletion requests share a run: jobs that wait for one model are merged when one is claimed, or split again."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.tables import DeletionRequest, Job


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How many images one run may serve and how long a job waits for others, see the settings `batch_…`.

    By default each request runs by itself, and at once.
    """

    images: int = 0
    window: timedelta = timedelta(0)
    urgency: timedelta = timedelta(0)

    @classmethod
    def of(cls, settings: RegistrySettings) -> Self:
        """The batching that the settings configure."""
        return cls(images=settings.batch_images, window=settings.batch_window, urgency=settings.batch_urgency)


def batch_is_ready(batching: Batching, now: datetime) -> ColumnElement[bool]:
    """A condition on `Job`, the oldest waiting one of its model: it may start now.

    It may when any waiting job of the model has waited for the window, is urgent, has run before or must run alone,
    or when their images fill a run.
    """
    waiting = aliased(Job)
    waits = (waiting.model_id == Job.model_id, waiting.state == State.QUEUED, DeletionRequest.job_id == waiting.id)
    is_due = exists().where(
        *waits,
        or_(
            waiting.alone,
            waiting.fence > 0,
            waiting.created_at <= now - batching.window,
            DeletionRequest.due_at <= now + batching.urgency,
        ),
    )
    images = select(func.sum(DeletionRequest.sample_count)).where(*waits).scalar_subquery()
    return or_(is_due, images >= batching.images)


def merge_waiting_jobs(
    session: Session, job_id: uuid.UUID, model_id: uuid.UUID, options: dict[str, Any], *, images: int
) -> None:
    """Move the requests of waiting jobs with the same model and options to this locked job, up to so many images.

    Oldest first. The jobs that they had are deleted. Only jobs that never ran are taken, so nothing else refers to
    them; one that another transaction has locked at this moment is skipped, and runs by itself.
    """
    own = select(func.sum(DeletionRequest.sample_count)).where(DeletionRequest.job_id == job_id)
    room = images - session.scalars(own).one()
    waiting = (
        select(Job.id, Job.options, DeletionRequest.sample_count)
        .join(DeletionRequest, DeletionRequest.job_id == Job.id)
        .where(Job.model_id == model_id, Job.state == State.QUEUED, ~Job.alone, Job.fence == 0)
        .order_by(Job.created_at, Job.id)
        .limit(max(0, room))  # each has an image at least
        .with_for_update(of=Job, skip_locked=True)
    )
    merged = []
    for waiting_id, waiting_options, count in session.execute(waiting):
        if waiting_options != options:
            continue
        room -= count
        if room < 0:
            break
        merged.append(waiting_id)
    move = update(DeletionRequest).where(DeletionRequest.job_id.in_(merged)).values(job_id=job_id)
    session.execute(move.execution_options(synchronize_session=False))
    session.execute(delete(Job).where(Job.id.in_(merged)).execution_options(synchronize_session=False))


def split_off(session: Session, job: Job, request: DeletionRequest) -> Job:
    """Give one request of a locked job a job of its own, and return it; an only request keeps the job that it has.

    A new job is queued, whatever the state of its request, which the caller moves.
    """
    has_others = exists().where(DeletionRequest.job_id == job.id, DeletionRequest.id != request.id)
    if not session.scalar(select(has_others)):
        return job
    split(session, job, [request], alone=False)
    return session.get_one(Job, request.job_id)


def split(session: Session, job: Job, requests: Sequence[DeletionRequest], *, alone: bool) -> None:
    """Give each of these requests of a locked job a job of its own, which is queued where the request's was."""
    new_jobs = [
        Job(
            id=uuid.uuid4(),
            tenant_id=job.tenant_id,
            model_id=job.model_id,
            state=State.QUEUED,
            options=job.options,
            fence=job.fence,  # goes on growing, so that a client that polls the request can tell the attempts apart
            alone=alone,
            metrics={},
            seconds={},
            created_at=request.received_at,  # keeps its place in the queue
        )
        for request in requests
    ]
    session.add_all(new_jobs)
    session.flush()
    for request, new_job in zip(requests, new_jobs, strict=True):
        request.job_id = new_job.id
