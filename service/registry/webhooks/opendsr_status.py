"""What an OpenDSR request comes to: its status, out of the states of its deletion requests, and who is told of it."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.states import ENDED, RequestStatus, State
from service.registry.tables import (
    DeletionRequest,
    Erasure,
    StatusCallback,
    SubjectRequest,
    Tenant,
    WebhookEndpoint,
)
from service.registry.webhooks import outbox

NOTHING_TO_DO = "nothing_to_do"
"""The outcome where no model's newest version has learned from the person."""

_NOT_BEGUN = frozenset({State.RECEIVED, State.AWAITING_APPROVAL, State.QUEUED, State.REJECTED, State.CANCELLED})

#: What tells most, first: the outcome of several deletion requests is the first of these that one of them came to.
_TELLING = (State.FAILED, State.NEEDS_REVIEW, State.REJECTED, State.CANCELLED, State.COMPLETED)


def status_of(states: Collection[State]) -> RequestStatus:
    """The status of a request with deletion requests in these states. A failed one may be tried again: it goes on."""
    if any(state not in ENDED or state is State.FAILED for state in states):
        return RequestStatus.PENDING if _NOT_BEGUN.issuperset(states) else RequestStatus.IN_PROGRESS
    is_done = all(state is State.COMPLETED for state in states)
    return RequestStatus.COMPLETED if is_done else RequestStatus.CANCELLED


def outcome_of(states: Collection[State]) -> str | None:
    """How it has ended, or what keeps it from ending; nothing while it simply goes on."""
    if not states:
        return NOTHING_TO_DO
    if State.FAILED not in states and not ENDED.issuperset(states):
        return None
    return next(state for state in _TELLING if state in states)


def lock_behind(session: Session, requests: Iterable[DeletionRequest]) -> Sequence[SubjectRequest]:
    """All OpenDSR requests that these serve, locked in one order: two jobs with requests of the same ones may move."""
    served = select(Erasure.request_id).where(Erasure.deletion_request_id.in_([request.id for request in requests]))
    behind = select(SubjectRequest).where(SubjectRequest.id.in_(served)).order_by(SubjectRequest.id)
    # Two models may finish at the same moment: the second has to see what the first has done.
    locked = behind.with_for_update(key_share=True).execution_options(populate_existing=True)
    return session.scalars(locked).all()


def follow(session: Session, requests: Iterable[DeletionRequest], *, at: datetime) -> None:
    """Deletion requests have moved: so may have the OpenDSR requests that they serve, if any."""
    _settle(session, lock_behind(session, requests), at=at)


def settle(session: Session, whole: SubjectRequest, *, at: datetime) -> None:
    """Bring the status up to date, and tell all callbacks if it has changed."""
    _settle(session, [whole], at=at)


def _settle(session: Session, wholes: Sequence[SubjectRequest], *, at: datetime) -> None:
    if not wholes:
        return
    states = defaultdict(list)
    served = select(Erasure.request_id, DeletionRequest.state).join(
        Erasure, Erasure.deletion_request_id == DeletionRequest.id
    )
    for whole_id, state in session.execute(served.where(Erasure.request_id.in_([whole.id for whole in wholes]))):
        states[whole_id].append(state)
    changed = {}
    for whole in wholes:
        status = status_of(states[whole.id])
        # What has begun does not become pending again.
        if status is not RequestStatus.PENDING and status is not whole.status:
            whole.status = status
            changed[whole.id] = whole
    if not changed:
        return
    told = select(StatusCallback.request_id, WebhookEndpoint).join(
        StatusCallback, StatusCallback.endpoint_id == WebhookEndpoint.id
    )
    for whole_id, endpoint in session.execute(
        told.where(StatusCallback.request_id.in_(changed), WebhookEndpoint.disabled_at.is_(None))
    ):
        whole = changed[whole_id]
        body = {  # OpenDSR 2.0, section 8.6
            "controller_id": session.get_one(Tenant, whole.tenant_id).name,
            "expected_completion_time": timestamp(whole.due_at),
            "status_callback_url": endpoint.url,
            "subject_request_id": str(whole.subject_request_id),
            "request_status": whole.status,
            "extensions": {whole.domain: {"outcome": outcome_of(states[whole_id])}},
        }
        kind = f"opendsr.{whole.status}"
        outbox.send(session, [endpoint], kind, json.dumps(body, separators=(",", ":")), at=at)


def timestamp(time: datetime) -> str:
    """As RFC 3339 has it, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
