"""Routes of deletion requests: submit, list, read, follow, withdraw, approve, reject and retry."""

import uuid
from collections.abc import AsyncIterable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from service.deletion_requests import events, submission
from service.deletion_requests.schemas import (
    RETRY_AFTER,
    AcceptedRequest,
    Refusal,
    RequestAnswer,
    RequestDetails,
    Retried,
    Retries,
)
from service.deletion_requests.submission import JSON_BODY, BodyDep
from service.registry.access.scopes import Caller
from service.registry.deletion_requests import lifecycle
from service.registry.errors import DeletionRequestNotFound, NotRetriable
from service.registry.fields import NAME
from service.registry.models import models
from service.registry.states import ENDED, State
from service.registry.training_data import affected_versions
from service.web.dependencies import (
    Approver,
    Canceller,
    Creator,
    Cursor,
    Identifier,
    Limit,
    ReadSession,
    RequestReader,
    ResourcesDep,
    WriteSession,
)
from service.web.fields import Everything, Listing
from service.web.idempotency import CreationDep
from service.web.problems import documented

router = APIRouter(prefix="/v1/deletion-requests", tags=["Deletion requests"])


@router.post(
    "",
    summary="Ask to forget images",
    status_code=202,
    response_model=AcceptedRequest,
    responses=documented(400, 408, 409, 413, 422, 507),
    openapi_extra=JSON_BODY,
)
def submit_deletion_request(caller: Creator, body: BodyDep, creation: CreationDep, resources: ResourcesDep) -> Response:
    """Accept images to forget. After the 202 it cannot be lost.

    They come along as a form: PNG, JPEG or WebP files, or one zip or npz of them. Or they are fetched from where the
    training manifests say they are: all of a `subject_id`, or those of `sample_ids`, in a form or as plain JSON.
    """
    content, images = body
    return submission.submit_deletion_request(resources, creation, caller, content, images)


@router.get("", summary="List deletion requests", responses=documented(404, 422))
def list_deletion_requests(
    caller: RequestReader,
    session: ReadSession,
    model: Annotated[str | None, Query(pattern=NAME, description="Of this model only.")] = None,
    state: Annotated[State | None, Query(description="In this state only.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Listing[RequestAnswer]:
    """All deletion requests of the tenant, newest first; those of one model or in one state, if asked for."""
    model_row = models.find_model(session, caller.tenant_id, model) if model is not None else None
    page = lifecycle.list_requests(session, caller.tenant_id, model=model_row, state=state, cursor=cursor, limit=limit)
    return Listing.of(page, RequestAnswer.of)


@router.get("/{request_id:uuid}", summary="Read a deletion request", responses=documented(404))
def read_deletion_request(
    request_id: Identifier, caller: RequestReader, session: ReadSession, response: Response
) -> RequestDetails:
    """One deletion request, in every state the same resource. `Retry-After` says when to look again."""
    request = lifecycle.find(session, caller.tenant_id, request_id)
    if request.state not in ENDED:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    moves = lifecycle.transitions(session, request_id)
    return RequestDetails.with_history(request, moves, affected_versions.of_request(session, request))


def _existing_request_id(request_id: Identifier, caller: RequestReader, resources: ResourcesDep) -> uuid.UUID:
    """Looked up before the stream begins: after that the response could no longer be a 404."""
    with resources.database.read() as session:
        return lifecycle.find(session, caller.tenant_id, request_id).id


@router.get(
    "/{request_id}/events",
    summary="Follow a deletion request",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Events until the request has ended.",
            "content": {"text/event-stream": {"example": events.EXAMPLE}},
        },
        **documented(404),
    },
)
async def follow_deletion_request(
    request_id: Annotated[uuid.UUID, Depends(_existing_request_id)],
    caller: RequestReader,
    resources: ResourcesDep,
    last_event_id: Annotated[
        str | None, Header(description="Where an earlier connection ended; browsers send it.")
    ] = None,
) -> AsyncIterable[ServerSentEvent]:
    """Server-sent events: `state` for every move, `step` for every point of the curves, `progress`, at last `end`."""
    position = events.Position.parse(last_event_id)
    async for event in events.follow(resources.database, caller.tenant_id, request_id, position):
        yield event


@router.post(
    "/{request_id}/cancel", summary="Withdraw a deletion request", status_code=202, responses=documented(404, 409)
)
def cancel_deletion_request(request_id: Identifier, caller: Canceller, session: WriteSession) -> RequestAnswer:
    """Withdraw it. A run in progress stops at its next step, unless it reaches the commit point first."""
    request = lifecycle.find(session, caller.tenant_id, request_id)
    return RequestAnswer.of(lifecycle.withdraw(session, request))


@router.post(
    "/{request_id}/approve", summary="Approve a deletion request", status_code=202, responses=documented(404, 409)
)
def approve_deletion_request(
    request_id: Identifier, caller: Approver, session: WriteSession, response: Response
) -> RequestAnswer:
    """Agree to somebody else's request, where the model asks for that: it is queued."""
    request = lifecycle.find(session, caller.tenant_id, request_id)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return RequestAnswer.of(lifecycle.approve(session, request, by=caller.subject))


@router.post(
    "/{request_id}/reject", summary="Decline a deletion request", responses=documented(400, 404, 409, 413, 422)
)
def reject_deletion_request(
    request_id: Identifier, refusal: Refusal, caller: Approver, session: WriteSession
) -> RequestAnswer:
    """Decline somebody else's request, where the model asks for approval. Its images are destroyed."""
    request = lifecycle.find(session, caller.tenant_id, request_id)
    return RequestAnswer.of(lifecycle.reject(session, request, by=caller.subject, reason=refusal.reason))


@router.post("/retry", summary="Retry many deletion requests", status_code=202, responses=documented(400, 413, 422))
def retry_deletion_requests(retries: Retries, caller: Creator, session: WriteSession) -> Everything[Retried]:
    """Queue many failed requests again, in one transaction. Those that cannot be are told apart, and hold up none."""
    # Locked in the order of their identifiers: two calls with the same ones must not wait for each other.
    outcomes = {request_id: _retried(session, caller, request_id) for request_id in sorted(set(retries.ids))}
    return Everything(items=[outcomes[request_id] for request_id in retries.ids])


def _retried(session: Session, caller: Caller, request_id: uuid.UUID) -> Retried:
    outcome: Literal["queued", "not-retriable"] = "queued"
    try:
        lifecycle.retry(session, lifecycle.find(session, caller.tenant_id, request_id))
    except DeletionRequestNotFound:
        return Retried(id=request_id, outcome="not-found", request=None)
    except NotRetriable:
        outcome = "not-retriable"
    request = lifecycle.find(session, caller.tenant_id, request_id)
    return Retried(id=request_id, outcome=outcome, request=RequestAnswer.of(request))


@router.post("/{request_id}/retry", summary="Retry a deletion request", status_code=202, responses=documented(404, 409))
def retry_deletion_request(
    request_id: Identifier, caller: Creator, session: WriteSession, response: Response
) -> RequestAnswer:
    """Queue a failed request again, under the same identifier. Its deadline stays."""
    request = lifecycle.find(session, caller.tenant_id, request_id)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return RequestAnswer.of(lifecycle.retry(session, request))
