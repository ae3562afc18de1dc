"""The hash chain of an audit log: what an entry is, what its hash is, and whether a chain is whole.

An entry is a JSON object in the canonical form of RFC 8785. Its hash is SHA-256 over the hash of the entry before it
(32 bytes, zeros before the first) and its own bytes: whoever changes, removes, inserts or moves one changes all after
it.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = bytes(32)
"""The previous hash of the first entry."""

VERSION = 1
"""Version of the format of entries and checkpoints, which both contain it."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_KEY = re.compile(r"[a-z0-9_]+")  # among such keys, all orders of RFC 8785, section 3.2.3, are the same


@dataclass(frozen=True)
class Head:
    """The end of a chain."""

    height: int = 0  #: of the last entry; 0 while there is none
    sha256: bytes = GENESIS


@dataclass(frozen=True)
class Link:
    """An entry in its chain, as it is stored."""

    height: int
    previous: bytes
    entry: str
    sha256: bytes
    about: uuid.UUID | None = None


class Broken(Exception):
    """A chain does not verify; the message says what is wrong, and `height` where."""

    def __init__(self, height: int, message: str) -> None:
        super().__init__(message)
        self.height = height


def canonical(value: Mapping[str, Any]) -> str:
    """The canonical JSON of an object (RFC 8785): of text, integers, booleans, null, lists and objects.

    Raises:
        TypeError: there is something else in it: a float, or a key that is not of small letters, digits and `_`.
    """
    _check(value)
    return encoded(value)


def encoded(value: Mapping[str, Any]) -> str:
    """`canonical` without the check of types and keys, for objects that were checked or may have been altered."""
    return _ENCODER.encode(value)


def rfc3339(at: datetime) -> str:
    """A time as in RFC 3339: UTC, always with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def digest(previous: bytes, entry: str) -> bytes:
    """SHA-256 over the previous hash and the entry."""
    return hashlib.sha256(previous + entry.encode()).digest()


def extend(head: Head, tenant_id: uuid.UUID, events: Iterable[Mapping[str, Any]]) -> Iterator[Link]:
    """The links of these events, in this order, after `head`. Their facts must have passed `canonical`."""
    height, previous = head.height, head.sha256
    for event in events:
        height += 1
        entry = encoded({**event, "height": height, "tenant": str(tenant_id), "v": VERSION})
        sha256 = digest(previous, entry)
        about = event.get("about")
        yield Link(height, previous, entry, sha256, uuid.UUID(about) if about else None)
        previous = sha256


def follow(head: Head, tenant_id: uuid.UUID, links: Iterable[Link]) -> Iterator[Head]:
    """Verify the links that come after `head`, one by one.

    Raises:
        Broken: one is missing, is not of this chain, or is not as it was written.
    """
    for link in links:
        expected = head.height + 1
        if link.height != expected:
            raise Broken(expected, "the entry is missing")
        if link.previous != head.sha256:
            raise Broken(expected, "the entry does not follow the one before it")
        if digest(link.previous, link.entry) != link.sha256:
            raise Broken(expected, "the entry is not as it was written")
        content = json.loads(link.entry)
        if (content["tenant"], content["height"]) != (str(tenant_id), expected):
            raise Broken(expected, "the entry was written elsewhere")
        if content["about"] != (link.about and str(link.about)):
            raise Broken(expected, "the entry is listed for something else")
        head = Head(expected, link.sha256)
        yield head


def as_written(link: Link) -> bool:
    """False if the MAC of the row did not match when it was chained. Entries older than MACs count as unaltered."""
    return json.loads(link.entry).get("as_written") is not False


def to_document(link: Link) -> dict[str, Any]:
    """A link as JSON, for exports and proofs; `about` is in the entry itself."""
    return {
        "entry": link.entry,
        "height": link.height,
        "previous": link.previous.hex(),
        "sha256": link.sha256.hex(),
    }


def from_document(document: Mapping[str, Any]) -> Link:
    """The inverse of `to_document`.

    Raises:
        LookupError, TypeError, ValueError: the document is not one of a link.
    """
    about = json.loads(document["entry"])["about"]
    previous, sha256 = (bytes.fromhex(document[name]) for name in ("previous", "sha256"))
    return Link(document["height"], previous, document["entry"], sha256, about and uuid.UUID(about))


def statement(tenant_id: uuid.UUID, head: Head, at: datetime) -> bytes:
    """The bytes that a checkpoint signs, with a type, so that no other signature of the key passes for one."""
    document = {
        "at": rfc3339(at),
        "height": head.height,
        "sha256": head.sha256.hex(),
        "tenant": str(tenant_id),
        "type": "structguard.audit.checkpoint",
        "v": VERSION,
    }
    return canonical(document).encode()


def _check(value: object) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not (isinstance(key, str) and _KEY.fullmatch(key)):
                raise TypeError("a key of an entry is of small letters, digits and _")
            _check(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner)
    elif value is not None and not isinstance(value, str | bool | int):
        raise TypeError(f"an entry holds no {type(value).__name__}")
