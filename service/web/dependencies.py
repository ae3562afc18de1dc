"""Dependencies and parameter types that the routes share."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from cachetools import TTLCache
from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from prometheus_client import CollectorRegistry
from pydantic import AfterValidator, StringConstraints
from sqlalchemy.orm import Session

from service.background.idempotency_leases import IdempotencyLeases
from service.background.periodic import PeriodicThread
from service.background.sweeper import Sweeper
from service.registry.access.scopes import Caller, Scope
from service.registry.audit import audit_log
from service.registry.crypto.master_key import MasterKey
from service.registry.errors import ScopeMissing
from service.registry.fields import NAME
from service.registry.images.validation import UploadLimits
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.webhooks import outbox
from service.settings import ServiceSettings


@dataclass(frozen=True)
class Resources:
    """What the application opens when it starts and closes when it ends."""

    settings: ServiceSettings
    database: Database
    artifacts: Artifacts
    master_key: MasterKey
    sweeper: Sweeper
    webhook_sender: PeriodicThread
    idempotency_leases: IdempotencyLeases
    metrics: CollectorRegistry
    callers: TTLCache[str, Caller]
    """Authenticated callers of the last second, by credential. For the event loop's thread only."""

    def image_limits(self, images: int) -> UploadLimits:
        """Limits of an upload of at most `images` images, with the sizes that the settings allow."""
        return UploadLimits(images=images, pixels=self.settings.max_image_pixels, bytes=self.settings.max_upload_bytes)

    def committed(self, session: Session) -> None:
        """Call this after a commit: it wakes the sweeper, and the webhook sender if deliveries are due."""
        self.sweeper.wake()
        if outbox.has_due_deliveries(session):
            self.webhook_sender.wake()


# Coroutines, although they wait for nothing: the framework hands each plain function to a thread, which takes longer
# than what these do.
async def _resources(request: Request) -> Resources:
    resources: Resources = request.state.resources
    return resources


ResourcesDep = Annotated[Resources, Depends(_resources)]
"""For routes that need files, or manage their transactions themselves because they handle files between them."""


_bearer = HTTPBearer(auto_error=False, description="An API key, or a token of the configured identity provider.")


async def signed_in(request: Request) -> Caller:
    """The caller, whom the middleware of `service.access.authentication` has authenticated."""
    caller: Caller = request.state.caller
    return caller


async def _caller(request: Request, required: SecurityScopes, _: Annotated[object, Depends(_bearer)]) -> Caller:
    caller = await signed_in(request)
    if not caller.may(required.scopes):
        raise ScopeMissing(required.scopes)
    return caller


def needs(*scopes: Scope) -> Any:
    """A dependency that gives the caller, or raises `ScopeMissing` unless they have all these scopes."""
    return Security(_caller, scopes=scopes)


Creator = Annotated[Caller, needs(Scope.REQUESTS_CREATE)]
RequestReader = Annotated[Caller, needs(Scope.REQUESTS_READ)]
Canceller = Annotated[Caller, needs(Scope.REQUESTS_CANCEL)]
Approver = Annotated[Caller, needs(Scope.REQUESTS_APPROVE)]
Registrar = Annotated[Caller, needs(Scope.MODELS_REGISTER)]
ModelReader = Annotated[Caller, needs(Scope.MODELS_READ)]
Downloader = Annotated[Caller, needs(Scope.MODELS_DOWNLOAD)]
Auditor = Annotated[Caller, needs(Scope.EVIDENCE_READ)]
Admin = Annotated[Caller, needs(Scope.ADMIN)]


def _read(resources: ResourcesDep) -> Iterator[Session]:
    with resources.database.read() as session:
        yield session


def _write(resources: ResourcesDep, caller: Annotated[Caller, Depends(signed_in)]) -> Iterator[Session]:
    with resources.database.write() as session:
        audit_log.set_actor(session, caller.subject)
        yield session
    resources.committed(session)


# With the scope "function" a session ends before the answer is sent: a COMMIT that fails must not follow a 202.
ReadSession = Annotated[Session, Depends(_read, scope="function")]
"""Takes no lock and writes nothing."""

WriteSession = Annotated[Session, Depends(_write, scope="function")]
"""Commits when the route returns, rolls back when it raises."""

Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100, description="How many items a page has at most.")]
ModelName = Annotated[str, Path(pattern=NAME, description="The model's name.")]
EvaluationSetName = Annotated[str, Path(pattern=NAME, description="The evaluation set's name.")]


def _reference(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


Reference = Annotated[
    str,
    StringConstraints(pattern="^([1-9][0-9]{0,8}|latest|@[a-z0-9][a-z0-9._-]{0,99})$"),
    AfterValidator(_reference),
    Path(description="The version: its number, `@` and an alias, or `latest`."),
]
Identifier = Annotated[uuid.UUID, Path(description="The identifier that its creation answered with.")]
