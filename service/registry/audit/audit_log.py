"""The audit log: what happened, for each tenant a hash chain.

What happened is written in its own transaction: by `append`, or as the `Transition` that a move of a request is. So
there is never the one without the other. It is chained afterwards, by `chain`, which every process of the service calls
each second: otherwise all that accept requests would wait for each other, for the row that is the head of the chain.
Until then a seal shows whether it is as it was written (`audit_seals`), which its entry says for ever.

Entries hold identifiers of rows, digests, and what stands for people: never a name, and nothing that somebody wrote. Of
a text there is an HMAC with the tenant's key (`Pseudonyms`). Verifying the chain takes no key, so it can be verified
when that one is destroyed.
"""

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.audit import row_macs
from service.registry.audit.hash_chain import Head, Link, canonical, encoded, extend, moment
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.storage.database import batches, clock
from service.registry.tables import AuditEntry, AuditEvent, AuditHead, DeletionRequest, Tenant, Transition

logger = logging.getLogger(__name__)

_AT_ONCE = 1000  # moves, and as many other events, that one transaction chains
_MOVED = "deletion_request.moved"
_ACTING = "who acts"  # key of a session's `info`

_EVENT = insert(AuditEvent)
_UNCHAINED = text("NOT transitions.chained")  # as the index has it, for both databases
_MOVES = (
    select(
        Transition.id,
        Transition.request_id,
        Transition.at,
        Transition.before,
        Transition.after,
        Transition.reason,
        Transition.seal,
        DeletionRequest.tenant_id,
        DeletionRequest.model_id,
        DeletionRequest.submitted_by,
        DeletionRequest.samples_hmac,
        DeletionRequest.sample_count,
        DeletionRequest.due_at,
    )
    .join(DeletionRequest, DeletionRequest.id == Transition.request_id)
    .where(_UNCHAINED, DeletionRequest.tenant_id == bindparam("tenant_id"))
    .order_by(Transition.id)
    .limit(_AT_ONCE)
)
_EVENTS = (
    select(AuditEvent).where(AuditEvent.tenant_id == bindparam("tenant_id")).order_by(AuditEvent.id).limit(_AT_ONCE)
)


_ENTRY = insert(AuditEntry)
_CHAINED = update(Transition).where(Transition.id.in_(bindparam("ids", expanding=True))).values(chained=True, seal=None)
_GONE = delete(AuditEvent).where(AuditEvent.id.in_(bindparam("ids", expanding=True)))
_FIRST_MOVES = select(Transition.request_id).where(_UNCHAINED).order_by(Transition.id).limit(_AT_ONCE).subquery()
_WHO_MOVED = (
    select(DeletionRequest.tenant_id).join(_FIRST_MOVES, _FIRST_MOVES.c.request_id == DeletionRequest.id).distinct()
)
_WHO_ELSE = select(AuditEvent.tenant_id).distinct()


def acting(session: Session, subject: str) -> None:
    """Who does what this session writes; without a word it is the service itself."""
    session.info[_ACTING] = subject


def append(
    session: Session,
    tenant_id: uuid.UUID,
    event: str,
    *,
    about: uuid.UUID | None = None,
    by: str | None = None,
    **facts: Any,
) -> None:
    """Write down that something happened; it is committed with this transaction, and chained within about a second.

    `event` is a thing and a verb, such as `version.registered`. `facts` are text, integers, booleans, null, and lists
    and objects of them. None is what a person or a thing is called: see `commitment`.
    """
    said = canonical(facts)  # whoever writes what cannot be chained shall hear of it, and not who chains
    at, by = clock(session), by or session.info.get(_ACTING, "service")
    row = {
        "tenant_id": tenant_id,
        "at": at,
        "event": event,
        "about": about,
        "by": by,
        "facts": facts,
        "seal": row_macs.of_event(session, tenant_id, at, event, about, by, said),
    }
    session.connection().execute(_EVENT, row)


def commitment(session: Session, tenant_id: uuid.UUID, said: str) -> str:
    """What stands in the log for a text that somebody wrote."""
    return _pseudonyms(session, tenant_id).text(said)


def chain(session: Session, tenant_id: uuid.UUID) -> int:
    """Chain what has happened to a tenant, oldest first; how much it was. There may be more then.

    Nobody else appends to this chain until the transaction ends, which should be soon. A transaction that chains for
    several tenants does so in the order of their identifiers.
    """
    head = _locked(session, tenant_id)
    moves = session.execute(_MOVES, {"tenant_id": tenant_id}).all()
    events = session.scalars(_EVENTS, {"tenant_id": tenant_id}).all()
    if not moves and not events:
        return 0
    pseudonyms = _pseudonyms(session, tenant_id)
    happened = sorted(
        [*_moves(session, tenant_id, moves, pseudonyms), *_events(session, events)], key=lambda one: one.said["at"]
    )
    said = list(_judged(happened, is_sealed=_is_sealed(session, tenant_id, head.height)))
    links = list(extend(Head(head.height, head.sha256), tenant_id, said))
    rows = [
        {
            "tenant_id": tenant_id,
            "height": link.height,
            "previous": link.previous,
            "entry": link.entry,
            "sha256": link.sha256,
            "about": link.about,
        }
        for link in links
    ]
    session.connection().execute(_ENTRY, rows)
    if altered := [link.height for link, one in zip(links, said, strict=True) if one["as_written"] is False]:
        detail = "entry %d of the audit log of tenant %s is not as it was written, nor are %d more"
        logger.error(detail, altered[0], tenant_id, len(altered) - 1)
        head.altered_at = clock(session)
    head.height, head.sha256 = links[-1].height, links[-1].sha256
    for statement, rows_done in ((_CHAINED, moves), (_GONE, events)):
        if rows_done:
            session.connection().execute(statement, {"ids": [row.id for row in rows_done]})
    return len(links)


def waiting(session: Session) -> list[uuid.UUID]:
    """Tenants with something that is not chained yet, in the order in which their heads are locked."""
    return sorted({*session.scalars(_WHO_MOVED), *session.scalars(_WHO_ELSE)})


def head(session: Session, tenant_id: uuid.UUID) -> Head:
    """The end of a tenant's chain, as it was last committed."""
    row = session.get(AuditHead, tenant_id, populate_existing=True)
    return Head(row.height, row.sha256) if row is not None else Head()


def altered_at(session: Session, tenant_id: uuid.UUID) -> datetime | None:
    """When something was last chained that is not as it was written; nothing if that never happened."""
    return session.scalar(select(AuditHead.altered_at).where(AuditHead.tenant_id == tenant_id))


def entries(
    session: Session,
    tenant_id: uuid.UUID,
    first: int,
    last: int | None = None,
    *,
    about: uuid.UUID | None = None,
    limit: int | None = None,
) -> list[Link]:
    """The entries from one height to another, both included, or to the end; those about one thing, if it is named.

    Without `about` they are a proof: `audit_chain.follow` leads from the head before the first to the last one's.
    """
    rows = select(AuditEntry.height, AuditEntry.previous, AuditEntry.entry, AuditEntry.sha256, AuditEntry.about).where(
        AuditEntry.tenant_id == tenant_id, AuditEntry.height >= first
    )
    if last is not None:
        rows = rows.where(AuditEntry.height <= last)
    if about is not None:
        rows = rows.where(AuditEntry.about == about)
    return [Link(*row) for row in session.execute(rows.order_by(AuditEntry.height).limit(limit))]


def _locked(session: Session, tenant_id: uuid.UUID) -> AuditHead:
    row = _lock(session, tenant_id)
    if row is None:
        first = Head()
        try:
            with session.begin_nested():
                session.add(AuditHead(tenant_id=tenant_id, height=first.height, sha256=first.sha256))
        except IntegrityError:  # somebody was faster
            pass
        row = _lock(session, tenant_id)
        assert row is not None
    return row


def _lock(session: Session, tenant_id: uuid.UUID) -> AuditHead | None:
    return session.get(AuditHead, tenant_id, with_for_update=True, populate_existing=True)


def _pseudonyms(session: Session, tenant_id: uuid.UUID) -> Pseudonyms:
    return Pseudonyms(session.scalars(select(Tenant.pseudonym_key).where(Tenant.id == tenant_id)).one())


@dataclass(frozen=True)
class _Happened:
    """What an entry is to say, the seal that came with it, and the one that it should have."""

    said: dict[str, Any]
    seal: bytes | None
    again: bytes | None  #: nothing where there is no key to tell by


def _judged(happened: Iterable[_Happened], *, is_sealed: bool) -> Iterator[dict[str, Any]]:
    """What entries say, with whether that is as it was written; null of what is older than seals, as nobody knows.

    Once there is one with a seal in a log, there is none without: taking it away helps nobody.
    """
    for one in happened:
        if one.again is None or (one.seal is None and not is_sealed):
            yield one.said | {"as_written": None}
        else:
            is_sealed = True
            yield one.said | {"as_written": row_macs.holds(one.seal, one.again)}


def _is_sealed(session: Session, tenant_id: uuid.UUID, height: int) -> bool:
    last = session.get(AuditEntry, (tenant_id, height))
    return last is not None and json.loads(last.entry).get("as_written") is not None


def _moves(session: Session, tenant_id: uuid.UUID, rows: Sequence[Any], pseudonyms: Pseudonyms) -> Iterator[_Happened]:
    """Moves, in the order in which they were made. One that begins where none has ended follows one that is gone."""
    known = _states(session, tenant_id, rows)
    for row in rows:
        said = _move(row, pseudonyms)
        again = row_macs.of_move(session, row, row.request_id, row.at, row.before, row.after, row.reason)
        if row.before != known.get(row.request_id):
            said["facts"]["follows"] = known.get(row.request_id)
            again = again and b"none"
        known[row.request_id] = row.after
        yield _Happened(said, row.seal, again)


def _states(session: Session, tenant_id: uuid.UUID, rows: Iterable[Any]) -> dict[uuid.UUID, str]:
    """Where requests are, by the log and not by their rows; those that have just come are not asked for."""
    asked = {row.request_id for row in rows} - {row.request_id for row in rows if row.before is None}
    last: dict[uuid.UUID, tuple[int, str]] = {}  # by number: the log goes by times, and clocks are set back
    for batch in batches(asked):
        about = select(AuditEntry.entry).where(AuditEntry.tenant_id == tenant_id, AuditEntry.about.in_(batch))
        moved = (said for said in map(json.loads, session.scalars(about)) if said["event"] == _MOVED)
        for said in moved:
            request_id, facts = uuid.UUID(said["about"]), said["facts"]
            last[request_id] = max(last.get(request_id, (0, "")), (facts["transition"], facts["after"]))
    return {request_id: after for request_id, (_, after) in last.items()}


def _events(session: Session, rows: Iterable[AuditEvent]) -> Iterator[_Happened]:
    for row in rows:
        facts = encoded(row.facts)  # not checked: what was changed shall be told, and not keep the rest from the chain
        again = row_macs.of_event(session, row.tenant_id, row.at, row.event, row.about, row.by, facts)
        yield _Happened(_event(row), row.seal, again)


def _happened(
    at: datetime, event: str, about: uuid.UUID | None, by: str | None, facts: dict[str, Any]
) -> dict[str, Any]:
    return {"at": moment(at), "event": event, "about": about and str(about), "by": by, "facts": facts}


def _event(row: AuditEvent) -> dict[str, Any]:
    return _happened(row.at, row.event, row.about, row.by, row.facts)


def _move(row: Any, pseudonyms: Pseudonyms) -> dict[str, Any]:
    """A move as an event. Who caused it stands in an event of its own, except for whoever asked in the first place."""
    facts = {"transition": row.id, "before": row.before, "after": row.after}
    if row.reason is not None:
        facts["reason_hmac"] = pseudonyms.text(row.reason)
    if row.before is None:
        facts |= {
            "model": str(row.model_id),
            "images": row.sample_count,
            "images_hmac": row.samples_hmac,
            "due_at": moment(row.due_at),
        }
    by = row.submitted_by if row.before is None else None
    return _happened(row.at, _MOVED, row.request_id, by, facts)
