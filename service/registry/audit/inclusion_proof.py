"""Proofs that the audit log contains the events of one deletion request.

From each entry about the request the chain is followed to the next head that was signed, which is seconds to minutes
later. Other entries in between are part of the proof: they hold identifiers and digests, and no names.
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

_MAX_ROUNDS = 5  # of a thousand entries each: a request for evidence does not work off a backlog


@dataclass(frozen=True)
class VerifiedProof:
    """The content of a proof that was verified."""

    entries: list[str]  #: about the request, in order
    heads: dict[int, bytes]  #: of the log, at the heights that the pieces have
    signed_at: datetime | None  #: when the last of them was signed


def chain_events(session: Session, request: DeletionRequest) -> None:
    """Chain the events of the request that are not chained yet."""
    moves = exists().where(Transition.request_id == request.id, ~Transition.chained)
    events = exists().where(AuditEvent.tenant_id == request.tenant_id, AuditEvent.about == request.id)
    unchained = select(or_(moves, events))
    rounds = 0
    while session.scalar(unchained) and rounds < _MAX_ROUNDS and audit_log.chain(session, request.tenant_id):
        rounds += 1


def sign_events(session: Session, request: DeletionRequest, signer: Signer) -> None:
    """Chain the events of the request, and sign the head if the last signed one does not cover them."""
    chain_events(session, request)
    newest = select(AuditEntry.height).where(AuditEntry.tenant_id == request.tenant_id, AuditEntry.about == request.id)
    height = session.scalar(newest.order_by(AuditEntry.height.desc()).limit(1)) or 0
    signed = checkpoints.latest(session, request.tenant_id)
    if signed is None or signed.height < height:
        checkpoints.sign(session, request.tenant_id, signer)


def proof(session: Session, request: DeletionRequest, *, also_at_height: int | None = None) -> dict[str, Any]:
    """The proof as JSON: the pieces of the chain with the entries about the request.

    `also_at_height` is the height of one more entry to include. Entries that no checkpoint covers yet are left out.
    """
    tenant_id, end = request.tenant_id, audit_log.head(session, request.tenant_id).height
    pieces: list[dict[str, Any]] = []
    heights = {entry.height for entry in audit_log.entries(session, tenant_id, 1, end, about=request.id)}
    covered = 0
    for height in sorted(heights | ({also_at_height} if also_at_height else set())):
        if height <= covered:
            continue  # the piece before contains it
        signed = _next_checkpoint(session, tenant_id, height)
        if signed is None:
            break  # it will be signed within a minute
        links = audit_log.entries(session, tenant_id, height, signed.height)
        pieces.append(
            {"entries": [hash_chain.to_document(link) for link in links], "checkpoint": checkpoints.to_document(signed)}
        )
        covered = signed.height
    return {"tenant": str(tenant_id), "request": str(request.id), "pieces": pieces}


def verify(document: Mapping[str, Any], keys: Mapping[str, PublicKey]) -> VerifiedProof:
    """Verify a proof: each piece must end at a signed head of one log.

    Raises:
        Broken: an entry was altered or is missing, or none of `keys` has signed a head.
    """
    try:
        return _verified(document, keys)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise Broken(0, "it is not written as a proof is") from None


def _verified(document: Mapping[str, Any], keys: Mapping[str, PublicKey]) -> VerifiedProof:
    tenant_id = uuid.UUID(document["tenant"])
    entries: list[str] = []
    heads: dict[int, bytes] = {}
    signed_at, covered = None, 0
    for piece in document["pieces"]:
        links = [hash_chain.from_document(entry) for entry in piece["entries"]]
        if links[0].height <= covered:
            raise Broken(links[0].height, "the piece does not come after the one before it")
        *_, head = follow(Head(links[0].height - 1, links[0].previous), tenant_id, links)
        checkpoint = checkpoints.from_document(piece["checkpoint"], tenant_id)
        checkpoints.check(checkpoint, head, keys)
        heads |= {link.height: link.sha256 for link in links}
        own = [link for link in links if str(link.about) == document["request"]]
        for link in own:
            if not hash_chain.as_written(link):
                raise Broken(link.height, "the entry was changed, or one before it removed, before it was chained")
        entries += [link.entry for link in own]
        signed_at, covered = checkpoint.at, head.height
    return VerifiedProof(entries, heads, signed_at)


def _next_checkpoint(session: Session, tenant_id: uuid.UUID, height: int) -> AuditCheckpoint | None:
    rows = select(AuditCheckpoint).where(AuditCheckpoint.tenant_id == tenant_id, AuditCheckpoint.height >= height)
    return session.scalar(rows.order_by(AuditCheckpoint.height).limit(1))
