"""What surrounds every request: an identity, a line in the log, and limits on its body. Pure ASGI."""

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

_LINGERS = 2.0  # seconds that a body may go on arriving after the answer
_SLOWEST = 1000  # bytes a second of an upload, on average
_JSON_BYTES = 1 << 20  # a body that is no upload is held in memory
_METHODS = frozenset(HTTPMethod)
_NOBODY_WAITS = 499  # there was no answer, because the caller has gone; nginx has this number for it
_POLLED = frozenset({"/livez", "/readyz", "/metrics"})  # every few seconds, and nobody wants to see it traced
_DETAIL = "The body has more than {} bytes."
#: The client may still be sending: what follows on this connection would not be a request.
_CLOSE = {"Connection": "close"}


class Lingering:
    """Reads on for a moment where an answer ends a connection and the body is still arriving (RFC 9112, section 9.6).

    A connection that is closed with something unread is reset, and a reset overtakes the answer: a client would see a
    broken connection, and a proxy take this replica for a broken one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        has_arrived = is_last = is_withheld = False

        async def noted() -> Message:
            nonlocal has_arrived
            message = await receive()
            has_arrived = not message.get("more_body", False)
            return message

        async def unfinished(message: Message) -> None:
            nonlocal is_last, is_withheld
            if message["type"] == "http.response.start":
                is_last = (b"connection", b"close") in message.get("headers", [])
            elif is_last and not has_arrived and not message.get("more_body", False):
                is_withheld, message = True, {**message, "more_body": True}
            await send(message)

        await self._app(scope, noted, unfinished)
        if is_withheld:  # whoever answered is done: the wait is in no log, and keeps no upload from its slot
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGERS):
                    while not has_arrived:
                        await noted()
            await send({"type": "http.response.body"})


class RequestIdentity:
    """Gives each request an identifier, and logs, counts and traces it by route: a path or an address may hold a name.

    So may a method: the server lets every word pass (RFC 9110, section 9.1).
    """

    def __init__(self, app: ASGIApp, answered: Histogram) -> None:
        self._app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4()
        scope.setdefault("state", {})["request_id"] = request_id
        method = scope["method"] if scope["method"] in _METHODS else "-"
        began = time.monotonic()
        status = _NOBODY_WAITS

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", str(request_id).encode()))
            await send(message)

        with logs.context(request=str(request_id)), _span(scope) as span:
            try:
                await self._app(scope, receive, noted)
            finally:
                route = _route(scope)
                seconds = time.monotonic() - began
                self._answered.labels(method, route, status).observe(seconds)
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
                    *(text, request_id),
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
    """Refuses bodies of more than `limit` bytes: by their declared length at once, otherwise once they pass it."""

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
            detail = _DETAIL.format(limit)
            refusal = problems.answer(scope["state"]["request_id"], problem_types.TABLE[413], detail, headers=_CLOSE)
            await refusal(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # Whoever reads the body lets this pass, after removing what it has written.
                raise HTTPException(413, _DETAIL.format(limit), _CLOSE)
            return message

        await self._app(scope, counted, send)


class UploadSlots:
    """Lets so many uploads be received and worked on at once, and none of them pause for longer than `patience`.

    Nor may one fall back behind a slow pace for that long: a byte a minute would keep a slot for ever. Whatever else is
    asked for needs no slot.
    """

    def __init__(self, app: ASGIApp, slots: int, patience: timedelta, in_progress: Gauge) -> None:
        self._app = app
        self._in_progress = in_progress
        self._slots = slots
        self._patience = patience.total_seconds()
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
        is_arriving, late = True, time.monotonic() + self._patience

        async def patient() -> Message:
            nonlocal is_arriving, late
            if not is_arriving:  # all that can come now is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout(late - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                detail = f"Nothing has arrived for {self._patience:g} seconds, or less than {_SLOWEST} bytes a second."
                raise HTTPException(408, detail, _CLOSE) from None
            is_arriving = message.get("more_body", False)
            late = min(time.monotonic() + self._patience, late + len(message.get("body", b"")) / _SLOWEST)
            return message

        self._taken += 1
        self._in_progress.set(self._taken)
        try:
            await self._app(scope, patient, send)
        finally:
            self._taken -= 1
            self._in_progress.set(self._taken)


def _is_upload(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")
