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

from service.registry import audit, audit_checkpoints
from service.registry.audit_chain import VERSION, Broken, Head, Link, canonical, follow, moment
from service.registry.database import Database
from service.registry.signing_keys import PublicKey, SignatureInvalid
from service.registry.tables import AuditCheckpoint

MEDIA_TYPE = "application/x-ndjson"

_AT_ONCE = 1000  # entries that are read at once
_STRANGE = "the line is not one of an audit log"


@dataclass(frozen=True)
class Report:
    """What a file that is whole holds."""

    tenant_id: uuid.UUID
    head: Head
    signed_at: datetime  #: when its head was signed
    key_ids: tuple[str, ...]  #: of the keys that have signed checkpoints, in the order of their first


def lines(database: Database, tenant_id: uuid.UUID, end: int) -> Iterator[str]:
    """The log up to the checkpoint at the height `end`."""
    yield _opening(tenant_id)
    for first in range(0, end + 1, _AT_ONCE):
        last = min(end, first + _AT_ONCE - 1)
        with database.read() as session:
            signed = {row.height: row for row in audit_checkpoints.between(session, tenant_id, first, last)}
            links = audit.entries(session, tenant_id, first, last)
        if first == 0 and 0 in signed:
            yield _checkpoint(signed[0])
        for link in links:
            yield _entry(link)
            if link.height in signed:
                yield _checkpoint(signed[link.height])


def verify(
    file: Iterable[str], keys: Mapping[str, PublicKey], heads: Mapping[int, bytes] = MappingProxyType({})
) -> Report:
    """Verify a file, and that its entries at the heights of `heads` have these hashes; what it holds.

    Raises:
        Broken: it is not as it was written, or not all of it, or not signed by one of these keys, by their names.
    """
    head, signed_at, key_ids, tenant_id = Head(), None, dict[str, None](), None
    for line in file:
        try:
            said = json.loads(line)
            if tenant_id is None:
                tenant_id = uuid.UUID(said["tenant"])
                written = _opening(tenant_id)
            elif "entry" in said:
                link, signed_at = _link(said), None
                (head,) = follow(head, tenant_id, [link])
                if heads.get(head.height, head.sha256) != head.sha256:
                    raise Broken(head.height, "the entry is not the one that was asked for")
                written = _entry(link)
            else:
                row = _row(said, tenant_id)
                _check(row, head, keys)
                key_ids[row.key_id], signed_at = None, row.at
                written = _checkpoint(row)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise Broken(head.height + 1, _STRANGE) from None
        if written != line:
            raise Broken(head.height + 1, _STRANGE)
    if tenant_id is None or signed_at is None:
        raise Broken(head.height + 1, "the end of the log is missing")
    if max(heads, default=0) > head.height:
        raise Broken(head.height + 1, "the log ends before the entry that was asked for")
    return Report(tenant_id, head, signed_at, tuple(key_ids))


def _opening(tenant_id: uuid.UUID) -> str:
    return canonical({"tenant": str(tenant_id), "type": "structguard.audit.log", "v": VERSION}) + "\n"


def _entry(link: Link) -> str:
    said = {
        "entry": link.entry,
        "height": link.height,
        "previous": link.previous.hex(),
        "sha256": link.sha256.hex(),
    }
    return canonical(said) + "\n"


def _checkpoint(row: AuditCheckpoint) -> str:
    said = {
        "at": moment(row.at),
        "height": row.height,
        "key_id": row.key_id,
        "sha256": row.sha256.hex(),
        "signature": row.signature.hex(),
    }
    return canonical(said) + "\n"


def _link(said: dict[str, Any]) -> Link:
    about = json.loads(said["entry"])["about"]
    return Link(
        said["height"],
        bytes.fromhex(said["previous"]),
        said["entry"],
        bytes.fromhex(said["sha256"]),
        about and uuid.UUID(about),
    )


def _row(said: dict[str, Any], tenant_id: uuid.UUID) -> AuditCheckpoint:
    return AuditCheckpoint(
        tenant_id=tenant_id,
        height=said["height"],
        sha256=bytes.fromhex(said["sha256"]),
        at=datetime.fromisoformat(said["at"]),
        key_id=said["key_id"],
        signature=bytes.fromhex(said["signature"]),
    )


def _check(row: AuditCheckpoint, head: Head, keys: Mapping[str, PublicKey]) -> None:
    if (row.height, row.sha256) != (head.height, head.sha256):
        raise Broken(head.height, "the checkpoint is not of the entry before it")
    if row.key_id not in keys:
        raise Broken(head.height, "the checkpoint is signed by a key that was not given")
    try:
        audit_checkpoints.verify(row, keys[row.key_id])
    except SignatureInvalid:
        raise Broken(head.height, "the checkpoint is not as it was signed") from None
