"""Versions of a model: uploading, reading and downloading them."""

from functools import partial

from fastapi import APIRouter, Request, Response, UploadFile

from service import downloads, uploads
from service.answers import Listing, VersionAnswer
from service.dependencies import (
    Cursor,
    Downloader,
    Limit,
    ModelName,
    ModelReader,
    Number,
    ReadSession,
    Registrar,
    ResourcesDep,
)
from service.idempotency import CreationDep
from service.problems import documented
from service.registry import models
from service.schemas import Metadata, NewVersion

router = APIRouter(prefix="/v1/models/{name}/versions", tags=["Versions"])


@router.post(
    "",
    summary="Upload a version",
    status_code=201,
    response_model=VersionAnswer,
    responses=documented(400, 404, 409, 413, 422, 507),
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
    page = models.list_versions(session, model, cursor=cursor, limit=limit)
    return Listing.of(page, partial(VersionAnswer.of, model))


@router.get("/{number}", summary="Read a version", responses=documented(404))
def read_version(name: ModelName, number: Number, caller: ModelReader, session: ReadSession) -> VersionAnswer:
    """One version: what it is, where it came from, and how it was measured."""
    model = models.find_model(session, caller.tenant_id, name)
    return VersionAnswer.of(model, models.find_version(session, model, number))


@router.head("/{number}/checkpoint", summary="Ask about a checkpoint", responses=documented(404, 416))
@router.get(
    "/{number}/checkpoint",
    summary="Download a checkpoint",
    response_class=Response,
    responses={
        200: {"description": "The safetensors file.", "content": {"application/octet-stream": {}}},
        206: {"description": "The ranges that `Range` asked for."},
        304: {"description": "The caller has it already, says `If-None-Match`."},
        **documented(404, 416),
    },
)
def download_checkpoint(
    name: ModelName,
    number: Number,
    request: Request,
    caller: Downloader,
    session: ReadSession,
    resources: ResourcesDep,
) -> Response:
    """The weights. `Range`, `If-Range` and `If-None-Match` work; `Repr-Digest` is that of the whole file."""
    model = models.find_model(session, caller.tenant_id, name)
    version = models.find_version(session, model, number)
    return downloads.checkpoint(request, model, version, resources.artifacts.path(version.checkpoint))
