"""Deletion requests: the list, one of them, and what can be done with it."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.dashboard import curves, listed, measured
from service.dashboard import pictures as looked_at
from service.dashboard.failures import explain
from service.dashboard.pages import page
from service.dashboard.visitors import FROM_OUR_PAGE, Approver, Canceller, Creator, RequestReader
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
    wanted = State(state) if state in set(State) else None
    of, is_unknown = None, False
    if model:
        try:
            of = models.find_model(session, visitor.caller.tenant_id, model)
        except ModelNotFound:
            is_unknown = True
    found = (
        Page((), None)
        if is_unknown
        else listed.requests(session, visitor.caller.tenant_id, model=of, state=wanted, overdue=overdue, cursor=cursor)
    )
    model = "" if is_unknown else model  # what is no model's name may be a person's, and is not repeated
    filters = {"model": model, "state": wanted, "overdue": "true" if overdue else ""}
    return page(
        request,
        "requests.html",
        filters={name: kept for name, kept in filters.items() if kept},
        found=found,
        now=clock(session),
        names=listed.model_names(session, visitor.caller.tenant_id),
        states=State,
        model=model,
        is_unknown=is_unknown,
        chosen=wanted,
        overdue=overdue,
        is_later=cursor is not None,
    )


@router.get("/{request_id}")
def show(request: Request, request_id: uuid.UUID, visitor: RequestReader, session: ReadSession) -> Response:
    """Everything about one request."""
    found = lifecycle.find(session, visitor.caller.tenant_id, request_id)
    answer = RequestAnswer.of(found)
    return page(
        request,
        "request.html",
        request=found,
        answer=answer,
        now=clock(session),
        moves=lifecycle.transitions(session, request_id),
        charts=curves.of_run(jobs.curve(session, found.job)),
        rows=measured.before_and_after(answer.metrics, found.model.policy, found.job.options),
        failure=explain(found) if found.state is State.FAILED else None,
        objections=_objections(found) if found.state is State.NEEDS_REVIEW else [],
        views=looked_at.views(session, request_id) if visitor.may(Scope.REQUESTS_IMAGES) else [],
        is_own=found.submitted_by == visitor.caller.subject,
        refresh=None if found.state in ENDED else 1 if found.state is State.RUNNING else 3,
    )


@router.post("/{request_id}/cancel", dependencies=[FROM_OUR_PAGE])
def cancel(request_id: uuid.UUID, visitor: Canceller, session: WriteSession) -> Response:
    """Withdraw it."""
    lifecycle.withdraw(session, lifecycle.find(session, visitor.caller.tenant_id, request_id))
    return _back(request_id, "cancelled")


@router.post("/{request_id}/retry", dependencies=[FROM_OUR_PAGE])
def retry(request_id: uuid.UUID, visitor: Creator, session: WriteSession) -> Response:
    """Queue it again."""
    lifecycle.retry(session, lifecycle.find(session, visitor.caller.tenant_id, request_id))
    return _back(request_id, "retried")


@router.post("/{request_id}/approve", dependencies=[FROM_OUR_PAGE])
def approve(request_id: uuid.UUID, visitor: Approver, session: WriteSession) -> Response:
    """Agree to it."""
    request = lifecycle.find(session, visitor.caller.tenant_id, request_id)
    lifecycle.approve(session, request, by=visitor.caller.subject)
    return _back(request_id, "approved")


@router.post("/{request_id}/reject", dependencies=[FROM_OUR_PAGE])
def reject(
    request_id: uuid.UUID,
    visitor: Approver,
    session: WriteSession,
    reason: Annotated[Text, Form(min_length=1, max_length=500)],
) -> Response:
    """Decline it."""
    request = lifecycle.find(session, visitor.caller.tenant_id, request_id)
    lifecycle.reject(session, request, by=visitor.caller.subject, reason=reason)
    return _back(request_id, "rejected")


def _objections(request: DeletionRequest) -> list[str]:
    """What the quality gate holds against its version; of an earlier release, whose words say no code, in one piece."""
    return [str(one) for one in request.why.objections] if request.why else [request.reason or ""]


def _back(request_id: uuid.UUID, done: str) -> Response:
    return RedirectResponse(f"/dashboard/requests/{request_id}?done={done}", 303)
