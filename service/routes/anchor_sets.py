"""Semantic anchors."""

from fastapi import APIRouter, Response, UploadFile

from service import anchor_uploads
from service.answers import AnchorSetAnswer, Listing
from service.dependencies import Cursor, Identifier, Limit, ReadSession, ResourcesDep
from service.problems import documented
from service.registry import anchor_sets
from service.schemas import Metadata, NewAnchorSet

router = APIRouter(prefix="/v1/anchor-sets", tags=["Anchor sets"])


@router.post(
    "",
    summary="Upload anchors",
    status_code=201,
    responses={200: {"model": AnchorSetAnswer, "description": "They were there."}, **documented(400, 413, 422, 507)},
)
def register_anchors(
    metadata: Metadata[NewAnchorSet], anchors: UploadFile, resources: ResourcesDep, response: Response
) -> AnchorSetAnswer:
    """Keep one vector per class: an npz with `emb` (b, d) and `names` (b). The same upload again gets 200."""
    anchor_set, is_new = anchor_uploads.register_anchors(resources, metadata, anchors.file)
    answer = AnchorSetAnswer.of(anchor_set)
    response.headers["Location"] = answer.links["self"]
    response.status_code = 201 if is_new else 200
    return answer


@router.get("", summary="List anchor sets", responses=documented(422))
def list_anchor_sets(session: ReadSession, cursor: Cursor = None, limit: Limit = 50) -> Listing[AnchorSetAnswer]:
    """All anchor sets, newest first: uploaded ones, and those that jobs computed."""
    return Listing.of(anchor_sets.list_anchor_sets(session, cursor=cursor, limit=limit), AnchorSetAnswer.of)


@router.get("/{anchor_set}", summary="Read an anchor set", responses=documented(404))
def read_anchor_set(anchor_set: Identifier, session: ReadSession) -> AnchorSetAnswer:
    """One anchor set: what was encoded, and by what."""
    return AnchorSetAnswer.of(anchor_sets.find(session, anchor_set))
