"""Routes of evaluation sets: labelled images that versions of a model are measured on."""

from functools import partial

from fastapi import APIRouter, Response, UploadFile

from service.models import uploads
from service.models.data_schemas import EvaluationSetAnswer, NewEvaluationSet
from service.registry.models import evaluation_sets, models
from service.web.dependencies import (
    Cursor,
    EvaluationSetName,
    Limit,
    ModelName,
    ModelReader,
    ReadSession,
    Registrar,
    ResourcesDep,
)
from service.web.fields import Listing, Metadata
from service.web.idempotency import CreationDep
from service.web.problems import documented

router = APIRouter(prefix="/v1/models/{name}/evaluation-sets", tags=["Evaluation sets"])


@router.post(
    "",
    summary="Upload an evaluation set",
    status_code=201,
    response_model=EvaluationSetAnswer,
    responses=documented(400, 404, 408, 409, 413, 422, 507),
)
def add_evaluation_set(
    name: ModelName,
    metadata: Metadata[NewEvaluationSet],
    images: list[UploadFile],
    caller: Registrar,
    creation: CreationDep,
    resources: ResourcesDep,
) -> Response:
    """Keep labelled images: PNG, JPEG or WebP files, or one zip or npz of them."""
    files = [image.file for image in images]
    return uploads.add_evaluation_set(resources, creation, caller, name, metadata, files)


@router.get("", summary="List evaluation sets", responses=documented(404, 422))
def list_evaluation_sets(
    name: ModelName, caller: ModelReader, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[EvaluationSetAnswer]:
    """All evaluation sets of a model, newest first, without the images."""
    model = models.find_model(session, caller.tenant_id, name)
    page = evaluation_sets.list_evaluation_sets(session, model, cursor=cursor, limit=limit)
    return Listing.of(page, partial(EvaluationSetAnswer.of, model))


@router.get("/{evaluation_set}", summary="Read an evaluation set", responses=documented(404))
def read_evaluation_set(
    name: ModelName, evaluation_set: EvaluationSetName, caller: ModelReader, session: ReadSession
) -> EvaluationSetAnswer:
    """One evaluation set: what it measures, how many images it has, and the digest of its file."""
    model = models.find_model(session, caller.tenant_id, name)
    return EvaluationSetAnswer.of(model, evaluation_sets.find_evaluation_set(session, model, evaluation_set))
