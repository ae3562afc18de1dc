"""Thumbnails of the images to forget, decrypted in memory, and the record of who has viewed them."""

import base64
import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.errors import ImagesDestroyed
from service.registry.images import archive
from service.registry.settings import RegistrySettings
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import clock
from service.registry.tables import ApiKey, DeletionRequest, ImageView

PAGE_SIZE = 24
_SIDE = 256  # pixels of a thumbnail's longer side; smaller images are not enlarged


@dataclass(frozen=True)
class Picture:
    """A thumbnail as a `data:` URI, which exists in the response and nowhere else."""

    position: int
    label: int
    width: int  #: pixels of the original
    height: int
    data_uri: str


def record_view(session: Session, request: DeletionRequest, *, by: str, first: int) -> ImageView:
    """Record who views which images, as a row and in the audit log, before they are shown.

    Raises:
        ImagesDestroyed: the request has no images any more.
    """
    if request.samples is None:
        raise ImagesDestroyed
    last = max(first, min(first + PAGE_SIZE, request.sample_count) - 1)
    image_view = ImageView(request_id=request.id, at=clock(session), by=by, first=first, last=last)
    session.add(image_view)
    session.flush()
    audit_log.append(
        session, request.tenant_id, "deletion_request.images_viewed", about=request.id, by=by, first=first, last=last
    )
    return image_view


def decrypt_page(
    request: DeletionRequest, artifacts: Artifacts, settings: RegistrySettings, first: int
) -> Sequence[Picture]:
    """Decrypt a page of images, in memory, from the position `first` on.

    Raises:
        ImagesMissing, MasterKeyUnusable, OtherMasterKey, SealBroken: they cannot be decrypted.
    """
    assert request.samples is not None
    pictures = []
    with archive.open_images(request, artifacts.path(request.samples), settings) as source:
        for position, (image, label) in enumerate(archive.read(source, range(first, first + PAGE_SIZE)), first):
            width, height = image.size
            small = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
            small.thumbnail((_SIDE, _SIDE))
            file = io.BytesIO()
            small.save(file, "PNG")
            data_uri = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
            pictures.append(Picture(position, label, width, height, data_uri))
    return pictures


def list_views(session: Session, request_id: uuid.UUID) -> Sequence[tuple[ImageView, str]]:
    """The 50 newest views of a request's images, each with the name of the viewer's key."""
    image_views = session.scalars(
        select(ImageView).where(ImageView.request_id == request_id).order_by(ImageView.id.desc()).limit(50)
    ).all()
    keys = {view.by: uuid.UUID(view.by.removeprefix("key:")) for view in image_views if view.by.startswith("key:")}
    names = {f"key:{row.id}": row.name for row in session.scalars(select(ApiKey).where(ApiKey.id.in_(keys.values())))}
    return [(view, names.get(view.by, view.by)) for view in image_views]
