"""The first page: what there is to do."""

from fastapi import APIRouter, Request, Response

from service.dashboard import overview
from service.dashboard.failures import explain
from service.dashboard.pages import page
from service.dashboard.visitors import RequestReader
from service.web.dependencies import ReadSession

router = APIRouter()


@router.get("/")
def show(request: Request, visitor: RequestReader, session: ReadSession) -> Response:
    """Queue and deadlines, runs, failures, approvals, results."""
    seen = overview.look(session, visitor.caller.tenant_id)
    return page(
        request,
        "overview.html",
        seen=seen,
        now=seen.now,
        explain=explain,
        soon=overview.SOON,
        most=overview.MOST,
        refresh=2 if seen.running else 5,
    )
