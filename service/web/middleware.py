"""Middleware around every request: identifier, access log, metrics, span, and limits on the body. Pure ASGI."""

import asyncio
import logging
import time
import uuid
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from http import HTTPMethod

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from prometheus_client import Gauge, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.registry.telemetry import logs, traces
from service.web import problem_types, problems

logger = logging.getLogger("service.access")

_LINGERING_TIMEOUT = 2.0  # seconds that a body may go on arriving after the response
_MIN_RATE = 1000  # bytes a second of an upload, on average
_JSON_BYTES = 1 << 20  # a body that is no upload is held in memory
_METHODS = frozenset(HTTPMethod)
_CLIENT_CLOSED_REQUEST = 499  # as in nginx: the caller closed the connection before there was a response
_POLLED = frozenset({"/livez", "/readyz", "/metrics"})  # every few seconds: not traced
_TOO_LARGE = "The body has more than {} bytes."
#: The client may still be sending: what follows on this connection would not be a request.
_CLOSE = {"Connection": "close"}


class LingeringClose:
    """Reads on for up to 2 seconds if a response closes the connection before the body has arrived (RFC 9112, 9.6).

    A connection that is closed with unread data is reset, and the reset overtakes the response: a client would see a
    broken connection, and a proxy would take this replica for a broken one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        has_arrived = is_last = is_withheld = False

        async def receive_noting_end() -> Message:
            nonlocal has_arrived
            message = await receive()
            has_arrived = not message.get("more_body", False)
            return message

        async def send_without_end(message: Message) -> None:
            nonlocal is_last, is_withheld
            if message["type"] == "http.response.start":
                is_last = (b"connection", b"close") in message.get("headers", [])
            elif is_last and not has_arrived and not message.get("more_body", False):
                is_withheld, message = True, {**message, "more_body": True}
            await send(message)

        await self._app(scope, receive_noting_end, send_without_end)
        if is_withheld:  # the request is logged and its upload slot free: neither includes this wait
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGERING_TIMEOUT):
                    while not has_arrived:
                        await receive_noting_end()
            await send({"type": "http.response.body"})


class RequestIdentity:
    """Gives each request an identifier, and logs, times and traces it by route template, since a path may hold a name.

    So may a method, which can be any token (RFC 9110, section 9.1): one that is not standard is recorded as `-`.

    Args:
        durations: seconds of each request, with the labels method, route and status.
    """

    def __init__(self, app: ASGIApp, durations: Histogram) -> None:
        self._app = app
        self._durations = durations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4()
        scope.setdefault("state", {})["request_id"] = request_id
        method = scope["method"] if scope["method"] in _METHODS else "-"
        began = time.monotonic()
        status = _CLIENT_CLOSED_REQUEST

        async def send_identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", str(request_id).encode()))
            await send(message)

        with logs.context(request=str(request_id)), _span(scope) as span:
            try:
                await self._app(scope, receive, send_identified)
            finally:
                route = _route(scope)
                seconds = time.monotonic() - began
                self._durations.labels(method, route, status).observe(seconds)
                span.update_name(f"{method} {route}")
                span.set_attributes(
                    {
                        "http.request.method": method,
                        "http.route": route,
                        "http.response.status_code": status,
                        "structguard.request.id": str(request_id),
                    }
                )
                if status >= 500:
                    span.set_status(StatusCode.ERROR)
                fields = {"method": method, "route": route, "status": status, "milliseconds": round(1000 * seconds)}
                caller = scope["state"].get("caller")
                text = " ".join(f"{name}={value}" for name, value in fields.items())
                logger.info(
                    "%s request=%s",
                    text,
                    request_id,
                    extra=fields | ({"tenant": str(caller.tenant_id)} if caller else {}),
                )


def _route(scope: Scope) -> str:
    """The route's template; a mounted application's routes do not know where it is mounted."""
    route = getattr(scope.get("route"), "path_format", None)
    return "-" if route is None else scope.get("root_path", "") + route


def _span(scope: Scope) -> AbstractContextManager[Span]:
    if scope["path"] in _POLLED:
        return nullcontext(INVALID_SPAN)
    return traces.span("HTTP", parent=Headers(scope=scope).get("traceparent"), kind=SpanKind.SERVER)


class BodyLimit:
    """Answers 413 to uploads of more than `limit` bytes, and to other bodies of more than 1 MiB (or `limit`, if less).

    Without `Content-Length` this is raised (`HTTPException`) where the body is read.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit if _is_upload(headers) else min(self._limit, _JSON_BYTES)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            detail = _TOO_LARGE.format(limit)
            refusal = problems.answer(scope["state"]["request_id"], problem_types.TABLE[413], detail, headers=_CLOSE)
            await refusal(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # The reader of the body removes what it has written, and lets this pass.
                raise HTTPException(413, _TOO_LARGE.format(limit), _CLOSE)
            return message

        await self._app(scope, receive_counted, send)


class UploadSlots:
    """Limits how many uploads are received and processed at once: 503 when all `slots` are taken.

    408 (raised where the body is read) for an upload that sends nothing for `idle_timeout`, or falls behind 1000 bytes
    a second by as much: a byte a minute would keep a slot for ever. Other requests need no slot.
    """

    def __init__(self, app: ASGIApp, slots: int, idle_timeout: timedelta, in_progress: Gauge) -> None:
        self._app = app
        self._in_progress = in_progress
        self._slots = slots
        self._idle_timeout = idle_timeout.total_seconds()
        self._taken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        if scope["type"] != "http" or not _is_upload(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        if self._taken >= self._slots:
            detail = f"{self._slots} uploads are in progress, as many as there may be."
            headers = {"Retry-After": "5", **_CLOSE}
            refusal = problems.answer(scope["state"]["request_id"], problem_types.TABLE[503], detail, headers=headers)
            await refusal(scope, receive, send)
            return
        is_arriving, deadline = True, time.monotonic() + self._idle_timeout

        async def receive_in_time() -> Message:
            nonlocal is_arriving, deadline
            if not is_arriving:  # all that can come now is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                detail = (
                    f"Nothing has arrived for {self._idle_timeout:g} seconds, or less than {_MIN_RATE} bytes a second."
                )
                raise HTTPException(408, detail, _CLOSE) from None
            is_arriving = message.get("more_body", False)
            deadline = min(time.monotonic() + self._idle_timeout, deadline + len(message.get("body", b"")) / _MIN_RATE)
            return message

        self._taken += 1
        self._in_progress.set(self._taken)
        try:
            await self._app(scope, receive_in_time, send)
        finally:
            self._taken -= 1
            self._in_progress.set(self._taken)


def _is_upload(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")
