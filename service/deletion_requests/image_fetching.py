"""Images from where a training manifest says they are, through fsspec. No address is logged: it may hold a name."""

import logging
import re
from pathlib import Path

from service.registry.images.validation import ImageRejected
from service.settings import ServiceSettings

logger = logging.getLogger(__name__)

#: What has paths in its log: fsspec, the stores, and the clients that these are made of.
_TALKATIVE = ("fsspec", "s3fs", "gcsfs", "adlfs", "botocore", "aiobotocore", "azure")

_URI = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)")


def fetch(uri: str, settings: ServiceSettings, most: int) -> bytes:
    """The first `most` bytes of what lies at `uri`. Its path is taken as it stands; `%20` is no blank.

    Raises:
        ImageRejected: the operator has not allowed to look there, or it is not there.
    """
    parts = _URI.fullmatch(uri)
    # fsspec reads `a::b` as a chain of stores, of which the last may be anything.
    if parts is None or parts[1] not in settings.manifest_schemes or "::" in uri or ".." in parts[2].split("/"):
        raise ImageRejected("has a URI that this service may not fetch from")
    scheme, path = parts.groups()
    if scheme == "file":
        path = _below(settings.manifest_root, path)
    import fsspec  # noqa: PLC0415  (as in `service.settings`)

    try:
        content: bytes = fsspec.filesystem(scheme).cat_file(path, 0, most)
    except Exception as error:  # noqa: BLE001  (each store has errors of its own, and they quote the path)
        logger.warning("an image that a manifest names cannot be fetched by %s: %s", scheme, type(error).__name__)
        raise ImageRejected("cannot be fetched") from None
    return content


def silence_stores() -> None:
    """Keep the libraries from logging paths, at whatever level; `fetch` says itself what went wrong."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _below(root: Path | None, path: str) -> str:
    """The file that is meant once all links are followed; what lies outside of `root` is not there."""
    assert root is not None
    try:
        real = Path(path).resolve()
        is_there = path.startswith("/") and real.is_relative_to(root.resolve()) and real.is_file()
    except (OSError, RuntimeError):  # a name that is too long, a link to itself
        is_there = False
    if not is_there:
        raise ImageRejected("cannot be fetched")  # the same for all: it tells nothing about other folders
    return str(real)
