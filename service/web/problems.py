"""Every error as RFC 9457 `application/problem+json`."""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.registry import errors
from service.registry.crypto.signing_keys import SigningKeyUnusable
from service.registry.errors import Fault, RegistryError
from service.registry.models.architectures import ImageSizeUnsupported
from service.registry.models.checkpoint_files import CheckpointRejected
from service.registry.storage.disk_full import is_disk_full
from service.web.idempotency import Replay, replayed
from service.web.problem_types import INTERNAL, INVALID, NOT_FOUND, TABLE, UNAVAILABLE, ProblemType, problem_type_of

MEDIA_TYPE = "application/problem+json"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Error(BaseModel):
    """One thing that is wrong."""

    pointer: str = Field(
        description="JSON Pointer (RFC 6901, URI fragment) to a field of the JSON body or of the `metadata` part, to a "
        "file by the name and position of its part, or to a query parameter.",
        examples=["#/labels/0"],
    )
    detail: str


class Problem(BaseModel):
    """An error, as of RFC 9457."""

    type: str = Field(description="Path of a page about this type of problem.", examples=["/problems/not-found"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="Identifies this very answer in the service's log.", examples=["urn:uuid:…"])
    errors: list[Error] = []


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems; `service.app` sets their media type."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def answer(
    request_id: uuid.UUID,
    kind: ProblemType,
    detail: str,
    faults: Iterable[Fault] = (),
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """The response for one problem; `extensions` are extension members (RFC 9457, section 3.2)."""
    body = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": request_id.urn,
        "errors": [asdict(fault) for fault in faults],
    }
    return JSONResponse(body | dict(extensions or {}), kind.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Add the exception handlers that answer every error of `app` with a problem."""
    app.add_exception_handler(Replay, _replay)
    app.add_exception_handler(RegistryError, _registry_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OSError, _os_error)
    app.add_exception_handler(OperationalError, _unavailable)
    app.add_exception_handler(PoolTimeout, _unavailable)
    app.add_exception_handler(Exception, _internal_error)


async def _replay(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, Replay)
    return replayed(error.stored)


async def _registry_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RegistryError)
    kind = problem_type_of(error)
    if kind is None:
        raise error
    headers = {}
    if isinstance(error, errors.ScopeMissing):  # RFC 6750, section 3
        headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{" ".join(error.scopes)}"'
    if isinstance(error, errors.CreationInFlight):
        headers["Retry-After"] = "1"
    if isinstance(error, SigningKeyUnusable):
        headers["Retry-After"] = "60"  # until an operator has put the key in its place
    if isinstance(error, errors.QueueFull):
        headers["Retry-After"] = "60"  # a run takes minutes
    return answer(request.state.request_id, kind, error.detail, _faults(error), headers)


def _faults(error: RegistryError) -> Iterable[Fault]:
    match error:
        case CheckpointRejected(tensors=tensors) if tensors:
            return [Fault("#/checkpoint", f"{name} {wrong}") for name, wrong in tensors]
        case CheckpointRejected():
            return [Fault("#/checkpoint", error.detail)]
        case ImageSizeUnsupported():
            return [Fault("#/preprocessing/size", error.detail)]
        case errors.MalformedCursor():
            return [Fault("#/cursor", error.detail)]
    return error.faults


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    items = error.errors()
    if any(item["loc"][0] == "path" for item in items):  # a malformed identifier is one that does not exist
        return answer(request.state.request_id, NOT_FOUND, (errors.NotFound.__doc__ or "").strip())
    faults = dict.fromkeys(Fault(pointer(_location(item)), _message(item)) for item in items[: errors.MOST_FAULTS])
    return answer(request.state.request_id, INVALID, (errors.InvalidInput.__doc__ or "").strip(), faults)


def _location(item: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Where the error is. An unknown key may be personal data: the location is then that of the object around it."""
    location: tuple[str | int, ...] = item["loc"]
    return location[:-1] if item["type"] == "extra_forbidden" else location


def pointer(location: tuple[str | int, ...]) -> str:
    """The location of a validation error as a JSON Pointer: `("body", "metadata", "labels", 0)` is `#/labels/0`."""
    source, *steps = location
    if source == "body" and steps[:1] == ["metadata"] and len(steps) > 1:
        steps = steps[1:]
    if source == "body" and len(steps) == 1 and isinstance(steps[0], int):  # the byte at which JSON broke
        steps = []
    escaped = (str(step)[:100].replace("~", "~0").replace("/", "~1") for step in steps)
    return "#" + "".join(f"/{quote(step, safe='~-._')}" for step in escaped)


def _message(item: Mapping[str, Any]) -> str:
    """Pydantic's message, without the value: some of its messages quote a part of it."""
    if item["type"].startswith("uuid"):
        return "must be a UUID"
    if item["type"] == "extra_forbidden":
        return "has a field that is not known here"
    message: str = item["msg"]
    return re.sub(r"^Value error, |, unable to parse .*$|, got .*$", "", message)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError):  # the framework takes a form that cannot be stored for a malformed one
        return await _os_error(request, error.__cause__)
    kind = TABLE.get(error.status_code, TABLE[400] if error.status_code < 500 else INTERNAL)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    return answer(request.state.request_id, kind, error.detail, headers=headers)


def _allowed(request: Request) -> list[str]:
    """All methods of a path: the framework's own `Allow` has those of the first route only."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


async def _os_error(request: Request, error: Exception) -> JSONResponse:
    if not is_disk_full(error):
        raise error
    return answer(request.state.request_id, TABLE[errors.StorageFull], "A disk of the service has no room left.")


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    return unavailable(request.state.request_id, error)


def unavailable(request_id: uuid.UUID, error: Exception) -> JSONResponse:
    """503: the database does not answer, or its disk is full."""
    detail = "The database has no room left." if is_disk_full(error) else "The database does not answer."
    return answer(request_id, UNAVAILABLE, detail, headers={"Retry-After": "5"})


async def _internal_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    return answer(request.state.request_id, INTERNAL, "Nothing is known to be wrong with the request.")
