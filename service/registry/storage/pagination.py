"""Keyset pagination with opaque cursors: stable while rows arrive, equally fast on the last page."""

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.registry.errors import MalformedCursor

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of rows, newest first, and the cursor of the next page; None on the last one."""

    items: Sequence[T]
    next: str | None


def paginate(
    session: Session,
    rows: Select[T],
    *,
    newest: InstrumentedAttribute[datetime],
    identity: InstrumentedAttribute[uuid.UUID],
    listing: str,
    cursor: str | None,
    limit: int,
) -> Page[T]:
    """The `limit` rows after `cursor`, newest first.

    `listing` names the listing and its filters; a cursor of another one is refused.

    Raises:
        MalformedCursor: the cursor was not issued by this listing.
    """
    if cursor is not None:
        at, after = _decode(cursor, listing)
        rows = rows.where(or_(newest < at, and_(newest == at, identity < after)))
    page_rows = session.scalars(rows.order_by(newest.desc(), identity.desc()).limit(limit + 1)).all()
    if len(page_rows) <= limit:
        return Page(page_rows, None)
    last = page_rows[limit - 1]
    return Page(page_rows[:limit], _encode(getattr(last, newest.key), getattr(last, identity.key), listing))


def _encode(at: datetime, identity: uuid.UUID, listing: str) -> str:
    position = json.dumps([listing, at.isoformat(), identity.hex], separators=(",", ":"))
    return base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()


def _decode(cursor: str, listing: str) -> tuple[datetime, uuid.UUID]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        cursor_listing, at, identity = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        moment, after = datetime.fromisoformat(at), uuid.UUID(hex=identity)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedCursor from error
    if cursor_listing != listing or moment.utcoffset() != timedelta(
        0
    ):  # as it was written; other zones may lead out of range
        raise MalformedCursor
    return moment, after
