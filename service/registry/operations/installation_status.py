"""The state of the whole installation, over all tenants, for its operators.

It is cheap with any number of requests: only unfinished ones are counted, by a partial index, and finished ones are in
`service.registry.telemetry.counters`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.registry.audit import verification
from service.registry.audit.verification import LastVerification
from service.registry.measurements.schemas import Measurements, of_version
from service.registry.states import DeliveryState, State
from service.registry.storage.database import clock
from service.registry.tables import Alias, DeletionRequest, Job, Model, Tenant, Version, WebhookDelivery
from service.registry.telemetry import counters
from service.registry.telemetry.counters import Count

#: States of requests that are not settled: they wait, run, or have failed and can be retried.
UNSETTLED = (State.RECEIVED, State.AWAITING_APPROVAL, State.QUEUED, State.RUNNING, State.FAILED)

#: Of these, those that wait for a worker or for a person's approval.
_WAITING = (State.RECEIVED, State.AWAITING_APPROVAL, State.QUEUED)

MOST_ALIASES = 200
"""Upper limit of aliases, and of models with gate failures, that are listed: the first by name."""


@dataclass(frozen=True)
class AliasMeasurements:
    """The measurements of the version that an alias points to."""

    tenant: str
    model: str
    alias: str
    number: int
    measurements: Measurements  #: of the run that made it, or of itself where it was registered


@dataclass(frozen=True)
class GateFailures:
    """A model whose last runs did not pass the quality gate, and how many."""

    tenant: str
    model: str
    runs: int


@dataclass(frozen=True)
class InstallationStatus:
    """Open work, counters of finished work, and measurements of the versions in use. Ages and times left in seconds."""

    requests: dict[State, int]  #: of `UNSETTLED`
    oldest_waiting: float  #: 0 where nothing waits
    time_left: float | None  #: until the next request is due; negative once it is overdue
    overdue: int
    queued_jobs: int
    running_jobs: int
    expired_leases: int
    oldest_heartbeat: float  #: of the running jobs; 0 where none runs
    deliveries: dict[DeliveryState, int]  #: pending and failed
    oldest_delivery: float  #: of the pending deliveries; 0 where there are none
    audit: LastVerification
    oldest_verification: float  #: of an audit log; 0 where there is none
    aliases: int
    measured: Sequence[AliasMeasurements]
    objected: Sequence[GateFailures]
    counts: dict[tuple[str, str], Count]


def read(session: Session, lease: timedelta) -> InstallationStatus:
    """Read the status; `lease` is how long workers claim jobs for."""
    now = clock(session)

    def seconds(since: datetime | None) -> float:
        return max(0.0, (now - since).total_seconds()) if since else 0.0

    requests = {row.state: row for row in session.execute(_requests(now))}
    due = min((row.due for row in requests.values()), default=None)
    waiting = [requests[state].oldest for state in _WAITING if state in requests]
    queued = session.scalars(select(func.count()).where(Job.state == State.QUEUED)).one()
    running = session.execute(_running(now)).one()
    unsent = {row.state: row for row in session.execute(_UNSENT)}
    pending = unsent.get(DeliveryState.PENDING)
    audit = verification.last_verification(session)
    return InstallationStatus(
        requests={state: requests[state].number if state in requests else 0 for state in UNSETTLED},
        oldest_waiting=seconds(min(waiting, default=None)),
        time_left=(due - now).total_seconds() if due else None,
        overdue=sum(row.overdue for row in requests.values()),
        queued_jobs=queued,
        running_jobs=running.number,
        expired_leases=running.expired,
        oldest_heartbeat=seconds(running.first and running.first - lease),
        deliveries={
            state: unsent[state].number if state in unsent else 0
            for state in (DeliveryState.PENDING, DeliveryState.FAILED)
        },
        oldest_delivery=seconds(pending and pending.oldest),
        audit=audit,
        oldest_verification=seconds(audit.oldest_at),
        aliases=session.scalars(select(func.count()).select_from(Alias)).one(),
        measured=[_alias_measurements(*row) for row in session.execute(_ALIASES)],
        objected=[GateFailures(*row) for row in session.execute(_GATE_FAILURES)],
        counts=counters.read(session),
    )


def _requests(now: datetime) -> Any:
    request = DeletionRequest
    return (
        select(
            request.state,
            func.count().label("number"),
            func.min(request.received_at).label("oldest"),
            func.min(request.due_at).label("due"),
            func.count().filter(request.due_at < now).label("overdue"),
        )
        .where(request.samples.is_not(None), request.state.in_(UNSETTLED))
        .group_by(request.state)
    )


def _running(now: datetime) -> Any:
    return select(
        func.count().label("number"),
        func.count().filter(Job.lease_until < now).label("expired"),
        func.min(Job.lease_until).label("first"),
    ).where(Job.state == State.RUNNING)


def _alias_measurements(
    tenant: str, model: str, alias: str, number: int, own: dict[str, Any], of_run: dict[str, Any] | None
) -> AliasMeasurements:
    return AliasMeasurements(tenant, model, alias, number, of_version(own, of_run))


_UNSENT = (
    select(WebhookDelivery.state, func.count().label("number"), func.min(WebhookDelivery.created_at).label("oldest"))
    .where(WebhookDelivery.state != DeliveryState.SUCCEEDED)
    .group_by(WebhookDelivery.state)
)
_ALIASES = (
    select(Tenant.name, Model.name, Alias.name, Version.number, Version.metrics, Job.metrics)
    .select_from(Alias)
    .join(Version, Version.id == Alias.version_id)
    .join(Model, Model.id == Alias.model_id)
    .join(Tenant, Tenant.id == Model.tenant_id)
    .outerjoin(Job, Job.id == Version.job_id)
    .order_by(Tenant.name, Model.name, Alias.name)
    .limit(MOST_ALIASES)
)
_GATE_FAILURES = (
    select(Tenant.name, Model.name, Model.gate_failures)
    .join(Tenant, Tenant.id == Model.tenant_id)
    .where(Model.gate_failures > 0)
    .order_by(Tenant.name, Model.name)
    .limit(MOST_ALIASES)
)
