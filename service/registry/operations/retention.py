"""The records of requests, kept for as long as the policy says and then removed (11 CCR § 7101 asks for 24 months).

The row stays, emptied, because other data depend on it: which run made which version, which versions are affected by a
request, and the yearly figures. The audit log stays, too, which is append-only and must contain all events of the
request before anything is removed; and so does the suppression list.
"""

import uuid

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session, aliased

from service.registry.audit import audit_log
from service.registry.settings import RegistrySettings
from service.registry.states import ENDED
from service.registry.storage.database import Database, clock
from service.registry.tables import Certificate, DeletionRequest, Erasure, ImageView, SubjectIdentity, Transition

_BATCH = 100  # with one sweep


def remove_old_records(database: Database, settings: RegistrySettings) -> None:
    """Remove a batch of records of requests that ended longer than `record_retention` ago."""
    if not settings.record_retention:
        return
    with database.read() as session:
        statement = select(DeletionRequest.id).where(
            DeletionRequest.record_removed_at.is_(None),
            DeletionRequest.ended_at < clock(session) - settings.record_retention,
            DeletionRequest.state.in_(ENDED),
            ~exists().where(Transition.request_id == DeletionRequest.id, ~Transition.chained),
            DeletionRequest.samples.is_(None),  # requests with images can still be retried
        )
        request_ids = session.scalars(statement.order_by(DeletionRequest.ended_at).limit(_BATCH)).all()
    for request_id in request_ids:
        with database.write() as session:
            remove(session, request_id)


def remove(session: Session, request_id: uuid.UUID) -> None:
    """Empty the row of a request that has ended, and delete its transitions, certificate and image views."""
    request = session.get_one(DeletionRequest, request_id, with_for_update=True)
    if request.record_removed_at is not None:
        return
    for table in (Transition, Certificate, ImageView):
        session.execute(delete(table).where(table.request_id == request_id))
    request.submitted_by = request.samples_hmac = ""
    request.why = request.metrics = request.duplicate_of_id = None
    request.record_removed_at = clock(session)
    audit_log.append(session, request.tenant_id, "deletion_request.record_removed", about=request_id)
    session.flush()
    _forget_identities(session, request_id)


def _forget_identities(session: Session, request_id: uuid.UUID) -> None:
    """Delete the identities of the OpenDSR request that this one was part of, if it was the last with a record."""
    subject_request = select(Erasure.request_id).where(Erasure.deletion_request_id == request_id).scalar_subquery()
    other = aliased(Erasure)
    kept = exists().where(
        other.request_id == SubjectIdentity.request_id,
        DeletionRequest.id == other.deletion_request_id,
        DeletionRequest.record_removed_at.is_(None),
    )
    statement = delete(SubjectIdentity).where(SubjectIdentity.request_id == subject_request, ~kept)
    session.execute(statement.execution_options(synchronize_session=False))
