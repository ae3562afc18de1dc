"""Fetching images by the URIs of training manifests, with fsspec. URIs are not logged: they may hold a name."""

import logging
import re
from pathlib import Path

import fsspec

from service.registry.images.validation import ImageRejected
from service.settings import ServiceSettings

logger = logging.getLogger(__name__)

#: Loggers that write paths: fsspec, its file systems, and their client libraries.
_STORE_LOGGERS = ("fsspec", "s3fs", "gcsfs", "adlfs", "botocore", "aiobotocore", "azure")

_URI = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)")


def fetch(uri: str, settings: ServiceSettings, max_bytes: int) -> bytes:
    """The first `max_bytes` bytes of the file at `uri`, whose path is not percent-decoded.

    Raises:
        ImageRejected: the settings do not allow this URI, or the file cannot be read.
    """
    parts = _URI.fullmatch(uri)
    # fsspec reads `a::b` as a chain of stores, of which the last may be anything.
    if parts is None or parts[1] not in settings.manifest_schemes or "::" in uri or ".." in parts[2].split("/"):
        raise ImageRejected("has a URI that this service may not fetch from")
    scheme, path = parts.groups()
    if scheme == "file":
        path = _below(settings.manifest_root, path)
    try:
        content: bytes = fsspec.filesystem(scheme).cat_file(path, 0, max_bytes)
    except Exception as error:  # noqa: BLE001  (each store has errors of its own, and they quote the path)
        logger.warning("an image that a manifest names cannot be fetched by %s: %s", scheme, type(error).__name__)
        raise ImageRejected("cannot be fetched") from None
    return content


def silence_stores() -> None:
    """Keep fsspec and its clients from logging paths; `fetch` logs failures itself."""
    for name in _STORE_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _below(root: Path | None, path: str) -> str:
    """The real path of a file below `root`, with all symbolic links resolved."""
    assert root is not None
    try:
        real = Path(path).resolve()
        is_there = path.startswith("/") and real.is_relative_to(root.resolve()) and real.is_file()
    except (OSError, RuntimeError):  # a name that is too long, a link to itself
        is_there = False
    if not is_there:
        raise ImageRejected("cannot be fetched")  # the same for all, so that it reveals nothing about other folders
    return str(real)
