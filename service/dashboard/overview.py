"""What there is to do: everything that the first page shows, from a few statements that look at open requests only."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, literal, select
from sqlalchemy.orm import Session, joinedload

from service.registry.states import State
from service.registry.storage.database import clock
from service.registry.tables import DeletionRequest, Job

SOON = timedelta(days=7)
"""How long before its deadline a request is due soon."""

MOST = 1000
"""Nobody counts on beyond it."""

_SHOWN = 8  # rows of a list

#: In these nobody has been forgotten yet, and somebody still can be.
_OPEN = (State.RECEIVED, State.AWAITING_APPROVAL, State.QUEUED, State.RUNNING, State.FAILED)


@dataclass(frozen=True)
class Running:
    """A run, and the requests that it serves."""

    job: Job
    requests: Sequence[uuid.UUID]


@dataclass(frozen=True)
class Overview:
    """What there is to do, most urgent first."""

    now: datetime
    counts: dict[State, int]  #: of open requests, and of those that need review, these up to `MOST`
    overdue: int
    due_soon: int
    deadlines: Sequence[DeletionRequest]
    running: Sequence[Running]
    to_approve: Sequence[DeletionRequest]
    failed: Sequence[DeletionRequest]
    recent: Sequence[DeletionRequest]
    is_empty: bool  #: nobody has asked for anything yet


def look(session: Session, tenant_id: uuid.UUID) -> Overview:
    """Look at everything of a tenant once."""
    now = clock(session)
    mine = DeletionRequest.tenant_id == tenant_id
    open_ = (mine, *is_open())
    found = session.execute(
        select(
            DeletionRequest.state,
            func.count(),
            func.count().filter(DeletionRequest.due_at <= now),
            func.count().filter(DeletionRequest.due_at <= now + SOON),
        )
        .where(*open_)
        .group_by(DeletionRequest.state)
    ).all()
    to_review = select(literal(1)).where(mine, DeletionRequest.state == State.NEEDS_REVIEW).limit(MOST + 1)
    counts = {state: count for state, count, _, _ in found}
    counts[State.NEEDS_REVIEW] = session.scalar(select(func.count()).select_from(to_review.subquery())) or 0
    overdue, by_then = sum(late for *_, late, _ in found), sum(soon for *_, soon in found)

    def listed(rows: Select[DeletionRequest]) -> Sequence[DeletionRequest]:
        return session.scalars(rows.options(joinedload(DeletionRequest.model)).limit(_SHOWN)).all()

    waiting = select(DeletionRequest).where(mine, DeletionRequest.state == State.AWAITING_APPROVAL)
    failed = select(DeletionRequest).where(mine, *is_open(State.FAILED))
    ended = select(DeletionRequest).where(
        mine,
        DeletionRequest.ended_at.is_not(None),
        DeletionRequest.state.in_((State.COMPLETED, State.NEEDS_REVIEW)),
    )
    of_run = joinedload(DeletionRequest.job).joinedload(Job.version)
    return Overview(
        now=now,
        counts=counts,
        overdue=overdue,
        due_soon=by_then - overdue,
        deadlines=listed(select(DeletionRequest).where(*open_).order_by(DeletionRequest.due_at, DeletionRequest.id)),
        running=_running(session, tenant_id),
        to_approve=listed(waiting.order_by(DeletionRequest.received_at, DeletionRequest.id)),
        failed=listed(failed.order_by(DeletionRequest.ended_at.desc(), DeletionRequest.id)),
        recent=listed(ended.order_by(DeletionRequest.ended_at.desc()).options(of_run)),
        is_empty=session.scalar(select(literal(1)).where(mine).limit(1)) is None,
    )


def is_open(*states: State) -> tuple[ColumnElement[bool], ...]:
    """Of requests: nobody was forgotten yet, and somebody still can be. Open requests have their images."""
    return DeletionRequest.samples.is_not(None), DeletionRequest.state.in_(states or _OPEN)


def _running(session: Session, tenant_id: uuid.UUID) -> list[Running]:
    jobs = session.scalars(
        select(Job)
        .where(Job.tenant_id == tenant_id, Job.state == State.RUNNING)
        .options(joinedload(Job.model))
        .order_by(Job.started_at)
        .limit(_SHOWN)
    ).all()
    served: dict[uuid.UUID, list[uuid.UUID]] = {job.id: [] for job in jobs}
    rows = select(DeletionRequest.job_id, DeletionRequest.id).where(DeletionRequest.job_id.in_(served))
    for job_id, request_id in session.execute(rows.order_by(DeletionRequest.received_at)):
        served[job_id].append(request_id)
    return [Running(job, served[job.id]) for job in jobs]
