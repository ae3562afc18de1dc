"""One way, and one only, to write a JSON document as bytes, so that a digest of it means something."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any


def canonical(document: Any) -> bytes:
    """The document in ASCII: keys in order, no spaces, numbers as Python's shortest form that reads back the same.

    Raises:
        ValueError: it holds a number that JSON has not, NaN or an infinity.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sha256(document: Any) -> str:
    """The digest of its canonical form, in hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def leaves(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a document with the place where it stands, such as `before.membership.unseen.controls`."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{at}")
    else:
        yield path, value
