"""The first page: counts, deadlines, runs, failures, approvals and results."""

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
    data = overview.read(session, visitor.caller.tenant_id)
    return page(
        request,
        "overview.html",
        overview=data,
        now=data.now,
        explain=explain,
        soon=overview.SOON,
        max_count=overview.MAX_COUNT,
        refresh=2 if data.running else 5,
    )
