"""Routes of anchor sets: one vector for each class."""

from fastapi import APIRouter, Response, UploadFile

from service.models import uploads
from service.models.data_schemas import AnchorSetAnswer, NewAnchorSet
from service.registry.models import anchor_sets
from service.web.dependencies import Cursor, Identifier, Limit, ModelReader, ReadSession, Registrar, ResourcesDep
from service.web.fields import Listing, Metadata
from service.web.idempotency import CreationDep
from service.web.problems import documented

router = APIRouter(prefix="/v1/anchor-sets", tags=["Anchor sets"])


@router.post(
    "",
    summary="Upload anchors",
    status_code=201,
    response_model=AnchorSetAnswer,
    responses={
        200: {"model": AnchorSetAnswer, "description": "They were there."},
        **documented(400, 408, 409, 413, 422, 507),
    },
)
def register_anchor_set(
    metadata: Metadata[NewAnchorSet],
    anchors: UploadFile,
    caller: Registrar,
    creation: CreationDep,
    resources: ResourcesDep,
) -> Response:
    """Keep one vector per class: an npz with `emb` (b, d) and `names` (b). The same upload again gets 200."""
    return uploads.register_anchors(resources, creation, caller, metadata, anchors.file)


@router.get("", summary="List anchor sets", responses=documented(422))
def list_anchor_sets(
    caller: ModelReader, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[AnchorSetAnswer]:
    """All anchor sets, newest first: uploaded ones, and those that jobs computed."""
    page = anchor_sets.list_anchor_sets(session, caller.tenant_id, cursor=cursor, limit=limit)
    return Listing.of(page, AnchorSetAnswer.of)


@router.get("/{anchor_set}", summary="Read an anchor set", responses=documented(404))
def read_anchor_set(anchor_set: Identifier, caller: ModelReader, session: ReadSession) -> AnchorSetAnswer:
    """One anchor set: what was encoded, and by what."""
    return AnchorSetAnswer.of(anchor_sets.find(session, caller.tenant_id, anchor_set))
