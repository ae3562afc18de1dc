"""A canonical form of JSON documents, so that equal documents have equal digests."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any


def canonical(document: Any) -> bytes:
    """The document in ASCII: keys in order, no spaces, numbers as Python's shortest form that reads back the same.

    Raises:
        ValueError: it holds NaN or an infinity, which JSON does not have.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sha256(document: Any) -> str:
    """SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def leaves(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a document with its path, such as `before.membership.unseen.controls`."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{at}")
    else:
        yield path, value
