"""Every error as RFC 9457 `application/problem+json`. The table says which fact becomes which status."""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
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
from service.registry.crypto.encrypted_files import SealBroken
from service.registry.crypto.master_key import OtherMasterKey
from service.registry.crypto.signing_keys import SigningKeyUnusable
from service.registry.errors import Fault, RegistryError
from service.registry.models.architectures import ImageSizeUnsupported
from service.registry.models.checkpoint_files import CheckpointRejected
from service.registry.storage.disk_full import ran_out
from service.web.idempotency import Replay, replayed

MEDIA_TYPE = "application/problem+json"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Kind:
    """One type of problem: the status, the last part of its type URI, and a title that never varies."""

    status: int
    slug: str
    title: str
    advice: str


_NOT_FOUND = Kind(404, "not-found", "There is nothing here.", "Check the path and the identifier in it.")
_INVALID = Kind(
    422, "invalid-input", "Something in the request is not valid.", "`errors` points to each field, file and label."
)
_NAME_TAKEN = Kind(409, "name-taken", "The name is in use.", "Choose another name, or use what exists under it.")
_UNAVAILABLE = Kind(503, "unavailable", "The service cannot work right now.", "Try again later, as `Retry-After` says.")
_INTERNAL = Kind(
    500, "internal-error", "The service made a mistake.", "Report the `instance`; the service's log has the details."
)

#: The one place where facts meet HTTP. A class stands for its subclasses too, a number for what the framework raises.
TABLE: dict[type[Exception] | int, Kind] = {
    errors.NotFound: _NOT_FOUND,
    errors.ModelNameTaken: _NAME_TAKEN,
    errors.EvaluationSetNameTaken: _NAME_TAKEN,
    errors.ManifestNameTaken: _NAME_TAKEN,
    errors.VersionMissing: Kind(
        409, "version-missing", "The model has no version.", "Register a version of the model first."
    ),
    errors.ScopeMissing: Kind(
        403, "scope-missing", "The caller may not do this.", "Use a key that has the scope, or ask for one."
    ),
    errors.OwnRequest: Kind(
        403, "own-request", "The requester cannot approve the request.", "Somebody with another key has to."
    ),
    errors.NotAwaitingApproval: Kind(
        409, "not-awaiting-approval", "The request does not wait for approval.", "Read its state."
    ),
    errors.KeyReused: Kind(
        422,
        "idempotency-key-reused",
        "The Idempotency-Key was used for another request.",
        "Make a new key for each thing to create; send the same one again only to repeat the same request.",
    ),
    errors.CreationInFlight: Kind(
        409,
        "idempotency-key-in-flight",
        "The first request with this Idempotency-Key is still worked on.",
        "Send the request again in a few seconds.",
    ),
    errors.GateNotPassed: Kind(
        409,
        "gate-not-passed",
        "The version did not pass the quality gate.",
        "Look at its metrics; to point an alias to it all the same, send `override_gate: true`.",
    ),
    errors.VersionQuarantined: Kind(
        409,
        "version-quarantined",
        "The version is quarantined.",
        "Use another one, or have its `disposition` changed to `kept`.",
    ),
    errors.VersionDeleted: Kind(410, "version-deleted", "The version is deleted.", "Use another one."),
    errors.VersionInUse: Kind(
        409,
        "version-in-use",
        "The version is in use.",
        "Point its aliases elsewhere; wait until no deletion request of its model is under way, or withdraw them.",
    ),
    errors.PreconditionFailed: Kind(
        412, "precondition-failed", "It has changed since it was read.", "Read it again, then decide again."
    ),
    errors.SubjectRequestReused: Kind(
        409,
        "subject-request-reused",
        "The subject_request_id was used for another request.",
        "Make a new identifier for each request; send the same body again only to repeat the same request.",
    ),
    errors.NotPending: Kind(
        409, "not-pending", "The request is no longer pending.", "It can no longer be cancelled; read its status."
    ),
    errors.PastCommitPoint: Kind(
        409, "past-commit-point", "The request has ended.", "It can no longer be cancelled; read its state."
    ),
    errors.WebhookDisabled: Kind(
        409, "webhook-disabled", "The webhook is disabled.", "Enable it first; `disabled_reason` says why it is."
    ),
    errors.ImagesDestroyed: Kind(
        409,
        "images-destroyed",
        "The images of the request are destroyed.",
        "A failed request keeps its images for a while only. Send a new request.",
    ),
    errors.NotRetriable: Kind(409, "not-retriable", "Only a failed request can be retried.", "Read its state."),
    errors.InvalidInput: _INVALID,
    ImageSizeUnsupported: _INVALID,
    CheckpointRejected: Kind(
        422,
        "checkpoint-rejected",
        "The checkpoint cannot be used.",
        "It must be one safetensors file with exactly the architecture's tensors, all finite. `errors` names the first "
        "ten that differ.",
    ),
    errors.MalformedCursor: Kind(
        422, "malformed-cursor", "The cursor is not of this listing.", "Start again without a cursor."
    ),
    errors.QueueFull: Kind(
        429,
        "queue-full",
        "Too many deletion requests are waiting.",
        "Wait as long as `Retry-After` says; workers, approvals and withdrawals make room.",
    ),
    SigningKeyUnusable: _UNAVAILABLE,
    errors.StorageFull: Kind(507, "storage-full", "There is no room left.", "Tell the operator of the service."),
    OtherMasterKey: _UNAVAILABLE,
    SealBroken: _UNAVAILABLE,
    OperationalError: _UNAVAILABLE,
    PoolTimeout: _UNAVAILABLE,
    RequestValidationError: _INVALID,
    400: Kind(400, "malformed-request", "The request cannot be read.", "Check that the body is what its type says."),
    401: Kind(
        401,
        "unauthenticated",
        "Nobody knows who is calling.",
        "Send `Authorization: Bearer` with an API key that is neither revoked nor expired.",
    ),
    404: _NOT_FOUND,
    405: Kind(405, "method-not-allowed", "The method is not allowed here.", "`Allow` lists those that are."),
    408: Kind(
        408, "upload-stalled", "The upload has stopped.", "Send the request again, and all of it without long pauses."
    ),
    413: Kind(413, "content-too-large", "The request is too large.", "Send less, or ask the operator for a new limit."),
    416: Kind(
        416, "range-not-satisfiable", "The range is outside of the file.", "`Content-Range` says how long the file is."
    ),
    429: Kind(429, "quota-exceeded", "There were too many requests.", "Wait as long as `Retry-After` says."),
    500: _INTERNAL,
    503: _UNAVAILABLE,
}


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
    kind: Kind,
    detail: str,
    faults: Iterable[Fault] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """The response for one problem; `more` are extension members."""
    body = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": request_id.urn,
        "errors": [asdict(fault) for fault in faults],
    }
    return JSONResponse(body | dict(more or {}), kind.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
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
    return replayed(error.answered)


def kind_of(error: Exception) -> Kind | None:
    """What the table says of an error, or of the first of its bases that is in it."""
    return next((TABLE[base] for base in type(error).__mro__ if base in TABLE), None)


async def _registry_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RegistryError)
    kind = kind_of(error)
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
    found = error.errors()
    if any(item["loc"][0] == "path" for item in found):  # what cannot be an identifier identifies nothing
        return answer(request.state.request_id, _NOT_FOUND, (errors.NotFound.__doc__ or "").strip())
    faults = dict.fromkeys(Fault(pointer(_place(item)), _message(item)) for item in found[: errors.MOST_FAULTS])
    return answer(request.state.request_id, _INVALID, (errors.InvalidInput.__doc__ or "").strip(), faults)


def _place(item: Mapping[str, Any]) -> tuple[str | int, ...]:
    """What a fault points to. An unknown key was made up by the caller and may be a name: its object stands for it."""
    location: tuple[str | int, ...] = item["loc"]
    return location[:-1] if item["type"] == "extra_forbidden" else location


def pointer(location: tuple[str | int, ...]) -> str:
    """Where FastAPI found something, as a JSON Pointer: `("body", "metadata", "labels", 0)` is `#/labels/0`."""
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
    kind = TABLE.get(error.status_code, TABLE[400] if error.status_code < 500 else _INTERNAL)
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
    if not ran_out(error):
        raise error
    return answer(request.state.request_id, TABLE[errors.StorageFull], "A disk of the service has no room left.")


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    return unavailable(request.state.request_id, error)


def unavailable(request_id: uuid.UUID, error: Exception) -> JSONResponse:
    """The answer while the database is away, or has no room to write."""
    detail = "The database has no room left." if ran_out(error) else "The database does not answer."
    return answer(request_id, _UNAVAILABLE, detail, headers={"Retry-After": "5"})


async def _internal_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    return answer(request.state.request_id, _INTERNAL, "Nothing is known to be wrong with the request.")
