"""Downloads of checkpoints: strong ETags, ranges (RFC 9110), and the digest of the whole file (RFC 9530)."""

import base64
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable

from service.registry.access.scopes import Caller
from service.registry.audit import audit_log
from service.registry.models.dispositions import check_usable
from service.registry.tables import Model, Version
from service.web.negotiation import matches

OCTETS = "application/octet-stream"

FILE_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"description": "Strong; the same on every host.", "required": True, "schema": {"type": "string"}},
    "Repr-Digest": {
        "description": "SHA-256 of the whole file (RFC 9530).",
        "required": True,
        "schema": {"type": "string", "pattern": "^sha-256=:[A-Za-z0-9+/=]{44}:$"},
    },
}
"""OpenAPI descriptions of the headers of a download."""


def checkpoint(request: Request, model: Model, version: Version, path: Path) -> Response:
    """Answer a GET or HEAD with 200, 206, 304, or (raised) 416. A version never changes, so neither does its ETag.

    Raises:
        VersionQuarantined, VersionDeleted: the version may not be used.
    """
    check_usable(version)
    headers = {
        "ETag": f'"sha256:{version.sha256}"',
        "Last-Modified": format_datetime(version.created_at, usegmt=True),
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    digest = base64.b64encode(bytes.fromhex(version.sha256)).decode()
    return _RangedFileResponse(
        path,
        headers=headers | {"Repr-Digest": f"sha-256=:{digest}:", "X-Content-Type-Options": "nosniff"},
        media_type=OCTETS,
        filename=f"{model.name}-v{version.number}.safetensors",
    )


def log(session: Session, caller: Caller, version: Version) -> None:
    """Record in the audit log that the caller downloaded a checkpoint, or a range of it."""
    facts = {"model": str(version.model_id), "number": version.number, "sha256": version.sha256}
    audit_log.append(session, caller.tenant_id, "checkpoint.downloaded", about=version.id, by=caller.subject, **facts)


class _RangedFileResponse(FileResponse):
    """Starlette's `FileResponse`, with 416 as a problem document, and malformed ranges ignored."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []  # RFC 9110, section 14.2: ignored, so the whole file is sent
        except RangeNotSatisfiable as error:
            detail = f"The file has {file_size} bytes."
            raise HTTPException(416, detail, {"Content-Range": f"bytes */{file_size}"}) from error
