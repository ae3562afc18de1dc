"""One way, and one only, to write a JSON document as bytes, so that a digest of it means something."""

import hashlib
import json
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
