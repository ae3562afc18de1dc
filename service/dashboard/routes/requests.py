"""Pages of deletion requests: the list, one request, and the forms that cancel, retry, approve or reject it."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.dashboard import curves, listed, measured, pictures
from service.dashboard.failures import explain
from service.dashboard.pages import page
from service.dashboard.visitors import CSRF_CHECKED, Approver, Canceller, Creator, RequestReader
from service.deletion_requests.schemas import RequestAnswer
from service.registry.access.scopes import Scope
from service.registry.deletion_requests import lifecycle
from service.registry.errors import ModelNotFound
from service.registry.job_queue import jobs
from service.registry.models import models
from service.registry.states import ENDED, State
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page
from service.registry.tables import DeletionRequest
from service.web.dependencies import ReadSession, WriteSession
from service.web.fields import Text

router = APIRouter(prefix="/requests")


@router.get("")
def show_all(
    request: Request,
    visitor: RequestReader,
    session: ReadSession,
    model: Annotated[str, Query(max_length=100)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    overdue: bool = False,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """All requests, newest first, as filtered."""
    chosen = State(state) if state in set(State) else None
    chosen_model, is_unknown_model = None, False
    if model:
        try:
            chosen_model = models.find_model(session, visitor.caller.tenant_id, model)
        except ModelNotFound:
            is_unknown_model = True
    requests = (
        Page((), None)
        if is_unknown_model
        else listed.requests(
            session, visitor.caller.tenant_id, model=chosen_model, state=chosen, overdue=overdue, cursor=cursor
        )
    )
    model = "" if is_unknown_model else model  # it may be a person's name, and is not repeated
    filters = {"model": model, "state": chosen, "overdue": "true" if overdue else ""}
    return page(
        request,
        "requests.html",
        filters={name: value for name, value in filters.items() if value},
        requests=requests,
        now=clock(session),
        names=listed.model_names(session, visitor.caller.tenant_id),
        states=State,
        model=model,
        is_unknown_model=is_unknown_model,
        chosen=chosen,
        overdue=overdue,
        is_later=cursor is not None,
    )


@router.get("/{request_id}")
def show(request: Request, request_id: uuid.UUID, visitor: RequestReader, session: ReadSession) -> Response:
    """Everything about one request."""
    deletion_request = lifecycle.find(session, visitor.caller.tenant_id, request_id)
    answer = RequestAnswer.of(deletion_request)
    return page(
        request,
        "request.html",
        request=deletion_request,
        answer=answer,
        now=clock(session),
        moves=lifecycle.transitions(session, request_id),
        charts=curves.of_run(jobs.curve(session, deletion_request.job)),
        rows=measured.before_and_after(answer.metrics, deletion_request.model.policy, deletion_request.job.options),
        failure=explain(deletion_request) if deletion_request.state is State.FAILED else None,
        objections=_objections(deletion_request) if deletion_request.state is State.NEEDS_REVIEW else [],
        views=pictures.list_views(session, request_id) if visitor.may(Scope.REQUESTS_IMAGES) else [],
        is_own=deletion_request.submitted_by == visitor.caller.subject,
        refresh=None if deletion_request.state in ENDED else 1 if deletion_request.state is State.RUNNING else 3,
    )


@router.post("/{request_id}/cancel", dependencies=[CSRF_CHECKED])
def cancel(request_id: uuid.UUID, visitor: Canceller, session: WriteSession) -> Response:
    """Withdraw a request."""
    lifecycle.withdraw(session, lifecycle.find(session, visitor.caller.tenant_id, request_id))
    return _redirect(request_id, "cancelled")


@router.post("/{request_id}/retry", dependencies=[CSRF_CHECKED])
def retry(request_id: uuid.UUID, visitor: Creator, session: WriteSession) -> Response:
    """Queue a failed request again."""
    lifecycle.retry(session, lifecycle.find(session, visitor.caller.tenant_id, request_id))
    return _redirect(request_id, "retried")


@router.post("/{request_id}/approve", dependencies=[CSRF_CHECKED])
def approve(request_id: uuid.UUID, visitor: Approver, session: WriteSession) -> Response:
    """Approve a request."""
    request = lifecycle.find(session, visitor.caller.tenant_id, request_id)
    lifecycle.approve(session, request, by=visitor.caller.subject)
    return _redirect(request_id, "approved")


@router.post("/{request_id}/reject", dependencies=[CSRF_CHECKED])
def reject(
    request_id: uuid.UUID,
    visitor: Approver,
    session: WriteSession,
    reason: Annotated[Text, Form(min_length=1, max_length=500)],
) -> Response:
    """Decline a request, and destroy its images."""
    request = lifecycle.find(session, visitor.caller.tenant_id, request_id)
    lifecycle.reject(session, request, by=visitor.caller.subject, reason=reason)
    return _redirect(request_id, "rejected")


def _objections(request: DeletionRequest) -> list[str]:
    """What the quality gate holds against its version; of an earlier release, whose words say no code, in one piece."""
    return [str(one) for one in request.why.objections] if request.why else [request.reason or ""]


def _redirect(request_id: uuid.UUID, done: str) -> Response:
    return RedirectResponse(f"/dashboard/requests/{request_id}?done={done}", 303)
