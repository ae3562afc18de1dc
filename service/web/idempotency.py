"""`Idempotency-Key`: the same creating request has its effect once, and the same answer each time.

The key is an RFC 8941 string (draft-ietf-httpapi-idempotency-key-header); without quotes it does too.
"""

import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from service.registry.access import idempotency_keys
from service.registry.access.idempotency_keys import Reservation, StoredResponse
from service.registry.access.scopes import Caller
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.errors import Fault, InvalidInput
from service.registry.storage.artifacts import CHUNK
from service.registry.storage.database import Database
from service.web.dependencies import ResourcesDep, signed_in

_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
_BARE = re.compile(r"[\x21\x23-\x7e]{1,255}")
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Replay(Exception):
    """The request was answered before, with this response."""

    def __init__(self, stored: StoredResponse) -> None:
        self.stored = stored


class IdempotentAnswer:
    """Builds the response of a creating route and stores it under the caller's key, in the same transaction."""

    def __init__(self, reservation: Reservation | None) -> None:
        self._reservation = reservation

    def answer(
        self, session: Session, document: BaseModel, status: int, *, location: str | None = None, **headers: str
    ) -> Response:
        """The response, stored in the transaction of `session` if the caller sent a key."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if location is not None:
            fields["location"] = location
        body = document.model_dump_json().encode()
        if self._reservation is not None:
            idempotency_keys.finish(session, self._reservation, status=status, headers=fields, body=body)
        return _response(status, fields, body)


def replayed(stored: StoredResponse) -> Response:
    """The stored response again, with the header `Idempotent-Replayed: true`."""
    return _response(stored.status, stored.headers | {"idempotent-replayed": "true"}, stored.body)


def _response(status: int, headers: dict[str, str], body: bytes) -> Response:
    return Response(body, status, headers, "application/json")


async def sent_body(request: Request) -> FormData | bytes:
    """The body, which the framework has read already: a form, or the bytes of any other body.

    Raises:
        RequestValidationError: a form has parts that the route does not know; what is JSON may not have such fields.
    """
    if not request.headers.get("content-type", "").lower().startswith(_FORMS):
        return await request.body()
    form = await request.form()
    route: APIRoute = request.scope["route"]
    if unknown_fields := sorted(form.keys() - set(_part_names(route.dependant))):
        extra = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
        raise RequestValidationError([{**extra, "loc": ("body", name)} for name in unknown_fields])
    return form


def _part_names(dependant: Dependant) -> Iterator[str]:
    yield from (part.alias for part in dependant.body_params)
    for dependency in dependant.dependencies:
        yield from _part_names(dependency)


# A coroutine: most callers send no key, and the framework takes two threads for any other generator.
async def _creation(
    request: Request,
    resources: ResourcesDep,
    caller: Annotated[Caller, Depends(signed_in)],
    body: Annotated[Any, Depends(sent_body)],
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            max_length=600,
            json_schema_extra={"pattern": f"^({_QUOTED.pattern}|{_BARE.pattern})$"},
            description="Any text of your own for this one creation. Sent again within 24 hours with the same body, it "
            "gets the same answer, and nothing is created twice.",
        ),
    ] = None,
) -> AsyncIterator[IdempotentAnswer]:
    if key is None:
        yield IdempotentAnswer(None)
        return
    # Some callers derive their keys from personal data.
    pseudonym = caller.pseudonyms.content(_unquoted(key).encode())
    reservation = Reservation(caller.tenant_id, f"{request.method} {request.url.path}", pseudonym, attempt=uuid.uuid4())
    stored = await run_in_threadpool(_begin, resources.database, reservation, caller.pseudonyms, body)
    if stored is not None:
        raise Replay(stored)
    try:
        with resources.idempotency_leases.hold(reservation):
            yield IdempotentAnswer(reservation)
    except BaseException:
        await run_in_threadpool(_abandon, resources.database, reservation)
        raise


def _begin(
    database: Database, reservation: Reservation, pseudonyms: Pseudonyms, body: FormData | bytes
) -> StoredResponse | None:
    fingerprint = pseudonyms.content(_digest(body))
    with database.write() as session:
        return idempotency_keys.begin(session, reservation, fingerprint)


def _abandon(database: Database, reservation: Reservation) -> None:
    with database.write() as session:
        idempotency_keys.abandon(session, reservation)


CreationDep = Annotated[IdempotentAnswer, Depends(_creation, scope="function")]
"""For every route that creates something. Declare it before a session: the session ends first, and a failed attempt can
then release its reservation."""


def _unquoted(key: str) -> str:
    if quoted := _QUOTED.fullmatch(key):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if _BARE.fullmatch(key):
        return key
    raise InvalidInput(Fault("#/Idempotency-Key", "must be 1 to 255 printable ASCII characters, in quotes or without"))


def _digest(body: FormData | bytes) -> bytes:
    """SHA-256 of a body; of a form over its parts, since each client chooses another boundary between them.

    It is stored with a key only: a body that names a person is short enough to be guessed from its digest.
    """
    if isinstance(body, bytes):
        return hashlib.sha256(body).digest()
    total = hashlib.sha256()
    for name, part in body.multi_items():
        digest = _file_digest(part) if isinstance(part, UploadFile) else hashlib.sha256(part.encode()).digest()
        total.update(hashlib.sha256(name.encode()).digest() + digest)
    return total.digest()


def _file_digest(part: UploadFile) -> bytes:
    digest = hashlib.sha256()
    while chunk := part.file.read(CHUNK):
        digest.update(chunk)
    part.file.seek(0)
    return digest.digest()
