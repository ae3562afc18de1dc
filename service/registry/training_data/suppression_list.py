"""The suppression list: subjects and records that deletion requests have named, as pseudonyms."""

import uuid
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.storage.pagination import Page, paginate
from service.registry.tables import DeletionRequest, Suppression


def add(session: Session, request: DeletionRequest, *, subjects: Iterable[bytes], records: Iterable[bytes]) -> None:
    """Add the subjects and records that an accepted request names. They stay on the list whatever its outcome."""
    entries = [("subject", subject) for subject in subjects]
    entries += [("record", record) for record in records]
    session.add_all(
        Suppression(tenant_id=request.tenant_id, request_id=request.id, kind=kind, hmac=hmac, at=request.received_at)
        for kind, hmac in entries
    )


def list_suppressions(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[Suppression]:
    """The suppression list of a tenant, newest first."""
    return paginate(
        session,
        select(Suppression).where(Suppression.tenant_id == tenant_id),
        newest=Suppression.at,
        identity=Suppression.id,
        listing="suppressions",
        cursor=cursor,
        limit=limit,
    )
