"""Deletion requests: the reason for all of this."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, UploadFile

from service import uploads
from service.answers import Listing
from service.dependencies import Cursor, Identifier, Limit, ReadSession, ResourcesDep, WriteSession
from service.problems import documented
from service.progress import RequestAnswer, RequestDetails
from service.registry import deletion_requests, models
from service.registry.states import ENDED, State
from service.schemas import NAME, Metadata, NewDeletionRequest

router = APIRouter(prefix="/v1/deletion-requests", tags=["Deletion requests"])

_RETRY_AFTER = "5"  # seconds; a run takes seconds to minutes


@router.post("", summary="Ask to forget images", status_code=202, responses=documented(400, 409, 413, 422, 507))
def submit(
    metadata: Metadata[NewDeletionRequest], images: list[UploadFile], resources: ResourcesDep, response: Response
) -> RequestAnswer:
    """Accept images to forget: PNG, JPEG or WebP files, or one zip or npz of them. After the 202 it cannot be lost."""
    answer = RequestAnswer.of(uploads.submit_deletion_request(resources, metadata, images))
    response.headers.update({"Location": answer.links["self"], "Retry-After": _RETRY_AFTER})
    return answer


@router.get("", summary="List deletion requests", responses=documented(404, 422))
def list_requests(
    session: ReadSession,
    model: Annotated[str | None, Query(pattern=NAME, description="Of this model only.")] = None,
    state: Annotated[State | None, Query(description="In this state only.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Listing[RequestAnswer]:
    """All deletion requests, newest first."""
    of = models.find_model(session, model) if model is not None else None
    page = deletion_requests.list_requests(session, model=of, state=state, cursor=cursor, limit=limit)
    return Listing.of(page, RequestAnswer.of)


@router.get("/{request_id}", summary="Read a deletion request", responses=documented(404))
def read_request(request_id: Identifier, session: ReadSession, response: Response) -> RequestDetails:
    """One deletion request, in every state the same resource. `Retry-After` says when to look again."""
    request = deletion_requests.find(session, request_id)
    if request.state not in ENDED:
        response.headers["Retry-After"] = _RETRY_AFTER
    return RequestDetails.with_history(request, deletion_requests.transitions(session, request_id))


@router.post(
    "/{request_id}/cancel", summary="Withdraw a deletion request", status_code=202, responses=documented(404, 409)
)
def cancel(request_id: Identifier, session: WriteSession) -> RequestAnswer:
    """Withdraw it. A run in progress stops at its next step, unless it reaches the commit point first."""
    request = deletion_requests.find(session, request_id)
    return RequestAnswer.of(deletion_requests.cancel(session, request))


@router.post("/{request_id}/retry", summary="Retry a deletion request", status_code=202, responses=documented(404, 409))
def retry(request_id: Identifier, session: WriteSession, response: Response) -> RequestAnswer:
    """Queue a failed request again, under the same identifier."""
    request = deletion_requests.find(session, request_id)
    response.headers["Retry-After"] = _RETRY_AFTER
    return RequestAnswer.of(deletion_requests.retry(session, request))
