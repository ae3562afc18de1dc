"""An audit log as a file: NDJSON that is verified without the service, given the public keys.

The first line names the log, then come all entries, and behind each the checkpoint that signs it, if there is one. The
last line is a checkpoint, so that nothing can be cut off. Every line is canonical JSON (RFC 8785): no byte of it is
without a meaning.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from service.registry.audit import audit_log, checkpoints, hash_chain
from service.registry.audit.hash_chain import VERSION, Broken, Head, canonical, follow
from service.registry.crypto.signing_keys import PublicKey
from service.registry.storage.database import Database

MEDIA_TYPE = "application/x-ndjson"

_BATCH = 1000  # entries that are read at once
_UNREADABLE = "the line is not one of an audit log"


@dataclass(frozen=True)
class VerifiedLog:
    """What an exported audit log contains, once it is verified."""

    tenant_id: uuid.UUID
    head: Head
    signed_at: datetime  #: when its head was signed
    key_ids: tuple[str, ...]  #: of the keys that have signed checkpoints, in the order of their first
    altered: tuple[int, ...]  #: heights of entries that were not as they had been written when they were chained


def lines(database: Database, tenant_id: uuid.UUID, end: int) -> Iterator[str]:
    """The log up to the checkpoint at the height `end`."""
    yield _first_line(tenant_id)
    for first in range(0, end + 1, _BATCH):
        last = min(end, first + _BATCH - 1)
        with database.read() as session:
            signed = {row.height: row for row in checkpoints.between(session, tenant_id, first, last)}
            links = audit_log.entries(session, tenant_id, first, last)
        if first == 0 and 0 in signed:
            yield _line(checkpoints.to_document(signed[0]))
        for link in links:
            yield _line(hash_chain.to_document(link))
            if link.height in signed:
                yield _line(checkpoints.to_document(signed[link.height]))


def verify(
    file: Iterable[str], keys: Mapping[str, PublicKey], heads: Mapping[int, bytes] = MappingProxyType({})
) -> VerifiedLog:
    """Verify a file; and, if `heads` are given, that its entries at these heights have these hashes.

    Raises:
        Broken: it is not as it was written, or not all of it, or not signed by one of `keys`, by their identifiers.
    """
    head, signed_at, key_ids, tenant_id = Head(), None, dict[str, None](), None
    altered: list[int] = []
    for line in file:
        try:
            document = json.loads(line)
            if tenant_id is None:
                tenant_id = uuid.UUID(document["tenant"])
                expected = _first_line(tenant_id)
            elif "entry" in document:
                link, signed_at = hash_chain.from_document(document), None
                (head,) = follow(head, tenant_id, [link])
                if heads.get(head.height, head.sha256) != head.sha256:
                    raise Broken(head.height, "the entry is not the one that was asked for")
                if not hash_chain.as_written(link):
                    altered.append(link.height)
                expected = _line(hash_chain.to_document(link))
            else:
                checkpoint = checkpoints.from_document(document, tenant_id)
                checkpoints.check(checkpoint, head, keys)
                key_ids[checkpoint.key_id], signed_at = None, checkpoint.at
                expected = _line(checkpoints.to_document(checkpoint))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise Broken(head.height + 1, _UNREADABLE) from None
        if expected != line:
            raise Broken(head.height + 1, _UNREADABLE)
    if tenant_id is None or signed_at is None:
        raise Broken(head.height + 1, "the end of the log is missing")
    if max(heads, default=0) > head.height:
        raise Broken(head.height + 1, "the log ends before the entry that was asked for")
    return VerifiedLog(tenant_id, head, signed_at, tuple(key_ids), tuple(altered))


def _first_line(tenant_id: uuid.UUID) -> str:
    return _line({"tenant": str(tenant_id), "type": "structguard.audit.log", "v": VERSION})


def _line(document: dict[str, Any]) -> str:
    return canonical(document) + "\n"
