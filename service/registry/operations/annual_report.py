"""The yearly figures about requests that a business publishes (11 CCR § 7102)."""

import statistics
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.registry.states import State
from service.registry.tables import DeletionRequest, Erasure

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Figures:
    """Requests that were received in a year, and what became of them up to now. Days count from receipt to the end."""

    received: int
    complied: int  #: all their runs have passed the quality gate
    denied: int  #: rejected by a person
    withdrawn: int  #: cancelled by the requester
    open: int  #: all others: under way, failed, or in need of review
    median_days: float | None  #: of those complied with or denied; None if there are none
    mean_days: float | None
    late: int  #: of all, those that were not complied with, denied or withdrawn when they were due


@dataclass
class _Request:
    """One person's request; by OpenDSR it may have come to several deletion requests, for several models."""

    states: list[State]
    received: datetime
    ended: datetime | None
    due: datetime

    def merge(self, state: State, ended: datetime | None) -> None:
        self.states.append(state)
        self.ended = None if self.ended is None or ended is None else max(self.ended, ended)

    @property
    def outcome(self) -> str:
        states = set(self.states)
        if states == {State.COMPLETED}:
            return "complied"
        if states <= {State.COMPLETED, State.REJECTED, State.CANCELLED}:
            return "denied" if State.REJECTED in states else "withdrawn"
        return "open"


def yearly(session: Session, tenant_id: uuid.UUID, regulation: str, year: int, now: datetime) -> Figures:
    """The figures of a tenant's requests under one regulation that came in a year, which is one of UTC."""
    rows = (
        select(
            func.coalesce(Erasure.request_id, DeletionRequest.id),
            DeletionRequest.state,
            DeletionRequest.received_at,
            DeletionRequest.ended_at,
            DeletionRequest.due_at,
        )
        .outerjoin(Erasure, Erasure.deletion_request_id == DeletionRequest.id)
        .where(
            DeletionRequest.tenant_id == tenant_id,
            DeletionRequest.regulation == regulation,
            DeletionRequest.received_at >= datetime(year, 1, 1, tzinfo=UTC),
            DeletionRequest.received_at < datetime(year + 1, 1, 1, tzinfo=UTC),
        )
        .order_by(DeletionRequest.received_at)
    )
    requests: dict[uuid.UUID, _Request] = {}
    for request_id, state, received, ended, due in session.execute(rows):  # the earliest first
        if request_id in requests:
            requests[request_id].merge(state, ended)
        else:
            requests[request_id] = _Request([state], received, ended, due)
    return _figures(list(requests.values()), now)


def _figures(requests: list[_Request], now: datetime) -> Figures:
    outcomes = [request.outcome for request in requests]
    days = [
        (request.ended - request.received) / _DAY
        for request in requests
        if request.outcome in ("complied", "denied") and request.ended is not None
    ]
    settled_at = [now if request.outcome == "open" else request.ended or now for request in requests]
    return Figures(
        received=len(requests),
        complied=outcomes.count("complied"),
        denied=outcomes.count("denied"),
        withdrawn=outcomes.count("withdrawn"),
        open=outcomes.count("open"),
        median_days=round(statistics.median(days), 2) if days else None,
        mean_days=round(statistics.fmean(days), 2) if days else None,
        late=sum(at > request.due for at, request in zip(settled_at, requests, strict=True)),
    )
