"""MACs of events that are not chained yet: HMAC-SHA256 with a key that is not in the database.

About a second passes between a transaction and the chain. Whoever changes a row meanwhile, with access to the database
only, cannot compute its MAC, and `audit_log.chain` records that the row was altered.
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
    """The MAC of an event, 32 bytes; None where the session has no key, as one that only reads."""
    return _mac(session, "event", tenant_id.hex, at.isoformat(), event, about and about.hex, by, facts)


def of_move(
    session: Session,
    request: Any,
    request_id: uuid.UUID,
    at: datetime,
    before: str | None,
    after: str,
    reason: str | None = None,
) -> bytes | None:
    """The MAC of a transition of a request; that of the first one also covers the columns that are chained with it.

    `request` is the request itself, or a row with its columns.
    """
    submission = () if before is not None else _submission(request)
    return _mac(
        session, "move", request.tenant_id.hex, request_id.hex, at.isoformat(), before, after, reason, *submission
    )


def matches(mac: bytes | None, expected: bytes | None) -> bool:
    """Whether a MAC is the expected one, compared in constant time; False if either is missing."""
    return mac is not None and expected is not None and hmac.compare_digest(mac, expected)


def _submission(request: Any) -> tuple[str | int, ...]:
    due_at = request.due_at.isoformat()
    return request.model_id.hex, request.submitted_by, request.samples_hmac, request.sample_count, due_at


def _mac(session: Session, *values: object) -> bytes | None:
    key = session.info.get(AUDIT_KEY)
    return None if key is None else hmac.digest(key, json.dumps(values).encode(), "sha256")
