"""The page of webhooks, and whether their messages arrive."""

from fastapi import APIRouter, Request, Response

from service.dashboard import callbacks
from service.dashboard.pages import page
from service.dashboard.visitors import Admin
from service.registry.storage.database import clock
from service.web.dependencies import ReadSession

router = APIRouter(prefix="/webhooks")


@router.get("")
def show(request: Request, visitor: Admin, session: ReadSession) -> Response:
    """Each webhook of the tenant, what waits to be sent to it, and how the last attempt ended."""
    rows = callbacks.health(session, visitor.caller.tenant_id)
    return page(request, "webhooks.html", rows=rows, now=clock(session), max_count=callbacks.MAX_COUNT, refresh=10)
