"""The status of OpenDSR requests, from the states of their deletion requests, and the callbacks about it."""

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
"""The outcome where no model's newest version was trained on images of the person."""

_NOT_BEGUN = frozenset({State.RECEIVED, State.AWAITING_APPROVAL, State.QUEUED, State.REJECTED, State.CANCELLED})

#: The outcome of several deletion requests is the first of these states that one of them is in.
_OUTCOME_PRECEDENCE = (State.FAILED, State.NEEDS_REVIEW, State.REJECTED, State.CANCELLED, State.COMPLETED)


def status_of(states: Collection[State]) -> RequestStatus:
    """The status of a request with deletion requests in these states. A failed one may be retried: it is not over."""
    if any(state not in ENDED or state is State.FAILED for state in states):
        return RequestStatus.PENDING if _NOT_BEGUN.issuperset(states) else RequestStatus.IN_PROGRESS
    is_completed = all(state is State.COMPLETED for state in states)
    return RequestStatus.COMPLETED if is_completed else RequestStatus.CANCELLED


def outcome_of(states: Collection[State]) -> str | None:
    """The outcome of a request with deletion requests in these states; `None` while they run and none has failed."""
    if not states:
        return NOTHING_TO_DO
    if State.FAILED not in states and not ENDED.issuperset(states):
        return None
    return next(state for state in _OUTCOME_PRECEDENCE if state in states)


def lock_subject_requests(session: Session, requests: Iterable[DeletionRequest]) -> Sequence[SubjectRequest]:
    """The OpenDSR requests that these serve, locked in the order of their identifiers, against deadlocks."""
    served = select(Erasure.request_id).where(Erasure.deletion_request_id.in_([request.id for request in requests]))
    rows = select(SubjectRequest).where(SubjectRequest.id.in_(served)).order_by(SubjectRequest.id)
    # Jobs of two models may end at the same moment: the second must read what the first has written.
    locked = rows.with_for_update(key_share=True).execution_options(populate_existing=True)
    return session.scalars(locked).all()


def update_statuses(session: Session, requests: Iterable[DeletionRequest], *, at: datetime) -> None:
    """Update the statuses of the OpenDSR requests that these deletion requests serve, after they have moved."""
    _update(session, lock_subject_requests(session, requests), at=at)


def update_status(session: Session, subject_request: SubjectRequest, *, at: datetime) -> None:
    """Update the status of an OpenDSR request, and queue its callbacks if it has changed."""
    _update(session, [subject_request], at=at)


def _update(session: Session, subject_requests: Sequence[SubjectRequest], *, at: datetime) -> None:
    if not subject_requests:
        return
    states = defaultdict(list)
    served = select(Erasure.request_id, DeletionRequest.state).join(
        Erasure, Erasure.deletion_request_id == DeletionRequest.id
    )
    for request_id, state in session.execute(
        served.where(Erasure.request_id.in_([subject_request.id for subject_request in subject_requests]))
    ):
        states[request_id].append(state)
    changed = {}
    for subject_request in subject_requests:
        status = status_of(states[subject_request.id])
        # A request that has begun does not become pending again.
        if status is not RequestStatus.PENDING and status is not subject_request.status:
            subject_request.status = status
            changed[subject_request.id] = subject_request
    if not changed:
        return
    callbacks = select(StatusCallback.request_id, WebhookEndpoint).join(
        StatusCallback, StatusCallback.endpoint_id == WebhookEndpoint.id
    )
    for request_id, endpoint in session.execute(
        callbacks.where(StatusCallback.request_id.in_(changed), WebhookEndpoint.disabled_at.is_(None))
    ):
        subject_request = changed[request_id]
        body = {  # OpenDSR 2.0, section 8.6
            "controller_id": session.get_one(Tenant, subject_request.tenant_id).name,
            "expected_completion_time": timestamp(subject_request.due_at),
            "status_callback_url": endpoint.url,
            "subject_request_id": str(subject_request.subject_request_id),
            "request_status": subject_request.status,
            "extensions": {subject_request.domain: {"outcome": outcome_of(states[request_id])}},
        }
        kind = f"opendsr.{subject_request.status}"
        outbox.enqueue(session, [endpoint], kind, json.dumps(body, separators=(",", ":")), at=at)


def timestamp(time: datetime) -> str:
    """A time in the format of RFC 3339, in UTC and to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
