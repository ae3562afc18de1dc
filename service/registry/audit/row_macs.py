"""A seal on what has happened, until it is chained: an HMAC with a key that is not in the database.

About a second passes between a transaction and the chain. Whoever changes a row meanwhile, and has no more than the
database, cannot seal it again, and `audit.chain` writes down that it is not as it was written.
"""

import hmac
import json
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from service.registry.storage.database import AUDIT_KEY


def of_event(
    session: Session, tenant_id: uuid.UUID, at: datetime, event: str, about: uuid.UUID | None, by: str, facts: str
) -> bytes | None:
    """The seal of something that happened; nothing where there is no key, as in a database that is only looked at."""
    return _seal(session, "event", tenant_id.hex, at.isoformat(), event, about and about.hex, by, facts)


def of_move(
    session: Session,
    request: Any,
    request_id: uuid.UUID,
    at: datetime,
    before: str | None,
    after: str,
    reason: str | None = None,
) -> bytes | None:
    """The seal of a move of a request: of the first one with what the request brought, which is chained with it.

    `request` is the request itself, or a row with its columns.
    """
    brought = () if before is not None else _brought(request)
    return _seal(
        session, "move", request.tenant_id.hex, request_id.hex, at.isoformat(), before, after, reason, *brought
    )


def holds(seal: bytes | None, again: bytes | None) -> bool:
    """Is a seal the one that it should be?"""
    return seal is not None and again is not None and hmac.compare_digest(seal, again)


def _brought(request: Any) -> tuple[str | int, ...]:
    due_at = request.due_at.isoformat()
    return request.model_id.hex, request.submitted_by, request.samples_hmac, request.sample_count, due_at


def _seal(session: Session, *said: object) -> bytes | None:
    key = session.info.get(AUDIT_KEY)
    return None if key is None else hmac.digest(key, json.dumps(said).encode(), "sha256")
