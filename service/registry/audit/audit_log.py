"""The audit log: the events of each tenant, as a hash chain.

An event is written in the transaction that causes it: by `append`, or as the `Transition` row of a request. It is
chained afterwards, by `chain`, which every process of the service calls each second: otherwise all processes that
accept requests would queue for the lock on the head of the chain. Until then a MAC protects the row (`row_macs`), and
its entry records for ever whether the MAC held (`as_written`).

Entries hold identifiers of rows, digests and pseudonyms: never a name, and no text that a person wrote, of which there
is an HMAC with the tenant's key (`Pseudonyms`). Verifying the chain takes no key, so it is still possible when that key
is destroyed.
"""

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, bindparam, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.audit import row_macs
from service.registry.audit.hash_chain import Head, Link, canonical, encoded, extend, rfc3339
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.storage.database import batches, clock
from service.registry.tables import AuditEntry, AuditEvent, AuditHead, DeletionRequest, Tenant, Transition

logger = logging.getLogger(__name__)

_BATCH = 1000  # transitions, and as many other events, that one transaction chains
_MOVED = "deletion_request.moved"
_ACTOR = "actor"  # key of a session's `info`

_INSERT_EVENT = insert(AuditEvent)
_UNCHAINED = text("NOT transitions.chained")  # as the index has it, for both databases
_SELECT_MOVES = (
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
    .limit(_BATCH)
)
_SELECT_EVENTS = (
    select(AuditEvent).where(AuditEvent.tenant_id == bindparam("tenant_id")).order_by(AuditEvent.id).limit(_BATCH)
)
_IDS: BindParameter[uuid.UUID] = bindparam("ids", expanding=True)

_INSERT_ENTRY = insert(AuditEntry)
_MARK_CHAINED = update(Transition).where(Transition.id.in_(_IDS)).values(chained=True, seal=None)
_DELETE_EVENTS = delete(AuditEvent).where(AuditEvent.id.in_(_IDS))
_OLDEST_MOVES = select(Transition.request_id).where(_UNCHAINED).order_by(Transition.id).limit(_BATCH).subquery()
_TENANTS_WITH_MOVES = (
    select(DeletionRequest.tenant_id).join(_OLDEST_MOVES, _OLDEST_MOVES.c.request_id == DeletionRequest.id).distinct()
)
_TENANTS_WITH_EVENTS = select(AuditEvent.tenant_id).distinct()


def set_actor(session: Session, subject: str) -> None:
    """Set the actor of the events that this session appends. By default it is `service`."""
    session.info[_ACTOR] = subject


def append(
    session: Session,
    tenant_id: uuid.UUID,
    event: str,
    *,
    about: uuid.UUID | None = None,
    by: str | None = None,
    **facts: Any,
) -> None:
    """Append an event; it is committed with this transaction, and chained within about a second.

    `event` is a noun and a verb, such as `version.registered`. `facts` are text, integers, booleans, null, and lists
    and objects of them, without names of persons or things: for these there is `commitment`.

    Raises:
        TypeError: `facts` hold something else.
    """
    serialized_facts = canonical(facts)  # raises here, for the writer, and not later in `chain`
    at, by = clock(session), by or session.info.get(_ACTOR, "service")
    row = {
        "tenant_id": tenant_id,
        "at": at,
        "event": event,
        "about": about,
        "by": by,
        "facts": facts,
        "seal": row_macs.of_event(session, tenant_id, at, event, about, by, serialized_facts),
    }
    session.connection().execute(_INSERT_EVENT, row)


def commitment(session: Session, tenant_id: uuid.UUID, content: str) -> str:
    """The HMAC that stands in the log for a text that a person wrote; in hex."""
    return _pseudonyms(session, tenant_id).text(content)


def chain(session: Session, tenant_id: uuid.UUID) -> int:
    """Chain a batch of a tenant's events, oldest first; how many. There may be more left.

    The head of the chain is locked until the transaction ends, which should be soon. A transaction that chains for
    several tenants does so in the order of their identifiers, against deadlocks.
    """
    head = _locked_head(session, tenant_id)
    moves = session.execute(_SELECT_MOVES, {"tenant_id": tenant_id}).all()
    events = session.scalars(_SELECT_EVENTS, {"tenant_id": tenant_id}).all()
    if not moves and not events:
        return 0
    pseudonyms = _pseudonyms(session, tenant_id)
    pending = [*_pending_moves(session, tenant_id, moves, pseudonyms), *_pending_events(session, events)]
    pending.sort(key=lambda entry: entry.content["at"])
    contents = list(_with_mac_results(pending, macs_expected=_last_entry_has_mac(session, tenant_id, head.height)))
    links = list(extend(Head(head.height, head.sha256), tenant_id, contents))
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
    session.connection().execute(_INSERT_ENTRY, rows)
    if altered := [
        height for height, content in enumerate(contents, links[0].height) if content["as_written"] is False
    ]:
        detail = "entry %d of the audit log of tenant %s is not as it was written, nor are %d more"
        logger.error(detail, altered[0], tenant_id, len(altered) - 1)
        head.altered_at = clock(session)
    head.height, head.sha256 = links[-1].height, links[-1].sha256
    for statement, chained in ((_MARK_CHAINED, moves), (_DELETE_EVENTS, events)):
        if chained:
            session.connection().execute(statement, {"ids": [row.id for row in chained]})
    return len(links)


def unchained_tenants(session: Session) -> list[uuid.UUID]:
    """Tenants with events that are not chained yet, in the order in which `chain` must lock their heads."""
    return sorted({*session.scalars(_TENANTS_WITH_MOVES), *session.scalars(_TENANTS_WITH_EVENTS)})


def head(session: Session, tenant_id: uuid.UUID) -> Head:
    """The end of a tenant's chain, as it was last committed."""
    row = session.get(AuditHead, tenant_id, populate_existing=True)
    return Head(row.height, row.sha256) if row is not None else Head()


def altered_at(session: Session, tenant_id: uuid.UUID) -> datetime | None:
    """When an event was last chained whose MAC did not match; None if that never happened."""
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
    """The entries from height `first` to `last`, both included, or to the end; `about` selects those about one row.

    Without `about` they are consecutive, so that `hash_chain.follow` can verify them.
    """
    rows = select(AuditEntry.height, AuditEntry.previous, AuditEntry.entry, AuditEntry.sha256, AuditEntry.about).where(
        AuditEntry.tenant_id == tenant_id, AuditEntry.height >= first
    )
    if last is not None:
        rows = rows.where(AuditEntry.height <= last)
    if about is not None:
        rows = rows.where(AuditEntry.about == about)
    return [Link(*row) for row in session.execute(rows.order_by(AuditEntry.height).limit(limit))]


def _locked_head(session: Session, tenant_id: uuid.UUID) -> AuditHead:
    row = _select_head_for_update(session, tenant_id)
    if row is None:
        genesis = Head()
        try:
            with session.begin_nested():
                session.add(AuditHead(tenant_id=tenant_id, height=genesis.height, sha256=genesis.sha256))
        except IntegrityError:  # another process was faster
            pass
        row = _select_head_for_update(session, tenant_id)
        assert row is not None
    return row


def _select_head_for_update(session: Session, tenant_id: uuid.UUID) -> AuditHead | None:
    return session.get(AuditHead, tenant_id, with_for_update=True, populate_existing=True)


def _pseudonyms(session: Session, tenant_id: uuid.UUID) -> Pseudonyms:
    return Pseudonyms(session.scalars(select(Tenant.pseudonym_key).where(Tenant.id == tenant_id)).one())


@dataclass(frozen=True)
class _PendingEntry:
    """The content of an entry to be, the MAC stored with its row, and the one that the row should have."""

    content: dict[str, Any]
    mac: bytes | None
    expected_mac: bytes | None  #: None where this process has no key


def _with_mac_results(pending: Iterable[_PendingEntry], *, macs_expected: bool) -> Iterator[dict[str, Any]]:
    """The contents, each with `as_written`: whether its MAC matched; null for rows that are older than MACs.

    Once a log has an entry with a MAC, a row without one counts as altered: removing the MAC does not help.
    """
    for entry in pending:
        if entry.expected_mac is None or (entry.mac is None and not macs_expected):
            yield entry.content | {"as_written": None}
        else:
            macs_expected = True
            yield entry.content | {"as_written": row_macs.matches(entry.mac, entry.expected_mac)}


def _last_entry_has_mac(session: Session, tenant_id: uuid.UUID, height: int) -> bool:
    last = session.get(AuditEntry, (tenant_id, height))
    return last is not None and json.loads(last.entry).get("as_written") is not None


def _pending_moves(
    session: Session, tenant_id: uuid.UUID, rows: Sequence[Any], pseudonyms: Pseudonyms
) -> Iterator[_PendingEntry]:
    """Transitions, in their order. One whose `before` is not the state logged last follows one that was removed."""
    states = _logged_states(session, tenant_id, rows)
    for row in rows:
        content = _move_content(row, pseudonyms)
        expected_mac = row_macs.of_move(session, row, row.request_id, row.at, row.before, row.after, row.reason)
        if row.before != states.get(row.request_id):
            content["facts"]["follows"] = states.get(row.request_id)
            expected_mac = expected_mac and b"none"
        states[row.request_id] = row.after
        yield _PendingEntry(content, row.seal, expected_mac)


def _logged_states(session: Session, tenant_id: uuid.UUID, rows: Iterable[Any]) -> dict[uuid.UUID, str]:
    """The states of requests by the log, not by their rows; without requests whose first transition is in `rows`."""
    request_ids = {row.request_id for row in rows} - {row.request_id for row in rows if row.before is None}
    latest: dict[uuid.UUID, tuple[int, str]] = {}  # by transition: the log is ordered by time, and clocks are set back
    for batch in batches(request_ids):
        statement = select(AuditEntry.entry).where(AuditEntry.tenant_id == tenant_id, AuditEntry.about.in_(batch))
        moves = (entry for entry in map(json.loads, session.scalars(statement)) if entry["event"] == _MOVED)
        for entry in moves:
            request_id, facts = uuid.UUID(entry["about"]), entry["facts"]
            latest[request_id] = max(latest.get(request_id, (0, "")), (facts["transition"], facts["after"]))
    return {request_id: after for request_id, (_, after) in latest.items()}


def _pending_events(session: Session, rows: Iterable[AuditEvent]) -> Iterator[_PendingEntry]:
    for row in rows:
        facts = encoded(row.facts)  # unchecked: an altered row must be chained as altered, not stop the chain
        expected_mac = row_macs.of_event(session, row.tenant_id, row.at, row.event, row.about, row.by, facts)
        content = _entry_content(row.at, row.event, row.about, row.by, row.facts)
        yield _PendingEntry(content, row.seal, expected_mac)


def _entry_content(
    at: datetime, event: str, about: uuid.UUID | None, by: str | None, facts: dict[str, Any]
) -> dict[str, Any]:
    return {"at": rfc3339(at), "event": event, "about": about and str(about), "by": by, "facts": facts}


def _move_content(row: Any, pseudonyms: Pseudonyms) -> dict[str, Any]:
    """A transition as an event. Its actor is in an event of its own, except for whoever submitted the request."""
    facts = {"transition": row.id, "before": row.before, "after": row.after}
    if row.reason is not None:
        facts["reason_hmac"] = pseudonyms.text(row.reason)
    if row.before is None:
        facts |= {
            "model": str(row.model_id),
            "images": row.sample_count,
            "images_hmac": row.samples_hmac,
            "due_at": rfc3339(row.due_at),
        }
    by = row.submitted_by if row.before is None else None
    return _entry_content(row.at, _MOVED, row.request_id, by, facts)
