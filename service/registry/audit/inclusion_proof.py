"""What the audit log says of one request, with as much of the chain as shows that it stands there.

From each entry about the request the chain is followed to the next head that was signed, which is seconds to minutes
later. Other entries in between are part of the proof: they hold identifiers and digests, and nobody's name.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log, checkpoints, hash_chain
from service.registry.audit.hash_chain import Broken, Head, follow
from service.registry.crypto.signing_keys import PublicKey, Signer
from service.registry.tables import AuditCheckpoint, AuditEntry, AuditEvent, DeletionRequest, Transition

_MOST_ROUNDS = 5  # of a thousand entries each: whoever asks for evidence does not work off a backlog


@dataclass(frozen=True)
class Shown:
    """What a proof shows."""

    entries: list[str]  #: about the request, in order
    heads: dict[int, bytes]  #: of the log, at the heights that the pieces have
    signed_at: datetime | None  #: when the last of them was signed


def chain_up(session: Session, request: DeletionRequest) -> None:
    """Have the audit log hold all that the request has gone through, if it does not yet."""
    moves = exists().where(Transition.request_id == request.id, ~Transition.chained)
    events = exists().where(AuditEvent.tenant_id == request.tenant_id, AuditEvent.about == request.id)
    unchained = select(or_(moves, events))
    rounds = 0
    while session.scalar(unchained) and rounds < _MOST_ROUNDS and audit_log.chain(session, request.tenant_id):
        rounds += 1


def sign_up(session: Session, request: DeletionRequest, signer: Signer) -> None:
    """Have the head signed, if what the log says of the request stands behind the last one that was."""
    chain_up(session, request)
    last = select(AuditEntry.height).where(AuditEntry.tenant_id == request.tenant_id, AuditEntry.about == request.id)
    height = session.scalar(last.order_by(AuditEntry.height.desc()).limit(1)) or 0
    signed = checkpoints.latest(session, request.tenant_id)
    if signed is None or signed.height < height:
        checkpoints.sign(session, request.tenant_id, signer)


def proof(session: Session, request: DeletionRequest, *, and_at: int | None = None) -> dict[str, Any]:
    """The entries about the request, and the one at the height `and_at`, in the pieces of the chain that have them."""
    tenant_id, end = request.tenant_id, audit_log.head(session, request.tenant_id).height
    pieces: list[dict[str, Any]] = []
    own = {entry.height for entry in audit_log.entries(session, tenant_id, 1, end, about=request.id)}
    reached = 0
    for height in sorted(own | ({and_at} if and_at else set())):
        if height <= reached:
            continue  # the piece before has it
        signed = _next_checkpoint(session, tenant_id, height)
        if signed is None:
            break  # it will be signed within a minute
        links = audit_log.entries(session, tenant_id, height, signed.height)
        pieces.append(
            {"entries": [hash_chain.written(link) for link in links], "checkpoint": checkpoints.written(signed)}
        )
        reached = signed.height
    return {"tenant": str(tenant_id), "request": str(request.id), "pieces": pieces}


def verify(document: Mapping[str, Any], keys: Mapping[str, PublicKey]) -> Shown:
    """What a proof shows, once it is sure that all of it stands in a log with signed heads.

    Raises:
        Broken: something is not as it was written, or no key of these has signed it.
    """
    try:
        return _followed(document, keys)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise Broken(0, "it is not written as a proof is") from None


def _followed(document: Mapping[str, Any], keys: Mapping[str, PublicKey]) -> Shown:
    tenant_id = uuid.UUID(document["tenant"])
    entries: list[str] = []
    heads: dict[int, bytes] = {}
    signed_at, reached = None, 0
    for piece in document["pieces"]:
        links = [hash_chain.read(one) for one in piece["entries"]]
        if links[0].height <= reached:
            raise Broken(links[0].height, "the piece does not come after the one before it")
        *_, head = follow(Head(links[0].height - 1, links[0].previous), tenant_id, links)
        checkpoint = checkpoints.read(piece["checkpoint"], tenant_id)
        checkpoints.check(checkpoint, head, keys)
        heads |= {link.height: link.sha256 for link in links}
        own = [link for link in links if str(link.about) == document["request"]]
        for link in own:
            if not hash_chain.as_written(link):
                raise Broken(link.height, "the entry was changed, or one before it removed, before it was chained")
        entries += [link.entry for link in own]
        signed_at, reached = checkpoint.at, head.height
    return Shown(entries, heads, signed_at)


def _next_checkpoint(session: Session, tenant_id: uuid.UUID, height: int) -> AuditCheckpoint | None:
    rows = select(AuditCheckpoint).where(AuditCheckpoint.tenant_id == tenant_id, AuditCheckpoint.height >= height)
    return session.scalar(rows.order_by(AuditCheckpoint.height).limit(1))
