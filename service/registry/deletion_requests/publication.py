"""The commit point of a run: its new version is published and its deletion requests end."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.job_queue import state_machine
from service.registry.job_queue.claims import CancelRequested, Claim, lock_claimed_job
from service.registry.job_queue.jobs import requests_to_move
from service.registry.models import aliases, dispositions
from service.registry.models.versions import add_version
from service.registry.reasons import Objection, Reason
from service.registry.states import State
from service.registry.tables import Model, Version
from service.registry.telemetry import counters
from service.registry.telemetry.counters import CounterName


class GateObjected(Exception):
    """The quality gate objects to the version of a run that served several requests, any of which may be the cause."""

    def __init__(self, objections: Sequence[Objection]) -> None:
        self.reason = Reason.gate(objections)
        super().__init__(str(self.reason))


def publish(
    session: Session,
    claim: Claim,
    *,
    model: Model,
    parent: Version,
    parent_metrics: dict[str, Any],
    objections: Sequence[Objection],
    results: dict[str, Any],
    own_metrics: Mapping[uuid.UUID, dict[str, Any]] | None = None,
    **columns: Any,
) -> Version:
    """Store the version, the metrics and the end of the requests in one transaction.

    `objections` are the quality gate's; `results` are columns of `Job`, `columns` those of `Version`. A parent without
    metrics gets `parent_metrics`; `own_metrics` are those of each request's images, by request, where there are
    several.

    Raises:
        FenceLost: another worker has claimed the job, or it no longer runs; nothing was written.
        CancelRequested: a request of the job was withdrawn; nothing was written.
        GateObjected: there are objections and the job serves several requests; nothing was written.
    """
    job = lock_claimed_job(session, claim)
    if job.cancel_requested:
        raise CancelRequested
    requests = requests_to_move(session, job.id)
    if objections and len(requests) > 1:
        raise GateObjected(objections)
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
        counters.add(session, CounterName.PHASE_SECONDS, phase, seconds=seconds)
    gate_failures = Model.gate_failures + 1 if objections else 0
    session.execute(update(Model).where(Model.id == job.model_id).values(gate_failures=gate_failures))
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
    parent_row = session.get_one(Version, parent.id)
    parent_row.metrics = parent_row.metrics or parent_metrics
    if not objections:
        aliases.advance_followers(session, model, parent, version)
        dispositions.follow_policy(session, model, parent_row, by=f"job:{job.id}")
    after = State.NEEDS_REVIEW if objections else State.COMPLETED
    state_machine.move(session, job, after, reason=Reason.gate(objections) if objections else None)
    return version
