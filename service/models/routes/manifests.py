"""Routes of training manifests: the records that a version was trained on."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Response, UploadFile

from service.models import uploads
from service.models.data_schemas import ManifestAnswer, NewManifest
from service.registry.fields import NAME
from service.registry.models import models, versions
from service.registry.training_data import manifests
from service.web.dependencies import (
    Cursor,
    Limit,
    ModelName,
    ModelReader,
    ReadSession,
    Reference,
    Registrar,
    ResourcesDep,
)
from service.web.fields import Listing, Metadata
from service.web.idempotency import CreationDep
from service.web.problems import documented

router = APIRouter(prefix="/v1/models/{name}/versions/{number}/manifests", tags=["Training manifests"])

ManifestName = Annotated[str, Path(pattern=NAME, description="The manifest's name.")]


@router.post(
    "",
    summary="Upload a training manifest",
    status_code=201,
    response_model=ManifestAnswer,
    responses=documented(400, 404, 408, 409, 413, 422, 507),
)
def add_manifest(
    name: ModelName,
    number: Reference,
    metadata: Metadata[NewManifest],
    manifest: UploadFile,
    caller: Registrar,
    creation: CreationDep,
    resources: ResourcesDep,
) -> Response:
    """Register the records that a version was trained on; they count for every version that descends from it.

    CSV or Parquet with the columns `sample_id`, `subject_id` (may be empty), `label` and `uri`. Identifiers are kept as
    keyed HMACs only.
    """
    return uploads.add_manifest(resources, creation, caller, name, number, metadata, manifest.file)


@router.get("", summary="List training manifests", responses=documented(404, 422))
def list_manifests(
    name: ModelName,
    number: Reference,
    caller: ModelReader,
    session: ReadSession,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Listing[ManifestAnswer]:
    """All manifests of one version, newest first, without those of the versions that it descends from."""
    model = models.find_model(session, caller.tenant_id, name)
    version = versions.find_version(session, model, number)
    page = manifests.list_manifests(session, version, cursor=cursor, limit=limit)
    return Listing.of(page, partial(ManifestAnswer.of, model, version))


@router.get("/{manifest}", summary="Read a training manifest", responses=documented(404))
def read_manifest(
    name: ModelName, number: Reference, manifest: ManifestName, caller: ModelReader, session: ReadSession
) -> ManifestAnswer:
    """One manifest: how many records it has, and how many of them should not be there."""
    model = models.find_model(session, caller.tenant_id, name)
    version = versions.find_version(session, model, number)
    return ManifestAnswer.of(model, version, manifests.find(session, version, manifest))
