"""Problems (RFC 9457) translated into the error format of OpenDSR (section 7.6)."""

import json
import re
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.web.problems import MEDIA_TYPE

_PATHS = re.compile(
    r"(/v2)?/(discovery|cert\.pem|(requests|status)(/[^/]*)?)|(/v1)?/opengdpr_requests(/[^/]*)?|/v1/discovery"
)


class Detail(BaseModel):
    """One thing that is wrong."""

    domain: str = Field(description="The type of the problem.", examples=["invalid-input"])
    reason: str = Field(description="JSON Pointer to the field.", examples=["#/subject_identities/0/identity_type"])
    message: str


class OpenDsrError(BaseModel):
    """What went wrong, without the values that were sent."""

    code: int
    message: str
    errors: list[Detail] = []


class ErrorAnswer(BaseModel):
    """An error, as of OpenDSR. With `Accept: application/problem+json` it is a problem (RFC 9457) instead."""

    error: OpenDsrError


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these errors."""
    return {status: {"model": ErrorAnswer, "description": HTTPStatus(status).phrase} for status in statuses}


class OpenDsrErrors:
    """Turns problems into OpenDSR errors on the paths of OpenDSR, unless the caller accepts problems. Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        is_opendsr = scope["type"] == "http" and _PATHS.fullmatch(scope["path"])
        if not is_opendsr or MEDIA_TYPE in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        problem = b""

        async def send_translated(message: Message) -> None:
            nonlocal start, problem
            if message["type"] == "http.response.start":
                if Headers(raw=message["headers"]).get("content-type") == MEDIA_TYPE:
                    start = message
                    return
            elif start is not None:
                problem += message.get("body", b"")
                if message.get("more_body", False):
                    return
                message = {"type": "http.response.body", "body": _translate(start, problem)}
                await send(start)
            await send(message)

        await self._app(scope, receive, send_translated)


def _translate(start: Message, problem: bytes) -> bytes:
    """The body of an OpenDSR error; status and headers of the response are set to match."""
    fields = json.loads(problem)
    if start["status"] == HTTPStatus.UNPROCESSABLE_ENTITY:  # OpenDSR has one status for all invalid input
        start["status"] = HTTPStatus.BAD_REQUEST.value
    kind = fields["type"].rpartition("/")[2]
    faults = [Detail(domain=kind, reason=fault["pointer"], message=fault["detail"]) for fault in fields["errors"]]
    error = OpenDsrError(code=start["status"], message=fields["detail"], errors=faults)
    body = ErrorAnswer(error=error).model_dump_json().encode()
    headers = MutableHeaders(scope=start)
    headers.update({"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"})
    return body
