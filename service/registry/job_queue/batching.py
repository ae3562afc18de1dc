"""Which requests share a run: a job that is claimed takes others along that wait for the same model, or loses some."""

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
    """The settings of the same names, with `batch_` before; by default each request runs by itself, and at once."""

    images: int = 0
    window: timedelta = timedelta(0)
    urgency: timedelta = timedelta(0)

    @classmethod
    def of(cls, settings: RegistrySettings) -> Self:
        """As configured."""
        return cls(images=settings.batch_images, window=settings.batch_window, urgency=settings.batch_urgency)


def need_not_wait(batching: Batching, now: datetime) -> ColumnElement[bool]:
    """Of the job that is next for its model: nobody is to be waited for.

    One that waits has waited long enough, or is urgent, or has run before, or shares with nobody; or a run is full.
    """
    waiting = aliased(Job)
    waits = (waiting.model_id == Job.model_id, waiting.state == State.QUEUED, DeletionRequest.job_id == waiting.id)
    is_ripe = exists().where(
        *waits,
        or_(
            waiting.alone,
            waiting.fence > 0,
            waiting.created_at <= now - batching.window,
            DeletionRequest.due_at <= now + batching.urgency,
        ),
    )
    images = select(func.sum(DeletionRequest.sample_count)).where(*waits).scalar_subquery()
    return or_(is_ripe, images >= batching.images)


def gather(session: Session, job_id: uuid.UUID, model_id: uuid.UUID, options: dict[str, Any], *, images: int) -> None:
    """Have a locked job serve other requests, too, that ask for the same of its model: oldest first, as many as fit.

    The jobs that they had are gone from here on. Only those are taken that never ran, so nothing else refers to them;
    and none that somebody else has locked at this moment: it goes its own way.
    """
    own = select(func.sum(DeletionRequest.sample_count)).where(DeletionRequest.job_id == job_id)
    room = images - session.scalars(own).one()
    waiting = (
        select(Job.id, Job.options, DeletionRequest.sample_count)
        .join(DeletionRequest, DeletionRequest.job_id == Job.id)
        .where(Job.model_id == model_id, Job.state == State.QUEUED, ~Job.alone, Job.fence == 0)
        .order_by(Job.created_at, Job.id)
        .limit(max(0, room))  # each brings an image at least
        .with_for_update(of=Job, skip_locked=True)
    )
    taken = []
    for waiting_id, wanted, count in session.execute(waiting):
        if wanted != options:
            continue
        room -= count
        if room < 0:
            break
        taken.append(waiting_id)
    moved = update(DeletionRequest).where(DeletionRequest.job_id.in_(taken)).values(job_id=job_id)
    session.execute(moved.execution_options(synchronize_session=False))
    session.execute(delete(Job).where(Job.id.in_(taken)).execution_options(synchronize_session=False))


def split_off(session: Session, job: Job, request: DeletionRequest) -> Job:
    """A job that serves this request of a locked one and no other; its only request keeps the job that it has.

    A new one is queued, whatever the state of its request, which the caller moves.
    """
    others = exists().where(DeletionRequest.job_id == job.id, DeletionRequest.id != request.id)
    if not session.scalar(select(others)):
        return job
    split(session, job, [request], alone=False)
    return session.get_one(Job, request.job_id)


def split(session: Session, job: Job, requests: Sequence[DeletionRequest], *, alone: bool) -> None:
    """Give each of these requests of a locked job a job of its own, which is queued where the request's was."""
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
