"""The page of images to forget, for users with the scope `requests:images`."""

import logging
import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.dashboard import pictures
from service.dashboard.headers import WITH_IMAGES
from service.dashboard.pages import page
from service.dashboard.visitors import ImageViewer
from service.registry.deletion_requests import lifecycle
from service.registry.models import versions
from service.web.dependencies import ResourcesDep

router = APIRouter(prefix="/requests/{request_id}/images")

logger = logging.getLogger(__name__)


@router.get("")
def show(
    request: Request,
    request_id: uuid.UUID,
    visitor: ImageViewer,
    resources: ResourcesDep,
    first: Annotated[int, Query(ge=0, lt=10**6)] = 0,
) -> Response:
    """A page of images. The record of the view is committed before anything is decrypted."""
    by = visitor.caller.subject
    with resources.database.write() as session:
        deletion_request = lifecycle.find(session, visitor.caller.tenant_id, request_id)
        classes = versions.require_latest_version(session, deletion_request.model).classes
        if deletion_request.samples is not None:
            pictures.record_view(session, deletion_request, by=by, first=first)
            logger.info("request %s: images from %d on are shown to %s", request_id, first, by)
    shown = (
        ()
        if deletion_request.samples is None
        else pictures.decrypt_page(deletion_request, resources.artifacts, resources.settings, first)
    )
    with resources.database.read() as session:
        views = pictures.list_views(session, request_id)
    return page(
        request,
        "images.html",
        headers={"Content-Security-Policy": WITH_IMAGES},
        request=deletion_request,
        pictures=shown,
        classes=classes,
        first=first,
        following=first + pictures.PAGE_SIZE if first + pictures.PAGE_SIZE < deletion_request.sample_count else None,
        before=max(0, first - pictures.PAGE_SIZE) if first else None,
        views=views,
    )
