"""The data of the first page, from a few statements whose cost depends on the number of open requests."""

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

MAX_COUNT = 1000
"""Requests in need of review are counted up to this; the page shows `1,000+` for more."""

_MAX_ROWS = 8  # of each list

#: States in which a request has not been carried out, and still can be.
_OPEN = (State.RECEIVED, State.AWAITING_APPROVAL, State.QUEUED, State.RUNNING, State.FAILED)


@dataclass(frozen=True)
class Running:
    """A run, and the requests that it serves."""

    job: Job
    requests: Sequence[uuid.UUID]


@dataclass(frozen=True)
class Overview:
    """Counts and short lists of a tenant's requests, most urgent first."""

    now: datetime
    counts: dict[State, int]  #: of open requests, and of those that need review, these up to `MAX_COUNT`
    overdue: int
    due_soon: int
    deadlines: Sequence[DeletionRequest]
    running: Sequence[Running]
    to_approve: Sequence[DeletionRequest]
    failed: Sequence[DeletionRequest]
    recent: Sequence[DeletionRequest]
    is_empty: bool  #: the tenant has no request at all


def read(session: Session, tenant_id: uuid.UUID) -> Overview:
    """Read the overview of a tenant."""
    now = clock(session)
    is_of_tenant = DeletionRequest.tenant_id == tenant_id
    open_ = (is_of_tenant, *is_open())
    rows = session.execute(
        select(
            DeletionRequest.state,
            func.count(),
            func.count().filter(DeletionRequest.due_at <= now),
            func.count().filter(DeletionRequest.due_at <= now + SOON),
        )
        .where(*open_)
        .group_by(DeletionRequest.state)
    ).all()
    to_review = select(literal(1)).where(is_of_tenant, DeletionRequest.state == State.NEEDS_REVIEW).limit(MAX_COUNT + 1)
    counts = {state: count for state, count, _, _ in rows}
    counts[State.NEEDS_REVIEW] = session.scalar(select(func.count()).select_from(to_review.subquery())) or 0
    overdue, due_by_soon = sum(late for *_, late, _ in rows), sum(soon for *_, soon in rows)

    def first(query: Select[DeletionRequest]) -> Sequence[DeletionRequest]:
        return session.scalars(query.options(joinedload(DeletionRequest.model)).limit(_MAX_ROWS)).all()

    waiting = select(DeletionRequest).where(is_of_tenant, DeletionRequest.state == State.AWAITING_APPROVAL)
    failed = select(DeletionRequest).where(is_of_tenant, *is_open(State.FAILED))
    ended = select(DeletionRequest).where(
        is_of_tenant,
        DeletionRequest.ended_at.is_not(None),
        DeletionRequest.state.in_((State.COMPLETED, State.NEEDS_REVIEW)),
    )
    of_run = joinedload(DeletionRequest.job).joinedload(Job.version)
    return Overview(
        now=now,
        counts=counts,
        overdue=overdue,
        due_soon=due_by_soon - overdue,
        deadlines=first(select(DeletionRequest).where(*open_).order_by(DeletionRequest.due_at, DeletionRequest.id)),
        running=_running(session, tenant_id),
        to_approve=first(waiting.order_by(DeletionRequest.received_at, DeletionRequest.id)),
        failed=first(failed.order_by(DeletionRequest.ended_at.desc(), DeletionRequest.id)),
        recent=first(ended.order_by(DeletionRequest.ended_at.desc()).options(of_run)),
        is_empty=session.scalar(select(literal(1)).where(is_of_tenant).limit(1)) is None,
    )


def is_open(*states: State) -> tuple[ColumnElement[bool], ...]:
    """Conditions on requests: in these states (by default all open ones), with images, so that they can be run."""
    return DeletionRequest.samples.is_not(None), DeletionRequest.state.in_(states or _OPEN)


def _running(session: Session, tenant_id: uuid.UUID) -> list[Running]:
    jobs = session.scalars(
        select(Job)
        .where(Job.tenant_id == tenant_id, Job.state == State.RUNNING)
        .options(joinedload(Job.model))
        .order_by(Job.started_at)
        .limit(_MAX_ROWS)
    ).all()
    served: dict[uuid.UUID, list[uuid.UUID]] = {job.id: [] for job in jobs}
    rows = select(DeletionRequest.job_id, DeletionRequest.id).where(DeletionRequest.job_id.in_(served))
    for job_id, request_id in session.execute(rows.order_by(DeletionRequest.received_at)):
        served[job_id].append(request_id)
    return [Running(job, served[job.id]) for job in jobs]
