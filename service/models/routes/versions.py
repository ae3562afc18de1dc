"""Routes of versions: uploading, reading, comparing and downloading them."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response, UploadFile

from service.models import comparison, downloads, uploads
from service.models.downloads import FILE_HEADERS, OCTETS
from service.models.schemas import ComparisonAnswer, NewDisposition, NewVersion, Tag, VersionAnswer
from service.registry.access.scopes import Scope
from service.registry.errors import ScopeMissing
from service.registry.models import dispositions, models, versions
from service.registry.states import Disposition
from service.web.dependencies import (
    Cursor,
    Downloader,
    Limit,
    ModelName,
    ModelReader,
    ReadSession,
    Reference,
    Registrar,
    ResourcesDep,
    WriteSession,
)
from service.web.fields import Listing, Metadata
from service.web.idempotency import CreationDep
from service.web.problems import documented

router = APIRouter(prefix="/v1/models/{name}/versions", tags=["Versions"])

TagKey = Annotated[str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$", description="The tag's key.")]


@router.post(
    "",
    summary="Upload a version",
    status_code=201,
    response_model=VersionAnswer,
    responses=documented(400, 404, 408, 409, 413, 422, 507),
)
def register_version(
    name: ModelName,
    metadata: Metadata[NewVersion],
    checkpoint: UploadFile,
    caller: Registrar,
    creation: CreationDep,
    resources: ResourcesDep,
) -> Response:
    """Register a safetensors checkpoint as the model's next version. Every tensor is compared with the architecture."""
    return uploads.register_version(resources, creation, caller, name, metadata, checkpoint.file)


@router.get("", summary="List versions", responses=documented(404, 422))
def list_versions(
    name: ModelName, caller: ModelReader, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[VersionAnswer]:
    """All versions of a model, newest first."""
    model = models.find_model(session, caller.tenant_id, name)
    page = versions.list_versions(session, model, cursor=cursor, limit=limit)
    return Listing.of(page, partial(VersionAnswer.of, model))


@router.get("/{number}", summary="Read a version", responses=documented(404))
def read_version(name: ModelName, number: Reference, caller: ModelReader, session: ReadSession) -> VersionAnswer:
    """One version: what it is, where it came from, what came of it, and how it was measured."""
    model = models.find_model(session, caller.tenant_id, name)
    return VersionAnswer.of(model, versions.find_version(session, model, number))


@router.put("/{number}/tags/{key:path}", summary="Tag a version", responses=documented(400, 404, 413, 422))
def tag_version(
    name: ModelName, number: Reference, key: TagKey, tag: Tag, caller: Registrar, session: WriteSession
) -> VersionAnswer:
    """Set a tag. Tags are for people and pipelines; the service itself reads none of them."""
    model = models.find_model(session, caller.tenant_id, name)
    version = versions.find_version(session, model, number)
    versions.tag(session, version, key, tag.value)
    return VersionAnswer.of(model, version)


@router.delete("/{number}/tags/{key:path}", summary="Take a tag away", responses=documented(404))
def untag_version(
    name: ModelName, number: Reference, key: TagKey, caller: Registrar, session: WriteSession
) -> VersionAnswer:
    """Remove a tag; it may be gone already."""
    model = models.find_model(session, caller.tenant_id, name)
    version = versions.find_version(session, model, number)
    versions.tag(session, version, key, None)
    return VersionAnswer.of(model, version)


@router.put(
    "/{number}/disposition",
    summary="Take a version out of use",
    responses=documented(400, 404, 409, 410, 413, 422),
)
def dispose_of_version(
    name: ModelName, number: Reference, new: NewDisposition, caller: Registrar, session: WriteSession
) -> VersionAnswer:
    """Quarantine a version, keep it again, or delete it, which takes the scope `admin` and cannot be undone.

    Not while an alias points to it, or a run is to begin from it. The checkpoint of a deleted one is destroyed at the
    next sweep.
    """
    if new.disposition is Disposition.DELETED and not caller.may([Scope.ADMIN]):
        raise ScopeMissing([Scope.ADMIN])
    model = models.find_model(session, caller.tenant_id, name)
    version = versions.find_version(session, model, number)
    dispositions.dispose(session, model, version, new.disposition)
    return VersionAnswer.of(model, version)


@router.get("/{number}/compare/{other}", summary="Compare two versions", responses=documented(404, 410))
def compare_versions(
    name: ModelName,
    number: Reference,
    other: Reference,
    caller: ModelReader,
    session: ReadSession,
    resources: ResourcesDep,
) -> ComparisonAnswer:
    """What differs from the first version to the second: metrics, digests, and how far the parameters moved."""
    model = models.find_model(session, caller.tenant_id, name)
    first, second = (versions.find_version(session, model, reference) for reference in (number, other))
    return comparison.compare(session, model, first, second, resources.artifacts)


@router.head(
    "/{number}/checkpoint",
    summary="Ask about a checkpoint",
    operation_id="head_checkpoint",
    response_class=Response,
    responses={
        200: {"description": "The headers of the file.", "content": {OCTETS: {}}, "headers": FILE_HEADERS},
        206: {"description": "The headers of the range."},
        304: {"description": "The caller has it already, says `If-None-Match`."},
        **documented(404, 409, 410, 416),
    },
)
@router.get(
    "/{number}/checkpoint",
    summary="Download a checkpoint",
    response_class=Response,
    responses={
        200: {"description": "The safetensors file.", "content": {OCTETS: {}}, "headers": FILE_HEADERS},
        206: {"description": "The ranges that `Range` asked for."},
        304: {"description": "The caller has it already, says `If-None-Match`."},
        **documented(404, 409, 410, 416),
    },
)
def download_checkpoint(
    name: ModelName,
    number: Reference,
    request: Request,
    caller: Downloader,
    session: ReadSession,
    resources: ResourcesDep,
) -> Response:
    """The weights. `Range`, `If-Range` and `If-None-Match` work; `Repr-Digest` is that of the whole file."""
    model = models.find_model(session, caller.tenant_id, name)
    version = versions.find_version(session, model, number)
    answer = downloads.checkpoint(request, model, version, resources.artifacts.path(version.checkpoint))
    if request.method == "GET" and answer.status_code != 304:
        with resources.database.write() as write_session:
            downloads.log(write_session, caller, version)
    return answer
