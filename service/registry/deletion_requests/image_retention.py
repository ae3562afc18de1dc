"""How long the images of a request are kept, and their destruction."""

import uuid
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.job_queue import jobs
from service.registry.settings import RegistrySettings
from service.registry.states import ENDED, State
from service.registry.storage.database import clock
from service.registry.tables import DeletionRequest

_WITH_VERSION = (State.COMPLETED, State.NEEDS_REVIEW)


def requests_with_expired_samples(session: Session, settings: RegistrySettings, limit: int = 100) -> list[uuid.UUID]:
    """Identifiers of ended requests whose images are still stored after their retention."""
    expired = select(DeletionRequest.id).where(*_samples_expired(session, settings))
    return list(session.scalars(expired.limit(limit)))


def forget_samples(session: Session, request_id: uuid.UUID, settings: RegistrySettings) -> str | None:
    """Destroy the key of a request's images, and return the artifact key of their file, which the caller removes.

    `None`, and nothing changes, when they are needed again or already destroyed. The job's lock keeps a retry out until
    the transaction ends.
    """
    request = session.get_one(DeletionRequest, request_id)
    jobs.lock_job_of(session, request)
    expired = select(DeletionRequest).where(DeletionRequest.id == request_id, *_samples_expired(session, settings))
    if session.scalar(expired, execution_options={"populate_existing": True}) is None:
        return None
    samples = request.samples
    request.samples = request.samples_key = None
    request.samples_destroyed_at = clock(session)
    audit_log.append(
        session, request.tenant_id, "deletion_request.images_destroyed", about=request.id, images=request.sample_count
    )
    return samples


def _samples_expired(session: Session, settings: RegistrySettings) -> tuple[ColumnElement[bool], ...]:
    now, state, ended_at = clock(session), DeletionRequest.state, DeletionRequest.ended_at
    retention = {**dict.fromkeys(_WITH_VERSION, settings.evidence_retention), State.FAILED: settings.failed_retention}
    expired = [and_(state == ended, ended_at <= now - retention.get(ended, timedelta(0))) for ended in sorted(ENDED)]
    return DeletionRequest.samples.is_not(None), or_(*expired)
