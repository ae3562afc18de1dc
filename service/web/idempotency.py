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
    """The request was answered before."""

    def __init__(self, answered: StoredResponse) -> None:
        self.answered = answered


class IdempotentAnswer:
    """Builds the response of a creating route and stores it under the caller's key, in the same transaction."""

    def __init__(self, once: Reservation | None) -> None:
        self._once = once

    def answer(
        self, session: Session, document: BaseModel, status: int, *, location: str | None = None, **headers: str
    ) -> Response:
        """The response, stored in the transaction of `session` if the caller sent a key."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if location is not None:
            told["location"] = location
        body = document.model_dump_json().encode()
        if self._once is not None:
            idempotency_keys.finish(session, self._once, status=status, headers=told, body=body)
        return _response(status, told, body)


def replayed(answered: StoredResponse) -> Response:
    """The stored answer."""
    return _response(answered.status, answered.headers | {"idempotent-replayed": "true"}, answered.body)


def _response(status: int, headers: dict[str, str], body: bytes) -> Response:
    return Response(body, status, headers, "application/json")


async def sent_body(request: Request) -> FormData | bytes:
    """What the framework has read already, and keeps with the request.

    Raises:
        RequestValidationError: a form has parts that the route does not know; what is JSON may not have such fields.
    """
    if not request.headers.get("content-type", "").lower().startswith(_FORMS):
        return await request.body()
    form = await request.form()
    route: APIRoute = request.scope["route"]
    if strangers := sorted(form.keys() - set(_parts(route.dependant))):
        extra = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
        raise RequestValidationError([{**extra, "loc": ("body", name)} for name in strangers])
    return form


def _parts(dependant: Dependant) -> Iterator[str]:
    yield from (part.alias for part in dependant.body_params)
    for further in dependant.dependencies:
        yield from _parts(further)


# A coroutine: most callers send no key, and the framework takes two threads for any other generator.
async def _creation(
    request: Request,
    resources: ResourcesDep,
    caller: Annotated[Caller, Depends(signed_in)],
    sent: Annotated[Any, Depends(sent_body)],
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
    # Some callers make their keys of what they ask for.
    pseudonym = caller.pseudonyms.content(_read(key).encode())
    once = Reservation(caller.tenant_id, f"{request.method} {request.url.path}", pseudonym, attempt=uuid.uuid4())
    answered = await run_in_threadpool(_begin, resources.database, once, caller.pseudonyms, sent)
    if answered is not None:
        raise Replay(answered)
    try:
        with resources.idempotency_leases.hold(once):
            yield IdempotentAnswer(once)
    except BaseException:
        await run_in_threadpool(_abandon, resources.database, once)
        raise


def _begin(
    database: Database, once: Reservation, pseudonyms: Pseudonyms, sent: FormData | bytes
) -> StoredResponse | None:
    fingerprint = pseudonyms.content(_digest(sent))
    with database.write() as session:
        return idempotency_keys.begin(session, once, fingerprint)


def _abandon(database: Database, once: Reservation) -> None:
    with database.write() as session:
        idempotency_keys.abandon(session, once)


CreationDep = Annotated[IdempotentAnswer, Depends(_creation, scope="function")]
"""For every route that creates. Declare it before a session, which must have ended when a failed try is given up."""


def _read(key: str) -> str:
    if quoted := _QUOTED.fullmatch(key):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if _BARE.fullmatch(key):
        return key
    raise InvalidInput(Fault("#/Idempotency-Key", "must be 1 to 255 printable ASCII characters, in quotes or without"))


def _digest(sent: FormData | bytes) -> bytes:
    """SHA-256 over what was sent; of a form over its parts, since each client separates them differently.

    It is stored with a key only: a body that names a person is short enough to be guessed from its digest.
    """
    if isinstance(sent, bytes):
        return hashlib.sha256(sent).digest()
    whole = hashlib.sha256()
    for name, part in sent.multi_items():
        digest = _file_digest(part) if isinstance(part, UploadFile) else hashlib.sha256(part.encode()).digest()
        whole.update(hashlib.sha256(name.encode()).digest() + digest)
    return whole.digest()


def _file_digest(part: UploadFile) -> bytes:
    digest = hashlib.sha256()
    while chunk := part.file.read(CHUNK):
        digest.update(chunk)
    part.file.seek(0)
    return digest.digest()
