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


def with_samples_to_destroy(session: Session, settings: RegistrySettings, limit: int = 100) -> list[uuid.UUID]:
    """Ended requests whose images still exist, and are no longer needed."""
    doomed = select(DeletionRequest.id).where(*_samples_no_longer_needed(session, settings))
    return list(session.scalars(doomed.limit(limit)))


def forget_samples(session: Session, request_id: uuid.UUID, settings: RegistrySettings) -> str | None:
    """Destroy the key of a request's images, and the mention of their file, which is the caller's to remove.

    Nothing happens when they are needed again, or somebody was faster. Until the transaction ends, nobody retries it.
    """
    request = session.get_one(DeletionRequest, request_id)
    jobs.lock_of(session, request)
    doomed = select(DeletionRequest).where(
        DeletionRequest.id == request_id, *_samples_no_longer_needed(session, settings)
    )
    if session.scalar(doomed, execution_options={"populate_existing": True}) is None:
        return None
    samples = request.samples
    request.samples = request.samples_key = None
    request.samples_destroyed_at = clock(session)
    audit_log.append(
        session, request.tenant_id, "deletion_request.images_destroyed", about=request.id, images=request.sample_count
    )
    return samples


def _samples_no_longer_needed(session: Session, settings: RegistrySettings) -> tuple[ColumnElement[bool], ...]:
    now, state, ended_at = clock(session), DeletionRequest.state, DeletionRequest.ended_at
    kept = {**dict.fromkeys(_WITH_VERSION, settings.evidence_retention), State.FAILED: settings.failed_retention}
    doomed = [and_(state == ended, ended_at <= now - kept.get(ended, timedelta(0))) for ended in sorted(ENDED)]
    return DeletionRequest.samples.is_not(None), or_(*doomed)
