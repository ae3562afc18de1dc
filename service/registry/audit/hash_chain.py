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
"""What stands for the hash of the entry before the first one."""

VERSION = 1
"""Of the form of entries and checkpoints, which both name it."""

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
    """A chain is not whole; the message says what is wrong, and `height` where."""

    def __init__(self, height: int, wrong: str) -> None:
        super().__init__(wrong)
        self.height = height


def canonical(value: Mapping[str, Any]) -> str:
    """The canonical JSON of an object (RFC 8785): of text, integers, booleans, null, lists and objects.

    Raises:
        TypeError: there is something else in it: a float, or a key that is not of small letters, digits and `_`.
    """
    _check(value)
    return encoded(value)


def encoded(value: Mapping[str, Any]) -> str:
    """The same of an object that somebody has looked at, or may have changed since: whatever is in it."""
    return _ENCODER.encode(value)


def moment(at: datetime) -> str:
    """A time as entries have it: RFC 3339, UTC, always with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def digest(previous: bytes, entry: str) -> bytes:
    """The hash of an entry that follows another one."""
    return hashlib.sha256(previous + entry.encode()).digest()


def extend(head: Head, tenant_id: uuid.UUID, events: Iterable[Mapping[str, Any]]) -> Iterator[Link]:
    """The links that these events become, in this order, after `head`; `canonical` has seen their facts before."""
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
        said = json.loads(link.entry)
        if (said["tenant"], said["height"]) != (str(tenant_id), expected):
            raise Broken(expected, "the entry was written elsewhere")
        if said["about"] != (link.about and str(link.about)):
            raise Broken(expected, "the entry is listed for something else")
        head = Head(expected, link.sha256)
        yield head


def as_written(link: Link) -> bool:
    """Was it chained as it had been written down? Of entries that are older than seals nobody can tell."""
    return json.loads(link.entry).get("as_written") is not False


def written(link: Link) -> dict[str, Any]:
    """An entry as it is handed out; what it is about stands in the entry itself."""
    return {
        "entry": link.entry,
        "height": link.height,
        "previous": link.previous.hex(),
        "sha256": link.sha256.hex(),
    }


def read(said: Mapping[str, Any]) -> Link:
    """The entry that was handed out."""
    about = json.loads(said["entry"])["about"]
    previous, sha256 = (bytes.fromhex(said[name]) for name in ("previous", "sha256"))
    return Link(said["height"], previous, said["entry"], sha256, about and uuid.UUID(about))


def statement(tenant_id: uuid.UUID, head: Head, at: datetime) -> bytes:
    """What a checkpoint signs: its type is among it, so that no signature of something else passes for one."""
    said = {
        "at": moment(at),
        "height": head.height,
        "sha256": head.sha256.hex(),
        "tenant": str(tenant_id),
        "type": "structguard.audit.checkpoint",
        "v": VERSION,
    }
    return canonical(said).encode()


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
